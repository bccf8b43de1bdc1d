//! The batch in the making: the publications of a turn in the order of arrival, in each form that somebody wants.
//!
//! `Home` pushes each publication once; [`Turn::freeze`] puts those of each topic side by side. Frames are always made,
//! because histories keep them, other forms where the topic's record says so.

use std::sync::Arc;

use super::Publish;
use super::batch::{Batch, Conflated, Exception, Run};
use super::delivery::Span;
use super::interest::{Interest, ShardSet};
use super::topics::{NO_RUN, TopicKey, TopicState, Topics};
use crate::ids::{ConnId, ShardId, TopicLife};
use crate::limits;
use crate::protocol::publication::Head;
use crate::rules::{Overflow, Rules};
use crate::transport::{Form, Forms, events, websocket};
use crate::ws::deflate::Deflater;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The topics of this turn in order of first appearance, each with the shards that wanted it last; `TopicState::run` is
    /// the index.
    topics: Vec<(TopicKey, ShardSet)>,
    frames: Draft,
    others: [Draft; Form::OTHERS.len()],
    /// Made for the first publication that somebody wants compressed.
    deflater: Option<Box<Deflater>>,
    /// Publications that were compressed since the home began.
    deflated: u64,
}

/// One form's batch in the making.
#[derive(Debug, Default)]
struct Draft {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The `conflate` keys of the entries, side by side.
    keys: Vec<u8>,
    /// Whether the entries of some topic do not stand side by side.
    scattered: bool,
    /// The former batch's size: the next one's first allocation.
    usual_len: usize,
}

#[derive(Debug)]
struct Entry {
    run: u32,
    unit: Span,
    /// 1, or 0 for an event of members.
    publications: u32,
    except: Option<(ShardId, ConnId)>,
    /// Within `keys`.
    conflate: Option<Span>,
}

/// What is known of a publication besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Traits<'a> {
    run: u32,
    publications: u32,
    except: Option<(ShardId, ConnId)>,
    conflate: Option<&'a str>,
}

impl Turn {
    pub(super) fn len(&self) -> usize {
        self.frames.bytes.len() + self.others.iter().map(|draft| draft.bytes.len()).sum::<usize>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(super) fn deflated(&self) -> u64 {
        self.deflated
    }

    /// The next batch is not as long as the last one.
    pub(super) fn forget_usual(&mut self) {
        self.frames.usual_len = 0;
    }

    /// Gives back what the frames have room for beyond so many bytes more.
    pub(super) fn fit(&mut self, more: usize) {
        let len = self.frames.bytes.len() + more;
        self.frames.bytes.shrink_to(len);
        self.frames.bytes.reserve_exact(more);
    }

    /// Encodes one publication, whose offset the topic already counts.
    pub(super) fn push(
        &mut self,
        key: TopicKey,
        topic: &mut TopicState,
        interest: Interest,
        overflow: Overflow,
        from: &[u8],
        publish: &Publish<'_>,
    ) {
        let (run, offset) = (self.enter(key, topic, interest.shards), topic.offset);
        let except = (!publish.echo).then_some((publish.shard, publish.conn));
        let conflate = publish.conflate.filter(|_| overflow == Overflow::Latest);
        let traits = Traits { run, publications: 1, except, conflate };
        let head = Head { prefix: topic.prefix(), offset, from };
        self.frames.push(traits, |out| websocket::publication(out, head, publish.payload));
        let Self { frames, others, deflater, deflated, .. } = self;
        push_others(others, interest.forms, traits, |form, out| match form {
            Form::Frames => out.extend_from_slice(frames.last()),
            Form::Events => events::of_frame(out, frames.last()),
            Form::Deflated => {
                let deflater = deflater.get_or_insert_with(|| Box::new(Deflater::new(limits::DEFLATE_WINDOW_BITS)));
                if websocket::deflated_publication(out, deflater, head, publish.payload) {
                    *deflated += 1;
                } else {
                    out.extend_from_slice(frames.last());
                }
            }
        });
    }

    /// Takes one event of a topic's members in; `write` appends its frame.
    pub(super) fn push_event(&mut self, key: TopicKey, topic: &mut TopicState, write: impl FnOnce(&mut Vec<u8>)) {
        let run = self.enter(key, topic, topic.exact); // no wildcard matches a topic of the broker's
        let traits = Traits { run, publications: 0, except: None, conflate: None };
        self.frames.push(traits, write);
        let frame = self.frames.last();
        push_others(&mut self.others, topic.exact_forms, traits, |form, out| match form {
            Form::Events => events::of_frame(out, frame),
            Form::Frames | Form::Deflated => out.extend_from_slice(frame),
        });
    }

    /// The topic's run, into which something is about to be written.
    fn enter(&mut self, key: TopicKey, topic: &mut TopicState, shards: ShardSet) -> u32 {
        if topic.is_in_turn() {
            self.topics[topic.run as usize].1 = shards;
        } else {
            topic.run = u32::try_from(self.topics.len()).expect("a batch is bounded in bytes");
            self.topics.push((key, shards));
        }
        topic.run
    }

    /// The frame that was pushed last.
    pub(super) fn last_frame(&self) -> &[u8] {
        self.frames.last()
    }

    /// Makes the batch and is empty again.
    pub(super) fn freeze(&mut self, home: ShardId, topics: &mut Topics, rules: &Rules) -> Batch {
        let keys = std::mem::take(&mut self.topics);
        let mut runs: Vec<Run> = Vec::with_capacity(keys.len());
        for &(key, shards) in &keys {
            let topic = topics.at(key);
            topic.run = NO_RUN;
            let shards = topic.exact.union(shards);
            let rule = topic.rule.map(|rule| rules.at(rule));
            // The events of members are none of the operator's topics: never dropped.
            let (access, overflow) = rule.map_or_else(Default::default, |rule| (rule.subscribe, rule.overflow));
            let topic = TopicLife { home, key, epoch: topic.epoch };
            let (name, frames, publications) = (Span::default(), Span::default(), 0);
            runs.push(Run { name, frames, publications, shards, topic, overflow, access });
        }
        let mut others: [Option<Arc<Batch>>; Form::OTHERS.len()] = Default::default();
        for (draft, batch) in self.others.iter_mut().zip(&mut others).filter(|(draft, _)| !draft.entries.is_empty()) {
            *batch = Some(Arc::new(draft.freeze(runs.clone(), topics)));
        }
        let batch = Batch { others, ..self.frames.freeze(runs, topics) };
        self.topics = keys;
        self.topics.clear();
        batch
    }
}

/// What was just pushed as a frame, in the other forms that are wanted.
fn push_others(
    others: &mut [Draft; Form::OTHERS.len()],
    forms: Forms,
    traits: Traits<'_>,
    mut write: impl FnMut(Form, &mut Vec<u8>),
) {
    if forms == Forms::default() {
        return; // as nearly always
    }
    for (draft, form) in others.iter_mut().zip(Form::OTHERS).filter(|(_, form)| forms.contains(*form)) {
        draft.push(traits, |out| write(form, out));
    }
}

impl Draft {
    fn push(&mut self, traits: Traits<'_>, write: impl FnOnce(&mut Vec<u8>)) {
        let Traits { run, publications, except, conflate } = traits;
        self.scattered |= self.entries.last().is_some_and(|last| last.run > run);
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(self.usual_len);
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        let unit = Span::at_end(&self.bytes[..start], self.bytes.len() - start);
        let conflate = conflate.map(|conflate| {
            let span = Span::at_end(&self.keys, conflate.len());
            self.keys.extend_from_slice(conflate.as_bytes());
            span
        });
        self.entries.push(Entry { run, unit, publications, except, conflate });
    }

