//! A million idle connections in one shard, without sockets: bytes for each, and the longest turn of two heartbeats.
//!
//! `cargo bench --bench million [-- CONNECTIONS]`. Each is past its handshake and subscribed to one of a thousand topics,
//! and answers its pings. Memory is the growth of the resident set, where `/proc` tells it.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wirefan::auth::origin::Origins;
use wirefan::config::Config;
use wirefan::ids::ConnId;
use wirefan::mesh::{self, Wake};
use wirefan::shard::{Sent, Settings, Shard, TICK_MS, Wire};
use wirefan::ws::{Opcode, encode};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Takes everything and remembers who was pinged.
#[derive(Default)]
struct Sockets {
    pinged: Vec<u32>,
}

impl Wire for Sockets {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        if bytes == [0x89, 0] {
            self.pinged.push(conn);
        }
        Sent::Bytes(bytes.len())
    }

    fn send_pieces(&mut self, _: u32, pieces: &[IoSlice<'_>]) -> Sent {
        Sent::Bytes(pieces.iter().map(|piece| piece.len()).sum())
    }
}

struct Silent;

impl Wake for Silent {
    fn wake(&self) {}
}

/// Bytes of this process in memory.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::masked_frame(&mut bytes, opcode, payload, [1, 2, 3, 4]);
    bytes
}

/// Opens the connections, a thousand per turn, and subscribes each.
fn open(shard: &mut Shard, sockets: &mut Sockets, connections: u32) -> Vec<ConnId> {
    let mut ids = Vec::with_capacity(connections as usize);
    for number in 0..connections {
        let id = shard.handle_accept();
        let command = format!(r#"{{"op":"subscribe","topic":"room/{}"}}"#, number % 1000);
        let mut bytes = [UPGRADE.as_bytes(), &masked(Opcode::Text, command.as_bytes()), &[0; 64]].concat();
        let filled = bytes.len() - 64;
        shard.handle_bytes(id, &mut bytes, filled);
        ids.push(id);
        if number % 1000 == 999 {
            shard.end_turn(sockets);
        }
    }
    while shard.has_work() {
        shard.end_turn(sockets);
    }
    ids
}

fn main() {
    let connections = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let config = Config::default();
    let ticks = 2 * u64::from(config.heartbeat.interval_s) * 1000 / TICK_MS;
    let origins = Origins::parse(&config.server.allowed_origins).expect("the default is valid");
    let desk = mesh::join(vec![Arc::new(Silent) as Arc<dyn Wake>], 4).remove(0);
    let mut shard = Shard::new(Settings { config, origins, credentials: None, began_unix_s: 0, seed: 42 }, desk, 0);
    let mut sockets = Sockets::default();
    let (before, began) = (resident(), now());
    let ids = open(&mut shard, &mut sockets, connections);
    println!("{connections} connections opened in {:.1} s", began.elapsed().as_secs_f64());
    if let (Some(before), Some(after)) = (before, resident()) {
        let own = (after - before).saturating_sub(ids.len() * size_of::<ConnId>());
        println!("{} bytes of memory for each, one subscription included", own / connections as usize);
    }
    let mut pong = [masked(Opcode::Pong, b""), vec![0; 64]].concat();
    let (mut longest, mut total, mut most, mut pings) = (Duration::ZERO, Duration::ZERO, 0, 0);
    for tick in 1..=ticks {
        let began = now();
        shard.begin_turn(tick * TICK_MS);
        shard.end_turn(&mut sockets);
        let took = began.elapsed();
        (longest, total) = (longest.max(took), total + took);
        (most, pings) = (most.max(sockets.pinged.len()), pings + sockets.pinged.len());
        for index in sockets.pinged.drain(..) {
            let filled = pong.len() - 64;
            let mut bytes = std::mem::take(&mut pong);
            shard.handle_bytes(ids[index as usize], &mut bytes, filled);
            pong = [masked(Opcode::Pong, b""), vec![0; 64]].concat();
        }
    }
    assert_eq!(shard.connections_len(), connections as usize, "all of them live");
    println!("two heartbeats: {ticks} turns, {pings} pings, at most {most} in a turn");
    println!(
        "longest turn {:.2} ms, mean {:.2} ms",
        longest.as_secs_f64() * 1e3,
        total.as_secs_f64() * 1e3 / ticks as f64
    );
}
