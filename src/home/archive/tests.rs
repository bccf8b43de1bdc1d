//! Many topics under one account: what goes by age, what goes when memory runs out, and that nothing is forgotten about.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::rules::Rule;
use crate::topic::Topic;

struct Desk {
    topics: Topics,
    archive: Archive,
    rules: Rules,
    now: Tick,
}

impl Desk {
    /// Topics below `short/` are kept for 10 s, others for 1000 s; both up to `count`.
    fn new(bytes_max: usize, count: u32) -> Self {
        let rule = |filter: &str, age_s| Rule {
            filter: filter.to_owned(),
            history: Some(Kept { count, age_s }),
            ..Rule::default()
        };
        let rules = Rules::new(vec![rule("short/#", 10), rule("#", 1000)]);
        Self { topics: Topics::new(1), archive: Archive::new(bytes_max), rules, now: Tick(0) }
    }

    fn publish(&mut self, name: &str, len: usize) {
        let key = self.topics.open(Topic::parse(name).expect("valid"), &self.rules);
        let topic = self.topics.at(key);
        topic.offset += 1;
        let rule = topic.rule.and_then(|rule| self.rules.at(rule).history).expect("each has one");
        self.archive.keep(key, topic, &rule, Frame::Copied(&vec![1; len]), self.now);
        self.topics.touch(key);
        self.archive.make_room(&mut self.topics);
    }

    fn pass(&mut self, ticks: u32) {
        self.now.0 += ticks;
        self.archive.expire(&mut self.topics, &self.rules, self.now);
    }

    /// First and last kept offset.
    fn kept(&mut self, name: &str) -> Option<(u64, u64)> {
        let key = self.topics.find(Topic::parse(name).expect("valid"))?;
        let history = self.topics.at(key).history.as_ref()?;
        let first = history.first()?;
        Some((first, first + history.len() as u64 - 1))
    }

    fn check_account(&mut self, names: &[&str]) {
        let mut bytes = 0;
        for name in names {
            let Some(key) = self.topics.find(Topic::known(name)) else { continue };
            bytes += self.topics.at(key).history.as_ref().map_or(0, |history| history.bytes());
        }
        assert_eq!(self.archive.bytes(), bytes, "the account is the sum");
        assert!(bytes <= self.archive.bytes_max);
    }
}

#[test]
fn publications_go_by_their_age_each_topic_by_its_rule() {
    let mut desk = Desk::new(usize::MAX, 100);
    desk.publish("short/a", 10);
    desk.publish("long", 10);
    desk.pass(50);
    desk.publish("short/a", 10);
    assert_eq!(desk.archive.next_due(), Some(Tick(100)));
    desk.pass(49);
    assert_eq!(desk.kept("short/a"), Some((1, 2)));
    desk.pass(1);
    assert_eq!(desk.kept("short/a"), Some((2, 2)), "ten seconds are a hundred ticks");
    desk.pass(50);
    assert_eq!((desk.kept("short/a"), desk.kept("long")), (None, Some((1, 1))));
    desk.pass(9_850);
    assert_eq!((desk.kept("long"), desk.archive.bytes(), desk.archive.next_due()), (None, 0, None));
    assert_eq!(desk.archive.evicted(), 0, "age is no lack of memory");
}

#[test]
fn a_turn_forgets_no_more_than_its_budget_and_the_rest_stays_due() {
    let mut desk = Desk::new(usize::MAX, 1_000_000);
    let budget = limits::EXPIRIES_PER_TURN as u64;
    for _ in 0..2 * budget {
        desk.publish("short/a", 10);
    }
    desk.publish("short/b", 10);
    desk.pass(100);
    // One of the budget is for having looked at the topic.
    assert_eq!(desk.kept("short/a"), Some((budget, 2 * budget)));
    assert_eq!(desk.archive.next_due(), Some(Tick(100)), "there is work for another turn at once");
    desk.publish("short/a", 10);
    assert_eq!(desk.kept("short/a"), Some((budget, 2 * budget + 1)), "a publish does not pay for it");
    desk.check_account(&["short/a", "short/b"]);
    desk.pass(1);
    desk.pass(1);
    assert_eq!((desk.kept("short/a"), desk.kept("short/b")), (Some((2 * budget + 1, 2 * budget + 1)), None));
    assert_eq!(desk.archive.next_due(), Some(Tick(200)));
    desk.check_account(&["short/a"]);
    assert_eq!(desk.archive.evicted(), 0);
}

