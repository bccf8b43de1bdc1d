//! One turn's publications of a home, encoded once and frozen into a batch that all shards share.
//!
//! A run is what a topic got, side by side, so that a subscriber of one topic gets one range however many were published
//! (`turn` makes it so). Invariants: a run's frames are in the order of their offsets and `start..end` covers whole ones;
//! a batch's other forms have the same runs, empty where nobody wants the form.

use std::sync::Arc;

use super::delivery::Span;
use super::interest::ShardSet;
use crate::ids::{ConnId, ShardId, TopicLife};
use crate::rules::{Access, Overflow};
use crate::transport::Form;

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
    /// The same publications in the other forms that somebody wants, in the order of [`Form::OTHERS`]. What says frames
    /// here are the units of the form there.
    pub others: [Option<Arc<Batch>>; Form::OTHERS.len()],
}

impl Batch {
    /// Frames alone: of no use but to be read.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// The memory that it takes, without its other forms.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let lists = self.runs.capacity() * size_of::<Run>()
            + self.exceptions.capacity() * size_of::<Exception>()
            + self.conflated.capacity() * size_of::<Conflated>();
        size_of::<Self>() + self.bytes.capacity() + lists
    }

    /// These publications in that form, if somebody wants any of them in it.
    #[must_use]
    pub fn in_form(self: &Arc<Self>, form: Form) -> Option<&Arc<Self>> {
        match Form::OTHERS.iter().position(|&other| other == form) {
            Some(at) => self.others[at].as_ref(),
            None => Some(self),
        }
    }

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
