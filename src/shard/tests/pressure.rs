//! Peers that do not take what they are sent, rings that are full, shards that are busier than others.

use std::cell::RefCell;

use super::*;
use crate::mesh::Desk;

fn subscribe(topic: &str) -> String {
    format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#)
}

fn publish(topic: &str, len: usize) -> String {
    format!(r#"{{"op":"publish","topic":"{topic}","data":"{}"}}"#, "x".repeat(len))
}

/// A world with `/echo`, messages of up to 1 MiB, and one connection to it.
fn echo() -> (World, usize) {
    let mut world = World::with(1, 4, |config| {
        config.server.echo = true;
        config.limits.message_bytes_max = 1 << 20;
    });
    let peer = world.accept(0);
    world.send(peer, UPGRADE.replace("/ws", "/echo").as_bytes());
    world.settle();
    assert!(world.hear_head(peer).starts_with("HTTP/1.1 101 "));
    (world, peer)
}

#[test]
fn an_echo_is_the_message_itself_however_many_fragments_it_came_in() {
    let (mut world, peer) = echo();
    assert_eq!(world.hear(peer), [""; 0], "no welcome: it does not speak our language");
    world.frame(peer, Opcode::Text, b"plain");
    let mut bytes = vec![0x02, 0x81, 0, 0, 0, 0, b'a'];
    for _ in 1..65_535 {
        bytes.extend_from_slice(&[0x00, 0x81, 0, 0, 0, 0, b'a']);
    }
    bytes.extend_from_slice(&masked(Opcode::Ping, b"between"));
    bytes.extend_from_slice(&[0x80, 0x81, 0, 0, 0, 0, b'a']);
    for part in bytes.chunks(limits::READ_BYTES_PER_TURN) {
        world.send(peer, part);
        world.settle();
    }
    assert_eq!(world.hear(peer), ["text plain", "pong frame between", "binary of 65536"]);
    let large = vec![b'b'; 1 << 20];
    for part in masked(Opcode::Binary, &large).chunks(10_000) {
        world.send(peer, part);
    }
    world.settle();
    assert_eq!(world.hear(peer), ["binary of 1048576"]);
    world.leave();
}

#[test]
fn reading_pauses_while_replies_wait_and_resumes_when_they_are_written() {
    let (mut world, peer) = echo();
    world.peers[peer].room = 10;
    world.frame(peer, Opcode::Binary, &[0; 40_000]);
    world.settle();
    assert!(world.reads(peer), "40 KB may wait");
    world.frame(peer, Opcode::Binary, &[0; 40_000]);
    world.settle();
    assert!(!world.reads(peer) && world.shards[0].reads_any(), "80 KB is enough, for this one");
    world.writable(peer, 5_000);
    world.settle();
    assert_eq!((world.reads(peer), world.peers[peer].resumed), (false, 0));
    world.writable(peer, usize::MAX);
    world.settle();
    assert_eq!((world.reads(peer), world.peers[peer].resumed), (true, 1));
    assert_eq!(world.hear(peer), ["binary of 40000", "binary of 40000"]);
    world.leave();
}

#[test]
fn reading_resumes_when_the_replies_are_written_even_if_publications_still_wait() {
    let (mut world, other) = echo();
    let peer = world.open(0);
    world.reset(other);
    world.tell(peer, &subscribe("a"));
    world.peers[peer].room = 0;
    for _ in 0..30 {
        world.say(peer, &format!("[{}]", vec![r#"{"op":"ping"}"#; 200].join(",")));
    }
    world.settle();
    assert!(!world.reads(peer));
    let publisher = world.open(0);
    for _ in 0..8 {
        world.tell(publisher, &publish("a", 60_000));
    }
    world.writable(peer, 200_000);
    world.settle();
    assert!(world.shards[0].pending(world.peers[peer].id) > 0 && world.peers[peer].room == 0);
    assert!(world.reads(peer), "its replies are written");
    assert_eq!(world.peers[peer].resumed, 1);
    world.leave();
}

#[test]
fn a_paused_connection_that_ends_is_read_again_to_see_the_end() {
    let (mut world, peer) = echo();
    world.peers[peer].room = 0;
    world.frame(peer, Opcode::Binary, &[0; 80_000]);
    world.settle();
    assert!(!world.reads(peer));
    world.shards[0].handle_stop();
    world.settle();
    assert_eq!((world.reads(peer), world.peers[peer].resumed), (true, 1));
    world.leave();
}

#[test]
fn replies_alone_never_make_a_slow_consumer() {
    let mut world = World::with(1, 4, |config| config.limits.outbound_bytes_max = 1000);
    let peer = world.open(0);
    world.peers[peer].room = 0;
    for id in 0..500 {
        world.tell(peer, &format!(r#"{{"op":"publish","id":{id},"topic":"a","data":1}}"#));
    }
    assert!(world.shards[0].pending(world.peers[peer].id) > 10_000);
    world.writable(peer, usize::MAX);
    world.settle();
    assert_eq!(world.hear(peer).len(), 500);
    world.leave();
}

#[test]
fn a_slow_consumer_gets_whole_frames_and_4008_and_nobody_else_waits_for_it() {
    for room in [0, 1, 100, 333, 334] {
        let mut world = World::with(2, 4, |config| config.limits.outbound_bytes_max = 2000);
        let topic = world.topic_at(1);
        let (slow, fast, publisher) = (world.open(0), world.open(0), world.open(1));
        world.tell(slow, &subscribe(&topic));
        world.tell(fast, &subscribe(&topic));
        world.peers[slow].room = room;
        for _ in 0..20 {
            world.tell(publisher, &publish(&topic, 250));
        }
        assert_eq!(world.hear(fast).len(), 20);
        assert!(world.shards[0].pending(world.peers[slow].id) < 500, "what waited was dropped");
        world.writable(slow, usize::MAX);
        world.settle();
        let heard = world.hear(slow);
        let (last, before) = heard.split_last().expect("something");
        assert_eq!(last, "close 4008");
        let frame = world.peers[fast].got.len() / 20; // near enough: the welcome is shorter than a frame is long
        assert!(before.len() <= room / (frame - 60) + 1, "{} frames in {room} bytes", before.len());
        assert_eq!(world.peers[slow].heard, world.peers[slow].got.len(), "nothing half, nothing behind");
        world.tell(publisher, &publish(&topic, 1));
        assert_eq!((world.hear(slow).len(), world.hear(fast).len()), (0, 1));
        world.leave();
    }
}

#[test]
fn a_full_ring_pauses_the_readers_of_its_shard_and_loses_nothing() {
    let mut world = World::with(2, 1, |_| {});
    let topic = world.topic_at(1);
    let (publisher, subscriber) = (world.open(0), world.open(1));
    world.tell(subscriber, &subscribe(&topic));
    let mut said = 0;
    while world.reads(publisher) {
        world.say(publisher, &publish(&topic, 1));
        said += 1;
        world.turn(0);
        assert!(said < 10, "the ring holds one parcel");
    }
    assert_eq!(said, 2);
    assert!(world.shards[0].lie_down(), "until there is room it has nothing to do");
    world.shards[0].rise();
    world.settle();
    assert!(world.reads(publisher));
    assert_eq!(world.hear(subscriber).len(), said);
    world.leave();
}

#[test]
fn a_full_delivery_ring_pauses_the_home_and_loses_nothing() {
    let mut world = World::with(2, 1, |_| {});
    let topic = world.topic_at(0);
    let (publisher, subscriber, mut said) = (world.open(0), world.open(1), 0);
    world.tell(subscriber, &subscribe(&topic));
    while world.reads(publisher) {
        world.say(publisher, &publish(&topic, 1));
        said += 1;
        world.turn(0);
        assert!(said < 10, "the ring holds one parcel");
    }
    world.say(subscriber, &publish(&topic, 1));
    world.turn(1); // takes the one parcel, and posts a command
    world.turn(0);
    world.settle();
    assert_eq!(world.hear(subscriber).len(), said + 1);
    world.leave();
}

#[test]
fn a_home_with_many_busy_peers_hears_every_one_of_them() {
    let mut world = World::with(8, limits::RING_PARCELS, |_| {});
    let topic = world.topic_at(0);
    let peers: Vec<usize> = (1..8).map(|shard| world.open(shard)).collect();
    let witness = world.open(0);
    world.tell(witness, &subscribe(&topic));
    for turn in 0..4 {
        // Everybody fills its ring while the home works.
        for _ in 0..limits::RING_PARCELS {
            for (number, &peer) in peers.iter().enumerate() {
                if world.reads(peer) {
                    world.say(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":{number}}}"#));
                    world.turn(number + 1);
                }
            }
        }
        world.turn(0);
        if turn == 3 {
            let heard = world.hear(witness);
            for number in 0..peers.len() {
                assert!(heard.iter().any(|line| line.ends_with(&format!(" {number}"))), "peer {number} starves");
            }
        }
    }
    world.leave();
}

thread_local! {
    /// A home's end of the mesh, for a bell to ring in the middle of the other shard's turn.
    static BUSY: RefCell<Option<(Desk, Home)>> = const { RefCell::new(None) };
    static ANSWERS: RefCell<usize> = const { RefCell::new(0) };
}

/// Posts more as soon as there is room, as a home on another core may.
struct Eager;

impl Wake for Eager {
    fn wake(&self) {
        let answers = ANSWERS.with_borrow_mut(|answers| {
            *answers += 1;
            *answers
        });
        if answers < 5_000 {
            BUSY.with_borrow_mut(|busy| fill(busy.as_mut().expect("set before")));
        }
    }
}

fn fill((desk, home): &mut (Desk, Home)) {
    desk.rise();
    desk.post(home); // what was left over
    while !desk.deliveries_wait() {
        let (payload, conn) = (crate::protocol::Payload::Json(b"1"), ConnId { index: 0, generation: 0 });
        let topic = Topic::parse("a").expect("valid");
        let id = crate::protocol::Id::Int(1);
        home.handle_publish(crate::home::Publish {
            topic,
            payload,
            shard: ShardId(1),
            conn,
            user: None,
            permit: crate::rules::Permit::default(),
            id,
            echo: true,
            key: None,
            conflate: None,
        });
        desk.post(home);
    }
    assert!(desk.lie_down(false));
}

#[test]
fn a_home_that_delivers_without_end_does_not_keep_a_shard_from_its_sockets() {
    let wakes: Vec<Arc<dyn Wake>> = vec![Arc::new(Eager), Arc::new(Silent)];
    let [home, shard] = <[Desk; 2]>::try_from(mesh::join(wakes, limits::RING_PARCELS)).expect("two");
    let config = Config::default();
    let origins = Origins::parse(&config.server.allowed_origins).expect("valid");
    let mut shard = Shard::new(Settings { config, origins, credentials: None, began_unix_s: 0, seed: 42 }, shard, 0);
    let mut busy = (home, Home::new(ShardId(1), 2, Rc::default(), 0, 1));
    fill(&mut busy);
    BUSY.set(Some(busy));
    shard.begin_turn(0);
    shard.end_turn(&mut Net { peers: &mut [], slots: &HashMap::new(), shard: 1 });
    let answers = ANSWERS.take();
    assert!((1..=2 * limits::RING_PARCELS).contains(&answers), "one turn took {answers} parcels");
    assert!(!shard.lie_down(), "the rest is for the next turn");
    BUSY.set(None);
}

/// Sends a message in whole reads; how many of its bytes found room of their own.
fn send_in_reads(world: &mut World, peer: usize, payload: &[u8]) -> usize {
    let mut placed = 0;
    for read in masked(Opcode::Binary, payload).chunks(limits::READ_BYTES_PER_TURN) {
        let Peer { shard, id, .. } = world.peers[peer];
        placed += world.shards[shard].room(id).len().min(read.len());
        world.send(peer, read);
    }
    placed
}

#[test]
fn a_large_message_is_read_to_the_buffer_of_the_one_before_and_goes_back_from_there() {
    let (mut world, peer) = echo();
    world.peers[peer].got.clear();
    let payload: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7) as u8).collect();
    for (len, placed) in [
        (1_000_000, 0), // nothing is there at first
        (1_000_000, 1_000_014),
        (300_000, 300_014),
        (100_000, 100_014),
        (10, 16), // it was expected to be long
        (50_000, 0),
        (50_000, 50_008),
        (300_000, 300_014 - (limits::READ_BYTES_PER_TURN - 50_008)),
    ] {
        assert_eq!(send_in_reads(&mut world, peer, &payload[..len]), placed, "a message of {len} bytes");
        world.settle();
        let mut sent = Vec::new();
        encode::frame(&mut sent, Opcode::Binary, &payload[..len]);
        assert!(std::mem::take(&mut world.peers[peer].got) == sent, "a message of {len} bytes");
    }
}

#[test]
fn a_large_answer_leaves_as_soon_as_it_is_made_and_a_small_one_at_the_end_of_the_turn() {
    let (mut world, peer) = echo();
    for (len, at_once) in [(limits::LARGE_MESSAGE_BYTES_MIN - 9, false), (limits::LARGE_MESSAGE_BYTES_MIN, true)] {
        world.peers[peer].got.clear();
        world.frame(peer, Opcode::Binary, &vec![1; len]);
        let Peer { shard, id, .. } = world.peers[peer];
        let World { shards, peers, slots, .. } = &mut world;
        shards[shard].flush_large(id, &mut Net { peers, slots, shard });
        assert_eq!(world.peers[peer].got.len(), if at_once { len + 4 } else { 0 });
        world.settle();
        assert_eq!(world.peers[peer].got.len(), len + 4, "once");
    }
}

#[test]
fn a_large_answer_waits_for_a_socket_that_is_full() {
    let (mut world, peer) = echo();
    world.peers[peer].got.clear();
    world.peers[peer].room = 1_000;
    for _ in 0..2 {
        world.frame(peer, Opcode::Binary, &vec![1; 40_000]);
        let Peer { shard, id, .. } = world.peers[peer];
        let World { shards, peers, slots, .. } = &mut world;
        shards[shard].flush_large(id, &mut Net { peers, slots, shard });
        assert_eq!(world.peers[peer].got.len(), 1_000);
    }
    assert!(!world.reads(peer));
    world.writable(peer, usize::MAX);
    world.settle();
    assert_eq!((world.peers[peer].got.len(), world.reads(peer)), (2 * 40_004, true));
}

#[test]
fn a_connection_that_goes_in_the_middle_of_a_large_message_leaves_nothing() {
    let (mut world, peer) = echo();
    send_in_reads(&mut world, peer, &vec![1; 1_000_000]);
    world.settle();
    let begin = masked(Opcode::Binary, &vec![2; 1_000_000]);
    let Peer { shard, id, .. } = world.peers[peer];
    world.send(peer, &begin[..100_000]);
    assert_eq!(world.shards[shard].room(id).len(), limits::PLACED_BYTES_PER_TURN);
    world.send(peer, &begin[100_000..200_000]);
    world.shards[shard].handle_reset(id);
    assert!(world.shards[shard].room(id).is_empty());
    world.shards[shard].handle_placed(id, 1); // it was read before
    world.settle();
    assert_eq!(world.shards[shard].outbound.held(), (0, 0));
}
