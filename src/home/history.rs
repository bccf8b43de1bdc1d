//! The kept publications of one topic: the very frames that subscribers got, oldest first, in chunks.
//!
//! Its home appends each publication and trims by count and age; a replay hands out ranges of chunks, which shards write
//! without copying. Invariant: offsets `first..first + len` are kept, without holes. A chunk is shared once somebody
//! replays it and is never changed again; the newest one is open, and a replay gets a copy of it. A large publication is a
//! chunk by itself: the batch that its subscribers got. Of a long history the closed ones are merged later, but for very
//! large ones: whoever reads the small ones keeps them. Refuses to know rules, topics and the bytes that
//! all histories together may take: its home does.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Weak};

use super::batch::Batch;
use super::delivery::Span;
use super::topics::TopicState;
use crate::ids::Tick;
use crate::limits;

/// Publications that a replay sends: whole frames of a chunk.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The chunk.
    pub chunk: Arc<Batch>,
    /// Its frames that are meant.
    pub frames: Span,
}

/// A publication that is to be kept.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// Its frame.
    Copied(&'a [u8]),
    /// A batch that has nothing else, and where the frame at its front ends.
    Shared(Arc<Batch>, u32),
}

/// One kept publication within its chunk.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// One past its last byte.
    end: u32,
    at: Tick,
}

#[derive(Debug)]
struct Chunk {
    batch: Arc<Batch>,
    /// Offset of the publication at its front, forgotten or not.
    first: u64,
    kept: Vec<Kept>,
    /// Publications at its front that are forgotten already.
    skipped: usize,
}

impl Chunk {
    /// Where the publication at that place begins.
    fn start_of(&self, at: usize) -> u32 {
        if at == 0 { 0 } else { self.kept[at - 1].end }
    }

    fn bytes(&self) -> usize {
        self.batch.memory_bytes() + self.kept.capacity() * size_of::<Kept>() + size_of::<Self>()
    }

    /// Its frames: all that it has, but for a batch's names.
    fn frames(&self) -> &[u8] {
        &self.batch.bytes[..self.start_of(self.kept.len()) as usize]
    }

    /// One publication that is worth a range of its own, and not worth another copy.
    fn is_very_large(&self) -> bool {
        self.kept.len() == 1 && self.frames().len() >= VERY_LARGE
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct History {
    chunks: VecDeque<Chunk>,
    open: Vec<u8>,
    open_kept: VecDeque<Kept>,
    /// Bytes of `open` whose publications are forgotten already.
    open_skipped: u32,
    /// The copy of `open` that the last replay got, as long as somebody writes it and nothing has changed.
    snapshot: Weak<Batch>,
    /// Offset of the oldest kept publication; meaningless while `len` is 0.
    first: u64,
    len: usize,
    /// What the closed chunks take.
    closed_bytes: usize,
}

impl History {
    /// How many publications are kept.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Offset of the oldest kept one; none if nothing is kept.
    pub(super) fn first(&self) -> Option<u64> {
        (self.len > 0).then_some(self.first)
    }

    /// When the oldest kept one was published.
    pub(super) fn oldest(&self) -> Option<Tick> {
        let of_chunk = self.chunks.front().map(|chunk| chunk.kept[chunk.skipped].at);
        of_chunk.or_else(|| self.open_kept.front().map(|kept| kept.at))
    }

    /// Keeps a publication's frame. Offsets come one after the other.
    pub(super) fn push(&mut self, offset: u64, frame: Frame<'_>, at: Tick) {
        if self.len == 0 {
            self.first = offset;
        }
        debug_assert_eq!(offset, self.first + self.len as u64, "offsets have no holes");
        let frame = match frame {
            Frame::Copied(frame) => frame,
            Frame::Shared(batch, end) => return self.push_shared(offset, batch, end, at),
        };
        if self.open.len() + frame.len() > limits::HISTORY_CHUNK_BYTES && !self.open.is_empty() {
            self.close();
        }
        let wanted = self.open.len() + frame.len();
        if wanted > self.open.capacity() {
            self.open.reserve_exact(frame.len().max(self.open.len() / 8)); // little slack: it stays for long
        }
        self.snapshot = Weak::new();
        self.open.extend_from_slice(frame);
        self.open_kept.push_back(Kept { end: end_of(&self.open), at });
        self.len += 1;
    }

    /// The batch itself becomes a chunk, and nothing is copied.
    #[cold]
    fn push_shared(&mut self, offset: u64, batch: Arc<Batch>, frame_end: u32, at: Tick) {
        debug_assert!(batch.others.iter().all(Option::is_none), "what would not be counted is not kept");
        if !self.open.is_empty() {
            self.close();
        }
        self.merge(frame_end as usize >= VERY_LARGE);
        self.append(batch, offset, vec![Kept { end: frame_end, at }], 0);
        self.len += 1;
    }

    /// Forgets the oldest publication.
    pub(super) fn forget_oldest(&mut self) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.skipped += 1;
            if chunk.skipped == chunk.kept.len() {
                self.closed_bytes -= chunk.bytes();
                self.chunks.pop_front();
            }
        } else if let Some(kept) = self.open_kept.pop_front() {
            self.open_skipped = kept.end;
            self.snapshot = Weak::new();
            self.compact();
        } else {
            return;
        }
        (self.first, self.len) = (self.first + 1, self.len - 1);
    }

