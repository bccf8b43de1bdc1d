//! Bytes of one peer in, events out, in any split of the bytes (RFC 6455 5 to 8).
//!
//! [`Decoder::next`] is called on each read until it answers `None`. A frame that lies whole in the read is unmasked in
//! place and handed out as a slice of it; what is partial moves to a box (`message`) that lives until it is whole, so an
//! idle connection owns two words. Invariant: the same bytes give the same events or violation in every split.
//! ```text
//!  between frames --header--> in payload --last byte, FIN--> between frames (event)
//!        ^                        |-- last byte, no FIN --> between frames, inside a message
//!        '--- control frames pass in both; Close or Violation --> stopped
//! ```

use std::ops::Range;

use super::body::Body;
use super::deflate::deflated_bytes_max;
use super::frame::{self, Header, Place};
use super::message::{Held, Progress};
use super::{Ahead, Kind, Opcode, Role, Spares, Violation, close};
use crate::{limits, simd};

/// What a peer sent. Payloads live until the next call of [`Decoder::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, its fragments joined.
    Message {
        /// Text or binary.
        kind: Kind,
        /// At most `message_bytes_max` bytes; valid UTF-8 if `kind` is text.
        payload: &'a [u8],
    },
    /// A whole compressed message, its fragments joined, for [`super::deflate::Inflater::message`]. Only if it was agreed
    /// on, see [`Decoder::with_deflate`].
    Deflated {
        /// Text or binary.
        kind: Kind,
        /// As it came.
        payload: &'a [u8],
    },
    /// To be answered with a pong of the same payload, 0..=125 bytes (RFC 6455 5.5.2).
    Ping(&'a [u8]),
    /// Sign of life, 0..=125 bytes (RFC 6455 5.5.3).
    Pong(&'a [u8]),
    /// The peer begins or answers the closing handshake; no event follows (RFC 6455 5.5.1).
    Close {
        /// `None` if the frame was empty; else one that [`super::is_valid_code`] admits.
        code: Option<u16>,
        /// At most 123 bytes, not to be shown raw.
        reason: &'a str,
    },
}

/// The decoder's state for one connection, made to be small in a slab of many.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    /// permessage-deflate was agreed on.
    deflate: bool,
    /// A close frame or a violation was found.
    stopped: bool,
    /// Payload bytes of the last message, if it was large: the next one may be like it.
    usual: u32,
    held: Option<Box<Held>>,
}

const _: () = assert!(size_of::<Decoder>() <= 24);

/// Where the next event's payload lies; apart from [`Event`] so that finding it borrows nothing.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// In the input.
    Read { opcode: Opcode, deflated: bool, range: Range<usize> },
    /// In `held.data`.
    HeldMessage(Kind),
    /// In `held.control`.
    HeldControl(Opcode),
}

