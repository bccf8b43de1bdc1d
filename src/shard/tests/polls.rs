//! Polls: what they are answered with and when, where the next one goes on, and what may stand around them.

use serde_json::{Value, json};

use super::api::{Answer, JSON, request, world};
use super::*;
use crate::rules::{Overflow, Rule};

impl World {
    /// Asks on a connection, and everything that follows from it happens.
    fn poll(&mut self, peer: usize, query: &str) {
        self.send(peer, &request(&format!("GET /v1/poll?{query}"), "", b""));
        self.settle();
    }

    /// The answer to a poll of a connection of its own.
    fn polled(&mut self, shard: usize, query: &str) -> Polled {
        let peer = self.accept(shard);
        self.poll(peer, query);
        let polled = self.polled_on(peer);
        self.end(peer);
        polled
    }

    /// The one answer that came.
    fn polled_on(&mut self, peer: usize) -> Polled {
        let mut answers = self.answers(peer);
        assert_eq!(answers.len(), 1, "{answers:?}");
        Polled::of(&answers.remove(0))
    }
}

/// What a poll got.
#[derive(Debug)]
struct Polled {
    messages: Vec<String>,
    next: String,
    recovered: Option<bool>,
}

impl Polled {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("\r\nCache-Control: no-store\r\n"));
        let Value::Object(object) = answer.json() else { panic!("{answer:?}") };
        let messages = object["messages"].as_array().expect("a list");
        let messages = messages.iter().map(|message| json_line(&message.to_string(), "")).collect();
        let next = object["next"].as_str().expect("a position").to_owned();
        Self { messages, next, recovered: object.get("recovered").map(|value| value.as_bool().expect("a bool")) }
    }

    /// The offsets of `next`.
    fn at(&self) -> String {
        let offset = |position: &str| position.split_once(':').expect("a position").1.to_owned();
        self.next.split(',').map(offset).collect::<Vec<_>>().join(",")
    }
}

/// Whether nothing came on the connection and it is still there.
fn waits(world: &World, peer: usize) -> bool {
    let Peer { heard, dropped, shut, .. } = world.peers[peer];
    world.peers[peer].got.len() == heard && !dropped && !shut
}

#[test]
fn a_poll_gets_at_once_what_is_newer_or_waits_for_it_and_the_next_goes_on_anywhere() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let first = world.polled(0, &format!("topic={topic}&wait=0"));
        assert_eq!((first.messages.len(), first.at(), first.recovered), (0, "0".into(), None));
        world.post(0, &topic, "1");
        world.post(1, &topic, "2");
        let query = format!("topic={topic}&since={}", first.next);
        let second = world.polled(1, &query);
        assert_eq!(second.messages, [format!("{topic}:1 1"), format!("{topic}:2 2")]);
        assert_eq!((second.at(), second.recovered), ("2".into(), Some(true)));
        let peer = world.accept(0);
        world.poll(peer, &format!("topic={topic}&since={}", second.next));
        world.pass(5_000);
        assert!(waits(&world, peer));
        world.post(1, &topic, "3");
        let third = world.polled_on(peer);
        assert_eq!(
            (&third.messages[..], third.at(), third.recovered),
            (&[format!("{topic}:3 3")][..], "3".into(), Some(true))
        );
        world.reset(peer);
        // What is in between two polls is only there if it is kept.
        let none = world.polled(0, "topic=bare/1&wait=0");
        world.post(1, "bare/1", "1");
        let lost = world.polled(1, &format!("topic=bare/1&since={}", none.next));
        assert_eq!((lost.messages.len(), lost.at(), lost.recovered), (0, "1".into(), Some(false)));
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn a_poll_that_nothing_comes_for_ends_in_its_time_and_its_connection_with_the_handshake_s() {
    let mut world = world(|_| {});
    let peer = world.accept(0);
    world.poll(peer, &format!("topic={}&wait=3", world.topic_at(1)));
    world.pass(2_900);
    assert!(waits(&world, peer));
    world.pass(200);
    assert_eq!(world.polled_on(peer).messages.len(), 0);
    world.pass(9_000);
    assert!(!world.peers[peer].dropped, "the next request has its time");
    world.pass(1_500);
    assert!(world.peers[peer].dropped);
    assert_eq!(world.closed(CloseReason::Idle), 1);
    // One that was answered early has no more of it.
    let peer = world.accept(0);
    world.poll(peer, "topic=a&wait=60");
    world.post(0, "a", "1");
    assert_eq!(world.polled_on(peer).messages, ["a:1 1"]);
    world.pass(10_500);
    assert!(world.peers[peer].dropped);
    // Without a word it waits for as long as is usual.
    let peer = world.accept(0);
    world.poll(peer, "topic=a");
    world.pass(limits::POLL_WAIT_S_USUAL * 1000 - 500);
    assert!(waits(&world, peer));
    world.pass(1_000);
    assert_eq!(world.polled_on(peer).messages.len(), 0);
    world.leave();
}

