//! Who wants a topic: sets of shards, and the wildcard filters that shards watch at a home.
//!
//! [`Watchers`] keeps one set per filter and caches the union per topic in the topic's own record, so a publication to a
//! known topic costs a comparison of generations and no match.

use slab::Slab;

use super::topics::TopicState;
use crate::ids::ShardId;
use crate::topic::{Filter, Matcher, Topic};
use crate::transport::{Form, Forms};

/// A set of shards, one bit each: at most [`crate::limits::SHARDS_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u128);

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.0;
    }

    /// Takes a shard out.
    pub fn remove(&mut self, shard: ShardId) {
        self.0 &= !(1 << shard.0);
    }

    /// Whether the shard is in it.
    #[must_use]
    pub fn contains(self, shard: ShardId) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// Whether no shard is in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The shards in it, in order.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            #[expect(clippy::cast_possible_truncation, reason = "below 128")]
            let shard = rest.trailing_zeros() as u16;
            rest &= rest - 1;
            Some(ShardId(shard))
        })
    }
}

/// Who watches a filter, and in which forms.
#[derive(Clone, Copy, Debug, Default)]
struct Interest {
    shards: ShardSet,
    forms: Forms,
}

/// The wildcard filters watched at one home.
#[derive(Debug)]
pub(super) struct Watchers {
    matcher: Matcher,
    sets: Slab<Interest>,
    found: Vec<u32>,
}

impl Watchers {
    pub(super) fn new(seed: u64) -> Self {
        Self { matcher: Matcher::new(seed), sets: Slab::new(), found: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.matcher.len()
    }

    /// The shards that want this topic, by its name or by a filter.
    pub(super) fn interest(&mut self, topic: &mut TopicState) -> ShardSet {
        let generation = self.matcher.generation();
        if topic.wild_generation != generation {
            self.found.clear();
            self.matcher.find(Topic::known(&topic.name), &mut self.found);
            (topic.wild, topic.wild_forms) = (ShardSet::default(), Forms::default());
            for &key in &self.found {
                let Interest { shards, forms } = self.sets[key as usize];
                (topic.wild, topic.wild_forms) = (topic.wild.union(shards), topic.wild_forms.union(forms));
            }
            topic.wild_generation = generation;
        }
        topic.exact.union(topic.wild)
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
