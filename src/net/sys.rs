//! What only some kernels have, each with what happens where it is missing.
//!
//! Linux hands the listener's socket options on to accepted sockets, so they cost no system call per connection; elsewhere
//! they are set on each.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::Socket;

use crate::limits;

/// Sets what is to hold for every connection of this listener. `patience` is how long one may leave data unacknowledged:
/// who only listens, to a stream of events, answers no ping.
pub(super) fn prepare_listener(socket: &Socket, patience: Duration) -> io::Result<()> {
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    if INHERITS {
        socket.set_tcp_nodelay(true)?;
        limit_unsent(socket)?;
        limit_silence(socket, patience)?;
    }
    Ok(())
}

/// Sets on an accepted socket what it did not get from its listener.
pub(super) fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    if INHERITS {
        return Ok(());
    }
    stream.set_nodelay(true)?;
    limit_unsent(&socket2::SockRef::from(stream))
}

const INHERITS: bool = cfg!(target_os = "linux");

/// Without it the kernel takes megabytes for a peer that does not read; with it the broker sees the stall early and
/// `outbound_bytes_max` means what it says. It limits unsent bytes only, so the window still grows with the path.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_unsent(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES_MAX)
}

/// The nearest that every kernel has: a fixed send buffer.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_unsent(socket: &Socket) -> io::Result<()> {
    socket.set_send_buffer_size(4 * limits::UNSENT_BYTES_MAX as usize)
}

/// Without it the kernel sends again for a quarter of an hour to a peer that is gone.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn limit_silence(socket: &Socket, patience: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(patience))
}

/// Other kernels have their own idea of it.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn limit_silence(_: &Socket, _: Duration) -> io::Result<()> {
    Ok(())
}

/// Raises the limit of open files to the hard limit. Where it cannot, `accept` meets the lower one and pauses.
pub(super) fn raise_file_limit() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}
