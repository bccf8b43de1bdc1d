//! What this machine allows: descriptors per process, and which core is whose.
//! The scenarios ask it once, before they start anything.
//! Invariants: limits are raised as far as they go and never worked around; a scaled-down load says so in one sentence.

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
