//! What changes while a run is measured: a point for each second, or for each twentieth of a short run.
//! The directing thread calls `look` whenever it is awake; the outcome shows the curves.
//! Invariants: a point tells of what happened since the one before; reading costs the load's core some files of /proc per point,
//! and the server nothing. Refuses to keep more than `POINTS_MAX` points: it then keeps every second one and looks half as often.

use std::time::{Duration, Instant};

use crate::process::{Cost, resident_bytes};
use crate::report::Series;

/// Most points of one curve.
const POINTS_MAX: usize = 2_000;
/// Shortest and longest time between two points.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// One run's curves.
pub(crate) struct Recorder {
    server_pid: Option<u32>,
    begun: Instant,
    interval: Duration,
    last: Instant,
    counts: [u64; 2],
    cpu_ns: u64,
    names: [&'static str; 2],
    /// Seconds since the begin; both counts per second, the server's CPU in percent of a core, its resident memory in bytes.
    points: Vec<(f64, [f64; 4])>,
}

impl Recorder {
    /// Of two counters that only grow, over a stretch of about `length`.
    pub(crate) fn new(names: [&'static str; 2], counts: [u64; 2], server_pid: Option<u32>, length: Duration) -> Self {
        let now = Instant::now();
        Self {
            server_pid,
            begun: now,
            interval: (length / 20).clamp(INTERVALS.0, INTERVALS.1),
            last: now,
            counts,
            cpu_ns: server_pid.and_then(|pid| Cost::of(pid).ok()).map_or(0, |cost| cost.cpu_ns),
            names,
            points: Vec::new(),
        }
    }

    /// Notes a point if it is time to.
    pub(crate) fn look(&mut self, counts: [u64; 2]) {
        let elapsed = self.last.elapsed();
        if elapsed < self.interval {
            return;
        }
        let seconds = elapsed.as_secs_f64();
        let per_second = |n: usize| counts[n].saturating_sub(self.counts[n]) as f64 / seconds;
        // A server that is gone is told by the run itself.
        let cpu_ns = self.server_pid.and_then(|pid| Cost::of(pid).ok()).map_or(self.cpu_ns, |cost| cost.cpu_ns);
        let cpu_percent = cpu_ns.saturating_sub(self.cpu_ns) as f64 / 1e7 / seconds;
        let resident = self.server_pid.and_then(resident_bytes).unwrap_or(0);
        let point = [per_second(0), per_second(1), cpu_percent, resident as f64];
        self.points.push((self.begun.elapsed().as_secs_f64(), point));
        (self.last, self.counts, self.cpu_ns) = (Instant::now(), counts, cpu_ns);
        if self.points.len() >= POINTS_MAX {
            let mut number = 0;
            self.points.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.interval *= 2;
        }
    }

    /// The curves; those of the server only if its process is known.
    pub(crate) fn finish(self) -> Vec<Series> {
        let [first, second] = self.names;
        let all = [
            (first, "per second"),
            (second, "per second"),
            ("server CPU", "% of a core"),
            ("server resident memory", "bytes"),
        ];
        let known = if self.server_pid.is_some() { 4 } else { 2 };
        let curve = |n: usize| self.points.iter().map(|(x, values)| (*x, values[n])).collect();
        all.into_iter()
            .take(known)
            .enumerate()
            .map(|(n, (name, unit))| Series { name: name.to_owned(), unit, along: "seconds", points: curve(n) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_tells_what_happened_since_the_one_before() {
        let mut recorder = Recorder::new(["a", "b"], [10, 0], Some(std::process::id()), Duration::ZERO);
        recorder.look([11, 1]);
        std::thread::sleep(INTERVALS.0);
        recorder.look([60, 100]);
        std::thread::sleep(INTERVALS.0);
        recorder.look([60, 200]);
        let series = recorder.finish();
        assert_eq!(series.len(), 4);
        let [first, second] = [&series[0].points, &series[1].points];
        assert_eq!((first.len(), second.len()), (2, 2), "too early for the first look");
        assert!(first[0].1 > 100.0 && first[0].1 <= 500.0 && first[1].1 == 0.0, "{first:?}");
        assert!(second[1].1 > 200.0 && second[0].0 < second[1].0);
        assert!(series[3].points[0].1 > 1e6, "a process has memory");
        assert_eq!(Recorder::new(["a", "b"], [0, 0], None, Duration::ZERO).finish().len(), 2);
    }

    #[test]
    fn a_long_run_is_told_in_a_bounded_number_of_points() {
        let mut recorder = Recorder::new(["a", "b"], [0, 0], None, Duration::ZERO);
        recorder.interval = Duration::from_nanos(1);
        for n in 0..10 * POINTS_MAX as u64 {
            recorder.look([n, n]);
        }
        let points = &recorder.points;
        assert!(points.len() < POINTS_MAX && points.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
