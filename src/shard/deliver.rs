//! The mail: commands from other shards to this one's home, deliveries from all homes to this one's connections.

use std::fmt::Display;
use std::sync::Arc;

use smallvec::SmallVec;

use super::exchange::Part;
use super::feeds::Joined;
use super::outbound::{SegmentKey, Share, Shares, is_bulk, shares};
use super::registry::{Settled, Slot, Waiter};
use super::{Shard, connection::Phase};
use crate::home::{Batch, History, Piece, Presence, Refusal, Span, Subscribe, Subscribed};
use crate::ids::{ConnId, ShardId};
use crate::limits;
use crate::mesh::{Command as Envelope, Delivery, Parcel};
use crate::protocol::{Id, Position, reply};
use crate::rules::Permit;
use crate::topic::{Filter, Topic, canary_number};
use crate::transport::{Form, websocket};

impl Shard {
    /// Deliveries first: they make no more deliveries. A ringful of each home, because one that goes on posting meanwhile
    /// must not keep this shard from its sockets. Commands only while their answers have room, and each turn begins with
    /// another shard's, so that the budget is everybody's.
    pub(super) fn take_mail(&mut self) {
        if self.outbound.is_late() {
            return; // the rings fill, and whoever fills them is slowed down
        }
        let peers = self.desk.peers_len();
        for turn in 0..peers {
            for _ in 0..limits::RING_PARCELS {
                let Some((_, parcel)) = self.desk.take_deliveries(turn) else { break };
                self.take_deliveries(parcel);
            }
        }
        let mut budget = limits::PARCELS_PER_TURN;
        self.first_peer = self.first_peer.wrapping_add(1);
        for step in 0..peers {
            let turn = self.first_peer.wrapping_add(step) % peers;
            while budget > 0
                && !self.desk.deliveries_wait()
                && let Some((from, parcel)) = self.desk.take_commands(turn)
            {
                self.take_commands(from, parcel);
                budget -= 1;
            }
        }
    }

    fn take_commands(&mut self, shard: ShardId, parcel: Parcel<Envelope>) {
        let bytes = &parcel.bytes;
        for item in parcel.items {
            match item {
                Envelope::Publish(publish) => self.home.handle_publish(publish.unpack(bytes, shard)),
                Envelope::Subscribe { topic, conn, user, permit, slot, watch, serial, id, from, form } => {
                    let (topic, user) = (Topic::known(topic.text(bytes)), user.map(|user| user.text(bytes)));
                    let subscribe = Subscribe { topic, shard, conn, user, permit, slot, watch, serial, id, from, form };
                    self.home.handle_subscribe(subscribe);
                }
                Envelope::History { topic, conn, permit, id, since, limit, reverse } => {
                    let topic = Topic::known(topic.text(bytes));
                    self.home.handle_history(History { topic, shard, conn, permit, id, since, limit, reverse });
                }
                Envelope::Presence { topic, conn, id, permit, limit, after } => {
                    let topic = Topic::known(topic.text(bytes));
                    self.home.handle_presence(Presence { topic, shard, conn, id, permit, limit, after });
                }
                Envelope::Leave { topic, conn } => {
                    self.home.handle_leave(shard, Topic::known(topic.text(bytes)), conn);
                }
                Envelope::Release { topic } => self.home.handle_release(shard, Topic::known(topic.text(bytes))),
                Envelope::Watch { filter, slot, form } => {
                    self.home.handle_watch(shard, Filter::known(filter.text(bytes)), slot, form);
                }
                Envelope::Unwatch { filter } => self.home.handle_unwatch(shard, Filter::known(filter.text(bytes))),
                Envelope::Survey { serial, question } => self.handle_question(shard, serial, *question),
                Envelope::Stop => self.handle_peer_stop(),
            }
        }
    }

    /// Ends the turn of the home on this very shard and takes what it has for this shard.
    pub(super) fn take_own_deliveries(&mut self) {
        loop {
            self.home.end_turn(); // what a connection had held back may just have been published
            let parcel = std::mem::take(self.home.parcel(self.me));
            if parcel.is_empty() {
                return;
            }
            self.take_deliveries(parcel);
        }
    }

