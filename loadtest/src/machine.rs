//! What this machine allows: descriptors per process, and which core is whose.
//! The scenarios ask it once, before they start anything.
//! Invariants: limits are raised as far as they go and never worked around; a scaled-down load says so in one sentence.

use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Descriptors that the process keeps for itself: standard streams, polls, wakers, /proc files, the listener.
const DESCRIPTORS_KEPT: u64 = 100;

/// Raises the limit of open descriptors as far as it goes; answers how many connections that leaves.
pub(crate) fn raise_descriptors() -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX)
        .or_else(|_| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft))
        .unwrap_or(1_024);
    usize::try_from(limit.saturating_sub(DESCRIPTORS_KEPT)).unwrap_or(usize::MAX)
}

/// How many of `asked` connections fit when `taken` others are open in the same process, and the sentence if not all.
pub(crate) fn fit(asked: usize, taken: usize, usable: usize, noun: &str) -> (usize, Option<String>) {
    let fitting = asked.min(usable.saturating_sub(taken));
    let sentence = (fitting < asked).then(|| {
        format!(
            "{usable} descriptors are free for connections here (ulimit -n): {asked} {noun} asked, {fitting} opened."
        )
    });
    (fitting, sentence)
}

/// One sentence for a connection that the kernel refused, with the setting that would allow it.
pub(crate) fn refused(address: SocketAddr, error: &io::Error) -> String {
    let told = format!("cannot connect to {address}: {error}");
    match error.raw_os_error().map(Errno::from_raw_os_error).and_then(setting) {
        Some(setting) => format!("{told}; {setting}"),
        None => told,
    }
}

/// What to change so that the kernel allows it.
fn setting(error: Errno) -> Option<&'static str> {
    Some(match error {
        Errno::MFILE => {
            "this process is at its limit of descriptors: raise it (ulimit -n, up to fs.nr_open), or take more --processes"
        }
        Errno::NFILE => "the machine is at its limit of open files: raise fs.file-max",
        Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => {
            "this source has no free port left: take more --sources, or widen net.ipv4.ip_local_port_range"
        }
        Errno::NOBUFS | Errno::NOMEM => {
            "the kernel has no memory for another socket: raise net.ipv4.tcp_mem, or lower net.ipv4.tcp_rmem and tcp_wmem"
        }
        Errno::TIMEDOUT => {
            "the server's backlog is full: raise net.core.somaxconn and net.ipv4.tcp_max_syn_backlog, or connect slower"
        }
        _ => return None,
    })
}

/// Connections that another process may hold by its limit of open files; `None` if it cannot be read.
pub(crate) fn descriptors_of(pid: u32) -> Option<usize> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    usize::try_from(soft.saturating_sub(DESCRIPTORS_KEPT)).ok()
}

/// Refuses more connections than a server may hold by its own limit.
pub(crate) fn server_holds(pid: u32, connections: usize) -> Result<(), String> {
    match descriptors_of(pid) {
        Some(most) if most < connections => Err(format!(
            "the server may have {most} connections by its limit of open files, and {connections} are asked for: raise it where the server \
             is started (ulimit -n, up to fs.nr_open)"
        )),
        _ => Ok(()),
    }
}

/// How often a full backlog of some listener here dropped a connection so far; `None` if the kernel does not say.
pub(crate) fn backlog_drops() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/netstat").ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "ListenDrops")?;
    values.split(' ').nth(at)?.parse().ok()
}

/// Which cores the server and the load run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Placement {
    /// Cores of a server that this program starts; empty: wherever the kernel puts it.
    pub(crate) server_cores: Vec<usize>,
    /// Cores of the client threads; empty: wherever the kernel puts them.
    pub(crate) load_cores: Vec<usize>,
}

impl Placement {
    /// The server gets the first `shards` cores and the load the rest, unless lists are given.
    /// With no core left for the load, nobody is pinned.
    pub(crate) fn choose(
        available: &[usize],
        shards: usize,
        server: Option<Vec<usize>>,
        load: Option<Vec<usize>>,
    ) -> Self {
        if server.is_some() || load.is_some() {
            return Self { server_cores: server.unwrap_or_default(), load_cores: load.unwrap_or_default() };
        }
        if shards >= available.len() {
            return Self::default();
        }
        let (server, load) = available.split_at(shards);
        Self { server_cores: server.to_vec(), load_cores: load.to_vec() }
    }

