//! Certificates and their keys: read from PEM files, checked, and chosen for a handshake by the name it asks for.
//!
//! `Terms` reads them at the start and at each reload, `wirefan check` to say what is wrong with them, all at once.
//! What was read is replaced as a whole or not at all. Refuses keys that are not those of their certificates.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError as Invalid, Error, InconsistentKeys};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::super::client::escape;
use super::validity::Validity;
use crate::config::{Certificate, Tls};
use crate::limits::KEY_FILE_BYTES_MAX;

/// All that is wrong with the files of `[tls]`, a line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateError {
    problems: Vec<String>,
}

impl CertificateError {
    pub(super) fn of(place: &str, reason: &impl fmt::Display) -> Self {
        Self { problems: vec![format!("{place}: {reason}")] }
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for CertificateError {}

/// Reads the files of `[tls]`, if there are any, for their mistakes; warnings of those that clients refuse or soon will,
/// by their dates.
///
/// # Errors
/// Every file that cannot be read or is not what it should be.
pub fn check(files: &Tls, now_unix_s: u64) -> Result<Vec<String>, CertificateError> {
    let read = Certificates::read(files, &super::provider())?;
    let warning = |(pair, certified): (&Certificate, &Arc<CertifiedKey>)| {
        let warning = Validity::of(certified.cert.first()?)?.warning(now_unix_s)?;
        Some(format!("tls: {}: {warning}", escape(&pair.cert.to_string_lossy())))
    };
    Ok(files.certificates().zip(&read.all).filter_map(warning).collect())
}

/// Every certificate, with its chain and key, in the order of the configuration.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads every pair of files.
    pub(super) fn read(files: &Tls, provider: &CryptoProvider) -> Result<Self, CertificateError> {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for pair in files.certificates() {
            match read_pair(pair, provider) {
                Ok(certified) => all.push(Arc::new(certified)),
                Err((path, reason)) => problems.push(format!("tls: {}: {reason}", escape(&path.to_string_lossy()))),
            }
        }
        if problems.is_empty() { Ok(Self { all }) } else { Err(CertificateError { problems }) }
    }

    /// The first that is for `name` and that the client can verify, else the first for that name, else the first of all:
    /// whoever sends no name gets an answer to judge for himself.
    fn choose(
        &self,
        name: Option<&ServerName<'_>>,
        verifies: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let is_named = |certified: &&Arc<CertifiedKey>| name.is_none_or(|name| is_for(certified, name));
        let mut named = self.all.iter().filter(is_named);
        let first_named = named.next();
        let best = first_named.filter(|first| verifies(first)).or_else(|| named.find(|certified| verifies(certified)));
        best.or(first_named).or(self.all.first()).cloned()
    }
}

/// RFC 6125 6.4: a name of the certificate, wildcards of the leftmost label included.
fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

/// On an error the file that it is about, and the end of a sentence.
fn read_pair<'p>(pair: &'p Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, (&'p Path, String)> {
    let of_cert = |reason| (pair.cert.as_path(), reason);
    let of_key = |reason| (pair.key.as_path(), reason);
    let bytes = read(&pair.cert).map_err(of_cert)?;
    let chain: Result<Vec<CertificateDer<'static>>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| of_cert(format!("is not PEM: {error}")))?;
    let end_entity = chain.first().ok_or_else(|| of_cert("has no -----BEGIN CERTIFICATE-----".to_owned()))?;
    ParsedCertificate::try_from(end_entity).map_err(|error| of_cert(format!("begins with no certificate: {error}")))?;
    let bytes = read(&pair.key).map_err(of_key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => of_key("has no -----BEGIN PRIVATE KEY-----, unencrypted".to_owned()),
        error => of_key(format!("is not PEM: {error}")),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            of_key(format!("is not the key of {}", escape(&pair.cert.to_string_lossy())))
        }
        Error::InvalidCertificate(Invalid::BadEncoding) => of_cert("begins with no certificate".to_owned()),
        error => of_key(format!("cannot be used: {error}")),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(format!("is longer than {KEY_FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// The certificates in force, shared by all handshakes of all shards.
///
/// A handshake costs some hundred microseconds, a read lock that only a reload ever holds against it some nanoseconds.
#[derive(Debug)]
pub(super) struct Resolver {
    now: RwLock<Arc<Certificates>>,
}

impl Resolver {
    pub(super) fn new(certificates: Certificates) -> Self {
        Self { now: RwLock::new(Arc::new(certificates)) }
    }

    pub(super) fn replace(&self, certificates: Certificates) {
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificates);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        now.choose(name.as_ref(), |certified| certified.key.choose_scheme(hello.signature_schemes()).is_some())
    }
}