impl Decoder {
    /// A decoder for the bytes that follow the opening handshake. `role` is our side.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role, deflate: false, stopped: false, usual: 0, held: None }
    }

    /// One for a connection on which permessage-deflate is spoken or not, as the handshake agreed.
    #[must_use]
    pub fn with_deflate(self, deflate: bool) -> Self {
        Self { deflate, ..self }
    }

    /// The next event, or `None` when `input` is consumed; then, and only then, may the buffer be reused.
    ///
    /// `message_bytes_max` bounds the payload of one message in bytes, over all its fragments; a compressed one's whose
    /// content may have so many.
    ///
    /// # Errors
    /// What the peer broke, found at the first byte that proves it. Then, and after [`Event::Close`], the rest of the
    /// input stays unread and every later call answers `Ok(None)`.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut Input<'_>,
        message_bytes_max: usize,
    ) -> Result<Option<Event<'a>>, Violation> {
        if self.stopped || self.held.as_ref().is_some_and(|held| held.is_idle()) {
            self.held = None;
        }
        if self.stopped {
            return Ok(None);
        }
        let found = match self.find(input, message_bytes_max) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(violation) => {
                self.stopped = true;
                self.held = None;
                return Err(violation);
            }
        };
        self.event(found, input).map(Some)
    }

    /// Whether a message has begun: if so, the next one is in memory of its own, which [`Decoder::take_message`] gives away.
    #[must_use]
    pub fn is_inside_message(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.inside_message())
    }

    /// The message that the last event handed out, if it lies in memory of its own; compressed, if that event said so.
    #[must_use]
    pub fn take_message(&mut self) -> Option<Body> {
        let held = self.held.as_mut().filter(|held| held.is_idle())?;
        Some(std::mem::take(&mut held.data)).filter(|body| body.capacity() > 0)
    }

    /// Where the next bytes of the peer may be read to instead of to an [`Input`], if they are payload of a frame of which at
    /// least `least` bytes are still to come; empty if they are not. `lend` may have a buffer of at least so many bytes, all
    /// that the message needs as far as is known; without it there is no room.
    pub fn room(&mut self, least: usize, lend: impl FnOnce(usize) -> Option<Vec<u8>>) -> &mut [u8] {
        match &mut self.held {
            Some(held) if !self.stopped => held.room(least, lend),
            _ => &mut [],
        }
    }

    /// So many bytes were read into [`Decoder::room`]; [`Decoder::next`] looks at them before its input.
    ///
    /// # Panics
    /// If there is not so much room: our own bug.
    pub fn note_placed(&mut self, len: usize) {
        let held = self.held.as_mut().filter(|held| held.inside_frame());
        held.expect("there is room inside of a frame only").note_placed(len);
    }

    /// How long the next message will be if it is like the last one, which was large; 0 if that was not, or if one is under
    /// way.
    #[must_use]
    pub fn expected(&self) -> usize {
        let idle = self.held.as_ref().is_none_or(|held| held.is_idle());
        if idle && !self.stopped { self.usual as usize } else { 0 }
    }

    /// Takes `len` bytes that were read ahead to where payload is to lie, if they are the first ones of a message whose header
    /// came before them; [`Decoder::next`] looks at them before its input.
    ///
    /// # Errors
    /// They are something else, and input like any other.
    pub fn adopt(&mut self, ahead: Ahead, len: usize) -> Result<(), Ahead> {
        match &mut self.held {
            Some(held) if !self.stopped => held.adopt(ahead, len),
            _ => Err(ahead),
        }
    }

    /// Heap bytes owned now: 0 unless a frame or a message is partial.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| size_of::<Held>() + held.data.capacity())
    }

    /// A message of so many bytes has come.
    #[inline]
    fn note_message(&mut self, len: usize) {
        if len >= limits::LARGE_MESSAGE_BYTES_MIN {
            self.usual = u32::try_from(len).unwrap_or(0);
        } else if self.usual > 0 {
            self.usual = 0;
        }
    }

    fn find(&mut self, input: &mut Input<'_>, max: usize) -> Result<Option<Found>, Violation> {
        loop {
            if !self.held.as_ref().is_some_and(|held| held.inside_frame()) {
                let Some(header) = self.header(input, max)? else {
                    return Ok(None);
                };
                // An event of its own, and all here: no need to hold it.
                let alone = header.fin && header.opcode != Opcode::Continuation;
                if alone && header.payload_len <= input.rest().len() {
                    return self.find_read(&header, input).map(Some);
                }
                self.held.get_or_insert_default().begin(&header);
            }
            match self.held.get_or_insert_default().take_payload(input, self.role)? {
                Progress::InputEnded => return Ok(None),
                Progress::FrameEnded => {}
                Progress::Event(found) => {
                    if matches!(found, Found::HeldMessage(_)) {
                        self.note_message(self.held().data.payload().len());
                    }
                    return Ok(Some(found));
                }
            }
        }
    }

    /// Consumes the next header, or all input if that has only a part of one.
    #[inline]
    fn header(&mut self, input: &mut Input<'_>, max: usize) -> Result<Option<Header>, Violation> {
        let (role, deflate) = (self.role, self.deflate);
        let mut place = Place { role, deflate, inside_message: false, message_bytes_left: max };
        if let Some(held) = self.held.as_deref_mut() {
            place.inside_message = held.inside_message();
            let max = if held.inside_message() && held.is_deflated() { deflated_bytes_max(max) } else { max };
            place.message_bytes_left = max.saturating_sub(held.data.len());
            if held.inside_header() {
                return held.take_header(input, place);
            }
        }
        if let Some(header) = frame::parse(input.rest(), place)? {
            input.take(header.header_len);
            return Ok(Some(header));
        }
        if !input.rest().is_empty() {
            return self.held.get_or_insert_default().take_header(input, place);
        }
        Ok(None)
    }

    /// The frame's payload lies whole in the input.
    #[inline]
    fn find_read(&mut self, header: &Header, input: &mut Input<'_>) -> Result<Found, Violation> {
        let start = input.pos;
        let (payload, is_ascii) = input.take_payload(header.payload_len, header.key, self.role);
        if header.opcode == Opcode::Text && !is_ascii && !header.deflated {
            simdutf8::basic::from_utf8(payload).map_err(|_| Violation::TextNotUtf8)?;
        }
        if !header.opcode.is_control() {
            self.note_message(header.payload_len);
        }
        let range = start..start + header.payload_len;
        Ok(Found::Read { opcode: header.opcode, deflated: header.deflated, range })
    }

    #[inline]
    fn event<'a>(&'a mut self, found: Found, input: &'a Input<'_>) -> Result<Event<'a>, Violation> {
        if matches!(found, Found::Read { opcode: Opcode::Close, .. } | Found::HeldControl(Opcode::Close)) {
            // The message under way will never end.
            self.stopped = true;
            if let Some(held) = &mut self.held {
                held.data = Body::default();
            }
        }
        let (opcode, deflated, payload) = match found {
            Found::Read { opcode, deflated, range } => (opcode, deflated, &input.buf[range]),
            Found::HeldMessage(kind) => (Opcode::from(kind), self.held().is_deflated(), self.held().data.payload()),
            Found::HeldControl(opcode) => (opcode, false, self.held().control()),
        };
        Ok(match opcode {
            Opcode::Text if deflated => Event::Deflated { kind: Kind::Text, payload },
            Opcode::Binary if deflated => Event::Deflated { kind: Kind::Binary, payload },
            Opcode::Text => Event::Message { kind: Kind::Text, payload },
            // A continuation is never an event of its own: its message has the kind of the first frame.
            Opcode::Binary | Opcode::Continuation => Event::Message { kind: Kind::Binary, payload },
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => {
                let (code, reason) = close::parse(payload)?;
                Event::Close { code, reason }
            }
        })
    }

    fn held(&self) -> &Held {
        self.held.as_ref().expect("what was found in the box stays until the next call")
    }
}

