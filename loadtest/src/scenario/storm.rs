//! A fan-out whose subscribers keep losing their connections: is anything lost or doubled, how soon has each caught up?
//! `run` directs it: the connections and publications of `fanout`, with the `weather` of each thread over its subscribers.
//! Invariants: the storm lasts as long as the measured publishing; the run is over when all are back and have everything;
//! what is judged spans the whole run, so a publication lost between two connections of a subscriber is a loss.

use serde::{Deserialize, Serialize};

use super::fanout::{self, Witness};
use super::weather::{Recoveries, Weather};
use crate::process::Memory;
use crate::report::Progress;
use crate::target::Target;

/// How much load, and how rough.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// The publications and their subscribers.
    pub(crate) fanout: fanout::Shape,
    /// The part of the subscribers that is reset per second, more than 0.
    pub(crate) share_per_second: f64,
    /// Longest time that a subscriber stays away, in nanoseconds; the shortest is 0, and all between are as likely.
    pub(crate) away_ns_max: u64,
}

/// What one run found.
pub(crate) struct Measured {
    /// As of a fan-out; latencies are of live deliveries only.
    pub(crate) fanout: fanout::Measured,
    /// How subscribers came back.
    pub(crate) recoveries: Recoveries,
    /// The server's memory before the storm.
    pub(crate) memory_before: Option<Memory>,
}

impl Measured {
    /// No fault, and there was a storm.
    pub(crate) fn passed(&self) -> bool {
        let faults = &self.fanout.faults;
        let weathered = self.fanout.deliveries > 0 && self.recoveries.to_recovered.summary().count > 0;
        weathered && faults.total() == 0 && faults.sentences.is_empty()
    }
}

/// Runs `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    run_before(target, shape, server_pid, progress, &mut ())
}

/// The same, while `witness` looks on.
pub(super) fn run_before(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
    witness: &mut impl Witness,
) -> Result<Measured, String> {
    let seed = fanout::fresh_seed();
    let run = fanout::Run { target, shape: &shape.fanout, server_pid, progress, storm: Some(shape) };
    let mut directed = run.direct(witness, |thread, flight, listening| {
        Weather::new(listening, flight, shape, Weather::seed(seed, thread))
    })?;
    let (heard, recoveries): (Vec<_>, Vec<_>) = directed.scenes().into_iter().map(Weather::finish).unzip();
    let (mut fanout, recoveries) = directed.judge(heard, Recoveries::of_all(&recoveries))?;
    // What a replay brought was delivered too.
    fanout.deliveries += recoveries.replayed;
    Ok(Measured { fanout, recoveries, memory_before: directed.conducted.memory_before })
}

#[cfg(test)]
pub(crate) mod tests;
