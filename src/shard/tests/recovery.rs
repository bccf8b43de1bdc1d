//! Coming back: replays and lists of kept publications, keys, and topics that are closed by their rule.

use super::*;
use crate::rules::{Access, History, Rule};

/// Longer than any conversation here takes, in milliseconds.
const AGE_MS: u64 = 20_000;

/// Everything is kept, but for `closed/#`, which nobody reads, and `mute/#`, to which nobody publishes.
fn keeping(shards: usize, count: u32, configure: impl FnOnce(&mut Config)) -> World {
    World::with(shards, 4, |config| {
        let history = Some(History { count, age_s: 20 });
        let rule = |filter: &str| Rule { filter: filter.to_owned(), history, idempotency_s: 10, ..Rule::default() };
        config.rules = vec![
            Rule { subscribe: Access::Nobody, ..rule("closed/#") },
            Rule { publish: Access::Nobody, ..rule("mute/#") },
            Rule { history: None, ..rule("bare/#") },
            rule("#"),
        ];
        configure(config);
    })
}

/// Runs a conversation with the topic's home on shard 0 and on shard 1.
fn here_and_there(conversation: impl Fn(&mut World, &str)) {
    for home in 0..2 {
        let mut world = keeping(2, 10, |_| {});
        let topic = world.topic_at(home);
        conversation(&mut world, &topic);
        end(&mut world);
    }
}

/// Everybody goes, what is kept grows too old, and nothing is left.
fn end(world: &mut World) {
    for peer in 0..world.peers.len() {
        if !world.peers[peer].dropped {
            world.reset(peer);
        }
    }
    world.pass(AGE_MS + TICK_MS);
    assert!(world.shards.iter().all(|shard| (shard.kept().bytes, shard.kept().keys) == (0, 0)));
    world.leave();
}

fn publish(world: &mut World, peer: usize, topic: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        world.tell(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":{number}}}"#));
    }
}

