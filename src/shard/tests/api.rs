//! The HTTP API, as a backend sees it: one response for each request, in order, whichever core the topic is on.

use serde_json::{Value, json};

use super::*;
use crate::rules::{Access, History, Rule};

pub(super) fn world(configure: impl FnOnce(&mut Config)) -> World {
    World::with(2, 4, |config| {
        let rule = |filter: &str| Rule {
            filter: filter.to_owned(),
            history: Some(History { count: 10, age_s: 20 }),
            presence: true,
            ..Rule::default()
        };
        config.rules = vec![
            Rule { publish: Access::Nobody, ..rule("mute/#") },
            Rule { history: None, presence: false, ..rule("bare/#") },
            rule("#"),
        ];
        configure(config);
    })
}

/// A response: its status, its head, and its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

impl World {
    /// The whole responses that came since the last time.
    pub(super) fn answers(&mut self, peer: usize) -> Vec<Answer> {
        let peer = &mut self.peers[peer];
        let mut answers = Vec::new();
        while let Some(end) = peer.got[peer.heard..].windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8(peer.got[peer.heard..peer.heard + end + 2].to_vec()).expect("text");
            let status: u16 = head[9..12].parse().expect("a status");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length = length.map_or(0, |digits| digits.parse::<usize>().expect("a number"));
            let start = peer.heard + end + 4;
            answers.push(Answer { status, head, body: peer.got[start..start + length].to_vec() });
            peer.heard = start + length;
        }
        assert_eq!(peer.heard, peer.got.len(), "nothing behind the last response");
        answers
    }

    /// One request on a connection of its own, or on an earlier one.
    pub(super) fn request(&mut self, peer: usize, line: &str, headers: &str, body: &[u8]) -> Answer {
        let request = request(line, headers, body);
        self.send(peer, &request);
        self.settle();
        let mut answers = self.answers(peer);
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }
}

