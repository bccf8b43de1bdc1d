//! Where a client's subscription begins: what its ack says of the past, and what has to follow it.

use super::publications::{Index, Publications};
use super::replies::{Beginning, Due, What};
use super::view::View;
use super::{Broken, Judged, Oracle, broken};
use crate::event::Begin;

/// A position that the simulator wrote, in its two parts.
pub(super) fn split(position: &str) -> (String, u64) {
    let (epoch, offset) = position.split_once(':').expect("the simulator hands back positions");
    (epoch.to_owned(), offset.parse().expect("the simulator hands back positions"))
}

impl Publications {
    /// The time, and the newest offset of the topic that anybody knows.
    pub(super) fn moment(&self, topic: &str) -> (u64, u64) {
        (self.now_ms, self.log(topic).map_or(0, |log| log.last))
    }

    /// Which publication a message is, and its offset.
    pub(super) fn recognize(
        &mut self,
        topic: &str,
        position: &str,
        payload: &[u8],
        text: bool,
    ) -> Result<(Index, u64), Broken> {
        let index = self.find(payload).filter(|&index| {
            let found = self.get(index);
            found.topic == topic && found.text == text
        });
        let Some(index) = index else {
            return broken(Oracle::Payload, format!("{topic} {position}: nobody published this there"));
        };
        Ok((index, self.place(index, position)?))
    }

    /// Whether everything since a position follows: `None` if that was not asked, else as far as it is certain.
    fn recovers(&self, it: &Beginning, newest: u64) -> Option<Option<bool>> {
        let Begin::Since(since) = &it.begin else { return None };
        let (epoch, offset) = split(since);
        let log = self.log(&it.filter).expect("its ack had a position");
        if log.epoch.as_ref() != Some(&epoch) || offset > newest {
            return Some(Some(false));
        }
        if offset == newest {
            return Some(Some(true));
        }
        let past = self.past(&it.filter, newest, it.asked_ms);
        let (gone, whole) = (offset < past.gone, past.kept <= offset + 1);
        assert!(!(gone && whole), "nothing is both gone and kept: {past:?} of {it:?}");
        Some(if gone { Some(false) } else { whole.then_some(true) })
    }
}

impl View {
    /// Judges the ack of a subscribe to one topic at `newest`. `since`: the step since which the topic was sure before.
    pub(super) fn begins(
        &mut self,
        it: &Beginning,
        newest: u64,
        recovered: Option<bool>,
        since: Option<u64>,
        publications: &mut Publications,
    ) -> Judged {
        let topic = it.filter.as_str();
        if newest < it.known {
            return self.broken(Oracle::Position, format!("{topic}: at {newest}, it was at {} before", it.known));
        }
        let expected = publications.recovers(it, newest);
        let fits = match (expected, recovered) {
            (None, None) => true,
            (Some(expected), Some(recovered)) => expected.is_none_or(|expected| expected == recovered),
            _ => false,
        };
        if !fits {
            let what = format!("{topic}: recovered is {recovered:?} at {newest}, due was {expected:?} for {it:?}");
            return self.broken(Oracle::Recovered, what);
        }
        self.moved_on(topic, newest, newest, since, publications)?; // up to here by another filter
        self.begins_alone(topic, newest);
        match &it.begin {
            Begin::Since(since) if recovered == Some(true) => {
                let offset = split(since).1;
                publications.tally.extend((offset < newest).then_some("a replay"));
                self.goes_back(topic, offset, offset, newest);
            }
            Begin::Last(last) => {
                let past = publications.past(topic, newest, it.asked_ms);
                publications.tally.extend((past.kept <= newest && *last > 0).then_some("the last ones"));
                let least = (newest + 1).saturating_sub(*last);
                // With which of them it begins is certain only within these bounds.
                self.goes_back(topic, least.max(past.gone + 1) - 1, least.max(past.kept) - 1, newest);
            }
            Begin::Since(since) if recovered == Some(false) => {
                let is_past = split(since).1 < newest && publications.rules.of(topic).kept.is_some();
                publications.tally.extend(is_past.then_some("a replay that is not possible"));
                let life = publications.log(topic).and_then(|log| log.epoch.as_ref());
                let is_former = life != Some(&split(since).0);
                publications.tally.extend(is_former.then_some("a position of another life"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A replay follows: after `last` at the earliest, after `base` at the latest, up to `newest`; then what is live.
    fn goes_back(&mut self, topic: &str, last: u64, base: u64, newest: u64) {
        let (sure, maybe) = self.coverage.standing(topic);
        let known = self.topics.entry(topic.to_owned()).or_default();
        if !maybe {
            return; // it was taken back before its home answered: nothing is replayed
        }
        if sure {
            known.base = Some(base);
        }
        (known.last, known.replayed) = (last, newest);
    }

    /// More bytes than may wait of what it asked for again.
    pub(super) fn replay_bytes_max(&self, publications: &Publications) -> usize {
        let all = |topic: &str| -> usize {
            let of_topic = publications.all().filter(|it| it.topic == topic);
            of_topic.map(|it| self.bytes_of(it)).sum()
        };
        let asked = |due: &Due| match &due.what {
            What::Subscribed(it) if it.begin != Begin::Now => all(&it.filter),
            _ => 0,
        };
        let under_way = self.topics.iter().filter(|(_, known)| known.last < known.replayed);
        self.replies.all().map(asked).sum::<usize>() + under_way.map(|(topic, _)| all(topic)).sum::<usize>()
    }
}