    /// Forgets as few of the oldest as give memory back: the oldest chunk, or of the open one the older half. How many
    /// publications that were.
    pub(super) fn forget_chunk(&mut self) -> usize {
        let before = self.len;
        match self.chunks.pop_front() {
            Some(chunk) => {
                self.closed_bytes -= chunk.bytes();
                let gone = chunk.kept.len() - chunk.skipped;
                (self.first, self.len) = (self.first + gone as u64, self.len - gone);
            }
            None => {
                self.forget_oldest();
                while self.open_skipped > 0 {
                    self.forget_oldest();
                }
            }
        }
        before - self.len
    }

    /// The bytes of memory that it takes: frames, kept or not yet given back, what says where they end, and its topic,
    /// which lives on because of it. 0 if it keeps nothing.
    pub(super) fn bytes(&self) -> usize {
        let open = self.open.capacity() + self.open_kept.capacity() * size_of::<Kept>();
        if self.len == 0 { 0 } else { TOPIC_BYTES + self.closed_bytes + open }
    }

    /// The publications from `offset` on, in order: of those, all that are kept.
    pub(super) fn replay(&mut self, offset: u64) -> Vec<Piece> {
        let offset = offset.max(self.first);
        let mut pieces = Vec::new();
        for chunk in self.chunks.range(self.chunk_at(offset)..) {
            let start = chunk.start_of(index(offset.saturating_sub(chunk.first)));
            let frames = Span { start, end: end_of(chunk.frames()) };
            pieces.push(Piece { chunk: Arc::clone(&chunk.batch), frames });
        }
        let skip = index(offset.saturating_sub(self.open_first()));
        if skip < self.open_kept.len() {
            // Not closed for it: a reader after each publication would leave a chunk for each.
            let chunk = self.open_copy();
            let start = if skip == 0 { 0 } else { self.open_kept[skip - 1].end - self.open_skipped };
            let frames = Span { start, end: end_of(&chunk.bytes) };
            pieces.push(Piece { chunk, frames });
        }
        pieces
    }

    /// What is kept in the open chunk, copied once for all who ask before it changes.
    fn open_copy(&mut self) -> Arc<Batch> {
        self.snapshot.upgrade().unwrap_or_else(|| {
            let bytes = self.open[self.open_skipped as usize..].to_vec();
            let copy = Arc::new(Batch::of(bytes));
            self.snapshot = Arc::downgrade(&copy);
            copy
        })
    }

    /// The kept frames of some offsets, each with its offset, from the oldest on.
    pub(super) fn frames(&self, wanted: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let end = wanted.end().saturating_add(1).min(self.first + self.len as u64);
        (self.first.max(*wanted.start())..end).map(|offset| (offset, self.frame(offset)))
    }

    /// When a kept publication was published.
    pub(super) fn published_at(&self, offset: u64) -> Tick {
        match self.chunks.get(self.chunk_at(offset)) {
            Some(chunk) => chunk.kept[index(offset - chunk.first)].at,
            None => self.open_kept[index(offset - self.open_first())].at,
        }
    }

