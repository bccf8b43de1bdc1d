//! The fan-out without sockets: a publication parsed, encoded, queued for each subscriber and gathered into its writes.

use super::{HotPath, Work, each, framed, rig::Rig};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "delivery", units, make };
    vec![
        path("fan-out: one publication to 1,000", 1_000, || fan_out(1_000, 1)),
        path("fan-out: 32 publications to 1,000", 32_000, || fan_out(1_000, 32)),
        path("fan-out: one publication to 10", 10, || fan_out(10, 1)),
    ]
}

fn fan_out(subscribers: usize, publications: usize) -> Box<dyn Work> {
    let mut rig = Rig::new(|_| {});
    for _ in 0..subscribers {
        let conn = rig.connect();
        rig.text(conn, r#"{"op":"subscribe","topic":"news"}"#);
        rig.turn();
    }
    let publisher = rig.connect();
    rig.turn();
    let message = framed(&format!(r#"{{"op":"publish","topic":"news","data":"{:062}"}}"#, 0));
    let all = message.repeat(publications);
    let mut round = move || {
        rig.bytes(publisher, &all);
        rig.turn();
        while rig.shard.has_work() {
            rig.turn();
        }
    };
    round();
    each(round)
}
