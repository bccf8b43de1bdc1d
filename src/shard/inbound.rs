//! What a connection sent: bytes to whoever understands them, frames, messages.
//!
//! Bytes come in the shard's one read buffer and are parsed there; a connection owns memory for input only while a
//! request, a frame or a message is incomplete. What is still to come of a large message is read straight into that, if
//! there is a spare buffer for it. HTTP is read in `requests`.

use super::Shard;
use super::connection::{CloseReason, Phase, Speech};
use crate::ids::ConnId;
use crate::limits;
use crate::protocol::{Command, Fault};
use crate::ws::deflate::{Deflater, WINDOW_BITS_MIN};
use crate::ws::{Ahead, Body, Event, Input, Kind, Opcode, Violation, encode};

/// What waits for a connection pins at most so many times its bytes: a buffer may be far larger than the message in it.
const BUFFER_SHARE: usize = 4;

impl Shard {
    /// Takes `buf[..filled]`, just read from the connection. The bytes are changed in place, those behind them are not
    /// touched.
    pub fn handle_bytes(&mut self, id: ConnId, buf: &mut [u8], filled: usize) {
        let Some(index) = self.index_of(id) else { return };
        let connection = &mut self.connections[index as usize];
        connection.seen = self.now;
        match connection.phase {
            Phase::Http => self.handle_http(index, &mut buf[..filled]),
            Phase::Open if matches!(connection.speech, Speech::Events) => {} // it has nothing to say
            Phase::Open | Phase::Closing => self.handle_frames(index, &mut buf[..filled]),
            Phase::Lingering => {}
        }
    }

    /// Where the next bytes of the connection may be read to, before any go to the read buffer, for [`Shard::handle_placed`];
    /// empty unless a large message is coming, or is expected because the last one was.
    pub fn room(&mut self, id: ConnId) -> &mut [u8] {
        if let Some(unused) = self.ahead.take() {
            self.outbound.segments().large().keep(unused.into_buffer());
        }
        let Some(index) = self.index_of(id) else { return &mut [] };
        let connection = &mut self.connections[index as usize];
        match &mut connection.speech {
            // What may have to wait has to be in the read buffer.
            Speech::WebSocket(decoder) if connection.deflate.is_none() => {
                let spares = self.outbound.segments().large();
                let room = match decoder.expected() {
                    0 => decoder.room(limits::PLACED_BYTES_MIN, |len| spares.lend(len..=usize::MAX)),
                    len => {
                        self.ahead = Ahead::new(len, |least| spares.lend(least..=BUFFER_SHARE * len));
                        self.ahead.as_mut().map(Ahead::room).unwrap_or_default()
                    }
                };
                let len = room.len().min(limits::PLACED_BYTES_PER_TURN);
                &mut room[..len]
            }
            _ => &mut [],
        }
    }

    /// So many bytes, more than none, were just read from the connection into its [`Shard::room`].
    pub fn handle_placed(&mut self, id: ConnId, len: usize) {
        let Some(index) = self.index_of(id) else { return };
        let connection = &mut self.connections[index as usize];
        connection.seen = self.now;
        if let Speech::WebSocket(decoder) = &mut connection.speech
            && connection.phase != Phase::Lingering
        {
            if let Some(ahead) = self.ahead.take() {
                return self.handle_ahead(id, ahead, len);
            }
            decoder.note_placed(len);
            self.handle_frames(index, &mut []);
        }
    }

    fn handle_ahead(&mut self, id: ConnId, mut ahead: Ahead, len: usize) {
        let (header, payload) = ahead.halves(len);
        let payload_len = payload.len();
        self.handle_frames(id.index, header);
        if payload_len > 0
            && let Some(index) = self.index_of(id)
            && let Speech::WebSocket(decoder) = &mut self.connections[index as usize].speech
        {
            match decoder.adopt(ahead, payload_len) {
                Ok(()) => return self.handle_frames(index, &mut []),
                Err(other) => ahead = other,
            }
            self.handle_frames(index, ahead.halves(len).1);
        }
        self.outbound.segments().large().keep(ahead.into_buffer());
    }

