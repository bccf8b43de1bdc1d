//! What every scenario hands to whoever shows it: one `Outcome` per run, one `Comparison` per run against a yardstick.
//! The table, `--json` and the page of `--report` are made of nothing else, so they tell the same. Scenarios' reports fill it.
//! Invariants: durations in `_ns` or `_seconds`, memory in `_bytes`; a figure that is not known is absent, never zero; latencies count
//! from the intended moment; points of a series are in the order of time; `passed` is the judgement that the exit code tells.

use serde::Serialize;
use serde_json::Value;

use crate::process::{Cost, Memory};
use crate::scenario::against::Round;
use crate::scenario::meter::Spending;
use crate::stats::{Bucket, Latencies, Percentiles, median, ratio};
use crate::verify::Faults;

/// The figure that a sweep looks for.
pub(crate) const KNEE: &str = "knee: publications per second that held";
/// The distribution of what the load generator itself did late.
pub(crate) const SENT_LATE: &str = "sent late by the load generator";
/// From this share of a core on a thread has no time left.
const BUSY_PERCENT: f64 = 90.0;
/// Up to this nobody cares how late a publication left.
const LATE_NS: u64 = 1_000_000;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// As the command line names it.
    pub(crate) scenario: &'static str,
    /// The shape in one sentence.
    pub(crate) title: String,
    /// The shape in numbers.
    pub(crate) shape: Value,
    /// What a reader has to know: where things ran, what was scaled down.
    pub(crate) notes: Vec<String>,
    /// What is counted, in the plural: `deliveries`, `cycles`, `echoes`.
    pub(crate) unit: &'static str,
    /// How many of them were measured.
    pub(crate) units: u64,
    /// How long that took.
    pub(crate) seconds: f64,
    /// What the server spent; absent if its process is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Spent>,
    /// What this program spent.
    pub(crate) load: Spent,
    /// Figures of this scenario alone.
    pub(crate) figures: Vec<Figure>,
    /// Distributions: who waited how long.
    pub(crate) latencies: Vec<Distribution>,
    /// What changed over time, or from step to step.
    pub(crate) series: Vec<Series>,
    /// What went wrong.
    pub(crate) faults: Faults,
    /// Nothing did, and something was measured.
    pub(crate) passed: bool,
}

impl Outcome {
    /// Why its figures may be the load generator's and not the server's, in sentences.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut all = Vec::new();
        let of = |name: &str| self.shape[name].as_f64().unwrap_or(1.0);
        let threads = of("threads") * of("processes");
        if self.load.cpu_percent >= BUSY_PERCENT * threads {
            let percent = self.load.cpu_percent;
            all.push(format!(
                "the load generator was busy all the time ({percent:.0} % of a core for {threads} threads): deliveries per second and latencies are \
                 what it could do, not the server. Give it more --threads or --processes, on cores of its own."
            ));
        }
        let p99 =
            |name: &str| self.latencies.iter().find(|one| one.name == name).map_or(0, |one| one.percentiles.p99_ns);
        let (sent, last) = (p99(SENT_LATE), p99("last subscriber").max(p99("every delivery")));
        if sent > LATE_NS && sent * 5 > last {
            all.push(format!(
                "1 of 100 publications left the load generator more than {:.1} ms after it was due, which is part of the {:.1} ms that the last subscriber \
                 waited: the load generator, or what else ran on its core, is in these latencies.",
                sent as f64 / 1e6,
                last as f64 / 1e6
            ));
        }
        all
    }
}

/// What one side spent on the units of a run.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spent {
    /// CPU time, user and kernel.
    pub(crate) cpu_seconds: f64,
    /// Of one core.
    pub(crate) cpu_percent: f64,
    /// Units per second of CPU time; 0 if there were none.
    pub(crate) units_per_cpu_second: f64,
    /// CPU time per unit.
    pub(crate) cpu_ns_per_unit: f64,
    /// Times that it went to sleep.
    pub(crate) voluntary_switches: u64,
    /// Times that it was interrupted: many of them say that the machine was shared.
    pub(crate) involuntary_switches: u64,
    /// As the server counts them itself; absent if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system_calls: Option<u64>,
    /// At the end of the measured stretch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
}

