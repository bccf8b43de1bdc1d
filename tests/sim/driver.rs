//! One shard under simulation: does what the event loop of `net` does, turn by turn, when the world lets it.
//!
//! It sleeps exactly where the real one sleeps, and then only a bell, a socket's event or a deadline makes it run again: a
//! wake-up that is lost here is lost there. It never looks into the shard beyond the calls that the event loop makes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use wirefan::ids::ConnId;
use wirefan::mesh::{Desk, Wake};
use wirefan::shard::{Action, Settings, Shard};

use crate::event::Event;
use crate::random::Random;
use crate::sockets::{Got, Sockets};

/// A flag for a wake-up. For the self-tests it can lose some.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    /// Loses every so manieth ring; 0 loses none.
    loses: AtomicU32,
    rings: AtomicU32,
}

impl Wake for Bell {
    fn wake(&self) {
        let rings = self.rings.fetch_add(1, Ordering::SeqCst) + 1;
        let loses = self.loses.load(Ordering::SeqCst);
        if loses == 0 || !rings.is_multiple_of(loses) {
            self.rung.store(true, Ordering::SeqCst);
        }
    }
}

impl Bell {
    pub(crate) fn lose(&self, every: u32) {
        self.loses.store(every, Ordering::SeqCst);
    }
}

/// What became of a socket that the shard dropped.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) client: u32,
    /// What the client did not take yet.
    pub(crate) rest: VecDeque<u8>,
    /// Our side was shut down before.
    pub(crate) clean: bool,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) shard: Shard,
    pub(crate) sockets: Sockets,
    pub(crate) bell: Arc<Bell>,
    /// Clients that nobody accepted yet.
    pub(crate) backlog: VecDeque<u32>,
    pub(crate) accepted: Vec<(u32, ConnId)>,
    pub(crate) dropped: Vec<Dropped>,
    readable: VecDeque<ConnId>,
    buf: Vec<u8>,
    read_bytes: usize,
    outbound_bytes_max: usize,
    asleep: bool,
    stop_asked: bool,
    stopping: bool,
    pub(crate) finished: bool,
    /// Turns that ended with a full ring.
    pub(crate) stalls: u64,
    /// Connections that were read again after a pause.
    pub(crate) resumes: u64,
    /// This home's share of `history_bytes_max`.
    history_bytes_max: usize,
    /// Publications forgotten before their time, as far as noted.
    evicted: u64,
}

impl Driver {
    pub(crate) fn new(
        settings: Settings,
        desk: Desk,
        bell: Arc<Bell>,
        kernel_bytes: usize,
        read_bytes: usize,
        now_ms: u64,
    ) -> Self {
        let outbound_bytes_max = settings.config.limits.outbound_bytes_max;
        let history_bytes_max = settings.config.limits.history_bytes_max / (desk.peers_len() + 1);
        Self {
            shard: Shard::new(settings, desk, now_ms),
            sockets: Sockets::new(kernel_bytes),
            bell,
            backlog: VecDeque::new(),
            accepted: Vec::new(),
            dropped: Vec::new(),
            readable: VecDeque::new(),
            buf: vec![0; read_bytes],
            read_bytes,
            outbound_bytes_max,
            asleep: false,
            stop_asked: false,
            stopping: false,
            finished: false,
            stalls: 0,
            resumes: 0,
            history_bytes_max,
            evicted: 0,
        }
    }

    /// Asks it to stop, as a signal does.
    pub(crate) fn ask_to_stop(&mut self) {
        self.stop_asked = true;
        self.bell.rung.store(true, Ordering::SeqCst);
    }

    /// Whether its thread would run now.
    pub(crate) fn runs(&self, now_ms: u64) -> bool {
        !self.finished
            && (!self.asleep
                || self.bell.rung.load(Ordering::SeqCst)
                || !self.sockets.ready.is_empty()
                || (!self.backlog.is_empty() && !self.stopping)
                || self.shard.deadline_ms().is_some_and(|deadline| deadline <= now_ms))
    }

    /// A shard that sleeps while there is something to do will sleep for ever.
    pub(crate) fn overslept(&self) -> bool {
        !self.finished && (!self.asleep || self.is_busy() || !self.shard.lie_down())
    }

    fn is_busy(&self) -> bool {
        (!self.readable.is_empty() && self.shard.reads_any()) || self.shard.has_work()
    }

