//! A drain: everybody is sent away in time, a few at a time, while the others are served.

use std::collections::BTreeSet;

use super::*;

/// The delay in the last close frame of a peer, in milliseconds.
fn retry_ms(world: &World, peer: usize) -> u64 {
    let text = String::from_utf8_lossy(&world.peers[peer].got).into_owned();
    let (_, digits) = text.rsplit_once("retry_ms=").expect("told");
    digits.parse().expect("nothing behind it")
}

#[test]
fn a_drain_sends_everybody_away_little_by_little_and_serves_the_others() {
    let mut world = World::with(2, 4, |config| config.server.drain_s = 10);
    let peers: Vec<usize> = (0..400).map(|number| world.open(number % 2)).collect();
    for &peer in &peers {
        world.tell(peer, r#"{"op":"subscribe","topic":"a"}"#);
    }
    world.shards.iter_mut().for_each(Shard::handle_drain);
    world.shards.iter_mut().for_each(Shard::handle_drain); // once is enough
    let (mut away, mut heard) = (BTreeSet::new(), 0);
    for tick in 1..=20 {
        world.pass(TICK_MS);
        let before = away.len();
        for &peer in &peers {
            if away.contains(&peer) {
                continue;
            }
            let lines = world.hear(peer);
            heard += lines.iter().filter(|line| line.starts_with("a:")).count();
            if lines.last().is_some_and(|line| line == "close 1001") {
                away.insert(peer);
                world.frame(peer, Opcode::Close, &1001u16.to_be_bytes());
                world.end(peer);
            }
        }
        assert!(away.len() - before <= 2 * 2 * limits::DRAINS_PER_TICK_MIN, "tick {tick}: {}", away.len() - before);
        if let Some(&last) = peers.last().filter(|last| !away.contains(last)) {
            world.tell(last, r#"{"op":"publish","topic":"a","data":1}"#);
        }
    }
    assert_eq!(away.len(), peers.len(), "in less than server.drain_s");
    assert!(heard > 1_000, "{heard}: who is still there is served");
    let delays: BTreeSet<u64> = peers.iter().map(|&peer| retry_ms(&world, peer)).collect();
    assert!(delays.len() > 300 && *delays.last().expect("some") <= 10_000, "each has its own");
    world.settle();
    world.assert_empty();
    assert!(world.shards.iter().all(Shard::is_stopped));
    assert_eq!(world.closed(CloseReason::Stopping), 400);
}

#[test]
fn who_ends_with_few_others_is_told_to_come_back_soon() {
    let mut world = World::with(2, 4, |config| config.server.drain_s = 30);
    let peers: Vec<usize> = (0..200).map(|number| world.open(number % 2)).collect();
    world.shards.iter_mut().for_each(Shard::handle_stop);
    world.settle();
    let delays: BTreeSet<u64> = peers.iter().map(|&peer| retry_ms(&world, peer)).collect();
    let last = *delays.last().expect("some");
    assert!(delays.len() > 150 && last <= limits::STOP_AT_ONCE_RETRY_MS, "{} in {last} ms", delays.len());
}

#[test]
fn who_does_not_answer_holds_no_drain_up_and_requests_are_answered_first() {
    let mut world = World::with(2, 4, |config| config.server.drain_s = 0);
    let (mute, asks, idle) = (world.open(0), world.accept(0), world.accept(1));
    let topic = world.topic_at(1);
    let request = format!(
        "POST /v1/publish?topic={topic} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Type: text/plain\r\n\r\nx"
    );
    world.send(asks, request.as_bytes());
    world.shards.iter_mut().for_each(Shard::handle_drain);
    world.pass(1_000);
    assert_eq!(world.hear(mute), ["close 1001"]);
    assert!(world.hear_head(asks).starts_with("HTTP/1.1 200 "));
    assert!(world.peers[idle].dropped && !world.shards[0].is_stopped());
    world.pass(6_000);
    world.assert_empty();
    assert!(world.shards.iter().all(Shard::is_stopped));
}

#[test]
fn when_the_last_one_is_gone_the_stop_begins_without_a_further_event() {
    let mut world = World::with(1, 4, |config| config.server.drain_s = 0);
    let peer = world.open(0);
    world.shards[0].handle_drain();
    world.turn(0);
    assert_eq!(world.hear(peer), ["close 1001"]);
    world.now_ms += limits::CLOSE_MS_MAX + TICK_MS; // it never answers, and is dropped in the middle of a turn
    world.turn(0);
    while world.shards[0].has_work() {
        world.turn(0);
    }
    assert!(world.shards[0].is_stopped(), "else it sleeps until its time is up");
}

#[test]
fn a_draining_broker_says_that_it_is_not_ready() {
    let mut world = World::with(1, 4, |config| config.server.drain_s = 100);
    let (before, after) = (world.accept(0), world.accept(0));
    let open: Vec<usize> = (0..50).map(|_| world.open(0)).collect();
    world.send(before, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    world.settle();
    assert!(world.hear_head(before).starts_with("HTTP/1.1 200 "));
    world.shards[0].handle_drain();
    world.send(after, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    world.settle();
    assert!(world.hear_head(after).starts_with("HTTP/1.1 503 "));
    for peer in [before, after].into_iter().chain(open) {
        world.end(peer);
    }
    world.pass(500);
    world.assert_empty();
}
