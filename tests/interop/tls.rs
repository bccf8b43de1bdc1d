//! TLS from outside: rustls and OpenSSL as clients, certificates that change, peers that speak the wrong thing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};
use rustls_pki_types::CertificateDer;
use tungstenite::Message;

use crate::common::client::{Client, dial};
use crate::common::raw::Raw;
use crate::common::{Broker, configure, run_to_end, serve};

/// A request behind whose answer the broker ends the connection.
const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A directory with certificates that this test made, gone with it.
struct Files {
    directory: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory); // it lies among the temporary ones in any case
    }
}

impl Files {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("wirefan-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Makes `NAME.pem` and `NAME.key`, for that host: the certificate.
    fn make(&self, name: &str, host: &str) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).expect("a certificate");
        std::fs::write(self.path(&format!("{name}.pem")), made.cert.pem()).expect("a file");
        std::fs::write(self.path(&format!("{name}.key")), made.signing_key.serialize_pem()).expect("a file");
        made.cert.der().clone()
    }

    /// A broker that speaks TLS with the certificate `a`, and with these settings.
    fn start(&self, settings: &[(&str, &str)]) -> Broker {
        Broker::start(
            &[&[("TLS__CERT", self.path("a.pem").as_str()), ("TLS__KEY", &self.path("a.key"))], settings].concat(),
        )
    }
}

fn config(trusted: &[&CertificateDer<'static>], version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add((*certificate).clone()).expect("a certificate");
    }
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client of that configuration, nothing said yet.
fn secure(config: &Arc<ClientConfig>, host: &'static str, stream: TcpStream) -> Stream {
    let name = host.try_into().expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).expect("a configuration"), stream)
}

/// Shakes hands; an error is why not.
fn shake(
    trusted: &[&CertificateDer<'static>],
    version: &'static SupportedProtocolVersion,
    host: &'static str,
    address: SocketAddr,
) -> std::io::Result<Stream> {
    let mut stream = secure(&Arc::new(config(trusted, version)), host, dial(address, None));
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn connect(
    trusted: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    address: SocketAddr,
) -> Client {
    Client::over(shake(&[trusted], version, "localhost", address).expect("a handshake"), address)
}

#[test]
fn plain_and_tls_of_both_versions_share_topics_in_one_order() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[("TLS__LISTEN", "127.0.0.1:0")]);
    let [plain, tls] = broker.addresses[..] else { panic!("two addresses: {:?}", broker.addresses) };
    assert_eq!(plain, broker.address);
    let mut clients = [
        Client::connect(&broker),
        connect(&certificate, &version::TLS12, tls),
        connect(&certificate, &version::TLS13, tls),
    ];
    for client in &mut clients {
        client.subscribe("a/#");
    }
    let long = "x".repeat(60_000);
    let mut sent = Vec::new();
    for round in 0..30 {
        let data = if round % 10 == 9 { format!("{round} {long}") } else { round.to_string() };
        clients[round % 3].send(format!(r#"{{"op":"publish","topic":"a/1","data":"{data}","echo":true}}"#));
        sent.push(data);
    }
    let heard = clients.each_mut().map(|client| {
        let mut heard = Vec::new();
        while heard.len() < sent.len() {
            let message = client.next();
            if message["op"] == "message" {
                heard.push(message["data"].as_str().expect("a text").to_owned());
            }
        }
        heard
    });
    assert_eq!(heard[0], heard[1]);
    assert_eq!(heard[1], heard[2]);
    let mut sorted = heard[0].clone();
    sorted.sort();
    sent.sort();
    assert_eq!(sorted, sent);
}

#[test]
fn without_addresses_of_its_own_tls_is_spoken_at_all() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    assert_eq!(broker.addresses.len(), 1);
    connect(&certificate, &version::TLS13, broker.address).subscribe("a");
    // A client in the clear is told, in the clear, and the connection ends.
    let answer = Raw::request(&broker, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status(), answer.body.as_slice()), (400, &b"this address speaks TLS: use https://"[..]));
    // What is neither gets no answer but the end.
    let mut raw = Raw::dial(&broker);
    raw.write(&[0; 100]);
    let alert = raw.read_to_end();
    assert!(alert.len() <= 7, "{alert:?}");
}

