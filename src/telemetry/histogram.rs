//! Times in log-linear buckets: four to each doubling, so a value is known to within a quarter of itself.
//!
//! A shard records into its own, an addition and a handful of shifts; who reports copies it. Plain numbers: two of them
//! add up, and the difference of two copies is what came between. Refuses nothing: what is longer than the last bucket
//! counts there, and in full in the sum.

/// Buckets: up to half a minute.
const BUCKETS: usize = 96;

/// See the module's page. Values are microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], sum_us: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, us: u64) {
        self.counts[bucket(us)] += 1;
        self.sum_us += us;
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// Takes another's values in.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.sum_us += other.sum_us;
    }

    /// What came since `earlier`, a former copy of this one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.counts.iter_mut().zip(earlier.counts).for_each(|(count, before)| *count -= before.min(*count));
        since.sum_us -= earlier.sum_us.min(since.sum_us);
        since
    }

    /// The value below which so many thousandths lie: the end of its bucket, in microseconds. 0 of nothing.
    #[must_use]
    pub fn quantile_us(&self, thousandths: u64) -> u64 {
        let rank = (self.count() * thousandths).div_ceil(1000);
        let mut seen = 0;
        for (number, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= rank {
                return begin(number + 1);
            }
        }
        0
    }

    /// For each doubling from 2^`first` to 2^`last` microseconds, how many lie below it and not below the one before; the
    /// last one has the rest.
    pub fn doublings(&self, first: u32, last: u32) -> impl Iterator<Item = (u64, u64)> {
        let end = |power: u32| if power < 2 { 1 << power } else { (power as usize - 1) * 4 };
        (first..=last + 1).map(move |power| {
            let from = if power == first { 0 } else { end(power - 1) };
            let to = if power > last { BUCKETS } else { end(power).min(BUCKETS) };
            (1 << power, self.counts[from.min(to)..to].iter().sum())
        })
    }
}

/// Up to 4 each value has its bucket; beyond, each doubling has four.
#[inline]
fn bucket(us: u64) -> usize {
    if us < 4 {
        return usize::try_from(us).unwrap_or(0);
    }
    let power = 63 - us.leading_zeros();
    let quarter = (us >> (power - 2)) & 3;
    (((power - 1) as usize) * 4 + usize::try_from(quarter).unwrap_or(0)).min(BUCKETS - 1)
}

/// The first value of a bucket.
fn begin(number: usize) -> u64 {
    let number = number as u64;
    if number < 4 { number } else { (4 + number % 4) << (number / 4 - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gap_and_are_a_quarter_wide_at_most() {
        for number in 0..BUCKETS - 1 {
            let (first, next) = (begin(number), begin(number + 1));
            assert!(first < next, "{number}");
            assert_eq!((bucket(first), bucket(next - 1), bucket(next)), (number, number, number + 1));
            assert!((next - first) * 4 <= first.max(4), "{number}: {first}..{next}");
        }
        assert_eq!((bucket(u64::MAX), bucket(1 << 25)), (BUCKETS - 1, BUCKETS - 1));
    }

    #[test]
    fn sums_differences_and_quantiles_are_those_of_the_values() {
        let mut one = Histogram::default();
        (1..=1000).for_each(|us| one.record(us));
        assert_eq!((one.count(), one.sum_us()), (1000, 500_500));
        for (thousandths, exact) in [(500, 500), (990, 990), (1000, 1000)] {
            let found = one.quantile_us(thousandths);
            assert!(found > exact && found * 4 <= exact * 5 + 4, "{thousandths}: {found}");
        }
        let earlier = one.clone();
        one.record(7);
        one.record(50_000_000);
        let since = one.since(&earlier);
        assert_eq!((since.count(), since.sum_us(), since.quantile_us(500)), (2, 50_000_007, 8));
        let mut both = earlier;
        both.add(&since);
        assert_eq!(both, one);
        assert_eq!(Histogram::default().quantile_us(500), 0);
    }

    #[test]
    fn doublings_count_each_value_once_and_below_its_end() {
        let mut all = Histogram::default();
        for us in [0, 1, 15, 16, 31, 32, 1023, 1024, 1 << 22, (1 << 23) - 1, 1 << 23, u64::from(u32::MAX)] {
            all.record(us);
        }
        let parts: Vec<_> = all.doublings(4, 23).collect();
        assert_eq!(parts.len(), 21);
        assert_eq!(parts[..3], [(16, 3), (32, 2), (64, 1)]);
        assert_eq!((parts[6], parts[7]), ((1024, 1), (2048, 1)));
        assert_eq!(parts[19..], [(1 << 23, 2), (1 << 24, 2)], "the last one has the rest");
        assert_eq!(parts.iter().map(|(_, count)| count).sum::<u64>(), all.count());
    }
}
