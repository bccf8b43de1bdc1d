//! The questions that a load test answers: how dear is a fan-out, how big is an idle connection, what is lost in a storm,
//! what do slow readers cost.
//! The command line picks one; `shape` says how much, `publishing` sends, `listening` receives and judges, `fanout`,
//! `idle`, `storm` and `slow` direct a run, `against` compares two.
//! Invariants: every wait ends by itself with a sentence; a run that could not be verified is a failed run.

pub(crate) mod against;
pub(crate) mod connect;
pub(crate) mod crowd;
pub(crate) mod echo;
pub(crate) mod fanout;
mod found;
mod hire;
pub(crate) mod http_publish;
pub(crate) mod idle;
pub(crate) mod layout;
mod listening;
pub(crate) mod meter;
mod part;
mod parts;
mod peer;
pub(crate) mod processes;
pub(crate) mod publishing;
mod recorder;
mod shares;
pub(crate) mod slow;
pub(crate) mod slow_readers;
pub(crate) mod soak;
pub(crate) mod storm;
pub(crate) mod sweep;
mod timeline;
mod weather;

use std::thread;
use std::time::{Duration, Instant};

use crate::client::Crew;
pub(crate) use listening::TRANSPORTS;

/// How often a directing thread looks at what the client threads have done.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `done`, calling `tell` now and then. Ends with a sentence when the crew fails or `limit` passes.
fn wait_until(
    crew: &Crew,
    limit: Duration,
    what: &str,
    mut tell: impl FnMut(),
    done: impl Fn() -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return Ok(());
        }
        crew.failure()?;
        if Instant::now() > deadline {
            return Err(format!("{what} did not come to pass within {} s", limit.as_secs()));
        }
        tell();
        thread::sleep(LOOK);
    }
}