    pub(super) fn handle_frames(&mut self, index: u32, bytes: &mut [u8]) {
        let filled = bytes.len();
        // The decoder is out while its events are handled: they borrow from it. Nothing here looks at it.
        let Speech::WebSocket(mut decoder) = std::mem::take(&mut self.connections[index as usize].speech) else {
            return;
        };
        let message_bytes_max = self.settings.config.limits.message_bytes_max;
        let conn = self.id_of(index);
        // Out, too: what is given back meanwhile is put together with them.
        let mut spares = std::mem::take(self.outbound.segments().large());
        let mut input = Input::new(bytes, filled).with_spares(&mut spares);
        let goes_on = loop {
            let collected = decoder.is_inside_message();
            match decoder.next(&mut input, message_bytes_max) {
                Ok(None) => break true,
                Ok(Some(Event::Message { kind, payload })) if collected && self.echoes_moved(index, payload) => {
                    self.echo_moved(index, kind, decoder.take_message().unwrap_or_default());
                }
                Ok(Some(event)) => self.handle_event(index, event),
                Err(violation) => self.handle_violation(index, violation),
            }
            if collected && let Some(body) = decoder.take_message() {
                self.outbound.segments().large().keep(body.into_buffer());
            }
            match self.index_of(conn) {
                Some(index) if self.connections[index as usize].phase != Phase::Lingering => {}
                _ => break false, // the rest of the input is of no interest, nor is the decoder
            }
            if !input.rest().is_empty() && self.is_too_much(index) {
                self.put_off(index, input.rest());
                break true;
            }
        };
        self.outbound.segments().large().keep_all(spares);
        if !goes_on {
            return;
        }
        self.connections[index as usize].speech = Speech::WebSocket(decoder);
        self.pause_if_full(index);
    }

    fn handle_event(&mut self, index: u32, event: Event<'_>) {
        let connection = &self.connections[index as usize];
        let (open, echo) = (connection.phase == Phase::Open, connection.echo);
        match event {
            Event::Message { kind, payload } if open && echo => self.echo(index, kind, payload),
            Event::Message { kind, payload } if open => self.handle_message(index, kind, payload),
            Event::Deflated { kind, payload } if open => self.inflate(index, kind, payload),
            Event::Ping(payload) if open => {
                self.outbound.push_reply(index, |out| encode::frame(out, Opcode::Pong, payload));
            }
            Event::Close { code, reason } => self.handle_close(index, open, code, reason),
            // A pong was noted as activity; after our Close nothing but the peer's matters (RFC 6455 1.4).
            Event::Message { .. } | Event::Deflated { .. } | Event::Ping(_) | Event::Pong(_) => {}
        }
    }

    /// Some bytes become very many: what else a connection with compression sent waits when they were enough for a turn, or
    /// while their answers wait.
    fn is_too_much(&self, index: u32) -> bool {
        let inflates = self.connections[index as usize].deflate.is_some();
        inflates && (self.inflate_budget == 0 || self.is_full(index))
    }

    fn put_off(&mut self, index: u32, rest: &[u8]) {
        self.put_off.insert(index, rest.to_vec());
        self.connections[index as usize].paused = true;
        if !self.is_full(index) {
            self.unread.push(self.id_of(index));
        }
    }

    /// Goes on with what was put off, if anything was.
    pub(super) fn continue_frames(&mut self, index: u32) {
        let conn = self.id_of(index);
        let Some(mut rest) = self.put_off.remove(&index) else { return };
        if self.is_too_much(index) {
            return self.put_off(index, &rest);
        }
        self.handle_frames(index, &mut rest);
        if self.index_of(conn).is_some() {
            self.resume_if_room(index);
        }
    }

