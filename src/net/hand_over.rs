//! Handing the port over, and what the homes remember, to a broker that takes the place of this one.
//!
//! [`super::serve`] calls it before a stop. A listener that is closed resets who waits in its queue, and the kernel goes on
//! filling that queue until the end. So first the successor listens and the kernel is told to pick its listener
//! (`sys::steer`), then the shards empty their queues and let go, then the sockets are closed one after the other, each close
//! steered so that no place among the listeners that it moves matters. Then the homes freeze and the successor is told what
//! they remember; it accepts nobody before that. Where there is no successor, or no Linux, nothing of this is done.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

use super::log::Value;
use super::successor::{Names, Successor};
use super::{Broker, FREEZING, LEAVING, sys};
use crate::config::LogLevel;
use crate::home::estate;
use crate::limits;
use crate::shard::Shard;

/// One address, and all sockets of this process that listen on it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// The very sockets of the shards: each is closed when both have let go of it.
    pub(super) sockets: Vec<TcpListener>,
}

impl Door {
    /// From here on the kernel takes connections in.
    pub(super) fn open(&self) -> io::Result<()> {
        self.sockets.iter().try_for_each(|socket| socket2::SockRef::from(socket).listen(limits::LISTEN_BACKLOG))
    }

    /// How many sockets of a successor listen there, too.
    fn successors(&self) -> usize {
        sys::listeners(self.address).map_or(0, |all| all.saturating_sub(self.sockets.len()))
    }

    /// From here on connections go to the successor. The oldest stand first among all sockets of the address.
    fn steer(&self) {
        if let Some(socket) = self.sockets.first() {
            sys::steer(socket, self.sockets.len());
        }
    }

    /// Closes the sockets; nobody accepts from them any more.
    ///
    /// The kernel fills the place of a closed socket with the last one of all. Places behind our own, but for the last, stay
    /// the successor's through each close if it has as many sockets as we; and with the last of ours goes the last place,
    /// so that what steered there means nothing any more and the successor's sockets share everything.
    fn close(mut self) {
        let (own, successors) = (self.sockets.len(), self.successors());
        while let Some(socket) = self.sockets.pop() {
            let place = if self.sockets.is_empty() { successors } else { own };
            sys::steer(&socket, place);
        }
    }
}

impl Broker {
    /// Leaves the port to a successor, and what is remembered; whether there is one. Then no connection comes any more, and
    /// those who came last have had the time to ask for something.
    pub(super) fn hand_over(&self, names: Names) -> bool {
        let doors = self.take_doors();
        let mut successor = names.successor();
        if let Some(Err(error)) = successor.as_mut().map(Successor::ask_to_listen) {
            self.tell_lost(&error);
            successor = None;
        }
        if successor.is_none() && !doors.iter().any(|door| door.successors() > 0) {
            return false;
        }
        doors.iter().for_each(Door::steer);
        pause(limits::HANDSHAKES_END_MS);
        self.shared.stop.store(LEAVING, Ordering::SeqCst);
        self.bells.iter().for_each(|bell| bell.wake());
        for _ in 0..limits::HANDSHAKES_END_MS {
            if self.shared.listening.load(Ordering::SeqCst) == 0 {
                break;
            }
            pause(1);
        }
        doors.into_iter().for_each(Door::close);
        pause(limits::LAST_REQUESTS_MS);
        if let Some(successor) = successor.filter(Successor::inherits)
            && let Err(error) = self.bequeath(successor)
        {
            self.tell_lost(&error);
        }
        true
    }

    /// Freezes all homes and tells the successor what they remember, one home after the other.
    fn bequeath(&self, mut successor: Successor) -> io::Result<()> {
        self.shared.stop.store(FREEZING, Ordering::SeqCst);
        self.bells.iter().for_each(|bell| bell.wake());
        let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        for (of_shard, bell) in pieces.iter().zip(&self.bells) {
            let patience = Duration::from_millis(limits::ESTATE_SILENCE_MS);
            while let Some(piece) = of_shard.recv_timeout(patience).map_err(io::Error::other)? {
                bell.wake(); // there is room for another one
                successor.tell(&piece)?;
            }
        }
        let mut end = Vec::new();
        estate::write_end(&mut end, pieces.len() as u64);
        successor.tell(&end)
    }

    fn tell_lost(&self, error: &io::Error) {
        let values = [("why", Value::Text(&error.to_string()))];
        self.log.say(LogLevel::Warn, "the successor does not inherit everything", &values);
    }
}

/// A part of what a home remembers; nothing behind the last.
pub(super) type Piece = Option<Vec<u8>>;

/// One shard's end of the way on which its home's estate goes to the thread that sends it.
#[derive(Debug, Default)]
pub(super) struct Bequeathing {
    frozen: bool,
    /// It did not find room.
    waits: Option<Piece>,
    ended: bool,
}

impl Bequeathing {
    /// Hands on what there is room for. The receiver rings when there is room again.
    pub(super) fn go_on(&mut self, shard: &mut Shard, to: &SyncSender<Piece>) {
        if !std::mem::replace(&mut self.frozen, true) {
            shard.handle_freeze();
        }
        while !self.ended {
            let piece = self.waits.take().unwrap_or_else(|| {
                let mut piece = Vec::new();
                shard.bequeath(&mut piece);
                Some(piece).filter(|piece| !piece.is_empty())
            });
            let last = piece.is_none();
            match to.try_send(piece) {
                Ok(()) => self.ended = last,
                Err(TrySendError::Full(piece)) => {
                    self.waits = Some(piece);
                    return;
                }
                Err(TrySendError::Disconnected(_)) => self.ended = true,
            }
        }
    }
}

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
