//! The command line from outside: the real binary, its sentences and exit codes.
//!
//! Where a command needs a broker, the other end is a script on an independent WebSocket library that says what the
//! protocol says; the commands against the real broker are in `cli_broker.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test plays the other side, and ends where something is not as it should be"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use tungstenite::{Message, WebSocket};

const WELCOME: &str = r#"{"op":"welcome","client":"1-0","user":null,"server":"wirefan/0","heartbeat":25,"limits":{"message_bytes":200,"subscriptions":10}}"#;

/// The binary, with no variable of this process.
fn wirefan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs to the end: exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    told(&command.output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A command with its input and output in our hands.
fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A broker of one connection that has said welcome and goes on with `conversation`. Gives its URL.
fn broker<T: Send + 'static>(
    conversation: impl FnOnce(&mut WebSocket<TcpStream>) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let broker = thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        socket.send(WELCOME.into()).unwrap();
        let result = conversation(&mut socket);
        // Until the other side has said goodbye, or is gone.
        while socket.read().is_ok() {}
        result
    });
    (url, broker)
}

fn heard(socket: &mut WebSocket<TcpStream>) -> String {
    socket.read().unwrap().into_text().unwrap().to_string()
}

fn say(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(text.into()).unwrap();
}

#[test]
fn without_a_command_it_shows_help_and_exits_with_2() {
    let (code, out, err) = run(&mut wirefan(&[]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage: wirefan <COMMAND>"), "{err}");
}

#[test]
fn help_and_version_are_data() {
    let (code, out, err) = run(&mut wirefan(&["--version"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out, concat!("wirefan ", env!("CARGO_PKG_VERSION"), "\n"));
    for command in ["serve", "check", "publish", "subscribe", "token", "top", "completions", "man"] {
        let (code, out, err) = run(&mut wirefan(&[command, "--help"]));
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.contains(&format!("Usage: wirefan {command}")), "{out}");
    }
}

#[test]
fn wrong_arguments_exit_with_2_and_a_sentence() {
    let cases: [(&[&str], &str); 22] = [
        (&["server"], "unrecognized subcommand 'server'"),
        (&["serve", "--port", "1"], "unexpected argument '--port'"),
        (&["serve", "--shards", "many"], "invalid value 'many' for '--shards <N>'"),
        (&["serve", "--listen", "localhost:80"], "is a name: write the address, 127.0.0.1:80 or [::1]:80"),
        (&["serve", "--listen", "8080"], "lacks the address: write 127.0.0.1:8080"),
        (&["serve", "--listen", "127.0.0.1"], "lacks the port: write 127.0.0.1:8080"),
        (&["publish"], "<TOPIC>"),
        (&["publish", "t", "1", "--ca", "f"], "--ca is for wss://, and ws://127.0.0.1:8080/ws is in the clear"),
        (&["publish", "t", "1", "--url", "http://h/ws"], "is a WebSocket's: write ws://h/ws"),
        (&["subscribe"], "<FILTER>..."),
        (&["subscribe", "t", "--count", "0"], "must be a whole number from 1"),
        (&["subscribe", "t", "--since", "121"], "a position is 8 lower-case hex digits, `:` and a decimal number"),
        (&["subscribe", "t", "--since", "f3a9b2c1:1", "--last", "5"], "cannot be used with"),
        (&["subscribe", "t", "u", "--since", "f3a9b2c1:1"], "is a position of one topic, and there are several"),
        (&["subscribe", "t", "--last", "0"], "0 is not in 1..=1000"),
        (&["subscribe", "t", "--last", "1001"], "1001 is not in 1..=1000"),
        (&["publish", "t", "1", "--key", ""], "has 0 bytes; a key has 1 to 128"),
        (&["publish", "t", "--key", "k"], "--key names one publication, and each line of standard input is one"),
        (&["publish", "t", "1", "--token", ""], "the token, of --token or WIREFAN_TOKEN, is empty"),
        (&["subscribe", "t", "--token", "se cret"], "WIREFAN_TOKEN, has characters that no token has"),
        (&["check", "--topic", "a/#"], "byte 2 is a wildcard; `+` and `#` belong in filters only"),
        (&["check", "--topic", ""], "it is empty; a name has 1 to 255 bytes"),
    ];
    for (arguments, sentence) in cases {
        let (code, out, err) = run(&mut wirefan(arguments));
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(sentence) && !err.contains("se cret"), "{arguments:?}: {err}");
    }
}

#[test]
fn a_wrong_configuration_exits_with_2_before_anything_listens() {
    let mut command = wirefan(&["serve"]);
    let (code, out, err) = run(command.env("WIREFAN_LIMITS__MESSAGE_BYTE_MAX", "1"));
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "wirefan: WIREFAN_LIMITS__MESSAGE_BYTE_MAX: unknown variable; did you mean \
         WIREFAN_LIMITS__MESSAGE_BYTES_MAX?\n"
    );
    let (code, _, err) = run(&mut wirefan(&["serve", "--config", "/nonexistent.toml"]));
    assert_eq!(code, 2);
    assert!(err.starts_with("wirefan: /nonexistent.toml: cannot be opened: "), "{err}");
    let (code, _, err) = run(&mut wirefan(&["serve", "--shards", "129"]));
    assert_eq!(code, 2);
    assert_eq!(err, "wirefan: --shards 129: must be a whole number from 0 to 128\n");
}

#[test]
fn a_public_address_is_refused_with_what_to_do() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let (code, out, err) = run(&mut wirefan(&["serve", "--listen", address]));
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with(&format!("wirefan: --listen {address}: ")), "{err}");
        assert!(err.contains("--allow-anonymous or server.allow_anonymous = \"always\""), "{err}");
    }
}

