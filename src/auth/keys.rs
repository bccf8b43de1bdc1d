//! The keys that tokens are signed with, each of exactly one algorithm.
//!
//! `config` makes them once from the bytes of its files, `token` asks for each token. Parsed at the start, not per
//! token. What a header says never chooses the algorithm of a key, only among keys. Refuses secrets and moduli that are
//! too short, files of the wrong kind, and a `kid` that names two keys. Nothing here shows a secret.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use rustls_pki_types::pem::{PemObject as _, SectionKind};

use super::algorithm::Algorithm;
use super::mark::KeyMark;
use super::token_error::TokenError;
use crate::limits::TOKEN_KEYS_MAX;

/// One key, with the one algorithm that it may be used for.
#[derive(Clone)]
pub struct Key {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    material: Material,
    mark: KeyMark,
}

#[derive(Clone)]
enum Material {
    /// More than a kilobyte: its hash has begun already.
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// All keys of a broker, at most [`TOKEN_KEYS_MAX`]; no `kid` twice.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

/// Why bytes are no key: the end of a sentence that began with the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyError {
    /// A secret that is shorter than the hash of its algorithm.
    ShortSecret {
        /// Its algorithm.
        algorithm: Algorithm,
        /// Its length, in bytes.
        len: usize,
    },
    /// A key pair's file where a secret should be. Whoever has the public half could sign with it.
    SecretIsPem,
    /// A secret's algorithm for a PEM file.
    PemNeedsKeyPair,
    /// A key pair's algorithm for a secret's file.
    NoSecret(Algorithm),
    /// A PEM file with a private key.
    PrivateKey,
    /// No PEM file, or one without a public key.
    NoPublicKey,
    /// A public key that is not one of this algorithm.
    NotOf(Algorithm),
    /// An RSA modulus of this many bits.
    RsaBits(usize),
    /// A `kid` that another key has.
    KidTwice(Box<str>),
    /// More than [`TOKEN_KEYS_MAX`].
    TooMany,
    /// No JSON Web Key Set.
    NotJwks,
    /// A set without a key that tokens can be signed with here.
    NoneUsable,
    /// A key of a set that is broken.
    Jwk {
        /// Its place in the set, from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Key {
    /// A key of HS256, HS384 or HS512.
    ///
    /// # Errors
    /// The algorithm is another, or the secret is shorter than its hash.
    pub fn from_secret(algorithm: Algorithm, kid: Option<&str>, secret: &[u8]) -> Result<Self, KeyError> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            Algorithm::Rs256 | Algorithm::Es256 | Algorithm::EdDsa => return Err(KeyError::NoSecret(algorithm)),
        };
        if secret.trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(KeyError::SecretIsPem);
        }
        if algorithm.secret_bytes_min().is_some_and(|min| secret.len() < min) {
            return Err(KeyError::ShortSecret { algorithm, len: secret.len() });
        }
        Ok(Self::new(algorithm, kid, Material::Secret(Box::new(hmac::Key::new(hash, secret))), secret))
    }

    /// A key of RS256, ES256 or EdDSA, from a PEM file with `PUBLIC KEY` (RFC 7468 13); the first one counts.
    ///
    /// # Errors
    /// The algorithm is another, or the file has no such key.
    pub fn from_pem(algorithm: Algorithm, kid: Option<&str>, pem: &[u8]) -> Result<Self, KeyError> {
        if algorithm.is_symmetric() {
            return Err(KeyError::PemNeedsKeyPair);
        }
        let mut private = false;
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            match section.map_err(|_| KeyError::NoPublicKey)? {
                (SectionKind::PublicKey, der) => return Self::from_spki(algorithm, kid, &der),
                (SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _) => private = true,
                _ => {}
            }
        }
        Err(if private { KeyError::PrivateKey } else { KeyError::NoPublicKey })
    }

    fn from_spki(algorithm: Algorithm, kid: Option<&str>, der: &[u8]) -> Result<Self, KeyError> {
        let scheme: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Rs256 => {
                // A parsed key alone would tell a wrong size only when it verifies.
                PublicEncryptingKey::from_der(der).map_err(|_| KeyError::NotOf(algorithm))?;
                &signature::RSA_PKCS1_2048_8192_SHA256
            }
            Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            _ => &signature::ED25519,
        };
        let key = ParsedPublicKey::new(scheme, der).map_err(|_| KeyError::NotOf(algorithm))?;
        Ok(Self::from_public(algorithm, kid, key))
    }

    /// A public key that was parsed for its algorithm.
    pub(super) fn from_public(algorithm: Algorithm, kid: Option<&str>, key: ParsedPublicKey) -> Self {
        // A key has one such form, whatever file it came in.
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).ok();
        let bytes = spki.as_deref().map_or_else(|| key.as_ref(), AsRef::as_ref).to_vec();
        Self::new(algorithm, kid, Material::Public(key), &bytes)
    }

    fn new(algorithm: Algorithm, kid: Option<&str>, material: Material, bytes: &[u8]) -> Self {
        let mark = KeyMark::of(&[algorithm.name().as_bytes(), kid.unwrap_or_default().as_bytes(), bytes]);
        Self { algorithm, kid: kid.map(Into::into), material, mark }
    }

    /// The one algorithm that it may be used for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name by which headers refer to it, if it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether the signature of these bytes is this key's.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Material::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }

    /// This key's signature of these bytes, if it is a secret.
    pub(super) fn sign(&self, input: &[u8]) -> Option<Vec<u8>> {
        match &self.material {
            Material::Secret(key) => Some(hmac::sign(key, input).as_ref().to_vec()),
            Material::Public(_) => None,
        }
    }
}

