//! Names for things that must not be mixed up: a shard, a connection, its name for strangers, a place in a list, a tick of
//! coarse time.
//!
//! A [`ConnId`] is what travels (in event tokens, envelopes, timers): its generation makes a stale one miss. Inside
//! one turn of the shard a bare slab index is enough, because nothing closes in between.

use std::fmt;
use std::str::FromStr;

/// One shard: the thread of one core with all state on it. `0 <= id < shards`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// Which of all that the shard accepted, modulo 2^32: nothing has to be kept of a slot that is vacant.
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

/// One connection of the broker, as clients are told of it: `{shard}-{index}-{generation}` in hexadecimal.
///
/// Its order is what a list of members is paged by; it has no other meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName {
    /// The connection's shard.
    pub shard: ShardId,
    /// The connection there.
    pub conn: ConnId,
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.shard.0, self.conn)
    }
}

/// The text is no name of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNameError;

impl fmt::Display for ClientNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no name of a client, such as 0-1f-2")
    }
}

impl std::error::Error for ClientNameError {}

impl FromStr for ClientName {
    type Err = ClientNameError;

    /// Takes exactly what `Display` writes, so that a name has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '-').map(|part| u32::from_str_radix(part, 16));
        let mut part = || parts.next().and_then(Result::ok).ok_or(ClientNameError);
        let shard = ShardId(u16::try_from(part()?).map_err(|_| ClientNameError)?);
        let name = Self { shard, conn: ConnId { index: part()?, generation: part()? } };
        // A plus sign, a zero in front, a capital letter: not as it was told.
        if name.to_string() == text { Ok(name) } else { Err(ClientNameError) }
    }
}

/// A place in a list over all shards, which is paged by it: everything before it was on earlier pages. `{slot}-{shard}` in
/// hexadecimal.
///
/// What is listed has a slot on its shard and keeps it, so it never changes places: whoever stays is on exactly one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Slot in the shard's slab.
    pub slot: u32,
    /// Within a slot the shards follow one another.
    pub shard: ShardId,
}

impl Mark {
    /// The first slot of that shard that is not before it.
    #[must_use]
    pub fn slot_on(self, shard: ShardId) -> u32 {
        self.slot.saturating_add(u32::from(shard < self.shard))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.slot, self.shard.0)
    }
}

/// The text is no place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkError;

impl FromStr for Mark {
    type Err = MarkError;

    /// Takes exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (slot, shard) = text.split_once('-').ok_or(MarkError)?;
        let slot = u32::from_str_radix(slot, 16).map_err(|_| MarkError)?;
        let shard = ShardId(u16::from_str_radix(shard, 16).map_err(|_| MarkError)?);
        let mark = Self { slot, shard };
        if mark.to_string() == text { Ok(mark) } else { Err(MarkError) }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_name_is_parsed_as_it_is_printed_and_in_no_other_spelling() {
        for (shard, index, generation) in [(0, 0, 0), (1, 0x1f, 2), (127, u32::MAX, u32::MAX)] {
            let name = ClientName { shard: ShardId(shard), conn: ConnId { index, generation } };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert_eq!("1-1f-2".parse::<ClientName>().unwrap().conn, ConnId { index: 0x1f, generation: 2 });
        for wrong in
            ["", "-", "1-2", "1-2-", "1-2-3-4", "+1-2-3", "01-2-3", "1-F-3", "g-2-3", "10000-2-3", "1-100000000-3"]
        {
            assert_eq!(wrong.parse::<ClientName>(), Err(ClientNameError), "{wrong:?}");
        }
    }

    #[test]
    fn a_mark_is_parsed_as_it_is_printed_and_each_shard_goes_on_with_what_is_not_before_it() {
        for (slot, shard) in [(0, 0), (0x1f, 3), (u32::MAX, 127)] {
            let mark = Mark { slot, shard: ShardId(shard) };
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        for wrong in ["", "-", "1", "1-", "-1", "1-2-3", "01-2", "+1-2", "1-F", "100000000-1", "1-10000"] {
            assert_eq!(wrong.parse::<Mark>(), Err(MarkError), "{wrong:?}");
        }
        let mark = Mark { slot: 7, shard: ShardId(1) };
        assert_eq!([0, 1, 2].map(|shard| mark.slot_on(ShardId(shard))), [8, 7, 7]);
    }
}
