//! The owner of topics: gives each publication its position, encodes it once, knows which shards want it.
//!
//! A shard has one home, for the topics that hash to it, and calls it with `handle_*` in the order of its mail. What
//! comes out waits per shard in a [`Parcel`] of [`Delivery`]s until the end of the turn. Invariant: the parcel of a
//! shard is in the order that its subscribers see, so an answer to a subscribe stands exactly between the last
//! publication before it and the first one after it. Refuses to know connections, sockets and time.

mod archive;
mod batch;
mod bequeath;
mod delivery;
pub mod estate;
mod history;
mod inherit;
mod interest;
mod keys;
mod large;
mod listing;
mod members;
mod presence;
mod recovery;
mod reload;
mod survey;
mod topics;
mod turn;

pub use batch::{Batch, Conflated, Exception, Run};
pub use delivery::{Delivery, Parcel, Refusal, Span, Subscribed};
use history::Frame;
pub use history::Piece;
pub use interest::ShardSet;
pub use presence::Presence;
pub use survey::{Answer, Listed, Page, Question};

use std::rc::Rc;
use std::sync::Arc;

use crate::ids::{ClientName, ConnId, ShardId, Tick};
use crate::limits;
use crate::protocol::publication::{self, Head};
use crate::protocol::{Id, Payload, Position};
use crate::rules::{Access, Permit, Rule, Rules};
use crate::topic::{Filter, Topic};
use crate::transport::{Form, Forms, websocket};
use archive::Archive;
use bequeath::Will;
use inherit::Awaited;
use interest::Watchers;
use keys::Keys;
use topics::{TopicKey, Topics};
use turn::Turn;

/// One publication on its way into a home.
#[derive(Debug)]
pub struct Publish<'a> {
    /// Where it goes.
    pub topic: Topic<'a>,
    /// What it carries, borrowed from the read buffer or from an envelope.
    pub payload: Payload<'a>,
    /// The shard of the publisher.
    pub shard: ShardId,
    /// The publisher.
    pub conn: ConnId,
    /// Its user, if it has authenticated as one.
    pub user: Option<&'a str>,
    /// Who it is to the topic's rule.
    pub permit: Permit,
    /// What the publisher called the command; [`Id::None`] asks for no `ack`.
    pub id: Id,
    /// Whether the publisher gets its own publication, if it subscribes.
    pub echo: bool,
    /// Its idempotency key: a second publish with it is answered like the first and publishes nothing.
    pub key: Option<&'a str>,
    /// For a slow consumer it makes an older one with the same value obsolete, if the rule says so.
    pub conflate: Option<&'a str>,
}

/// One subscribe to one topic on its way into its home.
#[derive(Debug)]
pub struct Subscribe<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// The shard that asks.
    pub shard: ShardId,
    /// The subscriber on that shard.
    pub conn: ConnId,
    /// Its user, if it has authenticated as one.
    pub user: Option<&'a str>,
    /// Who it is to the topic's rule.
    pub permit: Permit,
    /// That shard's slot for the filter, echoed in the answer.
    pub slot: u32,
    /// That shard's slot for who comes and goes, if it wants to be told; echoed, too.
    pub watch: Option<u32>,
    /// That shard's number of this subscribe, echoed in the answer.
    pub serial: u32,
    /// What the subscriber called the command.
    pub id: Id,
    /// What it wants of the past.
    pub from: From,
    /// How it is spoken to.
    pub form: Form,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// With the next publication.
    #[default]
    Now,
    /// After this position, if everything since is kept; else with the next publication.
    Since(Position),
    /// With the last so many that are kept.
    Last(u32),
}

/// One question for kept publications on its way into a home.
#[derive(Debug)]
pub struct History<'a> {
    /// The topic.
    pub topic: Topic<'a>,
    /// The shard that asks.
    pub shard: ShardId,
    /// The connection that asks.
    pub conn: ConnId,
    /// Who it is to the topic's rule.
    pub permit: Permit,
    /// What it called the command.
    pub id: Id,
    /// Only what is after this position; before it, if `reverse`.
    pub since: Option<Position>,
    /// At most so many.
    pub limit: usize,
    /// The newest first.
    pub reverse: bool,
}

