//! SSE2, which every x86-64 has, and AVX2, which is asked for at run time.
//! Called by `simd::unmask`.

use super::Routine;
use super::vector::{self, Vector};
use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the processor was asked for AVX2, and has it. The standard library caches the answer too, but a call of its
/// macro may ask, for which the compiler saves our arguments every time: 1 ns of the 5 ns that a short payload takes (bench/unmask.rs).
static AVX2: AtomicBool = AtomicBool::new(false);

#[inline]
pub(super) fn unmask(bytes: &mut [u8], key: [u8; 4]) -> bool {
    if bytes.len() <= 2 * Sse2::BYTES {
        // Two vectors do it, and AVX2 could not do it in less.
        sse2(bytes, key)
    } else if AVX2.load(Ordering::Relaxed) {
        // SAFETY: it is true only after the processor said so.
        unsafe { avx2(bytes, key) }
    } else {
        ask(bytes, key)
    }
}

/// The first call, or any on a processor without AVX2.
#[inline(never)]
fn ask(bytes: &mut [u8], key: [u8; 4]) -> bool {
    if is_x86_feature_detected!("avx2") {
        AVX2.store(true, Ordering::Relaxed);
        // SAFETY: the processor was asked.
        unsafe { avx2(bytes, key) }
    } else {
        sse2(bytes, key)
    }
}

/// The routines that this processor can run, for tests and benchmarks.
pub(super) fn routines() -> Vec<(&'static str, Routine)> {
    let mut routines: Vec<(&'static str, Routine)> = vec![("sse2", sse2)];
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was asked.
        routines.push(("avx2", |bytes, key| unsafe { avx2(bytes, key) }));
    }
    routines
}

#[inline(always)] // Into `unmask`, where only its two shortest cases remain.
fn sse2(bytes: &mut [u8], key: [u8; 4]) -> bool {
    // SAFETY: x86-64 has SSE2.
    unsafe { vector::unmask::<Sse2>(bytes, key) }
}

#[target_feature(enable = "avx2")]
fn avx2(bytes: &mut [u8], key: [u8; 4]) -> bool {
    // SAFETY: the processor has AVX2, or this function could not have been called.
    unsafe { vector::unmask::<Avx2>(bytes, key) }
}

/// Fills in [`Vector`] for a register by the instructions' names.
macro_rules! register {
    ($name:ident($register:ty), $splat:ident, $load:ident, $store:ident, $xor:ident, $or:ident, $signs:ident) => {
        #[derive(Clone, Copy)]
        struct $name($register);

        impl Vector for $name {
            const BYTES: usize = size_of::<$register>();
            #[inline(always)]
            unsafe fn splat(key: [u8; 4]) -> Self {
                // SAFETY: the caller vouches for the instructions.
                Self(unsafe { $splat(i32::from_ne_bytes(key)) })
            }
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the instructions and the bytes; this load asks no alignment.
                Self(unsafe { $load(from.cast()) })
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: `self` proves the instructions, the caller vouches for the bytes; this store asks no alignment.
                unsafe { $store(to.cast(), self.0) }
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $xor(self.0, other.0) })
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                // SAFETY: `self` proves the instructions.
                Self(unsafe { $or(self.0, other.0) })
            }
            #[inline(always)]
            fn is_ascii(self) -> bool {
                // SAFETY: `self` proves the instructions.
                unsafe { $signs(self.0) == 0 }
            }
        }
    };
}

register!(
    Sse2(__m128i),
    _mm_set1_epi32,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm_xor_si128,
    _mm_or_si128,
    _mm_movemask_epi8
);

register!(
    Avx2(__m256i),
    _mm256_set1_epi32,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_xor_si256,
    _mm256_or_si256,
    _mm256_movemask_epi8
);
