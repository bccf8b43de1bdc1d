//! A stranger's topics and filters: the matcher and its cache find what the definition of a filter says, no more.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use wirefan::topic::{Filter, MatchCache, Matcher, Topic};

// Lines: each that is a topic is looked for, each that is a filter is inserted, in turn; in the end all are removed.
fuzz_target!(|text: &str| {
    let (mut matcher, mut cache, mut model) = (Matcher::new(7), MatchCache::new(7), BTreeMap::<&str, u32>::new());
    for (line, value) in text.lines().zip(0..) {
        if let Ok(topic) = Topic::parse(line) {
            let expected =
                sorted(model.iter().filter(|(filter, _)| known(filter).matches(topic)).map(|(_, value)| *value));
            let mut found = Vec::new();
            matcher.find(topic, &mut found);
            assert_eq!(sorted(found.into_iter()), expected, "{line:?} among {model:?}");
            assert_eq!(sorted(cache.find(&matcher, topic).iter().copied()), expected, "{line:?} among {model:?}");
        }
        if let Ok(filter) = Filter::parse(line) {
            assert_eq!(matcher.insert(filter, value), model.insert(line, value));
        }
        assert_eq!(matcher.len(), model.len());
    }
    for (filter, value) in model {
        assert_eq!(matcher.remove(known(filter)), Some(value));
    }
    assert!(matcher.is_empty());
});

fn known(filter: &str) -> Filter<'_> {
    Filter::parse(filter).expect("it was parsed before")
}

fn sorted(values: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut values: Vec<u32> = values.collect();
    values.sort_unstable();
    values
}
