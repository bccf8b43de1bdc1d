//! Remembers what the matcher found for a topic, until any filter changes.
//!
//! A shard asks it once per topic and turn. Two halves: what is asked for goes to the current one; when that is full
//! it becomes the previous one, and what nobody asked for meanwhile is gone. Bounded by entries and by bytes, so random
//! topics only ever replace each other; a result too large for a half is found anew each time.

use std::collections::HashMap;

use foldhash::fast::SeedableRandomState;

use super::{Matcher, Topic, hasher};
use crate::limits::{MATCH_CACHE_BYTES, MATCH_CACHE_ENTRIES};

#[cfg(test)]
mod tests;

/// The results of one [`Matcher`], valid for one of its generations. Use one cache per matcher: two matchers can have
/// the same generation.
#[derive(Debug)]
pub struct MatchCache {
    current: Half,
    previous: Half,
    /// Of the matcher when the halves were filled.
    generation: u64,
    /// The last result that was found anew.
    found: Vec<u32>,
}

impl MatchCache {
    /// An empty cache. The seed keeps a stranger from choosing names whose hashes collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { current: Half::new(seed), previous: Half::new(seed), generation: 0, found: Vec::new() }
    }

    /// The values of all filters of `matcher` that match `topic`, each once.
    pub fn find<'c>(&'c mut self, matcher: &Matcher, topic: Topic<'_>) -> &'c [u32] {
        if self.generation != matcher.generation() {
            self.generation = matcher.generation();
            self.current.clear();
            self.previous.clear();
        }
        if matcher.is_empty() {
            return &[];
        }
        let name = topic.as_str();
        if let Some(span) = self.current.span(name) {
            return self.current.values(span);
        }
        self.found.clear();
        if let Some(span) = self.previous.span(name) {
            self.found.extend_from_slice(self.previous.values(span));
        } else {
            self.found.shrink_to(HALF_VALUES);
            matcher.find(topic, &mut self.found);
        }
        if self.found.len() <= HALF_VALUES {
            self.keep(name);
        }
        &self.found
    }

    /// Puts the last result into the current half.
    fn keep(&mut self, name: &str) {
        if !self.current.has_room(self.found.len()) {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        self.current.insert(name, &self.found);
    }
}

/// Half of the cache. All results lie in one list, so that the bound on bytes is the bound on its length.
#[derive(Debug)]
struct Half {
    spans: HashMap<Box<str>, Span, SeedableRandomState>,
    values: Vec<u32>,
}

/// Where a result lies in the list of its half.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

impl Half {
    fn new(seed: u64) -> Self {
        Self { spans: HashMap::with_hasher(hasher(seed)), values: Vec::new() }
    }

    fn span(&self, name: &str) -> Option<Span> {
        self.spans.get(name).copied()
    }

    fn values(&self, span: Span) -> &[u32] {
        &self.values[span.start as usize..][..span.len as usize]
    }

    fn has_room(&self, values: usize) -> bool {
        self.spans.len() < HALF_ENTRIES && self.values.len() + values <= HALF_VALUES
    }

    fn insert(&mut self, name: &str, values: &[u32]) {
        let number = |len| u32::try_from(len).expect("a half holds fewer than 2^32 values");
        let span = Span { start: number(self.values.len()), len: number(values.len()) };
        self.values.extend_from_slice(values);
        self.spans.insert(name.into(), span);
    }

    fn clear(&mut self) {
        self.spans.clear();
        self.values.clear();
    }
}

const HALF_ENTRIES: usize = MATCH_CACHE_ENTRIES / 2;

/// Also the longest result that is kept.
const HALF_VALUES: usize = MATCH_CACHE_BYTES / 2 / size_of::<u32>();
