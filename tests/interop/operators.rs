//! What operators see and end, from outside: lists over all cores, 4503, and nobody else may.

use serde_json::Value;

use crate::auth::{Guarded, guarded};
use crate::common::client::Client;
use crate::common::raw::{Answer, Raw};
use crate::common::{Broker, PATIENCE};

struct Operator {
    raw: Raw,
    token: String,
}

impl Operator {
    fn new(guarded: &Guarded) -> Self {
        Self { raw: Raw::dial(&guarded.broker), token: guarded.token("root", "--operate") }
    }

    fn ask(&mut self, line: &str) -> Answer {
        let token = &self.token;
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.raw.write(request.as_bytes());
        self.raw.response()
    }

    /// All that a list has, page by page.
    fn list(&mut self, path: &str, name: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.ask(&format!("GET {path}{after}")).json();
            all.extend(page[name].as_array().expect("a list").iter().cloned());
            let Some(next) = page["next"].as_str() else { return all };
            after = format!("&after={next}");
        }
    }
}

#[test]
fn topics_and_connections_of_all_cores_are_listed_page_by_page() {
    let guarded = guarded("operators-list", "");
    let mut operator = Operator::new(&guarded);
    let mut users: Vec<Client> = (0..6).map(|number| guarded.user(&format!("user-{number}"), "--publish #")).collect();
    for (number, user) in users.iter_mut().enumerate() {
        user.subscribe("all");
        user.ask(format!(r#"{{"op":"publish","id":1,"topic":"own/{number}","data":1}}"#));
    }
    let mut topics: Vec<_> = operator.list("/v1/topics?limit=2", "topics");
    topics.sort_by_key(|item| item["topic"].to_string());
    let names: Vec<_> = topics.iter().map(|item| item["topic"].as_str().expect("a name")).collect();
    assert_eq!(names, ["all", "own/0", "own/1", "own/2", "own/3", "own/4", "own/5"]);
    assert_eq!((&topics[0]["subscribers"], &topics[0]["presence"]["users"]), (&6.into(), &6.into()));
    assert!(topics[1]["position"].as_str().expect("a position").ends_with(":1"));
    assert_eq!(operator.list("/v1/topics?filter=own/3", "topics").len(), 1);
    let connections = operator.list("/v1/connections?limit=2", "connections");
    assert_eq!(connections.len(), 7, "the operator's, too: {connections:?}");
    for (number, user) in users.iter().enumerate() {
        let own = operator.list(&format!("/v1/connections?user=user-{number}"), "connections");
        assert_eq!((own.len(), &own[0]["client"]), (1, &user.name.as_str().into()));
        assert_eq!((&own[0]["transport"], &own[0]["subscriptions"]), (&"websocket".into(), &1.into()));
    }
}

#[test]
fn an_operator_ends_a_connection_or_all_of_a_user_with_4503() {
    let guarded = guarded("operators-end", "");
    let mut operator = Operator::new(&guarded);
    let mut anns: Vec<Client> = (0..4).map(|_| guarded.user("ann", "")).collect();
    let mut bob = guarded.user("bob", "");
    let first = anns.remove(0);
    let path = format!("/v1/connections/{}", first.name);
    assert_eq!(operator.ask(&format!("GET {path}")).json()["user"], "ann");
    assert_eq!(operator.ask(&format!("DELETE {path}")).status(), 204);
    assert_eq!(operator.ask(&format!("DELETE {path}")).status(), 404);
    assert_eq!(operator.ask("DELETE /v1/connections?user=ann").json()["disconnected"], 3);
    for mut ann in anns.into_iter().chain([first]) {
        let (messages, code, reason) = ann.read_to_close();
        assert_eq!((messages.len(), code, &*reason), (0, 4503, "ended by an operator"));
    }
    bob.expect_quiet();
}

#[test]
fn nobody_else_may_and_where_nobody_is_known_neighbours_may_look() {
    let guarded = guarded("operators-refused", "");
    let mut user = Operator { raw: Raw::dial(&guarded.broker), token: guarded.token("ann", "--publish #") };
    let open = Broker::start(&[]);
    for line in ["GET /v1/topics", "GET /v1/connections", "DELETE /v1/connections?user=ann"] {
        let answer = user.ask(line);
        let scope = answer.header("www-authenticate");
        assert_eq!((answer.status(), scope), (403, Some("Bearer error=\"insufficient_scope\"")), "{line}");
        let request = format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        assert_eq!(Raw::request(&guarded.broker, &request).status(), 401, "{line}");
        let looks = if line.starts_with("GET") { 200 } else { 403 };
        assert_eq!(Raw::request(&open, &request).status(), looks, "{line}");
    }
}

#[test]
fn a_stream_of_events_is_told_why_it_ends() {
    let guarded = guarded("operators-stream", "");
    let (mut operator, token) = (Operator::new(&guarded), guarded.token("ann", ""));
    let mut stream = Raw::dial(&guarded.broker);
    let request =
        format!("GET /v1/events?topic=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write(request.as_bytes());
    assert!(stream.hears_within(PATIENCE));
    let list = operator.list("/v1/connections?user=ann", "connections");
    assert_eq!((list.len(), &list[0]["transport"]), (1, &"events".into()));
    assert_eq!(operator.ask("DELETE /v1/connections?user=ann").json()["disconnected"], 1);
    let told = String::from_utf8(stream.read_to_end()).expect("text");
    let goodbye = "event: close\ndata: {\"op\":\"close\",\"code\":4503,\"reason\":\"ended by an operator\"}\n\n";
    assert!(told.ends_with(goodbye), "{told}");
}
