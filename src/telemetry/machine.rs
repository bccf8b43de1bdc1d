//! What only the event loop sees: system calls, bytes, how long turns take, what the process holds.
//!
//! `net` counts here and hands it to its shard, which adds it to its figures. The clock is an argument, so the simulator,
//! which has no sockets, has no figures of this kind and stays what it is.

use super::{Histogram, Refusals};

/// What was read and written on the sockets of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// System calls that read.
    pub reads: u64,
    /// System calls that write.
    pub writes: u64,
    /// Bytes read, those of TLS included.
    pub bytes_in: u64,
    /// Bytes written, those of TLS included.
    pub bytes_out: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
}

/// What the event loop of one shard counted since it began.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// System calls that wait for events.
    pub polls: u64,
    /// System calls that accept, those that found nobody among them.
    pub accepts: u64,
    /// Times that accepting paused, because the machine was out of descriptors or memory.
    pub accept_pauses: u64,
    /// Whom the loop turned away before the shard knew of them.
    pub refused: Refusals,
    /// On the sockets.
    pub traffic: Traffic,
    /// How long turns took, from the end of the wait to the beginning of the next.
    pub turns: Histogram,
    /// How long fan-outs took: from the beginning of the turn in which publications met subscribers of this shard to the
    /// end of the one after which no socket was left to be offered them.
    pub fanouts: Histogram,
    /// The sum of `delivered` at the end of the last turn.
    delivered: u64,
    /// When the fan-out began that is not over.
    since_us: Option<u64>,
}

impl Machine {
    /// A turn is over. `delivered` is what the shard has delivered so far, `owes` whether a socket is left to be offered
    /// something.
    pub fn note_turn(&mut self, began_us: u64, ended_us: u64, delivered: u64, owes: bool) {
        self.turns.record(ended_us.saturating_sub(began_us));
        if delivered != self.delivered {
            self.delivered = delivered;
            self.since_us.get_or_insert(began_us);
        }
        if !owes && let Some(since_us) = self.since_us.take() {
            self.fanouts.record(ended_us.saturating_sub(since_us));
        }
    }
}

/// What the process holds. None where this kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Memory that is resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// CPU time of all threads so far, in microseconds.
    pub cpu_us: Option<u64>,
    /// Context switches because a thread waited, and because it was made to.
    pub switches: Option<(u64, u64)>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// How many there may be.
    pub descriptors_max: Option<u64>,
    /// When it began, in seconds since 1970.
    pub began_unix_s: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fan_out_lasts_until_no_socket_is_left_to_be_offered_it() {
        let mut machine = Machine::default();
        machine.note_turn(0, 10, 0, false);
        assert_eq!((machine.turns.count(), machine.fanouts.count()), (1, 0), "nothing was delivered");
        machine.note_turn(100, 110, 5, true);
        machine.note_turn(110, 130, 5, true);
        assert_eq!(machine.fanouts.count(), 0, "sockets are left");
        machine.note_turn(130, 150, 9, false);
        assert_eq!((machine.fanouts.count(), machine.fanouts.sum_us()), (1, 50), "from the first turn on");
        machine.note_turn(200, 207, 9, false);
        assert_eq!((machine.turns.count(), machine.turns.sum_us(), machine.fanouts.count()), (5, 67, 1));
    }
}
