//! The HTTP API from outside, byte by byte: what backends publish, what they read back, and how they are refused.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::common::Broker;
use crate::common::client::Client;
use crate::common::raw::{Answer, Raw};

pub(crate) const JSON: &str = "Content-Type: application/json\r\n";

fn broker() -> Broker {
    broker_with(&[])
}

/// A broker where `kept/#` keeps its publications and knows its members, nobody may publish to `mute/#`, and who is slow
/// misses something of `slow/#`.
pub(crate) fn broker_with(settings: &[(&str, &str)]) -> Broker {
    let file = File::new(
        "[[rule]]\nfilter = \"kept/#\"\nhistory = { count = 100, age = \"1m\" }\npresence = true\nfrom = true\n\
         [[rule]]\nfilter = \"mute/#\"\npublish = \"nobody\"\n\
         [[rule]]\nfilter = \"slow/#\"\noverflow = \"drop_oldest\"\n\
         [[rule]]\nfilter = \"granted/#\"\npublish = \"granted\"\nsubscribe = \"granted\"\nfrom = true\n",
    );
    let mut command = crate::common::serve(settings);
    command.args(["--listen", "127.0.0.1:0", "--shards", "2", "--config"]).arg(&file.0);
    Broker::run(command)
}

/// A file that is gone with its test.
pub(crate) struct File(pub(crate) PathBuf);

impl File {
    pub(crate) fn new(text: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("wirefan-api-{}-{number}", std::process::id()));
        std::fs::write(&path, text).expect("a directory for files");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // best effort: it is in the system's directory for such files
    }
}

/// A request with a body by its length, if there is one.
pub(crate) fn request(line: &str, headers: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}")
}

impl Raw {
    pub(crate) fn ask(&mut self, line: &str, headers: &str, body: &str) -> Answer {
        self.write(request(line, headers, body).as_bytes());
        self.response()
    }
}

