//! Who is there: the members of one topic by connection, how many connections each user has, who came and went this turn.
//!
//! Its home adds and takes away; a page is a range of an ordered map. Changes are collected only while somebody is told
//! of them, and made net when they are taken: who came and went within a turn is no event, unless a list of members was
//! given in between that showed it. Invariants: `users` counts the connections of `by_client` that have a user, none of
//! them 0; without a watch there are no changes. Refuses to know shards that listen and bytes that are sent.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::rc::Rc;

use foldhash::fast::RandomState;
use smallvec::{SmallVec, smallvec};

use super::topics::TopicKey;
use crate::ids::ClientName;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_client: BTreeMap<ClientName, Option<Rc<str>>>,
    users: HashMap<Rc<str>, u32, RandomState>,
    /// Who is told: the subscribers of this topic of the broker. None as long as there are none.
    watch: Option<TopicKey>,
    changes: BTreeMap<Who, Change>,
    /// How many lists were given.
    lists: u32,
}

/// What comes and goes: a user with all of its connections, or a connection without a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Connection(ClientName),
    User(Rc<str>),
}

/// What became of one of them since the last event.
#[derive(Debug)]
struct Change {
    /// Whether it was there at the last event.
    was: bool,
    /// The connection that came or went last.
    client: ClientName,
    /// `lists` when it began to differ from `was`.
    since: u32,
    /// A list was given while it differed.
    listed: bool,
}

/// Somebody came or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) join: bool,
    pub(super) client: ClientName,
    pub(super) user: Option<Rc<str>>,
}

impl Members {
    /// Adds a connection. False if it was one before.
    pub(super) fn enter(&mut self, client: ClientName, user: Option<&str>) -> bool {
        if self.by_client.contains_key(&client) {
            return false;
        }
        let user =
            user.map(|user| self.users.get_key_value(user).map_or_else(|| user.into(), |(user, _)| Rc::clone(user)));
        self.by_client.insert(client, user.clone());
        match user {
            None => self.note(Who::Connection(client), client, true),
            Some(user) => {
                let connections = self.users.entry(Rc::clone(&user)).or_default();
                *connections += 1;
                if *connections == 1 {
                    self.note(Who::User(user), client, true);
                }
            }
        }
        true
    }

    /// Takes a connection away. False if it was none.
    pub(super) fn leave(&mut self, client: ClientName) -> bool {
        let Some(user) = self.by_client.remove(&client) else { return false };
        let Some(user) = user else {
            self.note(Who::Connection(client), client, false);
            return true;
        };
        if let Some(connections) = self.users.get_mut(&user) {
            *connections -= 1;
            if *connections == 0 {
                self.users.remove(&user);
                self.note(Who::User(user), client, false);
            }
        }
        true
    }

    /// How many users there are, and how many connections with and without one.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.users.len(), self.by_client.len())
    }

    /// At most `limit` members behind `after`, and whether more follow.
    pub(super) fn page(&self, after: Option<ClientName>, limit: usize) -> (Page<'_>, bool) {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.by_client.range((behind, Bound::Unbounded));
        let page = range.by_ref().take(limit).map(|(client, user)| (*client, user.as_deref())).collect();
        (page, range.next().is_some())
    }

    /// Notes that a list was given, so that nothing which it shows stays unsaid.
    pub(super) fn note_list(&mut self) {
        self.lists = self.lists.wrapping_add(1);
    }

    /// Who is told of changes.
    pub(super) fn watch(&self) -> Option<TopicKey> {
        self.watch
    }

    /// From here on the subscribers of that topic are told of changes, or nobody is.
    pub(super) fn set_watch(&mut self, watch: Option<TopicKey>) {
        self.watch = watch;
        if watch.is_none() {
            self.changes = BTreeMap::new();
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Whether nobody is there, and nobody would be told if somebody came.
    pub(super) fn is_idle(&self) -> bool {
        self.by_client.is_empty() && self.watch.is_none()
    }

    /// What has to be told, and from here on is.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        let changes = std::mem::take(&mut self.changes);
        let mut events = Vec::with_capacity(changes.len());
        for (who, Change { was, client, listed, .. }) in changes {
            let (is, user) = match who {
                // With a user it is that user who is there.
                Who::Connection(client) => (self.by_client.get(&client) == Some(&None), None),
                Who::User(user) => (self.users.contains_key(&user), Some(user)),
            };
            let joins: SmallVec<[bool; 2]> = match (was == is, listed) {
                (false, _) => smallvec![is],
                (true, true) => smallvec![!is, is],
                (true, false) => smallvec![],
            };
            events.extend(joins.into_iter().map(|join| Event { join, client, user: user.clone() }));
        }
        events
    }

    fn note(&mut self, who: Who, client: ClientName, is: bool) {
        if self.watch.is_none() {
            return;
        }
        let fresh = Change { was: !is, client, since: self.lists, listed: false };
        let change = self.changes.entry(who).or_insert(fresh);
        change.client = client;
        if is == change.was {
            change.listed |= change.since != self.lists;
        } else {
            change.since = self.lists;
        }
    }
}

/// Members in their order: the connection, and its user if it has one.
pub(super) type Page<'m> = Vec<(ClientName, Option<&'m str>)>;

#[cfg(test)]
mod tests;
