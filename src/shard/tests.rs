//! Shards, a real mesh and sockets made of buffers: whole conversations, read as the peer reads them.
//!
//! A [`World`] is a broker on one thread under a clock moved by hand. A peer is a number; [`World::hear`] gives what it got
//! since it was last asked, one line per frame: `ack 1 chat/1 @0`, `chat/1:1 {"a":1}`, `join chat/1 ann`, `ping`,
//! `close 4008`.

mod api;
mod canary;
mod closing;
mod deflate;
mod drain;
mod estate;
mod fanouts;
mod feeds;
mod figures;
mod floods;
mod heartbeat;
mod held;
mod identity;
mod idle;
mod opening;
mod operate;
mod overflow;
mod polls;
mod presence;
mod pressure;
mod recovery;
mod refusals;
mod reload;
mod repeats;
mod slots;
mod stats;
mod topics;

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

use super::*;
use crate::auth::Credentials;
use crate::config::AllowAnonymous;
use crate::ids::ClientName;
use crate::limits;
use crate::mesh::{self, Wake};
use crate::telemetry::Process;
use crate::ws::{Opcode, encode};

/// The time of day at which the clock of a world stood at 0.
const BEGAN_UNIX_S: u64 = 1_700_000_000;

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// One peer's end.
#[derive(Debug)]
struct Peer {
    shard: usize,
    id: ConnId,
    got: Vec<u8>,
    /// How much of `got` was heard.
    heard: usize,
    /// Bytes that its socket still takes.
    room: usize,
    broken: bool,
    /// The shard ended its side.
    shut: bool,
    /// The shard closed the socket.
    dropped: bool,
    resumed: u32,
}

/// The sockets of one shard.
struct Net<'a> {
    peers: &'a mut [Peer],
    slots: &'a HashMap<(usize, u32), usize>,
    shard: usize,
}

impl Wire for Net<'_> {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        let peer = &mut self.peers[self.slots[&(self.shard, conn)]];
        if peer.broken {
            return Sent::Gone;
        }
        assert!(!peer.dropped && !peer.shut, "written to after its end");
        let len = bytes.len().min(peer.room);
        peer.room -= if peer.room == usize::MAX { 0 } else { len };
        peer.got.extend_from_slice(&bytes[..len]);
        Sent::Bytes(len)
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        self.send(conn, &bytes)
    }
}

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

struct World {
    shards: Vec<Shard>,
    peers: Vec<Peer>,
    slots: HashMap<(usize, u32), usize>,
    now_ms: u64,
}

impl World {
    fn new(shards: usize) -> Self {
        Self::with(shards, 4, |_| {})
    }

    fn with(shards: usize, ring: usize, configure: impl FnOnce(&mut Config)) -> Self {
        Self::guarded(shards, ring, None, configure)
    }

    fn guarded(
        shards: usize,
        ring: usize,
        credentials: Option<Arc<Credentials>>,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        let origins = Origins::parse(&config.server.allowed_origins).expect("valid");
        let settings = Settings { config, origins, credentials, began_unix_s: BEGAN_UNIX_S, seed: 42 };
        let desks = mesh::join((0..shards).map(|_| Arc::new(Silent) as Arc<dyn Wake>).collect(), ring);
        let now_ms = 1_000;
        let shards = desks.into_iter().map(|desk| Shard::new(settings.clone(), desk, now_ms)).collect();
        Self { shards, peers: Vec::new(), slots: HashMap::new(), now_ms }
    }

    /// One turn of one shard, and what it asks of the sockets.
    fn turn(&mut self, shard: usize) {
        self.shards[shard].begin_turn(self.now_ms);
        if self.shards[shard].wants_process() {
            self.shards[shard].handle_process(Process::default());
        }
        self.shards[shard].end_turn(&mut Net { peers: &mut self.peers, slots: &self.slots, shard });
        while let Some(action) = self.shards[shard].poll_action() {
            let (Action::Shutdown(id) | Action::Drop(id) | Action::Resume(id)) = action;
            let mut peers = self.peers.iter_mut();
            let peer = peers.find(|peer| (peer.shard, peer.id) == (shard, id)).expect("a known one");
            match action {
                Action::Shutdown(_) => assert!(!std::mem::replace(&mut peer.shut, true), "shut once"),
                Action::Drop(_) => assert!(!std::mem::replace(&mut peer.dropped, true), "dropped once"),
                Action::Resume(_) => peer.resumed += 1,
            }
        }
    }

