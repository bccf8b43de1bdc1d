//! Frames out: every function appends to bytes that the caller owns (RFC 6455 5.2).
//!
//! Homes frame a publication once for all subscribers with [`frame`]; shards frame replies and control frames; the load
//! test and the command line use [`masked_frame`]. Always one final frame, always the shortest length form. It does not
//! check payloads: the caller gives UTF-8 for text and at most 125 bytes for control frames.

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

/// Appends the header of an unmasked final frame; `payload_len` bytes must follow.
#[inline]
pub fn header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    header_with(out, opcode, payload_len, 0);
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
    out.reserve(header_len(payload.len()) + key.len() + payload.len());
    header_with(out, opcode, payload.len(), 0x80);
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
            usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                .expect("its payload is in our memory")
        }
        (short, _) => usize::from(short),
    };
    header_len(payload_len) + payload_len
}

#[inline]
fn header_with(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize, mask_bit: u8) {
    let first = 0x80 | opcode as u8;
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
