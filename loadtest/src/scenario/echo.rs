//! Messages that come back as they are: what moving one there and back costs the server.
//! `run` connects, warms up, and reads the server's cost before and after the measured stretch, each time when nothing is under way.
//! Invariants: a message says whose it is and which, the rest of it is known; every echo is compared byte for byte and has to be
//! the next one. A connection that ends or a server that is silent for `STALL` ends the run with a sentence.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use mio::{Events, Interest, Poll, Token};
use wirefan::ws::{Decoder, Event, Input, Kind, Opcode, Role, encode, handshake};

use super::fanout::fresh_seed;
use super::meter::{Meter, Spending};
use crate::client::{Stream, refusal};
use crate::machine::{self, pin_thread};
use crate::report::Progress;
use crate::stats::Latencies;
use crate::target::Target;
use crate::verify::Faults;

/// Bytes read from one connection at a time.
const READ_BYTES: usize = 256 * 1024;
/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the stamp: connection 4, sequence 12, all hex digits.
pub(crate) const STAMP_BYTES: usize = 16;
/// No echo for so long while some are missing: the run has stalled.
const STALL: Duration = Duration::from_secs(5);
/// How long doubles are waited for after the last echo.
const LINGER: Duration = Duration::from_millis(100);

/// What messages are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Content {
    /// Binary messages.
    Binary,
    /// Text messages of ASCII alone.
    Ascii,
    /// Text messages of two, three and four bytes per character.
    Text,
}

impl Content {
    fn opcode(self) -> Opcode {
        if self == Self::Binary { Opcode::Binary } else { Opcode::Text }
    }

    /// So many bytes of it, to follow the stamp.
    fn filling(self, bytes: usize) -> Vec<u8> {
        match self {
            // Anything but UTF-8.
            Self::Binary => (0..bytes).map(|n| 0x80 | (n * 37 % 127) as u8).collect(),
            Self::Ascii => (0..bytes).map(|n| b'a' + (n % 26) as u8).collect(),
            Self::Text => {
                let mut filling = Vec::with_capacity(bytes);
                for character in "Grüße aus 東京 🚀 ".chars().cycle() {
                    let mut utf8 = [0; 4];
                    let utf8 = character.encode_utf8(&mut utf8).as_bytes();
                    if filling.len() + utf8.len() > bytes {
                        break;
                    }
                    filling.extend_from_slice(utf8);
                }
                filling.resize(bytes, b'.');
                filling
            }
        }
    }
}

/// How much, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Connections.
    pub(crate) connections: usize,
    /// Messages under way on each.
    pub(crate) depth: usize,
    /// Bytes of a message, at least [`STAMP_BYTES`].
    pub(crate) payload_bytes: usize,
    /// What it is made of.
    pub(crate) content: Content,
    /// Before the measurement.
    pub(crate) warmup: Duration,
    /// Of the measured stretch.
    pub(crate) length: Duration,
    /// Cores of the thread that sends.
    pub(crate) load_cores: Vec<usize>,
}

/// What one run found.
pub(crate) struct Measured {
    /// Right echoes in the measured stretch.
    pub(crate) echoes: u64,
    /// From its begin to its last echo, in nanoseconds.
    pub(crate) wall_ns: u64,
    /// What server and load spent.
    pub(crate) spending: Spending,
    /// From the send to the whole echo.
    pub(crate) latencies: Latencies,
    /// What went wrong, in the whole run.
    pub(crate) faults: Faults,
}

/// Runs `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    pin_thread(&shape.load_cores)?;
    let target = Target { path: "/echo".to_owned(), ..target.clone() };
    let mut crowd = Crowd::connect(&target, shape)?;
    progress.begin("warming up", shape.warmup.as_millis() as u64);
    crowd.exchange(shape.warmup, progress)?;
    crowd.latencies = Latencies::new();
    let (meter, echoed) = (Meter::begin(&target, server_pid, &[])?, crowd.echoes());
    progress.begin("measuring", shape.length.as_millis() as u64);
    let wall_ns = crowd.exchange(shape.length, progress)?.as_nanos() as u64;
    let (spending, echoes) = (meter.end()?, crowd.echoes() - echoed);
    crowd.linger()?;
    let Crowd { latencies, faults, .. } = crowd;
    Ok(Measured { echoes, wall_ns, spending, latencies, faults })
}

/// All connections of a run.
struct Crowd {
    poll: Poll,
    all: Vec<Speaker>,
    buffer: Vec<u8>,
    latencies: Latencies,
    faults: Faults,
}

