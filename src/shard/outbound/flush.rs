//! Writing: every connection with pending bytes once per turn, small fan-outs before big ones.
//!
//! One range goes out by one `send` straight from the shared bytes. Several that are small are copied side by side first,
//! because that is cheaper than a `writev`; several that are large go by `writev`.

use std::io::IoSlice;

use smallvec::SmallVec;

use super::forms::{FORM_MASK, HELD};
use super::{BLOCKED, BULK, Hot, Kind, NONE, Outbound, PROMPT, SPILLED, WATCHED};
use crate::limits;

/// The socket's side of a flush; `net` has the real one, the simulator its own.
pub trait Wire {
    /// Offers bytes to the socket of a connection, in one system call.
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent;
    /// The same with several pieces.
    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent;
}

/// What the socket said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It took so many bytes; fewer than offered means that it is full and will say when it is writable.
    Bytes(usize),
    /// It is broken.
    Gone,
}

/// What became of a connection that was flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing waits any more.
    Done,
    /// Nothing waits any more, and the connection is watched for it.
    Drained,
    /// The socket is full.
    Blocked,
    /// Something came for a connection that is held.
    Held,
    /// The socket is broken.
    Gone,
}

impl Outbound {
    /// Whether a flush has anything to do.
    pub(crate) fn has_work(&self) -> bool {
        !self.prompt.is_empty() || !self.bulk.is_empty()
    }

    /// What the turn that begins now may flush. Whoever is not done with his share comes up again in the next one.
    pub(crate) fn flush_budget(&self) -> FlushBudget {
        FlushBudget { prompt: limits::FLUSHES_PER_TURN, bulk: self.bulk.len().min(limits::FANOUT_SLICE) }
    }

    /// The connection to flush next: all of the prompt ones, then a slice of the bulk ones. `budget` counts both down.
    pub(crate) fn next_to_flush(&mut self, budget: &mut FlushBudget) -> Option<u32> {
        while budget.prompt > 0
            && let Some(conn) = self.prompt.pop_front()
        {
            if self.take_flag(conn, PROMPT) {
                budget.prompt -= 1;
                return Some(conn);
            }
        }
        while budget.bulk > 0
            && let Some(conn) = self.bulk.pop_front()
        {
            if self.take_flag(conn, BULK) {
                budget.bulk -= 1;
                return Some(conn);
            }
        }
        None
    }

    fn take_flag(&mut self, conn: u32, flag: u16) -> bool {
        // It may be gone, and its slot with it.
        let Some(Hot { flags, .. }) = self.hot.find_mut(conn as usize) else { return false };
        let had = *flags & flag != 0;
        *flags &= !flag;
        had && (*flags & BLOCKED == 0 || *flags & FORM_MASK == HELD)
    }

    /// Offers all that waits for one connection to its socket.
    pub(crate) fn flush(&mut self, conn: u32, wire: &mut impl Wire) -> Flushed {
        let Hot { segment, start, end, flags } = self.hot[conn as usize];
        if flags & FORM_MASK == HELD {
            return Flushed::Held;
        }
        if flags & SPILLED != 0 || self.is_placed(conn) {
            self.spill(conn);
            return self.flush_spill(conn, wire);
        }
        if segment == NONE {
            return Flushed::Done;
        }
        let bytes = &self.segments.bytes(segment)[start as usize..end as usize];
        match wire.send(conn, bytes) {
            Sent::Bytes(sent) if sent == bytes.len() => {
                self.hot[conn as usize].clear();
                self.segments.release(segment);
                if flags & WATCHED != 0 { Flushed::Drained } else { Flushed::Done }
            }
            Sent::Bytes(sent) => {
                self.spill(conn);
                self.consume(conn, sent);
                self.block(conn)
            }
            Sent::Gone => Flushed::Gone,
        }
    }

