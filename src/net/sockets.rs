//! The sockets of one shard, by the slot of their connection, and how a flush writes to them.
//!
//! A socket is registered once, edge-triggered, for both directions, and never again: the kernel says when a full socket
//! takes bytes again, and when new bytes came after it had none. A connection with TLS has a session beside its socket,
//! through which all its bytes go; who reads and writes here sees plaintext in any case.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tls::{Scratch, Session};
use crate::chunks::Column;
use crate::ids::ConnId;
use crate::shard::{Sent, Wire};
use crate::telemetry::Traffic;

/// One connection's socket.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    generation: u32,
    /// Stands in the loop's queue of readable ones.
    queued: bool,
    /// The kernel said that there is something to read, and no read has found the end of it.
    unread: bool,
    /// The peer ended its stream: it is to be read to the end, whatever a short read seems to say.
    ended: bool,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes in the room, then so many in the buffer, with TLS perhaps none at all; and whether more may wait.
    Bytes { placed: usize, len: usize, more: bool },
    /// Nothing now.
    Nothing,
    /// The end of the stream.
    End,
    /// The socket failed.
    Failed,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Column<Option<Socket>>,
    /// The sessions of those with TLS, by the same slots; as long as the last of them needs it, so nothing without TLS.
    sessions: Column<Option<Box<Session>>>,
    scratch: Scratch,
    /// Where those connections came from that the log may tell of when they end: their sockets may not know then.
    peers: Column<Option<SocketAddr>>,
    /// What was read and written so far.
    pub(super) traffic: Traffic,
}

/// A socket whose system calls are counted.
struct Metered<'s> {
    stream: &'s mut TcpStream,
    traffic: &'s mut Traffic,
}

impl Read for Metered<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.traffic.reads += 1;
        self.stream.read(buf).inspect(|&read| self.traffic.bytes_in += read as u64)
    }

    fn read_vectored(&mut self, pieces: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.traffic.reads += 1;
        self.stream.read_vectored(pieces).inspect(|&read| self.traffic.bytes_in += read as u64)
    }
}

impl Write for Metered<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.traffic.writes += 1;
        self.stream.write(bytes).inspect(|&written| self.traffic.bytes_out += written as u64)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.traffic.writes += 1;
        self.stream.write_vectored(pieces).inspect(|&written| self.traffic.bytes_out += written as u64)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a socket keeps nothing back
    }
}

/// A socket, its session with what that works in, if it has one, and where its system calls are counted.
type Open<'s> = (&'s mut Socket, Option<(&'s mut Session, &'s mut Scratch)>, &'s mut Traffic);

impl Sockets {
    /// Takes a socket in, with its session if it has TLS and its peer if the log wants it, and registers it. On an error the
    /// socket is closed.
    pub(super) fn add(
        &mut self,
        registry: &Registry,
        id: ConnId,
        mut stream: TcpStream,
        session: Option<Box<Session>>,
        peer: Option<SocketAddr>,
    ) -> io::Result<()> {
        registry.register(&mut stream, token(id), Interest::READABLE | Interest::WRITABLE)?;
        let index = id.index as usize;
        self.slots.reach(index);
        self.slots[index] =
            Some(Socket { stream, generation: id.generation, queued: false, unread: false, ended: false });
        if session.is_some() {
            self.sessions.reach(index);
        }
        if let Some(slot) = self.sessions.find_mut(index) {
            *slot = session;
        }
        if peer.is_some() {
            self.peers.reach(index);
        }
        if let Some(slot) = self.peers.find_mut(index) {
            *slot = peer;
        }
        Ok(())
    }

    /// Closes and forgets it. The kernel takes a closed socket off the event queue by itself.
    /// Does nothing if it never came in, or if the slot has its next tenant already.
    pub(super) fn remove(&mut self, id: ConnId) {
        let Some((socket, session, traffic)) = self.with_session(id) else { return };
        if let Some((session, _)) = session {
            session.say_goodbye(&mut Metered { stream: &mut socket.stream, traffic });
            self.sessions[id.index as usize] = None;
        }
        self.slots[id.index as usize] = None;
    }

