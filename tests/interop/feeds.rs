//! Server-sent events and polls from outside: a client that takes a stream apart as the standard says, and one that asks
//! again and again.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{JSON, broker_with, request};
use crate::common::client::Client;
use crate::common::raw::{Answer, Raw};
use crate::common::{Broker, PATIENCE};

/// A stream of events.
struct Stream {
    raw: Raw,
    /// Its response head.
    head: String,
    /// The id of the last event that had one.
    id: String,
}

/// What came: an event with its data, a comment, or a time to wait.
#[derive(Debug, PartialEq)]
enum Heard {
    Event(String, Value),
    Comment,
    Retry(u64),
}

impl Stream {
    fn open(broker: &Broker, query: &str, headers: &str) -> Self {
        Self::over(Raw::dial(broker), query, headers)
    }

    fn over(mut raw: Raw, query: &str, headers: &str) -> Self {
        raw.write(request(&format!("GET /v1/events?{query}"), headers, "").as_bytes());
        let head = raw.read_head();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let mut stream = Self { raw, head, id: String::new() };
        let first = stream.hear();
        assert!(matches!(first, Some(Heard::Retry(1_000..=2_000))), "before all else: {first:?}");
        stream
    }

    /// HTML, "Interpreting an event stream".
    fn hear(&mut self) -> Option<Heard> {
        let text = self.raw.read_text(b"\n\n")?;
        let (mut event, mut data, mut retry) = ("message".to_owned(), Vec::new(), None);
        for line in text.split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => assert_eq!(text, ":", "a comment stands alone"),
                "id" => self.id = value.to_owned(),
                "event" => event = value.to_owned(),
                "data" => data.push(value),
                "retry" => retry = value.parse().ok(),
                _ => panic!("{line:?}"),
            }
        }
        let data = data.join("\n");
        Some(match (retry, data.is_empty()) {
            (Some(ms), true) => Heard::Retry(ms),
            (None, true) => Heard::Comment,
            _ => Heard::Event(event, serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"))),
        })
    }

    /// The next event, which has to be of that name.
    fn expect(&mut self, name: &str) -> Value {
        loop {
            match self.hear().expect("an event before the end") {
                Heard::Event(event, data) => {
                    assert_eq!((event.as_str(), &data["op"]), (name, &name.into()), "{data}");
                    return data;
                }
                Heard::Comment => {}
                Heard::Retry(ms) => panic!("retry {ms} in the middle"),
            }
        }
    }
}

/// Publishes a JSON value; its position.
fn publish(raw: &mut Raw, topic: &str, data: &str) -> String {
    let answer = raw.ask(&format!("POST /v1/publish?topic={topic}"), JSON, data);
    answer.json()["position"].as_str().unwrap_or_else(|| panic!("{}", answer.head)).to_owned()
}

/// A poll on a connection; its answer.
fn poll(raw: &mut Raw, query: &str) -> Value {
    let answer = raw.ask(&format!("GET /v1/poll?{query}"), "", "");
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")), "{}", answer.head);
    answer.json()
}

fn data_of(messages: &Value) -> Vec<i64> {
    let messages = messages["messages"].as_array().expect("a list");
    messages.iter().map(|message| message["data"].as_i64().unwrap_or_else(|| panic!("{message}"))).collect()
}

