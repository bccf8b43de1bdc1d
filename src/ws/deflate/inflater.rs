//! Compressed messages out of DEFLATE: one inflater for all connections of a thread, borrowed for one message.
//!
//! Its owner calls [`Inflater::message`] with each [`super::super::Event::Deflated`]. Invariants: nothing of a message is
//! left for the next one; memory grows with what came out, in steps, and ends with the longest message allowed, whatever
//! the compressed bytes promise.

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::limits::{INFLATE_STEP_BYTES, INFLATED_KEPT_BYTES};
use crate::ws::{Kind, Violation};

/// See the module's page.
#[derive(Debug)]
pub struct Inflater {
    state: Decompress,
    out: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        // Raw DEFLATE with a window of 15 bits, which every client stays within.
        Self { state: Decompress::new(false), out: Vec::new() }
    }
}

impl Inflater {
    /// The content of a message whose compressed bytes these are, checked to be UTF-8 if it is text.
    ///
    /// # Errors
    /// It is longer than `bytes_max`, no DEFLATE, or no UTF-8: the connection fails.
    pub fn message(&mut self, kind: Kind, deflated: &[u8], bytes_max: usize) -> Result<&[u8], Violation> {
        self.out.clear();
        self.out.shrink_to(INFLATED_KEPT_BYTES); // a long one leaves nothing behind
        self.state.reset(false);
        // RFC 7692 7.2.3.6 has one byte for an empty message; some send none, which is as clear.
        if !deflated.is_empty() && self.inflate(deflated, bytes_max)? == Stands::WithinBlocks {
            self.finish(bytes_max)?;
        }
        if kind == Kind::Text && simdutf8::basic::from_utf8(&self.out).is_err() {
            return Err(Violation::TextNotUtf8);
        }
        Ok(&self.out)
    }

    /// Heap bytes kept between messages, besides the fixed ones of its window.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.out.capacity()
    }

    /// RFC 7692 7.2.2: the tail that was left out comes back. A last block of nothing behind it shows that the blocks
    /// before it were whole: in the midst of one it would not be taken for the end.
    fn finish(&mut self, bytes_max: usize) -> Result<(), Violation> {
        let len = self.out.len();
        self.inflate(&TAIL, bytes_max)?;
        match self.inflate(&LAST_BLOCK, bytes_max)? {
            Stands::BehindLast if self.out.len() == len => Ok(()),
            _ => Err(Violation::DeflateData),
        }
    }

    /// Appends what these bytes become.
    fn inflate(&mut self, mut input: &[u8], bytes_max: usize) -> Result<Stands, Violation> {
        loop {
            if self.out.len() == self.out.capacity() {
                // One byte more than allowed, so that what goes on behind the limit is seen to.
                let more = self
                    .out
                    .len()
                    .max(INFLATE_STEP_BYTES)
                    .min(bytes_max.saturating_add(1).saturating_sub(self.out.len()));
                self.out.reserve_exact(more);
            }
            let before = self.state.total_in();
            let inflated = self.state.decompress_vec(input, &mut self.out, FlushDecompress::Sync);
            let status = inflated.map_err(|_| Violation::DeflateData)?;
            let taken = usize::try_from(self.state.total_in() - before).expect("part of the input");
            input = &input[taken..];
            if self.out.len() > bytes_max {
                return Err(Violation::MessageTooBig);
            }
            match status {
                // RFC 7692 7.2.3.4: a message may have last blocks, and others behind them.
                Status::StreamEnd => {
                    self.state.reset(false);
                    if input.is_empty() {
                        return Ok(Stands::BehindLast);
                    }
                }
                Status::Ok | Status::BufError if self.out.len() == self.out.capacity() => {}
                Status::Ok | Status::BufError if input.is_empty() => return Ok(Stands::WithinBlocks),
                Status::Ok | Status::BufError => return Err(Violation::DeflateData),
            }
        }
    }
}

/// Where in the DEFLATE format the input ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// Behind a block that says that it is the last one.
    BehindLast,
    /// Anywhere else.
    WithinBlocks,
}

/// RFC 1951 3.2.4: a last block, not compressed, of length 0.
const LAST_BLOCK: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests;