#[test]
fn what_is_published_by_http_reaches_websocket_subscribers_of_every_core_in_order() {
    let broker = broker();
    let mut subscribers: Vec<_> = (0..4).map(|_| Client::connect(&broker)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("chat/#");
    }
    let mut backends: Vec<_> = (0..4).map(|_| Raw::dial(&broker)).collect();
    // Topics of both homes, from connections of both cores.
    for number in 0..80 {
        let line = format!("POST /v1/publish?topic=chat%2F{}", number % 8);
        let answer = backends[number % 4].ask(&line, JSON, &format!("{{\"n\":{number}.0}}"));
        assert_eq!(answer.status(), 200, "{}", answer.head);
        let position = answer.json()["position"].as_str().expect("a position").to_owned();
        for subscriber in &mut subscribers {
            let text = subscriber.next_text();
            assert!(text.ends_with(&format!(",\"data\":{{\"n\":{number}.0}}}}")), "{text}");
            assert!(text.contains(&format!("\"position\":\"{position}\"")), "{text}");
        }
    }
    let answer = backends[0].ask("POST /v1/publish?topic=chat/t", "Content-Type: text/plain\r\n", "say \"h\u{e9}\"\n");
    assert_eq!(answer.status(), 200);
    assert_eq!(subscribers[3].next()["data"], "say \"h\u{e9}\"\n");
    assert_eq!(backends[1].ask("POST /v1/publish?topic=chat/b", "", "\0\u{1}").status(), 200);
    let (head, bytes) = subscribers[3].next_binary();
    assert_eq!((head["topic"].as_str(), bytes.as_slice()), (Some("chat/b"), &b"\0\x01"[..]));
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_last_one_may_be_followed_by_the_end() {
    let broker = broker();
    let mut raw = Raw::dial(&broker);
    let all: String = (0..300)
        .map(|number| match number % 3 {
            0 => request(&format!("POST /v1/publish?topic=kept/{}", number % 7), JSON, &number.to_string()),
            1 => request("GET /v1/nothing", "", ""),
            _ => request(&format!("GET /v1/history?topic=kept/{}&limit=1&reverse=true", (number - 2) % 7), "", ""),
        })
        .collect();
    raw.write(all.as_bytes());
    raw.end();
    for number in 0..300 {
        let answer = raw.response();
        match number % 3 {
            0 => assert_eq!(answer.status(), 200, "{}", answer.head),
            1 => assert_eq!(answer.status(), 404, "{}", answer.head),
            _ => assert_eq!(answer.json()["messages"][0]["data"], number - 2, "what was published just before"),
        }
    }
    assert!(raw.read_to_end().is_empty());
}

#[test]
fn rfc9112_9_3_connections_stay_open_as_their_version_says() {
    let broker = broker();
    let line = "GET /v1/presence?topic=kept/1";
    let mut raw = Raw::dial(&broker);
    assert_eq!(raw.ask(line, "", "").header("connection"), None);
    assert_eq!(raw.ask(line, "Connection: close\r\n", "").header("connection"), Some("close"));
    assert!(raw.read_to_end().is_empty());
    let old = format!("{line} HTTP/1.0\r\n\r\n");
    let answer = Raw::request(&broker, &old);
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
    let mut raw = Raw::dial(&broker);
    raw.write(format!("{line} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").repeat(2).as_bytes());
    assert_eq!(raw.response().header("connection"), Some("keep-alive"));
    assert_eq!(raw.response().status(), 200);
}

#[test]
fn rfc9110_10_1_1_a_client_that_waits_before_it_sends_the_body_is_told_to_go_on() {
    let broker = broker();
    let mut raw = Raw::dial(&broker);
    raw.write(b"POST /v1/publish?topic=a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(raw.response().status(), 100);
    raw.write(b"hi");
    assert_eq!(raw.response().status(), 200);
    let large = "Content-Length: 4294967296\r\nExpect: 100-continue\r\n";
    raw.write(request("POST /v1/publish?topic=a", large, "").as_bytes());
    let answer = raw.response();
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")), "without a byte of it");
    assert!(raw.read_to_end().is_empty());
}

#[test]
fn rfc9112_7_1_a_body_may_come_in_chunks() {
    let broker = broker();
    let mut subscriber = Client::connect(&broker);
    subscriber.subscribe("a");
    let mut raw = Raw::dial(&broker);
    let head = request("POST /v1/publish?topic=a", "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n", "");
    for part in [&head, "4\r\nab", "cd\r\n1;x=\"y\"\r\ne\r\n0", "\r\nX-Trailer: 1\r\n\r\n"] {
        raw.write(part.as_bytes());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(raw.response().status(), 200);
    assert_eq!(subscriber.next()["data"], "abcde");
    raw.write(format!("{head}-1\r\n").as_bytes());
    assert_eq!(raw.response().status(), 400);
    assert!(raw.read_to_end().is_empty());
}

#[test]
fn refusals_are_problem_documents_and_the_connection_lives_where_it_can() {
    let broker = broker_with(&[("LIMITS__MESSAGE_BYTES_MAX", "4096")]);
    let mut raw = Raw::dial(&broker);
    for (line, headers, body, status) in [
        ("GET /v1/publish?topic=a", "", "", 405),
        ("POST /v1/history?topic=kept/a", "", "", 405),
        ("GET /v1/nothing", "", "", 404),
        ("GET /v1/history?topic=a", "", "", 404),
        ("GET /v1/presence?topic=a", "", "", 404),
        ("POST /v1/publish?topic=a", JSON, "", 411),
        ("POST /v1/publish", JSON, "1", 400),
        ("POST /v1/publish?topic=a/%23", JSON, "1", 400),
        ("POST /v1/publish?topic=a", JSON, "{]", 400),
        ("POST /v1/publish?topic=a", "Content-Type: text/plain; charset=latin1\r\n", "1", 415),
        ("POST /v1/publish?topic=a", "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n", "1", 415),
        ("POST /v1/publish?topic=mute/a", JSON, "1", 403),
        ("POST /v1/publish?topic=%24sys", JSON, "1", 403),
        ("POST /v1/batch", "", "[]", 415),
        ("POST /v1/batch", JSON, "[]", 400),
    ] {
        let answer = raw.ask(line, headers, body);
        assert_eq!(answer.status(), status, "{line}: {}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
        assert_eq!(answer.json()["status"], status, "{line}");
        assert!(answer.header("date").is_some() && answer.header("server") == Some("wirefan"), "{}", answer.head);
        assert_eq!(answer.header("allow").is_some(), status == 405, "{}", answer.head);
    }
    let answer = raw.ask("POST /v1/publish?topic=a", "", &"x".repeat(4_097));
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
}

#[test]
fn a_flood_is_slowed_down_and_told_when_to_come_back() {
    let broker = broker_with(&[("LIMITS__COMMANDS_PER_SECOND_MAX", "20")]);
    let mut raw = Raw::dial(&broker);
    raw.write(request("POST /v1/publish?topic=a", JSON, "1").repeat(100).as_bytes());
    let answers: Vec<_> = (0..100).map(|_| raw.response()).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status() == 429).collect();
    assert!(answers[..40].iter().all(|answer| answer.status() == 200), "two seconds' worth at once");
    assert!(refused.len() > 40 && refused.iter().all(|answer| answer.header("retry-after") == Some("1")));
}

#[test]
fn an_api_key_says_who_publishes_and_what_it_may() {
    let mut make = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    make.args(["token", "--api-key", "billing", "--publish", "granted/1", "--subscribe", "granted/#"]);
    let made = String::from_utf8(make.output().expect("it runs").stdout).expect("text");
    let (key, line) = made.trim_end().split_once('\n').expect("the key, then the line");
    let keys = File::new(line);
    let broker = broker_with(&[("AUTH__API_KEYS_FILE", keys.0.to_str().expect("a plain path"))]);
    let bearer = format!("Authorization: Bearer {key}\r\n{JSON}");
    let mut raw = Raw::dial(&broker);
    let line = "POST /v1/publish?topic=granted/1";
    let stranger = raw.ask(line, JSON, "1");
    assert_eq!((stranger.status(), stranger.header("www-authenticate")), (401, Some("Bearer")));
    let wrong = raw.ask(line, &bearer.replace("wfk_", "wfk_x"), "1");
    assert_eq!((wrong.status(), wrong.header("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    assert_eq!(raw.ask(line, &format!("Authorization: Basic YTpi\r\n{JSON}"), "1").status(), 401);
    for _ in 0..2 {
        assert_eq!(raw.ask(line, &bearer, "1").status(), 200);
    }
    assert_eq!(raw.ask("POST /v1/publish?topic=granted/2", &bearer, "1").status(), 403);
    assert_eq!(raw.ask(&format!("{line}&access_token={key}"), JSON, "1").status(), 200);
    assert_eq!(raw.ask(&format!("{line}&access_token={key}"), &bearer, "1").status(), 400, "one way, once");
    assert_eq!(raw.ask(line, JSON, "1").status(), 401, "each request says who asks");
    assert_eq!(raw.ask("POST /v1/publish?topic=kept/1", &bearer, "1").status(), 200);
    let history = raw.ask("GET /v1/history?topic=kept/1", &bearer, "");
    assert_eq!(history.json()["messages"][0]["from"], "billing");
    assert_eq!(history.header("cache-control"), Some("no-store"));
}

#[test]
fn pages_of_allowed_origins_may_use_the_api_and_others_may_not() {
    let broker = broker_with(&[("SERVER__ALLOWED_ORIGINS", "https://ok.example")]);
    let mut raw = Raw::dial(&broker);
    let preflight = "Origin: https://ok.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization,content-type,idempotency-key\r\n";
    let answer = raw.ask("OPTIONS /v1/publish?topic=a", preflight, "");
    assert_eq!(answer.status(), 204, "{}", answer.head);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://ok.example"));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let answer = raw.ask("POST /v1/publish?topic=a", &format!("Origin: https://ok.example\r\n{JSON}"), "1");
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://ok.example"), "{}", answer.head);
    for headers in ["Origin: https://evil.example\r\n".to_owned(), preflight.replace("ok.", "evil.")] {
        for line in ["POST /v1/publish?topic=a", "OPTIONS /v1/publish?topic=a"] {
            let answer = raw.ask(line, &headers, "1");
            assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (403, None), "{line}");
        }
    }
    let answer = raw.ask("POST /v1/publish?topic=a", JSON, "1");
    assert!(answer.json()["position"].as_str().is_some_and(|position| position.ends_with(":2")), "two were published");
}

#[test]
fn members_and_history_are_read_page_by_page() {
    let broker = broker();
    let mut members: Vec<_> = (0..3).map(|_| Client::connect(&broker)).collect();
    for member in &mut members {
        member.subscribe("kept/room");
    }
    let mut raw = Raw::dial(&broker);
    let mut names: Vec<String> = Vec::new();
    let mut after = String::new();
    loop {
        let page = raw.ask(&format!("GET /v1/presence?topic=kept/room&limit=2{after}"), "", "").json();
        assert_eq!(page["connections"], 3);
        let clients = page["members"].as_array().expect("a list").iter().map(|member| member["client"].clone());
        names.extend(clients.map(|client| client.as_str().expect("a name").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    names.sort();
    let mut expected: Vec<_> = members.iter().map(|member| member.name.clone()).collect();
    expected.sort();
    assert_eq!(names, expected);
    let batch: Vec<Value> = (0..5).map(|n| serde_json::json!({ "topic": "kept/room", "data": n })).collect();
    let list = raw.ask("POST /v1/batch", JSON, &Value::from(batch).to_string()).json();
    let since = list[1]["position"].as_str().expect("a position").to_owned();
    let page = raw.ask(&format!("GET /v1/history?topic=kept/room&since={since}&limit=2"), "", "").json();
    let data: Vec<_> = page["messages"].as_array().expect("a list").iter().map(|message| &message["data"]).collect();
    assert_eq!(data, [2, 3]);
    let head = raw.ask(&format!("GET /v1/history?topic=kept/room&since={since}"), "", "");
    raw.write(request(&format!("HEAD /v1/history?topic=kept/room&since={since}"), "", "").as_bytes());
    raw.end();
    let bare = raw.answer();
    assert_eq!((bare.header("content-length"), bare.body.len()), (head.header("content-length"), 0));
}

#[test]
fn a_stop_answers_the_requests_that_it_took() {
    for _ in 0..5 {
        let broker = broker();
        let mut raw = Raw::dial(&broker);
        raw.write(request("POST /v1/publish?topic=kept/1", JSON, "1").repeat(500).as_bytes());
        assert_eq!(raw.response().status(), 200);
        broker.signal("TERM");
        let rest = String::from_utf8(raw.read_to_end()).expect("text");
        let whole = rest.matches("HTTP/1.1 200 OK\r\n").count();
        assert_eq!(rest.matches("}").count(), whole, "no answer is cut off");
        drop(raw); // the broker waits for its end
        assert_eq!(broker.exit(crate::common::PATIENCE).code(), Some(0));
    }
}
