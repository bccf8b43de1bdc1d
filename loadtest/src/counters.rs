//! What the server counts about itself, read from its `/metrics` before and after a measured stretch.
//! The directing threads ask for it; the report tells it beside the CPU time.
//! Invariants: asked only when nothing is under way, on a connection of its own that closes at once; a server that counts nothing, speaks
//! TLS or answers anything else than 200 is not known, never zero.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::client::Answer;
use crate::target::Target;

/// Sum of all lines of this name is the number of system calls.
const SYSTEM_CALLS: &str = "wirefan_syscalls_total";
/// How long an answer may take.
const WAIT: Duration = Duration::from_millis(500);
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// System calls that the server has made so far, if it counts them.
pub(crate) fn system_calls(target: &Target) -> Option<u64> {
    if target.tls.is_some() {
        return None;
    }
    let mut socket = TcpStream::connect_timeout(&target.address, WAIT).ok()?;
    socket.set_read_timeout(Some(WAIT)).ok()?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host());
    socket.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // Whoever does not close in time has still answered.
    let _ = socket.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes);
    let answer = Answer::parse(&bytes).ok()??;
    if answer.status != 200 {
        return None;
    }
    sum(std::str::from_utf8(&bytes[answer.head_bytes..]).ok()?, SYSTEM_CALLS)
}

/// The sum of all samples of a counter in the text format of Prometheus; `None` if there are none.
fn sum(text: &str, name: &str) -> Option<u64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        let value: f64 = rest.rsplit(' ').next()?.parse().ok()?;
        Some(value as u64)
    });
    samples.reduce(|all, one| all + one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fanout::tests::with_floor;

    #[test]
    fn samples_of_a_counter_add_up_and_others_are_left_alone() {
        let text =
            "# HELP a b\na_total{call=\"send\",shard=\"0\"} 12\na_total{call=\"read\"} 30\na_total_other 5\nb 1\n";
        assert_eq!(sum(text, "a_total"), Some(42));
        assert_eq!(sum("a_total 7\n", "a_total"), Some(7));
        assert_eq!(sum(text, "c"), None);
    }

    #[test]
    fn a_server_without_counters_is_not_known() {
        assert_eq!(with_floor(system_calls), None);
    }
}
