//! `auth.keys` as it is written, and the files of `[auth]` as keys that can be used.
//!
//! The key table reads the list with it; [`Config::credentials`] is called by `cli` and `net` after the configuration
//! was taken, and again when files may have changed. Refuses files that are no keys, with the place in the
//! configuration and the reason, all at once. It reads at most [`KEY_FILE_BYTES_MAX`] of each.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::excerpt;
use super::key::{Reason, Value, text};
use super::{Auth, AuthKey, AuthKeyKind, Config, ConfigError, Problem};
use crate::auth::{Algorithm, ApiKeys, Credentials, Expectations, Key, Keyring, Verifier, jwks};
use crate::limits::{KEY_FILE_BYTES_MAX, TOKEN_KEYS_MAX};

impl Auth {
    /// Whether anyone can say who they are.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        !self.keys.is_empty() || self.api_keys_file.is_some()
    }

    /// Makes the paths absolute that are not yet: they were written in a file of this directory.
    pub(super) fn resolve(&mut self, directory: &Path) {
        let absolute = |path: &mut PathBuf| {
            let joined = directory.join(&*path);
            // Only an empty path has no absolute form, and where there is no working directory it stays as it is.
            *path = std::path::absolute(&joined).unwrap_or(joined);
        };
        self.keys.iter_mut().map(|key| &mut key.file).for_each(absolute);
        self.api_keys_file.iter_mut().for_each(absolute);
    }

    fn expectations(&self) -> Expectations {
        let set = |text: &String| (!text.is_empty()).then(|| text.clone());
        Expectations {
            claims: self.claims.clone(),
            audience: set(&self.audience),
            issuer: set(&self.issuer),
            leeway_s: self.leeway_s.into(),
        }
    }
}

impl Config {
    /// Reads the files of `[auth]`. Without any, nobody is known.
    ///
    /// # Errors
    /// Every file that cannot be read or is not what it should be.
    pub fn credentials(&self) -> Result<Credentials, ConfigError> {
        let mut ring = Keyring::default();
        let mut problems = Vec::new();
        for (key, number) in self.auth.keys.iter().zip(1..) {
            let place = format!("auth.keys, key {number}: {}", excerpt(&key.file.to_string_lossy()));
            let added = key
                .read()
                .and_then(|keys| keys.into_iter().try_for_each(|key| ring.add(key)).map_err(|error| error.to_string()));
            problems.extend(added.err().map(|reason| Problem::new(place, excerpt_whole(&reason))));
        }
        let mut api_keys = ApiKeys::default();
        if let Some(path) = &self.auth.api_keys_file {
            let place = format!("auth.api_keys_file: {}", excerpt(&path.to_string_lossy()));
            match read_api_keys(path) {
                Ok(read) => api_keys = read,
                Err((line, reason)) => {
                    let at = line.map(|line| format!(":{line}")).unwrap_or_default();
                    problems.push(Problem::new(place + &at, excerpt_whole(&reason)));
                }
            }
        }
        let tokens = Verifier::new(ring, self.auth.expectations());
        if problems.is_empty() { Ok(Credentials { tokens, api_keys }) } else { Err(ConfigError::new(problems)) }
    }
}

impl AuthKey {
    fn read(&self) -> Result<Vec<Key>, String> {
        let bytes = read(&self.file)?;
        let keys = match &self.kind {
            AuthKeyKind::Secret(algorithm, kid) => {
                // The line feed that editors and shells end a file with is not a part of the secret.
                let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
                Key::from_secret(*algorithm, kid.as_deref(), secret).map(|key| vec![key])
            }
            AuthKeyKind::Pem(algorithm, kid) => Key::from_pem(*algorithm, kid.as_deref(), &bytes).map(|key| vec![key]),
            AuthKeyKind::Jwks => jwks::read(&bytes),
        };
        keys.map_err(|error| error.to_string())
    }
}

