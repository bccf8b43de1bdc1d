//! permessage-deflate on a connection: agreed to or not, messages in, echoes out, what it costs to be idle.

use std::mem::size_of_val;

use super::*;
use crate::rules::{Overflow, Rule};
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

impl World {
    /// What came, inflated where it was compressed: whether it was, and its content.
    fn hear_inflated(&mut self, peer: usize) -> Vec<(bool, String)> {
        let (mut inflater, bytes) = (Inflater::default(), self.hear_bytes(peer));
        let (mut rest, mut heard) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (frame, behind) = rest.split_at(encode::frame_len(rest));
            let (deflated, payload) = (encode::is_deflated(frame), &frame[encode::frame_header_len(frame)..]);
            let payload = if deflated { inflater.message(Kind::Binary, payload, 1 << 20).unwrap() } else { payload };
            heard.push((deflated, String::from_utf8(payload.to_vec()).unwrap()));
            rest = behind;
        }
        heard
    }

    /// A connection to `/ws` that offered this, subscribed to a filter, all answers heard.
    fn subscriber(&mut self, shard: usize, offer: Option<&str>, filter: &str) -> usize {
        let peer = self.accept(shard);
        let request = offer.map_or(UPGRADE.to_owned(), |offer| upgrade("/ws", offer));
        self.send(peer, request.as_bytes());
        self.say(peer, &format!(r#"{{"op":"subscribe","topic":"{filter}"}}"#));
        self.settle();
        self.hear_head(peer);
        assert_eq!(self.hear(peer), ["welcome"]);
        peer
    }
}

#[test]
fn a_publication_is_compressed_for_those_who_agreed_and_the_same_for_all() {
    let mut world = World::with(2, 4, |config| config.server.deflate = true);
    let offers = [
        (None, false),
        (Some("permessage-deflate; client_max_window_bits"), true),
        (Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"), true),
        (Some("permessage-deflate; server_max_window_bits=11"), false),
        (Some("permessage-bzip2"), false),
    ];
    let each = (0..2).flat_map(|shard| offers.map(|(offer, deflated)| (shard, offer, deflated)));
    let mut peers = Vec::new();
    for (number, (shard, offer, deflated)) in each.enumerate() {
        peers.push((world.subscriber(shard, offer, if number % 2 == 0 { "a/b" } else { "a/+" }), deflated));
    }
    let publisher = world.open(1);
    let long = format!("[{}1]", r#"{"price":1.5,"currency":"EUR"},"#.repeat(20));
    for data in [&long, "7", &long] {
        world.say(publisher, &format!(r#"{{"op":"publish","topic":"a/b","data":{data}}}"#));
    }
    world.settle();
    for &(peer, deflated) in &peers {
        let heard = world.hear_inflated(peer);
        assert_eq!(heard.iter().map(|&(deflated, _)| deflated).collect::<Vec<_>>(), [deflated, false, deflated]);
        for ((_, content), (offset, data)) in heard.iter().zip([(1, &long[..]), (2, "7"), (3, &long)]) {
            assert!(content.starts_with(r#"{"op":"message","topic":"a/b","position":""#), "{content}");
            assert!(content.ends_with(&format!(r#":{offset}","data":{data}}}"#)), "{content}");
        }
    }
    world.leave();
}

#[test]
fn a_publisher_with_compression_that_wants_no_echo_gets_none() {
    let mut world = World::with(1, 4, |config| config.server.deflate = true);
    let peer = world.subscriber(0, Some("permessage-deflate"), "a");
    let other = world.subscriber(0, Some("permessage-deflate"), "a");
    let data = format!("[{}1]", "12345,".repeat(100));
    for echo in [false, true, false] {
        world.say(peer, &format!(r#"{{"op":"publish","topic":"a","data":{data},"echo":{echo}}}"#));
    }
    world.settle();
    let heard = world.hear_inflated(peer);
    assert!(matches!(&heard[..], [(true, content)] if content.contains(r#":2","data""#)), "{heard:?}");
    assert_eq!(world.hear_inflated(other).len(), 3);
}

#[test]
fn a_slow_consumer_is_told_of_compressed_publications_that_it_missed() {
    let mut world = World::with(1, 4, |config| {
        config.server.deflate = true;
        config.limits.message_bytes_max = 4000;
        config.limits.outbound_bytes_max = 6000;
        config.rules = vec![Rule { filter: "a".into(), overflow: Overflow::DropOldest, ..Rule::default() }];
    });
    let slow = world.subscriber(0, Some("permessage-deflate"), "a");
    let publisher = world.open(0);
    world.peers[slow].room = 0;
    // Compressed it is about 1000 bytes, of noise.
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b"abcdefghijklmnop"[(state >> 28) as usize])
    };
    for _ in 0..40 {
        let data: String = std::iter::repeat_with(&mut noise).take(2000).collect();
        world.say(publisher, &format!(r#"{{"op":"publish","topic":"a","data":"{data}"}}"#));
        world.settle();
    }
    world.writable(slow, usize::MAX);
    world.settle();
    let heard = world.hear_inflated(slow);
    let offset = |content: &str| -> u64 {
        let value: serde_json::Value = serde_json::from_str(content).unwrap();
        value["position"].as_str().unwrap().split_once(':').unwrap().1.parse().unwrap()
    };
    let (gaps, messages): (Vec<_>, Vec<_>) = heard.iter().partition(|(_, content)| content.contains(r#""op":"gap""#));
    assert!(messages.iter().all(|&(deflated, _)| *deflated) && messages.len() >= 3, "{}", messages.len());
    assert_eq!(offset(&messages.last().unwrap().1), 40);
    let missed: u64 = gaps
        .iter()
        .map(|(_, gap)| serde_json::from_str::<serde_json::Value>(gap).unwrap()["missed"].as_u64().unwrap())
        .sum();
    assert_eq!(missed + messages.len() as u64, 40);
    assert!(gaps.len() == 1 && offset(&gaps[0].1) == 40 - messages.len() as u64, "{gaps:?}");
}

/// Masked frames of so many publishes, compressed, each of `bytes` bytes of data; `{n}` is its number.
fn publishes(count: usize, bytes: usize) -> Vec<u8> {
    let text = |n: usize| format!(r#"{{"op":"publish","topic":"a","data":"{n} {}"}}"#, "0".repeat(bytes));
    (0..count).flat_map(|n| frame(0xc1, &deflated(text(n).as_bytes()))).collect()
}

#[test]
fn messages_that_inflate_to_more_than_a_turn_holds_are_put_off_and_handled_in_order() {
    let (mut world, flood) = agreed("/ws", "permessage-deflate", |_| {});
    let (other, listener) = (world.open(0), world.subscriber(0, None, "a"));
    assert_eq!(world.hear(flood), ["welcome"]);
    let bytes = publishes(80, 60_000);
    assert!(bytes.len() < 64 * 1024, "it comes in one read: {}", bytes.len());
    world.send(flood, &bytes);
    let each_turn = limits::INFLATED_BYTES_PER_TURN / 60_000 + 1;
    assert_eq!(world.shards[0].counters().published, each_turn as u64);
    assert!(!world.reads(flood) && !world.reads(other), "nobody is read any more in this turn");
    world.turn(0);
    assert!(world.reads(other) && !world.reads(flood) && world.shards[0].has_work());
    assert!((each_turn as u64 + 1..=3 * each_turn as u64).contains(&world.shards[0].counters().published));
    world.say(other, r#"{"op":"ping","id":1}"#);
    world.settle();
    assert_eq!(world.hear(other), ["pong 1"]);
    let heard = world.hear(listener);
    assert_eq!(heard.len(), 80);
    for (n, line) in heard.iter().enumerate() {
        assert!(line.starts_with(&format!("a:{} \"{n} 000", n + 1)), "{}", &line[..20]);
    }
    assert!(world.reads(flood) && world.peers[flood].resumed == 1);
    world.leave();
}

#[test]
fn compressed_commands_with_long_answers_wait_for_their_reader() {
    let (mut world, flood) = agreed("/ws", "permessage-deflate", |_| {});
    assert_eq!(world.hear(flood), ["welcome"]);
    world.peers[flood].room = 0;
    let batch = format!("[{}]", vec![r#"{"op":"ping"}"#; 1000].join(","));
    let bytes = frame(0xc1, &deflated(batch.as_bytes()));
    world.send(flood, &bytes.repeat(100));
    world.settle();
    let id = world.peers[flood].id;
    assert!(world.shards[0].pending(id) < 2 * limits::REPLY_BYTES_MAX, "{}", world.shards[0].pending(id));
    assert!(!world.shards[0].has_work(), "it waits without turning");
    world.writable(flood, usize::MAX);
    world.settle();
    assert_eq!(world.hear(flood).len(), 100_000);
    world.leave();
}

#[test]
fn what_was_put_off_goes_with_its_connection() {
    let (mut world, flood) = agreed("/ws", "permessage-deflate", |_| {});
    world.send(flood, &publishes(60, 60_000));
    world.reset(flood);
    world.assert_empty();
}

#[test]
fn a_close_behind_what_was_put_off_is_answered_even_while_the_broker_closes() {
    for stops in [false, true] {
        let (mut world, flood) = agreed("/ws", "permessage-deflate", |_| {});
        world.send(flood, &[publishes(60, 60_000), masked(Opcode::Close, &[0x03, 0xe8])].concat());
        if stops {
            world.shards[0].handle_stop();
            assert!(!world.reads(flood), "what comes next must not overtake what was put off");
        }
        world.settle();
        let heard = world.hear(flood);
        assert_eq!(heard, ["welcome", if stops { "close 1001" } else { "close 1000" }]);
        if !stops {
            assert!(world.peers[flood].shut && world.shards[0].counters().published == 60);
        }
    }
}