/// A position as the wire has it, of the topic's present life.
fn position(world: &mut World, topic: &str, offset: u64) -> String {
    let peer = world.open(0);
    let from = world.peers[peer].got.len();
    world.tell(peer, &format!(r#"{{"op":"subscribe","id":0,"topic":"{topic}"}}"#));
    let text = String::from_utf8_lossy(&world.peers[peer].got[from..]).into_owned();
    let (_, rest) = text.split_once(r#""position":""#).expect("an ack");
    let epoch = &rest[..8];
    world.reset(peer);
    world.settle();
    format!("{epoch}:{offset}")
}

fn since(topic: &str, position: &str) -> String {
    format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}","since":"{position}"}}"#)
}

fn lines(topic: &str, offsets: std::ops::RangeInclusive<u32>) -> Vec<String> {
    offsets.map(|number| format!("{topic}:{number} {number}")).collect()
}

#[test]
fn what_was_missed_comes_between_the_ack_and_what_is_live() {
    here_and_there(|world, topic| {
        let (peer, publisher) = (world.open(0), world.open(1));
        publish(world, publisher, topic, 1..=12);
        let at = position(world, topic, 4);
        world.tell(peer, &since(topic, &at));
        publish(world, publisher, topic, 13..=14);
        let mut expected = vec![format!("ack 1 {topic} @12 recovered")];
        expected.extend(lines(topic, 5..=14));
        assert_eq!(world.hear(peer), expected);
    });
}

#[test]
fn what_is_not_kept_any_more_is_no_partial_replay() {
    here_and_there(|world, topic| {
        let (peer, publisher) = (world.open(0), world.open(1));
        publish(world, publisher, topic, 1..=12);
        let newest = position(world, topic, 12);
        for wrong in [position(world, topic, 1), position(world, topic, 13), "00000000:5".to_owned()] {
            world.tell(peer, &since(topic, &wrong));
            assert_eq!(world.hear(peer), [format!("ack 1 {topic} @12 not recovered")]);
            world.tell(peer, &format!(r#"{{"op":"unsubscribe","topic":"{topic}"}}"#));
        }
        world.tell(peer, &since(topic, &newest));
        publish(world, publisher, topic, 13..=13);
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @12 recovered"), format!("{topic}:13 13")]);
    });
}

#[test]
fn last_begins_with_the_last_kept_ones() {
    here_and_there(|world, topic| {
        let (peer, publisher) = (world.open(1), world.open(0));
        publish(world, publisher, topic, 1..=12);
        world.tell(peer, &format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}","last":3}}"#));
        let mut expected = vec![format!("ack 1 {topic} @12")];
        expected.extend(lines(topic, 10..=12));
        assert_eq!(world.hear(peer), expected);
    });
}

#[test]
fn a_second_subscribe_replays_nothing() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        world.tell(peer, &format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}"}}"#));
        publish(world, peer, topic, 1..=3);
        let at = position(world, topic, 0);
        world.tell(peer, &since(topic, &at));
        world.tell(peer, &format!(r#"{{"op":"subscribe","id":2,"topic":"{topic}","last":3}}"#));
        let mut expected = vec![format!("ack 1 {topic} @0")];
        expected.extend(lines(topic, 1..=3));
        expected.extend([format!("ack 1 {topic} @3"), format!("ack 2 {topic} @3")]);
        assert_eq!(world.hear(peer), expected);
    });
}

#[test]
fn a_subscribe_that_is_taken_back_before_its_answer_replays_nothing() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        publish(world, peer, topic, 1..=3);
        let at = position(world, topic, 0);
        world.say(peer, &since(topic, &at));
        world.say(peer, &format!(r#"{{"op":"unsubscribe","topic":"{topic}"}}"#));
        world.settle();
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @3 recovered")]);
        world.say(peer, &since(topic, &at));
        world.say(peer, &format!(r#"{{"op":"unsubscribe","topic":"{topic}"}}"#));
        world.say(peer, &since(topic, &at));
        world.settle();
        let heard: Vec<String> = world.hear(peer).into_iter().filter(|line| !line.starts_with("ack")).collect();
        assert_eq!(heard, lines(topic, 1..=3), "once");
    });
}

#[test]
fn whoever_comes_back_on_any_shard_while_others_publish_has_everything_once_and_in_order() {
    for seed in 0..60u32 {
        let mut world = keeping(2, 10_000, |_| {});
        let topic = world.topic_at(u16::from(seed % 2 == 1));
        let publishers = [world.open(0), world.open(1)];
        let (mut random, mut published, mut heard) = (seed.wrapping_mul(2_654_435_761) | 1, 0u32, Vec::new());
        let mut next = |below: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 12) % below
        };
        let mut last = position(&mut world, &topic, 0);
        let epoch = last[..9].to_owned();
        for _ in 0..25 {
            let peer = world.open(next(2) as usize);
            world.say(peer, &since(&topic, &last));
            for _ in 0..next(30) {
                match next(4) {
                    0 => world.turn(0),
                    1 => world.turn(1),
                    by => {
                        published += 1;
                        let publication = format!(r#"{{"op":"publish","topic":"{topic}","data":{published}}}"#);
                        world.say(publishers[by as usize - 2], &publication);
                    }
                }
            }
            for line in world.hear(peer) {
                if let Some((at, _)) = line.strip_prefix(&format!("{topic}:")).and_then(|rest| rest.split_once(' ')) {
                    heard.push(at.parse::<u32>().expect("an offset"));
                    last = format!("{epoch}{at}");
                } else {
                    assert!(line.starts_with("ack 1 ") && line.ends_with(" recovered"), "seed {seed}: {line}");
                    assert!(!line.contains("not"), "seed {seed}: {line}");
                }
            }
            world.reset(peer);
        }
        let peer = world.open(0);
        world.tell(peer, &since(&topic, &last));
        let rest = world.hear(peer);
        heard.extend(
            rest.iter().skip(1).map(|line| line[topic.len() + 1..].split(' ').next().unwrap().parse::<u32>().unwrap()),
        );
        assert_eq!(heard, (1..=published).collect::<Vec<_>>(), "seed {seed}");
        end(&mut world);
    }
}

#[test]
fn a_replay_beyond_the_outbound_limit_waits_for_its_reader_and_makes_nobody_slow() {
    let limits =
        |config: &mut Config| (config.limits.message_bytes_max, config.limits.outbound_bytes_max) = (1_000, 3_000);
    let mut world = keeping(2, 10_000, limits);
    let topic = world.topic_at(1);
    let (peer, publisher) = (world.open(0), world.open(1));
    publish(&mut world, publisher, &topic, 1..=2_000);
    let at = position(&mut world, &topic, 0);
    world.writable(peer, 1_000);
    world.tell(peer, &since(&topic, &at));
    assert!(world.shards[0].pending(world.peers[peer].id) > 100_000);
    publish(&mut world, publisher, &topic, 2_001..=2_010);
    let mut heard = Vec::new();
    while heard.len() < 2_011 {
        world.writable(peer, 777);
        world.settle();
        heard.extend(world.hear(peer));
        assert_eq!(world.closed(CloseReason::SlowConsumer), 0);
    }
    assert_eq!(heard[0], format!("ack 1 {topic} @2000 recovered"));
    assert_eq!(heard[1..], lines(&topic, 1..=2_010));
    end(&mut world);
}

#[test]
fn what_is_live_counts_against_the_limit_during_a_replay_too() {
    let limits =
        |config: &mut Config| (config.limits.message_bytes_max, config.limits.outbound_bytes_max) = (1_000, 3_000);
    let mut world = keeping(2, 10_000, limits);
    let topic = world.topic_at(1);
    let (peer, publisher) = (world.open(0), world.open(1));
    publish(&mut world, publisher, &topic, 1..=100);
    let at = position(&mut world, &topic, 0);
    world.writable(peer, 10);
    world.tell(peer, &since(&topic, &at));
    publish(&mut world, publisher, &topic, 101..=200);
    assert_eq!(world.closed(CloseReason::SlowConsumer), 0, "counted when its end is reached");
    world.writable(peer, usize::MAX);
    world.settle();
    assert_eq!(world.hear(peer).last().map(String::as_str), Some("close 4008"));
    end(&mut world);
}

#[test]
fn a_long_replay_shares_each_turn_with_the_others() {
    let mut world = keeping(1, 10_000, |_| {});
    let (peer, other, publisher) = (world.open(0), world.open(0), world.open(0));
    let data = "x".repeat(60_000);
    for _ in 0..150 {
        world.tell(publisher, &format!(r#"{{"op":"publish","topic":"long","data":"{data}"}}"#));
    }
    world.tell(other, r#"{"op":"subscribe","topic":"live"}"#);
    let at = position(&mut world, "long", 0);
    world.say(peer, &since("long", &at));
    let mut turns = 0;
    while world.peers[peer].got.len() < 150 * 60_000 {
        let before = world.peers[peer].got.len();
        world.say(publisher, r#"{"op":"publish","topic":"live","data":1}"#);
        world.turn(0);
        turns += 1;
        assert_eq!(world.hear(other).len(), 1, "turn {turns}: what is live goes out in its turn");
        let share = limits::FLUSH_BYTES_PER_TURN + limits::HISTORY_MERGED_BYTES; // its last range may begin within it
        assert!(world.peers[peer].got.len() - before <= 2 * share, "turn {turns}");
    }
    assert!(turns >= 5, "{turns}");
    end(&mut world);
}

#[test]
fn a_connection_is_not_read_while_it_has_not_taken_its_replay() {
    let mut world = keeping(1, 10_000, |_| {});
    let (peer, publisher) = (world.open(0), world.open(0));
    publish(&mut world, publisher, "a", 1..=2_000);
    let at = position(&mut world, "a", 0);
    world.writable(peer, 0);
    for _ in 0..50 {
        world.tell(peer, &since("a", &at));
        world.tell(peer, r#"{"op":"unsubscribe","topic":"a"}"#);
        if !world.reads(peer) {
            break;
        }
    }
    assert!(!world.reads(peer), "else it could ask for replays without end");
    assert!(world.shards[0].pending(world.peers[peer].id) < 500_000);
    world.writable(peer, usize::MAX);
    world.settle();
    assert!(world.reads(peer));
    end(&mut world);
}

#[test]
fn history_is_answered_by_the_topic_s_home_wherever_it_is() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        publish(world, peer, topic, 1..=3);
        world.tell(peer, &format!(r#"{{"op":"history","id":1,"topic":"{topic}","limit":2}}"#));
        world.tell(peer, &format!(r#"{{"op":"history","id":2,"topic":"{topic}","limit":2,"reverse":true}}"#));
        world.tell(peer, &format!(r#"{{"op":"history","id":3,"topic":"{topic}","since":"00000000:1"}}"#));
        world.tell(peer, r#"{"op":"history","id":4,"topic":"bare/x"}"#);
        let expected = [
            format!("ack 1 {topic} @3 [{topic}:1 1, {topic}:2 2]"),
            format!("ack 2 {topic} @3 [{topic}:3 3, {topic}:2 2]"),
            "error 3 400".to_owned(),
            "error 4 404".to_owned(),
        ];
        assert_eq!(world.hear(peer), expected);
    });
}

#[test]
fn a_repeated_key_is_answered_and_not_published_from_whatever_shard_it_comes() {
    here_and_there(|world, topic| {
        let (first, second) = (world.open(0), world.open(1));
        world.tell(second, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        for peer in [first, second, first] {
            world.tell(peer, &format!(r#"{{"op":"publish","id":7,"topic":"{topic}","data":1,"key":"k"}}"#));
        }
        assert_eq!(world.hear(first), [format!("ack 7 {topic} @1"), format!("ack 7 {topic} @1")]);
        let mut heard = world.hear(second);
        heard.sort();
        let mut expected = [format!("ack 7 {topic} @1"), format!("{topic}:1 1")];
        expected.sort();
        assert_eq!(heard, expected);
    });
}

#[test]
fn nobody_reads_or_publishes_where_the_rule_says_nobody() {
    let mut world = keeping(2, 10, |_| {});
    for peer in [world.open(0), world.open(1)] {
        world.tell(peer, r##"{"op":"subscribe","id":0,"topic":"#"}"##);
        for number in 0..4 {
            world.tell(peer, &format!(r#"{{"op":"subscribe","id":1,"topic":"closed/{number}","last":5}}"#));
            world.tell(peer, &format!(r#"{{"op":"publish","topic":"closed/{number}","data":1}}"#));
            world.tell(peer, &format!(r#"{{"op":"history","id":2,"topic":"closed/{number}"}}"#));
            world.tell(peer, &format!(r#"{{"op":"publish","id":3,"topic":"mute/{number}","data":1}}"#));
        }
        let mut expected = vec!["ack 0 #".to_owned()];
        for _ in 0..4 {
            expected.extend(["error 1 403", "error 2 403", "error 3 403"].map(str::to_owned));
        }
        assert_eq!(world.hear(peer), expected, "not by a wildcard either");
        world.tell(peer, r##"{"op":"unsubscribe","topic":"#"}"##);
    }
    for shard in &world.shards {
        assert_eq!(shard.held()[2..4], [("filters", 0), ("subscriptions", 0)], "who is refused holds nothing");
    }
    end(&mut world);
}

#[test]
fn presence_is_not_there_and_says_so() {
    let mut world = keeping(1, 10, |_| {});
    let peer = world.open(0);
    world.tell(peer, r#"{"op":"presence","id":1,"topic":"a"}"#);
    world.tell(peer, r#"{"op":"subscribe","id":2,"topic":"a","presence":true}"#);
    world.tell(peer, r#"{"op":"publish","id":3,"topic":"a","data":1}"#);
    assert_eq!(world.hear(peer), ["error 1 404", "error 2 404", "ack 3 a @1"], "and nobody subscribed");
    end(&mut world);
}
