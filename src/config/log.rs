//! `[log]`: what the broker tells its operator, and in which form.

use super::key::{Reason, Value};

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// What a line looks like.
    pub format: LogFormat,
    /// What is told.
    pub level: LogLevel,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object of JSON.
    Json,
}

/// How much is told: what a level has, those behind it have, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LogLevel {
    /// What does not work.
    Error,
    /// What somebody should look at.
    Warn,
    /// What the broker does: start, stop, reload.
    Info,
    /// What single connections do, a sample of it.
    Debug,
}

impl LogLevel {
    /// From the fewest lines to the most.
    pub const ALL: [Self; 4] = [Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// As it is configured and written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl LogFormat {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

pub(super) fn format(slot: &mut LogFormat, value: &Value) -> Result<(), Reason> {
    let found = [LogFormat::Text, LogFormat::Json].into_iter().find(|format| *value == shown_format(*format));
    *slot = found.ok_or(r#"must be "text" or "json""#)?;
    Ok(())
}

pub(super) fn level(slot: &mut LogLevel, value: &Value) -> Result<(), Reason> {
    let found = LogLevel::ALL.into_iter().find(|level| *value == shown_level(*level));
    *slot = found.ok_or(r#"must be "error", "warn", "info" or "debug""#)?;
    Ok(())
}

pub(super) fn shown_format(format: LogFormat) -> Value {
    Value::Text(format.word().to_owned())
}

pub(super) fn shown_level(level: LogLevel) -> Value {
    Value::Text(level.word().to_owned())
}
