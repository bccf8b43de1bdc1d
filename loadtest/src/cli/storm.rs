//! The `storm` of the command line: its flags, and the run that they ask for.
//! `cli::run` calls `run`.
//! Refuses storms that never come and absences that would look like a stalled run.

use std::time::Duration;

use clap::Args;

use super::{HISTORY_MAX, SEQUENCES_MAX};
use super::{ServerArguments, history, keep_off, kept, notes, positive, seconds};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::machine;
use crate::report::{self, Progress};
use crate::scenario::against::Broker;
use crate::scenario::layout::Seating;
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
    server: ServerArguments,
    /// Connections that subscribe, each to one topic, and lose their connection now and then.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// Connections that publish; they are left alone.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Topics; subscribers and publications are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000_000))]
    payload_bytes: u32,
    /// Publications per second in all, whatever the server does.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    rate: f64,
    /// The part of the subscribers that is cut off per second, by a reset at a random moment.
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    reconnect_share: f64,
    /// Longest time between a reset and the next connect; the times are spread evenly from 0.
    #[arg(long, default_value_t = 0.5, value_parser = absence)]
    away_s: f64,
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

impl Storm {
    /// What a started wirefan has to keep so that every position of the run can be recovered from.
    fn whole_run(&self) -> u32 {
        let publications = (self.rate * (self.duration_s + self.warmup_s)).ceil() + 1.0;
        publications.min(f64::from(HISTORY_MAX)) as u32
    }

    fn shape(&self, subscribers: usize, load_cores: Vec<usize>) -> storm::Shape {
        let fanout = fanout::Shape {
            subscribers,
            publishers: usize::from(self.publishers),
            topics: self.topics as usize,
            payload_bytes: self.payload_bytes as usize,
            pace: Pace::Rate(self.rate),
            warmup: Duration::from_secs_f64(self.warmup_s),
            publications_max: u64::MAX,
            length: Duration::from_secs_f64(self.duration_s),
            threads: usize::from(self.server.threads),
            sources: self.server.sources,
            connects_per_second: self.server.connects_per_second,
            load_cores,
            others: 0,
            conflate_keys: 0,
            deflate: false,
            seating: Seating::Apart,
            at_once: false,
            mixed: false,
        };
        let away_ns_max = (self.away_s * 1e9) as u64;
        storm::Shape { fanout, share_per_second: self.reconnect_share, away_ns_max }
    }
}

/// Runs a storm. `Ok(false)` when it ended but not everything was right.
pub(super) fn run(arguments: &Storm) -> Result<bool, String> {
    let usable = machine::raise_descriptors();
    let placement = arguments.server.placement();
    keep_off(&placement)?;
    let publishers = usize::from(arguments.publishers);
    let (subscribers, scaled) = machine::fit(arguments.subscribers as usize, publishers, usable, "subscribers");
    if subscribers == 0 || subscribers * publishers > SEQUENCES_MAX {
        return Err(format!(
            "{subscribers} subscribers x {publishers} publishers: one of each at least, and at most {SEQUENCES_MAX} pairs"
        ));
    }
    let shape = arguments.shape(subscribers, placement.load_cores.clone());
    let output = arguments.server.output()?;
    let progress = Progress::new(output.json);
    let mut notes = notes(&arguments.server, &placement, scaled);
    let history = arguments.history.unwrap_or_else(|| arguments.whole_run());
    let broker = arguments.server.broker(Some(Configuration::keeping(history)?))?;
    notes.push(match broker {
        Broker::Running { .. } => "The server has to keep the history of loadtest/#.".to_owned(),
        Broker::Start { .. } => kept(history),
    });
    let measured = broker.with(&placement, Transport::Ws, |target, pid| storm::run(target, &shape, pid, &progress))?;
    progress.end();
    report::shown(&report::storm_outcome(&shape, &measured, notes), &output)
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= SHARE_MAX => Ok(number),
        _ => Err(format!("a number above 0 and up to {SHARE_MAX} is needed: 0.2 is a fifth of them per second")),
    }
}

pub(super) fn absence(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=AWAY_S_MAX).contains(&number) => Ok(number),
        _ => Err(format!("seconds between 0 and {AWAY_S_MAX} are needed")),
    }
}
