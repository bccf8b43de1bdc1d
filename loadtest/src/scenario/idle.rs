//! C connections that subscribe and then do nothing but answer pings: what one of them costs the server.
//! `run` ramps up in steps, reads the server's memory at each, holds, and draws the line through the samples.
//! Invariants: a step is sampled only when all its connections have their acks and the server has settled; a connection
//! lost while holding is a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fanout::{fresh_seed, topic_name};
use super::wait_until;
use crate::client::{Crew, Link, Message, Ramp, Scene, Subscription, Worker};
use crate::machine::pin_thread;
use crate::process::{Cost, Kernel, Memory};
use crate::profile::Profile;
use crate::report::Progress;
use crate::stats::{least_squares, ratio};
use crate::target::Target;
use crate::verify::Faults;

/// Where the slope begins: the first thousand pay for the server's own start.
const SLOPE_FROM: usize = 1_000;
/// Samples between [`SLOPE_FROM`] and the end, both included.
const SAMPLES: usize = 10;
/// Pause before a sample.
const SETTLE: Duration = Duration::from_millis(300);

/// How many connections, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Connections at the end.
    pub(crate) connections: usize,
    /// Connects per second, all threads together.
    pub(crate) connects_per_second: f64,
    /// Subscriptions of each connection.
    pub(crate) subscribe_each: usize,
    /// Topics shared by all; `None`: each subscription has its own.
    pub(crate) topics: Option<usize>,
    /// How long the full number is held.
    pub(crate) hold: Duration,
    /// Client threads.
    pub(crate) threads: usize,
    /// Source addresses.
    pub(crate) sources: u8,
    /// Cores of the client threads.
    pub(crate) load_cores: Vec<usize>,
}

/// Memory at one number of connections.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    /// Connections ready.
    pub(crate) connections: usize,
    /// The server's memory.
    pub(crate) server: Memory,
    /// The kernel's memory, both ends of the connections and the rest of the machine.
    pub(crate) kernel: Kernel,
}

/// What one run found.
pub(crate) struct Measured {
    /// From no connection to all of them.
    pub(crate) samples: Vec<Sample>,
    /// Least-squares slope of the server's PSS from 1,000 connections on, in bytes per connection.
    pub(crate) pss_slope: Option<f64>,
    /// The same of the kernel's memory, both ends and TCP buffers.
    pub(crate) kernel_slope: Option<f64>,
    /// What the server spent on accepting and subscribing all of them.
    pub(crate) ramp: Cost,
    /// How long that took, samples included, in nanoseconds.
    pub(crate) ramp_ns: u64,
    /// What the server spent while they were held.
    pub(crate) hold: Cost,
    /// How long they were held, in nanoseconds.
    pub(crate) hold_ns: u64,
    /// What went wrong.
    pub(crate) faults: Faults,
}

/// Runs `shape` against `target`, whose process is `server_pid`.
pub(crate) fn run(target: &Target, shape: &Shape, server_pid: u32, progress: &Progress) -> Result<Measured, String> {
    if shape.connections == 0 {
        return Err("no descriptor is left for a connection: raise the limit (ulimit -n)".to_owned());
    }
    let crew = Arc::new(Crew::new());
    let seed = fresh_seed();
    let mut threads = Vec::new();
    let mut wanted = Vec::new();
    for number in 0..shape.threads {
        let waiting = Waiting {
            thread: number,
            shape: shape.clone(),
            seed,
            profile: target.profile.clone(),
            faults: Faults::default(),
        };
        let ramp = Ramp {
            target: target.clone(),
            sources: shape.sources,
            connects_per_second: shape.connects_per_second / shape.threads as f64,
            seed: seed ^ (number as u64) << 56,
        };
        let worker = Worker::new(Arc::clone(&crew), ramp, waiting)
            .map_err(|error| format!("a client thread cannot be made: {error}"))?;
        wanted.push(worker.wanted());
        let (cores, crew) = (shape.load_cores.clone(), Arc::clone(&crew));
        threads.push(thread::spawn(move || {
            if let Err(sentence) = pin_thread(&cores) {
                crew.fail(sentence);
            }
            worker.run().faults
        }));
    }
    let measured = conduct(&crew, shape, server_pid, &wanted, progress);
    crew.stop();
    let mut faults = Faults::default();
    for thread in threads {
        faults.merge(thread.join().map_err(|_| "a client thread failed")?);
    }
    crew.failure()?;
    measured.map(|measured| Measured { faults, ..measured })
}

