//! The `fanout` of the command line: its flags, and the run or the sweep of runs that they ask for.
//! `cli::run` calls `run`.
//! Refuses shapes that cannot be verified.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::pacing::Pacing;
use super::{Failure, POLLED_HISTORY, Run, ServerArguments, Start};
use super::{batches, fits, history, kept, positive, profile, run_shape, spoken, way};
use crate::floor;
use crate::report::{self, Output, Progress};
use crate::scenario::against::Yardstick;
use crate::scenario::fanout::{self, Shape};
use crate::scenario::sweep;
use crate::spawn::Configuration;
use crate::target::Transport;

#[derive(Args)]
#[command(group(ArgGroup::new("compared").args(["against_floor", "deflate"])))]
pub(super) struct Fanout {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections that subscribe, each to one topic.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// Connections that publish.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Topics; subscribers and publications are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    #[command(flatten)]
    pacing: Pacing,
    /// The broker at --url is spoken to as this profile says: wirefan, bun, ws, nats, nchan, nchan-post, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", requires = "url", conflicts_with_all = ["transport", "compared"])]
    profile: Option<String>,
    /// How subscribers are spoken to; publishers speak WebSocket.
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    transport: Transport,
    /// Let the started wirefan keep so many publications of each topic, to see what that costs [default: none, but what polls need].
    #[arg(long, value_name = "COUNT", conflicts_with = "url", value_parser = history)]
    history: Option<u32>,
    /// Raise the rate step by step, from --rate on, until it does not hold: the knee, and how late subscribers were on the way.
    #[arg(long, group = "yardstick", conflicts_with_all = ["outstanding", "publications"])]
    sweep: bool,
    /// With --sweep a step holds only while 99 of 100 publications reach their last subscriber within so many milliseconds.
    #[arg(long, default_value_t = 100.0, requires = "sweep", value_parser = positive)]
    late_ms: f64,
    /// Run the floor in turn with the broker, and print what a delivery costs more than the machine's own limit.
    #[arg(long, group = "yardstick", conflicts_with_all = ["transport", "tls"])]
    against_floor: bool,
    /// Let the floor send all publications that one turn of its loop read in one `send` per socket [default: with --outstanding above 1].
    #[arg(long, requires = "against_floor", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    batch: Option<bool>,
    /// Run the same over WebSocket in turn with --transport, and print what a delivery costs more than there.
    #[arg(long, group = "yardstick", requires = "transport")]
    against_websocket: bool,
    /// Offer permessage-deflate, and in turn run the same without it and with payloads as short as those become: what a
    /// compressed delivery costs over one of its size.
    #[arg(long, group = "yardstick", conflicts_with_all = ["url", "history"])]
    deflate: bool,
    /// Rounds of both sides, with --against-floor, --against-websocket or --deflate.
    #[arg(long, default_value_t = 3, requires = "yardstick", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// Runs it. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Fanout) -> Result<bool, Failure> {
    let processes = arguments.pacing.spread.processes;
    let mut start = Start::of(&arguments.server, processes)?;
    let subscribers = start.fit_subscribers(arguments.subscribers, arguments.publishers, processes)?;
    let shape = Shape {
        publishers: usize::from(arguments.publishers),
        topics: arguments.topics as usize,
        deflate: arguments.deflate,
        ..arguments.pacing.shape(&start, subscribers)
    };
    let polls = arguments.transport == Transport::Poll && arguments.server.url.is_none();
    let history = arguments.history.or(polls.then_some(POLLED_HISTORY));
    let configuration = match history {
        Some(count) => Some(Configuration::keeping(count)?),
        None if arguments.deflate => Some(Configuration::deflating()?),
        None => None,
    };
    let profile = profile(arguments.profile.as_deref())?;
    if let Some(profile) = &profile {
        fits(profile, shape.topics)?;
    }
    let broker = arguments.server.broker(configuration)?.speaking(profile.as_ref());
    let Start { placement, mut notes, .. } = start;
    notes.push(profile.as_deref().map_or_else(|| way(arguments.transport, &arguments.server), spoken));
    notes.extend(history.map(kept));
    let yardstick = match (arguments.against_floor, arguments.against_websocket, arguments.deflate) {
        (true, ..) => Some(Yardstick::Floor(floor::Manner {
            batch: batches(arguments.batch, shape.pace),
            ..floor::Manner::default()
        })),
        (_, true, _) => Some(Yardstick::WebSocket),
        (.., true) => Some(Yardstick::of_its_size(&shape)?),
        _ => None,
    };
    let run = (&shape, &broker, arguments.transport, &placement);
    let output = arguments.server.output()?;
    if arguments.sweep {
        return run_sweep(run, arguments.late_ms, notes, &output);
    }
    run_shape("fanout", run, yardstick, arguments.rounds, notes, &output, |_| ())
}

/// Raises the rate until it does not hold any more.
fn run_sweep(
    (shape, broker, transport, placement): Run<'_>,
    late_ms: f64,
    notes: Vec<String>,
    output: &Output,
) -> Result<bool, Failure> {
    let progress = Progress::new(output.json);
    let late = Duration::from_secs_f64(late_ms / 1e3);
    let steps = broker.with(placement, transport, |target, pid| {
        sweep::run(shape, late, &progress, |shape| fanout::run(target, shape, pid, &progress))
    })?;
    progress.end();
    Ok(report::shown(&report::sweep_outcome(shape, &steps, late, notes), output)?)
}