    fn take_deliveries(&mut self, parcel: Parcel<Delivery>) {
        for item in parcel.items {
            match item {
                Delivery::Batch { batch, runs } => self.deliver(&batch, &runs),
                Delivery::Subscribed(answer) => self.take_subscribed(*answer),
                Delivery::Unsubscribed { conn, slot, watch, serial } => {
                    for slot in watch.into_iter().chain([slot]) {
                        self.take_unsubscribed(conn, slot, serial);
                    }
                }
                Delivery::Refused { conn, id, refusal } => {
                    if refusal == Refusal::Draining {
                        self.hasten(conn);
                    }
                    self.refuse_command(conn, &id, refusal.code(), &refusal);
                }
                Delivery::History { conn, id, topic, position, messages } => {
                    let (topic, messages) = (topic.text(&parcel.bytes), messages.of(&parcel.bytes));
                    let list = |out: &mut Vec<u8>| out.extend_from_slice(messages);
                    let ack = |out: &mut Vec<u8>| reply::ack_history(out, &id, topic, position, list);
                    match self.speaking(conn) {
                        Some(index) => self.reply(index, ack),
                        None => self.take_document(conn, ack),
                    }
                }
                Delivery::Presence { conn, ack } => {
                    let ack = |out: &mut Vec<u8>| out.extend_from_slice(ack.of(&parcel.bytes));
                    match self.speaking(conn) {
                        Some(index) => self.reply(index, ack),
                        None => self.take_document(conn, ack),
                    }
                }
                Delivery::Watching { slot } => {
                    if self.registry.answered(slot) {
                        self.settle_waiters(slot);
                    }
                }
                Delivery::Published { conn, id, topic, position } => {
                    self.take_published(conn, &id, topic.text(&parcel.bytes), position);
                }
                Delivery::Surveyed { serial, shard, answer } => self.take_answer(serial, shard, *answer),
                Delivery::Ruled { topic, access, presence } => {
                    self.take_rule(Topic::known(topic.text(&parcel.bytes)), access, presence);
                }
                Delivery::Final => self.handle_final(),
            }
        }
    }

    /// All homes deliver this filter's topics now.
    fn settle_waiters(&mut self, slot: Slot) {
        let waiters = self.registry.take_waiters(slot);
        let parts: Vec<_> = waiters.iter().map(|waiter| self.settle_waiter(slot, waiter)).collect();
        self.release(slot);
        for (waiter, part) in waiters.iter().zip(parts) {
            self.take_joined(waiter.conn, &waiter.id, part);
            self.unhold(waiter.conn);
        }
    }

    /// All homes deliver the topics of the filter that somebody waits for. What a feed is to be told of it.
    #[must_use]
    pub(super) fn settle_waiter(&mut self, slot: Slot, waiter: &Waiter) -> Option<Joined> {
        let index = self.index_of(waiter.conn)?;
        self.registry.settle(index, slot, waiter.serial);
        if let Some(user) = &self.connections[index as usize].user {
            let granted = user.reads(Filter::known(self.registry.filter(slot))).granted;
            self.registry.grant(index, slot, granted);
        }
        self.acknowledge(index, slot, &waiter.id, (None, None), Vec::new())
    }

    /// Tells who asked that a command is not carried out.
    pub(super) fn refuse_command(&mut self, conn: ConnId, id: &Id, code: u16, reason: &dyn Display) {
        self.counters.faults += 1;
        match self.speaking(conn) {
            Some(index) => self.reply(index, |out| reply::error(out, id, code, reason)),
            None => self.take_part(conn, id, Part::Failed(code, reason.to_string())),
        }
    }

    /// The topic's home delivers from here on. What was missed stands between the acknowledgement and the first of these.
    fn take_subscribed(&mut self, answer: Subscribed) {
        let Subscribed { conn, slot, watch, serial, id, position, recovered, replay, presence } = answer;
        self.registry.set_members(slot, presence);
        for slot in watch.into_iter().chain([slot]) {
            self.registry.answered(slot);
        }
        let mut joined = None;
        if let Some(index) = self.index_of(conn) {
            match self.registry.settle(index, slot, serial) {
                Settled::Revoked => self.refuse_revoked(conn, slot, &id),
                settled => {
                    let replay = if settled == Settled::Live { replay } else { Vec::new() };
                    joined = self.acknowledge(index, slot, &id, (Some(position), recovered), replay);
                }
            }
            if let Some(watch) = watch {
                self.registry.settle(index, watch, serial);
            }
        }
        if presence && !self.index_of(conn).is_some_and(|index| self.registry.has(index, slot)) {
            self.leave(conn, slot); // it went while this shard may have known another rule and told nobody
        }
        for slot in watch.into_iter().chain([slot]) {
            self.release(slot);
        }
        self.take_joined(conn, &id, joined);
    }

