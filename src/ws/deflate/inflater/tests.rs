//! The inflater against RFC 7692 7.2 and against bombs, and its round trip with any DEFLATE.

use flate2::{Compress, Compression, FlushCompress};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ws::Violation::{DeflateData, MessageTooBig, TextNotUtf8};
use crate::ws::deflate::Deflater;

const MAX: usize = 1 << 20;

fn text(deflated: &[u8]) -> Result<String, Violation> {
    let mut inflater = Inflater::default();
    inflater.message(Kind::Text, deflated, MAX).map(|text| String::from_utf8(text.to_vec()).unwrap())
}

fn binary(deflated: &[u8], bytes_max: usize) -> Result<Vec<u8>, Violation> {
    Inflater::default().message(Kind::Binary, deflated, bytes_max).map(<[u8]>::to_vec)
}

/// What zlib at its best makes of this, its flushes after each piece, without the last tail.
fn zlib(pieces: &[&[u8]], flush: FlushCompress) -> Vec<u8> {
    let mut state = Compress::new(Compression::best(), false);
    let mut out = Vec::new();
    for piece in pieces {
        out.reserve(2 * piece.len() + 100);
        state.compress_vec(piece, &mut out, flush).unwrap();
    }
    assert!(out.ends_with(&TAIL));
    out.truncate(out.len() - TAIL.len());
    out
}

#[test]
fn s7_2_3_the_examples_of_the_rfc_are_hello() {
    for (section, deflated) in [
        ("7.2.3.1 one block", &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..]),
        ("7.2.3.3 not compressed", b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),
        ("7.2.3.4 a last block", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        ("7.2.3.5 two blocks", b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
        ("a last block and no other behind it", b"\xf3\x48\xcd\xc9\xc9\x07\x00"),
    ] {
        assert_eq!(text(deflated), Ok("Hello".into()), "{section}");
    }
}

#[test]
fn s7_2_3_4_blocks_behind_a_last_one_go_on() {
    let hello = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(text(&hello.repeat(3)), Ok("HelloHelloHello".into()));
    assert_eq!(text(&[&hello[..], b"\xf2\x48\xcd\xc9\xc9\x07\x00"].concat()), Ok("HelloHello".into()));
    assert_eq!(text(&b"\x03\x00".repeat(1000)), Ok(String::new()));
}

#[test]
fn s7_2_3_6_an_empty_message_is_one_byte_or_none() {
    for deflated in [&b"\x00"[..], b"", b"\x02\x00", b"\x03\x00", b"\x01\x00\x00\xff\xff"] {
        assert_eq!(text(deflated), Ok(String::new()), "{deflated:02x?}");
    }
}

#[test]
fn s7_2_2_what_is_no_deflate_is_refused() {
    for deflated in [
        &b"\xff\xff\xff\xff"[..],
        b"\x06",                             // 11: no such type of block
        b"\x00\x05\x00\xfa\xfe\x48\x65\x6c", // LEN and NLEN differ
        b"\x00\x05\x00\xfa\xff\x48\x65",     // a block not compressed ends too early
        b"\x4b\x04\x42\x00",                 // reaches back behind the beginning
        b"Hello",
    ] {
        assert_eq!(text(deflated), Err(DeflateData), "{deflated:02x?}");
    }
}

#[test]
fn s7_2_2_a_message_cut_off_is_refused_wherever_it_was() {
    let content = br#"{"op":"publish","topic":"a/b","data":[1,2,3,1,2,3,"x","x","x","abcabcabcabc"]}"#;
    for flush in [FlushCompress::Sync, FlushCompress::Full] {
        let deflated = zlib(&[content], flush);
        assert_eq!(binary(&deflated, MAX).as_deref(), Ok(&content[..]));
        for len in 1..deflated.len() {
            assert_eq!(binary(&deflated[..len], MAX), Err(DeflateData), "{len} of {} bytes", deflated.len());
        }
    }
}

#[test]
fn s8_1_text_is_checked_behind_the_compression() {
    let mut deflater = Deflater::new(15);
    let deflated = deflater.deflate([b"\xce\xba\xe1\xbd\xb9\xcf\x83", b"\xed\xa0\x80"], 100).unwrap().to_vec();
    assert_eq!(text(&deflated), Err(TextNotUtf8));
    assert_eq!(binary(&deflated, MAX).as_deref(), Ok(&b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"[..]));
}

#[test]
fn the_longest_message_is_inflated_and_one_byte_more_is_not() {
    for len in [1, 100, INFLATE_STEP_BYTES - 1, INFLATE_STEP_BYTES, INFLATE_STEP_BYTES + 1, 100_000] {
        let content = vec![b'x'; len];
        let deflated = zlib(&[&content], FlushCompress::Sync);
        assert_eq!(binary(&deflated, len).as_ref(), Ok(&content), "{len} bytes");
        assert_eq!(binary(&deflated, len - 1), Err(MessageTooBig), "{len} bytes");
    }
}

#[test]
fn a_bomb_ends_at_the_limit_and_leaves_nothing_behind() {
    let deflated = zlib(&[&vec![0; 64 << 20]], FlushCompress::Sync);
    assert!(deflated.len() < 70_000, "{}", deflated.len());
    let mut inflater = Inflater::default();
    for bytes_max in [1000, 65_536, 1 << 20] {
        assert_eq!(inflater.message(Kind::Binary, &deflated, bytes_max), Err(MessageTooBig));
        assert!(inflater.out.capacity() <= bytes_max.max(INFLATED_KEPT_BYTES) + 1, "{}", inflater.out.capacity());
        assert_eq!(inflater.message(Kind::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00", bytes_max), Ok(&b"Hello"[..]));
        assert!(inflater.out.capacity() <= INFLATED_KEPT_BYTES, "{}", inflater.out.capacity());
    }
}

#[test]
fn a_refused_message_leaves_nothing_for_the_next_one() {
    let mut inflater = Inflater::default();
    let deflated = zlib(&[b"abcabcabcabcabcabc"], FlushCompress::Sync);
    for bad in
        [&b"\xff\xff"[..], &deflated[..5], &deflated[..deflated.len() - 1], &zlib(&[&[0; 5000]], FlushCompress::Sync)]
    {
        assert!(inflater.message(Kind::Binary, bad, 1000).is_err());
        // A reference to what the message before it left would be one behind its beginning.
        assert_eq!(inflater.message(Kind::Binary, b"\x4b\x04\x42\x00", 1000), Err(DeflateData));
        assert_eq!(inflater.message(Kind::Binary, &deflated, 1000), Ok(&b"abcabcabcabcabcabc"[..]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_any_compressor_made_of_any_pieces_comes_back(
        pieces in vec(prop_oneof!["[a-c]{0,300}".prop_map(String::into_bytes), vec(any::<u8>(), 0..300)], 1..6),
        full: bool,
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).filter(|piece| !piece.is_empty()).collect();
        prop_assume!(!pieces.is_empty());
        let content = pieces.concat();
        let deflated = zlib(&pieces, if full { FlushCompress::Full } else { FlushCompress::Sync });
        prop_assert_eq!(binary(&deflated, content.len()), Ok(content));
    }

    #[test]
    fn bytes_of_all_sorts_are_judged_within_the_limit(deflated in vec(any::<u8>(), 0..300), bytes_max in 0..5000usize) {
        if let Ok(content) = binary(&deflated, bytes_max) {
            prop_assert!(content.len() <= bytes_max);
        }
    }
}
