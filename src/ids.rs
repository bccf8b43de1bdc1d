//! Names for things that must not be mixed up: a shard, a connection of a shard.
//!
//! A [`ConnId`] is what travels (in event tokens, envelopes, timers): its generation makes a stale one miss. Inside
//! one turn of the shard a bare slab index is enough, because nothing closes in between.

use std::fmt;

/// One shard: the thread of one core with all state on it. `0 <= id < shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into per-shard tables.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One connection of one shard, this tenant of the slot and no later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// Slot in the shard's slab.
    pub index: u32,
    /// How many tenants the slot had before.
    pub generation: u32,
}

impl ConnId {
    /// Packs the id into one word, for a `mio::Token`.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.index)
    }

    /// The inverse of [`ConnId::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the index")]
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.index, self.generation)
    }
}
