//! An outcome in a terminal, or as one JSON object: the same for every scenario.
//! The command line calls `outcome` and `comparison`; each answers whether all was right.

use super::outcome::{Comparison, Figure, Outcome, Spent};
use super::{bytes, new_table, print_faults, print_json, print_notes, print_percentiles, print_rows, println, time};
use crate::stats::ratio;
use crate::verify::Faults;

/// Reports one run.
pub(crate) fn outcome(outcome: &Outcome, json: bool) -> bool {
    if json {
        return told(outcome, outcome.passed);
    }
    println(&outcome.title);
    print_notes(&outcome.notes);
    let rows = rows(outcome);
    print_rows(rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect());
    print_latencies(outcome);
    print_steps(outcome);
    for doubt in outcome.doubts() {
        println(&format!("But: {doubt}"));
    }
    verdict(outcome.passed, outcome.units, outcome.unit, &outcome.faults);
    outcome.passed
}

/// Reports all rounds against a yardstick.
pub(crate) fn comparison(all: &Comparison, json: bool) -> bool {
    if json {
        return told(all, all.passed);
    }
    let Some(first) = all.rounds.first() else {
        return false;
    };
    let (unit, other) = (first.broker.unit, all.yardstick);
    println(&first.broker.title);
    print_notes(&first.broker.notes);
    let head =
        ["round", "side", unit, "CPU for each", "server CPU", "calls for each", "switches", "PSS", "load CPU", "ratio"];
    let mut table = new_table(&head);
    let (mut faults, mut units) = (Faults::default(), 0);
    for (number, pair) in all.rounds.iter().enumerate() {
        for (side, one) in [("broker", &pair.broker), (other, &pair.yardstick)] {
            let server = one.server.unwrap_or_default();
            table.add_row([
                (number + 1).to_string(),
                side.to_owned(),
                one.units.to_string(),
                time(server.cpu_ns_per_unit as u64),
                format!("{:.0} %", server.cpu_percent),
                calls_for_each(&server, one.units).map_or(String::new(), |each| format!("{each:.3}")),
                (server.voluntary_switches + server.involuntary_switches).to_string(),
                server.memory.map_or(String::new(), |memory| bytes(memory.pss_bytes)),
                format!("{:.0} %", one.load.cpu_percent),
                if side == "broker" { format!("{:.3}", pair.ratio) } else { String::new() },
            ]);
            faults.merge(one.faults.clone());
            units += one.units;
        }
    }
    println(&table.to_string());
    let ratios = all.rounds.iter().map(|pair| pair.ratio);
    println(&format!(
        "Median of {} rounds: broker {:.0}, {other} {:.0} {unit} per CPU second; one costs {:.3} times the {other}'s, so the broker has \
         {:.3} of its speed ({:.3} to {:.3} by round; {:.3} between the best rounds of both).",
        all.rounds.len(),
        all.broker_units_per_cpu_second,
        all.yardstick_units_per_cpu_second,
        all.ratio,
        ratio(1.0, all.ratio),
        ratio(1.0, ratios.clone().fold(0.0, f64::max)),
        ratio(1.0, ratios.fold(f64::INFINITY, f64::min)),
        ratio(1.0, all.ratio_of_best_rounds),
    ));
    verdict(all.passed, units, unit, &faults);
    all.passed
}

fn told(value: &impl serde::Serialize, passed: bool) -> bool {
    match serde_json::to_value(value) {
        Ok(value) => print_json(&value),
        // Numbers, text and lists: there is nothing in it that JSON cannot say.
        Err(error) => println(&format!("{{\"error\":{:?}}}", error.to_string())),
    }
    passed
}

