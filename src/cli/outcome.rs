//! How a command ends: its exit code, and the sentence on standard error.
//!
//! Every command returns a [`Failure`] or nothing; `run` reports it once.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a command did not do all that was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Called wrongly, configuration included: 2.
    Wrong(String),
    /// It failed: 1.
    Failed(String),
    /// It failed, and would again: the broker does not want us. 1.
    Refused(String),
    /// As [`Failure::Failed`], and the user has been told already.
    Told,
    /// The reader of standard output went away: it has what it wanted, 0.
    ReaderGone,
}

impl Failure {
    /// For errors of standard output.
    pub(super) fn from_stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("cannot write to standard output: {error}")),
        }
    }

    /// Tells the user, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        match self {
            Self::ReaderGone => ExitCode::SUCCESS,
            Self::Told => ExitCode::from(1),
            Self::Failed(sentences) | Self::Refused(sentences) => {
                complain(sentences);
                ExitCode::from(1)
            }
            Self::Wrong(sentences) => {
                complain(sentences);
                ExitCode::from(2)
            }
        }
    }
}

/// Tells what is wrong, a line for each sentence.
pub(super) fn complain(sentences: &str) {
    for sentence in sentences.lines() {
        tell(format_args!("wirefan: {sentence}"));
    }
}

/// Writes a line to standard error. Whoever closed it does not want to know.
pub(super) fn tell(line: impl fmt::Display) {
    // One write, so that lines of several processes do not mix.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
