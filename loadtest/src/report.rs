//! What the user sees: a progress bar while it runs, then a table or one JSON object.
//! The command line calls one function per scenario; each answers whether all was right.
//! Invariants: data goes to standard output, everything else to standard error; the same figures are in table and JSON; a
//! figure that is not known is absent, never zero.

mod slow;
mod storm;

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::process::{Cost, Memory};
use crate::scenario::against_floor::{Round, cpu_ns_per_delivery, least_cost, median_cost};
use crate::scenario::publishing::Pace;
use crate::scenario::{fanout, idle};
use crate::stats::{Percentiles, ratio};
use crate::verify::Faults;

pub(crate) use slow::slow;
pub(crate) use storm::storm;

/// A bar on standard error; hidden when that is no terminal or JSON is asked for.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar without a task yet.
    pub(crate) fn new(json: bool) -> Self {
        if json || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:40}] {percent}% {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// Above what follows, one line stays: which part of a longer run this is.
    pub(crate) fn name(&self, name: String) {
        self.0.println(name);
    }

    /// The next task, of `length` steps.
    pub(crate) fn begin(&self, task: &'static str, length: u64) {
        self.0.set_message("");
        self.0.set_prefix(task);
        self.0.set_length(length);
        self.0.set_position(0);
    }

    /// Steps done.
    pub(crate) fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    /// A word beside the bar; not asked for when nobody sees it.
    pub(crate) fn say(&self, words: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_message(words());
        }
    }

    /// Removes the bar.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

#[derive(Serialize)]
struct FanoutFigures<'a> {
    publications: u64,
    deliveries: u64,
    seconds: f64,
    publications_per_second: f64,
    deliveries_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerFigures>,
    generator_cpu_percent: f64,
    latency: LatencyFigures,
    passed: bool,
    faults: &'a Faults,
}

#[derive(Serialize)]
struct ServerFigures {
    cpu_seconds: f64,
    cpu_percent: f64,
    deliveries_per_cpu_second: f64,
    cpu_ns_per_delivery: f64,
    voluntary_switches: u64,
    involuntary_switches: u64,
    memory: Option<Memory>,
}

#[derive(Serialize)]
struct LatencyFigures {
    all: Percentiles,
    first: Percentiles,
    median: Percentiles,
    last: Percentiles,
    sent_late: Percentiles,
}

impl<'a> FanoutFigures<'a> {
    fn of(measured: &'a fanout::Measured) -> Self {
        let seconds = measured.wall_ns as f64 / 1e9;
        let percent = |cost: Cost| 100.0 * ratio(cost.cpu_ns as f64, measured.wall_ns as f64);
        let lateness = &measured.lateness;
        Self {
            publications: measured.publications,
            deliveries: measured.deliveries,
            seconds,
            publications_per_second: ratio(measured.publications as f64, seconds),
            deliveries_per_second: ratio(measured.deliveries as f64, seconds),
            server: measured.server.map(|cost| ServerFigures {
                cpu_seconds: cost.cpu_ns as f64 / 1e9,
                cpu_percent: percent(cost),
                deliveries_per_cpu_second: ratio(measured.deliveries as f64 * 1e9, cost.cpu_ns as f64),
                cpu_ns_per_delivery: cpu_ns_per_delivery(measured),
                voluntary_switches: cost.voluntary_switches,
                involuntary_switches: cost.involuntary_switches,
                memory: measured.memory,
            }),
            generator_cpu_percent: percent(measured.own),
            latency: LatencyFigures {
                all: lateness.all.summary(),
                first: lateness.first.summary(),
                median: lateness.median.summary(),
                last: lateness.last.summary(),
                sent_late: measured.sent_late.summary(),
            },
            passed: passed(measured),
            faults: &measured.faults,
        }
    }
}

/// Nothing went wrong, and there was something that could have.
fn passed(measured: &fanout::Measured) -> bool {
    measured.faults.total() == 0 && measured.faults.sentences.is_empty() && measured.deliveries > 0
}

/// Reports one fan-out.
pub(crate) fn fanout(shape: &fanout::Shape, measured: &fanout::Measured, notes: &[String], json: bool) -> bool {
    let figures = FanoutFigures::of(measured);
    if json {
        print_json(&json!({
            "scenario": "fanout", "shape": shape_json(shape), "notes": notes, "result": figures,
        }));
        return figures.passed;
    }
    println(&shape_sentence(shape));
    print_notes(notes);
    if figures.deliveries > 0 {
        print_rows(fanout_rows(&figures));
        print_latency(&figures.latency);
    }
    print_verdict(figures.passed, measured.deliveries, &measured.faults);
    figures.passed
}

