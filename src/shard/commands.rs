//! What a command does: to the registry, to the topic's home, to the connection's replies.
//!
//! A home on this shard is called directly, one elsewhere by an envelope; either way its answer comes back as a
//! `Delivery`, in the order of the home's publications. Nothing here waits.

use std::rc::Rc;

use super::Shard;
use super::connection::{CloseReason, Phase};
use super::identity::User;
use super::presence::{has_presence, lacks_presence};
use super::registry::{Slot, Waiter};
use crate::auth::Pace;
use crate::home::{From, History, Presence, Publish, Refusal, Subscribe};
use crate::ids::ConnId;
use crate::limits;
use crate::mesh::Command as Envelope;
use crate::protocol::{Command, Fault, Id, Op, reply};
use crate::rules::Permit;
use crate::topic::{Filter, presence_of};
use crate::transport::Form;

impl Shard {
    pub(super) fn handle_command(&mut self, conn: ConnId, command: Result<Command<'_>, Fault>) {
        if self.connections[conn.index as usize].phase != Phase::Open || self.is_too_fast(conn.index, &command) {
            return;
        }
        match command {
            Ok(Command { id, op: Op::Auth { token } }) => self.authenticate(conn, &id, token.0),
            Ok(Command { id, op }) if op != Op::Ping && self.is_stranger(conn.index) => {
                self.fail(conn.index, &id, 401, "op: say first who you are, by auth with a token");
            }
            Ok(Command { id, op: Op::Publish { topic, payload, echo, key, conflate } }) => {
                let user = self.user(conn);
                let permit = user.as_ref().map_or_else(Permit::default, |user| user.publishes(topic));
                let user = user.as_ref().map(|user| user.name());
                self.publish(Publish { topic, payload, shard: self.me, conn, user, permit, id, echo, key, conflate });
            }
            Ok(Command { id, op: Op::Subscribe { filter, since, last, presence } }) => {
                let from = match (since, last) {
                    (Some(since), _) => From::Since(since),
                    (None, Some(last)) => From::Last(last),
                    (None, None) => From::Now,
                };
                self.subscribe(conn, id, filter, from, presence);
            }
            Ok(Command { id, op: Op::Unsubscribe { filter } }) => self.unsubscribe(conn, &id, filter),
            Ok(Command { id, op: Op::History { topic, since, limit, reverse } }) => {
                let limit = limit.unwrap_or(limits::HISTORY_LIMIT_MAX) as usize;
                let permit = self.reads_as(conn, topic.into());
                self.history(History { topic, shard: self.me, conn, permit, id, since, limit, reverse });
            }
            Ok(Command { id, op: Op::Presence { topic, limit, after } }) => {
                let limit = limit.unwrap_or(limits::PRESENCE_LIMIT_MAX) as usize;
                let permit = self.reads_as(conn, topic.into());
                self.presence(Presence { topic, shard: self.me, conn, id, permit, limit, after });
            }
            Ok(Command { id, op: Op::Ping }) => self.reply(conn.index, |out| reply::pong(out, &id)),
            Err(fault) => {
                self.counters.faults += 1;
                self.reply(conn.index, |out| reply::error(out, &fault.id, fault.code, &fault.reason));
            }
        }
    }

    /// Takes one command of the connection's rate; it is refused if there was none left.
    fn is_too_fast(&mut self, index: u32, command: &Result<Command<'_>, Fault>) -> bool {
        let Some(rate) = self.rate else { return false };
        match self.buckets[index as usize].take(rate, self.now_ms * 1000) {
            Pace::Ok => return false,
            Pace::TooFast { retry_ms } => {
                let id = command.as_ref().map_or_else(|fault| &fault.id, |command| &command.id);
                let most = self.settings.config.limits.commands_per_second_max;
                let reason = format!(
                    "op: more than {most} commands per second (limits.commands_per_second_max); retry_ms={retry_ms}"
                );
                self.fail(index, id, 429, &reason);
            }
            Pace::TooLong { retry_ms } => {
                self.close(index, CloseReason::TooFast, 4029, &format!("retry_ms={retry_ms}"));
            }
        }
        true
    }

    /// Whether the connection has to say first who it is.
    fn is_stranger(&self, index: u32) -> bool {
        self.shuts_strangers_out() && self.connections[index as usize].user.is_none()
    }

    pub(super) fn user(&self, conn: ConnId) -> Option<Rc<User>> {
        self.connections[conn.index as usize].user.clone()
    }

    /// Who the connection is to the rule of what it wants to read.
    pub(super) fn reads_as(&self, conn: ConnId, filter: Filter<'_>) -> Permit {
        let user = &self.connections[conn.index as usize].user;
        self.permit(user.as_deref(), filter)
    }

    pub(super) fn reply(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        let form = self.outbound.form(index);
        self.outbound.push_reply(index, |out| form.reply(out, write));
    }

    fn publish(&mut self, publish: Publish<'_>) {
        self.counters.published += 1;
        if let Some(publish) = self.hold_back(publish) {
            self.publish_now(publish);
        }
    }

    /// Hands a publication to its topic's home.
    pub(super) fn publish_now(&mut self, publish: Publish<'_>) {
        let home = self.home_of(publish.topic);
        if home == self.me {
            return self.home.handle_publish(publish);
        }
        self.desk.commands_to(home).push_publish(publish);
    }

    pub(super) fn history(&mut self, ask: History<'_>) {
        let home = self.home_of(ask.topic);
        if home == self.me {
            return self.home.handle_history(ask);
        }
        let History { topic, conn, permit, id, since, limit, reverse, .. } = ask;
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        parcel.items.push(Envelope::History { topic, conn, permit, id, since, limit, reverse });
    }

