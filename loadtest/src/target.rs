//! Where the load goes: a `ws://` URL, parsed and held to this machine.
//! The command line builds one; every connection reads it.
//! Refuses `wss`, names other than `localhost`, and addresses outside 127.0.0.0/8 and ::1 unless `--allow-remote` is given:
//! a load test pointed at somebody else's server is an attack.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One checked server address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// Path and query of the request line.
    pub(crate) path: String,
    /// Whether connections offer permessage-deflate, and end if the server does not agree.
    pub(crate) deflate: bool,
}

impl Target {
    /// The broker's WebSocket at `address`.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, path: "/ws".into(), deflate: false }
    }

    /// Parses `ws://ADDRESS:PORT/PATH`.
    pub(crate) fn parse(url: &str, allow_remote: bool) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or_else(|| format!("{url:?} does not start with ws:// (wss:// and others are not spoken here)"))?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_owned()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_owned()),
        };
        if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            return Err(format!("{url:?}: the path may hold visible ASCII only, and no fragment"));
        }
        let address = parse_authority(authority)
            .ok_or_else(|| format!("{authority:?} is not an IP address (or localhost) with an optional port"))?;
        if !address.ip().is_loopback() && !allow_remote {
            return Err(format!(
                "{} is not this machine: load goes to 127.0.0.0/8 and ::1 only, unless --allow-remote is given",
                address.ip()
            ));
        }
        Ok(Self { address, path, deflate: false })
    }

    /// The value of the Host header.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

fn parse_authority(authority: &str) -> Option<SocketAddr> {
    if let Ok(address) = authority.parse() {
        return Some(address);
    }
    let (host, port) = match authority.strip_suffix(']') {
        Some(_) => (authority, 80),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        },
    };
    if host.eq_ignore_ascii_case("localhost") {
        return Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Some(SocketAddr::new(bare.unwrap_or(host).parse().ok()?, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls_are_parsed() {
        for (url, address, path) in [
            ("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws"),
            ("ws://localhost:9/", "127.0.0.1:9", "/"),
            ("ws://127.8.0.1", "127.8.0.1:80", "/"),
            ("ws://[::1]:7/ws?a=b", "[::1]:7", "/ws?a=b"),
            ("ws://[::1]?x", "[::1]:80", "/?x"),
        ] {
            let target = Target::parse(url, false).unwrap();
            assert_eq!((target.host().as_str(), target.path.as_str()), (address, path), "{url}");
        }
    }

    #[test]
    fn other_machines_are_refused_with_a_sentence_unless_allowed() {
        for url in ["ws://192.0.2.1:80/ws", "ws://[2001:db8::1]/", "ws://0.0.0.0:1/"] {
            let refusal = Target::parse(url, false).unwrap_err();
            assert!(refusal.contains("--allow-remote"), "{refusal}");
            Target::parse(url, true).unwrap();
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for url in [
            "",
            "http://127.0.0.1/",
            "wss://127.0.0.1/",
            "ws://example.org/",
            "ws://127.0.0.1:99999/",
            "ws://127.0.0.1/a b",
            "ws://127.0.0.1/a\r\nX: y",
            "ws://127.0.0.1/#f",
            "ws://:80/",
        ] {
            assert!(Target::parse(url, true).is_err(), "{url}");
        }
    }
}
