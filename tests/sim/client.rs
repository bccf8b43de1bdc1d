//! One simulated client at the level of bytes: its stream out, its decoder of what comes in, its manners.
//!
//! It frames with the client half of `ws` and decides nothing: the world tells it what to do and asks it what it got.

use std::collections::VecDeque;

use wirefan::ids::ConnId;
use wirefan::ws::{Decoder, Event, Input, Kind, Role, encode, handshake};

use crate::event::Frame;
use crate::random::Random;
use crate::stream::Stream;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) shard: usize,
    /// Who it is: he remembers what his connections got.
    pub(crate) person: usize,
    /// Once it is accepted.
    pub(crate) conn: Option<ConnId>,
    /// Bytes on their way to its shard.
    pub(crate) out: VecDeque<u8>,
    /// Bytes of its stream, from the start.
    pub(crate) sent: u64,
    /// Number of its next command.
    pub(crate) seq: u64,
    /// What the broker had written when it dropped the connection, and whether in order.
    pub(crate) dropped: Option<(VecDeque<u8>, bool)>,
    key: [u8; 16],
    head: Vec<u8>,
    decoder: Decoder,
    /// The 101 came.
    pub(crate) open: bool,
    /// It asked for a stream of events.
    pub(crate) stream: Option<Stream>,
    /// It asked for an upgrade.
    pub(crate) websocket: bool,
    /// It ends its stream when all that is in `out` was carried.
    pub(crate) ends: bool,
    /// It did so.
    pub(crate) ended: bool,
    /// Does not read for now.
    pub(crate) stalled: bool,
    /// Answers neither pings nor a Close.
    pub(crate) mute: bool,
    /// It did not say anything yet.
    pub(crate) new: bool,
    /// It said its last: no command follows.
    pub(crate) done: bool,
    closed: bool,
    /// Nothing will come any more.
    pub(crate) over: bool,
    /// Filters that it subscribed to without an id and so does not know about.
    pub(crate) silent: Vec<String>,
    /// Filters that it tried, to choose some to unsubscribe from.
    pub(crate) tried: Vec<String>,
}

impl Client {
    /// A client of a shard, not yet accepted, that has said nothing.
    pub(crate) fn new(number: u32, shard: usize, person: usize, random: &mut Random) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&random.word().to_le_bytes());
        Self {
            number,
            shard,
            person,
            conn: None,
            out: VecDeque::new(),
            sent: 0,
            seq: 1,
            dropped: None,
            key,
            head: Vec::new(),
            decoder: Decoder::new(Role::Client),
            open: false,
            stream: None,
            websocket: false,
            ends: false,
            ended: false,
            stalled: false,
            mute: false,
            new: true,
            done: false,
            closed: false,
            over: false,
            silent: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Asks for an upgrade.
    pub(crate) fn ask(&mut self) {
        let mut bytes = Vec::new();
        handshake::request(&mut bytes, "sim", "/ws", self.key, &[handshake::SUBPROTOCOL]);
        self.websocket = true;
        self.say(&bytes);
    }

    /// Adds bytes to its stream.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
        self.sent += bytes.len() as u64;
    }

    /// Whether it can be told to send a command.
    pub(crate) fn speaks(&self) -> bool {
        self.websocket && !self.done && !self.closed && !self.over && !self.ends && !self.ended
    }

    /// Whether it listens to a stream.
    pub(crate) fn listens(&self) -> bool {
        self.stream.is_some() && !self.over && !self.ends && !self.ended
    }

    /// What the bytes are, in order. An answer without an upgrade is reported by its status.
    pub(crate) fn receive(&mut self, mut bytes: Vec<u8>) -> Vec<Frame> {
        let mut frames = Vec::new();
        if let Some(stream) = &mut self.stream {
            stream.receive(&bytes, &mut frames);
            return frames;
        }
        if !self.open {
            self.head.append(&mut bytes);
            let parsed = handshake::parse_response(&self.head, self.key);
            match parsed {
                Ok(Some(len)) if self.websocket => {
                    self.open = true;
                    frames.push(Frame::Http(101));
                    bytes = self.head.split_off(len);
                }
                _ => {
                    if !self.closed && self.head.windows(4).any(|end| end == b"\r\n\r\n") {
                        self.closed = true;
                        let status = self.head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
                        frames.push(Frame::Http(status.and_then(|digits| digits.parse().ok()).unwrap_or(0)));
                    }
                    return frames;
                }
            }
        }
        self.decode(bytes, &mut frames);
        frames
    }

    fn decode(&mut self, mut bytes: Vec<u8>, frames: &mut Vec<Frame>) {
        let filled = bytes.len();
        let mut input = Input::new(&mut bytes, filled);
        while !self.closed {
            let frame = match self.decoder.next(&mut input, usize::MAX) {
                Ok(None) => return,
                Ok(Some(Event::Message { kind: Kind::Text, payload })) => Frame::Text(payload.to_vec()),
                Ok(Some(Event::Message { kind: Kind::Binary, payload })) => Frame::Binary(payload.to_vec()),
                Ok(Some(Event::Deflated { .. })) => unreachable!("it offered no extension"),
                Ok(Some(Event::Ping(_))) => Frame::Ping,
                Ok(Some(Event::Pong(payload))) => Frame::Pong(payload.to_vec()),
                Ok(Some(Event::Close { code, .. })) => Frame::Close(code),
                Err(violation) => Frame::Garbage(violation.to_string()),
            };
            self.closed = matches!(frame, Frame::Close(_) | Frame::Garbage(_));
            frames.push(frame);
        }
        if !input.rest().is_empty() {
            frames.push(Frame::Garbage(format!("{} bytes behind the Close frame", input.rest().len())));
        }
    }

    /// Whether it got a part of something.
    pub(crate) fn is_torn(&self) -> bool {
        if let Some(stream) = &self.stream {
            return stream.is_torn();
        }
        if self.open || self.closed { self.decoder.held_bytes() > 0 && !self.closed } else { !self.head.is_empty() }
    }

    /// Answers what wants an answer.
    pub(crate) fn answer(&mut self, frame: &Frame, random: &mut Random) {
        if self.mute || self.ends || self.ended || self.stream.is_some() {
            return;
        }
        let mut bytes = Vec::new();
        match frame {
            Frame::Ping => encode::masked_frame(&mut bytes, wirefan::ws::Opcode::Pong, b"", random.key()),
            Frame::Close(code) if !self.done => {
                encode::masked_close(&mut bytes, code.unwrap_or(1000), "", random.key());
            }
            _ => return,
        }
        self.done |= matches!(frame, Frame::Close(_));
        self.say(&bytes);
    }
}
