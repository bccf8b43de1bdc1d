//! Listening: one socket per shard and address with `SO_REUSEPORT`, so that the kernel spreads connections over shards.
//!
//! When descriptors or memory run out, accepting pauses for `ACCEPT_PAUSE_MS` and is counted: the queue of the kernel
//! keeps those who wait, and the loop neither spins nor ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::hand_over::Door;
use super::{Bound, ServeError, sys};

/// One listening socket of one shard.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    /// Its connections speak TLS.
    pub(super) tls: bool,
    /// The kernel said that somebody waits, and it was not yet told that nobody does.
    pub(super) ready: bool,
    /// Until when it is left alone, in milliseconds of the loop's clock.
    pub(super) paused_until_ms: u64,
}

/// What came of one attempt to accept.
#[derive(Debug)]
pub(super) enum Accepted {
    Connection(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// The one who waited is gone again.
    Lost,
    /// The machine is out of something.
    Exhausted,
}

impl Listener {
    pub(super) fn accept(&mut self) -> Accepted {
        match self.socket.accept() {
            Ok((stream, peer)) if sys::prepare_accepted(&stream).is_ok() => Accepted::Connection(stream, peer),
            Ok(_) => Accepted::Lost,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Accepted::Nobody,
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset => {
                    Accepted::Lost
                }
                // EMFILE, ENFILE, ENOBUFS, ENOMEM, and what accept(2) passes on of the network: all pass with time.
                _ => Accepted::Exhausted,
            },
        }
    }
}

/// What was bound.
pub(super) struct Listening {
    /// The listeners of each shard.
    pub(super) of_shards: Vec<Vec<Listener>>,
    /// With their real ports.
    pub(super) addresses: Vec<Bound>,
    /// All sockets, by address.
    pub(super) doors: Vec<Door>,
}

/// Binds every address once per shard; `take_over`: beside whoever listens there. Nobody listens yet. `patience` is as for
/// [`sys::prepare_listener`].
pub(super) fn bind(
    addresses: &[Bound],
    shards: usize,
    take_over: bool,
    patience: Duration,
) -> Result<Listening, ServeError> {
    let mut of_shards: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
    let mut doors = Vec::with_capacity(addresses.len());
    let mut all = Vec::with_capacity(addresses.len());
    for &Bound { address, .. } in addresses.iter().filter(|_| !take_over) {
        probe(address).map_err(|error| ServeError::Listen(address, error))?;
    }
    for &Bound { mut address, tls } in addresses {
        let mut sockets = Vec::with_capacity(shards);
        for of_shard in &mut of_shards {
            let failed = |error| ServeError::Listen(address, error);
            let socket = bound(address, patience).map_err(failed)?;
            sockets.push(socket.try_clone().map_err(failed)?);
            address = socket.local_addr().map_err(failed)?; // the first one's port serves all
            let socket = TcpListener::from_std(socket);
            of_shard.push(Listener { socket, tls, ready: true, paused_until_ms: 0 });
        }
        doors.push(Door { address, sockets });
        all.push(Bound { address, tls });
    }
    Ok(Listening { of_shards, addresses: all, doors })
}

/// Fails if anybody listens there. `SO_REUSEPORT` alone would let a second broker in beside the first, and the kernel
/// would split clients and topics between the two without a word.
fn probe(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?; // [::] and 0.0.0.0 can then be listed side by side
    }
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn bound(address: SocketAddr, patience: Duration) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    sys::prepare_listener(&socket, patience)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    #[cfg(target_os = "linux")]
    #[expect(clippy::disallowed_methods, reason = "this is net, which opens sockets")]
    fn an_accepted_connection_has_the_options_of_its_listener() {
        let patience = Duration::from_secs(35);
        let address = Bound { address: "127.0.0.1:0".parse().unwrap(), tls: false };
        let mut listening = bind(&[address], 1, false, patience).unwrap();
        listening.doors[0].open().unwrap();
        let _client = std::net::TcpStream::connect(listening.addresses[0].address).unwrap();
        let Accepted::Connection(stream, _) = listening.of_shards[0][0].accept() else { panic!("somebody waits") };
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(patience));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), limits::UNSENT_BYTES_MAX);
        assert!(socket.tcp_nodelay().unwrap());
    }
}
