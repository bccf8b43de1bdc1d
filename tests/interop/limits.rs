//! Every limit at every door: WebSockets, event streams, polls, publications one by one and in batches.
//!
//! One test for each limit, and in it one turn for each door, so that a hole in the table is a line that is missing. What a
//! limit means at a door is docs/protocol.md's; how it holds on several cores and under a clock moved by hand is tried
//! beside the code.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{JSON, broker_with, request};
use crate::common::client::Client;
use crate::common::raw::{Answer, Raw, frame, handshake};
use crate::common::{Broker, PATIENCE};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    WebSocket,
    Events,
    Poll,
    Publish,
    Batch,
}

use Door::{Batch, Events, Poll, Publish, WebSocket};

const DOORS: [Door; 5] = [WebSocket, Events, Poll, Publish, Batch];

const BATCH: &str = r#"[{"topic":"door","data":1}]"#;

impl Door {
    /// Its request line but for the version, and the body.
    fn line(self) -> (&'static str, &'static str) {
        match self {
            WebSocket => ("GET /ws", ""),
            Events => ("GET /v1/events?topic=door", ""),
            Poll => ("GET /v1/poll?topic=door&wait=0", ""),
            Publish => ("POST /v1/publish?topic=door", "1"),
            Batch => ("POST /v1/batch", BATCH),
        }
    }

    /// A request that is let in, with further header lines.
    fn request(self, headers: &str) -> String {
        if self == WebSocket {
            return handshake("/ws").replace("\r\n\r\n", &format!("\r\n{headers}\r\n"));
        }
        let (line, body) = self.line();
        let kind = if body.is_empty() { "" } else { JSON };
        request(line, &format!("{kind}{headers}"), body)
    }

    /// A request that is refused for what it asks, and leaves the connection open.
    fn wrong(self) -> String {
        match self {
            WebSocket => unreachable!("a refused handshake ends its connection"),
            Events => request("GET /v1/events?topic=a//b", "", ""),
            Poll => request("GET /v1/poll?topic=%23", "", ""),
            Publish => request("POST /v1/publish?topic=a//b", JSON, "1"),
            Batch => request("POST /v1/batch", JSON, "{}"),
        }
    }

    /// The status of who is let in.
    fn welcome(self) -> u16 {
        if self == WebSocket { 101 } else { 200 }
    }

    /// Sends a request on a connection of its own; the head of what came back.
    fn knock(self, broker: &Broker, headers: &str) -> (Raw, Answer) {
        let mut raw = Raw::dial(broker);
        raw.write(self.request(headers).as_bytes());
        let head = raw.read_head();
        (raw, Answer { head, body: Vec::new() })
    }

