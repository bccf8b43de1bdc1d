//! What a command does: to the registry, to the topic's home, to the connection's replies.
//!
//! A home on this shard is called directly, one elsewhere by an envelope; either way its answer comes back as a
//! `Delivery`, in the order of the home's publications. Nothing here waits.

use super::Shard;
use super::registry::{Slot, Waiter};
use crate::home::{From, History, Publish, Subscribe};
use crate::ids::ConnId;
use crate::limits;
use crate::mesh::Command as Envelope;
use crate::protocol::{Command, Fault, Id, Op, reply};
use crate::topic::Filter;
use crate::transport::websocket;

impl Shard {
    pub(super) fn handle_command(&mut self, conn: ConnId, command: Result<Command<'_>, Fault>) {
        match command {
            Ok(Command { id, op: Op::Publish { topic, payload, echo, key, conflate } }) => {
                self.publish(Publish { topic, payload, shard: self.me, conn, id, echo, key, conflate });
            }
            Ok(Command { id, op: Op::Subscribe { presence: true, .. } | Op::Presence { .. } }) => {
                self.counters.faults += 1;
                let reason = "presence: the topic's rule has none";
                self.reply(conn.index, |out| reply::error(out, &id, 404, &reason));
            }
            Ok(Command { id, op: Op::Subscribe { filter, since, last, .. } }) => {
                let from = match (since, last) {
                    (Some(since), _) => From::Since(since),
                    (None, Some(last)) => From::Last(last),
                    (None, None) => From::Now,
                };
                self.subscribe(conn, id, filter, from);
            }
            Ok(Command { id, op: Op::Unsubscribe { filter } }) => self.unsubscribe(conn, &id, filter),
            Ok(Command { id, op: Op::History { topic, since, limit, reverse } }) => {
                let limit = limit.unwrap_or(limits::HISTORY_LIMIT_MAX) as usize;
                self.history(History { topic, shard: self.me, conn, id, since, limit, reverse });
            }
            Ok(Command { id, op: Op::Ping }) => self.reply(conn.index, |out| reply::pong(out, &id)),
            Err(fault) => {
                self.counters.faults += 1;
                self.reply(conn.index, |out| reply::error(out, &fault.id, fault.code, &fault.reason));
            }
        }
    }

    pub(super) fn reply(&mut self, index: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbound.push_reply(index, |out| websocket::reply(out, write));
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

    fn history(&mut self, ask: History<'_>) {
        let home = self.home_of(ask.topic);
        if home == self.me {
            return self.home.handle_history(ask);
        }
        let History { topic, conn, id, since, limit, reverse, .. } = ask;
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        parcel.items.push(Envelope::History { topic, conn, id, since, limit, reverse });
    }

    fn subscribe(&mut self, conn: ConnId, id: Id, filter: Filter<'_>, from: From) {
        let known = self.registry.find(filter).is_some_and(|slot| self.registry.has(conn.index, slot));
        let subscriptions_max = self.settings.config.limits.subscriptions_max;
        if !known && self.registry.count(conn.index) >= subscriptions_max {
            self.counters.faults += 1;
            let reason = format_args!(
                "topic: this connection has {subscriptions_max} subscriptions, the limit (subscriptions_max)"
            );
            return self.reply(conn.index, |out| reply::error(out, &id, 403, &reason));
        }
        let (slot, new) = self.registry.open(filter);
        // A second subscribe only asks for the position: number 0 is nobody's, and a replay would send things twice.
        let (serial, from) = if known { (0, From::Now) } else { (self.registry.pend(conn.index, slot), from) };
        match filter.as_topic() {
            Some(topic) => self.subscribe_topic(Subscribe { topic, shard: self.me, conn, slot, serial, id, from }),
            None => {
                if new {
                    self.watch(filter, slot);
                }
                let waiter = Waiter { conn, serial, id };
                if self.registry.is_settled(slot) {
                    self.settle_waiter(slot, &waiter);
                } else {
                    self.registry.wait(slot, waiter);
                    self.hold(conn);
                }
            }
        }
    }

    fn subscribe_topic(&mut self, subscribe: Subscribe<'_>) {
        self.registry.await_answers(subscribe.slot, 1);
        let home = self.home_of(subscribe.topic);
        if home == self.me {
            return self.home.handle_subscribe(subscribe);
        }
        let Subscribe { topic, conn, slot, serial, id, from, .. } = subscribe;
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        parcel.items.push(Envelope::Subscribe { topic, conn, slot, serial, id, from });
    }

    /// A topic that matches may live anywhere: every home is told.
    fn watch(&mut self, filter: Filter<'_>, slot: Slot) {
        self.registry.await_answers(slot, u32::from(self.shards));
        self.home.handle_watch(self.me, filter, slot);
        for peer in self.desk.peers() {
            let parcel = self.desk.commands_to(peer);
            let filter = parcel.keep(filter.as_str().as_bytes());
            parcel.items.push(Envelope::Watch { filter, slot });
        }
    }

    fn unsubscribe(&mut self, conn: ConnId, id: &Id, filter: Filter<'_>) {
        if let Some(slot) = self.registry.find(filter)
            && self.registry.unsubscribe(conn.index, slot)
        {
            self.release(slot);
        }
        if !matches!(id, Id::None) {
            self.reply(conn.index, |out| reply::ack_unsubscribe(out, id, filter.as_str()));
        }
    }

    /// Tells the homes if this shard has nobody left for the filter.
    pub(super) fn release(&mut self, slot: Slot) {
        let Some(text) = self.registry.close(slot) else { return };
        let filter = Filter::known(&text);
        if let Some(topic) = filter.as_topic() {
            let home = self.home_of(topic);
            if home == self.me {
                return self.home.handle_release(self.me, topic);
            }
            let parcel = self.desk.commands_to(home);
            let topic = parcel.keep(text.as_bytes());
            return parcel.items.push(Envelope::Release { topic });
        }
        self.home.handle_unwatch(self.me, filter);
        for peer in self.desk.peers() {
            let parcel = self.desk.commands_to(peer);
            let filter = parcel.keep(text.as_bytes());
            parcel.items.push(Envelope::Unwatch { filter });
        }
    }
}
