//! The topics of one home, by name, and how long a topic that nobody holds is remembered.
//!
//! A topic without subscribers keeps only its counter, so that positions go on when somebody comes back. At most
//! `TOPICS_IDLE_MAX` such are kept: beyond it the least recently used go first (the clock algorithm: a second chance for
//! what was touched since the hand last passed), and their next life has a new epoch. Random names cannot grow it.

use std::collections::VecDeque;

use super::history::History;
use super::interest::ShardSet;
use super::keys::TopicKeys;
use super::members::Members;
use crate::chunks::Chunks;
use crate::limits;
use crate::protocol::publication;
use crate::rules::{RuleId, Rules};
use crate::topic::{NameIndex, Text, Topic, subject};
use crate::transport::Forms;

/// Index of a topic in its home.
pub(super) type TopicKey = u32;

/// One topic's record.
#[derive(Debug)]
pub(super) struct TopicState {
    /// Its name, and with it the `message` object up to the offset, made with the first publication that somebody wants.
    text: Text,
    pub(super) epoch: u32,
    /// Of the last publication; 0 before the first.
    pub(super) offset: u64,
    /// Shards with subscribers of exactly this name.
    pub(super) exact: ShardSet,
    /// The forms that subscribers of exactly this name want, until the last of them is gone.
    pub(super) exact_forms: Forms,
    /// Which run of the current turn is this topic's, or `NO_RUN`.
    pub(super) run: u32,
    /// What the configuration says of it; none for a `$` topic that no rule names.
    pub(super) rule: Option<RuleId>,
    /// Its kept publications, if its rule keeps any and some came.
    pub(super) history: Option<Box<History>>,
    /// The idempotency keys that are remembered for it.
    pub(super) keys: Option<Box<TopicKeys>>,
    /// Who is there, if its rule wants to know and somebody is, or somebody would be told.
    pub(super) members: Option<Box<Members>>,
    /// Stands in the list of those whose members changed in this turn (`presence`).
    pub(super) stirred: bool,
    /// Has an entry in the heap of what is due (`archive`).
    pub(super) in_due: bool,
    /// Has an entry in the heap of what goes first (`archive`).
    pub(super) in_oldest: bool,
    /// It had subscribers at the broker before this one, who may come back (`inherit`).
    pub(super) awaited: bool,
    idle: Idle,
}

/// In [`TopicState::run`]: nothing of it in this turn.
pub(super) const NO_RUN: u32 = u32::MAX;

/// Where a topic is in the idle queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// Not in it.
    Out,
    Queued,
    /// In it, and used since the hand last passed.
    Touched,
}

const _: () = assert!(size_of::<TopicState>() <= 88, "a topic with nothing published stays small");

impl TopicState {
    /// Whether something but its counter would be lost with it.
    pub(super) fn is_held(&self) -> bool {
        let kept = self.history.is_some() || self.keys.is_some() || self.members.is_some();
        !self.exact.is_empty() || kept || self.awaited
    }

    pub(super) fn name(&self) -> &str {
        self.text.name()
    }

    pub(super) fn name_bytes(&self) -> &[u8] {
        self.text.name_bytes()
    }

    /// The encoded start of this topic's messages.
    pub(super) fn prefix(&mut self) -> &[u8] {
        let epoch = self.epoch;
        self.text.kept_with_name(|name| publication::prefix(Topic::known(name), epoch))
    }

    /// Whether something of it was published in this turn.
    pub(super) fn is_in_turn(&self) -> bool {
        self.run != NO_RUN
    }
}

#[derive(Debug)]
pub(super) struct Topics {
    states: Chunks<TopicState>,
    index: NameIndex,
    idle: VecDeque<TopicKey>,
    epochs: u64,
}

impl Topics {
    pub(super) fn new(seed: u64) -> Self {
        Self { states: Chunks::default(), index: NameIndex::new(seed), idle: VecDeque::new(), epochs: seed }
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn held(&self) -> usize {
        self.states.iter().filter(|(_, topic)| !topic.exact.is_empty()).count()
    }

    pub(super) fn find(&self, topic: Topic<'_>) -> Option<TopicKey> {
        self.index.find(topic.as_str().as_bytes(), |key| self.states[key as usize].name_bytes())
    }

    /// All topics, each in its life.
    pub(super) fn lives(&self) -> Vec<(TopicKey, u32)> {
        let key = |key| u32::try_from(key).expect("fewer than 2^32 topics fit in memory");
        let mut lives = Vec::with_capacity(self.states.len()); // or it is copied as it grows
        lives.extend(self.states.iter().map(|(at, topic)| (key(at), topic.epoch)));
        lives
    }

    /// The topic, if it still has that life.
    pub(super) fn in_life(&mut self, (key, epoch): (TopicKey, u32)) -> Option<&mut TopicState> {
        self.states.find_mut(key as usize).filter(|topic| topic.epoch == epoch)
    }

    /// The topic in that slot, if there is one.
    pub(super) fn get(&self, key: TopicKey) -> Option<&TopicState> {
        self.states.get(key as usize)
    }

    /// All topics are in slots below this.
    pub(super) fn slots(&self) -> usize {
        self.states.slots()
    }

    pub(super) fn at(&mut self, key: TopicKey) -> &mut TopicState {
        &mut self.states[key as usize]
    }

    /// Finds the topic or begins its life, with an epoch of its own.
    pub(super) fn open(&mut self, topic: Topic<'_>, rules: &Rules) -> TopicKey {
        if let Some(key) = self.find(topic) {
            return key;
        }
        let key = self.states.insert(TopicState {
            text: Text::new(topic.as_str()),
            epoch: next_epoch(&mut self.epochs),
            offset: 0,
            exact: ShardSet::default(),
            exact_forms: Forms::default(),
            run: NO_RUN,
            rule: if subject(topic).is_some() { None } else { rules.of(topic) }, // its events are the home's own
            history: None,
            keys: None,
            members: None,
            stirred: false,
            in_due: false,
            in_oldest: false,
            awaited: false,
            idle: Idle::Out,
        });
        self.index.insert(key, |key| self.states[key as usize].name_bytes());
        key
    }

    /// Notes a use. A topic that nobody holds takes its place in the idle queue, and the queue its limit.
    pub(super) fn touch(&mut self, key: TopicKey) {
        let topic = self.at(key);
        if topic.idle != Idle::Out {
            topic.idle = Idle::Touched;
        } else if !topic.is_held() {
            topic.idle = Idle::Queued; // a name used once has no second chance
            self.idle.push_back(key);
        }
        while self.idle.len() > limits::TOPICS_IDLE_MAX {
            self.pass();
        }
    }

    /// Moves the clock's hand by one topic.
    fn pass(&mut self) {
        let Some(key) = self.idle.pop_front() else { return };
        let topic = self.at(key);
        if topic.is_held() {
            topic.idle = Idle::Out; // held again: it comes back to the queue when it is released
        } else if topic.idle == Idle::Touched || topic.is_in_turn() {
            topic.idle = Idle::Queued;
            self.idle.push_back(key);
        } else {
            let topic = self.states.remove(key as usize);
            self.index.remove(topic.name_bytes(), key, |key| self.states[key as usize].name_bytes());
        }
    }
}

/// SplitMix64: well mixed, and never the same twice in a row.
fn next_epoch(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}
