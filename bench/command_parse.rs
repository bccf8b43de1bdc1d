//! What it costs to read commands: a small publish, 4 KiB of structure, a batch, and what only the careful reader takes.
//!
//! `cargo bench --bench command_parse`. `serde_json` beside them is a derived envelope with a raw value for `data`,
//! without any of our checks: a yardstick, not a rival.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::value::RawValue;
use wirefan::protocol::{Op, Parser};

mod texts;
use texts::{batch, small, structured};

fn one_string(bytes: usize) -> String {
    format!(r#"{{"op":"publish","topic":"notes/1","id":117,"data":"{}"}}"#, "some text ".repeat(bytes / 10))
}

/// How many commands the parser hands out.
fn commands(parser: &mut Parser, message: &[u8]) -> usize {
    let mut count = 0;
    parser.text(message, &mut |outcome| {
        if let Op::Publish { payload, .. } = outcome.expect("a valid command").op {
            black_box(payload);
            count += 1;
        }
    });
    count
}

#[derive(Deserialize)]
struct Envelope<'a> {
    op: &'a str,
    topic: &'a str,
    id: u64,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn text(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text");
    for (name, message, len) in [
        ("publish of 113 B", small(), 1),
        ("4 KiB structured", structured(4096), 1),
        ("4 KiB string", one_string(4096), 1),
        ("batch of 32", batch(32), 32),
        ("careful: 113 B", small().replace("1.0000", "1e9999"), 1),
        ("careful: 4 KiB", structured(4096).replacen("1.25", "1e999", 1), 1),
    ] {
        let mut parser = Parser::new();
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                assert_eq!(commands(&mut parser, black_box(message.as_bytes())), len);
            });
        });
    }
    group.finish();
}

fn binary(criterion: &mut Criterion) {
    let mut message = br#"{"op":"publish","topic":"chat/room-42","id":117}"#.to_vec();
    message.push(b'\n');
    message.resize(4096, 0xff);
    let mut parser = Parser::new();
    criterion.bench_function("binary/4 KiB", |bencher| {
        bencher.iter(|| parser.binary(black_box(&message), &mut |outcome| drop(black_box(outcome))));
    });
}

fn serde(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("serde_json");
    for (name, message) in
        [("publish of 113 B", small()), ("4 KiB structured", structured(4096)), ("4 KiB string", one_string(4096))]
    {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let envelope: Envelope<'_> =
                    serde_json::from_slice(black_box(message.as_bytes())).expect("a valid command");
                black_box((envelope.op, envelope.topic, envelope.id, envelope.data));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, text, binary, serde);
criterion_main!(benches);
