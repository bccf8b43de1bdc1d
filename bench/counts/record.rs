//! The record of instruction counts: a text file for people and for the gate, and what the gate says.
//!
//! `counts` writes it and has it judged, tests/tidy.rs tries the judge. A record says with what it was made, because another
//! compiler, valgrind, C library or processor counts differently: then only the list of paths is compared, and it says so.

use std::fmt;
use std::str::FromStr;

/// How many of a hundred instructions more are let pass.
const PERCENT_MAX: f64 = 3.0;

/// Counts, and with what they were made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) made_with: String,
    /// Name, instructions for each unit, the unit.
    pub(crate) counts: Vec<(String, f64, String)>,
}

/// What became of a comparison.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// For people.
    pub(crate) table: String,
    /// Sentences; none if all is well.
    pub(crate) failures: Vec<String>,
    /// Sentences that fail nothing.
    pub(crate) remarks: Vec<String>,
}

impl Record {
    /// Holds the counts of now to these.
    pub(crate) fn judge(&self, now: &Self) -> Verdict {
        let comparable = self.made_with == now.made_with;
        let (mut table, mut failures, mut remarks) = (String::new(), Vec::new(), Vec::new());
        for (name, count, unit) in &now.counts {
            let Some((_, recorded, _)) = self.counts.iter().find(|(other, ..)| other == name) else {
                failures.push(format!("`{name}` is not in the record: renew it with {RENEW}"));
                continue;
            };
            let percent = (count / recorded - 1.0) * 100.0;
            table.push_str(&format!("{name:44} {count:12.1} per {unit:14} {percent:+6.1} %\n"));
            if comparable && percent > PERCENT_MAX {
                failures.push(format!(
                    "`{name}` takes {percent:.1} % more instructions: {count:.1} per {unit}, recorded are {recorded:.1}; \
                     make it cheaper, or say in the commit what it is for and renew the record with {RENEW}"
                ));
            } else if comparable && percent < -PERCENT_MAX {
                remarks.push(format!("`{name}` has become {:.1} % cheaper: renew the record with {RENEW}", -percent));
            }
        }
        for (name, ..) in &self.counts {
            if !now.counts.iter().any(|(other, ..)| other == name) {
                failures.push(format!("`{name}` is in the record and is gone: renew it with {RENEW}"));
            }
        }
        if !comparable {
            remarks.push(format!(
                "Not compared, only run: the record was made with {}, and this is {}. Renew it with {RENEW}, on the \
                 former commit first to see what the change of tools alone is.",
                self.made_with, now.made_with
            ));
        }
        Verdict { table, failures, remarks }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions of the hot paths; {RENEW} writes this file, see bench/README.md.")?;
        writeln!(f, "made with: {}", self.made_with)?;
        self.counts.iter().try_for_each(|(name, count, unit)| writeln!(f, "{name:44} {count:12.1} per {unit}"))
    }
}

impl FromStr for Record {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let made_with = lines.next().and_then(|line| line.strip_prefix("made with: "));
        let made_with = made_with.ok_or("the first line is `made with: ...`")?.to_owned();
        let one = |line: &str| {
            let (rest, unit) = line.rsplit_once(" per ")?;
            let (name, count) = rest.rsplit_once(' ')?;
            Some((name.trim_end().to_owned(), count.parse().ok()?, unit.to_owned()))
        };
        let counts = lines.map(|line| one(line).ok_or_else(|| format!("`{line}` is no `NAME COUNT per UNIT`")));
        Ok(Self { made_with, counts: counts.collect::<Result<_, _>>()? })
    }
}

const RENEW: &str = "`cargo run --release -p wirefan-counts -- --renew`";
