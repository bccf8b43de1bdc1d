//! The process and its connections over time: signals, ports, heartbeats, slow consumers, a full descriptor table.

use std::net::TcpListener;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tungstenite::Message;

use crate::common::client::Client;
use crate::common::raw::Raw;
use crate::common::{Broker, PATIENCE, configure, run_to_end, serve};

/// The offsets of publications that were seen on one topic, in order.
fn offsets(messages: &[Message]) -> Vec<u64> {
    let publications = messages.iter().filter_map(|message| {
        let json: serde_json::Value = serde_json::from_str(message.to_text().ok()?).expect("JSON");
        let (_, offset) = json["position"].as_str()?.split_once(':')?;
        (json["op"] == "message").then(|| offset.parse().expect("a number"))
    });
    publications.collect()
}

#[test]
fn sigterm_in_mid_flight_closes_everyone_with_1001_after_whole_frames_and_exits_0() {
    stop_in_mid_flight("TERM");
}

#[test]
fn sigint_does_the_same() {
    stop_in_mid_flight("INT");
}

fn stop_in_mid_flight(signal: &str) {
    let broker = Broker::start(&[]);
    let mut watcher = Client::connect(&broker);
    watcher.subscribe("flight");
    let mut subscribers: Vec<_> = (0..8).map(|_| Client::connect(&broker)).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe("flight");
    }
    let idle = Client::connect(&broker);
    let publisher = Client::connect(&broker);
    // The broker moves in: when an assertion fails it is killed, and the threads that wait for it end.
    let broker = thread::scope(move |scope| {
        scope.spawn(|| publish_until_closed(publisher));
        let readers: Vec<_> = subscribers
            .into_iter()
            .chain([idle])
            .map(|mut client| scope.spawn(move || client.read_to_close()))
            .collect();
        for _ in 0..500 {
            watcher.expect("message");
        }
        broker.signal(signal);
        let (_, code, _) = watcher.read_to_close();
        assert_eq!(code, 1001);
        for (index, reader) in readers.into_iter().enumerate() {
            let (messages, code, _) = reader.join().expect("a reader");
            assert_eq!(code, 1001);
            let offsets = offsets(&messages);
            assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>());
            assert_eq!(offsets.is_empty(), index == 8, "only the idle one got nothing");
        }
        broker
    });
    let status = broker.exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
}

