//! A million connections in one shard, without sockets: bytes for each, the longest turn while they come, while they are
//! idle over two heartbeats and while they go, and what is left behind.
//!
//! `cargo bench --bench million [-- CONNECTIONS [TOPICS [LIVES]]]`. Each is past its handshake, subscribed to one of 1,000
//! topics, and answers its pings. All of it is lived several times: a turn's time is the least of its times in all lives,
//! so that the longest turn is one of ours and none that the machine took from us; for the same reason by two clocks, that of
//! the wall and that of the processor, which stands while others have it. Memory is the resident set, from `/proc`.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use nix::time::ClockId;
use wirefan::auth::origin::Origins;
use wirefan::config::Config;
use wirefan::ids::ConnId;
use wirefan::limits;
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

/// What the clock on the wall shows, and what the processor has worked for this thread.
#[derive(Clone, Copy)]
struct Clocks {
    wall: Duration,
    processor: Duration,
}

impl Clocks {
    fn read() -> Self {
        let read = |clock: ClockId| Duration::from(clock.now().expect("Linux has both clocks"));
        Self { wall: read(ClockId::CLOCK_MONOTONIC), processor: read(ClockId::CLOCK_THREAD_CPUTIME_ID) }
    }

    fn elapsed(self) -> Self {
        let now = Self::read();
        Self { wall: now.wall - self.wall, processor: now.processor - self.processor }
    }

    fn min(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), processor: self.processor.min(other.processor) }
    }
}

fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::masked_frame(&mut bytes, opcode, payload, [1, 2, 3, 4]);
    bytes
}

/// The least that each turn took in all lives, in order.
#[derive(Default)]
struct Turns {
    least: Vec<Clocks>,
    at: usize,
}

impl Turns {
    fn time(&mut self, turn: impl FnOnce()) {
        let began = Clocks::read();
        turn();
        let took = began.elapsed();
        match self.least.get_mut(self.at) {
            Some(least) => *least = took.min(*least),
            None => self.least.push(took),
        }
        self.at += 1;
    }

    fn report(&self, what: &str) {
        println!("{what}: {} turns", self.least.len());
        self.report_by("processor", |took| took.processor.as_secs_f64() * 1e3);
        self.report_by("wall", |took| took.wall.as_secs_f64() * 1e3);
    }

    fn report_by(&self, clock: &str, of: impl Fn(&Clocks) -> f64) {
        let ms: Vec<f64> = self.least.iter().map(of).collect();
        let (longest, total) = (ms.iter().copied().fold(0.0, f64::max), ms.iter().sum::<f64>());
        let long = ms.iter().filter(|&&ms| ms > 1.0).count();
        println!("  {clock}: longest {longest:.2} ms, {long} over 1 ms, mean {:.3} ms", total / ms.len() as f64);
    }
}

/// One broker of one shard and its million.
struct World {
    shard: Shard,
    sockets: Sockets,
    ids: Vec<ConnId>,
}

impl World {
    fn new(config: Config) -> Self {
        let origins = Origins::parse(&config.server.allowed_origins).expect("the default is valid");
        let desk = mesh::join(vec![Arc::new(Silent) as Arc<dyn Wake>], 4).remove(0);
        let shard = Shard::new(Settings { config, origins, credentials: None, began_unix_s: 0, seed: 42 }, desk, 0);
        Self { shard, sockets: Sockets::default(), ids: Vec::new() }
    }

    fn end_turn(&mut self) {
        self.shard.end_turn(&mut self.sockets);
        while let Some(action) = self.shard.poll_action() {
            std::hint::black_box(action);
        }
    }

    /// Opens the connections, as many per turn as a shard accepts, and subscribes each.
    fn open(&mut self, connections: u32, topics: u32, turns: &mut Turns) {
        self.ids.reserve_exact(connections as usize);
        for first in (0..connections).step_by(limits::ACCEPTS_PER_TURN) {
            let last = connections.min(first + limits::ACCEPTS_PER_TURN as u32);
            let messages = (first..last).map(|number| {
                let command = format!(r#"{{"op":"subscribe","topic":"room/{}"}}"#, number % topics);
                let mut bytes = [UPGRADE.as_bytes(), &masked(Opcode::Text, command.as_bytes()), &[0; 64]].concat();
                let filled = bytes.len() - 64;
                bytes.shrink_to_fit();
                (bytes, filled)
            });
            let mut messages: Vec<_> = messages.collect();
            turns.time(|| {
                for (bytes, filled) in &mut messages {
                    let id = self.shard.handle_accept(false);
                    self.shard.handle_bytes(id, bytes, *filled);
                    self.ids.push(id);
                }
                self.end_turn();
            });
        }
        while self.shard.has_work() {
            self.end_turn();
        }
    }

    /// Idle for so many ticks; who is pinged answers. How many pings there were, and how many in a turn at most.
    fn idle(&mut self, ticks: u64, turns: &mut Turns) -> (usize, usize) {
        let (mut pings, mut most) = (0, 0);
        let pong = [masked(Opcode::Pong, b""), vec![0; 64]].concat();
        let mut bytes = pong.clone();
        for now_ms in (1..=ticks).map(|tick| tick * TICK_MS) {
            while self.shard.deadline_ms().is_some_and(|deadline| deadline <= now_ms) {
                turns.time(|| {
                    self.shard.begin_turn(now_ms);
                    self.end_turn();
                });
                (most, pings) = (most.max(self.sockets.pinged.len()), pings + self.sockets.pinged.len());
                for index in self.sockets.pinged.drain(..) {
                    bytes.copy_from_slice(&pong);
                    self.shard.handle_bytes(self.ids[index as usize], &mut bytes, pong.len() - 64);
                }
            }
        }
        (pings, most)
    }

    /// Resets all of them, as many per turn as the kernel tells of in one.
    fn close(&mut self, turns: &mut Turns) {
        for some in std::mem::take(&mut self.ids).chunks(limits::EVENTS_PER_TURN) {
            turns.time(|| {
                some.iter().for_each(|&id| self.shard.handle_reset(id));
                self.end_turn();
            });
        }
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let connections: u32 = numbers.next().unwrap_or(1_000_000);
    let (topics, lives) = (numbers.next().unwrap_or(1_000), numbers.next().unwrap_or(3));
    let config = Config::default();
    let ticks = 2 * u64::from(config.heartbeat.interval_s) * 1000 / TICK_MS;
    let (mut opening, mut idle, mut closing) = (Turns::default(), Turns::default(), Turns::default());
    let each = |bytes: usize| bytes as f64 / f64::from(connections);
    for life in 1..=lives {
        let mut world = World::new(config.clone());
        let before = resident();
        world.open(connections, topics, &mut opening);
        let open = resident();
        let (pings, most) = world.idle(ticks, &mut idle);
        assert_eq!(world.shard.connections_len(), connections as usize, "all of them live");
        let ids = world.ids.len() * size_of::<ConnId>();
        world.close(&mut closing);
        assert_eq!(world.shard.connections_len(), 0, "none of them lives");
        if let (Some(before), Some(open), Some(after)) = (before, open, resident()) {
            println!(
                "life {life}: {connections} connections, {topics} topics, {:.0} bytes for each; {:.0} of them left behind; \
                 {pings} pings, at most {most} in a turn",
                each((open - before).saturating_sub(ids)),
                each(after.saturating_sub(before)),
            );
        }
        for turns in [&mut opening, &mut idle, &mut closing] {
            turns.at = 0;
        }
    }
    opening.report("coming");
    idle.report("idle");
    closing.report("going");
}
