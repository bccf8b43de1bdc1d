//! The broker of one core, sans-IO: its connections, their subscriptions, fan-out, outbound queues, timers.
//!
//! `net` (or the simulator) owns the sockets and drives it: [`Shard::begin_turn`] with the time, `handle_*` for what the
//! sockets said, then [`Shard::end_turn`], which takes the mail, seals the home's batch, delivers, posts and writes every
//! connection once; [`Shard::poll_action`] says what else the sockets need. Everything that crosses shards goes through
//! its [`Desk`]. Same calls with the same seed, same result.

mod api;
mod calls;
mod canary;
mod commands;
mod connection;
mod deliver;
mod drain;
mod estate;
mod exchange;
mod feeds;
mod figures;
mod heartbeat;
mod held;
mod identity;
mod inbound;
mod lifecycle;
mod notes;
mod operate;
mod outbound;
mod placement;
mod presence;
mod registry;
mod reload;
mod repeats;
mod requests;
mod stop;
mod subscriptions;
mod survey;
mod sweep;
mod tally;
mod wheel;

pub use crate::ids::TICK_MS;
pub use connection::CloseReason;
pub use notes::{Note, Noted};
pub use outbound::{Sent, Wire};
pub use placement::Placement;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::auth::origin::Origins;
use crate::auth::{Bucket, Credentials, Rate};
use crate::chunks::{Chunks, Column};
use crate::config::Config;
use crate::home::{Home, Kept};
use crate::http::Date;
use crate::ids::{ConnId, ShardId, Tick};
use crate::limits;
use crate::mesh::Desk;
use crate::protocol::Parser;
use crate::rules::Rules;
use crate::telemetry::{Machine, Refusals};
use crate::topic::{STATS, Topic};
use crate::ws::Ahead;
use crate::ws::deflate::{Deflater, Inflater};
use canary::Canary;
use connection::Connection;
use drain::Drain;
use exchange::Line;
use feeds::Poll;
use held::Held;
use notes::Notes;
use outbound::{Flushed, Outbound};
use registry::Registry;
use repeats::Judged;
use stop::Stop;
use survey::Surveys;
use sweep::Sweeps;
use tally::Tally;
use wheel::Wheel;

/// What every shard of a broker is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's configuration.
    pub config: Config,
    /// The configured origins, parsed.
    pub origins: Origins,
    /// `[auth]`, its files read; none without it.
    pub credentials: Option<Arc<Credentials>>,
    /// The time of day, in seconds since 1970, when the clock of [`Shard::begin_turn`] stood at 0.
    pub began_unix_s: u64,
    /// Feeds hash tables, epochs and the placement of topics; the same for all shards of a broker.
    pub seed: u64,
}

/// What the sockets' owner is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Shut down our side of the stream; everything was written.
    Shutdown(ConnId),
    /// Close the socket and forget it: the connection is gone.
    Drop(ConnId),
    /// Read from it again: it was not read while [`Shard::reads`] was false.
    Resume(ConnId),
}

/// Plain counts since the shard began.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections ended, by [`CloseReason`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Publications accepted from connections of this shard.
    pub published: u64,
    /// Publications that met a subscriber of this shard, counted per filter.
    pub delivered: u64,
    /// Publications that a subscriber of this shard was too slow for, and that a `gap` tells of.
    pub missed: u64,
    /// Commands answered with an error.
    pub faults: u64,
    /// Times that accepting paused because the machine was out of descriptors or memory.
    pub accept_pauses: u64,
    /// Connections turned away at their handshake or first request.
    pub refused: Refusals,
    /// Connections that became WebSockets, and streams of events, less those that no longer are: how many there are now.
    pub websockets: u64,
    /// See above.
    pub streams: u64,
    /// Compressed messages that were inflated, and the bytes that they became.
    pub inflated: u64,
    /// See above.
    pub inflated_bytes: u64,
}

