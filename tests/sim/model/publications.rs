//! Everything that was published, and where it stands in its topic, as far as acks and messages told.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use super::presence::Roll;
use super::rules::Rules;
use super::{Judged, Oracle, broken, is_muted};
use crate::event::{Note, Sent};
use crate::plan::Plan;

/// Index of a publication.
pub(crate) type Index = usize;

/// One publication.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) by: u32,
    /// The publisher's number for it.
    pub(crate) seq: u64,
    /// When it was sent.
    pub(crate) step: u64,
    pub(crate) ms: u64,
    pub(crate) muted: bool,
    /// Whether its publisher had subscribed to the topic by its name.
    pub(crate) by_member: bool,
    pub(crate) text: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) key: Option<String>,
    /// What it makes obsolete.
    pub(crate) conflate: Option<String>,
    pub(crate) offset: Option<u64>,
    /// What its ack said, if it has a key that others had before: its own offset, or the one of the first of them.
    pub(super) answer: Option<u64>,
}

/// One topic's order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(super) epoch: Option<String>,
    /// The highest offset that anybody heard of.
    pub(crate) last: u64,
    pub(crate) at: BTreeMap<u64, Index>,
    /// When each highest offset was heard of first, in milliseconds.
    pub(super) heard: BTreeMap<u64, u64>,
    /// Publications that were answered with an offset while it was not known whose it is.
    pub(super) claims: BTreeMap<u64, Vec<Index>>,
    /// Offsets by publisher and its numbers.
    by: BTreeMap<u32, BTreeMap<(u64, Index), u64>>,
}

#[derive(Debug)]
pub(crate) struct Publications {
    pub(super) all: Vec<Publication>,
    by_payload: BTreeMap<Vec<u8>, Index>,
    pub(super) logs: BTreeMap<String, Log>,
    /// By topic and key, in the order in which they were sent.
    pub(super) keyed: BTreeMap<(String, String), Vec<Index>>,
    pub(super) rules: Rules,
    /// The time of the note that is judged.
    pub(super) now_ms: u64,
    pub(super) step: u64,
    /// The last step in which memory for histories ran out.
    pub(super) evicted_step: Option<u64>,
    /// What happened that a run is to prove something by.
    pub(super) tally: BTreeSet<&'static str>,
    /// What one home may keep, in bytes.
    pub(super) history_bytes_max: usize,
    /// What the broker calls its clients.
    pub(super) names: BTreeMap<u32, String>,
    /// Lists of members that came whole.
    pub(super) rolls: Vec<Roll>,
    /// How often somebody may have come to a topic or gone.
    pub(super) comings: usize,
}

