//! What the user sees: a progress bar while it runs, then a table or one JSON object.
//! The command line makes an `Outcome` of what was measured and has it shown; that answers whether all was right.
//! Invariants: data goes to standard output, everything else to standard error; the same figures are in table and JSON; a
//! figure that is not known is absent, never zero.

mod bare;
mod fanout;
mod idle;
mod outcome;
mod output;
mod paged;
mod plain;
mod slow;
mod soak;
mod storm;
mod sweep;

use std::io::{IsTerminal, Write};

use comfy_table::{Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::stats::Percentiles;
use crate::verify::Faults;

pub(crate) use bare::{connect_outcome, echo_outcome};
pub(crate) use fanout::fanout_outcome;
pub(crate) use idle::{idle_comparison, idle_outcome};
pub(crate) use outcome::{Comparison, Distribution, Figure, KNEE, Outcome, Series, Spent};
pub(crate) use output::{Output, compared, shown};
pub(crate) use paged::{http_publish_compared, http_publish_outcome, slow_comparison};
pub(crate) use slow::slow;
pub(crate) use soak::soak_outcome;
pub(crate) use storm::{all_at_once_outcome, storm_outcome};
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
