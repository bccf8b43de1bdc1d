//! Who wants a topic: sets of shards, and the wildcard filters that shards watch at a home.
//!
//! [`Watchers`] keeps one set per filter and remembers the union per topic, so a publication to a known topic costs a
//! comparison of generations and no match; where nobody watches anything, nothing is remembered.

use slab::Slab;

use super::topics::{TopicKey, TopicState};
use crate::chunks::Column;
use crate::ids::ShardId;
use crate::topic::{Filter, Matcher, Topic};
use crate::transport::{Form, Forms};

/// A set of shards, one bit each: at most [`crate::limits::SHARDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet([u64; 2]);

const _: () = assert!(crate::limits::SHARDS_MAX <= 128, "a bit for each shard");

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.0[shard.index() / 64] |= 1 << (shard.0 % 64);
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: ShardId) {
        self.0[shard.index() / 64] &= !(1 << (shard.0 % 64));
    }

    /// Whether the shard is in it.
    #[must_use]
    pub fn contains(self, shard: ShardId) -> bool {
        self.0[shard.index() / 64] & (1 << (shard.0 % 64)) != 0
    }

    /// Whether no shard is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == [0; 2]
    }

    /// All of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// The shards in it, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let word = rest.iter().position(|&word| word != 0)?;
            #[expect(clippy::cast_possible_truncation, reason = "below 128")]
            let shard = rest[word].trailing_zeros() as u16 + 64 * word as u16;
            rest[word] &= rest[word] - 1;
            Some(ShardId(shard))
        })
    }
}

/// Who watches a filter, and in which forms.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interest {
    pub(super) shards: ShardSet,
    /// Besides frames.
    pub(super) forms: Forms,
}

impl Interest {
    fn union(self, other: Self) -> Self {
        Self { shards: self.shards.union(other.shards), forms: self.forms.union(other.forms) }
    }
}

/// What the filters say of one topic, in one life of it and one generation of theirs.
#[derive(Clone, Copy, Debug)]
struct Wild {
    interest: Interest,
    epoch: u32,
    generation: u64,
}

impl Default for Wild {
    fn default() -> Self {
        Self { interest: Interest::default(), epoch: 0, generation: u64::MAX }
    }
}

/// The wildcard filters watched at one home.
#[derive(Debug)]
pub(super) struct Watchers {
    matcher: Matcher,
    sets: Slab<Interest>,
    /// By topic, once there is a filter.
    wild: Column<Wild>,
    found: Vec<u32>,
}

impl Watchers {
    pub(super) fn new(seed: u64) -> Self {
        Self { matcher: Matcher::new(seed), sets: Slab::new(), wild: Column::default(), found: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.matcher.len()
    }

    /// The shards that want this topic, by its name or by a filter.
    pub(super) fn interest(&mut self, key: TopicKey, topic: &TopicState) -> Interest {
        let exact = Interest { shards: topic.exact, forms: topic.exact_forms };
        exact.union(self.wild(key, topic))
    }

    fn wild(&mut self, key: TopicKey, topic: &TopicState) -> Interest {
        if self.matcher.is_empty() {
            return Interest::default();
        }
        self.wild.reach(key as usize);
        let (wild, generation) = (&mut self.wild[key as usize], self.matcher.generation());
        if (wild.generation, wild.epoch) != (generation, topic.epoch) {
            self.found.clear();
            self.matcher.find(Topic::known(topic.name()), &mut self.found);
            let each = self.found.iter().map(|&key| self.sets[key as usize]);
            let interest = each.fold(Interest::default(), Interest::union);
            *wild = Wild { interest, epoch: topic.epoch, generation };
        }
        wild.interest
    }

    pub(super) fn watch(&mut self, filter: Filter<'_>, shard: ShardId, form: Form) {
        let mut interest = Interest::default();
        if let Some(key) = self.matcher.remove(filter) {
            interest = self.sets.remove(key as usize);
        }
        interest.shards.insert(shard);
        interest.forms.insert(form);
        self.insert(filter, interest);
    }

    pub(super) fn unwatch(&mut self, filter: Filter<'_>, shard: ShardId) {
        let Some(key) = self.matcher.remove(filter) else { return };
        let mut interest = self.sets.remove(key as usize);
        interest.shards.remove(shard);
        if !interest.shards.is_empty() {
            self.insert(filter, interest);
        }
    }

    /// Always through the matcher, so that its generation tells every topic's cached set that it is stale.
    fn insert(&mut self, filter: Filter<'_>, interest: Interest) {
        let key = u32::try_from(self.sets.insert(interest)).expect("fewer than 2^32 filters fit in memory");
        self.matcher.insert(filter, key);
    }
}
