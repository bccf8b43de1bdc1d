//! Makes tokens, for tests and for trying things out; real ones come from the application that knows its users.
//!
//! `wirefan token` calls it. What it makes has been verified: a token that the broker would refuse is an error here.
//! ECDSA takes its nonce from the crypto library: the one thing in this room that its arguments do not decide.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256};
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use serde_json::json;

use super::algorithm::Algorithm;
use super::jws;
use super::keys::Key;
use super::token::Verifier;
use super::token_error::TokenError;

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// `sub`
    pub user: &'a str,
    /// Filters to subscribe to.
    pub subscribe: &'a [String],
    /// Filters to publish to.
    pub publish: &'a [String],
    /// Whether connections may be listed and closed.
    pub operate: bool,
    /// When it is made, in seconds since 1970.
    pub now_unix_s: u64,
    /// How long it is valid, in seconds.
    pub ttl_s: u64,
}

/// Why there is no token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssueError {
    /// No secret is among the keys, and no private key was given.
    NoSecret,
    /// No PEM file, or one without a private key of RS256, ES256 or EdDSA.
    NoPrivateKey,
    /// None of the keys is the public half of the private one.
    Stranger,
    /// The machine could not sign.
    Unsigned,
    /// The broker would refuse it.
    Refused(TokenError),
}

/// A private key of RS256, ES256 or EdDSA.
pub struct PrivateKey(Pair);

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// The first private key of a PEM file: PKCS #8, or the older forms of RSA and EC.
    ///
    /// # Errors
    /// [`IssueError::NoPrivateKey`]
    pub fn from_pem(pem: &[u8]) -> Result<Self, IssueError> {
        let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).filter_map(Result::ok);
        let pair = sections.into_iter().find_map(|(kind, der)| match kind {
            SectionKind::PrivateKey => RsaKeyPair::from_pkcs8(&der)
                .map(Pair::Rsa)
                .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Pair::Ecdsa))
                .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map(Pair::Ed25519))
                .ok(),
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(&der).map(Pair::Rsa).ok(),
            SectionKind::EcPrivateKey => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).map(Pair::Ecdsa).ok()
            }
            _ => None,
        });
        pair.map(Self).ok_or(IssueError::NoPrivateKey)
    }

    /// What it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::Ecdsa(_) => Algorithm::Es256,
            Pair::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn sign(&self, input: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.0 {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ecdsa(pair) => Some(pair.sign(&random, input).ok()?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.try_sign(input).ok()?.as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A token that this verifier takes, signed by the private key, or without one by the first secret.
    ///
    /// # Errors
    /// No key to sign with, or what is wished would be refused.
    pub fn issue(&self, wish: &Wish<'_>, private: Option<&PrivateKey>) -> Result<String, IssueError> {
        let key = match private {
            None => self.keys().iter().find(|key| key.algorithm().is_symmetric()).ok_or(IssueError::NoSecret)?,
            Some(private) => self.public_half(private)?,
        };
        let input = jws::signing_input(key.algorithm(), key.kid(), &self.claims(wish));
        let signature = match private {
            None => key.sign(input.as_bytes()),
            Some(private) => private.sign(input.as_bytes()),
        };
        let token = format!("{input}.{}", jws::encode(&signature.ok_or(IssueError::Unsigned)?));
        self.verify(&token, wish.now_unix_s).map_err(IssueError::Refused)?;
        Ok(token)
    }

    fn public_half(&self, private: &PrivateKey) -> Result<&Key, IssueError> {
        let probe = private.sign(PROBE).ok_or(IssueError::Unsigned)?;
        let is_half = |key: &&Key| key.algorithm() == private.algorithm() && key.verifies(PROBE, &probe);
        self.keys().iter().find(is_half).ok_or(IssueError::Stranger)
    }

    fn claims(&self, wish: &Wish<'_>) -> String {
        let expected = self.expected();
        let mut claims = json!({
            "sub": wish.user,
            "iat": wish.now_unix_s,
            "exp": wish.now_unix_s.saturating_add(wish.ttl_s),
        });
        claims[&expected.claims] =
            json!({ "subscribe": wish.subscribe, "publish": wish.publish, "operate": wish.operate });
        if let Some(audience) = &expected.audience {
            claims["aud"] = audience.as_str().into();
        }
        if let Some(issuer) = &expected.issuer {
            claims["iss"] = issuer.as_str().into();
        }
        claims.to_string()
    }
}

/// No token: those have dots.
const PROBE: &[u8] = b"whose public half is this";

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => f.write_str("no key of HS256, HS384 or HS512 is configured to sign with"),
            Self::NoPrivateKey => f.write_str("has no private key of RS256, ES256 (P-256) or EdDSA (Ed25519) in PEM"),
            Self::Stranger => f.write_str("is not the private half of a configured key"),
            Self::Unsigned => f.write_str("the token could not be signed"),
            Self::Refused(error) => write!(f, "the broker would refuse the token: {error}"),
        }
    }
}

impl std::error::Error for IssueError {}
