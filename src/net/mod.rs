//! The only place with sockets, threads, the clock, signals and randomness: one pinned event loop per core.
//!
//! [`Broker::start`] binds, starts a thread per shard and returns; [`serve`] also waits for signals. Each thread owns its
//! shard, its listeners and its sockets; the threads share a stop flag and the count of connections, nothing else.

pub mod client;
mod event_loop;
mod listener;
mod sockets;
mod sys;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use core_affinity::CoreId;
use mio::{Poll, Waker};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::auth::origin::{NotAnOrigin, Origins};
use crate::config::Config;
use crate::limits;
use crate::mesh::{self, Wake};
use crate::shard::{CloseReason, Counters, Settings, Shard};
use event_loop::{EventLoop, WAKER};

/// Why a broker did not start, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// An address could not be listened on.
    Listen(SocketAddr, io::Error),
    /// An entry of `server.allowed_origins` is none.
    Origins(NotAnOrigin),
    /// More shards than there can be.
    Shards(usize),
    /// The machine refused something else.
    Machine(&'static str, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "cannot listen on {address}: another program has this port; choose one with --listen")
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Origins(error) => write!(f, "server.allowed_origins: {error}"),
            Self::Shards(shards) => write!(f, "server.shards: {shards} is more than {}", limits::SHARDS_MAX),
            Self::Machine(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// What all threads of a broker share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    connections: AtomicUsize,
    connections_max: usize,
}

impl Shared {
    fn stop(&self, bells: &Bells) {
        self.stop.store(true, Ordering::SeqCst);
        for bell in bells {
            bell.wake();
        }
    }
}

type Bells = Vec<Arc<dyn Wake>>;

struct Bell(Waker);

impl Wake for Bell {
    fn wake(&self) {
        // It fails only when the queue of events cannot grow; the loop comes by on its own then, by its deadline.
        let _ = self.0.wake();
    }
}

/// A running broker.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
    bells: Bells,
    threads: Vec<thread::JoinHandle<Result<Counters, ServeError>>>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Broker {
    /// Binds all addresses and starts all shards. Raises the limit of open files as far as it goes.
    ///
    /// # Errors
    /// An address that cannot be had, or a machine that refuses a thread or an event queue.
    pub fn start(config: Config) -> Result<Self, ServeError> {
        Self::start_then(config, || {})
    }

    /// The same; `ended` is called by the last shard that ends.
    fn start_then(config: Config, ended: impl Fn() + Send + Sync + 'static) -> Result<Self, ServeError> {
        let origins = Origins::parse(&config.server.allowed_origins).map_err(ServeError::Origins)?;
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let shards = if config.server.shards == 0 { cores.len().max(1) } else { config.server.shards };
        if shards > limits::SHARDS_MAX {
            return Err(ServeError::Shards(shards));
        }
        sys::raise_file_limit();
        let (listeners, addresses) = listener::bind(&config.server.listen, shards)?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            connections_max: config.limits.connections_max,
        });
        let (polls, bells) = polls(shards)?;
        let seed = getrandom::u64().map_err(|error| ServeError::Machine("get randomness", io::Error::other(error)))?;
        let pin = config.server.pin;
        let settings = Settings { config, origins, seed };
        let desks = mesh::join(bells.clone(), limits::RING_PARCELS);
        let ended = Arc::new(AtEnd { left: AtomicUsize::new(shards), call: ended });
        let mut threads = Vec::with_capacity(shards);
        for (number, ((poll, desk), listeners)) in polls.into_iter().zip(desks).zip(listeners).enumerate() {
            let (settings, shared, ended) = (settings.clone(), Arc::clone(&shared), Arc::clone(&ended));
            let core = if pin && !cores.is_empty() { Some(cores[number % cores.len()]) } else { None };
            let bells = bells.clone();
            let run = move || {
                pin_to(core);
                let clock = event_loop::Clock::new();
                let shard = Shard::new(settings, desk, clock.now_ms());
                let all = Arc::clone(&shared);
                let ran = EventLoop::new(poll, shard, listeners, clock, shared).and_then(EventLoop::run);
                if ran.is_err() {
                    all.stop(&bells); // its topics are gone: half a broker would be worse than none
                }
                ended.one();
                ran
            };
            let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(run);
            threads.push(thread.map_err(|error| ServeError::Machine("start a thread", error))?);
        }
        Ok(Self { addresses, shared, bells, threads })
    }

    /// Where it listens, with the ports that the kernel chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Asks it to stop: accepts nothing more, delivers what it has, closes every connection with 1001.
    pub fn stop(&self) {
        self.shared.stop(&self.bells);
    }

    /// Waits until all shards have ended.
    ///
    /// # Errors
    /// What made a shard end without being asked to.
    pub fn join(self) -> Result<Summary, ServeError> {
        let mut summary = Summary::default();
        for thread in self.threads {
            summary.add(&thread.join().expect("a panic aborts the process")?);
        }
        Ok(summary)
    }
}

