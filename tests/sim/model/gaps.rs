//! What a slow client did not get: which of it is told, how much at least and at most, and whether it had to be dropped.
//!
//! Only who let its socket fill may lose something, and only of topics whose rule drops; until the next rest, where
//! everything has come or was told. While a subscription is sure, a `gap` counts exactly what did not come; around a
//! subscribe or unsubscribe whose moment is not known, no less than surely did not come and no more than may not have.

use std::collections::BTreeSet;

use wirefan::rules::Overflow;

use super::goodbye::AROUND_PAYLOAD;
use super::publications::Publications;
use super::replies::Reply;
use super::view::View;
use super::{Judged, Limits, Oracle, meets};

/// A filter that was there before counts for so many subscribes.
const MANY: u32 = 1 << 16;

/// One topic's live publications to one client.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Up to this offset all came, was told, or was never to come.
    floor: u64,
    /// What came behind `floor`.
    got: BTreeSet<u64>,
    /// What surely was to come, did not, and was not told.
    untold: BTreeSet<u64>,
    /// What was told since the last rest, as far as it is known which it was.
    told: BTreeSet<u64>,
}

impl View {
    /// Whether publications of the topic may be withheld from it.
    pub(super) fn may_lose(&self, topic: &str, publications: &Publications) -> bool {
        self.was_full && publications.rules.of(topic).overflow != Overflow::Disconnect
    }

    /// A live or replayed publication came.
    pub(super) fn came(&mut self, topic: &str, offset: u64, publications: &mut Publications) {
        let known = self.topics.get_mut(topic).expect("it moved on");
        if offset > known.replayed {
            known.stream.got.insert(offset);
            publications.tally.extend((!known.stream.untold.is_empty()).then_some("a hole before its gap"));
        }
    }

    /// What is owed between `base` and `reached` did not come so far: a `gap` must tell of it, unless it was asked for.
    pub(super) fn loses(&mut self, topic: &str, base: u64, reached: u64) -> Judged {
        let known = self.topics.get_mut(topic).expect("it has a base");
        let missing: Vec<u64> = known.owed(base, reached).collect();
        if let Some(replay) = missing.iter().find(|offset| **offset <= known.replayed) {
            return self.broken(Oracle::Hole, format!("{topic}: {replay} is missing in a replay"));
        }
        known.stream.untold.extend(missing);
        Ok(())
    }

    /// Its first subscription that meets the topic since the last rest begins behind `newest`: nothing before that was
    /// withheld from it.
    pub(super) fn begins_alone(&mut self, topic: &str, newest: u64) {
        let mut met = self.exposed.iter().filter(|(filter, _)| meets(filter, topic));
        if let (Some((_, 1)), None) = (met.next(), met.next()) {
            self.topics.entry(topic.to_owned()).or_default().stream.floor = newest;
        }
    }

    /// Whether it has subscribed to the topic since the last rest, or had before.
    pub(super) fn was_exposed(&self, topic: &str) -> bool {
        self.exposed.keys().any(|filter| meets(filter, topic))
    }