impl Crowd {
    fn connect(target: &Target, shape: &Shape) -> Result<Self, String> {
        let poll = Poll::new().map_err(|error| format!("a poll cannot be made: {error}"))?;
        let mut all = Vec::new();
        let seed = fresh_seed();
        for number in 0..shape.connections {
            let told = |error: io::Error| format!("connection {number}: {}", machine::refused(target.address, &error));
            let mut stream = Stream::connect(target).map_err(told)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream.socket(), Token(number), interest).map_err(told)?;
            all.push(Speaker::new(stream, number, target, shape, seed.wrapping_add(number as u64)));
        }
        let (latencies, faults) = (Latencies::new(), Faults::default());
        let mut crowd = Self { poll, all, buffer: vec![0; READ_BYTES], latencies, faults };
        for speaker in &mut crowd.all {
            speaker.flush()?;
        }
        crowd.until(|all| all.iter().all(|speaker| speaker.upgrading.is_none()), |_| false, &Progress::new(true))?;
        Ok(crowd)
    }

    fn echoes(&self) -> u64 {
        self.all.iter().map(|speaker| speaker.echoes).sum()
    }

    /// Keeps all messages under way for so long, then waits for the last echoes. Answers how long that took.
    fn exchange(&mut self, length: Duration, progress: &Progress) -> Result<Duration, String> {
        let begun = Instant::now();
        let goes_on = move |begun: Instant| begun.elapsed() < length;
        for speaker in &mut self.all {
            for _ in 0..speaker.depth {
                speaker.say();
            }
            speaker.flush()?;
        }
        self.until(|all| all.iter().all(|speaker| speaker.said.is_empty()), |_| goes_on(begun), progress)?;
        Ok(begun.elapsed())
    }

    /// Reads on for a little: whatever comes now is an echo too many.
    fn linger(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        self.until(|_| begun.elapsed() > LINGER, |_| false, &Progress::new(true))
    }

    /// Moves bytes until `done`; each echo is followed by another message while `goes_on`.
    fn until(
        &mut self,
        done: impl Fn(&[Speaker]) -> bool,
        goes_on: impl Fn(&Speaker) -> bool,
        progress: &Progress,
    ) -> Result<(), String> {
        let mut events = Events::with_capacity(256);
        let (begun, mut moved) = (Instant::now(), Instant::now());
        while !done(&self.all) {
            match self.poll.poll(&mut events, Some(Duration::from_millis(20))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(format!("the poll failed: {error}"));
                }
                _ => {}
            }
            for event in &events {
                let number = event.token().0;
                let speaker = &mut self.all[number];
                let outcome = if event.is_readable() {
                    moved = Instant::now();
                    speaker.read(&mut self.buffer, &mut self.latencies, &mut self.faults, &goes_on)
                } else {
                    speaker.flush()
                };
                outcome.map_err(|sentence| format!("connection {number}: {sentence}"))?;
            }
            if moved.elapsed() > STALL {
                return Err(format!("the run stalled: no echo came for {} s", STALL.as_secs()));
            }
            progress.at(begun.elapsed().as_millis() as u64);
        }
        Ok(())
    }
}

/// One connection.
struct Speaker {
    stream: Stream,
    number: usize,
    opcode: Opcode,
    depth: usize,
    /// Until the server has agreed: the key, and what it has answered so far.
    upgrading: Option<([u8; 16], Vec<u8>)>,
    decoder: Decoder,
    /// What the socket has not taken: `pending[sent..]`.
    pending: Vec<u8>,
    sent: usize,
    /// The message, whose stamp changes.
    message: Vec<u8>,
    /// When those under way were said, the oldest first.
    said: VecDeque<Instant>,
    /// Sequence of the next message, and of the next echo.
    next: u64,
    expected: u64,
    /// Echoes that were right.
    echoes: u64,
    masks: u64,
}

