//! Other rules and other keys while connections live: who notices, who does not, and that shards need not agree meanwhile.

use super::*;
use crate::auth::{Algorithm, ApiKeys, Expectations, Key, Keyring, NewApiKey, Verifier, Wish};
use crate::config::AllowAnonymous;
use crate::rules::{Access, History, Rule};

pub(super) fn rule(filter: &str) -> Rule {
    Rule { filter: filter.to_owned(), ..Rule::default() }
}

fn room(presence: bool) -> Rule {
    Rule { presence, ..rule("room/#") }
}

/// Takes what the keys of these names sign, and the API keys of this file.
fn credentials(kids: &[&str], api_keys: &str) -> Option<Arc<Credentials>> {
    let mut ring = Keyring::default();
    for kid in kids {
        let secret = kid.repeat(32);
        ring.add(Key::from_secret(Algorithm::Hs256, Some(kid), secret.as_bytes()).expect("long enough")).expect("few");
    }
    let tokens = Verifier::new(ring, Expectations::default());
    Some(Arc::new(Credentials { tokens, api_keys: ApiKeys::parse(api_keys).expect("a file") }))
}

/// Ann's token, signed with the key of this name; it grants all.
fn token(kid: &str) -> String {
    let all = ["#".to_owned()];
    let (now_unix_s, ttl_s) = (BEGAN_UNIX_S, 3_600);
    let wish = Wish { user: "ann", subscribe: &all, publish: &all, operate: false, now_unix_s, ttl_s };
    credentials(&[kid], "").expect("some").tokens.issue(&wish, None).expect("a valid wish")
}

/// An API key of these random bytes, and its line.
fn api_key(random: u8, subscribe: &[&str]) -> NewApiKey {
    let subscribe: Vec<_> = subscribe.iter().map(|&filter| filter.to_owned()).collect();
    NewApiKey::new("backend", &subscribe, &["#".to_owned()], false, [random; 32]).expect("valid")
}

impl World {
    fn ruled(shards: usize, rules: Vec<Rule>) -> Self {
        Self::with(shards, 4, |config| config.rules = rules)
    }

    /// The settings that the first shard has, changed.
    fn settings(&self, change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = (*self.shards[0].settings).clone();
        change(&mut settings);
        settings
    }

    fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        let settings = self.settings(change);
        self.shards.iter_mut().for_each(|shard| shard.handle_reload(&settings));
        self.settle();
    }

    pub(super) fn rule(&mut self, rules: Vec<Rule>) {
        self.reload(|settings| settings.config.rules = rules);
    }

    fn identified(&mut self, shard: usize, credential: &str) -> usize {
        let peer = self.accept(shard);
        let header = format!("\r\nAuthorization: Bearer {credential}\r\n\r\n");
        self.send(peer, UPGRADE.replace("\r\n\r\n", &header).as_bytes());
        self.settle();
        assert!(self.hear_head(peer).starts_with("HTTP/1.1 101 "));
        assert_eq!(self.hear(peer), ["welcome"]);
        peer
    }

    fn ask_of(&mut self, peer: usize, json: &str) -> Vec<String> {
        self.tell(peer, json);
        self.hear(peer)
    }
}

fn subscribe(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}"}}"#)
}

fn told(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}","presence":true}}"#)
}

fn publish(topic: &str) -> String {
    format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#)
}

const TOPICS: [&str; 4] = ["room/a", "room/b", "room/c", "room/d"];

#[test]
fn whom_a_new_rule_does_not_admit_loses_the_subscription_and_is_told() {
    let mut world = World::ruled(2, vec![]);
    let (both, wild) = (world.open(0), world.open(1));
    for topic in TOPICS.iter().chain(&["open"]) {
        assert_eq!(world.ask_of(both, &subscribe(topic)), [format!("ack 1 {topic} @0")]);
    }
    world.tell(wild, &subscribe("#"));
    world.hear(wild);
    world.rule(vec![Rule { subscribe: Access::Nobody, ..rule("room/#") }]);
    let mut heard = world.hear(both);
    heard.sort();
    assert_eq!(heard, ["error null 403"; 4]);
    assert_eq!(world.hear(wild), [""; 0], "a wildcard stays, and gets what it may");
    TOPICS.iter().chain(&["open"]).for_each(|topic| world.tell(both, &publish(topic)));
    assert_eq!(world.hear(both), ["open:1 1"]);
    assert_eq!(world.hear(wild), ["open:1 1"]);
    assert_eq!(world.ask_of(both, &subscribe("room/a")), ["error 1 403"]);
    world.rule(vec![]);
    assert_eq!(world.ask_of(both, &subscribe("room/a")), ["ack 1 room/a @1"]);
    world.leave();
}

