//! The only place with sockets, threads, the clock, signals and randomness: one pinned event loop per core.
//!
//! [`Broker::start`] binds, starts a thread per shard and returns; [`serve`] also waits for signals. Each thread owns its
//! shard, its listeners and its sockets; the threads share a stop flag, the count of connections and what a reload brought,
//! nothing else.

pub mod ambient;
pub mod client;
mod event_loop;
mod hand_over;
mod listener;
pub mod log;
mod reload;
mod sockets;
mod spin;
mod supervisor;
mod sys;
pub mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use mio::{Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::auth::Rate;
use crate::auth::origin::NotAnOrigin;
use crate::config::{Config, ConfigError};
use crate::limits;
use crate::mesh::{self, Wake};
use crate::shard::{CloseReason, Counters, Shard};
use event_loop::{EventLoop, WAKER};
use hand_over::Door;
use listener::Listening;
use log::Log;
use reload::Latest;
use tls::{CertificateError, Terms};

/// Why a broker did not start, or ended.
#[derive(Debug)]
pub enum ServeError {
    /// An address could not be listened on.
    Listen(SocketAddr, io::Error),
    /// An entry of `server.allowed_origins` is none.
    Origins(NotAnOrigin),
    /// Files of `[tls]` that are not what they should be.
    Certificates(CertificateError),
    /// More shards than there can be.
    Shards(usize),
    /// The configuration, or a file of `[auth]`, is not what it should be.
    Config(ConfigError),
    /// The machine refused something else.
    Machine(&'static str, io::Error),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "cannot listen on {address}: another program has this port; choose one with --listen, or join a broker of yours with --take-over"
                )
            }
            Self::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::Origins(error) => write!(f, "server.allowed_origins: {error}"),
            Self::Certificates(error) => error.fmt(f),
            Self::Shards(shards) => write!(f, "server.shards: {shards} is more than {}", limits::SHARDS_MAX),
            Self::Config(error) => write!(f, "{error}"),
            Self::Machine(what, error) => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

/// It serves.
const RUNNING: u8 = 0;
/// It ends at once.
const STOPPING: u8 = 1;
/// It sends its connections away little by little, and then ends.
const DRAINING: u8 = 2;
/// Connections come to a successor; those that are here go on.
const LEAVING: u8 = 3;

/// What all threads of a broker share.
#[derive(Debug)]
struct Shared {
    /// One of the four above.
    stop: AtomicU8,
    /// Shards that have listeners.
    listening: AtomicUsize,
    connections: AtomicUsize,
    connections_max: usize,
    /// How long a drain spreads the disconnects.
    drain_ms: u64,
    /// When the process began, for whoever asks.
    began_unix_s: u64,
    /// What TLS listeners speak.
    tls: Option<Terms>,
    /// What a reload brought.
    latest: Latest,
}

impl Shared {
    fn stop(&self, bells: &Bells) {
        let few = self.connections.load(Ordering::SeqCst) <= limits::STOP_AT_ONCE_MAX;
        let stop = if few { STOPPING } else { DRAINING };
        // Decided once: shards that disagree would wait for each other.
        let decide = |now| matches!(now, RUNNING | LEAVING).then_some(stop);
        let _ = self.stop.fetch_update(Ordering::SeqCst, Ordering::SeqCst, decide);
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

/// Where a broker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// With the port that the kernel chose for port 0.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl Bound {
    fn all(config: &Config) -> Vec<Self> {
        let with = |addresses: &[SocketAddr], tls| addresses.iter().map(|&address| Self { address, tls }).collect();
        let others: Vec<_> = with(&config.tls.listen, true);
        // Without addresses of its own TLS is spoken at all of them.
        let all: Vec<_> = with(&config.server.listen, config.tls.is_configured() && others.is_empty());
        [all, others].concat()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.tls { " (TLS)" } else { "" })
    }
}

/// A running broker.
pub struct Broker {
    /// What is in force.
    config: Config,
    addresses: Vec<Bound>,
    shared: Arc<Shared>,
    bells: Bells,
    threads: Vec<thread::JoinHandle<Result<Counters, ServeError>>>,
    log: Log,
    /// Empty once it stops.
    doors: Mutex<Vec<Door>>,
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
        let failed = |error| ServeError::Machine("start a thread", error);
        let log = Log::to_stderr(config.log.format, config.log.level).map_err(failed)?;
        Self::start_then(config, log, false, || {})
    }

    /// The same, beside a broker that has the ports if it is to `take_over`; `ended` is called by the last shard that ends.
    fn start_then(
        config: Config,
        log: Log,
        take_over: bool,
        ended: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, ServeError> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let shards = if config.server.shards == 0 { cores.len().max(1) } else { config.server.shards };
        if shards > limits::SHARDS_MAX {
            return Err(ServeError::Shards(shards));
        }
        sys::raise_file_limit();
        let tls = Terms::read(&config.tls).map_err(ServeError::Certificates)?;
        let patience_s = config.heartbeat.interval_s + config.heartbeat.timeout_s;
        let patience = Duration::from_secs(patience_s.into());
        let Listening { of_shards, addresses, doors } =
            listener::bind(&Bound::all(&config), shards, take_over, patience)?;
        let shared = Arc::new(Shared {
            stop: AtomicU8::new(RUNNING),
            listening: AtomicUsize::new(shards),
            connections: AtomicUsize::new(0),
            connections_max: config.limits.connections_max,
            drain_ms: u64::from(config.server.drain_s) * 1000,
            began_unix_s: ambient::now_unix_s(),
            tls,
            latest: Latest::default(),
        });
        let (polls, bells) = polls(shards)?;
        let seed = getrandom::u64().map_err(|error| ServeError::Machine("get randomness", io::Error::other(error)))?;
        let pin = config.server.pin;
        let shards_len = u16::try_from(shards).expect("at most SHARDS_MAX");
        let settings = reload::settings(config.clone(), seed)?;
        let desks = mesh::join(bells.clone(), limits::RING_PARCELS);
        let clock = event_loop::Clock::new();
        let ended = Arc::new(AtEnd { left: AtomicUsize::new(shards), call: ended });
        let mut threads = Vec::with_capacity(shards);
        for (number, ((poll, desk), listeners)) in polls.into_iter().zip(desks).zip(of_shards).enumerate() {
            let (mut settings, shared, ended) = (settings.clone(), Arc::clone(&shared), Arc::clone(&ended));
            let core = if pin && !cores.is_empty() { Some(cores[number % cores.len()]) } else { None };
            let (bells, log) = (bells.clone(), log.clone());
            let run = move || {
                pin_to(core);
                settings.began_unix_s = ambient::now_unix_s() - clock.now_ms() / 1000;
                let accepts = Rate::shared(settings.config.limits.accepts_per_second_max, shards_len);
                let spin = Duration::from_micros(settings.config.server.spin_us.into());
                let mut shard = Shard::new(settings, desk, clock.now_ms());
                shard.begin_canaries();
                let all = Arc::clone(&shared);
                let event_loop = EventLoop::new(poll, shard, listeners, clock, accepts, shared, log);
                let ran = event_loop.and_then(|event_loop| event_loop.spin_for(spin).run());
                if ran.is_err() {
                    all.stop(&bells); // its topics are gone: half a broker would be worse than none
                }
                ended.one();
                ran
            };
            let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(run);
            threads.push(thread.map_err(|error| ServeError::Machine("start a thread", error))?);
        }
        Ok(Self { config, addresses, shared, bells, threads, log, doors: Mutex::new(doors) })
    }

    /// Where it listens: `server.listen`, then `tls.listen`.
    #[must_use]
    pub fn addresses(&self) -> &[Bound] {
        &self.addresses
    }

    /// Asks it to stop: accepts nothing more, delivers what it has, closes every connection with 1001.
    pub fn stop(&self) {
        self.take_doors();
        self.shared.stop(&self.bells);
    }

    /// From here on a listener ends with its shard's.
    fn take_doors(&self) -> Vec<Door> {
        std::mem::take(&mut self.doors.lock().unwrap_or_else(PoisonError::into_inner))
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

/// Runs a broker until SIGTERM or SIGINT; a second of these ends the process at once, with exit code 1. At SIGHUP `read`
/// gives the configuration anew, and standard error says what came of it. With `take_over` it listens beside a broker that
/// has the ports, until that one is stopped; a port in use is refused else. `ready` is called with the addresses once
/// connections are accepted.
///
/// # Errors
/// As [`Broker::start`] and [`Broker::join`].
pub fn serve(
    config: Config,
    log: &Log,
    read: impl Fn() -> Result<Config, ConfigError>,
    take_over: bool,
    ready: impl FnOnce(&[Bound]),
) -> Result<Summary, ServeError> {
    let failed = |error| ServeError::Machine("listen to signals", error);
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let handle = signals.handle();
    let mut broker = Broker::start_then(config, log.clone(), take_over, move || handle.close())?;
    ready(broker.addresses());
    broker.tell_start();
    if let Ok(socket) = std::env::var("NOTIFY_SOCKET") {
        supervisor::tell_ready(&socket);
    }
    let mut stopping = false;
    for signal in signals.forever() {
        match signal {
            SIGHUP => {
                let outcome = read().map_err(ServeError::Config).and_then(|config| broker.reload(&config));
                broker.tell_reload(outcome);
            }
            _ if stopping => std::process::exit(1),
            _ => {
                stopping = true;
                let successor = broker.hand_over();
                broker.tell_stop(successor);
                broker.stop();
            }
        }
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
