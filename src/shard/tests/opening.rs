//! From the accept to the welcome, and everything that ends before it.

use super::*;

#[test]
fn a_handshake_in_any_split_is_the_same_handshake() {
    let text = [UPGRADE.as_bytes(), &masked(Opcode::Text, br#"{"op":"ping","id":1}"#)].concat();
    for split in 0..=text.len() {
        let mut world = World::new(1);
        let peer = world.accept(0);
        for part in [&text[..split], &text[split..]].into_iter().filter(|part| !part.is_empty()) {
            world.send(peer, part);
        }
        world.settle();
        assert!(world.hear_head(peer).contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "split at {split}");
        assert_eq!(world.hear(peer), ["welcome", "pong 1"], "split at {split}");
        world.leave();
    }
}

#[test]
fn a_handshake_byte_by_byte_keeps_memory_for_its_head_only_while_it_lasts() {
    let mut world = World::new(1);
    let peer = world.accept(0);
    for byte in UPGRADE.bytes() {
        assert_eq!(world.shards[0].connections[0].phase, connection::Phase::Http);
        world.send(peer, &[byte]);
    }
    assert!(matches!(world.shards[0].connections[0].speech, connection::Speech::WebSocket(_)));
    world.settle();
    world.hear_head(peer);
    assert_eq!(world.hear(peer), ["welcome"]);
}

#[test]
fn the_welcome_comes_before_the_answers_to_frames_right_behind_the_request() {
    let mut world = World::new(1);
    let peer = world.accept(0);
    let subscribe =
        masked(Opcode::Text, br#"[{"op":"subscribe","id":1,"topic":"a"},{"op":"publish","topic":"a","data":1}]"#);
    world.send(peer, &[UPGRADE.as_bytes(), &subscribe, &masked(Opcode::Ping, b"x")[..4]].concat());
    world.settle();
    world.hear_head(peer);
    assert_eq!(world.hear(peer), ["welcome", "ack 1 a @0", "a:1 1"]);
    world.send(peer, &masked(Opcode::Ping, b"x")[4..]);
    world.settle();
    assert_eq!(world.hear(peer), ["pong frame x"]);
}

#[test]
fn a_plain_request_gets_its_answer_and_then_the_end() {
    let mut world = World::new(1);
    let peer = world.accept(0);
    world.send(peer, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n");
    world.settle();
    assert!(world.hear_head(peer).starts_with("HTTP/1.1 200 "));
    assert!(world.peers[peer].shut && !world.peers[peer].dropped, "its last bytes are not to be lost to a reset");
    world.send(peer, UPGRADE.as_bytes()); // of no interest
    world.end(peer);
    world.assert_empty();
    assert_eq!(world.closed(CloseReason::HttpAnswered), 1);
}

#[test]
fn a_peer_that_ends_its_side_with_its_request_still_gets_the_answer() {
    let mut world = World::new(1);
    let peer = world.accept(0);
    world.send(peer, b"GET / HTTP/1.0\r\n\r\n");
    world.end(peer);
    world.settle();
    assert!(world.hear_head(peer).starts_with("HTTP/1.1 200 "));
    world.assert_empty();
}

#[test]
fn what_is_no_request_or_no_upgrade_for_us_is_refused_with_a_reason() {
    let refused = [
        ("\x16\x03\x01\x02\r\n\r\n".to_owned(), 400),
        (UPGRADE.replace("Version: 13", "Version: 8"), 426),
        (UPGRADE.replace("/ws", "/nothing"), 404),
        (UPGRADE.replace("/ws", "/echo"), 404),
        (UPGRADE.replace("Host: a\r\n", ""), 400),
        (UPGRADE.replace("Host: a", "Host: a\r\nOrigin: http://b"), 403),
        (UPGRADE.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "x".repeat(limits::HEAD_BYTES_MAX))), 431),
    ];
    for (request, status) in refused {
        let mut world = World::new(1);
        let peer = world.accept(0);
        world.send(peer, request.as_bytes());
        world.settle();
        let head = world.hear_head(peer);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60} {head}");
        assert!(world.peers[peer].shut);
        world.end(peer);
        world.assert_empty();
        assert_eq!(world.closed(CloseReason::HttpRefused), 1);
    }
}

#[test]
fn a_page_of_the_same_origin_and_no_other_may_connect() {
    for (origin, status) in [("http://a", 101), ("http://a:81", 403), ("null", 403)] {
        let mut world = World::new(1);
        let peer = world.accept(0);
        world.send(peer, UPGRADE.replace("Host: a", &format!("Host: a\r\nOrigin: {origin}")).as_bytes());
        world.settle();
        assert!(world.hear_head(peer).starts_with(&format!("HTTP/1.1 {status} ")), "{origin}");
    }
}

#[test]
fn a_head_that_does_not_end_is_cut_off_by_its_limit_however_it_trickles() {
    let mut world = World::new(1);
    let peer = world.accept(0);
    world.send(peer, b"GET / HTTP/1.1\r\nX: ");
    for _ in 0..limits::HEAD_BYTES_MAX {
        world.send(peer, b"x");
    }
    world.settle();
    assert!(world.hear_head(peer).starts_with("HTTP/1.1 431 "));
    let connection::Speech::Http(reader) = &world.shards[0].connections[0].speech else { panic!("no upgrade") };
    assert_eq!(reader.held_bytes(), 0);
    world.leave();
}

#[test]
fn who_sends_no_whole_request_in_time_is_dropped() {
    let mut world = World::new(1);
    let (silent, slow) = (world.accept(0), world.accept(0));
    for byte in 0..99 {
        world.send(slow, &UPGRADE.as_bytes()[byte..=byte]);
        world.pass(100);
        assert!(!world.peers[silent].dropped);
    }
    world.pass(100);
    assert!(world.peers[silent].dropped && world.peers[slow].shut, "activity does not help");
    assert!(world.peers[silent].got.is_empty(), "it asked nothing");
    assert!(world.hear_head(slow).starts_with("HTTP/1.1 408 Request Timeout\r\n"));
    world.end(slow);
    assert_eq!(world.closed(CloseReason::HandshakeTimeout), 2);
    world.assert_empty();
}

#[test]
fn a_peer_that_leaves_or_breaks_before_its_handshake_leaves_nothing() {
    let mut world = World::new(1);
    let (ended, reset) = (world.accept(0), world.accept(0));
    world.send(ended, b"GET");
    world.send(reset, b"GET");
    world.end(ended);
    world.reset(reset);
    world.reset(reset); // stale
    world.assert_empty();
    assert_eq!((world.closed(CloseReason::PeerGone), world.closed(CloseReason::Reset)), (1, 1));
}
