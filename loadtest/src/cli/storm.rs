//! The `storm` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses storms that never come and absences that would look like a stalled run.

use std::time::Duration;

use clap::Args;

use super::pacing::Spread;
use super::{Failure, HISTORY_MAX, ServerArguments, Start, history, kept, positive, seconds};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::report::{self, Progress};
use crate::scenario::against::Broker;
use crate::scenario::publishing::Pace;
use crate::scenario::{fanout, storm};
use crate::spawn::Configuration;
use crate::target::Transport;

/// Longest absence that may be asked for, in seconds: well below the time after which a run counts as stalled.
const AWAY_S_MAX: f64 = 3.0;
/// Most resets per subscriber and second.
const SHARE_MAX: f64 = 100.0;

#[derive(Args)]
pub(super) struct Storm {
    #[command(flatten)]
    rough: Rough,
    /// Publications of each topic that the started wirefan keeps [default: all of the run].
    #[arg(long, value_name = "COUNT", conflicts_with = "url", value_parser = history)]
    history: Option<u32>,
    /// Length of the storm.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    duration_s: f64,
    /// Length of the calm before it, not measured but verified.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warmup_s: f64,
}

/// How much load, and how rough; a soak has its own defaults.
#[derive(Args)]
#[group(skip)]
pub(super) struct Rough {
    #[command(flatten)]
    pub(super) server: ServerArguments,
    #[command(flatten)]
    spread: Spread,
    /// Connections that subscribe, each to one topic, and lose their connection now and then.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// Connections that publish; they are left alone.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Topics; subscribers and publications are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) topics: u32,
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000_000))]
    payload_bytes: u32,
    /// Publications per second in all, whatever the server does.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(super) rate: f64,
    /// The part of the subscribers that is cut off per second, by a reset at a random moment.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    reconnect_share: f64,
    /// Longest time between a reset and the next connect; the times are spread evenly from 0.
    #[arg(long, default_value_t = 0.5, value_parser = absence)]
    pub(super) away_s: f64,
}

impl Storm {
    /// What a started wirefan has to keep so that every position of the run can be recovered from.
    fn whole_run(&self) -> u32 {
        let publications = (self.rough.rate * (self.duration_s + self.warmup_s)).ceil() + 1.0;
        publications.min(f64::from(HISTORY_MAX)) as u32
    }
}

impl Rough {
    /// What every storm begins with, and its shape over so long.
    pub(super) fn begin(&self, warmup_s: f64, length_s: f64) -> Result<(Start<'_>, storm::Shape), Failure> {
        let mut start = Start::of(&self.server, self.spread.processes)?;
        let subscribers = start.fit_subscribers(self.subscribers, self.publishers, self.spread.processes)?;
        let fanout = fanout::Shape {
            publishers: usize::from(self.publishers),
            topics: self.topics as usize,
            payload_bytes: self.payload_bytes as usize,
            pace: Pace::Rate(self.rate),
            warmup: Duration::from_secs_f64(warmup_s),
            length: Duration::from_secs_f64(length_s),
            processes: usize::from(self.spread.processes),
            ..start.shape(&self.spread.reach, subscribers)
        };
        let away_ns_max = (self.away_s * 1e9) as u64;
        Ok((start, storm::Shape { fanout, share_per_second: self.reconnect_share, away_ns_max }))
    }
}

/// Runs a storm. `Ok(false)` when it ended but not everything was right.
pub(super) fn run(arguments: &Storm) -> Result<bool, Failure> {
    let (start, shape) = arguments.rough.begin(arguments.warmup_s, arguments.duration_s)?;
    let Start { server, placement, mut notes, .. } = start;
    let output = server.output()?;
    let progress = Progress::new(output.json);
    let history = arguments.history.unwrap_or_else(|| arguments.whole_run());
    let broker = server.broker(Some(Configuration::keeping(history)?))?;
    notes.push(match broker {
        Broker::Running { .. } => "The server has to keep the history of loadtest/#.".to_owned(),
        Broker::Start { .. } => kept(history),
    });
    let measured = broker.with(&placement, Transport::Ws, |target, pid| storm::run(target, &shape, pid, &progress))?;
    progress.end();
    Ok(report::shown(&report::storm_outcome(&shape, &measured, notes), &output)?)
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= SHARE_MAX => Ok(number),
        _ => Err(format!("a number above 0 and up to {SHARE_MAX} is needed: 0.2 is a fifth of them per second")),
    }
}

fn absence(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=AWAY_S_MAX).contains(&number) => Ok(number),
        _ => Err(format!("seconds between 0 and {AWAY_S_MAX} are needed")),
    }
}
