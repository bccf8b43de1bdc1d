//! Stopping without losing what was acknowledged, in three steps.
//!
//! 1. No connection is read any more; a `Stop` follows the last command to every home.
//! 2. A home that has every shard's `Stop` seals what it has and tells every shard that this was all.
//! 3. A shard that heard this from every home has every delivery there will be: it closes its connections with 1001
//!    behind them, reads again to see their answers, and is done when the last one is gone.

use super::{Shard, slot};
use crate::mesh::Command as Envelope;

/// How far the stop has come.
#[derive(Debug, Default)]
pub(super) struct Stop {
    begun: bool,
    /// Shards, this one included, whose last command came.
    last_commands: u16,
    /// Homes, this one's included, whose last delivery came.
    last_deliveries: u16,
    closing: bool,
}

impl Stop {
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether connections are read: before it began, and again while they close.
    pub(super) fn reads(&self) -> bool {
        !self.begun || self.closing
    }
}

impl Shard {
    /// Begins to stop. The caller accepts nothing any more and goes on with its turns until [`Shard::is_stopped`].
    pub fn handle_stop(&mut self) {
        if self.stop.begun {
            return;
        }
        self.stop.begun = true;
        let held: Vec<_> = self.held.keys().copied().collect();
        for conn in held {
            self.let_go(conn);
        }
        for peer in self.desk.peers() {
            self.desk.commands_to(peer).items.push(Envelope::Stop);
        }
        self.handle_peer_stop();
    }

    /// Whether every connection is gone after a stop, and every other shard was told what its connections are to get: a
    /// shard that ends before its last deliveries found room in a ring leaves another one waiting for them.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.closing && self.connections.is_empty() && !self.desk.deliveries_wait()
    }

    pub(super) fn handle_peer_stop(&mut self) {
        self.stop.last_commands += 1;
        if self.stop.last_commands == self.shards {
            self.end_sweeps();
            self.home.handle_stop();
        }
    }

    pub(super) fn handle_final(&mut self) {
        self.stop.last_deliveries += 1;
        if self.stop.last_deliveries < self.shards {
            return;
        }
        self.stop.closing = true;
        let all: Vec<u32> = self.connections.iter().map(|(index, _)| slot(index)).collect();
        for index in all {
            self.send_away(index);
        }
    }
}
