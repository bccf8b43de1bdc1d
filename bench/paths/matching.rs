//! Topics: their names checked, the wildcard filters that match them found, anew and remembered.

use std::hint::black_box;

use wirefan::topic::{Filter, MatchCache, Matcher, Topic};

use super::{HotPath, Work, each};

const FILTERS: u32 = 10_000;
const TOPICS: u32 = 256;

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "topic", units, make };
    vec![
        path("topic: a name of 40 B", 1, names),
        path("topic: match among 10,000 filters", TOPICS, matches),
        path("topic: match remembered", TOPICS, remembered),
        path("topic: filter in and out", 1, change),
    ]
}

fn names() -> Box<dyn Work> {
    let name = "tenants/4711/devices/0a1b2c3d/telemetry1";
    each(move || assert!(Topic::parse(black_box(name)).is_ok()))
}

fn matcher() -> (Matcher, Vec<String>) {
    let mut matcher = Matcher::new(7);
    for number in 0..FILTERS {
        let filter = format!("chat/room-{number}/+");
        matcher.insert(Filter::known(&filter), number);
    }
    let topics = (0..TOPICS).map(|n| format!("chat/room-{}/text", n.wrapping_mul(2_654_435_761) % FILTERS)).collect();
    (matcher, topics)
}

fn matches() -> Box<dyn Work> {
    let (matcher, topics) = matcher();
    let mut found = Vec::new();
    each(move || {
        for topic in &topics {
            found.clear();
            matcher.find(Topic::known(topic), &mut found);
            assert_eq!(black_box(&found).len(), 1);
        }
    })
}

fn remembered() -> Box<dyn Work> {
    let (matcher, topics) = matcher();
    let mut cache = MatchCache::new(7);
    let mut round = move || {
        for topic in &topics {
            assert_eq!(black_box(cache.find(&matcher, Topic::known(topic))).len(), 1);
        }
    };
    round();
    each(round)
}

fn change() -> Box<dyn Work> {
    let (mut matcher, _) = matcher();
    each(move || {
        let filter = Filter::known(black_box("chat/new/+"));
        matcher.insert(filter, 1);
        matcher.remove(filter);
    })
}
