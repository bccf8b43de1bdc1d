//! The arithmetic of a run: latency histograms, medians, and the line through samples of memory.
//! The client threads record into `Latencies` and hand them over when they end; the report reads them.
//! Invariants: every latency is in nanoseconds and counts from the intended moment of sending, so a stalled broker cannot
//! hide its stall; histograms of several threads are merged, never averaged.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart: ten minutes, in nanoseconds. Anything later is recorded as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Shortest latency that is told apart, in nanoseconds.
const LATENCY_NS_MIN: u64 = 128;

/// The first bucket's end: a microsecond, in nanoseconds.
const BUCKET_FIRST_NS: u64 = 1_000;

/// One distribution of latencies, in nanoseconds, three significant digits. Told to another process as the values that were recorded.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(crate) struct Latencies(Histogram<u64>);

impl From<Vec<(u64, u64)>> for Latencies {
    fn from(recorded: Vec<(u64, u64)>) -> Self {
        let mut all = Self::new();
        for (latency_ns, count) in recorded {
            all.0.saturating_record_n(latency_ns, count);
        }
        all
    }
}

impl From<Latencies> for Vec<(u64, u64)> {
    fn from(all: Latencies) -> Self {
        all.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }
}

impl Latencies {
    /// An empty distribution.
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 3)
            .expect("constant bounds that hdrhistogram accepts");
        Self(histogram)
    }

    /// Adds one latency.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Adds all latencies of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both histograms have the same bounds");
    }

    /// Its shape: about eight buckets for each doubling, those that hold something.
    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        let steps = self.0.iter_log(BUCKET_FIRST_NS, 2_f64.powf(0.125));
        let all =
            steps.map(|step| Bucket { up_to_ns: step.value_iterated_to(), count: step.count_since_last_iteration() });
        all.filter(|bucket| bucket.count > 0).collect()
    }

    /// The figures that a reader wants.
    pub(crate) fn summary(&self) -> Percentiles {
        let at = |q: f64| self.0.value_at_quantile(q);
        Percentiles {
            count: self.0.len(),
            p50_ns: at(0.50),
            p90_ns: at(0.90),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.0.max(),
        }
    }
}

/// One bar of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bucket {
    /// The longest latency in it, in nanoseconds.
    pub(crate) up_to_ns: u64,
    /// Latencies in it.
    pub(crate) count: u64,
}

/// Percentiles of one distribution; all zero when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    /// Latencies recorded.
    pub(crate) count: u64,
    /// Half of them were at most this late, in nanoseconds.
    pub(crate) p50_ns: u64,
    /// 90 %.
    pub(crate) p90_ns: u64,
    /// 99 %.
    pub(crate) p99_ns: u64,
    /// 99.9 %.
    pub(crate) p999_ns: u64,
    /// The latest of all.
    pub(crate) max_ns: u64,
}

/// The middle value; the mean of the two middle ones when their number is even; 0 of nothing.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// Slope and intercept of the least-squares line through `(x, y)` samples. `None` with fewer than two distinct `x`.
pub(crate) fn least_squares(samples: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = samples.len() as f64;
    let mean_x = samples.iter().map(|s| s.0).sum::<f64>() / count;
    let mean_y = samples.iter().map(|s| s.1).sum::<f64>() / count;
    let spread = samples.iter().map(|s| (s.0 - mean_x).powi(2)).sum::<f64>();
    if samples.len() < 2 || spread == 0.0 {
        return None;
    }
    let joint = samples.iter().map(|s| (s.0 - mean_x) * (s.1 - mean_y)).sum::<f64>();
    let slope = joint / spread;
    Some((slope, mean_y - slope * mean_x))
}

/// A division that answers 0 where there is nothing to divide by (no CPU time, no deliveries).
pub(crate) fn ratio(numerator: f64, denominator: f64) -> f64 {
    if denominator > 0.0 { numerator / denominator } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_one_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn least_squares_finds_the_line_through_points_on_it() {
        let samples: Vec<_> = [1_000.0, 4_000.0, 19_000.0].iter().map(|x| (*x, 5_000_000.0 + 312.0 * x)).collect();
        let (slope, intercept) = least_squares(&samples).unwrap();
        assert!((slope - 312.0).abs() < 1e-6, "{slope}");
        assert!((intercept - 5_000_000.0).abs() < 1e-2, "{intercept}");
    }

    #[test]
    fn least_squares_averages_noise_and_refuses_a_single_x() {
        let (slope, _) = least_squares(&[(0.0, 1.0), (0.0, 3.0), (2.0, 5.0), (2.0, 7.0)]).unwrap();
        assert!((slope - 2.0).abs() < 1e-9);
        assert!(least_squares(&[(5.0, 1.0), (5.0, 9.0)]).is_none());
        assert!(least_squares(&[(5.0, 1.0)]).is_none());
        assert!(least_squares(&[]).is_none());
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut all = Latencies::new();
        for us in 1..=1_000_u64 {
            all.record(us * 1_000);
        }
        let p = all.summary();
        assert_eq!(p.count, 1_000);
        for (found, expected) in [
            (p.p50_ns, 500_000.0),
            (p.p90_ns, 900_000.0),
            (p.p99_ns, 990_000.0),
            (p.p999_ns, 999_000.0),
            (p.max_ns, 1_000_000.0),
        ] {
            assert!((found as f64 / expected - 1.0).abs() < 0.002, "{found} {expected}");
        }
    }

    #[test]
    fn buckets_hold_all_that_was_recorded_and_a_tail_stays_far_away() {
        let mut all = Latencies::new();
        assert_eq!(all.buckets(), []);
        for _ in 0..90 {
            all.record(50_000);
        }
        all.record(300_000_000);
        let buckets = all.buckets();
        assert_eq!(buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [90, 1]);
        let ends = [buckets[0].up_to_ns, buckets[1].up_to_ns];
        assert!(ends[0].abs_diff(50_000) < 6_000 && ends[1].abs_diff(300_000_000) < 30_000_000, "{ends:?}");
    }

    #[test]
    fn merged_histograms_keep_the_outlier_that_an_average_would_hide() {
        let (mut quick, mut stalled) = (Latencies::new(), Latencies::new());
        for _ in 0..99 {
            quick.record(10_000);
        }
        stalled.record(2_000_000_000);
        quick.merge(&stalled);
        assert_eq!(quick.summary().count, 100);
        assert!(quick.summary().max_ns >= 2_000_000_000);
        assert!(quick.summary().p90_ns < 11_000);
    }

    #[test]
    fn what_another_process_is_told_is_the_same_to_the_last_digit() {
        let mut all = Latencies::new();
        for n in 0..10_000_u64 {
            all.record(n.pow(3) + 90);
        }
        let told: Latencies = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        assert_eq!((told.summary(), told.buckets()), (all.summary(), all.buckets()));
        assert_eq!(Latencies::from(Vec::new()).summary(), Percentiles::default());
    }

    #[test]
    fn a_latency_beyond_the_range_is_kept_as_the_longest() {
        let mut all = Latencies::new();
        all.record(u64::MAX);
        assert_eq!(all.summary().count, 1);
        assert!(all.summary().max_ns >= LATENCY_NS_MAX);
    }
}
