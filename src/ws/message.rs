//! What a connection holds while a frame or a message is partial: the box behind an otherwise tiny decoder.
//!
//! Only `decoder` calls it. Invariant: memory grows with payload bytes that arrived, never with a length that a header
//! declared; what is lent beyond that is there already. Payload is unmasked, and text checked, as it arrives, so bad UTF-8
//! ends the connection in mid-frame.

use super::ahead::Ahead;
use super::body::Body;
use super::decoder::{Found, Input};
use super::frame::{self, HEADER_BYTES_MAX, Header, Place};
use super::utf8::{NotUtf8, Validator};
use super::{CONTROL_PAYLOAD_MAX, Kind, Opcode, Role, Violation};
use crate::{limits, simd};

/// Partial input. See [`Held::is_idle`] for when it may be dropped.
#[derive(Debug)]
pub(super) struct Held {
    /// The fragments so far, or the whole message that the last event handed out.
    pub(super) data: Body,
    /// Bytes behind those of `data` that were read into its room, and not looked at.
    placed: usize,
    control: [u8; CONTROL_PAYLOAD_MAX],
    control_len: u8,
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    utf8: Validator,
    /// The message under way, between its first frame's header and its last frame's last byte.
    message: Option<Kind>,
    /// It is compressed, and so is `data`.
    deflated: bool,
    frame: Option<Frame>,
}

/// A frame whose header is complete and whose payload is not.
#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    /// Turned so that `key[0]` belongs to the next payload byte.
    key: [u8; 4],
    /// Payload bytes still to come.
    remaining: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            data: Body::default(),
            placed: 0,
            control: [0; CONTROL_PAYLOAD_MAX],
            control_len: 0,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            utf8: Validator::default(),
            message: None,
            deflated: false,
            frame: None,
        }
    }
}

impl Held {
    /// Nothing is partial; what `data` or `control` still have was handed out by the last event.
    pub(super) fn is_idle(&self) -> bool {
        self.message.is_none() && self.frame.is_none() && self.header_len == 0
    }

    /// A message has begun and its last fragment is missing.
    pub(super) fn inside_message(&self) -> bool {
        self.message.is_some()
    }

    /// The message under way, or the one that has just ended, is compressed.
    pub(super) fn is_deflated(&self) -> bool {
        self.deflated
    }

    /// A frame's header is complete and its payload is not.
    pub(super) fn inside_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// A frame's header began in an earlier read.
    pub(super) fn inside_header(&self) -> bool {
        self.header_len > 0
    }

    /// The payload of the control frame that has just ended.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// Adds bytes of a header that began earlier; the header once it is complete, its bytes then consumed.
    pub(super) fn take_header(&mut self, input: &mut Input<'_>, place: Place) -> Result<Option<Header>, Violation> {
        let kept = usize::from(self.header_len);
        let rest = input.rest();
        let added = rest.len().min(HEADER_BYTES_MAX - kept);
        self.header[kept..kept + added].copy_from_slice(&rest[..added]);
        match frame::parse(&self.header[..kept + added], place)? {
            Some(header) => {
                // It was incomplete before, so it ends within what was added.
                input.take(header.header_len - kept);
                self.header_len = 0;
                Ok(Some(header))
            }
            None => {
                input.take(added);
                self.header_len += added as u8;
                Ok(None)
            }
        }
    }

    /// The payload of a frame with this header comes next, through [`Held::take_payload`].
    pub(super) fn begin(&mut self, header: &Header) {
        match header.opcode {
            Opcode::Text => (self.message, self.deflated) = (Some(Kind::Text), header.deflated),
            Opcode::Binary => (self.message, self.deflated) = (Some(Kind::Binary), header.deflated),
            Opcode::Continuation => {}
            Opcode::Close | Opcode::Ping | Opcode::Pong => self.control_len = 0,
        }
        self.frame =
            Some(Frame { fin: header.fin, opcode: header.opcode, key: header.key, remaining: header.payload_len });
    }

