//! Slow consumers by the rule of their topic, across shards: what they are told, and that nobody else notices.

use super::*;
use crate::rules::{Overflow, Rule};

fn world(shards: usize) -> World {
    World::with(shards, 4, |config| {
        (config.limits.message_bytes_max, config.limits.outbound_bytes_max) = (500, 1_000);
        let rule = |filter: &str, overflow| Rule { filter: filter.to_owned(), overflow, ..Rule::default() };
        config.rules = vec![rule("chat/#", Overflow::DropOldest), rule("price/#", Overflow::Latest)];
    })
}

fn subscribe(world: &mut World, peer: usize, filter: &str) {
    world.tell(peer, &format!(r#"{{"op":"subscribe","id":1,"topic":"{filter}"}}"#));
    assert!(world.hear(peer)[0].starts_with("ack 1"));
}

/// Of `topic`: how many publications came, how many were told missed, and the last offset of either.
fn account(heard: &[String], topic: &str) -> (usize, usize, usize) {
    let (mut delivered, mut missed, mut last) = (0, 0, 0);
    for line in heard {
        let words: Vec<&str> = line.split([' ', ':', '@']).collect();
        let offset = match words[..] {
            ["gap", name, count, "", offset] if name == topic => {
                missed += count.parse::<usize>().unwrap();
                offset
            }
            [name, offset, ..] if name == topic => {
                delivered += 1;
                offset
            }
            _ => continue,
        };
        let offset = offset.parse().unwrap();
        assert!(offset > last, "{line} in {heard:?}");
        last = offset;
    }
    (delivered, missed, last)
}

#[test]
fn a_slow_chat_is_told_what_it_missed_and_the_others_get_everything() {
    for home in 0..2 {
        let mut world = world(2);
        let topic = world.topic_at(home);
        let (slow, wild, fast, publisher) = (world.open(0), world.open(1), world.open(0), world.open(1));
        for (peer, filter) in [(slow, &topic[..]), (wild, "#"), (fast, &topic[..])] {
            subscribe(&mut world, peer, filter);
        }
        world.peers[slow].room = 150;
        world.peers[wild].room = 0;
        for number in 0..100 {
            world.tell(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":{number}}}"#));
        }
        assert_eq!(account(&world.hear(fast), &topic), (100, 0, 100));
        for peer in [slow, wild] {
            let waits = world.shards[world.peers[peer].shard].pending(world.peers[peer].id);
            assert!(waits <= 1_000, "{waits} bytes");
            world.writable(peer, usize::MAX);
            world.settle();
            let (delivered, missed, last) = account(&world.hear(peer), &topic);
            assert_eq!((delivered + missed, last), (100, 100));
            assert!(missed > 50 && delivered > 8, "{missed} missed, {delivered} delivered");
        }
        let missed: u64 = world.shards.iter().map(|shard| shard.counters().missed).sum();
        assert!(missed > 100);
        assert_eq!(world.closed(CloseReason::SlowConsumer), 0);
        world.leave();
    }
}

#[test]
fn a_slow_ticker_gets_the_newest_price_of_each_currency() {
    let mut world = world(2);
    let (slow, publisher) = (world.open(0), world.open(1));
    subscribe(&mut world, slow, "price/1");
    world.peers[slow].room = 0;
    for number in 0..60 {
        let currency = ["eur", "usd", "chf"][number % 3];
        world.tell(
            publisher,
            &format!(r#"{{"op":"publish","topic":"price/1","conflate":"{currency}","data":"{currency} {number}"}}"#),
        );
    }
    world.writable(slow, usize::MAX);
    world.settle();
    assert_eq!(
        world.hear(slow),
        ["gap price/1 57 @57", "price/1:58 \"eur 57\"", "price/1:59 \"usd 58\"", "price/1:60 \"chf 59\""]
    );
    world.leave();
}

#[test]
fn its_other_topics_keep_their_own_rule() {
    let mut world = world(1);
    let (slow, publisher) = (world.open(0), world.open(0));
    subscribe(&mut world, slow, "chat/1");
    subscribe(&mut world, slow, "plain/1");
    world.peers[slow].room = 0;
    for _ in 0..50 {
        world.tell(publisher, r#"{"op":"publish","topic":"chat/1","data":1}"#);
    }
    assert_eq!(world.closed(CloseReason::SlowConsumer), 0);
    world.tell(publisher, r#"{"op":"publish","topic":"plain/1","data":1}"#);
    world.writable(slow, usize::MAX);
    world.settle();
    assert_eq!(world.hear(slow), ["close 4008"], "a topic that disconnects does so, whatever fills the queue");
    world.leave();
}

#[test]
fn after_the_ack_of_an_unsubscribe_comes_nothing_more_though_some_was_dropped() {
    let mut world = world(2);
    let topic = world.topic_at(1);
    let (slow, publisher) = (world.open(0), world.open(1));
    subscribe(&mut world, slow, &topic);
    world.peers[slow].room = 20;
    for _ in 0..50 {
        world.tell(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
    }
    world.tell(slow, &format!(r#"{{"op":"unsubscribe","id":2,"topic":"{topic}"}}"#));
    for _ in 0..50 {
        world.tell(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
    }
    world.writable(slow, usize::MAX);
    world.settle();
    let heard = world.hear(slow);
    assert_eq!(heard.last().unwrap(), &format!("ack 2 {topic}"));
    let (delivered, missed, last) = account(&heard, &topic);
    assert_eq!((delivered + missed, last), (50, 50));
    world.leave();
}

#[test]
fn a_reply_behind_what_was_dropped_does_not_join_one_before_it_and_overtake_the_gap() {
    for missed in 1..12 {
        let mut world = world(1);
        let (slow, publisher) = (world.open(0), world.open(0));
        subscribe(&mut world, slow, "chat/1");
        subscribe(&mut world, slow, "chat/2");
        world.peers[slow].room = 20;
        let publish =
            |topic: &str, len: usize| format!(r#"{{"op":"publish","topic":"{topic}","data":"{}"}}"#, "x".repeat(len));
        for _ in 0..4 {
            world.tell(publisher, &publish("chat/1", 180));
        }
        world.tell(slow, r#"{"op":"ping","id":2}"#);
        for _ in 0..missed {
            world.tell(publisher, &publish("chat/2", 300)); // does not fit, and nothing else of its topic waits
        }
        world.tell(slow, r#"{"op":"unsubscribe","id":3,"topic":"chat/2"}"#);
        world.writable(slow, usize::MAX);
        world.settle();
        let (heard, gap) = (world.hear(slow), format!("gap chat/2 {missed} @{missed}"));
        assert_eq!(heard[heard.len() - 3..], ["pong 2", &gap, "ack 3 chat/2"]);
        world.leave();
    }
}
