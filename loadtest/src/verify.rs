//! Says whether each subscriber got every publication of its topic once and in order.
//! A client thread asks `Checker::delivered` for each delivery of its subscribers; `finish` counts what never came.
//! Two independent chains are followed: the publisher's own sequence per topic (was it lost, doubled, out of order?) and the
//! broker's position (offsets without a hole, one epoch). A delivery is fresh exactly once.
//! Refuses to hold more than `MISSING_MAX` missing publications: beyond that a late one counts as lost and as doubled.

mod slow;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::envelope::{Position, Stamp};

pub(crate) use slow::{Expected, SlowReader};

/// Missing publications that are remembered, in case they come late.
const MISSING_MAX: usize = 1_000_000;
/// Sentences kept for the report.
const SENTENCES_MAX: usize = 8;

/// What went wrong, counted per delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Publications that a subscriber never got.
    pub(crate) lost: u64,
    /// Publications that a subscriber got again.
    pub(crate) doubled: u64,
    /// Publications that came after a later one of the same publisher and topic.
    pub(crate) out_of_order: u64,
    /// Publications of a topic that the connection did not subscribe to.
    pub(crate) misdelivered: u64,
    /// Messages whose bytes are not the published ones.
    pub(crate) mangled: u64,
    /// Positions that are not the successor of the one before.
    pub(crate) position_breaks: u64,
    /// Subscribers that got as many publications of a topic as others, in another order.
    pub(crate) disordered: u64,
    /// `error` replies.
    pub(crate) errors: u64,
    /// Messages that no load test asks for.
    pub(crate) unexpected: u64,
    /// Connections that ended before the run did.
    pub(crate) closed: u64,
    /// Subscribers that came back and were not told that everything since follows.
    pub(crate) not_recovered: u64,
    /// Slow readers whose gaps do not add up with what they got, or that were not treated as the topic's rule says.
    pub(crate) overflow_breaks: u64,
    /// The first few faults in words.
    pub(crate) sentences: Vec<String>,
}

impl Faults {
    /// Keeps a sentence if there is room.
    pub(crate) fn say(&mut self, sentence: impl FnOnce() -> String) {
        if self.sentences.len() < SENTENCES_MAX {
            self.sentences.push(sentence());
        }
    }

    /// Adds another thread's faults.
    pub(crate) fn merge(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.out_of_order += other.out_of_order;
        self.misdelivered += other.misdelivered;
        self.mangled += other.mangled;
        self.position_breaks += other.position_breaks;
        self.disordered += other.disordered;
        self.errors += other.errors;
        self.unexpected += other.unexpected;
        self.closed += other.closed;
        self.not_recovered += other.not_recovered;
        self.overflow_breaks += other.overflow_breaks;
        for sentence in other.sentences {
            self.say(|| sentence);
        }
    }

    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.lost
            + self.doubled
            + self.out_of_order
            + self.misdelivered
            + self.mangled
            + self.position_breaks
            + self.disordered
            + self.errors
            + self.unexpected
            + self.closed
            + self.not_recovered
            + self.overflow_breaks
    }
}

/// What a subscriber got of its topic, in short: two that got the same in the same order agree in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Fresh deliveries.
    pub(crate) count: u64,
    /// A digest of their order.
    pub(crate) digest: u64,
}

/// Follows the sequences of one thread's subscribers, each of one topic.
pub(crate) struct Checker {
    /// Where a subscriber's sequences begin in `next`, and the end.
    first: Vec<usize>,
    /// The next sequence expected, of each publisher of each subscriber's topic.
    next: Vec<u32>,
    heard: Vec<Heard>,
    /// The last position of each subscriber.
    last: Vec<Option<Position>>,
    /// (subscriber, publisher, sequence) skipped so far.
    missing: HashSet<(u32, u16, u32)>,
    /// What was found.
    pub(crate) faults: Faults,
}

impl Checker {
    /// Without subscribers; they come by [`Checker::add`].
    pub(crate) fn new() -> Self {
        Self {
            first: vec![0],
            next: Vec::new(),
            heard: Vec::new(),
            last: Vec::new(),
            missing: HashSet::new(),
            faults: Faults::default(),
        }
    }

    /// One more subscriber of a topic with so many publishers; answers its number, 0 first.
    pub(crate) fn add(&mut self, publishers: usize) -> usize {
        self.last.push(None);
        self.heard.push(Heard::default());
        self.next.resize(self.next.len() + publishers, 0);
        self.first.push(self.next.len());
        self.last.len() - 1
    }

    /// What a subscriber got.
    pub(crate) fn heard(&self, subscriber: usize) -> Heard {
        self.heard[subscriber]
    }

    /// How many were added.
    pub(crate) fn subscribers(&self) -> usize {
        self.last.len()
    }

