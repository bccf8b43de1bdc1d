//! The end: by the peer, by us, by a clock, by a stop.

use super::*;

fn close_frame(code: u16) -> Vec<u8> {
    masked(Opcode::Close, &code.to_be_bytes())
}

#[test]
fn s5_5_1_a_close_is_answered_with_its_code_and_our_side_ends_after_it() {
    for (payload, answer) in [(&b""[..], "close"), (b"\x03\xe8", "close 1000"), (b"\x0f\xa1bye", "close 4001")] {
        let mut world = World::new(1);
        let peer = world.open(0);
        world.tell(peer, r#"{"op":"subscribe","topic":"a"}"#);
        world.say(peer, r#"{"op":"ping","id":1}"#);
        world.frame(peer, Opcode::Close, payload);
        world.say(peer, r#"{"op":"ping","id":2}"#); // after its Close nothing counts
        world.settle();
        assert_eq!(world.hear(peer), ["pong 1", answer]);
        assert!(world.peers[peer].shut && !world.peers[peer].dropped);
        world.end(peer);
        world.assert_empty();
        assert_eq!(world.closed(CloseReason::PeerClosed), 1);
    }
}

#[test]
fn s7_1_7_a_violation_closes_with_its_code_behind_what_was_said_before() {
    let utf8 = masked(Opcode::Text, b"\xff");
    for (bytes, code) in [(b"\x81\x00".to_vec(), 1002), (utf8, 1007), (masked(Opcode::Close, &[3, 237]), 1002)] {
        let mut world = World::new(1);
        let peer = world.open(0);
        world.say(peer, r#"{"op":"ping","id":1}"#);
        world.send(peer, &bytes);
        world.settle();
        assert_eq!(world.hear(peer), ["pong 1", &format!("close {code}")]);
        assert!(world.peers[peer].shut);
        world.send(peer, &bytes);
        world.end(peer);
        world.assert_empty();
        assert_eq!(world.closed(CloseReason::Violation), 1);
    }
}

#[test]
fn a_message_over_the_limit_closes_with_1009_before_it_was_sent() {
    let mut world = World::new(1);
    let peer = world.open(0);
    world.send(peer, &[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]);
    world.settle();
    assert_eq!(world.hear(peer), ["close 1009"]);
    world.leave();
}

/// A connection that we closed for being slow, our Close heard.
fn closed_by_us(world: &mut World) -> usize {
    let (slow, publisher) = (world.open(0), world.open(0));
    world.tell(slow, r#"{"op":"subscribe","topic":"a"}"#);
    world.peers[slow].room = 0;
    let publish = format!(r#"{{"op":"publish","topic":"a","data":"{}"}}"#, "x".repeat(600));
    world.tell(publisher, &publish);
    world.tell(publisher, &publish);
    world.writable(slow, usize::MAX);
    world.settle();
    assert_eq!(world.hear(slow), ["close 4008"]);
    world.reset(publisher);
    slow
}

#[test]
fn after_our_close_only_the_peer_s_counts_and_ends_it() {
    let mut world = World::with(1, 4, |config| config.limits.outbound_bytes_max = 1000);
    let peer = closed_by_us(&mut world);
    world.say(peer, r#"{"op":"ping","id":2}"#);
    world.frame(peer, Opcode::Ping, b"x");
    world.settle();
    assert_eq!(world.hear(peer), [""; 0]);
    assert!(!world.peers[peer].shut);
    world.send(peer, &close_frame(4008));
    world.settle();
    assert_eq!((world.hear(peer), world.peers[peer].shut), (vec![], true));
    world.end(peer);
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::SlowConsumer), 1);
}

#[test]
fn a_peer_that_does_not_answer_our_close_is_dropped_by_its_deadline() {
    let mut world = World::with(1, 4, |config| config.limits.outbound_bytes_max = 1000);
    let peer = closed_by_us(&mut world);
    for _ in 0..limits::CLOSE_MS_MAX / 100 - 1 {
        world.pass(100);
        world.frame(peer, Opcode::Pong, b""); // activity does not help
        assert!(!world.peers[peer].dropped);
    }
    world.pass(100);
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::SlowConsumer), 1);
}

#[test]
fn a_peer_that_does_not_end_after_all_is_said_is_dropped_by_its_deadline() {
    let mut world = World::new(1);
    let peer = world.open(0);
    world.send(peer, &close_frame(1000));
    world.pass(limits::CLOSE_MS_MAX - 100);
    assert!(world.peers[peer].shut && !world.peers[peer].dropped);
    world.pass(100);
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::PeerClosed), 1);
}

#[test]
fn a_peer_that_takes_nothing_cannot_outlive_its_deadline_either() {
    let mut world = World::new(1);
    let peer = world.open(0);
    world.peers[peer].room = 1;
    world.send(peer, &close_frame(1000));
    world.settle();
    assert!(!world.peers[peer].shut, "our Close is half sent");
    world.end(peer);
    world.settle();
    assert!(!world.peers[peer].dropped, "it may still take it");
    world.pass(limits::CLOSE_MS_MAX);
    world.assert_empty();
}

#[test]
fn a_socket_that_breaks_while_it_is_written_to_ends_the_connection() {
    let mut world = World::new(2);
    let far = world.topic_at(1);
    let peer = world.open(0);
    world.tell(peer, &format!(r#"{{"op":"subscribe","topic":"{far}"}}"#));
    world.peers[peer].broken = true;
    world.tell(peer, &format!(r#"{{"op":"publish","topic":"{far}","data":1}}"#));
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::Reset), 1);
}

#[test]
fn a_stop_delivers_what_was_published_and_then_closes_everybody_with_1001() {
    for shards in 1..=3u16 {
        let mut world = World::new(usize::from(shards));
        let topics: Vec<String> = (0..shards).map(|home| world.topic_at(home)).collect();
        let peers: Vec<usize> = (0..6).map(|number| world.open(number % usize::from(shards))).collect();
        for &peer in &peers {
            world.tell(peer, r#"{"op":"subscribe","topic":"chat/+"}"#);
        }
        let halfway = world.accept(0);
        world.send(halfway, b"GET");
        for (number, &peer) in peers.iter().enumerate() {
            let topic = &topics[number % topics.len()];
            world.say(peer, &format!(r#"{{"op":"publish","id":1,"topic":"{topic}","data":{number}}}"#));
        }
        for shard in &mut world.shards {
            shard.handle_stop();
            shard.handle_stop(); // once is enough
            assert!(!shard.reads_any(), "whatever is said from now on comes too late");
        }
        world.settle();
        for &peer in &peers {
            let heard = world.hear(peer);
            assert_eq!(heard.len(), 1 + peers.len() + 1, "{heard:?}");
            assert_eq!(heard.iter().filter(|line| line.starts_with("chat/")).count(), peers.len());
            assert_eq!(heard.iter().filter(|line| line.starts_with("ack 1 ")).count(), 1);
            assert_eq!(heard.last().map(String::as_str), Some("close 1001"));
        }
        assert!(world.peers[halfway].dropped);
        assert!(world.shards.iter().all(Shard::reads_any), "to see their answers");
        for &peer in &peers {
            assert!(!world.shards[world.peers[peer].shard].is_stopped());
            world.send(peer, &close_frame(1001));
            world.settle();
            world.end(peer);
        }
        world.assert_empty();
        assert!(world.shards.iter().all(Shard::is_stopped));
        assert_eq!(world.closed(CloseReason::Stopping), 7);
    }
}

#[test]
fn a_stop_waits_for_the_commands_of_a_shard_that_is_behind() {
    let mut world = World::with(2, 1, |_| {});
    let topic = world.topic_at(1);
    let (subscriber, publisher) = (world.open(1), world.open(0));
    world.tell(subscriber, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
    for number in 0..5 {
        world.say(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":{number}}}"#));
        world.turn(0); // the ring is full after the first
    }
    world.shards.iter_mut().for_each(Shard::handle_stop);
    for _ in 0..5 {
        world.turn(1);
    }
    assert!(!world.hear(subscriber).contains(&"close 1001".to_owned()), "there is more to come");
    world.settle();
    let heard = world.hear(subscriber);
    assert_eq!(heard.last().map(String::as_str), Some("close 1001"));
    let got = world.peers[subscriber].got.windows(7).filter(|window| *window == b"\"data\":").count();
    assert_eq!(got, 5, "all that was accepted was delivered");
    world.leave();
}

#[test]
fn who_ends_its_side_still_reads_what_it_was_told_before() {
    let mut world = World::new(1);
    for events in [false, true] {
        let peer = if events { world.listen(0, "topic=chat", "").0 } else { world.open(0) };
        if !events {
            world.tell(peer, r#"{"op":"subscribe","topic":"chat"}"#);
        }
        let publisher = world.open(0);
        world.peers[peer].room = 5;
        let before = world.peers[peer].got.len();
        world.tell(publisher, r#"{"op":"publish","topic":"chat","data":"before"}"#);
        world.end(peer);
        world.tell(publisher, r#"{"op":"publish","topic":"chat","data":"behind"}"#);
        assert!(!world.peers[peer].dropped, "some of it is still to be written");
        world.writable(peer, usize::MAX);
        world.settle();
        let got = String::from_utf8_lossy(&world.peers[peer].got[before..]).into_owned();
        assert!(got.contains("before") && !got.contains("behind"), "{got}");
        assert!(world.peers[peer].dropped);
    }
    // And whoever takes nothing more does not stay for ever.
    let peer = world.open(0);
    world.peers[peer].room = 0;
    world.tell(peer, r#"{"op":"ping"}"#);
    world.end(peer);
    world.pass(limits::CLOSE_MS_MAX);
    assert!(world.peers[peer].dropped);
    world.leave();
    assert_eq!(world.closed(CloseReason::PeerGone), 3);
}
