//! What the connections of one queue differ in: the form that they take, and whether they are held back.
//!
//! A stream of events is not all shared: what a history kept are frames, and a stream of several topics says in each event
//! where it is in all of them. Both are put right at the front of the queue, some events at a time, when they are about to
//! be written ([`Outbound::finish_front`]). A *held* connection takes everything and writes nothing, until it is let go
//! (an event stream whose homes have all answered) or what it holds is taken out (a poll).

use super::places::Places;
use super::{BLOCKED, FORM_SHIFT, Hot, Kind, NONE, OPEN, Outbound, Range, SegmentKey};
use crate::home::Piece;
use crate::limits;
use crate::transport::{Form, events};

/// In the place of the form: takes events, and holds them.
pub(super) const HELD: u16 = 3 << FORM_SHIFT;
pub(super) const FORM_MASK: u16 = 3 << FORM_SHIFT;

/// Part of a batch for the connections of one form; nothing if there is none.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct Share {
    pub(in crate::shard) segment: SegmentKey,
    pub(in crate::shard) start: u32,
    pub(in crate::shard) end: u32,
}

impl Share {
    pub(in crate::shard) const NOTHING: Self = Self { segment: NONE, start: 0, end: 0 };
}

/// By form, as it stands in the flags.
pub(in crate::shard) type Shares = [Share; 4];

/// The shares of a run.
pub(in crate::shard) fn shares(of: impl Fn(Form) -> Share) -> Shares {
    let events = of(Form::Events);
    [of(Form::Frames), events, of(Form::Deflated), events]
}

impl Outbound {
    /// The form that the connection takes.
    pub(in crate::shard) fn form(&self, conn: u32) -> Form {
        match self.hot[conn as usize].flags >> FORM_SHIFT {
            0 => Form::Frames,
            2 => Form::Deflated,
            _ => Form::Events,
        }
    }

    /// From here on a connection for which nothing waits takes that form.
    pub(in crate::shard) fn take_form(&mut self, conn: u32, form: Form) {
        let flags = &mut self.hot[conn as usize].flags;
        *flags = *flags & !FORM_MASK | u16::from(form as u8) << FORM_SHIFT;
    }

    /// The number that the ranges of a new queue begin at.
    pub(super) fn first_seq(hot: &Hot) -> u64 {
        if hot.flags & FORM_MASK == HELD { HELD_SEQ } else { 0 }
    }

    /// Whether everything waits for [`Outbound::begin_stream`] or [`Outbound::take_held`].
    pub(in crate::shard) fn is_held(&self, conn: u32) -> bool {
        self.hot[conn as usize].flags & FORM_MASK == HELD
    }

    /// From here on a connection for which nothing waits takes events and holds them. A flush says when something came.
    pub(in crate::shard) fn hold(&mut self, conn: u32) {
        // A poll may wait for long: its queue is made when something comes.
        if let Some(spill) = self.spills.find_mut(self.hot[conn as usize].spill() as usize) {
            spill.next_seq = HELD_SEQ;
        }
        self.hot[conn as usize].flags |= OPEN | BLOCKED | HELD;
    }

    pub(super) fn enqueue_held(&mut self, conn: u32) {
        if self.is_held(conn) {
            self.enqueue(conn, false);
        }
    }

    /// Writes what was held, behind the bytes of `write` and a replay; and everything else from here on. A stream of several
    /// topics has `places`.
    pub(in crate::shard) fn begin_stream(
        &mut self,
        conn: u32,
        write: impl FnOnce(&mut Vec<u8>),
        replay: impl Iterator<Item = Piece>,
        places: Option<Places>,
    ) {
        self.spill(conn); // while it is held: this numbers what it holds
        self.let_go(conn, Form::Events);
        let spill = self.spill(conn);
        let (held, next_seq) = (std::mem::take(&mut spill.ranges), std::mem::take(&mut spill.next_seq));
        self.owed -= held.len();
        self.push_solid(conn, write);
        replay.for_each(|piece| self.push_piece(conn, piece));
        let spill = self.spill(conn);
        spill.ranges.extend(held.iter().copied());
        spill.next_seq = next_seq;
        self.owed += held.len();
        self.places.extend(places.map(|places| (conn, places)));
    }