    /// The home admitted a subscribe that the connection's token grants no longer.
    fn refuse_revoked(&mut self, conn: ConnId, slot: Slot, id: &Id) {
        let reason = format!("topic: your token does not grant {} any more", self.registry.filter(slot));
        self.refuse_command(conn, id, 403, &reason);
    }

    /// One more home of a feed answered. It may be the last one, and the feed over when this returns.
    pub(super) fn take_joined(&mut self, conn: ConnId, id: &Id, joined: Option<Joined>) {
        if let Some(joined) = joined {
            self.take_part(conn, id, Part::Joined(Box::new(joined)));
        }
    }

    /// The topic's home refused.
    fn take_unsubscribed(&mut self, conn: ConnId, slot: Slot, serial: u32) {
        self.registry.answered(slot);
        match self.index_of(conn) {
            Some(index) if self.registry.take_back(index, slot, serial) => self.detached(conn, slot),
            _ => self.release(slot),
        }
    }

    /// Tells who asked that its subscribe holds, and sends what it missed behind that; returns it for a feed.
    fn acknowledge(
        &mut self,
        index: u32,
        slot: Slot,
        id: &Id,
        (position, recovered): (Option<Position>, Option<bool>),
        replay: Vec<Piece>,
    ) -> Option<Joined> {
        let filter = self.registry.filter(slot);
        if self.speaking(self.id_of(index)).is_none() {
            return Some(Joined { filter: filter.into(), position, recovered, replay });
        }
        if !id.is_none() {
            let ack = |out: &mut Vec<u8>| reply::ack_subscribe(out, id, filter, position, recovered);
            self.outbound.push_reply(index, |out| websocket::reply(out, ack));
        }
        for piece in replay {
            self.outbound.push_piece(index, piece);
        }
        None
    }

    fn take_published(&mut self, conn: ConnId, id: &Id, topic: &str, position: Position) {
        match self.speaking(conn) {
            Some(index) => self.reply(index, |out| reply::ack_publish(out, id, topic, position)),
            None => self.take_part(conn, id, Part::Published(topic.into(), position)),
        }
    }

    /// The connection, if it is still there and may be spoken to.
    fn speaking(&self, conn: ConnId) -> Option<u32> {
        self.index_of(conn).filter(|&index| self.connections[index as usize].phase == Phase::Open)
    }

    /// Appends a batch's runs to the subscribers' outbound queues: the local half of a fan-out.
    fn deliver(&mut self, batch: &Arc<Batch>, runs: &[u32]) {
        let shared = self.share(batch);
        for &number in runs {
            let run = &batch.runs[number as usize];
            let slots = self.registry.lookup(Topic::known(run.name.text(&batch.bytes)));
            if slots.is_empty()
                && let Some(number) = canary_number(Topic::known(run.name.text(&batch.bytes)))
            {
                self.hear_canary(number, run.frames.of(&batch.bytes));
            }
            let subscribers: usize = slots.iter().map(|&slot| self.registry.subscribers(slot).len()).sum();
            let guarded = run.access.needs_permit() && slots.iter().any(|&slot| self.registry.is_wildcard(slot));
            self.counters.delivered += subscribers as u64 * u64::from(run.publications);
            let bulk = is_bulk(subscribers);
            if slots.len() > 1 || guarded || batch.exceptions_of(number, self.me).next().is_some() {
                self.deliver_with_care(&shared, number, &slots, bulk);
                continue;
            }
            let shares = shared.shares(number);
            // Each fan-out begins with somebody else, or one and the same would always be the last.
            self.rotation = self.rotation.wrapping_add(GOLDEN);
            for &slot in &slots {
                let subscribers = self.registry.subscribers(slot);
                let (last, first) = subscribers.split_at(place_in(subscribers.len(), self.rotation));
                let all = first.iter().chain(last).map(|subscriber| subscriber.conn);
                self.outbound.push_to_all(all, &shares, bulk);
            }
        }
        for (_, segment) in shared.forms.into_iter().flatten() {
            self.outbound.segments().release(segment);
        }
    }

