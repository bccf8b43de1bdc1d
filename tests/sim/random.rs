//! The simulator's only source of chance: SplitMix64, so that a seed is a whole run.
//!
//! Everything that a run chooses asks it in one order; nothing else may be random, not even the order of a map.

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x5157_0b5e_ed00_0001)
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number `0 <= n < bound`; `bound` is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.word()) * (bound as u128);
        usize::try_from(wide >> 64).expect("below the bound")
    }

    /// A number of `low..=high`.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A masking key.
    pub(crate) fn key(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.word().to_le_bytes();
        [a, b, c, d]
    }
}
