//! What is certainly kept of a topic's past, and what is certainly gone.
//!
//! By count that is exact. By age it depends on when a publication reached its home, which lies between the moment when it
//! was sent and the one when somebody heard of it. Memory that runs out takes the oldest, and the counters tell when.

use super::publications::Publications;
use super::rules::tick;
use super::{Judged, Oracle, broken};

/// What a home takes for each publication and each topic besides payloads, generously.
const AROUND_KEPT: usize = 200;
const AROUND_TOPIC: usize = 2_000;

/// A topic's past at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past {
    /// Up to this offset all is gone.
    pub(super) gone: u64,
    /// From this one on all is kept; behind `newest` if that is certain of none.
    pub(super) kept: u64,
}

impl Publications {
    /// The past of a topic whose newest offset was `newest`, between a time and now.
    pub(super) fn past(&self, topic: &str, newest: u64, asked_ms: u64) -> Past {
        let nothing = Past { gone: newest, kept: newest + 1 };
        let (Some((count, age)), Some(log)) = (self.rules.of(topic).kept, self.logs.get(topic)) else { return nothing };
        let (asked, now) = (tick(asked_ms), tick(self.now_ms));
        let too_old = log.heard.range(..=newest).rev().find(|(_, ms)| tick(**ms) + age <= asked);
        let gone = too_old.map_or(0, |(offset, _)| *offset).max(newest.saturating_sub(count));
        let is_young = |index: usize| {
            let publication = &self.all[index];
            tick(publication.ms) + age > now && self.evicted_step.is_none_or(|step| publication.step > step)
        };
        let young = log.at.range(..=newest).find(|(_, index)| is_young(**index));
        let kept = young.map_or(newest + 1, |(offset, _)| *offset).max((newest + 1).saturating_sub(count));
        Past { gone, kept }
    }

    /// Judges what a home counted as forgotten before its time, and what it kept.
    pub(super) fn kept(&mut self, evicted: u64, bytes: usize) -> Judged {
        let (most, topics) = (self.history_bytes_max, self.logs.len() + crate::plan::TOPICS.len());
        if bytes > most {
            return broken(Oracle::Kept, format!("{bytes} bytes of history at one home, at most {most} may be"));
        }
        let ever = self.all.iter().filter(|it| self.rules.of(&it.topic).kept.is_some());
        let ever: usize = ever.map(|it| 2 * (it.payload.len() + AROUND_KEPT)).sum::<usize>() + topics * AROUND_TOPIC;
        if evicted > 0 && ever <= most {
            return broken(Oracle::Kept, format!("{evicted} forgotten for want of memory: {ever} of {most} bytes"));
        }
        self.evicted_step = Some(self.step);
        self.tally.insert("an eviction");
        Ok(())
    }
}
