//! The outcome of a sweep: rate by rate what was achieved and how late, and the knee.
//! The command line calls `sweep_outcome`.

use std::time::Duration;

use serde_json::Value;

use super::fanout::{fanout_outcome, who_and_what};
use super::{Figure, KNEE, Outcome, Series};
use crate::scenario::fanout::Shape;
use crate::scenario::sweep::{Step, knee};
use crate::stats::Percentiles;
use crate::verify::Faults;

/// What the steps say, for whoever shows it; distributions and costs are those of the knee.
pub(crate) fn sweep_outcome(shape: &Shape, steps: &[Step], late: Duration, notes: Vec<String>) -> Outcome {
    let Some(shown) = knee(steps).or(steps.first()) else {
        unreachable!("a sweep has a first step");
    };
    let mut outcome = fanout_outcome("sweep", shape, &shown.measured, notes);
    let late_ms = late.as_secs_f64() * 1e3;
    outcome.title = format!(
        "{}; a rate holds while at least 95 % of it is achieved, all of it is delivered, and 99 of 100 publications are with their last \
         subscriber within {late_ms} ms",
        who_and_what(shape)
    );
    // Every step has its own.
    (outcome.shape["rate"], outcome.shape["outstanding"]) = (Value::Null, Value::Null);
    let held = knee(steps);
    let knee_rate = held.map_or(0.0, |step| step.rate);
    outcome.figures.push(Figure::new(KNEE, knee_rate, "per second"));
    outcome.series = curves(steps);
    let mut faults = Faults::default();
    for step in steps.iter().filter(|step| !step.is_right()) {
        faults.merge(step.measured.faults.clone());
    }
    if held.is_none() {
        let rate = shown.rate;
        faults.merge(shown.measured.faults.clone());
        faults.say(|| format!("not even {rate} publications per second held"));
    }
    outcome.passed = held.is_some() && faults.total() == 0;
    outcome.faults = faults;
    outcome
}

/// One curve per figure along the offered rate.
fn curves(steps: &[Step]) -> Vec<Series> {
    let curve = |name: String, unit, of: &dyn Fn(&Step) -> f64| Series {
        name,
        unit,
        along: "publications per second offered",
        points: steps.iter().map(|step| (step.rate, of(step))).collect(),
    };
    let mut all = vec![
        curve("achieved".to_owned(), "per second", &Step::achieved),
        curve("held".to_owned(), "", &|step| f64::from(u8::from(step.held))),
    ];
    // The last subscriber first: it is what a rate is judged by.
    for who in ["last", "median", "first"] {
        let of = |step: &Step| -> Percentiles {
            let lateness = &step.measured.lateness;
            match who {
                "first" => lateness.first.summary(),
                "median" => lateness.median.summary(),
                _ => lateness.last.summary(),
            }
        };
        all.push(curve(format!("{who} p50"), "ns", &|step| of(step).p50_ns as f64));
        all.push(curve(format!("{who} p99"), "ns", &|step| of(step).p99_ns as f64));
        if who == "last" {
            all.push(curve(format!("{who} p99.9"), "ns", &|step| of(step).p999_ns as f64));
        }
    }
    all.push(curve("sent late p99".to_owned(), "ns", &|step| step.measured.sent_late.summary().p99_ns as f64));
    all
}
