//! Floods from outside: thousands who connect and command, while backends publish by HTTP and others come in.
//!
//! Nothing here looks at a clock. What is compared is progress: how far the flood came between the begin and the end of
//! each publish, and who was accepted before whom.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use socket2::SockRef;

use crate::api::JSON;
use crate::common::client::{Client, dial};
use crate::common::raw::{Raw, frame, handshake};
use crate::common::{Broker, serve};

/// Publishes that are to be answered, at least.
const PUBLISHES: u64 = 200;

/// Connections of the flood before the publisher may be content, and those that the flood ends with.
const CONNECTS_MIN: usize = 2_000;
const CONNECTS_MAX: usize = 40_000;

/// How many of the flood are accepted at most while one publish is under way: in a turn each of the two shards accepts
/// `limits::ACCEPTS_PER_TURN`, and a publish of a client that is not idle takes four turns, there and back.
const CONNECTS_PER_PUBLISH: usize = 4 * 2 * 64;

/// What the flood is doing.
#[derive(Default)]
struct Flood {
    ends: AtomicBool,
    /// Connections that were let in and vanished again.
    connects: AtomicUsize,
    /// Commands that were answered.
    commands: AtomicUsize,
}

impl Flood {
    fn goes_on(&self) -> bool {
        !self.ends.load(Ordering::Relaxed) && self.connects.load(Ordering::Relaxed) < CONNECTS_MAX
    }

    /// Connects, subscribes to everything, says something and vanishes, again and again.
    fn connect(&self, address: SocketAddr) {
        let pings = vec![r#"{"op":"ping"}"#; 20].join(",");
        let commands =
            format!(r##"[{{"op":"subscribe","topic":"#"}},{{"op":"subscribe","topic":"flood/+"}},{pings}]"##);
        let hello = [handshake("/ws").as_bytes(), &frame(0x81, commands.as_bytes())].concat();
        while self.goes_on() {
            let stream = dial(address, None);
            // A reset, so that the machine's ports do not run out.
            SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).expect("an option of sockets");
            let mut raw = Raw::over(stream);
            raw.write(&hello);
            assert!(raw.read_head().starts_with("HTTP/1.1 101 "));
            assert!(raw.read_frame().is_some(), "the welcome");
            self.connects.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Commands and publications on one connection, a message of a hundred under way at a time.
    fn command(&self, address: SocketAddr, number: usize) {
        let mut client = Client::over(dial(address, None), address);
        let publish =
            format!(r#"{{"op":"publish","topic":"flood/{number}","data":"{}","echo":false}}"#, "x".repeat(200));
        let commands = format!("[{},{}]", vec![publish; 50].join(","), vec![r#"{"op":"ping"}"#; 50].join(","));
        while self.goes_on() {
            client.send(commands.as_str());
            (0..50).for_each(|_| drop(client.expect("pong")));
            self.commands.fetch_add(100, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_flood_of_clients_does_not_starve_publishes_by_http() {
    let broker = Broker::start(&[]);
    let (flood, address) = (Flood::default(), broker.address);
    // Those who ask for half of something and those who do nothing are there as well.
    let _half: Vec<Raw> = (0..500)
        .map(|_| {
            let mut raw = Raw::dial(&broker);
            raw.write(b"POST /v1/publish?topic=half HTTP/1.1\r\nHost: localhost\r\n");
            raw
        })
        .collect();
    let mut subscriber = Client::connect(&broker);
    subscriber.subscribe("news");
    let mut backend = Raw::dial(&broker);
    let mut progress = Vec::new();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| flood.connect(address));
        }
        for number in 0..3 {
            let flood = &flood;
            scope.spawn(move || flood.command(address, number));
        }
        let came = || flood.connects.load(Ordering::Relaxed);
        let mut number = 0;
        while (number < PUBLISHES || came() < CONNECTS_MIN) && flood.goes_on() {
            number += 1;
            let before = came();
            let answer = backend.ask("POST /v1/publish?topic=news", JSON, &number.to_string());
            progress.push(came() - before);
            let position = answer.json()["position"].clone();
            assert_eq!(answer.status(), 200, "{}", answer.head);
            assert!(position.as_str().is_some_and(|at| at.ends_with(&format!(":{number}"))), "{number}: {position}");
            assert_eq!(subscriber.expect("message")["data"], number, "nothing is lost, and nothing is late");
        }
        flood.ends.store(true, Ordering::Relaxed);
    });
    let (connects, commands) = (flood.connects.into_inner(), flood.commands.into_inner());
    assert!(connects < CONNECTS_MAX, "the flood was over before {} publishes were answered", progress.len());
    progress.sort_unstable();
    let (usual, slow) = (progress[progress.len() / 2], progress[progress.len() * 19 / 20]);
    println!(
        "{} publishes while {connects} connected and {commands} commands were answered; \
         connections per publish: {usual} (median), {slow} (19 of 20), {} (all)",
        progress.len(),
        progress[progress.len() - 1]
    );
    assert!(slow <= CONNECTS_PER_PUBLISH, "{slow} of the flood were let in while one publish waited");
}

#[test]
fn a_flood_at_one_address_leaves_the_others_their_accepts() {
    const FLOOD: usize = 1_000;
    for which in [0, 1] {
        let mut command = serve(&[]);
        command.args(["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--shards", "1"]);
        let broker = Broker::run(command);
        // All of them wait in the queues of the kernel when the broker goes on.
        broker.signal("STOP");
        // The signal is on its way when `kill` returns: whoever came before it arrived would be accepted at once.
        while !std::fs::read_to_string(format!("/proc/{}/stat", broker.pid())).expect("it runs").contains(") T ") {
            std::thread::yield_now();
        }
        let join = |which: usize| {
            let mut raw = Raw::over(dial(broker.addresses[which], None));
            raw.write(handshake("/ws").as_bytes());
            raw
        };
        let crowd: Vec<Raw> = (0..FLOOD).map(|_| join(which)).collect();
        let mut one = join(1 - which);
        broker.signal("CONT");
        assert!(one.read_head().starts_with("HTTP/1.1 101 "));
        // Names count the slots of a shard, and nobody has left: so many were accepted before.
        let (_, welcome) = one.read_frame().expect("a welcome");
        let welcome: serde_json::Value = serde_json::from_slice(&welcome).expect("JSON");
        let name = welcome["client"].as_str().expect("a name").to_owned();
        let slot = usize::from_str_radix(name.split('-').nth(1).expect("a slot"), 16).expect("a number");
        assert!(slot <= 2 * 64, "{slot} of {FLOOD} were accepted first");
        for mut raw in crowd {
            assert!(raw.read_head().starts_with("HTTP/1.1 101 "), "and all of them are");
        }
    }
}
