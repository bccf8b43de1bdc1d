//! Frames out: every function appends to bytes that the caller owns (RFC 6455 5.2).
//!
//! Homes frame a publication once for all subscribers with [`frame`]; shards frame replies and control frames; the load
//! test and the command line use [`masked_frame`]. Always one final frame, always the shortest length form. It does not
//! check payloads: the caller gives UTF-8 for text and at most 125 bytes for control frames.

use super::frame::RSV1;
use super::{CONTROL_PAYLOAD_MAX, Opcode};
use crate::simd;

/// Bytes of a header for this payload without a mask: 2, 4 or 10.
#[must_use]
pub const fn header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => 10,
    }
}

/// Bytes of a header for this payload with a mask: 6, 8 or 14.
#[must_use]
pub const fn masked_header_len(payload_len: usize) -> usize {
    header_len(payload_len) + 4
}

/// Appends the header of an unmasked final frame; `payload_len` bytes must follow.
#[inline]
pub fn header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    header_with(out, opcode as u8, payload_len, 0);
}

/// [`header`] of a compressed message (RFC 7692 6): only for who agreed to permessage-deflate.
pub fn deflated_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    header_with(out, RSV1 | opcode as u8, payload_len, 0);
}

/// Whether the frame at the start of `bytes`, which we encoded, is a compressed message.
#[must_use]
pub fn is_deflated(bytes: &[u8]) -> bool {
    bytes[0] & RSV1 != 0
}

/// Appends a server's frame.
#[inline]
pub fn frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_PAYLOAD_MAX);
    out.reserve(header_len(payload.len()) + payload.len());
    header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a client's frame. RFC 6455 5.3: `key` must be new and unpredictable for each frame.
pub fn masked_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    debug_assert!(!opcode.is_control() || payload.len() <= CONTROL_PAYLOAD_MAX);
    masked_frame_with(out, opcode as u8, payload, key);
}

/// [`masked_frame`] of a compressed message (RFC 7692 6).
pub fn masked_deflated_frame(out: &mut Vec<u8>, opcode: Opcode, deflated: &[u8], key: [u8; 4]) {
    masked_frame_with(out, RSV1 | opcode as u8, deflated, key);
}

fn masked_frame_with(out: &mut Vec<u8>, bits: u8, payload: &[u8], key: [u8; 4]) {
    out.reserve(header_len(payload.len()) + key.len() + payload.len());
    header_with(out, bits, payload.len(), 0x80);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    // Masking and unmasking are one operation.
    let end = out.len();
    simd::unmask(out, start..end, key);
}

/// Appends a server's close frame. The reason is cut to 123 bytes, between characters.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let (payload, len) = close_payload(code, reason);
    frame(out, Opcode::Close, &payload[..len]);
}

/// Appends a client's close frame, like [`close`].
pub fn masked_close(out: &mut Vec<u8>, code: u16, reason: &str, key: [u8; 4]) {
    let (payload, len) = close_payload(code, reason);
    masked_frame(out, Opcode::Close, &payload[..len], key);
}

/// The length in bytes of the header of the unmasked frame at the start of `bytes`, which we encoded.
#[must_use]
pub fn frame_header_len(bytes: &[u8]) -> usize {
    match bytes[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// The whole length in bytes of the unmasked frame at the start of `bytes`, which we encoded.
///
/// # Panics
/// If `bytes` has not even a whole header: our own bug.
#[must_use]
pub fn frame_len(bytes: &[u8]) -> usize {
    debug_assert!(bytes[1] & 0x80 == 0, "a masked frame");
    let payload_len = match (bytes[1] & 0x7f, &bytes[2..]) {
        (126, &[a, b, ..]) => usize::from(u16::from_be_bytes([a, b])),
        (127, &[a, b, c, d, e, f, g, h, ..]) => {
            usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).expect("its payload is in our memory")
        }
        (short, _) => usize::from(short),
    };
    header_len(payload_len) + payload_len
}

#[inline]
fn header_with(out: &mut Vec<u8>, bits: u8, payload_len: usize, mask_bit: u8) {
    let first = 0x80 | bits;
    match payload_len {
        0..=125 => out.extend_from_slice(&[first, mask_bit | payload_len as u8]),
        126..=0xffff => {
            let [a, b] = (payload_len as u16).to_be_bytes();
            out.extend_from_slice(&[first, mask_bit | 126, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, mask_bit | 127]);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}

fn close_payload(code: u16, reason: &str) -> ([u8; CONTROL_PAYLOAD_MAX], usize) {
    let mut payload = [0; CONTROL_PAYLOAD_MAX];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    // RFC 6455 5.5: 125 bytes less the code, and 5.5.1: the reason stays UTF-8.
    let end = reason.floor_char_boundary(CONTROL_PAYLOAD_MAX - 2);
    payload[2..2 + end].copy_from_slice(&reason.as_bytes()[..end]);
    (payload, 2 + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_2_headers_have_the_shortest_form() {
        for (len, expected) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = vec![];
            header(&mut out, Opcode::Text, len);
            assert_eq!(out, expected);
            assert_eq!(header_len(len), expected.len());
            assert_eq!(frame_len(&out), len + expected.len());
        }
    }

    #[test]
    fn s5_7_the_examples_of_the_rfc_are_what_is_encoded() {
        let mut out = vec![];
        frame(&mut out, Opcode::Text, b"Hello");
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        masked_frame(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
    }

    #[test]
    fn frames_are_appended_and_found_again_by_their_lengths() {
        let payloads: Vec<Vec<u8>> = [0, 1, 125, 126, 65_535, 65_536].map(|len| vec![7; len]).into();
        let mut out = vec![];
        for payload in &payloads {
            frame(&mut out, Opcode::Binary, payload);
        }
        let mut rest = &out[..];
        for payload in &payloads {
            let (frame, later) = rest.split_at(frame_len(rest));
            assert!(frame.ends_with(payload) && frame.len() == payload.len() + header_len(payload.len()));
            rest = later;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn s5_5_1_a_long_close_reason_is_cut_between_characters() {
        for (reason, kept) in [
            ("r".repeat(123), 123),
            ("r".repeat(124), 123),
            ("\u{20ac}".repeat(41), 123),
            (format!("a{}", "\u{20ac}".repeat(41)), 121),
            (String::new(), 0),
        ] {
            let mut out = vec![];
            close(&mut out, 4008, &reason);
            assert_eq!(out[..4], [0x88, 2 + kept as u8, 0x0f, 0xa8]);
            assert_eq!(&out[4..], &reason.as_bytes()[..kept]);
            assert!(std::str::from_utf8(&out[4..]).is_ok());
            out.clear();
            masked_close(&mut out, 4008, &reason, [0; 4]);
            assert_eq!(&out[8..], &reason.as_bytes()[..kept]);
        }
    }
}
