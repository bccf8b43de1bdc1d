//! Frames of compressed messages: where the bit for them may stand, how long they may be (RFC 7692 6).

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ws::deflate::{Deflater, Inflater};
use crate::ws::encode;

fn agreed(role: Role) -> Decoder {
    Decoder::new(role).with_deflate(true)
}

/// As `server`, with permessage-deflate agreed on.
fn deflating(bytes: &[u8], max: usize) -> Vec<Seen> {
    let whole = outcome_of(agreed(Role::Server), bytes, &[bytes.len()], max);
    for sizes in [&[1][..], &[2], &[3], &[5, 1], &[7]] {
        assert_eq!(outcome_of(agreed(Role::Server), bytes, sizes, max), whole, "in reads of {sizes:?}");
    }
    whole
}

#[test]
fn s6_1_the_bit_on_the_first_frame_makes_a_compressed_message() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let mut out = Vec::new();
    encode::masked_deflated_frame(&mut out, Opcode::Text, hello, KEY);
    assert_eq!(out, masked(0xc1, hello));
    assert_eq!(deflating(&out, MAX), [Deflated(Kind::Text, hello.to_vec())]);
    out.clear();
    encode::deflated_header(&mut out, Opcode::Text, hello.len());
    out.extend_from_slice(hello);
    assert_eq!(out, b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "7.2.3.1");
    assert!(encode::is_deflated(&out) && !encode::is_deflated(b"\x81\x00"));
    assert_eq!(outcome_of(agreed(Role::Client), &out, &[3], MAX), [Deflated(Kind::Text, hello.to_vec())]);
}

#[test]
fn s6_1_messages_without_the_bit_are_what_they_were() {
    let frames = [masked(0x81, b"Hello"), masked(0x02, b"\xf2\x48"), masked(0x80, b"\xff"), masked(0xc2, b"")].concat();
    let seen = deflating(&frames, MAX);
    assert_eq!(seen, [Text("Hello".into()), Binary(b"\xf2\x48\xff".to_vec()), Deflated(Kind::Binary, vec![])]);
    assert_eq!(deflating(&masked(0x81, b"\xff"), MAX), [Broke(Violation::TextNotUtf8)]);
    let again = [masked(0x41, b"\xff"), masked(0x80, b""), masked(0x01, b"a"), masked(0x80, b"\xff")].concat();
    assert_eq!(deflating(&again, MAX), [Deflated(Kind::Text, vec![0xff]), Broke(Violation::TextNotUtf8)]);
}

#[test]
fn s6_2_fragments_are_joined_and_control_frames_pass_between_them() {
    let frames =
        [masked(0x41, b"\xf2\x48"), masked(0x89, b"?"), masked(0x00, b""), masked(0x80, b"\xcd\xc9\xc9\x07\x00")];
    let whole = Deflated(Kind::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec());
    assert_eq!(deflating(&frames.concat(), MAX), [Ping(b"?".to_vec()), whole]);
}

#[test]
fn s6_1_the_bit_on_any_other_frame_closes_1002_at_the_first_byte() {
    for opcode in [0x8, 0x9, 0xa] {
        assert_eq!(deflating(&masked(0xc0 | opcode, b""), MAX), [Broke(Violation::CompressedBit)]);
    }
    for begun in [0x01, 0x41] {
        for first in [0x40, 0xc0] {
            let frames = [masked(begun, b"a"), masked(first, b"b")].concat();
            assert_eq!(deflating(&frames, MAX), [Broke(Violation::CompressedBit)]);
        }
    }
    assert_eq!(Violation::CompressedBit.close_code(), 1002);
}

#[test]
fn s6_the_other_reserved_bits_close_1002_as_ever() {
    for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
        for opcode in [0x0, 0x1, 0x2, 0x9] {
            assert_eq!(deflating(&masked(0x80 | bits | opcode, b""), MAX), [Broke(Violation::ReservedBits)]);
        }
    }
}

#[test]
fn a_compressed_message_may_be_as_long_as_one_that_cannot_be_shortened() {
    let max = 800;
    let longest = max + 100 + 64;
    assert_eq!(deflated_bytes_max(max), longest);
    let bytes = vec![0xaa; longest];
    assert_eq!(deflating(&masked(0xc2, &bytes), max), [Deflated(Kind::Binary, bytes.clone())]);
    for cut in [0, 1, max, max + 1, longest] {
        let frames = [masked(0x42, &bytes[..cut]), masked(0x80, &bytes[cut..])].concat();
        assert_eq!(deflating(&frames, max), [Deflated(Kind::Binary, bytes.clone())]);
        let longer = [masked(0x42, &bytes[..cut]), masked(0x80, &[&bytes[cut..], b"x"].concat())].concat();
        assert_eq!(deflating(&longer, max), [Broke(Violation::MessageTooBig)]);
    }
    assert_eq!(deflating(&masked(0xc2, &[&bytes[..], b"x"].concat()), max), [Broke(Violation::MessageTooBig)]);
    // What is not compressed gets nothing of this.
    for frames in
        [masked(0x82, &bytes[..=max]), [masked(0x42, b""), masked(0x80, b""), masked(0x82, &bytes[..=max])].concat()]
    {
        assert_eq!(deflating(&frames, max).last(), Some(&Broke(Violation::MessageTooBig)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_in_any_fragments_and_reads_comes_back(
        content in prop_oneof!["[a-c]{0,2000}".prop_map(String::into_bytes), vec(any::<u8>(), 0..500)],
        cuts in vec(any::<prop::sample::Index>(), 0..5),
        sizes in vec(prop_oneof![1..20usize, 1..5000usize], 1..12),
        window_bits in 9u8..=15,
    ) {
        let mut deflater = Deflater::new(window_bits);
        let deflated = deflater.deflate([&content, b""], content.len() + 100).unwrap();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(deflated.len() + 1)).chain([deflated.len()]).collect();
        ends.sort_unstable();
        let (mut frames, mut start) = (Vec::new(), 0);
        for (index, &end) in ends.iter().enumerate() {
            let first = if index == 0 { 0x42 } else { 0 } | if index + 1 == ends.len() { 0x80 } else { 0 };
            frames.extend(masked(first, &deflated[start..end]));
            frames.extend(masked(0x8a, b""));
            start = end;
        }
        let mut seen = outcome_of(agreed(Role::Server), &frames, &sizes, content.len());
        seen.retain(|seen| *seen != Pong(vec![]));
        prop_assert_eq!(&seen, &[Deflated(Kind::Binary, deflated.to_vec())]);
        let mut inflater = Inflater::default();
        prop_assert_eq!(inflater.message(Kind::Binary, deflated, content.len()), Ok(&content[..]));
    }

    #[test]
    fn any_split_of_the_same_bytes_gives_the_same_events(
        frames in vec((any::<u8>(), vec(any::<u8>(), 0..200)), 1..8),
        sizes in vec(1..20usize, 1..9),
        max in 50..400usize,
    ) {
        let bytes = frames.iter().flat_map(|(first, payload)| masked(*first & 0xcf, payload)).collect::<Vec<_>>();
        let whole = outcome_of(agreed(Role::Server), &bytes, &[bytes.len()], max);
        prop_assert_eq!(outcome_of(agreed(Role::Server), &bytes, &sizes, max), whole);
    }
}
