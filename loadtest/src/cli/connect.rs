//! The `connect` of the command line: cycles of connections, or all of them back at once.
//! `cli::run` calls `run`.
//! Refuses a storm of more than this process may hold.

use std::time::Duration;

use clap::Args;

use super::pacing::{Compared, Spread};
use super::{Failure, HISTORY_MAX, ServerArguments, Sides, Start, in_turn, positive, seconds};
use crate::floor::Manner;
use crate::machine;
use crate::report::{self, Progress};
use crate::scenario::publishing::Pace;
use crate::scenario::{connect, fanout, storm};
use crate::spawn::Configuration;
use crate::target::Transport;

/// Connections of a storm, unless said otherwise.
const STORM_USUAL: u32 = 5_000;
/// Connections that cycle at once, unless said otherwise.
const CYCLE_USUAL: u32 = 64;

#[derive(Args)]
#[command(mut_arg("processes", |flag| flag.requires("storm")), mut_arg("connects_per_second", |flag| flag.requires("storm")))]
pub(super) struct Connect {
    #[command(flatten)]
    server: ServerArguments,
    /// Connections that cycle at once [default: 64]; with --storm, subscribers that are all cut off [default: 5000].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    connections: Option<u32>,
    /// Topics that they subscribe to, one each in turn.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    /// Length of the measured stretch.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    duration_s: f64,
    /// Length of the warm-up, not measured but verified.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup_s: f64,
    /// Cut all subscribers off in one moment, and let all come back at once, while publications go on.
    #[arg(long, conflicts_with = "against_floor")]
    storm: bool,
    /// With --storm: publications per second in all.
    #[arg(long, default_value_t = 100.0, requires = "storm", value_parser = positive)]
    rate: f64,
    #[command(flatten)]
    spread: Spread,
    #[command(flatten)]
    compared: Compared,
}

/// Runs it. `Ok(false)` when the run ended but not everything was right.
pub(super) fn run(arguments: &Connect) -> Result<bool, Failure> {
    let processes = arguments.spread.processes;
    let mut start = Start::of(&arguments.server, processes)?;
    let asked = arguments.connections.unwrap_or(if arguments.storm { STORM_USUAL } else { CYCLE_USUAL });
    let connections = start.fit_subscribers(asked, 1, processes)?;
    let storm = arguments.storm_shape(&start, connections);
    let Start { placement, mut notes, .. } = start;
    let output = arguments.server.output()?;
    if arguments.storm {
        let (seconds, margin) = (arguments.duration_s + arguments.warmup_s, 60.0);
        let history = (arguments.rate * (seconds + margin)).ceil().min(f64::from(HISTORY_MAX)) as u32;
        let broker = arguments.server.broker(Some(Configuration::keeping(history)?))?;
        notes.push("The server has to keep what is published while subscribers are away.".to_owned());
        let progress = Progress::new(output.json);
        let dropped = machine::backlog_drops();
        let measured =
            broker.with(&placement, Transport::Ws, |target, pid| storm::run(target, &storm, pid, &progress))?;
        progress.end();
        let dropped = dropped.and_then(|before| Some(machine::backlog_drops()?.saturating_sub(before)));
        return Ok(report::shown(&report::all_at_once_outcome(&storm, &measured, dropped, notes), &output)?);
    }
    let shape = connect::Shape {
        connections,
        topics: arguments.topics as usize,
        warmup: Duration::from_secs_f64(arguments.warmup_s),
        length: Duration::from_secs_f64(arguments.duration_s),
        threads: usize::from(arguments.spread.reach.threads),
        sources: arguments.spread.reach.sources,
        load_cores: placement.load_cores.clone(),
    };
    let broker = arguments.server.broker(None)?;
    let sides = Sides { broker: &broker, placement: &placement, manner: Manner::default() };
    in_turn(&sides, &arguments.compared, &output, |target, pid, progress| {
        let measured = connect::run(target, &shape, pid, progress)?;
        Ok(report::connect_outcome(&shape, &measured, notes.clone()))
    })
}

impl Connect {
    fn storm_shape(&self, start: &Start<'_>, subscribers: usize) -> storm::Shape {
        let fanout = fanout::Shape {
            topics: self.topics as usize,
            pace: Pace::Rate(self.rate),
            warmup: Duration::from_secs_f64(self.warmup_s),
            length: Duration::from_secs_f64(self.duration_s),
            at_once: true,
            processes: usize::from(self.spread.processes),
            ..start.shape(&self.spread.reach, subscribers)
        };
        storm::Shape { fanout, share_per_second: 1.0, away_ns_max: 0 }
    }
}
