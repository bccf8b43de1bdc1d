//! The commands against the real broker: one binary serves, others publish and subscribe.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test takes ports, and ends where something is not as it should be"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

/// The binary, with no variable of this process.
fn wirefan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end: exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    told(command.output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// A long-running command that has said that it is ready; killed if the test fails before its end.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
    ready: String,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let ready = line(&mut err);
        Self { child, out, err, ready }
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Exit code, and what was left on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker on a port of the kernel's choice, and its URL.
fn serve(arguments: &[&str]) -> (Running, String) {
    let mut command = wirefan(&["serve", "--listen", "127.0.0.1:0"]);
    let broker = Running::start(command.args(arguments));
    let address = broker.ready.strip_prefix("listening on ").expect(&broker.ready);
    let url = format!("ws://{address}/ws");
    (broker, url)
}

fn subscribe(url: &str, arguments: &[&str]) -> Running {
    Running::start(wirefan(&["subscribe", "--url", url]).args(arguments))
}

#[test]
fn what_is_published_is_printed_by_subscribers_in_one_order() {
    let (broker, url) = serve(&["--shards", "2"]);
    let mut subscribers: Vec<_> = (0..4).map(|_| subscribe(&url, &["chat/#", "--count", "101"])).collect();
    let mut publisher = wirefan(&["publish", "chat/1", "--url", &url]);
    let mut publisher = publisher.stdin(Stdio::piped()).spawn().unwrap();
    let input: String = (0..100).map(|number| format!("{{\"n\": {number}.0}}\n")).collect();
    publisher.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let (code, positions, err) = told(publisher.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    let binary = run(&mut wirefan(&["publish", "chat/1", "hi", "--binary", "--url", &url]));
    assert_eq!(binary.0, 0);

    let positions = positions + &binary.1;
    let positions: Vec<_> = positions.lines().collect();
    assert_eq!(positions.len(), 101);
    for (index, position) in positions.iter().enumerate() {
        assert!(position.ends_with(&format!(":{}", index + 1)), "{position}");
    }
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.ready, "subscribed to chat/#");
        for (number, position) in positions[..100].iter().enumerate() {
            assert_eq!(line(&mut subscriber.out), format!("{position} {{\"n\": {number}.0}}"));
        }
        assert_eq!(line(&mut subscriber.out), format!("{} aGk=", positions[100]));
    }
    for subscriber in subscribers {
        assert_eq!(subscriber.end(), (Some(0), String::new()));
    }
    broker.signal("-TERM");
    assert_eq!(broker.end().0, Some(0));
}

#[test]
fn what_the_broker_refuses_is_told_and_exits_with_1() {
    let (_broker, url) = serve(&["--shards", "1"]);
    for arguments in [["publish", "chat/#", "1"], ["publish", "a//b", "1"], ["publish", "$sys/x", "1"]] {
        let (code, out, err) = run(wirefan(&arguments).args(["--url", &url]));
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(err.starts_with("wirefan: not published: the broker says 40"), "{err}");
    }
    let (code, _, err) = run(&mut wirefan(&["subscribe", "#/a", "--url", &url]));
    assert_eq!(code, 1);
    assert!(err.starts_with("wirefan: not subscribed to \"#/a\": the broker says 400: "), "{err}");
}

