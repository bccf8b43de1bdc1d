//! The outcome of everything that publishes to subscribers: fan-outs, rooms, mixed transports, storms.
//! The command line and the other reports call `fanout_outcome`, and add what is theirs.

use serde_json::{Value, json};

use super::outcome::SENT_LATE;
use super::{Distribution, Outcome, Spent};
use crate::scenario::TRANSPORTS;
use crate::scenario::fanout::{Measured, Shape};
use crate::scenario::publishing::Pace;

/// What `Measured` says, for whoever shows it.
pub(crate) fn fanout_outcome(
    scenario: &'static str,
    shape: &Shape,
    measured: &Measured,
    notes: Vec<String>,
) -> Outcome {
    let seconds = measured.wall_ns as f64 / 1e9;
    let units = measured.deliveries;
    let lateness = &measured.lateness;
    let since = "the intended send";
    let mut latencies = vec![
        Distribution::new("every delivery", since, &lateness.all),
        Distribution::new("first subscriber", since, &lateness.first),
        Distribution::new("median subscriber", since, &lateness.median),
        Distribution::new("last subscriber", since, &lateness.last),
        Distribution::new(SENT_LATE, since, &measured.sent_late),
    ];
    for (transport, late) in TRANSPORTS.iter().zip(&lateness.by_transport) {
        latencies.push(Distribution::new(format!("every delivery by {}", transport.name()), since, late));
    }
    latencies.retain(|one| one.percentiles.count > 0);
    let publications = measured.publications as f64;
    let (server, load) = Spent::by_both(&measured.spending, units, seconds);
    Outcome {
        scenario,
        title: shape_sentence(shape),
        shape: shape_json(shape),
        notes,
        unit: "deliveries",
        units,
        seconds,
        server,
        load,
        figures: vec![
            super::Figure::new("publications", publications, ""),
            super::Figure::new("publications per second", crate::stats::ratio(publications, seconds), "per second"),
        ],
        latencies,
        series: measured.series.clone(),
        faults: measured.faults.clone(),
        passed: measured.passed(),
    }
}

/// The shape in numbers.
pub(super) fn shape_json(shape: &Shape) -> Value {
    let (rate, outstanding) = match shape.pace {
        Pace::Rate(rate) => (Some(rate), None),
        Pace::UnderWay(most) => (None, Some(most)),
    };
    json!({
        "subscribers": shape.subscribers, "publishers": shape.publishers, "topics": shape.topics,
        "payload_bytes": shape.payload_bytes, "rate": rate, "outstanding": outstanding, "threads": shape.threads,
        "processes": shape.processes,
    })
}

/// The shape in one sentence.
pub(super) fn shape_sentence(shape: &Shape) -> String {
    format!("{}; {}", who_and_what(shape), shape.pace.words())
}

/// Who is there, and what is published.
pub(super) fn who_and_what(shape: &Shape) -> String {
    let all = [(shape.subscribers, "subscriber"), (shape.publishers, "publisher"), (shape.topics, "topic")];
    let told = all.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    format!("{}, {} bytes", told.join(", "), shape.payload_bytes)
}
