//! Cutting a slow consumer's queue, at every byte at which its socket may have stopped.

use super::*;

const BYE: &[u8] = b"\x88\x02\x0f\xa8";

/// Fills the queue, lets `room` bytes out, cuts, says goodbye, lets everything out: what the peer got.
fn cut_after(room: usize, fill: impl Fn(&mut Desk)) -> Vec<u8> {
    let mut desk = Desk::new(1);
    desk.net.room[0] = room;
    fill(&mut desk);
    desk.flush();
    desk.out.cut(0);
    desk.deliver_all(0, &batch(9, &[1])); // too late
    desk.out.push_reply(0, |out| out.extend_from_slice(BYE));
    assert!(desk.out.pending(0) >= BYE.len() && desk.out.pending_replies(0) == desk.out.pending(0));
    desk.drain();
    std::mem::take(&mut desk.net.got[0])
}

/// The ends of frames in `bytes`, 0 included.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    while let Some(&end) = ends.last().filter(|&&end| end < bytes.len()) {
        ends.push(end + encode::frame_len(&bytes[end..]));
    }
    ends
}

/// Whatever was sent before the cut, the peer gets whole frames and then the goodbye.
fn check(whole: &[u8], fill: impl Fn(&mut Desk)) {
    let ends = ends(whole);
    for room in 0..whole.len() {
        let end = *ends.iter().find(|&&end| end >= room).expect("the last one is far enough");
        assert_eq!(cut_after(room, &fill), [&whole[..end], BYE].concat(), "cut after {room} bytes");
    }
}

#[test]
fn the_half_sent_frame_of_a_shared_range_is_completed_and_no_other() {
    let batch = batch(1, &[3, 0, 130, 40]);
    check(&batch.bytes, |desk| desk.deliver_all(0, &batch));
}

#[test]
fn so_is_one_of_a_range_that_was_copied() {
    let batch = batch(1, &[3, 0, 130, 40, 1000]);
    let end = 3 + 130 + 40 + 2 + 2 + 4 + 2;
    check(&batch.bytes[..end], |desk| desk.deliver(&[0], &batch, 0..end, false));
}

#[test]
fn so_is_one_of_several_ranges_with_replies_between_them() {
    let (one, two) = (batch(1, &[3, 4]), batch(2, &[126, 1, 2]));
    let whole = [&one.bytes[..], b"\x81\x02hi\x81\x00", &two.bytes[..]].concat();
    check(&whole, |desk| {
        desk.deliver_all(0, &one);
        desk.reply(0, b"hi");
        desk.reply(0, b"");
        desk.deliver_all(0, &two);
    });
}

#[test]
fn a_frame_with_a_length_of_eight_bytes_is_completed_too() {
    let batch = batch(1, &[70_000, 1]);
    for room in [1, 2, 5, 9, 10, 11, 69_999, 70_009, 70_010, 70_011] {
        let end = if room <= 70_010 { 70_010 } else { 70_013 };
        let got = cut_after(room, |desk| desk.deliver_all(0, &batch));
        assert!(got[..got.len() - 4] == batch.bytes[..end], "cut after {room} bytes");
    }
}

#[test]
fn bytes_that_are_no_frames_are_never_cut() {
    let batch = batch(1, &[3]);
    for room in 0..8 {
        let got = cut_after(room, |desk| {
            desk.out.push_solid(0, |out| out.extend_from_slice(b"HTTP/1.1"));
            desk.deliver_all(0, &batch);
        });
        assert_eq!(got, [b"HTTP/1.1", BYE].concat());
    }
}

#[test]
fn a_queue_that_was_sent_in_several_parts_is_cut_where_it_stands_now() {
    let batch = batch(1, &[10; 20]);
    for first in 0..30 {
        for second in 0..30 {
            let got = cut_after(first, |desk| {
                desk.deliver_all(0, &batch);
                desk.flush();
                desk.net.room[0] = second;
                desk.out.unblock(0);
            });
            let end = (first + second).div_ceil(12) * 12;
            assert_eq!(got, [&batch.bytes[..end], BYE].concat(), "{first} and {second}");
        }
    }
}

#[test]
fn an_empty_queue_is_cut_to_nothing() {
    let mut desk = Desk::new(1);
    desk.out.cut(0);
    assert_eq!((desk.out.pending(0), desk.out.held()), (0, (0, 0)));
}
