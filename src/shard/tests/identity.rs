//! Tokens: at the handshake and in band, what they grant, that they end; and how fast commands may come.

use super::*;
use crate::auth::{Algorithm, Credentials, Expectations, Key, Keyring, Verifier, Wish};
use crate::config::AllowAnonymous;
use crate::rules::{Access, Rule};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

pub(super) fn verifier() -> Verifier {
    let mut ring = Keyring::default();
    ring.add(Key::from_secret(Algorithm::Hs256, None, SECRET).expect("long enough")).expect("one");
    Verifier::new(ring, Expectations { leeway_s: 0, ..Expectations::default() })
}

/// A broker of two shards with `[auth]`; strangers are shut out unless `anonymous`.
pub(super) fn world(anonymous: bool) -> World {
    let credentials = Arc::new(Credentials { tokens: verifier(), ..Credentials::default() });
    World::guarded(2, 4, Some(credentials), |config| {
        config.server.allow_anonymous = if anonymous { AllowAnonymous::Always } else { AllowAnonymous::Loopback };
        config.auth.in_band_ms_max = 5_000;
        let rule = |filter: &str, access| Rule {
            filter: filter.to_owned(),
            subscribe: access,
            publish: access,
            presence: true,
            from: true,
            ..Rule::default()
        };
        config.rules =
            vec![rule("granted/#", Access::Granted), rule("users/#", Access::User), rule("#", Access::Anyone)];
    })
}

/// A token that is valid for so many seconds from when the world began.
pub(super) fn token(user: &str, subscribe: &[&str], publish: &[&str], ttl_s: u64) -> String {
    let owned = |filters: &[&str]| filters.iter().map(|&filter| filter.to_owned()).collect::<Vec<_>>();
    let (subscribe, publish) = (owned(subscribe), owned(publish));
    let wish = Wish { user, subscribe: &subscribe, publish: &publish, operate: false, now_unix_s: BEGAN_UNIX_S, ttl_s };
    verifier().issue(&wish, None).expect("a valid wish")
}

impl World {
    /// Connects with further header lines; what came first.
    fn connect(&mut self, shard: usize, headers: &str) -> (usize, Vec<String>) {
        let peer = self.accept(shard);
        let request = UPGRADE.replace("\r\n\r\n", &format!("\r\n{headers}\r\n\r\n"));
        self.send(peer, request.as_bytes());
        self.settle();
        assert!(self.hear_head(peer).starts_with("HTTP/1.1 101 "));
        let heard = self.hear(peer);
        (peer, heard)
    }

    pub(super) fn open_with(&mut self, shard: usize, token: &str) -> usize {
        let (peer, heard) = self.connect(shard, &format!("Authorization: Bearer {token}"));
        assert_eq!(heard, ["welcome"]);
        peer
    }

    /// What a command is answered with.
    fn ask(&mut self, peer: usize, json: &str) -> Vec<String> {
        self.tell(peer, json);
        self.hear(peer)
    }
}

fn subscribe(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","id":1,"topic":"{topic}"}}"#)
}

