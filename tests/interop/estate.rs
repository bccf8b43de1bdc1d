//! One broker takes the place of another with all that it remembers: nothing is lost, nothing comes twice, whoever resumes
//! resumes. And whatever the one or the other does wrong, both come to their end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::api::{File, JSON, request};
use crate::common::client::{dial, upgrade};
use crate::common::raw::Raw;
use crate::common::{Broker, PATIENCE, run_to_end, serve};
use crate::hand_over::successor;

const TOPICS: [&str; 4] = ["load/0", "load/1", "load/2", "load/3"];

const END: &str = "end";

/// What a subscriber has of its topic: offsets and data in the order in which they came.
#[derive(Default)]
struct Got {
    since: Option<String>,
    list: Vec<(u64, Value)>,
    resumed: usize,
}

impl Got {
    /// Takes a `message`; true if it is the last one.
    fn take(&mut self, message: &Value) -> bool {
        let position = message["position"].as_str().unwrap_or_else(|| panic!("{message}"));
        let (_, offset) = position.split_once(':').expect("a position");
        self.list.push((offset.parse().expect("a number"), message["data"].clone()));
        self.since = Some(position.to_owned());
        message["data"] == END
    }

    /// It subscribed, and has everything up to that position.
    fn begin(&mut self, ready: &AtomicUsize, position: &Value, recovered: &Value) {
        match self.since {
            Some(_) => {
                assert_eq!(*recovered, true, "since {:?}", self.since);
                self.resumed += 1;
            }
            None => {
                self.since = Some(position.as_str().expect("a position").to_owned());
                ready.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

fn websocket(address: SocketAddr) -> WebSocket<TcpStream> {
    let (mut socket, _) = upgrade(dial(address, None), &format!("ws://{address}/ws"), &[]).expect("a handshake");
    assert!(socket.read().expect("a welcome").is_text());
    socket
}

/// Subscribes until the last publication came, again and again.
fn by_websocket(address: SocketAddr, topic: &str, ready: &AtomicUsize) -> Got {
    let mut got = Got::default();
    loop {
        let mut socket = websocket(address);
        let mut subscribe = json!({ "op": "subscribe", "topic": topic, "id": 1 });
        got.since.iter().for_each(|since| subscribe["since"] = since.clone().into());
        if socket.send(Message::text(subscribe.to_string())).is_err() {
            continue;
        }
        while let Ok(message) = socket.read() {
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text).expect("JSON");
            match message["op"].as_str() {
                Some("ack") => got.begin(ready, &message["position"], &message["recovered"]),
                _ if got.take(&message) => return got,
                _ => {}
            }
        }
    }
}

fn by_events(address: SocketAddr, topic: &str, ready: &AtomicUsize) -> Got {
    let mut got = Got::default();
    loop {
        let mut stream = dial(address, None);
        let id = got.since.iter().map(|since| format!("Last-Event-ID: {since}\r\n")).collect::<String>();
        stream.write_all(request(&format!("GET /v1/events?topic={topic}"), &id, "").as_bytes()).expect("it reads");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        for message in lines.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok()) {
            match message["op"].as_str() {
                Some("ack") => got.begin(ready, &message["position"], &message["recovered"]),
                Some("message") if got.take(&message) => return got,
                _ => {}
            }
        }
    }
}

fn by_polls(address: SocketAddr, topic: &str, ready: &AtomicUsize) -> Got {
    let mut got = Got::default();
    loop {
        let since = got.since.iter().map(|since| format!("&since={since}")).collect::<String>();
        let wait = if got.since.is_none() { "&wait=0" } else { "" };
        let (status, answer) = ask(address, &request(&format!("GET /v1/poll?topic={topic}{since}{wait}"), CLOSE, ""));
        assert_eq!(status, 200, "{answer}");
        got.begin(ready, &answer["next"], &answer["recovered"]);
        let next = answer["next"].as_str().expect("a position");
        if answer["messages"].as_array().expect("a list").iter().any(|message| got.take(message)) {
            return got;
        }
        assert_eq!(got.since.as_deref(), Some(next));
    }
}

const CLOSE: &str = "Connection: close\r\n";

/// A request on a connection of its own, which has to be answered.
fn ask(address: SocketAddr, request: &str) -> (u16, Value) {
    let mut stream = dial(address, None);
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("a whole answer: {answer:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Publishes until it is told to end, each with a key and again until it was acknowledged: how many of each topic, and how
/// often it was refused.
fn publish_by_websocket(address: SocketAddr, me: usize, done: &AtomicBool) -> (BTreeMap<usize, usize>, usize) {
    let (mut counts, mut refused, mut number) = (BTreeMap::new(), 0, 0);
    let mut socket = websocket(address);
    while !done.load(Ordering::Relaxed) {
        let topic = number % TOPICS.len();
        let publish = json!({ "op": "publish", "topic": TOPICS[topic], "key": format!("{me} {number}"), "id": number,
            "data": [me, number] });
        let sent = socket.send(Message::text(publish.to_string()));
        let answer = sent.and_then(|()| socket.read());
        match answer {
            Ok(Message::Text(text)) => {
                let answer: Value = serde_json::from_str(&text).expect("JSON");
                if answer["op"] == "ack" {
                    *counts.entry(topic).or_insert(0) += 1;
                    number += 1;
                } else {
                    assert_eq!(answer["code"], 503, "{answer}");
                    refused += 1;
                    socket = websocket(address);
                }
            }
            _ => socket = websocket(address),
        }
    }
    (counts, refused)
}

fn publish_by_http(address: SocketAddr, me: usize, done: &AtomicBool) -> (BTreeMap<usize, usize>, usize) {
    let (mut counts, mut refused, mut number) = (BTreeMap::new(), 0, 0);
    while !done.load(Ordering::Relaxed) {
        let topic = number % TOPICS.len();
        let headers = format!("{JSON}{CLOSE}Idempotency-Key: {me} {number}\r\n");
        let line = format!("POST /v1/publish?topic={}", TOPICS[topic]);
        match ask(address, &request(&line, &headers, &format!("[{me},{number}]"))) {
            (200, _) => {
                *counts.entry(topic).or_insert(0) += 1;
                number += 1;
            }
            (status, answer) => {
                assert_eq!(status, 503, "{answer}");
                refused += 1;
            }
        }
    }
    (counts, refused)
}

/// Whatever was published is in a topic's list once, however often it was sent.
fn assert_once(list: &[(u64, Value)]) {
    let mut data: Vec<String> = list.iter().map(|(_, data)| data.to_string()).collect();
    data.sort();
    data.dedup();
    assert_eq!(data.len(), list.len(), "each was published once");
    assert!(list.len() > 20, "{}", list.len());
}

fn rules() -> File {
    File::new("[[rule]]\nfilter = \"load/#\"\nhistory = { count = 1000000, age = \"10m\" }\n")
}

#[test]
fn under_load_nothing_is_refused_lost_or_doubled_and_everybody_resumes() {
    let rules = rules();
    let with_rules = |mut command: Command| {
        command.arg("--config").arg(&rules.0).env("WIREFAN_SERVER__DRAIN_S", "1");
        command
    };
    let mut broker = Broker::run(with_rules({
        let mut command = serve(&[("SERVER__PIN", "false")]);
        command.args(["--listen", "127.0.0.1:0", "--shards", "2"]);
        command
    }));
    let address = broker.address;
    let (ready, done) = (&AtomicUsize::new(0), &AtomicBool::new(false));
    type Subscribe = fn(SocketAddr, &str, &AtomicUsize) -> Got;
    let ways: [Subscribe; 3] = [by_websocket, by_events, by_polls];
    thread::scope(|scope| {
        let subscribe = |topic: usize, way: Subscribe| (topic, scope.spawn(move || way(address, TOPICS[topic], ready)));
        let subscribers: Vec<_> = (0..4).flat_map(|topic| ways.map(|way| subscribe(topic, way))).collect();
        let until = Instant::now() + PATIENCE;
        while ready.load(Ordering::SeqCst) < subscribers.len() {
            assert!(Instant::now() < until, "everybody subscribes");
            thread::sleep(Duration::from_millis(5));
        }
        let publishers = [
            scope.spawn(move || publish_by_websocket(address, 0, done)),
            scope.spawn(move || publish_by_websocket(address, 1, done)),
            scope.spawn(move || publish_by_http(address, 2, done)),
        ];
        for shards in ["2", "3"] {
            thread::sleep(Duration::from_millis(300));
            let next = Broker::run_heir(with_rules(successor(address, shards)));
            let former = std::mem::replace(&mut broker, next);
            former.signal("TERM");
            broker.hear("took over topics=4");
            broker.hear("listening on ");
            assert!(former.exit(PATIENCE).success());
        }
        thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::SeqCst);
        let (mut counts, mut refused) = ([0; 4], 0);
        for (me, publisher) in publishers.into_iter().enumerate() {
            let (published, refusals) = publisher.join().expect("nothing went wrong");
            refused += refusals;
            println!("publisher {me}: {published:?}, refused {refusals} times");
            published.into_iter().for_each(|(topic, count)| counts[topic] += count);
        }
        for topic in TOPICS {
            let line = format!("POST /v1/publish?topic={topic}");
            assert_eq!(ask(address, &request(&line, &format!("{JSON}{CLOSE}"), "\"end\"")).0, 200);
        }
        assert!(refused > 0, "the freeze was met");
        let mut first: [Option<Vec<(u64, Value)>>; 4] = Default::default();
        for (topic, subscriber) in subscribers {
            let Got { list, resumed, .. } = subscriber.join().expect("nothing went wrong");
            assert!(resumed >= 2, "it resumed at each broker");
            assert!(list.iter().map(|(offset, _)| *offset).eq(1..=list.len() as u64), "no hole, nothing twice");
            assert_eq!(list.len(), counts[topic] + 1, "all that was acknowledged, and the end");
            let list = first[topic].get_or_insert_with(|| list.clone()) == &list;
            assert!(list, "everybody sees the same");
        }
        first.into_iter().flatten().for_each(|list| assert_once(&list));
    });
    broker.signal("TERM");
    assert!(broker.exit(PATIENCE).success());
}

/// The name by which the broker of an address is found, as long as the test plays that broker.
fn name(address: SocketAddr) -> unix::SocketAddr {
    unix::SocketAddr::from_abstract_name(format!("wirefan/{address}")).expect("a short name")
}

/// An address of nobody, and the one who plays its broker.
fn stage() -> (SocketAddr, UnixListener) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("one");
    (address, UnixListener::bind_addr(&name(address)).expect("a name of nobody"))
}

const GREETING: &[u8; 8] = b"wirefan\x01";

/// Has a broker wait for this test, which then says something and does not go away by itself.
fn play(say: &[u8]) -> (Broker, UnixStream) {
    let (address, listener) = stage();
    let heir = Broker::run_heir(successor(address, "2"));
    let (mut stream, _) = listener.accept().expect("it knocks");
    drop(listener);
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).expect("it says who it is");
    assert_eq!(&greeting, GREETING);
    assert_eq!(heir.address, address);
    stream.write_all(say).expect("it listens to this");
    (heir, stream)
}

/// That it serves, and how it ends.
fn check(heir: Broker) {
    assert_eq!(ask(heir.address, &request("GET /healthz", CLOSE, "")).0, 200);
    heir.signal("TERM");
    assert!(heir.exit(PATIENCE).success());
}

#[test]
fn a_predecessor_that_says_nonsense_dies_falls_silent_or_is_of_another_version_keeps_nobody_waiting() {
    let topic = b"\x0f\0\0\0\x01\x07\0\0\0\x05\0\0\0\0\0\0\0\0\x61"; // `a`, epoch 7, offset 5, no subscribers
    let topic_end = b"\x01\0\0\0\x04";
    let nonsense = [&GREETING[..], topic, topic_end, b"GET / HTTP/1.1\r\n\r\n"].concat();
    let (heir, mut stream) = play(&nonsense);
    heir.hear("took over, but not everything that was remembered topics=1 why=\"a record of");
    heir.hear("listening on ");
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said); // it may be reset: not all was read
    assert!(said.len() <= 1, "it says that it listens and nothing else: {said:?}");
    let since = request("GET /v1/poll?topic=a&since=00000007:5&wait=0", CLOSE, "");
    assert_eq!(ask(heir.address, &since).1["recovered"], true, "what came whole counts");
    check(heir);

