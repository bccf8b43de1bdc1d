//! The `soak` of the command line: a storm for hours, with the server's memory watched.
//! `cli::run` calls `run`.
//! Refuses more publications than a run can number, and absences that would look like a stalled run.

use clap::Args;

use super::storm::Rough;
use super::{Failure, HISTORY_MAX, Start, kept, positive};
use crate::flight::PUBLICATIONS_MAX;
use crate::report::{self, Progress};
use crate::scenario::soak;
use crate::spawn::Configuration;
use crate::target::Transport;

/// Longest soak, in hours.
const HOURS_MAX: f64 = 72.0;
/// What is kept is at least what is published in so many seconds: nobody is away for longer.
const KEPT_SECONDS: f64 = 30.0;

#[derive(Args)]
#[command(
    mut_arg("publishers", |flag| flag.default_value("2")),
    mut_arg("topics", |flag| flag.default_value("20")),
    mut_arg("payload_bytes", |flag| flag.default_value("256")),
    mut_arg("rate", |flag| flag.default_value("200")),
    mut_arg("reconnect_share", |flag| flag.default_value("0.02")),
    mut_arg("away_s", |flag| flag.default_value("1")),
)]
pub(super) struct Soak {
    /// How long.
    #[arg(long, default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    #[command(flatten)]
    pub(super) storm: Rough,
    /// By how much the server's memory may grow, by the line through its samples after the first quarter, in MiB.
    #[arg(long, default_value_t = 8.0, value_parser = positive)]
    growth_max_mib: f64,
}

/// Runs a soak. `Ok(false)` when it ended but not everything was right.
pub(super) fn run(arguments: &Soak) -> Result<bool, Failure> {
    let (rough, seconds) = (&arguments.storm, arguments.hours * 3_600.0);
    let publications = rough.rate * seconds;
    if publications > f64::from(PUBLICATIONS_MAX) {
        return Err(Failure::Usage(format!("{publications:.0} publications: a run can number {PUBLICATIONS_MAX}")));
    }
    let (start, shape) = rough.begin(1.0, seconds)?;
    let Start { server, placement, mut notes, .. } = start;
    let history = (rough.rate / f64::from(rough.topics) * KEPT_SECONDS).ceil() + 100.0;
    let history = history.min(f64::from(HISTORY_MAX)) as u32;
    let broker = server.broker(Some(Configuration::keeping(history)?))?;
    let output = server.output()?;
    let progress = Progress::new(output.json);
    notes.push(kept(history));
    let measured = broker.with(&placement, Transport::Ws, |target, pid| {
        let pid = pid.ok_or("soak watches the server's memory: give its process with --server-pid")?;
        soak::run(target, &shape, pid, &progress)
    })?;
    progress.end();
    let growth_max = arguments.growth_max_mib * 1_048_576.0;
    Ok(report::shown(&report::soak_outcome(&shape, &measured, growth_max, notes), &output)?)
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= HOURS_MAX => Ok(number),
        _ => Err(format!("hours above 0 and up to {HOURS_MAX} are needed; 0.01 are 36 seconds")),
    }
}