/// Calls back when the last of several has ended.
struct AtEnd<F> {
    left: AtomicUsize,
    call: F,
}

impl<F: Fn()> AtEnd<F> {
    fn one(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.call)();
        }
    }
}

fn polls(shards: usize) -> Result<(Vec<Poll>, Bells), ServeError> {
    let failed = |error| ServeError::Machine("make an event queue", error);
    let mut bells: Bells = Vec::with_capacity(shards);
    let mut polls = Vec::with_capacity(shards);
    for _ in 0..shards {
        let poll = Poll::new().map_err(failed)?;
        bells.push(Arc::new(Bell(Waker::new(poll.registry(), WAKER).map_err(failed)?)));
        polls.push(poll);
    }
    Ok((polls, bells))
}

fn pin_to(core: Option<CoreId>) {
    if let Some(core) = core {
        // Refused where the operator took the core away meanwhile; an unpinned shard works as well, only less evenly.
        let _ = core_affinity::set_for_current(core);
    }
}

/// Runs a broker until SIGTERM or SIGINT; a second signal ends the process at once, with exit code 1. `ready` is called
/// with the addresses once connections are accepted.
///
/// # Errors
/// As [`Broker::start`] and [`Broker::join`].
pub fn serve(config: Config, ready: impl FnOnce(&[SocketAddr])) -> Result<Summary, ServeError> {
    let failed = |error| ServeError::Machine("listen to signals", error);
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let handle = signals.handle();
    let broker = Broker::start_then(config, move || handle.close())?;
    ready(broker.addresses());
    let mut signals = signals.forever();
    if signals.next().is_some() {
        broker.stop();
    }
    if signals.next().is_some() {
        std::process::exit(1);
    }
    broker.join()
}

/// What a broker did in its life.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    counters: Counters,
}

impl Summary {
    fn add(&mut self, shard: &Counters) {
        let sum = &mut self.counters;
        sum.accepted += shard.accepted;
        sum.published += shard.published;
        sum.delivered += shard.delivered;
        sum.missed += shard.missed;
        sum.faults += shard.faults;
        sum.accept_pauses += shard.accept_pauses;
        for (sum, count) in sum.closed.iter_mut().zip(shard.closed) {
            *sum += count;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = &self.counters;
        write!(f, "{} connections, {} publications, {} deliveries", sum.accepted, sum.published, sum.delivered)?;
        if sum.missed > 0 {
            write!(f, ", {} missed by slow consumers", sum.missed)?;
        }
        for reason in CloseReason::ALL {
            if sum.closed[reason as usize] > 0 {
                write!(f, ", {} {}", sum.closed[reason as usize], reason.words())?;
            }
        }
        if sum.accept_pauses > 0 {
            write!(f, ", accepting paused {} times for want of descriptors", sum.accept_pauses)?;
        }
        Ok(())
    }
}
