//! Tokens: from the text that a stranger sent to who they are, or why not (RFC 7519, hardened by RFC 8725).
//!
//! `shard` calls it at the handshake and for each `auth` command, `http` for each request. Nothing that a token says is
//! looked at before its signature is right, except the algorithm and the `kid`, which only choose among keys. The time
//! is an argument. It keeps no state: a token is verified again each time it comes.

use super::claims::{self, Expectations, Identity};
use super::jws::{self, Jws};
use super::keys::Keyring;
use super::token_error::TokenError;

/// Verifies tokens. It is made once and shared by all shards, which only read it.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    keys: Keyring,
    expected: Expectations,
}

impl Verifier {
    /// Takes tokens that are signed by one of these keys and say what is expected.
    #[must_use]
    pub fn new(keys: Keyring, expected: Expectations) -> Self {
        Self { keys, expected }
    }

    /// Who has this token, `now_unix_s` seconds after 1970 began.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, TokenError> {
        let Jws { algorithm, kid, signed, payload, signature } = Jws::parse(token)?;
        let mark = self.keys.verify(algorithm, kid.as_deref(), signed.as_bytes(), &signature)?;
        claims::read(&jws::decode(payload)?, &self.expected, now_unix_s, mark)
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// What tokens have to say.
    #[must_use]
    pub fn expected(&self) -> &Expectations {
        &self.expected
    }
}
