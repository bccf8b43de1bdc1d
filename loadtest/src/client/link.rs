//! One client connection: connect, upgrade, `welcome`, subscriptions and their acks, then messages.
//! A worker owns it and calls `readable` and `writable` when the poll says so.
//!
//! ```text
//! connecting --writable--> upgrading --101--> greeting --welcome--> subscribing --all acks--> ready
//!     \--writable, over HTTP--> feeding --its acks--> fed     any of them --error, close, deadline, reset--> gone
//!      \--by a profile: upgrading--101--> talking until it is ready, or posting at once
//! ```
//! Invariants: nothing is read after an error; pongs answer pings at once; pending bytes are bounded by `PENDING_BYTES_MAX`.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use wirefan::limits::DEFLATE_BYTES_MIN;
use wirefan::ws::deflate::Inflater;
use wirefan::ws::{Decoder, Event, Input, Kind, Opcode, Role, encode, handshake};

use super::Subscription;
use super::answer::refusal;
use super::feed::Feed;
use super::stream::Stream;
use super::talk::{Posts, Talk};
use crate::envelope::{Ack, Reply, parse_reply};
use crate::machine;
use crate::profile::{By, Profile};
use crate::target::Target;

/// Largest message that a client takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest answer to the upgrade request, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Unsent bytes beyond which a connection takes no more to send.
pub(crate) const PENDING_BYTES_MAX: usize = 1024 * 1024;

