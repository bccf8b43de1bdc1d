//! This shard's answers to questions of operators, which may go through all of its topics or connections.
//!
//! What goes through all is a [`Sweep`]: each turn looks at `SWEEP_SLOTS_PER_TURN` slots for all sweeps together, the
//! oldest first, so that neither a million connections nor a filter that matches nothing keeps anybody waiting. What is
//! asked of one connection, or of the topics of a page, is answered at once. Invariant: each question has one answer.

use std::collections::VecDeque;

use super::connection::{CloseReason, Connection, Phase, Speech};
use super::{Shard, slot};
use crate::home::{Answer, Page, Question};
use crate::ids::{ClientName, ConnId, ShardId, TICK_MS};
use crate::limits;
use crate::mesh::Delivery;
use crate::protocol::listing;
use crate::topic::Filter;

/// A question that is being answered turn by turn.
#[derive(Debug)]
pub(super) struct Sweep {
    asker: ShardId,
    serial: u64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Topics { filter: Box<str>, page: Page },
    Connections { user: Option<Box<str>>, page: Page },
    EndUser { user: Box<str>, spared: ClientName, next: usize, ended: usize },
}

/// Sweeps under way, the oldest first.
pub(super) type Sweeps = VecDeque<Sweep>;

impl Shard {
    /// A shard asks, this one perhaps.
    pub(super) fn handle_question(&mut self, asker: ShardId, serial: u64, question: Question) {
        let kind = match question {
            Question::Topics { filter, from, limit } => {
                Kind::Topics { filter, page: Page::new(from.slot_on(self.me), limit) }
            }
            Question::Connections { user, from, limit } => {
                Kind::Connections { user, page: Page::new(from.slot_on(self.me), limit) }
            }
            Question::EndUser { user, spared } => Kind::EndUser { user, spared, next: 0, ended: 0 },
            Question::Subscribers(names) => {
                return self.give_answer(asker, serial, Answer::Counts(self.counts_of(&names)));
            }
            Question::Figures => {
                let figures = Box::new(self.figures());
                return self.give_answer(asker, serial, Answer::Figures(figures));
            }
            Question::Connection(conn) => {
                let mut page = Page::new(0, 1);
                if let Some(index) = self.index_of(conn) {
                    self.list_connection(index, &mut page);
                }
                return self.give_answer(asker, serial, Answer::Page(page));
            }
            Question::End(conn) => {
                let ended = self.index_of(conn).is_some_and(|index| self.revoke(index));
                return self.give_answer(asker, serial, Answer::Ended(usize::from(ended)));
            }
        };
        self.sweeps.push_back(Sweep { asker, serial, kind });
    }

    fn give_answer(&mut self, asker: ShardId, serial: u64, answer: Answer) {
        let answer = Delivery::Surveyed { serial, shard: self.me, answer: Box::new(answer) };
        self.home.parcel(asker).items.push(answer);
    }

    /// Whether there is something to go through, and room for what is found.
    pub(super) fn sweeps_wait(&self) -> bool {
        !self.sweeps.is_empty() && !self.desk.deliveries_wait()
    }

    /// Goes on with the sweeps for a turn.
    pub(super) fn sweep_some(&mut self) {
        if self.sweeps_wait() {
            self.sweep(limits::SWEEP_SLOTS_PER_TURN);
        }
    }

    /// Ends all sweeps: no answer can be given later.
    pub(super) fn end_sweeps(&mut self) {
        self.sweep(usize::MAX);
    }

    fn sweep(&mut self, mut budget: usize) {
        while budget > 0
            && let Some(mut sweep) = self.sweeps.pop_front()
        {
            if !self.advance(&mut sweep.kind, &mut budget) {
                return self.sweeps.push_front(sweep);
            }
            let answer = match sweep.kind {
                Kind::Topics { page, .. } | Kind::Connections { page, .. } => Answer::Page(page),
                Kind::EndUser { ended, .. } => Answer::Ended(ended),
            };
            self.give_answer(sweep.asker, sweep.serial, answer);
        }
    }

    /// Goes on with one of them. Whether it is done; if not, the budget is.
    fn advance(&mut self, kind: &mut Kind, budget: &mut usize) -> bool {
        match kind {
            Kind::Topics { filter, page } => {
                self.home.list_topics(Filter::known(filter), page, budget);
                page.is_done()
            }
            Kind::Connections { user, page } => {
                page.walk(self.connections.slots(), budget, |page, index| {
                    let Some(connection) = self.connections.get(index as usize) else { return };
                    if user.as_deref().is_none_or(|user| is_of(connection, user)) {
                        self.list_connection(index, page);
                    }
                });
                page.is_done()
            }
            Kind::EndUser { user, spared, next, ended } => {
                while *next < self.connections.slots() {
                    if *budget == 0 {
                        return false;
                    }
                    *budget -= 1;
                    let index = std::mem::replace(next, *next + 1);
                    if self.connections.get(index).is_some_and(|connection| is_of(connection, user))
                        && self.client_of(self.id_of(slot(index))) != *spared
                    {
                        *budget = budget.saturating_sub(self.registry.count(slot(index)));
                        *ended += usize::from(self.revoke(slot(index)));
                    }
                }
                true
            }
        }
    }

    /// Adds a connection to a page, unless its end has begun.
    fn list_connection(&self, index: u32, page: &mut Page) {
        let connection = &self.connections[index as usize];
        let transport = match connection.phase {
            Phase::Http if self.polls.contains_key(&index) => "poll",
            Phase::Http => "http",
            Phase::Open if matches!(connection.speech, Speech::Events) => "events",
            Phase::Open => "websocket",
            Phase::Closing | Phase::Lingering => return,
        };
        let item = listing::Connection {
            client: self.client_of(self.id_of(index)),
            user: connection.user.as_ref().map(|user| user.name()),
            transport,
            age_s: u64::from(self.now.0 - connection.came.0) * TICK_MS / 1000,
            subscriptions: self.registry.count(index),
            pending_bytes: self.outbound.pending(index),
        };
        page.push(index, "", |out| listing::connection(out, &item));
    }

    /// Ends a connection because an operator says so: what waits for it is not sent any more, and a request of it not
    /// answered. False if its end had begun before.
    fn revoke(&mut self, index: u32) -> bool {
        match self.connections[index as usize].phase {
            Phase::Open => {
                self.outbound.cut(index);
                self.close(index, CloseReason::Revoked, 4503, "ended by an operator");
            }
            Phase::Http => self.discard(index, CloseReason::Revoked),
            Phase::Closing | Phase::Lingering => return false,
        }
        true
    }

    /// The name of a connection of this shard.
    pub(super) fn client_of(&self, conn: ConnId) -> ClientName {
        ClientName { shard: self.me, conn }
    }
}

fn is_of(connection: &Connection, user: &str) -> bool {
    connection.user.as_ref().is_some_and(|its| its.name() == user)
}
