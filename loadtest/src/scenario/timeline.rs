//! How late publications were with everybody, moment by moment: what a histogram of the whole run cannot show.
//! Each client thread notes the publications that its subscribers completed; the judgement adds the threads up.
//! Invariants: at most `POINTS_MAX` moments, however long a run is: they then become twice as long; a latency is told to within
//! a twelfth, its maximum exactly. A moment in which nothing was completed has no point.

use crate::report::Series;

/// Most moments that are told apart.
const POINTS_MAX: usize = 240;
/// How long a moment is at first, in nanoseconds.
const MOMENT_NS: u64 = 100_000_000;
/// Bits of a latency that are told apart below its highest one: eight steps for each doubling.
const STEP_BITS: u32 = 3;
/// Latencies of up to 2^40 ns, 18 minutes.
const STEPS: usize = (40 << STEP_BITS) as usize;

/// One thread's moments.
#[derive(Clone)]
pub(crate) struct Timeline {
    moment_ns: u64,
    moments: Vec<Moment>,
}

#[derive(Clone)]
struct Moment {
    steps: Box<[u32]>,
    count: u64,
    max_ns: u64,
}

impl Moment {
    fn new() -> Self {
        Self { steps: vec![0; STEPS].into(), count: 0, max_ns: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.steps.iter_mut().zip(&other.steps).for_each(|(sum, more)| *sum += more);
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// So many in a hundred took at most this long.
    fn percentile(&self, percent: u64) -> f64 {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let step = self.steps.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        });
        step.map_or(self.max_ns, middle).min(self.max_ns) as f64
    }
}

/// Which step a latency is on.
fn step(late_ns: u64) -> usize {
    if late_ns < 1 << STEP_BITS {
        return late_ns as usize;
    }
    let high = late_ns.ilog2();
    let below = (late_ns >> (high - STEP_BITS)) as usize & ((1 << STEP_BITS) - 1);
    ((((high - STEP_BITS + 1) << STEP_BITS) as usize) | below).min(STEPS - 1)
}

/// The latency in the middle of a step.
fn middle(step: usize) -> u64 {
    let (high, below) = ((step >> STEP_BITS) as u32, (step & ((1 << STEP_BITS) - 1)) as u64);
    if high == 0 {
        return below;
    }
    let unit = 1_u64 << (high - 1);
    (((1 << STEP_BITS) | below) * unit) + unit / 2
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Timeline {
    /// Nothing noted.
    pub(crate) fn new() -> Self {
        Self { moment_ns: MOMENT_NS, moments: Vec::new() }
    }

    /// A publication was with everybody `at_ns` after the measurement began, so late.
    pub(crate) fn note(&mut self, at_ns: u64, late_ns: u64) {
        while at_ns / self.moment_ns >= POINTS_MAX as u64 {
            self.coarsen();
        }
        let at = (at_ns / self.moment_ns) as usize;
        if at >= self.moments.len() {
            self.moments.resize_with(at + 1, Moment::new);
        }
        let moment = &mut self.moments[at];
        moment.steps[step(late_ns)] += 1;
        moment.count += 1;
        moment.max_ns = moment.max_ns.max(late_ns);
    }

    /// Two moments become one.
    fn coarsen(&mut self) {
        self.moment_ns *= 2;
        self.moments = self
            .moments
            .chunks(2)
            .map(|pair| {
                let mut one = pair[0].clone();
                pair[1..].iter().for_each(|other| one.add(other));
                one
            })
            .collect();
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, mut other: Self) {
        while self.moment_ns < other.moment_ns {
            self.coarsen();
        }
        while other.moment_ns < self.moment_ns {
            other.coarsen();
        }
        if self.moments.len() < other.moments.len() {
            self.moments.resize_with(other.moments.len(), Moment::new);
        }
        self.moments.iter_mut().zip(&other.moments).for_each(|(sum, more)| sum.add(more));
    }

    /// The curves; none if nothing was noted.
    pub(crate) fn series(&self) -> Vec<Series> {
        let known: Vec<(f64, &Moment)> = self
            .moments
            .iter()
            .enumerate()
            .filter(|(_, moment)| moment.count > 0)
            .map(|(n, moment)| ((n as u64 + 1) as f64 * self.moment_ns as f64 / 1e9, moment))
            .collect();
        if known.is_empty() {
            return Vec::new();
        }
        let curve = |name: &str, of: &dyn Fn(&Moment) -> f64| Series {
            name: name.to_owned(),
            unit: "ns",
            along: "seconds",
            points: known.iter().map(|(at, moment)| (*at, of(moment))).collect(),
        };
        vec![
            curve("last subscriber, median", &|moment| moment.percentile(50)),
            curve("last subscriber, 99 %", &|moment| moment.percentile(99)),
            curve("last subscriber, slowest", &|moment| moment.max_ns as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_step_is_within_a_twelfth_of_what_stands_on_it() {
        for late_ns in (0..40).flat_map(|bit| [1_u64 << bit, (1 << bit) + 1, (1 << bit) * 3 / 2, (2 << bit) - 1]) {
            let told = middle(step(late_ns));
            assert!(told.abs_diff(late_ns) as f64 <= late_ns as f64 / 12.0, "{late_ns} {told}");
        }
        assert_eq!(step(u64::MAX), STEPS - 1);
    }

    #[test]
    fn moments_are_told_apart_and_empty_ones_are_left_out() {
        let mut timeline = Timeline::new();
        for late_us in 1..=100 {
            timeline.note(0, late_us * 1_000);
        }
        timeline.note(2 * MOMENT_NS + 5, 7_000_000);
        let series = timeline.series();
        let [median, most, slowest] = [&series[0].points, &series[1].points, &series[2].points];
        assert_eq!((median.len(), median[0].0, median[1].0), (2, 0.1, 0.3));
        assert!((median[0].1 / 50_000.0 - 1.0).abs() < 0.1 && (most[0].1 / 99_000.0 - 1.0).abs() < 0.1, "{series:?}");
        assert_eq!((slowest[0].1, slowest[1].1), (100_000.0, 7_000_000.0));
        assert!(Timeline::new().series().is_empty());
    }

    #[test]
    fn a_long_run_has_longer_moments_and_threads_add_up() {
        let (mut long, mut short) = (Timeline::new(), Timeline::new());
        for n in 0..1_000 {
            long.note(n * MOMENT_NS, 1_000);
        }
        short.note(0, 900_000);
        for (mut one, other) in [(long.clone(), short.clone()), (short, long)] {
            one.merge(other);
            let slowest = &one.series()[2].points;
            assert!(slowest.len() <= POINTS_MAX && slowest[0] == (0.8, 900_000.0), "{slowest:?}");
            assert_eq!(one.moments.iter().map(|moment| moment.count).sum::<u64>(), 1_001);
        }
    }
}
