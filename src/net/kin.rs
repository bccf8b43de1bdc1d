//! The socket between two brokers of one user on one machine, of which one takes the place of the other.
//!
//! A broker that serves has a name for each address that it listens on, in the abstract namespace of Unix sockets: that one
//! belongs to a network namespace like the port does, needs no directory that both see, and leaves no file behind. Anybody on
//! the machine can knock there or have the name first, so both ends ask the kernel who the other is ([`is_kin`]), and nothing
//! is read from or written to a stranger. Elsewhere than on Linux there are no names, and nobody is found.

#[cfg(target_os = "linux")]
pub(super) use linux::{Listener, Stream, connect, is_kin, listen};
#[cfg(not(target_os = "linux"))]
pub(super) use nowhere::{Listener, Stream, connect, is_kin, listen};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::net::SocketAddr;
    use std::os::fd::OwnedFd;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{self, UnixListener, UnixStream};

    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    use socket2::{Domain, SockAddr, Socket, Type};

    pub(in super::super) type Listener = UnixListener;
    pub(in super::super) type Stream = UnixStream;

    fn name_of(address: SocketAddr) -> String {
        format!("wirefan/{address}")
    }

    /// Takes the name of the address. Nobody is waited for by it.
    pub(in super::super) fn listen(address: SocketAddr) -> io::Result<Listener> {
        let listener = UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name_of(address))?)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Reaches whoever has the name, and does not wait if its queue is full.
    pub(in super::super) fn connect(address: SocketAddr) -> io::Result<Stream> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(format!("\0{}", name_of(address)))?)?;
        socket.set_nonblocking(false)?;
        Ok(OwnedFd::from(socket).into())
    }

    /// Whether the other end belongs to this process's user or to root.
    pub(in super::super) fn is_kin(stream: &Stream) -> bool {
        let peer = getsockopt(stream, PeerCredentials).map(|peer| peer.uid());
        peer.is_ok_and(|uid| uid == 0 || uid == nix::unistd::geteuid().as_raw())
    }
}

#[cfg(not(target_os = "linux"))]
mod nowhere {
    use std::io;
    use std::net::{SocketAddr, TcpListener, TcpStream};

    pub(in super::super) type Listener = TcpListener;
    pub(in super::super) type Stream = TcpStream;

    pub(in super::super) fn listen(_: SocketAddr) -> io::Result<Listener> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn connect(_: SocketAddr) -> io::Result<Stream> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn is_kin(_: &Stream) -> bool {
        false
    }
}

/// What each end says first: who it is, and the version of the estates that it knows.
pub(super) const GREETING: [u8; 8] = *b"wirefan\0";

/// The greeting with this build's version.
pub(super) fn greeting() -> [u8; 8] {
    let mut greeting = GREETING;
    greeting[7] = crate::home::estate::VERSION;
    greeting
}

/// The version in a greeting, if it is one.
pub(super) fn version_of(greeting: &[u8]) -> Option<u8> {
    match greeting.strip_prefix(&GREETING[..7]) {
        Some(&[version]) => Some(version),
        _ => None,
    }
}

/// What a successor says when it listens.
pub(super) const LISTENING: [u8; 1] = *b"L";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_had_once_is_found_by_its_user_and_is_free_when_its_owner_ends() {
        let address = format!("127.1.2.3:{}", 1 + std::process::id() % 65_535).parse().unwrap();
        assert!(connect(address).is_err(), "nobody has it");
        let owner = listen(address).unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        let there = connect(address).unwrap();
        let (here, _) = owner.accept().unwrap();
        assert!(is_kin(&here) && is_kin(&there));
        drop(owner);
        assert!(connect(address).is_err() && listen(address).is_ok());
    }

    #[test]
    fn a_greeting_says_its_version_and_nothing_else_is_one() {
        assert_eq!(version_of(&greeting()), Some(crate::home::estate::VERSION));
        for wrong in [&b""[..], b"wirefan", b"wirefan\x01\x01", b"wirefax\x01", b"GET / HT"] {
            assert_eq!(version_of(wrong), None);
        }
    }
}
