//! All that people are known by: tokens and API keys, behind one question.
//!
//! `config` makes it from the files of `[auth]`; whoever has a credential from a stranger asks it. It is made once and
//! shared by all shards, which only read it.

use super::api_key::{ApiKeys, is_api_key};
use super::claims::Identity;
use super::token::Verifier;
use super::token_error::TokenError;

/// What `[auth]` knows people by. The default knows nobody.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// Takes tokens.
    pub tokens: Verifier,
    /// Knows API keys.
    pub api_keys: ApiKeys,
}

impl Credentials {
    /// Who has this token or API key, `now_unix_s` seconds after 1970 began.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn identify(&self, credential: &str, now_unix_s: u64) -> Result<Identity, TokenError> {
        if is_api_key(credential) {
            self.api_keys.verify(credential)
        } else {
            self.tokens.verify(credential, now_unix_s)
        }
    }

    /// What an identity that came by a key of earlier credentials is by these: the same if the token's key is still there,
    /// what the file says now of an API key, nobody if the key is gone.
    #[must_use]
    pub fn renew(&self, identity: &Identity) -> Option<Identity> {
        match self.api_keys.of(identity.mark) {
            Some(now) => Some(now.clone()),
            None => self.tokens.keys().has(identity.mark).then(|| identity.clone()),
        }
    }
}