impl Publications {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            all: Vec::new(),
            by_payload: BTreeMap::new(),
            logs: BTreeMap::new(),
            keyed: BTreeMap::new(),
            rules: Rules::new(plan),
            now_ms: 0,
            step: 0,
            evicted_step: None,
            tally: BTreeSet::new(),
            history_bytes_max: plan.history_bytes_max / plan.shards,
            names: BTreeMap::new(),
            rolls: Vec::new(),
            comings: 0,
        }
    }

    /// The time that it is.
    pub(super) fn passed(&mut self, note: &Note) {
        (self.now_ms, self.step) = (note.ms, note.step);
    }

    /// Takes a publication in, if it is one.
    pub(super) fn sent(&mut self, by: u32, seq: u64, what: &Sent) -> Option<Index> {
        let Sent::Publish { topic, text, payload, key, conflate, .. } = what else { return None };
        let index = self.all.len();
        let before = self.by_payload.insert(payload.clone(), index);
        assert!(before.is_none(), "the simulator's payloads are unique");
        let key = key.clone().filter(|_| self.rules.of(topic).window > 0);
        if let Some(key) = &key {
            self.keyed.entry((topic.clone(), key.clone())).or_default().push(index);
        }
        self.all.push(Publication {
            topic: topic.clone(),
            by,
            seq,
            step: self.step,
            ms: self.now_ms,
            muted: is_muted(what),
            by_member: false,
            text: *text,
            payload: payload.clone(),
            key,
            conflate: conflate.clone(),
            offset: None,
            answer: None,
        });
        Some(index)
    }

    pub(super) fn get(&self, index: Index) -> &Publication {
        &self.all[index]
    }

    pub(super) fn find(&self, payload: &[u8]) -> Option<Index> {
        self.by_payload.get(payload).copied()
    }

    pub(super) fn log(&self, topic: &str) -> Option<&Log> {
        self.logs.get(topic)
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = (&str, &Log)> {
        self.logs.iter().map(|(topic, log)| (topic.as_str(), log))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Publication> {
        self.all.iter()
    }

    /// The offset of a position of this topic, whose epoch must be the topic's.
    pub(super) fn offset(&mut self, topic: &str, position: &str) -> Result<u64, Broken> {
        let Some((epoch, offset)) = position.split_once(':') else {
            return broken(Oracle::Position, format!("{position:?} is no position"));
        };
        let log = self.logs.entry(topic.to_owned()).or_default();
        let known = log.epoch.get_or_insert_with(|| epoch.to_owned());
        if known != epoch || epoch.len() != 8 {
            return broken(Oracle::Position, format!("{topic}: epoch {epoch} after {known}"));
        }
        let Ok(offset) = offset.parse() else {
            return broken(Oracle::Position, format!("{position:?} is no position"));
        };
        if offset > log.last {
            log.last = offset;
            log.heard.insert(offset, self.now_ms);
        }
        Ok(offset)
    }

    /// Notes where a publication stands.
    pub(super) fn place(&mut self, index: Index, position: &str) -> Result<u64, Broken> {
        let (topic, by, seq) = (self.all[index].topic.clone(), self.all[index].by, self.all[index].seq);
        if !self.rules.of(&topic).writable {
            return broken(Oracle::Access, format!("{topic} {position}: it was published against the rule"));
        }
        let offset = self.offset(&topic, position)?;
        let publication = &mut self.all[index];
        if *publication.offset.get_or_insert(offset) != offset {
            return broken(
                Oracle::Position,
                format!("{topic}: one publication at two positions, {publication:?}, {offset}"),
            );
        }
        let log = self.logs.get_mut(&topic).expect("made by `offset`");
        let known = log.at.insert(offset, index);
        if known.is_some_and(|known| known != index) || offset == 0 {
            return broken(Oracle::Position, format!("{topic}: two publications at {offset}"));
        }
        if known.is_some() {
            return Ok(offset); // judged when it was heard of first
        }
        let own = log.by.entry(by).or_default();
        own.insert((seq, index), offset);
        let before = own.range(..(seq, index)).next_back().is_none_or(|(_, before)| *before < offset);
        let after = own.range((seq, index + 1)..).next().is_none_or(|(_, after)| offset < *after);
        if !before || !after {
            let what = format!("{topic}: client {by}'s command {seq} has offset {offset}, out of its order: {own:?}");
            return broken(Oracle::PublisherOrder, what);
        }
        self.once(index, offset)?;
        Ok(offset)
    }

    /// After an audit: a topic's last offset is the number of publications that reached the broker. Those of clients that
    /// left may or may not have.
    pub(super) fn count(&self, stayed: &BTreeSet<u32>) -> Judged {
        let mut bounds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let is_repeated = |it: &Publication| {
            let key = it.key.as_ref().map(|key| (it.topic.clone(), key.clone()));
            key.is_some_and(|key| self.keyed[&key].len() > 1)
        };
        let written = self.all.iter().filter(|it| self.rules.of(&it.topic).writable);
        for publication in written.filter(|it| !is_repeated(it)) {
            let (least, most) = bounds.entry(&publication.topic).or_default();
            let sure = publication.offset.is_some() || stayed.contains(&publication.by);
            *least += u64::from(sure);
            *most += 1;
        }
        for ((topic, _), all) in self.keyed.iter().filter(|((topic, _), _)| self.rules.of(topic).writable) {
            if all.len() > 1 {
                let (least, most) = bounds.entry(topic).or_default();
                let (low, high) = self.count_keyed(all, stayed);
                (*least, *most) = (*least + low, *most + high);
            }
        }
        for (topic, (least, most)) in bounds {
            let last = self.logs.get(topic).map_or(0, |log| log.last);
            if !(least..=most).contains(&last) {
                return broken(
                    Oracle::Count,
                    format!("{topic}: {last} publications counted, {least}..={most} were accepted"),
                );
            }
        }
        Ok(())
    }
}