#[test]
fn check_prints_the_configuration_in_force() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/wirefan.toml");
    let (code, plain, err) = run(&mut wirefan(&["check"]));
    assert_eq!((code, err.as_str()), (0, ""));
    let (_, of_file, _) = run(&mut wirefan(&["check", "--config", shipped]));
    assert_eq!(of_file, plain);
    let mut command = wirefan(&["check", "--config", shipped]);
    let (_, changed, _) = run(command.env("WIREFAN_SERVER__SHARDS", "3"));
    assert_eq!(changed, plain.replace("shards = 0", "shards = 3"));
}

#[test]
fn check_explains_which_rule_a_topic_gets() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/development.toml");
    let (code, out, err) = run(&mut wirefan(&["check", "--config", shipped, "--topic", "chat/1"]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "# chat/1 gets rule 1 of 2, the first whose filter matches.\nfilter = \"chat/#\"\nsubscribe = \"anyone\"\n\
         publish = \"anyone\"\nhistory = { count = 1000, age = \"1h\" }\npresence = true\n\
         overflow = \"disconnect\"\nfrom = false\nidempotency = \"5m\"\n"
    );
    let (code, out, _) = run(&mut wirefan(&["check", "--topic", "chat/1"]));
    assert_eq!(code, 0);
    assert!(
        out.starts_with("# chat/1 gets the implicit rule: the configuration has no other.\nfilter = \"#\"\n"),
        "{out}"
    );
}

#[test]
fn check_warns_of_a_rule_that_admits_nobody_for_want_of_authentication() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/granted.toml");
    std::fs::write(file, "[[rule]]\nfilter = \"a\"\npublish = \"granted\"\n").expect("it is ours");
    let (code, out, err) = run(&mut wirefan(&["check", "--config", file]));
    assert_eq!(code, 0);
    assert!(out.contains("publish = \"granted\""), "{out}");
    let warning =
        r#"rule 1 (filter "a"): publish = "granted" admits nobody, because without [auth] nobody can say who they are"#;
    assert_eq!(err, format!("warning: {warning}\n"));
}