    /// Judges a `gap`.
    pub(super) fn gap(&mut self, reply: &Reply<'_>, publications: &mut Publications) -> Judged {
        let (topic, position) = (reply.topic.as_deref().unwrap_or(""), reply.position.as_deref().unwrap_or(""));
        let missed = reply.missed.unwrap_or(0);
        if !self.coverage.may_come(topic) {
            return self.broken(Oracle::Stranger, format!("a gap of {topic}, without a subscription"));
        }
        if !self.may_lose(topic, publications) {
            let what = format!("{missed} of {topic} dropped: its socket was not full, or the rule is another");
            return self.broken(Oracle::Gap, what);
        }
        let newest = self.own(|_| publications.offset(topic, position))?;
        let sure = self.coverage.sure_since(topic).is_some();
        let known = self.topics.entry(topic.to_owned()).or_default();
        let (base, last) = (known.base, known.last);
        if newest <= last {
            return self.broken(Oracle::Gap, format!("{topic}: a gap up to {newest} behind {last}"));
        }
        if known.muted.contains(&newest) && !known.doubtful.contains(&newest) {
            return self.broken(Oracle::Gap, format!("{topic}: {newest} was not to come, and a gap tells of it"));
        }
        if let Some(base) = base {
            self.loses(topic, base, newest)?;
        }
        let known = self.topics.get_mut(topic).expect("made above");
        let stream = &mut known.stream;
        let mute =
            known.muted.difference(&known.doubtful).filter(|it| (stream.floor + 1..=newest).contains(it)).count();
        let least = stream.untold.len() as u64;
        let most = newest - stream.floor - (stream.got.len() + mute) as u64;
        if !(least..=most).contains(&missed) {
            let what = format!("{topic}: a gap of {missed} up to {newest}, {least}..={most} did not come");
            return self.broken(Oracle::Gap, what);
        }
        let untold = std::mem::take(&mut stream.untold);
        if missed == least {
            stream.told.extend(untold);
        }
        (stream.floor, stream.got) = (newest, BTreeSet::new());
        (known.last, known.base) = (newest, sure.then_some(newest));
        let behind_replay = known.replayed > 0;
        publications.tally.extend(behind_replay.then_some("a gap behind a replay"));
        publications.tally.extend(self.listens.then_some("a gap of a stream"));
        publications.tally.insert(if least == most { "a gap, exactly" } else { "a gap, about" });
        Ok(())
    }

    /// At rest, all that did not come was told.
    pub(super) fn all_told(&self, topic: &str) -> Judged {
        match self.topics.get(topic).and_then(|known| known.stream.untold.first()) {
            Some(offset) => self.broken(Oracle::Tail, format!("{topic}: {offset} did not come, and no gap told of it")),
            None => Ok(()),
        }
    }

    /// What was dropped since the last rest had to be: because of something newer of its kind, or because more than the
    /// limit may have waited.
    pub(super) fn lost_with_cause(&self, publications: &mut Publications, limits: &Limits) -> Judged {
        let told = self.topics.iter().flat_map(|(topic, known)| known.stream.told.iter().map(move |it| (topic, *it)));
        let mut corners = Vec::new();
        for (topic, offset) in told {
            let latest = publications.rules.of(topic).overflow == Overflow::Latest;
            let log = publications.log(topic).expect("it was heard of");
            let kind = |index: &usize| &publications.get(*index).conflate;
            let lost = log.at.get(&offset).map(kind);
            let obsolete = |lost| log.at.range(offset + 1..).any(|(_, index)| kind(index) == lost);
            // Whose kind is not known was heard of by nobody.
            if latest && lost.is_none_or(obsolete) {
                corners.push("one that was obsolete");
                continue;
            }
            let waited = publications.all().filter(|it| it.step > self.rest_step && self.was_exposed(&it.topic));
            let bytes: usize = waited.map(|it| self.bytes_of(it)).sum();
            let told = if self.presence.was_told() { publications.comings * AROUND_PAYLOAD } else { 0 };
            if bytes + told <= limits.outbound_bytes_max {
                let what = format!("{topic}: {offset} was dropped, and at most {bytes} bytes can have waited");
                return self.broken(Oracle::Overflow, what);
            }
            corners.push(if latest { "the newest of a kind was dropped" } else { "an old one that was dropped" });
        }
        publications.tally.extend(corners);
        Ok(())
    }

    /// Everything came to rest: what did not come was told, and what is to come follows the topics' last publications,
    /// as far as these were heard of: surely if they were audited.
    pub(super) fn rested(&mut self, audited: bool, publications: &Publications) {
        for (topic, log) in publications.logs() {
            let since = self.coverage.sure_since(topic).filter(|_| publications.rules.of(topic).readable);
            let losing = self.may_lose(topic, publications);
            let known = self.topics.entry(topic.to_owned()).or_default();
            known.stream = Stream { floor: log.last, ..Stream::default() };
            if let Some(since) = since.filter(|_| audited || known.base.is_some())
                && known.base.replace(log.last).is_none()
                && !losing
            {
                self.firsts.push((topic.to_owned(), log.last + 1, since));
            }
        }
        (self.was_full, self.rest_step) = (false, publications.step);
        self.exposed = self.held.iter().map(|filter| (filter.clone(), MANY)).collect();
    }
}
