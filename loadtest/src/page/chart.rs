//! Histograms, curves and pairs of dots, as SVG.
//! The sections of the page call one function per figure; the style sheet colours the classes.
//! Invariants: text is as large as it says at the width that is given; every figure has a title for those who cannot see it.

use super::html::{Html, Value};
use super::scale::Scale;
use super::words::{short, spelled, time};
use crate::report::{Distribution, Series};
use crate::stats::Percentiles;

/// Room for what is written beside and below an axis, in pixels.
const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const BELOW: f64 = 22.0;
/// Height of one histogram, of its percentiles' names included.
const PANEL: f64 = 118.0;
const NAMES: f64 = 46.0;
/// One bucket is so much wider than its beginning: eight of them double.
const BUCKET_STEP: f64 = 1.0905;
/// A letter's width, in pixels: names are not written over one another.
const LETTER: f64 = 6.6;

fn begin(html: &mut Html, width: f64, height: f64, class: &'static str, title: &str) {
    let mut size = String::from("0 0 ");
    super::html::number_into(&mut size, width);
    size.push(' ');
    super::html::number_into(&mut size, height);
    html.open("svg", &[("viewBox", Value::Text(&size)), ("class", class.into()), ("role", "img".into())]);
    html.element("title", &[], title);
}

fn line(html: &mut Html, class: &'static str, from: (f64, f64), to: (f64, f64)) {
    let ends = [("x1", from.0.into()), ("y1", from.1.into()), ("x2", to.0.into()), ("y2", to.1.into())];
    html.shape("line", &[("class", class.into()), ends[0], ends[1], ends[2], ends[3]]);
}

fn label(html: &mut Html, class: &'static str, at: (f64, f64), text: &str) {
    html.element("text", &[("class", class.into()), ("x", at.0.into()), ("y", at.1.into())], text);
}

/// A group of histograms over one axis of time.
pub(super) fn histograms(html: &mut Html, all: &[&Distribution], width: f64, class: &'static str) {
    let height = PANEL * all.len() as f64 + BELOW;
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    begin(html, width, height, class, &format!("Latency histograms: {}", names.join(", ")));
    let ends = all.iter().flat_map(|one| {
        let first = one.buckets.first().map_or(0.0, |bucket| bucket.up_to_ns as f64 / BUCKET_STEP);
        [first, one.buckets.last().map_or(0.0, |bucket| bucket.up_to_ns as f64), one.percentiles.max_ns as f64]
    });
    let x = Scale::log(ends, 8.0, width - RIGHT);
    for mark in x.marks() {
        line(html, "grid", (x.at(mark), NAMES - 26.0), (x.at(mark), height - BELOW));
        label(html, "mark middle", (x.at(mark), height - 6.0), &short(mark, "ns"));
    }
    for (number, one) in all.iter().enumerate() {
        histogram(html, one, &x, PANEL * number as f64, width);
    }
    html.close();
}

fn histogram(html: &mut Html, one: &Distribution, x: &Scale, top: f64, width: f64) {
    let floor = top + PANEL;
    label(html, "name", (8.0, top + 16.0), &one.name);
    let most = one.buckets.iter().map(|bucket| bucket.count).max().unwrap_or(1) as f64;
    for bucket in &one.buckets {
        let (from, to) = (x.at(bucket.up_to_ns as f64 / BUCKET_STEP), x.at(bucket.up_to_ns as f64));
        // A single publication among a million is still to be seen.
        let height = ((PANEL - NAMES - 8.0) * bucket.count as f64 / most).max(1.5);
        let (place, size) = (("x", from.into()), ("width", (to - from - 0.6).max(0.8).into()));
        html.shape(
            "rect",
            &[("class", "bar".into()), place, ("y", (floor - height).into()), size, ("height", height.into())],
        );
    }
    line(html, "axis", (8.0, floor), (width - RIGHT, floor));
    percentiles(html, &one.percentiles, x, top, width);
}

/// Lines at the percentiles, each with its name; a name that has no room goes one line higher, and without one if there is none either.
fn percentiles(html: &mut Html, all: &Percentiles, x: &Scale, top: f64, width: f64) {
    let marked = [("p50", all.p50_ns), ("p99", all.p99_ns), ("p99.9", all.p999_ns), ("max", all.max_ns)];
    let (mut ends, mut last) = ([f64::NEG_INFINITY; 2], f64::NEG_INFINITY);
    let mut names = Vec::new();
    for (name, ns) in marked {
        let at = x.at(ns as f64);
        let text = format!("{name} {}", time(ns as f64, 3));
        let length = text.chars().count() as f64 * LETTER;
        let begin = (at + 3.0).min(width - RIGHT - length);
        let row = ends.iter().position(|end| begin > end + 8.0);
        // What falls together has one line and one name.
        let Some(row) = row.filter(|_| (at - last).abs() >= 1.0) else {
            line(html, "percentile", (at, top + NAMES - 4.0), (at, top + PANEL));
            continue;
        };
        let y = top + NAMES - 6.0 - 14.0 * row as f64;
        line(html, "percentile", (at, y - 8.0), (at, top + PANEL));
        names.push((begin, y, text));
        (ends[row], last) = (begin + length, at);
    }
    for (begin, y, text) in names {
        label(html, "percentile-name", (begin, y), &text);
    }
}

