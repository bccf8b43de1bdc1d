//! A fan-out of which a part reads slowly or not at all: what does that cost the healthy, the server and the kernel, and is
//! each slow reader treated as the topic's overflow rule says?
//! `run` directs rounds: with and without slow readers in turn, each with a fresh server, the judgement on medians.
//! Invariants: slow readers fall behind before the measured stretch begins; once it is over they read all there is, and only
//! then are judged; the runs of a round differ in nothing but the slow readers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::against::Broker;
use super::fanout::{self, Directed, Witness};
use super::hire::share_of;
use super::slow_readers::{Found, Manner, Shore, SlowReaders};
use super::weather::Recoveries;
use crate::client::Crew;
use crate::machine::Placement;
use crate::process::{Kernel, Memory};
use crate::report::Progress;
use crate::stats::{median, ratio};
use crate::target::{Target, Transport};
use crate::verify::{Expected, Faults};

/// Time between two looks at the memory.
const SAMPLE: Duration = Duration::from_millis(250);
/// Nothing is heard for so long while slow readers still wait for something: they wait in vain.
const STALL: Duration = Duration::from_secs(5);

/// How much load, and how slow.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The publications and the healthy subscribers; `others` is the number of slow readers, one topic, one publisher.
    pub(crate) fanout: fanout::Shape,
    /// How slow readers read.
    pub(crate) manner: Manner,
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Since the measured stretch began.
    pub(crate) seconds: f64,
    /// The server's.
    pub(crate) server: Memory,
    /// The kernel's, of the whole machine.
    pub(crate) kernel: Kernel,
}

/// What slow readers got, all together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct SlowFigures {
    /// Slow readers.
    pub(crate) readers: u64,
    /// Publications delivered to them, in the whole run.
    pub(crate) delivered: u64,
    /// Publications that they were told to have missed.
    pub(crate) missed: u64,
    /// Gaps that they were told.
    pub(crate) gaps: u64,
    /// Closed with 4008.
    pub(crate) refused: u64,
}

/// What one run found.
pub(crate) struct Measured {
    /// As of a fan-out; latencies are of the healthy only, and deliveries of all.
    pub(crate) fanout: fanout::Measured,
    /// The slow readers'.
    pub(crate) slow: SlowFigures,
    /// Memory with all connected and nobody behind.
    pub(crate) memory_before: Option<Sample>,
    /// Memory over the measured stretch.
    pub(crate) samples: Vec<Sample>,
}

impl Measured {
    /// No fault; and if there were slow readers, they were too slow.
    pub(crate) fn passed(&self) -> bool {
        let (faults, slow) = (&self.fanout.faults, &self.slow);
        let tested = self.fanout.deliveries > 0 && (slow.readers == 0 || slow.missed + slow.refused > 0);
        tested && faults.total() == 0 && faults.sentences.is_empty()
    }

    /// Memory at the begin, in the middle and at the end of the measured stretch.
    pub(crate) fn memory(&self) -> Option<[Sample; 3]> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        Some([*first, self.samples[self.samples.len() / 2], *last])
    }

    /// Deliveries per second of the server's CPU time; 0 if that is not known.
    pub(crate) fn deliveries_per_cpu_second(&self) -> f64 {
        let cost = self.fanout.spending.server.unwrap_or_default();
        ratio(self.fanout.deliveries as f64 * 1e9, cost.cpu_ns as f64)
    }

    /// How late the healthy got 99 of 100 deliveries at most, in nanoseconds.
    pub(crate) fn p99_ns(&self) -> f64 {
        self.fanout.lateness.all.summary().p99_ns as f64
    }
}

/// Both sides of one round.
pub(crate) struct Round {
    /// With slow readers.
    pub(crate) with: Measured,
    /// With the healthy alone.
    pub(crate) without: Measured,
}

/// Medians over the rounds, with slow readers and without.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pair {
    /// With them.
    pub(crate) with: f64,
    /// Without.
    pub(crate) without: f64,
    /// The first over the second.
    pub(crate) ratio: f64,
    /// The best round with them over the best one without: what neighbours on the machine disturb only makes it worse.
    pub(crate) ratio_of_best_rounds: f64,
}

impl Pair {
    /// Of one figure of all rounds; `better` picks the better one of two.
    pub(crate) fn of(rounds: &[Round], figure: fn(&Measured) -> f64, better: fn(f64, f64) -> f64) -> Self {
        let side = |side: fn(&Round) -> &Measured| {
            let figures: Vec<f64> = rounds.iter().map(|round| figure(side(round))).collect();
            (median(&figures), figures.into_iter().reduce(better).unwrap_or(0.0))
        };
        let ((with, best_with), (without, best_without)) = (side(|round| &round.with), side(|round| &round.without));
        Self { with, without, ratio: ratio(with, without), ratio_of_best_rounds: ratio(best_with, best_without) }
    }
}