fn rows(outcome: &Outcome) -> Vec<(String, String)> {
    let rate = ratio(outcome.units as f64, outcome.seconds);
    let mut rows = vec![
        (outcome.unit.to_owned(), format!("{} ({rate:.0} per second)", outcome.units)),
        ("seconds".to_owned(), format!("{:.3}", outcome.seconds)),
    ];
    if let Some(server) = &outcome.server {
        let cpu = format!("{:.3} s ({:.0} % of a core)", server.cpu_seconds, server.cpu_percent);
        rows.push(("server CPU".to_owned(), cpu));
        rows.push((format!("{} per CPU second", outcome.unit), format!("{:.0}", server.units_per_cpu_second)));
        rows.push(("server CPU for each".to_owned(), time(server.cpu_ns_per_unit as u64)));
        rows.push(("server context switches".to_owned(), switches(server)));
        if let Some((calls, each)) = server.system_calls.zip(calls_for_each(server, outcome.units)) {
            rows.push(("server system calls".to_owned(), format!("{calls} ({each:.3} for each)")));
        }
        if let Some(memory) = server.memory {
            let both = format!("PSS {}, RSS {}", bytes(memory.pss_bytes), bytes(memory.rss_bytes));
            rows.push(("server memory".to_owned(), both));
        }
    }
    let load = &outcome.load;
    let load = format!("{:.3} s ({:.0} % of a core)", load.cpu_seconds, load.cpu_percent);
    rows.push(("load generator CPU".to_owned(), load));
    rows.extend(outcome.figures.iter().map(|figure| (figure.name.clone(), spelled(figure))));
    rows
}

fn calls_for_each(server: &Spent, units: u64) -> Option<f64> {
    server.system_calls.map(|calls| ratio(calls as f64, units as f64))
}

fn switches(spent: &Spent) -> String {
    format!("{} voluntary, {} involuntary", spent.voluntary_switches, spent.involuntary_switches)
}

fn spelled(figure: &Figure) -> String {
    match figure.unit {
        "ns" => time(figure.value as u64),
        unit if unit.starts_with("bytes") && figure.value.abs() >= 1_048_576.0 => {
            format!("{:.2} MiB{}", figure.value / 1_048_576.0, &unit["bytes".len()..])
        }
        "" if figure.value.fract() == 0.0 => format!("{:.0}", figure.value),
        "" => format!("{:.3}", figure.value),
        unit if figure.value.abs() >= 100.0 => format!("{:.0} {unit}", figure.value),
        unit => format!("{:.2} {unit}", figure.value),
    }
}

/// One table for each moment that latencies count from.
fn print_latencies(outcome: &Outcome) {
    let mut since: Vec<&str> = outcome.latencies.iter().map(|one| one.since).collect();
    since.dedup();
    for since in since {
        let of_it = outcome.latencies.iter().filter(|one| one.since == since && one.percentiles.count > 0);
        let rows: Vec<_> = of_it.map(|one| (one.name.as_str(), one.percentiles)).collect();
        if !rows.is_empty() {
            print_percentiles(&format!("from {since}"), &rows);
        }
    }
}

/// Series that go from step to step are a table; those over time are for drawing.
fn print_steps(outcome: &Outcome) {
    let stepped: Vec<_> = outcome.series.iter().filter(|series| series.along != "seconds").collect();
    let Some(first) = stepped.first() else {
        return;
    };
    let mut head = vec![first.along];
    head.extend(stepped.iter().map(|series| series.name.as_str()));
    let mut table = new_table(&head);
    for (at, (x, _)) in first.points.iter().enumerate() {
        let cells = stepped.iter().map(|series| match (series.points.get(at), series.unit) {
            (Some((_, y)), _) if series.name == "held" => if *y > 0.0 { "yes" } else { "no" }.to_owned(),
            (Some((_, y)), "ns") => time(*y as u64),
            (Some((_, y)), "bytes") => bytes(*y as u64),
            (Some((_, y)), _) => format!("{y:.0}"),
            (None, _) => String::new(),
        });
        table.add_row(std::iter::once(format!("{x:.0}")).chain(cells));
    }
    println(&table.to_string());
}

fn verdict(passed: bool, units: u64, unit: &str, faults: &Faults) {
    if passed {
        println(&format!(
            "Verified: {units} measured {unit}, nothing lost, doubled, out of order, mangled or misdelivered."
        ));
    } else if units == 0 {
        println(&format!("FAILED: there were no {unit}."));
    }
    print_faults(passed, faults);
}