    pub(super) fn subscribe(&mut self, conn: ConnId, id: Id, filter: Filter<'_>, from: From, presence: bool) {
        let (user, permit) = (self.user(conn), self.reads_as(conn, filter));
        if presence && lacks_presence(&self.rules, filter, permit) {
            // Here and not at the home: while its refusal is on its way, a subscribe without `presence` would join this one.
            let refusal = Refusal::NoPresence;
            return self.refuse_command(conn, &id, refusal.code(), &refusal);
        }
        let own = filter.as_topic().filter(|_| presence).map(presence_of);
        let watch = own.as_deref().map(Filter::known);
        let has = |filter| self.registry.find(filter).is_some_and(|slot| self.registry.has(conn.index, slot));
        let known = has(filter);
        let more = usize::from(!known) + usize::from(watch.is_some_and(|watch| !has(watch)));
        let subscriptions_max = self.settings.config.limits.subscriptions_max;
        if more > 0 && self.registry.count(conn.index) + more > subscriptions_max {
            let reason = format!(
                "topic: this connection would have more than {subscriptions_max} subscriptions, the limit (subscriptions_max)"
            );
            return self.refuse_command(conn, &id, 403, &reason);
        }
        let serial = self.registry.next_serial();
        let form = self.outbound.form(conn.index);
        let slot = self.pend(conn, filter, serial);
        match filter.as_topic() {
            Some(topic) => {
                self.forget_leave(conn, topic);
                let watch = watch.map(|watch| self.pend(conn, watch, serial));
                if watch.is_none() && self.registry.has_members(slot) {
                    self.end_watch(conn.index, topic);
                }
                let user = user.as_ref().map(|user| user.name());
                // Subscribing again only asks for the position: a replay would send things twice.
                let from = if known { From::Now } else { from };
                let shard = self.me;
                let subscribe = Subscribe { topic, shard, conn, user, permit, slot, watch, serial, id, from, form };
                self.subscribe_topic(subscribe);
            }
            None => {
                if self.registry.wants_in(slot, form) {
                    self.watch(filter, slot, form);
                }
                let waiter = Waiter { conn, serial, id };
                if self.registry.is_settled(slot) {
                    let joined = self.settle_waiter(slot, &waiter);
                    self.take_joined(conn, &waiter.id, joined);
                } else {
                    self.registry.wait(slot, waiter);
                    self.hold(conn);
                }
            }
        }
    }

    /// The filter's slot, with a subscribe to it under way.
    fn pend(&mut self, conn: ConnId, filter: Filter<'_>, serial: u32) -> Slot {
        let rules = Rc::clone(&self.rules);
        let slot = self.registry.open(filter, || has_presence(&rules, filter));
        self.registry.pend(conn.index, slot, serial);
        slot
    }

    pub(super) fn subscribe_topic(&mut self, subscribe: Subscribe<'_>) {
        for slot in subscribe.watch.into_iter().chain([subscribe.slot]) {
            self.registry.await_answers(slot, 1);
        }
        let home = self.home_of(subscribe.topic);
        if home == self.me {
            return self.home.handle_subscribe(subscribe);
        }
        let Subscribe { topic, conn, user, permit, slot, watch, serial, id, from, form, .. } = subscribe;
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        let user = user.map(|user| parcel.keep(user.as_bytes()));
        parcel.items.push(Envelope::Subscribe { topic, conn, user, permit, slot, watch, serial, id, from, form });
    }

    /// A topic that matches may live anywhere: every home is told.
    fn watch(&mut self, filter: Filter<'_>, slot: Slot, form: Form) {
        self.registry.await_answers(slot, u32::from(self.shards));
        self.home.handle_watch(self.me, filter, slot, form);
        for peer in self.desk.peers() {
            let parcel = self.desk.commands_to(peer);
            let filter = parcel.keep(filter.as_str().as_bytes());
            parcel.items.push(Envelope::Watch { filter, slot, form });
        }
    }

    fn unsubscribe(&mut self, conn: ConnId, id: &Id, filter: Filter<'_>) {
        // The broker's own subscriptions end with what they belong to.
        if !filter.is_inner() {
            self.take_away(conn, filter);
        }
        if !matches!(id, Id::None) {
            self.reply(conn.index, |out| reply::ack_unsubscribe(out, id, filter.as_str()));
        }
    }

    /// Takes the connection's subscription away, if it has one.
    pub(super) fn take_away(&mut self, conn: ConnId, filter: Filter<'_>) {
        if let Some(slot) = self.registry.find(filter) {
            if let Some(topic) = filter.as_topic().filter(|_| self.registry.has_members(slot)) {
                self.end_watch(conn.index, topic);
            }
            if self.registry.unsubscribe(conn.index, slot) {
                self.detached(conn, slot);
            }
        }
    }

    /// Tells the homes if this shard has nobody left for the filter.
    pub(super) fn release(&mut self, slot: Slot) {
        let Some(text) = self.registry.close(slot) else { return };
        let filter = Filter::known(text.name());
        if let Some(topic) = filter.as_topic() {
            let home = self.home_of(topic);
            if home == self.me {
                return self.home.handle_release(self.me, topic);
            }
            let parcel = self.desk.commands_to(home);
            let topic = parcel.keep(text.name_bytes());
            return parcel.items.push(Envelope::Release { topic });
        }
        self.home.handle_unwatch(self.me, filter);
        for peer in self.desk.peers() {
            let parcel = self.desk.commands_to(peer);
            let filter = parcel.keep(text.name_bytes());
            parcel.items.push(Envelope::Unwatch { filter });
        }
    }
}
