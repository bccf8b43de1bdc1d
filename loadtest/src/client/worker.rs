//! One client thread: a poll, its connections, a scene.
//! A scenario moves it to a thread and calls `run`; it comes back with the scene when the crew stops.
//! Invariants: connects are paced and at most `OPENING_MAX` of them are under way; a turn reads all that is ready before the
//! scene's turn; deadlines under a millisecond are met by polling without sleep, because the poll's timeout counts milliseconds.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use wirefan::ws::deflate::Inflater;

use super::{Crew, Link, Order, Scene};
use crate::machine;
use crate::target::Target;

/// Bytes read from one connection at a time.
const READ_BYTES: usize = 64 * 1024;
/// Events taken from the kernel at a time: more costs cache.
const EVENTS_PER_POLL: usize = 256;
/// Connections of one thread between connect and ready.
const OPENING_MAX: usize = 256;
/// From connect to the last ack, in nanoseconds.
const OPENING_NS_MAX: u64 = 10_000_000_000;
/// Longest sleep, so that a stop is seen soon, in nanoseconds.
const SLEEP_NS_MAX: u64 = 20_000_000;
const WAKE: Token = Token(usize::MAX);

/// How a worker opens its connections.
#[derive(Clone)]
pub(crate) struct Ramp {
    /// Whom to connect to.
    pub(crate) target: Target,
    /// Source addresses 127.0.0.1.. to spread over.
    pub(crate) sources: u8,
    /// Connects per second of this thread.
    pub(crate) connects_per_second: f64,
    /// Whoever was reset connects again at no pace, and any number may be under way at once.
    pub(crate) at_once: bool,
    /// Start of the random numbers of this thread.
    pub(crate) seed: u64,
}

/// One client thread.
pub(crate) struct Worker<S> {
    poll: Poll,
    waker: Arc<Waker>,
    crew: Arc<Crew>,
    ramp: Ramp,
    /// How many connections it should have; the scenario may raise it while the worker runs.
    wanted: Arc<AtomicUsize>,
    links: Vec<Link>,
    /// (deadline in nanoseconds, link) of connections that are not ready yet, in the order of opening.
    opening: VecDeque<(u64, usize)>,
    opening_count: usize,
    /// The deadline of each link's last opening: an older one in `opening` is of a connection that was reset since.
    deadlines: Vec<u64>,
    /// Links that were reset and connect again.
    reopening: VecDeque<usize>,
    connect_next_ns: u64,
    buffer: Vec<u8>,
    inflater: Inflater,
    scene: S,
}