    /// A compressed message is what it was before.
    fn inflate(&mut self, index: u32, kind: Kind, deflated: &[u8]) {
        // Out while the message is handled: it lies in there.
        let mut inflater = self.inflater.take().unwrap_or_default();
        match inflater.message(kind, deflated, self.settings.config.limits.message_bytes_max) {
            Ok(payload) => {
                self.inflate_budget = self.inflate_budget.saturating_sub(payload.len());
                self.counters.inflated += 1;
                self.counters.inflated_bytes += payload.len() as u64;
                self.handle_event(index, Event::Message { kind, payload });
            }
            Err(violation) => self.handle_violation(index, violation),
        }
        self.inflater = Some(inflater);
    }

    /// Whether a message that lies in memory of its own is to go back from there.
    fn echoes_moved(&self, index: u32, payload: &[u8]) -> bool {
        let connection = &self.connections[index as usize];
        let echoes = connection.echo && connection.phase == Phase::Open && connection.deflate.is_none();
        echoes && payload.len() >= limits::LARGE_MESSAGE_BYTES_MIN
    }

    fn echo_moved(&mut self, index: u32, kind: Kind, message: Body) {
        if message.capacity() > BUFFER_SHARE * message.payload().len() {
            self.echo(index, kind, message.payload());
            return self.outbound.segments().large().keep(message.into_buffer());
        }
        let (buffer, frame) = message.into_frame(kind);
        self.outbound.push_moved(index, buffer, frame);
    }

    /// Compressed, if that was agreed on and makes it shorter.
    fn echo(&mut self, index: u32, kind: Kind, payload: &[u8]) {
        if self.connections[index as usize].deflate.is_some() {
            // The smallest window is within every agreement.
            let deflater = self.deflater.get_or_insert_with(|| Box::new(Deflater::new(WINDOW_BITS_MIN)));
            if let Some(deflated) = deflater.deflate([payload, b""], payload.len().saturating_sub(1)) {
                return self.outbound.push_reply(index, |out| {
                    encode::deflated_header(out, kind.into(), deflated.len());
                    out.extend_from_slice(deflated);
                });
            }
        }
        if payload.len() < limits::LARGE_MESSAGE_BYTES_MIN {
            return self.outbound.push_reply(index, |out| encode::frame(out, kind.into(), payload));
        }
        let spares = self.outbound.segments().large();
        let copy = Body::copy_of(payload, |least| spares.lend(least..=BUFFER_SHARE * payload.len()));
        let (buffer, frame) = copy.into_frame(kind);
        self.outbound.push_moved(index, buffer, frame);
    }

    /// RFC 6455 5.5.1: a Close is answered by one with the same code, then the server closes.
    fn handle_close(&mut self, index: u32, open: bool, code: Option<u16>, reason: &str) {
        if open {
            self.outbound.push_reply(index, |out| match code {
                Some(code) => encode::close(out, code, reason),
                None => encode::frame(out, Opcode::Close, b""),
            });
        }
        self.linger(index, CloseReason::PeerClosed);
    }

    fn handle_violation(&mut self, index: u32, violation: Violation) {
        if self.connections[index as usize].phase == Phase::Open {
            let (code, text) = (violation.close_code(), violation.reason());
            self.outbound.push_reply(index, |out| encode::close(out, code, text));
        }
        self.linger(index, CloseReason::Violation);
    }

    /// A connection that does not read its replies is not read either.
    pub(super) fn pause_if_full(&mut self, index: u32) {
        if self.is_full(index) {
            self.connections[index as usize].paused = true;
            self.outbound.watch(index, true);
        }
    }

    /// Whether no more answers may be made before some of those that wait are read.
    pub(super) fn is_full(&self, index: u32) -> bool {
        self.outbound.pending_replies(index) + self.held_bytes(self.id_of(index)) >= limits::REPLY_BYTES_MAX
    }

    /// Parses and carries out the commands of one message.
    fn handle_message(&mut self, index: u32, kind: Kind, payload: &[u8]) {
        let id = self.id_of(index);
        let mut parser = self.parser.take().expect("messages are handled one at a time");
        let mut each = |command: Result<Command<'_>, Fault>| self.handle_command(id, command);
        match kind {
            Kind::Text => parser.text(payload, &mut each),
            Kind::Binary => parser.binary(payload, &mut each),
        }
        self.parser = Some(parser);
    }
}