/// Ramps, samples and holds, from the directing thread.
fn conduct(
    crew: &Crew,
    shape: &Shape,
    server_pid: u32,
    wanted: &[Arc<AtomicUsize>],
    progress: &Progress,
) -> Result<Measured, String> {
    progress.begin("connecting", shape.connections as u64);
    let begun = Instant::now();
    let start = Cost::of(server_pid)?;
    let mut samples = vec![sample(0, server_pid)?];
    for step in steps(shape.connections) {
        for (number, wanted) in wanted.iter().enumerate() {
            let share = step * (number + 1) / shape.threads - step * number / shape.threads;
            wanted.store(share, Ordering::Relaxed);
        }
        let limit = Duration::from_secs_f64(30.0 + 2.0 * step as f64 / shape.connects_per_second);
        wait_until(
            crew,
            limit,
            &format!("{step} connections"),
            || progress.at(crew.ready() as u64),
            || crew.ready() == step,
        )?;
        thread::sleep(SETTLE);
        samples.push(sample(step, server_pid)?);
    }
    let ramp = Cost::of(server_pid)?;
    let ramp_ns = begun.elapsed().as_nanos() as u64;
    progress.begin("holding", shape.hold.as_millis() as u64);
    let held = Instant::now();
    while held.elapsed() < shape.hold {
        crew.failure()?;
        progress.at(held.elapsed().as_millis() as u64);
        thread::sleep(Duration::from_millis(20).min(shape.hold));
    }
    let hold = Cost::of(server_pid)?.since(ramp);
    let line = |bytes: fn(&Sample) -> u64| {
        let points: Vec<(f64, f64)> = samples
            .iter()
            .filter(|sample| sample.connections >= SLOPE_FROM.min(shape.connections / 2))
            .map(|sample| (sample.connections as f64, bytes(sample) as f64))
            .collect();
        least_squares(&points).map(|(slope, _)| slope)
    };
    Ok(Measured {
        pss_slope: line(|sample| sample.server.pss_bytes),
        kernel_slope: line(|sample| sample.kernel.slab_bytes + sample.kernel.tcp_bytes),
        samples,
        ramp: ramp.since(start),
        ramp_ns,
        hold,
        hold_ns: held.elapsed().as_nanos() as u64,
        faults: Faults::default(),
    })
}

fn sample(connections: usize, server_pid: u32) -> Result<Sample, String> {
    Ok(Sample { connections, server: Memory::of(server_pid)?, kernel: Kernel::now()? })
}

/// 1,000, then even steps to `connections`; below 2,000 connections, even steps from half of them.
fn steps(connections: usize) -> Vec<usize> {
    let first = SLOPE_FROM.min(connections / 2).max(1).min(connections);
    let mut steps: Vec<usize> = (0..SAMPLES).map(|step| first + (connections - first) * step / (SAMPLES - 1)).collect();
    steps.dedup();
    steps
}

/// Part of the server's CPU that a stretch took, in percent of one core.
pub(crate) fn cpu_percent(cost: Cost, stretch_ns: u64) -> f64 {
    100.0 * ratio(cost.cpu_ns as f64, stretch_ns as f64)
}

/// One thread's idle connections.
struct Waiting {
    thread: usize,
    shape: Shape,
    seed: u64,
    profile: Option<Arc<Profile>>,
    faults: Faults,
}

impl Scene for Waiting {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        let connection = link * self.shape.threads + self.thread;
        (0..self.shape.subscribe_each)
            .map(|which| {
                let number = connection * self.shape.subscribe_each + which;
                let topic = self.shape.topics.map_or(number, |topics| number % topics);
                Subscription::live(topic_name(self.profile.as_deref(), self.seed, topic))
            })
            .collect()
    }

    fn message(&mut self, link: usize, message: Message<'_>, _now_ns: u64) {
        let (Message::Text(bytes) | Message::Binary(bytes) | Message::Delivered { payload: bytes, .. }) = message
        else {
            return;
        };
        self.faults.unexpected += 1;
        self.faults.say(|| {
            let excerpt: String = String::from_utf8_lossy(bytes).chars().take(160).collect();
            format!("connection {link} got {excerpt:?}, and nobody published")
        });
    }

    fn closed(&mut self, link: usize, why: &str) {
        self.faults.closed += 1;
        self.faults.say(|| format!("connection {link} ended: {why}"));
    }

    fn turn(&mut self, _links: &mut [Link], _now_ns: u64) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_at_a_thousand_and_end_at_the_asked_number() {
        let all = steps(19_000);
        assert_eq!((all[0], all[SAMPLES - 1], all.len()), (1_000, 19_000, SAMPLES));
        assert!(all.is_sorted());
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(100).first().copied(), Some(50));
        assert_eq!(steps(100).last().copied(), Some(100));
    }

    #[test]
    fn topics_are_own_or_shared() {
        let shape = Shape {
            connections: 10,
            connects_per_second: 1.0,
            subscribe_each: 2,
            topics: None,
            hold: Duration::ZERO,
            threads: 2,
            sources: 1,
            load_cores: Vec::new(),
        };
        let names = |topics| {
            let mut names = std::collections::BTreeSet::new();
            for thread in 0..2 {
                let shape = Shape { topics, ..shape.clone() };
                let faults = Faults::default();
                let mut scene = Waiting { thread, shape, seed: 1, profile: None, faults };
                for link in 0..5 {
                    let all = scene.subscriptions(link);
                    assert_eq!(all.len(), 2);
                    names.extend(all.into_iter().map(|subscription| subscription.filter));
                }
            }
            names.len()
        };
        assert_eq!((names(None), names(Some(3))), (20, 3));
    }
}
