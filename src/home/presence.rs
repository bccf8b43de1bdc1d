//! Presence at a topic's home: who enters and leaves, who asks for a list, who is told.
//!
//! `Home` calls these when a connection subscribes, leaves or asks. Those who want to be told subscribe to a topic of the
//! broker's own, `$presence/` and the topic's name, which has the same home; its events are frames of the turn's batch
//! like publications. Invariants: a change of a topic is encoded before the topic's next publication and behind the last
//! one before it; nothing is collected or encoded while no shard is told.

use super::members::Event;
use super::topics::TopicKey;
use super::{Delivery, Home, Refusal, Span};
use crate::ids::{ClientName, ConnId, ShardId};
use crate::limits;
use crate::protocol::{Id, reply};
use crate::rules::Permit;
use crate::topic::{Topic, presence_of, subject};
use crate::transport::{Form, websocket};

/// One question for the members of a topic on its way into a home.
#[derive(Debug)]
pub struct Presence<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// The shard that asks.
    pub shard: ShardId,
    /// The connection that asks.
    pub conn: ConnId,
    /// What it called the command.
    pub id: Id,
    /// Who it is to the topic's rule.
    pub permit: Permit,
    /// At most so many members.
    pub limit: usize,
    /// Only those behind this one.
    pub after: Option<ClientName>,
}

impl Home {
    /// The connection is no member of the topic any more, if it was one.
    pub fn handle_leave(&mut self, shard: ShardId, topic: Topic<'_>, conn: ConnId) {
        let Some(key) = self.topics.find(topic) else { return };
        let Some(members) = &mut self.topics.at(key).members else { return };
        if members.leave(ClientName { shard, conn }) {
            self.members -= 1;
            self.stir(key);
        }
    }

    /// Answers with a page of members.
    pub fn handle_presence(&mut self, ask: Presence<'_>) {
        let key = self.topics.open(ask.topic, &self.rules);
        self.answer_presence(key, ask);
        self.topics.touch(key);
    }

    fn answer_presence(&mut self, key: TopicKey, ask: Presence<'_>) {
        let Presence { topic, shard, conn, id, permit, limit, after } = ask;
        let rule = self.topics.at(key).rule.map(|rule| self.rules.at(rule));
        let Some(rule) = rule.filter(|rule| rule.subscribe.admits(permit)) else {
            return self.refuse(shard, conn, id, Refusal::Subscribe);
        };
        if !rule.presence {
            return self.refuse(shard, conn, id, Refusal::NoPresence);
        }
        if self.out[shard.index()].bytes.len() >= limits::HISTORY_PARCEL_BYTES_MAX {
            return self.refuse(shard, conn, id, Refusal::TooMuch);
        }
        self.seal_events(key);
        let bytes = &mut self.out[shard.index()].bytes;
        let start = bytes.len();
        match &mut self.topics.at(key).members {
            Some(members) => {
                members.note_list();
                let (users, connections) = members.counts();
                let (page, more) = members.page(after, limit);
                let (len, next) = (page.len(), page.last().map(|(client, _)| *client).filter(|_| more));
                reply::ack_presence(bytes, &id, topic.as_str(), page.into_iter(), len, users, connections, next);
            }
            None => reply::ack_presence(bytes, &id, topic.as_str(), std::iter::empty(), 0, 0, 0, None),
        }
        let len = bytes.len() - start;
        let ack = Span::at_end(&bytes[..start], len);
        self.out[shard.index()].items.push(Delivery::Presence { conn, ack });
    }

    /// The shard wants to be told who comes and goes; `name` is the topic's.
    pub(super) fn watch_members(&mut self, key: TopicKey, name: Topic<'_>, shard: ShardId, form: Form) {
        self.seal_events(key);
        let watch = self.topics.open(Topic::known(&presence_of(name)), &self.rules);
        let state = self.topics.at(watch);
        state.exact.insert(shard);
        state.exact_forms.insert(form);
        state.rule = None; // whatever a filter with `$` says: events have no positions to be counted in a gap by
        self.topics.touch(watch);
        self.topics.at(key).members.get_or_insert_default().set_watch(Some(watch));
    }

    /// No subscriber is told any more who comes to that topic's subject, if it is of that kind.
    pub(super) fn unwatch_members(&mut self, watch: Topic<'_>) {
        let Some(key) = subject(watch).and_then(|topic| self.topics.find(topic)) else { return };
        if let Some(members) = &mut self.topics.at(key).members {
            members.set_watch(None);
            self.stir(key);
        }
    }

    /// The connection is a member from here on.
    pub(super) fn enter(&mut self, key: TopicKey, client: ClientName, user: Option<&str>) {
        if self.topics.at(key).members.get_or_insert_default().enter(client, user) {
            self.members += 1;
            self.stir(key);
        }
    }

    /// Something changed among the topic's members: notes that it has to be told, or forgets that they ever were.
    fn stir(&mut self, key: TopicKey) {
        let topic = self.topics.at(key);
        let Some(members) = &mut topic.members else { return };
        if self.stopped {
            members.set_watch(None); // every shard was told that this was all
        }
        if members.has_changes() && !std::mem::replace(&mut topic.stirred, true) {
            self.stirred.push((key, topic.epoch));
        }
        if members.is_idle() {
            topic.members = None;
            self.topics.touch(key);
        }
    }

    /// The answer that follows must stand behind the events that are encoded already.
    fn seal_events(&mut self, key: TopicKey) {
        let watch = self.topics.at(key).members.as_ref().and_then(|members| members.watch());
        if watch.is_some_and(|watch| self.topics.at(watch).is_in_turn()) {
            self.seal();
        }
    }

    /// Encodes who came and went, of all topics.
    pub(super) fn tell_all(&mut self) {
        for life in std::mem::take(&mut self.stirred) {
            if let Some(topic) = self.topics.in_life(life) {
                topic.stirred = false;
                self.tell(life.0);
            }
        }
    }

    /// Encodes who came to the topic and went.
    pub(super) fn tell(&mut self, key: TopicKey) {
        let topic = self.topics.at(key);
        let Some(members) = &mut topic.members else { return };
        let Some(watch) = members.watch().filter(|_| members.has_changes()) else { return };
        let (events, name) = (members.take_events(), Box::<str>::from(topic.name()));
        if topic.is_in_turn() && !events.is_empty() {
            self.seal(); // whoever leaves does so behind its last publication
        }
        for Event { join, client, user } in events {
            let event = |out: &mut Vec<u8>| reply::presence_event(out, join, &name, &client, user.as_deref());
            self.turn.push_event(watch, self.topics.at(watch), |out| websocket::reply(out, event));
            if self.turn.len() >= limits::BATCH_BYTES_MAX {
                self.seal();
            }
        }
    }
}