    /// The shard has no connection from this slot on.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.slots.shrink_to(slots);
        self.sessions.shrink_to(slots);
        self.peers.shrink_to(slots);
    }

    /// Ends our side of the stream.
    pub(super) fn shutdown(&mut self, id: ConnId) {
        let Some((socket, session, traffic)) = self.with_session(id) else { return };
        let stream = &mut Metered { stream: &mut socket.stream, traffic };
        if session.is_none_or(|(session, _)| session.shutdown(stream)) {
            let _ = socket.stream.shutdown(Shutdown::Write); // it fails if the peer is gone, which a read will tell
        }
    }

    /// Where the connection came from, if that was noted or its socket still knows.
    pub(super) fn peer(&mut self, id: ConnId) -> Option<SocketAddr> {
        let socket = self.at(id)?.stream.peer_addr().ok();
        socket.or_else(|| *self.peers.get(id.index as usize)?)
    }

    /// What its peer did wrong in TLS, once.
    pub(super) fn take_fault(&mut self, id: ConnId) -> Option<Box<rustls::Error>> {
        self.with_session(id)?.1?.0.take_fault()
    }

    /// The socket takes bytes again: what the shard knows nothing of goes first.
    pub(super) fn handle_writable(&mut self, id: ConnId) {
        if let Some((socket, Some((session, _)), traffic)) = self.with_session(id)
            && session.handle_writable(&mut Metered { stream: &mut socket.stream, traffic })
        {
            let _ = socket.stream.shutdown(Shutdown::Write); // as above
        }
    }

    /// Notes that it is readable; true if it is to be queued.
    pub(super) fn note_readable(&mut self, id: ConnId, ended: bool) -> bool {
        self.at(id).is_some_and(|socket| {
            socket.ended |= ended;
            socket.unread = true;
            !std::mem::replace(&mut socket.queued, true)
        })
    }

    /// It may be read again; true if there is anything to read, so that it is to be queued.
    pub(super) fn note_resumed(&mut self, id: ConnId) -> bool {
        self.at(id).is_some_and(|socket| socket.unread && !std::mem::replace(&mut socket.queued, true))
    }

    /// Notes that it was taken from the queue.
    pub(super) fn note_unqueued(&mut self, id: ConnId) {
        if let Some(socket) = self.at(id) {
            socket.queued = false;
        }
    }

    /// Reads once, first into `room`, then into `buf`; with TLS into `buf` alone. A read that is shorter than both proves that
    /// nothing more was there: the kernel will say when there is.
    pub(super) fn read(&mut self, id: ConnId, room: &mut [u8], buf: &mut [u8]) -> Got {
        let got = self.read_once(id, room, buf);
        if let Some(socket) = self.at(id) {
            socket.unread = matches!(got, Got::Bytes { more: true, .. });
        }
        got
    }

    fn read_once(&mut self, id: ConnId, room: &mut [u8], buf: &mut [u8]) -> Got {
        let Some((socket, session, traffic)) = self.with_session(id) else { return Got::Nothing };
        let mut stream = Metered { stream: &mut socket.stream, traffic };
        if let Some((session, scratch)) = session {
            let began = session.is_handshaking();
            let got = session.read(&mut stream, scratch, buf, socket.ended);
            traffic.tls_handshakes += u64::from(began && !session.is_handshaking());
            return got;
        }
        let all = room.len() + buf.len();
        loop {
            let read = if room.is_empty() {
                stream.read(buf)
            } else {
                stream.read_vectored(&mut [IoSliceMut::new(room), IoSliceMut::new(buf)])
            };
            return match read {
                Ok(0) => Got::End,
                Ok(len) => {
                    let placed = len.min(room.len());
                    Got::Bytes { placed, len: len - placed, more: len == all || socket.ended }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
                Err(_) => Got::Failed,
            };
        }
    }

    fn at(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.slots.find_mut(id.index as usize)?.as_mut().filter(|socket| socket.generation == id.generation)
    }

    /// All there is of it.
    fn with_session(&mut self, id: ConnId) -> Option<Open<'_>> {
        let index = id.index as usize;
        let socket = self.slots.find_mut(index)?.as_mut().filter(|socket| socket.generation == id.generation)?;
        let session = self.sessions.find_mut(index).and_then(Option::as_deref_mut);
        Some((socket, session.map(|session| (session, &mut self.scratch)), &mut self.traffic))
    }

    /// Writes once, by `write` where no session stands between.
    fn write(
        &mut self,
        conn: u32,
        pieces: &[IoSlice<'_>],
        write: impl Fn(&mut TcpStream) -> io::Result<usize>,
    ) -> Sent {
        let Some(Some(socket)) = self.slots.find_mut(conn as usize) else { return Sent::Gone };
        if let Some(Some(session)) = self.sessions.find_mut(conn as usize) {
            let mut stream = Metered { stream: &mut socket.stream, traffic: &mut self.traffic };
            return session.send(&mut stream, &mut self.scratch, pieces);
        }
        loop {
            self.traffic.writes += 1;
            return match write(&mut socket.stream) {
                Ok(sent) => {
                    self.traffic.bytes_out += sent as u64;
                    Sent::Bytes(sent)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Bytes(0),
                Err(_) => Sent::Gone,
            };
        }
    }
}

impl Wire for Sockets {
    fn send(&mut self, conn: u32, bytes: &[u8]) -> Sent {
        self.write(conn, &[IoSlice::new(bytes)], |stream| stream.write(bytes))
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        self.write(conn, pieces, |stream| stream.write_vectored(pieces))
    }
}

/// The token of a connection's events: slot and generation, so that a stale event misses.
pub(super) fn token(id: ConnId) -> Token {
    Token(usize::try_from(id.to_bits()).expect("usize has 64 bits: asserted below"))
}

const _: () = assert!(usize::BITS >= 64, "slot and generation of a connection fill 64 bits of an event token");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_whose_socket_could_not_be_registered_is_dropped_without_harm() {
        let mut sockets = Sockets::default();
        let id = ConnId { index: 3, generation: 0 };
        sockets.remove(id);
        sockets.shutdown(id);
        assert!(!sockets.note_readable(id, true));
        assert_eq!(sockets.read(id, &mut [], &mut [0; 8]), Got::Nothing);
        assert_eq!(sockets.send(3, b"x"), Sent::Gone);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is net, which opens sockets")]
    fn who_may_be_read_again_is_read_only_if_something_may_be_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut peer = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut sockets = Sockets::default();
        let id = ConnId { index: 0, generation: 0 };
        sockets.add(poll.registry(), id, TcpStream::from_std(stream), None, None).unwrap();
        assert!(!sockets.note_resumed(id), "the kernel said nothing yet");
        assert!(sockets.note_readable(id, false));
        sockets.note_unqueued(id); // it is paused
        assert!(sockets.note_resumed(id));
        assert!(!sockets.note_resumed(id), "it is queued already");
        sockets.note_unqueued(id);
        peer.write_all(b"four").unwrap();
        let read = |more| Got::Bytes { placed: 0, len: 2, more };
        assert_eq!(sockets.read(id, &mut [], &mut [0; 2]), read(true));
        assert!(sockets.note_resumed(id), "the buffer was full");
        sockets.note_unqueued(id);
        assert_eq!(sockets.read(id, &mut [], &mut [0; 8]), read(false));
        assert!(!sockets.note_resumed(id));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is net, which opens sockets")]
    fn dropping_a_former_tenant_leaves_the_next_one_its_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let poll = mio::Poll::new().unwrap();
        let mut sockets = Sockets::default();
        let id = ConnId { index: 0, generation: 1 };
        sockets.add(poll.registry(), id, TcpStream::from_std(stream), None, None).unwrap();
        sockets.remove(ConnId { index: 0, generation: 0 });
        assert_eq!(sockets.send(0, b"x"), Sent::Bytes(1));
        sockets.remove(id);
        assert_eq!(sockets.send(0, b"x"), Sent::Gone);
    }
}
