//! Streams of events, as an `EventSource` reads them: [`World::events`] gives one line per event, behind its id.

use super::api::{JSON, request, world};
use super::*;
use crate::rules::{Overflow, Rule};

impl World {
    /// A stream for this query, its head heard; and what came with it.
    pub(super) fn listen(&mut self, shard: usize, query: &str, headers: &str) -> (usize, Vec<String>) {
        let peer = self.accept(shard);
        self.send(peer, &request(&format!("GET /v1/events?{query}"), headers, b""));
        self.settle();
        let head = self.hear_head(peer);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for line in ["Content-Type: text/event-stream", "Cache-Control: no-store", "Connection: close"] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        let mut events = self.events(peer);
        assert_eq!(events.remove(0), "retry", "before all else");
        (peer, events)
    }

    /// The whole events that came since the last time: `[id] ` where one has an id, then as frames are heard.
    pub(super) fn events(&mut self, peer: usize) -> Vec<String> {
        let peer = &mut self.peers[peer];
        let mut events = Vec::new();
        while let Some(len) = peer.got[peer.heard..].windows(2).position(|end| end == b"\n\n") {
            let text = String::from_utf8(peer.got[peer.heard..peer.heard + len].to_vec()).expect("UTF-8");
            events.push(event(&text));
            peer.heard += len + 2;
        }
        events
    }

