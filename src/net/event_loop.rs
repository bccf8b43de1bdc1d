//! One shard's thread: wait, read, let the shard work, write; the only loop in the broker that never ends by itself.
//!
//! A turn: take events from the kernel, accept some, read from some of those that are readable, then [`Shard::end_turn`],
//! which writes. Every step has a budget, and what it leaves makes the next wait return at once.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::hand_over::Bequeathing;
use super::listener::{Accepted, Listener};
use super::log::{Kind, Log, Paced, Value};
use super::sockets::{Got, Sockets};
use super::spin::Spin;
use super::tls::Terms;
use super::{DRAINING, FREEZING, LEAVING, RUNNING, ServeError, Shared, now, sys};
use crate::auth::{Bucket, Pace, Rate};
use crate::config::LogLevel;
use crate::http::{self, Date, Problem, Response};
use crate::ids::ConnId;
use crate::limits;
use crate::shard::{Action, Counters, Note, Noted, Shard};
use crate::telemetry::Refused;

/// The token of the doorbell.
pub(super) const WAKER: Token = Token(usize::MAX);

/// Tokens of listeners: the numbers below the doorbell's. No connection's slot comes near.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// The time since the broker began, and what it began at; the same for all of its threads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    at_first: Duration,
}

impl Clock {
    /// It stands at `at_first`.
    pub(super) fn new(at_first: Duration) -> Self {
        Self { began: now(), at_first }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_us() / 1000
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.now().as_micros()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Duration {
        self.at_first + self.began.elapsed()
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct EventLoop {
    poll: Poll,
    events: Events,
    shard: Shard,
    listeners: Vec<Listener>,
    /// Whose connections are accepted first in this turn: moves on with every turn.
    first_listener: usize,
    sockets: Sockets,
    spin: Spin,
    /// Connections with bytes to read, first come first served.
    readable: VecDeque<ConnId>,
    /// The shard's one read buffer.
    buf: Vec<u8>,
    clock: Clock,
    /// This thread's share of the rate at which connections are accepted.
    accepts: Option<Rate>,
    accepted: Bucket,
    now_ms: u64,
    /// When the last turn ended, in microseconds of the clock.
    ended_us: u64,
    shared: Arc<Shared>,
    /// The number of the settings that the shard has.
    reloads_seen: u64,
    log: Log,
    /// What strangers make it say.
    paced: Paced,
    /// What a successor is told of the home.
    bequeathing: Bequeathing,
    /// When a stop that was begun ends whatever is left.
    stop_at_ms: Option<u64>,
}

impl EventLoop {
    pub(super) fn new(
        poll: Poll,
        shard: Shard,
        mut listeners: Vec<Listener>,
        clock: Clock,
        accepts: Option<Rate>,
        shared: Arc<Shared>,
        log: Log,
    ) -> Result<Self, ServeError> {
        for (number, listener) in listeners.iter_mut().enumerate() {
            poll.registry()
                .register(&mut listener.socket, Token(FIRST_LISTENER - number), Interest::READABLE)
                .map_err(|error| ServeError::Machine("watch a listener", error))?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(limits::EVENTS_PER_TURN),
            shard,
            listeners,
            first_listener: 0,
            sockets: Sockets::default(),
            spin: Spin::new(Duration::ZERO),
            readable: VecDeque::new(),
            buf: vec![0; limits::READ_BYTES_PER_TURN],
            clock,
            accepts,
            accepted: Bucket::default(),
            now_ms: 0,
            ended_us: 0,
            shared,
            reloads_seen: 0,
            paced: Paced::new(log.clone()),
            log,
            bequeathing: Bequeathing::default(),
            stop_at_ms: None,
        })
    }

    /// Looks for as long before it sleeps, where that pays.
    pub(super) fn spin_for(self, most: Duration) -> Self {
        Self { spin: Spin::new(most), ..self }
    }

    /// Turns until the stop is complete.
    pub(super) fn run(mut self) -> Result<Counters, ServeError> {
        loop {
            self.wait()?;
            let began_us = self.clock.now_us();
            self.now_ms = began_us / 1000;
            self.shard.begin_turn(self.now_ms);
            if let Some(settings) = self.shared.latest.newer(&mut self.reloads_seen) {
                self.shard.handle_reload(&settings);
            }
            self.take_events();
            self.begin_stop();
            self.accept();
            self.read();
            if self.shard.wants_process() {
                self.shard.handle_process(sys::process(self.shared.began_unix_s));
            }
            self.shard.end_turn(&mut self.sockets);
            self.tell();
            self.act();
            self.note_turn(began_us);
            if self.stop_at_ms.is_some_and(|at| self.shard.is_stopped() || self.now_ms >= at) {
                let mut counters = self.shard.counters().clone();
                counters.accept_pauses = self.shard.machine().accept_pauses;
                return Ok(counters);
            }
        }
    }

    /// What is counted once a turn.
    fn note_turn(&mut self, began_us: u64) {
        self.ended_us = self.clock.now_us();
        let (delivered, owes) = (self.shard.counters().delivered, self.shard.owes());
        let machine = self.shard.machine();
        machine.traffic = self.sockets.traffic;
        machine.note_turn(began_us, self.ended_us, delivered, owes);
        self.shared.turns[self.shard.id().index()].note();
    }

    fn wait(&mut self) -> Result<(), ServeError> {
        let timeout = self.timeout();
        let looks = self.spin.before_sleep(timeout);
        if !looks.is_zero() && timeout != Some(Duration::ZERO) && self.look(looks)? {
            return Ok(());
        }
        let sleeps = timeout != Some(Duration::ZERO) && self.shard.lie_down();
        let timeout = if sleeps { timeout } else { Some(Duration::ZERO) };
        let began = (sleeps && self.spin.is_on()).then(|| self.clock.now());
        let polled = self.poll_for(timeout);
        if let Some(began) = began {
            self.spin.slept(self.clock.now().saturating_sub(began));
        }
        self.shard.rise();
        polled
    }

    /// Looks at sockets and mail again and again, for so long at most. Whether something came.
    fn look(&mut self, looks: Duration) -> Result<bool, ServeError> {
        let until = self.clock.now() + looks;
        loop {
            self.poll_for(Some(Duration::ZERO))?;
            if !self.events.is_empty() || self.shard.has_mail() {
                return Ok(true);
            }
            if self.clock.now() >= until {
                self.spin.looked_in_vain();
                return Ok(false);
            }
        }
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> Result<(), ServeError> {
        self.shard.machine().polls += 1;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                Err(ServeError::Machine("wait for events", error))
            }
            _ => Ok(()),
        }
    }

    /// How long nothing is to be done: zero if there is work now, none if only an event can bring some.
    fn timeout(&self) -> Option<Duration> {
        let reads = !self.readable.is_empty() && self.shard.reads_any();
        if reads || self.shard.has_work() || self.listeners.iter().any(|it| it.ready && it.paused_until_ms == 0) {
            return Some(Duration::ZERO);
        }
        let paused = self.listeners.iter().map(|it| it.paused_until_ms).filter(|&until| until > 0);
        let own = self.stop_at_ms.into_iter().chain(self.paced.next_ms());
        let next = paused.chain(self.shard.deadline_ms()).chain(own).min()?;
        Some(Duration::from_millis(next.saturating_sub(self.ended_us / 1000)))
    }

    fn take_events(&mut self) {
        for event in &self.events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if let Some(listener) = self.listeners.get_mut(FIRST_LISTENER - token.0) {
                listener.ready = true;
                continue;
            }
            let id = ConnId::from_bits(token.0 as u64);
            if event.is_writable() {
                self.sockets.handle_writable(id);
                self.shard.handle_writable(id);
            }
            let ended = event.is_read_closed() || event.is_error();
            if (event.is_readable() || ended) && self.sockets.note_readable(id, ended) {
                self.readable.push_back(id);
            }
        }
    }