pub(super) fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = if line.starts_with("POST") { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
    [format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n").as_bytes(), body].concat()
}

pub(super) const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn what_is_published_by_http_reaches_subscribers_and_tells_its_position() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let (subscriber, backend) = (world.open(0), world.accept(1));
        world.tell(subscriber, &format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}"}}"#));
        let line = format!("POST /v1/publish?topic={}", topic.replace('/', "%2F"));
        let answer = world.request(backend, &line, JSON, b" {\"n\":1.0} ");
        assert_eq!(answer.status, 200);
        assert!(answer.json()["position"].as_str().unwrap().ends_with(":1"));
        assert!(answer.head.contains("\r\nDate: Tue, 14 Nov 2023 22:13:2"), "{}", answer.head);
        assert_eq!(world.request(backend, &line, "Content-Type: text/plain\r\n", "sa\"y é".as_bytes()).status, 200);
        assert_eq!(world.request(backend, &line, "", b"\x00\xff").status, 200);
        let heard = world.hear(subscriber);
        assert_eq!(heard[1..3], [format!(r#"{topic}:1 {{"n":1.0}}"#), format!(r#"{topic}:2 "sa\"y é""#)]);
        assert!(heard[3].starts_with(&format!("{topic}:3 bytes")));
        world.reset(subscriber);
        world.reset(backend);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn a_body_goes_to_several_topics_and_one_failure_stops_no_other() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let answer = world.request(backend, "POST /v1/publish?topic=bare/1&topic=mute/1&topic=bare/2", JSON, b"1");
    let list = answer.json();
    assert_eq!((list[0]["topic"].as_str(), list[2]["topic"].as_str()), (Some("bare/1"), Some("bare/2")));
    assert_eq!(list[1]["error"]["code"], 403);
    let alone = world.request(backend, "POST /v1/publish?topic=mute/1", JSON, b"1");
    assert_eq!((alone.status, alone.json()["status"].as_u64()), (403, Some(403)));
    world.leave();
}

#[test]
fn a_repeat_with_the_same_idempotency_key_publishes_nothing() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let headers = format!("{JSON}Idempotency-Key: k1\r\n");
    let first = world.request(backend, "POST /v1/publish?topic=a", &headers, b"1").json();
    assert_eq!(world.request(backend, "POST /v1/publish?topic=a", &headers, b"2").json(), first);
    let long = format!("{JSON}Idempotency-Key: {}\r\n", "k".repeat(129));
    assert_eq!(world.request(backend, "POST /v1/publish?topic=a", &long, b"2").status, 400);
}

#[test]
fn a_batch_is_answered_in_order() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let batch = json!([
        { "topic": "a", "data": 1 },
        { "op": "publish", "topic": "mute/1", "data": 1 },
        { "topic": "a/+", "data": 1 },
        { "op": "subscribe", "topic": "a" },
        7,
        { "topic": "a", "data": 2, "key": "k" },
        { "topic": "a", "data": 3, "key": "k" },
    ]);
    let list = world.request(backend, "POST /v1/batch", JSON, batch.to_string().as_bytes()).json();
    let codes: Vec<_> = list.as_array().unwrap().iter().map(|part| part["error"]["code"].as_u64()).collect();
    assert_eq!(codes, [None, Some(403), Some(400), Some(400), Some(400), None, None]);
    assert_eq!(list[5]["position"], list[6]["position"]);
    for (body, status) in [("[]", 400), ("[1", 400), ("{}", 400), ("", 400), ("[{}]", 200)] {
        let answer = world.request(backend, "POST /v1/batch", JSON, body.as_bytes());
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(world.request(backend, "POST /v1/batch", "", b"[]").status, 415);
}

#[test]
fn history_and_members_are_asked_for() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let topic = world.topic_at(home);
        let (member, backend) = (world.open(1), world.accept(0));
        world.tell(member, &format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}"}}"#));
        for number in 1..=3 {
            let line = format!("POST /v1/publish?topic={topic}");
            assert_eq!(world.request(backend, &line, JSON, number.to_string().as_bytes()).status, 200);
        }
        let line = format!("GET /v1/history?topic={topic}&limit=2&reverse=true");
        let history = world.request(backend, &line, "", b"").json();
        let data: Vec<_> =
            history["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect();
        assert_eq!(data, [json!(3), json!(2)]);
        assert!(history.get("id").is_none());
        let since = history["messages"][1]["position"].as_str().unwrap().to_owned();
        let line = format!("GET /v1/history?topic={topic}&since={since}");
        assert_eq!(world.request(backend, &line, "", b"").json()["messages"].as_array().unwrap().len(), 1);
        let present = world.request(backend, &format!("GET /v1/presence?topic={topic}&limit=1"), "", b"").json();
        assert_eq!((present["connections"].as_u64(), present["members"].as_array().map(Vec::len)), (Some(1), Some(1)));
        for line in ["GET /v1/history?topic=bare/1", "GET /v1/presence?topic=bare/1", "GET /v1/nothing"] {
            assert_eq!(world.request(backend, line, "", b"").status, 404, "{line}");
        }
        for query in ["", "topic=%2B", "topic=a&limit=0", "topic=a&limit=1001", "topic=a&since=x", "topic=a&reverse=1"]
        {
            let answer = world.request(backend, &format!("GET /v1/history?{query}"), "", b"");
            assert_eq!((answer.status, answer.json()["status"].as_u64()), (400, Some(400)), "{query}");
        }
        world.send(backend, &request(&format!("HEAD /v1/presence?topic={topic}"), "", b""));
        world.settle();
        assert!(world.hear_head(backend).starts_with("HTTP/1.1 200 "));
        assert!(world.answers(backend).is_empty(), "no body");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_wherever_their_topics_live() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let topics = [world.topic_at(0), world.topic_at(1)];
    let mut bytes = Vec::new();
    for number in 0..200 {
        let line = format!("POST /v1/publish?topic={}", topics[number % 2]);
        bytes.extend(request(&line, JSON, number.to_string().as_bytes()));
    }
    for part in bytes.chunks(777) {
        world.send(backend, part);
        world.settle();
    }
    let answers = world.answers(backend);
    let offsets: Vec<_> = answers
        .iter()
        .map(|answer| answer.json()["position"].as_str().unwrap().split_once(':').unwrap().1.parse::<u64>().unwrap())
        .collect();
    assert_eq!(offsets, (0..200).map(|number| number / 2 + 1).collect::<Vec<_>>());
}

#[test]
fn a_request_that_waits_pauses_reading_and_its_answer_resumes_it() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let line = format!("POST /v1/publish?topic={}", world.topic_at(1));
    world.send(backend, &request(&line, JSON, b"1"));
    assert!(!world.reads(backend));
    world.settle();
    assert!(world.reads(backend));
    assert_eq!(world.answers(backend).len(), 1);
    world.reset(backend);
    world.pass(21_000);
    world.leave();
}

#[test]
fn whoever_ends_its_side_behind_a_request_still_gets_the_answer() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let line = format!("POST /v1/publish?topic={}", world.topic_at(1));
    world.send(backend, &request(&line, JSON, b"1"));
    world.end(backend);
    world.settle();
    assert_eq!(world.answers(backend)[0].status, 200);
    assert!(world.peers[backend].dropped);
    world.pass(21_000);
    world.leave();
}

