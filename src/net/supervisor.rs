//! Telling the one who started the process that it is ready, where it wants to know: sd_notify(3) of systemd.
//!
//! [`super::serve`] calls it when connections are accepted, or will be as soon as another broker
//! leaves, so that what comes after the start may rely on it. The message
//! goes to the datagram socket that `NOTIFY_SOCKET` names, a path or, behind `@`, an abstract name.

#[cfg(unix)]
use std::os::unix::net::UnixDatagram;

/// Tells it once more if it was told before, which says nothing new.
pub(super) fn tell_ready() {
    if let Ok(socket) = std::env::var("NOTIFY_SOCKET") {
        tell(&socket);
    }
}

/// Best effort: who is not told starts us again or gives up, by its own rules.
#[cfg(unix)]
fn tell(socket: &str) {
    let Ok(own) = UnixDatagram::unbound() else { return };
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
        let _ = address.and_then(|address| own.send_to_addr(READY, &address));
        return;
    }
    let _ = own.send_to(READY, socket);
}

#[cfg(not(unix))]
fn tell(_: &str) {}

const READY: &[u8] = b"READY=1\n";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    use super::*;

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 32];
        let len = socket.recv(&mut bytes).expect("it was sent");
        bytes[..len].to_vec()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told_and_nobody_is_no_harm() {
        let path = std::env::temp_dir().join(format!("wirefan-ready-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str().unwrap());
        assert_eq!(heard(&socket), READY);
        std::fs::remove_file(&path).unwrap();
        let name = format!("wirefan-ready-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(&format!("@{name}"));
        assert_eq!(heard(&socket), READY);
        tell("/nonexistent/socket");
        tell("");
    }
}
