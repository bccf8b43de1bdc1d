//! Which shard is the home of a topic: a hash of its name says so, the same on all shards of a broker.
//!
//! A shard asks for each command; `net` asks for the topics of an estate before there are shards. Another seed or number of
//! shards places topics elsewhere. Refuses to know topics: it only looks at names.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::ids::ShardId;
use crate::topic::{Topic, subject};

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Placement {
    hash: FixedState,
    shards: u16,
}

impl Placement {
    /// Of a broker with that [`super::Settings::seed`] and that many shards.
    #[must_use]
    pub fn new(seed: u64, shards: u16) -> Self {
        Self { hash: FixedState::with_seed(seed), shards }
    }

    /// The shard whose home owns the topic; who comes and goes there is known there.
    #[must_use]
    pub fn home_of(&self, topic: Topic<'_>) -> ShardId {
        let hash = self.mix(subject(topic).unwrap_or(topic).as_str());
        let shard = (u128::from(hash) * u128::from(self.shards)) >> 64;
        ShardId(u16::try_from(shard).expect("below the number of shards"))
    }

    /// A number of the thing's own.
    pub(super) fn mix(&self, thing: impl Hash) -> u64 {
        self.hash.hash_one(thing)
    }
}
