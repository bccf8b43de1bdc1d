//! A small blocking WebSocket client, for `wirefan publish`, `subscribe` and `top`.
//!
//! One thread reads the socket, answers pings and closes, and puts what it hears into a bounded inbox; the other
//! sources of a command, standard input and signals (`sources`), use the same inbox, so that a command waits in one
//! place for all of them. A full inbox stops the reading, and so the sender.
//! Refuses extensions, and messages over [`CLIENT_MESSAGE_BYTES_MAX`].
#![expect(clippy::disallowed_methods, reason = "net has the sockets, the threads, the clock and the randomness")]

mod bearer;
mod handshake;
mod sources;
mod stream;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use self::bearer::BearerToken;
pub use self::sources::{Lines, at_interrupt, pause};
use self::stream::Stream;
pub use self::url::Url;
use crate::limits::{CLIENT_INBOX_MAX, CLIENT_MESSAGE_BYTES_MAX, READ_BYTES_PER_TURN};
use crate::ws::{self, Decoder, Event, Input, Kind, Opcode, Role, Violation, encode};

/// An open connection to a broker.
#[derive(Debug)]
pub struct Client {
    writer: Arc<Writer>,
    inbox: Receiver<Heard>,
    /// For further sources.
    post: SyncSender<Heard>,
    life: Arc<Life>,
}

/// What arrived in the inbox.
#[derive(Debug)]
pub enum Heard {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// The connection is over; nothing of it follows.
    Ended(Ended),
    /// Nothing came from the broker for as long as [`Client::wait`] was told to wait.
    Silence,
    /// A line of the input, without its line end.
    Line(Vec<u8>),
    /// The input is at its end, or could not be read further.
    LinesEnded(io::Result<()>),
    /// The user wants to stop: SIGINT or SIGTERM.
    Interrupted,
}

/// Why a connection is over.
#[derive(Debug)]
pub enum Ended {
    /// The broker closed it, with this code (RFC 6455 7.4) and reason.
    Closed {
        /// `None` if the broker gave none.
        code: Option<u16>,
        /// At most 123 bytes, control characters escaped.
        reason: String,
    },
    /// The broker broke RFC 6455; we closed it.
    Violation(Violation),
    /// The network failed; `None` if the stream ended without a close frame.
    Lost(Option<io::Error>),
}

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The name has no address.
    Name(io::Error),
    /// Nobody answers at the last address tried.
    Connect(io::Error),
    /// The connection broke during the handshake.
    Handshake(io::Error),
    /// The certificates to trust cannot be had.
    Authorities(String),
    /// There is no TLS to be had with the server, or not with the right one.
    Tls(rustls::Error),
    /// The server ended the stream instead of answering.
    Hangup,
    /// The answer is no WebSocket connection.
    Answer(ws::handshake::ClientError),
}

