//! Connections that come, subscribe, and are reset, over and over: what one such cycle costs the server.
//! `run` directs it: cycles for the warm-up, quiet, cycles for the measured stretch, quiet.
//! Invariants: a cycle counts when its ack came, and nothing else may come; CPU time is read only when no connection is left and the
//! server has had `SETTLE` to see the resets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::fanout::fresh_seed;
use super::hire::share_of;
use super::meter::{Meter, Spending};
use super::wait_until;
use crate::client::{Crew, Link, Message, Order, Ramp, Scene, Subscription, Worker};
use crate::machine::pin_thread;
use crate::process::Memory;
use crate::report::Progress;
use crate::stats::Latencies;
use crate::target::Target;
use crate::verify::Faults;

/// How long the server has to see the last resets.
const SETTLE: Duration = Duration::from_millis(200);
/// Longest wait for the last cycles.
const DRAIN: Duration = Duration::from_secs(15);

/// How much, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Connections that cycle at once.
    pub(crate) connections: usize,
    /// Topics; connection n subscribes to topic n modulo their number.
    pub(crate) topics: usize,
    /// Before the measurement.
    pub(crate) warmup: Duration,
    /// Of the measured stretch.
    pub(crate) length: Duration,
    /// Client threads.
    pub(crate) threads: usize,
    /// Source addresses.
    pub(crate) sources: u8,
    /// Cores of the client threads.
    pub(crate) load_cores: Vec<usize>,
}

/// What one run found.
pub(crate) struct Measured {
    /// Cycles in the measured stretch.
    pub(crate) cycles: u64,
    /// How long it took, in nanoseconds.
    pub(crate) wall_ns: u64,
    /// What server and load spent.
    pub(crate) spending: Spending,
    /// The server's memory before the first connection, if its process is known.
    pub(crate) memory_before: Option<Memory>,
    /// From the start of the connect to the ack, warm-up included.
    pub(crate) to_ack: Latencies,
    /// What went wrong.
    pub(crate) faults: Faults,
}

/// What the threads share.
#[derive(Default)]
struct Gate {
    /// Whoever was reset connects again.
    open: AtomicBool,
    cycles: AtomicU64,
    /// Connections between connect and reset.
    live: AtomicI64,
}

/// Runs `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    let (crew, gate) = (Arc::new(Crew::new()), Arc::new(Gate::default()));
    let memory_before = server_pid.map(Memory::of).transpose()?;
    let seed = fresh_seed();
    let mut threads = Vec::new();
    for number in 0..shape.threads {
        let part = share_of(number, shape.threads, shape.connections);
        let ramp = Ramp {
            target: target.clone(),
            sources: shape.sources,
            connects_per_second: f64::INFINITY,
            at_once: true,
            seed: seed ^ (number as u64) << 56,
        };
        let churn = Churn::new(part.len(), seed as u32, shape.topics, part.start, &gate);
        let worker = Worker::new(Arc::clone(&crew), ramp, churn)
            .map_err(|error| format!("a client thread cannot be made: {error}"))?;
        worker.wanted().store(part.len(), Ordering::Relaxed);
        let (cores, crew) = (shape.load_cores.clone(), Arc::clone(&crew));
        threads.push(thread::spawn(move || {
            if let Err(sentence) = pin_thread(&cores) {
                crew.fail(sentence);
            }
            let churn = worker.run();
            (churn.faults, churn.to_ack)
        }));
    }
    let measured = conduct(&crew, &gate, target, shape, server_pid, progress);
    crew.stop();
    let (mut faults, mut to_ack) = (Faults::default(), Latencies::new());
    for thread in threads {
        let (own_faults, own) = thread.join().map_err(|_| "a client thread failed")?;
        faults.merge(own_faults);
        to_ack.merge(&own);
    }
    crew.failure()?;
    measured.map(|measured| Measured { memory_before, faults, to_ack, ..measured })
}

