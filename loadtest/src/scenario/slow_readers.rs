//! Subscribers that read slowly or not at all, among those of one thread that read as fast as they can.
//! `slow` puts one around each thread's `Listening`, which goes on judging the healthy; a connection is one or the other,
//! spread evenly. Lives as the scene of its thread.
//!
//! ```text
//! setup --ack--> slow --all is published, or with `disconnect` so much that it must be closed by now--> reads up
//! ```
//! Invariants: a slow reader never delays a publication's completion; it reads by orders alone until it reads up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use wirefan::rules::Overflow;

use super::listening::{Heard, Listening};
use crate::client::{Link, Message, Order, Scene, Subscription};
use crate::envelope::{Position, Reply, parse_reply, read_payload};
use crate::flight::Flight;
use crate::verify::SlowReader;

/// Time between two turns of reading at a rate, in nanoseconds.
const TICK_NS: u64 = 10_000_000;
/// Each slow reader reads in one of so many ticks: ten times per second.
const TICKS: usize = 10;

/// How slow readers read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Bytes per second that each reads; nothing at all if `None`.
    pub(crate) bytes_per_second: Option<u32>,
    /// What the kernel is to hold for each unread, in bytes; its own choice if `None`.
    pub(crate) receive_buffer: Option<usize>,
    /// What the topic's rule does with them.
    pub(crate) overflow: Overflow,
    /// With `disconnect`, bytes published and not read at which a slow reader must have been closed.
    pub(crate) unread_bytes_max: u64,
}

/// What the directing thread and all slow readers tell each other.
#[derive(Default)]
pub(crate) struct Shore {
    /// Everybody reads up now.
    pub(crate) read_up: AtomicBool,
    /// Slow readers for whom nothing more is to come.
    pub(crate) done: AtomicUsize,
    /// Messages that they heard.
    pub(crate) heard: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Setup,
    Slow,
    ReadsUp,
    Ended,
}

/// Whose connection it is, within the thread.
enum Role {
    Publisher,
    /// With its connection's number if there were no slow readers.
    Healthy(usize),
    Slow(usize),
}

/// One thread's subscribers, the slow ones among them.
pub(crate) struct SlowReaders {
    listening: Listening,
    flight: Arc<Flight>,
    shore: Arc<Shore>,
    manner: Manner,
    readers: Vec<SlowReader>,
    phases: Vec<Phase>,
    orders: VecDeque<Order>,
    /// Messages that slow readers heard since the last turn.
    heard: u64,
    /// How many the shore knows to be done.
    done: usize,
    /// Deliveries to slow readers in the measured stretch.
    delivered: u64,
    tick: usize,
    tick_next_ns: u64,
}

/// What one thread's slow readers leave behind.
pub(crate) struct Found {
    /// What the healthy heard, with all faults so far.
    pub(crate) heard: Heard,
    /// Each slow reader, to be judged.
    pub(crate) readers: Vec<SlowReader>,
    /// Deliveries to them in the measured stretch.
    pub(crate) delivered: u64,
}

impl SlowReaders {
    /// `slow` of them beside the subscribers of `listening`.
    pub(crate) fn new(
        listening: Listening,
        slow: usize,
        flight: &Arc<Flight>,
        shore: &Arc<Shore>,
        manner: Manner,
    ) -> Self {
        Self {
            listening,
            flight: Arc::clone(flight),
            shore: Arc::clone(shore),
            manner,
            readers: vec![SlowReader::default(); slow],
            phases: vec![Phase::Setup; slow],
            orders: VecDeque::new(),
            heard: 0,
            done: 0,
            delivered: 0,
            tick: 0,
            tick_next_ns: 0,
        }
    }

    /// Hands over what was found.
    pub(crate) fn finish(self) -> Found {
        Found { heard: self.listening.finish(), readers: self.readers, delivered: self.delivered }
    }

    fn role(&self, link: usize) -> Role {
        let Some(number) = link.checked_sub(self.listening.publishers) else {
            return Role::Publisher;
        };
        let (slow, all) = (self.readers.len(), self.readers.len() + self.listening.subscribers());
        let before = number * slow / all;
        if (number + 1) * slow / all > before { Role::Slow(before) } else { Role::Healthy(link - before) }
    }

    /// The connection of a slow reader: the inverse of `role`.
    fn link_of(&self, reader: usize) -> usize {
        let (slow, all) = (self.readers.len(), self.readers.len() + self.listening.subscribers());
        self.listening.publishers + ((reader + 1) * all).div_ceil(slow) - 1
    }

    fn slow_message(&mut self, reader: usize, message: Message<'_>) {
        self.heard += 1;
        match message {
            Message::Acked(ack) => {
                self.phases[reader] = Phase::Slow;
                match ack.position {
                    Some(position) => self.readers[reader].begins(position),
                    None => self.unexpected("the ack of a slow reader does not say where live begins"),
                }
            }
            Message::Text(text) => self.slow_text(reader, &String::from_utf8_lossy(text)),
            Message::Binary(bytes) | Message::Delivered { payload: bytes, .. } => {
                self.unexpected(&String::from_utf8_lossy(bytes));
            }
        }
    }