    /// One sentence for the report.
    pub(crate) fn sentence(&self) -> String {
        let list = |cores: &[usize]| {
            let names: Vec<String> = cores.iter().map(ToString::to_string).collect();
            names.join(",")
        };
        match (self.server_cores.is_empty(), self.load_cores.is_empty()) {
            (true, true) => "not pinned: server and load share all cores".into(),
            (true, false) => format!("load on core {}, server not pinned by us", list(&self.load_cores)),
            (false, true) => format!("server on core {}, load not pinned", list(&self.server_cores)),
            (false, false) => {
                format!("server on core {}, load on core {}", list(&self.server_cores), list(&self.load_cores))
            }
        }
    }
}

/// The cores that this process may use, in ascending order.
pub(crate) fn available_cores() -> Vec<usize> {
    sched_getaffinity(None)
        .map_or_else(|_| Vec::new(), |set| (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Binds the calling thread, and what it starts from now on, to `cores`; an empty list changes nothing.
pub(crate) fn pin_thread(cores: &[usize]) -> Result<(), String> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for core in cores {
        if *core >= CpuSet::MAX_CPU {
            return Err(format!("core {core} does not exist"));
        }
        set.set(*core);
    }
    sched_setaffinity(None, &set).map_err(|error| format!("cannot bind to cores {cores:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_scaled_down_in_one_sentence() {
        assert_eq!(fit(10_000, 1, 19_900, "subscribers"), (10_000, None));
        let (n, sentence) = fit(25_000, 4, 19_900, "subscribers");
        assert_eq!(n, 19_896);
        assert_eq!(
            sentence.unwrap(),
            "19900 descriptors are free for connections here (ulimit -n): 25000 subscribers asked, 19896 opened."
        );
        assert_eq!(fit(5, 30, 20, "subscribers").0, 0);
    }

    #[test]
    fn what_the_kernel_refuses_is_told_with_the_setting() {
        let address = "127.0.0.1:1".parse().unwrap();
        for (error, name) in [
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::ADDRNOTAVAIL, "ip_local_port_range"),
            (Errno::NOBUFS, "tcp_mem"),
            (Errno::TIMEDOUT, "somaxconn"),
        ] {
            let sentence = refused(address, &error.into());
            assert!(sentence.contains(name) && sentence.contains("127.0.0.1:1"), "{sentence}");
        }
        let sentence = refused(address, &Errno::CONNREFUSED.into());
        assert!(!sentence.contains(';'), "{sentence}");
    }

    #[test]
    fn limits_and_drops_are_read() {
        let own = descriptors_of(std::process::id()).unwrap();
        let (soft, _) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        assert_eq!(own as u64, soft - DESCRIPTORS_KEPT);
        assert_eq!(descriptors_of(u32::MAX), None);
        assert!(backlog_drops().is_some());
    }

    #[test]
    fn the_server_gets_its_cores_first_and_nobody_is_pinned_without_a_core_for_the_load() {
        let two = Placement::choose(&[4, 7], 1, None, None);
        assert_eq!((two.server_cores.as_slice(), two.load_cores.as_slice()), (&[4][..], &[7][..]));
        assert_eq!(Placement::choose(&[0, 1], 2, None, None), Placement::default());
        assert_eq!(Placement::choose(&[0], 1, None, None), Placement::default());
        let asked = Placement::choose(&[0, 1], 2, Some(vec![1]), None);
        assert_eq!(asked.server_cores, [1]);
        assert_eq!(asked.sentence(), "server on core 1, load not pinned");
    }

    #[test]
    fn a_pinned_thread_may_use_that_core_alone() {
        let core = *available_cores().last().unwrap();
        std::thread::spawn(move || {
            pin_thread(&[core]).unwrap();
            assert_eq!(available_cores(), [core]);
        })
        .join()
        .unwrap();
    }
}
