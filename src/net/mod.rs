//! The place for sockets, threads, the clock, signals and randomness.

pub mod client;

use std::fmt;
use std::net::SocketAddr;

use crate::config::Config;

/// Why the broker could not run.
#[derive(Debug)]
pub struct ServeError;

/// Stands in until the broker's own event loop is merged.
///
/// # Errors
/// Always.
pub fn serve(_config: Config, _ready: impl FnOnce(&[SocketAddr])) -> Result<(), ServeError> {
    Err(ServeError)
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this build has no event loop")
    }
}

impl std::error::Error for ServeError {}