/// Reports the broker against what it was compared to; `names` are the sides'.
pub(crate) fn comparison(
    shape: &fanout::Shape,
    rounds: &[Round],
    names: [&str; 2],
    notes: &[String],
    json: bool,
) -> bool {
    let [own, other] = names;
    let (own_ns, other_ns) = (median_cost(rounds, |r| &r.broker), median_cost(rounds, |r| &r.other));
    let cost_ratio = ratio(own_ns, other_ns);
    let best_ratio = ratio(least_cost(rounds, |r| &r.broker), least_cost(rounds, |r| &r.other));
    let ratios: Vec<f64> = rounds.iter().map(Round::ratio).collect();
    let all_passed = rounds.iter().all(|round| passed(&round.broker) && passed(&round.other));
    if json {
        let figures: Vec<Value> = rounds
            .iter()
            .map(|round| {
                json!({
                    own: FanoutFigures::of(&round.broker),
                    other: FanoutFigures::of(&round.other),
                    "ratio": round.ratio(),
                })
            })
            .collect();
        print_json(&json!({
            "scenario": format!("fanout against {other}"), "shape": shape_json(shape), "notes": notes,
            format!("{own}_cpu_ns_per_delivery"): own_ns, format!("{other}_cpu_ns_per_delivery"): other_ns,
            format!("{own}_deliveries_per_cpu_second"): ratio(1e9, own_ns),
            format!("{other}_deliveries_per_cpu_second"): ratio(1e9, other_ns),
            "ratio": cost_ratio, "ratio_of_best_rounds": best_ratio, "rounds": figures, "passed": all_passed,
        }));
        return all_passed;
    }
    println(&shape_sentence(shape));
    print_notes(notes);
    print_rounds(rounds, names);
    println(&format!(
        "Median of {} rounds: {own} {:.0}, {other} {:.0} deliveries per CPU second; a delivery costs {:.3} times as much \
         ({:.3} to {:.3} by round; {:.3} between the best rounds of both).",
        rounds.len(),
        ratio(1e9, own_ns),
        ratio(1e9, other_ns),
        cost_ratio,
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
        best_ratio,
    ));
    let mut faults = Faults::default();
    let mut deliveries = 0;
    for side in rounds.iter().flat_map(|round| [&round.broker, &round.other]) {
        faults.merge(side.faults.clone());
        deliveries += side.deliveries;
    }
    print_verdict(all_passed, deliveries, &faults);
    all_passed
}

/// Reports idle connections.
pub(crate) fn idle(shape: &idle::Shape, measured: &idle::Measured, notes: &[String], json: bool) -> bool {
    let held_percent = idle::cpu_percent(measured.hold, measured.hold_ns);
    let connections = shape.connections as f64;
    let ramp_us = measured.ramp.cpu_ns as f64 / 1e3 / connections;
    let all_passed = measured.faults.total() == 0;
    if json {
        print_json(&json!({
            "scenario": "idle", "notes": notes, "connections": shape.connections,
            "subscribe_each": shape.subscribe_each, "topics": shape.topics, "samples": measured.samples,
            "server_bytes_per_connection": measured.pss_slope,
            "kernel_bytes_per_connection_both_ends": measured.kernel_slope,
            "connect_cpu_us_per_connection": ramp_us, "ramp_seconds": measured.ramp_ns as f64 / 1e9,
            "hold_seconds": measured.hold_ns as f64 / 1e9, "hold_cpu_percent": held_percent,
            "faults": measured.faults, "passed": all_passed,
        }));
        return all_passed;
    }
    println(&format!("{} connections, {} subscriptions each", shape.connections, shape.subscribe_each));
    print_notes(notes);
    let mut table = new_table(&["connections", "server PSS", "server RSS", "kernel slab", "TCP buffers"]);
    for sample in &measured.samples {
        table.add_row([
            sample.connections.to_string(),
            bytes(sample.server.pss_bytes),
            bytes(sample.server.rss_bytes),
            bytes(sample.kernel.slab_bytes),
            bytes(sample.kernel.tcp_bytes),
        ]);
    }
    println(&table.to_string());
    let slope = |slope: Option<f64>| slope.map_or("not known".into(), |s| format!("{s:.0} bytes per connection"));
    print_rows(vec![
        ("server memory (slope of PSS)", slope(measured.pss_slope)),
        ("kernel memory, both ends (slope, whole machine)", slope(measured.kernel_slope)),
        ("server CPU to connect and subscribe", format!("{ramp_us:.1} µs per connection")),
        ("server CPU while held", format!("{held_percent:.2} % of a core over {:.1} s", measured.hold_ns as f64 / 1e9)),
    ]);
    print_faults(all_passed, &measured.faults);
    all_passed
}

fn shape_json(shape: &fanout::Shape) -> Value {
    let (rate, outstanding) = match shape.pace {
        Pace::Rate(rate) => (Some(rate), None),
        Pace::UnderWay(most) => (None, Some(most)),
    };
    json!({
        "subscribers": shape.subscribers, "publishers": shape.publishers, "topics": shape.topics,
        "payload_bytes": shape.payload_bytes, "rate": rate, "outstanding": outstanding, "threads": shape.threads,
    })
}

fn shape_sentence(shape: &fanout::Shape) -> String {
    let pace = match shape.pace {
        Pace::Rate(rate) => format!("open loop, {rate} publications per second"),
        Pace::UnderWay(1) => "closed loop, one publication at a time".into(),
        Pace::UnderWay(most) => format!("closed loop, {most} publications under way"),
    };
    format!(
        "{} subscribers, {} publishers, {} topics, {} bytes; {pace}",
        shape.subscribers, shape.publishers, shape.topics, shape.payload_bytes
    )
}

