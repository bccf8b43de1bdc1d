//! What the deflater makes is the message again for any inflater that keeps the window, and no longer than was allowed.

use flate2::{Decompress, FlushDecompress};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ws::Kind;
use crate::ws::deflate::Inflater;

/// Inflates with no more than this window.
fn inflated(deflated: &[u8], window_bits: u8, len: usize) -> Vec<u8> {
    let mut state = Decompress::new_with_window_bits(false, window_bits);
    let mut out = Vec::with_capacity(len + 1);
    let whole = [deflated, &TAIL].concat();
    let mut taken = 0;
    // Byte by byte, so that nothing but the window remembers what was before.
    while taken < whole.len() {
        state.decompress_vec(&whole[taken..=taken], &mut out, FlushDecompress::Sync).unwrap();
        taken = usize::try_from(state.total_in()).unwrap();
    }
    out
}

#[test]
fn s7_1_2_1_every_window_is_kept() {
    // What comes again lies 300 bytes back, 600, and so on: too far for the smaller windows.
    let mut state = 1u32;
    let mut noise = |len: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    };
    let mut content = Vec::new();
    for distance in [300, 600, 1200, 2400, 4800, 9600, 19_200] {
        let piece = noise(distance);
        content.extend_from_slice(&piece);
        content.extend_from_slice(&piece);
    }
    let mut lens = Vec::new();
    for window_bits in WINDOW_BITS_MIN..=15 {
        let mut deflater = Deflater::new(window_bits);
        let deflated = deflater.deflate([&content, b"}"], 2 * content.len()).unwrap();
        assert_eq!(inflated(deflated, window_bits, content.len() + 1), [&content[..], b"}"].concat(), "{window_bits}");
        lens.push(deflated.len());
    }
    assert!(lens.is_sorted_by(|a, b| a >= b) && lens[0] > lens[6] + 10_000, "{lens:?}");
}

#[test]
fn a_message_that_does_not_fit_is_none_and_leaves_nothing_for_the_next_one() {
    let mut deflater = Deflater::new(12);
    let content = b"abcabcabcabcabcabcabcabcabcabcabcabc".repeat(20);
    let len = deflater.deflate([&content, b""], 1000).unwrap().len();
    for len_max in 0..len {
        assert_eq!(deflater.deflate([&content, b""], len_max), None, "{len_max}");
        assert_eq!(deflater.deflate([b"", &content], len).map(<[u8]>::len), Some(len));
    }
    assert_eq!(deflater.deflate([b"", b""], 1), Some(&b"\x00"[..]), "RFC 7692 7.2.3.6");
}

#[test]
fn a_long_message_leaves_nothing_behind() {
    let mut deflater = Deflater::new(12);
    assert!(deflater.deflate([&[7; 1 << 20], b""], 1 << 20).is_some());
    assert!(deflater.deflate([b"a", b""], 100).is_some());
    assert!(deflater.out.capacity() <= SPARE_BYTES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_one_behind_the_other_come_back(
        messages in vec((prop_oneof!["[a-c]{0,600}".prop_map(String::into_bytes), vec(any::<u8>(), 0..600)], 0..600usize), 1..4),
        window_bits in WINDOW_BITS_MIN..=15,
    ) {
        let (mut deflater, mut inflater) = (Deflater::new(window_bits), Inflater::default());
        for (content, cut) in &messages {
            let (first, second) = content.split_at(*cut.min(&content.len()));
            let deflated = deflater.deflate([first, second], content.len() + 100).unwrap();
            prop_assert_eq!(inflater.message(Kind::Binary, deflated, content.len()), Ok(&content[..]));
        }
    }
}
