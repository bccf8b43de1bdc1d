//! What topics cost when there are many: 50 subscriptions per connection to 1,000 topics, and to 100,000, in one shard
//! without sockets.
//!
//! `cargo bench --bench bookkeeping`. Each figure is per unit, through the front door: a subscribe is a command in a
//! masked frame, parsed, answered by the topic's home and acknowledged; a disconnect takes its 50 subscriptions along; a
//! delivery is one subscriber's share of 1,000 publications, parsing, encoding and flush included.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wirefan::ids::ConnId;
use wirefan::rules::{History, Rule};
use wirefan::ws::{Opcode, encode};

mod rig;
use rig::Rig;

const SUBSCRIPTIONS: usize = 50;
const PUBLICATIONS: usize = 1_000;
const PIPELINED: u64 = 500;

/// Who subscribes to how much.
#[derive(Clone, Copy)]
struct Town {
    topics: usize,
    connections: usize,
}

/// A hundred subscribers for each topic: the books of all connections fit into the second cache.
const SMALL: Town = Town { topics: 1_000, connections: 2_000 };
/// Fifty for each, 5,000,000 subscriptions in all: nothing fits anywhere.
const LARGE: Town = Town { topics: 100_000, connections: 100_000 };

impl Town {
    /// The topics of a connection: 50 different ones, spread.
    fn topics_of(self, connection: usize) -> impl Iterator<Item = usize> {
        let step = self.topics / SUBSCRIPTIONS - 1; // no multiple of it below 50 steps comes back to the first one
        (0..SUBSCRIPTIONS).map(move |n| (connection * 7919 + n * step) % self.topics)
    }

    fn subscribes(self, connection: usize) -> String {
        let each = self.topics_of(connection);
        let each = each.map(|topic| format!(r#"{{"op":"subscribe","topic":"room/{topic}","id":1}}"#));
        format!("[{}]", each.collect::<Vec<_>>().join(","))
    }

    /// Its broker, its connections and one who publishes.
    fn populated(self) -> (Rig, Vec<ConnId>, ConnId) {
        let mut rig = Rig::new(|_| {});
        let conns = (0..self.connections)
            .map(|number| {
                let conn = rig.connect();
                rig.text(conn, &self.subscribes(number));
                rig.turn();
                conn
            })
            .collect();
        let publisher = rig.connect();
        rig.turn();
        (rig, conns, publisher)
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn town(c: &mut Criterion, town: Town) {
    let mut made = None; // with the first of its benches that is asked for
    let mut group = c.benchmark_group(format!("{} topics", town.topics));
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(SUBSCRIPTIONS as u64));
    let victim_of = |round: usize| round * 7907 % town.connections;
    group.bench_function("50 subscribes", |b| {
        let (rig, conns, _) = made.get_or_insert_with(|| town.populated());
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for victim in (0..rounds as usize).map(victim_of) {
                rig.shard.handle_end(conns[victim]);
                rig.turn();
                conns[victim] = rig.connect();
                rig.turn();
                let message = town.subscribes(victim);
                spent += timed(|| {
                    rig.text(conns[victim], &message);
                    rig.turn();
                });
            }
            spent
        });
    });
    group.bench_function("disconnect of 50 subscriptions", |b| {
        let (rig, conns, _) = made.get_or_insert_with(|| town.populated());
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for victim in (0..rounds as usize).map(victim_of) {
                spent += timed(|| rig.shard.handle_end(conns[victim]));
                rig.turn();
                conns[victim] = rig.connect();
                rig.text(conns[victim], &town.subscribes(victim));
                rig.turn();
            }
            spent
        });
    });
    let mut first = 0;
    group.throughput(Throughput::Elements((PUBLICATIONS * town.connections * SUBSCRIPTIONS / town.topics) as u64));
    group.bench_function("a publication to each of 1,000 topics", |b| {
        let (rig, _, publisher) = made.get_or_insert_with(|| town.populated());
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let topics = (first..first + PUBLICATIONS).map(|number| number * 7919 % town.topics);
                first += PUBLICATIONS;
                let all: Vec<String> = topics
                    .map(|topic| format!(r#"{{"op":"publish","topic":"room/{topic}","data":"{topic:048}"}}"#))
                    .collect();
                let batches: Vec<String> = all.chunks(500).map(|chunk| format!("[{}]", chunk.join(","))).collect();
                spent += timed(|| {
                    for batch in &batches {
                        rig.text(*publisher, batch);
                    }
                    rig.turn();
                    while rig.shard.has_work() {
                        rig.turn();
                    }
                });
            }
            spent
        });
    });
    group.finish();
}

fn towns(c: &mut Criterion) {
    town(c, SMALL);
    town(c, LARGE);
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

fn pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("one subscriber");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut rig = Rig::new(|_| {});
    let subscriber = rig.connect();
    rig.text(subscriber, r#"{"op":"subscribe","topic":"news"}"#);
    let publisher = rig.connect();
    rig.turn();
    let command = format!(r#"{{"op":"publish","topic":"news","data":"{:062}"}}"#, 0);
    let mut read = Vec::new();
    for _ in 0..PIPELINED {
        encode::masked_frame(&mut read, Opcode::Text, command.as_bytes(), [1, 2, 3, 4]);
    }
    group.throughput(Throughput::Elements(PIPELINED));
    group.bench_function("500 publications in one read", |b| {
        b.iter(|| {
            rig.bytes(publisher, &read);
            rig.turn();
        });
    });
    group.finish();
}

/// What a command costs whose connection has very many subscriptions.
fn collector(c: &mut Criterion) {
    let mut group = c.benchmark_group("one connection with 10,000 subscriptions");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let all = |op: &str| -> Vec<String> {
        let each = (0..10_000).map(|topic| format!(r#"{{"op":"{op}","topic":"room/{topic}"}}"#));
        each.collect::<Vec<_>>().chunks(500).map(|some| format!("[{}]", some.join(","))).collect()
    };
    let (subscribes, unsubscribes) = (all("subscribe"), all("unsubscribe"));
    let mut rig = Rig::new(|config| config.limits.subscriptions_max = 10_000);
    let conn = rig.connect();
    rig.turn();
    let mut send = |messages: &[String]| {
        for message in messages {
            rig.text(conn, message);
            rig.turn();
        }
    };
    group.throughput(Throughput::Elements(10_000));
    for (name, before, timed_ones) in
        [("subscribes", &unsubscribes, &subscribes), ("unsubscribes", &subscribes, &unsubscribes)]
    {
        group.bench_function(format!("10,000 {name}"), |b| {
            b.iter_custom(|rounds| {
                let each = (0..rounds).map(|_| {
                    send(before);
                    timed(|| send(timed_ones))
                });
                each.sum()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, towns, collector, keep, fan_out, pipeline);
criterion_main!(benches);
