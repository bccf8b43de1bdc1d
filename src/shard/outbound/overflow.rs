//! What a connection whose socket is full may keep: the overflow rules.
//!
//! A full socket makes its connection *settle*: from then on each range enters its queue by [`Outbound::admit`], which
//! keeps ranges within one topic, copies small parts of large batches, and applies the rule of the topic whose publication
//! no longer fits. What is dropped leaves an empty range behind until the queue is swept; a [`Lost`] per topic counts it,
//! and becomes a `gap` when the front of the queue has come to its place. Invariants: a half-sent frame and what is
//! no publication are never dropped; delivered and missed publications of a topic are all that were pushed.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::{FixedState, RandomState};

use super::{Kind, NONE, OPEN, Outbound, Range, SegmentKey, Segments, Spill};
use crate::home::Run;
use crate::ids::TopicLife;
use crate::protocol::{Position, publication, reply};
use crate::rules::Overflow;
use crate::topic::Topic;
use crate::transport::Form;

/// What a blocked connection lost, by topic.
#[derive(Debug)]
pub(super) struct Losses {
    topics: HashMap<TopicLife, Lost, FixedState>,
    /// Empty ranges in the queue.
    dropped: usize,
    /// About what the records take, in bytes.
    bytes: usize,
    /// No untold loss has a place before this one; when the front of the queue comes to it, it is looked up anew.
    next_place: u64,
}

impl Default for Losses {
    fn default() -> Self {
        Self { topics: HashMap::default(), dropped: 0, bytes: 0, next_place: u64::MAX }
    }
}

/// What it lost of one topic, and for [`Overflow::Latest`] what waits of it.
#[derive(Debug)]
struct Lost {
    name: Box<str>,
    /// Bytes of a publication's object before its offset.
    prefix_len: usize,
    /// Publications that no `gap` has told yet.
    missed: u64,
    /// Offset of the newest of them.
    newest: u64,
    /// The range that this one was in: its `gap` stands before what is left of it, and before all behind it.
    place: u64,
    /// No droppable range of this topic stands before this one.
    cursor: u64,
    /// By key: the range of the one that waits.
    latest: HashMap<Option<Box<str>>, u64, RandomState>,
}

impl Lost {
    fn bytes(&self) -> usize {
        size_of::<(TopicLife, Self)>() + self.name.len()
    }

    /// Counts one unit of the range numbered `seq`.
    fn count(&mut self, form: Form, unit: &[u8], seq: u64) {
        let offset = form.offset_of(unit, self.prefix_len);
        self.missed += 1;
        if offset > self.newest || self.missed == 1 {
            (self.newest, self.place) = (offset, seq);
        }
    }
}

impl Spill {
    /// Index of the first range that has this number or a higher one.
    fn index_of(&self, seq: u64) -> usize {
        self.ranges.partition_point(|range| range.seq < seq)
    }

    /// Empties a range and says which segment it no longer needs.
    fn empty(&mut self, index: usize) -> SegmentKey {
        let range = &mut self.ranges[index];
        let (segment, len) = (range.segment, range.len());
        *range = Range { segment: NONE, start: 0, end: 0, kind: Kind::Dropped, seq: range.seq };
        self.discount(Kind::Publications, len);
        segment
    }
}

impl Outbound {
    /// The socket is full: what came while it was not is made cheap to keep and subject to the rules.
    pub(super) fn settle(&mut self, conn: u32) {
        let first = self.split_half_sent(conn);
        let spill = self.spill(conn);
        if let Some(losses) = &mut spill.losses {
            losses.forget_sent(&spill.ranges);
        }
        let first = first.max(spill.index_of(spill.settled));
        let fresh: Vec<Range> = spill.ranges.drain(first..).collect();
        for range in &fresh {
            spill.discount(range.kind, range.len());
        }
        for range in fresh {
            if range.kind == Kind::Publications {
                self.admit(conn, range.segment, range.start, range.end);
                self.segments.release(range.segment);
            } else {
                self.spill(conn).push(range.kind, range.segment, range.start, range.end);
            }
        }
    }

