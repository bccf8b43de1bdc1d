//! The simulated sockets of one shard: two bounded byte pipes each, and the events an edge-triggered kernel would give.
//!
//! The driver reads and writes them as `net` does the real ones; the world carries bytes between them and the clients.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;

use wirefan::ids::ConnId;
use wirefan::shard::{Sent, Wire};

use crate::event::Event;

/// One connection's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: ConnId,
    pub(crate) client: u32,
    /// Came from the client and was not read.
    pub(crate) inbound: VecDeque<u8>,
    /// Bytes that the shard has read.
    pub(crate) read: u64,
    /// The client ended its stream.
    pub(crate) fin: bool,
    /// The client reset it.
    pub(crate) reset: bool,
    /// The shard wrote it and the client did not take it yet.
    pub(crate) outbound: VecDeque<u8>,
    /// A write was refused in part: room is an event.
    pub(crate) full: bool,
    /// The shard ended its side.
    pub(crate) shut: bool,
    queued: bool,
    ended: bool,
}

/// What the kernel tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) id: ConnId,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) ended: bool,
}

/// What a read brought; as in `net`.
#[derive(Debug)]
pub(crate) enum Got {
    Bytes { len: usize, more: bool },
    Nothing,
    End,
    Failed,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Sockets {
    slots: BTreeMap<u32, Socket>,
    pub(crate) ready: VecDeque<Ready>,
    /// Bytes that a socket takes while its client does not read.
    kernel_bytes: usize,
    /// Of everything that was taken, in order.
    pub(crate) hash: u64,
    pub(crate) events: Vec<Event>,
}

impl Sockets {
    pub(crate) fn new(kernel_bytes: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            ready: VecDeque::new(),
            kernel_bytes,
            hash: 0xcbf2_9ce4_8422_2325,
            events: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, id: ConnId, client: u32) {
        let socket = Socket {
            id,
            client,
            inbound: VecDeque::new(),
            read: 0,
            fin: false,
            reset: false,
            outbound: VecDeque::new(),
            full: false,
            shut: false,
            queued: false,
            ended: false,
        };
        let before = self.slots.insert(id.index, socket);
        assert!(before.is_none(), "a slot was given to a new connection while its socket was open");
        self.ready.push_back(Ready { id, readable: false, writable: true, ended: false });
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Socket {
        let socket = self.slots.remove(&id.index).expect("a connection is dropped once");
        assert_eq!(socket.id, id, "a stale connection was dropped");
        socket
    }

    pub(crate) fn at(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.slots.get_mut(&id.index).filter(|socket| socket.id == id)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Socket> {
        self.slots.values()
    }

    /// Bytes arrive from the client.
    pub(crate) fn arrive(&mut self, id: ConnId, bytes: impl Iterator<Item = u8>) {
        if let Some(socket) = self.at(id) {
            socket.inbound.extend(bytes);
            self.ready.push_back(Ready { id, readable: true, writable: false, ended: false });
        }
    }

    /// The end of the client's stream arrives, or its reset.
    pub(crate) fn arrive_end(&mut self, id: ConnId, reset: bool) {
        if let Some(socket) = self.at(id) {
            socket.fin |= !reset;
            socket.reset |= reset;
            self.ready.push_back(Ready { id, readable: true, writable: reset, ended: true });
        }
    }

    /// The client takes up to `len` bytes; whether the stream ends behind them.
    pub(crate) fn take(&mut self, id: ConnId, len: usize) -> (Vec<u8>, bool) {
        let Some(socket) = self.at(id) else { return (Vec::new(), false) };
        let len = len.min(socket.outbound.len());
        let bytes = socket.outbound.drain(..len).collect();
        let (over, room) = (socket.outbound.is_empty() && socket.shut, len > 0 && socket.full);
        if room {
            socket.full = false;
            self.ready.push_back(Ready { id, readable: false, writable: true, ended: false });
        }
        (bytes, over)
    }

    pub(crate) fn note_readable(&mut self, id: ConnId, ended: bool) -> bool {
        self.at(id).is_some_and(|socket| {
            socket.ended |= ended;
            !std::mem::replace(&mut socket.queued, true)
        })
    }

    pub(crate) fn note_unqueued(&mut self, id: ConnId) {
        if let Some(socket) = self.at(id) {
            socket.queued = false;
        }
    }

    pub(crate) fn read(&mut self, id: ConnId, buf: &mut [u8]) -> Got {
        let Some(socket) = self.at(id) else { return Got::Nothing };
        if socket.reset {
            return Got::Failed;
        }
        let len = buf.len().min(socket.inbound.len());
        if len == 0 {
            return if socket.fin { Got::End } else { Got::Nothing };
        }
        for (to, from) in buf.iter_mut().zip(socket.inbound.drain(..len)) {
            *to = from;
        }
        socket.read += len as u64;
        Got::Bytes { len, more: len == buf.len() || socket.ended }
    }

    fn write(&mut self, conn: u32, pieces: &[&[u8]]) -> Sent {
        let socket = self.slots.get_mut(&conn).expect("a flush writes to open sockets only");
        assert!(!socket.shut, "a flush wrote behind its own shutdown");
        if socket.reset {
            return Sent::Gone;
        }
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let taken = offered.min(self.kernel_bytes.saturating_sub(socket.outbound.len()));
        let before = socket.outbound.len();
        socket.outbound.extend(pieces.iter().flat_map(|piece| piece.iter()).take(taken));
        for &byte in socket.outbound.range(before..) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.hash = (self.hash ^ (u64::from(conn) << 32) ^ taken as u64).wrapping_mul(0x0100_0000_01b3);
        if taken < offered {
            socket.full = true;
            self.events.push(Event::Blocked { client: socket.client });
        }
        Sent::Bytes(taken)
    }
}

impl Wire for Sockets {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        self.write(conn, &[bytes])
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).collect();
        self.write(conn, &pieces)
    }
}
