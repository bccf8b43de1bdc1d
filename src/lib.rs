//! wirefan: a multi-core publish/subscribe broker for browsers and backends. The walk of one publication:
//!
//! [`net`] reads a socket; [`ws`] finds the frames and unmasks them through [`simd`]; [`protocol`] parses the command and
//! leaves the payload as it is; [`shard`] hands it to its topic's [`home`], directly or by an envelope of the [`mesh`]. The
//! home gives it its position, encodes it once ([`transport`]), keeps it where a rule says so ([`rules`]), and at the end
//! of the turn sends one batch to every shard with subscribers. There [`shard`] appends a range of the batch to each
//! subscriber's outbound queue, and [`net`] writes every connection once. [`topic`] knows names and filters, [`http`] and
//! [`auth`] guard the door, [`telemetry`] says how it goes, [`config`] and [`limits`] bound everything. docs/architecture.md says why.

pub mod auth;
pub mod chunks;
pub mod cli;
pub mod config;
pub mod home;
pub mod http;
pub mod ids;
pub mod limits;
pub mod mesh;
pub mod net;
pub mod protocol;
pub mod rules;
pub mod shard;
#[expect(unsafe_code, reason = "vector instructions are the one place that needs it")]
pub mod simd;
pub mod telemetry;
pub mod topic;
pub mod transport;
pub mod ws;
