//! The one body of all vector routines, over a small trait that an instruction set fills in.
//! Called by `x86` and `neon`, inside a function that has the instructions enabled: hence `inline(always)` everywhere.
//! Where a length is no multiple of the vector's, the last vectors overlap those before them. All that overlap are
//! loaded before any of them is stored, so that they write the same bytes twice, and no length needs a tail.
//! It refuses to touch a byte outside of its slice, and leaves what is shorter than a vector to `words`.

use super::{rotate, words};

/// A vector register. A value of it is the proof that the processor has its instructions: only `load` and `splat`, which
/// are unsafe, make one.
pub(super) trait Vector: Copy {
    /// Its size, a power of two.
    const BYTES: usize;
    /// The key, repeated. Safety: the processor has the instructions.
    unsafe fn splat(key: [u8; 4]) -> Self;
    /// Reads at any alignment. Safety: the processor has the instructions, and `BYTES` bytes can be read at `from`.
    unsafe fn load(from: *const u8) -> Self;
    /// Writes at any alignment. Safety: `BYTES` bytes can be written at `to`.
    unsafe fn store(self, to: *mut u8);
    fn xor(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    /// Whether all bytes are below 0x80.
    fn is_ascii(self) -> bool;
}

/// Unmasks any number of bytes; true if the result is all ASCII.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
pub(super) unsafe fn unmask<V: Vector>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    if bytes.len() < V::BYTES {
        return words::unmask(bytes, key);
    }
    // SAFETY: the caller vouches for the instructions, each failed condition for the vectors that the next one needs.
    unsafe {
        if bytes.len() <= 2 * V::BYTES {
            ends::<V, 1>(bytes, key)
        } else if bytes.len() <= 4 * V::BYTES {
            ends::<V, 2>(bytes, key)
        } else if bytes.len() <= 8 * V::BYTES {
            ends::<V, 4>(bytes, key)
        } else {
            long::<V>(bytes, key)
        }
    }
}

/// Unmasks K vectors at the start and K at the end, which may overlap.
///
/// # Safety
/// The processor has the instructions of `V`, and K vectors <= `bytes` <= 2 K vectors.
#[inline(always)]
unsafe fn ends<V: Vector, const K: usize>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    debug_assert!(bytes.len() <= 2 * K * V::BYTES);
    let end = bytes.len() - K * V::BYTES;
    // SAFETY: the caller vouches for the instructions.
    let (start_key, end_key) = unsafe { (V::splat(key), V::splat(rotate(key, end))) };
    // SAFETY: 0 + K vectors and `end` + K vectors are within `bytes`.
    let (first, last) = unsafe { (load::<V, K>(bytes, 0), load::<V, K>(bytes, end)) };
    let (first, last) = (xor(first, start_key), xor(last, end_key));
    // SAFETY: as for the loads.
    unsafe {
        store(bytes, 0, first);
        store(bytes, end, last);
    }
    or(first, last[0].or(or(last, first[0]))).is_ascii()
}

/// Unmasks more than eight vectors, four at a time and aligned in between: a store that crosses a cache line costs two.
///
/// # Safety
/// The processor has the instructions of `V`, and `bytes.len() > 8 * V::BYTES`.
#[inline(always)]
unsafe fn long<V: Vector>(bytes: &mut [u8], key: [u8; 4]) -> bool {
    let end = bytes.len() - 4 * V::BYTES;
    // One to BYTES bytes up to the first aligned vector: the loop overlaps the first vector, and the last four.
    let mut at = V::BYTES - (bytes.as_ptr().addr() & (V::BYTES - 1));
    // SAFETY: the caller vouches for the instructions.
    let (first_key, loop_key, last_key) =
        unsafe { (V::splat(key), V::splat(rotate(key, at)), V::splat(rotate(key, end))) };
    // SAFETY: 0 + one vector and `end` + four vectors are within `bytes`.
    let (first, last) = unsafe { (load::<V, 1>(bytes, 0), load::<V, 4>(bytes, end)) };
    let (first, last) = (xor(first, first_key), xor(last, last_key));
    let mut seen = or(last, first[0]);
    while at < end {
        // SAFETY: `at` < `end`, and `end` + four vectors are within `bytes`.
        let four = xor(unsafe { load::<V, 4>(bytes, at) }, loop_key);
        // SAFETY: as for the load.
        unsafe { store(bytes, at, four) };
        seen = or(four, seen);
        at += 4 * V::BYTES;
    }
    // SAFETY: as for the loads of the two.
    unsafe {
        store(bytes, 0, first);
        store(bytes, end, last);
    }
    seen.is_ascii()
}

/// Loads K neighbouring vectors.
///
/// # Safety
/// The processor has the instructions of `V`, and `at` + K vectors <= `bytes.len()`.
#[inline(always)]
unsafe fn load<V: Vector, const K: usize>(bytes: &[u8], at: usize) -> [V; K] {
    debug_assert!(at + K * V::BYTES <= bytes.len());
    // SAFETY: the caller vouches for the instructions.
    let mut vectors = [unsafe { V::splat([0; 4]) }; K];
    for (i, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: the caller vouches that K vectors from `at` are within `bytes`, and i < K.
        *vector = unsafe { V::load(bytes.as_ptr().add(at + i * V::BYTES)) };
    }
    vectors
}

/// Stores K neighbouring vectors.
///
/// # Safety
/// `at` + K vectors <= `bytes.len()`.
#[inline(always)]
unsafe fn store<V: Vector, const K: usize>(bytes: &mut [u8], at: usize, vectors: [V; K]) {
    debug_assert!(at + K * V::BYTES <= bytes.len());
    for (i, vector) in vectors.into_iter().enumerate() {
        // SAFETY: the caller vouches that K vectors from `at` are within `bytes`, and i < K.
        unsafe { vector.store(bytes.as_mut_ptr().add(at + i * V::BYTES)) };
    }
}

#[inline(always)]
fn xor<V: Vector, const K: usize>(mut vectors: [V; K], key: V) -> [V; K] {
    for vector in &mut vectors {
        *vector = vector.xor(key);
    }
    vectors
}

#[inline(always)]
fn or<V: Vector, const K: usize>(vectors: [V; K], mut seen: V) -> V {
    for vector in vectors {
        seen = seen.or(vector);
    }
    seen
}