/// A message on a ready connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    /// UTF-8, checked by the decoder.
    Text(&'a [u8]),
    /// Any bytes.
    Binary(&'a [u8]),
    /// A subscription has begun; the connection may not be ready yet.
    Acked(Ack),
    /// A publication, recognised by a profile: without a position.
    Delivered {
        /// The topic's name, if the broker says it.
        topic: Option<&'a [u8]>,
        /// The payload, byte for byte.
        payload: &'a [u8],
    },
}

/// One client connection.
pub(crate) struct Link {
    /// None once it was reset.
    socket: Option<Stream>,
    phase: Phase,
    decoder: Decoder,
    /// Bytes that the socket has not taken yet.
    pending: Vec<u8>,
    /// State of the generator of masks.
    masks: u64,
    /// It offered permessage-deflate: nothing long may come as it is.
    deflate: bool,
    /// Pings answered and not told yet.
    pings: u32,
}

enum Phase {
    Connecting,
    Upgrading(Box<Upgrading>),
    Greeting(Vec<Subscription>),
    Subscribing {
        acks_left: usize,
    },
    Ready,
    /// Over HTTP, not ready yet.
    Feeding(Box<Feed>),
    /// Over HTTP, ready.
    Fed(Box<Feed>),
    /// As a profile says, ready or not.
    Talking(Box<Talk>),
    /// Publishes by POST.
    Posting(Posts),
    Gone,
}

struct Upgrading {
    key: [u8; 16],
    answer: Vec<u8>,
    subscriptions: Vec<Subscription>,
    /// How to go on, if not as wirefan.
    profile: Option<Arc<Profile>>,
}

impl Link {
    /// Begins to connect. `source` other than 0 binds to 127.0.0.(1 + source) first, and leaves the port to the connect: so one source
    /// has all its ports for each target, and the kernel need not look for one that is free for all.
    pub(crate) fn open(target: &Target, source: u8, receive_buffer: Option<usize>, seed: u64) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Closing resets: twenty thousand sockets in TIME_WAIT would eat the ports of the next run.
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if source != 0 && target.address.is_ipv4() {
            let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + source));
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&SocketAddr::new(address, 0).into())?;
        }
        match socket.connect(&target.address.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        Ok(Self {
            socket: Some(Stream::new(TcpStream::from_std(socket.into()), target.tls.as_ref())?),
            phase: Phase::Connecting,
            decoder: Decoder::new(Role::Client),
            pending: Vec::new(),
            masks: seed,
            deflate: target.deflate,
            pings: 0,
        })
    }

    /// The socket, to register it; none once the connection was reset.
    pub(crate) fn socket(&mut self) -> Option<&mut TcpStream> {
        self.socket.as_mut().map(Stream::socket)
    }

    /// Closes the socket at once and without a word: the peer sees a reset.
    pub(crate) fn reset(&mut self) {
        self.phase = Phase::Gone;
        self.pending = Vec::new();
        // Its linger time is zero, so closing it sends RST and drops what was unsent or unread.
        self.socket = None;
    }

    /// True once it has all its acks and until it ends.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.phase {
            Phase::Ready | Phase::Fed(_) | Phase::Posting(_) => true,
            Phase::Talking(talk) => talk.is_ready(),
            _ => false,
        }
    }

    /// How many pings it has answered since the last call.
    pub(crate) fn take_pings(&mut self) -> u32 {
        std::mem::take(&mut self.pings)
    }

    /// True once it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Gone)
    }

    /// Forgets the connection; the socket is reset when the link is dropped.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Gone;
        self.pending = Vec::new();
        // A reset at the end needs no goodbye, and an error here changes nothing.
        if let Some(stream) = &mut self.socket {
            let _ = stream.socket().shutdown(std::net::Shutdown::Both);
        }
    }

    /// What it is waiting for, in words.
    pub(crate) fn awaited(&self) -> &'static str {
        match &self.phase {
            Phase::Connecting => "the TCP connection",
            Phase::Upgrading(_) => "the answer to the upgrade request",
            Phase::Greeting(_) => "welcome",
            Phase::Subscribing { .. } => "the ack of a subscribe",
            Phase::Feeding(feed) => feed.awaited(),
            Phase::Talking(talk) => talk.awaited(),
            Phase::Ready | Phase::Fed(_) | Phase::Posting(_) | Phase::Gone => "nothing",
        }
    }

    /// True when enough bytes are unsent that a publisher should hold back.
    pub(crate) fn is_backed_up(&self) -> bool {
        self.pending.len() >= PENDING_BYTES_MAX
    }

    /// Puts a text message behind the unsent bytes; [`Link::flush`] sends.
    pub(crate) fn queue_text(&mut self, text: &[u8]) {
        let key = self.next_mask();
        encode::masked_frame(&mut self.pending, Opcode::Text, text, key);
    }

    /// Puts a publication that a profile made behind the unsent bytes: a message, or a whole request.
    pub(crate) fn queue_publication(&mut self, bytes: &[u8], binary: bool) {
        if matches!(self.phase, Phase::Posting(_)) {
            self.pending.extend_from_slice(bytes);
        } else {
            let key = self.next_mask();
            encode::masked_frame(&mut self.pending, opcode(binary), bytes, key);
        }
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(stream) = self.socket.as_mut() else {
            return Ok(());
        };
        let mut sent = 0;
        let outcome = stream.send(&self.pending, &mut sent);
        self.pending.drain(..sent);
        outcome
    }

    /// The socket may be written: finishes connecting, or goes on sending.
    pub(crate) fn writable(&mut self, target: &Target, subscriptions: Vec<Subscription>) -> Result<(), String> {
        if let (Phase::Connecting, Some(stream)) = (&self.phase, &mut self.socket) {
            let socket = stream.socket();
            if let Some(error) = socket.take_error().map_err(|e| e.to_string())? {
                return Err(machine::refused(target.address, &error));
            }
            // An edge may come before the connection does.
            if socket.peer_addr().is_err() {
                return Ok(());
            }
            if !subscriptions.is_empty()
                && let Some(feed) = Feed::begin(target, &subscriptions, &mut self.pending)
            {
                self.phase = Phase::Feeding(Box::new(feed));
                return self.flush().map_err(|error| format!("sending failed: {error}"));
            }
            if subscriptions.is_empty() && target.profile.as_ref().is_some_and(|profile| profile.by == By::Post) {
                self.phase = Phase::Posting(Posts::default());
                return self.flush().map_err(|error| format!("sending failed: {error}"));
            }
            self.upgrade(target, subscriptions);
        }
        self.flush().map_err(|error| format!("sending failed: {error}"))
    }

    fn upgrade(&mut self, target: &Target, subscriptions: Vec<Subscription>) {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.next_random().to_le_bytes());
        key[8..].copy_from_slice(&self.next_random().to_le_bytes());
        let request = if self.deflate { handshake::request_deflate } else { handshake::request };
        let profile = target.profile.clone();
        if let Some(profile) = &profile {
            let (publishes, topic) = match subscriptions.first() {
                Some(first) => (false, first.filter.as_str()),
                None => (true, target.published.as_str()),
            };
            let path = profile.path(&target.path, topic, publishes);
            let offered = profile.subprotocol.as_deref();
            request(&mut self.pending, &target.host(), &path, key, offered.as_slice());
        } else {
            request(&mut self.pending, &target.host(), &target.path, key, &[handshake::SUBPROTOCOL]);
        }
        self.phase = Phase::Upgrading(Box::new(Upgrading { key, answer: Vec::new(), subscriptions, profile }));
    }

    /// True while [`Link::writable`] still has use for the filters to subscribe to.
    pub(crate) fn wants_subscriptions(&self) -> bool {
        matches!(self.phase, Phase::Connecting)
    }

    /// Reads until a short read proves the socket empty, or `most` bytes were read; `hung_up` reads on until its end.
    ///
    /// # Errors
    /// A sentence: why the connection is over.
    pub(crate) fn readable(
        &mut self,
        buffer: &mut [u8],
        mut most: usize,
        hung_up: bool,
        inflater: &mut Inflater,
        clock: impl Fn() -> u64,
        mut message: impl FnMut(Message<'_>, u64),
    ) -> Result<(), String> {
        if matches!(self.phase, Phase::Connecting | Phase::Gone) {
            return Ok(());
        }
        while most > 0 {
            let Some(stream) = self.socket.as_mut() else {
                return Ok(());
            };
            let room = buffer.len().min(most);
            match stream.read(&mut buffer[..room]) {
                Ok(0) => {
                    return Err("the server ended the connection without a word".into());
                }
                Ok(filled) => {
                    let emptied = filled < room && !hung_up && stream.is_emptied_by_a_short_read();
                    self.take(buffer, filled, inflater, clock(), &mut message)?;
                    most -= filled;
                    if emptied {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
        }
        // The next poll, or what waited for the handshake.
        if self.pending.is_empty() {
            return Ok(());
        }
        self.flush().map_err(|error| format!("sending failed: {error}"))
    }

    fn take(
        &mut self,
        buffer: &mut [u8],
        filled: usize,
        inflater: &mut Inflater,
        now_ns: u64,
        message: &mut impl FnMut(Message<'_>, u64),
    ) -> Result<(), String> {
        let upgrading = match &mut self.phase {
            Phase::Upgrading(upgrading) => upgrading,
            Phase::Feeding(_) | Phase::Fed(_) => return self.feed(&buffer[..filled], now_ns, message),
            Phase::Posting(posts) => return posts.take(&buffer[..filled]),
            _ => return self.decode(buffer, filled, inflater, now_ns, message),
        };
        upgrading.answer.extend_from_slice(&buffer[..filled]);
        let answer = if self.deflate {
            handshake::parse_response_deflate(&upgrading.answer, upgrading.key)
        } else {
            let profile = upgrading.profile.as_ref();
            let offered = profile.map_or(Some(handshake::SUBPROTOCOL), |profile| profile.subprotocol.as_deref());
            let answer = handshake::parse_response_to(&upgrading.answer, upgrading.key, offered.as_slice());
            answer.map(|len| len.map(|len| (len, false)))
        };
        let head_bytes = match answer {
            Ok(Some((_, agreed))) if agreed != self.deflate => {
                return Err("the server does not agree to permessage-deflate (server.deflate)".into());
            }
            Ok(Some((head_bytes, _))) => head_bytes,
            Ok(None) if upgrading.answer.len() < ANSWER_BYTES_MAX => return Ok(()),
            Ok(None) => return Err("the answer to the upgrade request does not end".into()),
            Err(handshake::ClientError::Refused { status, excerpt }) => {
                return Err(refusal(status, excerpt.as_bytes()));
            }
            Err(error) => return Err(format!("the upgrade failed: {error}")),
        };
        // Frames may follow the head in the same read.
        let mut rest = upgrading.answer.split_off(head_bytes);
        let subscriptions = std::mem::take(&mut upgrading.subscriptions);
        let profile = upgrading.profile.take();
        self.phase = Phase::Greeting(subscriptions);
        if let Some(profile) = profile {
            self.talk(profile)?;
        }
        self.decoder = Decoder::new(Role::Client).with_deflate(self.deflate);
        let filled = rest.len();
        self.decode(&mut rest, filled, inflater, now_ns, message)
    }

    /// What a profile says right after the upgrade.
    fn talk(&mut self, profile: Arc<Profile>) -> Result<(), String> {
        let Phase::Greeting(subscriptions) = &self.phase else {
            return Ok(());
        };
        let (mut replies, binary) = (Vec::new(), profile.binary);
        let talk = Talk::begin(profile, subscriptions, &mut replies);
        self.phase = Phase::Talking(Box::new(talk));
        self.reply(&replies, binary)
    }

    fn reply(&mut self, replies: &[Vec<u8>], binary: bool) -> Result<(), String> {
        if replies.is_empty() {
            return Ok(());
        }
        for reply in replies {
            self.queue_publication(reply, binary);
        }
        self.flush().map_err(|error| format!("sending failed: {error}"))
    }

    fn feed(&mut self, bytes: &[u8], now_ns: u64, message: &mut impl FnMut(Message<'_>, u64)) -> Result<(), String> {
        let (Phase::Feeding(feed) | Phase::Fed(feed)) = &mut self.phase else {
            return Ok(());
        };
        let subscribed = feed.take(bytes, &mut self.pending, |one| message(one, now_ns))?;
        if subscribed && !self.is_ready() {
            self.phase = match std::mem::replace(&mut self.phase, Phase::Gone) {
                Phase::Feeding(feed) => Phase::Fed(feed),
                other => other,
            };
        }
        Ok(())
    }

    fn decode(
        &mut self,
        buffer: &mut [u8],
        filled: usize,
        inflater: &mut Inflater,
        now_ns: u64,
        message: &mut impl FnMut(Message<'_>, u64),
    ) -> Result<(), String> {
        let mut input = Input::new(buffer, filled);
        // Out of self while events borrow it: replies need the rest of self.
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Client));
        let outcome = loop {
            match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                Ok(None) => break Ok(()),
                Ok(Some(Event::Deflated { kind, payload })) => {
                    let event = inflater.message(kind, payload, MESSAGE_BYTES_MAX);
                    let event = event.map(|payload| Event::Message { kind, payload });
                    if let Err(sentence) = event
                        .map_err(|violation| format!("the server broke RFC 7692: {}", violation.reason()))
                        .and_then(|event| self.handle_event(event, now_ns, message))
                    {
                        break Err(sentence);
                    }
                }
                Ok(Some(Event::Message { payload, .. })) if self.deflate && payload.len() >= DEFLATE_BYTES_MIN => {
                    break Err("a long message came without compression".into());
                }
                Ok(Some(event)) => {
                    if let Err(sentence) = self.handle_event(event, now_ns, message) {
                        break Err(sentence);
                    }
                }
                Err(violation) => {
                    break Err(format!("the server broke RFC 6455: {}", violation.reason()));
                }
            }
        };
        self.decoder = decoder;
        outcome
    }

    fn handle_event(
        &mut self,
        event: Event<'_>,
        now_ns: u64,
        message: &mut impl FnMut(Message<'_>, u64),
    ) -> Result<(), String> {
        match event {
            Event::Message { payload, .. } if let Phase::Talking(talk) = &mut self.phase => {
                let mut replies = Vec::new();
                talk.take(payload, &mut replies, &mut |one| message(one, now_ns))?;
                let binary = talk.is_binary();
                self.reply(&replies, binary)
            }
            Event::Message { kind, payload } if self.is_ready() => {
                let arrived = match kind {
                    Kind::Text => Message::Text(payload),
                    Kind::Binary => Message::Binary(payload),
                };
                message(arrived, now_ns);
                Ok(())
            }
            Event::Message { payload, .. } | Event::Deflated { payload, .. } => {
                self.handle_setup(payload, now_ns, message)
            }
            Event::Ping(payload) => {
                let key = self.next_mask();
                encode::masked_frame(&mut self.pending, Opcode::Pong, payload, key);
                self.pings += 1;
                self.flush().map_err(|error| format!("a pong could not be sent: {error}"))
            }
            Event::Pong(_) => Ok(()),
            Event::Close { code, reason } => Err(match code {
                Some(code) => format!("the server closed with {code} {reason:?}"),
                None => "the server closed without a code".into(),
            }),
        }
    }

    /// Messages before the connection is ready.
    fn handle_setup(
        &mut self,
        payload: &[u8],
        now_ns: u64,
        message: &mut impl FnMut(Message<'_>, u64),
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(payload);
        let reply = parse_reply(&text);
        match (&mut self.phase, reply) {
            (Phase::Greeting(subscriptions), Reply::Welcome) => {
                let subscriptions = std::mem::take(subscriptions);
                self.subscribe(&subscriptions)
            }
            (Phase::Subscribing { acks_left }, Reply::Ack(ack)) => {
                message(Message::Acked(ack), now_ns);
                *acks_left -= 1;
                if *acks_left == 0 {
                    self.phase = Phase::Ready;
                }
                Ok(())
            }
            (_, other) => {
                let awaited = self.awaited();
                Err(format!("instead of {awaited} came {other:?}").chars().take(300).collect())
            }
        }
    }

    fn subscribe(&mut self, subscriptions: &[Subscription]) -> Result<(), String> {
        if subscriptions.is_empty() {
            self.phase = Phase::Ready;
            return Ok(());
        }
        for (id, Subscription { filter, since }) in subscriptions.iter().enumerate() {
            let mut command = serde_json::json!({ "op": "subscribe", "id": id, "topic": filter });
            if let Some(since) = since {
                command["since"] = since.to_string().into();
            }
            self.queue_text(command.to_string().as_bytes());
        }
        self.phase = Phase::Subscribing { acks_left: subscriptions.len() };
        self.flush().map_err(|error| format!("a subscribe could not be sent: {error}"))
    }

    fn next_mask(&mut self) -> [u8; 4] {
        let bytes = self.next_random().to_le_bytes();
        [bytes[0], bytes[1], bytes[2], bytes[3]]
    }

    /// SplitMix64. RFC 6455 5.3 wants masks that a script cannot foresee; here no script and no proxy is between.
    fn next_random(&mut self) -> u64 {
        self.masks = self.masks.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.masks;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn opcode(binary: bool) -> Opcode {
    if binary { Opcode::Binary } else { Opcode::Text }
}

/// EINPROGRESS: a non-blocking connect is under way.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn a_source_is_bound_to_its_address_and_leaves_its_port_to_the_connect() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        for (source, address) in [(0, [127, 0, 0, 1]), (1, [127, 0, 0, 2]), (9, [127, 0, 0, 10])] {
            let mut link = Link::open(&target, source, None, 1).unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert_eq!(peer.ip(), IpAddr::from(address));
            let socket = link.socket().unwrap();
            assert_eq!(getsockopt(socket, sockopt::IpBindAddressNoPort).unwrap(), source != 0);
        }
    }
}
