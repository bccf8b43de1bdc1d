//! What a connection publishes behind its own subscribe to a wildcard filter waits until that subscribe holds everywhere.
//!
//! A wildcard subscribe asks every home, and the nearest answers first: a publication of the same connection could come
//! back before the farthest has answered, and would be lost to it. So it is held here, in order, for that one round trip.
//! What would overtake these, its leave of a topic, waits behind them. Invariant: a connection has an entry as long as one of its wildcard subscribes is not acknowledged.

use super::Shard;
use crate::home::Publish;
use crate::ids::ConnId;
use crate::mesh::{Command as Envelope, Parcel};
use crate::topic::Topic;

/// The publications of one connection that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Its wildcard subscribes that are not acknowledged.
    subscribes: u32,
    parcel: Parcel<Envelope>,
}

impl Shard {
    /// From here on the connection's publications wait for one more subscribe.
    pub(super) fn hold(&mut self, conn: ConnId) {
        self.held.entry(conn).or_default().subscribes += 1;
    }

    /// Takes the publication in if its connection's publications wait; gives it back if not.
    pub(super) fn hold_back<'p>(&mut self, publish: Publish<'p>) -> Option<Publish<'p>> {
        if self.held.is_empty() {
            return Some(publish);
        }
        let Some(held) = self.held.get_mut(&publish.conn) else { return Some(publish) };
        held.parcel.push_publish(publish);
        None
    }

    /// Takes in that the connection left a topic, if something of it waits: it leaves behind what it published there.
    pub(super) fn hold_leave(&mut self, conn: ConnId, topic: Topic<'_>) -> bool {
        let Some(held) = self.held.get_mut(&conn).filter(|held| !held.parcel.items.is_empty()) else { return false };
        let topic = held.parcel.keep(topic.as_str().as_bytes());
        held.parcel.items.push(Envelope::Leave { topic, conn });
        true
    }

    /// The connection subscribes to the topic again: it never left, as far as its home knows.
    pub(super) fn forget_leave(&mut self, conn: ConnId, topic: Topic<'_>) {
        if let Some(Held { parcel: Parcel { items, bytes }, .. }) = self.held.get_mut(&conn) {
            items.retain(
                |item| !matches!(item, Envelope::Leave { topic: left, .. } if left.text(bytes) == topic.as_str()),
            );
        }
    }

    /// Bytes that wait, so that a connection is not read for ever meanwhile.
    pub(super) fn held_bytes(&self, conn: ConnId) -> usize {
        self.held.get(&conn).map_or(0, |held| held.parcel.bytes.len())
    }

    /// One of the connection's wildcard subscribes was acknowledged.
    pub(super) fn unhold(&mut self, conn: ConnId) {
        let Some(held) = self.held.get_mut(&conn) else { return };
        held.subscribes -= 1;
        if held.subscribes == 0 {
            self.let_go(conn);
            if let Some(index) = self.index_of(conn) {
                self.resume_if_room(index);
            }
        }
    }

    /// Publishes what the connection held back: its subscribes hold, it is gone, or the broker stops.
    pub(super) fn let_go(&mut self, conn: ConnId) {
        let Some(Held { parcel: Parcel { items, bytes }, .. }) = self.held.remove(&conn) else { return };
        for item in items {
            match item {
                Envelope::Publish(publish) => self.publish_now(publish.unpack(&bytes, self.me)),
                Envelope::Leave { topic, conn } => self.leave_home(conn, Topic::known(topic.text(&bytes))),
                _ => {} // nothing else is held
            }
        }
    }
}
