//! Why a token or an API key is refused: a sentence for the client, a word for logs and counters.
//!
//! Made by the other files of this room. Until the signature is known to be right the sentences tell nothing about keys;
//! after that they say what is wrong, because then an issuer that we trust wants to know. None repeats the token.

use std::fmt;

use super::grants::GrantError;
use crate::limits::{TOKEN_BYTES_MAX, USER_BYTES_MAX};

/// Why a token or an API key is refused. Displayed, it is the sentence for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong,
    /// Not three parts of base64url, or a header that is not what RFC 7515 demands.
    Malformed,
    /// Signed by an algorithm that is not taken, `none` among them.
    Algorithm,
    /// Its header has `crit`.
    Critical,
    /// No key fits its header, or the key of its `kid` is of another algorithm.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// An API key that is not in the file.
    ApiKey,
    /// Its claims are no JSON object, or one of them is of a wrong type or twice there.
    Claims,
    /// It has no `exp`.
    NoExpiry,
    /// Its `exp` or `nbf` cannot be seconds: negative, or after the year 9999, as milliseconds are.
    NotSeconds,
    /// `exp` is over.
    Expired,
    /// `nbf` is yet to come.
    NotYet,
    /// `aud` is not the configured one, is absent although one is configured, or is there although none is.
    Audience,
    /// `iss` is not the configured one.
    Issuer,
    /// `sub` is absent, empty, too long, or has control characters.
    User,
    /// The filters that it grants to subscribe cannot be granted.
    Subscribe(GrantError),
    /// The filters that it grants to publish cannot be granted.
    Publish(GrantError),
}

impl TokenError {
    /// Whether a new token of the same kind would do: the client is to come back with one (close code 4001 rather than
    /// 4501).
    #[must_use]
    pub fn is_expired(self) -> bool {
        self == Self::Expired
    }

    /// One word for logs and counters.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::ApiKey => "api_key",
            Self::Claims => "claims",
            Self::NoExpiry => "no_expiry",
            Self::NotSeconds => "not_seconds",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::User => "user",
            Self::Subscribe(_) => "subscribe",
            Self::Publish(_) => "publish",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the token is longer than {TOKEN_BYTES_MAX} bytes"),
            Self::Malformed => f.write_str("the token is not a signed JWT: three parts of base64url with dots between"),
            Self::Critical => f.write_str("the token's header has `crit`, and no extension is understood here"),
            // One sentence: which keys and algorithms there are is nobody's business.
            Self::Algorithm | Self::UnknownKey | Self::Signature => {
                f.write_str("the token is not signed by a key that is known here")
            }
            Self::ApiKey => f.write_str("the API key is not known here"),
            Self::Claims => {
                f.write_str("the token's claims are not a JSON object with members of the right types, each once")
            }
            Self::NoExpiry => f.write_str("the token has no `exp`, and needs one"),
            Self::NotSeconds => f.write_str("the token's `exp` or `nbf` is not a time in seconds since 1970"),
            Self::Expired => f.write_str("the token has expired"),
            Self::NotYet => f.write_str("the token is not valid yet"),
            Self::Audience => f.write_str("the token's `aud` does not name this server"),
            Self::Issuer => f.write_str("the token's `iss` is not the one that this server trusts"),
            Self::User => {
                write!(f, "the token's `sub` is not a name of 1 to {USER_BYTES_MAX} bytes without control characters")
            }
            Self::Subscribe(error) => write!(f, "what the token grants to subscribe cannot be granted: {error}"),
            Self::Publish(error) => write!(f, "what the token grants to publish cannot be granted: {error}"),
        }
    }
}

impl std::error::Error for TokenError {}