#[test]
fn several_topics_have_a_position_each() {
    let mut world = world(|_| {});
    let (near, far) = (world.topic_at(0), world.topic_at(1));
    let query = format!("topic={far}&topic={near}");
    let first = world.polled(0, &format!("{query}&wait=0"));
    assert_eq!(first.at(), "0,0");
    world.post(0, &near, "1");
    world.post(0, &far, "1");
    world.post(0, &near, "2");
    let second = world.polled(1, &format!("{query}&since={}", first.next));
    assert_eq!((second.messages.len(), second.at(), second.recovered), (3, "1,2".into(), Some(true)));
    let (known, _) = second.next.split_once(',').expect("two");
    let again = world.polled(0, &format!("{query}&since={known},&last=1"));
    assert_eq!(again.messages, [format!("{near}:2 2")], "an empty one begins as if there were none");
    let other = world.polled(0, &format!("{query}&since={known},0000000a:2"));
    assert_eq!((other.at(), other.recovered), ("1,2".into(), Some(false)), "all of them or not");
    world.pass(21_000);
    world.leave();
}

#[test]
fn what_is_sent_behind_a_poll_waits_for_its_answer() {
    for home in 0..2 {
        for apart in [false, true] {
            let mut world = world(|_| {});
            let topic = world.topic_at(home);
            let peer = world.accept(0);
            let poll = request(&format!("GET /v1/poll?topic={topic}&wait=5"), "", b"");
            let publish = request(&format!("POST /v1/publish?topic={topic}"), JSON, b"2");
            if apart {
                world.send(peer, &poll);
                world.settle();
                world.send(peer, &publish);
                world.send(peer, &poll);
            } else {
                world.send(peer, &[&poll[..], &publish, &poll].concat());
            }
            world.settle();
            assert!(waits(&world, peer) && !world.reads(peer), "it is kept, and no more of it read");
            world.post(1, &topic, "1");
            let answers = world.answers(peer);
            assert_eq!(Polled::of(&answers[0]).messages, [format!("{topic}:1 1")]);
            assert!(answers[1].json()["position"].as_str().unwrap().ends_with(":2"));
            assert_eq!(answers.len(), 2, "the last one waits again");
            world.pass(6_000);
            assert_eq!(world.polled_on(peer).at(), "2", "it began behind the publication");
            assert!(world.reads(peer));
            world.reset(peer);
            world.pass(21_000);
            world.leave();
        }
    }
}

#[test]
fn a_poll_begins_behind_the_requests_before_it() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let peer = world.accept(1);
        let publish = request(&format!("POST /v1/publish?topic={topic}"), JSON, b"1");
        let history = request(&format!("GET /v1/history?topic={topic}"), "", b"");
        let poll = request(&format!("GET /v1/poll?topic={topic}&wait=0"), "", b"");
        world.send(peer, &[&publish[..], &poll, &history, &poll, &poll, &publish].concat());
        world.settle();
        let answers = world.answers(peer);
        assert!(answers.len() == 6 && answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        assert_eq!([1, 3, 4].map(|number| Polled::of(&answers[number]).at()), ["1", "1", "1"]);
        world.reset(peer);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn too_much_behind_a_poll_is_refused_and_ends_it() {
    for home in 0..2 {
        for begun in [false, true] {
            let mut world = world(|_| {});
            let peer = world.accept(0);
            world.send(peer, &request(&format!("GET /v1/poll?topic={}", world.topic_at(home)), "", b""));
            if begun {
                world.settle();
            }
            for _ in 0..3 {
                world.send(peer, &[b'x'; limits::READ_BYTES_PER_TURN]); // whether it would be read or not
            }
            world.settle();
            let answers = world.answers(peer);
            assert_eq!(answers[0].status, 429, "{answers:?}");
            assert!(world.peers[peer].shut);
            world.end(peer);
            world.leave();
        }
    }
}

#[test]
fn who_goes_while_it_waits_is_no_subscriber_and_who_ends_its_side_is_answered() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let (gone, half) = (world.accept(0), world.accept(1));
        world.poll(gone, &format!("topic={topic}"));
        world.poll(half, &format!("topic={topic}"));
        let asks = world.accept(0);
        let line = format!("GET /v1/presence?topic={topic}");
        assert_eq!(world.request(asks, &line, "", b"").json()["connections"], 2, "members while they wait");
        world.reset(gone);
        world.end(half);
        world.settle();
        assert_eq!(world.request(asks, &line, "", b"").json()["connections"], 0);
        assert_eq!(world.polled_on(half).messages.len(), 0);
        assert!(world.peers[half].dropped);
        // It ended its side in the same moment.
        let half = world.accept(0);
        world.send(half, &request(&format!("GET /v1/poll?topic={topic}"), "", b""));
        world.end(half);
        world.settle();
        assert_eq!(world.polled_on(half).messages.len(), 0);
        assert!(world.peers[half].dropped);
        world.leave();
    }
}