    fn flush_spill(&mut self, conn: u32, wire: &mut impl Wire) -> Flushed {
        let mut budget = limits::FLUSH_BYTES_PER_TURN;
        loop {
            if budget == 0 {
                self.enqueue(conn, true); // a long replay must not keep the live ones waiting
                return Flushed::Done;
            }
            self.tell_next(conn, self.form(conn));
            if self.finish_front(conn) {
                continue;
            }
            let (offered, sent) = self.offer(conn, budget, wire);
            match sent {
                Sent::Bytes(_) if offered == 0 => return self.end_spill(conn),
                Sent::Bytes(sent) => {
                    let spill = &self.spills[self.hot[conn as usize].segment as usize];
                    if sent == spill.bytes && spill.losses.is_none() {
                        return self.end_spill(conn);
                    }
                    self.consume(conn, sent);
                    budget = budget.saturating_sub(sent);
                    if sent < offered {
                        return self.block(conn);
                    }
                }
                Sent::Gone => return Flushed::Gone,
            }
        }
    }

    /// Everything was written.
    fn end_spill(&mut self, conn: u32) -> Flushed {
        self.drop_ranges(conn);
        let drained = self.hot[conn as usize].flags & WATCHED != 0;
        if drained { Flushed::Drained } else { Flushed::Done }
    }

    /// Offers the front of a spill to the socket, in one system call: how many bytes, and what it said. No range begins
    /// beyond `budget` bytes, nor behind a loss that is to be told before it.
    fn offer(&mut self, conn: u32, budget: usize, wire: &mut impl Wire) -> (usize, Sent) {
        let mut offered = 0;
        let unfinished = self.unfinished(conn);
        let spill = &self.spills[self.hot[conn as usize].segment as usize];
        let place = spill.losses.as_ref().map_or(u64::MAX, |losses| losses.next_place());
        let ready = spill.ranges.iter().take_while(|range| range.seq < place && !unfinished(range));
        let ready = ready.filter(|range| range.kind != Kind::Dropped).enumerate().map(|(index, range)| {
            let skip = if index == 0 { spill.sent } else { 0 };
            &self.segments.bytes(range.segment)[(range.start + skip) as usize..range.end as usize]
        });
        if spill.ranges.len() > 1 && spill.bytes <= budget.min(limits::GATHER_BYTES_MAX) {
            self.scratch.clear();
            ready.for_each(|piece| self.scratch.extend_from_slice(piece));
            let offered = self.scratch.len();
            return (offered, if offered == 0 { Sent::Bytes(0) } else { wire.send(conn, &self.scratch) });
        }
        let pieces: SmallVec<[&[u8]; 16]> = ready
            .take(limits::PIECES_PER_WRITE)
            .take_while(|piece| {
                let before = offered;
                offered += if before < budget { piece.len() } else { 0 };
                before < budget
            })
            .collect();
        let sent = match pieces[..] {
            [] => Sent::Bytes(0),
            [only] => wire.send(conn, only),
            _ if offered <= limits::GATHER_BYTES_MAX => {
                self.scratch.clear();
                pieces.iter().for_each(|piece| self.scratch.extend_from_slice(piece));
                wire.send(conn, &self.scratch)
            }
            _ => {
                let pieces: SmallVec<[IoSlice<'_>; 16]> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
                wire.send_pieces(conn, &pieces)
            }
        };
        (offered, sent)
    }

    /// Takes sent bytes off the front of a spill.
    pub(super) fn consume(&mut self, conn: u32, mut sent: usize) {
        let owes = usize::from(!self.is_blocked(conn));
        let spill = &mut self.spills[self.hot[conn as usize].segment as usize];
        while let Some(&front) = spill.ranges.front() {
            let rest = front.len() - spill.sent as usize;
            if sent < rest {
                spill.discount(front.kind, sent);
                spill.sent += u32::try_from(sent).expect("less than the range");
                return;
            }
            sent -= rest;
            spill.discount(front.kind, rest);
            spill.sent = 0;
            spill.ranges.pop_front();
            self.owed -= owes;
            match &mut spill.losses {
                Some(losses) if front.kind == Kind::Dropped => losses.forget_dropped(),
                _ => self.segments.release(front.segment),
            }
        }
    }

    fn block(&mut self, conn: u32) -> Flushed {
        let hot = &mut self.hot[conn as usize];
        hot.flags |= BLOCKED;
        self.owed -= self.spills[hot.segment as usize].ranges.len();
        self.settle(conn);
        Flushed::Blocked
    }
}

/// How many connections one turn may still flush.
#[derive(Debug)]
pub(crate) struct FlushBudget {
    pub(crate) prompt: usize,
    pub(crate) bulk: usize,
}
