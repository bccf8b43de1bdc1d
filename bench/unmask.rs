//! What unmasking costs: each routine that this processor can run, beside a plain copy of the same bytes.
//! `cargo bench --bench unmask`; the figures of one machine are in bench/README.md.
//! Payloads lie at moving places, as they do in a read buffer: a payload unmasked twice at one place would measure how
//! the processor forwards stores to loads that overlap them.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;
use wirefan::simd;

/// The header and key of a client's frame of up to 125 bytes.
const HEADER_BYTES: usize = 6;
/// What payloads share: with the target of the copy, it fits into the first cache.
const WINDOW_BYTES: usize = 12 << 10;

/// Frames of one length.
fn lengths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for length in [7, 16, 32, 64, 125, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20] {
        let room = WINDOW_BYTES.max(length + HEADER_BYTES);
        contest(&mut group, length, &frames(|| length, room));
    }
    group.finish();
}

/// Frames of random lengths up to a bound.
fn mixed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask mixed");
    for length_max in [15, 31, 125, 300] {
        let mut state = 1_u64;
        let random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % (length_max + 1)
        };
        contest(&mut group, length_max, &frames(random, 4 * WINDOW_BYTES));
    }
    group.finish();
}

/// Payloads of frames that lie side by side, as many as fit into `room` bytes.
fn frames(mut length: impl FnMut() -> usize, room: usize) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let end = at + length();
        if end > room {
            return frames;
        }
        frames.push(at..end);
        at = end + HEADER_BYTES;
    }
}

/// Measures the copy and each routine: the time of one frame, over all of them in turn.
fn contest(group: &mut BenchmarkGroup<'_, WallTime>, length: usize, frames: &[Range<usize>]) {
    let room = frames.last().map_or(0, |frame| frame.end);
    let (mut buf, mut to) = (vec![b'a'; room], vec![b'a'; room]);
    let key = black_box([0x37, 0xfa, 0x21, 0x3d]);
    let copy = black_box::<fn(&mut [u8], &[u8])>(<[u8]>::copy_from_slice);
    group.throughput(Throughput::Bytes(length as u64));
    let mut turn = frames.iter().cycle();
    let mut next = move || turn.next().cloned().unwrap_or_default();
    group.bench_function(BenchmarkId::new("memcpy", length), |bencher| {
        bencher.iter(|| {
            let frame = next();
            copy(&mut to[frame.clone()], &buf[frame]);
        });
    });
    for (name, routine) in simd::routines() {
        let routine = black_box(routine);
        let mut turn = frames.iter().cycle();
        let mut next = move || turn.next().cloned().unwrap_or_default();
        group.bench_function(BenchmarkId::new(name, length), |bencher| {
            bencher.iter(|| routine(&mut buf[next()], key));
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(40)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = lengths, mixed
}
criterion_main!(benches);
