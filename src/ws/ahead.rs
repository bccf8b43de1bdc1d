//! Reading ahead: a large message is read to its place before its header was seen, where the one before it was as long.
//!
//! The shard offers the room to `net` between two messages, and gives what came there to the decoder: the header's bytes as any
//! others, then the payload, which the decoder adopts where it lies. A guess that was wrong costs nothing but a copy: the
//! same bytes are input like any other. It never makes a buffer, and keeps none for a connection that is idle.

use super::body::{Body, HEADER_ROOM};
use super::encode;

/// See the module's page.
#[derive(Debug)]
pub struct Ahead {
    buf: Vec<u8>,
    /// Where the header of a frame of that length begins, so that its payload comes to its place.
    start: usize,
    end: usize,
}

impl Ahead {
    /// Room for a masked frame with `len` bytes of payload in the buffer of at least so many bytes that `lend` may have.
    pub fn new(len: usize, lend: impl FnOnce(usize) -> Option<Vec<u8>>) -> Option<Self> {
        let end = Body::buffer_len(len);
        let buf = lend(end).filter(|buf| buf.len() >= end)?;
        Some(Self { buf, start: HEADER_ROOM - encode::masked_header_len(len), end })
    }

    /// Where the frame may be read to.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buf[self.start..self.end]
    }

    /// The first `len` bytes of the room: what is a header if the guess was right, and what is payload then.
    pub fn halves(&mut self, len: usize) -> (&mut [u8], &mut [u8]) {
        self.buf[self.start..self.start + len].split_at_mut(len.min(HEADER_ROOM - self.start))
    }

    /// The buffer as that of a message that has not begun, its payload's place behind room for a header.
    pub(super) fn into_body(self) -> Body {
        Body::within(self.buf)
    }

    /// Its buffer, for another message.
    #[must_use]
    pub fn into_buffer(self) -> Vec<u8> {
        self.buf
    }
}
