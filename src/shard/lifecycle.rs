//! How a connection comes and goes: accept, end of stream, reset, closing, the end.
//!
//! `open` means its publications: whatever ends a connection first takes its subscriptions away, so nothing is delivered
//! to it any more, and only then says goodbye.

use super::connection::{CloseReason, Connection, Phase, Speech};
use super::{Action, Shard};
use crate::auth::Bucket;
use crate::ids::ConnId;
use crate::limits;
use crate::ws::encode;

impl Shard {
    /// A socket was accepted, with or without TLS: it has `handshake_ms_max` to send a whole request.
    pub fn handle_accept(&mut self, tls: bool) -> ConnId {
        let deadline = self.now.after_ms(self.settings.config.limits.handshake_ms_max);
        let index = self.connections.insert(Connection::new(self.generation, self.now, deadline, tls));
        self.generation = self.generation.wrapping_add(1);
        self.outbound.add(index);
        if self.rate.is_some() {
            self.buckets.reach(index as usize);
            self.buckets[index as usize] = Bucket::default();
        }
        self.slots = self.connections.slots();
        self.wheel.file(index, deadline);
        self.counters.accepted += 1;
        self.id_of(index)
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, id: ConnId) {
        if let Some(index) = self.index_of(id)
            && self.outbound.is_blocked(index)
            && !self.outbound.is_held(index)
        {
            self.outbound.unblock(index);
            let connection = &mut self.connections[index as usize];
            connection.seen = self.now; // the peer took bytes: it lives
            // Whoever reads a long answer slowly is given the time, as long as it reads.
            match (connection.phase, connection.reason) {
                (Phase::Http, _) => {
                    connection.deadline = self.now.after_ms(self.settings.config.limits.handshake_ms_max);
                }
                (Phase::Lingering, Some(CloseReason::HttpAnswered)) => {
                    connection.deadline = self.now.after_ms(limits::CLOSE_MS_MAX);
                }
                _ => {}
            }
        }
    }

    /// The peer ended its stream.
    pub fn handle_end(&mut self, id: ConnId) {
        let Some(index) = self.index_of(id) else { return };
        self.connections[index as usize].ended = true;
        match self.connections[index as usize].phase {
            // Who asks and then ends its side still reads the answer.
            Phase::Http if self.polls.contains_key(&index) => self.end_poll(index),
            Phase::Http if self.answers_next(index) => {}
            Phase::Http if self.outbound.pending(index) > 0 => self.linger(index, CloseReason::HttpAnswered),
            Phase::Lingering if self.outbound.pending(index) > 0 => {}
            // RFC 9293 3.6: it may still read, and what it was told before it ended its side is its own.
            Phase::Open | Phase::Closing if self.outbound.pending(index) > 0 => {
                self.linger(index, CloseReason::PeerGone);
            }
            _ => self.discard(index, CloseReason::PeerGone),
        }
    }

    /// The socket failed.
    pub fn handle_reset(&mut self, id: ConnId) {
        if let Some(index) = self.index_of(id) {
            self.discard(index, CloseReason::Reset);
        }
    }

    /// Everything that waited for the connection was written.
    pub(super) fn after_flush(&mut self, index: u32) {
        self.resume_if_room(index);
        let id = self.id_of(index);
        if self.feed_is_next(index) {
            self.unread.push(id);
        }
        let connection = &mut self.connections[index as usize];
        self.outbound.watch(index, connection.phase == Phase::Lingering);
        if connection.phase == Phase::Lingering {
            if connection.ended {
                self.discard(index, CloseReason::PeerGone);
            } else if !connection.shut {
                connection.shut = true;
                self.actions.push_back(Action::Shutdown(id));
            }
        }
    }

