//! Messages into DEFLATE: one compressor for all that a thread compresses, forgetting each message at the next.
//!
//! A home has one for publications, a shard one for `/echo`. Memory: some 250 KiB, most of it tables that one message
//! after the other is looked up in. It refuses to make anything longer than what it was made of is worth.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::TAIL;
use crate::limits::SPARE_BYTES_MAX;

/// The smallest window that a [`Deflater`] can promise to stay within, in bits; the format allows 8 as well.
pub const WINDOW_BITS_MIN: u8 = 9;

/// See the module's page.
#[derive(Debug)]
pub struct Deflater {
    state: Compress,
    out: Vec<u8>,
}

impl Deflater {
    /// A compressor with a window of 2^`window_bits` bytes, [`WINDOW_BITS_MIN`]..=15.
    ///
    /// # Panics
    /// If the window is none of these: our own bug.
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        assert!((WINDOW_BITS_MIN..=15).contains(&window_bits), "a window of {window_bits} bits");
        Self { state: Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits), out: Vec::new() }
    }

    /// These pieces, one behind the other, as one message's bytes on the wire (RFC 7692 7.2.1); `None` if they would be
    /// more than `len_max`.
    pub fn deflate(&mut self, pieces: [&[u8]; 2], len_max: usize) -> Option<&[u8]> {
        self.state.reset();
        self.out.clear();
        self.out.shrink_to(SPARE_BYTES_MAX); // a long one leaves nothing behind
        // One byte more than will do: only where room is left is the flush known to be whole.
        self.out.resize(len_max + TAIL.len() + 1, 0);
        self.feed(pieces[0], FlushCompress::None)?;
        self.feed(pieces[1], FlushCompress::Sync)?;
        let len = self.len() - TAIL.len();
        debug_assert!(self.out[len..].starts_with(&TAIL), "a flush ends with an empty block");
        Some(&self.out[..len])
    }

    /// Compresses one piece behind those before it; `None` if there is no room for it.
    fn feed(&mut self, piece: &[u8], flush: FlushCompress) -> Option<()> {
        let (before, start) = (self.state.total_in(), self.len());
        let status = self.state.compress(piece, &mut self.out[start..], flush);
        debug_assert!(matches!(status, Ok(Status::Ok | Status::BufError)), "{status:?}");
        let taken = self.state.total_in() - before;
        (taken == piece.len() as u64 && self.len() < self.out.len()).then_some(())
    }

    /// Bytes of this message that are compressed so far.
    fn len(&self) -> usize {
        usize::try_from(self.state.total_out()).expect("it lies within `out`")
    }
}

/// By measurement (`cargo bench --bench deflate`): level 1 is three times as fast and leaves a quarter to a third more
/// bytes for every subscriber, level 3 and those above it leave at most a tenth less. One publication is compressed once.
const LEVEL: u32 = 2;

#[cfg(test)]
mod tests;
