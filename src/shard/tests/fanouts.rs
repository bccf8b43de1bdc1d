//! In which order a fan-out reaches its subscribers, what goes between its slices, and what is left when all of them went.

use super::*;

/// Sockets that take everything and remember in which order.
#[derive(Default)]
struct Order(Vec<u32>);

impl Wire for Order {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        self.0.push(conn);
        Sent::Bytes(bytes.len())
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        self.send(conn, &pieces.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>())
    }
}

/// Subscribers of a topic, and one who publishes and subscribes to nothing.
fn subscribed(world: &mut World, topic: &str, subscribers: usize) -> Vec<u32> {
    let conns = (0..subscribers).map(|_| {
        let peer = world.open(0);
        world.say(peer, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        world.peers[peer].id.index
    });
    let conns = conns.collect();
    world.settle();
    conns
}

/// Who is written to in one turn of the shard.
fn turn(world: &mut World) -> Vec<u32> {
    let mut order = Order::default();
    world.shards[0].end_turn(&mut order);
    order.0
}

#[test]
fn each_fan_out_begins_with_somebody_else_and_reaches_everybody_once() {
    let mut world = World::new(1);
    let all = subscribed(&mut world, "news", 30);
    let publisher = world.open(0);
    let (mut firsts, mut lasts) = (vec![0; 31], vec![0; 31]);
    for _ in 0..300 {
        world.say(publisher, r#"{"op":"publish","topic":"news","data":1}"#);
        let mut order = turn(&mut world);
        firsts[order[0] as usize] += 1;
        lasts[order[order.len() - 1] as usize] += 1;
        order.sort_unstable();
        assert_eq!(order, all);
    }
    for count in all.iter().flat_map(|&conn| [firsts[conn as usize], lasts[conn as usize]]) {
        assert!((5..=15).contains(&count), "somebody is first or last {count} times in 300");
    }
}

#[test]
fn a_room_of_ten_is_served_between_the_slices_of_a_big_fan_out() {
    let mut world = World::new(1);
    let big = subscribed(&mut world, "big", 4 * limits::FANOUT_SLICE);
    let room = subscribed(&mut world, "room", 10);
    let publisher = world.open(0);
    world.say(publisher, r#"{"op":"publish","topic":"big","data":1}"#);
    let mut reached = turn(&mut world);
    assert_eq!(reached.len(), limits::FANOUT_SLICE, "one slice, then everybody else has a chance");
    while reached.len() < big.len() {
        world.say(publisher, r#"{"op":"publish","topic":"room","data":1}"#);
        let mut order = turn(&mut world);
        reached.extend(order.split_off(room.len()));
        order.sort_unstable();
        assert_eq!(order, room, "the room's first, all of it");
    }
    reached.sort_unstable();
    assert_eq!(reached, big);
    assert!(!world.shards[0].has_work());
}

#[test]
fn what_a_storm_of_connections_needed_goes_with_them_even_in_the_middle_of_a_fan_out() {
    let mut world = World::new(1);
    let publisher = world.open(0);
    let begin = world.shards[0].slots();
    let ids: Vec<ConnId> = (0..3 * begin)
        .map(|_| {
            let shard = &mut world.shards[0];
            let id = shard.handle_accept(false);
            for bytes in [UPGRADE.as_bytes(), &masked(Opcode::Text, br#"{"op":"subscribe","topic":"news"}"#)] {
                shard.handle_bytes(id, &mut [bytes, &[0; 16]].concat(), bytes.len());
            }
            id
        })
        .collect();
    while world.shards[0].has_work() {
        turn(&mut world);
    }
    assert!(world.shards[0].slots() > 3 * begin);
    world.say(publisher, r#"{"op":"publish","topic":"news","data":1}"#);
    turn(&mut world);
    for id in ids {
        world.shards[0].handle_reset(id);
    }
    assert_eq!(turn(&mut world), [0; 0], "most of them stood in the queue of the fan-out, and are gone");
    while world.shards[0].poll_action().is_some() {}
    assert_eq!(world.shards[0].slots(), 2 * begin, "one part stays empty, for the next who comes");
    assert_eq!(world.shards[0].connections_len(), 1);
    world.tell(publisher, r#"{"op":"ping","id":1}"#);
    assert_eq!(world.hear(publisher), ["pong 1"]);
}
