//! Commands that are wrong: each is answered with an error that says so, and the connection lives.

use serde_json::{Value, json};

use crate::common::Broker;
use crate::common::client::Client;

/// The next message is an error with that code; its reason is one sentence that names what it should.
fn expect_error(client: &mut Client, code: u64, id: &Value, names: &str, command: &str) {
    let shown: String = command.chars().take(80).collect();
    let error = client.next();
    assert_eq!(error["op"], "error", "{shown}: {error}");
    assert_eq!(error["code"], code, "{shown}: {error}");
    assert_eq!(error.get("id").unwrap_or(&Value::Null), id, "{shown}: {error}");
    let reason = error["reason"].as_str().expect("a reason");
    assert!(reason.contains(names), "{shown}: the reason does not name {names:?}: {reason}");
    assert!(!reason.contains(['\n', '\r']) && reason.len() < 500, "{reason}");
    client.expect_quiet();
}

#[test]
fn what_is_no_json_gets_400() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    let open = "[".repeat(50_000);
    let closed = "[".repeat(20_000) + &"]".repeat(20_000);
    let deep = format!(r#"{{"op":"publish","topic":"t","data":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
    let objects = r#"{"a":"#.repeat(10_000);
    for text in [
        "",
        " ",
        "hello",
        "{",
        r#"{"op":"ping""#,
        r#"{"op":"ping",}"#,
        r#"{"op":"ping"} x"#,
        r#"{"op":"ping"}{"op":"ping"}"#,
        r#"{"op":"publish","topic":"t","data":NaN}"#,
        r#"{"op":"publish","topic":"t","data":01}"#,
        r#"{"op":"publish","topic":"t","data":+1}"#,
        r#"{"op":"publish","topic":"t","data":[1,]}"#,
        r#"{"op":"publish","topic":"t","data":"\x"}"#,
        "{\"op\":\"publish\",\"topic\":\"t\",\"data\":\"a\tb\"}",
        "\u{feff}{\"op\":\"ping\"}",
        r#"{'op':'ping'}"#,
        "{\"op\":\"ping\"\0}",
        &open,
        &closed,
        &deep,
        &objects,
    ] {
        client.send(text);
        expect_error(&mut client, 400, &Value::Null, "", text);
    }
}

#[test]
fn malformed_json_is_told_its_byte() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    let text = r#"{"op":"publish","topic":"t","data":[1,2,x]}"#;
    client.send(text);
    expect_error(&mut client, 400, &Value::Null, "40", text);
}

/// Code, id that comes back, what the reason names (`-`: nothing in particular), the command.
const WRONG: &str = r##"
400 null -      42
400 null -      null
400 null -      "ping"
400 null op     {}
400 9    op     {"id":9}
400 1    op     {"op":1,"id":1}
404 7    -      {"op":"dance","id":7}
404 "x"  -      {"op":"","id":"x"}
400 "s"  topic  {"op":"subscribe","id":"s"}
400 1    topic  {"op":"subscribe","topic":5,"id":1}
400 1    topic  {"op":"subscribe","topic":"","id":1}
400 1    topic  {"op":"subscribe","topic":"a//b","id":1}
400 1    topic  {"op":"subscribe","topic":"/a","id":1}
400 1    topic  {"op":"subscribe","topic":"a/","id":1}
400 1    topic  {"op":"subscribe","topic":"a/b+","id":1}
400 1    topic  {"op":"subscribe","topic":"a/#/b","id":1}
400 1    topic  {"op":"subscribe","topic":"a\u0000b","id":1}
400 1    topic  {"op":"unsubscribe","id":1}
400 1    data   {"op":"publish","topic":"a","id":1}
400 1    topic  {"op":"publish","data":1,"id":1}
400 1    topic  {"op":"publish","topic":"a/+","data":1,"id":1}
400 1    topic  {"op":"publish","topic":"#","data":1,"id":1}
403 1    $      {"op":"publish","topic":"$sys/x","data":1,"id":1}
400 1    echo   {"op":"publish","topic":"a","data":1,"echo":"no","id":1}
400 1    since  {"op":"subscribe","topic":"a","since":"121","id":1}
400 1    since  {"op":"subscribe","topic":"a","since":"00000001:1","last":1,"id":1}
400 1    since  {"op":"subscribe","topic":"a/#","since":"00000001:1","id":1}
400 1    last   {"op":"subscribe","topic":"+","last":1,"id":1}
400 1    1000   {"op":"subscribe","topic":"a","last":1001,"id":1}
400 1    presence {"op":"subscribe","topic":"#","presence":true,"id":1}
400 1    limit  {"op":"history","topic":"a","limit":0,"id":1}
400 1    topic  {"op":"history","topic":"a/#","id":1}
403 1    $      {"op":"history","topic":"$sys/x","id":1}
400 1    limit  {"op":"presence","topic":"a","limit":1001,"id":1}
400 1    topic  {"op":"presence","topic":"+","id":1}
400 1    128    {"op":"publish","topic":"a","data":1,"key":"","id":1}
400 null id     {"op":"ping","id":{}}
400 null id     {"op":"ping","id":-1}
400 null id     {"op":"ping","id":1.5}
400 null id     {"op":"ping","id":9007199254740992}
"##;

