//! The outbound queues against a socket made of a buffer: what goes out, in which calls, and what is kept meanwhile.

mod cut;
mod feeds;
mod model;
mod overflow;

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::Arc;

use super::*;
use crate::home::Batch;
use crate::ws::{Opcode, encode};

/// One system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Send(usize),
    Pieces(usize, usize),
}

/// Sockets that keep what they took, each with room for so many bytes.
#[derive(Debug, Default)]
struct Net {
    got: Vec<Vec<u8>>,
    room: Vec<usize>,
    calls: Vec<Call>,
}

impl Net {
    fn new(conns: usize) -> Self {
        Self { got: vec![Vec::new(); conns], room: vec![usize::MAX; conns], calls: Vec::new() }
    }

    fn take(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        let conn = conn as usize;
        let len = bytes.len().min(self.room[conn]);
        self.room[conn] -= if self.room[conn] == usize::MAX { 0 } else { len };
        self.got[conn].extend_from_slice(&bytes[..len]);
        Sent::Bytes(len)
    }
}

impl Wire for Net {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        assert!(!bytes.is_empty(), "a call for nothing");
        self.calls.push(Call::Send(bytes.len()));
        self.take(conn, bytes)
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.calls.push(Call::Pieces(pieces.len(), bytes.len()));
        self.take(conn, &bytes)
    }
}

/// Outbound queues of some open connections and their sockets.
struct Desk {
    out: Outbound,
    net: Net,
}

impl Desk {
    fn new(conns: u32) -> Self {
        let mut out = Outbound::new(10_000);
        for conn in 0..conns {
            out.add(conn);
            out.open(conn, true);
        }
        Self { out, net: Net::new(conns as usize) }
    }

    /// Delivers `start..end` of a batch to each of the connections.
    fn deliver(&mut self, conns: &[u32], batch: &Arc<Batch>, range: std::ops::Range<usize>, bulk: bool) {
        let segment = self.out.segments().insert_batch(Arc::clone(batch));
        for &conn in conns {
            self.out.push_share(conn, Share { segment, start: range.start as u32, end: range.end as u32 }, bulk);
        }
        self.out.segments().release(segment);
    }

    /// A whole batch, promptly.
    fn deliver_all(&mut self, conn: u32, batch: &Arc<Batch>) {
        self.deliver(&[conn], batch, 0..batch.bytes.len(), false);
    }

    /// One turn's flush: who was written to, in order, and what became of it.
    fn flush(&mut self) -> Vec<(u32, Flushed)> {
        let mut budget = self.out.flush_budget();
        let mut done = Vec::new();
        while let Some(conn) = self.out.next_to_flush(&mut budget) {
            done.push((conn, self.out.flush(conn, &mut self.net)));
        }
        done
    }

    fn reply(&mut self, conn: u32, payload: &[u8]) {
        self.out.push_reply(conn, |out| encode::frame(out, Opcode::Text, payload));
    }

    /// Everybody's socket takes everything again, and everything goes out.
    fn drain(&mut self) {
        for conn in 0..self.net.room.len() {
            self.net.room[conn] = usize::MAX;
            self.out.unblock(conn as u32);
        }
        while self.out.has_work() {
            self.flush();
        }
        assert_eq!(self.out.held(), (0, 0), "nothing is left behind");
    }

    /// Ranges in the spills of connections that are not blocked, counted.
    fn owed(&self) -> usize {
        let open = self.out.hot.iter().filter(|hot| hot.flags & BLOCKED == 0);
        open.filter_map(|hot| self.out.spills.get(hot.spill() as usize)).map(|spill| spill.ranges.len()).sum()
    }

    /// Bytes of all segments that a connection's ranges point into.
    fn pinned(&self, conn: u32) -> usize {
        let hot = self.out.hot[conn as usize];
        let ranges = self.out.spills.get(hot.spill() as usize).map_or(vec![], |spill| spill.ranges.iter().collect());
        let segments: BTreeSet<u32> =
            ranges.iter().map(|range| range.segment).chain((hot.spill() == NONE).then_some(hot.segment)).collect();
        segments.iter().filter(|&&key| key != NONE).map(|&key| self.out.segments.bytes(key).len()).sum()
    }
}

