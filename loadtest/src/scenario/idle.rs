//! C connections that subscribe and then do nothing but answer pings: what one of them costs the server.
//! `run` ramps up in steps, reads the server's memory at each, holds, and draws the line through the samples.
//! Invariants: a step is sampled only when all its connections have their acks and the server has settled; a connection
//! lost while holding is a fault.

use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::crowd::{Crowd, Manner, Threads};
use super::processes::Processes;
use crate::machine;
use crate::process::{Cost, Kernel, Memory};
use crate::report::Progress;
use crate::stats::least_squares;
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
    /// What they do, and how they come.
    pub(crate) manner: Manner,
    /// How long the full number is held.
    pub(crate) hold: Duration,
    /// Processes that hold them; 1: this one.
    pub(crate) processes: usize,
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
    /// What the load spent on both, all its processes together.
    pub(crate) own: [Cost; 2],
    /// Pings that they answered while they were held.
    pub(crate) pings: u64,
    /// How long they were held, in nanoseconds.
    pub(crate) hold_ns: u64,
    /// What went wrong.
    pub(crate) faults: Faults,
}

/// Runs `shape` against `target`, whose process is `server_pid`.
pub(crate) fn run(target: &Target, shape: &Shape, server_pid: u32, progress: &Progress) -> Result<Measured, String> {
    machine::server_holds(server_pid, shape.connections)?;
    let crowd: Box<dyn Crowd> = if shape.processes == 1 {
        Box::new(Threads::start(target, &shape.manner)?)
    } else {
        Box::new(Processes::start(target, &shape.manner, shape.processes, shape.connections)?)
    };
    let measured = conduct(crowd.as_ref(), shape, server_pid, progress);
    let faults = crowd.finish()?;
    measured.map(|measured| Measured { faults, ..measured })
}

/// Waits until so many are there.
fn await_ready(crowd: &dyn Crowd, step: usize, shape: &Shape, progress: &Progress) -> Result<(), String> {
    let limit = Duration::from_secs_f64(30.0 + 2.0 * step as f64 / shape.manner.connects_per_second);
    let begun = Instant::now();
    while crowd.ready() != step {
        crowd.failure()?;
        if begun.elapsed() > limit {
            return Err(format!("{step} connections did not come to pass within {} s", limit.as_secs()));
        }
        progress.at(crowd.ready() as u64);
        thread::sleep(super::LOOK);
    }
    Ok(())
}

/// Ramps, samples and holds, from the directing thread.
fn conduct(crowd: &dyn Crowd, shape: &Shape, server_pid: u32, progress: &Progress) -> Result<Measured, String> {
    progress.begin("connecting", shape.connections as u64);
    let begun = Instant::now();
    let load = || {
        let pids = std::iter::once(std::process::id()).chain(crowd.pids());
        pids.map(Cost::of).sum::<Result<Cost, String>>()
    };
    let (start, own_start) = (Cost::of(server_pid)?, load()?);
    let mut samples = vec![sample(0, server_pid)?];
    for step in steps(shape.connections) {
        crowd.want(step)?;
        await_ready(crowd, step, shape, progress)?;
        thread::sleep(SETTLE);
        samples.push(sample(step, server_pid)?);
    }
    let ramp = Cost::of(server_pid)?;
    let ramp_ns = begun.elapsed().as_nanos() as u64;
    progress.begin("holding", shape.hold.as_millis() as u64);
    let (held, own, pings) = (Instant::now(), load()?, crowd.pings());
    while held.elapsed() < shape.hold {
        crowd.failure()?;
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
        own: [own.since(own_start), load()?.since(own)],
        pings: crowd.pings() - pings,
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
}