/// See the module's page.
#[derive(Debug)]
pub struct Shard {
    me: ShardId,
    shards: u16,
    settings: Rc<Settings>,
    rules: Rc<Rules>,
    placement: Placement,
    connections: Chunks<Connection>,
    /// Of the connection that comes next.
    generation: u32,
    /// What `connections` had after the last of them came or went.
    slots: usize,
    registry: Registry,
    outbound: Outbound,
    wheel: Wheel,
    home: Home,
    desk: Desk,
    /// Whose commands are taken first in this turn: moves on with every turn.
    first_peer: usize,
    /// With which subscriber a fan-out begins: moves on with every one.
    rotation: u32,
    parser: Option<Box<Parser>>,
    /// Lent to each compressed message; made for the first one.
    inflater: Option<Box<Inflater>>,
    /// Bytes that may still be inflated in this turn.
    inflate_budget: usize,
    /// What connections sent behind messages that were too much for a turn.
    put_off: HashMap<u32, Vec<u8>, FixedState>,
    /// The room that was offered for the next read, if that is for a message which may begin there.
    ahead: Option<Ahead>,
    /// For `/echo`; made for its first message that may be compressed.
    deflater: Option<Box<Deflater>>,
    actions: VecDeque<Action>,
    /// Publications that wait for a wildcard subscribe of their own connection.
    held: BTreeMap<ConnId, Held>,
    now: Tick,
    now_ms: u64,
    /// Commands per second of a connection; `None` is any number.
    rate: Option<Rate>,
    /// By connection, if there is a rate.
    buckets: Column<Bucket>,
    /// Requests of HTTP that wait for homes, by connection.
    exchanges: HashMap<u32, Line, FixedState>,
    /// Polls that wait, by connection; boxed, because a table that grows has up to twice the room that it needs.
    polls: HashMap<u32, Box<Poll>, FixedState>,
    /// The publication that was read last, if the next one begins alike; none between reads.
    judged: Option<Box<Judged>>,
    /// Connections whose request was answered: there may be another.
    unread: Vec<ConnId>,
    /// Questions of operators that wait for all shards.
    surveys: Surveys,
    /// Those of all shards that this one is still answering.
    sweeps: Sweeps,
    /// For responses; set when one is written.
    date: Date,
    drain: Option<Drain>,
    /// Whom a frozen home refused a publication: they are sent away first.
    hasty: BTreeSet<ConnId>,
    stop: Stop,
    counters: Counters,
    /// What the event loop counts.
    machine: Machine,
    /// The figures that are being gathered of all shards, if somebody wants them.
    tally: Tally,
    canary: Canary,
    notes: Notes,
}

impl Shard {
    /// A shard without connections at time `now_ms`. All shards of a broker share `settings` and are made of the desks of
    /// one [`crate::mesh::join`].
    #[must_use]
    pub fn new(settings: Settings, desk: Desk, now_ms: u64) -> Self {
        let me = desk.me();
        let shards = u16::try_from(desk.peers_len() + 1).expect("at most SHARDS_MAX");
        let seed = settings.seed ^ (u64::from(me.0) << 48);
        let now = Tick::of_ms(now_ms);
        let rules = Rc::new(Rules::new(settings.config.rules.clone()));
        let history_bytes_max = settings.config.limits.history_bytes_max / usize::from(shards);
        let mut shard = Self {
            me,
            shards,
            placement: Placement::new(settings.seed, shards),
            connections: Chunks::default(),
            generation: 0,
            slots: 0,
            registry: Registry::new(seed ^ 0x5bd1_e995),
            outbound: Outbound::new(settings.config.limits.outbound_bytes_max),
            wheel: Wheel::new(now),
            home: Home::new(me, shards, Rc::clone(&rules), history_bytes_max, seed),
            rules,
            desk,
            first_peer: 0,
            rotation: 0,
            parser: Some(Box::default()),
            inflater: None,
            inflate_budget: limits::INFLATED_BYTES_PER_TURN,
            put_off: HashMap::default(),
            ahead: None,
            deflater: None,
            actions: VecDeque::new(),
            held: BTreeMap::new(),
            now,
            now_ms,
            rate: Rate::per_second(settings.config.limits.commands_per_second_max),
            buckets: Column::default(),
            exchanges: HashMap::default(),
            polls: HashMap::default(),
            judged: None,
            unread: Vec::new(),
            surveys: Surveys::default(),
            sweeps: Sweeps::default(),
            date: Date::new(settings.began_unix_s),
            drain: None,
            hasty: BTreeSet::new(),
            stop: Stop::default(),
            counters: Counters::default(),
            machine: Machine::default(),
            tally: Tally::default(),
            canary: Canary::default(),
            notes: Notes::default(),
            settings: Rc::new(settings),
        };
        let publishes = shard.home_of(Topic::known(STATS)) == me;
        shard.tally = Tally::new(publishes);
        shard
    }

    /// The time of all that happens until the next turn, in milliseconds; never goes back.
    pub fn begin_turn(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.now = Tick::of_ms(self.now_ms);
        self.home.begin_turn(self.now);
    }

    /// Takes the mail, seals, delivers, posts, and offers every connection's pending bytes to its socket once.
    pub fn end_turn(&mut self, wire: &mut impl Wire) {
        self.drain_some();
        self.expire();
        self.take_mail();
        self.sweep_some();
        self.take_own_deliveries();
        self.end_tally_in_time();
        self.begin_stats();
        self.send_canary();
        self.inflate_budget += limits::INFLATED_BYTES_PER_TURN;
        let mut requests = limits::REQUESTS_PER_TURN;
        while self.read_on(&mut requests) {
            self.take_own_deliveries();
        }
        self.inflate_budget = limits::INFLATED_BYTES_PER_TURN;
        self.desk.post(&mut self.home);
        self.close_slow();
        self.flush(wire);
        self.close_slow();
        self.desk.post(&mut self.home); // what ended in the flush released its topics
        self.counters.missed = self.outbound.missed();
    }

    fn flush(&mut self, wire: &mut impl Wire) {
        let mut budget = self.outbound.flush_budget();
        while let Some(index) = self.outbound.next_to_flush(&mut budget) {
            self.flush_one(index, wire);
        }
    }