/// A batch of frames with payloads of these lengths; no two look alike.
fn batch(salt: u8, lens: &[usize]) -> Arc<Batch> {
    let mut bytes = Vec::new();
    for (number, &len) in lens.iter().enumerate() {
        let payload: Vec<u8> = (0..len).map(|at| salt ^ (number * 31 + at * 7) as u8).collect();
        encode::frame(&mut bytes, Opcode::Binary, &payload);
    }
    Arc::new(Batch { bytes, ..Batch::default() })
}

#[test]
fn the_record_that_a_fan_out_touches_is_16_bytes() {
    assert_eq!(size_of::<Hot>(), 16);
}

#[test]
fn one_range_is_one_send_and_leaves_nothing() {
    let mut desk = Desk::new(3);
    let batch = batch(1, &[10, 20]);
    desk.deliver(&[0, 2], &batch, 0..batch.bytes.len(), false);
    assert_eq!(desk.out.held(), (1, 0), "one segment for both, no spill");
    assert_eq!((desk.out.pending(0), desk.out.pending(1)), (batch.bytes.len(), 0));
    assert_eq!(desk.flush(), [(0, Flushed::Done), (2, Flushed::Done)]);
    assert_eq!(desk.net.calls, [Call::Send(batch.bytes.len()); 2]);
    assert_eq!(desk.net.got, [batch.bytes.clone(), Vec::new(), batch.bytes.clone()]);
    assert_eq!((desk.out.held(), Arc::strong_count(&batch), desk.out.has_work()), ((0, 0), 1, false));
}

#[test]
fn a_range_that_continues_the_last_one_becomes_part_of_it() {
    let mut desk = Desk::new(1);
    let (first, second) = (batch(1, &[10, 10, 10]), batch(2, &[5, 5]));
    let segment = desk.out.segments().insert_batch(Arc::clone(&first));
    desk.out.push_share(0, Share { segment, start: 0, end: 12 }, false);
    desk.out.push_share(0, Share { segment, start: 12, end: 24 }, false);
    assert_eq!(desk.out.held(), (1, 0), "still one range");
    desk.deliver_all(0, &second);
    desk.out.push_share(0, Share { segment, start: 24, end: 30 }, false);
    desk.out.push_share(0, Share { segment, start: 30, end: 36 }, false);
    desk.out.segments().release(segment);
    assert_eq!(desk.out.spills[0].ranges.len(), 3);
    desk.flush();
    assert_eq!(desk.net.got[0], [&first.bytes[..24], &second.bytes[..], &first.bytes[24..]].concat());
    assert_eq!(desk.out.held(), (0, 0));
}

#[test]
fn a_gap_between_ranges_is_kept() {
    let mut desk = Desk::new(1);
    let batch = batch(1, &[10, 10, 10]);
    let segment = desk.out.segments().insert_batch(Arc::clone(&batch));
    desk.out.push_share(0, Share { segment, start: 0, end: 12 }, false);
    desk.out.push_share(0, Share { segment, start: 24, end: 36 }, false);
    desk.out.segments().release(segment);
    desk.flush();
    assert_eq!(desk.net.got[0], [&batch.bytes[..12], &batch.bytes[24..]].concat());
}

#[test]
fn small_ranges_are_gathered_into_one_send_and_large_ones_go_by_writev() {
    let mut desk = Desk::new(1);
    let (small, large) = (batch(1, &[1000]), batch(2, &[limits::GATHER_BYTES_MAX]));
    desk.deliver_all(0, &small);
    desk.reply(0, b"hi");
    desk.deliver_all(0, &small);
    desk.flush();
    desk.deliver_all(0, &small);
    desk.deliver_all(0, &large);
    desk.flush();
    let (small, large) = (small.bytes.len(), large.bytes.len());
    assert_eq!(desk.net.calls, [Call::Send(2 * small + 4), Call::Pieces(2, small + large)]);
}

#[test]
fn a_long_queue_goes_out_in_bounded_calls_until_the_socket_is_full() {
    let mut desk = Desk::new(1);
    let batches: Vec<_> = (0..150).map(|number| batch(number, &[400])).collect();
    for batch in &batches {
        desk.deliver_all(0, batch);
    }
    let each = batches[0].bytes.len();
    assert_eq!(desk.flush(), [(0, Flushed::Done)]);
    let full = Call::Pieces(limits::PIECES_PER_WRITE, limits::PIECES_PER_WRITE * each);
    assert_eq!(desk.net.calls, [full, full, Call::Send(22 * each)]);
    assert_eq!(desk.net.got[0], batches.iter().flat_map(|batch| batch.bytes.clone()).collect::<Vec<_>>());
}