/// How a chart's y axis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rise {
    /// From nothing, evenly.
    Linear,
    /// In powers of ten.
    Log,
}

/// What is drawn besides the curves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Besides {
    /// A line at which as much comes out as goes in.
    pub(super) diagonal: bool,
    /// Where the knee is, on the x axis.
    pub(super) knee: Option<f64>,
}

/// Curves of one unit over one axis; each point is marked where there are few.
pub(super) fn curves(html: &mut Html, all: &[&Series], rise: Rise, besides: Besides) {
    const WIDTH: f64 = 440.0;
    const HEIGHT: f64 = 190.0;
    let Some(first) = all.first() else { return };
    let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    begin(html, WIDTH, HEIGHT, "chart", &format!("{} ({}) along {}", names.join(", "), first.unit, first.along));
    let points = || all.iter().flat_map(|one| one.points.iter());
    let over_time = first.along == "seconds";
    let x_values = points().map(|point| point.0).chain(over_time.then_some(0.0));
    let x = Scale::exact(x_values, LEFT, WIDTH - RIGHT);
    let make = match (rise, first.unit) {
        (Rise::Log, _) => Scale::log,
        (Rise::Linear, "bytes") => Scale::binary,
        (Rise::Linear, _) => Scale::linear,
    };
    let y = make(points().map(|point| point.1), HEIGHT - BELOW, 12.0);
    for mark in y.marks() {
        line(html, "grid", (LEFT, y.at(mark)), (WIDTH - RIGHT, y.at(mark)));
        label(html, "mark end", (LEFT - 6.0, y.at(mark) + 4.0), &short(mark, first.unit));
    }
    for mark in x.marks() {
        let text = if over_time { format!("{} s", short(mark, "")) } else { short(mark, "") };
        label(html, "mark middle", (x.at(mark), HEIGHT - 5.0), &text);
    }
    line(html, "axis", (LEFT, HEIGHT - BELOW), (WIDTH - RIGHT, HEIGHT - BELOW));
    if besides.diagonal {
        let (low, high) = x.shared_with(&y);
        line(html, "diagonal", (x.at(low), y.at(low)), (x.at(high), y.at(high)));
    }
    if let Some(knee) = besides.knee.filter(|knee| x.holds(*knee)) {
        line(html, "knee", (x.at(knee), 12.0), (x.at(knee), HEIGHT - BELOW));
        let text = format!("knee {}", short(knee, ""));
        let left = x.at(knee) > WIDTH * 0.7;
        let (class, away) = if left { ("percentile-name end", -4.0) } else { ("percentile-name", 4.0) };
        label(html, class, (x.at(knee) + away, 22.0), &text);
    }
    for (number, one) in all.iter().enumerate() {
        curve(html, one, (&x, &y), CURVES[number % CURVES.len()]);
    }
    html.close();
}

/// The classes of a chart's curves.
pub(super) const CURVES: [&str; 4] = ["curve a", "curve b", "curve c", "curve d"];
/// Up to so many points are marked each.
const DOTS_MAX: usize = 24;

fn curve(html: &mut Html, one: &Series, (x, y): (&Scale, &Scale), class: &'static str) {
    let mut path = String::new();
    for (at, value) in &one.points {
        path.push_str(if path.is_empty() { "M" } else { "L" });
        super::html::number_into(&mut path, x.at(*at));
        path.push(' ');
        super::html::number_into(&mut path, y.at(*value));
    }
    html.shape("path", &[("class", class.into()), ("d", Value::Text(&path))]);
    if one.points.len() <= DOTS_MAX {
        for (at, value) in &one.points {
            let place = [("cx", x.at(*at).into()), ("cy", y.at(*value).into())];
            html.shape("circle", &[("class", class.into()), place[0], place[1], ("r", 2.4.into())]);
        }
    }
}

/// Two dots per round over one axis from 0: what a unit cost both sides, in nanoseconds.
pub(super) fn pairs(html: &mut Html, all: &[(f64, f64)], width: f64, class: &'static str) {
    const ROW: f64 = 22.0;
    let height = ROW * all.len() as f64 + BELOW + 6.0;
    begin(html, width, height, class, "What one costs in CPU time, round by round, on both sides");
    let x = Scale::linear(all.iter().flat_map(|pair| [pair.0, pair.1]), 70.0, width - RIGHT - 16.0);
    for mark in x.marks() {
        line(html, "grid", (x.at(mark), 4.0), (x.at(mark), height - BELOW));
        label(html, "mark middle", (x.at(mark), height - 6.0), &short(mark, "ns"));
    }
    for (number, (broker, other)) in all.iter().enumerate() {
        let y = ROW * (number as f64 + 0.5) + 4.0;
        label(html, "mark", (0.0, y + 4.0), &format!("round {}", number + 1));
        line(html, "between", (x.at(*broker), y), (x.at(*other), y));
        for (class, value) in [("dot b", other), ("dot a", broker)] {
            html.open(
                "circle",
                &[("class", class.into()), ("cx", x.at(*value).into()), ("cy", y.into()), ("r", 5.0.into())],
            );
            html.element("title", &[], &spelled(*value, "ns")).close();
        }
    }
    html.close();
}