/// What a home remembers of publications beyond their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Bytes of all histories.
    pub bytes: usize,
    /// Publications that were forgotten before their time since the home began, because memory ran out.
    pub evicted: u64,
    /// Idempotency keys.
    pub keys: usize,
    /// Idempotency keys that were forgotten before their time since the home began, because there were too many.
    pub keys_evicted: u64,
}

/// All topics of one shard; see the module's page.
#[derive(Debug)]
pub struct Home {
    me: ShardId,
    topics: Topics,
    watchers: Watchers,
    rules: Rc<Rules>,
    archive: Archive,
    keys: Keys,
    turn: Turn,
    /// Members of all topics.
    members: usize,
    /// Topics whose members changed in this turn.
    stirred: Vec<(TopicKey, u32)>,
    /// The member that names the present publication's publisher.
    from: Vec<u8>,
    stopped: bool,
    /// Nothing is published or forgotten any more, and this is how far a successor knows of it.
    will: Option<Will>,
    /// Topics of a predecessor, kept for those who subscribed there.
    awaited: Awaited,
    out: Vec<Parcel<Delivery>>,
    /// The frame of a publication that is kept and that nobody subscribes to, while it is made.
    alone: Vec<u8>,
    now: Tick,
}

impl Home {
    /// The home on shard `me` of `shards`; `seed` feeds epochs and hash tables. Its histories may take
    /// `history_bytes_max` together.
    #[must_use]
    pub fn new(me: ShardId, shards: u16, rules: Rc<Rules>, history_bytes_max: usize, seed: u64) -> Self {
        Self {
            me,
            topics: Topics::new(seed),
            watchers: Watchers::new(seed ^ 0x9e37_79b9_7f4a_7c15),
            rules,
            archive: Archive::new(history_bytes_max),
            keys: Keys::default(),
            turn: Turn::default(),
            members: 0,
            stirred: Vec::new(),
            from: Vec::new(),
            stopped: false,
            will: None,
            awaited: Awaited::default(),
            out: (0..shards).map(|_| Parcel::default()).collect(),
            alone: Vec::new(),
            now: Tick::default(),
        }
    }

    /// The time of all that is handled until the next turn. What is too old is forgotten.
    pub fn begin_turn(&mut self, now: Tick) {
        self.now = now;
        if self.is_frozen() {
            return; // it is being told as it was then
        }
        self.release_awaited();
        self.archive.expire(&mut self.topics, &self.rules, now);
        self.keys.expire(&mut self.topics, now);
    }

    /// When something will be too old, at the earliest.
    #[must_use]
    pub fn next_due(&self) -> Option<Tick> {
        if self.is_frozen() {
            return None;
        }
        let awaited = self.awaited.next_due();
        self.archive.next_due().into_iter().chain(self.keys.next_due()).chain(awaited).min()
    }

    /// Gives the publication its position and, where somebody is interested or the rule keeps it, encodes it once. Whoever
    /// named it is answered. A frozen home refuses it.
    pub fn handle_publish(&mut self, publish: Publish<'_>) {
        match self.take(&publish) {
            Ok(position) => self.acknowledge(&publish, position),
            Err(refusal) => self.refuse(publish.shard, publish.conn, publish.id, refusal),
        }
        self.seal_if_long();
    }

    /// The same for this very shard, which takes the answer at once.
    ///
    /// # Errors
    /// The topic's rule does not admit the publisher, or the home is frozen.
    pub fn publish(&mut self, publish: &Publish<'_>) -> Result<Position, Refusal> {
        let answer = self.take(publish);
        self.seal_if_long();
        answer
    }