#[test]
fn what_is_no_command_gets_its_code_and_its_id_back() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    let mut lines = 0;
    for line in WRONG.trim().lines() {
        let mut fields = line.split_ascii_whitespace();
        let mut field = || fields.next().expect("four fields");
        let code = field().parse().expect("a code");
        let id = serde_json::from_str(field()).expect("an id");
        let names = field().trim_start_matches('-');
        let command = field();
        client.send(command);
        expect_error(&mut client, code, &id, names, command);
        lines += 1;
    }
    assert_eq!(lines, 40);
}

#[test]
fn what_is_too_long_is_told_the_limit() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    let topic = "x".repeat(256);
    let command = format!(r#"{{"op":"subscribe","topic":"{topic}","id":1}}"#);
    client.send(command.as_str());
    expect_error(&mut client, 400, &json!(1), "255", &command);
    client.subscribe(&topic[..255]);
    let id = "x".repeat(65);
    let command = format!(r#"{{"op":"ping","id":"{id}"}}"#);
    client.send(command.as_str());
    expect_error(&mut client, 400, &Value::Null, "64", &command);
    let pong = client.ask(format!(r#"{{"op":"ping","id":"{}"}}"#, &id[..64]));
    assert_eq!(pong["id"], id[..64]);
    let pong = client.ask(r#"{"op":"ping","id":9007199254740991}"#);
    assert_eq!(pong["id"], 9_007_199_254_740_991_u64);
}

#[test]
fn a_bad_binary_header_gets_400() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    for message in [
        &b"{\"op\":\"publish\",\"topic\":\"\xff\xfe\"}\npayload"[..],
        b"\xc3\x28\npayload",
        b"\npayload",
        b"",
        b"payload without a header",
        b"{\"op\":\"publish\",\"topic\":\"t\"}",
        b"{\"op\":\"publish\",\"topic\":5}\npayload",
    ] {
        client.send_binary(message);
        expect_error(&mut client, 400, &Value::Null, "", &String::from_utf8_lossy(message));
    }
}

#[test]
fn one_bad_command_does_not_stop_an_array() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.send(r#"[{"op":"ping","id":1},{"op":"dance","id":2},7,{"op":"ping","id":4}]"#);
    assert_eq!(client.expect("pong")["id"], 1);
    let error = client.expect("error");
    assert_eq!((&error["code"], &error["id"]), (&json!(404), &json!(2)));
    assert_eq!(client.expect("error")["code"], 400);
    assert_eq!(client.expect("pong")["id"], 4);
}

#[test]
fn without_an_id_a_success_is_silent_and_an_error_is_not() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.send(r#"{"op":"subscribe","topic":"quiet"}"#);
    client.send(r#"{"op":"publish","topic":"loud","data":1}"#);
    client.send(r#"{"op":"unsubscribe","topic":"quiet"}"#);
    client.expect_quiet();
    client.send(r#"{"op":"subscribe","topic":"not/#/this"}"#);
    assert_eq!(client.expect("error").get("id"), None);
}

#[test]
fn unknown_members_are_ignored() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    let pong = client.ask(r#"{"later":{"op":"publish"},"op":"ping","id":"i","x":[1,2,{}]}"#);
    assert_eq!((&pong["op"], &pong["id"]), (&json!("pong"), &json!("i")));
}

#[test]
fn too_many_subscriptions_are_refused_and_the_others_stay() {
    let broker = Broker::start(&[("LIMITS__SUBSCRIPTIONS_MAX", "3")]);
    let mut client = Client::connect(&broker);
    for topic in ["one", "two", "three", "two"] {
        client.subscribe(topic);
    }
    let error = client.ask(r#"{"op":"subscribe","topic":"four","id":4}"#);
    assert_eq!((&error["op"], &error["id"]), (&json!("error"), &json!(4)), "{error}");
    assert!(error["reason"].as_str().is_some_and(|reason| reason.contains('3')), "{error}");
    client.send(r#"{"op":"publish","topic":"three","data":3}"#);
    assert_eq!(client.expect("message")["data"], 3);
    client.ask(r#"{"op":"unsubscribe","topic":"one","id":5}"#);
    client.subscribe("four");
}