#[test]
fn a_connection_without_a_further_request_is_closed_in_time() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    world.pass(9_000);
    world.request(backend, "GET /v1/history?topic=a", "", b"");
    world.pass(9_000);
    assert!(!world.peers[backend].dropped, "each request has its own time");
    world.pass(2_000);
    assert!(world.peers[backend].dropped && world.answers(backend).is_empty(), "without a word");
    assert_eq!((world.closed(CloseReason::Idle), world.closed(CloseReason::HandshakeTimeout)), (1, 0));
    world.leave();
}

#[test]
fn wrong_requests_get_a_problem_and_the_connection_lives_where_it_can() {
    let mut world = world(|config| config.limits.message_bytes_max = 1_000);
    let backend = world.accept(0);
    for (line, headers, body, status) in [
        ("GET /v1/publish?topic=a", "", "", 405),
        ("DELETE /v1/history?topic=a", "", "", 405),
        ("POST /v1/publish", JSON, "1", 400),
        ("POST /v1/publish?topic=", JSON, "1", 400),
        ("POST /v1/publish?topic=$sys/x", JSON, "1", 403),
        ("POST /v1/publish?topic=a", JSON, "{\"a\":", 400),
        ("POST /v1/publish?topic=a", JSON, "1,\"topic\":2", 400),
        ("POST /v1/publish?topic=a&conflate=", JSON, "1", 400),
        ("POST /v1/publish?topic=a", "Content-Type: application/json; charset=latin1\r\n", "1", 415),
        ("POST /v1/publish?topic=a", "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", "1", 415),
        ("GET /v1/history?topic=%zz", "", "", 400),
        ("GET /v1/presence?topic=a&after=nobody", "", "", 400),
        ("OPTIONS /v1/publish", "", "", 204),
    ] {
        let answer = world.request(backend, line, headers, body.as_bytes());
        assert_eq!(answer.status, status, "{line} {body}: {}", String::from_utf8_lossy(&answer.body));
    }
    let many: String = (0..101).map(|number| format!("topic=t{number}&")).collect();
    assert_eq!(world.request(backend, &format!("POST /v1/publish?{many}x"), JSON, b"1").status, 400);
    let answer = world.request(backend, "POST /v1/publish?topic=a", JSON, &vec![b'1'; 1_001]);
    assert_eq!(answer.status, 413);
    world.settle();
    assert!(world.peers[backend].shut, "a body that is not read ends the connection");
    world.end(backend);
    world.leave();
}

