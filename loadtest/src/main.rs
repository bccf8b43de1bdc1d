//! The `wirefan-loadtest` binary: puts load on a broker and says what was delivered, how late, how dear, and whether
//! anything was lost, doubled, out of order or misdelivered.
//!
//! `scenario` directs a run; `client` holds the connections on a few threads of mio loops; `verify` judges; `floor` is the
//! bare loop that every broker is measured against; `process` reads what the server cost; `report` prints.
#![expect(
    clippy::disallowed_methods,
    reason = "a load generator is made of sockets, threads and clocks; the sans-IO law is the broker's"
)]

mod cli;
mod client;
mod counters;
mod envelope;
mod flight;
mod floor;
mod machine;
mod page;
mod process;
mod profile;
mod report;
mod scenario;
mod spawn;
mod stats;
mod target;
mod verify;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

use std::process::ExitCode;

use cli::Failure;

fn main() -> ExitCode {
    match cli::run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure::Run(sentence)) => told(&sentence, 1),
        Err(Failure::Usage(sentence)) => told(&sentence, 2),
    }
}

fn told(sentence: &str, code: u8) -> ExitCode {
    eprintln!("wirefan-loadtest: {sentence}");
    ExitCode::from(code)
}