    let half = [&GREETING[..], topic].concat();
    let (heir, stream) = play(&half);
    drop(stream);
    heir.hear("took over, but not everything that was remembered topics=0");
    heir.hear("listening on ");
    let since = request("GET /v1/poll?topic=a&since=00000007:5&wait=0", CLOSE, "");
    assert_eq!(ask(heir.address, &since).1["recovered"], false, "half a topic is none");
    check(heir);

    let (heir, stream) = play(&half);
    let began = Instant::now();
    heir.hear("why=\"it stopped talking\"");
    assert!(began.elapsed() < Duration::from_secs(6));
    heir.hear("listening on ");
    drop(stream);
    check(heir);

    let (heir, _stream) = play(b"wirefan\x02");
    heir.hear("why=\"it is of another version\"");
    heir.hear("listening on ");
    check(heir);
}

#[test]
fn a_broker_that_waits_serves_at_once_when_the_other_one_crashes_and_ends_when_it_is_told_to() {
    let former = Broker::start(&[]);
    let address = former.address;
    let told = Broker::run_heir(successor(address, "2"));
    let next = Broker::run_heir(successor(address, "2"));
    told.signal("TERM");
    assert!(told.exit(PATIENCE).success());
    former.signal("KILL");
    next.hear("the broker to take over from went without a word");
    next.hear("listening on ");
    assert!(!former.exit(PATIENCE).success());
    check(next);
    let alone = Broker::run(successor(address, "2"));
    check(alone);
}