#[test]
fn a_page_of_another_origin_may_not_publish_and_an_allowed_one_is_told_so() {
    let mut world = world(|config| config.server.allowed_origins = vec!["https://ok.example".to_owned()]);
    let backend = world.accept(0);
    let line = "POST /v1/publish?topic=a";
    let refused = world.request(backend, line, &format!("{JSON}Origin: https://evil.example\r\n"), b"1");
    assert_eq!(refused.status, 403);
    let preflight = "Origin: https://ok.example\r\nAccess-Control-Request-Method: POST\r\n";
    let answer = world.request(backend, "OPTIONS /v1/publish?topic=a", preflight, b"");
    assert!(answer.head.contains("Access-Control-Allow-Headers: Authorization, "), "{}", answer.head);
    let answer = world.request(backend, line, &format!("{JSON}Origin: https://ok.example\r\n"), b"1");
    assert!(answer.head.contains("Access-Control-Allow-Origin: https://ok.example\r\n"), "{}", answer.head);
    assert!(answer.json()["position"].as_str().unwrap().ends_with(":1"), "the refused one published nothing");
}

#[test]
fn the_rate_of_commands_holds_for_requests() {
    let mut world = world(|config| config.limits.commands_per_second_max = 5);
    let backend = world.accept(0);
    for _ in 0..10 {
        assert_eq!(world.request(backend, "POST /v1/publish?topic=bare/a", JSON, b"1").status, 200);
    }
    let answer = world.request(backend, "POST /v1/publish?topic=bare/a", JSON, b"1");
    assert!(answer.status == 429 && answer.head.contains("\r\nRetry-After: 1\r\n"), "{answer:?}");
    let told = world.shards[0].counters().refused.iter().find(|(cause, _)| *cause == "unavailable");
    assert_eq!(told, Some(("unavailable", 1)), "whoever looks at the figures sees it");
    world.leave();
}

#[test]
fn whoever_goes_on_too_fast_is_told_the_last_time_with_the_end() {
    let publish = request("POST /v1/publish?topic=bare/a", JSON, b"1");
    let refused = [
        request("GET /v1/nothing", "", b""),
        request("OPTIONS /v1/publish", "", b""),
        request("GET /v1/poll?topic=a/%23", "", b""),
        request("GET /v1/events?topic=a//b", "", b""),
        request("GET /v1/history?topic=a", "Origin: https://evil.example\r\n", b""),
    ];
    for one in refused.iter().chain([&publish]) {
        let mut world = world(|config| config.limits.commands_per_second_max = 3);
        let backend = world.accept(0);
        for _ in 0..60 {
            world.send(backend, one);
            world.settle();
        }
        let answers = world.answers(backend);
        let counts = [answers.iter().filter(|answer| answer.status != 429).count(), answers.len()];
        assert_eq!(counts, [6, 6 + 31], "two seconds' worth pass, ten are told");
        let (last, before) = answers.split_last().expect("some");
        let ends = |answer: &Answer| answer.head.contains("\r\nConnection: close\r\n");
        assert!(last.status == 429 && ends(last) && !before.iter().any(ends), "{last:?}");
        assert!(world.peers[backend].shut);
        world.leave();
        assert_eq!(world.closed(CloseReason::TooFast), 1);
    }
    // So it is within one batch, whose answer still says what became of each.
    let mut world = world(|config| config.limits.commands_per_second_max = 3);
    let backend = world.accept(0);
    let batch = json!(vec![json!({ "topic": "bare/1", "data": 1 }); 100]).to_string();
    world.send(backend, &[request("POST /v1/batch", JSON, batch.as_bytes()), publish].concat());
    world.settle();
    let answers = world.answers(backend);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert!(answer.status == 200 && answer.head.contains("\r\nConnection: close\r\n"), "{}", answer.head);
    let published = answer.json().as_array().unwrap().iter().filter(|part| part["error"].is_null()).count();
    assert_eq!((published, answer.json().as_array().unwrap().len()), (6, 100));
    world.leave();
    assert_eq!(world.closed(CloseReason::TooFast), 1);
}

