//! Deadlines: a connection comes up once per heartbeat interval, at its own place in it, and at its phase's end.
//!
//! Whoever was silent for half an interval is pinged; whoever is silent for `timeout_s` after a ping is closed with 4009.
//! Places are spread over the interval by slot, so that a storm of connections does not become a storm of pings.

use super::Shard;
use super::connection::{CloseReason, Phase, Speech};
use crate::ids::{TICK_MS, Tick};
use crate::limits;
use crate::ws::{Opcode, encode};

impl Shard {
    /// Looks at those whose tick has come, `DEADLINES_PER_TURN` at most; the rest stays due.
    pub(super) fn expire(&mut self) {
        for _ in 0..limits::DEADLINES_PER_TURN {
            let Some(index) = self.wheel.pop_due(self.now) else { return };
            let connection = &self.connections[index as usize];
            match connection.phase {
                Phase::Open if connection.until <= self.now => self.lapse(index),
                Phase::Open if self.now < connection.deadline => self.file_open(index),
                _ if self.now < connection.deadline => self.wheel.file(index, connection.deadline),
                Phase::Open if matches!(connection.speech, Speech::Events) => self.beat_events(index),
                Phase::Open => self.beat(index),
                Phase::Http if self.polls.contains_key(&index) => self.end_poll(index),
                Phase::Http => self.time_out(index),
                Phase::Closing | Phase::Lingering => self.discard(index, CloseReason::Reset),
            }
        }
    }

    /// The connection's place in the interval after now.
    pub(super) fn file_heartbeat(&mut self, index: u32) {
        let interval = self.ticks(self.settings.config.heartbeat.interval_s);
        let place = index.wrapping_mul(0x9e37_79b1) % interval; // spread: neighbours in the slab far apart
        let since = (self.now.0 + interval - place) % interval;
        let due = Tick(self.now.0 + interval - since);
        self.connections[index as usize].deadline = due;
        self.file_open(index);
    }

    /// Files an open connection for its deadline, or for the end of its identity.
    pub(super) fn file_open(&mut self, index: u32) {
        let connection = &self.connections[index as usize];
        self.wheel.file(index, connection.deadline.min(connection.until));
    }

    fn beat(&mut self, index: u32) {
        let timeout = self.ticks(self.settings.config.heartbeat.timeout_s);
        let interval = self.ticks(self.settings.config.heartbeat.interval_s);
        let connection = &mut self.connections[index as usize];
        if connection.pinged {
            connection.pinged = false;
            if connection.seen.0 + timeout < connection.deadline.0 {
                return self.close(index, CloseReason::HeartbeatMissed, 4009, "heartbeat missed");
            }
        } else if (self.now.0 - connection.seen.0) * 2 >= interval {
            connection.pinged = true;
            connection.deadline = Tick(self.now.0 + timeout);
            self.file_open(index);
            return self.outbound.push_reply(index, |out| encode::frame(out, Opcode::Ping, b""));
        }
        self.file_heartbeat(index);
    }

    pub(super) fn ticks(&self, seconds: u32) -> u32 {
        u32::try_from(u64::from(seconds) * 1000 / TICK_MS).unwrap_or(u32::MAX).max(1)
    }
}
