//! The end of a home whose broker has a successor: it freezes, and says piece by piece what it remembers.
//!
//! The shard calls [`Home::handle_freeze`] once and then [`Home::bequeath`] until that was all. From the freeze on nothing is
//! published or forgotten, so everything that was acknowledged is in the estate and nothing is acknowledged behind it. What
//! is kept is read where it stands and no more than a piece is copied. Refuses to bequeath the broker's own topics: members
//! are connections, and end with them.

use super::estate::{self, Kept};
use super::history::History;
use super::topics::{TopicKey, TopicState};
use super::{Home, Position};
use crate::ids::Tick;
use crate::limits;
use crate::topic::Topic;
use crate::transport::websocket;

/// How far a home has said what it remembers.
#[derive(Debug)]
pub(super) struct Will {
    /// When it froze: ages and windows are as of then.
    as_of: Tick,
    /// The next topic's slot.
    slot: TopicKey,
    /// The topic that has begun, in its life, and the next of its publications.
    within: Option<(TopicKey, Position)>,
    /// How many topics were said.
    topics: u64,
    ended: bool,
}

impl Home {
    /// From here on nothing is published or forgotten.
    pub fn handle_freeze(&mut self) {
        let as_of = self.now;
        self.will.get_or_insert(Will { as_of, slot: 0, within: None, topics: 0, ended: false });
    }

    /// Whether nothing is published or forgotten any more.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.will.is_some()
    }

    /// Appends more of the estate, about `ESTATE_RECORD_BYTES`; a topic's keys, `IDEMPOTENCY_KEYS_MAX` at most, at once. Whether there is still more; nothing before the freeze.
    pub fn bequeath(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(mut will) = self.will.take() else { return false };
        while !will.ended && out.len() < limits::ESTATE_RECORD_BYTES {
            self.bequeath_some(&mut will, out);
        }
        let more = !will.ended;
        self.will = Some(will);
        more
    }

    /// The beginning of a topic, a record of its publications, or the end.
    fn bequeath_some(&mut self, will: &mut Will, out: &mut Vec<u8>) {
        if let Some((key, Position { epoch, offset })) = will.within.take() {
            // A topic that is gone kept nothing.
            let state = self.topics.in_life((key, epoch));
            match state.and_then(|state| state.bequeath_publications(offset, will.as_of, out)) {
                Some(offset) => will.within = Some((key, Position { epoch, offset })),
                None => {
                    will.topics += 1;
                    estate::write_topic_end(out);
                }
            }
        } else if (will.slot as usize) < self.topics.slots() {
            let key = will.slot;
            will.slot += 1;
            let state = self.topics.get(key).filter(|state| state.offset > 0 || state.is_held());
            if let Some(state) = state.filter(|state| !Topic::known(state.name()).is_broker()) {
                let TopicState { epoch, offset, .. } = state;
                estate::write_topic(out, state.name(), *epoch, *offset, !state.exact.is_empty());
                let keys = state.keys.iter().flat_map(|keys| keys.iter());
                estate::write_keys(out, keys.filter_map(|(key, made)| made.left(key, will.as_of)));
                let first = state.history.as_ref().and_then(|history| history.first()).unwrap_or(1);
                will.within = Some((key, Position { epoch: *epoch, offset: first }));
            }
        } else {
            will.ended = true;
            estate::write_home_end(out, will.topics);
        }
    }
}

impl TopicState {
    /// Writes a record of kept publications from `offset` on; the offset of the next, if there is one.
    fn bequeath_publications(&mut self, offset: u64, as_of: Tick, out: &mut Vec<u8>) -> Option<u64> {
        let history: Box<History> = self.history.take()?;
        let prefix = self.prefix();
        let kept = |(offset, frame)| {
            let (head, payload) = websocket::parts_of(frame, prefix, offset);
            let age = as_of.0.saturating_sub(history.published_at(offset).0);
            (offset, Kept { age, from: head.from, payload })
        };
        let next = estate::write_publications(out, history.frames(offset..=u64::MAX).map(kept));
        self.history = Some(history);
        next
    }
}
