//! The `soak` of the command line: a storm for hours, with the server's memory watched.
//! `cli::run` calls `run`.
//! Refuses more publications than a run can number, and absences that would look like a stalled run.

use std::time::Duration;

use clap::Args;

use super::storm::{absence, share};
use super::{HISTORY_MAX, SEQUENCES_MAX, ServerArguments, keep_off, kept, notes, positive};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::machine;
use crate::report::{self, Progress};
use crate::scenario::layout::Seating;
use crate::scenario::publishing::Pace;
use crate::scenario::{fanout, soak, storm};
use crate::spawn::Configuration;
use crate::target::Transport;

/// Longest soak, in hours.
const HOURS_MAX: f64 = 72.0;
/// What is kept is at least what is published in so many seconds: nobody is away for longer.
const KEPT_SECONDS: f64 = 30.0;

#[derive(Args)]
pub(super) struct Soak {
    #[command(flatten)]
    server: ServerArguments,
    /// How long.
    #[arg(long, default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    /// Connections that subscribe, each to one topic, and lose their connection now and then.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    subscribers: u32,
    /// Connections that publish; they are left alone.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// Topics; subscribers and publications are spread over them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    topics: u32,
    /// Bytes of the published JSON value.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(PAYLOAD_BYTES_MIN as i64..=16_000_000))]
    payload_bytes: u32,
    /// Publications per second in all, whatever the server does.
    #[arg(long, default_value_t = 200.0, value_parser = positive)]
    rate: f64,
    /// The part of the subscribers that is cut off per second, by a reset at a random moment.
    #[arg(long, default_value_t = 0.02, value_parser = share)]
    reconnect_share: f64,
    /// Longest time between a reset and the next connect.
    #[arg(long, default_value_t = 1.0, value_parser = absence)]
    away_s: f64,
    /// By how much the server's memory may grow, by the line through its samples after the first quarter, in MiB.
    #[arg(long, default_value_t = 8.0, value_parser = positive)]
    growth_max_mib: f64,
}

/// Runs a soak. `Ok(false)` when it ended but not everything was right.
pub(super) fn run(arguments: &Soak) -> Result<bool, String> {
    let usable = machine::raise_descriptors();
    let placement = arguments.server.placement();
    keep_off(&placement)?;
    let publishers = usize::from(arguments.publishers);
    let (subscribers, scaled) = machine::fit(arguments.subscribers as usize, publishers, usable, "subscribers");
    let publications = arguments.rate * arguments.hours * 3_600.0;
    if subscribers == 0 || subscribers * publishers > SEQUENCES_MAX || publications > f64::from(u32::MAX) {
        return Err(format!(
            "{subscribers} subscribers x {publishers} publishers: one of each at least, and at most {SEQUENCES_MAX} pairs; \
             {publications:.0} publications: at most {}",
            u32::MAX
        ));
    }
    let fanout = fanout::Shape {
        subscribers,
        publishers,
        topics: arguments.topics as usize,
        payload_bytes: arguments.payload_bytes as usize,
        pace: Pace::Rate(arguments.rate),
        warmup: Duration::from_secs(1),
        publications_max: u64::MAX,
        length: Duration::from_secs_f64(arguments.hours * 3_600.0),
        threads: usize::from(arguments.server.threads),
        sources: arguments.server.sources,
        connects_per_second: arguments.server.connects_per_second,
        load_cores: placement.load_cores.clone(),
        others: 0,
        conflate_keys: 0,
        deflate: false,
        seating: Seating::Apart,
        at_once: false,
        mixed: false,
    };
    let away_ns_max = (arguments.away_s * 1e9) as u64;
    let shape = storm::Shape { fanout, share_per_second: arguments.reconnect_share, away_ns_max };
    let history = (arguments.rate / f64::from(arguments.topics) * KEPT_SECONDS).ceil() + 100.0;
    let history = history.min(f64::from(HISTORY_MAX)) as u32;
    let broker = arguments.server.broker(Some(Configuration::keeping(history)?))?;
    let output = arguments.server.output()?;
    let progress = Progress::new(output.json);
    let mut notes = notes(&arguments.server, &placement, scaled);
    notes.push(kept(history));
    let measured = broker.with(&placement, Transport::Ws, |target, pid| {
        let pid = pid.ok_or("soak watches the server's memory: give its process with --server-pid")?;
        soak::run(target, &shape, pid, &progress)
    })?;
    progress.end();
    let growth_max = arguments.growth_max_mib * 1_048_576.0;
    report::shown(&report::soak_outcome(&shape, &measured, growth_max, notes), &output)
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= HOURS_MAX => Ok(number),
        _ => Err(format!("hours above 0 and up to {HOURS_MAX} are needed; 0.01 are 36 seconds")),
    }
}
