//! The page of `--report`: one HTML file that says what was run, what came of it and what each figure means, for somebody
//! who was not there. It asks for nothing from elsewhere and runs no script.
//! `report` hands it the same outcome that the table and `--json` are made of; `Place` says where it goes.
//! Invariants: the verdict comes first; whatever is not a literal of this program is escaped; a figure that is not known is
//! absent; the page's policy forbids the browser to load anything.

mod chart;
mod html;
mod place;
mod scale;
mod sections;
mod setting;
mod words;

use html::Html;
use sections::Sections;
use words::{counted, meaning, spelled};

use crate::report::{Comparison, KNEE, Outcome};
use crate::stats::ratio;

pub(crate) use place::Place;
pub(crate) use setting::Setting;

/// Nothing is loaded and nothing runs; the style is in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The page of one run.
pub(crate) fn of_run(run: &Outcome, setting: &Setting) -> String {
    let mut html = begin(run.scenario, &run.title, setting);
    verdict(&mut html, run.passed, &verdict_of(run), &[run]);
    doubts(&mut html, run);
    key_figures(&mut html, &figures_of(run));
    let mut sections = Sections { html: &mut html };
    sections.latencies(run);
    sections.steps(run);
    sections.over_time(run);
    sections.cost(&[("server", run.server.as_ref()), ("load generator", Some(&run.load))], run.unit, run.units);
    sections.figures(run);
    sections.setting(setting, &run.notes, &run.shape);
    sections.raw(run);
    end(html)
}

/// The page of all rounds against a yardstick.
pub(crate) fn of_comparison(all: &Comparison, setting: &Setting) -> String {
    let Some(first) = all.rounds.first() else {
        let html = begin(&all.scenario, "No round was run", setting);
        return end(html);
    };
    let mut html = begin(&all.scenario, &first.broker.title, setting);
    let runs: Vec<&Outcome> = all.rounds.iter().flat_map(|pair| [&pair.broker, &pair.yardstick]).collect();
    verdict(&mut html, all.passed, &verdict_of_all(all, &runs), &runs);
    key_figures(&mut html, &figures_of_all(all, first.broker.unit));
    // The round in the middle stands for all: neither the best nor the worst is shown.
    let mut by_ratio: Vec<_> = all.rounds.iter().collect();
    by_ratio.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    let middle = by_ratio[by_ratio.len() / 2];
    let number = all.rounds.iter().position(|pair| std::ptr::eq(pair, middle)).unwrap_or_default() + 1;
    let mut sections = Sections { html: &mut html };
    sections.rounds(all);
    let costs = [("broker", middle.broker.server.as_ref()), (all.yardstick, middle.yardstick.server.as_ref())];
    let costs = [costs[0], costs[1], ("load, broker's turn", Some(&middle.broker.load))];
    sections.middle(number, all.rounds.len());
    sections.cost(&costs, middle.broker.unit, middle.broker.units);
    sections.latencies(&middle.broker);
    sections.steps(&middle.broker);
    sections.over_time(&middle.broker);
    sections.figures(&middle.broker);
    sections.setting(setting, &first.broker.notes, &first.broker.shape);
    sections.raw(all);
    end(html)
}

fn begin(scenario: &str, title: &str, setting: &Setting) -> Html {
    let mut html = Html::beginning(place::FIRST_LINE);
    html.open("html", &[("lang", "en".into())]).open("head", &[]);
    html.open("meta", &[("charset", "utf-8".into())]);
    html.open("meta", &[("http-equiv", "Content-Security-Policy".into()), ("content", POLICY.into())]);
    let view = "width=device-width, initial-scale=1";
    html.open("meta", &[("name", "viewport".into()), ("content", view.into())]);
    html.element("title", &[], &format!("{scenario}: {title}"));
    html.style(include_str!("page/style.css")).close();
    html.open("body", &[]).open("main", &[]);
    let kind = format!("wirefan-loadtest {} · {scenario} · {}", env!("CARGO_PKG_VERSION"), setting.when);
    html.element("p", &[("class", "kind".into())], &kind);
    html.element("h1", &[], title);
    html
}

fn end(mut html: Html) -> String {
    let about = "Latencies count from the moment at which a publication was due, not from when it could be sent: a server that stalls \
                 is charged for everything that waited. Sequence and bytes of every delivery were checked. Over loopback the sender \
                 pays for the receiver's half of TCP as well: compare ratios, not absolute costs.";
    html.element("footer", &[], about);
    html.finish()
}

fn verdict(html: &mut Html, passed: bool, sentence: &str, runs: &[&Outcome]) {
    let class = if passed { "verdict" } else { "verdict failed" };
    html.open("div", &[("class", class.into())]);
    html.element("b", &[], if passed { "Passed. " } else { "Failed. " }).text(sentence);
    let sentences: Vec<&String> = runs.iter().flat_map(|run| &run.faults.sentences).take(8).collect();
    if !sentences.is_empty() {
        html.open("ul", &[("class", "faults".into())]);
        for sentence in sentences {
            html.element("li", &[], sentence);
        }
        html.close();
    }
    html.close();
}

/// Why the figures may be the load generator's and not the server's.
fn doubts(html: &mut Html, run: &Outcome) {
    for doubt in run.doubts() {
        html.open("div", &[("class", "verdict doubt".into())]);
        html.element("b", &[], "But: ").text(&doubt).close();
    }
}

