//! Canaries between shards: readiness is true while all hear each other, and nothing of them is left lying about.

use super::reload::rule;
use super::*;
use crate::rules::{Access, Rule};

const SILENCE_MS: u64 = 5_000;

fn world(shards: usize) -> World {
    let mut world = World::with(shards, limits::RING_PARCELS, |_| {});
    world.shards.iter_mut().for_each(Shard::begin_canaries);
    world
}

/// Time passes for these shards alone.
fn pass(world: &mut World, ms: u64, shards: &[usize]) {
    for _ in 0..ms / TICK_MS {
        world.now_ms += TICK_MS;
        // Twice: what was posted in a tick is taken in it.
        shards.iter().chain(shards).chain(shards).for_each(|&shard| world.turn(shard));
    }
}

/// What a new connection at this shard is told, by nobody's turn but this shard's.
fn ready(world: &mut World, shard: usize) -> (u16, String) {
    let peer = world.accept(shard);
    world.send(peer, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    world.turn(shard);
    let answer = world.answers(peer).remove(0);
    world.reset(peer);
    world.turn(shard);
    (answer.status, String::from_utf8(answer.body).expect("text"))
}

#[test]
fn every_shard_hears_every_other_one_through_each_home() {
    for shards in [2, 3, 7] {
        let mut world = world(shards);
        let all: Vec<usize> = (0..shards).collect();
        pass(&mut world, 3 * SILENCE_MS, &all);
        for shard in &world.shards {
            let figures = shard.figures();
            assert!(figures.canary_silence_ms.expect("known") <= 1_000 + 2 * TICK_MS, "{figures:?}");
            assert!(figures.canary_lag_ms.expect("known") <= TICK_MS, "{figures:?}");
            assert_eq!((figures.published, figures.delivered, figures.topics), (0, 0, 1), "they are nobody's");
        }
        assert_eq!(ready(&mut world, 0).0, 200);
    }
}

#[test]
fn whatever_rules_are_read_again_and_while_the_broker_leaves_all_hear_each_other() {
    let mut world = world(2);
    pass(&mut world, 2_000, &[0, 1]);
    // They come to stand where the rules of a broker without any were.
    world.rule(vec![rule("#"), Rule { subscribe: Access::Nobody, ..rule("$sys/#") }]);
    pass(&mut world, 2 * SILENCE_MS, &[0, 1]);
    assert_eq!(ready(&mut world, 0).0, 200);
    let faults = world.shards[0].counters().faults;
    world.shards.iter_mut().for_each(Shard::handle_freeze);
    pass(&mut world, 2 * SILENCE_MS, &[0, 1]);
    for shard in &world.shards {
        assert!(shard.figures().canary_silence_ms.expect("known") <= 1_000 + 2 * TICK_MS);
    }
    assert_eq!(world.shards[0].counters().faults, faults, "nobody did anything wrong");
}

#[test]
fn a_shard_that_stands_still_makes_all_others_unready_until_it_goes_on() {
    let mut world = world(3);
    pass(&mut world, 2_000, &[0, 1, 2]);
    assert_eq!(ready(&mut world, 0).0, 200);
    pass(&mut world, SILENCE_MS - 1_500, &[0, 1]);
    assert_eq!(ready(&mut world, 0).0, 200, "it may yet come");
    pass(&mut world, 3_000, &[0, 1]);
    for shard in [0, 1] {
        let (status, body) = ready(&mut world, shard);
        assert!(status == 503 && body.contains("server.silence_ms_max"), "{status} {body}");
        let silence_ms = world.shards[shard].figures().canary_silence_ms.expect("known");
        assert!(silence_ms > SILENCE_MS && silence_ms < 9_000, "{silence_ms}");
    }
    let peer = world.accept(0);
    world.send(peer, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    world.turn(0);
    assert_eq!(world.answers(peer).remove(0).status, 200, "the process turns");
    pass(&mut world, 3_000, &[0, 1, 2]);
    for shard in 0..3 {
        assert_eq!(ready(&mut world, shard).0, 200, "{shard}");
    }
}

#[test]
fn a_shard_that_stands_still_for_hours_is_not_buried_in_canaries() {
    let mut world = world(3);
    pass(&mut world, 2_000, &[0, 1, 2]);
    // Between the two that turn, everything goes on: a ring that canaries filled would stop that.
    let (publisher, reader) = (world.accept(0), world.accept(1));
    let topic = world.topic_at(1);
    for peer in [publisher, reader] {
        world.send(peer, UPGRADE.as_bytes());
    }
    world.say(reader, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
    for _ in 0..1_000 {
        world.now_ms += 10_000;
        (0..6).for_each(|turn| world.turn(turn % 2));
        for peer in [publisher, reader] {
            let pong = masked(Opcode::Pong, b""); // its pings are not this test's business
            world.send(peer, &pong);
        }
    }
    world.say(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":7}}"#));
    (0..6).for_each(|turn| world.turn(turn % 2));
    assert!(world.peers[reader].got.ends_with(br#""data":7}"#));
    assert_eq!(ready(&mut world, 1).0, 503);
    pass(&mut world, 3_000, &[0, 1, 2]);
    assert_eq!(ready(&mut world, 1).0, 200, "it is heard at once when it is back, and so are the others");
}

#[test]
fn a_pair_that_only_another_shard_knows_to_be_cut_makes_this_one_unready() {
    let mut world = world(3);
    pass(&mut world, 2 * SILENCE_MS, &[0, 1, 2]);
    // What shard 1 last heard of shard 2 is long ago; shard 0 hears both.
    let before = world.shards[1].figures().canary_silence_ms;
    world.shards[1].forget_canary(2);
    assert!(world.shards[1].figures().canary_silence_ms > before);
    assert_eq!(ready(&mut world, 0).0, 200);
    world.now_ms += 1_000;
    [1, 2, 0].into_iter().for_each(|shard| world.turn(shard));
    assert_eq!(ready(&mut world, 0).0, 503, "shard 1 said so");
    pass(&mut world, 3_000, &[0, 1, 2]);
    assert_eq!(ready(&mut world, 0).0, 200);
}

#[test]
fn there_are_none_where_there_is_nobody_to_hear_or_the_operator_wants_none() {
    for (shards, silence_ms_max) in [(1, SILENCE_MS), (2, 0)] {
        let mut world = World::with(shards, 4, |config| config.server.silence_ms_max = silence_ms_max);
        world.shards.iter_mut().for_each(Shard::begin_canaries);
        world.pass(10_000);
        assert_eq!(world.shards[0].deadline_ms(), None, "it sleeps");
        assert_eq!((world.shards[0].figures().canary_lag_ms, ready(&mut world, 0).0), (None, 200));
        world.leave();
    }
}

#[test]
fn an_idle_broker_wakes_once_a_second_for_them_and_keeps_nothing() {
    let mut world = world(2);
    let all = [0, 1];
    pass(&mut world, 10_000, &all);
    let held = |world: &World| world.shards.iter().map(|shard| (shard.held(), shard.kept())).collect::<Vec<_>>();
    let before = held(&world);
    for _ in 0..20 {
        let wakes: Vec<u64> = world.shards.iter().filter_map(Shard::deadline_ms).collect();
        assert_eq!(wakes, [world.now_ms / 1_000 * 1_000 + 1_000; 2], "all in the same moment");
        pass(&mut world, 1_000, &all);
    }
    assert_eq!(held(&world), before);
}

#[test]
fn a_broker_with_canaries_stops_as_one_without() {
    let mut world = world(3);
    let peer = world.open(1);
    pass(&mut world, 2_500, &[0, 1, 2]);
    world.shards.iter_mut().for_each(Shard::handle_stop);
    pass(&mut world, 6_000, &[0, 1, 2]);
    assert!(world.peers[peer].dropped || world.peers[peer].shut || !world.hear(peer).is_empty());
    world.reset(peer);
    pass(&mut world, 200, &[0, 1, 2]);
    assert!(world.shards.iter().all(Shard::is_stopped));
}