    /// Gives a frame of which a part was sent a range of its own, and lets go of those before it. How many ranges at the
    /// front are begun.
    fn split_half_sent(&mut self, conn: u32) -> usize {
        let spill = &self.spills[self.hot[conn as usize].segment as usize];
        let (front, sent) = match spill.ranges.front() {
            Some(&front) if spill.sent > 0 => (front, spill.sent),
            _ => return 0,
        };
        if front.kind != Kind::Publications {
            return 1;
        }
        let (start, end) = self.boundaries(conn, front, sent);
        let (begun, left) = (start < end, end < front.end); // at least one of them
        let run = self.segments.run_at(front.segment, front.start);
        let drops = run.is_some_and(|run| run.overflow != Overflow::Disconnect);
        if begun && !drops && (end - front.start - sent) as usize > self.bytes_max {
            self.judge(conn, front.segment, None); // it alone is too long
        }
        let spill = self.spill(conn);
        spill.sent -= start - front.start;
        spill.ranges.pop_front();
        if left {
            spill.ranges.push_front(Range { start: end, ..front });
        }
        if begun {
            // A number of its own, so that it is never taken for what is left of the range.
            spill.ranges.push_front(Range { start, end, kind: Kind::Begun, seq: front.seq - 1, ..front });
        }
        if begun && left {
            self.segments.retain(front.segment);
        }
        if begun {
            self.copy_if_sparse(conn, 0);
        }
        if left && front.seq < self.spill(conn).settled {
            self.copy_if_sparse(conn, usize::from(begun));
        }
        usize::from(begun)
    }

    /// Appends publications to the queue of a blocked connection. The caller holds the segment meanwhile.
    pub(super) fn admit(&mut self, conn: u32, segment: SegmentKey, mut start: u32, end: u32) {
        while start < end {
            let run = self.segments.run_at(segment, start);
            let stop = run.map_or(end, |run| run.frames.end.min(end));
            match run {
                Some(run) if run.overflow == Overflow::Latest => self.admit_latest(conn, segment, start, stop, &run),
                _ => self.append(conn, segment, start, stop, run.as_ref()),
            }
            self.judge(conn, segment, run.as_ref());
            start = stop;
        }
        let hot = &self.hot[conn as usize];
        let losses = &self.spills[hot.segment as usize].losses;
        if hot.flags & OPEN != 0 && losses.as_ref().is_some_and(|losses| losses.bytes > self.bytes_max) {
            self.slow.push(conn);
        }
    }

    /// A range that continues the last one within its topic becomes part of it; a small part of a batch is copied.
    fn append(&mut self, conn: u32, segment: SegmentKey, start: u32, end: u32, run: Option<&Run>) {
        let within = run.is_none_or(|run| run.frames.start < start);
        let sparse = self.segments.is_sparse(segment, (end - start) as usize);
        let spill = self.spill(conn);
        let last = spill.ranges.back_mut().filter(|last| last.kind == Kind::Publications);
        if let Some(last) = last.filter(|last| within && last.segment == segment && last.end == start) {
            last.end = end;
            spill.count(Kind::Publications, (end - start) as usize);
        } else if sparse {
            self.append_copy(conn, segment, start, end, run.map(|run| run.topic));
        } else {
            spill.push(Kind::Publications, segment, start, end);
            self.segments.retain(segment);
        }
    }

    /// The copy stands behind the last one, if that is of the same topic and what the queue ends with.
    fn append_copy(&mut self, conn: u32, segment: SegmentKey, start: u32, end: u32, topic: Option<TopicLife>) {
        let Self { segments, spills, hot, .. } = self;
        let spill = &mut spills[hot[conn as usize].segment as usize];
        let last = spill.ranges.back_mut().filter(|last| last.kind == Kind::Publications);
        if let Some(last) = last.filter(|last| segments.takes_copies_of(last.segment, topic)) {
            last.end = segments.copy_behind(last.segment, segment, start, end);
            spill.count(Kind::Publications, (end - start) as usize);
        } else {
            let copy = segments.copy(segment, start, end, topic);
            spill.push(Kind::Publications, copy, 0, end - start);
        }
    }