#[test]
fn a_partial_write_goes_on_at_the_very_byte() {
    let batch = batch(1, &[3, 200, 3]);
    for room in 0..batch.bytes.len() {
        let mut desk = Desk::new(1);
        desk.net.room[0] = room;
        desk.deliver_all(0, &batch);
        assert_eq!(desk.flush(), [(0, Flushed::Blocked)]);
        assert_eq!(desk.out.pending(0), batch.bytes.len() - room);
        desk.reply(0, b"!");
        assert!(desk.flush().is_empty(), "nothing is tried while the socket is full");
        desk.drain();
        assert_eq!(desk.net.got[0], [&batch.bytes[..], b"\x81\x01!"].concat(), "room for {room}");
    }
}

#[test]
fn a_full_socket_is_left_alone_until_it_says_that_it_is_writable() {
    let mut desk = Desk::new(1);
    desk.net.room[0] = 0;
    let batch = batch(1, &[100]);
    desk.deliver_all(0, &batch);
    desk.flush();
    assert!(desk.out.is_blocked(0) && !desk.out.has_work());
    for _ in 0..10 {
        desk.deliver_all(0, &batch);
        desk.reply(0, b"x");
    }
    assert!(!desk.out.has_work(), "a stalled peer costs no turn");
    desk.out.unblock(0);
    desk.out.unblock(0);
    assert!(desk.out.has_work());
    assert_eq!(desk.flush(), [(0, Flushed::Blocked)]);
}

#[test]
fn a_shard_is_late_with_what_it_owes_and_not_with_what_peers_do_not_take() {
    let mut desk = Desk::new(2);
    desk.out.bytes_max = usize::MAX;
    desk.net.room[0] = 0;
    let batch = batch(1, &[100, 100]);
    desk.deliver_all(0, &batch);
    desk.flush();
    // Every other frame: nothing merges.
    for _ in 0..=limits::RANGES_OWED_MAX {
        desk.deliver(&[0, 1], &batch, 0..102, true);
    }
    assert_eq!(desk.out.owed(), desk.owed());
    assert!(desk.out.is_late());
    desk.flush();
    assert!(!desk.out.is_late(), "the open one was written to, the stalled one does not count");
    desk.out.remove(0);
    desk.drain();
}

#[test]
fn a_socket_found_full_is_not_tried_again_because_it_stands_in_the_other_queue_too() {
    let mut desk = Desk::new(1);
    desk.net.room[0] = 0;
    let batch = batch(1, &[100]);
    desk.deliver(&[0], &batch, 0..102, true);
    desk.deliver(&[0], &batch, 0..102, false);
    assert_eq!(desk.flush(), [(0, Flushed::Blocked)]);
    assert_eq!(desk.net.calls.len(), 1);
    desk.drain();
}

#[test]
fn small_parts_of_a_batch_are_copied_when_the_socket_is_full_and_large_ones_are_shared() {
    let mut desk = Desk::new(2);
    (desk.net.room[0], desk.net.room[1]) = (0, 0);
    let big = batch(1, &[98; 100]); // frames of 100 bytes
    desk.deliver(&[0], &big, 0..2400, false);
    desk.deliver(&[1], &big, 0..2500, false);
    assert_eq!(Arc::strong_count(&big), 3);
    desk.flush();
    assert_eq!(Arc::strong_count(&big), 2, "the first one, less than a quarter, was copied");
    assert_eq!((desk.pinned(0), desk.pinned(1)), (2400, 10_000));
    desk.deliver(&[0, 1], &big, 300..400, false);
    assert_eq!((desk.pinned(0), desk.pinned(1)), (2500, 10_100), "copied behind the copy");
    desk.drain();
    assert_eq!(desk.net.got[0], [&big.bytes[..2400], &big.bytes[300..400]].concat());
    assert_eq!(Arc::strong_count(&big), 1);
}

#[test]
fn a_stalled_connection_pins_at_most_four_times_the_frames_it_waits_for() {
    for room in [0, 1, 99, 100, 101, 350, 2399, 2401, 9999] {
        let mut desk = Desk::new(1);
        desk.out.bytes_max = usize::MAX;
        desk.net.room[0] = room;
        let all = [batch(1, &[98; 100]), batch(2, &[98; 100]), batch(3, &[500; 2])];
        desk.deliver(&[0], &all[0], 0..10_000, false);
        desk.flush();
        for (number, batch) in all.iter().cycle().take(30).enumerate() {
            desk.deliver(&[0], batch, 0..[100, 3000, 502][number % 3].min(batch.bytes.len()), false);
            // The rest of a half-sent frame stands behind its sent part.
            let bound = 4 * (desk.out.pending(0) + 503);
            assert!(desk.pinned(0) <= bound, "{} bytes for {}", desk.pinned(0), desk.out.pending(0));
        }
        desk.drain();
    }
}

