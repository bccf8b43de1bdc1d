//! The place for sockets, threads, the clock, signals and randomness.

pub mod client;