    fn slow_text(&mut self, reader: usize, text: &str) {
        let own = self.listening.layout.topics[0].as_str();
        let faults = &mut self.listening.checker.faults;
        match parse_reply(text) {
            Reply::Message { topic, position, data } if topic == own => {
                return self.slow_delivery(reader, position, data);
            }
            Reply::Gap { topic, missed, position } if topic == own => {
                return self.readers[reader].take_gap(missed, position, faults);
            }
            Reply::Message { .. } | Reply::Gap { .. } => faults.misdelivered += 1,
            Reply::Error(_) => faults.errors += 1,
            Reply::Ack(_) | Reply::Welcome | Reply::Unexpected(_) => faults.unexpected += 1,
        }
        faults.say(|| format!("a slow reader got {:?}", text.chars().take(160).collect::<String>()));
    }

    fn slow_delivery(&mut self, reader: usize, position: Position, data: &[u8]) {
        let faults = &mut self.listening.checker.faults;
        let Some(stamp) = read_payload(data, self.listening.payload_bytes) else {
            faults.mangled += 1;
            return faults.say(|| format!("a slow reader got other bytes than published at {position}"));
        };
        self.readers[reader].take(stamp, position, faults);
        self.delivered += u64::from(self.flight.is_measuring());
    }

    fn unexpected(&mut self, shown: &str) {
        let faults = &mut self.listening.checker.faults;
        faults.unexpected += 1;
        faults.say(|| shown.chars().take(160).collect());
    }

    /// Lets those read whose turn it is.
    fn order_reads(&mut self, now_ns: u64) {
        let read_up = self.shore.read_up.load(Ordering::Acquire);
        if now_ns < self.tick_next_ns && !read_up {
            return;
        }
        self.tick_next_ns = now_ns + TICK_NS;
        self.tick += 1;
        let step = if read_up { 1 } else { TICKS };
        for reader in (self.tick % step..self.readers.len()).step_by(step) {
            if self.phases[reader] != Phase::Slow {
                continue;
            }
            let link = self.link_of(reader);
            if read_up || self.must_be_closed(reader) {
                self.phases[reader] = Phase::ReadsUp;
                self.orders.push_back(Order::Read(link, usize::MAX));
            } else if let Some(bytes) = self.manner.bytes_per_second {
                self.orders.push_back(Order::Read(link, (bytes as usize / TICKS).max(1)));
            }
        }
    }

    /// True when no buffer can hold what this reader has not read: its close waits behind it, for some seconds.
    fn must_be_closed(&self, reader: usize) -> bool {
        let unread = self.flight.published().saturating_sub(self.readers[reader].delivered());
        let bytes = unread * self.listening.payload_bytes as u64;
        self.manner.overflow == Overflow::Disconnect && bytes > self.manner.unread_bytes_max
    }

    /// Tells the shore what has happened since the last turn.
    fn tell(&mut self) {
        self.shore.heard.fetch_add(std::mem::take(&mut self.heard), Ordering::Relaxed);
        if !self.shore.read_up.load(Ordering::Acquire) {
            return;
        }
        let published = self.flight.published();
        let each = self.readers.iter().zip(&self.phases);
        let done = each.filter(|(reader, phase)| **phase == Phase::Ended || reader.is_done(published)).count();
        self.shore.done.fetch_add(done - self.done, Ordering::Release);
        self.done = done;
    }
}

impl Scene for SlowReaders {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        match self.role(link) {
            Role::Publisher => Vec::new(),
            Role::Healthy(link) => self.listening.subscriptions(link),
            Role::Slow(_) => vec![Subscription::live(self.listening.layout.topics[0].clone())],
        }
    }

    fn receive_buffer(&self, link: usize) -> Option<usize> {
        matches!(self.role(link), Role::Slow(_)).then_some(self.manner.receive_buffer).flatten()
    }

    fn reads(&self, link: usize) -> bool {
        match self.role(link) {
            Role::Slow(reader) => self.phases[reader] != Phase::Slow,
            Role::Publisher | Role::Healthy(_) => true,
        }
    }

    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64) {
        match self.role(link) {
            Role::Publisher => self.listening.message(link, message, now_ns),
            Role::Healthy(link) => self.listening.message(link, message, now_ns),
            Role::Slow(reader) => self.slow_message(reader, message),
        }
    }

    fn closed(&mut self, link: usize, why: &str) {
        let Role::Slow(reader) = self.role(link) else {
            return self.listening.closed(link, why);
        };
        self.heard += 1;
        self.phases[reader] = Phase::Ended;
        if why.starts_with(REFUSED) && self.manner.overflow == Overflow::Disconnect {
            return self.readers[reader].take_refusal();
        }
        let faults = &mut self.listening.checker.faults;
        faults.closed += 1;
        faults.say(|| format!("the connection of a slow reader ended: {why}"));
    }

    fn turn(&mut self, links: &mut [Link], now_ns: u64) -> Option<u64> {
        self.tell();
        self.order_reads(now_ns);
        let next_ns = self.listening.turn(links, now_ns).unwrap_or(u64::MAX);
        Some(next_ns.min(self.tick_next_ns))
    }

    fn order(&mut self, _now_ns: u64) -> Option<Order> {
        self.orders.pop_front()
    }
}

/// How the end of a slow consumer is told by its connection.
const REFUSED: &str = "the server closed with 4008 ";
