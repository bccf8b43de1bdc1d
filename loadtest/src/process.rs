//! What a server process has cost so far, read from `/proc`: CPU time, context switches, memory; and the kernel's own
//! memory for sockets. The scenarios call it before and after a measured stretch.
//! Invariants: CPU time is the sum over all threads that still live; nothing here guesses: a file that cannot be read
//! is an error with its name. Linux only.

use std::fs;

use serde::Serialize;

/// Counters of one process at one moment; differences of two are what a stretch cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Cost {
    /// CPU time of all threads, user and kernel, in nanoseconds.
    pub(crate) cpu_ns: u64,
    /// Times that a thread waited of its own accord (went to sleep in a system call).
    pub(crate) voluntary_switches: u64,
    /// Times that a thread was interrupted for another: many of them mean that the machine was shared.
    pub(crate) involuntary_switches: u64,
}

impl Cost {
    /// What `pid` has cost until now.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let mut cost = Self::default();
        let mut nanoseconds = Some(0);
        for task in tasks(pid)? {
            // A thread may end between the listing and the reading; what it cost is then in no thread's file.
            let Ok(status) = fs::read_to_string(format!("{task}/status")) else {
                continue;
            };
            cost.voluntary_switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            cost.involuntary_switches += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
            let on_cpu = read_schedstat(&task);
            nanoseconds = nanoseconds.zip(on_cpu).map(|(sum, ns): (u64, u64)| sum + ns);
        }
        cost.cpu_ns = match nanoseconds {
            Some(ns) if ns > 0 => ns,
            // A kernel without schedstats: clock ticks of 10 ms must do.
            _ => read_stat_ns(pid)?,
        };
        Ok(cost)
    }

    /// What was spent since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self.involuntary_switches.saturating_sub(earlier.involuntary_switches),
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            cpu_ns: sum.cpu_ns + one.cpu_ns,
            voluntary_switches: sum.voluntary_switches + one.voluntary_switches,
            involuntary_switches: sum.involuntary_switches + one.involuntary_switches,
        })
    }
}

/// Memory of one process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    /// Resident pages, shared ones included.
    pub(crate) rss_bytes: u64,
    /// Resident pages, each shared one divided by the number of its users.
    pub(crate) pss_bytes: u64,
}

impl Memory {
    /// The memory of `pid` now.
    pub(crate) fn of(pid: u32) -> Result<Self, String> {
        let text = read(&format!("/proc/{pid}/smaps_rollup"))?;
        Self::parse(&text).ok_or_else(|| format!("/proc/{pid}/smaps_rollup has no Rss and Pss"))
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self { rss_bytes: field(text, "Rss:")? * 1024, pss_bytes: field(text, "Pss:")? * 1024 })
    }
}

/// The resident pages of `pid`, in bytes: less exact than [`Memory::of`], and costs it nothing. `None` if it is gone.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let text = read(&format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// The kernel's memory for sockets and their like, machine-wide, in bytes. Both ends of a loopback connection are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Kernel {
    /// Pages that TCP buffers hold (`mem` of /proc/net/sockstat).
    pub(crate) tcp_bytes: u64,
    /// Slab memory: sockets, files, epoll entries and everything else (`Slab` of /proc/meminfo).
    pub(crate) slab_bytes: u64,
}

impl Kernel {
    /// Now.
    pub(crate) fn now() -> Result<Self, String> {
        let sockets = read("/proc/net/sockstat")?;
        let memory = read("/proc/meminfo")?;
        Ok(Self {
            tcp_bytes: tcp_pages(&sockets).unwrap_or(0) * rustix::param::page_size() as u64,
            slab_bytes: field(&memory, "Slab:").unwrap_or(0) * 1024,
        })
    }
}

fn tcp_pages(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "mem")?;
    words.next()?.parse().ok()
}

fn tasks(pid: u32) -> Result<Vec<String>, String> {
    let directory = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&directory).map_err(|error| format!("{directory}: {error}"))?;
    Ok(entries.flatten().map(|entry| entry.path().display().to_string()).collect())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// The first number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn read_schedstat(task: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{task}/schedstat")).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn read_stat_ns(pid: u32) -> Result<u64, String> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    let ticks = stat_ticks(&text).ok_or_else(|| format!("/proc/{pid}/stat cannot be read"))?;
    Ok(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
}

/// utime + stime of proc(5): fields 14 and 15, counted after the command name, which may itself hold spaces and brackets.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_fields_survive_a_command_name_with_brackets() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 100 0 0";
        assert_eq!(stat_ticks(stat), Some(12));
        assert_eq!(stat_ticks("42 (x) S 1"), None);
    }

    #[test]
    fn sockstat_and_rollup_are_read() {
        let sockstat = "sockets: used 26\nTCP: inuse 5 orphan 0 tw 0 alloc 5 mem 395\nUDP: inuse 0 mem 1\n";
        assert_eq!(tcp_pages(sockstat), Some(395));
        let rollup = "5633-7ffd ---p 0 00:00 0 [rollup]\nRss:  1900 kB\nPss:   265 kB\nPss_Dirty: 9 kB\n";
        let memory = Memory::parse(rollup).unwrap();
        assert_eq!((memory.rss_bytes, memory.pss_bytes), (1900 * 1024, 265 * 1024));
        assert!(Memory::parse("Rss: 1 kB\n").is_none());
    }

    /// A process of its own: the threads of other tests end meanwhile, and what they did is gone with them.
    #[test]
    fn work_of_a_process_shows_as_cpu_time_and_no_process_is_an_error() {
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let pid = busy.id();
        let before = Cost::of(pid).unwrap();
        let worked = (0..1_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Cost::of(pid).unwrap().since(before).cpu_ns > 5_000_000
        });
        let pss_bytes = Memory::of(pid).unwrap().pss_bytes;
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(worked && pss_bytes > 0, "{pss_bytes}");
        assert!(Cost::of(u32::MAX).is_err());
    }
}
