//! What the decoder holds and for how long: nothing for whole frames, no more than what arrived for partial ones, and
//! nothing over the limit.

use super::*;

#[test]
fn many_frames_in_one_read_cost_no_box() {
    let bytes = (0..100u8).flat_map(|i| masked(0x81, &[i])).collect::<Vec<_>>();
    let mut decoder = Decoder::new(Role::Server);
    let mut buf = bytes.clone();
    let start = buf.as_ptr() as usize;
    let mut input = Input::new(&mut buf, bytes.len());
    for i in 0..100 {
        let event = decoder.next(&mut input, MAX).unwrap();
        let Some(Event::Message { kind: Kind::Text, payload }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(payload, [i]);
        assert_eq!(payload.as_ptr() as usize, start + usize::from(i) * 7 + 6, "a slice of the read");
        assert_eq!(decoder.held_bytes(), 0);
    }
    assert_eq!(decoder.next(&mut input, MAX), Ok(None));
    assert!(input.rest().is_empty());
}

#[test]
fn memory_follows_what_arrived_not_what_was_declared() {
    let max = 16 << 20;
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    let frame = masked(0x82, &vec![3; max]);
    feed(&mut decoder, &frame[..20], max, &mut seen);
    assert!(decoder.held_bytes() < 512, "{} bytes held", decoder.held_bytes());
    let mut arrived = 20;
    let mut sizes = vec![decoder.held_bytes()];
    for read in frame[20..].chunks(65_536) {
        feed(&mut decoder, read, max, &mut seen);
        arrived += read.len();
        assert!(decoder.held_bytes() <= 2 * arrived + 1024, "{} held", decoder.held_bytes());
        sizes.push(decoder.held_bytes());
    }
    sizes.dedup();
    assert!(sizes.len() < 30, "grew {} times: quadratic copying", sizes.len());
    assert_eq!(seen, [Binary(vec![3; max])]);
    assert_eq!(decoder.held_bytes(), 0, "freed when done");
}

#[test]
fn fragments_65536_of_one_byte_in_reads_of_one_byte_grow_a_few_times() {
    let count = 65_536;
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    let mut sizes = vec![];
    for i in 0..count {
        let first = if i == 0 { 0x01 } else { 0 } | if i == count - 1 { 0x80 } else { 0 };
        for byte in masked(first, b"*") {
            feed(&mut decoder, &[byte], MAX, &mut seen);
        }
        sizes.push(decoder.held_bytes());
    }
    sizes.dedup();
    assert!(sizes.len() < 40, "grew {} times: quadratic copying", sizes.len());
    assert_eq!(seen, [Text("*".repeat(count))]);
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_partial_header_costs_one_small_box() {
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    feed(&mut decoder, &[0x82], MAX, &mut seen);
    assert!((1..=256).contains(&decoder.held_bytes()), "{} bytes", decoder.held_bytes());
    feed(&mut decoder, &masked(0x82, b"abc")[1..], MAX, &mut seen);
    assert_eq!((seen, decoder.held_bytes()), (vec![Binary(b"abc".to_vec())], 0));
}

#[test]
fn s5_5_1_a_close_inside_a_message_ends_it_and_frees_what_it_held() {
    let bytes = [masked(0x02, &[1; 5000]), masked(0x88, b"")].concat();
    assert_eq!(server(&bytes), [Close(None, String::new())]);
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    feed(&mut decoder, &bytes, MAX, &mut seen);
    assert_eq!(decoder.held_bytes(), 0);
    feed(&mut decoder, &masked(0x81, b"late"), MAX, &mut seen);
    assert_eq!(seen, [Close(None, String::new())]);
}

#[test]
fn s7_4_1_a_declared_length_over_the_limit_closes_1009_before_the_payload() {
    assert_eq!(broke_after(&masked(0x82, &[0; 101]), 100), (2, Violation::MessageTooBig));
    assert_eq!(broke_after(&masked(0x82, &[0; 126]), 100), (4, Violation::MessageTooBig));
    assert_eq!(broke_after(&masked(0x82, &[0; 65536]), 65535), (10, Violation::MessageTooBig));
    let huge = hex("82 ff 7f ff ff ff ff ff ff ff");
    assert_eq!(broke_after(&huge, MAX), (10, Violation::MessageTooBig));
    assert_eq!(outcome_within(Role::Server, &masked(0x82, &[0; 100]), 100), [Binary(vec![0; 100])]);
    assert_eq!(Violation::MessageTooBig.close_code(), 1009);
}

#[test]
fn s7_4_1_fragments_that_sum_up_over_the_limit_close_1009() {
    let fits = [masked(0x02, &[1; 60]), masked(0x00, &[1; 30]), masked(0x80, &[1; 10])].concat();
    assert_eq!(outcome_within(Role::Server, &fits, 100), [Binary(vec![1; 100])]);
    let start = [masked(0x02, &[1; 60]), masked(0x00, &[1; 30])].concat();
    let bytes = [start.clone(), masked(0x80, &[1; 11])].concat();
    assert_eq!(broke_after(&bytes, 100), (start.len() + 2, Violation::MessageTooBig));
}

#[test]
fn payload_is_read_to_a_buffer_that_is_lent_and_leaves_it_as_a_frame() {
    let payload = (0..100_000u32).map(|n| n as u8).collect::<Vec<_>>();
    let frame = masked(0x82, &payload);
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    assert!(decoder.room(1, |_| panic!("nothing is coming")).is_empty());
    feed(&mut decoder, &frame[..1_000], MAX, &mut seen);
    assert!(decoder.is_inside_message() && decoder.take_message().is_none());
    assert!(decoder.room(1, |_| None).is_empty(), "nothing is lent");
    assert!(decoder.room(frame.len(), |_| panic!("less is coming")).is_empty());
    let mut asked = 0;
    let rest = decoder.room(1, |len| {
        asked = len;
        Some(vec![0xa5; len + 50_000])
    });
    assert_eq!((rest.len(), asked), (frame.len() - 1_000, payload.len() + 14), "to the frame's end and no further");
    rest[..90_000].copy_from_slice(&frame[1_000..91_000]);
    decoder.note_placed(90_000);
    feed(&mut decoder, &[], MAX, &mut seen);
    assert!(seen.is_empty());
    let rest = decoder.room(1, |_| panic!("there is room enough"));
    rest.copy_from_slice(&frame[91_000..]);
    decoder.note_placed(frame.len() - 91_000);
    feed(&mut decoder, &[], MAX, &mut seen);
    assert_eq!(seen, [Binary(payload.clone())]);
    assert_eq!(decoder.held_bytes(), 0, "nobody took it, so it went");
}

#[test]
fn a_message_that_was_read_ahead_lies_in_that_buffer() {
    for len in [0usize, 1, 125, 126, 65_535, 65_536, 100_000] {
        let payload = vec![7; len];
        let frame = masked(0x82, &payload);
        let (seen, adopted) = outcome_ahead(Decoder::new(Role::Server), &frame, &[len + 6], MAX);
        assert_eq!(seen, [Binary(payload)]);
        // What a longer header leaves over of the read comes behind it.
        assert_eq!(adopted, len.min((len + 6).saturating_sub(frame.len() - len)), "{len}");
    }
}

#[test]
fn the_next_message_is_expected_to_be_as_long_as_the_last_if_that_was_large() {
    let large = limits::LARGE_MESSAGE_BYTES_MIN;
    let (mut decoder, mut seen) = (Decoder::new(Role::Server), Vec::new());
    for (len, expected) in [(1, 0), (large - 1, 0), (large, large), (large + 9, large + 9), (1, 0)] {
        let frame = masked(0x82, &vec![7; len]);
        for read in [&frame[..], &frame[..1], &frame[1..3], &frame[3..]] {
            feed(&mut decoder, read, MAX, &mut seen);
            let under_way = read.len() < 3;
            assert_eq!(decoder.expected(), if under_way { 0 } else { expected }, "{len} bytes");
        }
        feed(&mut decoder, &masked(0x89, b"a ping is no message"), MAX, &mut seen);
        assert_eq!(decoder.expected(), expected);
        seen.clear();
    }
    feed(&mut decoder, &masked(0x82, &vec![7; large]), MAX, &mut seen);
    feed(&mut decoder, &masked(0x88, b""), MAX, &mut seen);
    assert_eq!(decoder.expected(), 0, "nothing comes behind a close");
}

#[test]
fn a_message_is_taken_with_its_buffer_once_and_only_if_it_is_whole() {
    for len in [1usize, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; len];
        let frame = masked(0x81, &payload);
        let mut decoder = Decoder::new(Role::Server);
        let (mut begin, mut end) = (frame.clone(), frame[frame.len() - 1..].to_vec());
        let mut input = Input::new(&mut begin, frame.len() - 1);
        assert_eq!(decoder.next(&mut input, MAX), Ok(None));
        assert!(decoder.take_message().is_none());
        let mut input = Input::new(&mut end, 1);
        assert!(matches!(decoder.next(&mut input, MAX), Ok(Some(Event::Message { kind: Kind::Text, .. }))));
        let (buffer, range) = decoder.take_message().expect("a message").into_frame(Kind::Text);
        let mut sent = Vec::new();
        crate::ws::encode::frame(&mut sent, Opcode::Text, &payload);
        assert_eq!(buffer[range], sent);
        assert!(decoder.take_message().is_none(), "it is gone");
        assert_eq!(decoder.next(&mut input, MAX), Ok(None));
        assert_eq!(decoder.held_bytes(), 0);
    }
}
