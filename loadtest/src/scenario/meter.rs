//! What server and load spend on a measured stretch: CPU time, system calls, memory.
//! A directing thread begins a `Meter` when nothing is under way and ends it when nothing is again; the outcome tells the `Spending`.
//! Invariants: every figure is the difference of two readings; what cannot be read is absent, never zero.

use serde::Serialize;

use crate::counters;
use crate::process::{Cost, Memory};
use crate::target::Target;

/// A stretch that has begun.
pub(super) struct Meter<'a> {
    target: &'a Target,
    server_pid: Option<u32>,
    load_pids: Vec<u32>,
    /// The server's memory before it.
    pub(super) memory: Option<Memory>,
    calls: Option<u64>,
    server: Option<Cost>,
    load: Cost,
}

/// What a stretch has cost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Spending {
    /// The server's CPU time and context switches; `None` if its process id is not known.
    pub(crate) server: Option<Cost>,
    /// System calls of the server, if it counts them.
    pub(crate) system_calls: Option<u64>,
    /// The server's memory at the end.
    pub(crate) memory: Option<Memory>,
    /// What the load took, all its processes together.
    pub(crate) own: Cost,
}

impl<'a> Meter<'a> {
    /// Begins now. The load are this process and its children `others`.
    pub(super) fn begin(target: &'a Target, server_pid: Option<u32>, others: &[u32]) -> Result<Self, String> {
        let load_pids = [&[std::process::id()], others].concat();
        // The question for the counters is asked outside the stretch, at either end.
        let calls = counters::system_calls(target);
        let memory = server_pid.map(Memory::of).transpose()?;
        let server = server_pid.map(Cost::of).transpose()?;
        let load = cost_of_all(&load_pids)?;
        Ok(Self { target, server_pid, load_pids, memory, calls, server, load })
    }

    /// Ends now.
    pub(super) fn end(&self) -> Result<Spending, String> {
        let gone = |pid: u32| format!("the server, process {pid}, ended during the run");
        let server = self.server_pid.map(|pid| Cost::of(pid).map_err(|_| gone(pid))).transpose()?;
        let own = cost_of_all(&self.load_pids)?.since(self.load);
        Ok(Spending {
            server: server.zip(self.server).map(|(after, before)| after.since(before)),
            own,
            memory: self.server_pid.map(Memory::of).transpose()?,
            system_calls: self
                .calls
                .and_then(|before| Some(counters::system_calls(self.target)?.saturating_sub(before))),
        })
    }
}

/// Of rounds one after the other; the memory is that of the last.
impl std::iter::Sum for Spending {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let sum = all.reduce(|sum, one| Self {
            server: sum.server.zip(one.server).map(|(a, b)| [a, b].into_iter().sum()),
            system_calls: sum.system_calls.zip(one.system_calls).map(|(a, b)| a + b),
            memory: one.memory,
            own: [sum.own, one.own].into_iter().sum(),
        });
        sum.unwrap_or_default()
    }
}

fn cost_of_all(pids: &[u32]) -> Result<Cost, String> {
    pids.iter().map(|pid| Cost::of(*pid)).sum::<Result<Cost, String>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fanout::tests::with_floor;

    #[test]
    fn what_all_processes_of_the_load_spent_is_added_up_and_an_unknown_server_is_not_known() {
        with_floor(|target| {
            let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
            let meter = Meter::begin(target, None, &[busy.id()]).unwrap();
            let worked = (0..1_000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                meter.end().unwrap().own.cpu_ns > 5_000_000
            });
            let spending = meter.end().unwrap();
            busy.kill().unwrap();
            busy.wait().unwrap();
            assert!(
                worked && spending.server.is_none() && spending.memory.is_none() && spending.system_calls.is_none()
            );
            assert!(meter.end().is_err(), "who is gone cannot be read");
        });
    }
}
