//! The decoder against RFC 6455, clause by clause: bytes in hex, events out, in several splits of the same bytes.
//!
//! [`outcome`] is the one way in; `properties` feeds it generated frames.

use super::*;

mod deflate;
mod memory;
mod properties;

const MAX: usize = 1 << 20;
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// An event that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Deflated(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Broke(Violation),
}
use Seen::{Binary, Broke, Close, Deflated, Ping, Pong, Text};

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { kind: Kind::Text, payload } => {
                Text(std::str::from_utf8(payload).expect("text is UTF-8").to_owned())
            }
            Event::Message { kind: Kind::Binary, payload } => Binary(payload.to_vec()),
            Event::Deflated { kind, payload } => Deflated(kind, payload.to_vec()),
            Event::Ping(payload) => Ping(payload.to_vec()),
            Event::Pong(payload) => Pong(payload.to_vec()),
            Event::Close { code, reason } => Close(code, reason.to_owned()),
        }
    }
}

/// Feeds one read, behind which the buffer has other bytes; what comes out goes to `seen`.
fn feed(decoder: &mut Decoder, read: &[u8], max: usize, seen: &mut Vec<Seen>) {
    let mut buf = read.to_vec();
    buf.resize(read.len() + 64, 0xa5);
    let mut input = Input::new(&mut buf, read.len());
    loop {
        match decoder.next(&mut input, max) {
            Ok(Some(event)) => seen.push(event.into()),
            Ok(None) => return,
            Err(violation) => seen.push(Broke(violation)),
        }
    }
}

/// What the decoder makes of these bytes, read in pieces of these sizes, taken in a circle.
fn outcome_in(role: Role, bytes: &[u8], sizes: &[usize], max: usize) -> Vec<Seen> {
    outcome_of(Decoder::new(role), bytes, sizes, max)
}