#[test]
fn a_stream_is_what_an_event_source_understands() {
    let broker = broker_with(&[]);
    let mut backend = Raw::dial(&broker);
    let mut stream = Stream::open(&broker, "topic=kept/1", "");
    for line in ["Content-Type: text/event-stream", "Cache-Control: no-store", "Connection: close"] {
        assert!(stream.head.contains(&format!("\r\n{line}")), "{line} in {}", stream.head);
    }
    let ack = stream.expect("ack");
    assert_eq!((&ack["topic"], &ack["position"]), (&"kept/1".into(), &stream.id.clone().into()));
    let first = publish(&mut backend, "kept/1", "{\n\t\"n\": 1.0,\r\n\"s\":\"a\\nb\"}");
    let message = stream.expect("message");
    assert_eq!(
        (message["topic"].as_str(), message["data"].to_string()),
        (Some("kept/1"), r#"{"n":1.0,"s":"a\nb"}"#.into())
    );
    assert_eq!((message["position"].as_str(), stream.id.as_str()), (Some(&*first), &*first));
    backend.ask("POST /v1/publish?topic=kept/1", "Content-Type: text/plain\r\n", "l\u{e4}uft");
    assert_eq!(stream.expect("message")["data"], "l\u{e4}uft");
    backend.ask("POST /v1/publish?topic=kept/1", "", "\n\0\n\n");
    let binary = stream.expect("message");
    assert_eq!((binary["encoding"].as_str(), binary["data"].as_str()), (Some("base64"), Some("CgAKCg==")));

    // It comes back with what it heard last, on whichever core, by the header or in the query.
    let last = publish(&mut backend, "kept/1", "4");
    for turn in 0..4 {
        let (query, header) = match turn % 2 {
            0 => ("topic=kept/1".to_owned(), format!("Last-Event-ID: {first}\r\n")),
            _ => (format!("topic=kept/1&last_event_id={first}"), String::new()),
        };
        let mut again = Stream::open(&broker, &query, &header);
        let ack = again.expect("ack");
        assert_eq!((&ack["recovered"], &ack["position"]), (&true.into(), &last.clone().into()));
        assert_eq!(again.id, first, "the place before what was missed");
        assert_eq!(again.expect("message")["data"], "l\u{e4}uft");
        assert_eq!(again.expect("message")["encoding"], "base64");
        assert_eq!((again.expect("message")["data"].as_i64(), &again.id), (Some(4), &last));
    }
    let mut lost = Stream::open(&broker, "topic=kept/1&last_event_id=00000000:1", "");
    assert_eq!(lost.expect("ack")["recovered"], false);
    publish(&mut backend, "kept/1", "5");
    assert_eq!(lost.expect("message")["data"], 5, "from now on");
}

#[test]
fn streams_of_all_cores_see_what_websockets_see() {
    let broker = broker_with(&[]);
    let mut socket = Client::connect(&broker);
    socket.subscribe("kept/#");
    let query = "topic=kept/0&topic=kept/1&topic=kept/2&topic=kept/%2B";
    let mut streams: Vec<Stream> = (0..4).map(|_| Stream::open(&broker, query, "")).collect();
    for stream in &mut streams {
        (0..4).for_each(|_| drop(stream.expect("ack")));
    }
    let mut backends: Vec<Raw> = (0..3).map(|_| Raw::dial(&broker)).collect();
    for number in 0..60 {
        publish(&mut backends[number % 3], &format!("kept/{}", number % 5), &number.to_string());
    }
    let expected: Vec<Value> = (0..60).map(|_| socket.next()).collect();
    for stream in &mut streams {
        let mut heard: Vec<Value> = (0..60).map(|_| stream.expect("message")).collect();
        let positions: Vec<&str> = stream.id.split(',').collect();
        assert!(positions.len() == 4 && positions[3].is_empty(), "{}", stream.id);
        for (number, position) in positions[..3].iter().enumerate() {
            let topic = format!("kept/{number}");
            let newest = heard.iter().rfind(|message| message["topic"] == *topic).expect("some");
            assert_eq!(newest["position"], **position);
        }
        // One order for each topic; between topics of different homes there is none.
        for number in 0..5 {
            let of = |all: &[Value]| -> Vec<Value> {
                all.iter().filter(|message| message["topic"] == format!("kept/{number}")).cloned().collect()
            };
            assert_eq!(of(&heard), of(&expected));
        }
        heard.clear();
    }
    // With the id of several topics nothing is missing in any of them.
    let id = streams[0].id.clone();
    for number in 60..66 {
        publish(&mut backends[0], &format!("kept/{}", number % 3), &number.to_string());
    }
    let mut again = Stream::open(&broker, query, &format!("Last-Event-ID: {id}\r\n"));
    for _ in 0..3 {
        assert_eq!(again.expect("ack")["recovered"], true);
    }
    assert_eq!(again.expect("ack")["topic"], "kept/+");
    let mut missed: Vec<i64> = (0..6).map(|_| again.expect("message")["data"].as_i64().expect("a number")).collect();
    missed.sort_unstable();
    assert_eq!(missed, [60, 61, 62, 63, 64, 65]);
}

#[test]
fn a_silent_stream_gets_comments() {
    let broker = broker_with(&[("HEARTBEAT__INTERVAL_S", "1")]);
    let mut stream = Stream::open(&broker, "topic=a", "");
    stream.expect("ack");
    for _ in 0..3 {
        assert_eq!(stream.hear(), Some(Heard::Comment));
    }
}

#[test]
fn what_cannot_be_fed_is_refused_by_a_problem_document() {
    let broker = broker_with(&[("LIMITS__SUBSCRIPTIONS_MAX", "3")]);
    let mut raw = Raw::dial(&broker);
    for path in ["/v1/events", "/v1/poll"] {
        for (query, status) in [
            ("", 400),
            ("?topic=a//b", 400),
            ("?topic=a&topic=a", 400),
            ("?topic=$sys/x", 403),
            ("?topic=a&topic=b&topic=c&topic=d", 403),
            ("?topic=a&last=5000", 400),
        ] {
            let answer = raw.ask(&format!("GET {path}{query}"), "", "");
            assert_eq!(answer.status(), status, "{path}{query}: {}", answer.head);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!((answer.json()["status"].as_u64(), answer.header("connection")), (Some(status.into()), None));
        }
        let answer = raw.ask(&format!("POST {path}?topic=a"), JSON, "1");
        assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    for query in ["topic=a/%23", "topic=a&wait=61", "topic=a&wait=x", "topic=a&since=1", "topic=a&presence=true"] {
        assert_eq!(raw.ask(&format!("GET /v1/poll?{query}"), "", "").status(), 400, "{query}");
    }
    assert_eq!(raw.ask("GET /v1/events?topic=a&presence=true", "", "").status(), 404, "its rule knows no members");
    assert_eq!(raw.ask("GET /v1/events?topic=a&last_event_id=1", "", "").status(), 400);
    assert_eq!(poll(&mut raw, "topic=a&wait=0")["messages"], Value::Array(vec![]), "the connection lived through it");
}

#[test]
fn the_rate_of_commands_holds_for_both() {
    let broker = broker_with(&[("LIMITS__COMMANDS_PER_SECOND_MAX", "2")]);
    for path in ["/v1/events?topic=a/b/", "/v1/poll?topic=a&wait=0"] {
        let mut raw = Raw::dial(&broker);
        let answers: Vec<Answer> = (0..12).map(|_| raw.ask(&format!("GET {path}"), "", "")).collect();
        let refused = answers.iter().find(|answer| answer.status() == 429).expect("too fast");
        assert_eq!(
            (refused.header("retry-after"), refused.header("connection")),
            (Some("1"), None),
            "{}",
            refused.head
        );
    }
}

#[test]
fn pages_of_allowed_origins_listen_and_poll_and_others_do_not() {
    let broker = broker_with(&[("SERVER__ALLOWED_ORIGINS", "https://ok.example")]);
    let (ok, evil) = ("Origin: https://ok.example\r\n", "Origin: https://evil.example\r\n");
    let stream = Stream::open(&broker, "topic=a", ok);
    assert!(stream.head.contains("\r\nAccess-Control-Allow-Origin: https://ok.example"), "{}", stream.head);
    let mut raw = Raw::dial(&broker);
    for path in ["/v1/events?topic=a", "/v1/poll?topic=a&wait=0"] {
        assert_eq!(raw.ask(&format!("GET {path}"), evil, "").status(), 403);
        let preflight =
            format!("{ok}Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n");
        let answer = raw.ask(&format!("OPTIONS {path}"), &preflight, "");
        assert_eq!((answer.status(), answer.header("access-control-allow-methods")), (204, Some("GET, HEAD, OPTIONS")));
        assert!(answer.header("access-control-allow-headers").is_some_and(|names| names.contains("Last-Event-ID")));
    }
    let answer = raw.ask("GET /v1/poll?topic=a&wait=0", ok, "");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://ok.example"));
}

#[test]
fn a_stream_knows_who_comes_and_goes_and_is_known() {
    let broker = broker_with(&[]);
    let mut stream = Stream::open(&broker, "topic=kept/room&presence=true", "");
    stream.expect("ack");
    let own = stream.expect("join")["member"]["client"].clone();
    let mut other = Client::connect(&broker);
    other.subscribe("kept/room");
    assert_eq!(stream.expect("join")["member"]["client"], *other.name);
    let list = Raw::dial(&broker).ask("GET /v1/presence?topic=kept/room", "", "").json();
    let members: Vec<&Value> = list["members"].as_array().expect("a list").iter().map(|one| &one["client"]).collect();
    assert!(members.len() == 2 && members.contains(&&own), "{list}");
    drop(other);
    stream.expect("leave");
    drop(stream);
    let since = Instant::now();
    while Raw::dial(&broker).ask("GET /v1/presence?topic=kept/room", "", "").json()["connections"] != 0 {
        assert!(since.elapsed() < PATIENCE, "it is still there");
    }
}

#[test]
fn who_reads_slowly_is_told_how_much_it_missed() {
    const COUNT: u64 = 3_000;
    let broker = broker_with(&[("LIMITS__OUTBOUND_BYTES_MAX", "131072")]);
    for query in ["topic=slow/1", "topic=slow/1&topic=slow/2"] {
        let mut stream = Stream::over(Raw::dial_narrow(&broker, 32 * 1024), query, "");
        let begin = stream.expect("ack")["position"].as_str().and_then(offset).expect("a position");
        if query.contains('&') {
            stream.expect("ack");
        }
        let mut publisher = Client::connect(&broker);
        let one = format!(r#"{{"op":"publish","topic":"slow/1","data":"{}"}}"#, "x".repeat(2_000));
        for _ in 0..COUNT / 10 {
            publisher.send(format!("[{}]", [one.as_str(); 10].join(",")));
        }
        publisher.send(r#"{"op":"publish","id":1,"topic":"slow/1","data":"last"}"#);
        publisher.expect("ack");
        let (mut delivered, mut missed, mut last) = (0, 0, begin);
        loop {
            let Some(Heard::Event(event, data)) = stream.hear() else { continue };
            let at = data["position"].as_str().and_then(offset).expect("a position");
            assert!(at > last, "{at} behind {last}");
            last = at;
            match event.as_str() {
                "gap" => missed += data["missed"].as_u64().expect("how many"),
                "message" => delivered += 1,
                _ => panic!("{event}"),
            }
            assert_eq!(begin + delivered + missed, last, "each of them came or was told");
            if data["data"] == "last" {
                break;
            }
        }
        assert!(delivered + missed == COUNT + 1 && missed > 0, "{delivered} and {missed}");
    }
}

fn offset(position: &str) -> Option<u64> {
    position.split_once(':')?.1.parse().ok()
}

#[test]
fn head_tells_what_get_would_say() {
    let broker = broker_with(&[]);
    let answer = Raw::request(&broker, &request("HEAD /v1/events?topic=a", "", ""));
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let answer = Raw::request(&broker, &request("HEAD /v1/poll?topic=a&wait=60", "Connection: close\r\n", ""));
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn a_poll_answers_at_once_or_waits_and_the_next_goes_on_on_any_connection() {
    let broker = broker_with(&[]);
    let mut backend = Raw::dial(&broker);
    let mut pollers: Vec<Raw> = (0..4).map(|_| Raw::dial(&broker)).collect();
    let first = poll(&mut pollers[0], "topic=kept/1&topic=kept/2&wait=0");
    assert_eq!(first["recovered"], Value::Null);
    let mut next = first["next"].as_str().expect("a position").to_owned();
    let mut got = Vec::new();
    for number in 0..40 {
        publish(&mut backend, &format!("kept/{}", 1 + number % 2), &number.to_string());
        if number % 5 == 4 {
            let answer = poll(&mut pollers[number % 4], &format!("topic=kept/1&topic=kept/2&since={next}"));
            assert_eq!(answer["recovered"], true);
            got.extend(data_of(&answer));
            next = answer["next"].as_str().expect("a position").to_owned();
        }
    }
    got.sort_unstable();
    assert_eq!(got, (0..40).collect::<Vec<_>>());

    // Nothing is there: it waits, and what comes in the meantime ends it.
    let (waiting, began) = (&mut pollers[1], Instant::now());
    waiting.write(request(&format!("GET /v1/poll?topic=kept/1&topic=kept/2&since={next}&wait=20"), "", "").as_bytes());
    assert!(!waiting.hears_within(Duration::from_millis(300)));
    publish(&mut backend, "kept/2", "40");
    let answer = waiting.response().json();
    assert_eq!((data_of(&answer), &answer["recovered"]), (vec![40], &true.into()));
    assert!(began.elapsed() < Duration::from_secs(10));
    // Or nothing does.
    let began = Instant::now();
    let answer =
        poll(waiting, &format!("topic=kept/1&topic=kept/2&since={}&wait=1", answer["next"].as_str().expect("one")));
    assert!(data_of(&answer).is_empty() && began.elapsed() > Duration::from_millis(900));

    let lost = poll(&mut pollers[2], "topic=kept/1&since=00000000:1");
    assert_eq!((data_of(&lost).len(), &lost["recovered"]), (0, &false.into()));
    let last = poll(&mut pollers[2], "topic=kept/1&last=2");
    assert_eq!(data_of(&last), [36, 38]);
    let binary = backend.ask("POST /v1/publish?topic=kept/1", "", "\0").json()["position"].clone();
    let answer = poll(&mut pollers[3], "topic=kept/1&last=1");
    assert_eq!((&answer["messages"][0]["encoding"], &answer["next"]), (&"base64".into(), &binary));
}

#[test]
fn requests_around_a_poll_are_answered_in_their_order() {
    let broker = broker_with(&[]);
    let mut raw = Raw::dial(&broker);
    let publish_one = |data: &str| request("POST /v1/publish?topic=a", JSON, data);
    let poll = request("GET /v1/poll?topic=a&wait=1", "", "");
    raw.write([publish_one("1"), poll.clone(), publish_one("2"), poll].concat().as_bytes());
    let answers: Vec<Value> = (0..4).map(|_| raw.response().json()).collect();
    let position = |number: usize, name: &str| answers[number][name].as_str().and_then(offset);
    assert_eq!([position(0, "position"), position(2, "position")], [Some(1), Some(2)], "{answers:?}");
    assert_eq!([position(1, "next"), position(3, "next")], [Some(1), Some(2)], "{answers:?}");
    // Far more than is kept behind it: refused, and nobody else suffers.
    raw.write(request("GET /v1/poll?topic=a&wait=60", "", "").as_bytes());
    raw.hears_within(Duration::from_millis(200));
    raw.write(&vec![b'x'; 1024 * 1024]);
    assert!(!raw.hears_within(Duration::from_millis(300)), "it waits, and is not read");
    let mut other = Raw::dial(&broker);
    publish(&mut other, "a", "3");
    let answer = raw.response();
    assert_eq!(data_of(&answer.json()), [3]);
    assert!((400..=431).contains(&raw.response().status()));
}

#[test]
fn a_stop_answers_polls_and_tells_streams_when_to_come_back() {
    let broker = broker_with(&[]);
    let mut streams: Vec<Stream> =
        (0..4).map(|number| Stream::open(&broker, &format!("topic=t/{number}"), "")).collect();
    let mut pollers: Vec<Raw> = (0..4).map(|_| Raw::dial(&broker)).collect();
    for (number, raw) in pollers.iter_mut().enumerate() {
        raw.write(request(&format!("GET /v1/poll?topic=t/{number}&wait=60"), "", "").as_bytes());
        assert!(!raw.hears_within(Duration::from_millis(50)));
    }
    broker.signal("TERM");
    for raw in &mut pollers {
        let answer = raw.response();
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")), "{}", answer.head);
        assert_eq!(data_of(&answer.json()).len(), 0);
        assert!(raw.read_to_end().is_empty());
    }
    for stream in &mut streams {
        stream.expect("ack");
        assert!(matches!(stream.hear(), Some(Heard::Retry(1..))));
        assert_eq!(stream.expect("close")["code"], 1001);
        assert_eq!(stream.hear(), None);
    }
    drop((streams, pollers));
    assert_eq!(broker.exit(PATIENCE).code(), Some(0));
}
