//! HTTP on the same port: the opening handshake's refusals, plain requests, and those who do not finish asking.

use std::time::Duration;

use crate::common::Broker;
use crate::common::client::Client;
use crate::common::raw::{Answer, Raw, handshake};

/// The answer to a handshake with one line replaced.
fn refused(broker: &Broker, line: &str, instead: &str) -> Answer {
    let right = handshake("/ws");
    assert!(right.contains(line), "{line}");
    Raw::request(broker, &right.replace(line, instead))
}

#[test]
fn s4_2_1_a_handshake_that_lacks_something_gets_400() {
    let broker = Broker::start(&[]);
    for (line, instead) in [
        ("Host: localhost\r\n", ""),
        ("Host: localhost\r\n", "Host: localhost\r\nHost: elsewhere\r\n"),
        ("Host: localhost\r\n", "Host: loc alhost\r\n"),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="),
        ("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!!!!!"),
        ("Connection: Upgrade\r\n", "Connection: Upgrade\r\nTransfer-Encoding: chunked, chunked\r\n"),
        ("Connection: Upgrade\r\n", "Connection: Upgrade\r\nContent-Length: 0\r\n"),
    ] {
        let answer = refused(&broker, line, instead);
        assert_eq!(answer.status(), 400, "{instead:?} for {line:?}: {}", answer.head);
    }
    for (length, body) in [("Content-Length: 3", "abc"), ("Transfer-Encoding: chunked", "0\r\n\r\n")] {
        let headers = format!("Upgrade: websocket\r\n{length}\r\n");
        let request = handshake("/ws").replace("Upgrade: websocket\r\n", &headers) + body;
        assert_eq!(Raw::request(&broker, &request).status(), 400, "{length}");
    }
    let old = refused(&broker, "HTTP/1.1", "HTTP/1.0");
    assert!((400..=505).contains(&old.status()), "{}", old.head);
}

#[test]
fn s4_4_another_version_gets_426_and_the_right_one() {
    let broker = Broker::start(&[]);
    for instead in ["Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 14\r\n"] {
        let answer = refused(&broker, "Sec-WebSocket-Version: 13\r\n", instead);
        assert_eq!(answer.status(), 426, "{}", answer.head);
        assert_eq!(answer.header("sec-websocket-version"), Some("13"));
    }
}

