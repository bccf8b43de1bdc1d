//! Starting a broker: everything that can fail is tried, then sockets listen, then each shard has its thread.
//!
//! [`super::Broker::start`] goes through it at once. [`super::serve`] waits in between where it takes the place of another
//! broker: after [`Start::prepare`] nothing of this one can be refused any more and nobody is accepted, and between
//! [`Start::listen`] and the shards' first turn lies what is inherited.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use mio::{Poll, Waker};

use super::event_loop::{Clock, EventLoop, WAKER};
use super::listener::{self, Listening};
use super::log::Log;
use super::reload::{self, Latest};
use super::supervisor::Turns;
use super::take_over::Predecessor;
use super::tls::Terms;
use super::{Bell, Bells, Bound, Broker, RUNNING, ServeError, Shared, ambient, supervisor, sys};
use crate::auth::Rate;
use crate::config::Config;
use crate::home::estate::Bequest;
use crate::limits;
use crate::mesh;
use crate::shard::{Placement, Settings, Shard};

/// A broker that could start; see the module's page.
pub(super) struct Start {
    config: Config,
    log: Log,
    cores: Vec<CoreId>,
    shards: usize,
    listening: Listening,
    tls: Option<Terms>,
    settings: Settings,
}

impl Start {
    /// Binds all addresses, beside whoever has them if it is to `take_over`, and reads all files.
    pub(super) fn prepare(config: Config, log: Log, take_over: bool) -> Result<Self, ServeError> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let shards = if config.server.shards == 0 { cores.len().max(1) } else { config.server.shards };
        if shards > limits::SHARDS_MAX {
            return Err(ServeError::Shards(shards));
        }
        sys::raise_file_limit();
        let tls = Terms::read(&config.tls).map_err(ServeError::Certificates)?;
        let patience_s = config.heartbeat.interval_s + config.heartbeat.timeout_s;
        let patience = Duration::from_secs(patience_s.into());
        let listening = listener::bind(&Bound::all(&config), shards, take_over, patience)?;
        let seed = getrandom::u64().map_err(|error| ServeError::Machine("get randomness", io::Error::other(error)))?;
        let settings = reload::settings(config.clone(), seed)?;
        Ok(Self { config, log, cores, shards, listening, tls, settings })
    }

    pub(super) fn addresses(&self) -> &[Bound] {
        &self.listening.addresses
    }

    /// From here on the kernel takes connections in; nobody accepts them yet.
    pub(super) fn listen(&self) -> Result<(), ServeError> {
        let open = |door: &super::Door| door.open().map_err(|error| ServeError::Listen(door.address, error));
        self.listening.doors.iter().try_for_each(open)
    }

    /// Says that this broker waits for another one to leave.
    pub(super) fn tell_waiting(&self) {
        let addresses: Vec<_> = self.addresses().iter().map(Bound::to_string).collect();
        self.log.announce(format_args!("ready to take over {}", addresses.join(", ")));
        supervisor::tell_ready();
    }

    /// Runs, and first takes what a predecessor remembers, calling `got_on` at each step. `ended` is called by the
    /// last shard that ends.
    pub(super) fn run_after(
        self,
        predecessor: Option<Predecessor>,
        mut got_on: impl FnMut(),
        ended: impl Fn() + Send + Sync + 'static,
    ) -> Result<Broker, ServeError> {
        let placement = Placement::new(self.settings.seed, self.shards_len());
        let topic_bytes_max = self.config.limits.history_bytes_max / self.shards;
        let log = self.log.clone();
        let (broker, homes) = self.run(predecessor.is_some(), ended)?;
        if let Some(predecessor) = predecessor {
            predecessor.inherit(topic_bytes_max, &log, |bequest| {
                got_on();
                let home = placement.home_of(bequest.topic());
                let _ = homes[home.index()].send(bequest); // it fails if the shard has ended, which stops the broker
            });
        }
        Ok(broker)
    }

    fn shards_len(&self) -> u16 {
        u16::try_from(self.shards).expect("at most SHARDS_MAX")
    }

    /// Starts a thread per shard. If the shards are to `inherit`, each takes topics until its sender is dropped, and serves then.
    pub(super) fn run(
        self,
        inherit: bool,
        ended: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Broker, Vec<SyncSender<Bequest>>), ServeError> {
        let shards_len = self.shards_len();
        let Self { config, log, cores, shards, listening, tls, settings } = self;
        let Listening { of_shards, addresses, doors } = listening;
        let (estate, pieces) = (0..shards).map(|_| sync_channel(limits::ESTATE_PIECES_WAITING)).unzip();
        let shared = Arc::new(Shared {
            stop: AtomicU8::new(RUNNING),
            listening: AtomicUsize::new(shards),
            connections: AtomicUsize::new(0),
            connections_max: config.limits.connections_max,
            drain_ms: u64::from(config.server.drain_s) * 1000,
            began_unix_s: ambient::now_unix_s(),
            tls,
            latest: Latest::default(),
            estate,
            turns: (0..shards).map(|_| Turns::default()).collect(),
        });
        let (polls, bells) = polls(shards)?;
        let desks = mesh::join(bells.clone(), limits::RING_PARCELS);
        let clock = Clock::new(if inherit { ages_of(&config) } else { Duration::ZERO });
        let ended = Arc::new(AtEnd { left: AtomicUsize::new(shards), call: ended });
        let (mut threads, mut homes) = (Vec::with_capacity(shards), Vec::new());
        for (number, ((poll, desk), listeners)) in polls.into_iter().zip(desks).zip(of_shards).enumerate() {
            let (settings, shared, ended) = (settings.clone(), Arc::clone(&shared), Arc::clone(&ended));
            let pinned = config.server.pin && !cores.is_empty();
            let core = if pinned { Some(cores[number % cores.len()]) } else { None };
            let (bells, log) = (bells.clone(), log.clone());
            let (home, bequests) = sync_channel(limits::BEQUESTS_WAITING);
            let bequests = inherit.then(|| homes.push(home)).map(|()| bequests);
            let run = move || {
                pin_to(core);
                let accepts = Rate::shared(settings.config.limits.accepts_per_second_max, shards_len);
                let spin = Duration::from_micros(settings.config.server.spin_us.into());
                let shard = begin(settings, desk, bequests, clock);
                let all = Arc::clone(&shared);
                let event_loop = EventLoop::new(poll, shard, listeners, clock, accepts, shared, log);
                let ran = event_loop.and_then(|event_loop| event_loop.spin_for(spin).run());
                if ran.is_err() {
                    all.stop(&bells); // its topics are gone: half a broker would be worse than none
                }
                all.turns[number].end();
                ended.one();
                ran
            };
            let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(run);
            threads.push(thread.map_err(|error| ServeError::Machine("start a thread", error))?);
        }
        let (doors, pieces) = (Mutex::new(doors), Mutex::new(pieces));
        Ok((Broker { config, addresses, shared, bells, threads, log, doors, pieces }, homes))
    }
}

/// How old what a broker keeps may be.
///
/// What is inherited is older than this process, and no time is before 0: so its clock begins at an age that no history reaches.
fn ages_of(config: &Config) -> Duration {
    let ages_s = config.rules.iter().filter_map(|rule| Some(rule.history?.age_s));
    Duration::from_secs(ages_s.max().unwrap_or_default().into())
}

/// A shard, with all that it inherits.
fn begin(mut settings: Settings, desk: mesh::Desk, bequests: Option<Receiver<Bequest>>, clock: Clock) -> Shard {
    settings.began_unix_s = ambient::now_unix_s().saturating_sub(clock.now_ms() / 1000);
    let mut shard = Shard::new(settings, desk, clock.now_ms());
    for bequest in bequests.into_iter().flatten() {
        shard.inherit(bequest, clock.now_ms());
    }
    shard.begin_turn(clock.now_ms());
    shard.end_inheritance();
    shard.begin_canaries();
    shard
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