    /// What somebody publishes by HTTP.
    pub(super) fn post(&mut self, shard: usize, topic: &str, body: &str) {
        let peer = self.accept(shard);
        let headers = format!("{JSON}Connection: close\r\n");
        let answer = self.request(peer, &format!("POST /v1/publish?topic={topic}"), &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        self.end(peer);
    }
}

/// One event, as a client that keeps to the standard takes it apart.
fn event(text: &str) -> String {
    let (mut id, mut name, mut data) = (None, "message", Vec::new());
    for line in text.split('\n') {
        match line.split_once(": ").unwrap_or((line, "")) {
            ("retry", ms) => return if ms.parse::<u64>().is_ok() { "retry".to_owned() } else { text.to_owned() },
            ("id", value) => id = Some(value), // the last one counts
            ("event", value) => name = value,
            ("data", value) => data.push(value),
            (":", "") => return "beat".to_owned(),
            _ => panic!("{line:?} in {text:?}"),
        }
    }
    let data = data.join("\n");
    let object: serde_json::Value = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in {text:?}"));
    assert_eq!(object["op"], name);
    let offset = |position: &str| position.split_once(':').map_or("", |(_, offset)| offset).to_owned();
    let id = id.map(|id| id.split(',').map(offset).collect::<Vec<_>>().join(","));
    let id = id.map(|id| format!("[{id}] ")).unwrap_or_default();
    match object["op"].as_str() {
        Some("close") => format!("{id}close {}", object["code"]),
        _ => id + &json_line(&data, ""),
    }
}

/// The id that the stream's last event had.
fn last_id(world: &World, peer: usize) -> String {
    let text = String::from_utf8_lossy(&world.peers[peer].got).into_owned();
    let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back();
    id.expect("some").to_owned()
}

#[test]
fn a_stream_begins_with_its_place_and_goes_on_with_each_publication() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        world.post(1, &topic, "0");
        let (stream, begun) = world.listen(0, &format!("topic={topic}"), "");
        assert_eq!(begun, [format!("[1] ack null {topic} @1")]);
        world.post(0, &topic, "[1.0,\r\n 2]");
        world.post(1, &topic, "\"a\"");
        assert_eq!(world.events(stream), [format!("[2] {topic}:2 [1.0,2]"), format!("[3] {topic}:3 \"a\"")]);
        let binary = world.accept(1);
        world.request(binary, &format!("POST /v1/publish?topic={topic}"), "", b"\n\n\xff");
        assert_eq!(world.events(stream), [format!("[4] {topic}:4 \"Cgr/\"")]);
        assert!(String::from_utf8_lossy(&world.peers[stream].got).contains("\"encoding\":\"base64\""));
        world.end(stream);
        world.reset(binary);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn the_last_event_id_resumes_on_any_core_without_a_hole() {
    for (home, again) in [(0, 1), (1, 1), (0, 0)] {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let (stream, _) = world.listen(0, &format!("topic={topic}"), "");
        world.post(0, &topic, "1");
        let id = last_id(&world, stream);
        world.reset(stream);
        world.post(1, &topic, "2");
        world.post(0, &topic, "3");
        for (query, headers) in
            [(String::new(), format!("Last-Event-ID: {id}\r\n")), (format!("&last_event_id={id}"), String::new())]
        {
            let (stream, begun) = world.listen(again, &format!("topic={topic}{query}"), &headers);
            assert_eq!(begun[0], format!("[1] ack null {topic} @3 recovered"), "the place before the replay");
            assert_eq!(begun[1..], [format!("[2] {topic}:2 2"), format!("[3] {topic}:3 3")]);
            world.reset(stream);
        }
        // The header counts: a browser comes back to the address that it began with.
        let (_, begun) = world.listen(
            again,
            &format!("topic={topic}&last_event_id=0000000a:1"),
            &format!("Last-Event-ID: {id}\r\n"),
        );
        assert_eq!(begun.len(), 3);
        let (_, begun) = world.listen(again, &format!("topic={topic}&last_event_id=0000000a:1"), "");
        assert_eq!(begun, [format!("[3] ack null {topic} @3 not recovered")]);
        let (_, begun) = world.listen(again, &format!("topic={topic}&last=1"), "");
        assert_eq!(begun, [format!("[2] ack null {topic} @3"), format!("[3] {topic}:3 3")]);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn an_event_of_several_topics_says_where_it_is_in_all_of_them() {
    let mut world = world(|_| {});
    let (near, far) = (world.topic_at(0), world.topic_at(1));
    let query = format!("topic={near}&topic=%2B/wild&topic={far}");
    let (stream, begun) = world.listen(0, &query, "");
    assert_eq!(begun, [format!("[0,,0] ack null {near} @0"), "ack null +/wild".into(), format!("ack null {far} @0")]);
    world.post(1, &near, "1");
    world.post(0, &far, "1");
    world.post(0, "a/wild", "1");
    world.post(0, &far, "2");
    let far_line = |offset: u32| format!("{far}:{offset} {offset}");
    assert_eq!(
        world.events(stream),
        [
            format!("[1,,0] {near}:1 1"),
            format!("[1,,1] {}", far_line(1)),
            "[1,,1] a/wild:1 1".into(),
            format!("[1,,2] {}", far_line(2))
        ]
    );
    let id = last_id(&world, stream);
    world.reset(stream);
    world.post(0, &far, "3");
    world.post(0, "a/wild", "2");
    world.post(0, &near, "2");
    let (stream, begun) = world.listen(1, &query, &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(begun[0], format!("[1,,2] ack null {near} @2 recovered"));
    assert_eq!(begun[3..], [format!("[2,,2] {near}:2 2"), format!("[2,,3] {}", far_line(3))]);
    world.post(0, &near, "3");
    assert_eq!(world.events(stream), [format!("[3,,3] {near}:3 3")]);
    world.reset(stream);
    world.pass(21_000);
    world.leave();
}

#[test]
fn a_stream_of_one_filter_bears_each_publication_s_own_position() {
    let mut world = world(|_| {});
    let (stream, begun) = world.listen(0, "topic=chat/%23", "");
    assert_eq!(begun, ["[] ack null chat/#"]);
    world.post(0, "chat/1", "1");
    world.post(1, "chat/2", "1");
    assert_eq!(world.events(stream), ["[1] chat/1:1 1", "[1] chat/2:1 1"]);
    let id = last_id(&world, stream);
    let (_, begun) = world.listen(1, "topic=chat/%23", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(begun, ["[] ack null chat/#"], "from now on: there is nothing to go on from");
    world.pass(21_000);
    world.leave();
}

#[test]
fn what_a_filter_brought_before_the_replay_of_the_topic_comes_once() {
    let mut world = world(|_| {});
    let topic = world.topic_at(1);
    world.post(0, &topic, "1");
    let (other, _) = world.listen(0, &format!("topic={topic}"), "");
    let id = last_id(&world, other);
    world.listen(0, "topic=%23", "");
    let publisher = world.open(1);
    // The filter holds at once, for somebody has it here; the topic's home answers behind the second publication.
    let stream = world.accept(0);
    world.send(stream, &request(&format!("GET /v1/events?topic=%23&topic={topic}&last_event_id=,{id}"), "", b""));
    world.say(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":2}}"#));
    world.turn(1);
    world.turn(0);
    assert!(world.shards[0].pending(world.peers[stream].id) > 0, "it has come, and is held");
    world.say(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":3}}"#));
    world.settle();
    world.tell(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":4}}"#));
    world.hear_head(stream);
    let expected = [format!("[,2] {topic}:2 2"), format!("[,3] {topic}:3 3"), format!("[,4] {topic}:4 4")];
    assert_eq!(world.events(stream)[3..], expected);
    world.reset(publisher);
    world.pass(21_000);
    world.leave();
}

#[test]
fn who_reads_slowly_is_told_what_it_missed_and_gets_whole_events() {
    for query in ["topic=chat/1", "topic=chat/1&topic=chat/2", "topic=chat/%2B"] {
        for room in [0, 1, 350, 700] {
            let mut world = World::with(2, 4, |config| {
                config.limits.outbound_bytes_max = 1_500;
                config.limits.message_bytes_max = 500;
                let filter = "#".to_owned();
                config.rules = vec![Rule { filter, overflow: Overflow::DropOldest, ..Rule::default() }];
            });
            let (stream, _) = world.listen(0, query, "");
            world.peers[stream].room = room;
            for number in 1..=50 {
                world.post(number % 2, "chat/1", &number.to_string());
            }
            let waits = world.shards[0].pending(world.peers[stream].id);
            assert!(waits <= 1_500 + 400, "{waits}");
            world.writable(stream, usize::MAX);
            world.settle();
            world.post(0, "chat/1", "51");
            let (mut delivered, mut missed) = (0, 0);
            for line in world.events(stream) {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    ["gap", "chat/1", count, at] => {
                        missed += count.parse::<usize>().unwrap();
                        assert_eq!(at, format!("@{}", delivered + missed), "what is newer comes behind");
                    }
                    [_, topic, _] => {
                        delivered += 1;
                        assert_eq!(topic, format!("chat/1:{}", delivered + missed));
                    }
                    _ => panic!("{line}"),
                }
            }
            assert!(delivered + missed == 51 && missed > 20 && delivered > 5, "{delivered} and {missed}");
            world.leave();
        }
    }
}

#[test]
fn who_is_too_slow_gets_the_rest_of_its_event_and_is_told_to_come_back() {
    for room in 0..400 {
        let mut world = World::with(1, 4, |config| config.limits.outbound_bytes_max = 1_000);
        let (stream, _) = world.listen(0, "topic=a&topic=b", "");
        world.peers[stream].room = room;
        for number in 0..20 {
            world.post(0, "a", &format!("\"{number:060}\""));
        }
        world.writable(stream, usize::MAX);
        world.settle();
        let events = world.events(stream);
        assert_eq!(world.peers[stream].heard, world.peers[stream].got.len(), "whole events");
        let (close, events) = events.split_last().expect("the end is told");
        assert_eq!(close, "close 4008");
        assert!(events.len() <= 3, "{events:?}");
        assert!(world.peers[stream].shut);
        world.end(stream);
        world.leave();
        assert_eq!(world.closed(CloseReason::SlowConsumer), 1);
    }
}

#[test]
fn a_silent_stream_has_a_heartbeat_and_a_dead_one_an_end() {
    let mut world = world(|_| {});
    let (alive, _) = world.listen(0, "topic=a", "");
    let (dead, _) = world.listen(0, "topic=a", "");
    world.pass(100_000);
    assert!((3..=4).contains(&world.events(alive).len()));
    world.peers[dead].room = 0;
    world.peers[alive].room = 0;
    world.post(0, "a", "1");
    world.pass(2_000);
    assert!(!world.peers[dead].dropped, "it was well a moment ago");
    world.writable(alive, usize::MAX);
    world.pass(20_000);
    assert!(!world.peers[dead].dropped, "a pong has more time than this");
    world.pass(60_000);
    assert!(world.peers[dead].dropped && !world.peers[alive].dropped);
    assert_eq!(world.closed(CloseReason::HeartbeatMissed), 1);
    assert!(world.events(alive).contains(&"beat".to_owned()));
    world.leave();
}

#[test]
fn a_token_that_ends_ends_its_stream() {
    let mut world = identity::world(false);
    let headers = format!("Authorization: Bearer {}\r\n", identity::token("ann", &["granted/#"], &[], 60));
    let (stream, begun) = world.listen(0, "topic=granted/1", &headers);
    assert_eq!(begun, ["[0] ack null granted/1 @0"]);
    world.pass(50_000);
    world.events(stream);
    world.pass(10_000);
    assert_eq!(world.events(stream), ["close 4001"]);
    assert!(world.peers[stream].shut);
    world.end(stream);
    for (line, headers, status) in [
        ("GET /v1/events?topic=granted/1", &*headers, 401),
        ("GET /v1/events?topic=granted/1", "", 401),
        ("GET /v1/poll?topic=granted/1&wait=0", &*headers, 401),
    ] {
        let peer = world.accept(1);
        assert_eq!(world.request(peer, line, headers, b"").status, status, "{line} {headers}");
    }
    let bob = format!("Authorization: Bearer {}\r\n", identity::token("bob", &["granted/2"], &[], 600));
    let peer = world.accept(1);
    assert_eq!(world.request(peer, "GET /v1/events?topic=granted/2&topic=granted/1", &bob, b"").status, 403);
    assert_eq!(world.request(peer, "GET /v1/poll?topic=granted/2&wait=0", &bob, b"").status, 200, "it goes on");
    world.leave();
}

#[test]
fn a_drain_tells_a_stream_when_to_come_back() {
    for stop in [false, true] {
        let mut world = World::with(2, 4, |config| config.server.drain_s = 1);
        let (stream, _) = world.listen(0, &format!("topic={}", world.topic_at(1)), "");
        world.shards.iter_mut().for_each(if stop { Shard::handle_stop } else { Shard::handle_drain });
        world.pass(2_000);
        assert_eq!(world.events(stream), ["retry", "close 1001"]);
        assert!(world.peers[stream].shut);
        world.end(stream);
        world.pass(100);
        assert!(world.shards.iter().all(Shard::is_stopped));
        world.assert_empty();
    }
}

#[test]
fn what_is_refused_is_a_document_and_leaves_nothing() {
    let mut world = world(|config| config.limits.subscriptions_max = 3);
    let peer = world.accept(0);
    let many: String = (0..=limits::FEED_TOPICS_MAX).map(|number| format!("&topic=t/{number}")).collect();
    for (query, status) in [
        ("", 400),
        ("topic=", 400),
        ("topic=a/%23/b", 400),
        ("topic=a&topic=a", 400),
        ("topic=a&last=-1", 400),
        ("topic=a&last=1001", 400),
        ("topic=a&presence=yes", 400),
        ("topic=a&last_event_id=x", 400),
        ("topic=a&topic=b&last_event_id=0000000a:1", 400),
        ("topic=a&last_event_id=0000000a:1,0000000a:1", 400),
        (&many[1..], 400),
        ("topic=$sys/a", 403),
        ("topic=$presence/a", 403),
        ("topic=$sys/%23", 403),
        ("topic=a&topic=b&topic=c&topic=d", 403),
        ("topic=a&topic=bare/1&presence=true", 404),
    ] {
        let answer = world.request(peer, &format!("GET /v1/events?{query}"), "", b"");
        assert_eq!(answer.status, status, "{query} {answer:?}");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        let held = world.shards[0].held();
        assert!(
            held.iter().filter(|(name, _)| name.contains("subscriptions")).all(|(_, count)| *count == 0),
            "{query}"
        );
    }
    assert_eq!(world.request(peer, "POST /v1/events?topic=a", JSON, b"1").status, 405);
    let headers = "Last-Event-ID: 0000000a:1\r\nLast-Event-ID: 0000000a:1\r\n";
    assert_eq!(world.request(peer, "GET /v1/events?topic=a", headers, b"").status, 400);
    world.leave();
}

#[test]
fn head_gets_the_head() {
    let mut world = world(|_| {});
    let peer = world.accept(0);
    world.send(peer, &request(&format!("HEAD /v1/events?topic={}", world.topic_at(1)), "", b""));
    world.settle();
    assert!(world.hear_head(peer).contains("\r\nContent-Type: text/event-stream\r\n"));
    assert!(world.peers[peer].heard == world.peers[peer].got.len() && world.peers[peer].shut);
    world.end(peer);
    world.leave();
}

#[test]
fn a_stream_is_a_member_and_is_told_of_others() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let (stream, begun) = world.listen(0, &format!("topic={topic}&presence=true"), "");
        assert_eq!(begun[1..], [format!("join {topic} 0-0-0")]);
        let other = world.open(1);
        world.tell(other, &format!(r#"{{"op":"subscribe","topic":"{topic}","presence":true}}"#));
        assert_eq!(world.events(stream), [format!("join {topic} 1-0-0")]);
        world.hear(other);
        let asks = world.accept(1);
        let there = world.request(asks, &format!("GET /v1/presence?topic={topic}"), "", b"").json();
        assert_eq!(there["connections"], 2);
        world.end(stream);
        world.settle();
        assert_eq!(world.hear(other), [format!("leave {topic} 0-0-0")]);
        world.leave();
    }
}

#[test]
fn a_publisher_that_wants_no_echo_leaves_streams_alone() {
    let mut world = world(|_| {});
    let (publisher, other) = (world.open(0), world.open(0));
    for peer in [publisher, other] {
        world.tell(peer, r#"{"op":"subscribe","topic":"a"}"#);
    }
    let (stream, _) = world.listen(0, "topic=a&topic=b", "");
    let (plain, _) = world.listen(0, "topic=a", "");
    for number in 1..=4 {
        let echo = number % 2 == 0;
        world.say(publisher, &format!(r#"{{"op":"publish","topic":"a","data":{number},"echo":{echo}}}"#));
    }
    world.settle();
    assert_eq!(world.hear(publisher), ["a:2 2", "a:4 4"]);
    assert_eq!(world.hear(other).len(), 4);
    assert_eq!(world.events(plain), ["[1] a:1 1", "[2] a:2 2", "[3] a:3 3", "[4] a:4 4"]);
    assert_eq!(world.events(stream).len(), 4);
    world.pass(21_000);
    world.leave();
}

#[test]
fn a_stream_begins_behind_the_answers_to_the_requests_before_it() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let peer = world.accept(0);
        let publish = request(&format!("POST /v1/publish?topic={topic}"), JSON, b"1");
        let listen = request(&format!("GET /v1/events?topic={topic}"), "", b"");
        world.send(peer, &[&publish[..], &publish, &listen, &publish].concat());
        world.settle();
        for _ in 0..2 {
            let head = world.hear_head(peer);
            assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
            world.peers[peer].heard += "{\"position\":\"00000000:1\"}\n".len();
        }
        assert!(world.hear_head(peer).contains("\r\nContent-Type: text/event-stream\r\n"));
        assert_eq!(world.events(peer), ["retry", &format!("[2] ack null {topic} @2")], "and nothing is read behind it");
        world.reset(peer);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn a_stream_waits_until_a_slow_reader_has_the_answers_before_it() {
    let mut world = world(|_| {});
    let peer = world.accept(0);
    world.peers[peer].room = 10;
    let publish = request("POST /v1/publish?topic=a", JSON, b"1");
    world.send(peer, &[&publish[..], &request("GET /v1/events?topic=a&last=5", "", b"")].concat());
    world.settle();
    world.post(1, "a", "2");
    world.writable(peer, usize::MAX);
    world.settle();
    world.hear_head(peer);
    world.peers[peer].heard += "{\"position\":\"00000000:1\"}\n".len();
    world.hear_head(peer);
    assert_eq!(world.events(peer), ["retry", "[0] ack null a @2", "[1] a:1 1", "[2] a:2 2"]);
    world.reset(peer);
    world.pass(21_000);
    world.leave();
}

#[test]
fn who_ended_its_side_before_a_stream_began_gets_no_endless_one() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let peer = world.accept(0);
        world.send(peer, &request(&format!("GET /v1/events?topic={}", world.topic_at(home)), "", b""));
        world.end(peer);
        world.settle();
        assert!(world.hear_head(peer).starts_with("HTTP/1.1 200 "));
        assert!(world.peers[peer].dropped);
        world.assert_empty();
    }
}

#[test]
fn more_than_may_wait_before_a_stream_begins_refuses_it() {
    let mut world = World::with(2, 4, |config| config.limits.outbound_bytes_max = 1_000);
    let publisher = world.open(0);
    let stream = world.accept(0);
    let (near, far) = (world.topic_at(0), world.topic_at(1));
    world.send(stream, &request(&format!("GET /v1/events?topic={near}&topic={far}"), "", b""));
    world.turn(0);
    for _ in 0..30 {
        world.say(publisher, &format!(r#"{{"op":"publish","topic":"{near}","data":"{}"}}"#, "x".repeat(60)));
    }
    world.turn(0);
    world.settle();
    let answer = &world.answers(stream)[0];
    assert!(answer.status == 503 && answer.head.contains("\r\nRetry-After: 1\r\n"), "{answer:?}");
    assert!(world.peers[stream].shut);
    world.end(stream);
    world.leave();
}

#[test]
fn the_next_tenant_of_a_slot_inherits_nothing() {
    let mut world = World::new(1);
    let (stream, _) = world.listen(0, "topic=a&topic=b", "");
    world.post(0, "a", "1");
    world.reset(stream);
    let (next, begun) = world.listen(0, "topic=b", "");
    assert_eq!(world.peers[next].id.index, world.peers[stream].id.index);
    assert_eq!(begun, ["[0] ack null b @0"]);
    world.post(0, "a", "2");
    world.post(0, "b", "1");
    assert_eq!(world.events(next), ["[1] b:1 1"]);
    world.reset(next);
    let socket = world.open(0);
    assert_eq!(world.peers[socket].id.index, world.peers[stream].id.index);
    world.tell(socket, r#"{"op":"subscribe","topic":"a"}"#);
    world.post(0, "a", "3");
    assert_eq!(world.hear(socket), ["a:3 3"]);
    world.leave();
}