    /// Each publication takes the place of the one with its key that waits.
    fn admit_latest(&mut self, conn: u32, segment: SegmentKey, mut start: u32, end: u32, run: &Run) {
        let form = self.form(conn);
        while start < end {
            let len = form.unit_len(&self.segments.bytes(segment)[start as usize..end as usize]);
            let stop = start + u32::try_from(len).expect("a frame lies within its range");
            let sparse = self.segments.is_sparse(segment, len);
            let (own, from) = if sparse {
                (self.segments.copy(segment, start, stop, Some(run.topic)), 0)
            } else {
                self.segments.retain(segment);
                (segment, start)
            };
            let Self { segments, spills, hot, .. } = self;
            let spill = &mut spills[hot[conn as usize].segment as usize];
            let mut losses = spill.losses.take().unwrap_or_default();
            let lost = losses.of(run, segment, segments);
            let key: Option<Box<str>> = segments.conflate_of(segment, start).map(Into::into);
            let seq = spill.push(Kind::Publications, own, from, from + (stop - start));
            let older = lost.latest.insert(key, seq).map(|older| (older, spill.index_of(older)));
            let waits = |&(older, index): &(u64, usize)| {
                spill.ranges.get(index).is_some_and(|range| range.seq == older && range.kind == Kind::Publications)
            };
            if let Some((older, index)) = older.filter(waits) {
                let range = spill.ranges[index];
                lost.count(form, &segments.bytes(range.segment)[range.start as usize..], older);
                let place = lost.place;
                losses.next_place = losses.next_place.min(place);
                segments.release(spill.empty(index));
                losses.dropped += 1;
                self.missed += 1;
            }
            spill.losses = Some(losses);
            start = stop;
        }
        self.sweep_if_hollow(conn);
    }

    /// The queue of a blocked connection has grown: whether it is too long now, and what its topic's rule says then.
    fn judge(&mut self, conn: u32, segment: SegmentKey, run: Option<&Run>) {
        let hot = &self.hot[conn as usize];
        let spill = &self.spills[hot.segment as usize];
        if spill.publications <= self.bytes_max || hot.flags & OPEN == 0 {
            return;
        }
        match run {
            Some(run) if run.overflow != Overflow::Disconnect => self.drop_oldest(conn, segment, run),
            _ => self.slow.push(conn),
        }
    }

    /// Drops the oldest publications of a topic until what waits fits, or nothing of the topic waits.
    fn drop_oldest(&mut self, conn: u32, segment: SegmentKey, run: &Run) {
        let form = self.form(conn);
        let Self { segments, spills, hot, bytes_max, missed, .. } = self;
        let spill = &mut spills[hot[conn as usize].segment as usize];
        let mut losses = spill.losses.take().unwrap_or_default();
        let lost = losses.of(run, segment, segments);
        let mut index = spill.index_of(lost.cursor);
        let mut emptied = 0;
        while spill.publications > *bytes_max
            && let Some(&range) = spill.ranges.get(index)
        {
            lost.cursor = range.seq;
            if range.kind != Kind::Publications || segments.topic_of(range.segment, range.start) != Some(run.topic) {
                index += 1;
                continue;
            }
            let frames = &segments.bytes(range.segment)[range.start as usize..range.end as usize];
            let len = form.unit_len(frames);
            lost.count(form, frames, range.seq);
            *missed += 1;
            if len == frames.len() {
                segments.release(spill.empty(index));
                emptied += 1;
            } else {
                spill.ranges[index].start += u32::try_from(len).expect("a frame lies within its range");
                spill.discount(Kind::Publications, len);
            }
        }
        let place = lost.place;
        losses.next_place = losses.next_place.min(place);
        losses.dropped += emptied;
        spill.losses = Some(losses);
        self.copy_if_sparse(conn, index);
        self.sweep_if_hollow(conn);
    }

    /// What is left of a range of which frames were dropped must not pin its whole batch.
    fn copy_if_sparse(&mut self, conn: u32, index: usize) {
        let Self { segments, spills, hot, .. } = self;
        let spill = &mut spills[hot[conn as usize].segment as usize];
        let own = |range: &&mut Range| matches!(range.kind, Kind::Publications | Kind::Begun);
        let Some(range) = spill.ranges.get_mut(index).filter(own) else { return };
        if segments.is_sparse(range.segment, range.len()) {
            let topic = segments.topic_of(range.segment, range.start);
            let copy = segments.copy(range.segment, range.start, range.end, topic);
            segments.release(range.segment);
            *range = Range { segment: copy, start: 0, end: range.end - range.start, ..*range };
        }
    }

