//! Presence on the shard: who asks for members, who wants to be told of them, and that whoever goes is gone everywhere.
//!
//! A subscriber who wants to be told who comes and goes has a second subscription, to the broker's own topic
//! `$presence/` and the topic's name: the registry, the fan-out and every road out treat it like any other. A member is
//! whoever has subscribed to a topic by its name where the rule has presence; the topic's home learns of each that leaves
//! right when its subscription goes, by the road on which it learned of the subscribe.

use super::Shard;
use super::registry::Slot;
use crate::home::Presence;
use crate::ids::ConnId;
use crate::mesh::Command as Envelope;
use crate::rules::{Permit, Rules};
use crate::topic::{Filter, Topic, presence_of};

impl Shard {
    pub(super) fn presence(&mut self, ask: Presence<'_>) {
        let home = self.home_of(ask.topic);
        if home == self.me {
            return self.home.handle_presence(ask);
        }
        let Presence { topic, conn, id, permit, limit, after, .. } = ask;
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        parcel.items.push(Envelope::Presence { topic, conn, id, permit, limit, after });
    }

    /// Ends the connection's subscription to who comes and goes, if it has one.
    pub(super) fn end_watch(&mut self, conn: u32, topic: Topic<'_>) {
        let watch = presence_of(topic);
        if let Some(slot) = self.registry.find(Filter::known(&watch))
            && self.registry.unsubscribe(conn, slot)
        {
            self.release(slot);
        }
    }

    /// A subscription of the connection, pending or live, was just taken away: its home is told.
    pub(super) fn detached(&mut self, conn: ConnId, slot: Slot) {
        if self.registry.has_members(slot) {
            self.leave(conn, slot);
        }
        self.release(slot);
    }

    /// The connection is no member any more, from behind what it publishes before.
    pub(super) fn leave(&mut self, conn: ConnId, slot: Slot) {
        let topic: Box<str> = self.registry.filter(slot).into();
        let topic = Topic::known(&topic);
        if !self.hold_leave(conn, topic) {
            self.leave_home(conn, topic);
        }
    }

    /// Tells the topic's home that the connection is no member any more.
    pub(super) fn leave_home(&mut self, conn: ConnId, topic: Topic<'_>) {
        let home = self.home_of(topic);
        if home == self.me {
            return self.home.handle_leave(self.me, topic, conn);
        }
        let parcel = self.desk.commands_to(home);
        let topic = parcel.keep(topic.as_str().as_bytes());
        parcel.items.push(Envelope::Leave { topic, conn });
    }
}

/// Whether the rule of the filter, if it is a topic, wants to know who is there.
pub(super) fn has_presence(rules: &Rules, filter: Filter<'_>) -> bool {
    let rule = filter.as_topic().and_then(|topic| rules.of(topic));
    rule.is_some_and(|rule| rules.at(rule).presence)
}

/// Whether the filter is a topic that the permit may read and whose rule does not want to know who is there.
pub(super) fn lacks_presence(rules: &Rules, filter: Filter<'_>, permit: Permit) -> bool {
    let rule = filter.as_topic().and_then(|topic| rules.of(topic)).map(|rule| rules.at(rule));
    rule.is_some_and(|rule| !rule.presence && rule.subscribe.admits(permit))
}
