//! What the client reads and writes: a socket, or TLS on one.
//!
//! `handshake` opens it; then the reader and the writer have a half each. Both halves share the TLS connection, whose lock
//! is never held while a socket is waited for: a broker that reads nothing must not keep us from reading. Records leave in
//! the order in which they were sealed, because only the writer, under its own lock, ever sends one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::{ConnectError, Url};
use crate::limits::KEY_FILE_BYTES_MAX;
use crate::net::tls::{HTTP_1_1, provider};

/// One half of a connection, or both.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    tls: Option<Secure>,
}

#[derive(Debug)]
struct Secure {
    connection: Arc<Mutex<ClientConnection>>,
    /// Records as they were read, those from `next` on not yet opened.
    incoming: Vec<u8>,
    next: usize,
    outgoing: Vec<u8>,
}

impl Stream {
    /// In the clear.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket, tls: None }
    }

    /// Shakes hands with the broker of `url` and verifies that it is that one: by the certificates of `ca`, or by those
    /// that this machine trusts. `before_read` is called before each read, to set its time limit.
    pub(super) fn secure(
        mut socket: TcpStream,
        url: &Url,
        ca: Option<&Path>,
        before_read: impl Fn(&TcpStream) -> io::Result<()>,
    ) -> Result<Self, ConnectError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(ConnectError::Tls)?
            .with_root_certificates(ca.map_or_else(of_this_machine, of_file).map_err(ConnectError::Authorities)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let name = ServerName::try_from(url.authority().0.to_owned())
            .map_err(|error| ConnectError::Name(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let mut tls = ClientConnection::new(Arc::new(config), name).map_err(ConnectError::Tls)?;
        loop {
            flush(&mut tls, &mut socket).map_err(ConnectError::Handshake)?;
            if !tls.is_handshaking() {
                break;
            }
            let read =
                before_read(&socket).and_then(|()| tls.read_tls(&mut socket)).map_err(ConnectError::Handshake)?;
            if read == 0 {
                return Err(ConnectError::Hangup);
            }
            if let Err(error) = tls.process_new_packets() {
                let _ = flush(&mut tls, &mut socket); // tells the broker why, if it still listens
                return Err(ConnectError::Tls(error));
            }
        }
        let tls = Secure::of(Arc::new(Mutex::new(tls)));
        Ok(Self { socket, tls: Some(tls) })
    }

    /// The other half.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let tls = self.tls.as_ref().map(|tls| Secure::of(Arc::clone(&tls.connection)));
        Ok(Self { socket: self.socket.try_clone()?, tls })
    }

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(timeout)
    }

    pub(super) fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(timeout)
    }

    /// Ends both directions, with TLS not without saying so. An error means that they are at their end already.
    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            let mut connection = lock(&tls.connection);
            connection.send_close_notify();
            let mut outgoing = Vec::new();
            flush(&mut connection, &mut outgoing)?;
            drop(connection);
            let _ = self.socket.write(&outgoing); // a peer that is gone needs no goodbye
        }
        self.socket.shutdown(Shutdown::Both)
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buf) };
        loop {
            if let Some(read) = tls.open(buf)? {
                return Ok(read);
            }
            tls.incoming.resize(INCOMING_BYTES, 0);
            let read = self.socket.read(&mut tls.incoming);
            tls.next = 0;
            tls.incoming.truncate(*read.as_ref().unwrap_or(&0));
            if tls.incoming.is_empty() {
                return read; // the end, told or not, or an error
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
        tls.outgoing.clear();
        let taken = {
            let mut connection = lock(&tls.connection);
            let taken = connection.writer().write(bytes)?;
            flush(&mut connection, &mut tls.outgoing)?;
            taken
        };
        self.socket.write_all(&tls.outgoing)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Secure {
    fn of(connection: Arc<Mutex<ClientConnection>>) -> Self {
        Self { connection, incoming: Vec::new(), next: 0, outgoing: Vec::new() }
    }

    /// What can be read of what came, 0 for an end; `None` if more has to come first.
    fn open(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let mut connection = lock(&self.connection);
        loop {
            match connection.reader().read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(Some),
            }
            let mut rest = &self.incoming[self.next..];
            if rest.is_empty() {
                return Ok(None);
            }
            // One gulp at a time: what it says is read before the next, so that it has room.
            self.next += connection.read_tls(&mut rest)?;
            connection.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }
}

fn lock(connection: &Mutex<ClientConnection>) -> MutexGuard<'_, ClientConnection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn flush(tls: &mut ClientConnection, to: &mut impl Write) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(to)?;
    }
    Ok(())
}

fn of_file(path: &Path) -> Result<RootCertStore, String> {
    let told = |reason: String| format!("{}: {reason}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| told(format!("cannot be opened: {error}")))?;
    file.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| told(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| told(format!("is not PEM: {error}")))?;
        roots.add(certificate).map_err(|error| told(format!("has what is no certificate: {error}")))?;
    }
    if roots.is_empty() { Err(told("has no -----BEGIN CERTIFICATE-----".to_owned())) } else { Ok(roots) }
}

/// Those of the system's store, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
fn of_this_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    // Some stores have certificates that nobody can use any more; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        Err("this machine trusts no authority: name one with --ca FILE".to_owned())
    } else {
        Ok(roots)
    }
}

/// A sentence for the user.
pub(super) fn why(error: &Error) -> String {
    use rustls::CertificateError::{BadSignature, Expired, ExpiredContext, UnknownIssuer};
    match error {
        // A bad signature: an authority of the right name, and of another key.
        Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "nobody whom we trust has signed its certificate; --ca FILE names whom to trust".to_owned()
        }
        Error::InvalidCertificate(Expired | ExpiredContext { .. }) => "its certificate has expired".to_owned(),
        Error::InvalidMessage(_) => "the server does not speak TLS there; is it ws://?".to_owned(),
        error => format!("TLS failed: {error}"),
    }
}

/// About a record.
const INCOMING_BYTES: usize = 16 * 1024;
