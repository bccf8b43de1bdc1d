//! wirefan: a multi-core publish/subscribe broker for browsers and backends.

pub mod auth;
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
pub mod topic;
pub mod transport;
pub mod ws;