    /// Turns of all shards until nobody has anything to do.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            (0..self.shards.len()).for_each(|shard| self.turn(shard));
            let idle = |shard: &Shard| {
                let quiet = !shard.has_work() && shard.lie_down();
                shard.rise();
                quiet
            };
            if self.shards.iter().all(idle) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Time passes tick by tick, with a turn of every shard in each.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now_ms += TICK_MS;
            (0..self.shards.len()).for_each(|shard| self.turn(shard));
        }
        self.settle();
    }

    fn accept(&mut self, shard: usize) -> usize {
        self.shards[shard].begin_turn(self.now_ms);
        let id = self.shards[shard].handle_accept(false);
        let (got, room, peer) = (Vec::new(), usize::MAX, self.peers.len());
        let (broken, shut, dropped) = (false, false, false);
        self.slots.insert((shard, id.index), peer);
        self.peers.push(Peer { shard, id, got, heard: 0, room, broken, shut, dropped, resumed: 0 });
        peer
    }

    /// A connection past its handshake, its welcome heard.
    fn open(&mut self, shard: usize) -> usize {
        let peer = self.accept(shard);
        self.send(peer, UPGRADE.as_bytes());
        self.settle();
        assert!(self.hear_head(peer).starts_with("HTTP/1.1 101 "));
        assert_eq!(self.hear(peer), ["welcome"]);
        peer
    }

    /// Bytes arrive, first where the shard has room for them. Whether it would have read them is the caller's business.
    fn send(&mut self, peer: usize, bytes: &[u8]) {
        let Peer { shard, id, .. } = self.peers[peer];
        self.shards[shard].begin_turn(self.now_ms);
        let room = self.shards[shard].room(id);
        let (placed, bytes) = bytes.split_at(room.len().min(bytes.len()));
        room[..placed.len()].copy_from_slice(placed);
        if !placed.is_empty() {
            self.shards[shard].handle_placed(id, placed.len());
            if bytes.is_empty() {
                return;
            }
        }
        let mut buf = [bytes, &[0xee; 16]].concat();
        self.shards[shard].handle_bytes(id, &mut buf, bytes.len());
    }

    fn frame(&mut self, peer: usize, opcode: Opcode, payload: &[u8]) {
        let bytes = masked(opcode, payload);
        self.send(peer, &bytes);
    }

    /// A command arrives.
    fn say(&mut self, peer: usize, json: &str) {
        self.frame(peer, Opcode::Text, json.as_bytes());
    }

    /// The same, and everything that follows from it happens.
    fn tell(&mut self, peer: usize, json: &str) {
        self.say(peer, json);
        self.settle();
    }

    fn reads(&self, peer: usize) -> bool {
        let shard = &self.shards[self.peers[peer].shard];
        shard.reads_any() && shard.reads(self.peers[peer].id)
    }

    /// The peer's socket takes so many bytes more.
    fn writable(&mut self, peer: usize, room: usize) {
        let Peer { shard, id, .. } = self.peers[peer];
        self.peers[peer].room = room;
        self.shards[shard].begin_turn(self.now_ms);
        self.shards[shard].handle_writable(id);
    }

    fn end(&mut self, peer: usize) {
        let Peer { shard, id, .. } = self.peers[peer];
        self.shards[shard].handle_end(id);
    }

    fn reset(&mut self, peer: usize) {
        let Peer { shard, id, .. } = self.peers[peer];
        self.shards[shard].handle_reset(id);
    }

    /// The HTTP head that came, up to its empty line.
    fn hear_head(&mut self, peer: usize) -> String {
        let peer = &mut self.peers[peer];
        let text = String::from_utf8_lossy(&peer.got[peer.heard..]);
        let len = text.find("\r\n\r\n").expect("a whole head") + 4;
        let head = text[..len].to_owned();
        peer.heard += len;
        head
    }

    /// The whole frames that came since the last time.
    fn hear(&mut self, peer: usize) -> Vec<String> {
        let peer = &mut self.peers[peer];
        let mut lines = Vec::new();
        while peer.got.len() >= peer.heard + 2 {
            let rest = &peer.got[peer.heard..];
            let len = encode::frame_len(rest);
            if rest.len() < len {
                break;
            }
            let header =
                [2, 4, 10].into_iter().find(|&header| header == encode::header_len(len - header)).expect("one");
            lines.push(line(rest[0], &rest[header..len]));
            peer.heard += len;
        }
        lines
    }

    /// A topic whose home is on this shard.
    fn topic_at(&self, shard: u16) -> String {
        let mut names = (0..).map(|number| format!("chat/{number}"));
        names.find(|name| self.shards[0].home_of(Topic::parse(name).expect("valid")) == ShardId(shard)).expect("some")
    }

    fn closed(&self, reason: CloseReason) -> u64 {
        self.shards.iter().map(|shard| shard.counters().closed[reason as usize]).sum()
    }

    /// All peers are gone: nothing of them may be left.
    fn assert_empty(&mut self) {
        self.settle();
        for shard in &self.shards {
            assert!(shard.held().iter().all(|(_, count)| *count == 0), "{:?}", shard.held());
            assert_eq!(shard.deadline_ms(), None);
        }
        assert!(self.peers.iter().all(|peer| peer.dropped));
        let (accepted, closed) = self.shards.iter().fold((0, 0), |(accepted, closed), shard| {
            (accepted + shard.counters().accepted, closed + shard.counters().closed.iter().sum::<u64>())
        });
        assert_eq!((accepted, closed), (self.peers.len() as u64, self.peers.len() as u64), "each end is counted once");
    }

    /// Every peer that is still there vanishes, and nothing is left of any.
    fn leave(&mut self) {
        for peer in 0..self.peers.len() {
            if !self.peers[peer].dropped {
                self.reset(peer);
            }
        }
        self.assert_empty();
    }
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::masked_frame(&mut bytes, opcode, payload, [1, 2, 3, 4]);
    bytes
}