impl Client {
    /// Connects and shakes hands, offering `wirefan.v1`, within `patience`; with the token, if there is one, in
    /// `Authorization: Bearer`. With `wss://` the broker's certificate has to be signed by one of the file `ca`, or by
    /// whom this machine trusts.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(
        url: &Url,
        ca: Option<&Path>,
        token: Option<&BearerToken>,
        patience: Duration,
    ) -> Result<Self, ConnectError> {
        let (stream, rest) = handshake::connect(url, ca, token, Instant::now() + patience)?;
        Self::start(stream, rest).map_err(ConnectError::Handshake)
    }

    /// `rest`: bytes that were read after the handshake.
    fn start(stream: Stream, rest: Vec<u8>) -> io::Result<Self> {
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(Some(WRITE_PATIENCE))?;
        let (post, inbox) = sync_channel(CLIENT_INBOX_MAX);
        let reading = stream.try_clone()?;
        let writing = Mutex::new(Writing { stream, scratch: Vec::new(), closed: false });
        let writer = Arc::new(Writer { writing });
        let life = Arc::new(Life { born: Instant::now(), last_ms: AtomicU64::new(0) });
        let reader =
            Reader { stream: reading, writer: Arc::clone(&writer), post: post.clone(), life: Arc::clone(&life) };
        thread::Builder::new().name("reader".to_owned()).spawn(move || reader.run(rest))?;
        Ok(Self { writer, inbox, post, life })
    }

    /// Sends one message; `kind` text promises valid UTF-8.
    ///
    /// # Errors
    /// The connection cannot be written to. Why it ended is in the inbox, as a rule.
    pub fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.writer.frame(kind.into(), payload)?;
        self.life.renew();
        Ok(())
    }

    /// What is in the inbox already.
    #[must_use]
    pub fn heard(&self) -> Option<Heard> {
        self.inbox.try_recv().ok()
    }

    /// Waits for the inbox. `patience` is how long the broker may be silent: neither a message nor a ping since
    /// it was last heard or sent something.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Heard {
        loop {
            // At least a moment, because after a long pause of this process the broker's words may lie unread.
            let left = patience.saturating_sub(self.life.silent_for()).max(GRACE);
            match self.inbox.recv_timeout(left) {
                Ok(heard) => return heard,
                Err(RecvTimeoutError::Timeout) if self.life.silent_for() >= patience => {
                    return Heard::Silence;
                }
                // A ping came meanwhile.
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Heard::Ended(Ended::Lost(None)),
            }
        }
    }

    /// Says goodbye: 1000, and a moment for the broker's answer (RFC 6455 7.1.1).
    pub fn close(self) {
        let until = Instant::now() + CLOSE_PATIENCE;
        if self.writer.close(1000, "").is_ok() {
            let left = || until.saturating_duration_since(Instant::now());
            while let Ok(heard) = self.inbox.recv_timeout(left()) {
                if matches!(heard, Heard::Ended(_)) {
                    break;
                }
            }
        }
    }
}

/// Ends the reader, and with it the connection.
impl Drop for Client {
    fn drop(&mut self) {
        self.writer.shut();
    }
}

/// When the broker was last heard or spoken to, in milliseconds since `born`.
#[derive(Debug)]
struct Life {
    born: Instant,
    last_ms: AtomicU64,
}

impl Life {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn renew(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }
}

/// The writing half, shared by the command and the reader's pongs.
#[derive(Debug)]
struct Writer {
    writing: Mutex<Writing>,
}

#[derive(Debug)]
struct Writing {
    stream: Stream,
    scratch: Vec<u8>,
    /// RFC 6455 5.5.1: no frame follows our close frame.
    closed: bool,
}

impl Writer {
    fn frame(&self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        self.write(|out, key| encode::masked_frame(out, opcode, payload, key), false)
    }

    fn close(&self, code: u16, reason: &str) -> io::Result<()> {
        self.write(|out, key| encode::masked_close(out, code, reason, key), true)
    }

    fn write(&self, encode: impl FnOnce(&mut Vec<u8>, [u8; 4]), last: bool) -> io::Result<()> {
        // RFC 6455 5.3: a new key for each frame, from a strong source.
        let key = random()?;
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Writing { stream, scratch, closed } = &mut *writing;
        if *closed {
            return Ok(());
        }
        *closed = last;
        scratch.clear();
        encode(scratch, key);
        stream.write_all(scratch)
    }

    fn shut(&self) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A peer that is gone already needs no goodbye.
        let _ = writing.stream.shutdown();
    }
}

/// The reading half, on its thread.
struct Reader {
    stream: Stream,
    writer: Arc<Writer>,
    post: SyncSender<Heard>,
    life: Arc<Life>,
}

