//! Random comings and goings over three shards, turns in any order: whoever listens knows in the end who is there.

use std::collections::BTreeSet;

use super::*;

/// A connection that attends, and whom it believes to be there.
struct Listener {
    peer: usize,
    topic: String,
    believes: BTreeSet<String>,
}

impl Listener {
    fn new(world: &mut World, shard: usize, topic: &str) -> Self {
        let peer = world.open(shard);
        world.say(peer, &attend(1, topic));
        world.say(peer, &presence(2, topic));
        Self { peer, topic: topic.to_owned(), believes: BTreeSet::new() }
    }

    fn hear(&mut self, world: &mut World) {
        for line in world.hear(self.peer) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["join", topic, who] if topic == self.topic => drop(self.believes.insert(who.to_owned())),
                ["leave", topic, who] if topic == self.topic => drop(self.believes.remove(who)),
                ["ack", "1", ..] => {}
                ["ack", "2", ..] => self.believes.extend(members(&line)),
                _ => assert!(line.starts_with(&self.topic), "{line}"),
            }
        }
    }
}

/// Who is in a list: users, and connections without one.
fn members(ack: &str) -> BTreeSet<String> {
    let (_, list) = ack.split_once(" members [").expect("a list");
    let (list, _) = list.split_once(']').expect("its end");
    let who = |member: &str| member.rsplit(' ').next().map(str::to_owned);
    list.split(", ").filter(|member| !member.is_empty()).filter_map(who).collect()
}

#[test]
fn whoever_attends_and_takes_a_list_knows_in_the_end_who_is_there() {
    for seed in 1..=60u32 {
        let mut random = seed;
        let mut pick = |below: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % below
        };
        let mut world = rooms(3);
        let topics = [world.topic_at(0), world.topic_at(2)];
        let mut listeners: Vec<Listener> = Vec::new();
        let mut peers: Vec<usize> = Vec::new();
        for _ in 0..150 {
            let topic = &topics[pick(2)];
            match pick(12) {
                0 | 1 if peers.len() < 12 => peers.push(match pick(3) {
                    0 => world.open(pick(3)),
                    name => world.open_user(pick(3), ["ann", "bob"][name - 1]),
                }),
                2 if listeners.len() < 4 => listeners.push(Listener::new(&mut world, pick(3), topic)),
                3 if !peers.is_empty() => {
                    let peer = peers.swap_remove(pick(peers.len()));
                    world.reset(peer);
                }
                kind @ 4..=9 if !peers.is_empty() => {
                    let peer = peers[pick(peers.len())];
                    let command = match kind {
                        4 | 5 => subscribe(3, topic),
                        6 => attend(4, topic),
                        7 | 8 => unsubscribe(5, topic),
                        _ => publish(topic, 1),
                    };
                    world.say(peer, &command);
                }
                _ => world.turn(pick(3)),
            }
        }
        world.settle();
        for mut listener in listeners {
            listener.hear(&mut world);
            let truth = members(&world.list(&listener.topic));
            assert_eq!(listener.believes, truth, "seed {seed}");
        }
        world.leave();
    }
}
