//! Idempotency keys: which publish commands were carried out lately, so that a repeat is answered and not published again.
//!
//! Keys belong to their topic; they are forgotten in the order in which they came, per rule, because a rule has one window.
//! At most `IDEMPOTENCY_KEYS_MAX` are remembered per home: beyond it the oldest go before their time, and are counted.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use foldhash::fast::RandomState;

use super::topics::{TopicKey, Topics};
use crate::ids::Tick;
use crate::limits;

/// The keys of one topic.
pub(super) type TopicKeys = HashMap<Rc<str>, Made, RandomState>;

/// What a key stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Of the publication that was made with it.
    pub(super) offset: u64,
    /// When its window is over, whether or not there was time to forget it.
    pub(super) until: Tick,
}

#[derive(Debug)]
struct Entry {
    until: Tick,
    topic: TopicKey,
    epoch: u32,
    key: Rc<str>,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By window in seconds: few, one per distinct setting of the rules.
    queues: Vec<(u32, VecDeque<Entry>)>,
    len: usize,
    evicted: u64,
}

impl Keys {
    /// The offset that the key was answered with, if its window is not over.
    pub(super) fn find(topics: &mut Topics, topic: TopicKey, key: &str, now: Tick) -> Option<u64> {
        let made = topics.at(topic).keys.as_ref()?.get(key)?;
        (made.until > now).then_some(made.offset)
    }

    /// Remembers the key of the topic's newest publication.
    pub(super) fn remember(&mut self, topics: &mut Topics, topic: TopicKey, key: &str, window_s: u32, now: Tick) {
        let until = now.after_ms(u64::from(window_s) * 1000);
        let made = Made { offset: topics.at(topic).offset, until };
        self.insert(topics, topic, key, window_s, made);
        self.make_room(topics);
    }

    /// Remembers a key as a former home did. Afterwards [`Keys::settle`] has to be called; until then there may be more than
    /// the limit, but not many times as many.
    pub(super) fn inherit(&mut self, topics: &mut Topics, topic: TopicKey, key: &str, window_s: u32, made: Made) {
        self.insert(topics, topic, key, window_s, made);
        if self.len >= 2 * limits::IDEMPOTENCY_KEYS_MAX {
            self.settle(topics);
        }
    }

    /// Brings inherited keys into the order in which they are forgotten.
    pub(super) fn settle(&mut self, topics: &mut Topics) {
        for (_, queue) in &mut self.queues {
            queue.make_contiguous().sort_by_key(|entry| entry.until);
        }
        self.make_room(topics);
    }

    fn insert(&mut self, topics: &mut Topics, topic: TopicKey, key: &str, window_s: u32, made: Made) {
        let key: Rc<str> = key.into();
        let (state, until) = (topics.at(topic), made.until);
        let epoch = state.epoch;
        state.keys.get_or_insert_default().insert(Rc::clone(&key), made);
        let at = self.queues.iter().position(|(window, _)| *window == window_s).unwrap_or_else(|| {
            self.queues.push((window_s, VecDeque::new()));
            self.queues.len() - 1
        });
        self.queues[at].1.push_back(Entry { until, topic, epoch, key });
        self.len += 1;
    }

    /// Forgets the oldest until there are no more than `IDEMPOTENCY_KEYS_MAX`.
    fn make_room(&mut self, topics: &mut Topics) {
        while self.len > limits::IDEMPOTENCY_KEYS_MAX {
            self.evicted += 1;
            let oldest = self.queues.iter_mut().filter(|(_, queue)| !queue.is_empty());
            let oldest = oldest.min_by_key(|(window, queue)| queue[0].until.0.saturating_sub(window * 10));
            if let Some(entry) = oldest.and_then(|(_, queue)| queue.pop_front()) {
                self.forget(topics, &entry);
            }
        }
    }

    /// Forgets those whose window is over, `KEY_EXPIRIES_PER_TURN` at most; the rest stays due. Called once per turn; looks
    /// at nothing whose time has not come.
    pub(super) fn expire(&mut self, topics: &mut Topics, now: Tick) {
        let mut budget = limits::KEY_EXPIRIES_PER_TURN;
        for at in 0..self.queues.len() {
            while budget > 0
                && self.queues[at].1.front().is_some_and(|entry| entry.until <= now)
                && let Some(entry) = self.queues[at].1.pop_front()
            {
                self.forget(topics, &entry);
                budget -= 1;
            }
        }
    }

    fn forget(&mut self, topics: &mut Topics, entry: &Entry) {
        self.len -= 1;
        let Some(topic) = topics.in_life((entry.topic, entry.epoch)) else { return };
        let Some(keys) = &mut topic.keys else { return };
        // Used anew after its window and before its turn to be forgotten, it has an entry of its own.
        if keys.get(&entry.key).is_some_and(|made| made.until == entry.until) {
            keys.remove(&entry.key);
        }
        if keys.is_empty() {
            topic.keys = None;
            topics.touch(entry.topic);
        }
    }

    /// When the next window is over.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.queues.iter().filter_map(|(_, queue)| queue.front().map(|entry| entry.until)).min()
    }

    /// How many are remembered, and how many were forgotten before their time because there were too many.
    pub(super) fn counts(&self) -> (usize, u64) {
        (self.len, self.evicted)
    }
}

#[cfg(test)]
mod tests;
