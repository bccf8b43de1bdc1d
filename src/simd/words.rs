//! Unmasking by 64-bit words, in safe code: the routine of processors without vectors that we know, and of payloads
//! shorter than a vector at the very end of a buffer. Called by the other routines of `simd`.
//! Words overlap at the end of a payload, so that at most three bytes are ever treated one by one.

use super::rotate;

/// Set where a byte of a word is not ASCII.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Unmasks `bytes`; true if the result is all ASCII.
pub(super) fn unmask(bytes: &mut [u8], key: [u8; 4]) -> bool {
    // The payload's last word is computed before the loop changes what it overlaps, and written after it.
    let Some(last) = bytes.last_chunk().copied() else {
        return halves(bytes, key);
    };
    let last = u64::from_ne_bytes(last) ^ doubled(rotate(key, bytes.len()));
    let key = doubled(key);
    let mut seen = last;
    for chunk in bytes.as_chunks_mut().0 {
        let word = u64::from_ne_bytes(*chunk) ^ key;
        seen |= word;
        *chunk = word.to_ne_bytes();
    }
    if let Some(chunk) = bytes.last_chunk_mut() {
        *chunk = last.to_ne_bytes();
    }
    seen & HIGH_BITS == 0
}

/// The same for up to seven bytes: two overlapping halves of a word, or single bytes.
fn halves(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let Some(last) = bytes.last_chunk().copied() else {
        let mut seen = 0;
        for (byte, key) in bytes.iter_mut().zip(key) {
            *byte ^= key;
            seen |= *byte;
        }
        return seen < 0x80;
    };
    let last = u32::from_ne_bytes(last) ^ u32::from_ne_bytes(rotate(key, bytes.len()));
    let mut seen = last;
    if let Some(chunk) = bytes.first_chunk_mut() {
        let first = u32::from_ne_bytes(*chunk) ^ u32::from_ne_bytes(key);
        seen |= first;
        *chunk = first.to_ne_bytes();
    }
    if let Some(chunk) = bytes.last_chunk_mut() {
        *chunk = last.to_ne_bytes();
    }
    u64::from(seen) & HIGH_BITS == 0
}

fn doubled(key: [u8; 4]) -> u64 {
    u64::from(u32::from_ne_bytes(key)) * 0x1_0000_0001
}
