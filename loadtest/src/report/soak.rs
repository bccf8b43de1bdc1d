//! The outcome of a soak: that of its storm, and how the server's memory went.
//! The command line calls `soak_outcome`.

use super::storm::storm_outcome;
use super::{Figure, Outcome, Series};
use crate::scenario::soak::{Measured, Sample};
use crate::scenario::storm::Shape;

/// What `Measured` says, for whoever shows it. Memory that grew by more than `growth_max` bytes fails it.
pub(crate) fn soak_outcome(shape: &Shape, measured: &Measured, growth_max: f64, notes: Vec<String>) -> Outcome {
    let mut outcome = storm_outcome(shape, &measured.storm, notes);
    outcome.scenario = "soak";
    match measured.growth() {
        Some(growth) => {
            outcome.figures.extend([
                Figure::new(
                    "growth of server memory (slope of PSS)",
                    growth.bytes_per_second * 3_600.0,
                    "bytes per hour",
                ),
                Figure::new("growth over the line's stretch", growth.bytes, "bytes"),
            ]);
            if growth.bytes > growth_max {
                outcome.passed = false;
                outcome.faults.say(|| {
                    let mib = |bytes: f64| bytes / 1_048_576.0;
                    format!(
                        "the server's memory grew by {:.1} MiB, at most {:.1} are allowed",
                        mib(growth.bytes),
                        mib(growth_max)
                    )
                });
            }
        }
        None => {
            outcome.passed = false;
            outcome.faults.say(|| "too few samples of memory for a line".to_owned());
        }
    }
    let curve = |of: fn(&Sample) -> u64| measured.samples.iter().map(|one| (one.seconds, of(one) as f64)).collect();
    outcome.series.push(Series {
        name: "server memory (PSS)".to_owned(),
        unit: "bytes",
        along: "seconds",
        points: curve(|sample| sample.memory.pss_bytes),
    });
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Memory;
    use crate::report::Progress;
    use crate::scenario::fanout::tests::with_broker;
    use crate::scenario::{soak, storm};

    #[test]
    fn memory_that_grows_fails_a_soak_that_lost_nothing() {
        let shape = storm::tests::shape();
        let mut measured = with_broker(Some(10_000), |target| {
            soak::run(target, &shape, std::process::id(), &Progress::new(true)).unwrap()
        });
        for (n, sample) in measured.samples.iter_mut().enumerate() {
            sample.memory = Memory { rss_bytes: 0, pss_bytes: 1_000_000 + 1_000 * n as u64 };
        }
        let grown = measured.growth().unwrap().bytes;
        assert!(grown > 10_000.0);
        assert!(soak_outcome(&shape, &measured, grown + 1.0, Vec::new()).passed);
        let failed = soak_outcome(&shape, &measured, grown - 1.0, Vec::new());
        assert!(!failed.passed && failed.faults.sentences.iter().any(|sentence| sentence.contains("memory grew")));
        measured.samples.clear();
        assert!(!soak_outcome(&shape, &measured, 1e9, Vec::new()).passed);
    }
}