#[test]
fn no_more_is_kept_than_the_rule_s_count() {
    let mut desk = Desk::new(usize::MAX, 3);
    for _ in 0..10 {
        desk.publish("a", 10);
    }
    assert_eq!(desk.kept("a"), Some((8, 10)));
    desk.check_account(&["a"]);
}

#[test]
fn when_memory_runs_out_the_oldest_of_all_topics_goes_first_and_is_counted() {
    let mut desk = Desk::new(18_300, 100);
    for name in ["b", "a", "c"] {
        desk.publish(name, 6_000);
        desk.pass(1);
    }
    assert_eq!(desk.archive.evicted(), 1, "three and what their topics take are too much");
    assert_eq!([desk.kept("b"), desk.kept("a"), desk.kept("c")], [None, Some((1, 1)), Some((1, 1))]);
    desk.publish("a", 6_000);
    assert_eq!([desk.kept("a"), desk.kept("c")], [Some((2, 2)), Some((1, 1))], "its older half");
    desk.pass(1);
    desk.publish("b", 6_000);
    assert_eq!([desk.kept("a"), desk.kept("b"), desk.kept("c")], [Some((2, 2)), Some((2, 2)), None]);
    assert_eq!(desk.archive.evicted(), 3);
    desk.check_account(&["a", "b", "c"]);
}

#[test]
fn a_publication_that_is_larger_than_all_memory_is_not_kept() {
    let mut desk = Desk::new(1_000, 100);
    desk.publish("a", 5_000);
    assert_eq!((desk.kept("a"), desk.archive.bytes(), desk.archive.evicted()), (None, 0, 1));
    desk.check_account(&["a"]);
}

#[test]
fn names_used_once_leave_no_entry_behind_for_ever() {
    for (bytes_max, ticks) in [(usize::MAX, 2), (50_000, 0)] {
        let mut desk = Desk::new(bytes_max, 100);
        for number in 0..20_000 {
            desk.publish(&format!("short/{number}"), 10);
            desk.pass(ticks);
        }
        let topics = desk.archive.topics;
        assert!((1..200).contains(&topics), "{topics}");
        let entries = desk.archive.due.len().max(desk.archive.oldest.len());
        assert!(entries <= 2 * topics + ENTRIES_SPARE + 1, "{entries} entries for {topics} topics");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize, usize),
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..NAMES.len(), prop_oneof![Just(10usize), Just(500), Just(9_000)]).prop_map(|(name, len)| Step::Publish(name, len)),
        1 => (0u32..120).prop_map(Step::Pass),
    ]
}

const NAMES: [&str; 4] = ["short/a", "short/b", "c", "d"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 128, ..ProptestConfig::default() })]

    /// Without a limit of memory it is what a list would keep; with one, never more than that, and the account is right.
    #[test]
    fn age_count_and_memory_hold_whatever_comes(steps in prop::collection::vec(step(), 0..150), tight: bool) {
        let mut desk = Desk::new(if tight { 30_000 } else { usize::MAX }, 20);
        let mut model: BTreeMap<usize, Vec<(u64, Tick)>> = BTreeMap::new();
        let mut offsets = [0; NAMES.len()];
        for step in steps {
            match step {
                Step::Publish(name, len) => {
                    desk.publish(NAMES[name], len);
                    offsets[name] += 1;
                    model.entry(name).or_default().push((offsets[name], desk.now));
                }
                Step::Pass(ticks) => desk.pass(ticks),
            }
            desk.check_account(&NAMES);
            for (&name, kept) in &mut model {
                let age = if NAMES[name].starts_with("short") { 100 } else { 10_000 };
                kept.retain(|(_, at)| at.0 + age > desk.now.0);
                let from = kept.len().saturating_sub(20);
                let expected = kept.get(from).map(|(first, _)| (*first, offsets[name]));
                let found = desk.kept(NAMES[name]);
                if tight {
                    let Some((first, last)) = found else { continue };
                    prop_assert!(expected.is_some_and(|(oldest, newest)| oldest <= first && newest == last));
                } else {
                    prop_assert_eq!(found, expected);
                }
            }
        }
        desk.pass(20_000);
        prop_assert_eq!(desk.archive.bytes(), 0);
        prop_assert_eq!(desk.archive.next_due(), None);
        prop_assert_eq!(desk.archive.topics, 0);
    }
}
