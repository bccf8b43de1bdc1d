//! The matcher against the definition, `Filter::matches`, and against its own promise to own nothing in the end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::topic::PLUS_FILTER_LEVELS_MAX;

fn filter(text: &str) -> Filter<'_> {
    Filter::parse(text).unwrap()
}

/// No filter matches.
const NOTHING: [u32; 0] = [];

fn found(matcher: &Matcher, topic: &str) -> Vec<u32> {
    let mut out = Vec::new();
    matcher.find(Topic::parse(topic).unwrap(), &mut out);
    out.sort_unstable();
    out
}

/// Nothing but the root is left.
#[track_caller]
fn assert_owns_nothing(matcher: &Matcher) {
    assert!(matcher.is_empty());
    assert_eq!(matcher.nodes.len(), 1);
    assert!(matcher.nodes[0].is_bare());
    assert!(matcher.edges.is_empty() && matcher.levels.is_empty());
}

#[test]
fn a_topic_meets_every_filter_that_stands_for_it_once() {
    let mut matcher = Matcher::new(1);
    let filters = ["#", "+", "chat/#", "chat/+", "chat/+/#", "+/1", "+/+", "chat/1", "chat/1/#", "$sys/#", "$sys/+"];
    for (value, text) in (0..).zip(filters) {
        assert_eq!(matcher.insert(filter(text), value), None);
    }
    assert_eq!(matcher.len(), filters.len());
    assert_eq!(found(&matcher, "chat"), [0, 1, 2]);
    assert_eq!(found(&matcher, "chat/1"), [0, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(found(&matcher, "chat/1/x"), [0, 2, 4, 8]);
    assert_eq!(found(&matcher, "news"), [0, 1]);
    assert_eq!(found(&matcher, "$sys/load"), [9, 10]);
    assert_eq!(found(&matcher, "$sys"), [9]);
    assert_eq!(found(&matcher, "$other/load"), NOTHING);
}

#[test]
fn find_appends_to_what_is_there() {
    let mut matcher = Matcher::new(1);
    matcher.insert(filter("a/+"), 7);
    let mut out = vec![1, 2];
    matcher.find(Topic::known("a/b"), &mut out);
    assert_eq!(out, [1, 2, 7]);
}

#[test]
fn a_filter_has_one_value_and_each_change_a_new_generation() {
    let mut matcher = Matcher::new(1);
    let mut generations = vec![matcher.generation()];
    assert_eq!(matcher.insert(filter("a/+"), 1), None);
    generations.push(matcher.generation());
    assert_eq!(matcher.insert(filter("a/+"), u32::MAX), Some(1));
    generations.push(matcher.generation());
    assert_eq!((matcher.len(), found(&matcher, "a/b")), (1, vec![u32::MAX]));
    assert_eq!(matcher.remove(filter("a/#")), None);
    assert_eq!(matcher.remove(filter("a")), None);
    assert_eq!(matcher.remove(filter("b/+")), None);
    assert_eq!(matcher.generation(), generations[2]);
    assert_eq!(matcher.remove(filter("a/+")), Some(u32::MAX));
    generations.push(matcher.generation());
    assert_eq!(matcher.remove(filter("a/+")), None);
    assert_owns_nothing(&matcher);
    generations.dedup();
    assert_eq!(generations.len(), 4);
}

#[test]
fn a_removed_filter_leaves_those_around_it_alone() {
    let filters = ["#", "a/#", "a", "a/+", "a/+/c", "a/b/c", "a/b/#", "+/b", "+/#"];
    for gone in filters {
        let mut matcher = Matcher::new(1);
        for (value, text) in (0..).zip(filters) {
            matcher.insert(filter(text), value);
        }
        assert!(matcher.remove(filter(gone)).is_some());
        for topic in ["a", "a/b", "a/b/c", "a/x/c", "x/b", "x"] {
            let expected: Vec<u32> = (0..)
                .zip(filters)
                .filter(|(_, text)| *text != gone && filter(text).matches(Topic::known(topic)))
                .map(|(value, _)| value)
                .collect();
            assert_eq!(found(&matcher, topic), expected, "{gone} {topic}");
        }
    }
}

#[test]
fn the_deepest_names_overflow_nothing() {
    let mut matcher = Matcher::new(1);
    let topic = ["a"; 128].join("/");
    let below = format!("{}/#", ["a"; 127].join("/"));
    let plus = ["+"; PLUS_FILTER_LEVELS_MAX].join("/");
    matcher.insert(filter(&topic), 0);
    matcher.insert(filter(&below), 1);
    matcher.insert(filter(&plus), 2);
    assert_eq!(found(&matcher, &topic), [0, 1]);
    assert_eq!(found(&matcher, &["a"; PLUS_FILTER_LEVELS_MAX].join("/")), [2]);
    for text in [&topic, &below, &plus] {
        assert!(matcher.remove(filter(text)).is_some());
    }
    assert_owns_nothing(&matcher);
}

/// Inserts 100,000 filters, looks some up, removes all.
fn hundred_thousand(name: impl Fn(u32) -> String, topic: impl Fn(u32) -> String) {
    const COUNT: u32 = 100_000;
    let mut matcher = Matcher::new(3);
    for value in 0..COUNT {
        assert_eq!(matcher.insert(filter(&name(value)), value), None);
    }
    assert_eq!(matcher.len(), COUNT as usize);
    for value in (0..COUNT).step_by(997) {
        assert_eq!(found(&matcher, &topic(value)), [value]);
    }
    for value in 0..COUNT {
        // An order that is not the order of insertion.
        let value = (value * 7919) % COUNT;
        assert_eq!(matcher.remove(filter(&name(value))), Some(value));
    }
    assert_owns_nothing(&matcher);
    assert!(matcher.nodes.capacity() <= KEPT_NODES, "memory is given back");
}

#[test]
fn a_hundred_thousand_filters_that_differ_in_the_first_level() {
    hundred_thousand(|n| format!("user-{n}/+"), |n| format!("user-{n}/inbox"));
}

#[test]
fn a_hundred_thousand_filters_that_differ_in_the_last_level() {
    hundred_thousand(|n| format!("+/of/{n}/#"), |n| format!("room/of/{n}"));
}

#[test]
fn a_hundred_thousand_filters_of_few_levels() {
    // Each is a number in base 10, a digit per level.
    let digits = |n: u32| format!("{n:06}").chars().map(String::from).collect::<Vec<_>>().join("/");
    hundred_thousand(|n| format!("{}/+", digits(n)), |n| format!("{}/x", digits(n)));
}

#[test]
fn without_plus_a_search_visits_one_node_per_level_whatever_filters_exist() {
    let mut matcher = Matcher::new(1);
    for depth in 1..=100 {
        for other in 0..100 {
            let prefix = vec!["a"; depth].join("/");
            matcher.insert(filter(&format!("{prefix}/{other}/#")), 0);
        }
    }
    assert_eq!(matcher.len(), 10_000);
    let topic = ["a"; 100].join("/");
    let mut out = Vec::new();
    assert_eq!(matcher.search(Topic::known(&topic), &mut out), 101);
    assert_eq!(out, NOTHING);
}

#[test]
fn each_filter_with_plus_adds_at_most_its_levels_to_a_search() {
    // The worst there is: they all differ in their first levels, fit the topic up to the last level, and miss.
    const COUNT: u32 = 1000;
    let mut matcher = Matcher::new(1);
    for value in 0..COUNT {
        let level = |at: usize| match at {
            0..10 if (value >> at) & 1 == 1 => "+",
            _ if at + 1 == PLUS_FILTER_LEVELS_MAX => "x",
            _ => "a",
        };
        let levels: Vec<_> = (0..PLUS_FILTER_LEVELS_MAX).map(level).collect();
        matcher.insert(filter(&levels.join("/")), value);
    }
    let topic = ["a"; PLUS_FILTER_LEVELS_MAX].join("/");
    let mut out = Vec::new();
    let visited = matcher.search(Topic::known(&topic), &mut out);
    assert_eq!(out, NOTHING);
    assert!((6_000..=COUNT as usize * PLUS_FILTER_LEVELS_MAX).contains(&visited), "{visited}");
}

#[test]
fn the_order_of_results_does_not_depend_on_the_seed() {
    let results = [1, 2].map(|seed| {
        let mut matcher = Matcher::new(seed);
        for (value, text) in (0..).zip(["+/+", "a/+", "+/b", "a/b", "#", "a/#", "a/b/#"]) {
            matcher.insert(filter(text), value);
        }
        let mut out = Vec::new();
        matcher.find(Topic::known("a/b"), &mut out);
        out
    });
    assert_eq!(results[0].len(), 7);
    assert_eq!(results[0], results[1]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(String, u32),
    Remove(String),
    /// Removes the filter that stands at this place among those there are.
    RemoveAt(prop::sample::Index),
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "é", "$a", "a level of more than sixteen bytes"])
}

fn topics() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5).prop_map(|levels| levels.join("/"))
}

