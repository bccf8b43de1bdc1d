//! From values to places on an axis, and the values that are written at it.
//! The charts ask for a scale per axis.
//! Invariants: a scale has an extent, whatever the values are: none, one, all the same, or not finite; the marks lie within it.

/// No figure is as large: nanoseconds of a month, bytes of a petabyte. Beyond it marks could not be told apart.
const BEYOND: f64 = 1e15;
/// Most marks of a linear axis.
const MARKS_MAX: f64 = 5.0;

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    log: bool,
    /// Between two marks of an axis that is not logarithmic.
    step: f64,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// [`Scale::linear`] whose marks are round in powers of two.
    pub(super) fn binary(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let mut scale = Self::linear(values, from, to);
        let two = 2_f64.powf(scale.step.log2().ceil());
        scale.step = two;
        scale.high = (scale.high / two).ceil() * two;
        scale.low = (scale.low / two).floor() * two;
        scale
    }

    /// From 0, or from the least value if that is below it, to a round number that no value is above. `from` and `to` are where it begins and ends.
    pub(super) fn linear(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = extent(values);
        let (low, high) = (low.min(0.0), if high - low.min(0.0) < 1e-9 { low.min(0.0) + 1.0 } else { high });
        let step = step(high - low);
        Self { log: false, step, low: (low / step).floor() * step, high: (high / step).ceil() * step, from, to }
    }

    /// [`Scale::linear`] that ends exactly at the least and the greatest value.
    pub(super) fn exact(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = extent(values);
        let high = if high - low > low.abs() * 1e-9 { high } else { low + low.abs().max(1.0) };
        Self { log: false, step: step(high - low), low, high, from, to }
    }

    /// In powers of ten, a little beyond both ends; values of 0 and below stand at its beginning.
    pub(super) fn log(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = extent(values.filter(|value| *value > 0.0));
        let (low, high) = if low > 0.0 { (low, high) } else { (1.0, 10.0) };
        let wide =
            |low: f64, high: f64| if high / low < 4.0 { (low / 2.0, high * 2.0) } else { (low / 1.15, high * 1.15) };
        let (low, high) = wide(low, high);
        Self { log: true, step: 0.0, low, high, from, to }
    }

    /// Where a value is.
    pub(super) fn at(&self, value: f64) -> f64 {
        let part = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Whether a value is on it.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The values that are on both.
    pub(super) fn shared_with(&self, other: &Self) -> (f64, f64) {
        (self.low.max(other.low), self.high.min(other.high))
    }

    /// What is written at it.
    pub(super) fn marks(&self) -> Vec<f64> {
        if !self.log {
            let step = self.step;
            let first = (self.low / step).ceil();
            let count = ((self.high / step + 1e-9).floor() - first).clamp(0.0, 2.0 * MARKS_MAX) as usize;
            return (0..=count).map(|n| (first + n as f64) * step).collect();
        }
        let decades = (self.high / self.low).log10();
        let within: &[f64] = if decades < 1.6 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        // Of many decades every second or third will do.
        let stride = (decades / 6.0).ceil().max(1.0) as i32;
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let all = (first..=last).filter(|power| power % stride == 0);
        let all = all.flat_map(|power| within.iter().map(move |part| part * 10_f64.powi(power)));
        all.filter(|mark| self.holds(*mark)).collect()
    }
}

/// The least and the greatest value within [`BEYOND`]; 0 and 1 of nothing.
fn extent(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let both = values.filter(|value| value.abs() <= BEYOND).fold(None, |both: Option<(f64, f64)>, value| {
        Some(both.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    both.unwrap_or((0.0, 1.0))
}

/// A round distance of which few fit into `length`.
fn step(length: f64) -> f64 {
    let rough = length / MARKS_MAX;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|part| part * power).find(|step| *step >= rough).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_along_two_axes_ends_where_the_shorter_one_does() {
        let offered = Scale::exact([100.0, 3_200.0].into_iter(), 0.0, 10.0);
        let achieved = Scale::linear([100.0, 1_966.0].into_iter(), 10.0, 0.0);
        assert_eq!(offered.shared_with(&achieved), (100.0, 2_000.0));
        assert_eq!(achieved.at(achieved.shared_with(&offered).1), 0.0, "at its end, not beyond it");
    }

    #[test]
    fn linear_axes_begin_at_nothing_and_end_at_round_numbers() {
        let scale = Scale::linear([130.0, 870.0].into_iter(), 100.0, 0.0);
        assert_eq!(scale.marks(), [0.0, 200.0, 400.0, 600.0, 800.0, 1_000.0]);
        let memory = Scale::binary([0.0, 5_000_000.0].into_iter(), 0.0, 1.0).marks();
        assert_eq!(memory, [0.0, 1_048_576.0, 2_097_152.0, 3_145_728.0, 4_194_304.0, 5_242_880.0]);
        assert_eq!((scale.at(0.0), scale.at(500.0), scale.at(1_000.0), scale.at(9e9)), (100.0, 50.0, 0.0, 0.0));
    }

    #[test]
    fn log_axes_have_decades_and_more_where_there_is_room() {
        let scale = Scale::log([1_000.0, 40_000_000.0].into_iter(), 0.0, 100.0);
        assert_eq!(scale.marks(), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(Scale::log([900.0, 9_000.0].into_iter(), 0.0, 1.0).marks(), [1e3, 2e3, 5e3, 1e4]);
        assert!(scale.at(0.0) == 0.0 && scale.at(-5.0) == 0.0 && scale.at(1e6) > scale.at(1e5));
    }

    #[test]
    fn odd_values_have_a_scale_too() {
        for values in [
            vec![],
            vec![0.0],
            vec![7.0, 7.0],
            vec![f64::NAN],
            vec![f64::INFINITY, 3.0],
            vec![1e300, 2e300],
            vec![1e15, 1e15],
            vec![f64::MIN_POSITIVE, 0.0],
            vec![-1e308, 1e308],
            vec![-2.0, 5.0],
        ] {
            for scale in [Scale::linear, Scale::binary, Scale::exact, Scale::log]
                .map(|make| make(values.iter().copied(), 10.0, 20.0))
            {
                let marks = scale.marks();
                assert!(marks.len() < 30, "{values:?}: {marks:?}");
                for value in values.iter().copied().chain(marks) {
                    let at = scale.at(value);
                    assert!(value.is_nan() || (10.0..=20.0).contains(&at), "{values:?}: {value} at {at}");
                }
            }
        }
    }
}
