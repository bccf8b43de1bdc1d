//! What waits to be written: per connection a queue of byte ranges into segments that many connections share.
//!
//! `deliver` and the replies append, [`Outbound::flush`] writes each connection once per turn. The usual case, one range
//! and an open socket, lives in a 16-byte record of a dense array; anything more moves to a [`Spill`] for as long as it
//! lasts. Invariants: a range begins and ends between frames; the front range may be half sent; a segment lives while a
//! range refers to it; a blocked connection holds at most four times the bytes it waits for (see `overflow`).

mod flush;
mod forms;
mod overflow;
mod places;
mod segments;

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

use crate::chunks::{Chunks, Column};
use crate::home::Piece;
use crate::limits;
pub(super) use flush::Flushed;
pub use flush::{Sent, Wire};
pub(super) use forms::{Share, Shares, shares};
use overflow::Losses;
pub(super) use places::Places;
pub(super) use segments::SegmentKey;
use segments::Segments;

const NONE: u32 = u32::MAX;

/// The connection takes data: it is past its handshake and not closing.
const OPEN: u16 = 1;
/// The socket refused bytes: nothing is tried until it is writable.
const BLOCKED: u16 = 2;
/// Stands in the queue that is flushed whole each turn.
const PROMPT: u16 = 4;
/// Stands in the queue of big fan-outs, flushed a slice per turn.
const BULK: u16 = 8;
/// Was met while a run is delivered to the subscribers of several filters, or is not to get some publication of it.
const MARKED: u16 = 16;
/// Its shard wants to know when everything was written.
const WATCHED: u16 = 32;
/// `segment` is the number of its [`Spill`].
const SPILLED: u16 = 64;

/// From this bit on: the [`Form`](crate::transport::Form) that the connection takes, or `HELD`.
const FORM_SHIFT: u32 = 7;

/// The dense record of one connection.
#[derive(Clone, Copy, Debug)]
struct Hot {
    /// The only range's, or `NONE`; with `SPILLED` the number of its spill.
    segment: SegmentKey,
    start: u32,
    end: u32,
    flags: u16,
}

const _: () = assert!(size_of::<Hot>() == 16, "four of them in a line of the cache");

const EMPTY: Hot = Hot { segment: NONE, start: 0, end: 0, flags: 0 };

impl Default for Hot {
    fn default() -> Self {
        EMPTY
    }
}

impl Hot {
    /// The number of its spill, or `NONE`.
    fn spill(&self) -> u32 {
        if self.flags & SPILLED == 0 { NONE } else { self.segment }
    }

    /// Its only range is another's now, or nobody's.
    fn clear(&mut self) {
        (self.segment, self.start, self.end) = (NONE, 0, 0);
    }
}

/// Bytes `start..end` of a segment, whole frames.
#[derive(Clone, Copy, Debug)]
struct Range {
    segment: SegmentKey,
    start: u32,
    end: u32,
    kind: Kind,
    /// Its place in the queue: they grow, from front to back. What is pushed has an even one.
    seq: u64,
}

/// What a range is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Publications, shared or copied: these count against `outbound_bytes_max`.
    Publications,
    /// A publication that is half sent: it counts like the others and is always completed.
    Begun,
    /// Publications that the overflow rule dropped: empty.
    Dropped,
    /// Tells of dropped ones.
    Gap,
    /// Kept publications that the connection asked for: shared with the history, written as fast as they are read. Until
    /// then its reading pauses, or it could ask for more without end.
    Replay,
    /// Answers to the connection's own commands, and control frames: its reading pauses instead.
    Replies,
    /// Bytes that are no whole frames (HTTP answers): never cut, and nothing but more of them is written behind them.
    Solid,
}

