//! The `mixed` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses topics with fewer subscribers than there are transports: nothing would be mixed.

use clap::Args;

use super::pacing::Pacing;
use super::{Failure, POLLED_HISTORY, ServerArguments, Start, kept, run_shape};
use crate::report::Outcome;
use crate::scenario::against::Broker;
use crate::scenario::fanout::Shape;
use crate::spawn::Configuration;
use crate::target::Transport;

#[derive(Args)]
pub(super) struct Mixed {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections that subscribe, each to one topic: a third by WebSocket, by server-sent events and by long polling.
    #[arg(long, default_value_t = 999, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    subscribers: u32,
    /// Connections that publish, by WebSocket.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Topics; subscribers and publications are spread over them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    #[command(flatten)]
    pacing: Pacing,
}

/// Runs it. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Mixed) -> Result<bool, Failure> {
    let processes = arguments.pacing.spread.processes;
    let mut start = Start::of(&arguments.server, processes)?;
    let topics = arguments.topics as usize;
    let subscribers = start.fit_subscribers(arguments.subscribers, arguments.publishers, processes)?;
    if subscribers < 3 * topics {
        return Err(Failure::Usage(format!(
            "{subscribers} subscribers of {topics} topics: each topic needs three, one per transport"
        )));
    }
    let shape = Shape {
        publishers: usize::from(arguments.publishers),
        topics,
        mixed: true,
        ..arguments.pacing.shape(&start, subscribers)
    };
    let broker = arguments.server.broker(Some(Configuration::keeping(POLLED_HISTORY)?))?;
    let Start { placement, mut notes, .. } = start;
    notes.push(match broker {
        Broker::Running { .. } => "The server has to keep the history of loadtest/#, for those who poll.".to_owned(),
        Broker::Start { .. } => kept(POLLED_HISTORY),
    });
    let run = (&shape, &broker, Transport::Ws, &placement);
    let describe = |outcome: &mut Outcome| {
        outcome.title.push_str("; a third each by WebSocket, server-sent events and long polling, one order for all");
    };
    run_shape("mixed", run, None, 1, notes, &arguments.server.output()?, describe)
}
