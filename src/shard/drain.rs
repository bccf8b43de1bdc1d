//! Draining: connections are told one after the other to come back elsewhere, so that a deploy is no stampede.
//!
//! The socket's owner accepts nothing more and calls [`Shard::handle_drain`]; everything else goes on as before, while
//! each tick closes some with 1001 and a delay of their own, first those who were refused a publication because it goes on
//! elsewhere. When all are gone the stop begins by itself (`stop`). Where
//! connections are few the caller stops at once instead, which also delivers all that was acknowledged before anyone goes.

use std::collections::VecDeque;

use super::connection::{CloseReason, Phase};
use super::{Shard, slot};
use crate::ids::{ConnId, Tick};
use crate::limits;

/// Who is still to be told.
#[derive(Debug)]
pub(super) struct Drain {
    left: VecDeque<ConnId>,
    per_tick: usize,
    /// The last tick that was worked off.
    at: Tick,
}

impl Shard {
    /// Begins to drain over `server.drain_s`. The caller accepts nothing any more and goes on with its turns until
    /// [`Shard::is_stopped`].
    pub fn handle_drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        let left: VecDeque<ConnId> = self.connections.iter().map(|(index, _)| self.id_of(slot(index))).collect();
        let ticks = self.ticks(self.settings.config.server.drain_s) as usize;
        let per_tick = left.len().div_ceil(ticks).max(limits::DRAINS_PER_TICK_MIN);
        self.drain = Some(Drain { left, per_tick, at: Tick(self.now.0.saturating_sub(1)) });
    }

    /// Whether new work is better sent elsewhere.
    pub(super) fn is_ready(&self) -> bool {
        self.drain.is_none() && !self.home.is_frozen()
    }

    /// The same for whoever spreads connections over brokers, or why not.
    pub(super) fn readiness(&self) -> Result<(), &'static str> {
        if !self.is_ready() {
            return Err("the broker drains");
        }
        if self.hears_all() { Ok(()) } else { Err("a core has not been heard of for server.silence_ms_max") }
    }

    /// When the next ones are to be told.
    pub(super) fn next_drain(&self) -> Option<Tick> {
        let drain = self.drain.as_ref().filter(|drain| !drain.left.is_empty() || !self.hasty.is_empty())?;
        Some(Tick(drain.at.0 + 1))
    }

    /// Whether everybody is gone and the stop is still to begin: no socket will say anything more.
    pub(super) fn is_drained(&self) -> bool {
        let told = self.drain.as_ref().is_some_and(|drain| drain.left.is_empty());
        told && self.connections.is_empty() && !self.stop.is_begun()
    }

    /// Tells those whose turn it is; when the last one is gone the stop begins.
    pub(super) fn drain_some(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let ticks = self.now.0.saturating_sub(drain.at.0) as usize;
        drain.at = self.now;
        let most = ticks.saturating_mul(drain.per_tick);
        let first = std::iter::from_fn(|| self.hasty.pop_first()).take(most);
        let mut due: Vec<ConnId> = first.collect();
        due.extend(drain.left.drain(..(most - due.len()).min(drain.left.len())));
        let mut asking = VecDeque::new();
        for conn in due {
            let Some(index) = self.index_of(conn) else { continue };
            match self.connections[index as usize].phase {
                Phase::Http if self.exchanges.contains_key(&index) => asking.push_back(conn), // answered first
                _ => self.send_away(index),
            }
        }
        if let Some(drain) = &mut self.drain {
            drain.left.append(&mut asking);
        }
        if self.is_drained() {
            self.handle_stop();
        }
    }

    /// A time of the connection's own, up to so many milliseconds: those who come back do not come all at once.
    pub(super) fn retry_ms(&self, index: u32, most_ms: u64) -> u64 {
        self.placement.mix((self.me, self.id_of(index))) % most_ms + 1
    }

    /// Ends a connection because the broker stops: an open one is told after how long to come back.
    pub(super) fn send_away(&mut self, index: u32) {
        match self.connections[index as usize].phase {
            Phase::Open => {
                // So few that all end at once can come back as soon: who waits for longer waits for nobody.
                let at_once = if self.drain.is_some() { u64::MAX } else { limits::STOP_AT_ONCE_RETRY_MS };
                let most_ms = (u64::from(self.settings.config.server.drain_s).max(1) * 1000).min(at_once);
                let retry_ms = self.retry_ms(index, most_ms);
                self.tell_retry(index, retry_ms);
                self.close(index, CloseReason::Stopping, 1001, &format!("retry_ms={retry_ms}"));
            }
            Phase::Http if self.polls.contains_key(&index) => self.end_poll(index),
            Phase::Http if self.outbound.pending(index) > 0 => self.linger(index, CloseReason::Stopping),
            Phase::Http => self.discard(index, CloseReason::Stopping),
            Phase::Closing | Phase::Lingering => {}
        }
    }
}
