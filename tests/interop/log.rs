//! The log of the real binary: what is in it, that no secret is, and that it stops nobody.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{Broker, PATIENCE, serve};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What no line may have, in any of its forms.
const SECRETS: [&str; 6] = ["S3CRET", "wfk_", "eyJhbGci", "access_token", "Bearer", "PAYLOAD"];

/// A file that says `[auth]`, and a key that it knows.
struct Guarded {
    directory: PathBuf,
    key: String,
    token: String,
}

impl Guarded {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("wirefan-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory for files");
        let wirefan = |arguments: &[&str]| {
            let output = Command::new(env!("CARGO_BIN_EXE_wirefan")).arg("token").args(arguments).output();
            String::from_utf8(output.expect("the binary runs").stdout).expect("text")
        };
        let made = wirefan(&["--api-key", "ann", "--subscribe", "#", "--publish", "#"]);
        let (key, line) = made.split_once('\n').expect("a key and a line");
        std::fs::write(directory.join("keys"), line).expect("it can be written");
        std::fs::write(directory.join("secret"), "S3CRETS3CRETS3CRETS3CRETS3CRETS3CRET").expect("it can be written");
        let config = "auth.keys = [{ alg = \"HS256\", secret_file = \"secret\" }]\nauth.api_keys_file = \"keys\"\n\
                      [[rule]]\nfilter = \"granted\"\nsubscribe = \"granted\"\n";
        std::fs::write(directory.join("wirefan.toml"), config).expect("it can be written");
        let file = directory.join("wirefan.toml").display().to_string();
        let token = wirefan(&["--user", "bob\u{202e}", "--config", &file]).trim().to_owned();
        Self { key: key.to_owned(), token, directory }
    }

    /// The broker, and nothing of its log read yet.
    fn start(&self, settings: &[(&str, &str)]) -> (Child, SocketAddr) {
        let mut command = serve(settings);
        command.args(["--listen", "127.0.0.1:0", "--shards", "2", "--config"]).arg(self.directory.join("wirefan.toml"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut line = Vec::new();
        let mut byte = [0];
        while byte != *b"\n" {
            child.stderr.as_mut().expect("it is piped").read_exact(&mut byte).expect("a line");
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).expect("text");
        let (_, address) = line.split_once("listening on ").expect("where it listens");
        let address = address.split(['"', '\n']).next().expect("IP:PORT");
        (child, address.parse().expect("IP:PORT"))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // Nobody else has files there.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn stop(mut child: Child) -> String {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let mut log = String::new();
    child.stderr.as_mut().expect("it is piped").read_to_string(&mut log).expect("text");
    assert!(child.wait().expect("our child").success());
    log
}

/// Sends bytes, then text frames behind an upgrade, and reads the answer, and to the end or for a moment more.
fn tell(address: SocketAddr, head: &str, frames: &[&str]) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut bytes = head.as_bytes().to_vec();
    for text in frames {
        let len = u8::try_from(text.len().min(125)).expect("it is small");
        if text.len() <= 125 {
            bytes.extend([0x81, 0x80 | len, 0, 0, 0, 0]);
        } else {
            bytes.extend([0x81, 0xfe]);
            bytes.extend(u16::try_from(text.len()).expect("it is small").to_be_bytes());
            bytes.extend([0; 4]);
        }
        bytes.extend(text.as_bytes());
    }
    stream.write_all(&bytes).expect("it is read");
    assert!(stream.read(&mut [0; 1]).is_ok_and(|read| read == 1), "{head}");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    let _ = stream.read_to_end(&mut Vec::new()); // an end or a moment
}

/// Puts these credentials wherever a client can.
fn everywhere(address: SocketAddr, credential: &str) {
    let with = |line: &str| UPGRADE.replacen("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"), 1);
    let api = |path: &str, lines: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: 9\r\n\r\n\"PAYLOAD\"")
    };
    let auth = format!(r#"{{"op":"auth","id":"S3CRET","token":"{credential}"}}"#);
    let publish = r#"{"op":"publish","id":1,"topic":"S3CRET","data":"PAYLOAD","key":"S3CRET"}"#;
    tell(address, &with(&format!("Authorization: Bearer {credential}")), &[publish]);
    tell(address, &with(&format!("Sec-WebSocket-Protocol: wirefan.v1, bearer.{credential}")), &[publish]);
    tell(address, &UPGRADE.replace("/ws", &format!("/ws?access_token={credential}")), &[publish]);
    tell(address, UPGRADE, &[&auth, publish, "{\"op\":\"S3CRET\"", "PAYLOAD"]);
    tell(address, &api(&format!("/v1/publish?topic=S3CRET&access_token={credential}"), ""), &[]);
    tell(address, &api("/v1/publish?topic=S3CRET", &format!("Authorization: Bearer {credential}\r\n")), &[]);
    tell(
        address,
        &api("/v1/S3CRET", &format!("Authorization: Basic {credential}\r\nIdempotency-Key: S3CRET\r\n")),
        &[],
    );
    // Heads that break the rules, each in another place.
    for head in [
        format!("GET /{credential} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /ws?access_token={credential}&access_token=S3CRET HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{credential} / HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: S3CRET {credential}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {credential}\r\n folded\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nS3CRET {credential}: Bearer\r\n\r\n"),
        with(&format!("Origin: https://S3CRET.{credential}")),
        with(&format!("Authorization: Bearer {credential}\r\nAuthorization: Bearer S3CRET")),
        with(&format!("Sec-WebSocket-Protocol: S3CRET.{credential}")),
        format!(
            "POST /v1/publish?topic=a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nS3CRET\r\n{credential}"
        ),
        format!("GET /\x1b[2J{credential} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        tell(address, &head, &[]);
    }
}

#[test]
fn no_secret_is_in_the_log_wherever_a_client_puts_it() {
    let guarded = Guarded::new("secrets");
    for format in ["text", "json"] {
        let (broker, address) = guarded.start(&[("LOG__FORMAT", format), ("LOG__LEVEL", "debug")]);
        let forged = format!("{}x", guarded.token);
        for credential in [&guarded.key, &guarded.token, &forged, "wfk_S3CRET", "S3CRET", "S3CRET.S3CRET.S3CRET"] {
            everywhere(address, credential);
        }
        let log = stop(broker);
        for kind in ["connection ended", "token refused", "request refused", "serving", "stopping", "stopped: "] {
            assert!(log.contains(kind), "{kind}: {log}");
        }
        assert!(log.contains("ann") && log.contains("bob\\u202e"), "who was known is named: {log}");
        for line in log.lines() {
            let secret = SECRETS.iter().find(|secret| line.contains(*secret));
            assert!(secret.is_none() && !line.contains(&guarded.token[40..]), "{line}");
            assert!(line.chars().all(|character| (' '..='~').contains(&character)), "{line:?}");
            if format == "json" {
                let read: Value = serde_json::from_str(line).expect("each line is JSON");
                assert!(read["time"].is_string() && read["level"].is_string() && read["message"].is_string(), "{line}");
            }
        }
    }
}

#[test]
fn every_connection_that_ends_is_told_of_with_where_it_came_from() {
    let guarded = Guarded::new("peers");
    let (broker, address) = guarded.start(&[("LOG__LEVEL", "debug")]);
    tell(address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[]); // we end after the broker did
    tell(address, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", &[]);
    tell(address, UPGRADE, &["x"]);
    std::thread::sleep(Duration::from_millis(200));
    let log = stop(broker);
    let ended: Vec<&str> = log.lines().filter(|line| line.contains(" connection ended ")).collect();
    assert!(ended.len() == 3 && ended.iter().all(|line| line.contains(" peer=127.0.0.1:")), "{log}");
}

#[test]
fn whom_a_limit_turns_away_at_the_door_is_told_of() {
    let guarded = Guarded::new("away");
    let (broker, address) = guarded.start(&[("LOG__LEVEL", "debug"), ("LIMITS__CONNECTIONS_MAX", "1")]);
    let first = TcpStream::connect(address).expect("it listens");
    std::thread::sleep(Duration::from_millis(200)); // it was accepted
    let mut second = TcpStream::connect(address).expect("it listens");
    let mut answer = Vec::new();
    let _ = second.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
    drop(first);
    let log = stop(broker);
    let line = log.lines().find(|line| line.contains(" connection turned away ")).expect(&log);
    assert!(line.contains(" peer=127.0.0.1:") && line.contains("limits.connections_max"), "{line}");
}

#[test]
fn what_strangers_do_often_is_told_of_ten_times_a_second_and_then_counted() {
    let guarded = Guarded::new("often");
    let (broker, address) = guarded.start(&[("LOG__LEVEL", "debug")]);
    for _ in 0..300 {
        tell(address, "GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", &[]);
    }
    std::thread::sleep(Duration::from_millis(1_100));
    let log = stop(broker);
    let ended = log.lines().filter(|line| line.contains(" connection ended ")).count();
    let left_out =
        log.lines().filter_map(|line| line.split_once("\"connection ended\" lines=")?.1.parse::<usize>().ok());
    assert_eq!(ended + left_out.sum::<usize>(), 300, "{log}");
    assert!(ended < 150, "{ended}");
}

#[test]
fn a_reader_that_stands_still_does_not_stop_the_broker() {
    let guarded = Guarded::new("still");
    // Nobody reads standard error behind its first line; a pipe holds 64 KiB.
    let (mut broker, address) = guarded.start(&[("LOG__LEVEL", "debug"), ("LOG__FORMAT", "json")]);
    let wrong: String = (0..100).map(|number| format!("[wrong{number}]\n")).collect();
    std::fs::write(guarded.directory.join("wirefan.toml"), wrong).expect("it can be written");
    for _ in 0..50 {
        let sent = Command::new("kill").args(["-HUP", &broker.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        for _ in 0..4 {
            tell(address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[]);
        }
    }
    let sent = Command::new("kill").args(["-TERM", &broker.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
    let began = std::time::Instant::now();
    while broker.try_wait().expect("our child").is_none() {
        assert!(began.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_level_is_reloaded_and_tls_that_fails_is_told() {
    let guarded = Guarded::new("level");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(guarded.directory.join("cert"), made.cert.pem()).expect("it can be written");
    std::fs::write(guarded.directory.join("key"), made.signing_key.serialize_pem()).expect("it can be written");
    let file = guarded.directory.join("wirefan.toml");
    let configure = |level: &str| {
        let text = format!("[tls]\ncert = \"cert\"\nkey = \"key\"\n[log]\nlevel = {level:?}\n");
        std::fs::write(&file, text).expect("it can be written");
    };
    configure("info");
    let mut command = serve(&[]);
    command.args(["--listen", "127.0.0.1:0", "--shards", "1", "--config"]).arg(&file);
    let broker = Broker::run(command);
    // An alert of a client that trusts nobody (RFC 8446 6.2), instead of a hello.
    let fail = || {
        let mut stream = TcpStream::connect(broker.address).expect("it listens");
        stream.write_all(&[21, 3, 3, 0, 2, 2, 48]).expect("it is read");
        let _ = stream.read_to_end(&mut Vec::new()); // its end, however it comes
    };
    fail();
    configure("debug");
    broker.signal("HUP");
    broker.hear("were read again");
    std::thread::sleep(Duration::from_millis(50));
    fail();
    let line = broker.hear("TLS failed");
    assert!(line.contains("peer=127.0.0.1:") && line.contains("why="), "{line}");
}
