//! How long the hot paths take, for people: `cargo bench --bench hot_paths`, with a part of a name to choose.
//!
//! It is the very work whose instructions `wirefan-counts` holds to the record. A time is one machine's, with whatever else it does.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

mod paths;
mod rig;
mod texts;

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn hot_paths(criterion: &mut Criterion) {
    for path in paths::all() {
        let (group, case) = path.name.split_once(": ").expect("`path: case`");
        let mut group = criterion.benchmark_group(group);
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(500));
        group.throughput(Throughput::Elements(path.units.into()));
        group.bench_function(format!("{case}, per {}", path.unit), |bencher| {
            let mut work = (path.make)();
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    work.prepare();
                    let began = Instant::now();
                    work.run();
                    spent += began.elapsed();
                }
                spent
            });
        });
        group.finish();
    }
}

criterion_group!(benches, hot_paths);
criterion_main!(benches);
