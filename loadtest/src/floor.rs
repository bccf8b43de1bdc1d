//! The machine's own limit: one thread that does with bare sockets what a broker does, and keeps no books.
//! `wirefan-loadtest floor` runs it as a process, so that its CPU time is read as the broker's is.
//! It speaks just enough: upgrades, `welcome`, an `ack` for each subscribe with an exact topic, positions, the same `message`
//! bytes as wirefan (`Rooms`), pings; on `/echo` what an `Echo` sends back, by HTTP what a `Responder` says. Publishers get silence.
//! It refuses nothing, frees no topic, and waits for a socket that is full: no measure of a broker, only of the kernel.

mod echo;
mod responder;
mod rooms;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use serde_json::value::RawValue;
use socket2::{Domain, Socket, Type};
use wirefan::http::parse_head;
use wirefan::ws::{Decoder, Event, Input, Opcode, Role, encode, handshake};

use echo::Echo;
use responder::Responder;
use rooms::Rooms;

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 4_096;
const READ_BYTES: usize = 64 * 1024;
const EVENTS_PER_POLL: usize = 256;
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections accepted between two looks at the open ones.
const ACCEPTS_PER_TURN: usize = 64;
/// How long a full socket is waited for before its connection is given up.
const FULL_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// Longest sleep.
const SLEEP: Duration = Duration::from_millis(50);
/// A ping without a payload.
const PING: &[u8] = &[0x80 | Opcode::Ping as u8, 0];

/// What the floor does beyond the least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// All publications that one turn of the loop read leave in one `send` per socket, instead of one each.
    pub(crate) batch: bool,
    /// Every connection is pinged once in so long, evenly spread; never if `None`.
    pub(crate) heartbeat: Option<Duration>,
}

/// The floor's whole state.
pub(crate) struct Floor {
    manner: Manner,
    poll: Poll,
    listener: TcpListener,
    /// Dense: four bytes each. A slot is its token.
    sockets: Vec<Option<TcpStream>>,
    /// Only touched when a connection speaks.
    readers: Vec<Reader>,
    free: Vec<usize>,
    rooms: Rooms,
    buffer: Vec<u8>,
    message: Vec<u8>,
}

/// What a connection needs to be understood.
enum Reader {
    /// The beginning of a head.
    Head(Vec<u8>),
    /// A connection that began with a POST: what is not understood yet, and who answers it.
    Requests(Vec<u8>, Responder),
    /// Commands.
    Frames(Decoder),
    /// `/echo`.
    Echo(Echo),
}