#[test]
fn whoever_stops_answers_the_polls_first() {
    for stop in [false, true] {
        let mut world = World::with(2, 4, |config| config.server.drain_s = 1);
        let (peer, late) = (world.accept(0), world.accept(1));
        let query = format!("topic={}&wait=60", world.topic_at(1));
        world.poll(peer, &query);
        world.shards.iter_mut().for_each(if stop { Shard::handle_stop } else { Shard::handle_drain });
        if !stop {
            world.send(late, &request(&format!("GET /v1/poll?{query}"), "", b""));
        }
        world.pass(1_500);
        for peer in if stop { vec![peer] } else { vec![peer, late] } {
            let answer = world.answers(peer).remove(0);
            assert!(answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
            assert_eq!(Polled::of(&answer).at(), "0");
            assert!(world.peers[peer].shut);
            world.end(peer);
        }
        world.pass(100);
        assert!(world.shards.iter().all(Shard::is_stopped));
        world.assert_empty();
    }
}

#[test]
fn a_poll_waits_no_longer_than_its_token_lasts() {
    let mut world = identity::world(false);
    let headers = format!("Authorization: Bearer {}\r\n", identity::token("ann", &["granted/#"], &[], 20));
    let peer = world.accept(0);
    world.send(peer, &request("GET /v1/poll?topic=granted/1&wait=60", &headers, b""));
    world.pass(15_000);
    assert!(waits(&world, peer));
    world.pass(6_000);
    assert_eq!(world.polled_on(peer).messages.len(), 0);
    assert_eq!(world.request(peer, "GET /v1/poll?topic=granted/1&wait=60", &headers, b"").status, 401);
    world.leave();
}

#[test]
fn a_burst_is_delivered_and_missed_by_its_rule() {
    for overflow in [Overflow::DropOldest, Overflow::Latest, Overflow::Disconnect] {
        let mut world = World::with(1, 4, |config| {
            config.limits.outbound_bytes_max = 1_500;
            config.limits.message_bytes_max = 500;
            config.rules = vec![Rule { filter: "#".to_owned(), overflow, ..Rule::default() }];
        });
        let (peer, publisher) = (world.accept(0), world.open(0));
        world.poll(peer, "topic=a");
        for number in 1..=40 {
            world.say(publisher, &format!(r#"{{"op":"publish","topic":"a","data":{number},"conflate":"c"}}"#));
        }
        world.settle();
        let polled = world.polled_on(peer);
        let (gaps, messages): (Vec<_>, Vec<_>) = polled.messages.iter().partition(|line| line.starts_with("gap"));
        let missed: usize = gaps.iter().map(|line| line.split(' ').nth(2).unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(missed + messages.len(), 40, "{polled:?}");
        assert_eq!(
            (missed == 0, messages.len() == 1),
            (overflow == Overflow::Disconnect, overflow == Overflow::Latest)
        );
        assert_eq!((polled.at(), polled.messages.last().unwrap()), ("40".to_owned(), &"a:40 40".to_owned()));
        world.leave();
    }
}

#[test]
fn a_long_answer_ends_at_its_limit_and_the_next_goes_on_there() {
    let mut world = World::with(2, 4, |config| {
        let history = Some(crate::rules::History { count: 100, age_s: 20 });
        config.rules = vec![Rule { filter: "#".to_owned(), history, ..Rule::default() }];
    });
    let (near, far) = (world.topic_at(0), world.topic_at(1));
    let query = format!("topic={near}&topic={far}");
    let mut next = world.polled(0, &format!("{query}&wait=0")).next;
    let body = format!("\"{}\"", "x".repeat(50_000));
    for _ in 0..25 {
        world.post(0, &near, &body);
        world.post(0, &far, &body);
    }
    let (mut count, mut answers) = (0, 0);
    loop {
        let peer = world.accept(answers % 2);
        world.poll(peer, &format!("{query}&wait=0&since={next}"));
        let answer = world.answers(peer).remove(0);
        assert!(answer.body.len() < limits::HISTORY_REPLY_BYTES_MAX + 200);
        let polled = Polled::of(&answer);
        world.reset(peer);
        if polled.messages.is_empty() {
            break;
        }
        (count, answers, next) = (count + polled.messages.len(), answers + 1, polled.next);
    }
    assert_eq!((count, answers), (50, 3));
    world.pass(21_000);
    world.leave();
}

#[test]
fn what_a_poll_cannot_be_is_refused() {
    let mut world = world(|_| {});
    let peer = world.accept(0);
    for (query, status) in [
        ("topic=a/%23", 400),
        ("topic=a&wait=61", 400),
        ("topic=a&wait=-1", 400),
        ("topic=a&presence=true", 400),
        ("topic=a&since=1", 400),
        ("topic=$sys/a", 403),
        ("wait=1", 400),
    ] {
        assert_eq!(world.request(peer, &format!("GET /v1/poll?{query}"), "", b"").status, status, "{query}");
    }
    // As with `"last":0` over WebSocket: none of the past.
    world.post(0, "a", "1");
    assert_eq!(world.request(peer, "GET /v1/poll?topic=a&wait=0&last=0", "", b"").json()["messages"], json!([]));
    world.send(peer, &request("HEAD /v1/poll?topic=a&wait=60", "", b""));
    world.settle();
    let head = world.hear_head(peer);
    assert!(head.starts_with("HTTP/1.1 200 ") && world.peers[peer].heard == world.peers[peer].got.len(), "{head}");
    world.pass(21_000); // nothing is kept any more
    world.leave();
}