#[test]
fn of_two_that_wait_the_second_takes_over_from_the_first() {
    let former = Broker::start(&[]);
    let first = Broker::run_heir(successor(former.address, "2"));
    let second = Broker::run_heir(successor(former.address, "2"));
    former.signal("TERM");
    first.hear("listening on ");
    assert!(former.exit(PATIENCE).success());
    let line = "POST /v1/publish?topic=a";
    let position = ask(first.address, &request(line, &format!("{JSON}{CLOSE}"), "1")).1["position"].clone();
    first.signal("TERM");
    second.hear("took over topics=1");
    second.hear("listening on ");
    assert!(first.exit(PATIENCE).success());
    let position = position.as_str().expect("a position");
    let since = request(&format!("GET /v1/poll?topic=a&since={position}&wait=0"), CLOSE, "");
    assert_eq!(ask(second.address, &since).1["recovered"], true);
    check(second);
}

#[test]
fn a_successor_that_says_nonsense_dies_or_falls_silent_lets_the_former_broker_stop_as_ever() {
    for said in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"", GREETING] {
        for stays in [false, true] {
            let broker = Broker::start(&[]);
            let client = Raw::upgrade(&broker, "/ws");
            let mut stream = UnixStream::connect_addr(&name(broker.address)).expect("it has a name");
            stream.write_all(said).expect("it takes it");
            let kept = stays.then_some(stream);
            broker.signal("TERM");
            let mut client = client;
            assert_eq!(client.read_to_close(), 1001, "{said:?} {stays}");
            assert!(broker.exit(PATIENCE).success());
            drop(kept);
        }
    }
}

#[test]
fn without_a_broker_to_take_over_from_it_serves_at_once_and_says_so() {
    let mut command = serve(&[("SERVER__PIN", "false")]);
    command.args(["--take-over", "--listen", "127.0.0.1:0", "--shards", "2"]);
    let broker = Broker::run(command);
    check(broker);
    let mut command = successor("127.0.0.1:1".parse().expect("an address"), "2");
    command.env("WIREFAN_SERVER__LISTEN", "nonsense");
    assert_eq!(run_to_end(command).0.code(), Some(2), "a wrong configuration is told before anything is taken over");
}
