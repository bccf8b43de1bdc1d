//! What `$sys/stats` says, as far as the page shows it: docs/protocol.md, `$sys/stats`.
//!
//! `top` reads each publication into one. A member that is missing is 0, as a broker of another version may not have it;
//! what is `null` is not known. Refuses what is no such object.

use serde::Deserialize;

/// One second of a broker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Report {
    pub(super) unix_s: u64,
    /// 0 in the first report of a broker that nobody asked before: then there are no rates.
    pub(super) interval_ms: u64,
    pub(super) version: String,
    /// `None` for a core that did not answer.
    pub(super) shards: Vec<Option<Part>>,
    pub(super) total: Part,
    pub(super) process: Process,
}

/// Of one core, or of all that answered.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    pub(super) connections: Connections,
    pub(super) subscriptions: u64,
    pub(super) topics: u64,
    pub(super) accepted: u64,
    pub(super) publications: u64,
    pub(super) deliveries: u64,
    pub(super) missed: u64,
    pub(super) errors: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) outbound_bytes: u64,
    pub(super) outbound_queues: u64,
    pub(super) history_bytes: u64,
    pub(super) per_s: Rates,
    pub(super) busy_percent: u64,
    pub(super) turn_us: Option<Times>,
    pub(super) fanout_us: Option<Times>,
    pub(super) canary_lag_ms: Option<u64>,
    pub(super) canary_silence_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connections {
    pub(super) websocket: u64,
    pub(super) events: u64,
    pub(super) poll: u64,
    pub(super) http: u64,
}

impl Connections {
    pub(super) fn sum(&self) -> u64 {
        [self.websocket, self.events, self.poll, self.http].iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rates {
    pub(super) accepted: u64,
    pub(super) publications: u64,
    pub(super) deliveries: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) syscalls: u64,
    pub(super) turns: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Times {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub(super) uptime_s: u64,
    pub(super) memory_bytes: Option<u64>,
    pub(super) cpu_us: Option<u64>,
    pub(super) descriptors: Option<u64>,
    pub(super) descriptors_max: Option<u64>,
    pub(super) connections_max: u64,
}

impl Report {
    /// How fast a counter has grown since the report before, per second.
    pub(super) fn rate(&self, before: Option<&Self>, each: fn(&Self) -> u64) -> u64 {
        let grown = before.map_or(0, |before| each(self).saturating_sub(each(before)));
        grown.saturating_mul(1000) / self.interval_ms.max(1)
    }
}