/// Publishes without pause, a batch under way at a time, until the broker says 1001.
fn publish_until_closed(mut client: Client) {
    let one = r#"{"op":"publish","topic":"flight","data":"a publication of some length, as they come"}"#;
    let last = r#"{"op":"publish","topic":"flight","data":"the last of a batch","id":1}"#;
    let batch = format!("[{}{last}]", format!("{one},").repeat(15));
    loop {
        client.send(batch.as_str());
        match client.receive() {
            Message::Text(text) if text.contains(r#""ack""#) => {}
            // 503: it was taken by a broker that is already on its way out.
            Message::Text(text) => assert!(text.contains("503"), "{text}"),
            Message::Close(frame) => {
                assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1001));
                return;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_that_never_answers_cannot_hold_the_broker() {
    let broker = Broker::start(&[]);
    let mut deaf = Raw::upgrade(&broker, "/ws");
    assert!(deaf.read_frame().is_some());
    let _silent = Raw::dial(&broker);
    broker.signal("TERM");
    let status = broker.exit(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_second_signal_ends_the_broker_at_once() {
    let broker = Broker::start(&[]);
    let mut deaf = Raw::upgrade(&broker, "/ws");
    assert!(deaf.read_frame().is_some());
    broker.signal("TERM");
    // The close frame is the sign that the first signal has been taken.
    assert!(deaf.read_frame().is_some_and(|(first, _)| first == 0x88));
    broker.signal("TERM");
    broker.exit(Duration::from_secs(2));
}

#[test]
fn after_sigterm_nobody_gets_in() {
    let broker = Broker::start(&[]);
    let mut deaf = Raw::upgrade(&broker, "/ws");
    assert!(deaf.read_frame().is_some());
    let address = broker.address;
    broker.signal("TERM");
    assert!(deaf.read_frame().is_some_and(|(first, _)| first == 0x88));
    let timeout = Duration::from_secs(1);
    if let Ok(stream) = std::net::TcpStream::connect_timeout(&address, timeout) {
        // The kernel may complete a connection just before its listener closes; the broker must not serve it.
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut late = &stream;
        let _ = std::io::Write::write_all(&mut late, crate::common::raw::handshake("/ws").as_bytes());
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut late, &mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn a_port_in_use_is_one_sentence_and_exit_code_1() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let mut command = serve(&[]);
    command.args(["--listen", &address, "--shards", "2"]);
    let (status, lines) = run_to_end(command);
    assert_eq!(status.code(), Some(1), "{lines:?}");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&address), "{lines:?}");
}

#[test]
fn a_second_broker_on_the_same_port_is_refused() {
    let broker = Broker::start(&[]);
    let mut command = serve(&[]);
    command.args(["--listen", &broker.address.to_string(), "--shards", "2"]);
    let (status, lines) = run_to_end(command);
    assert_eq!((status.code(), lines.len()), (Some(1), 1), "{lines:?}");
}

#[test]
fn a_public_address_without_authentication_is_refused_with_advice() {
    let mut command = serve(&[]);
    command.args(["--listen", "0.0.0.0:0"]);
    let (status, lines) = run_to_end(command);
    assert!(matches!(status.code(), Some(1 | 2)), "{status}");
    assert!(lines.iter().any(|line| line.contains("allow-anonymous")), "{lines:?}");
}

#[test]
fn one_shard_and_many_work_alike() {
    for shards in ["1", "3", "16"] {
        let mut command = serve(&[]);
        command.args(["--listen", "127.0.0.1:0", "--shards", shards]);
        let broker = Broker::run(command);
        let mut clients: Vec<_> = (0..10).map(|_| Client::connect(&broker)).collect();
        for client in &mut clients {
            client.subscribe("all/+");
        }
        for n in 0..50 {
            clients[n % 10].send(format!(r#"{{"op":"publish","topic":"all/{n}","data":{n}}}"#));
        }
        for client in &mut clients {
            let mut seen: Vec<_> = (0..50).map(|_| client.expect("message")["data"].as_u64()).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..50).map(Some).collect::<Vec<_>>(), "--shards {shards}");
            client.expect_quiet();
        }
    }
}

#[test]
fn a_missed_pong_closes_4009_and_an_answered_ping_does_not() {
    let broker = Broker::start(&[("HEARTBEAT__INTERVAL_S", "1"), ("HEARTBEAT__TIMEOUT_S", "1")]);
    let mut deaf = Raw::upgrade(&broker, "/ws");
    let alive = Client::connect(&broker);
    let broker = thread::scope(move |scope| {
        // Reading is what answers pings: it goes on until the broker stops.
        let alive = scope.spawn(move || {
            let mut alive = alive;
            alive.read_to_close().1
        });
        let mut pings = 0;
        let code = loop {
            match deaf.read_frame_or_ping().expect("a close frame before the end") {
                (0x89, _) => pings += 1,
                (0x88, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
                (first, _) => assert_eq!(first, 0x81),
            }
        };
        assert_eq!((code, pings), (4009, 1));
        broker.signal("TERM");
        assert_eq!(alive.join().expect("a reader"), 1001);
        broker
    });
    assert_eq!(broker.exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_slow_consumer_is_closed_with_4008_and_nobody_else_suffers() {
    const ROUNDS: usize = 48;
    let broker = Broker::start(&[("LIMITS__OUTBOUND_BYTES_MAX", "131072")]);
    let mut slow = Client::connect_narrow(&broker, 32 * 1024);
    slow.subscribe("firehose");
    let mut healthy = Client::connect(&broker);
    healthy.subscribe("firehose");
    let mut publisher = Client::connect(&broker);
    let data = "x".repeat(2000);
    let one = format!(r#"{{"op":"publish","topic":"firehose","data":"{data}"}}"#);
    let last = format!(r#"{{"op":"publish","topic":"firehose","data":"{data}","id":1}}"#);
    let batch = format!("[{}{last}]", format!("{one},").repeat(15));
    for _ in 0..ROUNDS {
        publisher.send(batch.as_str());
        publisher.expect("ack");
        for _ in 0..16 {
            healthy.expect("message");
        }
    }
    healthy.expect_quiet();
    let (messages, code, _) = slow.read_to_close();
    assert_eq!(code, 4008);
    let offsets = offsets(&messages);
    assert_eq!(offsets, (1..=offsets.len() as u64).collect::<Vec<_>>(), "whole, in order, without a hole");
    let bytes: usize = messages.iter().map(Message::len).sum();
    assert!(bytes < 768 * 1024, "a stalled peer cost {bytes} bytes of the 1.5 MiB published");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_descriptor_table_pauses_accepting_and_nothing_else() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 48; exec \"$0\" serve --listen 127.0.0.1:0 --shards 1"]);
    command.arg(env!("CARGO_BIN_EXE_wirefan"));
    configure(&mut command, &[]);
    let broker = Broker::run(command);
    let mut first = Client::connect(&broker);
    first.subscribe("still/here");
    // One shard has one queue, so whoever comes last waits behind all of these.
    let waiting: Vec<_> = (0..64).map(|_| Raw::dial(&broker)).collect();
    let mut last = Raw::dial(&broker);
    last.write(crate::common::raw::handshake("/ws").as_bytes());
    let before = cpu_ticks(broker.pid());
    assert!(!last.hears_within(Duration::from_secs(1)), "the descriptors are not used up");
    let spent = cpu_ticks(broker.pid()) - before;
    assert!(spent < 50, "{spent} ticks of 10 ms in one second: it spins");
    first.send(r#"{"op":"publish","topic":"still/here","data":1}"#);
    assert_eq!(first.expect("message")["data"], 1);
    drop(waiting);
    assert!(last.hears_within(PATIENCE), "accepting goes on when there are descriptors again");
    Client::connect(&broker).expect_quiet();
}

/// CPU time of a process so far, user and system, in ticks of 10 ms.
#[cfg(target_os = "linux")]
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let fields: Vec<_> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    ticks(11) + ticks(12)
}
