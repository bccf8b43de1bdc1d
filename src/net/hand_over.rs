//! Handing the port over: a successor listens beside this process, which leaves so that no connection is lost.
//!
//! [`super::serve`] calls it before a stop. A listener that is closed resets who waits in its queue, and the kernel goes on
//! filling that queue until the end. So first the kernel is told to pick a listener of the successor (`sys::steer`), then
//! the shards empty their queues and let go, then the sockets are closed one after the other, each close steered so that no
//! place among the listeners that it moves matters. Where there is no successor, or no Linux, nothing of this is done.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::{Broker, LEAVING, sys};
use crate::limits;

/// One address, and all sockets of this process that listen on it.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) address: SocketAddr,
    /// The very sockets of the shards: each is closed when both have let go of it.
    pub(super) sockets: Vec<TcpListener>,
}

impl Door {
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
    /// Leaves the port to a successor; whether there is one. Then no connection comes any more, and those who came last have had the
    /// time to ask for something.
    pub(super) fn hand_over(&self) -> bool {
        let doors = self.take_doors();
        if !doors.iter().any(|door| door.successors() > 0) {
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
        true
    }
}

fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}
