//! NEON, which every 64-bit ARM that we build for has. Called by `simd::unmask`.

use super::vector::{self, Vector};
use std::arch::aarch64::{uint8x16_t, veorq_u8, vld1q_u8, vmaxvq_u8, vorrq_u8, vst1q_u8};

pub(super) fn unmask(bytes: &mut [u8], key: [u8; 4]) -> bool {
    // SAFETY: the constant below refuses to compile where NEON is not part of the target.
    unsafe { vector::unmask::<Neon>(bytes, key) }
}

const _: () = assert!(cfg!(target_feature = "neon"), "an aarch64 target without NEON");

#[derive(Clone, Copy)]
struct Neon(uint8x16_t);

impl Vector for Neon {
    const BYTES: usize = 16;
    #[inline(always)]
    unsafe fn splat([a, b, c, d]: [u8; 4]) -> Self {
        let bytes = [a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d];
        // SAFETY: the caller vouches for NEON, and `bytes` has 16 bytes.
        Self(unsafe { vld1q_u8(bytes.as_ptr()) })
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for NEON and 16 bytes; this load asks no alignment.
        Self(unsafe { vld1q_u8(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller vouches for NEON and 16 bytes; this store asks no alignment.
        unsafe { vst1q_u8(to, self.0) }
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        // SAFETY: `self` proves NEON.
        Self(unsafe { veorq_u8(self.0, other.0) })
    }
    #[inline(always)]
    fn or(self, other: Self) -> Self {
        // SAFETY: `self` proves NEON.
        Self(unsafe { vorrq_u8(self.0, other.0) })
    }
    #[inline(always)]
    fn is_ascii(self) -> bool {
        // SAFETY: `self` proves NEON.
        unsafe { vmaxvq_u8(self.0) < 0x80 }
    }
}