impl Range {
    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl Kind {
    fn is_reply(self) -> bool {
        matches!(self, Self::Replay | Self::Replies | Self::Solid)
    }

    fn is_publications(self) -> bool {
        matches!(self, Self::Publications | Self::Begun)
    }
}

/// The queue of a connection that has more than one range, or a half-sent one.
#[derive(Debug, Default)]
struct Spill {
    ranges: VecDeque<Range>,
    /// Bytes of the front range that were already sent.
    sent: u32,
    /// Sum of the ranges' lengths, less `sent`.
    bytes: usize,
    /// How many of `bytes` the connection asked for by its own commands, or are no frames at all.
    replies: usize,
    /// How many of `bytes` are publications that count against `outbound_bytes_max`.
    publications: usize,
    /// The number of the next range.
    next_seq: u64,
    /// Ranges before this number entered the queue while the socket was full, and are subject to the overflow rules.
    settled: u64,
    /// What the overflow rules dropped and the connection was not told yet.
    losses: Option<Box<Losses>>,
}

impl Spill {
    /// Appends a range and numbers it.
    fn push(&mut self, kind: Kind, segment: SegmentKey, start: u32, end: u32) -> u64 {
        self.next_seq += 2;
        let range = Range { segment, start, end, kind, seq: self.next_seq };
        self.count(kind, range.len());
        self.ranges.push_back(range);
        range.seq
    }

    fn count(&mut self, kind: Kind, len: usize) {
        self.bytes += len;
        self.replies += if kind.is_reply() { len } else { 0 };
        self.publications += if kind.is_publications() { len } else { 0 };
    }

    fn discount(&mut self, kind: Kind, len: usize) {
        self.bytes -= len;
        self.replies -= if kind.is_reply() { len } else { 0 };
        self.publications -= if kind.is_publications() { len } else { 0 };
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Outbound {
    hot: Column<Hot>,
    spills: Chunks<Spill>,
    /// Emptied queues of former spills, so that a reply allocates nothing in the long run.
    spare: Vec<VecDeque<Range>>,
    segments: Segments,
    prompt: VecDeque<u32>,
    bulk: VecDeque<u32>,
    bytes_max: usize,
    /// Ranges in the spills of connections that are not blocked: what this shard, not a peer, is late with.
    owed: usize,
    /// Connections whose pending publications passed `bytes_max`, until taken.
    slow: Vec<u32>,
    /// Publications dropped by overflow rules.
    missed: u64,
    /// Replies that tell of them.
    gaps: u64,
    scratch: Vec<u8>,
    /// Of connections whose events say where they are in several topics.
    places: HashMap<u32, Places, FixedState>,
}

impl Outbound {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            hot: Column::default(),
            spills: Chunks::default(),
            spare: Vec::new(),
            segments: Segments::default(),
            prompt: VecDeque::new(),
            bulk: VecDeque::new(),
            bytes_max,
            owed: 0,
            slow: Vec::new(),
            missed: 0,
            gaps: 0,
            scratch: Vec::new(),
            places: HashMap::default(),
        }
    }

    /// A new connection: takes replies, no publications yet.
    pub(super) fn add(&mut self, conn: u32) {
        self.hot.reach(conn as usize);
        self.hot[conn as usize] = EMPTY;
    }

    /// There is no connection from this slot on.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.hot.shrink_to(slots);
        self.prompt.shrink_to(slots);
        self.bulk.shrink_to(slots);
    }

    /// From here on (or no longer) the connection takes publications.
    pub(super) fn open(&mut self, conn: u32, open: bool) {
        let flags = &mut self.hot[conn as usize].flags;
        *flags = if open { *flags | OPEN } else { *flags & !OPEN };
    }

    /// The connection is gone and what it waited for with it.
    pub(super) fn remove(&mut self, conn: u32) {
        self.drop_ranges(conn);
        self.places.remove(&conn);
        self.hot[conn as usize] = EMPTY;
    }

    /// From here on (or no longer) a flush says when everything was written.
    pub(super) fn watch(&mut self, conn: u32, watched: bool) {
        let flags = &mut self.hot[conn as usize].flags;
        *flags = if watched { *flags | WATCHED } else { *flags & !WATCHED };
    }

    /// Whether a flush says when everything was written.
    pub(super) fn is_watched(&self, conn: u32) -> bool {
        self.hot[conn as usize].flags & WATCHED != 0
    }

    /// Bytes that wait for this connection.
    pub(super) fn pending(&self, conn: u32) -> usize {
        let hot = &self.hot[conn as usize];
        match hot.spill() {
            NONE => (hot.end - hot.start) as usize,
            spill => self.spills[spill as usize].bytes,
        }
    }

    /// Bytes of answers to its own commands, replays among them, that wait for this connection.
    pub(super) fn pending_replies(&self, conn: u32) -> usize {
        match self.hot[conn as usize].spill() {
            NONE => 0,
            spill => self.spills[spill as usize].replies,
        }
    }

