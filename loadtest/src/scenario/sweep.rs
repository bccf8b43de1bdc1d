//! Where is the knee? Raises the rate of an open loop until it does not hold any more (or lowers it until it does), then looks closer between.
//! The command line calls `run` with what runs one step: each has new connections and topics on the same server.
//! Invariants: it ends by itself after at most `STEPS_MAX` steps; latencies count from the intended send, so a step over the knee shows
//! all it delayed; a step that holds was delivered whole. Over the knee a broker may cut off who falls behind, and nothing else.

use std::time::Duration;

use super::fanout::{Measured, Shape};
use super::publishing::Pace;
use crate::report::Progress;
use crate::stats::ratio;

/// Most steps.
const STEPS_MAX: usize = 24;
/// Steps between the last rate that held and the first that did not.
const REFINEMENTS: usize = 4;
/// Lowest rate that is tried.
const RATE_MIN: f64 = 1.0;
/// What the rate is raised by.
const FACTOR: f64 = 2.0;
/// The part of the offered rate that has to be achieved.
const ACHIEVED_MIN: f64 = 0.95;

/// One rate.
pub(crate) struct Step {
    /// Publications per second offered.
    pub(crate) rate: f64,
    /// What came of it.
    pub(crate) measured: Measured,
    /// It held.
    pub(crate) held: bool,
}

impl Step {
    fn judge(rate: f64, measured: Measured, late: Duration) -> Self {
        let achieved = achieved(&measured);
        let in_time = u128::from(measured.lateness.last.summary().p99_ns) <= late.as_nanos();
        let held = measured.passed() && in_time && achieved >= ACHIEVED_MIN * rate;
        Self { rate, measured, held }
    }

    /// Publications per second that were everywhere by the end.
    pub(crate) fn achieved(&self) -> f64 {
        achieved(&self.measured)
    }

    /// Nothing is wrong with it but what overload explains: cut off, and so not delivered.
    pub(crate) fn is_right(&self) -> bool {
        let faults = &self.measured.faults;
        self.held || faults.total() == faults.lost + faults.closed
    }
}

fn achieved(measured: &Measured) -> f64 {
    ratio(measured.publications as f64 * 1e9, measured.wall_ns as f64)
}

/// All steps, by their rates. `run` runs one shape; a step holds only while its last subscribers are at most `late`.
pub(crate) fn run(
    shape: &Shape,
    late: Duration,
    progress: &Progress,
    mut run: impl FnMut(&Shape) -> Result<Measured, String>,
) -> Result<Vec<Step>, String> {
    let mut rate = match shape.pace {
        Pace::Rate(rate) => rate,
        Pace::UnderWay(_) => 100.0,
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut step = |rate: f64, steps: &mut Vec<Step>| -> Result<bool, String> {
        progress.name(format!("{rate:.0} publications per second"));
        let measured = run(&Shape { pace: Pace::Rate(rate), ..shape.clone() })
            .map_err(|sentence| format!("at {rate:.0} publications per second: {sentence}"))?;
        steps.push(Step::judge(rate, measured, late));
        Ok(steps.last().is_some_and(|step| step.held))
    };
    let (mut held, mut broke) = (None, None);
    // Upwards while it holds; if not even the first rate does, downwards until one does.
    while (held.is_none() || broke.is_none()) && steps.len() < STEPS_MAX - REFINEMENTS && rate >= RATE_MIN {
        if step(rate, &mut steps)? {
            held = Some(rate);
            rate *= FACTOR;
        } else {
            broke = Some(rate);
            rate /= FACTOR;
        }
    }
    if let (Some(mut low), Some(mut high)) = (held, broke) {
        for _ in 0..REFINEMENTS {
            let middle = (low * high).sqrt();
            if step(middle, &mut steps)? {
                low = middle;
            } else {
                high = middle;
            }
        }
    }
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    Ok(steps)
}

/// The highest rate that held.
pub(crate) fn knee(steps: &[Step]) -> Option<&Step> {
    steps.iter().rev().find(|step| step.held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fanout::tests::shape;
    use crate::scenario::fanout::tests::with_floor;

    /// Real runs for their figures; what they achieve is made up, by a server that takes 3,000 per second and no more.
    fn swept(from: f64) -> Vec<Step> {
        let small = Shape { publications_max: 2, pace: Pace::Rate(from), ..shape() };
        with_floor(|target| {
            run(&small, Duration::from_secs(10), &Progress::new(true), |shape| {
                let Pace::Rate(rate) = shape.pace else { panic!("an open loop") };
                let closed = Shape { pace: Pace::UnderWay(1), ..shape.clone() };
                let mut measured = super::super::fanout::run(target, &closed, None, &Progress::new(true))?;
                measured.wall_ns = (measured.publications as f64 * 1e9 / rate.min(3_000.0)) as u64;
                Ok(measured)
            })
            .unwrap()
        })
    }

    #[test]
    fn the_knee_is_found_closely_from_below_and_from_above() {
        for from in [100.0, 20_000.0] {
            let steps = swept(from);
            assert!(steps.is_sorted_by(|a, b| a.rate < b.rate) && steps.len() < 13, "{}", steps.len());
            let knee = knee(&steps).unwrap();
            assert!((2_800.0..=3_200.0).contains(&knee.rate), "{}", knee.rate);
            assert!(steps.iter().all(Step::is_right) && !steps.last().unwrap().held);
        }
    }

    #[test]
    fn a_sweep_in_which_nothing_holds_ends_and_says_so() {
        let small = Shape { publications_max: 2, pace: Pace::Rate(64.0), ..shape() };
        let steps = with_floor(|target| {
            let run = |shape: &Shape| super::super::fanout::run(target, shape, None, &Progress::new(true));
            super::run(&small, Duration::from_nanos(1), &Progress::new(true), |shape| {
                run(&Shape { pace: Pace::UnderWay(1), ..shape.clone() })
            })
            .unwrap()
        });
        assert_eq!((steps.len(), knee(&steps).is_none()), (7, true), "64 to 1");
        let outcome = crate::report::sweep_outcome(&small, &steps, Duration::from_nanos(1), Vec::new());
        assert!(!outcome.passed && outcome.faults.sentences[0].contains("not even"), "{:?}", outcome.faults);
    }

    #[test]
    fn who_is_late_or_lost_something_does_not_hold_and_a_double_is_never_right() {
        let small = Shape { publications_max: 5, ..shape() };
        let measured =
            || with_floor(|target| super::super::fanout::run(target, &small, None, &Progress::new(true)).unwrap());
        let rate = achieved(&measured()) / 2.0;
        assert!(Step::judge(rate.min(1.0), measured(), Duration::from_secs(10)).held);
        assert!(!Step::judge(rate.min(1.0), measured(), Duration::from_nanos(1)).held);
        let mut lost = measured();
        lost.faults.lost = 1;
        let lost = Step::judge(1.0, lost, Duration::from_secs(10));
        assert!(!lost.held && lost.is_right());
        let mut doubled = measured();
        doubled.faults.doubled = 1;
        assert!(!Step::judge(1.0, doubled, Duration::from_secs(10)).is_right());
    }
}
