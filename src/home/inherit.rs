//! The beginning of a home whose broker takes the place of another: the topics of an estate are placed as they were.
//!
//! The shard calls [`Home::inherit`] for each, then [`Home::end_inheritance`], before anybody connects. Epochs, offsets and keys
//! are kept, so that positions go on; of histories what this broker's rules and memory keep. Topics that had subscribers are
//! held for a time, because these come back one after the other and each needs its topic's epoch: without it the limit of
//! idle topics would forget most of very many.

use std::collections::VecDeque;

use super::Home;
use super::archive::expiry;
use super::estate::{self, Bequest, Key};
use super::history::Frame;
use super::keys::Made;
use super::topics::{TopicKey, TopicState};
use crate::ids::{TICK_MS, Tick};
use crate::limits;
use crate::protocol::publication::Head;
use crate::transport::websocket;

/// Topics that are kept for those who subscribed to them at the former broker.
#[derive(Debug)]
pub(super) struct Awaited {
    lives: VecDeque<(TopicKey, u32)>,
    /// Never, as long as more are inherited.
    until: Tick,
}

impl Default for Awaited {
    fn default() -> Self {
        Self { lives: VecDeque::new(), until: Tick(u32::MAX) }
    }
}

impl Awaited {
    pub(super) fn next_due(&self) -> Option<Tick> {
        (!self.lives.is_empty()).then_some(self.until)
    }
}

impl Made {
    /// What a successor is told of the key, if its window is not over.
    pub(super) fn left(self, key: &str, now: Tick) -> Option<Key<'_>> {
        let left = self.until.0.checked_sub(now.0).filter(|left| *left > 0)?;
        Some(Key { offset: self.offset, left, key })
    }
}

impl Home {
    /// Takes a topic of a former home, as it was at `as_of` on this home's clock. If the topic is here already, nothing is done.
    pub fn inherit(&mut self, mut bequest: Bequest, as_of: Tick) {
        if self.topics.find(bequest.topic()).is_some() {
            return;
        }
        let key = self.topics.open(bequest.topic(), &self.rules);
        let state = self.topics.at(key);
        (state.epoch, state.offset) = (bequest.epoch, bequest.offset);
        state.awaited = true; // it stays, whatever is forgotten on the way
        self.inherit_keys(key, &bequest, as_of);
        while let Some(body) = bequest.publications.pop_front() {
            self.inherit_publications(key, &body, as_of);
            self.archive.make_room(&mut self.topics);
        }
        let state = self.topics.at(key);
        (state.offset, state.awaited) = (bequest.offset, bequest.awaited);
        if bequest.awaited {
            self.awaited.lives.push_back((key, bequest.epoch));
        } else {
            self.topics.touch(key);
        }
    }

    fn inherit_keys(&mut self, topic: TopicKey, bequest: &Bequest, as_of: Tick) {
        let rule = self.topics.at(topic).rule.map(|rule| self.rules.at(rule));
        let window_s = rule.map_or(0, |rule| rule.idempotency_s);
        if window_s == 0 {
            return;
        }
        for Key { offset, left, key } in bequest.keys.iter().flat_map(|body| estate::keys(body)) {
            let until = as_of.after_ms((u64::from(left) * TICK_MS).min(u64::from(window_s) * 1000));
            self.keys.inherit(&mut self.topics, topic, key, window_s, Made { offset, until });
        }
    }

    /// Keeps what the rule still keeps.
    fn inherit_publications(&mut self, key: TopicKey, body: &[u8], as_of: Tick) {
        let topic = self.topics.at(key);
        let rule = topic.rule.and_then(|rule| self.rules.at(rule).history.as_ref());
        let Some(rule) = rule else { return };
        for (offset, kept) in estate::publications(body) {
            let at = as_of.0.checked_sub(kept.age).map(Tick);
            // Times do not go back, whatever it says.
            let Some(at) = topic.newest_kept().max(at).filter(|at| expiry(*at, rule) > as_of) else { continue };
            self.alone.clear();
            self.alone.shrink_to(limits::SPARE_BYTES_MAX);
            let head = Head { prefix: topic.prefix(), offset, from: kept.from };
            websocket::publication(&mut self.alone, head, kept.payload);
            topic.offset = offset; // as it was when this was published
            self.archive.keep(key, topic, rule, Frame::Copied(&self.alone), at);
        }
    }

    /// Everything that is inherited is here. Topics that had subscribers are kept for them until then.
    pub fn end_inheritance(&mut self, awaited_until: Tick) {
        self.awaited.until = awaited_until;
        self.keys.settle(&mut self.topics);
    }

    /// Topics for which nobody came are idle, like others.
    pub(super) fn release_awaited(&mut self) {
        if self.awaited.until > self.now {
            return;
        }
        let some = self.awaited.lives.len().min(limits::BEQUESTS_RELEASED_PER_TURN);
        for life in self.awaited.lives.drain(..some) {
            if let Some(state) = self.topics.in_life(life) {
                state.awaited = false;
                self.topics.touch(life.0);
            }
        }
        if self.awaited.lives.is_empty() {
            self.awaited.lives = VecDeque::new();
        }
    }
}

impl TopicState {
    /// When the newest kept one was published.
    fn newest_kept(&self) -> Option<Tick> {
        let history = self.history.as_ref().filter(|history| history.len() > 0)?;
        Some(history.published_at(self.offset))
    }
}
