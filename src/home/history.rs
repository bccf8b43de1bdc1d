//! The kept publications of one topic: the very frames that subscribers got, oldest first, in chunks.
//!
//! Its home appends each publication and trims by count and age; a replay hands out ranges of chunks, which shards write
//! without copying. Invariant: offsets `first..first + len` are kept, without holes. A chunk is shared once somebody
//! replays it and is never changed again; the newest one is open and becomes shared when it is full or asked for. Refuses
//! to know rules, topics and the bytes that all histories together may take: its home does.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::Batch;
use super::delivery::Span;
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
    kept: Vec<Kept>,
    /// Publications at its front that are forgotten already.
    skipped: usize,
}

impl Chunk {
    fn bytes(&self) -> usize {
        self.batch.bytes.len() + size_of_val(&self.kept[..]) + size_of::<Self>() + size_of::<Batch>()
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
    pub(super) fn push(&mut self, offset: u64, frame: &[u8], at: Tick) {
        if self.len == 0 {
            self.first = offset;
        }
        debug_assert_eq!(offset, self.first + self.len as u64, "offsets have no holes");
        if self.open.len() + frame.len() > limits::HISTORY_CHUNK_BYTES && !self.open.is_empty() {
            self.close();
        }
        let wanted = self.open.len() + frame.len();
        if wanted > self.open.capacity() {
            self.open.reserve_exact(frame.len().max(self.open.len() / 8)); // little slack: it stays for long
        }
        self.open.extend_from_slice(frame);
        self.open_kept.push_back(Kept { end: end_of(&self.open), at });
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
            self.compact();
        } else {
            return;
        }
        (self.first, self.len) = (self.first + 1, self.len - 1);
    }

    /// Forgets the oldest chunk whole; how many publications that were.
    pub(super) fn forget_chunk(&mut self) -> usize {
        let gone = match self.chunks.pop_front() {
            Some(chunk) => {
                self.closed_bytes -= chunk.bytes();
                chunk.kept.len() - chunk.skipped
            }
            None => {
                (self.open, self.open_skipped) = (Vec::new(), 0);
                std::mem::take(&mut self.open_kept).len()
            }
        };
        (self.first, self.len) = (self.first + gone as u64, self.len - gone);
        gone
    }

    /// The bytes of memory that it takes: frames, kept or not yet given back, and what says where they end.
    pub(super) fn bytes(&self) -> usize {
        self.closed_bytes + self.open.capacity() + self.open_kept.len() * size_of::<Kept>()
    }

    /// The publications from `offset` on, in order; the caller knows that they are kept.
    pub(super) fn replay(&mut self, offset: u64) -> Vec<Piece> {
        self.close();
        let mut skip = usize::try_from(offset.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let mut pieces = Vec::new();
        for chunk in &self.chunks {
            let len = chunk.kept.len() - chunk.skipped;
            if skip < len {
                let at = chunk.skipped + skip;
                let start = if at == 0 { 0 } else { chunk.kept[at - 1].end };
                let frames = Span { start, end: end_of(&chunk.batch.bytes) };
                pieces.push(Piece { chunk: Arc::clone(&chunk.batch), frames });
            }
            skip = skip.saturating_sub(len);
        }
        pieces
    }

    /// The kept frames, each with its offset, from the oldest on.
    pub(super) fn frames(&self) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
        let of_chunks = self.chunks.iter().flat_map(|chunk| {
            (chunk.skipped..chunk.kept.len()).map(move |at| {
                let start = if at == 0 { 0 } else { chunk.kept[at - 1].end };
                &chunk.batch.bytes[start as usize..chunk.kept[at].end as usize]
            })
        });
        let of_open = (0..self.open_kept.len()).map(|at| {
            let start = if at == 0 { self.open_skipped } else { self.open_kept[at - 1].end };
            &self.open[start as usize..self.open_kept[at].end as usize]
        });
        let first = self.first;
        let all: Vec<&[u8]> = of_chunks.chain(of_open).collect();
        all.into_iter().enumerate().map(move |(at, frame)| (first + at as u64, frame))
    }

    /// The open chunk becomes a shared one.
    fn close(&mut self) {
        if self.open_kept.is_empty() {
            return;
        }
        let skipped = std::mem::take(&mut self.open_skipped);
        let mut bytes = std::mem::take(&mut self.open);
        bytes.drain(..skipped as usize);
        bytes.shrink_to_fit();
        let kept: Vec<Kept> =
            self.open_kept.drain(..).map(|kept| Kept { end: kept.end - skipped, at: kept.at }).collect();
        let batch = Arc::new(Batch { bytes, ..Batch::default() });
        let chunk = Chunk { batch, kept, skipped: 0 };
        self.closed_bytes += chunk.bytes();
        self.chunks.push_back(chunk);
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

fn end_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a chunk is bounded, and so is a message")
}