fn outcome_of(mut decoder: Decoder, bytes: &[u8], sizes: &[usize], max: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut rest = bytes;
    for &size in sizes.iter().cycle() {
        let (read, later) = rest.split_at(size.min(rest.len()));
        feed(&mut decoder, read, max, &mut seen);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    seen
}

/// As [`outcome_of`], but payload that is still to come is read to where the decoder has room for it, if it has for half.
fn outcome_placed(mut decoder: Decoder, bytes: &[u8], sizes: &[usize], max: usize) -> (Vec<Seen>, usize) {
    let (mut seen, mut rest, mut all_placed) = (Vec::new(), bytes, 0);
    for &size in sizes.iter().cycle() {
        let (read, later) = rest.split_at(size.min(rest.len()));
        let room = decoder.room(2, |len| (len % 2 == 0).then(|| vec![0xa5; len + size % 3]));
        let (placed, read) = read.split_at(room.len().min(read.len()));
        room[..placed.len()].copy_from_slice(placed);
        if !placed.is_empty() {
            decoder.note_placed(placed.len());
        }
        all_placed += placed.len();
        // What lies in the room and what lies in the buffer are looked at in one go.
        feed(&mut decoder, read, max, &mut seen);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    (seen, all_placed)
}

/// As [`outcome_of`], but each read goes ahead to where the payload of a message would lie, for some guess of its length; how
/// many bytes were payload, and there.
fn outcome_ahead(mut decoder: Decoder, bytes: &[u8], sizes: &[usize], max: usize) -> (Vec<Seen>, usize) {
    let (mut seen, mut rest, mut adopted) = (Vec::new(), bytes, 0);
    for &size in sizes.iter().cycle() {
        let (read, later) = rest.split_at(size.min(rest.len()));
        let mut ahead =
            Ahead::new(size.saturating_sub(6), |len| Some(vec![0xa5; len + size % 3])).expect("it was lent");
        let (there, read) = read.split_at(ahead.room().len().min(read.len()));
        ahead.room()[..there.len()].copy_from_slice(there);
        let (header, payload) = ahead.halves(there.len());
        let payload_len = payload.len();
        feed(&mut decoder, header, max, &mut seen);
        match decoder.adopt(ahead, payload_len) {
            Ok(()) => {
                adopted += payload_len;
                feed(&mut decoder, &[], max, &mut seen);
            }
            Err(mut ahead) => feed(&mut decoder, ahead.halves(there.len()).1, max, &mut seen),
        }
        feed(&mut decoder, read, max, &mut seen);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    (seen, adopted)
}

/// As [`outcome_in`], which must be the same in one read, byte by byte, and in some sizes between.
fn outcome_within(role: Role, bytes: &[u8], max: usize) -> Vec<Seen> {
    let whole = outcome_in(role, bytes, &[bytes.len().max(1)], max);
    for sizes in [&[1][..], &[2], &[3], &[5, 1], &[7], &[126, 2]] {
        assert_eq!(outcome_in(role, bytes, sizes, max), whole, "in reads of {sizes:?}");
        let (placed, _) = outcome_placed(Decoder::new(role), bytes, sizes, max);
        assert_eq!(placed, whole, "in reads of {sizes:?}, of payload to its place");
        let (ahead, _) = outcome_ahead(Decoder::new(role), bytes, sizes, max);
        assert_eq!(ahead, whole, "in reads of {sizes:?}, ahead");
    }
    whole
}

fn server(bytes: &[u8]) -> Vec<Seen> {
    outcome_within(Role::Server, bytes, MAX)
}

fn client(bytes: &[u8]) -> Vec<Seen> {
    outcome_within(Role::Client, bytes, MAX)
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

/// A masked frame with this first byte, and its length in the shortest form.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::ws::encode::masked_frame(&mut out, Opcode::Binary, payload, KEY);
    out[0] = first;
    out
}

/// How many bytes of these the server reads before it sees a violation, and which.
fn broke_after(bytes: &[u8], max: usize) -> (usize, Violation) {
    let mut decoder = Decoder::new(Role::Server);
    for (index, byte) in bytes.iter().enumerate() {
        let mut seen = Vec::new();
        feed(&mut decoder, &[*byte], max, &mut seen);
        if let Some(Broke(violation)) = seen.first() {
            assert_eq!(decoder.held_bytes(), 0, "nothing is held after a violation");
            return (index + 1, *violation);
        }
    }
    panic!("no violation in {bytes:02x?}");
}

#[test]
fn s5_7_the_examples_of_the_rfc() {
    assert_eq!(client(&hex("81 05 48 65 6c 6c 6f")), [Text("Hello".into())]);
    assert_eq!(server(&hex("81 85 37 fa 21 3d 7f 9f 4d 51 58")), [Text("Hello".into())]);
    assert_eq!(client(&hex("01 03 48 65 6c 80 02 6c 6f")), [Text("Hello".into())]);
    assert_eq!(client(&hex("89 05 48 65 6c 6c 6f")), [Ping(b"Hello".to_vec())]);
    assert_eq!(server(&hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")), [Pong(b"Hello".to_vec())]);
    let mut long = hex("82 7e 01 00");
    long.extend([7; 256]);
    assert_eq!(client(&long), [Binary(vec![7; 256])]);
    let mut longer = hex("82 7f 00 00 00 00 00 01 00 00");
    longer.extend(vec![7; 65536]);
    assert_eq!(
        outcome_in(Role::Client, &longer, &[4096], MAX),
        outcome_in(Role::Client, &longer, &[longer.len()], MAX)
    );
    assert_eq!(outcome_in(Role::Client, &longer, &[777], MAX), [Binary(vec![7; 65536])]);
}

#[test]
fn s5_1_unmasked_client_frame_closes_1002() {
    assert_eq!(server(&hex("81 00")), [Broke(Violation::Unmasked)]);
    assert_eq!(Violation::Unmasked.close_code(), 1002);
}

#[test]
fn s5_1_masked_server_frame_closes_1002() {
    assert_eq!(client(&hex("81 80 00 00 00 00")), [Broke(Violation::Masked)]);
    assert_eq!(Violation::Masked.close_code(), 1002);
}

#[test]
fn s5_2_each_reserved_bit_closes_1002_at_the_first_byte() {
    for bits in 1..8 {
        for opcode in [0x1, 0x2, 0x8, 0x9, 0xa] {
            let frame = masked(0x80 | bits << 4 | opcode, b"x");
            assert_eq!(broke_after(&frame, MAX), (1, Violation::ReservedBits), "{frame:02x?}");
        }
    }
    assert_eq!(Violation::ReservedBits.close_code(), 1002);
}

#[test]
fn s5_2_each_reserved_opcode_closes_1002_at_the_first_byte() {
    for opcode in (3..=7).chain(11..=15) {
        for fin in [0, 0x80] {
            let frame = masked(fin | opcode, b"");
            assert_eq!(broke_after(&frame, MAX), (1, Violation::ReservedOpcode), "{frame:02x?}");
        }
    }
    assert_eq!(Violation::ReservedOpcode.close_code(), 1002);
}

#[test]
fn s5_2_a_length_longer_than_it_needs_closes_1002() {
    for (header, len) in [
        ("82 fe 00 00", 4),
        ("82 fe 00 7d", 4),
        ("82 ff 00 00 00 00 00 00 00 00", 10),
        ("82 ff 00 00 00 00 00 00 00 7e", 10),
        ("82 ff 00 00 00 00 00 00 ff ff", 10),
    ] {
        assert_eq!(broke_after(&hex(header), MAX), (len, Violation::LengthNotMinimal), "{header}");
        assert_eq!(broke_after(&hex(header), 0), (len, Violation::LengthNotMinimal), "{header}");
    }
    assert_eq!(Violation::LengthNotMinimal.close_code(), 1002);
}

#[test]
fn s5_2_a_length_with_its_top_bit_set_closes_1002_at_that_bit() {
    for header in ["82 ff 80 00 00 00 00 00 00 00", "82 ff ff ff ff ff ff ff ff ff"] {
        assert_eq!(broke_after(&hex(header), usize::MAX), (3, Violation::LengthTopBit), "{header}");
    }
    assert_eq!(Violation::LengthTopBit.close_code(), 1002);
}

#[test]
fn s5_2_every_length_around_the_forms_borders_comes_through() {
    for len in [0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 128, 255, 256, 4095, 65535, 65536, 65537] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let frame = masked(0x82, &payload);
        for size in [frame.len(), 1, 13, 1024] {
            let seen = outcome_in(Role::Server, &frame, &[size], MAX);
            assert_eq!(seen, [Binary(payload.clone())], "{len} bytes in reads of {size}");
        }
    }
}

#[test]
fn s5_4_control_frames_between_fragments_come_out_before_the_message() {
    let bytes = [
        masked(0x01, b"frag"),
        masked(0x89, b"p1"),
        masked(0x00, b""),
        masked(0x8a, b""),
        masked(0x00, b"men"),
        masked(0x89, &[9; 125]),
        masked(0x80, b"ts"),
        masked(0x82, b"next"),
    ]
    .concat();
    assert_eq!(
        server(&bytes),
        [Ping(b"p1".to_vec()), Pong(vec![]), Ping(vec![9; 125]), Text("fragments".into()), Binary(b"next".to_vec())]
    );
}

#[test]
fn s5_4_fragments_may_all_be_empty() {
    let bytes = [masked(0x01, b""), masked(0x00, b""), masked(0x80, b"")].concat();
    assert_eq!(server(&bytes), [Text(String::new())]);
    let bytes = [masked(0x02, b""), masked(0x80, b"x")].concat();
    assert_eq!(server(&bytes), [Binary(b"x".to_vec())]);
}

#[test]
fn s5_4_a_continuation_without_a_start_closes_1002_at_the_first_byte() {
    for first in [0x00, 0x80] {
        let frame = masked(first, b"x");
        assert_eq!(broke_after(&frame, MAX), (1, Violation::ContinuationWithoutStart));
        let after_a_message = [masked(0x81, b"a"), frame].concat();
        assert_eq!(server(&after_a_message), [Text("a".into()), Broke(Violation::ContinuationWithoutStart)]);
        let after_fragments = [masked(0x01, b"a"), masked(0x80, b"b"), masked(first, b"c")].concat();
        assert_eq!(server(&after_fragments), [Text("ab".into()), Broke(Violation::ContinuationWithoutStart)]);
    }
    assert_eq!(Violation::ContinuationWithoutStart.close_code(), 1002);
}

#[test]
fn s5_4_a_message_inside_a_message_closes_1002_at_the_first_byte() {
    for first in [0x01, 0x81, 0x02, 0x82] {
        let start = masked(0x01, b"a");
        let bytes = [start.clone(), masked(first, b"x")].concat();
        assert_eq!(broke_after(&bytes, MAX), (start.len() + 1, Violation::MessageInsideMessage));
    }
    assert_eq!(Violation::MessageInsideMessage.close_code(), 1002);
}

#[test]
fn s5_5_a_fragmented_control_frame_closes_1002_at_the_first_byte() {
    for first in [0x08, 0x09, 0x0a] {
        assert_eq!(broke_after(&masked(first, b""), MAX), (1, Violation::ControlFragmented));
    }
    assert_eq!(Violation::ControlFragmented.close_code(), 1002);
}

#[test]
fn s5_5_a_control_frame_of_126_bytes_closes_1002_at_the_second_byte() {
    for first in [0x88, 0x89, 0x8a] {
        assert_eq!(broke_after(&masked(first, &[0; 126]), MAX), (2, Violation::ControlTooLong));
        assert_eq!(broke_after(&masked(first, &[0; 70_000]), MAX), (2, Violation::ControlTooLong));
    }
    assert_eq!(Violation::ControlTooLong.close_code(), 1002);
}

#[test]
fn s5_5_a_control_frame_passes_even_where_no_message_fits() {
    let seen = outcome_within(Role::Server, &masked(0x89, &[1; 125]), 0);
    assert_eq!(seen, [Ping(vec![1; 125])]);
}

#[test]
fn s5_5_1_valid_close_codes_and_reasons_come_out_and_end_everything() {
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        let payload = [&u16::to_be_bytes(code)[..], "bye: \u{20ac}".as_bytes()].concat();
        let bytes = [masked(0x88, &payload), masked(0x81, b"late")].concat();
        assert_eq!(server(&bytes), [Close(Some(code), "bye: \u{20ac}".into())]);
    }
    assert_eq!(server(&masked(0x88, b"")), [Close(None, String::new())]);
    assert_eq!(server(&masked(0x88, b"\x03\xe8")), [Close(Some(1000), String::new())]);
    let longest = [b"\x03\xe8".to_vec(), vec![b'r'; 123]].concat();
    assert_eq!(server(&masked(0x88, &longest)), [Close(Some(1000), "r".repeat(123))]);
}

#[test]
fn s5_5_1_a_close_payload_of_one_byte_closes_1002() {
    assert_eq!(broke_after(&masked(0x88, b"\x03"), MAX), (2, Violation::ClosePayloadOfOneByte));
    assert_eq!(Violation::ClosePayloadOfOneByte.close_code(), 1002);
}

#[test]
fn s7_4_every_other_close_code_closes_1002() {
    for code in 0..=u16::MAX {
        let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(crate::ws::is_valid_code(code), valid, "{code}");
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let seen = server(&masked(0x88, &u16::to_be_bytes(code)));
        assert_eq!(seen, [Broke(Violation::CloseCode)], "{code}");
    }
    assert_eq!(Violation::CloseCode.close_code(), 1002);
}

#[test]
fn s5_5_1_a_close_reason_that_is_not_utf8_closes_1007() {
    for reason in [&b"\xff"[..], b"ok\xce", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        let payload = [b"\x03\xe8", reason].concat();
        assert_eq!(server(&masked(0x88, &payload)), [Broke(Violation::CloseReasonNotUtf8)]);
    }
    assert_eq!(Violation::CloseReasonNotUtf8.close_code(), 1007);
}

#[test]
fn s8_1_text_that_is_not_utf8_closes_1007() {
    for payload in [&b"\xff"[..], b"abc\x80", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        assert_eq!(server(&masked(0x81, payload)), [Broke(Violation::TextNotUtf8)], "{payload:02x?}");
        assert_eq!(client(&[&[0x81, payload.len() as u8], payload].concat()), [Broke(Violation::TextNotUtf8)]);
        assert_eq!(server(&masked(0x82, payload)), [Binary(payload.to_vec())]);
    }
    assert_eq!(Violation::TextNotUtf8.close_code(), 1007);
}

#[test]
fn s8_1_a_character_may_be_cut_by_fragments_but_not_by_the_end() {
    let euro = "\u{20ac}".as_bytes();
    let bytes = [masked(0x01, &euro[..1]), masked(0x00, &euro[1..2]), masked(0x80, &euro[2..])].concat();
    assert_eq!(server(&bytes), [Text("\u{20ac}".into())]);
    let bytes = [masked(0x01, &euro[..1]), masked(0x00, &euro[1..2]), masked(0x80, b"")].concat();
    assert_eq!(server(&bytes), [Broke(Violation::TextNotUtf8)]);
    // The next text starts anew.
    let bytes = [masked(0x01, euro), masked(0x80, b"a"), masked(0x01, b"b"), masked(0x80, euro)].concat();
    assert_eq!(server(&bytes), [Text("\u{20ac}a".into()), Text("b\u{20ac}".into())]);
}

#[test]
fn s8_1_bad_text_fails_at_its_first_impossible_byte() {
    // In mid-frame: F4 90 can begin no character, three bytes of the frame have not come.
    let frame = masked(0x81, b"ab\xf4\x90\x80\x80z");
    assert_eq!(broke_after(&frame, MAX), (6 + 4, Violation::TextNotUtf8));
    // Across fragments: the second proves it, the last need not come.
    let start = masked(0x01, b"\xce\xba\xf4");
    let bytes = [start.clone(), masked(0x00, b"\x90\x80\x80")].concat();
    assert_eq!(broke_after(&bytes, MAX), (start.len() + 6 + 1, Violation::TextNotUtf8));
    // An ASCII byte cannot continue a character, even where a whole fragment is known to be ASCII.
    let bytes = [masked(0x01, b"\xce"), masked(0x00, b"plain")].concat();
    assert_eq!(server(&bytes), [Broke(Violation::TextNotUtf8)]);
}

#[test]
fn after_a_violation_nothing_is_parsed() {
    let bytes = [masked(0x83, b""), masked(0x81, b"x"), masked(0x88, b"")].concat();
    assert_eq!(server(&bytes), [Broke(Violation::ReservedOpcode)]);
}

#[test]
fn every_reason_fits_a_close_frame() {
    for first in 0..=255u8 {
        for second in [0x00, 0x81, 0xfe, 0xff] {
            let mut seen = Vec::new();
            let bytes = [&[first, second], &[0xff; 20][..]].concat();
            feed(&mut Decoder::new(Role::Server), &bytes, 100, &mut seen);
            for seen in seen {
                if let Broke(violation) = seen {
                    assert!(violation.reason().len() <= 123 && violation.reason().is_ascii());
                    assert!([1002, 1007, 1009].contains(&violation.close_code()));
                }
            }
        }
    }
}
