//! What a publication by HTTP costs a shard without sockets: reads of 64 pipelined requests, answered in one write.
//!
//! `cargo bench --bench http_publish`. One iteration is 64 such reads through the front door: heads parsed and judged,
//! bodies checked, positions given by the home, responses written. The exact count of instructions per read:
//! `valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*one_read*' BENCH --bench --test`, BENCH being the program of
//! `cargo bench --bench http_publish --no-run`.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wirefan::ids::ConnId;

mod rig;
use rig::Rig;

/// Requests in one read.
const DEPTH: usize = 64;
/// Reads of one iteration.
const READS: usize = 64;

/// As `wirefan-loadtest http-publish` sends them; to so many topics in turn, of which it has one.
fn requests(payload_bytes: usize, topics: usize) -> Vec<u8> {
    let payload = format!("\"{}\"", "x".repeat(payload_bytes - 2));
    let request = |number: usize| {
        format!(
            "POST /v1/publish?topic=loadtest/0123abcd/{} HTTP/1.1\r\nHost: 127.0.0.1:40123\r\n\
            Content-Type: application/json\r\nContent-Length: {payload_bytes}\r\n\r\n{payload}",
            number % topics
        )
    };
    (0..DEPTH).map(request).collect::<String>().into_bytes()
}

/// One turn of the loop: a read of pipelined requests, and the write of their answers.
#[inline(never)]
fn one_read(rig: &mut Rig, conn: ConnId, requests: &[u8]) {
    rig.bytes(conn, requests);
    rig.turn();
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("http_publish");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements((READS * DEPTH) as u64));
    for (payload_bytes, subscribers, topics) in [(64, 0, 1), (64, 1, 1), (1024, 0, 1), (64, 0, 8)] {
        let requests = requests(payload_bytes, topics);
        let mut rig = Rig::new(|_| {});
        for _ in 0..subscribers {
            let conn = rig.connect();
            rig.text(conn, r#"{"op":"subscribe","topic":"loadtest/0123abcd/0"}"#);
        }
        let conn = rig.shard.handle_accept(false);
        rig.turn();
        let before = rig.sink.bytes;
        one_read(&mut rig, conn, &requests);
        let answered = rig.sink.bytes - before;
        let name = match topics {
            1 => format!("{payload_bytes} B, {subscribers} subscribers"),
            _ => format!("{payload_bytes} B, {topics} topics in turn"),
        };
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..READS {
                    one_read(&mut rig, conn, &requests);
                }
            });
        });
        assert!(rig.sink.bytes - before >= answered * (READS as u64 + 1), "every request is answered");
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