    /// Knocks again and again until it is let in.
    fn enter(self, broker: &Broker) -> Raw {
        let since = Instant::now();
        loop {
            let (raw, answer) = self.knock(broker, "");
            if answer.status() == self.welcome() {
                return raw;
            }
            assert_eq!(answer.status(), 503, "{self:?}: {}", answer.head);
            assert!(since.elapsed() < PATIENCE, "{self:?}: never let in");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Takes all answers up to the one that ends the connection.
fn answers(mut raw: Raw) -> Vec<Answer> {
    let mut answers = Vec::new();
    loop {
        answers.push(raw.response());
        if answers.last().and_then(|answer| answer.header("connection")) == Some("close") {
            assert!(raw.read_to_end().is_empty(), "nothing behind the last answer");
            return answers;
        }
    }
}

#[test]
fn origins() {
    let any = Some("*");
    let (same, listed) = (None, Some("https://ok.example,app://shell"));
    let mut brokers: Vec<(Option<&str>, Broker, u64)> = Vec::new();
    for (list, origin, allowed) in [
        (same, "", true), // no browser sends none
        (same, "http://localhost", true),
        (same, "http://localhost:81", false),
        (same, "https://evil.example", false),
        (same, "null", false),
        (listed, "https://ok.example", true),
        (listed, "app://shell", true),
        (listed, "http://ok.example", false),
        (listed, "http://localhost", false),
        (any, "null", true),
    ] {
        let known = brokers.iter().position(|(other, ..)| *other == list).unwrap_or_else(|| {
            let settings: Vec<_> = list.map(|list| ("SERVER__ALLOWED_ORIGINS", list)).into_iter().collect();
            brokers.push((list, Broker::start(&settings), 0));
            brokers.len() - 1
        });
        let (_, broker, published) = &mut brokers[known];
        let headers = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let readable = Some(origin).filter(|origin| allowed && !origin.is_empty());
        for door in DOORS {
            let (_raw, answer) = door.knock(broker, &headers);
            let status = if allowed { door.welcome() } else { 403 };
            assert_eq!(answer.status(), status, "{door:?} from {origin:?} with {list:?}: {}", answer.head);
            if door == WebSocket {
                continue;
            }
            assert_eq!(answer.header("access-control-allow-origin"), readable, "{door:?}: {}", answer.head);
            assert!(answer.header("vary").is_some_and(|names| names.contains("Origin")), "{}", answer.head);
            *published += u64::from(allowed && matches!(door, Publish | Batch));
            let asks = format!("{headers}Access-Control-Request-Method: POST\r\n");
            let path = door.line().0.split(' ').nth(1).expect("a path");
            let answer = Raw::dial(broker).ask(&format!("OPTIONS {path}"), &asks, "");
            assert_eq!(answer.status(), if allowed { 204 } else { 403 }, "{door:?}: {}", answer.head);
            assert_eq!(answer.header("access-control-allow-methods").is_some(), readable.is_some(), "{}", answer.head);
        }
    }
    for (list, broker, published) in brokers {
        let position = Raw::dial(&broker).ask("POST /v1/publish?topic=door", JSON, "1").json()["position"].clone();
        let expected = format!(":{}", published + 1);
        assert!(position.as_str().is_some_and(|at| at.ends_with(&expected)), "{list:?}: the refused published nothing");
    }
}

#[test]
fn a_head_that_was_not_read_to_its_end_has_no_origin_that_is_believed() {
    let broker = Broker::start(&[("SERVER__ALLOWED_ORIGINS", "*"), ("LIMITS__HANDSHAKE_MS_MAX", "300")]);
    let origin = "Origin: https://ok.example\r\n";
    for door in DOORS {
        let whole = door.request(origin);
        let (malformed, long) = (format!("{origin}no header\r\n"), format!("{origin}X: {}\r\n", "x".repeat(9_000)));
        let late = &whole[..whole.find("\r\n\r\n").expect("an empty line") + 2];
        for (request, status) in [(door.request(&malformed), 400), (door.request(&long), 431), (late.to_owned(), 408)] {
            let answer = Raw::request(&broker, &request);
            let facts = (answer.status(), answer.header("access-control-allow-origin"), answer.header("connection"));
            assert_eq!(facts, (status, None, Some("close")), "{door:?}: {}", answer.head);
        }
    }
}

#[test]
fn the_rate_of_commands() {
    // Eight at once; forty refusals are told, and the next one is the end.
    let broker = Broker::start(&[("LIMITS__COMMANDS_PER_SECOND_MAX", "4")]);
    let mut client = Client::connect(&broker);
    for round in 0..25 {
        let publish = r#"{"op":"publish","topic":"a","data":1}"#;
        client.send(format!(r#"[{{"op":"ping"}},{publish},{{"op":"subscribe","topic":"a/{round}"}},{{"op":"x"}}]"#));
    }
    let (messages, code, reason) = client.read_to_close();
    let refused = messages.iter().filter(|message| message.to_text().is_ok_and(|text| text.contains(r#""code":429"#)));
    assert_eq!((code, refused.count()), (4029, 40), "{reason}");
    assert!(reason.starts_with("retry_ms="), "{reason}");

    for door in [Events, Poll, Publish, Batch] {
        let one = if door == Events { door.wrong() } else { door.request("") };
        // What is refused for another reason is a request as well.
        for one in [one, door.wrong(), request("OPTIONS /v1/poll", "", ""), request("GET /v1/nothing", "", "")] {
            let mut raw = Raw::dial(&broker);
            raw.write(one.repeat(100).as_bytes());
            let answers = answers(raw);
            let passed = answers.iter().take_while(|answer| answer.status() != 429).count();
            assert!((8..20).contains(&passed), "{door:?}: {passed} of {one}");
            let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
            assert_eq!(refused.len(), 41, "{door:?}");
            for answer in refused {
                let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
                assert!(seconds.is_some_and(|seconds| (1..=3).contains(&seconds)), "{door:?}: {}", answer.head);
                assert_eq!(answer.json()["status"], 429);
            }
        }
        let (_raw, answer) = door.knock(&broker, "");
        assert_eq!(answer.status(), 200, "{door:?}: nobody else is concerned");
    }

    // Each publication of a request takes of it, and the answer says what became of each.
    let topics = (0..100).map(|number| format!("&topic=t/{number}")).collect::<String>();
    let batch: Vec<Value> = (0..100).map(|n| serde_json::json!({ "topic": "door", "data": n })).collect();
    for (line, body) in [
        (format!("POST /v1/publish?{}", &topics[1..]), "1".to_owned()),
        ("POST /v1/batch".to_owned(), Value::from(batch).to_string()),
    ] {
        let answer = Raw::dial(&broker).ask(&line, JSON, &body);
        let list = answer.json();
        let codes: Vec<_> = list.as_array().expect("a list").iter().map(|one| one["error"]["code"].as_u64()).collect();
        assert_eq!((&codes[..8], codes.len()), (&[None; 8][..], 100), "{line}: {list}");
        assert!(codes[12..].iter().all(|code| *code == Some(429)), "{line}: {list}");
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")), "{}", answer.head);
    }
}

#[test]
fn the_number_of_connections() {
    for holder in DOORS {
        let broker = Broker::start(&[("LIMITS__CONNECTIONS_MAX", "4")]);
        let mut held: Vec<Raw> = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::dial(&broker);
            raw.write(holder.request("").as_bytes());
            match holder {
                WebSocket | Events => assert!(raw.read_head().starts_with("HTTP/1.1 "), "it is let in"),
                Poll | Publish | Batch => assert_eq!(raw.response().status(), 200),
            }
            if holder == Poll {
                raw.write(request("GET /v1/poll?topic=quiet&wait=60", "", "").as_bytes());
            }
            held.push(raw);
        }
        for door in DOORS {
            let (raw, answer) = door.knock(&broker, "");
            assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("5")), "{door:?} over {holder:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let body = String::from_utf8(raw.answer_body()).expect("text");
            assert!(body.contains("limits.connections_max"), "{body}");
        }
        for door in DOORS {
            drop(held.pop().expect("one for each door but the last"));
            held.push(door.enter(&broker));
        }
    }
}

#[test]
fn the_rate_of_connections() {
    let broker = Broker::start(&[("LIMITS__ACCEPTS_PER_SECOND_MAX", "2")]);
    for door in DOORS {
        let knocks: Vec<_> = (0..12).map(|_| door.knock(&broker, "").1).collect();
        let refused: Vec<_> = knocks.iter().filter(|answer| answer.status() != door.welcome()).collect();
        assert!(!refused.is_empty(), "{door:?}: two seconds' worth of each core, and not twelve");
        for answer in refused {
            assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1")), "{door:?}: {}", answer.head);
        }
        drop(door.enter(&broker));
    }
}

#[test]
fn subscriptions_and_topics() {
    let broker = broker_with(&[("LIMITS__SUBSCRIPTIONS_MAX", "3")]);
    let names = |count: usize| (0..count).map(|number| format!("&topic=t/{number}")).collect::<String>();
    let subscribes = |count: usize| {
        let each = (0..count).map(|number| format!(r#"{{"op":"subscribe","topic":"t/{number}","id":{number}}}"#));
        format!("[{}]", each.collect::<Vec<_>>().join(","))
    };
    let mut client = Client::connect(&broker);
    client.send(subscribes(5));
    let mut codes: Vec<(Option<u64>, Value)> =
        (0..5).map(|_| client.next()).map(|reply| (reply["id"].as_u64(), reply["code"].clone())).collect();
    codes.sort_by_key(|(id, _)| *id);
    let codes: Vec<_> = codes.into_iter().map(|(_, code)| code.as_u64()).collect();
    assert_eq!(codes, [None, None, None, Some(403), Some(403)], "WebSocket");
    client.ask(r#"{"op":"unsubscribe","topic":"t/0","id":1}"#);
    // Who comes and goes is one more subscription.
    assert_eq!(client.ask(r#"{"op":"subscribe","topic":"kept/1","presence":true,"id":2}"#)["code"], 403);
    client.subscribe("kept/1");

    let mut raw = Raw::dial(&broker);
    for path in ["/v1/events?presence=false", "/v1/poll?wait=0"] {
        for (count, status) in [(4, 403), (100, 403), (101, 400)] {
            let answer = raw.ask(&format!("GET {path}{}", names(count)), "", "");
            assert_eq!(answer.status(), status, "{path} with {count}: {}", answer.head);
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(text.contains(if status == 403 { "subscriptions_max" } else { "100" }), "{text}");
        }
    }
    let two = "GET /v1/events?presence=true&topic=kept/1&topic=kept/2";
    assert_eq!(raw.ask(two, "", "").status(), 403, "four subscriptions");
    let members = raw.ask("GET /v1/presence?topic=kept/2", "", "").json();
    assert_eq!(members["connections"], 0, "of what is refused nothing stays");
    assert_eq!(raw.ask(&format!("GET /v1/poll?wait=0{}", names(3)), "", "").status(), 200);
    raw.write(request(&format!("GET /v1/events?{}", &names(3)[1..]), "", "").as_bytes());
    assert!(raw.read_head().starts_with("HTTP/1.1 200 "));

    let mut raw = Raw::dial(&broker);
    for (count, status) in [(100, 200), (101, 400)] {
        let answer = raw.ask(&format!("POST /v1/publish?{}", &names(count)[1..]), JSON, "1");
        assert_eq!(answer.status(), status, "Publish to {count}");
    }
    let one = r#"{"topic":"t/0","data":1}"#;
    for (count, status) in [(1_024, 200), (1_025, 413)] {
        let answer = raw.ask("POST /v1/batch", JSON, &format!("[{}]", vec![one; count].join(",")));
        assert_eq!(answer.status(), status, "Batch of {count}");
        let mut client = Client::connect(&broker);
        client.send(format!("[{}]", vec![r#"{"op":"ping"}"#; count].join(",")));
        let reply = client.next();
        assert_eq!(reply["code"].as_u64(), (status != 200).then_some(413), "WebSocket, an array of {count}: {reply}");
    }
}

#[test]
fn messages_bodies_and_heads() {
    const MOST: usize = 2_000;
    let broker = Broker::start(&[("LIMITS__MESSAGE_BYTES_MAX", "2000")]);
    let ping = |len: usize| format!(r#"{{"op":"ping","id":1}}{}"#, " ".repeat(len - 20));
    for (first, over, ends) in [(0x81, 0, false), (0x82, 0, false), (0x81, 1, true), (0x82, 1, true)] {
        let payload = ping(MOST + over);
        let binary = format!("{}\n", &payload[..payload.len() - 1]);
        let payload = if first == 0x82 { binary.as_bytes() } else { payload.as_bytes() };
        let (whole, (a, b)) = (frame(first, payload), payload.split_at(1_500));
        for bytes in [whole, [frame(first & 0x7f, a), frame(0x80, b)].concat()] {
            let mut raw = Raw::upgrade(&broker, "/ws");
            assert!(raw.read_frame().is_some(), "the welcome");
            raw.write(&bytes);
            if ends {
                assert_eq!(raw.read_to_close(), 1009, "WebSocket {first:#x}");
            } else {
                let (_, reply) = raw.read_frame().expect("a pong");
                assert!(reply.starts_with(br#"{"op":"pong""#), "{}", String::from_utf8_lossy(&reply));
            }
        }
    }
    for door in [Events, Poll, Publish, Batch] {
        let (line, _) = door.line();
        let body = |len: usize| match door {
            Batch => format!("{BATCH}{}", " ".repeat(len - BATCH.len())),
            _ => format!("\"{}\"", "x".repeat(len - 2)),
        };
        let chunked = |len: usize| {
            let chunks: String = body(len).as_bytes().chunks(700).map(chunk).collect();
            format!("{}{chunks}0\r\n\r\n", request(line, &format!("{JSON}Transfer-Encoding: chunked\r\n"), ""))
        };
        let mut raw = Raw::dial(&broker);
        if door != Events {
            for fits in [request(line, JSON, &body(MOST)), chunked(MOST)] {
                raw.write(fits.as_bytes());
                assert_eq!(raw.response().status(), 200, "{door:?}: the limit itself is allowed");
            }
        }
        let awaits = request(line, &format!("{JSON}Content-Length: 2001\r\nExpect: 100-continue\r\n"), "");
        let endless = request(line, &format!("{JSON}Content-Length: 1099511627776\r\n"), "");
        for over in [request(line, JSON, &body(MOST + 1)), chunked(MOST + 1), awaits, endless] {
            let answer = Raw::request(&broker, &over);
            assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")), "{door:?}: {over}");
        }
    }
    for door in DOORS {
        let spare = 8_192 - door.request("X: \r\n").find("\r\n\r\n").expect("an end") - 4;
        let lines = 64 - door.request("").split("\r\n\r\n").next().expect("a head").lines().skip(1).count();
        for (headers, status) in [
            (format!("X: {}\r\n", "x".repeat(spare)), door.welcome()),
            (format!("X: {}\r\n", "x".repeat(spare + 1)), 431),
            ("X: x\r\n".repeat(lines), door.welcome()),
            ("X: x\r\n".repeat(lines + 1), 431),
        ] {
            let (_raw, answer) = door.knock(&broker, &headers);
            assert_eq!(answer.status(), status, "{door:?}: {}", answer.head);
        }
    }
}

fn chunk(bytes: &[u8]) -> String {
    format!("{:x}\r\n{}\r\n", bytes.len(), String::from_utf8_lossy(bytes))
}

#[test]
fn what_may_wait_for_a_client() {
    const ROUNDS: usize = 48;
    let broker = broker_with(&[("LIMITS__OUTBOUND_BYTES_MAX", "66816")]);
    let mut slow = Client::connect_narrow(&broker, 32 * 1024);
    slow.subscribe("door");
    let mut stream = Raw::dial_narrow(&broker, 32 * 1024);
    stream.write(Events.request("").as_bytes());
    assert!(stream.read_head().starts_with("HTTP/1.1 200 "));
    // Whoever reads no answers is answered no more, however many requests it sent, and loses none.
    let mut deaf = Raw::dial_narrow(&broker, 32 * 1024);
    let many = request("POST /v1/publish?topic=deaf", JSON, "1");
    let mut writer = deaf.try_clone();
    let writes = std::thread::spawn(move || (0..40).for_each(|_| writer.write(many.repeat(100).as_bytes())));

    let one = format!(r#"{{"topic":"door","data":"{}"}}"#, "x".repeat(2_000));
    let batch = format!("[{}]", vec![one; 16].join(","));
    let mut backend = Raw::dial(&broker);
    for round in 0..ROUNDS {
        let answer = backend.ask("POST /v1/batch", JSON, &batch);
        let list = answer.json();
        let last = list[15]["position"].as_str().and_then(|at| at.split(':').nth(1)).map(str::to_owned);
        assert_eq!(last, Some((16 * (round + 1)).to_string()), "whoever publishes waits for nobody");
    }
    let (messages, code, _) = slow.read_to_close();
    assert_eq!(code, 4008, "WebSocket");
    assert!(messages.iter().map(tungstenite::Message::len).sum::<usize>() < 768 * 1024);
    let heard = stream.read_to_end();
    assert!(heard.len() < 768 * 1024, "Events: {} bytes of 1.5 MiB", heard.len());
    let last = String::from_utf8(heard).expect("whole events").trim_end().rsplit("\n\n").next().map(str::to_owned);
    assert!(last.as_ref().is_some_and(|last| last.contains("event: close") && last.contains("4008")), "{last:?}");
    // A poll that waits gets what is within the limit of one burst, and is told of the rest by the topic's rule.
    let mut poll = Raw::dial(&broker);
    poll.write(request("GET /v1/poll?topic=slow/1&wait=60", "", "").as_bytes());
    let burst = format!("[{}]", vec![r#"{"topic":"slow/1","data":1}"#; 1_024].join(","));
    while !poll.hears_within(Duration::from_millis(100)) {
        assert_eq!(backend.ask("POST /v1/batch", JSON, &burst).status(), 200);
    }
    let answer = poll.response();
    let list = answer.json()["messages"].clone();
    let list = list.as_array().expect("a list");
    let missed: u64 = list.iter().filter_map(|message| message["missed"].as_u64()).sum();
    let came = list.iter().filter(|message| message["op"] == "message").count() as u64;
    assert!(missed > 0 && missed + came == 1_024, "Poll: {came} came and {missed} were missed");
    assert!(answer.body.len() < 2 * 66_816, "{}", answer.head);
    for number in 1..=4_000 {
        let position = deaf.response().json()["position"].clone();
        assert!(position.as_str().is_some_and(|at| at.ends_with(&format!(":{number}"))), "{number}: {position}");
    }
    writes.join().expect("a writer");
}

#[test]
fn the_time_for_a_request() {
    let broker = Broker::start(&[("LIMITS__HANDSHAKE_MS_MAX", "400")]);
    let mut silent = Raw::dial(&broker);
    let mut inside: Vec<_> = DOORS.iter().map(|door| (door, Raw::dial(&broker), Raw::dial(&broker))).collect();
    for (door, drips, begun) in &mut inside {
        let whole = door.request("");
        let head_len = whole.find("\r\n\r\n").expect("an end") + 4;
        drips.write(&whole.as_bytes()[..head_len - 5]);
        // The head in time and the body not: all but those without a body are let in by then.
        begun.write(&whole.as_bytes()[..head_len + (whole.len() - head_len) / 2]);
    }
    assert!(silent.read_to_end().is_empty(), "whoever said nothing is told nothing");
    for (door, drips, begun) in inside {
        let answer = drips.answer();
        assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")), "{door:?}: {}", answer.head);
        if matches!(door, Publish | Batch) {
            assert_eq!(begun.answer().status(), 408, "{door:?}");
        }
    }
    // Whoever is in has its time: a WebSocket, a stream and a poll as long as they like, an idle connection no longer.
    let (mut socket, _) = WebSocket.knock(&broker, "");
    assert!(socket.read_frame().is_some(), "the welcome");
    let (mut stream, _) = Events.knock(&broker, "");
    assert!(stream.read_text(b"event: ack\n").is_some());
    assert!(stream.read_text(b"\n\n").is_some());
    let mut poll = Raw::dial(&broker);
    poll.write(request("GET /v1/poll?topic=quiet&wait=2", "", "").as_bytes());
    for door in [Publish, Batch] {
        let mut idle = Raw::dial(&broker);
        idle.write(door.request("").as_bytes());
        assert_eq!(idle.response().status(), 200);
        assert!(idle.read_to_end().is_empty(), "{door:?}: the end, without a word");
    }
    assert!(stream.read_text(b"event: message\n").is_some_and(|text| text.contains("id: ")), "the stream lives");
    socket.write_frame(0x81, br#"{"op":"ping"}"#);
    assert!(socket.read_frame().is_some_and(|(first, _)| first == 0x81), "the WebSocket lives");
    assert_eq!(poll.response().status(), 200, "the poll lived as long as it wanted to");
}