#[test]
fn a_message_over_the_brokers_limit_is_refused_with_the_limit() {
    let mut command = wirefan(&["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
    let broker = Running::start(command.env("WIREFAN_LIMITS__MESSAGE_BYTES_MAX", "100"));
    let url = format!("ws://{}/ws", broker.ready.strip_prefix("listening on ").unwrap());
    let data = "1".repeat(100);
    let (code, _, err) = run(&mut wirefan(&["publish", "t", &data, "--url", &url]));
    assert_eq!(code, 1);
    assert!(err.ends_with("takes 100 at most\n"), "{err}");
}

#[test]
fn a_port_in_use_is_a_sentence_and_exit_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, out, err) = run(&mut wirefan(&["serve", "--listen", &address]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("wirefan: ") && err.contains(&address), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
}

#[test]
fn wss_is_spoken_with_whom_the_file_says_to_trust_and_with_nobody_else() {
    let directory = std::env::temp_dir().join(format!("wirefan-wss-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = |name: &str| directory.join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path("cert"), made.cert.pem()).unwrap();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("other"), rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem())
        .unwrap();
    let mut command = wirefan(&["serve", "--listen", "127.0.0.1:0", "--shards", "2"]);
    let settings = [("WIREFAN_TLS__CERT", path("cert")), ("WIREFAN_TLS__KEY", path("key"))];
    let broker = Running::start(command.envs(settings.clone()).env("WIREFAN_TLS__LISTEN", "127.0.0.1:0"));
    let (plain, tls) = broker.ready.strip_prefix("listening on ").unwrap().split_once(", ").unwrap();
    let tls = tls.strip_suffix(" (TLS)").unwrap();
    let port = tls.rsplit_once(':').unwrap().1;
    let (by_name, by_address) = (format!("wss://localhost:{port}/ws"), format!("wss://{tls}/ws"));

    let (cert, other) = (path("cert"), path("other"));
    let mut subscriber = subscribe(&by_name, &["t", "--count", "50", "--ca", &cert]);
    // Many, and longer than a record, so that both ways have parts of records to put together.
    let data = format!("\"{}\"", "x".repeat(20_000));
    let mut publisher = wirefan(&["publish", "t", "--url", &by_address, "--ca", &cert]);
    let mut publisher = publisher.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = publisher.stdin.take().unwrap();
    (0..50).for_each(|_| writeln!(input, "{data}").unwrap());
    drop(input);
    let (code, positions, err) = told(publisher.wait_with_output().unwrap());
    assert_eq!((code, positions.lines().count(), err.as_str()), (0, 50, ""));
    for position in positions.lines() {
        assert_eq!(line(&mut subscriber.out), format!("{position} {data}"));
    }
    assert_eq!(subscriber.end(), (Some(0), String::new()));

    let refused = |url: &str, ca: Option<&str>| {
        let mut command = wirefan(&["publish", "t", "1", "--url", url]);
        command.args(ca.iter().flat_map(|ca| ["--ca", ca]));
        // Whom the machine of the test trusts is none of its business.
        let (code, _, err) = run(command.env("SSL_CERT_FILE", &other));
        assert_eq!(code, 1, "{err}");
        err
    };
    for ca in [None, Some(other.as_str())] {
        let err = refused(&by_name, ca);
        assert!(err.contains("nobody whom we trust has signed its certificate; --ca FILE"), "{err}");
    }
    let err = refused(&by_name, Some("/nonexistent"));
    assert!(err.contains("/nonexistent: cannot be opened"), "{err}");
    let err = refused(&format!("wss://{plain}/ws"), Some(&cert));
    assert!(err.contains("the server does not speak TLS there"), "{err}");
    let err = refused(&format!("ws://{tls}/ws"), None);
    assert!(err.contains("this address speaks TLS: use https://"), "{err}");
    // What the machine trusts is trusted.
    let (code, _, err) = run(wirefan(&["publish", "t", "1", "--url", &by_name]).env("SSL_CERT_FILE", &cert));
    assert_eq!((code, err.as_str()), (0, ""));
    std::fs::remove_dir_all(&directory).unwrap();
}

/// A file that a broker reads, and its API keys.
struct Files {
    directory: std::path::PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("wirefan-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.join(name), text).unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The directory of temporary files is cleaned by others, too.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn sighup_takes_new_rules_and_keys_and_leaves_all_as_it_was_where_the_file_is_wrong() {
    let files = Files::new("reload");
    let key = |name: &str| {
        let (code, out, _) = run(&mut wirefan(&["token", "--api-key", name, "--subscribe", "#", "--publish", "#"]));
        assert_eq!(code, 0);
        out.split_once('\n').map(|(key, line)| (key.to_owned(), line.to_owned())).unwrap()
    };
    let ((ann, ann_line), (bob, bob_line)) = (key("ann"), key("bob"));
    let granted = "[[rule]]\nfilter = \"c\"\nsubscribe = \"granted\"\n";
    let configure =
        |rest: &str| files.write("wirefan.toml", &format!("auth.api_keys_file = \"keys\"\n{rest}{granted}"));
    configure("");
    files.write("keys", &format!("{ann_line}{bob_line}"));
    let (mut broker, url) = serve(&["--shards", "2", "--config", &files.path("wirefan.toml")]);
    assert!(line(&mut broker.err).contains(" info  serving version="));
    let mut reload = || {
        broker.signal("-HUP");
        let mut said: Vec<String> = Vec::new();
        // Time and level stand before the sentence.
        let ends = |last: &String| last.ends_with("were read again") || last.ends_with("stays as it is");
        while !said.last().is_some_and(ends) {
            said.push(line(&mut broker.err).split_once(' ').unwrap().1.to_owned());
        }
        said
    };
    let publish = |token: &str, topic: &str| {
        let (code, _, err) = run(&mut wirefan(&["publish", topic, "1", "--url", &url, "--token", token]));
        (code, err)
    };
    let mut of_ann = subscribe(&url, &["a", "b", "--token", &ann]);
    let of_bob = subscribe(&url, &["a", "--token", &bob]);

    configure("[[rule]]\nfilter = \"a\"\npublish = \"none\"\n");
    let said = reload();
    assert!(said[0].contains(r#"wirefan.toml:4: rule.publish = "none": must be "#), "{said:?}");
    assert_eq!(said[1..], ["error the configuration stays as it is"]);
    assert_eq!(publish(&ann, "a").0, 0);

    configure("server.echo = true\n[[rule]]\nfilter = \"a\"\npublish = \"nobody\"\n");
    let said = reload();
    assert_eq!(said[0], "warn  server.echo stays false until the next start, and is then true");
    assert_eq!(said[1..], ["info  rules, origins, keys and certificates were read again"]);
    let (code, err) = publish(&ann, "a");
    assert!(code == 1 && err.contains("the broker says 403"), "{err}");
    assert_eq!(publish(&bob, "b").0, 0);

    files.write("keys", &ann_line);
    assert_eq!(reload().len(), 2);
    let (code, err) = of_bob.end();
    assert!(code == Some(1) && err.contains("4501: the key of your token is not taken any more"), "{err}");
    assert!(publish(&bob, "b").1.contains("refuses the token with 4501"));
    assert_eq!(publish(&ann, "b").0, 0);
    for topic in ["a", "b", "b"] {
        let heard = line(&mut of_ann.out);
        assert!(heard.starts_with(topic), "{heard}");
    }
}

#[test]
fn check_warns_of_a_certificate_that_expired_and_takes_it() {
    let files = Files::new("dates");
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    files.write("cert", &parameters.self_signed(&key).unwrap().pem());
    files.write("key", &key.serialize_pem());
    files.write("wirefan.toml", "tls = { cert = \"cert\", key = \"key\" }");
    let (code, _, err) = run(&mut wirefan(&["check", "--config", &files.path("wirefan.toml")]));
    assert_eq!(code, 0);
    assert!(err.starts_with(&format!("warning: tls: {}: expired ", files.path("cert"))), "{err}");
}

#[test]
fn a_token_is_taken_over_wss_and_a_wrong_one_refused() {
    let files = Files::new("wss-token");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    files.write("cert", &made.cert.pem());
    files.write("key", &made.signing_key.serialize_pem());
    files.write("secret", "0123456789abcdef0123456789abcdef");
    files.write(
        "wirefan.toml",
        "tls = { cert = \"cert\", key = \"key\" }\nauth.keys = [{ alg = \"HS256\", secret_file = \"secret\" }]\n\
         [[rule]]\nfilter = \"#\"\nsubscribe = \"granted\"\npublish = \"granted\"\nfrom = true\n",
    );
    let file = files.path("wirefan.toml");
    let token = ["token", "--user", "ann", "--subscribe", "a", "--publish", "a", "--config", &file];
    let (code, token, err) = run(&mut wirefan(&token));
    assert_eq!((code, err.as_str()), (0, ""));
    let (_broker, url) = serve(&["--shards", "2", "--config", &file]);
    let address = url.strip_prefix("ws://").unwrap().strip_suffix(" (TLS)/ws").unwrap();
    let url = format!("wss://localhost:{}/ws", address.rsplit_once(':').unwrap().1);
    let ca = files.path("cert");
    let with = ["--url", &url, "--ca", &ca];
    let mut subscriber = wirefan(&["subscribe", "a", "--json", "--count", "1"]);
    let mut subscriber = Running::start(subscriber.args(with).env("WIREFAN_TOKEN", token.trim()));
    assert_eq!(subscriber.ready, "subscribed to a");
    let publish = |token: &str, topic: &str| run(wirefan(&["publish", topic, "1", "--token", token]).args(with));
    assert_eq!(publish(token.trim(), "a").0, 0);
    assert!(line(&mut subscriber.out).contains(r#""from":"ann""#));
    assert!(publish(token.trim(), "b").2.contains("the broker says 403"));
    let (code, _, err) = publish("a.b.c", "a");
    assert!(code == 1 && err.contains("refuses the token with 4501"), "{err}");
}

#[test]
fn a_stopped_broker_says_goodbye_to_its_subscribers() {
    for signal in ["-TERM", "-INT"] {
        let (broker, url) = serve(&["--shards", "2"]);
        let subscribers = [subscribe(&url, &["a"]), subscribe(&url, &["b/#"])];
        broker.signal(signal);
        assert_eq!(broker.end().0, Some(0), "{signal}");
        for subscriber in subscribers {
            let (code, err) = subscriber.end();
            assert_eq!(code, Some(1));
            assert!(err.contains("the broker closed the connection with 1001"), "{err}");
        }
    }
}

/// Where a broker listens that has said so.
fn url(ready: &str) -> String {
    format!("ws://{}/ws", ready.strip_prefix("listening on ").expect(ready))
}

#[test]
fn top_prints_one_page_where_there_is_no_terminal() {
    let broker = Running::start(wirefan(&["serve", "--listen", "127.0.0.1:0", "--shards", "2"]).env("TERM", "xterm"));
    let url = url(&broker.ready);
    let (code, out, err) = run(wirefan(&["top", "--url", &url]).env("TERM", "xterm"));
    assert_eq!((code, err.as_str()), (0, ""));
    let title = format!("wirefan {}  {url}", env!("CARGO_PKG_VERSION"));
    assert!(out.starts_with(&title), "{out}");
    for words in ["\npublications ", "\ndeliveries ", "canary lag", "\nshard  busy", "\n    0 ", "\n    1 "] {
        assert!(out.contains(words), "{words:?}: {out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80) && !out.contains('\x1b'), "{out}");
    broker.signal("-TERM");
    broker.end();
}

#[test]
fn top_says_why_it_may_see_nothing() {
    let mut guarded = wirefan(&["serve", "--listen", "127.0.0.1:0", "--shards", "1"]);
    guarded.env("WIREFAN_METRICS__ALLOW_ANONYMOUS", "never");
    let broker = Running::start(&mut guarded);
    let (code, out, err) = run(&mut wirefan(&["top", "--url", &url(&broker.ready)]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("not subscribed to \"$sys/stats\": the broker says 403: "), "{err}");
    broker.signal("-TERM");
    broker.end();
    let (code, _, err) = run(&mut wirefan(&["top", "--url", "ws://127.0.0.1:1/ws"]));
    assert_eq!(code, 1);
    assert!(err.contains("nobody listens there"), "{err}");
}