#[test]
fn who_may_publish_changes_with_the_rule() {
    let mut world = World::ruled(2, vec![]);
    let peer = world.open(0);
    let publish = |topic: &str| format!(r#"{{"op":"publish","id":2,"topic":"{topic}","data":1}}"#);
    for topic in TOPICS {
        assert_eq!(world.ask_of(peer, &publish(topic)), [format!("ack 2 {topic} @1")]);
    }
    world.rule(vec![rule("x"), Rule { publish: Access::Nobody, ..rule("room/#") }]);
    for topic in TOPICS {
        assert_eq!(world.ask_of(peer, &publish(topic)), ["error 2 403"]);
    }
    assert_eq!(world.ask_of(peer, &publish("y")), ["ack 2 y @1"]);
    world.rule(vec![rule("x")]);
    for topic in TOPICS {
        assert_eq!(world.ask_of(peer, &publish(topic)), [format!("ack 2 {topic} @2")], "the counter goes on");
    }
    world.leave();
}

#[test]
fn subscribers_become_members_where_presence_begins_and_none_where_it_ends() {
    let mut world = World::ruled(3, vec![]);
    let (near, far) = (world.open(0), world.open(1));
    for topic in TOPICS {
        world.tell(near, &subscribe(topic));
        world.tell(far, &subscribe(topic));
    }
    assert_eq!((world.hear(near).len(), world.hear(far).len(), world.members()), (4, 4, 0));
    world.rule(vec![room(true)]);
    assert_eq!((world.hear(near), world.hear(far), world.members()), (vec![], vec![], 8), "nobody notices");
    let watch = world.open(2);
    assert_eq!(world.ask_of(watch, &told("room/a")).len(), 2, "the ack, and its own join");
    world.reset(far);
    world.settle();
    assert_eq!(world.members(), 5);
    assert_eq!(world.hear(watch).len(), 1, "who left");
    world.rule(vec![room(false)]);
    assert_eq!((world.hear(watch), world.members()), (vec!["error null 404".to_owned()], 0));
    assert_eq!(world.ask_of(watch, &publish("room/a")), ["room/a:1 1"], "it still subscribes");
    assert_eq!(world.ask_of(watch, &told("room/a")), ["error 1 404"]);
    world.rule(vec![room(true)]);
    assert_eq!((world.hear(near), world.members()), (vec!["room/a:1 1".to_owned()], 5));
    assert_eq!(world.ask_of(watch, &told("room/a")), ["ack 1 room/a @1"]);
    world.leave();
}

#[test]
fn shards_that_reload_one_after_the_other_lose_no_member_and_keep_none() {
    // In every order of three shards, with somebody who comes, stays or leaves between any two of them.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::ruled(3, vec![room(true)]);
        let (stays, comes) = (world.open(0), world.open(1));
        TOPICS.iter().for_each(|topic| world.tell(stays, &subscribe(topic)));
        for presence in [false, true, false, true, true, false, true] {
            let settings = world.settings(|settings| settings.config.rules = vec![room(presence)]);
            for shard in order {
                // On their way while the shard and the homes know different rules.
                for topic in TOPICS {
                    world.say(comes, &subscribe(topic));
                }
                world.shards[shard].handle_reload(&settings);
                for topic in TOPICS {
                    world.say(comes, &format!(r#"{{"op":"unsubscribe","topic":"{topic}"}}"#));
                }
                if shard == 2 {
                    world.settle();
                }
                world.say(comes, &subscribe("room/a"));
            }
            world.settle();
            let expected = if presence { 5 } else { 0 };
            assert_eq!(world.members(), expected, "{order:?} {presence}");
            world.tell(comes, r#"{"op":"unsubscribe","topic":"room/a"}"#);
            assert_eq!(world.members(), if presence { 4 } else { 0 }, "{order:?} {presence}");
        }
        assert_eq!(world.hear(stays), TOPICS.map(|topic| format!("ack 1 {topic} @0")));
        world.leave();
    }
}

#[test]
fn a_subscribe_behind_one_that_is_refused_holds_once_it_is_acknowledged() {
    // The shard of the subscriber still knows presence, the homes do not any more.
    let mut world = World::ruled(2, vec![room(true)]);
    let (peer, publisher) = (world.open(0), world.open(1));
    let settings = world.settings(|settings| settings.config.rules = vec![room(false)]);
    world.shards[1].handle_reload(&settings);
    let mut names = (0..).map(|number| format!("room/{number}"));
    let topic = names.find(|name| world.shards[0].home_of(Topic::known(name)) == ShardId(1)).expect("some");
    for (id, presence) in [(1, true), (2, false), (3, true), (4, false)] {
        world.say(peer, &format!(r#"{{"op":"subscribe","id":{id},"topic":"{topic}","presence":{presence}}}"#));
    }
    world.settle();
    let acks = [2, 4].map(|id| format!("ack {id} {topic} @0"));
    let mut heard = world.hear(peer);
    heard.sort();
    assert_eq!(heard, [acks[0].as_str(), &acks[1], "error 1 404", "error 3 404"]);
    world.tell(publisher, &publish(&topic));
    assert_eq!(world.hear(peer), [format!("{topic}:1 1")]);
    world.shards[0].handle_reload(&settings);
    world.settle();
    assert_eq!(world.members(), 0);
    world.leave();
}

#[test]
fn history_is_cut_to_the_new_rule_and_begins_where_one_is_given() {
    let kept = |count, age_s| Rule { history: Some(History { count, age_s }), ..rule("room/#") };
    let mut world = World::ruled(2, vec![kept(100, 3_600)]);
    let peer = world.open(0);
    let list = |world: &mut World| {
        world.tell(peer, r#"{"op":"history","id":3,"topic":"room/a"}"#);
        world.hear(peer)
    };
    (0..10).for_each(|_| world.tell(peer, &publish("room/a")));
    let whole = list(&mut world);
    let bytes = |world: &World| world.shards.iter().map(|shard| shard.kept().bytes).sum::<usize>();
    world.rule(vec![kept(3, 3_600)]);
    let three = list(&mut world);
    assert!(three[0].len() < whole[0].len(), "{three:?}");
    world.rule(vec![kept(100, 3_600)]);
    assert_eq!(list(&mut world), three, "what was forgotten does not come back");
    world.rule(vec![kept(100, 10)]);
    world.pass(11_000);
    assert_eq!(bytes(&world), 0, "by the new age, not the old one");
    world.tell(peer, &publish("room/a"));
    world.rule(vec![]);
    assert_eq!((list(&mut world), bytes(&world)), (vec!["error 3 404".to_owned()], 0));
    world.tell(peer, &publish("room/a"));
    world.rule(vec![kept(1, 3_600)]);
    world.tell(peer, &publish("room/a"));
    assert!(bytes(&world) > 0);
    world.tell(peer, r#"{"op":"subscribe","id":1,"topic":"room/a","last":5}"#);
    assert_eq!(world.hear(peer), ["ack 1 room/a @13", "room/a:13 1"]);
    world.rule(vec![]);
    world.leave();
}

#[test]
fn whose_key_is_gone_is_closed_with_4501_and_nobody_else_notices() {
    let mut world = World::guarded(2, 4, credentials(&["a", "b"], ""), |config| {
        config.rules = vec![Rule { subscribe: Access::Granted, ..rule("#") }];
    });
    let (of_a, of_b) = (world.identified(0, &token("a")), world.identified(1, &token("b")));
    for peer in [of_a, of_b] {
        assert_eq!(world.ask_of(peer, &subscribe("room/a")), ["ack 1 room/a @0"]);
    }
    world.reload(|settings| settings.credentials = credentials(&["b", "c"], ""));
    assert_eq!(world.hear(of_a), ["close 4501"]);
    assert_eq!(world.ask_of(of_b, &publish("room/a")), ["room/a:1 1"]);
    let of_c = world.identified(0, &token("c"));
    world.reload(|settings| settings.credentials = credentials(&["b"], ""));
    assert_eq!((world.hear(of_b), world.hear(of_c)), (vec![], vec!["close 4501".to_owned()]));
    world.leave();
}

#[test]
fn an_api_key_has_what_its_line_says_now() {
    let (wide, narrow) = (api_key(1, &["#"]), api_key(1, &["room/a"]));
    let guard = |config: &mut Config| config.rules = vec![Rule { subscribe: Access::Granted, ..rule("#") }];
    let mut world = World::guarded(2, 4, credentials(&[], &wide.line), guard);
    let peer = world.identified(0, &wide.key);
    for topic in ["room/a", "room/b"] {
        assert_eq!(world.ask_of(peer, &subscribe(topic)), [format!("ack 1 {topic} @0")]);
    }
    assert_eq!(world.ask_of(peer, &subscribe("#")), ["ack 1 #"]);
    world.reload(|settings| settings.credentials = credentials(&[], &narrow.line));
    assert_eq!(world.hear(peer), ["error null 403"]);
    world.tell(peer, &publish("room/b"));
    world.tell(peer, &publish("room/a"));
    assert_eq!(world.hear(peer), ["room/a:1 1"]);
    world.reload(|settings| settings.credentials = credentials(&[], &api_key(2, &["#"]).line));
    assert_eq!(world.hear(peer), ["close 4501"]);
    world.leave();
}

#[test]
fn http_requests_are_asked_again_with_the_keys_of_now() {
    let mut world = World::guarded(1, 4, credentials(&["a"], ""), |_| {});
    let peer = world.accept(0);
    let request =
        format!("GET /v1/presence?topic=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", token("a"));
    world.send(peer, request.as_bytes());
    world.settle();
    let head = String::from_utf8_lossy(&world.peers[peer].got).into_owned();
    assert!(head.starts_with("HTTP/1.1 404 "), "the rule has no presence: {head}");
    world.peers[peer].got.clear();
    world.reload(|settings| settings.credentials = credentials(&["b"], ""));
    world.send(peer, request.as_bytes());
    world.settle();
    let head = String::from_utf8_lossy(&world.peers[peer].got).into_owned();
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
}

#[test]
fn strangers_who_are_welcome_no_longer_get_the_time_of_a_new_connection() {
    let mut world = World::guarded(2, 4, None, |config| config.auth.in_band_ms_max = 5_000);
    let (mute, says) = (world.open(0), world.open(1));
    assert_eq!(world.ask_of(mute, &subscribe("room/a")), ["ack 1 room/a @0"]);
    world.reload(|settings| settings.credentials = credentials(&["a"], ""));
    assert_eq!(world.ask_of(mute, &publish("room/a")), ["error null 401"]);
    world.pass(3_000);
    // Another reload gives no more of it.
    world.reload(|settings| settings.credentials = credentials(&["a", "b"], ""));
    assert_eq!(world.ask_of(says, &format!(r#"{{"op":"auth","id":9,"token":"{}"}}"#, token("a"))), ["ack 9 "]);
    world.pass(2_500);
    assert_eq!((world.hear(mute), world.hear(says)), (vec!["close 4501".to_owned()], vec![]));
    let late = world.open(0);
    world.reload(|settings| settings.config.server.allow_anonymous = AllowAnonymous::Always);
    world.pass(10_000);
    assert_eq!(world.ask_of(late, &subscribe("room/a")), ["ack 1 room/a @0"], "welcome again");
    world.leave();
}

#[test]
fn origins_count_for_handshakes_from_then_on() {
    let mut world = World::new(1);
    let asks = |world: &mut World| {
        let peer = world.accept(0);
        world.send(peer, UPGRADE.replace("\r\n\r\n", "\r\nOrigin: https://b.example\r\n\r\n").as_bytes());
        world.settle();
        world.hear_head(peer)[..12].to_owned()
    };
    assert_eq!(asks(&mut world), "HTTP/1.1 403");
    world.reload(|settings| settings.origins = Origins::parse(&["https://b.example"]).expect("valid"));
    assert_eq!(asks(&mut world), "HTTP/1.1 101");
}

#[test]
fn a_shard_that_stops_reloads_no_more() {
    let mut world = World::ruled(2, vec![room(true)]);
    let peer = world.open(0);
    world.tell(peer, &subscribe("room/a"));
    world.hear(peer);
    world.shards.iter_mut().for_each(Shard::handle_stop);
    world.rule(vec![Rule { subscribe: Access::Nobody, ..rule("#") }]);
    assert_eq!(world.hear(peer), ["close 1001"]);
}

#[test]
fn a_stream_is_told_what_it_may_read_no_longer_and_a_poll_is_answered() {
    let mut world = World::ruled(2, vec![room(false)]);
    let (stream, begun) = world.listen(1, "topic=room/a&topic=room/b", "");
    assert_eq!(begun.len(), 2, "{begun:?}");
    let poll = world.accept(0);
    world.send(poll, b"GET /v1/poll?topic=room/a HTTP/1.1\r\nHost: a\r\n\r\n");
    world.settle();
    let nobody = Rule { subscribe: Access::Nobody, ..rule("room/a") };
    world.rule(vec![nobody, room(false)]);
    let events = world.events(stream);
    assert!(events.len() == 1 && events[0].contains("error") && events[0].contains("403"), "{events:?}");
    world.post(0, "room/a", "1");
    world.post(0, "room/b", "2");
    let events = world.events(stream);
    assert!(events.len() == 1 && events[0].contains("room/b"), "{events:?}");
    let answers = world.answers(poll);
    assert_eq!((answers.len(), answers[0].status), (1, 200), "its next question is judged anew");
    world.leave();
}
