//! permessage-deflate on a connection: agreed to or not, messages in, echoes out, what it costs to be idle.

use std::mem::size_of_val;

use super::*;
use crate::ws::Kind;
use crate::ws::deflate::{Deflater, Inflater};

fn upgrade(path: &str, offer: &str) -> String {
    UPGRADE.replace("/ws", path).replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"))
}

/// A broker with compression and `/echo`, and a connection that offered this.
fn agreed(path: &str, offer: &str, configure: impl FnOnce(&mut Config)) -> (World, usize) {
    let mut world = World::with(1, 4, |config| {
        (config.server.deflate, config.server.echo) = (true, true);
        configure(config);
    });
    let peer = world.accept(0);
    world.send(peer, upgrade(path, offer).as_bytes());
    world.settle();
    assert!(world.hear_head(peer).contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "));
    (world, peer)
}

fn deflated(content: &[u8]) -> Vec<u8> {
    Deflater::new(15).deflate([content, b""], content.len() + 100).unwrap().to_vec()
}

/// A client's frame with this first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = masked(Opcode::Binary, payload);
    frame[0] = first;
    frame
}

impl World {
    fn say_deflated(&mut self, peer: usize, text: &str) {
        let bytes = frame(0xc1, &deflated(text.as_bytes()));
        self.send(peer, &bytes);
        self.settle();
    }

    /// The bytes that came and were not heard.
    fn hear_bytes(&mut self, peer: usize) -> Vec<u8> {
        let peer = &mut self.peers[peer];
        let heard = std::mem::replace(&mut peer.heard, peer.got.len());
        peer.got[heard..].to_vec()
    }
}

#[test]
fn it_is_agreed_to_only_where_the_operator_wants_it_and_the_client_offers_it() {
    for (deflate, offer, agrees) in [
        (true, "permessage-deflate; client_max_window_bits", true),
        (true, "permessage-deflate; level=9", false),
        (false, "permessage-deflate", false),
    ] {
        let mut world = World::with(1, 4, |config| config.server.deflate = deflate);
        let peer = world.accept(0);
        world.send(peer, upgrade("/ws", offer).as_bytes());
        world.settle();
        assert_eq!(world.hear_head(peer).contains("Sec-WebSocket-Extensions"), agrees, "{deflate} {offer}");
        assert_eq!(world.hear(peer), ["welcome"]);
        world.say_deflated(peer, r#"{"op":"ping","id":1}"#);
        assert_eq!(world.hear(peer), [if agrees { "pong 1" } else { "close 1002" }]);
    }
}

#[test]
fn compressed_commands_do_what_others_do_whole_or_in_fragments() {
    let (mut world, peer) = agreed("/ws", "permessage-deflate", |_| {});
    assert_eq!(world.hear(peer), ["welcome"]);
    world.say_deflated(peer, r#"{"op":"subscribe","id":1,"topic":"a"}"#);
    let publish = deflated(br#"{"op":"publish","topic":"a","data":[1,1,1,1,1,1,1]}"#);
    let mut bytes = frame(0x41, &publish[..7]);
    bytes.extend(frame(0x89, b"?"));
    bytes.extend(frame(0x80, &publish[7..]));
    bytes.iter().for_each(|&byte| world.send(peer, &[byte]));
    world.settle();
    assert_eq!(world.hear(peer), ["ack 1 a @0", "pong frame ?", "a:1 [1,1,1,1,1,1,1]"]);
}

#[test]
fn a_bomb_ends_with_1009_bad_deflate_and_bad_text_with_1007() {
    let zeros = deflated(&vec![b'0'; 1001]);
    let bad_text = deflated(b"{\"op\":\"ping\",\"\xed\xa0\x80\":1}");
    for (first, bytes, code) in
        [(0xc1, &zeros[..], 1009), (0xc2, &zeros, 1009), (0xc1, b"\xff\xff", 1007), (0xc1, &bad_text, 1007)]
    {
        let (mut world, peer) = agreed("/ws", "permessage-deflate", |config| config.limits.message_bytes_max = 1000);
        let other = world.open(0);
        // What follows a message that fails the connection is not looked at.
        world.send(peer, &[frame(first, bytes), frame(0xc1, &deflated(br#"{"op":"ping"}"#))].concat());
        world.settle();
        assert_eq!(world.hear(peer), ["welcome".to_owned(), format!("close {code}")]);
        let index = world.peers[peer].id.index as usize;
        assert_eq!(world.shards[0].connections[index].reason, Some(CloseReason::Violation));
        world.say(other, r#"{"op":"ping","id":7}"#);
        world.settle();
        assert_eq!(world.hear(other), ["pong 7"]);
    }
}

#[test]
fn after_our_close_nothing_is_inflated() {
    let (mut world, peer) = agreed("/ws", "permessage-deflate", |_| {});
    world.shards[0].handle_stop();
    world.settle();
    world.send(peer, &frame(0xc1, b"\xff\xff"));
    let index = world.peers[peer].id.index as usize;
    assert_eq!(world.shards[0].connections[index].phase, connection::Phase::Closing);
    assert!(world.shards[0].inflater.is_none());
}

#[test]
fn an_echo_is_compressed_where_that_is_shorter_and_within_the_window_that_was_asked_for() {
    let (mut world, peer) = agreed("/echo", "permessage-deflate; server_max_window_bits=9", |_| {});
    let long = "some text, ".repeat(500);
    for (kind, first) in [(Kind::Text, 0xc1), (Kind::Binary, 0xc2)] {
        world.send(peer, &frame(first, &deflated(long.as_bytes())));
        world.settle();
        let echo = world.hear_bytes(peer);
        assert!(echo[0] == first && echo.len() < long.len() / 5, "{}", echo.len());
        let content =
            Inflater::default().message(kind, &echo[encode::frame_header_len(&echo)..], 1 << 16).unwrap().to_vec();
        assert_eq!(content, long.as_bytes());
        world.send(peer, &frame(first, &deflated(b"short")));
        world.settle();
        assert_eq!(world.hear_bytes(peer), [&[first & 0xbf, 5], &b"short"[..]].concat());
        world.send(peer, &frame(first, b"\x00"));
        world.settle();
        assert_eq!(world.hear_bytes(peer), [first & 0xbf, 0]);
    }
    // A message that came as it is is no other.
    world.send(peer, &frame(0x81, long.as_bytes()));
    world.settle();
    assert_eq!(world.hear_bytes(peer)[0], 0xc1);
}

#[test]
fn an_idle_connection_that_agreed_owns_no_byte_more() {
    let (mut world, peer) = agreed("/ws", "permessage-deflate", |_| {});
    world.say_deflated(peer, r#"{"op":"ping","id":1}"#);
    let index = world.peers[peer].id.index as usize;
    let connection = &world.shards[0].connections[index];
    let connection::Speech::WebSocket(decoder) = &connection.speech else { panic!("it speaks WebSocket") };
    assert_eq!(decoder.held_bytes(), 0);
    assert!(size_of_val(connection) <= 64);
    assert_eq!(world.shards[0].outbound.pending(world.peers[peer].id.index), 0);
    assert!(world.shards[0].inflater.is_some(), "the shard's, for all of its connections");
}
