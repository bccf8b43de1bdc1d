//! What a shard counts, and how that is told: `/metrics` for Prometheus, `$sys/stats` for whoever watches.
//!
//! Counters are plain numbers in the structs of whoever counts: [`Traffic`] and [`Machine`] by `net`, the rest by `shard` and
//! `home`. Nothing is shared and nothing is atomic. Who reports asks each shard for its [`Figures`], a copy, and writes them
//! all down by [`exposition`] or [`stats`]. Refuses to know a topic, a user or an address: labels have few values, all ours.

pub mod exposition;
mod histogram;
mod machine;
pub mod stats;

pub use histogram::Histogram;
pub use machine::{Machine, Process, Traffic};

/// Why somebody was turned away before speaking: an upgrade, or a request with which the connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// It was no request of HTTP/1.1, or one beyond a limit.
    Malformed,
    /// The page's origin is not among `server.allowed_origins`, or who asks may not.
    Forbidden,
    /// No token came where one is needed.
    Unauthorized,
    /// The token or API key is wrong or over.
    Token,
    /// Nothing is there.
    NotFound,
    /// It took longer than `limits.handshake_ms_max`.
    Timeout,
    /// Something that passes: too much, or the broker drains.
    Unavailable,
    /// `limits.connections_max`
    ConnectionsMax,
    /// `limits.accepts_per_second_max`
    AcceptsRate,
    /// TLS failed.
    Tls,
}

impl Refused {
    /// All of them, with their labels, in the order of their numbers.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Malformed, "malformed"),
        (Self::Forbidden, "forbidden"),
        (Self::Unauthorized, "unauthorized"),
        (Self::Token, "token"),
        (Self::NotFound, "not_found"),
        (Self::Timeout, "timeout"),
        (Self::Unavailable, "unavailable"),
        (Self::ConnectionsMax, "connections_max"),
        (Self::AcceptsRate, "accepts_rate"),
        (Self::Tls, "tls"),
    ];

    /// The cause behind a status of HTTP.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 | 405 => Self::NotFound,
            408 => Self::Timeout,
            429 | 503 => Self::Unavailable,
            _ => Self::Malformed,
        }
    }
}

/// How often each cause turned somebody away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals([u64; Refused::ALL.len()]);

impl Refusals {
    /// One more.
    pub fn note(&mut self, cause: Refused) {
        self.0[cause as usize] += 1;
    }

    /// Takes another's counts in.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// By label.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refused::ALL.iter().map(|(_, label)| *label).zip(self.0)
    }
}

/// Everything of one shard at one moment. What is not said to be "now" was counted since the shard began.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Connections now that speak WebSocket.
    pub websockets: u64,
    /// Streams of events now.
    pub streams: u64,
    /// Polls that wait now.
    pub polls: u64,
    /// Other connections now: of HTTP, and those whose end has begun.
    pub others: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections ended, by the label of the reason.
    pub closed: Vec<(&'static str, u64)>,
    /// Connections turned away.
    pub refused: Refusals,
    /// Publications from connections of this shard.
    pub published: u64,
    /// Deliveries to subscribers of this shard.
    pub delivered: u64,
    /// Publications that slow consumers missed.
    pub missed: u64,
    /// `gap`s that told them so.
    pub gaps: u64,
    /// Commands and requests answered with an error.
    pub faults: u64,
    /// Bytes that wait now for sockets that did not take them.
    pub outbound_bytes: u64,
    /// Connections now for which something waits.
    pub outbound_queues: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Filters now that somebody on this shard has subscribed to.
    pub filters: u64,
    /// Topics now of the home on this shard.
    pub topics: u64,
    /// Bytes now of its histories.
    pub history_bytes: u64,
    /// Publications that left a history before their time, for want of memory.
    pub history_evicted: u64,
    /// Idempotency keys now.
    pub keys: u64,
    /// Idempotency keys forgotten before their time.
    pub keys_evicted: u64,
    /// Compressed messages that were inflated.
    pub inflated: u64,
    /// Bytes that they became.
    pub inflated_bytes: u64,
    /// Publications that were compressed.
    pub deflated: u64,
    /// How often this shard woke another one.
    pub doorbells: u64,
    /// How long the canaries of the other shards last took to come here, the longest, in milliseconds; none with one shard.
    pub canary_lag_ms: Option<u64>,
    /// How long one of the shards has not been heard of here, the longest, in milliseconds.
    pub canary_silence_ms: Option<u64>,
    /// What the event loop counted.
    pub machine: Machine,
}

impl Figures {
    /// System calls of all kinds that are counted.
    #[must_use]
    pub fn syscalls(&self) -> u64 {
        let Machine { polls, accepts, traffic: Traffic { reads, writes, .. }, .. } = self.machine;
        polls + accepts + reads + writes + self.doorbells
    }

    /// Connections now, of any kind.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.websockets + self.streams + self.polls + self.others
    }
}

/// What all shards answered, and what is known of the process: what a report is made of.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By shard; none for one that did not answer in time.
    pub shards: Vec<Option<Box<Figures>>>,
    /// The process.
    pub process: Process,
    /// `limits.connections_max`
    pub connections_max: u64,
}

impl Report {
    /// The shards that answered, with their numbers.
    pub fn answered(&self) -> impl Iterator<Item = (usize, &Figures)> {
        self.shards.iter().enumerate().filter_map(|(number, figures)| Some((number, figures.as_deref()?)))
    }

    /// The sum of something over the shards that answered.
    pub fn sum(&self, each: impl Fn(&Figures) -> u64) -> u64 {
        self.answered().map(|(_, figures)| each(figures)).sum()
    }
}

#[cfg(test)]
mod tests;
