//! The sections of a page below its verdict, in the order in which they are read.
//! `page` calls them; each writes nothing if there is nothing to tell.

use serde::Serialize;
use serde_json::Value as Json;

use super::chart::{self, Besides, CURVES, Rise};
use super::html::{Html, Value};
use super::meaning;
use super::setting::Setting;
use super::words::{counted, spelled, time};
use crate::report::{Comparison, Distribution, Outcome, Series, Spent};
use crate::stats::ratio;

/// Widths at which histograms are drawn: for a screen or paper, and for a phone.
const WIDTHS: [(f64, &str); 2] = [(860.0, "wide"), (350.0, "narrow")];
/// Longest text of an outcome that is in the page, in bytes: far more than the most rounds give.
const RAW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes sections into a page.
pub(super) struct Sections<'a> {
    pub(super) html: &'a mut Html,
}

impl Sections<'_> {
    fn begin(&mut self, title: &str, about: &str) {
        self.html.element("h2", &[], title);
        self.html.element("p", &[("class", "soft".into())], about);
    }

    /// Histograms and percentiles, by what they count from.
    pub(super) fn latencies(&mut self, run: &Outcome) {
        let known: Vec<&Distribution> = run.latencies.iter().filter(|one| one.percentiles.count > 0).collect();
        let mut moments: Vec<&str> = Vec::new();
        known.iter().for_each(|one| {
            if !moments.contains(&one.since) {
                moments.push(one.since);
            }
        });
        for since in moments {
            let of_it: Vec<&Distribution> = known.iter().copied().filter(|one| one.since == since).collect();
            self.begin(
                &format!("Latency, from {since}"),
                "How long it took. The axis is logarithmic: each power of ten has the same width. The higher a bar, the more often it took so \
                 long; the lowest bars may be a single case. p99 1 ms says that 99 of 100 took at most 1 ms.",
            );
            let mut drawn: Vec<&Distribution> =
                of_it.iter().copied().filter(|one| one.name.ends_with("subscriber")).collect();
            if drawn.is_empty() {
                drawn = of_it.iter().copied().filter(|one| !one.name.starts_with("sent late")).collect();
            }
            self.html.open("figure", &[]);
            for (width, class) in WIDTHS {
                chart::histograms(self.html, &drawn, width, class);
            }
            self.html.close();
            self.percentiles(&of_it);
        }
    }

    fn percentiles(&mut self, all: &[&Distribution]) {
        self.head(&["", "p50", "p90", "p99", "p99.9", "max", "measured"]);
        for one in all {
            self.html.open("tr", &[]);
            self.named(&one.name, meaning(&one.name));
            let p = &one.percentiles;
            for ns in [p.p50_ns, p.p90_ns, p.p99_ns, p.p999_ns, p.max_ns] {
                self.html.element("td", &[], &time(ns as f64, 3));
            }
            self.html.element("td", &[], &counted(p.count as f64)).close();
        }
        self.end_table();
    }

    /// What was recorded while the run was measured.
    pub(super) fn over_time(&mut self, run: &Outcome) {
        let over: Vec<&Series> =
            run.series.iter().filter(|one| one.along == "seconds" && one.points.len() > 1).collect();
        if over.is_empty() {
            return;
        }
        self.begin(
            "Over time",
            "Each point tells of what happened since the one before. A run on a quiet machine is level; dips and peaks at the same moment \
             in several curves have one cause.",
        );
        self.charts(&over, Besides::default());
    }

    /// What changed from step to step: a sweep, or a ramp.
    pub(super) fn steps(&mut self, run: &Outcome) {
        let stepped: Vec<&Series> =
            run.series.iter().filter(|one| one.along != "seconds" && !one.points.is_empty()).collect();
        let mut axes: Vec<&str> = stepped.iter().map(|one| one.along).collect();
        axes.dedup();
        for along in axes {
            let of_it: Vec<&Series> = stepped.iter().copied().filter(|one| one.along == along).collect();
            let offered = along.contains("offered");
            let about = if offered {
                "The load was raised step by step. While server and load generator keep up, as much comes out as goes in, along the dashed line; \
                 beyond the knee they no longer do, and latency grows without end. Everything above and below is told of the rate at the knee."
            } else {
                "What was measured at each step."
            };
            self.begin(&format!("Step by step: {along}"), about);
            let knee = run.figures.iter().find(|figure| figure.name.contains("knee")).map(|figure| figure.value);
            self.charts(&of_it, Besides { diagonal: offered, knee });
            self.step_table(&of_it);
        }
    }

    fn step_table(&mut self, all: &[&Series]) {
        let Some(first) = all.first() else { return };
        let mut head = vec![first.along];
        head.extend(all.iter().map(|one| one.name.as_str()));
        self.head(&head);
        for (at, (x, _)) in first.points.iter().enumerate() {
            self.html.open("tr", &[]).element("td", &[], &counted(*x));
            for one in all {
                let value = match one.points.get(at) {
                    Some((_, y)) if one.name == "held" => if *y > 0.0 { "yes" } else { "no" }.to_owned(),
                    Some((_, y)) => spelled(*y, one.unit),
                    None => String::new(),
                };
                self.html.element("td", &[], &value);
            }
            self.html.close();
        }
        self.end_table();
    }

    /// One figure for each curve; durations of the same subscriber share one, because they are compared.
    fn charts(&mut self, all: &[&Series], besides: Besides) {
        let of = |one: &Series| (one.unit, one.name.split(' ').next().unwrap_or_default().to_owned());
        // What has no unit is a yes or a no: the table tells it.
        let mut left: Vec<&Series> = all.iter().copied().filter(|one| !one.unit.is_empty()).collect();
        self.html.open("div", &[("class", "grid-of".into())]);
        while let Some(first) = left.first().copied() {
            let mut group = vec![first];
            if first.unit == "ns" {
                group.extend(left[1..].iter().copied().filter(|one| of(one) == of(first)).take(CURVES.len() - 1));
            }
            left.retain(|one| !group.iter().any(|drawn| std::ptr::eq(*drawn, *one)));
            let rise = if first.unit == "ns" { Rise::Log } else { Rise::Linear };
            let diagonal = besides.diagonal && first.unit == "per second";
            self.chart(&group, rise, Besides { diagonal, ..besides });
        }
        self.html.close();
    }

    fn chart(&mut self, group: &[&Series], rise: Rise, besides: Besides) {
        self.html.open("figure", &[]);
        if let [one] = group {
            self.html.element("h3", &[], &titled(one));
            self.html.element("figcaption", &[], meaning(&one.name).unwrap_or_default());
        } else {
            self.html.element("h3", &[], &format!("Latency: {}", whose(group)));
            self.html.open("div", &[("class", "legend".into())]);
            for (one, class) in group.iter().zip(CURVES) {
                self.html.open("span", &[("class", Value::Word(class))]).element("i", &[], "");
                self.html
                    .text(one.name.strip_prefix(common(group)).unwrap_or(&one.name).trim_start_matches([',', ' ']))
                    .close();
            }
            self.html.close();
            let scale = if rise == Rise::Log { "The upward axis is logarithmic." } else { "" };
            self.html.element("figcaption", &[], scale);
        }
        chart::curves(self.html, group, rise, besides);
        self.html.close();
    }

    /// What the sides spent.
    pub(super) fn cost(&mut self, sides: &[(&str, Option<&Spent>)], unit: &str, units: u64) {
        let known = sides.iter().filter_map(|(name, spent)| Some((*name, (*spent)?)));
        let known: Vec<(&str, &Spent)> = known.filter(|(_, spent)| spent.cpu_seconds > 0.0).collect();
        if known.is_empty() {
            return;
        }
        self.begin(
            "What it cost",
            "Read from the kernel before and after the measured stretch, with nothing under way at both moments: what is counted here was \
             paid for here.",
        );
        let mut head = vec![""];
        head.extend(known.iter().map(|(name, _)| *name));
        self.head(&head);
        let mut row = |name: &str, of: &dyn Fn(&Spent) -> Option<String>| {
            let cells: Vec<Option<String>> = known.iter().map(|(_, spent)| of(spent)).collect();
            if cells.iter().all(Option::is_none) {
                return;
            }
            self.html.open("tr", &[]);
            let shown = name.replace("units", unit).replace("per unit", &format!("for each of the {unit}"));
            self.named(&shown, meaning(name));
            for cell in cells {
                self.html.element("td", &[], cell.as_deref().unwrap_or("not known"));
            }
            self.html.close();
        };
        row("CPU time", &|spent| Some(time(spent.cpu_seconds * 1e9, 3)));
        row("share of a core", &|spent| Some(format!("{} %", counted(spent.cpu_percent.round()))));
        row("units per CPU second", &|spent| Some(counted(spent.units_per_cpu_second.round())));
        row("CPU per unit", &|spent| Some(time(spent.cpu_ns_per_unit, 3)));
        row("voluntary switches", &|spent| Some(counted(spent.voluntary_switches as f64)));
        row("involuntary switches", &|spent| Some(counted(spent.involuntary_switches as f64)));
        row("system calls", &|spent| {
            let each = |calls: u64| counted(ratio(calls as f64, units as f64));
            spent.system_calls.map(|calls| format!("{} ({} for each)", counted(calls as f64), each(calls)))
        });
        row("memory (PSS)", &|spent| spent.memory.map(|memory| spelled(memory.pss_bytes as f64, "bytes")));
        row("memory (RSS)", &|spent| spent.memory.map(|memory| spelled(memory.rss_bytes as f64, "bytes")));
        self.end_table();
    }

    /// The scenario's own figures.
    pub(super) fn figures(&mut self, run: &Outcome) {
        if run.figures.is_empty() {
            return;
        }
        self.begin("Further figures", "What this scenario measures besides.");
        self.head(&["", "measured"]);
        for figure in &run.figures {
            self.html.open("tr", &[]);
            self.named(&figure.name, meaning(&figure.name));
            self.html.element("td", &[], &spelled(figure.value, figure.unit)).close();
        }
        self.end_table();
    }

    /// Both sides of each round.
    pub(super) fn rounds(&mut self, all: &Comparison) {
        self.begin(
            "Round by round",
            "Both sides run in turn, each time with a new process and new connections, and change places every round: what else the machine \
             did hits both. Each line joins the CPU time that one cost on both sides of a round; to the left is cheaper.",
        );
        self.html.open("figure", &[]).open("div", &[("class", "legend".into())]);
        for (name, class) in [("broker", "a"), (all.yardstick, "b")] {
            self.html.open("span", &[("class", Value::Text(class))]).element("i", &[], "").text(name).close();
        }
        self.html.close();
        let pairs: Vec<(f64, f64)> =
            all.rounds.iter().map(|pair| (pair.broker.cost(), pair.yardstick.cost())).collect();
        for (width, class) in WIDTHS {
            chart::pairs(self.html, &pairs, width, class);
        }
        self.html.close();
        let other = format!("CPU each, {}", all.yardstick);
        self.head(&["round", "CPU each, broker", &other, "speed over it"]);
        for (number, pair) in all.rounds.iter().enumerate() {
            let costs = [pair.broker.cost(), pair.yardstick.cost()].map(|cost| time(cost, 3));
            self.html.open("tr", &[]).element("td", &[], &(number + 1).to_string());
            self.html.element("td", &[], &costs[0]).element("td", &[], &costs[1]);
            self.html.element("td", &[], &format!("{:.3}", ratio(1.0, pair.ratio))).close();
        }
        self.end_table();
    }

    /// What follows is of one round.
    pub(super) fn middle(&mut self, number: usize, of: usize) {
        let about = format!(
            "What follows is of round {number} of {of}, whose ratio is in the middle; the raw data at the end has all."
        );
        self.html.element("p", &[("class", "soft".into())], &about);
    }

    /// What was run, and where.
    pub(super) fn setting(&mut self, setting: &Setting, notes: &[String], shape: &Json) {
        self.begin("What was run", "To run it again, on this machine or another.");
        self.html
            .open("div", &[("class", "scroll".into())])
            .open("table", &[("class", "facts".into())])
            .open("tbody", &[]);
        self.html.open("tr", &[]).element("td", &[], "command").open("td", &[]);
        self.html.element("code", &[], &setting.command).close().close();
        for (name, value) in &setting.facts {
            self.html.open("tr", &[]).element("td", &[], name).element("td", &[], value).close();
        }
        if let Json::Object(shape) = shape {
            let known = shape.iter().filter(|(_, value)| !value.is_null());
            let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let all: Vec<String> =
                known.map(|(name, value)| format!("{} {}", name.replace('_', " "), text(value))).collect();
            self.html.open("tr", &[]).element("td", &[], "shape").element("td", &[], &all.join(", ")).close();
        }
        self.html.close().close().close();
        for note in notes {
            self.html.element("p", &[("class", "note".into())], note);
        }
    }

    /// Everything, as `--json` prints it.
    pub(super) fn raw(&mut self, outcome: &impl Serialize) {
        // Numbers, text and lists: there is nothing in it that JSON cannot say.
        let text = serde_json::to_string(outcome).unwrap_or_default();
        self.begin("Raw data", "The same object that --json prints, with all that this page is drawn from.");
        self.html.open("details", &[]).element(
            "summary",
            &[],
            &format!("{} bytes of JSON", counted(text.len() as f64)),
        );
        let shown = if text.len() <= RAW_BYTES_MAX { text.as_str() } else { "too long for a page: run it with --json" };
        self.html.element("pre", &[("id", "raw".into())], shown).close();
    }

    fn head(&mut self, names: &[&str]) {
        self.html.open("div", &[("class", "scroll".into())]).open("table", &[]).open("thead", &[]).open("tr", &[]);
        for name in names {
            self.html.element("th", &[], name);
        }
        self.html.close().close().open("tbody", &[]);
    }

    fn named(&mut self, name: &str, meaning: Option<&str>) {
        self.html.open("td", &[]).text(name);
        if let Some(meaning) = meaning {
            self.html.element("small", &[], meaning);
        }
        self.html.close();
    }

    fn end_table(&mut self) {
        self.html.close().close().close();
    }
}

/// A curve's name, with its unit unless the axis says it.
fn titled(series: &Series) -> String {
    match series.unit {
        "ns" | "bytes" => series.name.clone(),
        unit => format!("{}, {unit}", series.name),
    }
}

/// The words with which all names of a group begin.
/// Whose durations a figure shows.
fn whose(group: &[&Series]) -> String {
    let name = common(group).trim_end_matches([',', ' ']);
    let alone = ["first", "median", "last"].contains(&name);
    if alone { format!("{name} subscriber") } else { name.to_owned() }
}

fn common<'a>(group: &[&'a Series]) -> &'a str {
    let Some(first) = group.first() else { return "" };
    let ends = first.name.match_indices([' ', ',']).map(|(at, _)| at);
    let begin = ends.filter(|at| group.iter().all(|one| one.name.starts_with(&first.name[..*at]))).max();
    &first.name[..begin.unwrap_or(0)]
}
