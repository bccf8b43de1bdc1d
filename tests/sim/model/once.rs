//! Publications with an idempotency key: what is published once, what is answered like the first, what is new again.
//!
//! When a publication reached its home is only known to lie between the moment when it was sent and the one when somebody
//! heard of it. Only what is certain is judged.

use std::collections::BTreeSet;

use super::publications::{Index, Publications};
use super::rules::tick;
use super::{Broken, Judged, Oracle, broken};

impl Publications {
    /// Takes the position in the ack of a publication: its own, or of one with the same key that came before it.
    pub(super) fn answered(&mut self, index: Index, position: &str) -> Result<u64, Broken> {
        let (topic, key) = (self.all[index].topic.clone(), self.all[index].key.clone());
        let Some(key) = key.filter(|key| self.keyed[&(topic.clone(), key.clone())].len() > 1) else {
            return self.place(index, position);
        };
        let offset = self.offset(&topic, position)?;
        let publication = &mut self.all[index];
        publication.answer = Some(offset);
        if publication.offset.is_some_and(|own| own != offset) {
            let what =
                format!("{topic} {offset}: the answer to what was published under the key {key}: {publication:?}");
            return broken(Oracle::Once, what);
        }
        let log = self.logs.get_mut(&topic).expect("made by `offset`");
        match log.at.get(&offset) {
            Some(&first) => {
                self.is_repeat(index, first, offset)?;
                self.tally.insert("a repeat");
            }
            None => log.claims.entry(offset).or_default().push(index),
        }
        Ok(offset)
    }

    /// Judges a publication whose own offset was just learned.
    pub(super) fn once(&mut self, index: Index, offset: u64) -> Judged {
        let topic = self.all[index].topic.clone();
        for claim in self.logs.get_mut(&topic).and_then(|log| log.claims.remove(&offset)).unwrap_or_default() {
            self.is_repeat(claim, index, offset)?;
        }
        let publication = &self.all[index];
        if publication.answer.is_some_and(|answer| answer != offset) {
            return broken(Oracle::Once, format!("{topic} {offset}: published, although answered: {publication:?}"));
        }
        let Some(key) = &publication.key else { return Ok(()) };
        let (ticks, log) = (self.rules.of(&topic).window, &self.logs[&topic]);
        for &other in &self.keyed[&(topic.clone(), key.clone())] {
            let Some(place) = self.all[other].offset.filter(|place| *place != offset) else { continue };
            let (first, second) = if place < offset { (other, offset) } else { (index, place) };
            let heard_ms = log.heard.range(second..).next().map_or(self.now_ms, |(_, ms)| *ms);
            if tick(self.all[first].ms) + ticks > tick(heard_ms) {
                let what =
                    format!("{topic}: published at {place} and {offset} under one key, {key}, within its window");
                return broken(Oracle::Once, what);
            }
        }
        let again = |it: &&Index| self.all[**it].offset.is_some_and(|place| place != offset);
        if self.keyed[&(topic, key.clone())].iter().any(|it| again(&it)) {
            self.tally.insert("a key after its window");
        }
        Ok(())
    }

    /// That `index` may be answered with the offset of `first`.
    fn is_repeat(&self, index: Index, first: Index, offset: u64) -> Judged {
        let (it, earlier) = (&self.all[index], &self.all[first]);
        if index == first {
            return Ok(());
        }
        let (topic, ticks) = (&it.topic, self.rules.of(&it.topic).window);
        if it.key != earlier.key {
            return broken(Oracle::Once, format!("{topic} {offset}: the answer to another key, {:?}", it.key));
        }
        let log = &self.logs[topic];
        let heard_ms = log.heard.range(offset..).next().map_or(self.now_ms, |(_, ms)| *ms);
        if tick(heard_ms) + ticks <= tick(it.ms) {
            return broken(Oracle::Once, format!("{topic} {offset}: the answer to a key that was forgotten: {it:?}"));
        }
        Ok(())
    }

    /// How many publications those of one key are, at least and at most.
    pub(super) fn count_keyed(&self, all: &[Index], stayed: &BTreeSet<u32>) -> (u64, u64) {
        let all = || all.iter().map(|&index| &self.all[index]);
        let places: BTreeSet<u64> = all().filter_map(|it| it.offset.or(it.answer)).collect();
        let open = all().filter(|it| it.offset.or(it.answer).is_none()).count();
        let sure = all().any(|it| stayed.contains(&it.by));
        (places.len().max(usize::from(sure)) as u64, (places.len() + open) as u64)
    }
}
