//! TLS 1.2 and 1.3 on accepted sockets, by rustls: the one module that knows it.
//!
//! `net` makes one `Terms` at the start, hands a `Session` to each connection of a TLS listener, and reloads the
//! certificates when it is told to. The shard knows nothing of all this: it reads and writes plaintext.
//! Refuses early data, client certificates and every application protocol but HTTP/1.1.

mod certificates;
mod session;
mod validity;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;

pub use self::certificates::{CertificateError, check};
use self::certificates::{Certificates, Resolver};
pub(super) use self::session::{Scratch, Session};
use crate::config::Tls;

/// What every handshake of a broker goes by.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
}

/// Certificates that were read again and are not shown yet.
#[derive(Debug)]
pub(super) struct Prepared {
    certificates: Certificates,
    resolver: Arc<Resolver>,
}

impl Prepared {
    /// Handshakes that begin from now on get them; no connection notices.
    pub(super) fn show(self) {
        self.resolver.replace(self.certificates);
    }
}

impl Terms {
    /// Reads the certificates. `None` without `[tls]`.
    pub(super) fn read(files: &Tls) -> Result<Option<Self>, CertificateError> {
        if !files.is_configured() {
            return Ok(None);
        }
        let provider = provider();
        let resolver = Arc::new(Resolver::new(Certificates::read(files, &provider)?));
        let failed = |error: rustls::Error| CertificateError::of("tls", &error);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<_>);
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // A session to resume lies with its client, sealed (RFC 5077, RFC 8446 4.6.1); nothing is kept here. A client
        // that comes back opens one connection, so it gets one ticket.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(failed)?;
        config.send_tls13_tickets = 1;
        Ok(Some(Self { config: Arc::new(config), resolver }))
    }

    /// Reads the certificates again.
    ///
    /// # Errors
    /// All that is wrong with the files.
    pub(super) fn prepare(&self, files: &Tls) -> Result<Prepared, CertificateError> {
        let certificates = Certificates::read(files, &provider())?;
        Ok(Prepared { certificates, resolver: Arc::clone(&self.resolver) })
    }

    /// The server's side of a new connection; `None` if rustls refuses its own configuration, which it does not.
    pub(super) fn session(&self) -> Option<Box<Session>> {
        Session::new(Arc::clone(&self.config)).ok().map(Box::new)
    }
}

/// The cryptography of the broker and of the command line's client.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// RFC 7301 6.
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";