#[test]
fn a_half_sent_range_does_not_pin_a_whole_batch_for_its_last_bytes() {
    let mut desk = Desk::new(1);
    let big = batch(1, &[98; 1000]);
    for room in [150, 99_950] {
        desk.net.room[0] = room;
        let range = if room == 150 { 0..200 } else { 0..100_000 };
        desk.deliver(&[0], &big, range.clone(), false);
        desk.flush();
        assert_eq!(desk.out.pending(0), 50);
        assert!(desk.pinned(0) <= 4 * (50 + 50), "{} bytes are kept for 50", desk.pinned(0));
        assert_eq!(Arc::strong_count(&big), 1);
        desk.drain();
        assert_eq!(std::mem::take(&mut desk.net.got[0]), big.bytes[range]);
    }
}

#[test]
fn replies_share_a_buffer_and_it_is_used_again() {
    let mut desk = Desk::new(1);
    for _ in 0..3 {
        for number in 0..100u8 {
            desk.reply(0, &[number]);
        }
        assert_eq!(desk.out.held(), (1, 1));
        desk.flush();
        assert_eq!(desk.out.held(), (0, 0));
    }
    assert_eq!(desk.out.segments.spares(), 1);
    assert_eq!(desk.net.calls, [Call::Send(300); 3]);
}

#[test]
fn replies_and_publications_keep_the_order_in_which_they_came() {
    let mut desk = Desk::new(1);
    let batch = batch(1, &[5]);
    desk.reply(0, b"a");
    desk.deliver_all(0, &batch);
    desk.reply(0, b"b");
    desk.reply(0, b"c");
    desk.flush();
    assert_eq!(desk.net.got[0], [b"\x81\x01a", &batch.bytes[..], b"\x81\x01b\x81\x01c"].concat());
}

#[test]
fn only_publications_make_a_slow_consumer() {
    let mut desk = Desk::new(1);
    desk.net.room[0] = 0;
    desk.reply(0, &[0; 30_000]);
    desk.out.push_solid(0, |out| out.extend_from_slice(&[0; 30_000]));
    desk.flush();
    assert_eq!((desk.out.take_slow(), desk.out.pending_replies(0)), (None, 60_004));
    desk.deliver_all(0, &batch(1, &[9996]));
    assert_eq!((desk.out.take_slow(), desk.out.pending(0)), (None, 70_004), "exactly the limit");
    desk.deliver_all(0, &batch(1, &[0]));
    assert_eq!(desk.out.take_slow(), Some(0));
}

#[test]
fn responses_that_follow_each_other_are_one_range_and_one_call() {
    let mut desk = Desk::new(1);
    for text in [b"one ", b"two ", b"six "] {
        desk.out.push_solid(0, |out| out.extend_from_slice(text));
    }
    assert_eq!((desk.out.held(), desk.out.owed()), ((1, 1), 1));
    desk.reply(0, b"x");
    desk.flush();
    assert!(desk.net.got[0].starts_with(b"one two six "));
    assert_eq!((desk.net.calls.len(), desk.out.held()), (1, (0, 0)));
}

#[test]
fn no_response_is_written_behind_a_range_that_was_cut_short() {
    let mut desk = Desk::new(1);
    desk.net.room[0] = 3;
    desk.reply(0, b"half sent");
    desk.reply(0, b"dropped");
    desk.flush();
    desk.out.cut(0);
    desk.out.push_solid(0, |out| out.extend_from_slice(b"END"));
    desk.net.room[0] = usize::MAX;
    desk.out.unblock(0);
    desk.flush();
    let got = String::from_utf8_lossy(&desk.net.got[0]).into_owned();
    assert!(got.ends_with("half sentEND"), "{got:?}");
}

#[test]
fn who_is_over_the_limit_is_not_slow_before_its_socket_is_full() {
    let mut desk = Desk::new(2);
    let large = batch(1, &[5000, 5000, 5000]);
    (0..2).for_each(|conn| desk.deliver_all(conn, &large));
    assert_eq!(desk.out.take_slow(), None);
    desk.net.room[1] = 5;
    assert_eq!(desk.flush(), [(0, Flushed::Done), (1, Flushed::Blocked)]);
    assert_eq!([desk.out.take_slow(), desk.out.take_slow()], [Some(1), None]);
}

