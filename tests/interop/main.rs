//! The real binary from outside: an independent client library, hand-written bytes, signals.
//!
//! What is asserted here is the contract of docs/protocol.md and RFC 6455, nothing of the insides.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests are programs of their own: they wait in threads and hold ports"
)]

mod api;
mod auth;
mod commands;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod estate;
mod feeds;
mod flood;
mod hand_over;
mod http;
mod lifecycle;
mod limits;
mod log;
mod operators;
mod presence;
mod pubsub;
mod rates;
mod rfc6455;
mod rfc7692;
mod tls;
#[cfg(target_os = "linux")]
mod watchdog;