impl Spent {
    /// `cost` over `seconds`, for so many `units`.
    pub(crate) fn new(cost: Cost, units: u64, seconds: f64) -> Self {
        let cpu_seconds = cost.cpu_ns as f64 / 1e9;
        Self {
            cpu_seconds,
            cpu_percent: 100.0 * ratio(cpu_seconds, seconds),
            units_per_cpu_second: ratio(units as f64, cpu_seconds),
            cpu_ns_per_unit: ratio(cost.cpu_ns as f64, units as f64),
            voluntary_switches: cost.voluntary_switches,
            involuntary_switches: cost.involuntary_switches,
            system_calls: None,
            memory: None,
        }
    }

    /// What the server spent, if that is known, and what the load did.
    pub(crate) fn by_both(spending: &Spending, units: u64, seconds: f64) -> (Option<Self>, Self) {
        let Spending { system_calls, memory, .. } = *spending;
        let spent = |cost| Self::new(cost, units, seconds);
        (spending.server.map(|cost| Self { system_calls, memory, ..spent(cost) }), spent(spending.own))
    }
}

/// One number and what it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// In words.
    pub(crate) name: String,
    /// In `unit`.
    pub(crate) value: f64,
    /// `ns`, `bytes`, `per second`, or nothing for a plain count.
    pub(crate) unit: &'static str,
}

impl Figure {
    /// A number of a name and a unit.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit }
    }
}

/// One distribution of latencies.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Distribution {
    /// Whose: `last subscriber`.
    pub(crate) name: String,
    /// What it counts from: `the intended send`.
    pub(crate) since: &'static str,
    /// The figures that a reader wants.
    pub(crate) percentiles: Percentiles,
    /// Its shape, for drawing: about eight buckets for each doubling, empty ones left out.
    pub(crate) buckets: Vec<Bucket>,
}

impl Distribution {
    /// Of what was recorded.
    pub(crate) fn new(name: impl Into<String>, since: &'static str, latencies: &Latencies) -> Self {
        Self { name: name.into(), since, percentiles: latencies.summary(), buckets: latencies.buckets() }
    }
}

/// One curve.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// What it shows.
    pub(crate) name: String,
    /// Of the y axis: `per second`, `%`, `bytes`, `ns`.
    pub(crate) unit: &'static str,
    /// Of the x axis: `seconds` since the measured stretch began, or what a sweep raises.
    pub(crate) along: &'static str,
    /// (x, y). Over time a point tells of what happened since the one before.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Both sides in turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    /// `rooms against floor`.
    pub(crate) scenario: String,
    /// Whom the broker is compared to.
    pub(crate) yardstick: &'static str,
    /// The median of the rounds, in units per second of the server's CPU time.
    pub(crate) broker_units_per_cpu_second: f64,
    /// The same of the yardstick.
    pub(crate) yardstick_units_per_cpu_second: f64,
    /// What a unit costs the broker over what it costs the yardstick, by the medians.
    pub(crate) ratio: f64,
    /// The same between the cheapest rounds of both: neighbours on a machine only add.
    pub(crate) ratio_of_best_rounds: f64,
    /// All rounds.
    pub(crate) rounds: Vec<Pair>,
    /// All of them did.
    pub(crate) passed: bool,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair {
    /// The broker's run.
    pub(crate) broker: Outcome,
    /// The yardstick's.
    pub(crate) yardstick: Outcome,
    /// What a unit costs the broker over what it costs the yardstick.
    pub(crate) ratio: f64,
}

impl Outcome {
    /// The server's CPU time per unit, in nanoseconds; 0 if it is not known.
    pub(crate) fn cost(&self) -> f64 {
        self.server.map_or(0.0, |server| server.cpu_ns_per_unit)
    }
}