#[test]
fn a_connection_that_is_not_open_takes_no_publications_and_is_never_slow() {
    let mut desk = Desk::new(1);
    desk.out.open(0, false);
    desk.deliver_all(0, &batch(1, &[50_000]));
    desk.reply(0, b"bye");
    assert_eq!((desk.out.pending(0), desk.out.take_slow()), (5, None));
    desk.drain();
}

#[test]
fn small_fan_outs_go_before_big_ones_and_big_ones_in_slices() {
    let conns = 2 * limits::FANOUT_SLICE as u32 + 10;
    let mut desk = Desk::new(conns);
    let batch = batch(1, &[5]);
    let all: Vec<u32> = (0..conns).collect();
    desk.deliver(&all, &batch, 0..7, true);
    desk.deliver(&[7, conns - 4], &batch, 0..7, false);
    desk.reply(conns - 3, b"x");
    let first: Vec<u32> = desk.flush().into_iter().map(|(conn, _)| conn).collect();
    assert_eq!(first[..3], [7, conns - 4, conns - 3]);
    assert_eq!(first.len(), 3 + limits::FANOUT_SLICE);
    assert!(desk.out.has_work());
    desk.reply(conns - 1, b"late but small");
    let second: Vec<u32> = desk.flush().into_iter().map(|(conn, _)| conn).collect();
    assert_eq!(second[0], conns - 1);
    desk.drain();
    assert!(desk.net.got.iter().all(|got| got.len() >= 7));
}

#[test]
fn small_fan_outs_have_a_budget_too_and_do_not_starve_big_ones() {
    let conns = limits::FLUSHES_PER_TURN as u32 + 100;
    let mut desk = Desk::new(conns);
    let batch = batch(1, &[5]);
    let prompt: Vec<u32> = (1..conns).collect();
    desk.deliver(&prompt, &batch, 0..7, false);
    desk.deliver(&[0], &batch, 0..7, true);
    let first = desk.flush();
    assert_eq!(first.len(), limits::FLUSHES_PER_TURN + 1);
    assert_eq!(first.last(), Some(&(0, Flushed::Done)));
    assert_eq!(desk.flush().len(), 99);
}

#[test]
fn queue_entries_of_a_former_tenant_do_not_reach_or_hold_up_the_next_one() {
    let mut desk = Desk::new(1);
    let batch = batch(1, &[5]);
    desk.deliver_all(0, &batch);
    desk.deliver(&[0], &batch, 0..7, true);
    desk.out.remove(0);
    assert_eq!(desk.out.held(), (0, 0));
    desk.out.add(0);
    assert!(desk.flush().is_empty(), "nothing waits for the new tenant");
    desk.out.open(0, true);
    for _ in 0..2 {
        desk.reply(0, b"new");
        desk.out.remove(0);
        desk.out.add(0);
    }
    desk.reply(0, b"mine");
    assert_eq!(desk.flush(), [(0, Flushed::Done)], "written once, by whichever entry comes first");
    assert_eq!((&desk.net.got[0][..], desk.out.has_work()), (&b"\x81\x04mine"[..], false));
}

#[test]
fn a_broken_socket_is_told() {
    struct Broken;
    impl Wire for Broken {
        fn send(&mut self, _: u32, _: &[u8]) -> Sent {
            Sent::Gone
        }
        fn send_pieces(&mut self, _: u32, _: &[IoSlice<'_>]) -> Sent {
            Sent::Gone
        }
    }
    let mut desk = Desk::new(1);
    desk.deliver_all(0, &batch(1, &[5]));
    assert_eq!(desk.out.flush(0, &mut Broken), Flushed::Gone);
    desk.reply(0, b"x");
    assert_eq!(desk.out.flush(0, &mut Broken), Flushed::Gone);
    desk.out.remove(0);
    assert_eq!(desk.out.held(), (0, 0));
}

#[test]
fn marks_are_per_connection_and_taken_away_again() {
    let mut desk = Desk::new(2);
    assert!(desk.out.mark(0) && !desk.out.mark(0) && desk.out.mark(1));
    assert!(desk.out.unmark(0) && !desk.out.unmark(0) && desk.out.mark(0));
}