fn filters() -> impl Strategy<Value = String> {
    let levels = prop::collection::vec(prop_oneof![2 => level(), 1 => Just("+")], 0..5);
    (levels, any::<bool>()).prop_map(|(mut levels, hash)| {
        if hash || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (filters(), any::<u32>()).prop_map(|(text, value)| Step::Insert(text, value)),
        1 => filters().prop_map(Step::Remove),
        1 => any::<prop::sample::Index>().prop_map(Step::RemoveAt),
    ];
    prop::collection::vec(step, 0..60)
}

fn apply(step: &Step, matcher: &mut Matcher, model: &mut BTreeMap<String, u32>) {
    match step {
        Step::Insert(text, value) => {
            assert_eq!(matcher.insert(filter(text), *value), model.insert(text.clone(), *value));
        }
        Step::Remove(text) => assert_eq!(matcher.remove(filter(text)), model.remove(text)),
        Step::RemoveAt(index) => {
            if !model.is_empty() {
                let text = model.keys().nth(index.index(model.len())).unwrap().clone();
                assert_eq!(matcher.remove(filter(&text)), model.remove(&text));
            }
        }
    }
    assert_eq!(matcher.len(), model.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_matcher_finds_what_the_definition_says(
        steps in steps(),
        topics in prop::collection::vec(topics(), 1..6),
        seed: u64,
    ) {
        let mut matcher = Matcher::new(seed);
        let mut cache = crate::topic::MatchCache::new(seed);
        let mut model = BTreeMap::new();
        for step in &steps {
            apply(step, &mut matcher, &mut model);
            for topic in &topics {
                let topic = Topic::parse(topic).unwrap();
                let mut expected: Vec<u32> =
                    model.iter().filter(|(text, _)| filter(text).matches(topic)).map(|(_, value)| *value).collect();
                expected.sort_unstable();
                prop_assert_eq!(&found(&matcher, topic.as_str()), &expected);
                for _ in 0..2 {
                    let mut cached = cache.find(&matcher, topic).to_vec();
                    cached.sort_unstable();
                    prop_assert_eq!(&cached, &expected);
                }
            }
        }
        for text in model.into_keys() {
            prop_assert!(matcher.remove(filter(&text)).is_some());
        }
        assert_owns_nothing(&matcher);
    }
}
