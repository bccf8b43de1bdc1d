//! What the user sees: a progress bar while it runs, then a table or one JSON object.
//! The command line makes an `Outcome` of what was measured and has it shown; that answers whether all was right.
//! Invariants: data goes to standard output, everything else to standard error; the same figures are in table and JSON; a
//! figure that is not known is absent, never zero.

mod fanout;
mod http_publish;
mod outcome;
mod output;
mod paged;
mod plain;
mod slow;
mod storm;
mod sweep;

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::scenario::idle;
use crate::stats::Percentiles;
use crate::verify::Faults;

pub(crate) use fanout::fanout_outcome;
pub(crate) use http_publish::{http_publish, http_publish_comparison};
pub(crate) use outcome::{Comparison, Distribution, Figure, Outcome, Series, Spent};
pub(crate) use output::{Output, compared, shown};
pub(crate) use paged::{http_publish_compared, http_publish_outcome, idle_outcome, slow_comparison};
pub(crate) use slow::slow;
pub(crate) use storm::storm_outcome;
pub(crate) use sweep::sweep_outcome;

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

fn print_percentiles(since: &str, rows: &[(&str, Percentiles)]) {
    let mut table = new_table(&[since, "p50", "p90", "p99", "p99.9", "max"]);
    for (name, p) in rows.iter().copied() {
        let times = [p.p50_ns, p.p90_ns, p.p99_ns, p.p999_ns, p.max_ns].map(time);
        table.add_row(std::iter::once(name.to_owned()).chain(times));
    }
    println(&table.to_string());
}

fn print_faults(all_passed: bool, faults: &Faults) {
    if all_passed {
        return;
    }
    println(&format!(
        "FAILED: {} lost, {} doubled, {} out of order, {} misdelivered, {} mangled, {} position breaks, {} in another order, {} errors, \
         {} unexpected, {} connections closed, {} not recovered, {} breaks of the overflow rule.",
        faults.lost,
        faults.doubled,
        faults.out_of_order,
        faults.misdelivered,
        faults.mangled,
        faults.position_breaks,
        faults.disordered,
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
