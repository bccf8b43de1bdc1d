//! What the surroundings know and arguments cannot: the time of day and randomness, for commands and for tokens.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 0 if the clock stands before that.
#[must_use]
pub fn now_unix_s() -> u64 {
    now_unix_ms() / 1000
}

/// Milliseconds since 1970; 0 if the clock stands before that.
#[must_use]
pub fn now_unix_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is net, which reads the clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// The machine has none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    #[expect(clippy::disallowed_methods, reason = "this is net, which asks for randomness")]
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