    fn take(&mut self, publish: &Publish<'_>) -> Result<Position, Refusal> {
        // The broker's own topics are nobody's to inherit: their subscribers hear how it does until it ends.
        if self.is_frozen() && !publish.topic.is_broker() {
            return Err(Refusal::Draining);
        }
        let key = self.topics.open(publish.topic, &self.rules);
        let rule = self.topics.at(key).rule.map(|rule| self.rules.at(rule));
        // No client publishes to the broker's own topics: none can name them. So this is the broker.
        let admits = |rule: &&Rule| rule.publish.admits(publish.permit) || publish.topic.is_broker();
        let Some(rule) = rule.filter(admits) else {
            self.topics.touch(key); // refused or not, its name must not be remembered for ever
            return Err(Refusal::Publish);
        };
        let (window_s, large) = (rule.idempotency_s, large::is_large(publish) && rule.history.is_some());
        if let Some(idempotency) = publish.key.filter(|_| window_s > 0) {
            if let Some(offset) = Keys::find(&mut self.topics, key, idempotency, self.now) {
                return Ok(Position { epoch: self.topics.at(key).epoch, offset });
            }
            self.topics.at(key).offset += 1;
            self.keys.remember(&mut self.topics, key, idempotency, window_s, self.now);
        } else {
            self.topics.at(key).offset += 1;
        }
        if large {
            self.begin_large(key);
        }
        self.encode(key, publish);
        let topic = self.topics.at(key);
        let position = Position { epoch: topic.epoch, offset: topic.offset };
        self.topics.touch(key); // from here on the topic may be gone
        self.archive.make_room(&mut self.topics);
        Ok(position)
    }

    /// A batch has its limit in the middle of a turn, too.
    fn seal_if_long(&mut self) {
        if self.turn.len() >= limits::BATCH_BYTES_MAX {
            self.seal();
        }
    }

    /// Puts a publication, whose offset the topic already counts, where it is wanted: this turn's batch, the history.
    fn encode(&mut self, key: TopicKey, publish: &Publish<'_>) {
        self.tell(key);
        let topic = self.topics.at(key);
        let rule = topic.rule.map(|rule| self.rules.at(rule)).expect("it was asked for its rule");
        self.from.clear();
        if let Some(user) = publish.user.filter(|_| rule.from) {
            publication::write_from(&mut self.from, user);
        }
        let readable = rule.subscribe != Access::Nobody;
        let interest = self.watchers.interest(key, topic);
        let wanted = readable && !interest.shards.is_empty();
        if wanted {
            self.turn.push(key, topic, interest, rule.overflow, &self.from, publish);
        }
        if let Some(kept) = rule.history.as_ref().filter(|_| self.will.is_none()) {
            let frame = if wanted {
                self.turn.last_frame()
            } else {
                let offset = topic.offset;
                let head = Head { prefix: topic.prefix(), offset, from: &self.from };
                self.alone.clear();
                self.alone.shrink_to(limits::SPARE_BYTES_MAX); // a large one leaves nothing behind
                websocket::publication(&mut self.alone, head, publish.payload);
                &self.alone
            };
            if large::is_large(publish) {
                let kept = *kept;
                return self.keep_large(key, publish, wanted, kept);
            }
            self.archive.keep(key, topic, kept, Frame::Copied(frame), self.now);
        }
    }

    fn acknowledge(&mut self, publish: &Publish<'_>, position: Position) {
        if !publish.id.is_none() {
            let parcel = &mut self.out[publish.shard.index()];
            let topic = parcel.keep(publish.topic.as_str().as_bytes());
            parcel.items.push(Delivery::Published { conn: publish.conn, id: publish.id.clone(), topic, position });
        }
    }

    fn refuse(&mut self, shard: ShardId, conn: ConnId, id: Id, refusal: Refusal) {
        self.out[shard.index()].items.push(Delivery::Refused { conn, id, refusal });
    }