    fn accept(&mut self) {
        let mut budget = limits::ACCEPTS_PER_TURN;
        // Or a flood at one address would leave nothing of the budget to the others.
        self.first_listener = self.first_listener.wrapping_add(1);
        let (first, all) = (self.first_listener, self.listeners.len());
        for number in (0..all).map(|step| first.wrapping_add(step) % all) {
            let listener = &mut self.listeners[number];
            if listener.paused_until_ms > self.now_ms {
                continue;
            }
            listener.paused_until_ms = 0;
            while self.listeners[number].ready && budget > 0 {
                budget -= 1;
                self.shard.machine().accepts += 1;
                match self.listeners[number].accept() {
                    Accepted::Connection(stream, peer) => self.welcome(stream, peer, number),
                    Accepted::Lost => {}
                    Accepted::Nobody => self.listeners[number].ready = false,
                    Accepted::Exhausted => {
                        if self.shard.machine().accept_pauses == 0 {
                            let sentence = "accepting pauses: the limit of open files is reached (ulimit -n)";
                            self.log.say(LogLevel::Warn, sentence, &[]);
                        }
                        self.shard.machine().accept_pauses += 1;
                        self.listeners[number].paused_until_ms = self.now_ms + limits::ACCEPT_PAUSE_MS;
                        break;
                    }
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, peer: SocketAddr, listener: usize) {
        let tls = self.listeners[listener].tls;
        if self.accepts.is_some_and(|rate| self.accepted.take(rate, self.now_ms * 1000) != Pace::Ok) {
            let limit = "more connections come than limits.accepts_per_second_max";
            return self.turn_away((stream, peer, tls), Refused::AcceptsRate, limit, "1");
        }
        let before = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        if before >= self.shared.connections_max {
            self.shared.connections.fetch_sub(1, Ordering::Relaxed);
            let limit = "there are as many connections as limits.connections_max";
            return self.turn_away((stream, peer, tls), Refused::ConnectionsMax, limit, "5");
        }
        let session = self.shared.tls.as_ref().filter(|_| tls).and_then(Terms::session);
        let id = self.shard.handle_accept(tls);
        let complete = session.is_some() == tls;
        let peer = self.log.is_on(LogLevel::Debug).then_some(peer);
        if !complete || self.sockets.add(self.poll.registry(), id, stream, session, peer).is_err() {
            self.shard.handle_reset(id);
        }
    }

    fn turn_away(
        &mut self,
        (mut stream, peer, tls): (TcpStream, SocketAddr, bool),
        why: Refused,
        limit: &'static str,
        retry_s: &'static str,
    ) {
        // Never in the clear where TLS is spoken: nobody there could read it.
        if !tls {
            let problem = Problem::new(503, limit).with_header("Retry-After", retry_s);
            let mut answer = Vec::new();
            let date = Date::new(self.shard.now_unix_s());
            Response::problem(&mut answer, &problem, http::Terms::CLOSE, Some(&date));
            let _ = stream.write(&answer); // best effort: it is closed in any case
        }
        self.shard.machine().refused.note(why);
        if self.paced.wants(Kind::TurnedAway, self.now_ms) {
            let values = [("peer", Value::Text(&peer.to_string())), ("why", Value::Text(limit))];
            self.paced.say(Kind::TurnedAway, &values);
        }
    }

    fn read(&mut self) {
        let mut budget = limits::TURN_READ_BYTES_MAX;
        for _ in 0..self.readable.len() {
            if budget == 0 || !self.shard.reads_any() {
                return;
            }
            let Some(id) = self.readable.pop_front() else { return };
            self.sockets.note_unqueued(id);
            if !self.shard.reads(id) {
                continue; // gone, or it resumes later
            }
            let buf = &mut self.buf[..limits::READ_BYTES_PER_TURN];
            match self.sockets.read(id, self.shard.room(id), buf) {
                Got::Bytes { placed, len, more } => {
                    budget = budget.saturating_sub(placed + len);
                    if placed > 0 {
                        self.shard.handle_placed(id, placed);
                    }
                    if len > 0 {
                        self.shard.handle_bytes(id, &mut self.buf, len);
                    }
                    self.shard.flush_large(id, &mut self.sockets);
                    if more && self.sockets.note_readable(id, false) {
                        self.readable.push_back(id);
                    }
                }
                Got::Nothing => {}
                Got::End => self.shard.handle_end(id),
                Got::Failed => {
                    self.tell_fault(id);
                    self.shard.handle_reset(id);
                }
            }
        }
    }

    /// Tells the log of connections, before their sockets go.
    fn tell(&mut self) {
        while let Some(Note { conn, what }) = self.shard.poll_note() {
            let kind = match what {
                Noted::Closed(..) => Kind::Closed,
                Noted::Refused(..) => Kind::Refused,
                Noted::TokenRefused(_) => Kind::TokenRefused,
            };
            if !self.paced.wants(kind, self.now_ms) {
                continue;
            }
            let peer = self.sockets.peer(conn).map_or_else(String::new, |peer| peer.to_string());
            let peer = ("peer", Value::Text(&peer));
            match &what {
                Noted::Closed(reason, user) => {
                    let user = user.as_deref().unwrap_or_default();
                    let why = ("why", Value::Text(reason.words()));
                    self.paced.say(kind, &[peer, why, ("user", Value::Text(user))]);
                }
                Noted::Refused(status, reason) => {
                    let status = ("status", Value::Number((*status).into()));
                    self.paced.say(kind, &[peer, status, ("why", Value::Text(reason))]);
                }
                Noted::TokenRefused(word) => self.paced.say(kind, &[peer, ("why", Value::Text(word))]),
            }
        }
        self.paced.leave_out(Kind::Closed, self.shard.take_notes_left_out());
        self.paced.tell_all(self.now_ms);
    }

    fn tell_fault(&mut self, id: ConnId) {
        let Some(fault) = self.sockets.take_fault(id) else { return };
        self.shard.machine().refused.note(Refused::Tls);
        if self.paced.wants(Kind::TlsFailed, self.now_ms) {
            let peer = self.sockets.peer(id).map_or_else(String::new, |peer| peer.to_string());
            let values = [("peer", Value::Text(&peer)), ("why", Value::Text(&fault.to_string()))];
            self.paced.say(Kind::TlsFailed, &values);
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.shard.poll_action() {
            match action {
                Action::Shutdown(id) => self.sockets.shutdown(id),
                Action::Drop(id) => {
                    self.sockets.remove(id);
                    self.shared.connections.fetch_sub(1, Ordering::Relaxed);
                }
                Action::Resume(id) => {
                    if self.sockets.note_resumed(id) {
                        self.readable.push_back(id);
                    }
                }
            }
        }
        self.sockets.shrink_to(self.shard.slots());
    }

    fn begin_stop(&mut self) {
        let stop = self.shared.stop.load(Ordering::SeqCst);
        if self.stop_at_ms.is_some() || stop == RUNNING {
            return;
        }
        self.end_listening(stop == LEAVING);
        match stop {
            LEAVING => return,
            FREEZING => {
                let to = &self.shared.estate[self.shard.id().index()];
                return self.bequeathing.go_on(&mut self.shard, to);
            }
            _ => {}
        }
        let drain_ms = if stop == DRAINING { self.shared.drain_ms } else { 0 };
        self.stop_at_ms = Some(self.now_ms + drain_ms + limits::STOP_MS_MAX);
        match stop {
            DRAINING => self.shard.handle_drain(),
            _ => self.shard.handle_stop(),
        }
    }

    /// Lets go of the listeners; of each of them `all` who wait are accepted first.
    fn end_listening(&mut self, all: bool) {
        if self.listeners.is_empty() {
            return;
        }
        let last = if all { self.listeners.len() } else { 0 };
        for number in 0..last {
            loop {
                self.shard.machine().accepts += 1;
                match self.listeners[number].accept() {
                    Accepted::Connection(stream, peer) => self.welcome(stream, peer, number),
                    Accepted::Lost => {}
                    Accepted::Nobody | Accepted::Exhausted => break,
                }
            }
        }
        for mut listener in self.listeners.drain(..) {
            // The socket lives on as long as anybody has it, and must not be heard of here any more.
            let _ = self.poll.registry().deregister(&mut listener.socket);
        }
        self.shared.listening.fetch_sub(1, Ordering::SeqCst);
    }
}