impl Reader {
    fn run(mut self, rest: Vec<u8>) {
        let mut decoder = Decoder::new(Role::Client);
        let mut buffer = rest;
        let mut filled = buffer.len();
        buffer.resize(READ_BYTES_PER_TURN.max(filled), 0);
        loop {
            if let Some(ended) = self.take(&mut decoder, &mut buffer, filled) {
                // A command that is gone needs no last word.
                let _ = self.post.send(Heard::Ended(ended));
                return;
            }
            filled = match self.stream.read(&mut buffer[..READ_BYTES_PER_TURN]) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.lost(Some(error)),
            };
            if filled == 0 {
                return self.lost(None);
            }
            self.life.renew();
        }
    }

    fn lost(&self, error: Option<io::Error>) {
        let _ = self.post.send(Heard::Ended(Ended::Lost(error)));
    }

    /// Posts the events of one read; says when there is nothing to be read any more.
    fn take(&self, decoder: &mut Decoder, buffer: &mut [u8], filled: usize) -> Option<Ended> {
        let mut input = Input::new(buffer, filled);
        loop {
            let heard = match decoder.next(&mut input, CLIENT_MESSAGE_BYTES_MAX) {
                Ok(None) => return None,
                Ok(Some(Event::Pong(_))) => continue,
                Ok(Some(Event::Ping(payload))) => {
                    if let Err(error) = self.writer.frame(Opcode::Pong, payload) {
                        return Some(Ended::Lost(Some(error)));
                    }
                    continue;
                }
                Ok(Some(Event::Message { kind: Kind::Binary, payload })) => Heard::Binary(payload.to_vec()),
                Ok(Some(Event::Message { kind: Kind::Text, payload })) => {
                    let text = std::str::from_utf8(payload).expect("the decoder checked the text");
                    Heard::Text(text.to_owned())
                }
                Ok(Some(Event::Deflated { .. })) => unreachable!("the handshake agrees to no extension"),
                Ok(Some(Event::Close { code, reason })) => {
                    // RFC 6455 5.5.1: the answer to a close frame is one, as a rule with its code. If it cannot be
                    // sent, the connection is over all the same.
                    let _ = self.writer.close(code.unwrap_or(1000), "");
                    return Some(Ended::Closed { code, reason: escape(reason) });
                }
                Err(violation) => {
                    let _ = self.writer.close(violation.close_code(), violation.reason());
                    return Some(Ended::Violation(violation));
                }
            };
            if self.post.send(heard).is_err() {
                return Some(Ended::Lost(None));
            }
        }
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// Text of a peer, fit for a terminal: control characters escaped.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut fit = String::new();
    for character in text.chars() {
        if character.is_control() {
            fit.extend(character.escape_default());
        } else {
            fit.push(character);
        }
    }
    fit
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code: None, .. } => f.write_str("the broker closed the connection"),
            Self::Closed { code: Some(code), reason } if reason.is_empty() => {
                write!(f, "the broker closed the connection with {code}")
            }
            Self::Closed { code: Some(code), reason } => {
                write!(f, "the broker closed the connection with {code}: {reason}")
            }
            Self::Violation(violation) => {
                write!(f, "the server broke the WebSocket protocol: {violation}")
            }
            Self::Lost(None) => f.write_str("the connection ended without a goodbye"),
            Self::Lost(Some(error)) => write!(f, "the connection was lost: {error}"),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => write!(f, "the name has no address: {error}"),
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("nobody listens there; is `wirefan serve` running?")
            }
            Self::Connect(error) => error.fmt(f),
            Self::Handshake(error) if is_timeout(error) => {
                f.write_str("the server did not answer the handshake in time; does it speak WebSocket?")
            }
            Self::Handshake(error) => write!(f, "the handshake failed: {error}"),
            Self::Authorities(reason) => f.write_str(reason),
            Self::Tls(error) => f.write_str(&stream::why(error)),
            Self::Hangup => f.write_str("the server hung up during the handshake"),
            Self::Answer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {}

fn is_timeout(error: &io::Error) -> bool {
    // A socket's read timeout is WouldBlock on Unix, TimedOut elsewhere.
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How long the reader may take to read what has arrived.
const GRACE: Duration = Duration::from_millis(100);

/// How long a write may make no progress at all.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// How long the broker may take to answer our goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
