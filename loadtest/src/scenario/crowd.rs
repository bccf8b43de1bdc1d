//! Connections that subscribe and then do nothing but answer pings, held by threads of this process or by several processes.
//! `idle` raises their number and asks how many are there; `wirefan-loadtest crowd` is one of several processes, directed over its pipes.
//! Invariants: whoever fails says why in one sentence; a crowd ends when it is dropped, and a process of it when its standard input ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use serde::{Deserialize, Serialize};

use super::fanout::topic_name;
use crate::client::{Crew, Link, Message, Ramp, Scene, Subscription, Worker};
use crate::machine::pin_thread;
use crate::profile::Profile;
use crate::target::Target;
use crate::verify::Faults;

/// What each of them does, and how they come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manner {
    /// Connects per second, all threads together.
    pub(crate) connects_per_second: f64,
    /// Subscriptions of each connection.
    pub(crate) subscribe_each: usize,
    /// Topics shared by all; `None`: each subscription has its own.
    pub(crate) topics: Option<usize>,
    /// Client threads.
    pub(crate) threads: usize,
    /// Source addresses.
    pub(crate) sources: u8,
    /// Cores of the client threads.
    pub(crate) load_cores: Vec<usize>,
    /// Tells this run's topics from another's.
    pub(crate) seed: u64,
    /// Number of the first connection, over all processes.
    pub(crate) base: usize,
}

/// Those who come and stay.
pub(crate) trait Crowd {
    /// That many are to be there.
    fn want(&self, connections: usize) -> Result<(), String>;
    /// That many are, with all their acks.
    fn ready(&self) -> usize;
    /// Pings that they have answered.
    fn pings(&self) -> u64;
    /// Processes besides this one.
    fn pids(&self) -> Vec<u32> {
        Vec::new()
    }
    /// Why the run is over, if it is.
    fn failure(&self) -> Result<(), String>;
    /// Sends all away. What went wrong?
    fn finish(self: Box<Self>) -> Result<Faults, String>;
}

/// Held by threads of this process.
pub(crate) struct Threads {
    crew: Arc<Crew>,
    wanted: Vec<Arc<AtomicUsize>>,
    threads: Vec<JoinHandle<Faults>>,
}

impl Threads {
    /// Nobody yet.
    pub(crate) fn start(target: &Target, manner: &Manner) -> Result<Self, String> {
        let mut all = Self { crew: Arc::new(Crew::new()), wanted: Vec::new(), threads: Vec::new() };
        for number in 0..manner.threads {
            let profile = target.profile.clone();
            let waiting = Waiting { thread: number, manner: manner.clone(), profile, faults: Faults::default() };
            let ramp = Ramp {
                target: target.clone(),
                sources: manner.sources,
                connects_per_second: manner.connects_per_second / manner.threads as f64,
                at_once: false,
                seed: manner.seed ^ (number as u64) << 56 ^ (manner.base as u64) << 24,
            };
            let worker = Worker::new(Arc::clone(&all.crew), ramp, waiting)
                .map_err(|error| format!("a client thread cannot be made: {error}"))?;
            all.wanted.push(worker.wanted());
            let (cores, crew) = (manner.load_cores.clone(), Arc::clone(&all.crew));
            all.threads.push(thread::spawn(move || {
                if let Err(sentence) = pin_thread(&cores) {
                    crew.fail(sentence);
                }
                worker.run().faults
            }));
        }
        Ok(all)
    }
}

impl Crowd for Threads {
    fn want(&self, connections: usize) -> Result<(), String> {
        let threads = self.wanted.len();
        for (number, wanted) in self.wanted.iter().enumerate() {
            let share = connections * (number + 1) / threads - connections * number / threads;
            wanted.store(share, Ordering::Relaxed);
        }
        Ok(())
    }

    fn ready(&self) -> usize {
        self.crew.ready()
    }

    fn pings(&self) -> u64 {
        self.crew.pings()
    }

    fn failure(&self) -> Result<(), String> {
        self.crew.failure()
    }

    fn finish(mut self: Box<Self>) -> Result<Faults, String> {
        self.crew.stop();
        let mut faults = Faults::default();
        for thread in self.threads.drain(..) {
            faults.merge(thread.join().map_err(|_| "a client thread failed")?);
        }
        self.crew.failure()?;
        Ok(faults)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.crew.stop();
    }
}

/// One thread's idle connections.
struct Waiting {
    thread: usize,
    manner: Manner,
    /// How the server is spoken to, if not as wirefan.
    profile: Option<Arc<Profile>>,
    faults: Faults,
}

impl Scene for Waiting {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        let connection = self.manner.base + link * self.manner.threads + self.thread;
        (0..self.manner.subscribe_each)
            .map(|which| {
                let number = connection * self.manner.subscribe_each + which;
                let topic = self.manner.topics.map_or(number, |topics| number % topics);
                Subscription::live(topic_name(self.profile.as_deref(), self.manner.seed, topic))
            })
            .collect()
    }

    fn message(&mut self, link: usize, message: Message<'_>, _now_ns: u64) {
        let (Message::Text(bytes) | Message::Binary(bytes) | Message::Delivered { payload: bytes, .. }) = message
        else {
            return;
        };
        self.faults.unexpected += 1;
        self.faults.say(|| {
            let excerpt: String = String::from_utf8_lossy(bytes).chars().take(160).collect();
            format!("connection {link} got {excerpt:?}, and nobody published")
        });
    }

    fn closed(&mut self, link: usize, why: &str) {
        self.faults.closed += 1;
        self.faults.say(|| format!("connection {link} ended: {why}"));
    }

    fn turn(&mut self, _links: &mut [Link], _now_ns: u64) -> Option<u64> {
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two threads, two subscriptions each.
    pub(crate) fn manner() -> Manner {
        Manner {
            connects_per_second: 5_000.0,
            subscribe_each: 2,
            topics: None,
            threads: 2,
            sources: 1,
            load_cores: Vec::new(),
            seed: 1,
            base: 0,
        }
    }

    #[test]
    fn topics_are_own_or_shared_over_threads_and_processes() {
        let names = |topics| {
            let mut names = std::collections::BTreeSet::new();
            for (thread, base) in [(0, 0), (1, 0), (0, 10), (1, 10)] {
                let manner = Manner { topics, base, ..manner() };
                let mut scene = Waiting { thread, manner, profile: None, faults: Faults::default() };
                for link in 0..5 {
                    let all = scene.subscriptions(link);
                    assert_eq!(all.len(), 2);
                    names.extend(all.into_iter().map(|subscription| subscription.filter));
                }
            }
            names.len()
        };
        assert_eq!((names(None), names(Some(3))), (40, 3));
    }

    #[test]
    fn what_nobody_published_and_who_left_are_faults() {
        let mut scene = Waiting { thread: 0, manner: manner(), profile: None, faults: Faults::default() };
        scene.message(0, Message::Text(b"{}"), 0);
        scene.message(0, Message::Binary(b"x"), 0);
        scene.closed(1, "gone");
        assert_eq!((scene.faults.unexpected, scene.faults.closed, scene.faults.total()), (2, 1, 3));
    }
}
