//! What is wrong with a configuration, in sentences that name the place, the key, the value and the reason.
//!
//! Made by the other files of this room, printed by `cli`. One [`Problem`] is one line without control characters,
//! whatever the file or the environment contained.

use std::fmt;

/// Everything that is wrong with a configuration, in the order in which it was read. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong: a line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    sentence: String,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        assert!(!problems.is_empty(), "an error says what is wrong");
        Self { problems }
    }

    /// The problems, one line each when displayed.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    /// `place` says where and what: `wirefan.toml:3: server.shards = -1`; `reason` why it cannot be.
    pub(super) fn new(place: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { sentence: format!("{place}: {reason}") }
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ConfigError {}

/// A value as it was written, fit for a line of an error: on one line, control characters escaped, not too long.
pub(super) fn excerpt(written: &str) -> String {
    let mut line = String::new();
    for (index, character) in written.trim().chars().enumerate() {
        if index == EXCERPT_CHARACTERS_MAX {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

const EXCERPT_CHARACTERS_MAX: usize = 80;