/// A topic that keeps `count` publications of `len` bytes, made by this connection.
fn fill(world: &mut World, backend: usize, topic: &str, count: usize, len: usize) {
    let line = format!("POST /v1/publish?topic={topic}");
    for _ in 0..count {
        let answer = world.request(backend, &line, "Content-Type: text/plain\r\n", &vec![b'x'; len]);
        assert_eq!(answer.status, 200);
    }
}

#[test]
fn an_answer_of_half_the_limit_pauses_reading_no_longer_than_it_waits() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    fill(&mut world, backend, "a", 5, 8_000);
    for _ in 0..3 {
        let answer = world.request(backend, "GET /v1/history?topic=a", "", b"");
        assert!(answer.body.len() > limits::REPLY_BYTES_MAX / 2 && answer.body.len() < limits::REPLY_BYTES_MAX);
        assert!(world.reads(backend), "it was read to its end");
    }
    world.reset(backend);
    world.pass(21_000);
    world.leave();
}

#[test]
fn whoever_reads_no_answers_gets_no_more_of_them_made_and_later_all_in_order() {
    for home in 0..2 {
        let mut world = world(|_| {});
        let (writer, reader, topic) = (world.accept(0), world.accept(0), world.topic_at(home));
        fill(&mut world, writer, &topic, 10, 10_000);
        world.peers[reader].room = 0;
        let one = request(&format!("GET /v1/history?topic={topic}"), "", b"");
        let refusal = request("GET /v1/nothing", "", b"");
        world.send(reader, &[one.repeat(500), refusal.repeat(1)].concat());
        world.settle();
        let id = world.peers[reader].id;
        assert!(world.shards[0].pending(id) < 3 * limits::REPLY_BYTES_MAX, "{}", world.shards[0].pending(id));
        assert!(!world.reads(reader));
        world.writable(reader, usize::MAX);
        world.settle();
        let answers = world.answers(reader);
        assert_eq!(answers.len(), 501);
        assert!(answers[..500].iter().all(|answer| answer.status == 200) && answers[500].status == 404);
        assert!(world.reads(reader));
        world.reset(reader);
        world.reset(writer);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn refusals_that_nobody_reads_do_not_pile_up_either() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    world.peers[backend].room = 0;
    world.send(backend, &request("GET /v1/nothing", "", b"").repeat(1_800));
    world.settle();
    let id = world.peers[backend].id;
    assert!(world.shards[0].pending(id) < limits::REPLY_BYTES_MAX + 1_000, "{}", world.shards[0].pending(id));
    world.end(backend); // and it will not send more
    world.writable(backend, usize::MAX);
    world.settle();
    assert_eq!(world.answers(backend).len(), 1_800);
    assert!(world.peers[backend].dropped);
    world.leave();
}

#[test]
fn a_long_answer_may_be_read_slowly_but_not_never() {
    for close in ["", "Connection: close\r\n"] {
        let mut world = world(|_| {});
        let backend = world.accept(0);
        fill(&mut world, backend, "a", 10, 10_000);
        world.peers[backend].room = 10_000;
        world.send(backend, &request("GET /v1/history?topic=a", close, b""));
        world.settle();
        for _ in 0..5 {
            world.pass(4_000);
            world.writable(backend, 10_000);
            world.settle();
            assert!(!world.peers[backend].dropped);
        }
        world.pass(11_000);
        assert!(world.peers[backend].dropped);
        world.leave();
    }
}

#[test]
fn each_publication_of_a_request_takes_of_the_rate() {
    let mut world = world(|config| config.limits.commands_per_second_max = 5);
    let backend = world.accept(0);
    let batch = json!(vec![json!({ "topic": "bare/1", "data": 1 }); 12]).to_string();
    let list = world.request(backend, "POST /v1/batch", JSON, batch.as_bytes()).json();
    let codes: Vec<_> = list.as_array().unwrap().iter().map(|part| part["error"]["code"].as_u64()).collect();
    assert_eq!(codes[..10], [None; 10]);
    assert_eq!(codes[10..], [Some(429), Some(429)]);
    world.pass(1_000);
    let topics = "topic=bare/1&".repeat(6);
    let list = world.request(backend, &format!("POST /v1/publish?{topics}"), JSON, b"1").json();
    assert_eq!((list[4]["error"].is_null(), list[5]["error"]["code"].as_u64()), (true, Some(429)));
    world.leave();
}

#[test]
fn a_batch_without_a_single_right_publication_is_answered_at_once() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let answers =
        [b"[7,8]".as_slice(), b"[{}]"].map(|body| world.request(backend, "POST /v1/batch", JSON, body).json());
    assert_eq!(answers.map(|list| list.as_array().unwrap().len()), [2, 1]);
    let one = request("POST /v1/batch", JSON, b"[7]");
    world.send(backend, &one.repeat(20));
    assert!(world.reads(backend), "nothing is waited for");
    world.settle();
    assert_eq!(world.answers(backend).len(), 20);
    world.leave();
}

