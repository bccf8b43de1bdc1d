//! Topics, filters, order, positions: what subscribers get of what publishers send.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::common::Broker;
use crate::common::client::Client;

/// Offset of a position, after a look at its shape: eight hex digits, a colon, a number.
fn offset(position: &Value) -> (String, u64) {
    let text = position.as_str().expect("a position is a string");
    let (epoch, offset) = text.split_once(':').expect("epoch:offset");
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    assert!(epoch.len() == 8 && epoch.bytes().all(hex), "{text}");
    (epoch.to_owned(), offset.parse().expect("a number"))
}

#[test]
fn the_welcome_comes_first_and_says_who_and_what() {
    let broker = Broker::start(&[("LIMITS__MESSAGE_BYTES_MAX", "4096")]);
    let mut raw = crate::common::raw::Raw::upgrade(&broker, "/ws");
    let (first, payload) = raw.read_frame().expect("a frame");
    assert_eq!(first, 0x81);
    let welcome: Value = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(welcome["op"], "welcome");
    assert!(welcome["client"].as_str().is_some_and(|name| !name.is_empty()), "{welcome}");
    assert!(welcome["server"].as_str().is_some_and(|name| name.starts_with("wirefan/")), "{welcome}");
    assert_eq!(welcome["heartbeat"], 25);
    assert_eq!(welcome["limits"], json!({"message_bytes": 4096, "subscriptions": 1000}));
    let names: Vec<_> = (0..8).map(|_| Client::connect(&broker).name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "every connection has a name of its own");
}

#[test]
fn all_subscribers_see_one_order_per_topic_whatever_their_core() {
    one_order_for_all(&Broker::start(&[]));
}

#[test]
fn shards_that_look_before_they_sleep_miss_nothing_and_rest_when_there_is_nothing() {
    let broker = Broker::start(&[("SERVER__SPIN_US", "10000")]);
    one_order_for_all(&broker);
    let cpu_ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", broker.pid())).expect("it runs");
        // proc(5): fields 14 and 15, and the third is the first behind the name.
        let fields = stat.rsplit(") ").next().expect("a name in brackets").split(' ').map(str::to_owned);
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum::<u64>()
    };
    std::thread::sleep(std::time::Duration::from_millis(100));
    let before = cpu_ticks();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let spent = cpu_ticks() - before;
    assert!(spent <= 10, "{spent} hundredths of a second of work in a second without any");
}

fn one_order_for_all(broker: &Broker) {
    const SUBSCRIBERS: usize = 12;
    const PUBLISHERS: u64 = 3;
    const TOPICS: u64 = 5;
    const EACH: u64 = 40;
    let mut subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| Client::connect(broker)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("order/#");
    }
    let mut publishers: Vec<_> = (0..PUBLISHERS).map(|_| Client::connect(broker)).collect();
    for n in 0..EACH {
        for (p, publisher) in publishers.iter_mut().enumerate() {
            for topic in 0..TOPICS {
                publisher.send(format!(r#"{{"op":"publish","topic":"order/{topic}","data":{{"p":{p},"n":{n}}}}}"#));
            }
        }
    }
    let mut seen_by_first = None;
    for subscriber in &mut subscribers {
        let mut topics: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
        for _ in 0..PUBLISHERS * TOPICS * EACH {
            let message = subscriber.expect("message");
            let topic = message["topic"].as_str().expect("a topic").to_owned();
            let position = message["position"].as_str().expect("a position").to_owned();
            topics.entry(topic).or_default().push((position, message["data"].clone()));
        }
        subscriber.expect_quiet();
        assert_eq!(topics.len() as u64, TOPICS);
        for seen in topics.values() {
            let (epoch, _) = offset(&Value::from(seen[0].0.as_str()));
            for (index, (position, _)) in seen.iter().enumerate() {
                assert_eq!(*position, format!("{epoch}:{}", index + 1), "positions have no holes");
            }
            for p in 0..PUBLISHERS {
                let of_one = seen.iter().filter(|(_, data)| data["p"] == p);
                let numbers: Vec<_> = of_one.map(|(_, data)| data["n"].as_u64().expect("n")).collect();
                assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "a publisher's order is kept");
            }
        }
        assert_eq!(*seen_by_first.get_or_insert_with(|| topics.clone()), topics);
    }
}