/// One read's bytes, consumed by [`Decoder::next`] and unmasked in place.
#[derive(Debug)]
pub struct Input<'b> {
    buf: &'b mut [u8],
    /// `pos <= filled <= buf.len()`: `buf[pos..filled]` are unread.
    pos: usize,
    filled: usize,
    /// For large messages.
    spares: Option<&'b mut Spares>,
}

impl<'b> Input<'b> {
    /// `buf[..filled]` was read. What is behind is not touched.
    ///
    /// # Panics
    /// If `filled` is more than `buf` has: our own bug.
    #[must_use]
    pub fn new(buf: &'b mut [u8], filled: usize) -> Self {
        assert!(filled <= buf.len(), "more bytes filled than the buffer has");
        Self { buf, pos: 0, filled, spares: None }
    }

    /// What is to be collected of large messages may be in one of these.
    #[must_use]
    pub fn with_spares(self, spares: &'b mut Spares) -> Self {
        Self { spares: Some(spares), ..self }
    }

    /// A spare of at least so many bytes.
    pub(super) fn lend(&mut self, len: usize) -> Option<Vec<u8>> {
        self.spares.as_mut().and_then(|spares| spares.lend(len..=usize::MAX))
    }

    /// The bytes that no event has consumed yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.buf[self.pos..self.filled]
    }

    /// Consumes `len` bytes, which are there.
    pub(super) fn take(&mut self, len: usize) {
        debug_assert!(len <= self.filled - self.pos);
        self.pos += len;
    }

    /// Consumes `len` payload bytes, which are there, unmasked; and whether they are known to be ASCII.
    #[inline]
    pub(super) fn take_payload(&mut self, len: usize, key: [u8; 4], role: Role) -> (&[u8], bool) {
        let range = self.pos..self.pos + len;
        self.take(len);
        let is_ascii = match role {
            Role::Server => simd::unmask(self.buf, range.clone(), key),
            Role::Client => false,
        };
        (&self.buf[range], is_ascii)
    }
}

#[cfg(test)]
mod tests;
