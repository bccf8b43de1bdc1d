//! The binary from outside: runs over several processes, wrong usage, and servers that refuse, lie or die in the middle.
//!
//! What is asserted is what a user sees: the exit code, the sentence, the JSON.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests are programs of their own: they wait in threads and hold ports; a helper that fails fails its test"
)]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wirefan::config::Config;

/// The load test with these words, and where the server is.
fn loadtest(words: &str, server: Option<SocketAddr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan-loadtest"));
    command.args(words.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(server.into_iter().flat_map(|address| ["--url".to_owned(), format!("ws://{address}/ws")]));
    command
}

fn ran(words: &str, server: Option<SocketAddr>) -> Output {
    loadtest(words, server).output().unwrap()
}

/// The exit code, and what it said on standard error.
fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The broker, which keeps `history` publications of each topic.
fn with_broker<T>(history: Option<u32>, change: impl FnOnce(&mut Config), body: impl FnOnce(SocketAddr) -> T) -> T {
    let configure = |config: &mut Config| {
        config.rules = vec![common::rule(history)];
        change(config);
    };
    common::with_broker(configure, body)
}

/// A server that answers each connection's first bytes with these, and hangs up.
fn with_answer<T>(answer: &'static str, body: impl FnOnce(SocketAddr) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut socket = socket;
                let _ = socket.read(&mut [0; 4_096]);
                let _ = socket.write_all(answer.as_bytes());
                // Until it has read that and gone: a reset could overtake it.
                let _ = socket.shutdown(std::net::Shutdown::Write);
                let _ = socket.read(&mut [0; 4_096]);
            });
        }
    });
    body(address)
}

