//! The cache agrees with its matcher at every moment and stays within its bounds. (Random changes: matcher/tests.rs.)

use super::*;
use crate::topic::Filter;

/// No filter matches.
const NOTHING: [u32; 0] = [];

fn entries(cache: &MatchCache) -> usize {
    cache.current.spans.len() + cache.previous.spans.len()
}

fn values(cache: &MatchCache) -> usize {
    cache.current.values.len() + cache.previous.values.len()
}

/// A matcher in which `count` filters match each topic of the form `a/…` of 16 levels.
fn crowded(count: u32) -> Matcher {
    let mut matcher = Matcher::new(1);
    for value in 0..count {
        let level = |bit: u32| if (value >> bit) & 1 == 1 { "+" } else { "a" };
        let text: Vec<_> = (0..16).map(level).collect();
        matcher.insert(Filter::known(&text.join("/")), value);
    }
    matcher
}

#[test]
fn an_answer_is_remembered_until_a_filter_changes() {
    let mut matcher = Matcher::new(1);
    let mut cache = MatchCache::new(1);
    let topic = Topic::known("a/b");
    assert_eq!(cache.find(&matcher, topic), NOTHING);
    assert_eq!(entries(&cache), 0, "no filters, nothing to remember");
    matcher.insert(Filter::known("a/+"), 1);
    assert_eq!(cache.find(&matcher, topic), [1]);
    assert_eq!(cache.find(&matcher, topic), [1]);
    assert_eq!(entries(&cache), 1);
    matcher.insert(Filter::known("a/+"), 2);
    assert_eq!(cache.find(&matcher, topic), [2]);
    matcher.insert(Filter::known("x/+"), 3);
    assert_eq!(cache.find(&matcher, topic), [2]);
    matcher.remove(Filter::known("a/+"));
    assert_eq!(cache.find(&matcher, topic), NOTHING);
    assert_eq!(entries(&cache), 1, "that nothing matches is worth remembering");
    matcher.remove(Filter::known("x/+"));
    assert_eq!(cache.find(&matcher, topic), NOTHING);
    assert_eq!(entries(&cache), 0);
}

#[test]
fn a_hundred_thousand_random_topics_only_replace_each_other() {
    let mut matcher = Matcher::new(1);
    matcher.insert(Filter::known("t/+"), 1);
    matcher.insert(Filter::known("t/7/#"), 2);
    let mut cache = MatchCache::new(1);
    let mut random = 1u64;
    for _ in 0..100_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let name = format!("t/{random}");
        assert_eq!(cache.find(&matcher, Topic::known(&name)), [1]);
        assert!(entries(&cache) <= MATCH_CACHE_ENTRIES);
    }
    assert!(cache.current.spans.capacity() <= 2 * MATCH_CACHE_ENTRIES);
}

#[test]
fn what_is_asked_for_survives_a_flood_of_other_topics() {
    let mut matcher = Matcher::new(1);
    matcher.insert(Filter::known("#"), 1);
    let mut cache = MatchCache::new(1);
    let hot = Topic::known("hot");
    cache.find(&matcher, hot);
    for n in 0..10_000 {
        cache.find(&matcher, Topic::known(&n.to_string()));
        if n % 100 == 0 {
            let known = cache.current.span("hot").or(cache.previous.span("hot"));
            assert!(known.is_some(), "forgotten after {n}");
            cache.find(&matcher, hot);
        }
    }
}

#[test]
fn results_are_bounded_by_their_bytes_too() {
    let matcher = crowded(10_000);
    let mut cache = MatchCache::new(1);
    for n in 0..50 {
        let name = format!("{}/{n}", ["a"; 15].join("/"));
        let found = cache.find(&matcher, Topic::known(&name)).len();
        assert!(found < 10_000, "{n} is no `a`, so only filters with a last `+` match");
    }
    let name = ["a"; 16].join("/");
    for _ in 0..50 {
        assert_eq!(cache.find(&matcher, Topic::known(&name)).len(), 10_000);
    }
    assert!(values(&cache) * size_of::<u32>() <= MATCH_CACHE_BYTES);
    assert!(cache.current.span(&name).is_some());
}

#[test]
fn a_result_larger_than_half_the_cache_is_found_anew_and_evicts_nothing() {
    let count = u32::try_from(HALF_VALUES).unwrap() + 1;
    let mut matcher = crowded(count);
    matcher.insert(Filter::known("b"), 7);
    let mut cache = MatchCache::new(1);
    assert_eq!(cache.find(&matcher, Topic::known("b")), [7]);
    let name = ["a"; 16].join("/");
    for _ in 0..3 {
        assert_eq!(cache.find(&matcher, Topic::known(&name)).len(), count as usize);
    }
    assert_eq!((entries(&cache), values(&cache)), (1, 1));
    matcher.remove(Filter::known("b"));
    assert_eq!(cache.find(&matcher, Topic::known("b")), NOTHING);
    assert!(cache.found.capacity() <= HALF_VALUES, "memory is given back");
}