    /// Where the payload of the frame under way may be read to, if at least so many bytes of it are still to come: in `data`,
    /// which moves to the buffer that `lend` may have for it.
    pub(super) fn room(&mut self, least: usize, lend: impl FnOnce(usize) -> Option<Vec<u8>>) -> &mut [u8] {
        let Some(frame) = self.frame.as_ref().filter(|frame| !frame.opcode.is_control() && frame.remaining >= least)
        else {
            return &mut [];
        };
        let whole = Body::buffer_len(self.data.len() + frame.remaining);
        if self.data.room(frame.remaining).len() < frame.remaining {
            self.data.borrow(whole, lend);
        }
        self.data.room(frame.remaining)
    }

    /// See [`super::Decoder::adopt`].
    pub(super) fn adopt(&mut self, ahead: Ahead, len: usize) -> Result<(), Ahead> {
        let begins = |frame: &Frame| !frame.opcode.is_control() && self.data.capacity() == 0 && len <= frame.remaining;
        if !self.frame.as_ref().is_some_and(begins) {
            return Err(ahead);
        }
        (self.data, self.placed) = (ahead.into_body(), len);
        Ok(())
    }

    /// So many bytes were read into the room.
    pub(super) fn note_placed(&mut self, len: usize) {
        self.placed = len;
    }

    /// Takes what there is of the payload of the frame under way; says what ended with its last byte.
    pub(super) fn take_payload(&mut self, input: &mut Input<'_>, role: Role) -> Result<Progress, Violation> {
        let Some(frame) = &mut self.frame else {
            return Ok(Progress::FrameEnded);
        };
        let placed = std::mem::take(&mut self.placed);
        let len = if placed > 0 { placed } else { frame.remaining.min(input.rest().len()) };
        let key = frame.key;
        frame.key.rotate_left(len & 3);
        frame.remaining -= len;
        if placed > 0 {
            let (piece, is_ascii) = self.data.advance(len, |buf, range| simd::unmask(buf, range, key));
            if self.message == Some(Kind::Text) && !self.deflated {
                self.utf8.feed(piece, is_ascii)?;
            }
            return match frame.remaining {
                0 => self.end_frame(),
                _ if input.rest().is_empty() => Ok(Progress::InputEnded),
                _ => self.take_payload(input, role),
            };
        }
        if len == 0 && frame.remaining > 0 {
            return Ok(Progress::InputEnded); // the payload may come to a place of its own
        }
        if len + frame.remaining >= limits::LARGE_MESSAGE_BYTES_MIN && self.data.capacity() == 0 {
            self.data.borrow(Body::buffer_len(len + frame.remaining), |len| input.lend(len));
        }
        let (piece, is_ascii) = input.take_payload(len, key, role);
        if frame.opcode.is_control() {
            // parse() admits no control frame over CONTROL_PAYLOAD_MAX.
            let kept = usize::from(self.control_len);
            self.control[kept..kept + len].copy_from_slice(piece);
            self.control_len += len as u8;
        } else {
            if self.message == Some(Kind::Text) && !self.deflated {
                self.utf8.feed(piece, is_ascii)?;
            }
            self.data.extend(piece, frame.fin.then_some(frame.remaining));
        }
        if frame.remaining > 0 { Ok(Progress::InputEnded) } else { self.end_frame() }
    }

    fn end_frame(&mut self) -> Result<Progress, Violation> {
        let Some(frame) = self.frame.take() else {
            return Ok(Progress::FrameEnded);
        };
        if frame.opcode.is_control() {
            return Ok(Progress::Event(Found::HeldControl(frame.opcode)));
        }
        match self.message {
            Some(kind) if frame.fin => {
                self.utf8.finish()?;
                self.message = None;
                Ok(Progress::Event(Found::HeldMessage(kind)))
            }
            _ => Ok(Progress::FrameEnded),
        }
    }
}

/// How far [`Held::take_payload`] came.
#[derive(Debug)]
pub(super) enum Progress {
    /// The payload goes on in the next read.
    InputEnded,
    /// A fragment that is not the last ended: a header comes next.
    FrameEnded,
    /// A message or a control frame ended.
    Event(Found),
}

impl From<NotUtf8> for Violation {
    fn from(_: NotUtf8) -> Self {
        Self::TextNotUtf8
    }
}