#[derive(Deserialize)]
struct Command<'a> {
    op: &'a str,
    id: Option<u64>,
    topic: Option<&'a str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Floor {
    /// Listens on `address`.
    pub(crate) fn bind(address: SocketAddr, manner: Manner) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            manner,
            poll,
            listener,
            sockets: Vec::new(),
            readers: Vec::new(),
            free: Vec::new(),
            rooms: Rooms::new(manner.batch),
            // An echo may put a header before what one read brought.
            buffer: vec![0; READ_BYTES + echo::HEADER_BYTES_MAX],
            message: Vec::new(),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Runs until `stop` is set or `until` has come.
    pub(crate) fn run(&mut self, stop: &AtomicBool, until: Option<Instant>) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        let mut accepting = false;
        let begun = Instant::now();
        let mut pinged = 0;
        while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
            let timeout = if accepting { Duration::ZERO } else { SLEEP };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() == LISTENER {
                    accepting = true;
                } else if event.is_readable() || event.is_error() {
                    self.read(event.token().0, event.is_read_closed());
                }
            }
            let failed = self.rooms.flush(&self.sockets);
            self.close_all(&failed);
            if accepting {
                accepting = self.accept();
            }
            if let Some(interval) = self.manner.heartbeat {
                self.ping(begun.elapsed(), interval, &mut pinged);
            }
        }
        Ok(())
    }

    /// Pings all whose time has come: slot n of N once per interval, n / N of it after its begin. `pinged` counts what was due so far.
    fn ping(&mut self, elapsed: Duration, interval: Duration, pinged: &mut usize) {
        let slots = self.sockets.len();
        let due = (elapsed.as_secs_f64() / interval.as_secs_f64() * slots as f64) as usize;
        // What came by late, or all at once with new slots, is not made good by more than one round.
        for turn in (*pinged).max(due.saturating_sub(slots))..due {
            let slot = turn % slots;
            if matches!(self.readers[slot], Reader::Frames(_)) && self.sockets[slot].is_some() && !self.send(slot, PING)
            {
                self.close(slot);
            }
        }
        *pinged = due;
    }

    /// True when there may be more to accept.
    fn accept(&mut self) -> bool {
        for _ in 0..ACCEPTS_PER_TURN {
            let Ok((mut socket, _)) = self.listener.accept() else {
                // Nothing there, or no descriptor left: the next edge says when to look again.
                return false;
            };
            let slot = self.free.pop().unwrap_or(self.sockets.len());
            let interest = Interest::READABLE;
            if socket.set_nodelay(true).is_err()
                || self.poll.registry().register(&mut socket, Token(slot), interest).is_err()
            {
                if slot < self.sockets.len() {
                    self.free.push(slot);
                }
                continue;
            }
            let reader = Reader::Head(Vec::new());
            if slot == self.sockets.len() {
                self.sockets.push(Some(socket));
                self.readers.push(reader);
            } else {
                self.sockets[slot] = Some(socket);
                self.readers[slot] = reader;
            }
        }
        true
    }

    fn read(&mut self, slot: usize, hung_up: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(mut socket) = self.sockets[slot].as_ref() {
            match socket.read(&mut buffer[..READ_BYTES]) {
                Ok(filled) if filled > 0 => {
                    if !self.take(slot, &mut buffer, filled) {
                        self.close(slot);
                    } else if filled < READ_BYTES && !hung_up {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.close(slot),
            }
        }
        self.buffer = buffer;
    }

    fn close_all(&mut self, slots: &[u32]) {
        for slot in slots {
            // It may be in the list once per topic.
            if self.sockets[*slot as usize].is_some() {
                self.close(*slot as usize);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        self.sockets[slot] = None;
        self.free.push(slot);
        self.rooms.leave(slot as u32);
    }

    /// False when the connection is over.
    fn take(&mut self, slot: usize, buffer: &mut [u8], filled: usize) -> bool {
        match &mut self.readers[slot] {
            Reader::Frames(_) => return self.decode(slot, buffer, filled),
            Reader::Echo(echo) => {
                return match (echo.answer(buffer, filled), &self.sockets[slot]) {
                    (Some(answer), Some(socket)) => send_all(socket, answer),
                    _ => false,
                };
            }
            Reader::Requests(..) => return self.respond(slot, &buffer[..filled]),
            Reader::Head(head) if head.is_empty() && buffer.starts_with(b"POST ") => {
                self.readers[slot] = Reader::Requests(Vec::new(), Responder::default());
                return self.respond(slot, &buffer[..filled]);
            }
            Reader::Head(head) => head.extend_from_slice(&buffer[..filled]),
        }
        self.upgrade(slot)
    }

    /// Answers a head that is whole. False when the connection is over.
    fn upgrade(&mut self, slot: usize) -> bool {
        let Reader::Head(head) = &mut self.readers[slot] else {
            return false;
        };
        let mut answer = Vec::new();
        let (used, echo) = match parse_head(head) {
            Ok(None) => return true,
            Ok(Some((parsed, used))) => match handshake::upgrade(&parsed) {
                Ok(upgrade) => {
                    upgrade.respond(&mut answer);
                    (used, upgrade.path == "/echo")
                }
                Err(_) => return false,
            },
            Err(_) => return false,
        };
        let mut rest = head.split_off(used);
        if echo {
            self.readers[slot] = Reader::Echo(Echo::default());
        } else {
            self.readers[slot] = Reader::Frames(Decoder::new(Role::Server));
            encode::frame(&mut answer, Opcode::Text, WELCOME);
        }
        let filled = rest.len();
        self.send(slot, &answer) && (filled == 0 || self.take(slot, &mut rest, filled))
    }

    /// False when the connection is over.
    fn respond(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let Reader::Requests(unread, responder) = &mut self.readers[slot] else {
            return false;
        };
        self.message.clear();
        let used = if unread.is_empty() {
            let used = responder.answer(bytes, &mut self.message);
            unread.extend_from_slice(&bytes[used.unwrap_or(0)..]);
            used
        } else {
            unread.extend_from_slice(bytes);
            let used = responder.answer(unread, &mut self.message);
            unread.drain(..used.unwrap_or(0));
            used
        };
        used.is_some() && self.send(slot, &self.message)
    }

    fn decode(&mut self, slot: usize, buffer: &mut [u8], filled: usize) -> bool {
        let Reader::Frames(decoder) = &mut self.readers[slot] else {
            return false;
        };
        let mut decoder = std::mem::replace(decoder, Decoder::new(Role::Server));
        let mut input = Input::new(buffer, filled);
        let goes_on = loop {
            match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                Ok(None) => break true,
                Ok(Some(Event::Message { payload, .. } | Event::Deflated { payload, .. })) => {
                    if !self.command(slot, payload) {
                        break false;
                    }
                }
                Ok(Some(Event::Close { .. })) | Err(_) => break false,
                Ok(Some(Event::Ping(_) | Event::Pong(_))) => {}
            }
        };
        self.readers[slot] = Reader::Frames(decoder);
        goes_on
    }

    fn command(&mut self, slot: usize, payload: &[u8]) -> bool {
        let Ok(command) = serde_json::from_slice::<Command<'_>>(payload) else {
            return false;
        };
        match (command.op, command.topic, command.data) {
            ("subscribe", Some(topic), _) => {
                let position = self.rooms.enter(slot as u32, topic);
                let ack = serde_json::json!({
                    "op": "ack", "id": command.id, "topic": topic, "position": position.to_string(),
                });
                let mut frame = Vec::new();
                encode::frame(&mut frame, Opcode::Text, ack.to_string().as_bytes());
                self.send(slot, &frame)
            }
            ("publish", Some(topic), Some(data)) => {
                let failed = self.rooms.publish(topic, data.get().as_bytes(), &self.sockets);
                self.close_all(&failed);
                true
            }
            _ => false,
        }
    }

    fn send(&self, slot: usize, bytes: &[u8]) -> bool {
        self.sockets[slot].as_ref().is_some_and(|socket| send_all(socket, bytes))
    }
}

/// Sends all of it. Waits for a full socket: the floor has no queues. False when the connection is over.
fn send_all(mut socket: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut wait = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT)];
                if !matches!(poll(&mut wait, Some(&FULL_WAIT)), Ok(1)) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

const WELCOME: &[u8] = br#"{"op":"welcome","client":"floor","user":null,"server":"floor","heartbeat":0,"limits":{}}"#;