    /// The frame of a kept publication.
    fn frame(&self, offset: u64) -> &[u8] {
        if let Some(chunk) = self.chunks.get(self.chunk_at(offset)) {
            let at = index(offset - chunk.first);
            return &chunk.batch.bytes[chunk.start_of(at) as usize..chunk.kept[at].end as usize];
        }
        let at = index(offset - self.open_first());
        let start = if at == 0 { self.open_skipped } else { self.open_kept[at - 1].end };
        &self.open[start as usize..self.open_kept[at].end as usize]
    }

    /// Index of the chunk with a kept publication; one past the last if it is in the open one, or not there yet.
    fn chunk_at(&self, offset: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.first + chunk.kept.len() as u64 <= offset)
    }

    /// Offset of the oldest kept one in the open chunk.
    fn open_first(&self) -> u64 {
        self.first + (self.len - self.open_kept.len()) as u64
    }

    /// The open chunk is full and becomes a shared one.
    fn close(&mut self) {
        let first = self.open_first();
        let skipped = std::mem::take(&mut self.open_skipped);
        let mut bytes = std::mem::take(&mut self.open);
        bytes.drain(..skipped as usize);
        bytes.shrink_to_fit();
        let kept: Vec<Kept> =
            self.open_kept.drain(..).map(|kept| Kept { end: kept.end - skipped, at: kept.at }).collect();
        self.append(Arc::new(Batch::of(bytes)), first, kept, 0);
        self.merge(false);
    }

    fn append(&mut self, batch: Arc<Batch>, first: u64, kept: Vec<Kept>, skipped: usize) {
        let chunk = Chunk { batch, first, kept, skipped };
        self.closed_bytes += chunk.bytes();
        self.chunks.push_back(chunk);
    }

    /// Makes one of the newest small chunks once they are worth it. However often the open chunk was replayed meanwhile, a
    /// history of n bytes so has n / `HISTORY_MERGED_BYTES` chunks and some hundred: a replay of gigabytes is not a million
    /// ranges. Each byte is moved once for it, or twice while the history still grows. Where a very large one comes next, the
    /// small ones before it will not become more (`ends`).
    fn merge(&mut self, ends: bool) {
        let wanted = (self.closed_bytes / limits::HISTORY_MERGE_SHARE).min(limits::HISTORY_MERGED_BYTES);
        if wanted < 2 * limits::HISTORY_CHUNK_BYTES {
            return;
        }
        let is_small = |chunk: &&Chunk| chunk.frames().len() <= wanted / 2 && !chunk.is_very_large();
        let small = self.chunks.iter().rev().take_while(is_small);
        let (mut count, mut len, mut publications) = (0, 0, 0);
        for chunk in small {
            if len >= wanted {
                break; // those before it were large once, in a shorter history
            }
            count += 1;
            len += chunk.frames().len();
            publications += chunk.kept.len();
        }
        if len < wanted && !(ends && count > 1) {
            return;
        }
        let small = self.chunks.split_off(self.chunks.len() - count);
        let (first, skipped) = (small[0].first, small[0].skipped);
        let (mut bytes, mut kept) = (Vec::with_capacity(len), Vec::with_capacity(publications));
        for chunk in small {
            self.closed_bytes -= chunk.bytes();
            let start = end_of(&bytes);
            bytes.extend_from_slice(chunk.frames());
            kept.extend(chunk.kept.iter().map(|kept| Kept { end: start + kept.end, at: kept.at }));
        }
        self.append(Arc::new(Batch::of(bytes)), first, kept, skipped);
    }

    /// Gives the forgotten front of the open chunk back once it is the larger part: each byte is moved once at most.
    fn compact(&mut self) {
        let skipped = self.open_skipped;
        if (skipped as usize) * 2 < self.open.len() {
            return;
        }
        self.open.drain(..skipped as usize);
        self.open.shrink_to(self.open.len() + self.open.len() / 8);
        self.open_skipped = 0;
        for kept in &mut self.open_kept {
            kept.end -= skipped;
        }
    }
}

/// Bytes of a frame that is not merged with others.
const VERY_LARGE: usize = limits::HISTORY_MERGED_BYTES / 4;

/// About what a topic takes besides its publications: its record, its name, the places where it is entered.
const TOPIC_BYTES: usize = size_of::<History>() + size_of::<TopicState>() + 128;

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn end_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a chunk is bounded, and so is a message")
}

#[cfg(test)]
mod tests;
