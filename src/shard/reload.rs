//! Reload: other rules, origins and keys on a shard that runs, without a connection noticing unless it is concerned.
//!
//! The sockets' owner calls [`Shard::handle_reload`] between two turns. Rules are the matter of the homes, which tell this
//! shard of each topic whose subscribers are concerned ([`Shard::take_rule`]); shards need not reload at the same moment,
//! because only what a home says counts. Keys are looked at here: whose key is gone is closed with 4501, whose API key
//! grants something else has that from here on. Invariant: `has_members` of a topic is what its home said last.

use std::rc::Rc;

use super::connection::{CloseReason, Phase};
use super::identity::User;
use super::registry::Slot;
use super::{Settings, Shard, slot};
use crate::home::{From, Subscribe};
use crate::ids::{ConnId, Tick};
use crate::protocol::Id;
use crate::rules::{Access, Rules};
use crate::topic::{Filter, STATS, Topic, presence_of};

impl Shard {
    /// Takes rules, origins and `[auth]` of these settings; the others must be those that the shard was made with. Does
    /// nothing once the shard stops or its home is frozen.
    pub fn handle_reload(&mut self, settings: &Settings) {
        if self.stop.is_begun() || self.home.is_frozen() {
            return;
        }
        let Settings { began_unix_s, seed, .. } = *self.settings;
        self.settings = Rc::new(Settings { began_unix_s, seed, ..settings.clone() });
        self.rules = Rc::new(Rules::new(self.settings.config.rules.clone()));
        self.home.handle_reload(Rc::clone(&self.rules));
        let all: Vec<u32> = self.connections.iter().map(|(index, _)| slot(index)).collect();
        for index in all {
            self.review_identity(index);
        }
        self.review_observers();
    }

    /// Ends the subscriptions to the broker's figures of those who may not see them any more.
    fn review_observers(&mut self) {
        let topic = Topic::known(STATS);
        let (Some(slot), Some(rule)) = (self.registry.find(topic.into()), self.rules.of(topic)) else { return };
        let access = self.rules.at(rule).subscribe;
        let conns: Vec<u32> = self.registry.subscribers(slot).iter().map(|subscriber| subscriber.conn).collect();
        for index in conns {
            let conn = self.id_of(index);
            if !access.admits(self.reads_as(conn, topic.into())) {
                self.end_subscription(conn, topic.into(), 403, "only operators may read");
            }
        }
    }

    /// Who the connection is by the keys of now.
    fn review_identity(&mut self, index: u32) {
        self.end_poll(index); // the next one is judged anew
        let connection = &mut self.connections[index as usize];
        if connection.phase != Phase::Open {
            connection.user = None; // each request brings its credential, which is checked again
            return;
        }
        let Some(user) = connection.user.clone() else { return self.review_stranger(index) };
        let credentials = self.settings.credentials.as_ref();
        let Some(identity) = credentials.and_then(|credentials| credentials.renew(user.identity())) else {
            return self.close(index, CloseReason::TokenRefused, 4501, "the key of your token is not taken any more");
        };
        if identity != *user.identity() {
            let user = User::new(identity, None);
            self.take_identity(index, Some(Rc::clone(&user)));
            self.file_open(index);
            self.review_subscriptions(self.id_of(index), &user, false, "your API key does not grant");
        }
    }

    /// Whoever has not said who it is has the time of a new connection for it, if that is asked for from here on.
    fn review_stranger(&mut self, index: u32) {
        let is_asked = self.connections[index as usize].until != Tick(u32::MAX);
        if is_asked != self.shuts_strangers_out() {
            self.take_identity(index, None);
            self.file_open(index);
        }
    }

    /// The topic has a new rule: ends the subscriptions of those whom it does not admit, with an error each, and makes
    /// members of the others, or nobody.
    pub(super) fn take_rule(&mut self, topic: Topic<'_>, access: Access, presence: bool) {
        let Some(slot) = self.registry.find(topic.into()) else { return };
        let enter = presence && !self.registry.has_members(slot);
        self.registry.set_members(slot, presence);
        if !presence {
            self.end_watches(topic);
        }
        let conns: Vec<u32> = self.registry.subscribers(slot).iter().map(|subscriber| subscriber.conn).collect();
        for index in conns {
            let conn = self.id_of(index);
            let permit = self.reads_as(conn, topic.into());
            if !access.admits(permit) {
                self.end_subscription(conn, topic.into(), 403, "the new rule does not let you read");
            } else if enter {
                self.enter_home(conn, topic, slot);
            }
        }
    }

    /// Has the home note that a subscriber of the topic is a member.
    pub(super) fn enter_home(&mut self, conn: ConnId, topic: Topic<'_>, slot: Slot) {
        let (user, permit) = (self.user(conn), self.reads_as(conn, topic.into()));
        let (shard, user, from) = (self.me, user.as_ref().map(|user| user.name()), From::Now);
        let (watch, serial, id, form) = (None, 0, Id::None, self.outbound.form(conn.index));
        self.subscribe_topic(Subscribe { topic, shard, conn, user, permit, slot, watch, serial, id, from, form });
    }

    /// Nobody is told any more who comes to the topic and goes.
    fn end_watches(&mut self, topic: Topic<'_>) {
        let watch = presence_of(topic);
        let Some(slot) = self.registry.find(Filter::known(&watch)) else { return };
        let told: Vec<u32> = self.registry.subscribers(slot).iter().map(|subscriber| subscriber.conn).collect();
        for index in told {
            self.end_watch(index, topic);
            let reason = format!("presence: the new rule has none for {}", topic.as_str());
            self.end_of_topic(index, topic.as_str(), 404, &reason);
        }
    }

    /// Ends a subscription that the connection is not to have any more, and tells it why.
    pub(super) fn end_subscription(&mut self, conn: ConnId, filter: Filter<'_>, code: u16, why: &str) {
        self.take_away(conn, filter);
        let reason = format!("topic: {why} {}, its subscription ends", filter.as_str());
        self.end_of_topic(conn.index, filter.as_str(), code, &reason);
    }
}
