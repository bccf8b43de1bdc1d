//! The `echo` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses messages that are too short for their stamp.

use std::time::Duration;

use clap::Args;

use super::pacing::Compared;
use super::{Failure, ServerArguments, Sides, Start, in_turn, seconds};
use crate::floor::Manner;
use crate::report;
use crate::scenario::echo::{self, Content, STAMP_BYTES};
use crate::spawn::Configuration;

#[derive(Args)]
pub(super) struct Echo {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Messages under way on each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    depth: u16,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(STAMP_BYTES as i64..=16_777_216))]
    payload_bytes: u32,
    /// What messages are made of; text is UTF-8, whose validity the server has to check.
    #[arg(long, value_enum, default_value_t = Content::Binary)]
    content: Content,
    /// Length of the measured stretch.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    duration_s: f64,
    /// Length of the warm-up, not measured but verified.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup_s: f64,
    #[command(flatten)]
    compared: Compared,
}

/// Runs it. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Echo) -> Result<bool, Failure> {
    let mut start = Start::of(&arguments.server, 1)?;
    let connections = start.fit(u32::from(arguments.connections), 0, "connections")?;
    let Start { placement, notes, .. } = start;
    let shape = echo::Shape {
        connections,
        depth: usize::from(arguments.depth),
        payload_bytes: arguments.payload_bytes as usize,
        content: arguments.content,
        warmup: Duration::from_secs_f64(arguments.warmup_s),
        length: Duration::from_secs_f64(arguments.duration_s),
        load_cores: placement.load_cores.clone(),
    };
    let configuration = Configuration::echoing(arguments.payload_bytes, u32::from(arguments.depth))?;
    let broker = arguments.server.broker(Some(configuration))?;
    let sides = Sides { broker: &broker, placement: &placement, manner: Manner::default() };
    in_turn(&sides, &arguments.compared, &arguments.server.output()?, |target, pid, progress| {
        let measured = echo::run(target, &shape, pid, progress)?;
        Ok(report::echo_outcome(&shape, &measured, notes.clone()))
    })
}