/// `rounds` rounds of a run with slow readers and one without.
pub(crate) fn run(
    shape: &Shape,
    broker: &Broker,
    placement: &Placement,
    rounds: u32,
    progress: &Progress,
) -> Result<Vec<Round>, String> {
    let healthy = Shape { fanout: fanout::Shape { others: 0, ..shape.fanout.clone() }, ..shape.clone() };
    let mut all = Vec::new();
    for round in 0..rounds {
        let side = |slow: bool| {
            let word = if slow { "with" } else { "without" };
            progress.name(format!("round {} of {rounds}, {word} slow readers", round + 1));
            let shape = if slow { shape } else { &healthy };
            run_broker(shape, broker, placement, progress)
                .map_err(|sentence| format!("round {}, {word} slow readers: {sentence}", round + 1))
        };
        let first = side(round % 2 == 0)?;
        let second = side(round % 2 == 1)?;
        let (with, without) = if round % 2 == 0 { (first, second) } else { (second, first) };
        all.push(Round { with, without });
    }
    Ok(all)
}

fn run_broker(shape: &Shape, broker: &Broker, placement: &Placement, progress: &Progress) -> Result<Measured, String> {
    broker.with(placement, Transport::Ws, |target, pid| run_once(target, shape, pid, progress))
}

/// One run of `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run_once(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    let shore = Arc::new(Shore::default());
    let mut onlooker = Onlooker::new(server_pid, &shore, shape.fanout.others);
    let slow = |thread| share_of(thread, shape.fanout.threads, shape.fanout.others).len();
    let run = fanout::Run { target, shape: &shape.fanout, server_pid, progress, storm: None };
    let directed = run.direct(&mut onlooker, |thread, flight, listening| {
        SlowReaders::new(listening, slow(thread), flight, &shore, shape.manner)
    })?;
    judge(directed, shape, onlooker)
}

fn judge(mut directed: Directed<SlowReaders>, shape: &Shape, onlooker: Onlooker) -> Result<Measured, String> {
    let threads: Vec<Found> = directed.scenes().into_iter().map(SlowReaders::finish).collect();
    let sent = threads.iter().find_map(|thread| thread.heard.sent.as_ref());
    let published = sent.map_or(0, |sent| u64::from(sent.sequences[0]));
    let keys = u64::from(shape.fanout.conflate_keys).clamp(1, published.max(1));
    let newest = if published == 0 { 0 } else { keys };
    let expected = Expected { overflow: shape.manner.overflow, published, newest };
    let (mut slow, mut faults) = (SlowFigures::default(), Faults::default());
    let (mut heard, mut delivered) = (Vec::new(), 0);
    for thread in threads {
        for reader in &thread.readers {
            reader.finish(&expected, &mut faults);
            slow.readers += 1;
            slow.delivered += reader.delivered();
            slow.missed += reader.missed();
            slow.gaps += reader.gaps();
            slow.refused += u64::from(reader.was_refused());
        }
        delivered += thread.delivered;
        heard.push(thread.heard);
    }
    let (mut fanout, _) = directed.judge(heard, Recoveries::new())?;
    fanout.deliveries += delivered;
    fanout.faults.merge(faults);
    Ok(Measured { fanout, slow, memory_before: onlooker.before, samples: onlooker.samples })
}

/// Samples memory while others publish, and sees to it that slow readers read up.
struct Onlooker {
    pid: Option<u32>,
    shore: Arc<Shore>,
    slow: usize,
    before: Option<Sample>,
    samples: Vec<Sample>,
    measured_since: Option<Instant>,
    sampled: Option<Instant>,
}

impl Onlooker {
    fn new(pid: Option<u32>, shore: &Arc<Shore>, slow: usize) -> Self {
        let (before, samples) = (None, Vec::new());
        Self { pid, shore: Arc::clone(shore), slow, before, samples, measured_since: None, sampled: None }
    }

    fn sample(&self, seconds: f64) -> Result<Option<Sample>, String> {
        let Some(pid) = self.pid else { return Ok(None) };
        Ok(Some(Sample { seconds, server: Memory::of(pid)?, kernel: Kernel::now()? }))
    }
}

impl Witness for Onlooker {
    fn look(&mut self, measuring: bool) -> Result<(), String> {
        if self.before.is_none() {
            self.before = self.sample(0.0)?;
        }
        if !measuring || self.sampled.is_some_and(|at| at.elapsed() < SAMPLE) {
            return Ok(());
        }
        let now = Instant::now();
        let since = *self.measured_since.get_or_insert(now);
        self.sampled = Some(now);
        let sample = self.sample(now.duration_since(since).as_secs_f64())?;
        self.samples.extend(sample);
        Ok(())
    }

    fn end(&mut self, crew: &Crew) -> Result<(), String> {
        self.shore.read_up.store(true, Ordering::Release);
        let mut moved = (Instant::now(), 0);
        // Who waits in vain is found by the judgement, which says what is missing.
        while self.shore.done.load(Ordering::Acquire) < self.slow && moved.0.elapsed() < STALL {
            crew.failure()?;
            let heard = self.shore.heard.load(Ordering::Relaxed);
            if heard != moved.1 {
                moved = (Instant::now(), heard);
            }
            thread::sleep(super::LOOK);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
