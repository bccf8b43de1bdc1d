//! `$sys/stats`: who may listen, what comes once a second, and that nothing is reckoned while nobody does.

use serde_json::Value;

use super::identity::verifier;
use super::operate::{bearer, world_of};
use super::*;
use crate::rules::{Access, Rule};

const SUBSCRIBE: &str = r#"{"op":"subscribe","topic":"$sys/stats","id":1}"#;

/// The objects that came since the last time.
fn stats(world: &mut World, peer: usize) -> Vec<Value> {
    let lines = world.hear(peer).into_iter();
    let object = |line: String| {
        let (_, json) = line.strip_prefix("$sys/stats:")?.split_once(' ').expect("an object");
        Some(serde_json::from_str(json).expect("JSON"))
    };
    lines.filter_map(object).collect()
}

/// A WebSocket of a user.
fn open_as(world: &mut World, shard: usize, headers: &str) -> usize {
    let peer = world.accept(shard);
    world.send(peer, UPGRADE.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1).as_bytes());
    world.settle();
    world.hear_head(peer);
    assert_eq!(world.hear(peer), ["welcome"]);
    peer
}

#[test]
fn they_come_once_a_second_with_what_each_shard_did_in_it() {
    let mut world = World::new(3);
    let (watcher, publisher, reader) = (world.open(0), world.open(1), world.open(2));
    world.tell(watcher, SUBSCRIBE);
    world.tell(reader, r#"{"op":"subscribe","topic":"a"}"#);
    world.pass(2_000);
    stats(&mut world, watcher);
    for _ in 0..50 {
        world.say(publisher, r#"{"op":"publish","topic":"a","data":1}"#);
    }
    world.pass(1_000);
    let all = stats(&mut world, watcher);
    assert_eq!(all.len(), 1, "{all:?}");
    let (stats, shards) = (&all[0], all[0]["shards"].as_array().expect("a list"));
    assert_eq!((shards.len(), &stats["interval_ms"]), (3, &1000.into()));
    assert_eq!((&shards[2]["per_s"]["deliveries"], &shards[2]["deliveries"]), (&50.into(), &50.into()));
    assert_eq!((&shards[1]["per_s"]["publications"], &shards[0]["per_s"]["publications"]), (&50.into(), &0.into()));
    assert_eq!(
        (&stats["total"]["per_s"]["deliveries"], &stats["total"]["connections"]["websocket"]),
        (&51.into(), &3.into())
    );
    assert!(!stats.to_string().contains("\"a\""), "no topic is named");
    world.leave();
}

#[test]
fn nothing_is_reckoned_while_nobody_listens() {
    let mut world = World::new(2);
    let watcher = world.open(0);
    world.tell(watcher, SUBSCRIBE);
    world.pass(3_000);
    assert!((3..=4).contains(&stats(&mut world, watcher).len()));
    let due = world.shards.iter().filter_map(Shard::deadline_ms).min().expect("the next one");
    assert!(due <= world.now_ms + 1_000);
    world.tell(watcher, r#"{"op":"unsubscribe","topic":"$sys/stats"}"#);
    world.pass(2_000);
    assert_eq!(stats(&mut world, watcher).len(), 0);
    world.reset(watcher);
    world.settle();
    for shard in &world.shards {
        assert_eq!(shard.deadline_ms(), None, "it sleeps");
    }
    world.leave();
}

#[test]
fn a_shard_that_stands_still_is_null_and_the_others_are_told_of() {
    let mut world = World::new(2);
    let home = usize::from(world.shards[0].home_of(Topic::known("$sys/stats")).0);
    let watcher = world.open(home);
    world.tell(watcher, SUBSCRIBE);
    for _ in 0..50 {
        world.now_ms += TICK_MS;
        world.turn(home);
    }
    let all = stats(&mut world, watcher).split_off(1); // the first came with the subscription
    assert!(
        !all.is_empty()
            && all.iter().all(|stats| stats["shards"][1 - home].is_null() && stats["shards"][home].is_object())
    );
    world.settle();
    world.leave();
}

#[test]
fn they_are_for_operators_and_whom_a_token_grants_them_and_end_with_that() {
    let mut world = world_of(2, 4);
    let stranger = world.open(0);
    world.tell(stranger, SUBSCRIBE);
    assert_eq!(world.hear(stranger), ["error 1 403"]);
    let user = open_as(&mut world, 1, &bearer("ann", false));
    world.tell(user, SUBSCRIBE);
    assert_eq!(world.hear(user), ["error 1 403"]);
    let operator = open_as(&mut world, 0, &bearer("root", true));
    world.tell(operator, SUBSCRIBE);
    assert_eq!(world.hear(operator)[0], "ack 1 $sys/stats @0", "and the first report at once");
    let wish = crate::auth::Wish {
        user: "bob",
        subscribe: &["$sys/stats".to_owned()],
        publish: &[],
        operate: false,
        now_unix_s: BEGAN_UNIX_S,
        ttl_s: 3_600,
    };
    let token = verifier().issue(&wish, None).expect("a valid wish");
    let granted = open_as(&mut world, 1, &format!("Authorization: Bearer {token}\r\n"));
    world.tell(granted, SUBSCRIBE);
    world.pass(1_000);
    assert!(!stats(&mut world, operator).is_empty() && !stats(&mut world, granted).is_empty());
    assert!(stats(&mut world, stranger).is_empty() && stats(&mut world, user).is_empty());
    // A token without the right takes it away again.
    world.tell(operator, &format!(r#"{{"op":"auth","token":"{}"}}"#, super::operate::token("root", false)));
    assert!(world.hear(operator).contains(&"error null 403".to_owned()));
    world.pass(2_000);
    assert!(stats(&mut world, operator).is_empty());
    world.leave();
}

#[test]
fn a_rule_decides_who_listens_and_nobody_publishes_there() {
    for (subscribe, heard) in [(Access::Anyone, "ack 1 $sys/stats @0"), (Access::Nobody, "error 1 403")] {
        let mut world = World::with(2, 4, |config| {
            config.rules = vec![Rule { filter: "$sys/stats".to_owned(), subscribe, ..Rule::default() }];
            config.metrics.allow_anonymous = AllowAnonymous::Never;
        });
        let peer = world.open(0);
        world.tell(peer, SUBSCRIBE);
        assert_eq!(world.hear(peer)[0], heard);
        for refused in [
            r#"{"op":"publish","topic":"$sys/stats","data":1,"id":2}"#,
            r#"{"op":"subscribe","topic":"$sys/#","id":2}"#,
            r#"{"op":"subscribe","topic":"$sys/canary/0","id":2}"#,
        ] {
            world.tell(peer, refused);
            assert_eq!(world.hear(peer), ["error 2 403"], "{refused}");
        }
        world.pass(2_000);
        assert_eq!(!stats(&mut world, peer).is_empty(), subscribe == Access::Anyone);
        world.leave();
    }
}

#[test]
fn a_reload_that_begins_to_ask_who_somebody_is_ends_the_stream_of_strangers() {
    let mut world = World::new(2);
    let peers = [world.open(0), world.open(1)];
    peers.iter().for_each(|&peer| world.tell(peer, SUBSCRIBE));
    let credentials = Arc::new(Credentials { tokens: verifier(), ..Credentials::default() });
    let mut config = Config::default();
    config.server.allow_anonymous = AllowAnonymous::Always;
    let origins = Origins::parse(&config.server.allowed_origins).expect("valid");
    let settings = Settings { config, origins, credentials: Some(credentials), began_unix_s: 0, seed: 0 };
    world.shards.iter_mut().for_each(|shard| shard.handle_reload(&settings));
    world.settle();
    for peer in peers {
        assert!(world.hear(peer).contains(&"error null 403".to_owned()));
    }
    world.pass(2_000);
    assert!(peers.into_iter().all(|peer| stats(&mut world, peer).is_empty()));
    world.leave();
}