    /// Lies down to sleep, or does one turn.
    pub(crate) fn step(&mut self, now_ms: u64, random: &mut Random) {
        if !self.asleep && !self.is_busy() && self.shard.lie_down() {
            self.asleep = true;
            return;
        }
        self.asleep = false;
        self.bell.rung.store(false, Ordering::SeqCst);
        self.shard.rise();
        self.shard.begin_turn(now_ms);
        self.take_events(random);
        self.begin_stop();
        self.accept(random);
        self.read();
        self.shard.end_turn(&mut self.sockets);
        self.act();
        self.look_at_pending();
        self.look_at_kept();
        self.stalls += u64::from(!self.stopping && !self.shard.reads_any());
        self.finished = self.stopping && self.shard.is_stopped();
    }

    fn take_events(&mut self, random: &mut Random) {
        let len = self.sockets.ready.len();
        let some = if random.chance(70) { len } else { random.below(len + 1) }; // the kernel hands out some at a time
        for _ in 0..some {
            let Some(ready) = self.sockets.ready.pop_front() else { return };
            if ready.writable {
                self.shard.handle_writable(ready.id);
                self.note(ready.id);
            }
            let readable = ready.readable || ready.ended;
            if readable && self.sockets.note_readable(ready.id, ready.ended) {
                self.readable.push_back(ready.id);
            }
        }
    }

    fn begin_stop(&mut self) {
        if self.stop_asked && !self.stopping {
            self.stopping = true;
            let reads: Vec<_> = self.sockets.all().map(|socket| (socket.client, socket.read)).collect();
            for (client, read) in reads {
                self.sockets.events.push(Event::Stopping { client, read });
            }
            self.shard.handle_stop();
        }
    }

    fn accept(&mut self, random: &mut Random) {
        let some = if self.stopping { 0 } else { random.between(0, self.backlog.len()) };
        for client in self.backlog.drain(..some) {
            let id = self.shard.handle_accept(false);
            self.sockets.add(id, client);
            self.accepted.push((client, id));
            self.sockets.events.push(Event::Heard { client });
        }
    }

    fn read(&mut self) {
        for _ in 0..self.readable.len() {
            if !self.shard.reads_any() {
                return;
            }
            let Some(id) = self.readable.pop_front() else { return };
            self.sockets.note_unqueued(id);
            if !self.shard.reads(id) {
                continue;
            }
            match self.sockets.read(id, &mut self.buf[..self.read_bytes]) {
                Got::Bytes { len, more } => {
                    self.note(id);
                    self.shard.handle_bytes(id, &mut self.buf, len);
                    self.shard.flush_large(id, &mut self.sockets);
                    if more && self.sockets.note_readable(id, false) {
                        self.readable.push_back(id);
                    }
                }
                Got::Nothing => {}
                Got::End => self.shard.handle_end(id),
                Got::Failed => self.shard.handle_reset(id),
            }
        }
    }

    fn note(&mut self, id: ConnId) {
        if let Some(socket) = self.sockets.at(id) {
            let client = socket.client;
            self.sockets.events.push(Event::Heard { client });
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.shard.poll_action() {
            match action {
                Action::Shutdown(id) => {
                    if let Some(socket) = self.sockets.at(id) {
                        socket.shut = true;
                    }
                }
                Action::Drop(id) => {
                    let socket = self.sockets.remove(id);
                    self.dropped.push(Dropped { client: socket.client, rest: socket.outbound, clean: socket.shut });
                }
                Action::Resume(id) => {
                    self.resumes += 1;
                    if self.sockets.note_readable(id, false) {
                        self.readable.push_back(id);
                    }
                }
            }
        }
    }

    fn look_at_pending(&mut self) {
        let waits = |socket: &crate::sockets::Socket| (socket.client, self.shard.pending(socket.id));
        let all: Vec<_> = self.sockets.all().map(waits).filter(|(_, bytes)| *bytes > self.outbound_bytes_max).collect();
        for (client, bytes) in all {
            self.sockets.events.push(Event::Pending { client, bytes });
        }
    }

    fn look_at_kept(&mut self) {
        let kept = self.shard.kept();
        let evicted = kept.evicted - self.evicted;
        if evicted > 0 || kept.bytes > self.history_bytes_max {
            self.evicted = kept.evicted;
            self.sockets.events.push(Event::Kept { evicted, bytes: kept.bytes });
        }
    }
}
