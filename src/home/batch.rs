//! One turn's publications of a home, encoded once and frozen into a batch that all shards share.
//!
//! [`Turn`] collects frames in the order of arrival; [`Turn::freeze`] puts each topic's publications side by side, so that
//! a subscriber of one topic gets one range however many were published. Invariant: a run's frames are in the order of
//! their offsets and `start..end` covers whole frames.

use super::Publish;
use super::delivery::Span;
use super::interest::ShardSet;
use super::topics::{TopicKey, TopicState, Topics};
use crate::ids::{ConnId, ShardId, TopicLife};
use crate::protocol::publication::Head;
use crate::rules::{Access, Overflow, Rules};
use crate::transport::websocket;

/// Encoded publications of one turn; never changed after it was made.
#[derive(Debug, Default)]
pub struct Batch {
    /// Frames, topic by topic, then names and keys.
    pub bytes: Vec<u8>,
    /// One for each topic, in the order of their frames.
    pub runs: Vec<Run>,
    /// Publications that one subscriber is not to get (`echo: false`), in the order of the runs.
    pub exceptions: Vec<Exception>,
    /// Publications of topics with [`Overflow::Latest`] that came with a `conflate`, in the order of their frames.
    pub conflated: Vec<Conflated>,
}

impl Batch {
    /// The run that a frame is part of.
    #[must_use]
    pub fn run_at(&self, frame_start: u32) -> Option<&Run> {
        let behind = self.runs.partition_point(|run| run.frames.start <= frame_start);
        self.runs[..behind].last()
    }

    /// The publisher's `conflate` of a frame, if it gave one and it matters.
    #[must_use]
    pub fn conflate_of(&self, frame_start: u32) -> Option<&str> {
        let at = self.conflated.binary_search_by_key(&frame_start, |conflated| conflated.frame_start).ok()?;
        Some(self.conflated[at].key.text(&self.bytes))
    }

    /// The exceptions of one run that concern one shard.
    pub fn exceptions_of(&self, run: u32, shard: ShardId) -> impl Iterator<Item = &Exception> {
        let first = self.exceptions.partition_point(|except| except.run < run);
        self.exceptions[first..].iter().take_while(move |except| except.run == run).filter(move |e| e.shard == shard)
    }
}

/// The publications of one topic within a batch.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The topic's name in the batch's bytes.
    pub name: Span,
    /// Its frames.
    pub frames: Span,
    /// How many of them are publications: none where they tell who comes and goes.
    pub publications: u32,
    /// The shards that want it.
    pub shards: ShardSet,
    /// Which topic it is, in which life.
    pub topic: TopicLife,
    /// What its rule says of slow consumers.
    pub overflow: Overflow,
    /// Who may read it: where that depends on who asks, a wildcard filter alone does not say.
    pub access: Access,
}

/// One publication that a newer one with the same key makes obsolete.
#[derive(Clone, Copy, Debug)]
pub struct Conflated {
    /// Where its frame begins.
    pub frame_start: u32,
    /// The publisher's `conflate`.
    pub key: Span,
}

/// One publication that one connection is not to get.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// Index of the run.
    pub run: u32,
    /// The shard of the connection.
    pub shard: ShardId,
    /// The connection.
    pub conn: ConnId,
    /// The publication's frame.
    pub frame: Span,
}

/// The batch in the making.
#[derive(Debug, Default)]
pub(super) struct Turn {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The topics of this turn in order of first appearance; `TopicState::run` is the index.
    topics: Vec<TopicKey>,
    /// The `conflate` keys of the entries, side by side.
    keys: Vec<u8>,
    /// Whether the entries of each topic already stand side by side.
    scattered: bool,
    /// The former batch's size: the next one's first allocation.
    usual_len: usize,
}

#[derive(Debug)]
struct Entry {
    run: u32,
    frame: Span,
    /// 1, or 0 for an event.
    publications: u32,
    except: Option<(ShardId, ConnId)>,
    /// Within `keys`.
    conflate: Option<Span>,
}

