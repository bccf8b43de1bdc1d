//! One shard gets no time while others need its home: rings fill, and what does not fit must wait with the publishers.

use crate::commands;
use crate::model::Judged;
use crate::plan::{Ending, Plan, TOPICS};
use crate::world::World;

const PUBLICATIONS: usize = 400;

/// Two shards with rings of one parcel; the second one is frozen while a client of the first publishes to every topic.
fn press(seed: u64) -> Judged {
    let mut plan = Plan::of(seed);
    (plan.shards, plan.crowded, plan.ring) = (2, 1, 1);
    (plan.kernel_bytes, plan.read_bytes, plan.pad_bytes) = (100_000, 500, 100);
    plan.rules.clear();
    (plan.message_bytes_max, plan.outbound_bytes_max, plan.ending) = (4_000, 1 << 20, Ending::Leave);
    let mut world = World::new(plan, false);
    while !world.clients.iter().any(|client| client.open) {
        world.connect()?;
        world.settle()?;
    }
    let at = world.clients.iter().position(|client| client.open).expect("just seen");
    let mut all = Vec::new();
    for number in 0..PUBLICATIONS {
        let id = Some(number.to_string());
        let (topic, member) = (TOPICS[number % TOPICS.len()], format!(r#""id":{number},"#));
        all.push(commands::publish(topic, id, &member, None, &world.plan, world.clients[at].number, &mut world.random));
    }
    world.say_plainly(at, all)?;
    world.settle_without(Some(1))?;
    let conn = world.clients[at].conn.expect("it is accepted");
    let unread = world.drivers[0].sockets.at(conn).map_or(0, |socket| socket.inbound.len());
    assert!(unread > 10_000, "seed {seed}: only {unread} bytes wait unread: the broker took what it cannot pass on");
    world.settle()?;
    world.note(crate::event::Event::Rest { audited: true })
}

#[test]
fn a_full_ring_pauses_reading_and_nobody_spins_until_it_drains() {
    for seed in 0..20 {
        if let Err(broken) = press(seed) {
            panic!("seed {seed}: {broken}");
        }
    }
}
