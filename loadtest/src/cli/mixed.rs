//! The `mixed` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses topics with fewer subscribers than there are transports: nothing would be mixed.

use clap::Args;

use super::pacing::Pacing;
use super::{POLLED_HISTORY, SEQUENCES_MAX, ServerArguments, keep_off, kept, notes, run_shape};
use crate::machine;
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
pub(super) fn run(arguments: &Mixed) -> Result<bool, String> {
    let usable = machine::raise_descriptors();
    let placement = arguments.server.placement();
    keep_off(&placement)?;
    let (publishers, topics) = (usize::from(arguments.publishers), arguments.topics as usize);
    let (subscribers, scaled) = machine::fit(arguments.subscribers as usize, publishers, usable, "subscribers");
    if subscribers < 3 * topics || subscribers * publishers > SEQUENCES_MAX {
        return Err(format!(
            "{subscribers} subscribers of {topics} topics: each needs three, one per transport, and there may be {SEQUENCES_MAX} pairs \
             of subscriber and publisher"
        ));
    }
    let shape = Shape {
        publishers,
        topics,
        mixed: true,
        ..arguments.pacing.shape(&arguments.server, subscribers, placement.load_cores.clone())
    };
    let broker = arguments.server.broker(Some(Configuration::keeping(POLLED_HISTORY)?))?;
    let mut notes = notes(&arguments.server, &placement, scaled);
    notes.push(match broker {
        Broker::Running { .. } => "The server has to keep the history of loadtest/#, for those who poll.".to_owned(),
        Broker::Start { .. } => kept(POLLED_HISTORY),
    });
    let run = (&shape, &broker, Transport::Ws, &placement);
    let describe =
        |outcome: &mut Outcome| outcome.title.push_str("; a third each by ws, sse and poll, one order for all");
    run_shape("mixed", run, None, 1, notes, &arguments.server.output()?, describe)
}
