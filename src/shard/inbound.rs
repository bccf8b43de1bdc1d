//! What a connection sent: a handshake, then frames, then messages.
//!
//! Bytes come in the shard's one padded read buffer and are parsed there; a connection owns memory for input only while a
//! head, a frame or a message is incomplete.

use super::Shard;
use super::connection::{CloseReason, PartialHead, Phase};
use crate::http::{self, Problem};
use crate::ids::{ClientName, ConnId};
use crate::limits;
use crate::protocol::{Command, Fault, reply};
use crate::transport::websocket;
use crate::ws::{Event, Input, Kind, Opcode, Violation, encode, handshake};

impl Shard {
    /// Takes `buf[..filled]`, just read from the connection. The bytes are changed in place, those behind them are not
    /// touched.
    pub fn handle_bytes(&mut self, id: ConnId, buf: &mut [u8], filled: usize) {
        let Some(index) = self.index_of(id) else { return };
        let connection = &mut self.connections[index as usize];
        connection.seen = self.now;
        match connection.phase {
            Phase::Handshake if connection.head.is_some() => self.continue_head(index, &buf[..filled]),
            Phase::Handshake => self.handle_head(index, buf, filled),
            Phase::Open | Phase::Closing => self.handle_frames(index, &mut Input::new(buf, filled)),
            Phase::Lingering => {}
        }
    }

    /// A head that arrives in parts is collected, up to its limit, in a buffer of its own.
    fn continue_head(&mut self, index: u32, bytes: &[u8]) {
        let connection = &mut self.connections[index as usize];
        let PartialHead(mut head) = *connection.head.take().unwrap_or_default();
        head.extend_from_slice(bytes);
        let filled = head.len();
        self.handle_head(index, &mut head, filled);
    }

    fn handle_head(&mut self, index: u32, buf: &mut [u8], filled: usize) {
        let taken = match http::parse_head(&buf[..filled]) {
            Ok(None) => {
                self.connections[index as usize].head = Some(Box::new(PartialHead(buf[..filled].to_vec())));
                return;
            }
            Ok(Some((head, taken))) => {
                self.answer_head(index, &head);
                taken
            }
            Err(problem) => {
                self.refuse(index, &problem);
                filled
            }
        };
        // A client that sent frames right behind its request gets its answers behind the 101.
        if self.connections.get(index as usize).is_some_and(|connection| connection.phase == Phase::Open)
            && taken < filled
        {
            self.handle_frames(index, &mut Input::new(&mut buf[taken..], filled - taken));
        }
    }

    fn answer_head(&mut self, index: u32, head: &http::Head<'_>) {
        if !handshake::is_upgrade(head) {
            let echo = self.settings.config.server.echo;
            self.outbound.push_solid(index, |out| http::respond_to(out, head, echo));
            return self.linger(index, CloseReason::HttpAnswered);
        }
        match self.judge_upgrade(head) {
            Ok((upgrade, echo)) => {
                self.outbound.push_solid(index, |out| upgrade.respond(out));
                self.open(index, echo);
            }
            Err(problem) => self.refuse(index, &problem),
        }
    }

    /// The upgrade, and whether it is one to `/echo`.
    fn judge_upgrade<'h>(&self, head: &'h http::Head<'_>) -> Result<(handshake::Upgrade<'h>, bool), Problem> {
        let upgrade = handshake::upgrade(head)?;
        let echo = http::endpoint(upgrade.path, self.settings.config.server.echo)? == http::Endpoint::Echo;
        if !self.settings.origins.allows(upgrade.origin, upgrade.host) {
            return Err(Problem::new(403, "this origin is not among server.allowed_origins"));
        }
        Ok((upgrade, echo))
    }

    fn refuse(&mut self, index: u32, problem: &Problem) {
        self.outbound.push_solid(index, |out| http::respond_problem(out, problem, false));
        self.linger(index, CloseReason::HttpRefused);
    }

    /// The handshake is done: the connection speaks WebSocket, and the topic protocol unless it is an echo.
    fn open(&mut self, index: u32, echo: bool) {
        let connection = &mut self.connections[index as usize];
        (connection.phase, connection.echo) = (Phase::Open, echo);
        self.outbound.open(index, true);
        self.file_heartbeat(index);
        if echo {
            return;
        }
        let client = ClientName { shard: self.me, conn: self.id_of(index) };
        let (user, limits) = (self.connections[index as usize].user.clone(), &self.settings.config.limits);
        let user = user.as_ref().map(|user| &*user.name);
        let heartbeat_s = self.settings.config.heartbeat.interval_s;
        self.outbound.push_reply(index, |out| {
            websocket::reply(out, |out| {
                reply::welcome(out, &client, user, heartbeat_s, limits.message_bytes_max, limits.subscriptions_max);
            });
        });
    }

    fn handle_frames(&mut self, index: u32, input: &mut Input<'_>) {
        // The decoder is out while its events are handled: they borrow from it. Nothing here looks at it.
        let fresh = crate::ws::Decoder::new(crate::ws::Role::Server);
        let mut decoder = std::mem::replace(&mut self.connections[index as usize].decoder, fresh);
        let message_bytes_max = self.settings.config.limits.message_bytes_max;
        let generation = self.generations[index as usize];
        loop {
            match decoder.next(input, message_bytes_max) {
                Ok(None) => break,
                Ok(Some(event)) => self.handle_event(index, event),
                Err(violation) => self.handle_violation(index, violation),
            }
            let here = self.generations[index as usize] == generation;
            match self.connections.get(index as usize).filter(|_| here) {
                Some(connection) if connection.phase != Phase::Lingering => {}
                _ => return, // the rest of the input is of no interest, nor is the decoder
            }
        }
        self.connections[index as usize].decoder = decoder;
        self.pause_if_full(index);
    }

    fn handle_event(&mut self, index: u32, event: Event<'_>) {
        let connection = &self.connections[index as usize];
        let (open, echo) = (connection.phase == Phase::Open, connection.echo);
        match event {
            Event::Message { kind, payload } if open && echo => {
                let opcode = if kind == Kind::Text { Opcode::Text } else { Opcode::Binary };
                self.outbound.push_reply(index, |out| encode::frame(out, opcode, payload));
            }
            Event::Message { kind, payload } if open => self.handle_message(index, kind, payload),
            Event::Ping(payload) if open => {
                self.outbound.push_reply(index, |out| encode::frame(out, Opcode::Pong, payload));
            }
            Event::Close { code, reason } => self.handle_close(index, open, code, reason),
            // A pong was noted as activity; after our Close nothing but the peer's matters (RFC 6455 1.4).
            Event::Message { .. } | Event::Ping(_) | Event::Pong(_) => {}
        }
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
    fn pause_if_full(&mut self, index: u32) {
        let waits = self.outbound.pending_replies(index) + self.held_bytes(self.id_of(index));
        if waits >= limits::REPLY_BYTES_MAX {
            self.connections[index as usize].paused = true;
            self.outbound.watch(index, true);
        }
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
