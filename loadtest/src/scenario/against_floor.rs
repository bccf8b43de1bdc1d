//! Starts the server under test for a fan-out, alone or in turn with the floor.
//! The command line calls it. Each run has a fresh server and fresh connections, broker and floor change places every
//! round, and the judgement is on medians, because on a shared machine single runs differ by a third.
//! Invariants: both run in the same shape on the same cores; what this program starts, it ends.

use std::path::PathBuf;

use super::fanout::{self, Measured, Shape};
use crate::machine::Placement;
use crate::report::Progress;
use crate::spawn::{Configuration, Server};
use crate::stats::{median, ratio};
use crate::target::Target;

/// Where the broker comes from.
pub(crate) enum Broker {
    /// It runs already.
    Running {
        /// Its WebSocket.
        target: Target,
        /// Its process, if known.
        pid: Option<u32>,
    },
    /// It is started for each run.
    Start {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// The file that the arguments name, if they do: it lives as long as runs begin.
        configuration: Option<Configuration>,
    },
}

/// Both sides of one round.
pub(crate) struct Round {
    /// The broker's run.
    pub(crate) broker: Measured,
    /// The floor's.
    pub(crate) floor: Measured,
}

impl Round {
    /// What a delivery costs the broker over what it costs the floor.
    pub(crate) fn ratio(&self) -> f64 {
        ratio(cpu_ns_per_delivery(&self.broker), cpu_ns_per_delivery(&self.floor))
    }
}

/// The server's CPU time per delivery, in nanoseconds; 0 if it is not known.
pub(crate) fn cpu_ns_per_delivery(measured: &Measured) -> f64 {
    let cost = measured.server.unwrap_or_default();
    ratio(cost.cpu_ns as f64, measured.deliveries as f64)
}

/// The median over the rounds of the CPU time per delivery of one side, in nanoseconds.
pub(crate) fn median_cost(rounds: &[Round], side: fn(&Round) -> &Measured) -> f64 {
    let costs: Vec<f64> = rounds.iter().map(|round| cpu_ns_per_delivery(side(round))).collect();
    median(&costs)
}

/// The least CPU time per delivery of one side, in nanoseconds: what neighbours on the machine disturb only adds to it.
pub(crate) fn least_cost(rounds: &[Round], side: fn(&Round) -> &Measured) -> f64 {
    let costs = rounds.iter().map(|round| cpu_ns_per_delivery(side(round)));
    costs.fold(f64::INFINITY, f64::min)
}

/// One run against the broker.
pub(crate) fn run_broker(
    shape: &Shape,
    broker: &Broker,
    placement: &Placement,
    progress: &Progress,
) -> Result<Measured, String> {
    match broker {
        Broker::Running { target, pid } => fanout::run(target, shape, *pid, progress),
        Broker::Start { program, arguments, .. } => {
            let server = Server::start(program, arguments, &placement.server_cores)?;
            run_started(server, shape, progress)
        }
    }
}

/// One run against the floor, which is this program again.
fn run_floor(shape: &Shape, placement: &Placement, progress: &Progress) -> Result<Measured, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let arguments = ["floor", "--listen", "127.0.0.1:0"].map(str::to_owned);
    let server = Server::start(&own, &arguments, &placement.server_cores)?;
    run_started(server, shape, progress)
}

fn run_started(server: Server, shape: &Shape, progress: &Progress) -> Result<Measured, String> {
    let target = Target::at(server.address);
    let measured = fanout::run(&target, shape, Some(server.pid()), progress);
    // A server that died is the reason of a run that failed: its words come first.
    server.end()?;
    measured
}

/// `rounds` rounds of broker and floor.
pub(crate) fn run(
    shape: &Shape,
    broker: &Broker,
    placement: &Placement,
    rounds: u32,
    progress: &Progress,
) -> Result<Vec<Round>, String> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let (first, second) = if round % 2 == 0 { ("broker", "floor") } else { ("floor", "broker") };
        let run_side = |side: &str| {
            progress.name(format!("round {} of {rounds}, {side}", round + 1));
            let measured = match side {
                "broker" => run_broker(shape, broker, placement, progress),
                _ => run_floor(shape, placement, progress),
            };
            measured.map_err(|sentence| format!("round {}, {side}: {sentence}", round + 1))
        };
        let (one, other) = (run_side(first)?, run_side(second)?);
        let (broker, floor) = if first == "broker" { (one, other) } else { (other, one) };
        all.push(Round { broker, floor });
    }
    Ok(all)
}
