//! TLS 1.2 and 1.3 on accepted sockets, by rustls: the one module that knows it.
//!
//! `net` makes one `Terms` at the start, hands a `Session` to each connection of a TLS listener, and reloads the
//! certificates when it is told to. The shard knows nothing of all this: it reads and writes plaintext.
//! Refuses early data, client certificates and every application protocol but HTTP/1.1.

mod certificates;
mod session;

use std::sync::{Arc, Mutex, PoisonError};

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
    files: Tls,
    /// One reload at a time, so that the last to begin is the one that stays.
    reloading: Arc<Mutex<()>>,
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
        let reloading = Arc::default();
        Ok(Some(Self { config: Arc::new(config), resolver, files: files.clone(), reloading }))
    }

    /// Reads the certificates again. Handshakes that begin from now on get them; no connection notices.
    ///
    /// # Errors
    /// All that is wrong with the files; the certificates are then those that they were.
    pub(super) fn reload(&self) -> Result<(), CertificateError> {
        let _one = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        self.resolver.replace(Certificates::read(&self.files, &provider())?);
        Ok(())
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
