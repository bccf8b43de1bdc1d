//! What a topic with 100,000 members costs: coming, going, a page of the list, telling those who want to be told.
//!
//! `cargo bench --bench presence`. One real shard without sockets, through the front door; each figure is microseconds per
//! unit, the least of three rounds. Coming and going is compared with the same topic without presence.

use std::time::{Duration, Instant};

use wirefan::ids::ConnId;
use wirefan::rules::Rule;

mod rig;
use rig::Rig;

const MEMBERS: usize = 100_000;
const TOLD: usize = 10_000;
const PAGES: usize = 200;
const EVENTS: usize = 2_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn rig() -> Rig {
    let rule = Rule { filter: "room/#".to_owned(), presence: true, ..Rule::default() };
    let mut rig = Rig::new(|config| config.rules = vec![rule]);
    rig.shard.begin_turn(0);
    rig
}

/// Turns until everything is written.
fn settle(rig: &mut Rig) {
    rig.turn();
    while rig.shard.has_work() {
        rig.turn();
    }
}

/// So many connections subscribe, a hundred in each turn: they, and how long the subscribes took.
fn enter(rig: &mut Rig, count: usize, subscribe: &str) -> (Vec<ConnId>, Duration) {
    let conns: Vec<ConnId> = (0..count).map(|_| rig.connect()).collect();
    settle(rig);
    let spent = timed(|| {
        for some in conns.chunks(100) {
            for &conn in some {
                rig.text(conn, subscribe);
            }
            settle(rig);
        }
    });
    (conns, spent)
}

/// All of them end, a hundred in each turn.
fn leave(rig: &mut Rig, conns: &[ConnId]) -> Duration {
    timed(|| {
        for some in conns.chunks(100) {
            some.iter().for_each(|&conn| rig.shard.handle_end(conn));
            settle(rig);
        }
    })
}

fn micros(spent: Duration, units: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / units as f64
}

/// What one round found, by name.
fn round() -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for (what, topic) in [("without presence", "hall/1"), ("with presence", "room/1")] {
        let mut rig = rig();
        let (conns, spent) = enter(&mut rig, MEMBERS, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        found.push((format!("a subscribe, {what}"), micros(spent, MEMBERS)));
        found.push((format!("a disconnect, {what}"), micros(leave(&mut rig, &conns), MEMBERS)));
    }
    let mut rig = rig();
    let (conns, _) = enter(&mut rig, MEMBERS, r#"{"op":"subscribe","topic":"room/1"}"#);
    let asker = rig.connect();
    for limit in [1, 100, 1_000] {
        let after = conns[MEMBERS / 2];
        let ask = format!(r#"{{"op":"presence","id":1,"topic":"room/1","limit":{limit},"after":"0-{after}"}}"#);
        let spent = timed(|| {
            for _ in 0..PAGES {
                rig.text(asker, &ask);
                settle(&mut rig);
            }
        });
        found.push((format!("a page of {limit}"), micros(spent, PAGES)));
    }
    for told in [1, TOLD] {
        let attend = r#"{"op":"subscribe","topic":"room/1","presence":true}"#;
        let (listeners, _) = enter(&mut rig, told, attend);
        let alone = one_by_one(&mut rig);
        found.push((format!("an event in a turn of its own, {told} told"), micros(alone, EVENTS)));
        let turn = in_one_turn(&mut rig);
        found.push((format!("an event of {EVENTS} in one turn, {told} told"), micros(turn, EVENTS)));
        leave(&mut rig, &listeners);
    }
    found
}

/// Members that come, each in a turn of its own; and that go again.
fn one_by_one(rig: &mut Rig) -> Duration {
    let conns: Vec<ConnId> = (0..EVENTS / 2).map(|_| rig.connect()).collect();
    settle(rig);
    timed(|| {
        for &conn in &conns {
            rig.text(conn, r#"{"op":"subscribe","topic":"room/1"}"#);
            settle(rig);
        }
        for &conn in &conns {
            rig.shard.handle_end(conn);
            settle(rig);
        }
    })
}

/// Members that all come in one turn.
fn in_one_turn(rig: &mut Rig) -> Duration {
    let conns: Vec<ConnId> = (0..EVENTS).map(|_| rig.connect()).collect();
    settle(rig);
    let spent = timed(|| {
        for &conn in &conns {
            rig.text(conn, r#"{"op":"subscribe","topic":"room/1"}"#);
        }
        settle(rig);
    });
    leave(rig, &conns);
    spent
}

fn main() {
    let mut least = round();
    for _ in 0..2 {
        for ((_, least), (_, found)) in least.iter_mut().zip(round()) {
            *least = least.min(found);
        }
    }
    for (what, micros) in least {
        println!("{micros:10.3} us  {what}");
    }
}