    /// Whether the socket took all that it was offered so far.
    pub(super) fn is_blocked(&self, conn: u32) -> bool {
        self.hot[conn as usize].flags & BLOCKED != 0
    }

    /// Marks a connection while a run is delivered. False if it was marked already.
    pub(super) fn mark(&mut self, conn: u32) -> bool {
        let flags = &mut self.hot[conn as usize].flags;
        let fresh = *flags & MARKED == 0;
        *flags |= MARKED;
        fresh
    }

    /// Takes the mark away. True if there was one.
    pub(super) fn unmark(&mut self, conn: u32) -> bool {
        let flags = &mut self.hot[conn as usize].flags;
        let marked = *flags & MARKED != 0;
        *flags &= !MARKED;
        marked
    }

    /// Appends the share of the connection's form. `bulk` says in which queue the connection waits. What a blocked
    /// connection may keep of it is the matter of `overflow`.
    #[inline]
    pub(super) fn push_shared(&mut self, conn: u32, shares: &Shares, bulk: bool) {
        self.push_share(conn, self.share_of(conn, shares), bulk);
    }

    /// The share of the connection's form.
    #[inline]
    pub(super) fn share_of(&self, conn: u32, shares: &Shares) -> Share {
        shares[usize::from(self.hot[conn as usize].flags >> FORM_SHIFT)]
    }

    /// Appends the share of its form to each of them: the local half of a fan-out, which touches a hot record per
    /// connection and nothing else. References are counted together at the end.
    pub(super) fn push_to_all(&mut self, conns: impl Iterator<Item = u32>, shares: &Shares, bulk: bool) {
        let mut taken = [0u32; 4];
        let queued = if bulk { PROMPT | BULK } else { PROMPT };
        for conn in conns {
            let hot = &mut self.hot[conn as usize];
            let form = usize::from(hot.flags >> FORM_SHIFT) & 3;
            let share = shares[form];
            if hot.flags & (OPEN | BLOCKED | SPILLED) != OPEN || hot.segment != NONE || share.start == share.end {
                self.push_share(conn, share, bulk);
                continue;
            }
            (hot.segment, hot.start, hot.end) = (share.segment, share.start, share.end);
            taken[form] += 1;
            if hot.flags & queued == 0 {
                let (flag, queue) = if bulk { (BULK, &mut self.bulk) } else { (PROMPT, &mut self.prompt) };
                hot.flags |= flag;
                queue.push_back(conn);
            }
        }
        for (share, taken) in shares.iter().zip(taken).filter(|&(_, taken)| taken > 0) {
            self.segments.retain_times(share.segment, taken);
        }
    }

    /// Appends a share of a batch. One that continues the last range becomes part of it.
    #[inline]
    pub(super) fn push_share(&mut self, conn: u32, Share { segment, start, end }: Share, bulk: bool) {
        let hot = &mut self.hot[conn as usize];
        if hot.flags & OPEN == 0 || start == end {
            return;
        }
        let spilled = hot.flags & SPILLED != 0;
        if !spilled && hot.segment == NONE && hot.flags & BLOCKED == 0 {
            (hot.segment, hot.start, hot.end) = (segment, start, end);
            self.segments.retain(segment);
            self.enqueue(conn, bulk);
        } else if !spilled && hot.segment == segment && hot.end == start {
            hot.end = end;
        } else {
            self.push_spilled(conn, segment, start, end, bulk);
        }
    }

    fn push_spilled(&mut self, conn: u32, segment: SegmentKey, start: u32, end: u32, bulk: bool) {
        if self.is_blocked(conn) {
            self.spill(conn); // a held connection may have none yet
            self.admit(conn, segment, start, end);
            return self.enqueue_held(conn);
        }
        let spill = self.spill(conn);
        let last = spill.ranges.back_mut().filter(|last| last.kind == Kind::Publications);
        if let Some(last) =
            last.filter(|last| last.segment == segment && last.end == start && last.seq >= spill.settled)
        {
            last.end = end;
            spill.count(Kind::Publications, (end - start) as usize);
        } else {
            spill.push(Kind::Publications, segment, start, end);
            self.owed += 1;
            self.segments.retain(segment);
        }
        self.enqueue(conn, bulk);
    }