#[test]
fn filters_match_as_they_are_documented() {
    let filters = ["a/b/c", "a/+/c", "a/#", "+/+/+", "#", "a/b", "a/b/c/#", "b/#"];
    let published = ["a/b/c", "a/x/c", "a", "a/b", "a/b/c/d", "b", "ab/c"];
    let matching = |filter: &str| -> Vec<&str> {
        match filter {
            "a/b/c" => vec!["a/b/c"],
            "a/+/c" => vec!["a/b/c", "a/x/c"],
            "a/#" => vec!["a/b/c", "a/x/c", "a", "a/b", "a/b/c/d"],
            "+/+/+" => vec!["a/b/c", "a/x/c"],
            "#" => published.to_vec(),
            "a/b" => vec!["a/b"],
            "a/b/c/#" => vec!["a/b/c", "a/b/c/d"],
            _ => vec!["b"],
        }
    };
    let broker = Broker::start(&[]);
    let mut subscribers: Vec<_> = filters.iter().map(|_| Client::connect(&broker)).collect();
    for (subscriber, filter) in subscribers.iter_mut().zip(filters) {
        subscriber.subscribe(filter);
        // Tells each when all has been published.
        subscriber.subscribe("end/of/it/all");
    }
    let mut publisher = Client::connect(&broker);
    for topic in published {
        let ack = publisher.ask(format!(r#"{{"op":"publish","topic":"{topic}","data":0,"id":1}}"#));
        assert_eq!(ack["op"], "ack", "{ack}");
    }
    publisher.send(r#"{"op":"publish","topic":"end/of/it/all","data":0}"#);
    for (subscriber, filter) in subscribers.iter_mut().zip(filters) {
        let mut seen = Vec::new();
        // Order between topics is nobody's promise, so the end may come before the last of the others.
        let wanted = matching(filter).len() + 1;
        for _ in 0..wanted {
            let topic = subscriber.expect("message")["topic"].as_str().expect("a topic").to_owned();
            if topic != "end/of/it/all" {
                seen.push(topic);
            }
        }
        subscriber.expect_quiet();
        let mut expected = matching(filter);
        expected.sort_unstable();
        seen.sort_unstable();
        assert_eq!(seen, expected, "{filter}");
    }
}

#[test]
fn overlapping_filters_of_one_connection_deliver_once() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    for filter in ["twice/x", "twice/+", "twice/#", "#"] {
        client.subscribe(filter);
    }
    let mut publisher = Client::connect(&broker);
    for n in 1..=20 {
        publisher.send(format!(r#"{{"op":"publish","topic":"twice/x","data":{n}}}"#));
    }
    for n in 1..=20 {
        assert_eq!(client.expect("message")["data"], n);
    }
    client.expect_quiet();
}

#[test]
fn subscribing_again_is_a_success_and_changes_nothing() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.subscribe("again");
    client.subscribe("again");
    client.send(r#"{"op":"publish","topic":"again","data":1}"#);
    assert_eq!(client.expect("message")["data"], 1);
    client.expect_quiet();
    let ack = client.ask(r#"{"op":"unsubscribe","topic":"again","id":2}"#);
    assert_eq!((&ack["op"], &ack["id"]), (&json!("ack"), &json!(2)));
    client.ask(r#"{"op":"publish","topic":"again","data":2,"id":3}"#);
    client.expect_quiet();
}

#[test]
fn data_arrives_byte_for_byte() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.subscribe("bytes");
    let values = [
        r#"{ "b" : 1.0 , "a":-0, "big":1180591620717411303424,"far":1e400, "dup":1,"dup":2 }"#,
        r#""\u00e9\ud83d\ude00\ud800 \/ é 😀""#,
        "[1.50, [ ], {\t}\n, null ,true]",
        "null",
        "\"\"",
        "-12.5E-3",
    ];
    for value in values {
        client.send(format!(r#"{{"data": {value} , "op":"publish","topic":"bytes"}}"#));
        let message = client.next_text();
        assert!(message.contains(value), "{value} became {message}");
    }
}

#[test]
fn binary_publications_arrive_as_they_were_sent() {
    let broker = Broker::start(&[]);
    let mut subscriber = Client::connect(&broker);
    subscriber.subscribe("blob/#");
    let mut publisher = Client::connect(&broker);
    let every_byte: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for (n, payload) in [&every_byte[..], b"", b"\n", b"{\"op\":\"ping\"}\n\n\0"].into_iter().enumerate() {
        let mut message = format!(r#"{{"op":"publish","topic":"blob/x","id":{n}}}"#).into_bytes();
        message.push(b'\n');
        message.extend(payload);
        publisher.send_binary(message);
        let ack = publisher.expect("ack");
        let (header, got) = subscriber.next_binary();
        assert_eq!((&header["op"], &header["topic"]), (&json!("message"), &json!("blob/x")));
        assert_eq!(header["position"], ack["position"]);
        assert_eq!(header.get("data"), None);
        assert_eq!(got, payload);
    }
    // Text and binary publications share the topic's one order.
    publisher.send(r#"{"op":"publish","topic":"blob/x","data":"text"}"#);
    let message = subscriber.expect("message");
    assert_eq!(offset(&message["position"]).1, 5);
}

#[test]
fn any_command_may_come_in_a_binary_message_and_is_answered_in_text() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.send_binary(&b"{\"op\":\"subscribe\",\"topic\":\"t\",\"id\":1}\n"[..]);
    assert_eq!(client.expect("ack")["id"], 1);
    client.send_binary(&b"{\"op\":\"ping\",\"id\":2}\n"[..]);
    assert_eq!(client.expect("pong")["id"], 2);
}

#[test]
fn echo_false_spares_the_publisher_alone() {
    let broker = Broker::start(&[]);
    let mut publisher = Client::connect(&broker);
    let mut others: Vec<_> = (0..6).map(|_| Client::connect(&broker)).collect();
    publisher.subscribe("echo");
    for other in &mut others {
        other.subscribe("echo");
    }
    publisher.send(r#"{"op":"publish","topic":"echo","data":1,"echo":false}"#);
    publisher.send_binary(&b"{\"op\":\"publish\",\"topic\":\"echo\",\"echo\":false}\n2"[..]);
    publisher.send(r#"{"op":"publish","topic":"echo","data":3,"echo":true}"#);
    let only = publisher.expect("message");
    assert_eq!((&only["data"], offset(&only["position"]).1), (&json!(3), 3));
    publisher.expect_quiet();
    for other in &mut others {
        assert_eq!(other.expect("message")["data"], 1);
        assert_eq!(other.next_binary().1, b"2");
        assert_eq!(other.expect("message")["data"], 3);
    }
}

#[test]
fn acks_carry_the_topic_and_its_position() {
    let broker = Broker::start(&[]);
    let mut publisher = Client::connect(&broker);
    let mut subscriber = Client::connect(&broker);
    let before = subscriber.subscribe("place");
    assert_eq!(before["topic"], "place");
    let (epoch, zero) = offset(&before["position"]);
    assert_eq!(zero, 0, "live begins before the first publication");
    let ack = publisher.ask(r#"{"op":"publish","topic":"place","data":{},"id":"p1"}"#);
    assert_eq!((&ack["op"], &ack["id"]), (&json!("ack"), &json!("p1")));
    assert_eq!(ack["position"], format!("{epoch}:1"));
    assert_eq!(subscriber.expect("message")["position"], ack["position"]);
    let late = Client::connect(&broker).subscribe("place");
    assert_eq!(late["position"], ack["position"]);
}

#[test]
fn after_the_ack_of_unsubscribe_nothing_of_that_filter_follows() {
    let broker = Broker::start(&[]);
    let mut publisher = Client::connect(&broker);
    let mut subscriber = Client::connect(&broker);
    for round in 0..20 {
        let topic = format!("gone/{round}");
        subscriber.subscribe(&topic);
        subscriber.subscribe("stays");
        for n in 0..50 {
            publisher.send(format!(r#"{{"op":"publish","topic":"{topic}","data":{n}}}"#));
        }
        subscriber.send(format!(r#"{{"op":"unsubscribe","topic":"{topic}","id":"u"}}"#));
        let mut next = 0;
        loop {
            let message = subscriber.next();
            if message["op"] == "ack" {
                break;
            }
            assert_eq!(message["data"], next, "what comes before the ack is in order");
            next += 1;
        }
        // The ack of a later publication, and a message of another topic: by then the rest has passed.
        publisher.ask(format!(r#"{{"op":"publish","topic":"{topic}","data":50,"id":1}}"#));
        publisher.send(r#"{"op":"publish","topic":"stays","data":0}"#);
        assert_eq!(subscriber.expect("message")["topic"], "stays");
    }
    subscriber.expect_quiet();
}

#[test]
fn an_array_is_handled_in_order() {
    let broker = Broker::start(&[]);
    let mut client = Client::connect(&broker);
    client.send(
        r#"[{"op":"subscribe","topic":"batch","id":1},{"op":"publish","topic":"batch","data":"x","id":2},
            {"op":"dance","id":3},{"op":"unsubscribe","topic":"batch","id":4},{"op":"ping","id":5}]"#,
    );
    let mut replies = Vec::new();
    while replies.last() != Some(&("pong".to_owned(), 5)) {
        let reply = client.next();
        if reply["op"] == "message" {
            assert_eq!(reply["data"], "x");
        } else {
            replies.push((reply["op"].as_str().expect("an op").to_owned(), reply["id"].as_u64().expect("an id")));
        }
    }
    // A topic may live on another core, so its acks may come later than the error and the pong.
    while replies.len() < 5 {
        let reply = client.next();
        replies.push((reply["op"].as_str().expect("an op").to_owned(), reply["id"].as_u64().expect("an id")));
    }
    replies.sort_by_key(|&(_, id)| id);
    let expected = [("ack", 1), ("ack", 2), ("error", 3), ("ack", 4), ("pong", 5)];
    assert_eq!(replies, expected.map(|(op, id)| (op.to_owned(), id)));
    let error = client.ask("[]");
    assert_eq!((&error["op"], &error["code"]), (&json!("error"), &json!(400)), "an array has a command");
    client.expect_quiet();
}
