//! The accounts of all histories of one home: which is to be trimmed by age, which goes first when memory runs out.
//!
//! Both questions are answered by a heap with one entry per topic that keeps anything. Entries are lazy: the tick in one is
//! a lower bound, and who comes up too early is put back, so a publish costs no heap operation. Invariants: a topic whose
//! history is not empty has one entry in both heaps; `bytes` is the sum over them; most entries are of such topics.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::history::Frame;
use super::topics::{TopicKey, TopicState, Topics};
use crate::ids::Tick;
use crate::limits;
use crate::rules::{History as Kept, Rules};

/// A topic in its life: the epoch tells it from a later one in the same slot.
type Life = (TopicKey, u32);

/// See the module's page.
#[derive(Debug)]
pub(super) struct Archive {
    bytes: usize,
    bytes_max: usize,
    due: BinaryHeap<Reverse<(Tick, Life)>>,
    oldest: BinaryHeap<Reverse<(Tick, Life)>>,
    /// Topics that keep anything.
    topics: usize,
    evicted: u64,
}

impl Archive {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: 0, bytes_max, due: BinaryHeap::new(), oldest: BinaryHeap::new(), topics: 0, evicted: 0 }
    }

    /// Publications that were forgotten before their time, because memory ran out.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Bytes of all histories.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When something will be too old, at the earliest.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Keeps the topic's newest publication, and no more of it than its rule says.
    pub(super) fn keep(&mut self, key: TopicKey, topic: &mut TopicState, rule: &Kept, frame: Frame<'_>, now: Tick) {
        let (offset, life) = (topic.offset, (key, topic.epoch));
        self.topics += usize::from(topic.history.is_none());
        let history = topic.history.get_or_insert_default();
        let before = history.bytes();
        history.push(offset, frame, now);
        while history.len() > rule.count as usize {
            history.forget_oldest();
        }
        self.bytes = self.bytes + history.bytes() - before;
        if let Some(at) = history.oldest() {
            if !std::mem::replace(&mut topic.in_due, true) {
                self.due.push(Reverse((expiry(at, rule), life)));
            }
            if !std::mem::replace(&mut topic.in_oldest, true) {
                self.oldest.push(Reverse((at, life)));
            }
        }
    }

    /// Forgets what is too old, `EXPIRIES_PER_TURN` publications at most; the rest stays due. Called once per turn; looks at
    /// nothing whose time has not come.
    pub(super) fn expire(&mut self, topics: &mut Topics, rules: &Rules, now: Tick) {
        let mut budget = limits::EXPIRIES_PER_TURN;
        while budget > 0
            && let Some(&Reverse((due, life))) = self.due.peek()
            && due <= now
        {
            self.due.pop();
            budget -= 1; // an entry of a topic that is gone, or came up too early, is work too
            let Some(topic) = topics.in_life(life) else { continue };
            topic.in_due = false;
            let rule = topic.rule.and_then(|rule| rules.at(rule).history.as_ref());
            let (Some(rule), Some(history)) = (rule, &mut topic.history) else { continue };
            let before = history.bytes();
            while budget > 0 && history.oldest().is_some_and(|at| expiry(at, rule) <= now) {
                history.forget_oldest();
                budget -= 1;
            }
            self.bytes = self.bytes + history.bytes() - before;
            match history.oldest() {
                Some(at) => {
                    topic.in_due = true;
                    self.due.push(Reverse((expiry(at, rule), life)));
                }
                None => self.forget(topics, life.0),
            }
        }
        self.tidy(topics);
    }

    /// The rules are others: forgets what they keep no longer, and looks anew at when the rest is too old.
    pub(super) fn reload(&mut self, topics: &mut Topics, rules: &Rules) {
        self.due.clear();
        for life in topics.lives() {
            let Some(topic) = topics.in_life(life) else { continue };
            topic.in_due = false;
            let rule = topic.rule.and_then(|rule| rules.at(rule).history.as_ref());
            let Some(history) = &mut topic.history else { continue };
            let before = history.bytes();
            let count = rule.map_or(0, |rule| rule.count as usize);
            while history.len() > count {
                history.forget_oldest();
            }
            self.bytes = self.bytes + history.bytes() - before;
            match (rule, history.oldest()) {
                (Some(rule), Some(at)) => {
                    topic.in_due = true;
                    self.due.push(Reverse((expiry(at, rule), life)));
                }
                _ => self.forget(topics, life.0),
            }
        }
        self.tidy(topics);
    }

    /// Forgets the oldest chunks of all topics until the limit holds.
    pub(super) fn make_room(&mut self, topics: &mut Topics) {
        while self.bytes > self.bytes_max
            && let Some(Reverse((at, life))) = self.oldest.pop()
        {
            let Some(topic) = topics.in_life(life) else { continue };
            topic.in_oldest = false;
            let Some(history) = &mut topic.history else { continue };
            if history.oldest().is_some_and(|oldest| oldest <= at) {
                let before = history.bytes();
                self.evicted += history.forget_chunk() as u64;
                self.bytes = self.bytes + history.bytes() - before;
            }
            match history.oldest() {
                Some(oldest) => {
                    topic.in_oldest = true;
                    self.oldest.push(Reverse((oldest, life)));
                }
                None => self.forget(topics, life.0),
            }
        }
        self.tidy(topics);
    }

    /// The topic keeps nothing any more: it may be idle now.
    fn forget(&mut self, topics: &mut Topics, key: TopicKey) {
        self.topics -= 1;
        topics.at(key).history = None;
        topics.touch(key);
    }

    /// Drops the entries of topics that keep nothing once they are the larger part, so that names used once leave nothing
    /// behind: what one heap forgot the other would remember, for a year or for ever.
    fn tidy(&mut self, topics: &mut Topics) {
        let entries_max = 2 * self.topics + ENTRIES_SPARE;
        if self.due.len() > entries_max {
            self.due.retain(|&Reverse((_, life))| {
                topics.in_life(life).is_some_and(|topic| {
                    topic.in_due = topic.history.is_some();
                    topic.in_due
                })
            });
        }
        if self.oldest.len() > entries_max {
            self.oldest.retain(|&Reverse((_, life))| {
                topics.in_life(life).is_some_and(|topic| {
                    topic.in_oldest = topic.history.is_some();
                    topic.in_oldest
                })
            });
        }
    }
}

/// When a publication of that tick is too old.
pub(super) fn expiry(at: Tick, rule: &Kept) -> Tick {
    at.after_ms(u64::from(rule.age_s) * 1000)
}

/// Entries that a heap may have beyond twice what it needs.
const ENTRIES_SPARE: usize = 64;

#[cfg(test)]
mod tests;
