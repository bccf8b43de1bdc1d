//! Who may come in and do what: tokens and API keys by every way to send one, grants, refresh, the end of a token.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::client::Client;
use crate::common::raw::{Raw, handshake};
use crate::common::{Broker, configure, serve};

/// A broker of two shards with `[auth]` and its directory.
pub(crate) struct Guarded {
    pub(crate) broker: Broker,
    config: String,
    api_key: String,
}

const RULES: &str = r##"
[[rule]]
filter = "granted/#"
subscribe = "granted"
publish = "granted"
history = { count = 100, age = "1h" }
presence = true
from = true

[[rule]]
filter = "users/#"
subscribe = "user"
publish = "user"
from = true

[[rule]]
filter = "#"
presence = true
from = true
"##;

/// `settings` are lines of `[auth]`, and behind it whatever tables they open.
pub(crate) fn guarded(name: &str, settings: &str) -> Guarded {
    let directory = format!("{}/auth-{name}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&directory).expect("a directory of ours");
    let write = |name: &str, text: &str| {
        let path = format!("{directory}/{name}");
        std::fs::write(&path, text).expect("it is ours");
        path
    };
    write("secret", "0123456789abcdef0123456789abcdef\n");
    let made = wirefan(&["token", "--api-key", "backend", "--publish", "#", "--subscribe", "granted/#"]);
    let (api_key, line) = made.split_once('\n').expect("the key and its line");
    write("keys", line);
    let auth =
        "[auth]\nkeys = [{ alg = \"HS256\", secret_file = \"secret\" }]\napi_keys_file = \"keys\"\nleeway_s = 0\n";
    let config = write("wirefan.toml", &format!("{auth}{settings}\n{RULES}"));
    let mut command = serve(&[]);
    command.args(["--config", &config, "--listen", "127.0.0.1:0", "--shards", "2"]);
    Guarded { broker: Broker::run(command), config, api_key: api_key.to_owned() }
}

/// What the command prints.
fn wirefan(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    configure(command.args(arguments), &[]);
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

impl Guarded {
    /// A token of that user; `grants` are further arguments, such as `--subscribe a/#`.
    pub(crate) fn token(&self, user: &str, grants: &str) -> String {
        let arguments: Vec<&str> = ["token", "--config", &self.config, "--user", user].into_iter().collect();
        wirefan(&[&arguments[..], &grants.split_whitespace().collect::<Vec<_>>()].concat())
    }

    /// A connection with that token in its header.
    pub(crate) fn user(&self, user: &str, grants: &str) -> Client {
        let (client, welcome) = self.welcomed("/ws", &bearer(&self.token(user, grants)));
        assert_eq!(welcome["user"], user);
        client
    }

    fn stranger(&self) -> Client {
        let (client, welcome) = self.welcomed("/ws", &[]);
        assert_eq!(welcome["user"], Value::Null);
        client
    }

    fn welcomed(&self, path: &str, headers: &[(&'static str, String)]) -> (Client, Value) {
        let mut client = Client::open(&self.broker, path, headers);
        let welcome = client.expect("welcome");
        client.name = welcome["client"].as_str().expect("a name").to_owned();
        (client, welcome)
    }

    /// The code and the reason with which a connection is closed before anything else is said.
    fn closed(&self, path: &str, headers: &[(&'static str, String)]) -> (u16, String) {
        let (messages, code, reason) = Client::open(&self.broker, path, headers).read_to_close();
        assert_eq!(messages.len(), 0, "no welcome: {messages:?}");
        (code, reason)
    }

    /// The answer to a handshake with that line in it.
    fn answer(&self, path: &str, line: &str) -> (u16, Option<String>) {
        let request = handshake(path).replace("\r\n\r\n", &format!("\r\n{line}\r\n\r\n"));
        let answer = Raw::request(&self.broker, &request);
        (answer.status(), answer.header("www-authenticate").map(str::to_owned))
    }
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("Authorization", format!("Bearer {token}"))]
}

fn offered(token: &str) -> [(&'static str, String); 1] {
    [("Sec-WebSocket-Protocol", format!("wirefan.v1, bearer.{token}"))]
}

fn auth(token: &str) -> String {
    json!({"op": "auth", "id": "auth", "token": token}).to_string()
}

fn subscribe(filter: &str) -> String {
    json!({"op": "subscribe", "id": 1, "topic": filter}).to_string()
}

fn publish(topic: &str) -> String {
    json!({"op": "publish", "id": 2, "topic": topic, "data": 1}).to_string()
}

/// `ack`, or the code of the error.
fn outcome(reply: &Value) -> String {
    match reply["op"].as_str() {
        Some("error") => reply["code"].to_string(),
        _ => reply["op"].as_str().unwrap_or_default().to_owned(),
    }
}

#[test]
fn a_token_and_an_api_key_come_in_each_way() {
    let guarded = guarded("ways", "");
    let token = guarded.token("ann", "--subscribe granted/1");
    for (token, user) in [(token.as_str(), "ann"), (guarded.api_key.as_str(), "backend")] {
        for (path, headers) in [
            ("/ws".to_owned(), bearer(token).to_vec()),
            ("/ws".to_owned(), offered(token).to_vec()),
            (format!("/ws?access_token={token}"), Vec::new()),
        ] {
            let (mut client, welcome) = guarded.welcomed(&path, &headers);
            assert_eq!(welcome["user"], user, "{headers:?}");
            assert_eq!(outcome(&client.ask(subscribe("granted/1"))), "ack");
        }
        let mut client = guarded.stranger();
        assert_eq!(client.ask(auth(token)), json!({"op": "ack", "id": "auth", "user": user}));
        assert_eq!(outcome(&client.ask(subscribe("granted/1"))), "ack");
    }
}

#[test]
fn a_token_that_is_not_good_is_refused_with_a_code_that_a_page_can_read() {
    let guarded = guarded("refused", "");
    let token = guarded.token("ann", "");
    let forged = format!("{}A", &token[..token.len() - 1]);
    let forged = if forged == token { format!("{}B", &token[..token.len() - 1]) } else { forged };
    let soon = guarded.token("ann", "--ttl 1s");
    for (token, sentence) in [
        ("nonsense", "not a signed JWT"),
        (&forged, "not signed by a key"),
        ("wfk_nobody", "the API key is not known here"),
    ] {
        for (path, headers) in [
            ("/ws".to_owned(), bearer(token).to_vec()),
            ("/ws".to_owned(), offered(token).to_vec()),
            (format!("/ws?access_token={token}"), Vec::new()),
        ] {
            let (code, reason) = guarded.closed(&path, &headers);
            assert_eq!(code, 4501, "{headers:?}");
            assert!(reason.contains(sentence) && !reason.contains(token), "{reason}");
        }
    }
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(guarded.closed("/ws", &bearer(&soon)), (4001, "the token has expired".to_owned()));
    assert_eq!(guarded.closed("/ws", &offered(&soon)).0, 4001);
}

#[test]
fn what_is_no_way_to_send_a_token_is_refused_with_http() {
    let guarded = guarded("http", "[server]\necho = true");
    let basic = guarded.answer("/ws", "Authorization: Basic YTpi");
    assert_eq!(basic, (401, Some("Bearer".to_owned())));
    assert_eq!(guarded.answer("/echo", "X: y"), (401, Some("Bearer".to_owned())), "a stranger's echo");
    let line = format!("Authorization: Bearer {}", guarded.api_key);
    assert_eq!(guarded.answer(&format!("/ws?access_token={}", guarded.api_key), &line).0, 400, "two tokens");
    let alone = format!("Sec-WebSocket-Protocol: bearer.{}", guarded.api_key);
    assert_eq!(guarded.answer("/ws", &alone).0, 400, "no subprotocol to answer with");
}

#[test]
fn a_stranger_may_do_nothing_and_is_sent_away_in_time() {
    let guarded = guarded("strangers", "in_band_ms_max = 3000");
    let token = guarded.token("ann", "");
    let (mut mute, mut late) = (guarded.stranger(), guarded.stranger());
    let began = Instant::now();
    let history = r#"{"op":"history","id":3,"topic":"granted/1"}"#.to_owned();
    let presence = r#"{"op":"presence","id":4,"topic":"open/1"}"#.to_owned();
    for command in [subscribe("open/1"), publish("open/1"), history, presence] {
        assert_eq!(outcome(&mute.ask(&command)), "401", "{command}");
    }
    mute.expect_quiet();
    assert_eq!(outcome(&late.ask(auth(&token))), "ack");
    let mut wrong = guarded.stranger();
    wrong.send(auth("x.y.z"));
    assert_eq!(outcome(&wrong.next()), "401");
    assert_eq!(wrong.read_to_close().1, 4501, "a wrong token in band ends it as one at the handshake does");
    let (messages, code, reason) = mute.read_to_close();
    assert_eq!((messages.len(), code), (0, 4501), "{reason}");
    assert!(reason.contains("auth.in_band_ms_max"), "{reason}");
    let took = began.elapsed();
    assert!((Duration::from_millis(2_000)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert_eq!(outcome(&late.ask(subscribe("open/1"))), "ack", "who said in time stays");
}

#[test]
fn strangers_are_let_in_where_the_operator_says_always() {
    let guarded = guarded("always", "[server]\nallow_anonymous = \"always\"");
    let mut stranger = guarded.stranger();
    for (topic, expected) in [("open/1", "ack"), ("users/1", "403"), ("granted/1", "403")] {
        assert_eq!(outcome(&stranger.ask(subscribe(topic))), expected, "{topic}");
    }
    stranger.send(r#"{"op":"publish","topic":"open/1","data":1}"#);
    let message = stranger.expect("message");
    assert_eq!(message.get("from"), None, "nobody is named: {message}");
    assert_eq!(outcome(&stranger.ask(publish("users/1"))), "403");
}

#[test]
fn grants_hold_for_subscribe_publish_history_and_presence() {
    let guarded = guarded("grants", "");
    let mut ann = guarded.user("ann", "--subscribe granted/1 --publish granted/+");
    let history = |topic: &str| json!({"op": "history", "id": 3, "topic": topic}).to_string();
    let presence = |topic: &str| json!({"op": "presence", "id": 4, "topic": topic}).to_string();
    for (command, expected) in [
        (publish("granted/1"), "ack"),
        (publish("granted/2"), "ack"),
        (publish("granted/2/x"), "403"),
        (publish("users/1"), "ack"),
        (history("granted/1"), "ack"),
        (history("granted/2"), "403"),
        (presence("granted/1"), "ack"),
        (presence("granted/2"), "403"),
        (subscribe("granted/1"), "ack"),
        (subscribe("granted/2"), "403"),
        (subscribe("users/1"), "ack"),
    ] {
        assert_eq!(outcome(&ann.ask(&command)), expected, "{command}");
    }
}

#[test]
fn a_wildcard_gets_what_is_granted_whole_and_what_is_open() {
    let guarded = guarded("wildcards", "");
    let mut some = guarded.user("ann", "--subscribe granted/1");
    let mut all = guarded.user("bob", "--subscribe granted/#");
    for client in [&mut some, &mut all] {
        for filter in ["granted/+", "users/#", "#"] {
            client.subscribe(filter);
        }
    }
    let mut publisher = guarded.user("eve", "--publish #");
    for topic in ["granted/1", "granted/2", "users/1", "open/1"] {
        assert_eq!(outcome(&publisher.ask(publish(topic))), "ack");
    }
    let topics = |client: &mut Client, count: usize| {
        let topic = |_| client.expect("message")["topic"].as_str().expect("a topic").to_owned();
        let mut topics: Vec<_> = (0..count).map(topic).collect();
        client.expect_quiet();
        topics.sort();
        topics
    };
    assert_eq!(topics(&mut some, 2), ["open/1", "users/1"], "one topic of a filter is not the filter");
    assert_eq!(topics(&mut all, 4), ["granted/1", "granted/2", "open/1", "users/1"], "once, by whichever filter");
}

#[test]
fn messages_and_members_bear_the_user() {
    let guarded = guarded("from", "");
    for topic in ["granted/1", "granted/2", "granted/3"] {
        let mut ann = guarded.user("ann", "--subscribe granted/+ --publish granted/+");
        let mut again = guarded.user("ann", "--subscribe granted/#");
        let (mut backend, _) = guarded.welcomed("/ws", &bearer(&guarded.api_key));
        let watch = json!({"op": "subscribe", "id": 1, "topic": topic, "presence": true}).to_string();
        assert_eq!(outcome(&backend.ask(watch)), "ack");
        assert_eq!(backend.expect("join")["member"], json!({"client": backend.name.clone(), "user": "backend"}));
        ann.subscribe(topic);
        assert_eq!(backend.expect("join")["member"]["user"], "ann");
        again.subscribe(topic);
        let page = ann.ask(json!({"op": "presence", "id": 2, "topic": topic}).to_string());
        assert_eq!((&page["users"], &page["connections"]), (&json!(2), &json!(3)), "{page}");
        assert_eq!(outcome(&backend.ask(publish(topic)))[..], *"ack");
        for client in [&mut ann, &mut again, &mut backend] {
            assert_eq!(client.expect("message")["from"], "backend");
        }
        ann.send_binary(format!("{{\"op\":\"publish\",\"topic\":\"{topic}\"}}\nbytes"));
        let (header, bytes) = again.next_binary();
        assert_eq!((&header["from"], &bytes[..]), (&json!("ann"), &b"bytes"[..]));
        backend.next_binary();
        let (first, _) = (again.name.clone(), drop(again));
        // Which of two connections ends first is anybody's guess, so one is awaited.
        let asked = json!({"op": "presence", "id": 3, "topic": topic}).to_string();
        while backend.ask(&*asked)["connections"] != 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(ann);
        let leave = backend.expect("leave");
        assert_eq!(leave["member"]["user"], "ann", "with the last of its connections: {leave}");
        assert_ne!(leave["member"]["client"], first);
    }
}

#[test]
fn a_refresh_keeps_the_connection_and_ends_what_it_grants_no_longer() {
    let guarded = guarded("refresh", "");
    let soon = guarded.token("ann", "--subscribe granted/# --ttl 4s");
    let (mut ann, _) = guarded.welcomed("/ws", &bearer(&soon));
    let (mut lapses, _) = guarded.welcomed("/ws", &bearer(&soon));
    let began = Instant::now();
    for topic in ["granted/1", "granted/2", "open/1"] {
        ann.subscribe(topic);
    }
    let ack = ann.ask(auth(&guarded.token("ann", "--subscribe granted/2")));
    assert_eq!(ack, json!({"op": "ack", "id": "auth", "user": "ann"}));
    let ended = ann.expect("error");
    assert_eq!((&ended["code"], ended.get("id")), (&json!(403), None), "{ended}");
    assert!(ended["topic"].is_string(), "{ended}");
    assert!(ended["reason"].as_str().is_some_and(|reason| reason.contains("granted/1")), "{ended}");
    assert_eq!(outcome(&ann.ask(auth("x.y.z"))), "401", "a wrong refresh costs an error");
    assert_eq!(outcome(&ann.ask(auth(&guarded.token("bob", "")))), "403", "and another user is none");
    let (messages, code, _) = lapses.read_to_close();
    assert_eq!((messages.len(), code), (0, 4001));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let (mut backend, _) = guarded.welcomed("/ws", &bearer(&guarded.api_key));
    for topic in ["granted/1", "granted/2", "open/1"] {
        assert_eq!(outcome(&backend.ask(publish(topic))), "ack");
    }
    let got = [(); 2].map(|()| ann.expect("message")["topic"].as_str().expect("a topic").to_owned());
    assert!(got.contains(&"granted/2".to_owned()) && got.contains(&"open/1".to_owned()), "{got:?}");
    ann.expect_quiet();
}

#[test]
fn a_stranger_who_says_who_it_is_leaves_and_joins_as_the_user() {
    let guarded = guarded("becomes", "[server]\nallow_anonymous = \"always\"");
    let (mut watcher, mut peer) = (guarded.stranger(), guarded.stranger());
    watcher.ask(r#"{"op":"subscribe","id":1,"topic":"open/1","presence":true}"#);
    assert_eq!(watcher.expect("join")["member"]["client"], watcher.name.as_str());
    peer.subscribe("open/1");
    let member = |user: Value| json!({"client": peer.name.clone(), "user": user});
    let (stranger, ann) = (member(Value::Null), member(json!("ann")));
    assert_eq!(watcher.expect("join")["member"], stranger);
    assert_eq!(outcome(&peer.ask(auth(&guarded.token("ann", "")))), "ack");
    assert_eq!(watcher.expect("leave")["member"], stranger);
    assert_eq!(watcher.expect("join")["member"], ann);
    watcher.expect_quiet();
    watcher.send(r#"{"op":"publish","topic":"open/1","data":1,"echo":false}"#);
    assert_eq!(peer.expect("message")["data"], 1, "its subscription went on");
}

#[test]
fn without_auth_a_token_is_of_no_interest_and_the_op_is_unknown() {
    let broker = Broker::start(&[]);
    let mut client = Client::open(&broker, "/ws", &bearer("whatever"));
    assert_eq!(client.expect("welcome")["user"], Value::Null);
    assert_eq!(outcome(&client.ask(auth("x.y.z"))), "404");
}