    /// Empty ranges go once they are the larger part of a queue: each is moved over once at most. Not the last one: a
    /// reply that comes next must not join one before it, because the `gap` of what was dropped stands between them.
    fn sweep_if_hollow(&mut self, conn: u32) {
        let spill = self.spill(conn);
        if let Some(losses) = spill.losses.as_mut().filter(|losses| losses.dropped * 2 > spill.ranges.len()) {
            let last = spill.ranges.back().map_or(0, |last| last.seq);
            spill.ranges.retain(|range| range.kind != Kind::Dropped || range.seq == last);
            losses.dropped = usize::from(spill.ranges.back().is_some_and(|last| last.kind == Kind::Dropped));
            losses.forget_gone(&spill.ranges);
        }
    }

    /// Brings to the front of a queue what goes out next: empty ranges go, and where the front stands behind a topic's
    /// newest loss, its `gap` comes first.
    pub(super) fn tell_next(&mut self, conn: u32, form: Form) {
        let Self { segments, spills, hot, owed, gaps, .. } = self;
        let spill = &mut spills[hot[conn as usize].segment as usize];
        let Some(mut losses) = spill.losses.take() else { return };
        while spill.ranges.pop_front_if(|front| front.kind == Kind::Dropped).is_some() {
            losses.dropped -= 1;
            *owed -= 1;
        }
        let front = spill.ranges.front().map_or(u64::MAX, |front| front.seq);
        if spill.sent == 0
            && losses.next_place <= front
            && let Some((topic, lost)) = losses.next_untold().filter(|(_, lost)| lost.place <= front)
        {
            let position = Position { epoch: topic.epoch, offset: lost.newest };
            let missed = std::mem::take(&mut lost.missed);
            *gaps += 1;
            let segment = segments.insert_own();
            let gap = |out: &mut Vec<u8>| reply::gap(out, &lost.name, missed, position);
            let end = segments.write_own(segment, |out| form.reply(out, gap));
            spill.count(Kind::Gap, end as usize);
            let seq = lost.place - 1; // before all that it stands before, and before the place of the next loss
            spill.ranges.push_front(Range { segment, start: 0, end, kind: Kind::Gap, seq });
            *owed += 1;
        }
        if losses.next_place <= front {
            losses.next_place = losses.next_untold().map_or(u64::MAX, |(_, lost)| lost.place);
        }
        spill.losses = Some(losses);
    }
}

impl Losses {
    /// Before this number no `gap` is due.
    pub(super) fn next_place(&self) -> u64 {
        self.next_place
    }

    /// An empty range left the queue.
    pub(super) fn forget_dropped(&mut self) {
        self.dropped -= 1;
    }

    /// The loss that is to be told next.
    fn next_untold(&mut self) -> Option<(TopicLife, &mut Lost)> {
        let untold = self.topics.iter_mut().filter(|(_, lost)| lost.missed > 0).map(|(topic, lost)| (*topic, lost));
        untold.min_by_key(|(topic, lost)| (lost.place, topic.home, topic.key))
    }

    /// The topic's record, made if need be.
    fn of(&mut self, run: &Run, segment: SegmentKey, segments: &Segments) -> &mut Lost {
        self.topics.entry(run.topic).or_insert_with(|| {
            let name = run.name.text(segments.bytes(segment));
            let lost = Lost {
                name: name.into(),
                prefix_len: publication::prefix(Topic::known(name), run.topic.epoch).len(),
                missed: 0,
                newest: 0,
                place: 0,
                cursor: 0,
                latest: HashMap::default(),
            };
            self.bytes += lost.bytes();
            lost
        })
    }

    /// Forgets what was sent meanwhile, if that has become the larger part of what is remembered.
    fn forget_sent(&mut self, ranges: &VecDeque<Range>) {
        if self.topics.values().map(|lost| lost.latest.len()).sum::<usize>() > 2 * ranges.len() + LATEST_SPARE {
            self.forget_gone(ranges);
        }
    }

    /// Forgets what no longer waits, and topics of which nothing is to be told.
    fn forget_gone(&mut self, ranges: &VecDeque<Range>) {
        for lost in self.topics.values_mut() {
            lost.latest.retain(|_, seq| ranges.binary_search_by_key(seq, |range| range.seq).is_ok());
        }
        self.topics.retain(|_, lost| lost.missed > 0 || !lost.latest.is_empty());
        self.bytes = self.topics.values().map(Lost::bytes).sum();
    }
}

/// Keys that are remembered beyond twice what waits.
const LATEST_SPARE: usize = 64;