    /// Reads again from a connection that took most of its replies; first what it sent before it was paused. Publications
    /// may still wait: they have their own limit.
    pub(super) fn resume_if_room(&mut self, index: u32) {
        if !self.connections[index as usize].paused || self.is_asking(index) {
            return;
        }
        let id = self.id_of(index);
        if self.outbound.pending_replies(index) + self.held_bytes(id) >= limits::REPLY_BYTES_MAX / 2 {
            self.outbound.watch(index, true);
        } else if self.keeps_requests(index) {
            self.unread.push(id);
        } else {
            self.resume(index);
        }
    }

    pub(super) fn resume(&mut self, index: u32) {
        if std::mem::take(&mut self.connections[index as usize].paused) {
            self.actions.push_back(Action::Resume(self.id_of(index)));
        }
    }

    /// Sends a Close frame and waits for the peer's; or the last event of a stream, and does not.
    pub(super) fn close(&mut self, index: u32, reason: CloseReason, code: u16, text: &str) {
        self.leave_all(index);
        if matches!(self.connections[index as usize].speech, Speech::Events) {
            return self.end_events(index, reason, code, text);
        }
        self.outbound.push_reply(index, |out| encode::close(out, code, text));
        self.enter(index, Phase::Closing, reason);
    }

    /// Nothing more will be said to this connection than what already waits for it.
    pub(super) fn linger(&mut self, index: u32, reason: CloseReason) {
        self.leave_all(index);
        self.enter(index, Phase::Lingering, reason);
        self.outbound.watch(index, true);
        if self.outbound.pending(index) == 0 {
            self.after_flush(index);
        }
    }

    fn enter(&mut self, index: u32, phase: Phase, reason: CloseReason) {
        self.count_open_end(index);
        let connection = &mut self.connections[index as usize];
        connection.phase = phase;
        connection.reason.get_or_insert(reason);
        connection.deadline = self.now.after_ms(limits::CLOSE_MS_MAX);
        self.wheel.file(index, connection.deadline);
        if phase == Phase::Lingering {
            self.put_off.remove(&index);
        }
        if !self.put_off.contains_key(&index) {
            self.resume(index); // its end must be seen
        }
    }

    /// Takes its subscriptions away, and it out of every fan-out.
    pub(super) fn leave_all(&mut self, index: u32) {
        self.let_go(self.id_of(index)); // what it said before it went still counts
        self.outbound.open(index, false);
        let conn = self.id_of(index);
        for slot in self.registry.unsubscribe_all(index) {
            self.detached(conn, slot);
        }
    }

    /// The end: nothing of the connection stays. `reason` counts unless an earlier event began its end.
    pub(super) fn discard(&mut self, index: u32, reason: CloseReason) {
        self.leave_all(index);
        let id = self.id_of(index);
        self.note_end(index, self.connections[index as usize].reason.unwrap_or(reason));
        self.count_open_end(index);
        let connection = self.connections.remove(index as usize);
        self.forget_exchanges(index);
        self.polls.remove(&index);
        self.put_off.remove(&index);
        self.outbound.remove(index);
        self.wheel.remove(index);
        self.shrink();
        self.counters.closed[connection.reason.unwrap_or(reason) as usize] += 1;
        self.actions.push_back(Action::Drop(id));
    }

    /// What a storm of connections needed goes with the last of them.
    fn shrink(&mut self) {
        let slots = self.connections.slots();
        if slots < self.slots {
            self.registry.shrink_to(slots);
            self.outbound.shrink_to(slots);
            self.wheel.shrink_to(slots);
            self.buckets.shrink_to(slots);
        }
        self.slots = slots;
    }

    /// Closes those whose pending publications passed the limit: the half-sent frame is completed, then comes 4008.
    pub(super) fn close_slow(&mut self) {
        while let Some(index) = self.outbound.take_slow() {
            match self.connections.get(index as usize).map(|connection| connection.phase) {
                Some(Phase::Open) => {
                    self.outbound.cut(index);
                    self.close(index, CloseReason::SlowConsumer, 4008, "slow consumer: outbound_bytes_max passed");
                }
                Some(Phase::Http) => self.refuse_feed(index),
                _ => {}
            }
        }
    }
}
