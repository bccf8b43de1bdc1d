//! What operators see and end: lists over all shards, page by page, revocation, and that neither keeps anybody waiting.

use std::collections::BTreeSet;

use serde_json::Value;

use super::api::{Answer, JSON, request};
use super::identity::verifier;
use super::*;
use crate::auth::{Credentials, Wish};
use crate::config::AllowAnonymous;
use crate::rules::{Access, History, Rule};

/// A broker of two shards where strangers are welcome and operators known; `kept/#` has a history and presence.
fn world() -> World {
    world_of(2, 4)
}

pub(super) fn world_of(shards: usize, ring: usize) -> World {
    let credentials = Arc::new(Credentials { tokens: verifier(), ..Credentials::default() });
    World::guarded(shards, ring, Some(credentials), |config| {
        config.server.allow_anonymous = AllowAnonymous::Always;
        let rule = |filter: &str| Rule { filter: filter.to_owned(), ..Rule::default() };
        let history = Some(History { count: 10, age_s: 20 });
        config.rules = vec![
            Rule { history, presence: true, ..rule("kept/#") },
            Rule { publish: Access::Nobody, ..rule("mute/#") },
        ];
    })
}

pub(super) fn token(user: &str, operate: bool) -> String {
    let wish = Wish { user, subscribe: &[], publish: &[], operate, now_unix_s: BEGAN_UNIX_S, ttl_s: 3_600 };
    verifier().issue(&wish, None).expect("a valid wish")
}

pub(super) fn bearer(user: &str, operate: bool) -> String {
    format!("Authorization: Bearer {}\r\n", token(user, operate))
}

impl World {
    /// An operator asks, on a connection of its own.
    fn ask_as_operator(&mut self, operator: usize, line: &str) -> Answer {
        self.request(operator, line, &bearer("root", true), b"")
    }

    /// All pages of a list.
    fn pages(&mut self, operator: usize, path: &str, name: &str) -> Vec<Vec<Value>> {
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let answer = self.ask_as_operator(operator, &format!("GET {path}{after}"));
            assert_eq!(answer.status, 200, "{answer:?}");
            let page = answer.json();
            pages.push(page[name].as_array().expect("a list").clone());
            let Some(next) = page["next"].as_str() else { return pages };
            after = format!("&after={next}");
        }
    }

    fn name_of(&self, peer: usize) -> String {
        let Peer { shard, id, .. } = self.peers[peer];
        self.shards[shard].client_of(id).to_string()
    }

    fn publish(&mut self, peer: usize, topic: &str) {
        self.say(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
    }
}

const CALLS: [&str; 5] = [
    "GET /v1/topics",
    "GET /v1/connections",
    "GET /v1/connections/0-0-0",
    "DELETE /v1/connections/1-7-0",
    "DELETE /v1/connections?user=ann",
];