    /// Appends `start..end` of a kept chunk, which does not count against the limit: the reader sets the pace.
    pub(super) fn push_replay(&mut self, conn: u32, segment: SegmentKey, start: u32, end: u32) {
        self.segments.retain(segment);
        self.spill(conn).push(Kind::Replay, segment, start, end);
        self.owed += usize::from(!self.is_blocked(conn));
        if !self.is_blocked(conn) {
            self.enqueue(conn, true);
        }
    }

    /// The same for a piece of a history.
    pub(super) fn push_piece(&mut self, conn: u32, Piece { chunk, frames }: Piece) {
        let segment = self.segments.insert_batch(chunk);
        self.push_replay(conn, segment, frames.start, frames.end);
        self.segments.release(segment);
    }

    /// Appends the connection's own bytes: replies, control frames. `write` appends whole frames.
    pub(super) fn push_reply(&mut self, conn: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_own(conn, Kind::Replies, write);
    }

    /// Appends bytes that are no frames: an HTTP answer.
    pub(super) fn push_solid(&mut self, conn: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_own(conn, Kind::Solid, write);
    }

    fn push_own(&mut self, conn: u32, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        let hot = &self.hot[conn as usize];
        let spill = self.spills.get(hot.spill() as usize); // none for NONE
        let tail = spill.and_then(|spill| spill.ranges.back()).copied();
        let tail = tail.filter(|last| last.kind == kind && self.segments.grows(last.segment, last.end));
        let (segment, start) = match tail {
            Some(last) => (last.segment, last.end),
            None => (self.segments.insert_own(), 0),
        };
        let end = self.segments.write_own(segment, write);
        let spill = self.spill(conn);
        match spill.ranges.back_mut() {
            Some(last) if tail.is_some() => {
                last.end = end;
                spill.count(kind, (end - start) as usize);
            }
            _ => {
                spill.push(kind, segment, start, end);
                self.owed += usize::from(!self.is_blocked(conn));
            }
        }
        if !self.is_blocked(conn) {
            self.enqueue(conn, false);
        }
    }

    /// Appends a frame of the connection's own: bytes `frame` of a buffer, which is taken as it is.
    pub(super) fn push_moved(&mut self, conn: u32, buffer: Vec<u8>, frame: std::ops::Range<usize>) {
        let segment = self.segments.insert_moved(buffer);
        let [start, end] = [frame.start, frame.end].map(|at| u32::try_from(at).expect("messages are far below 4 GiB"));
        self.spill(conn).push(Kind::Replies, segment, start, end);
        if !self.is_blocked(conn) {
            self.owed += 1;
            self.enqueue(conn, false);
        }
    }

    /// The connection's spill; what the hot record held moves into it.
    fn spill(&mut self, conn: u32) -> &mut Spill {
        let hot = &mut self.hot[conn as usize];
        if hot.flags & SPILLED == 0 {
            let (ranges, next_seq) = (self.spare.pop().unwrap_or_default(), Self::first_seq(hot));
            let mut spill = Spill { ranges, next_seq, ..Spill::default() };
            if hot.segment != NONE {
                let Hot { segment, start, end, .. } = *hot;
                spill.push(Kind::Publications, segment, start, end);
                self.owed += usize::from(hot.flags & BLOCKED == 0);
                hot.clear();
            }
            hot.segment = self.spills.insert(spill);
            hot.flags |= SPILLED;
        }
        &mut self.spills[hot.segment as usize]
    }

    fn enqueue(&mut self, conn: u32, bulk: bool) {
        let flags = &mut self.hot[conn as usize].flags;
        if bulk && *flags & (PROMPT | BULK) == 0 {
            *flags |= BULK;
            self.bulk.push_back(conn);
        } else if !bulk && *flags & PROMPT == 0 {
            *flags |= PROMPT;
            self.prompt.push_back(conn);
        }
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self, conn: u32) {
        if self.is_blocked(conn) && !self.is_held(conn) {
            let hot = &mut self.hot[conn as usize];
            hot.flags &= !BLOCKED;
            if let Some(spill) = self.spills.find_mut(hot.spill() as usize) {
                spill.settled = spill.next_seq + 1;
                self.owed += spill.ranges.len();
            }
            self.enqueue(conn, false);
        }
    }

    /// Ranges that wait for connections whose sockets would take them.
    pub(super) fn owed(&self) -> usize {
        self.owed
    }

