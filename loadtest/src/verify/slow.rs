//! Says whether a subscriber that was too slow was treated as its topic's overflow rule says.
//! The scenario `slow` tells one [`SlowReader`] per slow subscriber of each delivery, gap and end, and asks for the judgement
//! once all has been read. What holds is: offsets grow; a gap stands before whatever is newer than it; nothing that came is
//! told as missed; delivered and missed together are what was published; the newest is never what was dropped.
//! One topic with one publisher, so that a publication's sequence and its offset are the same number.
//! Refuses to know what a `latest` may drop beyond that: how many wait is the broker's affair.

use wirefan::rules::Overflow;

use super::Faults;
use crate::envelope::{Position, Stamp};

/// What is to be true of all slow readers at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// What the rule of the topic says.
    pub(crate) overflow: Overflow,
    /// Publications since the subscriptions began.
    pub(crate) published: u64,
    /// Newest publications that each slow reader has to have: one for each `conflate` key, at least one.
    pub(crate) newest: u64,
}

/// One slow subscriber.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlowReader {
    /// Where its subscription began; none before the ack.
    begin: Option<Position>,
    /// Offset of the last delivery, counted from `begin`.
    last: u64,
    delivered: u64,
    /// The offsets delivered, one bit each, counted from `begin`.
    has: Vec<u64>,
    missed: u64,
    gaps: u64,
    /// Of all gaps the newest position, as an offset counted from `begin`.
    gap_newest: u64,
    /// Newest missed publications as the gaps said, counted from `begin`.
    told: Vec<u64>,
    /// It was closed with 4008.
    refused: bool,
}

impl SlowReader {
    /// Publications delivered.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Publications that it was told to have missed.
    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Gaps that it was told.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Whether it was closed with 4008.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether nothing more is to come once so many were published.
    pub(crate) fn is_done(&self, published: u64) -> bool {
        self.refused || self.last >= published
    }

    /// Its subscription begins after this position.
    pub(crate) fn begins(&mut self, position: Position) {
        self.begin.get_or_insert(position);
    }

    /// It got a publication.
    pub(crate) fn take(&mut self, stamp: Stamp, position: Position, faults: &mut Faults) {
        let Some(offset) = self.offset(position, faults) else { return };
        if stamp.publisher != 0 || u64::from(stamp.sequence) + 1 != offset {
            faults.position_breaks += 1;
            faults.say(|| format!("a slow reader got sequence {} at {position}", stamp.sequence));
            return;
        }
        if offset <= self.last {
            let again = is_set(&self.has, offset);
            *if again { &mut faults.doubled } else { &mut faults.out_of_order } += 1;
            faults.say(|| format!("a slow reader got {position} after offset {}", self.last));
            return;
        }
        if is_set(&self.told, offset) {
            faults.overflow_breaks += 1;
            faults.say(|| format!("a slow reader got {position}, which a gap had told as missed"));
        }
        self.last = offset;
        self.delivered += 1;
        set(&mut self.has, offset);
    }

    /// It was told a gap.
    pub(crate) fn take_gap(&mut self, missed: u64, position: Position, faults: &mut Faults) {
        let Some(offset) = self.offset(position, faults) else { return };
        self.gaps += 1;
        self.missed += missed;
        self.gap_newest = self.gap_newest.max(offset);
        // What is missed lies between the begin and the newest position of a gap, and is nothing that came.
        let late = offset <= self.last;
        let holes = self.gap_newest.saturating_sub(self.delivered);
        if missed == 0 || late || is_set(&self.told, offset) || self.missed > holes {
            faults.overflow_breaks += 1;
            let (delivered, all) = (self.delivered, self.missed);
            faults.say(|| {
                format!(
                    "a slow reader was told {missed} missed up to {position}, {all} in all, with {delivered} delivered"
                )
            });
        }
        set(&mut self.told, offset);
    }

    /// It was closed with 4008.
    pub(crate) fn take_refusal(&mut self) {
        self.refused = true;
    }

    /// The judgement, once it has read all there is.
    pub(crate) fn finish(&self, expected: &Expected, faults: &mut Faults) {
        let Self { last, delivered, missed, .. } = *self;
        let Expected { overflow, published, newest } = *expected;
        if overflow == Overflow::Disconnect {
            if !self.refused {
                faults.overflow_breaks += 1;
                faults.say(|| format!("a slow reader was not closed with 4008 ({delivered} delivered)"));
            }
            // Until then it is a subscriber like any other.
            faults.lost += last - delivered;
            if self.gaps > 0 {
                faults.overflow_breaks += 1;
                faults.say(|| format!("a slow reader that is to be closed was told {} gaps", self.gaps));
            }
            return;
        }
        if delivered + missed != published {
            faults.overflow_breaks += 1;
            faults.say(|| format!("a slow reader got {delivered} and missed {missed} of {published} publications"));
        }
        let absent = (published.saturating_sub(newest) + 1..=published).filter(|&offset| !is_set(&self.has, offset));
        let absent = absent.count() as u64;
        if absent > 0 {
            faults.lost += absent;
            faults.say(|| format!("a slow reader did not get {absent} of the newest {newest}; its last is {last}"));
        }
    }

    /// The position as an offset counted from the begin.
    fn offset(&self, position: Position, faults: &mut Faults) -> Option<u64> {
        let begin = self.begin?;
        let offset = position.offset.checked_sub(begin.offset).filter(|&offset| offset > 0 && offset <= OFFSET_MAX);
        if position.epoch == begin.epoch && offset.is_some() {
            return offset;
        }
        faults.position_breaks += 1;
        faults.say(|| format!("a slow reader whose subscription began at {begin} was told of {position}"));
        None
    }
}

fn is_set(bits: &[u64], at: u64) -> bool {
    bits.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
}

fn set(bits: &mut Vec<u64>, at: u64) {
    let word = (at / 64) as usize;
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << (at % 64);
}

/// The largest offset that is followed: no run publishes more, and a wrong one must not fill memory.
const OFFSET_MAX: u64 = 1 << 32;

#[cfg(test)]
mod tests;
