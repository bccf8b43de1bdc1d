//! A publication by HTTP through the front door: its request read and routed, the home, the response in the queue.

use super::{HotPath, Work, each, rig::Rig};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "request", units, make };
    vec![
        path("http: publish of 64 B, one at a time", 1, || publishes(1)),
        path("http: publish of 64 B, 64 pipelined", 64, || publishes(64)),
    ]
}

fn publishes(pipelined: usize) -> Box<dyn Work> {
    let mut rig = Rig::new(|_| {});
    let conn = rig.shard.handle_accept(false);
    let body = "x".repeat(62);
    let one = format!(
        "POST /v1/publish?topic=chat/room-42 HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\n\
         Content-Length: 64\r\n\r\n\"{body}\""
    );
    let all = one.repeat(pipelined);
    let mut round = move || {
        rig.bytes(conn, all.as_bytes());
        rig.turn();
        while rig.shard.has_work() {
            rig.turn();
        }
    };
    round();
    each(round)
}