    /// Whether this shard is so late with its writes that it should take nothing in before it has caught up.
    pub(super) fn is_late(&self) -> bool {
        self.owed > limits::RANGES_OWED_MAX
    }

    /// The next connection whose pending bytes passed the limit.
    pub(super) fn take_slow(&mut self) -> Option<u32> {
        self.slow.pop()
    }

    /// Drops all that waits, but completes the frame that is half sent. Nothing is taken after it but own bytes.
    pub(super) fn cut(&mut self, conn: u32) {
        self.open(conn, false);
        let Some(spill) = self.spills.get(self.hot[conn as usize].spill() as usize) else {
            return self.drop_ranges(conn);
        };
        let Some(&front) = spill.ranges.front().filter(|front| spill.sent > 0 || front.kind == Kind::Solid) else {
            return self.drop_ranges(conn);
        };
        let solid = front.kind == Kind::Solid;
        let end = if solid { front.end } else { self.boundaries(conn, front, spill.sent).1 };
        let spill = &mut self.spills[self.hot[conn as usize].segment as usize];
        // Solid: what follows must not be written behind the cut into the same segment.
        let kept = Range { end, kind: Kind::Solid, ..front };
        let rest = kept.len() - spill.sent as usize;
        spill.ranges[0] = kept;
        (spill.bytes, spill.replies, spill.publications) = (rest, rest, 0);
        spill.losses = None;
        let dropped: Vec<Range> = spill.ranges.drain(1..).filter(|range| range.kind != Kind::Dropped).collect();
        self.owed -= if self.is_blocked(conn) { 0 } else { dropped.len() };
        for range in dropped {
            self.segments.release(range.segment);
        }
        if rest == 0 {
            self.drop_ranges(conn); // the frame just happened to be complete
        }
    }

    /// The ends of units next to byte `sent` of a range: the last one not behind it, the first one not before it.
    fn boundaries(&self, conn: u32, range: Range, sent: u32) -> (u32, u32) {
        let (form, bytes, at) = (self.form(conn), self.segments.bytes(range.segment), range.start + sent);
        let (mut before, mut behind) = (range.start, range.start);
        while behind < at {
            before = behind;
            let unit = form.unit_len(&bytes[behind as usize..range.end as usize]);
            behind += u32::try_from(unit).expect("a unit lies within its range");
        }
        (if behind == at { at } else { before }, behind)
    }

    fn drop_ranges(&mut self, conn: u32) {
        let hot = &mut self.hot[conn as usize];
        if hot.flags & SPILLED == 0 {
            if hot.segment != NONE {
                self.segments.release(hot.segment);
                hot.clear();
            }
        } else {
            let mut ranges = self.spills.remove(hot.segment as usize).ranges;
            hot.flags &= !SPILLED;
            hot.clear();
            self.owed -= if hot.flags & BLOCKED == 0 { ranges.len() } else { 0 };
            for range in ranges.drain(..).filter(|range| range.kind != Kind::Dropped) {
                self.segments.release(range.segment);
            }
            if self.spare.len() < limits::SPARES_MAX && ranges.capacity() <= limits::PIECES_PER_WRITE {
                self.spare.push(ranges);
            }
        }
    }

    /// Publications that overflow rules dropped since the shard began.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Replies that told of such.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// How many connections have a queue, and how many bytes wait in all of them. Beyond `QUEUES_LOOKED_AT` queues, the
    /// bytes are those of so many, and as much again for each of the others.
    pub(super) fn queues(&self) -> (u64, u64) {
        let (queues, most) = (self.spills.len() as u64, limits::QUEUES_LOOKED_AT as u64);
        let bytes: u64 = self.spills.iter().take(limits::QUEUES_LOOKED_AT).map(|(_, spill)| spill.bytes as u64).sum();
        (queues, if queues > most { bytes / most * queues } else { bytes })
    }

    /// Segments and spills alive, for the proof that nothing is left behind.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.segments.len(), self.spills.len())
    }

    pub(super) fn segments(&mut self) -> &mut Segments {
        &mut self.segments
    }
}

/// Fewest subscribers that make a fan-out a bulk one.
pub(super) fn is_bulk(subscribers: usize) -> bool {
    subscribers > limits::FANOUT_SLICE
}

#[cfg(test)]
mod tests;