fn read_api_keys(path: &Path) -> Result<ApiKeys, (Option<usize>, String)> {
    let bytes = read(path).map_err(|reason| (None, reason))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| (None, "is not UTF-8".to_owned()))?;
    ApiKeys::parse(text).map_err(|error| (Some(error.line), error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(format!("is longer than {KEY_FILE_BYTES_MAX} bytes, so it hardly has keys"));
    }
    Ok(bytes)
}

/// On one line; nothing of it is long.
fn excerpt_whole(sentence: &str) -> String {
    sentence.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Reads `auth.keys`.
pub(super) fn keys(value: &Value) -> Result<Vec<AuthKey>, Reason> {
    let Value::List(tables) = value else {
        return Err(SHAPE.into());
    };
    if tables.len() > TOKEN_KEYS_MAX {
        return Err(format!("has more than {TOKEN_KEYS_MAX} keys").into());
    }
    let mut keys = Vec::new();
    for (table, number) in tables.iter().zip(1..) {
        let Value::Table(entries) = table else {
            return Err(SHAPE.into());
        };
        keys.push(key(entries).map_err(|reason| format!("its key {number} {reason}"))?);
    }
    Ok(keys)
}

fn key(entries: &[(String, Value)]) -> Result<AuthKey, Reason> {
    let (mut alg, mut kid, mut files) = (None, None, Vec::new());
    for (name, value) in entries {
        let mut read = String::new();
        text(&mut read, value, 1).map_err(|reason| format!("has a wrong {}, which {reason}", excerpt(name)))?;
        match name.as_str() {
            "alg" => alg = Some(Algorithm::of_name(&read).ok_or(ALGORITHMS)?),
            "kid" => kid = Some(read),
            "secret_file" | "pem_file" | "jwks_file" => files.push((name.as_str(), PathBuf::from(read))),
            _ => {
                let known = "alg, kid, and one of secret_file, pem_file and jwks_file";
                return Err(format!("has the unknown key {}; it has {known}", excerpt(name)).into());
            }
        }
    }
    let Ok([(name, file)]) = <[_; 1]>::try_from(files) else {
        return Err("needs one file: secret_file, pem_file or jwks_file".into());
    };
    let kind = match (name, alg) {
        ("jwks_file", None) if kid.is_none() => AuthKeyKind::Jwks,
        ("jwks_file", _) => return Err("has alg or kid beside jwks_file, which says them itself".into()),
        (_, None) => return Err(format!("lacks its alg and {ALGORITHMS}").into()),
        ("secret_file", Some(alg)) if alg.is_symmetric() => AuthKeyKind::Secret(alg, kid),
        ("pem_file", Some(alg)) if !alg.is_symmetric() => AuthKeyKind::Pem(alg, kid),
        (_, Some(alg)) => {
            let right = if alg.is_symmetric() { "secret_file" } else { "pem_file" };
            return Err(format!("has {name}, and {alg} needs {right}").into());
        }
    };
    Ok(AuthKey { file, kind })
}

/// As [`keys`] reads it.
pub(super) fn shown(key: &AuthKey) -> Value {
    let (alg, name, kid) = match &key.kind {
        AuthKeyKind::Secret(alg, kid) => (Some(alg), "secret_file", kid.as_ref()),
        AuthKeyKind::Pem(alg, kid) => (Some(alg), "pem_file", kid.as_ref()),
        AuthKeyKind::Jwks => (None, "jwks_file", None),
    };
    let entry = |name: &str, text: String| (name.to_owned(), Value::Text(text));
    let alg = alg.map(|alg| entry("alg", alg.to_string()));
    let file = entry(name, key.file.to_string_lossy().into_owned());
    let kid = kid.map(|kid| entry("kid", kid.clone()));
    Value::Table(alg.into_iter().chain([file]).chain(kid).collect())
}

const SHAPE: &str = r#"must be a list of keys, such as [{ alg = "HS256", secret_file = "secret" }]"#;
const ALGORITHMS: &str = "needs one of HS256, HS384, HS512, RS256, ES256 and EdDSA";
