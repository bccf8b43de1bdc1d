//! Starts the server under test for a fan-out, alone or in turn with what it is compared to.
//! The command line calls it. Each run has a fresh server and fresh connections, the two change places every
//! round, and the judgement is on medians, because on a shared machine single runs differ by a third.
//! Invariants: both run in the same shape on the same cores; what this program starts, it ends.

use std::path::PathBuf;

use super::fanout::{self, Measured, Shape};
use crate::envelope::deflated_payload_bytes;
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

/// What the broker takes turns with.
pub(crate) enum Against {
    /// A bare loop.
    Floor,
    /// Itself without compression, and so many bytes in a payload.
    Uncompressed(usize),
}

impl Against {
    /// What a compressed fan-out of this shape is compared to.
    pub(crate) fn of_its_size(shape: &Shape) -> Result<Self, String> {
        let bytes = deflated_payload_bytes(shape.payload_bytes);
        bytes.map(Self::Uncompressed).ok_or(format!("payloads of {} bytes are not compressed", shape.payload_bytes))
    }

    /// The sides, the broker's first.
    pub(crate) fn names(&self) -> [&'static str; 2] {
        match self {
            Self::Floor => ["broker", "floor"],
            Self::Uncompressed(_) => ["deflated", "plain"],
        }
    }

    /// What a reader has to know of it.
    pub(crate) fn note(&self) -> Option<String> {
        match self {
            Self::Floor => None,
            Self::Uncompressed(bytes) => {
                Some(format!("Payloads of the plain side: {bytes} bytes, what the others become."))
            }
        }
    }
}

/// Both sides of one round.
pub(crate) struct Round {
    /// The broker's run.
    pub(crate) broker: Measured,
    /// That of what it is compared to.
    pub(crate) other: Measured,
}

impl Round {
    /// What a delivery costs the broker over what it costs the other.
    pub(crate) fn ratio(&self) -> f64 {
        ratio(cpu_ns_per_delivery(&self.broker), cpu_ns_per_delivery(&self.other))
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

/// `rounds` rounds of the broker and what it is compared to.
pub(crate) fn run(
    shape: &Shape,
    broker: &Broker,
    against: &Against,
    placement: &Placement,
    rounds: u32,
    progress: &Progress,
) -> Result<Vec<Round>, String> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let run_side = |own: bool| {
            let side = against.names()[usize::from(!own)];
            progress.name(format!("round {} of {rounds}, {side}", round + 1));
            let measured = match against {
                Against::Floor if !own => run_floor(shape, placement, progress),
                Against::Uncompressed(payload_bytes) if !own => {
                    let plain = Shape { deflate: false, payload_bytes: *payload_bytes, ..shape.clone() };
                    run_broker(&plain, broker, placement, progress)
                }
                _ => run_broker(shape, broker, placement, progress),
            };
            measured.map_err(|sentence| format!("round {}, {side}: {sentence}", round + 1))
        };
        let own_first = round % 2 == 0;
        let (one, other) = (run_side(own_first)?, run_side(!own_first)?);
        let (broker, other) = if own_first { (one, other) } else { (other, one) };
        all.push(Round { broker, other });
    }
    Ok(all)
}
