//! Every routine that this processor can run, against the naive loop: each length, alignment and key phase.

use super::{Routine, rotate, routines, unmask};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The definition, RFC 6455 5.3.
fn naive(bytes: &mut [u8], key: [u8; 4]) -> bool {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
    bytes.is_ascii()
}

/// A buffer that starts on a cache line, so that an index is an alignment.
#[repr(align(64))]
#[derive(Clone, PartialEq)]
struct Aligned([u8; 64 + 300 + 64]);

impl Aligned {
    /// Bytes that all differ from their neighbours, with both values of the highest bit.
    fn noise() -> Self {
        Self(std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x5a))
    }
}

fn agrees(name: &str, routine: Routine, start: usize, length: usize, key: [u8; 4]) {
    let range = start..start + length;
    let (mut expected, mut actual) = (Aligned::noise(), Aligned::noise());
    let ascii = naive(&mut expected.0[range.clone()], key);
    let verdict = routine(&mut actual.0[range], key);
    assert!(actual == expected, "{name}: {length} bytes at {start}: wrong bytes, or neighbours changed");
    assert_eq!(verdict, ascii, "{name}: {length} bytes at {start}: the ASCII verdict");
}

#[test]
fn every_routine_equals_the_naive_loop_at_every_length_alignment_and_key_phase() {
    for (name, routine) in routines() {
        for length in 0..=300 {
            for start in 0..64 {
                for phase in 0..4 {
                    agrees(name, routine, start, length, rotate(KEY, phase));
                }
            }
        }
    }
}

#[test]
fn a_payload_that_fills_its_buffer_to_the_last_byte_is_unmasked_within_it() {
    for (name, routine) in routines() {
        for length in 0..=300 {
            // An allocation of exactly this size: a memory checker sees a single byte too far.
            let mut actual = Aligned::noise().0[..length].to_vec().into_boxed_slice();
            let mut expected = actual.clone();
            assert_eq!(routine(&mut actual, KEY), naive(&mut expected, KEY), "{name}: {length} bytes");
            assert!(actual == expected, "{name}: {length} bytes");
        }
    }
}

#[test]
fn one_byte_that_is_not_ascii_is_seen_at_every_place() {
    for (name, routine) in routines() {
        for length in 1..=300 {
            for place in 0..length {
                let mut bytes = [b'a'; 300];
                bytes[place] = 0x80;
                let bytes = &mut bytes[..length];
                naive(bytes, KEY);
                assert!(!routine(bytes, KEY), "{name}: {length} bytes, place {place}");
            }
        }
    }
}

#[test]
fn neighbours_that_are_not_ascii_do_not_count() {
    for (name, routine) in routines() {
        for length in 0..=300 {
            let mut buf = [0xff; 64 + 300 + 64];
            let bytes = &mut buf[64..64 + length];
            bytes.fill(0x7f);
            naive(bytes, KEY);
            assert!(routine(bytes, KEY), "{name}: {length} bytes");
            assert!(buf[..64].iter().chain(&buf[64 + length..]).all(|byte| *byte == 0xff), "{name}");
        }
    }
}

#[test]
fn s5_3_the_example_of_the_rfc_is_unmasked() {
    // RFC 6455 5.7: a single-frame masked text message, "Hello".
    let mut frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert!(unmask(&mut frame, 6..11, KEY));
    assert_eq!(&frame[6..], b"Hello");
    assert_eq!(frame[..6], [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d]);
}

#[test]
fn a_rotated_key_starts_at_the_byte_that_comes_next() {
    for by in 0..9 {
        let expected: [u8; 4] = std::array::from_fn(|i| KEY[(i + by) % 4]);
        assert_eq!(rotate(KEY, by), expected, "by {by}");
    }
    assert_eq!(rotate(KEY, usize::MAX), rotate(KEY, 3));
}

#[test]
#[should_panic(expected = "out of range")]
fn a_range_outside_of_the_buffer_is_refused() {
    unmask(&mut [0; 8], 4..9, KEY);
}

#[test]
fn vectors_are_used_where_the_processor_has_them() {
    let names: Vec<_> = routines().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.first(), Some(&"words"));
    assert_eq!(names.last(), Some(&"chosen"));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(names.contains(&"avx2"), std::arch::is_x86_feature_detected!("avx2"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn large_payloads_equal_the_naive_loop(
        bytes in prop::collection::vec(any::<u8>(), 0..40_000),
        ascii in any::<bool>(),
        key in any::<[u8; 4]>(),
        start in 0..100_usize,
    ) {
        let start = start.min(bytes.len());
        let mut masked = bytes;
        if ascii {
            masked.iter_mut().for_each(|byte| *byte &= 0x7f);
            naive(&mut masked[start..], key);
        }
        let mut expected = masked.clone();
        let verdict = naive(&mut expected[start..], key);
        for (name, routine) in routines() {
            let mut actual = masked.clone();
            prop_assert_eq!(routine(&mut actual[start..], key), verdict, "{}", name);
            prop_assert_eq!(&actual, &expected, "{}", name);
        }
    }

    #[test]
    fn a_payload_in_parts_equals_the_whole(
        bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        cuts in prop::collection::vec(0..400_usize, 0..12),
        key in any::<[u8; 4]>(),
    ) {
        let mut whole = bytes.clone();
        let ascii = naive(&mut whole, key);
        let mut parts = bytes;
        let (mut done, mut all_ascii) = (0_usize, true);
        for part in cuts.into_iter().chain([usize::MAX]) {
            let end = done.saturating_add(part).min(parts.len());
            all_ascii &= unmask(&mut parts, done..end, rotate(key, done));
            done = end;
        }
        prop_assert_eq!(parts, whole);
        prop_assert_eq!(all_ascii, ascii);
    }
}