impl<S: Scene> Worker<S> {
    /// A worker without connections.
    pub(crate) fn new(crew: Arc<Crew>, ramp: Ramp, scene: S) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        Ok(Self {
            poll,
            waker,
            crew,
            ramp,
            wanted: Arc::new(AtomicUsize::new(0)),
            links: Vec::new(),
            opening: VecDeque::new(),
            opening_count: 0,
            deadlines: Vec::new(),
            reopening: VecDeque::new(),
            connect_next_ns: 0,
            buffer: vec![0; READ_BYTES],
            inflater: Inflater::default(),
            scene,
        })
    }

    /// Ends the worker's sleep from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The number of connections to have.
    pub(crate) fn wanted(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.wanted)
    }

    /// Runs until the crew stops; a failure of this worker stops the crew. Connections are reset on return.
    pub(crate) fn run(mut self) -> S {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        let mut wake_ns = None;
        while !self.crew.stopped() {
            if let Err(sentence) = self.turn(&mut events, &mut wake_ns) {
                self.crew.fail(sentence);
            }
        }
        self.scene
    }

    fn turn(&mut self, events: &mut Events, wake_ns: &mut Option<u64>) -> Result<(), String> {
        let timeout = self.timeout(*wake_ns);
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(format!("the poll failed: {error}"));
            }
            _ => {}
        }
        for event in events.iter() {
            if event.token() != WAKE {
                self.handle(event)?;
            }
        }
        self.open_due()?;
        self.check_deadlines()?;
        *wake_ns = self.scene.turn(&mut self.links, self.crew.now_ns());
        while let Some(order) = self.scene.order(self.crew.now_ns()) {
            match order {
                Order::Reset(number) => self.reset(number)?,
                Order::Open(number) => self.reopening.push_back(number),
                // Its hang-up may have been told while nobody read: only the end of the stream tells it again.
                Order::Read(number, most) => self.read(number, most, true)?,
            }
        }
        Ok(())
    }

    fn reset(&mut self, number: usize) -> Result<(), String> {
        let link = &mut self.links[number];
        let Some(socket) = link.socket() else {
            return Ok(());
        };
        let registry = self.poll.registry();
        registry.deregister(socket).map_err(|error| format!("connection {number}: cannot be let go: {error}"))?;
        // A connection that ended by itself had been ready: before that its end fails the run.
        if link.is_ready() || link.is_gone() {
            self.crew.ready.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.opening_count -= 1;
        }
        link.reset();
        Ok(())
    }

    /// How long the poll may sleep: to the next deadline, rounded down to milliseconds; the rest is polled without sleep.
    fn timeout(&self, wake_ns: Option<u64>) -> Duration {
        let now_ns = self.crew.now_ns();
        let mut until_ns = wake_ns.unwrap_or(u64::MAX);
        if self.may_open() {
            let paced = !self.ramp.at_once || self.reopening.is_empty();
            until_ns = until_ns.min(if paced { self.connect_next_ns } else { 0 });
        }
        let sleep_ns = until_ns.saturating_sub(now_ns).min(SLEEP_NS_MAX);
        Duration::from_millis(sleep_ns / 1_000_000)
    }

    fn may_open(&self) -> bool {
        let wants_more = !self.reopening.is_empty() || self.links.len() < self.wanted.load(Ordering::Relaxed);
        wants_more && (self.ramp.at_once || self.opening_count < OPENING_MAX)
    }

    /// From connect to the last ack, in nanoseconds.
    fn opening_ns_max(&self) -> u64 {
        // All at once wait for each other, and for the kernel to repeat what it dropped.
        if self.ramp.at_once { 6 * OPENING_NS_MAX } else { OPENING_NS_MAX }
    }

    fn open_due(&mut self) -> Result<(), String> {
        let gap_ns = (1e9 / self.ramp.connects_per_second) as u64;
        while self.may_open() {
            let now_ns = self.crew.now_ns();
            let paced = !self.ramp.at_once || self.reopening.is_empty();
            if paced && now_ns < self.connect_next_ns {
                break;
            }
            // What was missed by more than a burst of 10 ms is not caught up with.
            if paced {
                self.connect_next_ns = self.connect_next_ns.max(now_ns.saturating_sub(10_000_000)) + gap_ns;
            }
            let number = self.reopening.pop_front().unwrap_or(self.links.len());
            self.open(number, now_ns)?;
        }
        Ok(())
    }

    /// Opens a new connection, the next one, or an old one that was reset.
    fn open(&mut self, number: usize, now_ns: u64) -> Result<(), String> {
        let source = (number % usize::from(self.ramp.sources.max(1))) as u8;
        let seed = self.ramp.seed ^ (number as u64) << 32;
        self.scene.opened(number, now_ns);
        let mut link = Link::open(&self.ramp.target, source, self.scene.receive_buffer(number), seed)
            .map_err(|error| format!("connection {number}: {}", machine::refused(self.ramp.target.address, &error)))?;
        let socket = link.socket().expect("a link has its socket until it is reset");
        self.poll
            .registry()
            .register(socket, Token(number), Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| format!("connection {number}: cannot be polled: {error}"))?;
        let deadline_ns = now_ns + self.opening_ns_max();
        if number == self.links.len() {
            self.links.push(link);
            self.deadlines.push(deadline_ns);
        } else {
            self.links[number] = link;
            self.deadlines[number] = deadline_ns;
        }
        self.opening.push_back((deadline_ns, number));
        self.opening_count += 1;
        Ok(())
    }

    fn handle(&mut self, event: &Event) -> Result<(), String> {
        let number = event.token().0;
        let link = &mut self.links[number];
        if link.is_gone() {
            return Ok(());
        }
        let was_ready = link.is_ready();
        let mut outcome = Ok(());
        if event.is_writable() || event.is_error() {
            let subscriptions = if link.wants_subscriptions() { self.scene.subscriptions(number) } else { Vec::new() };
            let other = self.scene.transport(number).filter(|_| link.wants_subscriptions());
            let other = other.map(|transport| Target { transport, ..self.ramp.target.clone() });
            outcome = link.writable(other.as_ref().unwrap_or(&self.ramp.target), subscriptions);
        }
        if outcome.is_ok() && event.is_readable() && self.scene.reads(number) {
            return self.read(number, usize::MAX, event.is_read_closed());
        }
        self.settle(number, was_ready, outcome)
    }

    /// Lets a connection read, up to `most` bytes.
    fn read(&mut self, number: usize, most: usize, hung_up: bool) -> Result<(), String> {
        let link = &mut self.links[number];
        let was_ready = link.is_ready();
        let (crew, scene) = (&self.crew, &mut self.scene);
        let outcome = link.readable(
            &mut self.buffer,
            most,
            hung_up,
            &mut self.inflater,
            || crew.now_ns(),
            |message, now_ns| scene.message(number, message, now_ns),
        );
        self.settle(number, was_ready, outcome)
    }

    /// Notes what has become of a connection.
    fn settle(&mut self, number: usize, was_ready: bool, outcome: Result<(), String>) -> Result<(), String> {
        let link = &mut self.links[number];
        let pings = link.take_pings();
        if pings > 0 {
            self.crew.pings.fetch_add(u64::from(pings), Ordering::Relaxed);
        }
        if !was_ready && link.is_ready() {
            self.opening_count -= 1;
            self.crew.ready.fetch_add(1, Ordering::Relaxed);
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(sentence) if was_ready => {
                link.end();
                self.scene.closed(number, &sentence);
                Ok(())
            }
            Err(sentence) => Err(format!("connection {number}: {sentence}")),
        }
    }

    fn check_deadlines(&mut self) -> Result<(), String> {
        while let Some((deadline_ns, number)) = self.opening.front().copied() {
            let link = &self.links[number];
            if link.is_ready() || link.is_gone() || self.deadlines[number] != deadline_ns {
                self.opening.pop_front();
            } else if self.crew.now_ns() > deadline_ns {
                let awaited = link.awaited();
                let seconds = self.opening_ns_max() / 1_000_000_000;
                return Err(format!("connection {number}: {awaited} did not come within {seconds} s"));
            } else {
                break;
            }
        }
        Ok(())
    }
}
