//! Hours of a storm: is everything still delivered, and does the server's memory grow?
//! `run` directs a `storm` and samples memory; the verdict on memory is the line through the samples.
//! Invariants: all that a storm judges is judged here, over the whole run; the first quarter is left out of the line, because caches, histories and
//! allocators fill up then; a soak ends by itself.

use std::time::{Duration, Instant};

use super::fanout::Witness;
use super::storm;
use crate::process::Memory;
use crate::report::Progress;
use crate::stats::least_squares;
use crate::target::Target;

/// Samples of a run, if it is long enough for that.
const SAMPLES: u32 = 500;
/// Shortest and longest time between two samples.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(60));
/// The part of the run that is left out of the line, one in so many.
const SETTLING: f64 = 0.25;

/// The server at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Since the measured stretch began.
    pub(crate) seconds: f64,
    /// Its memory.
    pub(crate) memory: Memory,
}

/// What one run found.
pub(crate) struct Measured {
    /// As of a storm.
    pub(crate) storm: storm::Measured,
    /// Over the measured stretch.
    pub(crate) samples: Vec<Sample>,
}

/// How memory goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Growth {
    /// Slope of the line through the samples of PSS, in bytes per second.
    pub(crate) bytes_per_second: f64,
    /// What that comes to from the first of them to the last, in bytes.
    pub(crate) bytes: f64,
}

impl Measured {
    /// The line through the samples after the first quarter; `None` with fewer than two.
    pub(crate) fn growth(&self) -> Option<Growth> {
        growth(&self.samples)
    }
}

fn growth(samples: &[Sample]) -> Option<Growth> {
    let end = samples.last()?.seconds;
    let settled: Vec<(f64, f64)> = samples
        .iter()
        .filter(|sample| sample.seconds >= SETTLING * end)
        .map(|sample| (sample.seconds, sample.memory.pss_bytes as f64))
        .collect();
    let (slope, _) = least_squares(&settled)?;
    Some(Growth { bytes_per_second: slope, bytes: slope * (end - settled.first()?.0) })
}

/// Runs `shape` against `target`, whose process is `server_pid`.
pub(crate) fn run(
    target: &Target,
    shape: &storm::Shape,
    server_pid: u32,
    progress: &Progress,
) -> Result<Measured, String> {
    let every = (shape.fanout.length / SAMPLES).clamp(INTERVALS.0, INTERVALS.1);
    let mut sampler = Sampler { pid: server_pid, every, begun: None, next: Instant::now(), samples: Vec::new() };
    let storm = storm::run_before(target, shape, Some(server_pid), progress, &mut sampler)?;
    Ok(Measured { storm, samples: sampler.samples })
}

struct Sampler {
    pid: u32,
    every: Duration,
    begun: Option<Instant>,
    next: Instant,
    samples: Vec<Sample>,
}

impl Witness for Sampler {
    fn look(&mut self, measuring: bool) -> Result<(), String> {
        let now = Instant::now();
        if !measuring || now < self.next {
            return Ok(());
        }
        let begun = *self.begun.get_or_insert(now);
        self.next = now + self.every;
        let seconds = now.duration_since(begun).as_secs_f64();
        self.samples.push(Sample { seconds, memory: Memory::of(self.pid)? });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fanout::tests::with_broker;
    use crate::verify::Faults;

    fn samples(pss: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |n: u32| {
            let seconds = f64::from(n);
            let memory = Memory { rss_bytes: 0, pss_bytes: pss(seconds) as u64 };
            Sample { seconds, memory }
        };
        (0..100).map(sample).collect()
    }

    #[test]
    fn a_leak_is_seen_through_noise_and_a_start_is_none() {
        let leak = growth(&samples(|s| 1e7 + 2_000.0 * s + 5e3 * (s * 7.0).sin())).unwrap();
        assert!((leak.bytes_per_second - 2_000.0).abs() < 50.0 && (leak.bytes - 148_000.0).abs() < 5_000.0, "{leak:?}");
        let filled = growth(&samples(|s| 1e7 + 1e6 * s.min(20.0))).unwrap();
        assert_eq!(filled.bytes, 0.0, "it fills up within the first quarter");
        assert_eq!(growth(&[]), None);
    }

    #[test]
    fn a_short_soak_is_verified_and_sampled() {
        let shape = storm::tests::shape();
        let measured =
            with_broker(Some(10_000), |target| run(target, &shape, std::process::id(), &Progress::new(true)).unwrap());
        assert_eq!(measured.storm.fanout.faults, Faults::default());
        assert!(measured.storm.passed() && measured.samples.len() > 5 && measured.growth().is_some());
        assert!(measured.samples.is_sorted_by(|a, b| a.seconds < b.seconds));
    }
}