/// The bits that RFC 7518 3.3 demands, and no more than a signature may reasonably cost.
pub(super) fn check_rsa_bits(bits: usize) -> Result<(), KeyError> {
    if (2048..=8192).contains(&bits) { Ok(()) } else { Err(KeyError::RsaBits(bits)) }
}

impl Keyring {
    /// Adds a key.
    ///
    /// # Errors
    /// There are enough, or another one has its `kid`.
    pub fn add(&mut self, key: Key) -> Result<(), KeyError> {
        if self.keys.len() == TOKEN_KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        match &key.kid {
            Some(kid) if self.keys.iter().any(|other| other.kid == key.kid) => Err(KeyError::KidTwice(kid.clone())),
            _ => {
                self.keys.push(key);
                Ok(())
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Whether the key of this mark is there.
    pub(super) fn has(&self, mark: KeyMark) -> bool {
        self.keys.iter().any(|key| key.mark == mark)
    }

    /// Which of the keys that this header may mean made the signature. The key of its `kid` is the only one; a
    /// `kid` that no key has may be the issuer's name for one that has none here; a header without `kid` may mean every
    /// key of its algorithm.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<KeyMark, TokenError> {
        let named = kid.and_then(|kid| self.keys.iter().find(|key| key.kid() == Some(kid)));
        if let Some(key) = named {
            // RFC 8725 3.1: the key says the algorithm, the header has to agree.
            return match key.algorithm == algorithm {
                true if key.verifies(signed, signature) => Ok(key.mark),
                true => Err(TokenError::Signature),
                false => Err(TokenError::UnknownKey),
            };
        }
        let mut meant = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm && (kid.is_none() || key.kid.is_none()))
            .peekable();
        if meant.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        meant.find(|key| key.verifies(signed, signature)).map(|key| key.mark).ok_or(TokenError::Signature)
    }
}

/// Never the key itself.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortSecret { algorithm, len } => {
                let min = algorithm.secret_bytes_min().unwrap_or_default();
                write!(f, "is a secret of {len} bytes; {algorithm} needs {min} at least: openssl rand -base64 {min}")
            }
            Self::SecretIsPem => f.write_str(
                "is a PEM file, not a secret: with its public half anyone could sign; name it as pem_file, with RS256, \
                 ES256 or EdDSA",
            ),
            Self::PemNeedsKeyPair => {
                f.write_str("is for RS256, ES256 and EdDSA; HS256, HS384 and HS512 have a secret_file")
            }
            Self::NoSecret(algorithm) => write!(f, "is for HS256, HS384 and HS512; {algorithm} has a pem_file"),
            Self::PrivateKey => f.write_str(
                "has a private key; the broker needs the public one alone: openssl pkey -in PRIVATE.pem -pubout",
            ),
            Self::NoPublicKey => f.write_str("has no public key in PEM: -----BEGIN PUBLIC KEY-----"),
            Self::NotOf(algorithm) => {
                let kind = match algorithm {
                    Algorithm::Es256 => "an EC key on P-256",
                    Algorithm::EdDsa => "an Ed25519 key",
                    _ => "an RSA key of 2048 to 8192 bits",
                };
                write!(f, "has no key of {algorithm}, which is {kind}")
            }
            Self::RsaBits(bits) => write!(f, "has an RSA key of {bits} bits; 2048 to 8192 are taken"),
            Self::KidTwice(kid) => write!(f, "has the kid {kid:?}, as another key has"),
            Self::TooMany => write!(f, "is one key more than {TOKEN_KEYS_MAX}, the most"),
            Self::NotJwks => f.write_str(r#"is no JSON Web Key Set: {"keys": [...]}"#),
            Self::NoneUsable => f.write_str("has no key of HS256, HS384, HS512, RS256, ES256 or EdDSA for signatures"),
            Self::Jwk { number, reason } => write!(f, "has a broken key {number}: {reason}"),
        }
    }
}

impl std::error::Error for KeyError {}
