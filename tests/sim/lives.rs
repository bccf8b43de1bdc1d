//! A topic that nobody holds is forgotten for others, and what comes after is another life of it: another epoch, from 1.
//!
//! A broker is lived in, left by everybody, made to forget by a flood of names, and lived in again: by people who hand
//! back positions of the former life, judged by a model that knows nothing of it.

use wirefan::limits::TOPICS_IDLE_MAX;
use wirefan::ws::{Opcode, encode};

use crate::model::{Broken, Judged, Model, meets};
use crate::plan::{Ending, Plan, TOPICS};
use crate::world::World;

/// Who was used since the hand of the clock last passed has a second chance: the flood comes twice.
const FLOOD: usize = 2 * TOPICS_IDLE_MAX + 1000;

/// One broker, two lives. How many topics had both, and whether somebody came back with a position of the first.
fn live_twice(seed: u64, shards: usize) -> Result<(usize, bool), Broken> {
    let mut plan = Plan::of(seed);
    plan.rules.retain(|rule| !meets(&rule.filter, "flood/1"));
    (plan.shards, plan.crowded, plan.read_bytes, plan.steps) = (shards, shards, 65_536, 400);
    (plan.outbound_bytes_max, plan.subscriptions_max, plan.ending) = (1 << 20, 1000, Ending::Leave);
    (plan.rude, plan.jumps) = (1, 0);
    let mut world = World::new(plan, false);
    live(&mut world)?;
    for at in 0..world.clients.len() {
        if !world.clients[at].over {
            world.reset(at)?;
        }
    }
    world.settle()?;
    world.outlast_the_past()?;
    flood(&mut world, FLOOD * shards)?;
    let fresh = Model::new(&world.plan);
    let former = std::mem::replace(&mut world.model, fresh);
    let epochs = TOPICS.map(|topic| former.newest(topic).map(|(epoch, _)| epoch.to_owned()));
    world.former = Some(former);
    for _ in 0..4 {
        live(&mut world)?;
    }
    let mut both = 0;
    for (topic, epoch) in TOPICS.into_iter().zip(epochs) {
        if let (Some(former), Some((epoch, _))) = (epoch, world.model.newest(topic)) {
            assert_ne!(former, epoch, "seed {seed}: {topic} was forgotten and lives on");
            both += 1;
        }
    }
    Ok((both, world.model.tally().contains("a position of another life")))
}

fn live(world: &mut World) -> Judged {
    for _ in 0..world.plan.steps {
        world.random_step()?;
    }
    world.rest_and_audit()
}

/// One client publishes to so many names, and goes.
fn flood(world: &mut World, names: usize) -> Judged {
    let is_open = |world: &World| world.clients.iter().position(|client| client.open && !client.over);
    while is_open(world).is_none() {
        world.connect()?;
        world.settle()?;
    }
    let at = is_open(world).expect("just seen");
    for first in (0..names).step_by(1000) {
        let mut bytes = Vec::new();
        for number in first..first + 1000 {
            let json = format!(r#"{{"op":"publish","topic":"flood/{number}","data":1}}"#);
            encode::masked_frame(&mut bytes, Opcode::Text, json.as_bytes(), [1, 2, 3, 4]);
        }
        world.clients[at].say(&bytes);
        world.settle()?;
    }
    for at in 0..world.clients.len() {
        if !world.clients[at].over {
            world.reset(at)?;
        }
    }
    world.settle()
}

#[test]
fn a_forgotten_topic_begins_anew_and_positions_of_its_former_life_are_strangers() {
    let mut came_back = 0;
    for (seed, shards) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1), (6, 2)] {
        match live_twice(seed, shards) {
            Ok((both, some)) => {
                assert!(both > 0, "seed {seed}: no topic lived twice");
                came_back += usize::from(some);
            }
            Err(broken) => panic!("seed {seed}: {broken}"),
        }
    }
    assert!(came_back > 1, "hardly anybody came back");
}