    fn last(&self) -> &[u8] {
        self.entries.last().map_or(&[], |entry| entry.unit.of(&self.bytes))
    }

    /// Makes the batch of these runs, whose names and units are still to be written, and is empty again.
    fn freeze(&mut self, mut runs: Vec<Run>, topics: &mut Topics) -> Batch {
        if self.scattered {
            self.gather();
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        for run in &mut runs {
            let name = topics.at(run.topic.key).name_bytes();
            run.name = Span::at_end(&bytes, name.len());
            bytes.extend_from_slice(name);
        }
        self.usual_len = bytes.len();
        let names_start = runs.first().map_or(0, |run| run.name.start);
        let (mut exceptions, mut conflated) = (Vec::new(), Vec::new());
        for Entry { run, unit, publications, except, conflate } in self.entries.drain(..) {
            runs[run as usize].publications += publications;
            let frames = &mut runs[run as usize].frames;
            frames.start = if frames.is_empty() { unit.start } else { frames.start };
            frames.end = unit.end;
            if let Some((shard, conn)) = except {
                exceptions.push(Exception { run, shard, conn, frame: unit });
            }
            if let Some(conflate) = conflate {
                let key = Span::at_end(&bytes, conflate.len());
                bytes.extend_from_slice(conflate.of(&self.keys));
                conflated.push(Conflated { frame_start: unit.start, key });
            }
        }
        self.keys.clear();
        // A run without units stands where the next one begins, so that their order tells whose a unit is.
        let mut next = names_start;
        for run in runs.iter_mut().rev() {
            if run.frames.is_empty() {
                run.frames = Span { start: next, end: next };
            }
            next = run.frames.start;
        }
        Batch { bytes, runs, exceptions, conflated, others: Default::default() }
    }

    /// Brings the units of each topic side by side; arrival order stays within a topic.
    fn gather(&mut self) {
        self.entries.sort_by_key(|entry| entry.run);
        let mut bytes = Vec::with_capacity(self.bytes.len());
        for entry in &mut self.entries {
            let unit = Span::at_end(&bytes, entry.unit.len());
            bytes.extend_from_slice(entry.unit.of(&self.bytes));
            entry.unit = unit;
        }
        self.bytes = bytes;
        self.scattered = false;
    }
}