fn publish(topic: &str) -> String {
    format!(r#"{{"op":"publish","id":2,"topic":"{topic}","data":1}}"#)
}

fn auth(token: &str) -> String {
    format!(r#"{{"op":"auth","id":9,"token":"{token}"}}"#)
}

#[test]
fn a_token_at_the_handshake_makes_a_user_and_grants_what_it_says() {
    let mut world = world(false);
    let ann = world.open_with(0, &token("ann", &["granted/1"], &["granted/+"], 3_600));
    let bob = world.open_with(1, &token("bob", &["granted/#"], &[], 3_600));
    assert_eq!(world.ask(ann, &subscribe("granted/1")), ["ack 1 granted/1 @0"]);
    assert_eq!(world.ask(ann, &subscribe("granted/2")), ["error 1 403"]);
    assert_eq!(world.ask(bob, &publish("granted/1")), ["error 2 403"]);
    assert_eq!(world.ask(bob, &subscribe("granted/#")), ["ack 1 granted/#"]);
    assert_eq!(world.ask(bob, &subscribe("users/1")), ["ack 1 users/1 @0"]);
    for (topic, outcome) in [("granted/1", "ack 2 granted/1 @1"), ("granted/x/y", "error 2 403")] {
        assert!(world.ask(ann, &publish(topic)).contains(&outcome.to_owned()), "{topic}");
    }
    assert_eq!(world.hear(bob), ["granted/1:1 by ann 1"], "by a filter that is granted whole");
    assert_eq!(world.ask(ann, r#"{"op":"history","id":3,"topic":"granted/2"}"#), ["error 3 403"]);
    assert_eq!(world.ask(bob, r#"{"op":"presence","id":3,"topic":"granted/1"}"#).len(), 1);
    let text = String::from_utf8_lossy(&world.peers[bob].got).into_owned();
    assert!(text.contains(r#""from":"ann""#) && text.contains(r#""user":"bob""#), "{text}");
    world.leave();
}

#[test]
fn a_wildcard_that_is_not_granted_whole_gets_only_what_is_open() {
    let mut world = world(false);
    let ann = world.open_with(0, &token("ann", &["granted/1"], &["#"], 3_600));
    assert_eq!(world.ask(ann, &subscribe("#")), ["ack 1 #"]);
    for topic in ["granted/1", "users/1", "open/1"] {
        world.tell(ann, &publish(topic).replace(r#""id":2,"#, ""));
    }
    assert_eq!(world.hear(ann), ["users/1:1 by ann 1", "open/1:1 by ann 1"]);
    assert_eq!(world.ask(ann, &auth(&token("ann", &["#"], &["#"], 3_600))), ["ack 9 "]);
    world.tell(ann, &publish("granted/1").replace(r#""id":2,"#, ""));
    assert_eq!(world.hear(ann), ["granted/1:2 by ann 1"], "the new token grants it whole");
    world.leave();
}

#[test]
fn a_refused_token_closes_with_a_code_that_a_page_can_read() {
    let mut world = world(true);
    let forged = token("ann", &[], &[], 3_600).replace('.', ".x");
    for (header, close) in [
        ("Authorization: Bearer nonsense".to_owned(), "close 4501"),
        (format!("Authorization: Bearer {forged}"), "close 4501"),
        (format!("Sec-WebSocket-Protocol: wirefan.v1, bearer.{forged}"), "close 4501"),
        ("Authorization: Bearer wfk_nobody".to_owned(), "close 4501"),
    ] {
        let (peer, heard) = world.connect(0, &header);
        assert_eq!(heard, [close], "{header}");
        world.end(peer);
    }
    assert_eq!(world.closed(CloseReason::TokenRefused), 4);
    world.leave();
}

#[test]
fn an_expired_token_is_to_be_replaced() {
    let mut world = world(false);
    let token = token("ann", &[], &[], 10);
    world.pass(10_000);
    let (peer, heard) = world.connect(0, &format!("Authorization: Bearer {token}"));
    assert_eq!(heard, ["close 4001"]);
    world.end(peer);
    world.leave();
}

#[test]
fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let mut world = world(false);
    let (lapses, stays) =
        (world.open_with(0, &token("ann", &[], &[], 20)), world.open_with(0, &token("bob", &[], &[], 20)));
    world.pass(18_500);
    let heard = world.ask(stays, &auth(&token("bob", &[], &[], 3_600)));
    assert_eq!(heard, ["ack 9 "]);
    world.pass(2_000);
    assert_eq!(world.hear(lapses), ["close 4001"]);
    world.tell(stays, r#"{"op":"ping","id":1}"#);
    assert!(world.hear(stays).contains(&"pong 1".to_owned()));
    assert_eq!(world.closed(CloseReason::TokenExpired), 0, "counted when it is gone");
    world.leave();
    assert_eq!(world.closed(CloseReason::TokenExpired), 1);
}

#[test]
fn a_stranger_has_to_say_in_time_who_it_is() {
    let mut world = world(false);
    let (mute, late) = (world.open(0), world.open(1));
    for command in [subscribe("open/1"), publish("open/1"), r#"{"op":"unsubscribe","id":1,"topic":"a"}"#.to_owned()] {
        assert!(world.ask(late, &command)[0].ends_with("401"), "{command}");
    }
    assert_eq!(world.ask(late, r#"{"op":"ping","id":1}"#), ["pong 1"]);
    assert_eq!(world.ask(late, &auth(&token("ann", &[], &[], 60))).len(), 1);
    assert_eq!(world.ask(late, &subscribe("open/1")), ["ack 1 open/1 @0"]);
    world.pass(5_100);
    assert_eq!(world.hear(mute), ["close 4501"]);
    assert_eq!(world.hear(late), [""; 0]);
    world.leave();
}

#[test]
fn a_stranger_with_a_wrong_token_is_told_and_sent_away() {
    let mut world = world(false);
    let peer = world.open(0);
    assert_eq!(world.ask(peer, &auth("a.b.c")), ["error 9 401", "close 4501"]);
    world.leave();
}

#[test]
fn a_wrong_refresh_costs_an_error_and_another_user_is_refused() {
    let mut world = world(false);
    let ann = world.open_with(0, &token("ann", &[], &[], 3_600));
    assert_eq!(world.ask(ann, &auth("a.b.c")), ["error 9 401"]);
    assert_eq!(world.ask(ann, &auth(&token("bob", &["#"], &["#"], 3_600))), ["error 9 403"]);
    assert_eq!(world.ask(ann, &subscribe("granted/1")), ["error 1 403"]);
    world.leave();
}

#[test]
fn subscriptions_that_a_new_token_does_not_grant_end_with_an_error_each() {
    let mut world = world(false);
    let ann = world.open_with(0, &token("ann", &["granted/#"], &[], 3_600));
    let publisher = world.open_with(1, &token("bob", &[], &["granted/#"], 3_600));
    for topic in ["granted/1", "granted/2", "open/1"] {
        world.ask(ann, &subscribe(topic));
    }
    let heard = world.ask(ann, &auth(&token("ann", &["granted/2"], &[], 3_600)));
    assert_eq!(heard, ["ack 9 ", "error null 403"]);
    for topic in ["granted/1", "granted/2"] {
        world.tell(publisher, &publish(topic));
    }
    assert_eq!(world.hear(ann), ["granted/2:1 by bob 1"]);
    world.leave();
}

#[test]
fn a_subscription_that_ends_takes_what_it_was_told_of_members_along() {
    for shard in [0, 1] {
        let mut world = world(false);
        let ann = world.open_with(shard, &token("ann", &["granted/#"], &[], 3_600));
        for topic in ["granted/1", "granted/2", "granted/3", "granted/4"] {
            world.ask(ann, &format!(r#"{{"op":"subscribe","topic":"{topic}","presence":true}}"#));
        }
        let heard = world.ask(ann, &auth(&token("ann", &["granted/3"], &[], 3_600)));
        assert_eq!(heard, ["ack 9 ", "error null 403", "error null 403", "error null 403"]);
        let bob = world.open_with(0, &token("bob", &["granted/#"], &[], 3_600));
        for topic in ["granted/1", "granted/2", "granted/3", "granted/4"] {
            world.ask(bob, &subscribe(topic));
        }
        assert_eq!(world.hear(ann), ["join granted/3 bob"]);
        world.leave();
    }
}

#[test]
fn a_subscribe_that_is_under_way_when_its_grant_ends_is_answered_by_the_error_alone() {
    for (more, presence) in [(false, ""), (true, ""), (false, r#","presence":true"#), (true, r#","presence":true"#)] {
        for home in [0, 1] {
            let mut world = world(false);
            let mut names = (0..).map(|number| format!("granted/{number}"));
            let here = |name: &String| world.shards[0].home_of(Topic::known(name)) == ShardId(home);
            let topic = names.find(here).expect("some");
            let (all, none) = (token("ann", &["#"], &["#"], 3_600), token("ann", &[], &[], 3_600));
            let ann = world.open_with(0, &all);
            let command = |id| format!(r#"{{"op":"subscribe","id":{id},"topic":"{topic}"{presence}}}"#);
            world.say(ann, &command(1));
            world.say(ann, &command(2));
            world.say(ann, &auth(&none));
            if more {
                world.say(ann, &auth(&all));
                world.say(ann, &command(3));
            }
            world.settle();
            let mut heard = world.hear(ann);
            heard.retain(|line| line != "ack 9 ");
            let expected = match (more, presence.is_empty()) {
                (false, _) => vec!["error 1 403".to_owned(), "error 2 403".to_owned()],
                (true, _) => vec!["error 1 403".to_owned(), "error 2 403".to_owned(), format!("ack 3 {topic} @0")],
            };
            heard.retain(|line| !line.starts_with("join"));
            assert_eq!(heard, expected, "home {home} {presence}");
            let bob = world.open_with(1, &all);
            world.tell(bob, &publish(&topic));
            let heard = world.hear(ann);
            assert_eq!(heard.len(), usize::from(more), "an ack is a promise, an error the end: {heard:?}");
            assert_eq!(world.shards.iter().map(|shard| shard.home.members_len()).sum::<usize>(), usize::from(more));
            world.leave();
        }
    }
}

#[test]
fn a_stranger_who_is_a_member_becomes_the_user() {
    let mut world = world(true);
    let (watcher, peer) = (world.open(0), world.open(1));
    world.tell(watcher, r#"{"op":"subscribe","id":1,"topic":"open/1","presence":true}"#);
    world.tell(peer, &subscribe("open/1"));
    world.hear(watcher);
    world.tell(peer, &auth(&token("ann", &[], &[], 60)));
    let heard = world.hear(watcher);
    assert!(heard.contains(&"join open/1 ann".to_owned()), "{heard:?}");
    assert_eq!(heard.len(), 2, "and the stranger left: {heard:?}");
    world.leave();
}

#[test]
fn without_auth_there_is_nothing_to_authenticate_with() {
    let mut world = World::new(1);
    let (peer, heard) = world.connect(0, "Authorization: Bearer whatever");
    assert_eq!(heard, ["welcome"], "a token that nobody asks for does no harm");
    assert_eq!(world.ask(peer, &auth("a.b.c")), ["error 9 404"]);
    world.leave();
}

#[test]
fn two_tokens_are_refused_with_http() {
    let mut world = world(false);
    let peer = world.accept(0);
    let request =
        UPGRADE.replace("/ws ", "/ws?access_token=a ").replace("\r\n\r\n", "\r\nAuthorization: Bearer a\r\n\r\n");
    world.send(peer, request.as_bytes());
    world.settle();
    assert!(world.hear_head(peer).starts_with("HTTP/1.1 400 "));
    world.end(peer);
    world.leave();
}

#[test]
fn who_sends_too_many_commands_is_told_and_then_closed() {
    let mut world = World::with(1, 4, |config| config.limits.commands_per_second_max = 10);
    let (peer, calm) = (world.open(0), world.open(0));
    for _ in 0..20 {
        assert_eq!(world.ask(peer, r#"{"op":"ping","id":1}"#), ["pong 1"]);
    }
    assert_eq!(world.ask(peer, r#"{"op":"ping","id":1}"#), ["error 1 429"]);
    assert_eq!(world.ask(peer, "nonsense"), ["error null 429"]);
    assert_eq!(world.ask(calm, r#"{"op":"ping","id":1}"#), ["pong 1"]);
    world.pass(1_000);
    assert_eq!(world.ask(peer, r#"{"op":"ping","id":1}"#), ["pong 1"]);
    let batch = format!("[{}]", vec![r#"{"op":"ping"}"#; 500].join(","));
    let heard = world.ask(peer, &batch);
    assert_eq!(heard.last().unwrap(), "close 4029");
    assert!(heard.len() < 150, "nothing is answered behind the end");
    world.leave();
    assert_eq!(world.closed(CloseReason::TooFast), 1);
}