    fn flush_one(&mut self, index: u32, wire: &mut impl Wire) {
        match self.outbound.flush(index, wire) {
            Flushed::Drained => self.after_flush(index),
            Flushed::Blocked if self.outbound.is_watched(index) => self.resume_if_room(index),
            Flushed::Held => self.handle_held(index),
            Flushed::Done | Flushed::Blocked => {}
            Flushed::Gone => self.discard(index, CloseReason::Reset),
        }
    }

    /// Offers large answers to a connection that was just read to its socket, before the end of the turn: their bytes are
    /// still in the processor's cache, and so are those of the buffer that they leave to the next one.
    pub fn flush_large(&mut self, id: ConnId, wire: &mut impl Wire) {
        let Some(index) = self.index_of(id) else { return };
        if self.outbound.pending_replies(index) >= limits::LARGE_MESSAGE_BYTES_MIN && !self.outbound.is_blocked(index) {
            self.flush_one(index, wire);
        }
    }

    /// What the sockets need, one after the other.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether connections may be read at all; not while a ring to another shard is full, while writes are late, behind
    /// messages that became too long in this turn, nor while stopping.
    #[must_use]
    pub fn reads_any(&self) -> bool {
        let rings = !self.desk.commands_wait() && !self.desk.deliveries_wait();
        rings && !self.outbound.is_late() && self.inflate_budget > 0 && self.stop.reads()
    }

    /// Whether this connection may be read; if not, [`Action::Resume`] tells when.
    #[must_use]
    pub fn reads(&self, id: ConnId) -> bool {
        self.index_of(id).is_some_and(|index| !self.connections[index as usize].paused)
    }

    /// Whether the next turn has something to do even if no socket and no shard says anything.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.outbound.has_work()
            || (!self.unread.is_empty() && self.stop.reads())
            || self.home.has_work()
            || self.sweeps_wait()
            || self.wants_process()
            || self.is_drained()
    }

    /// When the next turn must come at the latest, in milliseconds on the clock of [`Shard::begin_turn`].
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let own = self.next_drain().into_iter().chain(self.tally.deadline()).chain(self.next_stats());
        let own = own.chain(self.next_canary());
        let next = self.wheel.next().into_iter().chain(self.home.next_due()).chain(own).min();
        next.map(|tick| u64::from(tick.0) * TICK_MS)
    }

    /// Before sleeping: true if no mail waits; from then on other shards ring this one's doorbell.
    #[must_use]
    pub fn lie_down(&self) -> bool {
        self.desk.lie_down(!self.desk.deliveries_wait())
    }

    /// Whether mail waits, or a ring that was full has room again.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.desk.has_mail(!self.desk.deliveries_wait())
    }

    /// After sleeping.
    pub fn rise(&self) {
        self.desk.rise();
    }

    /// What the event loop counts: it alone does, and the shard tells it with its own figures.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// Whether a socket is left to be offered what waits for it.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.outbound.has_work()
    }

    /// The counts so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What this shard's home remembers of publications beyond their positions.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.home.kept()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections_len(&self) -> usize {
        self.connections.len()
    }

    /// Every connection's slot is below this.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.connections.slots()
    }

    /// How often it woke another shard: one system call each.
    #[must_use]
    pub fn bells_rung(&self) -> u64 {
        self.desk.bells_rung()
    }

    /// What is alive, by name: after all connections closed and all mail was taken, all of it is 0.
    #[must_use]
    pub fn held(&self) -> [(&'static str, usize); 16] {
        let (segments, spills) = self.outbound.held();
        let (filters, subscriptions) = self.registry.held();
        let (held, watched) = self.home.interest_len();
        [
            ("connections", self.connections.len()),
            ("wheel places", self.wheel.len()),
            ("filters", filters),
            ("subscriptions", subscriptions),
            ("segments", segments),
            ("spills", spills),
            ("topics held at the home", held),
            ("filters watched at the home", watched),
            ("members", self.home.members_len()),
            ("connections that hold back", self.held.len()),
            ("ranges owed", self.outbound.owed()),
            ("requests that wait", self.exchanges.len()),
            ("connections put off", self.put_off.len()),
            ("polls that wait", self.polls.len()),
            ("questions of operators", self.surveys.len() + self.sweeps.len() + self.tallies()),
            ("pending bytes", self.connections.iter().map(|(index, _)| self.outbound.pending(slot(index))).sum()),
        ]
    }

    /// Bytes that wait for a connection.
    #[must_use]
    pub fn pending(&self, id: ConnId) -> usize {
        self.index_of(id).map_or(0, |index| self.outbound.pending(index))
    }

    /// The slab index of a connection, if this tenant is still there.
    fn index_of(&self, id: ConnId) -> Option<u32> {
        let connection = self.connections.get(id.index as usize)?;
        (connection.generation == id.generation).then_some(id.index)
    }

    fn id_of(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.connections[index as usize].generation }
    }

    /// The shard whose home owns the topic; who comes and goes there is known there.
    fn home_of(&self, topic: Topic<'_>) -> ShardId {
        self.placement.home_of(topic)
    }
}

fn slot(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 connections")
}

#[cfg(test)]
mod tests;