    /// Notes the interest of a shard in a topic and answers with the position after which its deliveries begin, and with
    /// what the subscriber missed before it.
    pub fn handle_subscribe(&mut self, subscribe: Subscribe<'_>) {
        let Subscribe { topic: name, shard, conn, user, permit, slot, watch, serial, id, from, form } = subscribe;
        let key = self.topics.open(name, &self.rules);
        let rule = self.topics.at(key).rule.map(|rule| self.rules.at(rule));
        let presence = rule.is_some_and(|rule| rule.presence);
        let refusal = match rule {
            Some(rule) if rule.subscribe.admits(permit) => {
                (watch.is_some() && !presence).then_some(Refusal::NoPresence)
            }
            _ => Some(Refusal::Subscribe),
        };
        if let Some(refusal) = refusal {
            self.topics.touch(key);
            self.out[shard.index()].items.push(Delivery::Unsubscribed { conn, slot, watch, serial });
            return self.refuse(shard, conn, id, refusal);
        }
        if self.topics.at(key).is_in_turn() {
            self.seal(); // the answer must stand between the publications before it and those after it
        }
        if watch.is_some() {
            self.watch_members(key, name, shard, form);
        }
        if presence {
            self.enter(key, ClientName { shard, conn }, user);
        }
        let topic = self.topics.at(key);
        topic.exact.insert(shard);
        topic.exact_forms.insert(form);
        let position = Position { epoch: topic.epoch, offset: topic.offset };
        let (recovered, replay) = topic.replay(from);
        self.topics.touch(key);
        let answer = Subscribed { conn, slot, watch, serial, id, position, recovered, replay, presence };
        self.out[shard.index()].items.push(Delivery::Subscribed(Box::new(answer)));
    }

    /// Answers with kept publications.
    pub fn handle_history(&mut self, ask: History<'_>) {
        let key = self.topics.open(ask.topic, &self.rules);
        self.answer_history(key, ask);
        self.topics.touch(key);
    }

    fn answer_history(&mut self, key: TopicKey, ask: History<'_>) {
        let History { topic: name, shard, conn, permit, id, since, limit, reverse } = ask;
        let state = self.topics.at(key);
        let rule = state.rule.map(|rule| self.rules.at(rule));
        if !rule.is_some_and(|rule| rule.subscribe.admits(permit)) {
            return self.refuse(shard, conn, id, Refusal::Subscribe);
        }
        if rule.is_none_or(|rule| rule.history.is_none()) {
            return self.refuse(shard, conn, id, Refusal::NoHistory);
        }
        let position = Position { epoch: state.epoch, offset: state.offset };
        if since.is_some_and(|since| since.epoch != position.epoch || since.offset > position.offset) {
            return self.refuse(shard, conn, id, Refusal::NoSuchPosition);
        }
        if self.out[shard.index()].bytes.len() >= limits::HISTORY_PARCEL_BYTES_MAX {
            return self.refuse(shard, conn, id, Refusal::TooMuch);
        }
        let parcel = &mut self.out[shard.index()];
        let topic = parcel.keep(name.as_str().as_bytes());
        let start = parcel.bytes.len();
        let wanted = match since {
            Some(since) if reverse => 0..=since.offset.saturating_sub(1),
            Some(since) => since.offset.saturating_add(1)..=u64::MAX,
            None => 0..=u64::MAX,
        };
        state.list(wanted, limit, reverse, &mut parcel.bytes);
        let len = parcel.bytes.len() - start;
        let messages = Span::at_end(&parcel.bytes[..start], len);
        parcel.items.push(Delivery::History { conn, id, topic, position, messages });
    }

    /// All shards want this topic of the broker's own, from here on and for as long as there is a home.
    pub fn hold_for_all(&mut self, topic: Topic<'_>) {
        let key = self.topics.open(topic, &self.rules);
        let shards = u16::try_from(self.out.len()).expect("at most SHARDS_MAX");
        (0..shards).for_each(|shard| self.topics.at(key).exact.insert(ShardId(shard)));
    }

