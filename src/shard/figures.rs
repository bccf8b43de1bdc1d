//! What this shard counts, put together for whoever reports it.
//!
//! [`Shard::figures`] copies plain numbers; it goes through no list of connections or topics, and through at most
//! `QUEUES_LOOKED_AT` queues, so that a scrape of a million connections costs what one of ten does. Here is also who may
//! see them.

use std::rc::Rc;

use super::connection::{Connection, Phase, Speech};
use super::identity::User;
use super::{CloseReason, Shard};
use crate::config::AllowAnonymous;
use crate::http::{self, Problem};
use crate::telemetry::Figures;

impl Shard {
    /// Everything that it counts, now.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let counts = &self.counters;
        let kept = self.home.kept();
        let (filters, subscriptions) = self.registry.counts();
        let (outbound_queues, outbound_bytes) = self.outbound.queues();
        let (canary_lag_ms, canary_silence_ms) = self.canary_ms();
        let (polls, all) = (self.polls.len() as u64, self.connections.len() as u64);
        let closed = CloseReason::ALL.iter().map(|reason| (reason.label(), counts.closed[*reason as usize]));
        Figures {
            websockets: counts.websockets,
            streams: counts.streams,
            polls,
            others: all.saturating_sub(counts.websockets + counts.streams + polls),
            accepted: counts.accepted,
            closed: closed.collect(),
            refused: counts.refused,
            published: counts.published,
            delivered: counts.delivered,
            missed: self.outbound.missed(),
            gaps: self.outbound.gaps(),
            faults: counts.faults,
            outbound_bytes,
            outbound_queues,
            subscriptions: subscriptions as u64,
            filters: filters as u64,
            topics: self.home.topics_len() as u64,
            history_bytes: kept.bytes as u64,
            history_evicted: kept.evicted,
            keys: kept.keys as u64,
            keys_evicted: kept.keys_evicted,
            inflated: counts.inflated,
            inflated_bytes: counts.inflated_bytes,
            deflated: self.home.deflated(),
            doorbells: self.desk.bells_rung(),
            canary_lag_ms,
            canary_silence_ms,
            machine: self.machine.clone(),
        }
    }

    /// The connection speaks WebSocket from here on, or listens to events.
    pub(super) fn count_open(&mut self, index: u32) {
        *self.open_of_its_kind(index) += 1;
    }

    /// If it did until here, it does no longer.
    pub(super) fn count_open_end(&mut self, index: u32) {
        if self.connections[index as usize].phase == Phase::Open {
            *self.open_of_its_kind(index) -= 1;
        }
    }

    /// While frames are handled their decoder is out, so a stream is known by what it is and a WebSocket by what it is not.
    fn open_of_its_kind(&mut self, index: u32) -> &mut u64 {
        let Connection { speech, .. } = &self.connections[index as usize];
        if matches!(speech, Speech::Events) { &mut self.counters.streams } else { &mut self.counters.websockets }
    }

    /// Whether whoever reaches the broker may see its figures (`metrics.allow_anonymous`).
    pub(super) fn shows_figures(&self) -> bool {
        let config = &self.settings.config;
        match config.metrics.allow_anonymous {
            AllowAnonymous::Always => true,
            AllowAnonymous::Never => false,
            AllowAnonymous::Loopback => self.is_among_neighbours(),
        }
    }

    /// Whether whoever reaches the broker may list its topics and connections: not where it is reached from elsewhere, for
    /// unlike the figures they name names.
    pub(super) fn shows_lists(&self) -> bool {
        self.shows_figures() && self.is_among_neighbours()
    }

    /// Whether nobody is known here and nobody comes from another machine.
    fn is_among_neighbours(&self) -> bool {
        let config = &self.settings.config;
        let mut addresses = config.server.listen.iter().chain(&config.tls.listen);
        self.settings.credentials.is_none() && addresses.all(|address| address.ip().is_loopback())
    }

    /// Who asks for the figures, if it may see them.
    pub(super) fn admit_observer(&mut self, index: u32, head: &http::Head<'_>) -> Result<Option<Rc<User>>, Problem> {
        if self.shows_figures() {
            return Ok(None); // whoever it is
        }
        if self.settings.credentials.is_none() {
            return Err(Problem::new(
                403,
                "the figures are for operators, and the broker knows none: configure [auth] with an API key that says \
                 `operate`, or metrics.allow_anonymous (docs/operating.md)",
            ));
        }
        let user = self.authorise(index, head)?;
        self.check_operator(user.as_deref())?;
        Ok(user)
    }
}
