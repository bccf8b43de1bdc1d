//! What topics cost when there are many: 1,000 topics, 50 subscriptions per connection, in one shard without sockets.
//!
//! `cargo bench --bench bookkeeping`. Each figure is per unit, through the front door: a subscribe is a command in a
//! masked frame, parsed, answered by the topic's home and acknowledged; a disconnect takes its 50 subscriptions along; a
//! delivery is one subscriber's share of publications to all 1,000 topics, encoding and flush included.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wirefan::ids::ConnId;
use wirefan::rules::{History, Rule};

mod rig;
use rig::Rig;

const TOPICS: usize = 1_000;
const SUBSCRIPTIONS: usize = 50;
const CONNECTIONS: usize = 2_000;

/// The topics of a connection: 50 different ones, spread.
fn topics(connection: usize) -> impl Iterator<Item = usize> {
    (0..SUBSCRIPTIONS).map(move |n| (connection * 7 + n * 19) % TOPICS)
}

fn subscribes(connection: usize) -> String {
    let each = topics(connection).map(|topic| format!(r#"{{"op":"subscribe","topic":"room/{topic}","id":1}}"#));
    format!("[{}]", each.collect::<Vec<_>>().join(","))
}

fn populated() -> (Rig, Vec<ConnId>) {
    let mut rig = Rig::new(|_| {});
    let conns = (0..CONNECTIONS)
        .map(|number| {
            let conn = rig.connect();
            rig.text(conn, &subscribes(number));
            rig.turn();
            conn
        })
        .collect();
    (rig, conns)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn subscribe_and_disconnect(c: &mut Criterion) {
    let mut group = c.benchmark_group("bookkeeping");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(SUBSCRIPTIONS as u64));
    let (mut rig, mut conns) = populated();
    let messages: Vec<String> = (0..CONNECTIONS).map(subscribes).collect();
    group.bench_function("50 subscribes", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for round in 0..rounds as usize {
                let victim = round * 37 % CONNECTIONS;
                rig.shard.handle_end(conns[victim]);
                rig.turn();
                conns[victim] = rig.connect();
                rig.turn();
                spent += timed(|| {
                    rig.text(conns[victim], &messages[victim]);
                    rig.turn();
                });
            }
            spent
        });
    });
    group.bench_function("disconnect of 50 subscriptions", |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for round in 0..rounds as usize {
                let victim = round * 37 % CONNECTIONS;
                spent += timed(|| rig.shard.handle_end(conns[victim]));
                rig.turn();
                conns[victim] = rig.connect();
                rig.text(conns[victim], &messages[victim]);
                rig.turn();
            }
            spent
        });
    });
    group.finish();
}

fn deliver(c: &mut Criterion) {
    let (mut rig, _) = populated();
    let publisher = rig.connect();
    rig.turn();
    let all: Vec<String> =
        (0..TOPICS).map(|topic| format!(r#"{{"op":"publish","topic":"room/{topic}","data":"{topic:048}"}}"#)).collect();
    let batches: Vec<String> = all.chunks(500).map(|chunk| format!("[{}]", chunk.join(","))).collect();
    let mut group = c.benchmark_group("bookkeeping");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements((CONNECTIONS * SUBSCRIPTIONS) as u64));
    group.bench_function("a publication to each of 1,000 topics", |b| {
        b.iter(|| {
            for batch in &batches {
                rig.text(publisher, batch);
            }
            rig.turn();
        });
    });
    group.finish();
}

fn keep(c: &mut Criterion) {
    let mut group = c.benchmark_group("history");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let history = Some(History { count: 10_000, age_s: 3_600 });
    let kept = Rule { filter: "#".to_owned(), history, ..Rule::default() };
    let mut rig = Rig::new(|config| config.rules = vec![kept]);
    let publisher = rig.connect();
    rig.turn();
    let command = format!(r#"{{"op":"publish","topic":"news","data":"{:062}"}}"#, 0);
    let batch = format!("[{}]", vec![command; 500].join(","));
    group.throughput(Throughput::Elements(500));
    group.bench_function("500 publications that are kept and that nobody subscribes to", |b| {
        b.iter(|| {
            rig.text(publisher, &batch);
            rig.turn();
        });
    });
    group.finish();
}

fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out without sockets");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    for subscribers in [1_000u64, 10_000] {
        let mut rig = Rig::new(|_| {});
        for _ in 0..subscribers {
            let conn = rig.connect();
            rig.text(conn, r#"{"op":"subscribe","topic":"news"}"#);
            rig.turn();
        }
        let publisher = rig.connect();
        rig.turn();
        let message = format!(r#"{{"op":"publish","topic":"news","data":"{:062}"}}"#, 0);
        group.throughput(Throughput::Elements(subscribers));
        group.bench_function(format!("{subscribers} subscribers"), |b| {
            b.iter(|| {
                rig.text(publisher, &message);
                rig.turn();
                while rig.shard.has_work() {
                    rig.turn();
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, subscribe_and_disconnect, deliver, keep, fan_out);
criterion_main!(benches);
