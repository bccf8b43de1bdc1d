//! Unmasking and the ASCII test in one pass.

use std::ops::Range;

/// Bytes after a range that [`unmask`] likes to find in the slice, to work without a tail loop.
pub const PADDING: usize = 64;

/// XORs `buf[range]` with the repeated `key` (RFC 6455 5.3), in place, and says whether the result is all ASCII.
pub fn unmask(buf: &mut [u8], range: Range<usize>, key: [u8; 4]) -> bool {
    let mut seen = 0;
    for (i, byte) in buf[range].iter_mut().enumerate() {
        *byte ^= key[i & 3];
        seen |= *byte;
    }
    seen < 0x80
}