#[test]
fn only_operators_may_and_without_auth_neighbours_may_look() {
    let mut world = world();
    let peer = world.accept(0);
    for line in CALLS {
        let answer = world.request(peer, line, "", b"");
        assert!(answer.status == 401 && answer.head.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{line} {answer:?}");
        let answer = world.request(peer, line, &bearer("ann", false), b"");
        assert!(answer.status == 403 && answer.head.contains("error=\"insufficient_scope\""), "{line} {answer:?}");
        let answer = world.ask_as_operator(peer, line);
        assert!(matches!(answer.status, 200 | 404), "{line} {answer:?}");
    }
    world.leave();
    for (listen, anonymous, may_look) in [
        ("127.0.0.1:80", AllowAnonymous::Loopback, true),
        ("[::1]:80", AllowAnonymous::Always, true),
        ("127.0.0.1:80", AllowAnonymous::Never, false),
        ("0.0.0.0:80", AllowAnonymous::Loopback, false),
        ("0.0.0.0:80", AllowAnonymous::Always, false),
    ] {
        let mut open = World::with(2, 4, |config| {
            config.server.listen.push(listen.parse().expect("an address"));
            config.metrics.allow_anonymous = anonymous;
        });
        let peer = open.accept(0);
        for line in CALLS {
            let answer = open.request(peer, line, "", b"");
            if may_look && line.starts_with("GET") {
                assert!(matches!(answer.status, 200 | 404), "{listen} {anonymous:?} {line} {answer:?}");
            } else {
                assert_eq!(answer.status, 403, "{listen} {anonymous:?} {line}");
                assert!(answer.json()["detail"].as_str().expect("a sentence").contains("[auth]"));
            }
        }
        open.leave();
    }
}

#[test]
fn topics_are_listed_wherever_they_live_with_what_they_have() {
    let mut world = world();
    let (operator, one, other) = (world.accept(0), world.open(0), world.open(1));
    for home in 0..2 {
        let topic = world.topic_at(home).replace("chat", "kept");
        world.tell(one, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        world.tell(other, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        world.tell(other, r#"{"op":"subscribe","topic":"kept/#"}"#);
        world.publish(one, &topic);
        world.publish(one, &topic);
        world.settle();
        for path in [format!("/v1/topics?filter={topic}"), "/v1/topics?filter=kept/%23".to_owned()] {
            let pages = world.pages(operator, &path, "topics");
            let found = pages.concat().into_iter().find(|item| item["topic"] == *topic).expect("it is listed");
            assert!(found["position"].as_str().expect("a position").ends_with(":2"), "{found}");
            assert_eq!((&found["subscribers"], &found["history"]["messages"]), (&2.into(), &2.into()), "{found}");
            assert_eq!((&found["presence"]["users"], &found["presence"]["connections"]), (&0.into(), &2.into()));
        }
    }
    world.publish(one, "bare/1");
    world.publish(one, "mute/1");
    world.settle();
    let listed: Vec<Value> = world.pages(operator, "/v1/topics?", "topics").concat();
    let bare = listed.iter().find(|item| item["topic"] == "bare/1").expect("it was published to");
    assert_eq!((&bare["history"], &bare["presence"], &bare["subscribers"]), (&Value::Null, &Value::Null, &0.into()));
    assert_eq!(listed.len(), 3, "a name that was only refused is no topic: {listed:?}");
    for peer in [operator, one, other] {
        world.reset(peer);
    }
    world.pass(21_000);
    world.leave();
}

#[test]
fn whoever_stays_is_on_exactly_one_page() {
    let mut world = world();
    let (operator, publisher) = (world.accept(1), world.open(0));
    let names: BTreeSet<String> = (0..50).map(|number| format!("many/{number}")).collect();
    names.iter().for_each(|name| world.publish(publisher, name));
    world.settle();
    for limit in [1, 7, 50, 1_000] {
        let pages = world.pages(operator, &format!("/v1/topics?filter=many/%2B&limit={limit}"), "topics");
        assert!(pages.iter().all(|page| page.len() <= limit));
        let listed: Vec<String> =
            pages.concat().iter().map(|item| item["topic"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(listed.len(), 50);
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
    }
    let others: Vec<usize> = (0..20).map(|number| world.open(number % 2)).collect();
    let mut expected: BTreeSet<String> = others.iter().map(|peer| world.name_of(*peer)).collect();
    expected.extend([operator, publisher].map(|peer| world.name_of(peer)));
    for limit in [1, 3, 1_000] {
        let pages = world.pages(operator, &format!("/v1/connections?limit={limit}"), "connections");
        let listed: Vec<String> =
            pages.concat().iter().map(|item| item["client"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(listed.len(), expected.len());
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    world.leave();
}

#[test]
fn connections_are_told_by_user_transport_age_and_load() {
    let mut world = world();
    let operator = world.accept(0);
    let ann = world.open_with(1, &token("ann", false));
    world.pass(5_000);
    world.tell(ann, r#"{"op":"subscribe","topic":"a"}"#);
    world.tell(ann, r#"{"op":"subscribe","topic":"b/#"}"#);
    world.peers[ann].room = 0;
    world.publish(ann, "a");
    world.settle();
    let list = world.pages(operator, "/v1/connections?user=ann", "connections").concat();
    let [item] = &list[..] else { panic!("one connection: {list:?}") };
    assert_eq!((&item["user"], &item["transport"]), (&"ann".into(), &"websocket".into()));
    assert_eq!((&item["subscriptions"], &item["age_s"]), (&2.into(), &5.into()));
    assert!(item["pending_bytes"].as_u64().expect("a number") > 0);
    let name = world.name_of(ann);
    let alone = world.ask_as_operator(operator, &format!("GET /v1/connections/{name}"));
    assert_eq!(alone.json(), *item);
    let own = world.pages(operator, "/v1/connections?user=root", "connections").concat();
    assert_eq!((own.len(), &own[0]["transport"]), (1, &"http".into()));
    assert!(world.pages(operator, "/v1/connections?user=nobody", "connections").concat().is_empty());
    world.leave();
}

#[test]
fn an_ended_connection_hears_4503_and_nothing_of_what_waited() {
    for shard in 0..2 {
        let mut world = world();
        let (operator, ann) = (world.accept(0), world.open(shard));
        world.tell(ann, r#"{"op":"subscribe","topic":"a"}"#);
        world.peers[ann].room = 0;
        world.publish(ann, "a");
        world.settle();
        let path = format!("/v1/connections/{}", world.name_of(ann));
        let answer = world.ask_as_operator(operator, &format!("DELETE {path}"));
        assert!(answer.status == 204 && !answer.head.contains("Content-Length"), "{answer:?}");
        for method in ["GET", "DELETE"] {
            assert_eq!(world.ask_as_operator(operator, &format!("{method} {path}")).status, 404, "it has ended");
        }
        let other = world.open(1);
        world.publish(other, "a");
        world.writable(ann, usize::MAX);
        world.settle();
        assert_eq!(world.hear(ann), ["close 4503"]);
        world.end(ann);
        world.settle();
        assert_eq!(world.closed(CloseReason::Revoked), 1);
        world.leave();
    }
}

#[test]
fn a_user_is_revoked_on_all_shards_and_whoever_asks_is_answered() {
    let mut world = world();
    let operator = world.accept(0);
    let anns = [0, 1, 1].map(|shard| world.open_with(shard, &token("ann", false)));
    let (bob, stranger) = (world.open_with(1, &token("bob", false)), world.open(0));
    let backend = world.accept(1);
    assert_eq!(
        world.request(backend, "POST /v1/publish?topic=a", &format!("{JSON}{}", bearer("ann", false)), b"1").status,
        200
    );
    let answer = world.ask_as_operator(operator, "DELETE /v1/connections?user=ann");
    assert_eq!((answer.status, &answer.json()["disconnected"]), (200, &4.into()));
    for ann in anns {
        assert_eq!(world.hear(ann), ["close 4503"]);
    }
    assert!(world.peers[backend].dropped, "a connection of HTTP just ends");
    assert!(world.hear(bob).is_empty() && world.hear(stranger).is_empty());
    let other = world.accept(1);
    world.ask_as_operator(other, "GET /v1/topics");
    let answer = world.ask_as_operator(operator, "DELETE /v1/connections?user=root");
    assert_eq!(answer.json()["disconnected"], 1, "all but the one that asks");
    assert!(world.peers[other].dropped && !world.peers[operator].dropped);
    let own = world.name_of(operator);
    let answer = world.ask_as_operator(operator, &format!("DELETE /v1/connections/{own}"));
    assert!(answer.status == 204 && answer.head.contains("\r\nConnection: close\r\n"), "{answer:?}");
    anns.into_iter().for_each(|ann| world.end(ann));
    world.end(operator);
    world.settle();
    assert_eq!(world.closed(CloseReason::Revoked), 6);
    world.leave();
}

#[test]
fn streams_and_polls_are_listed_and_ended_like_everybody() {
    let mut world = world();
    let operator = world.accept(0);
    let (stream, poll) = (world.accept(1), world.accept(0));
    world.send(stream, &request("GET /v1/events?topic=a", &bearer("ann", false), b""));
    world.send(poll, &request("GET /v1/poll?topic=a&wait=60", &bearer("ann", false), b""));
    world.settle();
    let mut transports: Vec<String> = world
        .pages(operator, "/v1/connections?user=ann", "connections")
        .concat()
        .iter()
        .map(|item| format!("{} {}", item["transport"].as_str().expect("a name"), item["subscriptions"]))
        .collect();
    transports.sort();
    assert_eq!(transports, ["events 1", "poll 1"]);
    assert_eq!(world.pages(operator, "/v1/topics?filter=a", "topics").concat()[0]["subscribers"], 2);
    let answer = world.ask_as_operator(operator, "DELETE /v1/connections?user=ann");
    assert_eq!(answer.json()["disconnected"], 2);
    let told = String::from_utf8_lossy(&world.peers[stream].got).into_owned();
    let goodbye = "event: close\ndata: {\"op\":\"close\",\"code\":4503,\"reason\":\"ended by an operator\"}\n\n";
    assert!(told.ends_with(goodbye) && world.peers[stream].shut, "{told}");
    assert!(world.peers[poll].dropped);
    world.end(stream);
    world.settle();
    assert_eq!(world.closed(CloseReason::Revoked), 2);
    world.leave();
}

#[test]
fn whoever_stays_is_on_exactly_one_page_whoever_else_comes_and_goes() {
    let mut world = world();
    let operator = world.accept(0);
    let stay: Vec<usize> = (0..30).map(|number| world.open(number % 2)).collect();
    let mut others: Vec<usize> = (0..30).map(|number| world.open(number % 2)).collect();
    let (mut seen, mut after) = (Vec::new(), String::new());
    for turn in 0.. {
        let page = world.ask_as_operator(operator, &format!("GET /v1/connections?limit=4{after}")).json();
        let names = page["connections"].as_array().expect("a list").iter();
        seen.extend(names.map(|item| item["client"].as_str().expect("a name").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
        for step in 0..3 {
            let gone = others.swap_remove(turn * 7 % others.len());
            world.reset(gone);
            others.push(world.open((turn + step) % 2));
        }
    }
    for peer in stay {
        let name = world.name_of(peer);
        assert_eq!(seen.iter().filter(|other| **other == name).count(), 1, "{name} in {seen:?}");
    }
    world.leave();
}

#[test]
fn what_is_no_question_is_refused() {
    let mut world = world();
    let operator = world.accept(0);
    for (line, status) in [
        ("GET /v1/topics?filter=a//b", 400),
        ("GET /v1/topics?limit=0", 400),
        ("GET /v1/topics?limit=1001", 400),
        ("GET /v1/topics?after=0", 400),
        ("GET /v1/topics?after=99-ffff", 200),
        ("GET /v1/connections?user=", 400),
        ("DELETE /v1/connections", 400),
        ("DELETE /v1/connections?user=%00", 400),
        ("GET /v1/connections/nobody", 404),
        ("GET /v1/connections/2-0-0", 404),
        ("DELETE /v1/connections/ffff-0-0", 404),
        ("DELETE /v1/connections/0-0-0/x", 404),
        ("DELETE /v1/connections/", 404),
        ("DELETE /v1/topics", 405),
        ("POST /v1/connections", 405),
        ("PUT /v1/publish", 405),
        ("OPTIONS /v1/connections/0-0-0", 204),
    ] {
        let answer = world.ask_as_operator(operator, line);
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        assert_eq!(answer.head.contains("\r\nAllow: "), matches!(status, 405 | 204), "{line}: {answer:?}");
    }
    world.leave();
}

#[test]
fn a_question_about_very_many_is_answered_over_turns_and_holds_nobody_up() {
    let mut world = world();
    let (operator, publisher, subscriber) = (world.accept(0), world.open(0), world.open(0));
    let topics = 5 * limits::SWEEP_SLOTS_PER_TURN;
    for from in (0..topics).step_by(500) {
        let each = (from..from + 500).map(|number| format!(r#"{{"op":"publish","topic":"t/{number}","data":1}}"#));
        world.say(publisher, &format!("[{}]", each.collect::<Vec<_>>().join(",")));
        world.settle();
    }
    let (topic, shards) = (world.topic_at(0), world.shards.len());
    world.tell(subscriber, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
    world.send(operator, &request("GET /v1/topics?filter=t/%2B/nothing", &bearer("root", true), b""));
    let mut turns = 0;
    while world.answers(operator).is_empty() {
        turns += 1;
        world.publish(publisher, &topic);
        (0..shards).for_each(|shard| world.turn(shard));
        assert_eq!(world.hear(subscriber).len(), 1, "in the very turn in which it was published");
        assert!(world.shards[0].has_work() || turns >= 3, "it does not sleep over it");
    }
    assert!(turns >= topics / shards / limits::SWEEP_SLOTS_PER_TURN, "{turns} turns for {topics} topics");
    world.leave();
}

#[test]
fn whoever_asks_and_goes_leaves_nothing_behind() {
    for line in CALLS {
        let mut world = world();
        let (operator, ann) = (world.accept(0), world.open_with(1, &token("ann", false)));
        world.publish(ann, "a");
        world.send(operator, &request(line, &bearer("root", true), b""));
        world.reset(operator);
        world.settle();
        world.leave();
    }
}

#[test]
fn a_stop_in_the_middle_of_a_question_leaves_nothing_behind() {
    for line in CALLS {
        for turns in 0..4 {
            let mut world = world();
            let (operator, ann) = (world.accept(0), world.open_with(1, &token("ann", false)));
            world.publish(ann, "a");
            world.settle();
            world.send(operator, &request(line, &bearer("root", true), b""));
            (0..turns).for_each(|turn| world.turn(turn % 2));
            world.shards.iter_mut().for_each(Shard::handle_stop);
            world.settle();
            for peer in [operator, ann].into_iter().filter(|peer| !world.peers[*peer].dropped).collect::<Vec<_>>() {
                world.end(peer);
            }
            world.settle();
            assert!(world.shards.iter().all(Shard::is_stopped), "{line} after {turns} turns");
            world.assert_empty();
        }
    }
}

#[test]
fn so_many_ask_at_once_and_no_more() {
    let mut world = world_of(3, 1);
    let operators: Vec<usize> = (0..=limits::SURVEYS_MAX).map(|_| world.accept(0)).collect();
    for operator in &operators {
        world.send(*operator, &request("GET /v1/topics", &bearer("root", true), b""));
    }
    world.settle();
    let answers: Vec<Answer> = operators.iter().map(|operator| world.answers(*operator).remove(0)).collect();
    let (last, others) = answers.split_last().expect("some");
    assert!(others.iter().all(|answer| answer.status == 200));
    assert!(last.status == 429 && last.head.contains("\r\nRetry-After: 1\r\n"), "{last:?}");
    world.leave();
}
