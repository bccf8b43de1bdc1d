//! The `idle` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses more connections than all its processes may hold, in one sentence, by holding as many as they may.

use std::time::Duration;

use clap::Args;

use super::pacing::{Compared, Spread};
use super::{Failure, ServerArguments, Start, fits, profile, seconds, spoken, way};
use crate::floor::Manner as FloorManner;
use crate::report::{self, Comparison, Progress};
use crate::scenario::against::{self, Side};
use crate::scenario::crowd::Manner;
use crate::scenario::fanout::fresh_seed;
use crate::scenario::idle::{self, Shape};
use crate::spawn::Configuration;
use crate::target::{Target, Transport};

#[derive(Args)]
pub(super) struct Idle {
    #[command(flatten)]
    server: ServerArguments,
    /// The broker at --url is spoken to as this profile says: wirefan, bun, ws, nats, nchan, nchan-post, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", requires = "url", conflicts_with_all = ["transport", "against_floor"])]
    profile: Option<String>,
    /// How the connections subscribe.
    #[arg(long, value_enum, default_value_t = Transport::Ws)]
    transport: Transport,
    /// Connections at the end of the ramp.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    connections: u32,
    /// Subscriptions of each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    subscribe_each: u32,
    /// Topics shared by all [default: each subscription has a topic of its own].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    topics: Option<u32>,
    /// How long the full number of connections is held.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    hold_s: f64,
    /// Let the started wirefan, and the floor, ping each connection once in so many seconds; hold for longer than that.
    #[arg(long, conflicts_with = "url", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    heartbeat_s: Option<u32>,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    compared: Compared,
}

/// Runs it. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Idle) -> Result<bool, Failure> {
    let mut start = Start::of(&arguments.server, arguments.spread.processes)?;
    let connections = start.fit(arguments.connections, 0, "connections")?;
    let Start { placement, mut notes, .. } = start;
    let manner = Manner {
        connects_per_second: arguments.spread.reach.connects_per_second,
        subscribe_each: arguments.subscribe_each as usize,
        topics: arguments.topics.map(|topics| topics as usize),
        threads: usize::from(arguments.spread.reach.threads),
        sources: arguments.spread.reach.sources,
        load_cores: placement.load_cores.clone(),
        seed: fresh_seed(),
        base: 0,
    };
    let processes = usize::from(arguments.spread.processes);
    let shape = Shape { connections, manner, hold: Duration::from_secs_f64(arguments.hold_s), processes };
    let output = arguments.server.output()?;
    let progress = Progress::new(output.json);
    let profile = profile(arguments.profile.as_deref())?;
    if let Some(profile) = &profile {
        fits(profile, shape.manner.topics.unwrap_or(connections * shape.manner.subscribe_each))?;
        if shape.manner.subscribe_each > 1 && profile.subscribes_by_path() {
            return Err(Failure::Usage(format!(
                "profile {}: connecting subscribes, so --subscribe-each is 1 at most",
                profile.name
            )));
        }
    }
    notes.push(profile.as_deref().map_or_else(|| way(arguments.transport, &arguments.server), spoken));
    let configuration = arguments.heartbeat_s.map(Configuration::beating).transpose()?;
    let broker = arguments.server.broker(configuration)?.speaking(profile.as_ref());
    let run = |target: &Target, pid: Option<u32>| {
        let pid = pid.ok_or("idle reads the server's memory: give its process with --server-pid")?;
        let measured = idle::run(target, &shape, pid, &progress)?;
        Ok(report::idle_outcome(&shape, &measured, notes.clone()))
    };
    if !arguments.compared.against_floor {
        let outcome = broker.with(&placement, arguments.transport, run)?;
        progress.end();
        return Ok(report::shown(&outcome, &output)?);
    }
    let heartbeat = arguments.heartbeat_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let floor = FloorManner { batch: false, heartbeat };
    let rounds = against::in_turn(arguments.compared.rounds, "floor", &progress, |side| match side {
        Side::Broker => broker.with(&placement, Transport::Ws, run),
        Side::Yardstick => against::with_floor(&placement, floor, run),
    })?;
    progress.end();
    let mut all = Comparison::new("floor", rounds);
    let told = report::idle_comparison(&all);
    if let Some(first) = all.rounds.first_mut() {
        first.broker.notes.extend(told);
    }
    Ok(report::compared(&all, &output)?)
}
