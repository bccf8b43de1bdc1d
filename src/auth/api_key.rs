//! API keys, for backends: long-lived secrets that the operator makes and can take back.
//!
//! The file holds no key, only what a SHA-256 of it is: keys have 256 random bits, so that nothing slower is needed.
//! `config` hands over the file, `http` asks with what came. Compared in constant time with every key of the file. One
//! line is `NAME SHA256 [operate] [subscribe FILTER]... [publish FILTER]...`, a filter with a space as a JSON string.

use std::fmt;

use aws_lc_rs::{constant_time, digest};

use super::claims::{Identity, NEVER, grant, is_user};
use super::jws;
use super::mark::KeyMark;
use super::token_error::TokenError;
use crate::limits::API_KEYS_MAX;

/// The API keys of a file.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    hash: Hash,
    identity: Identity,
}

type Hash = [u8; digest::SHA256_OUTPUT_LEN];

/// Why a file of API keys cannot be taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiKeyError {
    /// The line, from 1.
    pub line: usize,
    reason: String,
}

/// A new key, shown once, and the line of the file that it is known by.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// What the backend sends.
    pub key: String,
    /// What the file gets.
    pub line: String,
}

/// Whether this claims to be an API key; a token has dots and does not begin so.
#[must_use]
pub fn is_api_key(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

impl ApiKeys {
    /// Reads a file. Empty lines and lines that begin with `#` say nothing.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let mut keys: Vec<Entry> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let refuse = |reason: String| ApiKeyError { line: number, reason };
            let entry = Entry::parse(line).map_err(refuse)?;
            if keys.len() == API_KEYS_MAX {
                return Err(refuse(format!("is one key more than {API_KEYS_MAX}, the most")));
            }
            if keys.iter().any(|other| other.hash == entry.hash || other.identity.user == entry.identity.user) {
                return Err(refuse("has a name or a key that a line before has".to_owned()));
            }
            keys.push(entry);
        }
        Ok(Self { keys })
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// [`TokenError::ApiKey`]
    pub fn verify(&self, key: &str) -> Result<Identity, TokenError> {
        let hash = hash(key);
        // All of them, so that the time does not tell which one it was.
        let mut found = None;
        for entry in &self.keys {
            if constant_time::verify_slices_are_equal(&entry.hash, &hash).is_ok() {
                found = Some(&entry.identity);
            }
        }
        found.cloned().ok_or(TokenError::ApiKey)
    }

    /// Who has the key of this mark now, if it is still in the file.
    pub(super) fn of(&self, mark: KeyMark) -> Option<&Identity> {
        self.keys.iter().map(|entry| &entry.identity).find(|identity| identity.mark == mark)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl NewApiKey {
    /// A key of these 256 random bits.
    ///
    /// # Errors
    /// The name is none, or the filters cannot be granted.
    pub fn new(
        name: &str,
        subscribe: &[String],
        publish: &[String],
        operate: bool,
        random: [u8; 32],
    ) -> Result<Self, ApiKeyError> {
        let key = format!("{PREFIX}{}", jws::encode(&random));
        // Nothing that stands first in a line may begin a comment.
        let name = if name.starts_with('#') { json(name) } else { quoted(name) };
        let mut line = format!("{name} {}", hex(&hash(&key)));
        if operate {
            line.push_str(" operate");
        }
        for (word, filters) in [("subscribe", subscribe), ("publish", publish)] {
            for filter in filters {
                line.push_str(&format!(" {word} {}", quoted(filter)));
            }
        }
        // What comes out is what the file will say, so the reader is the judge.
        Entry::parse(&line).map_err(|reason| ApiKeyError { line: 1, reason })?;
        Ok(Self { key, line })
    }
}

impl Entry {
    fn parse(line: &str) -> Result<Self, String> {
        let mut rest = line;
        let name = word(&mut rest)?.ok_or("lacks the name")?;
        if !is_user(&name) {
            return Err("has a name that is empty, too long or has control characters".to_owned());
        }
        let hash = word(&mut rest)?.ok_or("lacks the SHA-256 of the key")?;
        let hash = unhex(&hash).ok_or("has no SHA-256 behind the name: 64 hex digits")?;
        let (mut subscribe, mut publish, mut operate) = (Vec::new(), Vec::new(), false);
        while let Some(right) = word(&mut rest)? {
            let filters = match right.as_str() {
                "operate" => {
                    operate = true;
                    continue;
                }
                "subscribe" => &mut subscribe,
                "publish" => &mut publish,
                _ => return Err("has a right that is none: operate, subscribe FILTER or publish FILTER".to_owned()),
            };
            filters.push(word(&mut rest)?.ok_or_else(|| format!("lacks the filter behind {right}"))?);
        }
        let (subscribe, publish) = grant(&subscribe, &publish).map_err(|error| match error {
            TokenError::Subscribe(error) => format!("grants to subscribe what cannot be granted: {error}"),
            TokenError::Publish(error) => format!("grants to publish what cannot be granted: {error}"),
            other => other.to_string(),
        })?;
        let mark = KeyMark::of(&[PREFIX.as_bytes(), name.as_bytes(), &hash]);
        let identity = Identity { user: name.into(), expires_unix_s: NEVER, subscribe, publish, operate, mark };
        Ok(Self { hash, identity })
    }
}

/// Takes the next word, bare or a JSON string; none at the end of the line.
fn word(rest: &mut &str) -> Result<Option<String>, String> {
    let text = rest.trim_start();
    if !text.starts_with('"') {
        let (word, behind) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        *rest = behind;
        return Ok(Some(word.to_owned()).filter(|word| !word.is_empty()));
    }
    let mut strings = serde_json::Deserializer::from_str(text).into_iter::<String>();
    let Some(Ok(word)) = strings.next() else {
        return Err("has a string that is not JSON's".to_owned());
    };
    *rest = &text[strings.byte_offset()..];
    if rest.is_empty() || rest.starts_with(char::is_whitespace) {
        Ok(Some(word))
    } else {
        Err("lacks a space behind a string".to_owned())
    }
}

/// As [`word`] reads it.
fn quoted(text: &str) -> String {
    let bare = !text.is_empty() && !text.starts_with('"') && !text.contains(char::is_whitespace);
    if bare { text.to_owned() } else { json(text) }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hash(key: &str) -> Hash {
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Hash> {
    let mut hash = [0; digest::SHA256_OUTPUT_LEN];
    let digits = text.as_bytes();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(hash)
}

/// So that people and scanners for leaked secrets see what it is.
const PREFIX: &str = "wfk_";

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Debug for NewApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey").field("line", &self.line).finish_non_exhaustive()
    }
}

impl fmt::Display for ApiKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ApiKeyError {}
