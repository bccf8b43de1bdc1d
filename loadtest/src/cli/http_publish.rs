//! The `http-publish` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses windows that no server takes at once.

use clap::Args;

use super::{Failure, ServerArguments, Start};
use crate::floor;
use crate::report::{self, Progress};
use crate::scenario::against::{self, Side};
use crate::scenario::http_publish;
use crate::target::{Target, Transport};

#[derive(Args)]
pub(super) struct HttpPublish {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections, each with a topic of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Requests that a connection sends at once; the next so many go when the last are answered.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    depth: u16,
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=16_000_000))]
    payload_bytes: u32,
    /// Measured requests of a round, all connections together.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    requests: u32,
    /// Run the floor's bare HTTP responder in turn with the broker, and print what a request costs more than there.
    #[arg(long)]
    against_floor: bool,
    /// Rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// Runs the rounds. Whatever is not answered as it has to be ends them with a sentence.
pub(super) fn run(arguments: &HttpPublish) -> Result<bool, Failure> {
    let mut start = Start::of(&arguments.server, 1)?;
    let connections = start.fit(u32::from(arguments.connections), 0, "connections")?;
    let Start { placement, notes, .. } = start;
    let shape = http_publish::Shape {
        connections,
        depth: usize::from(arguments.depth),
        payload_bytes: arguments.payload_bytes as usize,
        requests: arguments.requests as usize,
        load_cores: placement.load_cores.clone(),
    };
    let output = arguments.server.output()?;
    let progress = Progress::new(output.json);
    let broker = arguments.server.broker(None)?;
    let run = |target: &Target, pid: Option<u32>| http_publish::run(target, &shape, pid, &progress);
    if arguments.against_floor {
        let rounds = against::in_turn(arguments.rounds, "floor", &progress, |side| match side {
            Side::Broker => broker.with(&placement, Transport::Ws, run),
            Side::Yardstick => against::with_floor(&placement, floor::Manner::default(), run),
        })?;
        progress.end();
        return Ok(report::compared(&report::http_publish_compared(&shape, &rounds, &notes), &output)?);
    }
    let rounds = (0..arguments.rounds).map(|_| broker.with(&placement, Transport::Ws, run));
    let rounds = rounds.collect::<Result<Vec<_>, _>>()?;
    progress.end();
    Ok(report::shown(&report::http_publish_outcome(&shape, &rounds, &notes), &output)?)
}
