//! How fast one connection may send commands, and how fast connections may come.

use std::time::Duration;

use serde_json::Value;

use crate::common::Broker;
use crate::common::client::Client;
use crate::common::raw::Raw;

const PING: &str = r#"{"op":"ping","id":1}"#;

#[test]
fn too_many_commands_cost_an_error_each_and_then_the_connection() {
    let broker = Broker::start(&[("LIMITS__COMMANDS_PER_SECOND_MAX", "20")]);
    let (mut fast, mut calm) = (Client::connect(&broker), Client::connect(&broker));
    fast.send(format!("[{}]", vec![PING; 60].join(",")));
    let replies: Vec<Value> = (0..60).map(|_| fast.next()).collect();
    let pongs = replies.iter().take_while(|reply| reply["op"] == "pong").count();
    assert!((40..=42).contains(&pongs), "two seconds' worth at once: {pongs}");
    let refused = &replies[59];
    assert_eq!((&refused["op"], &refused["code"], &refused["id"]), (&"error".into(), &429.into(), &1.into()));
    let reason = refused["reason"].as_str().expect("a reason");
    assert!(reason.contains("limits.commands_per_second_max") && reason.contains("retry_ms="), "{reason}");
    calm.expect_quiet();
    std::thread::sleep(Duration::from_millis(300));
    fast.expect_quiet();

    // On and on: ten seconds' worth of refusals end it.
    for _ in 0..5 {
        fast.send(format!("[{}]", vec![PING; 100].join(",")));
    }
    let (messages, code, reason) = fast.read_to_close();
    assert_eq!(code, 4029);
    assert!((150..=400).contains(&messages.len()), "nothing is answered behind the end: {}", messages.len());
    let retry_ms = reason.strip_prefix("retry_ms=").and_then(|ms| ms.parse::<u64>().ok());
    assert!(retry_ms.is_some_and(|ms| (1..=3_000).contains(&ms)), "{reason}");
    calm.expect_quiet();
}

#[test]
fn connections_that_come_too_fast_get_503_with_retry_after() {
    let broker = Broker::start(&[("LIMITS__ACCEPTS_PER_SECOND_MAX", "10")]);
    let healthz = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answers: Vec<_> = (0..60).map(|_| Raw::request(&broker, healthz)).collect();
    let accepted = answers.iter().filter(|answer| answer.status() == 200).count();
    assert!((20..60).contains(&accepted), "two seconds' worth at once, and not all: {accepted}");
    for refused in answers.iter().filter(|answer| answer.status() != 200) {
        assert_eq!((refused.status(), refused.header("retry-after")), (503, Some("1")), "{}", refused.head);
        assert!(refused.header("date").is_some(), "{}", refused.head);
        let text = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(text.contains("limits.accepts_per_second_max"), "{text}");
    }
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(Raw::request(&broker, healthz).status(), 200, "later it is as before");
}
