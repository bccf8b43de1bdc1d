//! Names for things that must not be mixed up: a shard, a connection of a shard, a tick of coarse time.
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

/// One topic in one life of its counter: the same two never mean different topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicLife {
    /// The shard whose home owns it.
    pub home: ShardId,
    /// Its place there, which another topic may have when this one was forgotten.
    pub key: u32,
    /// Which life it is.
    pub epoch: u32,
}

/// Unit of coarse time: `TICK_MS` milliseconds since the broker began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u32);

/// Length of a tick in milliseconds.
pub const TICK_MS: u64 = 100;

impl Tick {
    /// The tick that a time in milliseconds falls into.
    #[must_use]
    pub fn of_ms(ms: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "2^32 ticks are 13 years")]
        Self((ms / TICK_MS) as u32)
    }

    /// The tick `ms` milliseconds later, at least one.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        let ticks = u32::try_from(ms.div_ceil(TICK_MS).max(1)).unwrap_or(u32::MAX);
        Self(self.0.saturating_add(ticks))
    }
}
