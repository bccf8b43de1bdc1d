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

/// What a storm of all at once found, for whoever shows it. `dropped` is how often a full backlog dropped a connection meanwhile.
pub(crate) fn all_at_once_outcome(
    shape: &Shape,
    measured: &Measured,
    dropped: Option<u64>,
    notes: Vec<String>,
) -> Outcome {
    let mut outcome = storm_outcome(shape, measured, notes);
    outcome.scenario = "connect storm";
    outcome.title = format!(
        "{}; all subscribers are reset in one moment, and come back as fast as they can",
        shape_sentence(&shape.fanout)
    );
    let back = measured.recoveries.since_all.summary();
    let subscribers = shape.fanout.subscribers as f64;
    outcome.figures.retain(|figure| figure.name != "resets per second");
    outcome.figures.extend([
        Figure::new("all back after", back.max_ns as f64, "ns"),
        Figure::new("came back", ratio(subscribers * 1e9, back.max_ns as f64), "per second"),
    ]);
    if let Some(dropped) = dropped {
        let name = "dropped for a full backlog, whole machine (net.core.somaxconn)";
        outcome.figures.push(Figure::new(name, dropped as f64, ""));
    }
    let since = "the moment of the cut";
    outcome.latencies.push(Distribution::new("ack", since, &measured.recoveries.since_all));
    if back.count < shape.fanout.subscribers as u64 {
        let missing = shape.fanout.subscribers as u64 - back.count.min(shape.fanout.subscribers as u64);
        outcome.faults.say(|| format!("{missing} subscribers did not come back"));
        outcome.passed = false;
    }
    outcome
}
