//! The owner of topics: gives each publication its position, encodes it once, knows which shards want it.
//!
//! A shard has one home, for the topics that hash to it, and calls it with `handle_*` in the order of its mail. What
//! comes out waits per shard in a [`Parcel`] of [`Delivery`]s until the end of the turn. Invariant: the parcel of a
//! shard is in the order that its subscribers see, so an answer to a subscribe stands exactly between the last
//! publication before it and the first one after it. Refuses to know connections, sockets and time.

mod batch;
mod delivery;
mod interest;
mod topics;

pub use batch::{Batch, Exception, Run};
pub use delivery::{Delivery, Parcel, Span};
pub use interest::ShardSet;

use std::sync::Arc;

use crate::ids::{ConnId, ShardId};
use crate::limits;
use crate::protocol::{Id, Payload, Position};
use crate::topic::{Filter, Topic};
use batch::Turn;
use interest::Watchers;
use topics::Topics;

/// One publication on its way into a home.
#[derive(Debug)]
pub struct Publish<'a> {
    /// Where it goes.
    pub topic: Topic<'a>,
    /// What it carries, borrowed from the read buffer or from an envelope.
    pub payload: Payload<'a>,
    /// The shard of the publisher.
    pub shard: ShardId,
    /// The publisher.
    pub conn: ConnId,
    /// What the publisher called the command; [`Id::None`] asks for no `ack`.
    pub id: Id,
    /// Whether the publisher gets its own publication, if it subscribes.
    pub echo: bool,
}

/// One subscribe to one topic on its way into its home.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// The shard that asks.
    pub shard: ShardId,
    /// The subscriber on that shard.
    pub conn: ConnId,
    /// That shard's slot for the filter, echoed in the answer.
    pub slot: u32,
    /// That shard's number of this subscribe, echoed in the answer.
    pub serial: u32,
    /// What the subscriber called the command.
    pub id: Id,
}

/// All topics of one shard; see the module's page.
#[derive(Debug)]
pub struct Home {
    topics: Topics,
    watchers: Watchers,
    turn: Turn,
    out: Vec<Parcel<Delivery>>,
}

impl Home {
    /// A home that serves `shards` shards; `seed` feeds epochs and hash tables.
    #[must_use]
    pub fn new(shards: u16, seed: u64) -> Self {
        Self {
            topics: Topics::new(seed),
            watchers: Watchers::new(seed ^ 0x9e37_79b9_7f4a_7c15),
            turn: Turn::default(),
            out: (0..shards).map(|_| Parcel::default()).collect(),
        }
    }

    /// Gives the publication its position and, where somebody is interested, encodes it into this turn's batch.
    pub fn handle_publish(&mut self, publish: Publish<'_>) -> Position {
        let key = self.topics.open(publish.topic);
        let topic = self.topics.at(key);
        topic.offset += 1;
        let position = Position { epoch: topic.epoch, offset: topic.offset };
        if !self.watchers.interest(topic).is_empty() {
            let except = (!publish.echo).then_some((publish.shard, publish.conn));
            self.turn.push(key, topic, publish.payload, except);
        }
        if !matches!(publish.id, Id::None) {
            let parcel = &mut self.out[publish.shard.index()];
            let topic = parcel.keep(publish.topic.as_str().as_bytes());
            parcel.items.push(Delivery::Published { conn: publish.conn, id: publish.id, topic, position });
        }
        self.topics.touch(key);
        if self.turn.len() >= limits::BATCH_BYTES_MAX {
            self.seal();
        }
        position
    }

    /// Notes the interest of a shard in a topic and answers with the position after which its deliveries begin.
    pub fn handle_subscribe(&mut self, subscribe: Subscribe<'_>) {
        let key = self.topics.open(subscribe.topic);
        if self.topics.at(key).in_turn {
            self.seal(); // the answer must stand between the publications before it and those after it
        }
        let topic = self.topics.at(key);
        topic.exact.insert(subscribe.shard);
        let position = Position { epoch: topic.epoch, offset: topic.offset };
        self.topics.touch(key);
        let Subscribe { shard, conn, slot, serial, id, .. } = subscribe;
        self.out[shard.index()].items.push(Delivery::Subscribed { conn, slot, serial, id, position });
    }

    /// The shard has no subscriber of this topic any more.
    pub fn handle_release(&mut self, shard: ShardId, topic: Topic<'_>) {
        if let Some(key) = self.topics.find(topic) {
            self.topics.at(key).exact.remove(shard);
            self.topics.touch(key);
        }
    }

    /// Notes the interest of a shard in all topics of this home that match, and answers when it holds.
    pub fn handle_watch(&mut self, shard: ShardId, filter: Filter<'_>, slot: u32) {
        self.seal();
        self.watchers.watch(filter, shard);
        self.out[shard.index()].items.push(Delivery::Watching { slot });
    }

    /// The shard has no subscriber of this wildcard filter any more.
    pub fn handle_unwatch(&mut self, shard: ShardId, filter: Filter<'_>) {
        self.watchers.unwatch(filter, shard);
    }

    /// No command will come any more: everything is sealed and every shard is told that this was all.
    pub fn handle_stop(&mut self) {
        self.seal();
        for parcel in &mut self.out {
            parcel.items.push(Delivery::Final);
        }
    }

    /// Ends the turn: freezes what was encoded into one batch and puts it, once, into the parcel of each shard concerned.
    pub fn seal(&mut self) {
        if self.turn.is_empty() {
            return;
        }
        let batch = Arc::new(self.turn.freeze(&mut self.topics));
        let mut concerned = ShardSet::default();
        for run in &batch.runs {
            concerned = concerned.union(run.shards);
        }
        for shard in concerned.iter() {
            let wanted = batch.runs.iter().enumerate().filter(|(_, run)| run.shards.contains(shard));
            #[expect(clippy::cast_possible_truncation, reason = "a batch has at most BATCH_BYTES_MAX runs")]
            let runs = wanted.map(|(index, _)| index as u32).collect();
            self.out[shard.index()].items.push(Delivery::Batch { batch: Arc::clone(&batch), runs });
        }
    }

    /// What waits for this shard; the caller takes it whole at the end of a turn, or leaves it while a ring is full.
    pub fn parcel(&mut self, shard: ShardId) -> &mut Parcel<Delivery> {
        &mut self.out[shard.index()]
    }

    /// How many topics live here: held by a subscriber or remembered for their position.
    #[must_use]
    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    /// How many topics are held by a subscriber's shard, and how many wildcard filters are watched.
    #[must_use]
    pub fn interest_len(&self) -> (usize, usize) {
        (self.topics.held(), self.watchers.len())
    }
}

#[cfg(test)]
mod tests;
