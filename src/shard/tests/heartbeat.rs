//! Liveness: who is pinged and when, who is closed, and how evenly it is spread.

use super::*;

const INTERVAL_MS: u64 = 25_000;
const TIMEOUT_MS: u64 = 10_000;

/// How long until the peer hears something, in milliseconds.
fn silence(world: &mut World, peer: usize) -> u64 {
    let from = world.now_ms;
    while world.hear(peer).is_empty() {
        world.pass(TICK_MS);
        assert!(world.now_ms - from <= 10 * INTERVAL_MS, "nothing comes");
    }
    world.now_ms - from
}

#[test]
fn a_silent_connection_is_pinged_once_an_interval_and_lives_by_its_pongs() {
    let mut world = World::new(1);
    let peers: Vec<usize> = (0..20).map(|_| world.open(0)).collect();
    let began = world.now_ms;
    let mut pings = vec![0; peers.len()];
    while world.now_ms < began + 10 * INTERVAL_MS {
        world.pass(TICK_MS);
        for (&peer, pings) in peers.iter().zip(&mut pings) {
            for heard in world.hear(peer) {
                assert_eq!(heard, "ping");
                *pings += 1;
                world.frame(peer, Opcode::Pong, b"");
            }
        }
    }
    assert!(pings.iter().all(|pings| (9..=10).contains(pings)), "{pings:?}");
    world.leave();
}

#[test]
fn a_connection_that_says_something_is_not_pinged() {
    let mut world = World::new(1);
    let peer = world.open(0);
    for _ in 0..30 {
        world.pass(INTERVAL_MS / 2 - TICK_MS);
        world.frame(peer, Opcode::Pong, b"unasked");
    }
    assert_eq!(world.hear(peer), [""; 0]);
    world.leave();
}

#[test]
fn a_ping_without_a_pong_ends_in_4009_after_its_timeout_and_not_before() {
    let mut world = World::new(2);
    let far = world.topic_at(1);
    let peer = world.open(0);
    world.tell(peer, &format!(r#"{{"op":"subscribe","topic":"{far}"}}"#));
    assert!(silence(&mut world, peer) <= 2 * INTERVAL_MS);
    world.pass(TIMEOUT_MS - TICK_MS);
    assert_eq!(world.hear(peer), [""; 0]);
    world.pass(TICK_MS);
    assert_eq!(world.hear(peer), ["close 4009"]);
    assert_eq!(world.shards[1].held()[6].1, 0, "its subscriptions went at once");
    world.pass(limits::CLOSE_MS_MAX);
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::HeartbeatMissed), 1);
}

#[test]
fn anything_that_comes_after_the_ping_is_as_good_as_a_pong() {
    let mut world = World::new(1);
    let peer = world.open(0);
    silence(&mut world, peer);
    world.pass(TIMEOUT_MS - TICK_MS);
    world.tell(peer, r#"{"op":"ping","id":1}"#);
    assert_eq!(world.hear(peer), ["pong 1"]);
    world.pass(INTERVAL_MS);
    assert!(!world.hear(peer).contains(&"close 4009".to_owned()));
    world.leave();
}

#[test]
fn a_peer_that_takes_its_bytes_slowly_lives_and_one_that_takes_none_does_not() {
    let mut world = World::new(1);
    let (slow, stalled) = (world.open(0), world.open(0));
    for peer in [slow, stalled] {
        world.tell(peer, r#"{"op":"subscribe","topic":"a"}"#);
        world.peers[peer].room = 0;
    }
    let other = world.open(0);
    world.tell(other, &format!(r#"{{"op":"publish","topic":"a","data":"{}"}}"#, "x".repeat(60_000)));
    world.reset(other);
    for _ in 0..10 {
        world.pass(TIMEOUT_MS / 2);
        world.writable(slow, 100);
    }
    world.settle();
    assert!(!world.peers[slow].dropped && world.peers[stalled].dropped);
    assert_eq!(world.closed(CloseReason::HeartbeatMissed), 1);
    world.leave();
}

#[test]
fn a_late_turn_catches_up_with_everything_that_is_due() {
    let mut world = World::new(1);
    let (opened, waiting) = (world.open(0), world.accept(0));
    world.now_ms += 3_600_000;
    world.settle();
    assert_eq!(world.hear(opened), ["ping"], "an hour passed unseen, but its pong had no time yet");
    assert!(world.peers[waiting].dropped);
    world.frame(opened, Opcode::Pong, b"");
    world.pass(TIMEOUT_MS);
    assert!(!world.peers[opened].dropped);
    world.leave();
}

#[test]
fn the_next_turn_is_asked_for_when_something_is_due() {
    let mut world = World::new(1);
    assert_eq!(world.shards[0].deadline_ms(), None);
    let peer = world.accept(0);
    assert_eq!(world.shards[0].deadline_ms(), Some(world.now_ms + Config::default().limits.handshake_ms_max));
    world.send(peer, UPGRADE.as_bytes());
    world.settle();
    let deadline = world.shards[0].deadline_ms().expect("a heartbeat");
    assert!(deadline > world.now_ms && deadline <= world.now_ms + INTERVAL_MS);
    world.leave();
}