#[test]
fn publish_sends_the_data_as_it_is_and_prints_the_position() {
    let (url, broker) = broker(|socket| {
        let command = heard(socket);
        say(socket, r#"{"op":"ack","id":0,"topic":"chat/1","position":"f3a9b2c1:121"}"#);
        command
    });
    let data = " {\"b\": 1.0,\n \"a\":1e400, \"a\":\"\\ud800\"} ";
    let (code, out, err) = run(&mut wirefan(&["publish", "chat/1", data, "--url", &url]));
    assert_eq!((code, out.as_str(), err.as_str()), (0, "chat/1 f3a9b2c1:121\n", ""));
    let sent = broker.join().unwrap();
    assert_eq!(sent, format!(r#"{{"op":"publish","id":0,"topic":"chat/1","data":{}}}"#, data.trim()));
}

#[test]
fn publish_with_a_key_sends_it_with_the_data_and_with_bytes() {
    for (arguments, expected) in [
        (&["publish", "t", "1", "--key", "a\"b"][..], r#"{"op":"publish","id":0,"topic":"t","key":"a\"b","data":1}"#),
        (
            &["publish", "t", "x", "--binary", "--key", "k"],
            "{\"op\":\"publish\",\"id\":0,\"topic\":\"t\",\"key\":\"k\"}\nx",
        ),
    ] {
        let (url, broker) = broker(|socket| {
            let command = heard(socket);
            say(socket, r#"{"op":"ack","id":0,"topic":"t","position":"f3a9b2c1:7"}"#);
            command
        });
        let (code, out, err) = run(wirefan(arguments).args(["--url", &url]));
        assert_eq!((code, out.as_str(), err.as_str()), (0, "t f3a9b2c1:7\n", ""));
        assert_eq!(broker.join().unwrap(), expected);
    }
}

#[test]
fn publish_refuses_what_is_more_or_less_than_one_json_value() {
    for data in ["hi", "", "1 2", r#"1,"topic":"other""#, "1}", "NaN", "{"] {
        let (code, out, err) = run(&mut wirefan(&["publish", "chat/1", data]));
        assert_eq!((code, out.as_str()), (1, ""), "{data}");
        assert!(err.starts_with("wirefan: DATA is not JSON: "), "{err}");
        assert!(err.ends_with("a string needs its own quotes, and the shell takes one pair away: '\"hi\"'\n"), "{err}");
    }
}

#[test]
fn publish_takes_negative_numbers_and_flags_in_any_place() {
    let (url, broker) = broker(|socket| {
        let command = heard(socket);
        say(socket, r#"{"op":"ack","id":0,"position":"a:1"}"#);
        command
    });
    let (code, ..) = run(&mut wirefan(&["publish", "--url", &url, "t", "-5"]));
    assert_eq!(code, 0);
    assert!(broker.join().unwrap().ends_with(r#""data":-5}"#));
}

#[test]
fn publish_reads_lines_and_tells_which_were_refused() {
    let (url, broker) = broker(|socket| {
        let mut commands = Vec::new();
        for answer in [
            r#"{"op":"ack","id":1,"position":"a:1"}"#,
            r#"{"op":"error","id":5,"code":403,"reason":"not \u001bhere"}"#,
            r#"{"op":"ack","id":6,"position":"a:2"}"#,
        ] {
            commands.push(heard(socket));
            say(socket, answer);
        }
        commands
    });
    let mut child = spawn(&mut wirefan(&["publish", "a\"b", "--url", &url]));
    let long = "9".repeat(200);
    let input = format!("{{\"n\": 1}}\r\n\nhi\n{long}\n5\n6");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let (code, out, err) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, out.as_str()), (1, "a\"b a:1\na\"b a:2\n"));
    let mut lines: Vec<_> = err.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 3, "{err}");
    assert!(lines[0].starts_with("wirefan: line 3 is not published: it is not JSON: "), "{err}");
    assert!(lines[1].starts_with("wirefan: line 4 is not published: it makes a message of 2"), "{err}");
    assert!(lines[1].ends_with(" takes 200 at most"), "{err}");
    assert_eq!(lines[2], r"wirefan: line 5 is not published: the broker says 403: not \u{1b}here");
    let commands = broker.join().unwrap();
    assert_eq!(commands[0], r#"{"op":"publish","id":1,"topic":"a\"b","data":{"n": 1}}"#);
    assert_eq!(commands[2], r#"{"op":"publish","id":6,"topic":"a\"b","data":6}"#);
}

#[test]
fn publish_prints_each_position_while_the_input_goes_on() {
    let (url, broker) = broker(|socket| {
        for id in 1..=2 {
            heard(socket);
            say(socket, &format!(r#"{{"op":"ack","id":{id},"position":"a:{id}"}}"#));
        }
    });
    let mut child = spawn(&mut wirefan(&["publish", "t", "--url", &url]));
    let mut input = child.stdin.take().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for number in 1..=2 {
        writeln!(input, "{number}").unwrap();
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, format!("t a:{number}\n"));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    broker.join().unwrap();
}

#[test]
fn publish_binary_sends_all_of_its_input_behind_a_header_line() {
    let (url, broker) = broker(|socket| {
        let message = socket.read().unwrap();
        say(socket, r#"{"op":"ack","id":0,"position":"a:1"}"#);
        message
    });
    let mut child = spawn(&mut wirefan(&["publish", "t", "--binary", "--url", &url]));
    child.stdin.take().unwrap().write_all(b"\x00\xff\n\n{").unwrap();
    assert_eq!(told(&child.wait_with_output().unwrap()), (0, "t a:1\n".to_owned(), String::new()));
    let Message::Binary(sent) = broker.join().unwrap() else {
        panic!("a binary message");
    };
    assert_eq!(&sent[..], b"{\"op\":\"publish\",\"id\":0,\"topic\":\"t\"}\n\x00\xff\n\n{");
}

#[test]
fn an_error_without_an_id_belongs_to_the_only_publication_under_way() {
    let (url, broker) = broker(|socket| {
        heard(socket);
        say(socket, r#"{"op":"error","code":400,"reason":"too deep"}"#);
    });
    let (code, _, err) = run(&mut wirefan(&["publish", "t", "[[]]", "--url", &url]));
    assert_eq!((code, err.as_str()), (1, "wirefan: not published: the broker says 400: too deep\n"));
    broker.join().unwrap();
}

#[test]
fn an_error_of_the_broker_is_a_sentence_and_exit_code_1() {
    let (url, broker) = broker(|socket| {
        heard(socket);
        say(socket, r#"{"op":"error","id":0,"code":400,"reason":"topic \"a//b\" has an empty level"}"#);
    });
    let (code, out, err) = run(&mut wirefan(&["publish", "a//b", "1", "--url", &url]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "wirefan: not published: the broker says 400: topic \"a//b\" has an empty level\n");
    broker.join().unwrap();
}

/// Subscribes `filters`, and once both are acknowledged sends `messages`.
fn fan(messages: Vec<Message>) -> (String, JoinHandle<Vec<String>>) {
    broker(move |socket| {
        let commands = vec![heard(socket), heard(socket)];
        say(socket, r#"{"op":"ack","id":0,"topic":"chat/#"}"#);
        say(socket, r#"{"op":"ack","id":1,"topic":"+/x"}"#);
        for message in messages {
            // A command that has enough hangs up.
            let _ = socket.send(message);
        }
        commands
    })
}

fn publications() -> Vec<Message> {
    vec![
        r#"{"op":"message","topic":"chat/1","position":"f:1","data":{"a": 1.0,"a":"\u001b"}}"#.into(),
        "{\"op\":\"message\",\"topic\":\"b/x\",\"position\":\"e:9\",\"data\":[1,\r\n 2]}".into(),
        r#"{"op":"something new"}"#.into(),
        Message::Binary(
            b"{\"op\":\"message\",\"topic\":\"chat/2\",\"position\":\"f:2\",\"x\":{}}\n\x00\xff\n".as_slice().into(),
        ),
    ]
}

#[test]
fn subscribe_prints_a_line_for_each_publication() {
    let (url, broker) = fan(publications());
    let (code, out, err) = run(&mut wirefan(&["subscribe", "chat/#", "+/x", "--count", "3", "--url", &url]));
    assert_eq!((code, err.as_str()), (0, "subscribed to chat/#, +/x\n"));
    assert_eq!(out, "chat/1 f:1 {\"a\": 1.0,\"a\":\"\\u001b\"}\nb/x e:9 [1,   2]\nchat/2 f:2 AP8K\n");
    let commands = broker.join().unwrap();
    assert_eq!(commands[0], r#"{"op":"subscribe","id":0,"topic":"chat/#"}"#);
    assert_eq!(commands[1], r#"{"op":"subscribe","id":1,"topic":"+/x"}"#);
}

#[test]
fn subscribe_since_a_position_tells_whether_all_was_recovered() {
    for (recovered, told) in [
        (true, "recovered all since 000000c1:5"),
        (false, "not recovered: not all since 000000c1:5 is kept; what follows begins after 000000c2:9"),
    ] {
        let (url, broker) = broker(move |socket| {
            let command = heard(socket);
            let ack = format!(r#"{{"op":"ack","id":0,"topic":"t","position":"000000c2:9","recovered":{recovered}}}"#);
            say(socket, &ack);
            say(socket, r#"{"op":"message","topic":"t","position":"000000c2:10","data":1}"#);
            command
        });
        let arguments = ["subscribe", "t", "--since", "000000c1:5", "--count", "1", "--url", &url];
        let (code, out, err) = run(&mut wirefan(&arguments));
        assert_eq!((code, out.as_str()), (0, "t 000000c2:10 1\n"));
        assert_eq!(err, format!("subscribed to t\n{told}\n"));
        assert_eq!(broker.join().unwrap(), r#"{"op":"subscribe","id":0,"topic":"t","since":"000000c1:5"}"#);
    }
}

#[test]
fn subscribe_asks_for_the_last_of_each_topic_and_tells_gaps() {
    let (url, broker) = broker(|socket| {
        let commands = [heard(socket), heard(socket)];
        say(socket, r#"{"op":"ack","id":0,"topic":"a","position":"000000c1:9"}"#);
        say(socket, r#"{"op":"ack","id":1,"topic":"b","position":"000000c1:0"}"#);
        say(socket, r#"{"op":"gap","topic":"a\u001b","missed":1,"position":"000000c1:10"}"#);
        say(socket, r#"{"op":"gap","topic":"a","missed":12,"position":"000000c1:22"}"#);
        say(socket, r#"{"op":"message","topic":"a","position":"000000c1:23","data":1}"#);
        commands
    });
    let (code, out, err) = run(&mut wirefan(&["subscribe", "a", "b", "--last", "5", "--count", "1", "--url", &url]));
    assert_eq!((code, out.as_str()), (0, "a 000000c1:23 1\n"));
    assert_eq!(
        err,
        "subscribed to a, b\nmissed 1 publication of a\\u{1b}, the newest at 000000c1:10\n\
         missed 12 publications of a, the newest at 000000c1:22\n"
    );
    assert_eq!(
        broker.join().unwrap(),
        [r#"{"op":"subscribe","id":0,"topic":"a","last":5}"#, r#"{"op":"subscribe","id":1,"topic":"b","last":5}"#]
    );
}

#[test]
fn subscribe_json_prints_the_objects_as_received() {
    let (url, broker) = fan(publications());
    let arguments = ["subscribe", "chat/#", "+/x", "--count", "3", "--json", "--url", &url];
    let (code, out, _) = run(&mut wirefan(&arguments));
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "{\"op\":\"message\",\"topic\":\"chat/1\",\"position\":\"f:1\",\"data\":{\"a\": 1.0,\"a\":\"\\u001b\"}}\n\
         {\"op\":\"message\",\"topic\":\"b/x\",\"position\":\"e:9\",\"data\":[1,   2]}\n\
         {\"op\":\"message\",\"topic\":\"chat/2\",\"position\":\"f:2\",\"x\":{},\"encoding\":\"base64\",\"data\":\"AP8K\"}\n"
    );
    broker.join().unwrap();
}

/// What `publish` says of a broker that ends the connection like this, without and with a token.
fn ended_with(code: u16, reason: &'static str) -> [String; 2] {
    [&[][..], &["--token", "s3cret"]].map(|token| {
        let (url, closing) = broker(move |socket| {
            use tungstenite::protocol::CloseFrame;
            heard(socket);
            socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).unwrap();
        });
        let (exit, out, err) = run(wirefan(&["publish", "a", "1", "--url", &url]).args(token));
        assert_eq!((exit, out.as_str()), (1, ""));
        assert!(!err.contains("s3cret"), "{err}");
        closing.join().unwrap();
        err.strip_prefix(&format!("wirefan: {url}: ")).expect(&err).to_owned()
    })
}

#[test]
fn the_end_of_a_connection_for_want_of_a_good_token_says_what_to_do() {
    let wants = "the broker wants to know who you are, and closed with 4501: it says why; give a token with --token or \
                 the variable WIREFAN_TOKEN\n";
    let refuses = "the broker refuses the token with 4501: it says why\n";
    assert_eq!(ended_with(4501, "it says why"), [wants, refuses]);
    let over = "the broker ended the connection with 4001: the token has expired\n";
    assert_eq!(ended_with(4001, "the token has expired"), [over, over]);
}

#[test]
fn a_401_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let refused = "the server refused the connection with HTTP status 401";
    let hint = "give a token with --token or the variable WIREFAN_TOKEN";
    let (code, _, err) = run(&mut wirefan(&["subscribe", "a", "--url", &url]));
    assert_eq!((code, err), (1, format!("wirefan: cannot connect to {url}: {refused}; {hint}\n")));
    let (code, _, err) = run(wirefan(&["subscribe", "a", "--url", &url]).env("WIREFAN_TOKEN", "s3cret"));
    assert_eq!((code, err), (1, format!("wirefan: cannot connect to {url}: {refused}\n")));
    server.join().unwrap();
}

#[test]
fn subscribe_tells_a_refused_filter_and_a_close() {
    let (url, refusing) = broker(|socket| {
        heard(socket);
        say(socket, r#"{"op":"error","id":0,"code":400,"reason":"the # must be the last level"}"#);
    });
    let (code, out, err) = run(&mut wirefan(&["subscribe", "#/a", "--url", &url]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "wirefan: not subscribed to \"#/a\": the broker says 400: the # must be the last level\n");
    refusing.join().unwrap();

    let (url, closing) = broker(|socket| {
        use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
        heard(socket);
        let goodbye = CloseFrame { code: CloseCode::Away, reason: "retry_ms=5".into() };
        socket.close(Some(goodbye)).unwrap();
    });
    let (code, _, err) = run(&mut wirefan(&["subscribe", "a", "--url", &url]));
    assert_eq!(code, 1);
    assert_eq!(err, format!("wirefan: {url}: the broker closed the connection with 1001: retry_ms=5\n"));
    closing.join().unwrap();
}

#[test]
fn a_reader_that_goes_away_ends_subscribe_quietly() {
    let (url, broker) = broker(|socket| {
        heard(socket);
        say(socket, r#"{"op":"ack","id":0}"#);
        let mut sent = 0_u32;
        while socket.send(r#"{"op":"message","topic":"t","position":"f:1","data":1}"#.into()).is_ok() {
            sent += 1;
        }
        sent
    });
    let mut child = spawn(&mut wirefan(&["subscribe", "t", "--url", &url]));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "t f:1 1\n");
    // The reader is dropped here, as `head -1` ends.
    let (code, _, err) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, "subscribed to t\n"));
    assert!(broker.join().unwrap() > 0);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_subscribe_with_a_goodbye_and_0() {
    for signal in ["-INT", "-TERM"] {
        let (url, broker) = broker(|socket| {
            heard(socket);
            say(socket, r#"{"op":"ack","id":0}"#);
            say(socket, r#"{"op":"message","topic":"t","position":"f:1","data":1}"#);
            socket.read()
        });
        let mut child = spawn(&mut wirefan(&["subscribe", "t", "--url", &url]));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{signal}");
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!((line.as_str(), rest.as_str()), ("t f:1 1\n", ""));
        let Message::Close(Some(goodbye)) = broker.join().unwrap().unwrap() else {
            panic!("a close frame");
        };
        assert_eq!(u16::from(goodbye.code), 1000);
    }
}

#[test]
fn who_is_no_broker_is_told_in_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    drop(listener);
    let (code, out, err) = run(&mut wirefan(&["publish", "t", "1", "--url", &url]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, format!("wirefan: cannot connect to {url}: nobody listens there; is `wirefan serve` running?\n"));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/echo", listener.local_addr().unwrap());
    let stranger = thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        socket.send("hello".into()).unwrap();
        while socket.read().is_ok() {}
    });
    let (code, _, err) = run(&mut wirefan(&["subscribe", "t", "--url", &url]));
    assert_eq!(code, 1);
    assert_eq!(err, format!("wirefan: {url} did not welcome us as a broker does; its WebSocket is at /ws\n"));
    stranger.join().unwrap();

    let (url, garbling) = broker(|socket| say(socket, r#"{"op":"message","topic":"t","position":"a:1"}"#));
    let (code, _, err) = run(&mut wirefan(&["subscribe", "t", "--url", &url]));
    assert_eq!(code, 1);
    assert_eq!(err, format!("wirefan: {url} sent what no broker sends: a message without data\n"));
    garbling.join().unwrap();
}
