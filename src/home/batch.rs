//! One turn's publications of a home, encoded once and frozen into a batch that all shards share.
//!
//! [`Turn`] collects frames in the order of arrival; [`Turn::freeze`] puts each topic's publications side by side, so that
//! a subscriber of one topic gets one range however many were published. Invariant: a run's frames are in the order of
//! their offsets and `start..end` covers whole frames.

use super::delivery::Span;
use super::interest::ShardSet;
use super::topics::{TopicKey, TopicState, Topics};
use crate::ids::{ConnId, ShardId};
use crate::protocol::Payload;
use crate::protocol::publication::Head;
use crate::rules::{Access, Rules};
use crate::transport::websocket;

/// Encoded publications of one turn; never changed after it was made.
#[derive(Debug, Default)]
pub struct Batch {
    /// Frames, topic by topic, then the names of the topics.
    pub bytes: Vec<u8>,
    /// One for each topic, in the order of their frames.
    pub runs: Vec<Run>,
    /// Publications that one subscriber is not to get (`echo: false`), in the order of the runs.
    pub exceptions: Vec<Exception>,
}

impl Batch {
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
    /// Who may read it: where that depends on who asks, a wildcard filter alone does not say.
    pub access: Access,
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
        from: &[u8],
        payload: Payload<'_>,
        except: Option<(ShardId, ConnId)>,
    ) {
        let (run, start, offset) = (self.enter(key, topic), self.bytes.len(), topic.offset);
        websocket::publication(&mut self.bytes, Head { prefix: topic.prefix(), offset, from }, payload);
        let frame = Span::at_end(&self.bytes[..start], self.bytes.len() - start);
        self.entries.push(Entry { run, frame, publications: 1, except });
    }

    /// Takes one event of a topic in; `write` appends its frame.
    pub(super) fn push_event(&mut self, key: TopicKey, topic: &mut TopicState, write: impl FnOnce(&mut Vec<u8>)) {
        let (run, start) = (self.enter(key, topic), self.bytes.len());
        write(&mut self.bytes);
        let frame = Span::at_end(&self.bytes[..start], self.bytes.len() - start);
        self.entries.push(Entry { run, frame, publications: 0, except: None });
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
    pub(super) fn freeze(&mut self, topics: &mut Topics, rules: &Rules) -> Batch {
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
            let access = topic.rule.map_or(Access::Anyone, |rule| rules.at(rule).subscribe);
            runs.push(Run { name, frames: Span::default(), publications: 0, shards, access });
        }
        let mut exceptions = Vec::new();
        for Entry { run, frame, publications, except } in self.entries.drain(..) {
            runs[run as usize].publications += publications;
            let frames = &mut runs[run as usize].frames;
            frames.start = if frames.is_empty() { frame.start } else { frames.start };
            frames.end = frame.end;
            if let Some((shard, conn)) = except {
                exceptions.push(Exception { run, shard, conn, frame });
            }
        }
        self.topics.clear();
        Batch { bytes, runs, exceptions }
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
