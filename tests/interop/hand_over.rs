//! A new process takes the port of an old one under load: every connection gets an answer, from the one or the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::client::Client;
use crate::common::{Broker, PATIENCE, run_to_end, serve};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

pub(crate) fn successor(address: SocketAddr, shards: &str) -> Command {
    let mut command = serve(&[("SERVER__PIN", "false")]);
    command.args(["--take-over", "--listen", &address.to_string(), "--shards", shards]);
    command
}

/// Connects, asks, and reads until the answer has these words.
fn ask(address: SocketAddr, request: &str, answer: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let (mut got, mut buf) = (Vec::new(), [0; 1024]);
    while !String::from_utf8_lossy(&got).contains(answer) {
        match stream.read(&mut buf)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            len => got.extend_from_slice(&buf[..len]),
        }
    }
    Ok(())
}

/// Hands the port on along these processes while clients connect as fast as they can; how many were answered.
fn relay(shards: &[&str]) -> usize {
    let mut broker = Broker::run({
        let mut command = serve(&[("SERVER__PIN", "false")]);
        command.args(["--listen", "127.0.0.1:0", "--shards", shards[0]]);
        command
    });
    let address = broker.address;
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let knock = |request, answer| {
        while !done.load(Ordering::Relaxed) {
            if let Err(error) = ask(address, request, answer) {
                done.store(true, Ordering::Relaxed);
                panic!("{error}");
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let knock = &knock;
        let clients: Vec<_> = [(HEALTHZ, "200 OK"), (UPGRADE, "welcome"), (HEALTHZ, "200 OK"), (UPGRADE, "welcome")]
            .map(|(request, answer)| scope.spawn(move || knock(request, answer)))
            .into();
        for shards in &shards[1..] {
            thread::sleep(Duration::from_millis(200));
            let next = Broker::run_heir(successor(address, shards));
            thread::sleep(Duration::from_millis(100));
            let former = std::mem::replace(&mut broker, next);
            former.signal("TERM");
            broker.hear("listening on ");
            assert!(former.exit(PATIENCE).success());
        }
        thread::sleep(Duration::from_millis(200));
        done.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("no connection was lost"));
    });
    broker.signal("TERM");
    assert!(broker.exit(PATIENCE).success());
    answered.into_inner()
}

#[test]
fn a_successor_takes_the_port_and_no_connection_is_refused_or_reset() {
    let answered = relay(&["2", "2", "3", "3"]);
    println!("{answered} connections were answered");
    assert!(answered > 100, "{answered}");
}

#[test]
fn what_a_connection_published_before_its_broker_left_is_acknowledged_and_it_is_told_to_come_back() {
    let former = Broker::start(&[]);
    let mut client = Client::connect(&former);
    client.subscribe("a");
    let next = Broker::run_heir(successor(former.address, "2"));
    former.signal("TERM");
    client.send(r#"{"op":"publish","id":1,"topic":"a","data":1}"#);
    client.expect("ack");
    client.expect("message");
    let (_, code, reason) = client.read_to_close();
    assert_eq!((code, reason.starts_with("retry_ms=")), (1001, true), "{reason}");
    assert!(former.exit(PATIENCE).success());
    let mut client = Client::connect(&next);
    client.subscribe("a");
}

#[test]
fn without_the_flag_a_port_in_use_is_refused() {
    let broker = Broker::start(&[]);
    let mut command = serve(&[]);
    command.args(["--listen", &broker.address.to_string()]);
    let (status, said) = run_to_end(command);
    assert_eq!(status.code(), Some(1), "{said:?}");
    assert!(said[0].contains("--take-over"), "{said:?}");
}