    /// Whether some shard has a subscriber of exactly this topic.
    #[must_use]
    pub fn is_wanted(&self, topic: Topic<'_>) -> bool {
        let state = self.topics.find(topic).and_then(|key| self.topics.get(key));
        state.is_some_and(|state| !state.exact.is_empty())
    }

    /// The shard has no subscriber of this topic any more.
    pub fn handle_release(&mut self, shard: ShardId, topic: Topic<'_>) {
        if let Some(key) = self.topics.find(topic) {
            let state = self.topics.at(key);
            state.exact.remove(shard);
            let released = state.exact.is_empty();
            if released {
                state.exact_forms = Forms::default();
            }
            self.topics.touch(key); // from here on it may be gone
            if released {
                self.unwatch_members(topic);
            }
        }
    }

    /// Notes the interest of a shard in all topics of this home that match, and answers when it holds.
    pub fn handle_watch(&mut self, shard: ShardId, filter: Filter<'_>, slot: u32, form: Form) {
        self.seal();
        self.watchers.watch(filter, shard, form);
        self.out[shard.index()].items.push(Delivery::Watching { slot });
    }

    /// The shard has no subscriber of this wildcard filter any more.
    pub fn handle_unwatch(&mut self, shard: ShardId, filter: Filter<'_>) {
        self.watchers.unwatch(filter, shard);
    }

    /// No command will come any more: everything is sealed and every shard is told that this was all.
    pub fn handle_stop(&mut self) {
        self.end_turn();
        self.stopped = true;
        for parcel in &mut self.out {
            parcel.items.push(Delivery::Final);
        }
    }

    /// Ends the turn: what became of members in it is told behind all publications, and everything is sealed.
    pub fn end_turn(&mut self) {
        self.tell_all();
        self.seal();
    }

    /// Whether there is something to tell that only the end of a turn does.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.stirred.is_empty()
    }

    /// Freezes what was encoded into one batch and puts it, once, into the parcel of each shard concerned: at the end of
    /// a turn, and within it where an answer must stand behind what came before it. That batch, if there was anything.
    fn seal(&mut self) -> Option<Arc<Batch>> {
        if self.turn.is_empty() {
            return None;
        }
        let batch = Arc::new(self.turn.freeze(self.me, &mut self.topics, &self.rules));
        let mut concerned = ShardSet::default();
        for run in &batch.runs {
            concerned = concerned.union(run.shards);
        }
        for shard in concerned.iter() {
            let wanted = batch.runs.iter().enumerate().filter(|(_, run)| run.shards.contains(shard));
            #[expect(clippy::cast_possible_truncation, reason = "a batch has at most BATCH_BYTES_MAX runs")]
            let runs = wanted.map(|(index, _)| index as u32).collect();
            self.out[shard.index()].items.push(Delivery::Batch { batch: Arc::clone(&batch), runs });
        }
        Some(batch)
    }

    /// What waits for this shard; the caller takes it whole at the end of a turn, or leaves it while a ring is full.
    pub fn parcel(&mut self, shard: ShardId) -> &mut Parcel<Delivery> {
        &mut self.out[shard.index()]
    }

    /// What is remembered of publications beyond their positions.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let (keys, keys_evicted) = self.keys.counts();
        Kept { bytes: self.archive.bytes(), evicted: self.archive.evicted(), keys, keys_evicted }
    }

    /// How many publications were compressed since the home began.
    #[must_use]
    pub fn deflated(&self) -> u64 {
        self.turn.deflated()
    }

    /// How many members all topics have.
    #[must_use]
    pub fn members_len(&self) -> usize {
        self.members
    }

    /// How many topics live here: held by a subscriber or remembered for their position.
    #[must_use]
    pub fn topics_len(&self) -> usize {
        self.topics.len()
    }

    /// How many topics are held by a subscriber's shard, and how many wildcard filters are watched.
    #[must_use]
    pub fn interest_len(&self) -> (usize, usize) {
        (self.topics.held(), self.watchers.len())
    }
}

#[cfg(test)]
mod tests;
