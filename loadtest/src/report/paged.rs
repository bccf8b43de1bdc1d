//! Outcomes of the scenarios whose table is their own: slow readers, publications by HTTP.
//! The command line makes the page of `--report` of them.

use serde_json::json;

use super::fanout::fanout_outcome;
use super::{Comparison, Outcome, Series, Spent};
use crate::scenario::against::Round;
use crate::scenario::{http_publish, slow};
use crate::verify::Faults;

/// Rounds with slow readers against rounds of the healthy alone.
pub(crate) fn slow_comparison(shape: &slow::Shape, rounds: &[slow::Round], notes: &[String]) -> Comparison {
    let outcome = |measured: &slow::Measured| {
        let mut outcome = fanout_outcome("slow", &shape.fanout, &measured.fanout, notes.to_vec());
        outcome.passed = measured.passed();
        outcome.shape["slow_readers"] = shape.fanout.others.into();
        outcome.shape["read_bytes_per_second"] = shape.manner.bytes_per_second.unwrap_or(0).into();
        outcome
    };
    let sides = rounds.iter().map(|round| Round { broker: outcome(&round.with), yardstick: outcome(&round.without) });
    Comparison::new("run without slow readers", sides.collect())
}

/// One run of publications by HTTP.
fn http_outcome(shape: &http_publish::Shape, measured: &http_publish::Measured, notes: &[String]) -> Outcome {
    let units = measured.requests as u64;
    let seconds = measured.wall_ns as f64 / 1e9;
    let (server, load) = Spent::by_both(&measured.spending, units, seconds);
    Outcome {
        scenario: "http-publish",
        title: format!(
            "{} connections with {} requests at once, {} bytes each",
            shape.connections, shape.depth, shape.payload_bytes
        ),
        shape: json!({
            "connections": shape.connections, "depth": shape.depth, "payload_bytes": shape.payload_bytes,
        }),
        notes: notes.to_vec(),
        unit: "requests",
        units,
        seconds,
        server,
        load,
        figures: Vec::new(),
        latencies: Vec::new(),
        series: Vec::new(),
        // A request that is not answered as it has to be ends the run with a sentence.
        faults: Faults::default(),
        passed: units > 0,
    }
}

/// All rounds of publications by HTTP, taken together.
pub(crate) fn http_publish_outcome(
    shape: &http_publish::Shape,
    rounds: &[http_publish::Measured],
    notes: &[String],
) -> Outcome {
    let sum = |of: fn(&http_publish::Measured) -> u64| rounds.iter().map(of).sum::<u64>();
    let whole = http_publish::Measured {
        requests: sum(|round| round.requests as u64) as usize,
        wall_ns: sum(|round| round.wall_ns),
        spending: rounds.iter().map(|round| round.spending).sum(),
    };
    let each = rounds.iter().enumerate().map(|(n, round)| ((n + 1) as f64, round.cpu_ns_per_request()));
    let cost = Series { name: "CPU per unit".into(), unit: "ns", along: "round", points: each.collect() };
    Outcome { series: vec![cost], ..http_outcome(shape, &whole, notes) }
}

/// All rounds of publications by HTTP against a bare responder.
pub(crate) fn http_publish_compared(
    shape: &http_publish::Shape,
    rounds: &[Round<http_publish::Measured>],
    notes: &[String],
) -> Comparison {
    let sides = rounds.iter().map(|round| round.map(|measured| http_outcome(shape, measured, notes)));
    Comparison::new("floor", sides.collect())
}
