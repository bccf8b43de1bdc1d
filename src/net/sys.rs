//! What only some kernels have, each with what happens where it is missing.
//!
//! Linux hands the listener's socket options on to accepted sockets, so they cost no system call per connection; elsewhere
//! they are set on each.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::Socket;

use crate::limits;
use crate::telemetry::Process;

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

/// How many sockets of this machine listen on exactly this address; none if nobody can tell.
#[cfg(target_os = "linux")]
pub(super) fn listeners(address: SocketAddr) -> Option<usize> {
    let table = if address.is_ipv4() { "/proc/self/net/tcp" } else { "/proc/self/net/tcp6" };
    let lines = BufReader::new(File::open(table).ok()?).lines().skip(1).map_while(Result::ok);
    // Those that listen come first: a million connections behind them are not read.
    Some(lines.take_while(|line| is_listener(line)).filter(|line| local_of(line) == Some(address)).count())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn listeners(_: SocketAddr) -> Option<usize> {
    None
}

#[cfg(target_os = "linux")]
fn is_listener(line: &str) -> bool {
    line.split_ascii_whitespace().nth(3) == Some("0A")
}

/// The local address of a line of /proc/net/tcp: words of the address as this machine keeps them, then the port.
#[cfg(target_os = "linux")]
fn local_of(line: &str) -> Option<SocketAddr> {
    let (words, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = [0; 16];
    for (place, octets) in octets.chunks_exact_mut(4).enumerate().take(words.len() / 8) {
        let word = u32::from_str_radix(words.get(8 * place..8 * place + 8)?, 16).ok()?;
        octets.copy_from_slice(&word.to_ne_bytes());
    }
    match words.len() {
        8 => Some(SocketAddr::from(([octets[0], octets[1], octets[2], octets[3]], port))),
        32 => Some(SocketAddr::from((octets, port))),
        _ => None,
    }
}

/// Has the kernel give every further connection of this socket's address to the socket at that place among all that listen
/// there, in the order in which they began; if there is no such place, to any of them as before. Best effort.
#[cfg(target_os = "linux")]
pub(super) fn steer(socket: &TcpListener, place: usize) {
    use nix::libc::{BPF_K, BPF_RET, sock_filter, sock_fprog};
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    let code = u16::try_from(BPF_RET | BPF_K).expect("an opcode has 16 bits");
    let mut program = [sock_filter { code, jt: 0, jf: 0, k: place }]; // return place
    let program = sock_fprog { len: 1, filter: program.as_mut_ptr() };
    // Refused, the kernel goes on as before: who is in the queue of a listener when it is closed is lost then.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::AttachReusePortCbpf, &program);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn steer(_: &TcpListener, _: usize) {}

/// What the process holds; what this kernel does not say is left out.
pub(super) fn process(began_unix_s: u64) -> Process {
    let descriptors_max = rlimit::Resource::NOFILE.get_soft().ok();
    measure(Process { began_unix_s, descriptors_max, ..Process::default() })
}

#[cfg(target_os = "linux")]
fn measure(process: Process) -> Process {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let us = |time: nix::sys::time::TimeVal| number(time.tv_sec()) * 1_000_000 + number(time.tv_usec());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    // Since Linux 6.2 the directory's size is how many there are; to count a million of them would take a while.
    let descriptors = std::fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|len| *len > 0);
    Process {
        resident_bytes: resident.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib * 1024),
        cpu_us: usage.map(|usage| us(usage.user_time()) + us(usage.system_time())),
        switches: usage.map(|it| (number(it.voluntary_context_switches()), number(it.involuntary_context_switches()))),
        descriptors,
        ..process
    }
}

#[cfg(not(target_os = "linux"))]
fn measure(process: Process) -> Process {
    process
}

/// Raises the limit of open files to the hard limit. Where it cannot, `accept` meets the lower one and pauses.
pub(super) fn raise_file_limit() {
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is net, which opens sockets")]
    fn listeners_are_counted_by_address_and_port_in_both_families() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(socket) = TcpListener::bind(ip) else { continue }; // a machine without IPv6
            let address = socket.local_addr().unwrap();
            assert_eq!(listeners(address), Some(1), "{address}");
            drop(socket);
            assert_eq!(listeners(address), Some(0), "{address}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is net, which opens sockets")]
    fn the_process_knows_what_it_holds() {
        let before = process(7);
        let held: Vec<_> = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let after = process(7);
        assert!(before.resident_bytes.unwrap() > 1 << 20 && before.resident_bytes.unwrap() < 1 << 40);
        assert!(after.cpu_us.unwrap() >= before.cpu_us.unwrap() && after.cpu_us.unwrap() > 0);
        assert!(after.switches.is_some() && after.began_unix_s == 7);
        if let (Some(before), Some(after)) = (before.descriptors, after.descriptors) {
            assert!(after >= before + held.len() as u64 / 2, "{before} {after}: others close theirs meanwhile");
            assert!(before > 3);
        }
        assert!(after.descriptors_max.unwrap() >= 100);
    }

    #[test]
    fn lines_of_the_kernels_table_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert!(is_listener(line) && !is_listener(&line.replace(" 0A ", " 01 ")));
        let little = cfg!(target_endian = "little");
        let octets = if little { [127, 0, 0, 1] } else { [1, 0, 0, 127] };
        assert_eq!(local_of(line), Some(SocketAddr::from((octets, 8080))));
        for wrong in ["", "0: x", "0: 0100007F", "0: 01:1F90", "0: 0100007Fé:1F90", "0: 0100007F:1F90F"] {
            assert_eq!(local_of(wrong), None, "{wrong}");
        }
    }
}
