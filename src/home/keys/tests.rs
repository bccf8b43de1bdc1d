//! What is remembered of idempotency keys: for how long, for which topic, and how many.

use super::*;
use crate::rules::Rules;
use crate::topic::Topic;

/// Topics whose counters are moved by hand.
struct Desk {
    topics: Topics,
    keys: Keys,
    rules: Rules,
}

impl Desk {
    fn new() -> Self {
        Self { topics: Topics::new(1), keys: Keys::default(), rules: Rules::default() }
    }

    /// The offset that the key is answered with, after it was published if it was not known.
    fn publish(&mut self, topic: &str, key: &str, window_s: u32, now: u32) -> u64 {
        let topic = self.topics.open(Topic::parse(topic).expect("valid"), &self.rules);
        self.keys.expire(&mut self.topics, Tick(now));
        if let Some(offset) = Keys::find(&mut self.topics, topic, key, Tick(now)) {
            return offset;
        }
        self.topics.at(topic).offset += 1;
        self.keys.remember(&mut self.topics, topic, key, window_s, Tick(now));
        self.topics.at(topic).offset
    }
}

#[test]
fn a_repeat_within_the_window_is_answered_with_the_first_offset() {
    let mut desk = Desk::new();
    assert_eq!(desk.publish("a", "k", 10, 0), 1);
    assert_eq!(desk.publish("a", "other", 10, 50), 2);
    assert_eq!(desk.publish("a", "k", 10, 99), 1, "the window begins with the first and is not moved by a repeat");
    assert_eq!(desk.publish("a", "k", 10, 100), 3, "ten seconds are a hundred ticks");
    assert_eq!(desk.publish("a", "k", 10, 150), 3);
}

#[test]
fn a_turn_forgets_no_more_keys_than_its_budget_and_the_rest_is_neither_found_nor_lost() {
    let mut desk = Desk::new();
    let many = 2 * limits::KEY_EXPIRIES_PER_TURN + 1;
    for number in 0..many {
        desk.publish("a", &number.to_string(), 10, 0);
    }
    desk.keys.expire(&mut desk.topics, Tick(100));
    assert_eq!(desk.keys.counts().0, many - limits::KEY_EXPIRIES_PER_TURN);
    assert_eq!(desk.keys.next_due(), Some(Tick(100)), "there is work for another turn at once");
    let last = (many - 1).to_string();
    let topic = desk.topics.find(Topic::known("a")).expect("it lives");
    assert_eq!(Keys::find(&mut desk.topics, topic, &last, Tick(100)), None, "its window is over");
    let anew = many as u64 + 1;
    desk.topics.at(topic).offset = anew;
    desk.keys.remember(&mut desk.topics, topic, &last, 10, Tick(100));
    desk.keys.expire(&mut desk.topics, Tick(101));
    desk.keys.expire(&mut desk.topics, Tick(102));
    assert_eq!((desk.keys.counts().0, desk.keys.next_due()), (1, Some(Tick(200))), "only the one used anew");
    assert_eq!(Keys::find(&mut desk.topics, topic, &last, Tick(199)), Some(anew), "its old entry took nothing along");
}

#[test]
fn a_key_belongs_to_its_topic() {
    let mut desk = Desk::new();
    assert_eq!(desk.publish("a", "k", 10, 0), 1);
    assert_eq!(desk.publish("a", "l", 10, 0), 2);
    assert_eq!(desk.publish("b", "k", 10, 0), 1);
    assert_eq!(desk.publish("b", "l", 10, 0), 2);
    assert_eq!(desk.publish("b", "k", 10, 0), 1);
}

#[test]
fn windows_of_different_rules_end_each_in_its_own_time() {
    let mut desk = Desk::new();
    desk.publish("long", "k", 100, 0);
    desk.publish("short", "k", 1, 1);
    assert_eq!(desk.keys.next_due(), Some(Tick(11)));
    assert_eq!(desk.publish("short", "k", 1, 11), 2);
    assert_eq!(desk.publish("long", "k", 100, 999), 1);
    assert_eq!(desk.publish("long", "k", 100, 1_000), 2);
    desk.keys.expire(&mut desk.topics, Tick(2_000));
    assert_eq!((desk.keys.counts(), desk.keys.next_due()), ((0, 0), None));
}

#[test]
fn beyond_the_limit_the_oldest_key_goes_first_whatever_its_window_and_is_counted() {
    let mut desk = Desk::new();
    desk.publish("long", "oldest", 86_400, 0);
    for number in 1..limits::IDEMPOTENCY_KEYS_MAX {
        desk.publish("short", &number.to_string(), 300, 1);
    }
    assert_eq!(desk.keys.counts(), (limits::IDEMPOTENCY_KEYS_MAX, 0));
    desk.publish("short", "one more", 300, 2);
    assert_eq!(desk.keys.counts(), (limits::IDEMPOTENCY_KEYS_MAX, 1));
    assert_eq!(desk.publish("short", "1", 300, 2), 1, "it is remembered");
    assert_eq!(desk.publish("long", "oldest", 86_400, 2), 2, "it was the oldest");
}

#[test]
fn a_topic_lives_as_long_as_a_key_of_it_and_no_key_outlives_its_window() {
    let mut desk = Desk::new();
    desk.publish("a", "k", 10, 0);
    let key = desk.topics.find(Topic::known("a")).expect("it lives");
    assert!(desk.topics.at(key).keys.is_some());
    desk.keys.expire(&mut desk.topics, Tick(100));
    assert!(desk.topics.at(key).keys.is_none(), "nothing holds it any more");
}