fn fanout_rows(figures: &FanoutFigures<'_>) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("publications", format!("{} ({:.1} per second)", figures.publications, figures.publications_per_second)),
        ("deliveries", format!("{} ({:.0} per second)", figures.deliveries, figures.deliveries_per_second)),
        ("seconds", format!("{:.3}", figures.seconds)),
    ];
    if let Some(server) = &figures.server {
        rows.push(("server CPU", format!("{:.3} s ({:.0} % of a core)", server.cpu_seconds, server.cpu_percent)));
        rows.push(("deliveries per CPU second", format!("{:.0}", server.deliveries_per_cpu_second)));
        rows.push(("CPU per delivery", format!("{:.0} ns", server.cpu_ns_per_delivery)));
        let switches = format!("{} voluntary, {} involuntary", server.voluntary_switches, server.involuntary_switches);
        rows.push(("server context switches", switches));
        if let Some(memory) = server.memory {
            rows.push(("server memory", format!("PSS {}, RSS {}", bytes(memory.pss_bytes), bytes(memory.rss_bytes))));
        }
    }
    rows.push(("load generator CPU", format!("{:.0} % of a core", figures.generator_cpu_percent)));
    rows
}

fn print_latency(latency: &LatencyFigures) {
    print_percentiles(
        "from the intended send",
        &[
            ("every delivery", latency.all),
            ("first subscriber", latency.first),
            ("median subscriber", latency.median),
            ("last subscriber", latency.last),
            ("sent late by the load generator", latency.sent_late),
        ],
    );
}

fn print_percentiles(since: &str, rows: &[(&str, Percentiles)]) {
    let mut table = new_table(&[since, "p50", "p90", "p99", "p99.9", "max"]);
    for (name, p) in rows.iter().copied() {
        let times = [p.p50_ns, p.p90_ns, p.p99_ns, p.p999_ns, p.max_ns].map(time);
        table.add_row(std::iter::once(name.to_owned()).chain(times));
    }
    println(&table.to_string());
}

fn print_rounds(rounds: &[Round], [own, other]: [&str; 2]) {
    let mut table =
        new_table(&["round", "side", "deliveries", "CPU per delivery", "server CPU", "last p50", "last p99", "ratio"]);
    for (number, round) in rounds.iter().enumerate() {
        for (side, measured) in [(own, &round.broker), (other, &round.other)] {
            let last = measured.lateness.last.summary();
            let cost = measured.server.unwrap_or_default();
            table.add_row([
                (number + 1).to_string(),
                side.to_owned(),
                measured.deliveries.to_string(),
                format!("{:.0} ns", cpu_ns_per_delivery(measured)),
                format!("{:.0} %", 100.0 * ratio(cost.cpu_ns as f64, measured.wall_ns as f64)),
                time(last.p50_ns),
                time(last.p99_ns),
                if side == own { format!("{:.3}", round.ratio()) } else { String::new() },
            ]);
        }
    }
    println(&table.to_string());
}

fn print_verdict(all_passed: bool, deliveries: u64, faults: &Faults) {
    if all_passed {
        println(&format!(
            "Verified: {deliveries} measured deliveries, nothing lost, doubled, out of order or misdelivered."
        ));
    } else if deliveries == 0 {
        println("FAILED: nothing was delivered.");
    }
    print_faults(all_passed, faults);
}

fn print_faults(all_passed: bool, faults: &Faults) {
    if all_passed {
        return;
    }
    println(&format!(
        "FAILED: {} lost, {} doubled, {} out of order, {} misdelivered, {} mangled, {} position breaks, {} errors, \
         {} unexpected, {} connections closed, {} not recovered, {} breaks of the overflow rule.",
        faults.lost,
        faults.doubled,
        faults.out_of_order,
        faults.misdelivered,
        faults.mangled,
        faults.position_breaks,
        faults.errors,
        faults.unexpected,
        faults.closed,
        faults.not_recovered,
        faults.overflow_breaks
    ));
    for sentence in &faults.sentences {
        println(&format!("  {sentence}"));
    }
}

fn print_notes(notes: &[String]) {
    for note in notes {
        println(note);
    }
}

fn print_rows(rows: Vec<(&str, String)>) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    println(&table.to_string());
}

fn new_table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_header(head);
    table
}

fn print_json(value: &Value) {
    println(&value.to_string());
}

/// A reader that went away is no reason to panic.
fn println(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{:.1} µs", ns as f64 / 1e3),
        10_000..1_000_000 => format!("{:.0} µs", ns as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.2} ms", ns as f64 / 1e6),
        100_000_000..1_000_000_000 => format!("{:.0} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

fn bytes(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_unit() {
        for (ns, told) in [
            (0, "0.0 µs"),
            (9_999, "10.0 µs"),
            (250_000, "250 µs"),
            (3_100_000, "3.10 ms"),
            (194_000_000, "194 ms"),
            (2_500_000_000, "2.50 s"),
        ] {
            assert_eq!(time(ns), told);
        }
    }
}
