//! Everything that was published, and where it stands in its topic, as far as acks and messages told.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use super::{Judged, Oracle, broken, is_muted};
use crate::event::Sent;

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
    pub(crate) muted: bool,
    pub(crate) text: bool,
    pub(crate) payload: Vec<u8>,
    pub(crate) offset: Option<u64>,
}

/// One topic's order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    epoch: Option<String>,
    /// The highest offset that anybody heard of.
    pub(crate) last: u64,
    pub(crate) at: BTreeMap<u64, Index>,
    /// Offsets by publisher and its numbers.
    by: BTreeMap<u32, BTreeMap<(u64, Index), u64>>,
}

#[derive(Debug, Default)]
pub(crate) struct Publications {
    all: Vec<Publication>,
    by_payload: BTreeMap<Vec<u8>, Index>,
    logs: BTreeMap<String, Log>,
}

impl Publications {
    /// Takes a publication in, if it is one.
    pub(super) fn sent(&mut self, by: u32, seq: u64, step: u64, what: &Sent) -> Result<Option<Index>, Broken> {
        let Sent::Publish { topic, text, payload, .. } = what else { return Ok(None) };
        let index = self.all.len();
        let before = self.by_payload.insert(payload.clone(), index);
        assert!(before.is_none(), "the simulator's payloads are unique");
        self.all.push(Publication {
            topic: topic.clone(),
            by,
            seq,
            step,
            muted: is_muted(what),
            text: *text,
            payload: payload.clone(),
            offset: None,
        });
        Ok(Some(index))
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
        log.last = log.last.max(offset);
        Ok(offset)
    }

    /// Notes where a publication stands.
    pub(super) fn place(&mut self, index: Index, position: &str) -> Result<u64, Broken> {
        let (topic, by, seq) = (self.all[index].topic.clone(), self.all[index].by, self.all[index].seq);
        let offset = self.offset(&topic, position)?;
        let publication = &mut self.all[index];
        if *publication.offset.get_or_insert(offset) != offset {
            return broken(
                Oracle::Position,
                format!("{topic}: one publication at two positions, {publication:?}, {offset}"),
            );
        }
        let log = self.logs.get_mut(&topic).expect("made by `offset`");
        if *log.at.entry(offset).or_insert(index) != index || offset == 0 {
            return broken(Oracle::Position, format!("{topic}: two publications at {offset}"));
        }
        let own = log.by.entry(by).or_default();
        own.insert((seq, index), offset);
        let before = own.range(..(seq, index)).next_back().is_none_or(|(_, before)| *before < offset);
        let after = own.range((seq, index + 1)..).next().is_none_or(|(_, after)| offset < *after);
        if !before || !after {
            let what = format!("{topic}: client {by}'s command {seq} has offset {offset}, out of its order: {own:?}");
            return broken(Oracle::PublisherOrder, what);
        }
        Ok(offset)
    }

    /// After an audit: a topic's last offset is the number of publications that reached the broker. Those of clients that
    /// left may or may not have.
    pub(super) fn count(&self, stayed: &BTreeSet<u32>) -> Judged {
        let mut bounds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for publication in &self.all {
            let (least, most) = bounds.entry(&publication.topic).or_default();
            let sure = publication.offset.is_some() || stayed.contains(&publication.by);
            *least += u64::from(sure);
            *most += 1;
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
