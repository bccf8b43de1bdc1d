//! The bytes of a message that came in pieces, behind room for the header with which it may go out again.
//!
//! `message` collects them, in memory that grows with what has come or in a buffer that is lent: then `net` reads straight into it.
//! Who gets a whole body from [`super::Decoder::take_message`] sends it as it lies, or gives its buffer to the next one.
//! Invariant: `buf` is empty, or `HEADER_ROOM <= end <= buf.len()`; what is behind `end` is of no meaning, but initialised.
//! It refuses nothing: limits are the decoder's matter.

use std::ops::Range;

use super::encode;
use super::frame::HEADER_BYTES_MAX;
use super::{Kind, Opcode};

/// Enough for the header with which a message comes: who reads ahead reads it there. The one that we send is shorter.
pub(super) const HEADER_ROOM: usize = HEADER_BYTES_MAX;

/// See the module's page.
#[derive(Debug, Default)]
pub struct Body {
    buf: Vec<u8>,
    end: usize,
}

impl Body {
    /// An empty one in a buffer that has room for a header at least.
    pub(super) fn within(buf: Vec<u8>) -> Self {
        Self { buf, end: HEADER_ROOM }
    }

    /// A copy of a message, in the buffer of at least so many bytes that `lend` may have.
    pub fn copy_of(message: &[u8], lend: impl FnOnce(usize) -> Option<Vec<u8>>) -> Self {
        let mut body = Self::default();
        body.borrow(Self::buffer_len(message.len()), lend);
        body.extend(message, Some(0));
        body
    }

    /// The message so far.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        if self.buf.is_empty() { &[] } else { &self.buf[HEADER_ROOM..self.end] }
    }

    /// How many bytes it has so far.
    pub(super) fn len(&self) -> usize {
        self.end.saturating_sub(HEADER_ROOM)
    }

    /// Heap bytes owned.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Appends `piece`; `more` bytes are known to follow it, `None` if nobody knows.
    pub(super) fn extend(&mut self, piece: &[u8], more: Option<usize>) {
        if self.buf.is_empty() {
            self.buf.reserve_exact(HEADER_ROOM + piece.len());
            self.buf.resize(HEADER_ROOM, 0);
            self.end = HEADER_ROOM;
        }
        let (over, behind) = piece.split_at(piece.len().min(self.buf.len() - self.end));
        self.buf[self.end..self.end + over.len()].copy_from_slice(over);
        if let Some(more) = more
            && self.buf.capacity() - self.buf.len() < behind.len()
        {
            // The end is known: grow by what has come already, but never past the end.
            self.buf.reserve_exact(behind.len() + self.len().min(more));
        }
        self.buf.extend_from_slice(behind);
        self.end += piece.len();
    }

    /// Where up to `len` bytes that follow may be written; fewer, perhaps none, if the buffer has no room for them.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.buf.len().min(self.end + len);
        &mut self.buf[self.end..end]
    }

    /// So many bytes of the room were written, and are unmasked by `unmask`.
    pub(super) fn advance<T>(
        &mut self,
        len: usize,
        unmask: impl FnOnce(&mut Vec<u8>, Range<usize>) -> T,
    ) -> (&[u8], T) {
        let range = self.end..self.end + len;
        self.end = range.end;
        let found = unmask(&mut self.buf, range.clone());
        (&self.buf[range], found)
    }

    /// Moves to the buffer of at least `len` bytes that `lend` may have.
    pub(super) fn borrow(&mut self, len: usize, lend: impl FnOnce(usize) -> Option<Vec<u8>>) {
        if let Some(mut buf) = lend(len).filter(|buf| buf.len() >= len) {
            self.end = self.end.max(HEADER_ROOM);
            buf[HEADER_ROOM..self.end].copy_from_slice(self.payload());
            self.buf = buf;
        }
    }

    /// The bytes that a buffer needs for a message of `len` bytes.
    pub(super) const fn buffer_len(len: usize) -> usize {
        HEADER_ROOM + len
    }

    /// A server's frame of it: the bytes from `start` to `end` of the buffer, where they lie already.
    #[must_use]
    pub fn into_frame(mut self, kind: Kind) -> (Vec<u8>, Range<usize>) {
        if self.buf.is_empty() {
            self.extend(&[], None);
        }
        let mut header = Vec::with_capacity(HEADER_ROOM);
        encode::header(&mut header, Opcode::from(kind), self.len());
        let start = HEADER_ROOM - header.len();
        self.buf[start..HEADER_ROOM].copy_from_slice(&header);
        (self.buf, start..self.end)
    }

    /// Its buffer, for another message.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}