/// One frame in a few words.
fn line(first: u8, payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    match first {
        0x81 => json_line(&text, ""),
        0x82 => match text.split_once('\n') {
            Some((head, bytes)) => json_line(head, &format!(" bytes {bytes}")),
            None => format!("binary of {}", payload.len()),
        },
        0x88 if payload.is_empty() => "close".to_owned(),
        0x88 => format!("close {}", u16::from_be_bytes([payload[0], payload[1]])),
        0x89 => "ping".to_owned(),
        0x8a => format!("pong frame {text}"),
        other => panic!("frame type {other:#x}"),
    }
}

fn json_line(text: &str, bytes: &str) -> String {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return format!("text {text}") };
    let word = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let offset = word("position").split_once(':').map(|(_, offset)| offset.to_owned());
    let at = offset.as_ref().map(|offset| format!(" @{offset}")).unwrap_or_default();
    match &word("op")[..] {
        "message" if bytes.is_empty() => {
            let by = value["from"].as_str().map(|user| format!("by {user} ")).unwrap_or_default();
            format!("{}:{} {by}{}", word("topic"), offset.expect("a position"), value["data"])
        }
        "message" => format!("{}:{}{bytes}", word("topic"), offset.expect("a position")),
        "ack" => {
            let recovered = match value["recovered"].as_bool() {
                Some(true) => " recovered",
                Some(false) => " not recovered",
                None => "",
            };
            let messages = value["messages"].as_array().map(|messages| {
                let lines = messages.iter().map(|message| json_line(&message.to_string(), ""));
                format!(" [{}]", lines.collect::<Vec<_>>().join(", "))
            });
            let rest = messages.or_else(|| members_line(&value)).unwrap_or_default();
            format!("ack {} {}{at}{recovered}{rest}", value["id"], word("topic"))
        }
        op @ ("join" | "leave") => format!("{op} {} {}", word("topic"), who(&value["member"])),
        "error" => format!("error {} {}", value["id"], value["code"]),
        "pong" => format!("pong {}", value["id"]),
        "welcome" => "welcome".to_owned(),
        "gap" => format!("gap {} {}{at}", word("topic"), value["missed"]),
        _ => format!("text {text}"),
    }
}

/// Somebody by its user, or by its name if it has none.
fn who(member: &serde_json::Value) -> &str {
    member["user"].as_str().or(member["client"].as_str()).expect("somebody")
}

/// A list of members: the page, users of connections, where to go on.
fn members_line(ack: &serde_json::Value) -> Option<String> {
    let each = ack["members"].as_array()?.iter().map(|member| {
        let client = member["client"].as_str().expect("a name");
        member["user"].as_str().map_or_else(|| client.to_owned(), |user| format!("{client} {user}"))
    });
    let next = ack["next"].as_str().map(|next| format!(" next {next}")).unwrap_or_default();
    let each = each.collect::<Vec<_>>().join(", ");
    Some(format!(" members [{each}] {} of {}{next}", ack["users"], ack["connections"]))
}