    /// Takes out what was held, unit by unit, as long as `take` wants more; the rest is dropped. The connection takes no
    /// more publications.
    pub(in crate::shard) fn take_held(&mut self, conn: u32, mut take: impl FnMut(&[u8]) -> bool) {
        self.spill(conn);
        self.let_go(conn, Form::Frames);
        self.open(conn, false);
        let mut more = true;
        while more {
            self.tell_next(conn, Form::Events);
            let spill = &self.spills[self.hot[conn as usize].segment as usize];
            let Some(&front) = spill.ranges.front() else { break };
            let mut bytes = &self.segments.bytes(front.segment)[front.start as usize..front.end as usize];
            while more && !bytes.is_empty() {
                let (unit, rest) = bytes.split_at(Form::Events.unit_len(bytes));
                more = take(unit);
                bytes = rest;
            }
            self.consume(conn, front.len());
        }
        self.drop_ranges(conn);
    }

    /// The connection is held no longer, and takes that form.
    fn let_go(&mut self, conn: u32, form: Form) {
        self.take_form(conn, form);
        self.unblock(conn);
    }

    /// Which ranges of the connection are not yet as they are written.
    pub(super) fn unfinished(&self, conn: u32) -> impl Fn(&Range) -> bool + use<> {
        let events = self.form(conn) == Form::Events;
        let placed = events && self.is_placed(conn);
        move |range| match range.kind {
            Kind::Replay => events,
            Kind::Publications => placed,
            _ => false,
        }
    }

    /// Whether each event of the connection says where it is in all its topics.
    pub(super) fn is_placed(&self, conn: u32) -> bool {
        !self.places.is_empty() && self.places.contains_key(&conn)
    }

    /// Makes of the front of a queue what is written: some events, in a range of their own. True if nothing is left of it,
    /// and what stood behind it is the front now.
    pub(super) fn finish_front(&mut self, conn: u32) -> bool {
        let unfinished = self.unfinished(conn);
        let spill = &self.spills[self.hot[conn as usize].segment as usize];
        let Some(&front) = spill.ranges.front().filter(|front| unfinished(front)) else { return false };
        let bytes = &self.segments.bytes(front.segment)[front.start as usize..front.end as usize];
        let (mut made, mut taken) = (std::mem::take(&mut self.scratch), 0);
        made.clear();
        let mut places = self.places.get_mut(&conn);
        while taken < bytes.len() && made.len() < limits::GATHER_BYTES_MAX {
            let (start, rest) = (made.len(), &bytes[taken..]);
            if front.kind == Kind::Replay {
                let len = Form::Frames.unit_len(rest);
                events::of_frame(&mut made, &rest[..len]);
                taken += len;
            } else {
                let len = Form::Events.unit_len(rest);
                made.extend_from_slice(&rest[..len]);
                taken += len;
            }
            if let Some(places) = &mut places {
                places.mark(&mut made, start);
            }
        }
        let spill = &mut self.spills[self.hot[conn as usize].segment as usize];
        spill.discount(front.kind, taken);
        if taken == front.len() {
            spill.ranges.pop_front();
            self.segments.release(front.segment);
            self.owed -= 1;
        } else {
            spill.ranges[0].start += u32::try_from(taken).expect("less than the range");
        }
        let known = made.is_empty(); // all of it, and there was no end to it before
        if !known {
            let segment = self.segments.insert_own();
            let end = self.segments.write_own(segment, |out| out.extend_from_slice(&made));
            let kind = if front.kind == Kind::Replay { Kind::Replies } else { Kind::Begun };
            spill.count(kind, end as usize);
            spill.ranges.push_front(Range { segment, start: 0, end, kind, seq: front.seq - 1 });
            self.owed += 1;
        }
        self.scratch = made;
        known
    }
}

/// Numbers of ranges that were held begin here, so that what is written before them has room for its own.
const HELD_SEQ: u64 = 1 << 40;
