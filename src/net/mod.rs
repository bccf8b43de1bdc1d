//! The only place with sockets, threads, the clock, signals and randomness: one pinned event loop per core.
//!
//! [`Broker::start`] binds, starts a thread per shard and returns; [`serve`] also waits for signals, and for the place of
//! another broker. Each thread owns its
//! shard, its listeners and its sockets; the threads share a stop flag, the count of connections and what a reload brought,
//! nothing else.

pub mod ambient;
pub mod client;
mod event_loop;
mod hand_over;
mod kin;
mod listener;
pub mod log;
mod reload;
mod sockets;
mod spin;
mod start;
mod successor;
mod supervisor;
mod sys;
mod take_over;
pub mod tls;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use mio::Waker;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::auth::origin::NotAnOrigin;
use crate::config::{Config, ConfigError};
use crate::limits;
use crate::mesh::Wake;
use crate::shard::{CloseReason, Counters};
use hand_over::{Door, Piece};
use log::Log;
use reload::Latest;
use start::Start;
use successor::Names;
use supervisor::{Turns, Watchdog};
use take_over::Waited;
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
                    "cannot listen on {address}: another program has this port; choose one with --listen, or take the place of a broker of yours with --take-over"
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
/// The homes are frozen and say what they remember.
const FREEZING: u8 = 4;

/// What all threads of a broker share.
#[derive(Debug)]
struct Shared {
    /// One of the five above.
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
    /// Where the home of each shard is to say what it remembers.
    estate: Vec<SyncSender<Piece>>,
    /// By shard, for the watchdog.
    turns: Arc<[Turns]>,
}

impl Shared {
    fn stop(&self, bells: &Bells) {
        let few = self.connections.load(Ordering::SeqCst) <= limits::STOP_AT_ONCE_MAX;
        let stop = if few { STOPPING } else { DRAINING };
        // Decided once: shards that disagree would wait for each other.
        let decide = |now| matches!(now, RUNNING | LEAVING | FREEZING).then_some(stop);
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

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is net, which reads the clock")]
    Instant::now()
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
    /// What the home of each shard says that it remembers.
    pieces: Mutex<Vec<Receiver<Piece>>>,
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
        let start = Start::prepare(config, log, false)?;
        start.listen()?;
        Ok(start.run(false, || {})?.0)
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

/// Runs a broker until SIGTERM or SIGINT; a second of these ends the process at once, with exit code 1. At SIGHUP `read`
/// gives the configuration anew, and standard error says what came of it. With `take_over` it waits for a broker that has the
/// ports to leave them, and inherits what that one remembers; a port in use is refused else. `ready` is called with the
/// addresses once connections are accepted.
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
    let start = Start::prepare(config, log.clone(), take_over)?;
    let mut reload = false;
    let mut watchdog = Watchdog::of_environment();
    let mut got_on = || watchdog.iter_mut().for_each(Watchdog::got_on);
    let waited = match take_over {
        true => {
            take_over::wait(start.addresses(), &mut signals, log, &mut reload, &mut got_on, || start.tell_waiting())
        }
        false => Waited::Alone,
    };
    let predecessor = match waited {
        Waited::Alone => None,
        Waited::Leaves(predecessor) => Some(predecessor),
        Waited::Stopped => return Ok(Summary::default()),
    };
    start.listen()?;
    let names = Names::take(start.addresses(), log);
    let mut broker = start.run_after(predecessor, got_on, move || handle.close())?;
    if let Some(watchdog) = watchdog {
        watchdog.watch(Arc::clone(&broker.shared.turns), broker.bells.clone())?;
    }
    ready(broker.addresses());
    broker.tell_start();
    supervisor::tell_ready();
    if reload {
        broker.read_again(&read);
    }
    let mut names = Some(names);
    for signal in signals.forever() {
        match (signal, names.take()) {
            (SIGHUP, kept) => {
                names = kept;
                broker.read_again(&read);
            }
            (_, None) => {}
            (_, Some(names)) => {
                end_at_the_next().map_err(failed)?;
                let successor = broker.hand_over(names);
                broker.tell_stop(successor);
                broker.stop();
            }
        }
    }
    broker.join()
}

/// From here on SIGTERM or SIGINT ends the process at once, whatever it is about.
fn end_at_the_next() -> io::Result<()> {
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::new(AtomicBool::new(true)))?;
    }
    Ok(())
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
