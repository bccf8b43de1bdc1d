//! Streams and answers in every split of their bytes, and what is refused of them.

use super::*;

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 3000\n\nid: 00000001:4\nevent: ack\n\
    data: {\"op\":\"ack\",\"topic\":\"t\",\"position\":\"00000001:4\"}\n\n:\n\n\
    id: 00000001:5\nevent: message\ndata: {\"op\":\"message\",\"topic\":\"t\",\"position\":\"00000001:5\",\"data\":\"x\"}\n\n\
    id: 00000001:6\nevent: message\ndata: {\"op\":\"message\",\"topic\":\"t\",\"position\":\"00000001:6\",\"data\":[\ndata: 1]}\n\n";

fn target(transport: Transport) -> Target {
    Target { transport, ..Target::at("127.0.0.1:1".parse().unwrap()) }
}

fn feed(transport: Transport) -> (Feed, String) {
    let mut out = Vec::new();
    let feed = Feed::begin(&target(transport), &[Subscription::live("t".to_owned())], &mut out).unwrap();
    (feed, String::from_utf8(out).unwrap())
}

/// What came of `parts`, how it ended, and what was sent.
fn told(transport: Transport, parts: &[&[u8]]) -> (Vec<String>, Result<bool, String>, String) {
    let (mut feed, _) = feed(transport);
    let (mut told, mut sent, mut outcome) = (Vec::new(), Vec::new(), Ok(false));
    for part in parts {
        outcome = feed.take(part, &mut sent, |message| {
            told.push(match message {
                Message::Text(text) | Message::Binary(text) | Message::Delivered { payload: text, .. } => {
                    String::from_utf8_lossy(text).into_owned()
                }
                Message::Acked(ack) => format!("ack {}", ack.position.unwrap()),
            });
        });
        if outcome.is_err() {
            break;
        }
    }
    (told, outcome, String::from_utf8(sent).unwrap())
}

#[test]
fn a_stream_is_the_same_in_every_split() {
    let expected = [
        "ack 00000001:4",
        r#"{"op":"message","topic":"t","position":"00000001:5","data":"x"}"#,
        "{\"op\":\"message\",\"topic\":\"t\",\"position\":\"00000001:6\",\"data\":[\n1]}",
    ];
    for cut in 0..=EVENTS.len() {
        let (first, second) = EVENTS.as_bytes().split_at(cut);
        assert_eq!(
            told(Transport::Sse, &[first, second]),
            (expected.map(str::to_owned).to_vec(), Ok(true), String::new())
        );
    }
}

#[test]
fn a_stream_that_says_otherwise_is_refused() {
    for (from, to) in [
        ("id: 00000001:5", "id: 00000001:7"),
        ("id: 00000001:5\n", ""),
        ("HTTP/1.1 200", "HTTP/1.1 403"),
        ("event: message", "event: ack"),
        ("retry: 3000", "noise"),
    ] {
        let (_, outcome, _) = told(Transport::Sse, &[EVENTS.replace(from, to).as_bytes()]);
        assert!(outcome.is_err(), "{to:?}");
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn each_poll_goes_on_from_the_last_in_every_split() {
    let first = answer(r#"{"messages":[],"next":"00000001:4"}"#);
    let second =
        answer(r#"{"messages":[{"op":"message","n":1},{"op":"message","n":2}],"next":"00000001:6","recovered":true}"#);
    let all = [first, second].concat();
    for cut in 0..=all.len() {
        let (one, other) = all.as_bytes().split_at(cut);
        let (told, outcome, sent) = told(Transport::Poll, &[one, other]);
        assert_eq!(told, ["ack 00000001:4", r#"{"op":"message","n":1}"#, r#"{"op":"message","n":2}"#]);
        assert_eq!(outcome, Ok(true));
        let requests: Vec<&str> = sent.lines().filter(|line| line.starts_with("GET")).collect();
        let ask = |since| format!("GET /v1/poll?topic=t&since=00000001:{since}&wait=60 HTTP/1.1");
        assert_eq!(requests, [ask(4), ask(6)]);
    }
}

#[test]
fn a_poll_that_lost_its_place_or_was_refused_ends() {
    for odd in [
        answer(r#"{"messages":[],"next":"00000001:4","recovered":false}"#),
        answer("{}"),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n".to_owned(),
    ] {
        assert!(told(Transport::Poll, &[odd.as_bytes()]).1.is_err(), "{odd}");
    }
}

#[test]
fn a_websocket_is_no_feed_and_a_feed_asks_at_once() {
    assert!(Feed::begin(&target(Transport::Ws), &[], &mut Vec::new()).is_none());
    assert!(feed(Transport::Sse).1.starts_with("GET /v1/events?topic=t HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"));
    assert!(feed(Transport::Poll).1.starts_with("GET /v1/poll?topic=t&wait=0 HTTP/1.1\r\n"));
}