fn conduct(
    crew: &Crew,
    gate: &Gate,
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    let stretch = |what: &'static str, length: Duration| {
        progress.begin(what, length.as_millis() as u64);
        let (begun, before) = (Instant::now(), gate.cycles.load(Ordering::Acquire));
        gate.open.store(true, Ordering::Release);
        while begun.elapsed() < length {
            crew.failure()?;
            progress.at(begun.elapsed().as_millis() as u64);
            thread::sleep(super::LOOK);
        }
        gate.open.store(false, Ordering::Release);
        let done = || gate.live.load(Ordering::Acquire) <= 0 && gate.cycles.load(Ordering::Acquire) > before;
        wait_until(crew, DRAIN, "the end of the last cycles", || (), done)?;
        let wall_ns = begun.elapsed().as_nanos() as u64;
        thread::sleep(SETTLE);
        Ok::<_, String>((gate.cycles.load(Ordering::Acquire) - before, wall_ns))
    };
    stretch("warming up", shape.warmup)?;
    let meter = Meter::begin(target, server_pid, &[])?;
    let (cycles, wall_ns) = stretch("measuring", shape.length)?;
    Ok(Measured {
        cycles,
        wall_ns,
        spending: meter.end()?,
        memory_before: None,
        to_ack: Latencies::new(),
        faults: Faults::default(),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has no connection.
    Away,
    /// Begun then, in nanoseconds.
    Connecting(u64),
    /// It has its ack.
    Subscribed,
}

/// One thread's connections.
struct Churn {
    gate: Arc<Gate>,
    seed: u32,
    topics: usize,
    /// Number of the first connection.
    base: usize,
    phases: Vec<Phase>,
    /// Have their ack, and are to be reset.
    done: Vec<usize>,
    /// Were reset.
    away: Vec<usize>,
    to_ack: Latencies,
    faults: Faults,
}

impl Churn {
    fn new(connections: usize, seed: u32, topics: usize, base: usize, gate: &Arc<Gate>) -> Self {
        Self {
            gate: Arc::clone(gate),
            seed,
            topics,
            base,
            phases: vec![Phase::Away; connections],
            done: Vec::new(),
            away: Vec::new(),
            to_ack: Latencies::new(),
            faults: Faults::default(),
        }
    }

    fn unexpected(&mut self, link: usize, what: &str) {
        self.faults.unexpected += 1;
        self.faults.say(|| format!("connection {link} {what}"));
    }
}

impl Scene for Churn {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        let topic = (self.base + link) % self.topics;
        vec![Subscription::live(format!("loadtest/{:08x}/{topic}", self.seed))]
    }

    fn opened(&mut self, link: usize, now_ns: u64) {
        self.phases[link] = Phase::Connecting(now_ns);
        self.gate.live.fetch_add(1, Ordering::AcqRel);
    }

    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64) {
        match (message, self.phases[link]) {
            (Message::Acked(ack), Phase::Connecting(began_ns)) => {
                if ack.position.is_none() {
                    self.unexpected(link, "was not told where live begins");
                }
                self.to_ack.record(now_ns.saturating_sub(began_ns));
                self.phases[link] = Phase::Subscribed;
                self.done.push(link);
            }
            (Message::Acked(_), _) => self.unexpected(link, "was acked twice"),
            (Message::Text(bytes) | Message::Binary(bytes) | Message::Delivered { payload: bytes, .. }, _) => {
                let shown: String = String::from_utf8_lossy(bytes).chars().take(160).collect();
                self.unexpected(link, &format!("got {shown:?}, and nobody published"));
            }
        }
    }

    fn closed(&mut self, link: usize, why: &str) {
        self.faults.closed += 1;
        self.faults.say(|| format!("connection {link} ended: {why}"));
    }

    fn turn(&mut self, _links: &mut [Link], _now_ns: u64) -> Option<u64> {
        None
    }

    fn order(&mut self, _now_ns: u64) -> Option<Order> {
        if let Some(link) = self.done.pop() {
            self.phases[link] = Phase::Away;
            self.away.push(link);
            self.gate.cycles.fetch_add(1, Ordering::AcqRel);
            self.gate.live.fetch_sub(1, Ordering::AcqRel);
            return Some(Order::Reset(link));
        }
        if !self.gate.open.load(Ordering::Acquire) {
            return None;
        }
        self.away.pop().map(Order::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::{Ack, Position};
    use crate::scenario::fanout::tests::{with_broker, with_floor};

    #[test]
    fn cycles_of_broker_and_floor_are_counted_and_leave_nobody_behind() {
        let shape = Shape {
            connections: 20,
            topics: 3,
            warmup: Duration::from_millis(50),
            length: Duration::from_millis(300),
            threads: 2,
            sources: 2,
            load_cores: Vec::new(),
        };
        let run = |target: &Target| {
            let measured = run(target, &shape, Some(std::process::id()), &Progress::new(true)).unwrap();
            assert_eq!(measured.faults, Faults::default());
            assert!(measured.cycles >= 20, "{}", measured.cycles);
            assert!(measured.to_ack.summary().count >= measured.cycles && measured.wall_ns >= 300_000_000);
            assert!(measured.spending.server.is_some() && measured.memory_before.is_some());
        };
        with_broker(None, run);
        with_floor(run);
    }

    #[test]
    fn what_is_no_ack_or_a_second_one_is_a_fault() {
        let gate = Arc::new(Gate::default());
        let mut churn = Churn::new(1, 1, 1, 0, &gate);
        let ack = Ack { position: Some(Position { epoch: 1, offset: 0 }), recovered: None };
        churn.opened(0, 5);
        churn.message(0, Message::Acked(ack), 10);
        assert_eq!((churn.faults.total(), churn.order(0), churn.order(0)), (0, Some(Order::Reset(0)), None));
        assert_eq!((gate.cycles.load(Ordering::Relaxed), gate.live.load(Ordering::Relaxed)), (1, 0));
        gate.open.store(true, Ordering::Relaxed);
        assert_eq!(churn.order(0), Some(Order::Open(0)));
        churn.message(0, Message::Acked(ack), 10);
        churn.message(0, Message::Text(b"{}"), 10);
        churn.opened(0, 20);
        churn.message(0, Message::Acked(Ack::default()), 30);
        churn.closed(0, "x");
        let faults = churn.faults;
        assert_eq!((faults.unexpected, faults.closed, faults.total()), (3, 1, 4), "{faults:?}");
    }
}