#[test]
fn a_request_in_the_middle_of_a_stop_is_answered_and_told_that_it_was_the_last() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let line = format!("POST /v1/publish?topic={}", world.topic_at(1));
    world.send(backend, &request(&line, JSON, b"1").repeat(2));
    world.shards.iter_mut().for_each(Shard::handle_stop);
    world.settle();
    let answers = world.answers(backend);
    assert_eq!(answers.len(), 2);
    assert!(!answers[0].head.contains("\r\nConnection: close\r\n"));
    assert!(answers[1].status == 200 && answers[1].head.contains("\r\nConnection: close\r\n"), "{answers:?}");
    assert!(world.peers[backend].shut);
    world.end(backend);
    assert!(world.shards.iter().all(Shard::is_stopped));
}

#[test]
fn what_is_answered_at_once_waits_for_the_answers_before_it() {
    for (line, headers, status) in [
        ("GET /v1/nothing", "", 404),
        ("OPTIONS /v1/publish", "", 204),
        ("POST /v1/publish?topic=a", "Content-Encoding: gzip\r\n", 415),
        ("POST /v1/batch", JSON, 400),
        ("GET /healthz", "", 200),
        ("GET /v1/history?topic=a", "Expect: money\r\nContent-Length: 1\r\n", 417),
        ("GET /ws", "Upgrade: websocket\r\n", 400),
        ("GET  /", "", 400),
    ] {
        let mut world = world(|_| {});
        let backend = world.accept(0);
        let publish = format!("POST /v1/publish?topic={}", world.topic_at(1));
        let own = format!("POST /v1/publish?topic={}", world.topic_at(0));
        let [publish, own] = [publish, own].map(|line| request(&line, JSON, b"1"));
        world.send(backend, &[&publish[..], &own, &request(line, headers, b""), &publish].concat());
        assert!(world.answers(backend).is_empty());
        world.settle();
        let statuses: Vec<_> = world.answers(backend).iter().map(|answer| answer.status).collect();
        assert_eq!(statuses[..3], [200, 200, status], "{line}");
        let ends = world.peers[backend].shut;
        assert_eq!((statuses.len(), ends), if line.contains("/v1/") && status != 417 { (4, false) } else { (3, true) });
        world.reset(backend);
        world.pass(21_000);
        world.leave();
    }
}

#[test]
fn a_client_that_waits_to_send_its_body_waits_for_the_answers_before_too() {
    let mut world = world(|_| {});
    let backend = world.accept(0);
    let publish = request(&format!("POST /v1/publish?topic={}", world.topic_at(1)), JSON, b"1");
    let expects = b"POST /v1/publish?topic=a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    world.send(backend, &[&publish[..], expects].concat());
    world.settle();
    let statuses = |world: &mut World| world.answers(backend).iter().map(|answer| answer.status).collect::<Vec<_>>();
    assert_eq!(statuses(&mut world), [200, 100]);
    assert!(world.reads(backend));
    world.send(backend, b"1");
    world.settle();
    assert_eq!(statuses(&mut world), [200]);
}