#[test]
fn a_tls_client_at_a_plain_address_gets_an_end() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = Broker::start(&[]);
    let refused = shake(&[&certificate], &version::TLS13, "localhost", broker.address).expect_err("no TLS there");
    // rustls could not read the answer, or it was over before.
    assert!(matches!(refused.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{refused}");
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let files = Files::new();
    let (a, b) = (files.make("a", "a.example"), files.make("b", "*.b.example"));
    let others = format!(r#"[{{ cert = "{}", key = "{}" }}]"#, files.path("b.pem"), files.path("b.key"));
    let broker = files.start(&[("TLS__CERTIFICATES", &others)]);
    for version in [&version::TLS12, &version::TLS13] {
        for (host, shown) in [("a.example", &a), ("www.b.example", &b)] {
            let stream = shake(&[&a, &b], version, host, broker.address).expect(host);
            assert_eq!(stream.conn.peer_certificates().expect("it showed one")[0], *shown);
        }
        // Any other name gets the first, and judges for itself.
        let refused = shake(&[&a, &b], version, "c.example", broker.address).expect_err("no certificate for it");
        assert!(refused.to_string().contains("c.example") && refused.to_string().contains("a.example"), "{refused}");
    }
}

#[test]
fn sighup_brings_new_certificates_and_nobody_notices() {
    let files = Files::new();
    let old = files.make("a", "localhost");
    let broker = files.start(&[]);
    let mut before = connect(&old, &version::TLS13, broker.address);
    before.subscribe("a");
    let new = files.make("a", "localhost");
    broker.signal("HUP");
    broker.hear("keys and certificates were read again");
    let mut after = connect(&new, &version::TLS12, broker.address);
    shake(&[&old], &version::TLS13, "localhost", broker.address).expect_err("the old one is gone");
    // A wrong file is told, and changes nothing.
    std::fs::write(files.path("a.key"), "no key").expect("a file");
    broker.signal("HUP");
    let told = broker.hear("tls: ");
    assert!(told.ends_with("a.key: has no -----BEGIN PRIVATE KEY-----, unencrypted"), "{told}");
    broker.hear("the configuration stays as it is");
    connect(&new, &version::TLS13, broker.address).subscribe("a");
    after.ask(r#"{"op":"publish","topic":"a","data":1,"id":1}"#);
    assert_eq!(before.expect("message")["data"], 1);
}

#[test]
fn sighup_without_tls_is_survived() {
    let broker = Broker::start(&[]);
    broker.signal("HUP");
    Client::connect(&broker).subscribe("a");
    broker.signal("TERM");
    assert!(broker.exit(Duration::from_secs(10)).success());
}

#[test]
fn wrong_files_are_told_by_check_and_keep_serve_from_starting() {
    let files = Files::new();
    files.make("a", "localhost");
    files.make("b", "localhost");
    std::fs::write(files.path("text.pem"), "hello").expect("a file");
    let others = format!(
        r#"[{{ cert = "{0}", key = "{1}" }}, {{ cert = "{2}", key = "{1}" }}, {{ cert = "none", key = "{1}" }}, {{ cert = "{1}", key = "{1}" }}]"#,
        files.path("a.pem"),
        files.path("b.key"),
        files.path("text.pem"),
    );
    let (cert, key) = (files.path("a.pem"), files.path("a.key"));
    let settings = [("TLS__CERT", cert.as_str()), ("TLS__KEY", &key), ("TLS__CERTIFICATES", &others)];
    let mut check = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    check.arg("check");
    configure(&mut check, &settings);
    for (command, code) in [(check, 2), (serve(&settings), 1)] {
        let (status, said) = run_to_end(command);
        assert_eq!(status.code(), Some(code), "{said:?}");
        let said = said.join("\n").replace(&format!("{}/", files.directory.display()), "");
        assert!(said.contains("b.key: is not the key of "), "{said}");
        assert!(said.contains("text.pem: has no -----BEGIN CERTIFICATE-----"), "{said}");
        assert!(said.contains("none: cannot be opened: No such file or directory"), "{said}");
        assert_eq!(said.lines().count(), 4, "{said}");
    }
}

#[test]
fn a_stalled_handshake_ends_by_its_limit() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[("LIMITS__HANDSHAKE_MS_MAX", "300")]);
    let began = Instant::now();
    let mut hello = Vec::new();
    let mut client =
        secure(&Arc::new(config(&[&certificate], &version::TLS13)), "localhost", dial(broker.address, None));
    client.conn.write_tls(&mut hello).expect("memory takes all");
    // One says half of what it should, the other shakes hands and then nothing.
    client.sock.write_all(&hello[..hello.len() / 2]).expect("the broker accepts");
    let mut silent = shake(&[&certificate], &version::TLS13, "localhost", broker.address).expect("a handshake");
    assert_eq!(client.sock.read(&mut [0; 100]).expect("an end"), 0);
    assert_eq!(silent.read(&mut [0; 100]).expect("an end that is told"), 0);
    assert!(began.elapsed() >= Duration::from_millis(250));
}

#[test]
fn a_slow_consumer_is_closed_with_4008_after_whole_frames() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[("LIMITS__OUTBOUND_BYTES_MAX", "100000"), ("TLS__LISTEN", "127.0.0.1:0")]);
    let tls = broker.addresses[1];
    let narrow = secure(&Arc::new(config(&[&certificate], &version::TLS13)), "localhost", dial(tls, Some(32 * 1024)));
    let mut slow = Client::over(narrow, tls);
    slow.subscribe("firehose");
    let mut publisher = Client::connect(&broker);
    let data = "x".repeat(10_000);
    for _ in 0..300 {
        let ack = publisher.ask(format!(r#"{{"op":"publish","topic":"firehose","data":"{data}","id":1}}"#));
        assert_eq!(ack["op"], "ack");
    }
    // It comes to itself: what was on its way is whole and without a hole, then it is told why it ends.
    let (messages, code, _) = slow.read_to_close();
    assert_eq!(code, 4008);
    let positions: Vec<u64> = messages.iter().map(position).collect();
    assert!(!positions.is_empty() && positions.len() < 300, "{}", positions.len());
    assert!(positions.windows(2).all(|pair| pair[1] == pair[0] + 1), "{positions:?}");
}

/// The offset of a publication.
fn position(message: &Message) -> u64 {
    let value: serde_json::Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
    let position = value["position"].as_str().expect("a position");
    position.split_once(':').expect("an offset behind the epoch").1.parse().expect("a number")
}

#[test]
fn a_broadcast_to_stalled_readers_costs_a_record_each() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[("TLS__LISTEN", "127.0.0.1:0"), ("LIMITS__OUTBOUND_BYTES_MAX", "5000000")]);
    let config = Arc::new(config(&[&certificate], &version::TLS13));
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let stream = secure(&config, "localhost", dial(broker.addresses[1], Some(8 * 1024)));
        let mut client = Client::over(stream, broker.addresses[1]);
        client.subscribe("firehose");
        stalled.push(client);
    }
    let before = resident_bytes(broker.pid());
    let mut publisher = Client::connect(&broker);
    let data = "x".repeat(40_000);
    for _ in 0..100 {
        publisher.ask(format!(r#"{{"op":"publish","topic":"firehose","data":"{data}","id":1}}"#));
    }
    // 4 MB wait for each, shared by all; of its own each has a record at most. Sealed ahead they would be 200 MB.
    let grown = resident_bytes(broker.pid()) - before;
    assert!(grown < 12_000_000, "{grown}");
    for client in &mut stalled {
        let positions: Vec<u64> = (0..100).map(|_| position(&client.receive())).collect();
        assert_eq!(positions, (1..=100).collect::<Vec<_>>());
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[test]
fn an_idle_connection_costs_its_keys_and_no_buffers() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    let config = Arc::new(config(&[&certificate], &version::TLS13));
    let mut idle = Vec::new();
    let mut sizes = Vec::new();
    let data = "x".repeat(30_000);
    for count in [100, 500] {
        while idle.len() < count {
            let stream = secure(&config, "localhost", dial(broker.address, None));
            let mut client = Client::over(stream, broker.address);
            // Records of the full length both ways, before it falls silent.
            client.subscribe("a");
            client.send(format!(r#"{{"op":"publish","topic":"a","data":"{data}","id":1}}"#));
            while client.next()["op"] != "message" {}
            client.ask(r#"{"op":"unsubscribe","topic":"a","id":2}"#);
            idle.push(client);
        }
        sizes.push(resident_bytes(broker.pid()));
    }
    let each = (sizes[1] - sizes[0]) / 400;
    println!("{each} bytes for each idle connection");
    assert!((1000..6000).contains(&each), "{each}");
}

#[test]
fn rfc8446_6_1_an_http_answer_ends_with_close_notify_even_if_the_client_ended_first() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    for (version, ends_first) in
        [(&version::TLS12, false), (&version::TLS13, false), (&version::TLS12, true), (&version::TLS13, true)]
    {
        let mut stream = shake(&[&certificate], version, "localhost", broker.address).expect("a handshake");
        let last = if ends_first { "" } else { "Connection: close\r\n" };
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").expect("it is read");
        if ends_first {
            stream.conn.send_close_notify();
        }
        stream.flush().expect("it is read");
        let mut answer = Vec::new();
        // rustls calls an end without close_notify an error.
        stream.read_to_end(&mut answer).expect("an end that is told");
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn pipelined_requests_of_many_records_are_answered_in_their_order() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    let mut subscriber = connect(&certificate, &version::TLS13, broker.address);
    subscriber.subscribe("a");
    for version in [&version::TLS12, &version::TLS13] {
        let mut stream = shake(&[&certificate], version, "localhost", broker.address).expect("a handshake");
        let (mut reader, mut answers) = (stream.sock.try_clone().expect("a handle"), Vec::new());
        // Longer than what waits of requests while one is answered, so that reading pauses with records half read.
        for number in 0..20 {
            let body = format!("\"{number} {}\"", "x".repeat(40_000));
            let head = "POST /v1/publish?topic=a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it is read");
        }
        stream.write_all(HEALTHZ).expect("it is read");
        stream.read_to_end(&mut answers).expect("an end that is told");
        assert_eq!(reader.read(&mut [0]).expect("an end"), 0);
        let answers = String::from_utf8(answers).expect("text");
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 21, "{answers}");
        for number in 0..20 {
            let data = subscriber.expect("message")["data"].as_str().expect("a text").to_owned();
            assert!(data.starts_with(&format!("{number} ")), "{number}: {}", &data[..10]);
        }
    }
}

#[test]
fn who_is_one_too_many_hears_nothing_in_the_clear() {
    let files = Files::new();
    files.make("a", "localhost");
    for limit in ["LIMITS__ACCEPTS_PER_SECOND_MAX", "LIMITS__CONNECTIONS_MAX"] {
        let broker = files.start(&[(limit, "2"), ("TLS__LISTEN", "127.0.0.1:0")]);
        let [plain, tls] = broker.addresses[..] else { panic!("two addresses: {:?}", broker.addresses) };
        let heard = |address| {
            // Two seconds' worth for each of two shards, and the last of so many comes too late.
            let mut many: Vec<_> = (0..20).map(|_| dial(address, None)).collect();
            let mut heard = Vec::new();
            let _ = many[19].read_to_end(&mut heard); // an end is an end, a reset too
            String::from_utf8_lossy(&heard).into_owned()
        };
        assert_eq!(heard(tls), "", "{limit}");
        assert!(heard(plain).starts_with("HTTP/1.1 503 "), "{limit}");
    }
}

#[test]
fn sigterm_closes_with_1001_and_a_told_end() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    let mut client = connect(&certificate, &version::TLS13, broker.address);
    client.subscribe("a");
    broker.signal("TERM");
    let (_, code, _) = client.read_to_close();
    assert_eq!(code, 1001);
    assert!(broker.exit(Duration::from_secs(10)).success());
}

#[test]
fn rfc8446_2_2_a_client_that_comes_back_resumes_on_any_core() {
    let files = Files::new();
    let certificate = files.make("a", "localhost");
    let broker = files.start(&[]);
    for version in [&version::TLS12, &version::TLS13] {
        let mut config = config(&[&certificate], version);
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for round in 0..6 {
            let mut stream = secure(&config, "localhost", dial(broker.address, None));
            // The ticket of TLS 1.3 comes behind the handshake, with the answer at the latest.
            stream.write_all(HEALTHZ).expect("it is read");
            stream.read_to_end(&mut Vec::new()).expect("an answer");
            let expected = if round == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(stream.conn.handshake_kind(), Some(expected), "{round}");
        }
    }
}

#[test]
fn openssl_speaks_both_versions_and_agrees_on_http_1_1() {
    let files = Files::new();
    files.make("a", "localhost");
    let broker = files.start(&[]);
    for (flag, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let (said, _) = s_client(&files, broker.address, &[flag, "-alpn", "h2,http/1.1"]);
        assert!(said.contains("HTTP/1.1 200 OK"), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains("Verification: OK") && said.contains(shown), "{said}");
    }
    let (said, errors) = s_client(&files, broker.address, &["-alpn", "h2"]);
    assert!(!said.contains("HTTP/1.1") && errors.contains("no application protocol"), "{said}{errors}");
    for old in ["-tls1_1", "-tls1"] {
        let (said, _) = s_client(&files, broker.address, &[old, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(!said.contains("HTTP/1.1 200"), "{said}");
    }
}

/// Asks for `/healthz`: what was said to standard output, and to standard error.
fn s_client(files: &Files, address: SocketAddr, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "localhost", "-ign_eof"]);
    command.args(["-CAfile", &files.path("a.pem")]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    // Where the handshake fails, nobody reads this.
    let _ = stdin.write_all(HEALTHZ);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}