#[test]
fn s4_2_1_header_names_and_tokens_come_in_any_case_and_among_others() {
    let broker = Broker::start(&[]);
    for (line, instead) in [
        ("Upgrade: websocket", "UPGRADE: WebSocket"),
        ("Upgrade: websocket", "upgrade:h2c ,\twebsocket"),
        ("Connection: Upgrade", "connection: keep-alive, uPgrAde"),
        ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
        ("Sec-WebSocket-Key: ", "sec-websocket-key:   "),
    ] {
        let mut raw = Raw::dial(&broker);
        raw.write(handshake("/ws").replace(line, instead).as_bytes());
        raw.write(&crate::common::raw::frame(0x88, &1000_u16.to_be_bytes()));
        let answer = raw.answer();
        assert_eq!(answer.status(), 101, "{instead:?}: {}", answer.head);
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let broker = Broker::start(&[]);
    let host = format!("Host: {}", broker.address);
    let with = |origin: &str| {
        let request = handshake("/ws").replace("Host: localhost", &format!("{host}\r\nOrigin: {origin}"));
        let mut raw = Raw::dial(&broker);
        raw.write(request.as_bytes());
        raw.write(&crate::common::raw::frame(0x88, &1000_u16.to_be_bytes()));
        raw.answer().status()
    };
    assert_eq!(with("https://evil.example"), 403);
    assert_eq!(with("null"), 403);
    assert_eq!(with(&format!("http://{}", broker.address)), 101);
}

#[test]
fn a_plain_get_of_the_root_is_a_page_from_which_a_console_may_connect() {
    let broker = Broker::start(&[]);
    let page = Raw::request(&broker, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(page.status(), 200, "{}", page.head);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{}", page.head);
    let length = page.header("content-length").expect("a length");
    assert_eq!(length, page.body.len().to_string());
    let head = Raw::request(&broker, "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status(), head.header("content-length")), (200, Some(length)));
    assert_eq!(head.body, b"", "HEAD has no body");
}

#[test]
fn healthz_says_that_the_broker_is_there() {
    let broker = Broker::start(&[]);
    let answer = Raw::request(&broker, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status(), 200, "{}", answer.head);
    assert!(!answer.body.is_empty());
    assert!(answer.header("date").is_some_and(|date| date.ends_with(" GMT")), "{}", answer.head);
}

#[test]
fn rfc9110_15_5_9_a_request_that_does_not_end_in_time_gets_408() {
    let broker = Broker::start(&[("LIMITS__HANDSHAKE_MS_MAX", "300")]);
    let mut raw = Raw::dial(&broker);
    raw.write(b"POST /v1/publish?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel");
    let answer = raw.response();
    assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")), "{}", answer.head);
    assert!(raw.read_to_end().is_empty());
}

#[test]
fn what_is_not_there_or_not_allowed_is_told_as_a_problem() {
    let broker = Broker::start(&[]);
    let ask =
        |line: &str| Raw::request(&broker, &format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
    for (line, status) in
        [("GET /nothing/here", 404), ("GET /wsx", 404), ("POST /healthz", 405), ("DELETE /", 405), ("GET /ws", 426)]
    {
        let answer = ask(line);
        assert_eq!(answer.status(), status, "{line}: {}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(problem["status"], status, "{problem}");
    }
    assert!(ask("POST /").header("allow").is_some_and(|methods| methods.contains("GET")));
    assert_eq!(ask("GET /ws").header("upgrade"), Some("websocket"));
}

#[test]
fn what_is_no_http_gets_400_and_the_end() {
    let broker = Broker::start(&[]);
    for bytes in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nHost\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n"]
    {
        let answer = Raw::request(&broker, bytes);
        assert!((400..=505).contains(&answer.status()), "{bytes:?}: {}", answer.head);
    }
    Client::connect(&broker).expect_quiet();
}

#[test]
fn an_endless_head_ends_by_its_limit() {
    let broker = Broker::start(&[]);
    let mut raw = Raw::dial(&broker);
    raw.write(b"GET /ws HTTP/1.1\r\nHost: localhost\r\n");
    for _ in 0..64 {
        raw.write(format!("X-Filler: {}\r\n", "x".repeat(16 * 1024)).as_bytes());
    }
    let answer = raw.read_to_end();
    // A reset may overtake the answer, when the broker hangs up on bytes that it has not read.
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_silent_and_a_slow_handshake_end_by_their_limit() {
    let broker = Broker::start(&[("LIMITS__HANDSHAKE_MS_MAX", "500"), ("HEARTBEAT__INTERVAL_S", "3600")]);
    let mut silent = Raw::dial(&broker);
    let mut slow = Raw::dial(&broker);
    let request = handshake("/ws");
    let mut sent = 0;
    // One byte every 20 ms would take 3 s and more.
    for byte in request.bytes() {
        slow.write(&[byte]);
        sent += 1;
        if slow.hears_within(Duration::from_millis(20)) {
            break;
        }
    }
    assert!(sent < request.len(), "the slow one got in");
    for raw in [&mut silent, &mut slow] {
        let answer = raw.read_to_end();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    }
    // Whoever got in is not under that limit.
    let mut client = Client::connect(&broker);
    let mut idle = Raw::upgrade(&broker, "/ws");
    assert!(idle.read_frame().is_some(), "the welcome");
    assert!(!idle.hears_within(Duration::from_millis(1000)), "idle is no offence");
    client.expect_quiet();
}
