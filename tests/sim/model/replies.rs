//! What the broker owes one client, and the JSON in which it pays.
//!
//! Errors, pongs and the acks of unsubscribes are made by the shard at once and so come in the order of the commands; the
//! acks of subscribes, publishes and histories, and what a topic's rule refuses, come from homes and are found by their
//! ids. A refusal without an id is found by its code.

use std::collections::{BTreeMap, VecDeque};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::publications::Index;
use super::{Broken, Oracle, broken, meets};
use crate::event::Begin;

/// One object of the broker, as a client reads it. Absent members are `None`.
#[derive(Debug, Deserialize)]
pub(super) struct Reply<'a> {
    pub(super) op: String,
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    pub(super) topic: Option<String>,
    pub(super) position: Option<String>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    pub(super) code: Option<u16>,
    pub(super) reason: Option<String>,
    pub(super) client: Option<String>,
    pub(super) heartbeat: Option<u32>,
    pub(super) limits: Option<Announced>,
    pub(super) recovered: Option<bool>,
    #[serde(borrow)]
    pub(super) messages: Option<Vec<&'a RawValue>>,
    pub(super) encoding: Option<String>,
    pub(super) missed: Option<u64>,
    pub(super) member: Option<Member>,
    pub(super) members: Option<Vec<Member>>,
    pub(super) users: Option<u64>,
    pub(super) connections: Option<u64>,
    pub(super) next: Option<String>,
}

/// One of those who are there.
#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) client: String,
    pub(super) user: Option<String>,
}

/// What `welcome` says of the limits.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    pub(super) message_bytes: usize,
    pub(super) subscriptions: usize,
}

/// A reply that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) seq: u64,
    /// Where the command ends in the client's stream.
    pub(super) end: u64,
    pub(super) id: Option<String>,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    PongFrame(Vec<u8>),
    Pong,
    Error(u16),
    Unsubscribed(String),
    Subscribed(Beginning),
    Published(Index),
    History(Page),
    Members(Call),
    /// An error that the topic's home makes.
    Refused(u16),
}

/// A subscribe that is to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) filter: String,
    pub(super) begin: Begin,
    /// When it was sent, and the topic's newest offset that anybody knew then.
    pub(super) asked_ms: u64,
    pub(super) known: u64,
    /// It wants to be told who comes and goes.
    pub(super) presence: bool,
    /// It cannot have been a member before.
    pub(super) comes: bool,
}

/// A page of members that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) topic: String,
    pub(super) limit: u64,
    pub(super) after: Option<String>,
    pub(super) still: bool,
    /// The step in which it was sent.
    pub(super) step: u64,
}

/// A page of history that is to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) topic: String,
    pub(super) since: Option<(String, u64)>,
    pub(super) limit: u64,
    pub(super) reverse: bool,
    pub(super) asked_ms: u64,
    pub(super) known: u64,
}

impl Due {
    /// Whether it is an ack after which the topic is delivered.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        matches!(&self.what, What::Subscribed(it) if meets(&it.filter, topic))
    }

    /// More bytes than its reply has.
    fn bytes_max(&self) -> usize {
        match &self.what {
            What::PongFrame(payload) => payload.len() + 4,
            What::History(_) => wirefan::limits::HISTORY_REPLY_BYTES_MAX + 100_000,
            What::Members(_) => 30_000,
            _ => 600,
        }
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Replies {
    at_once: VecDeque<Due>,
    later: BTreeMap<String, Due>,
    nameless: Vec<Due>,
}

impl Replies {
    pub(super) fn owe(&mut self, due: Due) {
        match (&due.what, &due.id) {
            (
                What::Subscribed(_) | What::Published(_) | What::History(_) | What::Members(_) | What::Refused(_),
                Some(id),
            ) => {
                let before = self.later.insert(id.clone(), due);
                assert!(before.is_none(), "the simulator's ids are unique");
            }
            (What::Refused(_), None) => self.nameless.push(due),
            (What::Subscribed(_) | What::Published(_) | What::Unsubscribed(_), None) => {}
            _ => self.at_once.push_back(due),
        }
    }

    /// The next reply of those that are made at once, if it is this one.
    pub(super) fn at_once(&mut self, id: Option<&str>, what: &What) -> Result<Due, Broken> {
        match self.at_once.front() {
            Some(due) if due.id.as_deref() == id && due.what == *what => {
                Ok(self.at_once.pop_front().expect("it has a front"))
            }
            due => broken(Oracle::Reply, format!("got {what:?} for id {id:?}, due was {due:?}")),
        }
    }

    /// What an error answers. `by_rule`: its reason is the topic's rule, which a home knows.
    pub(super) fn error(&mut self, id: Option<&str>, code: u16, by_rule: bool) -> Result<Due, Broken> {
        let may_refuse = |due: &Due| match due.what {
            What::Refused(due) => due == code && by_rule,
            What::History(_) | What::Members(_) => !by_rule, // judged by who knows the topic
            _ => false,
        };
        if let Some(id) = id.filter(|id| self.later.get(*id).is_some_and(may_refuse)) {
            return Ok(self.later.remove(id).expect("just seen"));
        }
        match self.nameless.iter().position(|due| id.is_none() && may_refuse(due)) {
            Some(at) => Ok(self.nameless.remove(at)),
            None => self.at_once(id, &What::Error(code)),
        }
    }

    /// The reply of this id, whichever it is.
    pub(super) fn ack(&mut self, id: &str) -> Result<Due, Broken> {
        if let Some(due) = self.later.remove(id) {
            return Ok(due);
        }
        match self.at_once.front() {
            Some(due) if due.id.as_deref() == Some(id) && matches!(due.what, What::Unsubscribed(_)) => {
                Ok(self.at_once.pop_front().expect("it has a front"))
            }
            due => broken(Oracle::Reply, format!("an ack for id {id}, which waits for none; due was {due:?}")),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Due> {
        self.at_once.iter().chain(self.later.values()).chain(&self.nameless)
    }

    /// The first reply due of those that are made at once.
    pub(super) fn next_at_once(&self) -> Option<&Due> {
        self.at_once.front()
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.all().map(Due::bytes_max).sum()
    }
}
