//! Many connections on few threads, without an async runtime.
//! A scenario starts `Worker`s; each owns its poll, its connections and its `Scene`, and calls the scene for what arrives.
//! Threads share only the `Crew`: atomics and the first failure.
//! Invariants: every handshake has a deadline; whoever fails stops the whole crew with a sentence, and nobody waits for ever.

mod answer;
mod feed;
mod link;
mod stream;
mod talk;
mod worker;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::envelope::Position;
use crate::target::Transport;

pub(crate) use answer::{Answer, refusal};
pub(crate) use link::{Link, Message};
pub(crate) use stream::Stream;
pub(crate) use worker::{Ramp, Worker};

/// What a scenario wants to be told by a worker, and what it may do in each turn of the loop.
pub(crate) trait Scene: Send {
    /// The filters that connection `link` subscribes to before it counts as ready.
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription>;

    /// Connection `link` begins to connect, for the first time or again.
    fn opened(&mut self, _link: usize, _now_ns: u64) {}

    /// How connection `link` subscribes, if not as the target says.
    fn transport(&self, _link: usize) -> Option<Transport> {
        None
    }

    /// Bytes that the kernel is to keep for connection `link` unread, before it connects; the kernel's own choice if `None`.
    fn receive_buffer(&self, _link: usize) -> Option<usize> {
        None
    }

    /// Whether what comes for connection `link` is read as soon as it comes; else only by an [`Order::Read`].
    fn reads(&self, _link: usize) -> bool {
        true
    }

    /// A message on a ready connection, or an ack on the way there.
    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64);

    /// A ready connection ended.
    fn closed(&mut self, link: usize, why: &str);

    /// Called once per turn, after all that was readable has been read. Answers when it wants to be called again at the
    /// latest, in nanoseconds since the crew's origin.
    fn turn(&mut self, links: &mut [Link], now_ns: u64) -> Option<u64>;

    /// What becomes of a connection; asked after each turn until it answers `None`.
    fn order(&mut self, _now_ns: u64) -> Option<Order> {
        None
    }
}

/// A subscription that a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// The filter.
    pub(crate) filter: String,
    /// The last position that the subscriber has.
    pub(crate) since: Option<Position>,
}

impl Subscription {
    /// To what comes from now on.
    pub(crate) fn live(filter: String) -> Self {
        Self { filter, since: None }
    }
}

/// What a scene may want to become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is reset, whatever it is doing.
    Reset(usize),
    /// It connects again, as soon as the pace of connects allows.
    Open(usize),
    /// It reads up to so many bytes; less only if no more are there.
    Read(usize, usize),
}

/// What `Instant` reads too, and does not tell: one clock for all processes of the machine.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What the threads of one run share.
pub(crate) struct Crew {
    /// Time zero of all stamps, on the machine's monotonic clock.
    origin_ns: u64,
    /// Set once: everybody goes home.
    stop: AtomicBool,
    /// Connections that have all their acks.
    ready: AtomicUsize,
    /// Pings that were answered.
    pings: AtomicU64,
    failure: Mutex<Option<String>>,
}

impl Crew {
    /// A crew whose clock starts now.
    pub(crate) fn new() -> Self {
        Self::since(monotonic_ns())
    }

    /// A crew whose clock started then, in another process.
    pub(crate) fn since(origin_ns: u64) -> Self {
        Self {
            origin_ns,
            stop: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            pings: AtomicU64::new(0),
            failure: Mutex::new(None),
        }
    }

    /// Time zero, for a crew in another process.
    pub(crate) fn origin_ns(&self) -> u64 {
        self.origin_ns
    }

    /// Nanoseconds since the origin; every thread of every process reads the same clock.
    pub(crate) fn now_ns(&self) -> u64 {
        monotonic_ns().saturating_sub(self.origin_ns)
    }

    /// Connections ready so far.
    pub(crate) fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }

    /// Pings answered so far.
    pub(crate) fn pings(&self) -> u64 {
        self.pings.load(Ordering::Relaxed)
    }

    /// Ends the run.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// True once the run ends.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends the run with a sentence; the first one is kept.
    pub(crate) fn fail(&self, sentence: String) {
        let mut failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.get_or_insert(sentence);
        drop(failure);
        self.stop();
    }

    /// The first failure, if any.
    pub(crate) fn failure(&self) -> Result<(), String> {
        let failure = self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }
}