/// The highest rate that held, if the run looked for it.
fn knee(run: &Outcome) -> Option<f64> {
    run.figures.iter().find(|figure| figure.name == KNEE).map(|figure| figure.value).filter(|rate| *rate > 0.0)
}

/// What went wrong, counted; nothing if nothing did.
fn faults_of(runs: &[&Outcome]) -> Option<String> {
    let mut all = crate::verify::Faults::default();
    runs.iter().for_each(|run| all.merge(run.faults.clone()));
    let named = [
        (all.lost, "lost"),
        (all.doubled, "doubled"),
        (all.out_of_order, "out of order"),
        (all.disordered, "subscribers with another order than others"),
        (all.misdelivered, "delivered to the wrong subscriber"),
        (all.mangled, "with other bytes"),
        (all.position_breaks, "breaks of positions"),
        (all.errors, "error replies"),
        (all.unexpected, "messages that nobody asked for"),
        (all.closed, "connections closed"),
        (all.not_recovered, "returns not recovered"),
        (all.overflow_breaks, "breaks of the overflow rule"),
    ];
    let told: Vec<String> = named
        .iter()
        .filter(|one| one.0 > 0)
        .map(|(count, what)| format!("{} {what}", counted(*count as f64)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn verified(units: u64, unit: &str) -> String {
    let units = counted(units as f64);
    format!("All {units} {unit} were verified: nothing was lost, doubled, out of order, changed or misdelivered.")
}

fn verdict_of(run: &Outcome) -> String {
    match faults_of(&[run]) {
        None if run.passed => match knee(run) {
            Some(rate) => format!(
                "Up to {} publications per second held. {}",
                counted(rate.round()),
                verified(run.units, &format!("{} at that rate", run.unit))
            ),
            None => verified(run.units, run.unit),
        },
        None if run.units == 0 => format!("There were no {}: nothing was shown.", run.unit),
        None => "Not everything was as it has to be.".to_owned(),
        Some(faults) => format!("Of {} {}: {faults}.", counted(run.units as f64), run.unit),
    }
}

fn verdict_of_all(all: &Comparison, runs: &[&Outcome]) -> String {
    let units = runs.iter().map(|run| run.units).sum();
    let unit = runs.first().map_or("", |run| run.unit);
    if let Some(faults) = faults_of(runs) {
        return format!("Of {} {unit} in {} rounds: {faults}.", counted(units as f64), all.rounds.len());
    }
    if !all.passed {
        return "Not everything was as it has to be.".to_owned();
    }
    let speed = ratio(1.0, all.ratio);
    format!(
        "For the same CPU time the broker does {} times as many {unit} as the {}, by the medians of {} rounds. {}",
        spelled(speed, ""),
        all.yardstick,
        all.rounds.len(),
        verified(units, unit)
    )
}

type Key = (String, String);

fn key_figures(html: &mut Html, all: &[Key]) {
    html.open("div", &[("class", "key".into())]);
    for (figure, meaning) in all {
        html.open("div", &[]).element("strong", &[], figure).element("span", &[], meaning).close();
    }
    html.close();
}

fn figures_of(run: &Outcome) -> Vec<Key> {
    let held = knee(run).map(|rate| {
        let told = "publications per second: the highest rate that held, at which all other figures were measured";
        (format!("{} / s", counted(rate.round())), told.to_owned())
    });
    let mut keys: Vec<Key> = held.into_iter().collect();
    keys.push((
        format!("{} / s", counted(ratio(run.units as f64, run.seconds).round())),
        format!("{} per second of the clock, over {}", run.unit, words::time(run.seconds * 1e9, 3)),
    ));
    if let Some(server) = &run.server {
        let each = words::time(server.cpu_ns_per_unit, 3);
        let told = format!("{} per CPU second of the server: {each} each", run.unit);
        keys.push((counted(server.units_per_cpu_second.round()), told));
    }
    let last = run.latencies.iter().find(|one| one.name == "last subscriber").or_else(|| run.latencies.first());
    if let Some(last) = last.filter(|one| one.percentiles.count > 0) {
        let (half, most) = (last.percentiles.p50_ns as f64, last.percentiles.p99_ns as f64);
        let told = format!("{}, half of the time; in 99 of 100 cases within {}", last.name, words::time(most, 3));
        keys.push((words::time(half, 3), told));
    }
    if let Some(memory) = run.server.and_then(|server| server.memory) {
        keys.push((spelled(memory.pss_bytes as f64, "bytes"), "memory of the server at the end (PSS)".to_owned()));
    }
    keys
}

fn figures_of_all(all: &Comparison, unit: &str) -> Vec<Key> {
    let other = all.yardstick;
    let rounds = all.rounds.iter().map(|pair| ratio(1.0, pair.ratio));
    let (least, most) = (rounds.clone().fold(f64::INFINITY, f64::min), rounds.fold(0.0, f64::max));
    vec![
        (
            counted(all.broker_units_per_cpu_second.round()),
            format!("{unit} per CPU second, broker, median of the rounds"),
        ),
        (counted(all.yardstick_units_per_cpu_second.round()), format!("{unit} per CPU second, {other}")),
        (
            format!("{:.3}", ratio(1.0, all.ratio)),
            format!("the broker's speed over that of the {other}; {least:.3} to {most:.3} by round"),
        ),
        (format!("{:.3}", ratio(1.0, all.ratio_of_best_rounds)), "the same between the best rounds of both".to_owned()),
    ]
}

#[cfg(test)]
mod tests;