impl Speaker {
    fn new(stream: Stream, number: usize, target: &Target, shape: &Shape, seed: u64) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..].copy_from_slice(&(number as u64).to_le_bytes());
        let mut pending = Vec::new();
        handshake::request(&mut pending, &target.host(), &target.path, key, &[]);
        let mut message = stamp(number, 0).to_vec();
        message.extend_from_slice(&shape.content.filling(shape.payload_bytes - STAMP_BYTES));
        Self {
            stream,
            number,
            opcode: shape.content.opcode(),
            depth: shape.depth,
            upgrading: Some((key, Vec::new())),
            decoder: Decoder::new(Role::Client),
            pending,
            sent: 0,
            message,
            said: VecDeque::new(),
            next: 0,
            expected: 0,
            echoes: 0,
            masks: seed,
        }
    }

    /// Puts the next message behind what is to be sent.
    fn say(&mut self) {
        self.message[..STAMP_BYTES].copy_from_slice(&stamp(self.number, self.next));
        self.next += 1;
        // RFC 6455 5.3 wants masks that a script cannot foresee; here is no script.
        self.masks = self.masks.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let [.., a, b, c, d] = self.masks.to_be_bytes();
        encode::masked_frame(&mut self.pending, self.opcode, &self.message, [a, b, c, d]);
        self.said.push_back(Instant::now());
    }

    fn flush(&mut self) -> Result<(), String> {
        let outcome = self.stream.send(&self.pending, &mut self.sent);
        if self.sent == self.pending.len() {
            self.pending.clear();
            self.sent = 0;
        }
        outcome.map_err(|error| format!("sending failed: {error}"))
    }

    fn read(
        &mut self,
        buffer: &mut [u8],
        latencies: &mut Latencies,
        faults: &mut Faults,
        goes_on: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server ended the connection without a word".into()),
                Ok(filled) => {
                    self.take(buffer, filled, latencies, faults, &goes_on)?;
                    if filled < buffer.len() && self.stream.is_emptied_by_a_short_read() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
        }
        self.flush()
    }

    fn take(
        &mut self,
        buffer: &mut [u8],
        filled: usize,
        latencies: &mut Latencies,
        faults: &mut Faults,
        goes_on: &impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        if let Some((key, mut answer)) = self.upgrading.take() {
            answer.extend_from_slice(&buffer[..filled]);
            match handshake::parse_response(&answer, key) {
                Ok(Some(head)) if head == answer.len() => {}
                Ok(Some(_)) => return Err("the server spoke first, on /echo".into()),
                Ok(None) => self.upgrading = Some((key, answer)),
                Err(handshake::ClientError::Refused { status: 404, .. }) => {
                    return Err(
                        "the server refused with 404: it has no /echo, as wirefan has where server.echo is true".into(),
                    );
                }
                Err(handshake::ClientError::Refused { status, excerpt }) => {
                    return Err(refusal(status, excerpt.as_bytes()));
                }
                Err(error) => return Err(format!("the upgrade to /echo failed: {error}")),
            }
            return Ok(());
        }
        let mut input = Input::new(buffer, filled);
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(Role::Client));
        loop {
            match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                Ok(None) => break,
                Ok(Some(Event::Message { kind, payload })) => {
                    if self.judge(kind, payload, faults)
                        && let Some(said) = self.said.pop_front()
                    {
                        latencies.record(said.elapsed().as_nanos() as u64);
                        if goes_on(self) {
                            self.say();
                        }
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    encode::masked_frame(&mut self.pending, Opcode::Pong, payload, [1, 2, 3, 4]);
                }
                Ok(Some(Event::Pong(_))) => {}
                Ok(Some(Event::Close { code, reason })) => {
                    return Err(format!("the server closed with {code:?} {reason:?}"));
                }
                Ok(Some(Event::Deflated { .. })) => return Err("nobody asked for compression".into()),
                Err(violation) => return Err(format!("the server broke RFC 6455: {}", violation.reason())),
            }
        }
        self.decoder = decoder;
        Ok(())
    }

    /// Judges one echo. True if it answers a message under way, rightly or not.
    fn judge(&mut self, kind: Kind, payload: &[u8], faults: &mut Faults) -> bool {
        let number = self.number;
        let same_kind = Opcode::from(kind) == self.opcode;
        let same_rest = payload.len() == self.message.len() && payload[STAMP_BYTES..] == self.message[STAMP_BYTES..];
        let Some((of, sequence)) = read_stamp(payload).filter(|_| same_kind && same_rest) else {
            faults.mangled += 1;
            faults.say(|| {
                let excerpt: String = String::from_utf8_lossy(payload).chars().take(60).collect();
                format!("connection {number}: {kind:?} of {} bytes came back: {excerpt:?}", payload.len())
            });
            // It stands for the one that was expected.
            self.expected += 1;
            return !self.said.is_empty();
        };
        if of != number || sequence >= self.next {
            faults.misdelivered += 1;
            faults.say(|| format!("connection {number} got message {sequence} of connection {of}"));
            return false;
        }
        if sequence < self.expected {
            faults.doubled += 1;
            faults.say(|| format!("connection {number} got message {sequence} again, or late"));
            return false;
        }
        if sequence > self.expected {
            let skipped = sequence - self.expected;
            faults.lost += skipped;
            faults.say(|| format!("connection {number}: {skipped} messages before {sequence} did not come back"));
            self.said.drain(..(skipped as usize).min(self.said.len()));
        }
        self.expected = sequence + 1;
        self.echoes += 1;
        true
    }
}

fn stamp(number: usize, sequence: u64) -> [u8; STAMP_BYTES] {
    let text = format!("{:04x}{:012x}", number & 0xffff, sequence & 0xffff_ffff_ffff);
    std::array::from_fn(|n| text.as_bytes()[n])
}

fn read_stamp(payload: &[u8]) -> Option<(usize, u64)> {
    let text = std::str::from_utf8(payload.get(..STAMP_BYTES)?).ok()?;
    Some((usize::from_str_radix(&text[..4], 16).ok()?, u64::from_str_radix(&text[4..], 16).ok()?))
}

#[cfg(test)]
mod tests;
