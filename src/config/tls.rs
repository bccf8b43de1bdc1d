//! `[tls]` as it is written: paths of certificates and keys, and where they begin.
//!
//! The key table reads `tls.certificates` with it, `source` makes its paths absolute. What the files have in them is the
//! matter of `net`, the one place that knows TLS.

use std::path::{Path, PathBuf};

use super::error::excerpt;
use super::key::{Reason, Value, text};
use super::{Certificate, Tls};
use crate::limits::TLS_CERTIFICATES_MAX;

impl Tls {
    /// Whether TLS is spoken anywhere.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.first.cert.as_os_str().is_empty()
    }

    /// All certificates, the first one first; none without TLS.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.is_configured().then_some(&self.first).into_iter().chain(&self.others)
    }

    /// Makes the paths absolute that are not yet: they were written in a file of this directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        let all = [&mut self.first].into_iter().chain(&mut self.others);
        let paths = all.flat_map(|certificate| [&mut certificate.cert, &mut certificate.key]);
        for path in paths.filter(|path| !path.as_os_str().is_empty()) {
            let joined = directory.join(&*path);
            // Where there is no working directory it stays as it is.
            *path = std::path::absolute(&joined).unwrap_or(joined);
        }
    }
}

/// Reads `tls.certificates`.
pub(super) fn certificates(value: &Value) -> Result<Vec<Certificate>, Reason> {
    let Value::List(tables) = value else {
        return Err(SHAPE.into());
    };
    if tables.len() >= TLS_CERTIFICATES_MAX {
        return Err(format!("has more than {} certificates", TLS_CERTIFICATES_MAX - 1).into());
    }
    let mut certificates = Vec::new();
    for (table, number) in tables.iter().zip(1..) {
        let Value::Table(entries) = table else {
            return Err(SHAPE.into());
        };
        certificates.push(certificate(entries).map_err(|reason| format!("its certificate {number} {reason}"))?);
    }
    Ok(certificates)
}

fn certificate(entries: &[(String, Value)]) -> Result<Certificate, Reason> {
    let mut certificate = Certificate::default();
    for (name, value) in entries {
        let slot = match name.as_str() {
            "cert" => &mut certificate.cert,
            "key" => &mut certificate.key,
            _ => return Err(format!("has the unknown key {}; it has cert and key", excerpt(name)).into()),
        };
        path(slot, value, 1).map_err(|reason| format!("has a wrong {name}, which {reason}"))?;
    }
    if certificate.cert.as_os_str().is_empty() || certificate.key.as_os_str().is_empty() {
        return Err("needs both cert and key".into());
    }
    Ok(certificate)
}

/// A path of at least `min` bytes.
pub(super) fn path(slot: &mut PathBuf, value: &Value, min: usize) -> Result<(), Reason> {
    let mut read = String::new();
    text(&mut read, value, min)?;
    *slot = read.into();
    Ok(())
}

/// As [`certificates`] reads it.
pub(super) fn shown(certificate: &Certificate) -> Value {
    let entry = |name: &str, path: &Path| (name.to_owned(), shown_path(path));
    Value::Table(vec![entry("cert", &certificate.cert), entry("key", &certificate.key)])
}

/// As [`path`] reads it.
pub(super) fn shown_path(path: &Path) -> Value {
    Value::Text(path.to_string_lossy().into_owned())
}

const SHAPE: &str = r#"must be a list of certificates, such as [{ cert = "b.pem", key = "b.key" }]"#;