impl Comparison {
    /// Of all rounds against `yardstick`.
    pub(crate) fn new(yardstick: &'static str, rounds: Vec<Round<Outcome>>) -> Self {
        let costs = |side: fn(&Round<Outcome>) -> &Outcome| -> Vec<f64> {
            rounds.iter().map(|round| side(round).cost()).collect()
        };
        let (broker, other) = (costs(|round| &round.broker), costs(|round| &round.yardstick));
        let least = |costs: &[f64]| costs.iter().copied().fold(f64::INFINITY, f64::min);
        let scenario = rounds.first().map_or("", |round| round.broker.scenario);
        Self {
            scenario: format!("{scenario} against {yardstick}"),
            yardstick,
            broker_units_per_cpu_second: ratio(1e9, median(&broker)),
            yardstick_units_per_cpu_second: ratio(1e9, median(&other)),
            ratio: ratio(median(&broker), median(&other)),
            ratio_of_best_rounds: ratio(least(&broker), least(&other)),
            passed: rounds.iter().all(|round| round.broker.passed && round.yardstick.passed),
            rounds: rounds
                .into_iter()
                .map(|Round { broker, yardstick }| Pair {
                    ratio: ratio(broker.cost(), yardstick.cost()),
                    broker,
                    yardstick,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(cpu_ns: u64, passed: bool) -> Outcome {
        let cost = Cost { cpu_ns, ..Cost::default() };
        Outcome {
            scenario: "rooms",
            title: String::new(),
            shape: Value::Null,
            notes: Vec::new(),
            unit: "deliveries",
            units: 1_000,
            seconds: 2.0,
            server: Some(Spent::new(cost, 1_000, 2.0)),
            load: Spent::default(),
            figures: Vec::new(),
            latencies: Vec::new(),
            series: Vec::new(),
            faults: Faults::default(),
            passed,
        }
    }

    #[test]
    fn medians_and_best_rounds_are_compared_and_one_failure_fails_all() {
        let rounds = |failing: usize| {
            let costs = [(3_000_000, 1_000_000), (2_000_000, 2_000_000), (4_000_000, 2_000_000)];
            let each = costs.into_iter().enumerate();
            each.map(|(n, (broker, other))| Round {
                broker: outcome(broker, n != failing),
                yardstick: outcome(other, true),
            })
            .collect()
        };
        let all = Comparison::new("floor", rounds(9));
        assert!((all.ratio - 1.5).abs() < 1e-9 && (all.ratio_of_best_rounds - 2.0).abs() < 1e-9);
        assert!((all.broker_units_per_cpu_second - 1e9 / 3_000.0).abs() < 1e-6);
        assert!(all.passed && !Comparison::new("floor", rounds(1)).passed);
        assert_eq!(all.scenario, "rooms against floor");
    }

    #[test]
    fn a_load_generator_at_its_limit_casts_doubt_and_one_with_time_left_does_not() {
        let cost = |cpu_ns| Spent::new(Cost { cpu_ns, ..Cost::default() }, 1_000, 2.0);
        let mut one = outcome(1, true);
        let late = |sent_us: u64| {
            [(SENT_LATE, sent_us), ("last subscriber", 40_000)].map(|(name, us)| {
                let mut latencies = Latencies::new();
                latencies.record(us * 1_000);
                Distribution::new(name, "the intended send", &latencies)
            })
        };
        (one.load, one.latencies) = (cost(1_000_000_000), late(7_000).to_vec());
        assert!(one.doubts().is_empty(), "{:?}", one.doubts());
        (one.load, one.latencies) = (cost(1_900_000_000), late(9_000).to_vec());
        let doubts = one.doubts();
        assert!(doubts.len() == 2 && doubts[0].contains("95 %") && doubts[1].contains("9.0 ms"), "{doubts:?}");
        one.shape = serde_json::json!({ "threads": 2, "processes": 2 });
        one.latencies = late(900).to_vec();
        assert!(one.doubts().is_empty());
    }

    #[test]
    fn what_is_spent_is_told_per_unit_and_per_second() {
        let spent = Spent::new(Cost { cpu_ns: 500_000_000, ..Cost::default() }, 1_000, 2.0);
        assert!((spent.cpu_percent - 25.0).abs() < 1e-9 && (spent.cpu_ns_per_unit - 500_000.0).abs() < 1e-6);
        assert!((spent.units_per_cpu_second - 2_000.0).abs() < 1e-6);
        let told = serde_json::to_value(spent).unwrap();
        assert!(told.get("system_calls").is_none() && told.get("memory").is_none());
    }
}
