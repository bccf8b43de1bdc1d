//! How often a loop says the same kind of thing: so many lines a second, then one that says how many were left out.
//!
//! Each loop has one; what strangers do a thousand times a second costs a count, not a line.

use super::{Log, Value};
use crate::config::LogLevel;
use crate::limits::LOG_LINES_PER_SECOND;

/// What strangers make the broker say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Kind {
    Closed,
    Refused,
    TokenRefused,
    TlsFailed,
    TurnedAway,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Closed, Self::Refused, Self::TokenRefused, Self::TlsFailed, Self::TurnedAway];

    fn sentence(self) -> &'static str {
        match self {
            Self::Closed => "connection ended",
            Self::Refused => "request refused",
            Self::TokenRefused => "token refused",
            Self::TlsFailed => "TLS failed",
            Self::TurnedAway => "connection turned away",
        }
    }
}

/// The lines of one kind in this second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    second: u64,
    lines: u32,
    left_out: u64,
}

/// See the module's page.
#[derive(Debug)]
pub(in crate::net) struct Paced {
    log: Log,
    kinds: [Second; Kind::ALL.len()],
}

impl Paced {
    pub(in crate::net) fn new(log: Log) -> Self {
        Self { log, kinds: Default::default() }
    }

    /// Whether there is a use in finding out more than that something of this kind happened.
    pub(in crate::net) fn wants(&mut self, kind: Kind, now_ms: u64) -> bool {
        if !self.log.is_on(LogLevel::Debug) {
            return false;
        }
        self.tell(kind, now_ms);
        let second = &mut self.kinds[kind as usize];
        second.lines += 1;
        let wanted = second.lines <= LOG_LINES_PER_SECOND;
        second.left_out += u64::from(!wanted);
        wanted
    }

    /// So many of this kind were not even looked at.
    pub(in crate::net) fn leave_out(&mut self, kind: Kind, count: u64) {
        self.kinds[kind as usize].left_out += count;
    }

    /// Says what [`Self::wants`] was asked for.
    pub(in crate::net) fn say(&self, kind: Kind, values: &[(&str, Value<'_>)]) {
        self.log.say(LogLevel::Debug, kind.sentence(), values);
    }

    /// Says of every kind how many lines were left out in a second that is over.
    pub(in crate::net) fn tell_all(&mut self, now_ms: u64) {
        Kind::ALL.into_iter().for_each(|kind| self.tell(kind, now_ms));
    }

    /// When there is something to tell, in milliseconds.
    pub(in crate::net) fn next_ms(&self) -> Option<u64> {
        let told = self.kinds.iter().filter(|second| second.left_out > 0);
        told.map(|second| (second.second + 1) * 1000).min()
    }

    fn tell(&mut self, kind: Kind, now_ms: u64) {
        let now = now_ms / 1000;
        let second = &mut self.kinds[kind as usize];
        if second.second == now {
            return;
        }
        let Second { left_out, .. } = std::mem::replace(second, Second { second: now, ..Second::default() });
        if left_out > 0 {
            let values = [("like", Value::Text(kind.sentence())), ("lines", Value::Number(left_out))];
            self.log.say(LogLevel::Debug, "more of the same was left out", &values);
        }
    }
}
