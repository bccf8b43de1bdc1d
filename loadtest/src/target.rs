//! Where the load goes and how: an address, held to this machine, the transport of subscribers, and whom TLS trusts.
//! The command line builds one; every connection reads it.
//! Refuses names other than `localhost`, and addresses outside 127.0.0.0/8 and ::1 unless `--allow-remote` is given:
//! a load test pointed at somebody else's server is an attack.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::profile::Profile;

/// How subscribers are spoken to. Publishers speak WebSocket in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Transport {
    /// WebSocket.
    #[default]
    Ws,
    /// Server-sent events.
    Sse,
    /// Long polling.
    Poll,
}

impl Transport {
    /// In words: whoever reads them may not know the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ws => "WebSocket",
            Self::Sse => "server-sent events",
            Self::Poll => "long polling",
        }
    }
}

/// What it takes to trust a server.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// The file of certificates, and whom they have to name: told to another process.
    source: (PathBuf, String),
    /// Shared by all connections.
    pub(crate) config: Arc<ClientConfig>,
    /// Whom the certificate has to name.
    pub(crate) name: ServerName<'static>,
}

impl Tls {
    /// Trusts what the PEM file `ca` signed, if it names `name`.
    ///
    /// # Errors
    /// A sentence: the file holds no certificate.
    pub(crate) fn trusting(ca: &Path, name: &str) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", ca.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).map_err(|error| told(&error))? {
            let certificate = certificate.map_err(|error| told(&error))?;
            roots.add(certificate).map_err(|error| told(&error))?;
        }
        if roots.is_empty() {
            return Err(told(&"there is no certificate in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let source = (ca.to_owned(), name.to_owned());
        let name = ServerName::try_from(name.to_owned()).map_err(|_| format!("no certificate can name {name:?}"))?;
        Ok(Self { source, config: Arc::new(config), name })
    }
}

/// One checked server address.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Told", into = "Told")]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// Path and query of a WebSocket's request line.
    pub(crate) path: String,
    /// How subscribers are spoken to.
    pub(crate) transport: Transport,
    /// Whom to trust; none speaks in the clear.
    pub(crate) tls: Option<Tls>,
    /// Whether connections offer permessage-deflate, and end if the server does not agree.
    pub(crate) deflate: bool,
    /// How the server is spoken to, if not as wirefan.
    pub(crate) profile: Option<Arc<Profile>>,
    /// The topic that those publish to whose connection has one for good (by a profile).
    pub(crate) published: String,
}

/// A target as another process is told it.
#[derive(Serialize, Deserialize)]
struct Told {
    address: SocketAddr,
    path: String,
    transport: Transport,
    trusting: Option<(PathBuf, String)>,
    deflate: bool,
    profile: Option<String>,
    published: String,
}

impl From<Target> for Told {
    fn from(target: Target) -> Self {
        let Target { address, path, transport, tls, deflate, profile, published } = target;
        let (trusting, profile) = (tls.map(|tls| tls.source), profile.map(|profile| profile.text.clone()));
        Self { address, path, transport, trusting, deflate, profile, published }
    }
}

impl TryFrom<Told> for Target {
    type Error = String;

    fn try_from(told: Told) -> Result<Self, String> {
        let Told { address, path, transport, trusting, deflate, profile, published } = told;
        let tls = trusting.map(|(ca, name)| Tls::trusting(&ca, &name)).transpose()?;
        let profile = profile.map(|text| Profile::parse(&text).map(Arc::new)).transpose()?;
        Ok(Self { address, path, transport, tls, deflate, profile, published })
    }
}

impl Target {
    /// The broker's WebSocket at `address`.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            address,
            path: "/ws".into(),
            transport: Transport::Ws,
            tls: None,
            deflate: false,
            profile: None,
            published: String::new(),
        }
    }

    /// Parses `ws://ADDRESS:PORT/PATH`, and `wss://` if there is a file of certificates to trust.
    pub(crate) fn parse(url: &str, ca: Option<&Path>, allow_remote: bool) -> Result<Self, String> {
        let (rest, secure) = match url.strip_prefix("wss://") {
            Some(rest) => (rest, true),
            None => (url.strip_prefix("ws://").unwrap_or_default(), false),
        };
        if rest.is_empty() {
            return Err(format!("{url:?} does not start with ws:// or wss:// (others are not spoken here)"));
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest.as_bytes()[at] == b'/' => (&rest[..at], rest[at..].to_owned()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_owned()),
        };
        if path.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
            return Err(format!("{url:?}: the path may hold visible ASCII only, and no fragment"));
        }
        let address = parse_authority(authority, if secure { 443 } else { 80 })
            .ok_or_else(|| format!("{authority:?} is not an IP address (or localhost) with an optional port"))?;
        if !address.ip().is_loopback() && !allow_remote {
            return Err(format!(
                "{} is not this machine: load goes to 127.0.0.0/8 and ::1 only, unless --allow-remote is given",
                address.ip()
            ));
        }
        let tls = match (secure, ca) {
            (true, Some(ca)) if authority.to_ascii_lowercase().starts_with("localhost") => {
                Some(Tls::trusting(ca, "localhost")?)
            }
            (true, Some(ca)) => Some(Tls::trusting(ca, &address.ip().to_string())?),
            (true, None) => return Err(format!("{url:?}: say whom to trust, by --ca FILE")),
            (false, Some(_)) => return Err(format!("{url:?} is in the clear: --ca means something with wss:// only")),
            (false, None) => None,
        };
        Ok(Self { path, tls, ..Self::at(address) })
    }

    /// The value of the Host header.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

fn parse_authority(authority: &str, port_usual: u16) -> Option<SocketAddr> {
    if let Ok(address) = authority.parse() {
        return Some(address);
    }
    let (host, port) = match authority.strip_suffix(']') {
        Some(_) => (authority, port_usual),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, port_usual),
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
            let target = Target::parse(url, None, false).unwrap();
            assert_eq!((target.host().as_str(), target.path.as_str()), (address, path), "{url}");
        }
    }

    #[test]
    fn another_process_is_told_all_of_it() {
        let mut configuration = crate::spawn::Configuration::usual().unwrap();
        let ca = configuration.certify().unwrap();
        let mut target = Target::parse("wss://127.0.0.1:7/ws?a", Some(&ca), false).unwrap();
        (target.transport, target.deflate, target.published) = (Transport::Poll, true, "t".to_owned());
        target.profile = Some(Arc::new(Profile::load("nats").unwrap()));
        let line = serde_json::to_string(&target).unwrap();
        let told: Target = serde_json::from_str(&line).unwrap();
        assert_eq!(serde_json::to_string(&told).unwrap(), line);
        assert!(told.tls.is_some() && told.profile.is_some_and(|profile| profile.name == "nats"));
        drop(configuration);
        assert!(serde_json::from_str::<Target>(&line).is_err(), "whom to trust cannot be read");
    }

    #[test]
    fn other_machines_are_refused_with_a_sentence_unless_allowed() {
        for url in ["ws://192.0.2.1:80/ws", "ws://[2001:db8::1]/", "ws://0.0.0.0:1/"] {
            let refusal = Target::parse(url, None, false).unwrap_err();
            assert!(refusal.contains("--allow-remote"), "{refusal}");
            Target::parse(url, None, true).unwrap();
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
            assert!(Target::parse(url, None, true).is_err(), "{url}");
        }
    }
}