/// The floor in a process of its own; killed when dropped.
struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start() -> Self {
        let mut child = loadtest("floor --listen 127.0.0.1:0 --seconds 60", None).spawn().unwrap();
        let mut line = Vec::new();
        let stderr = child.stderr.as_mut().unwrap();
        while line.last() != Some(&b'\n') {
            let mut byte = [0];
            stderr.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, address }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done` answers something.
fn until<T>(mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to pass");
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many were in this distribution.
fn count(outcome: &Value, name: &str) -> u64 {
    let all = outcome["latencies"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).map_or(0, |one| one["percentiles"]["count"].as_u64().unwrap())
}

#[test]
fn over_several_processes_everything_is_delivered_once_in_one_order_and_timed() {
    for (words, units, publications) in [
        ("fanout --subscribers 60 --publishers 3 --topics 4 --outstanding 16", 15 * 400, 400),
        ("fanout --subscribers 60 --topics 4 --threads 2 --transport sse", 15 * 400, 400),
        ("fanout --subscribers 60 --topics 4 --transport poll --rate 400", 15 * 400, 400),
        ("rooms --rooms 12 --each 3 --outstanding 8", 10 * 400, 400),
        ("rooms --rooms 12 --each 3 --zipf 1 --rate 600", 0, 400),
        ("mixed --subscribers 60 --topics 4 --outstanding 8", 15 * 400, 400),
    ] {
        let words = format!("{words} --processes 3 --publications 400 --duration-s 20 --warmup-s 0.1 --json");
        let output = with_broker(Some(10_000), |_| (), |address| ran(&words, Some(address)));
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}: {output:?}"));
        assert_eq!((outcome["passed"].as_bool(), output.status.code()), (Some(true), Some(0)), "{words}: {outcome}");
        assert!(units == 0 || outcome["units"] == units, "{words}: {}", outcome["units"]);
        assert_eq!(count(&outcome, "every delivery"), outcome["units"].as_u64().unwrap(), "{words}");
        for who in ["first subscriber", "median subscriber", "last subscriber", "sent late by the load generator"] {
            assert_eq!(count(&outcome, who), publications, "{words}: {who}");
        }
        let note = "The load are 3 processes.";
        assert!(outcome["notes"].as_array().unwrap().iter().any(|one| one == note), "{words}");
    }
}

#[test]
fn a_storm_over_several_processes_loses_nothing() {
    for (words, count_of_resets) in [
        ("storm --subscribers 60 --topics 3 --reconnect-share 3 --away-s 0.05 --rate 300 --duration-s 1", 0.0),
        ("connect --storm --connections 60 --topics 3 --rate 300 --duration-s 1", 60.0),
    ] {
        let words = format!("{words} --processes 3 --threads 2 --json");
        let output = with_broker(Some(1_000), |_| (), |address| ran(&words, Some(address)));
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((outcome["passed"].as_bool(), output.status.code()), (Some(true), Some(0)), "{words}: {outcome}");
        let figure = |name: &str| {
            let all = outcome["figures"].as_array().unwrap();
            all.iter().find(|one| one["name"] == name).unwrap()["value"].as_f64().unwrap()
        };
        // Who is cut off again before it has caught up comes back twice and recovers once.
        assert!(figure("recovered") <= figure("resets") && figure("recovered") > 0.8 * figure("resets"), "{words}");
        assert!(figure("resets") > 30.0 && (count_of_resets == 0.0 || figure("resets") == count_of_resets), "{words}");
        assert_eq!(outcome["units"].as_f64().unwrap(), 20.0 * figure("publications"), "{words}");
    }
}

#[test]
fn what_the_subscribers_of_another_process_lose_fails_the_run() {
    let words = "fanout --subscribers 60 --transport poll --rate 4000 --processes 4 --duration-s 1 --json";
    let output = with_broker(None, |_| (), |address| ran(words, Some(address)));
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(outcome["faults"]["closed"].as_u64().unwrap() > 15, "more than one process has: {}", outcome["faults"]);
    assert!(outcome["faults"]["lost"].as_u64().unwrap() > 15, "{}", outcome["faults"]);
}

/// What is refused never comes: each of its subscribers, in whatever process, has lost it, and nothing else is lost.
#[test]
fn what_a_broker_refuses_from_any_process_is_lost_to_the_last_subscriber() {
    let commands = |config: &mut Config| config.limits.commands_per_second_max = 8;
    for (words, members) in
        [("rooms --rooms 6 --members 10 --each 3 --rate 2000", 10), ("fanout --subscribers 30 --rate 400", 30)]
    {
        let words = format!("{words} --processes 3 --duration-s 0.7 --warmup-s 0 --json");
        let output = with_broker(None, commands, |address| ran(&words, Some(address)));
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}: {output:?}"));
        let number = |value: &Value| value.as_u64().unwrap();
        let figures = outcome["figures"].as_array().unwrap();
        let published = figures.iter().find(|one| one["name"] == "publications").unwrap()["value"].as_f64().unwrap();
        let (units, lost) = (number(&outcome["units"]), number(&outcome["faults"]["lost"]));
        assert!(units > 0 && lost > 0 && number(&outcome["faults"]["errors"]) > 0, "{words}: {outcome}");
        assert_eq!(units + lost, published as u64 * members, "{words}: {}", outcome["faults"]);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn a_load_process_that_dies_is_a_sentence() {
    with_broker(
        None,
        |_| (),
        |address| {
            let words = "fanout --subscribers 60 --processes 2 --duration-s 20";
            let child = loadtest(words, Some(address)).spawn().unwrap();
            let other = until(|| {
                let path = format!("/proc/{0}/task/{0}/children", child.id());
                std::fs::read_to_string(path).ok()?.split_whitespace().next().map(str::to_owned)
            });
            thread::sleep(Duration::from_millis(300));
            assert!(Command::new("kill").args(["-9", &other]).status().unwrap().success());
            let (code, sentence) = told(&child.wait_with_output().unwrap());
            assert_eq!(
                (code, sentence.contains("a load process ended before it was told to")),
                (1, true),
                "{sentence}"
            );
        },
    );
}

#[test]
fn wrong_usage_is_told_in_a_sentence_before_anything_is_started() {
    for (words, sentence) in [
        ("fanout --url http://127.0.0.1:1/", "does not start with ws://"),
        ("fanout --url ws://example.org/ws", "is not an IP address"),
        ("echo --url ws://192.0.2.1/ws", "is not this machine"),
        ("fanout --url ws://127.0.0.1:1/ --profile nothing", "built in are wirefan, bun"),
        ("fanout --url ws://127.0.0.1:1/ --server-pid 4194305", "there is no such process"),
        ("fanout --server-cores 4095", "core 4095 is none"),
        ("fanout --subscribers 6000 --publishers 10000 --processes 200", "more sequences than"),
        ("rooms --processes 4", "at least --outstanding 4"),
        ("rooms --rooms 10 --members 100 --each 50", "nobody is in a room twice"),
        ("mixed --subscribers 3 --topics 2", "one per transport"),
        ("slow --keys 3", "--overflow latest"),
        ("soak --rate 1e9", "a run can number"),
        ("floor --listen 192.0.2.1:1", "--allow-remote"),
        ("idle --report /proc/nowhere", "--report /proc/nowhere"),
        ("fanout --subscribers none", "invalid value 'none'"),
    ] {
        let (code, said) = told(&ran(words, None));
        assert_eq!((code, said.contains(sentence)), (2, true), "{words}: {said}");
    }
}

#[test]
fn nobody_there_is_a_sentence_of_every_scenario() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pid = std::process::id();
    for words in [
        "fanout",
        "fanout --processes 3",
        "rooms",
        "mixed",
        "echo",
        "connect",
        "connect --storm",
        "storm",
        "slow",
        &format!("soak --server-pid {pid}"),
        &format!("idle --server-pid {pid} --connections 10"),
        &format!("idle --server-pid {pid} --connections 10 --processes 2"),
        "http-publish",
    ] {
        let (code, said) = told(&ran(words, Some(nobody)));
        let wanted = format!("cannot connect to {nobody}: Connection refused");
        assert_eq!((code, said.matches(&wanted).count(), said.lines().count()), (1, 1, 1), "{words}: {said}");
    }
}

#[test]
fn a_refusal_is_told_with_the_servers_words_and_what_would_help() {
    const SLOW: &str = "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 27\r\n\r\n{\"detail\":\"slower, please\"}";
    const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nnone\n";
    let all = ["fanout --subscribers 5", "fanout --subscribers 5 --transport sse", "echo", "connect", "http-publish"];
    let websockets = ["fanout --subscribers 5", "echo", "connect"];
    for (answer, sentence, scenarios) in [
        (SLOW, "the server refused with 429: slower, please; ask for less at a time", &all[..]),
        (ABSENT, "404", &all),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "the server refused with 200: hi", &websockets),
        ("SSH-2.0-x\r\n", "HTTP/1.1", &all),
    ] {
        for words in scenarios {
            let (code, said) = with_answer(answer, |address| told(&ran(words, Some(address))));
            assert_eq!((code, said.contains(sentence), said.lines().count()), (1, true, 1), "{words}: {said}");
        }
    }
    let (_, said) = with_answer(ABSENT, |address| told(&ran("echo", Some(address))));
    assert!(said.contains("server.echo"), "{said}");
}

#[test]
fn limits_of_a_broker_are_told_by_their_names() {
    let accepts = |config: &mut Config| config.limits.accepts_per_second_max = 5;
    for words in ["fanout --subscribers 100", "fanout --subscribers 100 --processes 2", "http-publish --connections 50"]
    {
        let (code, said) = with_broker(None, accepts, |address| told(&ran(words, Some(address))));
        let wanted = said.contains("503: more connections come than limits.accepts_per_second_max; ask for less");
        assert_eq!((code, wanted), (1, true), "{words}: {said}");
    }
    let commands = |config: &mut Config| config.limits.commands_per_second_max = 5;
    let words = "fanout --subscribers 5 --rate 1000 --duration-s 1";
    let output = with_broker(None, commands, |address| ran(words, Some(address)));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        (output.status.code(), said.contains("a publisher was answered"), said.contains("429")),
        (Some(1), true, true),
        "{said}"
    );
}

#[test]
fn a_server_that_dies_in_the_middle_is_told_as_such() {
    for words in [
        "fanout --subscribers 50",
        "fanout --subscribers 50 --processes 2",
        "rooms --rooms 9 --each 3",
        "echo",
        "connect",
        "http-publish --requests 20000000",
    ] {
        let mut floor = Floor::start();
        let words = format!("{words} --server-pid {}", floor.child.id());
        let mut command = loadtest(&words, Some(floor.address));
        if !words.starts_with("http") {
            command.args(["--duration-s", "15"]);
        }
        let child = command.spawn().unwrap();
        thread::sleep(Duration::from_millis(1_500));
        floor.child.kill().unwrap();
        floor.child.wait().unwrap();
        let (code, said) = told(&child.wait_with_output().unwrap());
        let why =
            ["ended during the run", "cannot connect", "ended the connection", "reading failed", "sending failed"];
        assert_eq!((code, why.iter().any(|one| said.contains(one))), (1, true), "{words}: {said}");
    }
}
