//! Who is there: lists of members, page by page, and who is told of those who come and go.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::{Broker, serve};

/// A broker of two shards where `room/#` has presence.
fn broker(name: &str) -> Broker {
    let file = format!("{}/presence-{name}.toml", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&file, "[[rule]]\nfilter = \"room/#\"\npresence = true\nfrom = true\n").expect("it is ours");
    let mut command = serve(&[]);
    command.args(["--config", &file, "--listen", "127.0.0.1:0", "--shards", "2"]);
    Broker::run(command)
}

fn members(client: &mut Client, topic: &str, more: &str) -> Value {
    let ack = client.ask(format!(r#"{{"op":"presence","topic":"{topic}","id":3{more}}}"#));
    assert_eq!((&ack["op"], &ack["id"], &ack["topic"]), (&json!("ack"), &json!(3), &json!(topic)), "{ack}");
    ack
}

fn names(page: &Value) -> Vec<String> {
    let members = page["members"].as_array().expect("a list");
    members.iter().map(|member| member["client"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn members_are_listed_page_by_page_on_whatever_core_they_are() {
    let broker = broker("pages");
    for topic in ["room/1", "room/2", "room/3"] {
        let mut clients: Vec<Client> = (0..9).map(|_| Client::connect(&broker)).collect();
        for client in &mut clients[..7] {
            client.subscribe(topic);
        }
        clients[7].subscribe("room/+");
        let mut asks = clients.pop().expect("the ninth");
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = members(&mut asks, topic, &format!(r#","limit":3{after}"#));
            assert_eq!((&page["users"], &page["connections"]), (&json!(0), &json!(7)), "{page}");
            assert!(
                page["members"].as_array().is_some_and(|members| members.iter().all(|member| member["user"].is_null()))
            );
            seen.extend(names(&page));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(Some(next), seen.last().map(String::as_str));
            after = format!(r#","after":"{next}""#);
        }
        let expected: BTreeSet<_> = clients[..7].iter().map(|client| client.name.clone()).collect();
        assert_eq!(seen.len(), 7, "nobody twice");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected, "by the names of their welcomes");
    }
}

#[test]
fn joins_and_leaves_reach_those_who_asked_in_the_order_of_publications() {
    let broker = broker("events");
    for topic in ["room/1", "room/2", "room/3", "room/4"] {
        let (mut told, mut quiet) = (Client::connect(&broker), Client::connect(&broker));
        quiet.subscribe(topic);
        let ack = told.ask(format!(r#"{{"op":"subscribe","topic":"{topic}","presence":true,"id":1}}"#));
        assert_eq!((&ack["op"], &ack["topic"]), (&json!("ack"), &json!(topic)), "{ack}");
        let event = |op: &str, name: &str| json!({"op": op, "topic": topic, "member": {"client": name, "user": null}});
        assert_eq!(told.next(), event("join", &told.name.clone()));
        let mut other = Client::connect(&broker);
        other.send(format!(
            r#"[{{"op":"subscribe","topic":"{topic}"}},{{"op":"publish","topic":"{topic}","data":1}},{{"op":"unsubscribe","topic":"{topic}"}}]"#
        ));
        assert_eq!(told.next(), event("join", &other.name));
        let message = told.next();
        assert_eq!((&message["op"], &message["data"], message.get("from")), (&json!("message"), &json!(1), None));
        assert_eq!(told.next(), event("leave", &other.name));
        other.send(format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        assert_eq!(told.next(), event("join", &other.name));
        let name = other.name.clone();
        drop(other);
        assert_eq!(told.next(), event("leave", &name), "a connection that just ends leaves, too");
        assert_eq!(quiet.next()["op"], "message");
        quiet.expect_quiet();
        told.ask(format!(r#"{{"op":"unsubscribe","topic":"{topic}","id":2}}"#));
        let mut last = Client::connect(&broker);
        last.subscribe(topic);
        told.expect_quiet();
    }
}

#[test]
fn presence_where_the_rule_has_none_or_behind_no_name_is_an_error() {
    let broker = broker("errors");
    let mut client = Client::connect(&broker);
    for (command, code, names) in [
        (r#"{"op":"presence","topic":"hall","id":1}"#, 404, "presence"),
        (r#"{"op":"subscribe","topic":"hall","presence":true,"id":1}"#, 404, "presence"),
        (r#"{"op":"presence","topic":"room/1","after":"x","id":1}"#, 400, "`after`"),
        (r#"{"op":"presence","topic":"room/1","after":"0-01-2","id":1}"#, 400, "`after`"),
        (r#"{"op":"presence","topic":"$presence/room/1","id":1}"#, 403, "$presence"),
        (r#"{"op":"subscribe","topic":"$presence/room/1","id":1}"#, 403, "$presence"),
        (r#"{"op":"publish","topic":"$presence/room/1","data":1,"id":1}"#, 403, "$presence"),
    ] {
        let error = client.ask(command);
        assert_eq!((&error["op"], &error["code"], &error["id"]), (&json!("error"), &json!(code), &json!(1)), "{error}");
        assert!(error["reason"].as_str().is_some_and(|reason| reason.contains(names)), "{error}");
    }
    assert_eq!(names(&members(&mut client, "room/1", "")), [""; 0]);
    client.expect_quiet();
}