impl Turn {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encodes one publication, whose offset the topic already counts.
    pub(super) fn push(
        &mut self,
        key: TopicKey,
        topic: &mut TopicState,
        overflow: Overflow,
        from: &[u8],
        publish: &Publish<'_>,
    ) {
        let (run, start, offset) = (self.enter(key, topic), self.bytes.len(), topic.offset);
        websocket::publication(&mut self.bytes, Head { prefix: topic.prefix(), offset, from }, publish.payload);
        let frame = Span::at_end(&self.bytes[..start], self.bytes.len() - start);
        let except = (!publish.echo).then_some((publish.shard, publish.conn));
        let conflate = publish.conflate.filter(|_| overflow == Overflow::Latest).map(|conflate| {
            let span = Span::at_end(&self.keys, conflate.len());
            self.keys.extend_from_slice(conflate.as_bytes());
            span
        });
        self.entries.push(Entry { run, frame, publications: 1, except, conflate });
    }

    /// Takes one event of a topic in; `write` appends its frame.
    pub(super) fn push_event(&mut self, key: TopicKey, topic: &mut TopicState, write: impl FnOnce(&mut Vec<u8>)) {
        let (run, start) = (self.enter(key, topic), self.bytes.len());
        write(&mut self.bytes);
        let frame = Span::at_end(&self.bytes[..start], self.bytes.len() - start);
        self.entries.push(Entry { run, frame, publications: 0, except: None, conflate: None });
    }

    /// The topic's run, into which a frame is about to be written.
    fn enter(&mut self, key: TopicKey, topic: &mut TopicState) -> u32 {
        if !topic.in_turn {
            topic.in_turn = true;
            topic.run = u32::try_from(self.topics.len()).expect("a batch is bounded in bytes");
            self.topics.push(key);
        }
        let run = topic.run;
        self.scattered |= self.entries.last().is_some_and(|last| last.run > run);
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.usual_len);
        }
        run
    }

    /// The frame that was pushed last.
    pub(super) fn last_frame(&self) -> &[u8] {
        self.entries.last().map_or(&[], |entry| entry.frame.of(&self.bytes))
    }

    /// Makes the batch and is empty again.
    pub(super) fn freeze(&mut self, home: ShardId, topics: &mut Topics, rules: &Rules) -> Batch {
        self.usual_len = self.bytes.len();
        if self.scattered {
            self.gather();
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut runs: Vec<Run> = Vec::with_capacity(self.topics.len());
        for &key in &self.topics {
            let topic = topics.at(key);
            topic.in_turn = false;
            let name = Span::at_end(&bytes, topic.name.len());
            bytes.extend_from_slice(topic.name.as_bytes());
            let shards = topic.exact.union(topic.wild);
            let rule = topic.rule.map(|rule| rules.at(rule));
            // The events of members are none of the operator's topics: never dropped.
            let (access, overflow) = rule.map_or_else(Default::default, |rule| (rule.subscribe, rule.overflow));
            let topic = TopicLife { home, key, epoch: topic.epoch };
            let (frames, publications) = (Span::default(), 0);
            runs.push(Run { name, frames, publications, shards, topic, overflow, access });
        }
        let (mut exceptions, mut conflated) = (Vec::new(), Vec::new());
        for Entry { run, frame, publications, except, conflate } in self.entries.drain(..) {
            runs[run as usize].publications += publications;
            let frames = &mut runs[run as usize].frames;
            frames.start = if frames.is_empty() { frame.start } else { frames.start };
            frames.end = frame.end;
            if let Some((shard, conn)) = except {
                exceptions.push(Exception { run, shard, conn, frame });
            }
            if let Some(conflate) = conflate {
                let key = Span::at_end(&bytes, conflate.len());
                bytes.extend_from_slice(conflate.of(&self.keys));
                conflated.push(Conflated { frame_start: frame.start, key });
            }
        }
        self.topics.clear();
        self.keys.clear();
        Batch { bytes, runs, exceptions, conflated }
    }

    /// Brings the frames of each topic side by side; arrival order stays within a topic.
    fn gather(&mut self) {
        self.entries.sort_by_key(|entry| entry.run);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for entry in &mut self.entries {
            let frame = Span::at_end(&bytes, entry.frame.len());
            bytes.extend_from_slice(entry.frame.of(&self.bytes));
            entry.frame = frame;
        }
        self.bytes = bytes;
        self.scattered = false;
    }
}
