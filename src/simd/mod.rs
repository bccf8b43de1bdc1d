//! Unmasking a WebSocket payload in place, with the ASCII test fused into the same pass.
//! Called by `ws` for each masked frame, or part of a frame, that was read. One body, `vector`, serves every vector
//! width behind one safe door; `words` is the portable routine. The only `unsafe` of the package is in here.
//! Invariant: of the buffer, only the bytes of the range are read or written. So neighbouring frames stay intact, and
//! a load never waits for a wider store that overlaps it, which made reading past the range slower (bench/README.md).

use std::ops::Range;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;
mod words;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

/// XORs `buf[range]` with the repeated `key` (RFC 6455 5.3), in place, and says whether the result is all ASCII.
///
/// The key starts anew at `range.start`; for the later parts of one frame's payload, [`rotate`] it.
///
/// # Panics
/// If `range` is not a range of `buf`.
#[inline]
pub fn unmask(buf: &mut [u8], range: Range<usize>, key: [u8; 4]) -> bool {
    choose(&mut buf[range], key)
}

#[cfg(target_arch = "aarch64")]
use neon::unmask as choose;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use words::unmask as choose;
#[cfg(target_arch = "x86_64")]
use x86::unmask as choose;

/// The key that goes on after `by` bytes of a payload were unmasked with `key`.
#[must_use]
#[inline]
pub const fn rotate(key: [u8; 4], by: usize) -> [u8; 4] {
    let bits = 8 * (by & 3) as u32;
    u32::from_le_bytes(key).rotate_right(bits).to_le_bytes()
}

/// Unmasks a whole slice; true if the result is all ASCII.
#[doc(hidden)]
pub type Routine = fn(&mut [u8], [u8; 4]) -> bool;

/// Every routine that this processor can run, by name, for tests and benchmarks. The last is what [`unmask`] uses.
#[doc(hidden)]
#[must_use]
pub fn routines() -> Vec<(&'static str, Routine)> {
    let mut routines: Vec<(&'static str, Routine)> = vec![("words", words::unmask)];
    #[cfg(target_arch = "x86_64")]
    routines.extend(x86::routines());
    routines.push(("chosen", choose));
    routines
}
