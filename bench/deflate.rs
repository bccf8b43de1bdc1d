//! What it costs to compress a publication and what that saves, by level and size; and to inflate a message.
//!
//! `cargo bench --bench deflate`. The sizes are printed first: what is left of the payload, on the wire. The levels are put
//! to `flate2` as [`Deflater`] does it, which has one of them.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compress, Compression, FlushCompress};
use wirefan::limits::DEFLATE_WINDOW_BITS;
use wirefan::ws::Kind;
use wirefan::ws::deflate::{Deflater, Inflater};

const LEVELS: [u32; 5] = [1, 2, 3, 4, 6];

/// Orders of a market, `bytes` bytes of JSON; another text for each `seed`.
fn orders(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    let mut text = String::from(r#"{"rows":["#);
    while text.len() < bytes {
        let (user, status) = (below(5) as usize, below(3) as usize);
        write!(
            text,
            r#"{{"id":{},"user":"{}","price":{}.{:02},"qty":{},"status":"{}","at":"2026-11-{:02}T{:02}:{:02}:{:02}Z"}},"#,
            below(1_000_000),
            ["alice", "bob", "carol", "dave", "erin"][user],
            below(1000),
            below(100),
            below(500),
            ["open", "filled", "cancelled"][status],
            1 + below(28),
            below(24),
            below(60),
            below(60),
        )
        .expect("a String takes all");
    }
    text.truncate(bytes - 2);
    text.push_str("]}");
    text.into_bytes()
}

/// One payload as `level` makes it: a reset, a flush, the tail cut off.
fn compress(state: &mut Compress, payload: &[u8], out: &mut [u8]) -> usize {
    state.reset();
    state.compress(payload, out, FlushCompress::Sync).expect("it has room");
    usize::try_from(state.total_out()).expect("it lies in `out`") - 4
}

fn levels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compress");
    for bytes in [128, 160, 192, 256, 512, 4096] {
        let payloads: Vec<Vec<u8>> = (1..65).map(|seed| orders(bytes, seed)).collect();
        let mut out = vec![0; 2 * bytes + 64];
        group.throughput(Throughput::Elements(payloads.len() as u64));
        for level in LEVELS {
            let mut state = Compress::new_with_window_bits(Compression::new(level), false, DEFLATE_WINDOW_BITS);
            let sum: usize = payloads.iter().map(|payload| compress(&mut state, payload, &mut out)).sum();
            println!("{bytes} bytes at level {level} become {}", sum / payloads.len());
            group.bench_function(BenchmarkId::new(format!("{bytes} B"), format!("level {level}")), |bencher| {
                bencher.iter(|| {
                    payloads.iter().map(|payload| compress(&mut state, black_box(payload), &mut out)).sum::<usize>()
                });
            });
        }
    }
    group.finish();
}

fn inflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inflate");
    for bytes in [512, 4096, 65_536] {
        let payload = orders(bytes, 1);
        let mut deflater = Deflater::new(DEFLATE_WINDOW_BITS);
        let deflated = deflater.deflate([&payload, b""], bytes).expect("JSON shrinks").to_vec();
        let mut inflater = Inflater::default();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(format!("{bytes} B"), |bencher| {
            bencher.iter(|| inflater.message(Kind::Text, black_box(&deflated), bytes).map(<[u8]>::len));
        });
    }
    let bomb = Deflater::new(15).deflate([&vec![b'0'; 65_536], b""], 65_536).expect("it shrinks").to_vec();
    let mut inflater = Inflater::default();
    group.bench_function(format!("a bomb of {} B", bomb.len()), |bencher| {
        bencher.iter(|| inflater.message(Kind::Text, black_box(&bomb), 65_535).is_err());
    });
    group.finish();
}

criterion_group!(benches, levels, inflate);
criterion_main!(benches);
