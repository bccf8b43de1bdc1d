//! The machine's own limit: one thread that sends the bytes of a publication to N sockets, one `send` each, and keeps no books.
//! `wirefan-loadtest floor` runs it as a process, so that its CPU time is read as the broker's is.
//! It speaks just enough: upgrades, `welcome`, an `ack` for each subscribe with an exact topic, positions, the same `message`
//! bytes as wirefan; publishers get silence, by HTTP what a `Responder` says. A topic's subscribers are slots of one dense array of sockets.
//! It refuses nothing, frees no topic, and waits for a socket that is full: no measure of a broker, only of the kernel.

mod responder;

use std::collections::HashMap;
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

use crate::envelope::{Position, write_message};
use responder::Responder;

const LISTENER: Token = Token(usize::MAX);
const BACKLOG: i32 = 4_096;
const READ_BYTES: usize = 64 * 1024;
const EVENTS_PER_POLL: usize = 256;
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections accepted between two looks at the open ones.
const ACCEPTS_PER_TURN: usize = 64;
/// How long a full socket is waited for before its connection is given up.
const FULL_WAIT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// The epoch of all topics here.
const EPOCH: u32 = 0x0000_f100;

/// The floor's whole state.
pub(crate) struct Floor {
    poll: Poll,
    listener: TcpListener,
    /// Dense: four bytes each. A slot is its token.
    sockets: Vec<Option<TcpStream>>,
    /// Only touched when a connection speaks.
    readers: Vec<Reader>,
    free: Vec<usize>,
    topics: HashMap<String, Topic>,
    buffer: Vec<u8>,
    /// The one frame that goes to everybody.
    frame: Vec<u8>,
    message: Vec<u8>,
}

#[derive(Default)]
struct Topic {
    offset: u64,
    subscribers: Vec<u32>,
}

/// What a connection needs to be understood.
struct Reader {
    /// What is not understood yet; `None` once upgraded.
    head: Option<Vec<u8>>,
    /// On a connection that began with a POST.
    responder: Option<Responder>,
    decoder: Decoder,
}

impl Reader {
    const fn new() -> Self {
        Self { head: Some(Vec::new()), responder: None, decoder: Decoder::new(Role::Server) }
    }
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
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            sockets: Vec::new(),
            readers: Vec::new(),
            free: Vec::new(),
            topics: HashMap::new(),
            buffer: vec![0; READ_BYTES],
            frame: Vec::new(),
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
        while !stop.load(Ordering::Relaxed) && until.is_none_or(|until| Instant::now() < until) {
            let timeout = Duration::from_millis(if accepting { 0 } else { 50 });
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
            if accepting {
                accepting = self.accept();
            }
        }
        Ok(())
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
            if slot == self.sockets.len() {
                self.sockets.push(Some(socket));
                self.readers.push(Reader::new());
            } else {
                self.sockets[slot] = Some(socket);
                self.readers[slot] = Reader::new();
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

    fn close(&mut self, slot: usize) {
        self.sockets[slot] = None;
        self.free.push(slot);
        for topic in self.topics.values_mut() {
            topic.subscribers.retain(|subscriber| *subscriber as usize != slot);
        }
    }

    /// False when the connection is over.
    fn take(&mut self, slot: usize, buffer: &mut [u8], filled: usize) -> bool {
        let Reader { head: Some(head), responder, .. } = &mut self.readers[slot] else {
            return self.decode(slot, buffer, filled);
        };
        if head.is_empty() && buffer.starts_with(b"POST ") {
            responder.get_or_insert_default();
        }
        if responder.is_some() {
            return self.respond(slot, &buffer[..filled]);
        }
        let mut answer = Vec::new();
        head.extend_from_slice(&buffer[..filled]);
        let used = match parse_head(head) {
            Ok(None) => return true,
            Ok(Some((parsed, used))) => match handshake::upgrade(&parsed) {
                Ok(upgrade) => {
                    upgrade.respond(&mut answer);
                    used
                }
                Err(_) => return false,
            },
            Err(_) => return false,
        };
        let mut rest = head.split_off(used);
        self.readers[slot].head = None;
        encode::frame(&mut answer, Opcode::Text, WELCOME);
        if !self.send(slot, &answer) {
            return false;
        }
        let filled = rest.len();
        self.decode(slot, &mut rest, filled)
    }

    /// False when the connection is over.
    fn respond(&mut self, slot: usize, bytes: &[u8]) -> bool {
        let Reader { head: Some(unread), responder: Some(responder), .. } = &mut self.readers[slot] else {
            return false;
        };
        self.message.clear();
        let ends = if unread.is_empty() {
            let answered = responder.answer(bytes, &mut self.message);
            unread.extend_from_slice(&bytes[answered.used..]);
            answered.ends
        } else {
            unread.extend_from_slice(bytes);
            let answered = responder.answer(unread, &mut self.message);
            unread.drain(..answered.used);
            answered.ends
        };
        self.send(slot, &self.message) && !ends
    }

    fn decode(&mut self, slot: usize, buffer: &mut [u8], filled: usize) -> bool {
        let mut decoder = std::mem::replace(&mut self.readers[slot].decoder, Decoder::new(Role::Server));
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
        self.readers[slot].decoder = decoder;
        goes_on
    }

    fn command(&mut self, slot: usize, payload: &[u8]) -> bool {
        let Ok(command) = serde_json::from_slice::<Command<'_>>(payload) else {
            return false;
        };
        match (command.op, command.topic, command.data) {
            ("subscribe", Some(topic), _) => self.subscribe(slot, topic, command.id),
            ("publish", Some(topic), Some(data)) => {
                self.publish(topic, data.get().as_bytes());
                true
            }
            _ => false,
        }
    }

    fn subscribe(&mut self, slot: usize, name: &str, id: Option<u64>) -> bool {
        let topic = self.topics.entry(name.to_owned()).or_default();
        topic.subscribers.push(slot as u32);
        let position = format!("{EPOCH:08x}:{}", topic.offset);
        let ack = serde_json::json!({ "op": "ack", "id": id, "topic": name, "position": position });
        let mut frame = Vec::new();
        encode::frame(&mut frame, Opcode::Text, ack.to_string().as_bytes());
        self.send(slot, &frame)
    }

    /// The loop that everything here is about.
    fn publish(&mut self, name: &str, data: &[u8]) {
        let Some(topic) = self.topics.get_mut(name) else {
            return;
        };
        topic.offset += 1;
        let position = Position { epoch: EPOCH, offset: topic.offset };
        self.message.clear();
        write_message(&mut self.message, name, position, data);
        self.frame.clear();
        encode::frame(&mut self.frame, Opcode::Text, &self.message);
        let subscribers = std::mem::take(&mut topic.subscribers);
        let mut failed = Vec::new();
        for slot in &subscribers {
            let Some(mut socket) = self.sockets[*slot as usize].as_ref() else {
                continue;
            };
            match socket.write(&self.frame) {
                Ok(n) if n == self.frame.len() => {}
                Ok(n) if send_all(socket, &self.frame[n..]) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && send_all(socket, &self.frame) => {}
                _ => failed.push(*slot as usize),
            }
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.subscribers = subscribers;
        }
        for slot in failed {
            self.close(slot);
        }
    }

    fn send(&self, slot: usize, bytes: &[u8]) -> bool {
        self.sockets[slot].as_ref().is_some_and(|socket| send_all(socket, bytes))
    }
}

/// Waits for a full socket: the floor has no queues.
#[cold]
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
