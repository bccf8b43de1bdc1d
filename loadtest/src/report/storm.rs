//! The outcome of a storm: how subscribers came back, what that cost the server, and whether anything was lost or doubled.
//! The command line calls `storm_outcome`.

use super::fanout::{fanout_outcome, shape_sentence};
use super::{Distribution, Figure, Outcome};
use crate::scenario::storm::{Measured, Shape};
use crate::stats::ratio;

/// What `Measured` says, for whoever shows it.
pub(crate) fn storm_outcome(shape: &Shape, measured: &Measured, notes: Vec<String>) -> Outcome {
    let mut outcome = fanout_outcome("storm", &shape.fanout, &measured.fanout, notes);
    let recoveries = &measured.recoveries;
    let away_seconds = shape.away_ns_max as f64 / 1e9;
    outcome.title = format!(
        "{}; each second {} of the subscribers are reset, and away for up to {away_seconds} s",
        shape_sentence(&shape.fanout),
        shape.share_per_second,
    );
    outcome.shape["reconnect_share"] = shape.share_per_second.into();
    outcome.shape["away_seconds_max"] = away_seconds.into();
    let recovered = recoveries.to_recovered.summary().count;
    outcome.figures.extend([
        Figure::new("resets", recoveries.resets as f64, ""),
        Figure::new("resets per second", ratio(recoveries.resets as f64, outcome.seconds), "per second"),
        Figure::new("recovered", recovered as f64, ""),
        Figure::new("replayed deliveries", recoveries.replayed as f64, ""),
    ]);
    if let Some(before) = measured.memory_before {
        outcome.figures.push(Figure::new("server memory before the storm (PSS)", before.pss_bytes as f64, "bytes"));
    }
    // First and last subscriber say little where some are away.
    outcome.latencies.retain(|one| !one.name.ends_with("subscriber"));
    let since = "the start of the connect";
    outcome.latencies.extend([
        Distribution::new("ack", since, &recoveries.to_ack),
        Distribution::new("last replayed publication", since, &recoveries.to_recovered),
    ]);
    outcome.passed = measured.passed();
    if recovered == 0 {
        outcome.faults.say(|| "nobody was cut off and came back".to_owned());
    }
    outcome
}