    /// Takes a batch in, with one reference held to the segment of each form.
    fn share<'b>(&mut self, batch: &'b Arc<Batch>) -> Shared<'b> {
        let forms = Form::ALL.map(|form| {
            let batch = batch.in_form(form)?;
            Some((&**batch, self.outbound.segments().insert_batch(Arc::clone(batch))))
        });
        Shared { batch, forms }
    }

    /// The same where a connection may subscribe by several filters, or is not to get its own publications: each is marked
    /// when it was met, so that it gets the run once. Or where a rule asks who it is: whoever subscribed by the topic's name
    /// was asked by its home, those with a wildcard are asked here.
    fn deliver_with_care(&mut self, shared: &Shared<'_>, number: u32, slots: &[Slot], bulk: bool) {
        let shares = shared.shares(number);
        let access = shared.batch.runs[number as usize].access;
        let excepted = self.excepted(shared, number);
        for &(conn, _) in &excepted {
            self.outbound.mark(conn);
        }
        let mut met: SmallVec<[u32; 4]> = SmallVec::new();
        for &slot in slots {
            let asked = access.needs_permit() && self.registry.is_wildcard(slot);
            for subscriber in self.registry.subscribers(slot) {
                let conn = subscriber.conn;
                let user = || self.connections[conn as usize].user.is_some();
                if asked && !access.admits(Permit { user: user(), granted: subscriber.is_granted() }) {
                    continue;
                }
                if self.outbound.mark(conn) {
                    self.outbound.push_shared(conn, &shares, bulk);
                } else if excepted.binary_search_by_key(&conn, |&(conn, _)| conn).is_ok() {
                    met.push(conn);
                }
            }
        }
        met.sort_unstable();
        met.dedup();
        for &conn in &met {
            let mut share = self.outbound.share_of(conn, &shares);
            let end = share.end;
            let first = excepted.partition_point(|&(other, _)| other < conn);
            for (_, unit) in excepted[first..].iter().take_while(|&&(other, _)| other == conn) {
                share.end = unit.start;
                self.outbound.push_share(conn, share, bulk);
                share.start = unit.end;
            }
            self.outbound.push_share(conn, Share { end, ..share }, bulk);
        }
        for &slot in slots {
            for subscriber in self.registry.subscribers(slot) {
                self.outbound.unmark(subscriber.conn);
            }
        }
        for &(conn, _) in &excepted {
            self.outbound.unmark(conn);
        }
    }

    /// Connections of this shard that are not to get some unit of a run, each with those, in their order.
    fn excepted(&self, shared: &Shared<'_>, number: u32) -> SmallVec<[(u32, Span); 4]> {
        let mut excepted: SmallVec<[(u32, Span); 4]> = SmallVec::new();
        for (form, (batch, _)) in Form::ALL.into_iter().zip(shared.forms).filter_map(|(form, some)| Some((form, some?)))
        {
            for except in batch.exceptions_of(number, self.me) {
                let here = self.index_of(except.conn).filter(|&index| self.outbound.form(index) == form);
                excepted.extend(here.map(|index| (index, except.frame)));
            }
        }
        excepted.sort_by_key(|&(conn, _)| conn); // stable: each one's units stay in order
        excepted
    }
}

/// Steps of this much through 2^32 come everywhere, and soon.
const GOLDEN: u32 = 0x9e37_79b9;

/// One of `len` places, as far along as `rotation` is on its way to 2^32.
fn place_in(len: usize, rotation: u32) -> usize {
    (len * rotation as usize) >> 32
}

/// A batch on its way to its subscribers: its forms, each with its segment.
struct Shared<'b> {
    batch: &'b Batch,
    forms: [Option<(&'b Batch, SegmentKey)>; Form::ALL.len()],
}

impl Shared<'_> {
    /// What the subscribers of each form get of a run.
    fn shares(&self, number: u32) -> Shares {
        shares(|form| match self.forms[form as usize] {
            Some((batch, segment)) => {
                let Span { start, end } = batch.runs[number as usize].frames;
                Share { segment, start, end }
            }
            None => Share::NOTHING,
        })
    }
}
