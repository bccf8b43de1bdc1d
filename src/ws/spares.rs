//! Buffers that large messages were in, kept for the next ones.
//!
//! A megabyte that is fresh from the system costs more than all that is done with its bytes: 256 pages are cleared, each
//! after a fault. A shard keeps those that were sent or handled and gives them along with its [`super::Input`]s; `message`
//! takes one for what it collects. Invariant: all of them together have at most `LARGE_SPARES_BYTES_MAX` bytes, and what is
//! in them is initialised. It never makes one.

use std::ops::RangeInclusive;

use crate::limits;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Spares {
    /// The last one is the one used last.
    buffers: Vec<Vec<u8>>,
    /// Sum of their capacities.
    bytes: usize,
}

impl Spares {
    /// Takes a buffer in, if it is large. Where that is too much, the smallest go: a large one serves everybody.
    pub fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.len() < limits::LARGE_MESSAGE_BYTES_MIN {
            return;
        }
        self.bytes += buffer.capacity();
        self.buffers.push(buffer);
        while self.bytes > limits::LARGE_SPARES_BYTES_MAX
            && let Some(smallest) = (0..self.buffers.len()).min_by_key(|&at| self.buffers[at].capacity())
        {
            self.bytes -= self.buffers.remove(smallest).capacity();
        }
    }

    /// Takes in what others have.
    pub fn keep_all(&mut self, others: Self) {
        if self.buffers.is_empty() {
            *self = others;
        } else {
            others.buffers.into_iter().for_each(|buffer| self.keep(buffer));
        }
    }

    /// One of so many bytes, if there is any: of the smallest of these the one used last.
    #[must_use]
    pub fn lend(&mut self, len: RangeInclusive<usize>) -> Option<Vec<u8>> {
        let fits = (0..self.buffers.len()).rev().filter(|&at| len.contains(&self.buffers[at].len()));
        let at = fits.min_by_key(|&at| self.buffers[at].len())?;
        let buffer = self.buffers.remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(spares: &Spares) -> Vec<usize> {
        assert_eq!(spares.bytes, spares.buffers.iter().map(Vec::capacity).sum::<usize>());
        spares.buffers.iter().map(Vec::len).collect()
    }

    #[test]
    fn the_smallest_that_fits_is_lent_and_small_ones_are_not_kept() {
        let mut spares = Spares::default();
        for len in [40_000, 100_000, limits::LARGE_MESSAGE_BYTES_MIN - 1, 70_000] {
            spares.keep(vec![0; len]);
        }
        assert_eq!(sizes(&spares), [40_000, 100_000, 70_000]);
        assert_eq!(spares.lend(50_000..=70_000).map(|buffer| buffer.len()), Some(70_000));
        assert_eq!(spares.lend(100_001..=usize::MAX), None);
        assert_eq!(sizes(&spares), [40_000, 100_000]);
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_the_smallest_go_first() {
        let mut spares = Spares::default();
        let quarter = limits::LARGE_SPARES_BYTES_MAX / 4;
        for len in [quarter, 50_000, quarter, quarter, 60_000, quarter] {
            spares.keep(vec![0; len]);
            assert!(spares.bytes <= limits::LARGE_SPARES_BYTES_MAX);
        }
        assert_eq!(sizes(&spares), [quarter; 4]);
        spares.keep(vec![0; limits::LARGE_SPARES_BYTES_MAX + 1]);
        assert!(sizes(&spares).is_empty(), "one that is too large alone takes the others' place, and goes");
    }
}
