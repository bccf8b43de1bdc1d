//! The watchdog of systemd, played by a datagram socket: `WATCHDOG=1` comes as long as the shards turn, and no longer.
//!
//! That one shard of several that stands is enough for silence is shown where a shard can be made to stand alone, in
//! `net::supervisor`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::common::{Broker, PATIENCE, serve};

/// A socket that plays systemd, and its path.
fn supervisor(name: &str) -> (UnixDatagram, PathBuf) {
    let path = std::env::temp_dir().join(format!("wirefan-{name}-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).expect("a path of ours");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (socket, path)
}

fn hear(socket: &UnixDatagram) -> io::Result<Vec<u8>> {
    let mut words = [0; 64];
    socket.recv(&mut words).map(|len| words[..len].to_vec())
}

#[test]
fn an_idle_broker_says_that_it_turns_and_one_that_stands_does_not() {
    let (socket, path) = supervisor("watchdog");
    let hear = || hear(&socket);
    // One shard and no canary: nothing wakes it but the question.
    let mut command = serve(&[]);
    command.args(["--listen", "127.0.0.1:0", "--shards", "1"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let broker = Broker::run(command);
    let first = [hear().expect("a word"), hear().expect("a word")];
    assert!(first.contains(&b"READY=1\n".to_vec()) && first.contains(&b"WATCHDOG=1\n".to_vec()), "{first:?}");
    for _ in 0..5 {
        assert_eq!(hear().expect("it turns"), b"WATCHDOG=1\n");
    }
    broker.signal("STOP");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut late = 0;
    while hear().is_ok() {
        late += 1;
        assert!(late < 3, "it stands, and says that it turns");
    }
    broker.signal("CONT");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(hear().expect("it turns again"), b"WATCHDOG=1\n");
    broker.signal("TERM");
    assert!(broker.exit(PATIENCE).success());
    std::fs::remove_file(&path).expect("it is ours");
}

#[test]
fn a_broker_that_waits_to_take_over_turns_too() {
    let first = Broker::start(&[]);
    let (socket, path) = supervisor("heir");
    let mut command = serve(&[]);
    command.args(["--listen", &first.address.to_string(), "--shards", "2", "--take-over"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000");
    let heir = Broker::run_heir(command);
    assert_eq!(hear(&socket).expect("a word"), b"READY=1\n");
    for _ in 0..5 {
        assert_eq!(hear(&socket).expect("it waits, and gets on"), b"WATCHDOG=1\n");
    }
    first.signal("TERM");
    heir.hear("listening on ");
    assert!(first.exit(PATIENCE).success());
    for _ in 0..5 {
        hear(&socket).expect("it serves, and its shards turn");
    }
    heir.signal("TERM");
    assert!(heir.exit(PATIENCE).success());
    std::fs::remove_file(&path).expect("it is ours");
}
