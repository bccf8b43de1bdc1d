//! What it costs to find the wildcard filters of a topic: with 100, 10,000 and 100,000 filters, cached and not.
//!
//! `cargo bench --bench topic_match`. `rooms`: filters that differ in their second level; `deep`: 6 levels of few
//! names; `firsts`: filters that differ in the first; `worst`: 1,000 filters (one connection's) made to be visited.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use wirefan::topic::{Filter, MatchCache, Matcher, PLUS_FILTER_LEVELS_MAX, Topic};

fn matcher(filters: impl Iterator<Item = String>) -> Matcher {
    let mut matcher = Matcher::new(7);
    for (value, text) in (0..).zip(filters) {
        let filter = Filter::parse(&text).expect("a valid filter");
        matcher.insert(filter, value);
    }
    matcher
}

/// The digits of a number, a level each.
fn deep(number: u32) -> String {
    let digits: Vec<String> = format!("{number:05}").chars().map(String::from).collect();
    digits.join("/")
}

/// 1,024 topics in the order of no filter.
fn topics(count: u32, name: impl Fn(u32) -> String) -> Vec<String> {
    (0..1024u32).map(|n| name(n.wrapping_mul(2_654_435_761) % count)).collect()
}

type Name = fn(u32) -> String;

/// A shape's name, its filters, and a topic that each filter matches.
const SHAPES: [(&str, Name, Name); 3] = [
    ("rooms", |n| format!("chat/room-{n}/+"), |n| format!("chat/room-{n}/text")),
    ("deep", |n| format!("{}/#", deep(n)), |n| format!("{}/x", deep(n))),
    ("firsts", |n| format!("user-{n}/+"), |n| format!("user-{n}/inbox")),
];

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    for (shape, filter, topic) in SHAPES {
        for count in [100, 10_000, 100_000] {
            let matcher = matcher((0..count).map(filter));
            let topics = topics(count, topic);
            let mut next = topics.iter().cycle();
            let mut out = Vec::new();
            group.bench_function(BenchmarkId::new(shape, count), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    let topic = next.next().expect("it cycles");
                    matcher.find(Topic::known(topic), &mut out);
                    assert_eq!(black_box(&out).len(), 1);
                });
            });
        }
    }
    group.finish();
}

fn cached(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cached");
    for count in [100, 10_000, 100_000] {
        let (_, filter, topic) = SHAPES[0];
        let matcher = matcher((0..count).map(filter));
        let topics = topics(count, topic);
        for (name, topics) in [("hit", &topics[..256]), ("one topic", &topics[..1])] {
            let mut cache = MatchCache::new(7);
            let mut next = topics.iter().cycle();
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| {
                    let topic = next.next().expect("it cycles");
                    black_box(cache.find(&matcher, Topic::known(topic)));
                });
            });
        }
        let names: Vec<String> = (0..100_000).map(|n| format!("chat/room-{}/{n}", n % count)).collect();
        let mut cache = MatchCache::new(7);
        let mut next = names.iter().cycle();
        group.bench_function(BenchmarkId::new("miss", count), |bencher| {
            bencher.iter(|| {
                let topic = next.next().expect("it cycles");
                black_box(cache.find(&matcher, Topic::known(topic)));
            });
        });
    }
    group.finish();
}

fn worst(criterion: &mut Criterion) {
    let level = |value: u32, at: usize| match at {
        0..10 if (value >> at) & 1 == 1 => "+",
        _ if at + 1 == PLUS_FILTER_LEVELS_MAX => "x",
        _ => "a",
    };
    let filters = (0..1000).map(|value| {
        let levels: Vec<_> = (0..PLUS_FILTER_LEVELS_MAX).map(|at| level(value, at)).collect();
        levels.join("/")
    });
    let matcher = matcher(filters);
    let topic = ["a"; PLUS_FILTER_LEVELS_MAX].join("/");
    let mut out = Vec::new();
    criterion.bench_function("worst/1000", |bencher| {
        bencher.iter(|| matcher.find(Topic::known(&topic), black_box(&mut out)));
    });
}

fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert and remove");
    for count in [100, 100_000] {
        let mut matcher = matcher((0..count).map(SHAPES[0].1));
        let names: Vec<String> = (0..1024).map(|n| format!("chat/new-{n}/+")).collect();
        let mut next = names.iter().cycle();
        group.bench_function(BenchmarkId::new("rooms", count), |bencher| {
            bencher.iter(|| {
                let filter = Filter::known(next.next().expect("it cycles"));
                matcher.insert(filter, 1);
                matcher.remove(filter)
            });
        });
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse a topic");
    let long = "chat/room-".repeat(25);
    for text in ["chat/room-17", "tenants/4711/devices/0a1b2c3d/telemetry", &long] {
        group.bench_function(BenchmarkId::from_parameter(text.len()), |bencher| {
            bencher.iter(|| Topic::parse(black_box(text)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, find, cached, worst, change, parse);
criterion_main!(benches);
