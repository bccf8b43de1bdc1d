//! What a connection publishes behind its own subscribe to a wildcard filter waits until that subscribe holds everywhere.
//!
//! A wildcard subscribe asks every home, and the nearest answers first: a publication of the same connection could come
//! back before the farthest has answered, and would be lost to it. So it is held here, in order, for that one round trip.
//! Invariant: a connection has an entry as long as one of its wildcard subscribes is not acknowledged.

use super::Shard;
use crate::home::Publish;
use crate::ids::ConnId;
use crate::mesh::{Command as Envelope, Parcel};

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
            if let Envelope::Publish(publish) = item {
                self.publish_now(publish.unpack(&bytes, self.me));
            }
        }
    }
}
