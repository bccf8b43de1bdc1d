//! The compact form of a signed token: three parts, split and decoded (RFC 7515 3.1, 7.1).
//!
//! `token` parses what strangers send with it, before any signature was looked at; `issue` writes it. One token has one
//! spelling: base64url without padding, white space or loose bits. It refuses headers that demand what is not understood.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::algorithm::Algorithm;
use super::token_error::TokenError;
use crate::limits::TOKEN_BYTES_MAX;

/// A token taken apart; nothing about it is proved yet.
pub(super) struct Jws<'t> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    /// What the signature is about: header and payload as they were sent.
    pub(super) signed: &'t str,
    /// Still encoded: nobody reads it before the signature is known to be right.
    pub(super) payload: &'t str,
    pub(super) signature: Vec<u8>,
}

impl<'t> Jws<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = decode(header)?;
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 4.1.11: what is critical and not understood makes the token invalid; we understand no extension.
        if header.crit.0 {
            return Err(TokenError::Critical);
        }
        let algorithm = Algorithm::of_name(&header.alg).ok_or(TokenError::Algorithm)?;
        Ok(Self { algorithm, kid: header.kid.map(Cow::into_owned), signed, payload, signature: decode(signature)? })
    }
}

/// `header.payload`, ready to be signed.
pub(super) fn signing_input(algorithm: Algorithm, kid: Option<&str>, payload: &str) -> String {
    let mut header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.as_bytes()))
}

pub(super) fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(default)]
    crit: Present,
}

/// Whether a member is there, whatever it says.
#[derive(Default)]
struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}