    /// The last position of a subscriber, if it has one.
    pub(crate) fn last(&self, subscriber: usize) -> Option<Position> {
        self.last[subscriber]
    }

    /// A subscriber that has no position yet was told where live begins: its first delivery is the one after.
    pub(crate) fn begins(&mut self, subscriber: usize, position: Position) {
        self.last[subscriber].get_or_insert(position);
    }

    /// Judges one delivery. True when this subscriber did not have this publication before.
    pub(crate) fn delivered(&mut self, subscriber: usize, stamp: Stamp, position: Position) -> bool {
        let Some(at) = self.sequence_of(subscriber, stamp) else {
            return false;
        };
        self.follow_position(subscriber, position);
        let fresh = self.follow_sequence(subscriber, at, stamp);
        if fresh {
            let heard = &mut self.heard[subscriber];
            let which = u64::from(stamp.publisher) << 32 | u64::from(stamp.sequence);
            heard.count += 1;
            heard.digest = (heard.digest.rotate_left(5) ^ which).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        fresh
    }

    /// [`Checker::delivered`] by a broker that gives no positions, and so promises no order over all publishers: the publisher's
    /// sequence alone is followed.
    pub(crate) fn delivered_without_position(&mut self, subscriber: usize, stamp: Stamp) -> bool {
        let at = self.sequence_of(subscriber, stamp);
        at.is_some_and(|at| self.follow_sequence(subscriber, at, stamp))
    }

    /// Where in `next` the sequence of this publisher is; nowhere if the subscriber's topic has none of that number.
    fn sequence_of(&mut self, subscriber: usize, stamp: Stamp) -> Option<usize> {
        let publisher = usize::from(stamp.publisher);
        let at = self.first[subscriber] + publisher;
        if at >= self.first[subscriber + 1] {
            self.faults.mangled += 1;
            self.faults.say(|| format!("publisher {publisher} does not exist"));
            return None;
        }
        Some(at)
    }

    fn follow_sequence(&mut self, subscriber: usize, at: usize, stamp: Stamp) -> bool {
        let next = &mut self.next[at];
        if stamp.sequence != *next {
            return self.out_of_step(subscriber, at, stamp);
        }
        *next += 1;
        true
    }

    /// RFC-less law of the protocol: offsets count 1, 2, 3 … without holes, in one epoch.
    fn follow_position(&mut self, subscriber: usize, position: Position) {
        let last = self.last[subscriber].replace(position);
        let Some(last) = last else { return };
        if position.epoch != last.epoch || position.offset != last.offset + 1 {
            self.faults.position_breaks += 1;
            self.faults.say(|| format!("subscriber {subscriber}: position {position} came after {last}"));
        }
    }

    #[cold]
    fn out_of_step(&mut self, subscriber: usize, at: usize, stamp: Stamp) -> bool {
        let Stamp { publisher, sequence, .. } = stamp;
        let next = &mut self.next[at];
        let name = subscriber as u32;
        if sequence < *next {
            let late = self.missing.remove(&(name, publisher, sequence));
            let (count, word) =
                if late { (&mut self.faults.out_of_order, "late") } else { (&mut self.faults.doubled, "again") };
            *count += 1;
            self.faults
                .say(|| format!("subscriber {subscriber}: sequence {sequence} of publisher {publisher} came {word}"));
            return late;
        }
        let skipped = *next..sequence;
        *next = sequence + 1;
        self.faults.say(|| {
            format!("subscriber {subscriber}: publisher {publisher} skipped from {} to {sequence}", skipped.start)
        });
        for sequence in skipped {
            if self.missing.len() < MISSING_MAX {
                self.missing.insert((name, publisher, sequence));
            } else {
                self.faults.lost += 1;
            }
        }
        true
    }

    /// Counts what never came. `published(subscriber, publisher)` is how many that publisher sent to that subscriber's topic.
    pub(crate) fn finish(mut self, published: impl Fn(usize, usize) -> u32) -> Faults {
        self.faults.lost += self.missing.len() as u64;
        for subscriber in 0..self.last.len() {
            for (publisher, at) in (self.first[subscriber]..self.first[subscriber + 1]).enumerate() {
                let seen = self.next[at];
                let sent = published(subscriber, publisher);
                if seen < sent {
                    self.faults.lost += u64::from(sent - seen);
                    self.faults.say(|| {
                        format!("subscriber {subscriber}: the last {} of publisher {publisher} never came", sent - seen)
                    });
                }
            }
        }
        self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two subscribers of one topic, one publisher, `offsets` delivered to subscriber 1, all ten to subscriber 0.
    fn run(sequences: &[u32], offsets: &[u64]) -> (Vec<bool>, Faults) {
        let mut checker = Checker::new();
        checker.add(1);
        checker.add(1);
        for n in 0..10 {
            assert!(checker.delivered(0, stamp(n), position(u64::from(n) + 1)));
        }
        let fresh = sequences.iter().zip(offsets).map(|(s, o)| checker.delivered(1, stamp(*s), position(*o))).collect();
        (fresh, checker.finish(|_, _| 10))
    }

    fn stamp(sequence: u32) -> Stamp {
        Stamp { publisher: 0, sequence, publication: sequence, intended_ns: 0 }
    }

    fn position(offset: u64) -> Position {
        Position { epoch: 7, offset }
    }

    #[test]
    fn ten_in_order_are_without_fault() {
        let (fresh, faults) = run(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(fresh.iter().all(|f| *f));
        assert_eq!(faults, Faults::default());
    }

    #[test]
    fn a_hole_in_the_middle_is_lost_and_breaks_the_positions() {
        let (_, faults) = run(&[0, 1, 2, 5, 6, 7, 8, 9], &[1, 2, 3, 6, 7, 8, 9, 10]);
        assert_eq!((faults.lost, faults.position_breaks, faults.total()), (2, 1, 3));
    }

    #[test]
    fn a_missing_tail_is_lost() {
        let (_, faults) = run(&[0, 1, 2, 3], &[1, 2, 3, 4]);
        assert_eq!((faults.lost, faults.total()), (6, 6));
    }

    #[test]
    fn nothing_at_all_is_ten_lost() {
        let (_, faults) = run(&[], &[]);
        assert_eq!((faults.lost, faults.total()), (10, 10));
    }

    #[test]
    fn the_same_again_is_doubled_and_not_fresh() {
        let (fresh, faults) = run(&[0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(!fresh[2]);
        assert_eq!((faults.doubled, faults.position_breaks, faults.lost), (1, 1, 0));
    }

    #[test]
    fn two_swapped_are_out_of_order_but_not_lost() {
        let (fresh, faults) = run(&[0, 1, 3, 2, 4, 5, 6, 7, 8, 9], &[1, 2, 4, 3, 5, 6, 7, 8, 9, 10]);
        assert!(fresh.iter().all(|f| *f));
        assert_eq!((faults.out_of_order, faults.lost, faults.doubled), (1, 0, 0));
        assert!(faults.position_breaks > 0);
    }

    #[test]
    fn swapped_publications_with_fresh_positions_are_still_out_of_order() {
        let (_, faults) = run(&[0, 1, 3, 2, 4, 5, 6, 7, 8, 9], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!((faults.out_of_order, faults.position_breaks, faults.total()), (1, 0, 1));
    }

    #[test]
    fn a_second_epoch_breaks_the_positions() {
        let mut checker = Checker::new();
        checker.add(1);
        checker.delivered(0, stamp(0), position(1));
        checker.delivered(0, stamp(1), Position { epoch: 8, offset: 2 });
        let faults = checker.finish(|_, _| 2);
        assert_eq!((faults.position_breaks, faults.total()), (1, 1));
    }

    #[test]
    fn publishers_are_followed_apart_and_an_unknown_one_is_mangled() {
        let mut checker = Checker::new();
        checker.add(2);
        for (publisher, sequence, offset) in [(0, 0, 1), (1, 0, 2), (1, 1, 3), (0, 1, 4)] {
            let stamp = Stamp { publisher, ..stamp(sequence) };
            assert!(checker.delivered(0, stamp, position(offset)));
        }
        assert!(!checker.delivered(0, Stamp { publisher: 2, ..stamp(0) }, position(5)));
        let faults = checker.finish(|_, _| 2);
        assert_eq!((faults.mangled, faults.total()), (1, 1));
    }

    #[test]
    fn the_same_in_another_order_is_another_digest() {
        let mut checker = Checker::new();
        let order = [[(0, 0), (1, 0), (1, 1)], [(0, 0), (1, 0), (1, 1)], [(1, 0), (0, 0), (1, 1)]];
        for events in order {
            let subscriber = checker.add(2);
            for (offset, (publisher, sequence)) in events.into_iter().enumerate() {
                let stamp = Stamp { publisher, ..stamp(sequence) };
                assert!(checker.delivered(subscriber, stamp, position(offset as u64 + 1)));
            }
        }
        assert_eq!(checker.heard(0), checker.heard(1));
        assert_eq!(checker.heard(2).count, 3);
        assert_ne!(checker.heard(0), checker.heard(2));
        assert_eq!(checker.finish(|_, _| 2).lost, 3, "each lacks the second of publisher 0");
    }

    #[test]
    fn merged_faults_add_up_and_keep_few_sentences() {
        let mut all = Faults::default();
        for n in 0..20 {
            let mut one = Faults { lost: 1, closed: 2, ..Faults::default() };
            one.say(|| n.to_string());
            all.merge(one);
        }
        assert_eq!((all.lost, all.closed, all.total()), (20, 40, 60));
        assert_eq!(all.sentences.len(), SENTENCES_MAX);
    }
}
