//! The timer wheel: ticks over connections that are alive, each of which comes up at its place and is put back.

use wirefan::ids::{ConnId, TICK_MS};

use super::{HotPath, Work, framed, rig::Rig};

const CONNECTIONS: usize = 5_000;
const TICKS: u64 = 100;

pub(super) fn paths() -> Vec<HotPath> {
    let make = || Box::new(Idle::new()) as Box<dyn Work>;
    vec![HotPath { name: "wheel: a tick over 5,000 connections", unit: "tick", units: 100, make }]
}

/// Connections with a heartbeat interval of 25 s, of which a round is 10.
struct Idle {
    rig: Rig,
    conns: Vec<ConnId>,
    ping: Vec<u8>,
    now_ms: u64,
}

impl Idle {
    fn new() -> Self {
        let mut rig = Rig::new(|_| {});
        let conns = (0..CONNECTIONS).map(|_| rig.connect()).collect();
        rig.turn();
        Self { rig, conns, ping: framed(r#"{"op":"ping"}"#), now_ms: 0 }
    }
}

impl Work for Idle {
    fn prepare(&mut self) {
        // Everybody says something, so that nobody need be pinged.
        for &conn in &self.conns {
            self.rig.bytes(conn, &self.ping);
        }
        self.rig.turn();
    }

    fn run(&mut self) {
        for _ in 0..TICKS {
            self.now_ms += TICK_MS;
            self.rig.shard.begin_turn(self.now_ms);
            self.rig.turn();
        }
    }
}
