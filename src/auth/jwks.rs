//! JSON Web Key Sets (RFC 7517): the file that an issuer publishes its keys in.
//!
//! `config` hands over the bytes of an operator's file. Keys that are not for signatures, or of algorithms that are not
//! taken here, are left out, as RFC 7517 5 wants it; one that should work and does not is an error.

use std::borrow::Cow;

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use serde::Deserialize;

use super::algorithm::Algorithm;
use super::jws;
use super::keys::{Key, KeyError, check_rsa_bits};

/// The usable keys of a set, at least one.
///
/// # Errors
/// It is no set, has no usable key, or has a broken one.
pub fn read(json: &[u8]) -> Result<Vec<Key>, KeyError> {
    let set: Set<'_> = serde_json::from_slice(json).map_err(|_| KeyError::NotJwks)?;
    let mut keys = Vec::new();
    for (index, jwk) in set.keys.iter().enumerate() {
        let Some(algorithm) = jwk.algorithm().map_err(|reason| KeyError::Jwk { number: index + 1, reason })? else {
            continue;
        };
        let broken = |error| match error {
            Broken::Reason(reason) => KeyError::Jwk { number: index + 1, reason },
            Broken::Key(error) => error,
        };
        keys.push(jwk.key(algorithm).map_err(broken)?);
    }
    if keys.is_empty() { Err(KeyError::NoneUsable) } else { Ok(keys) }
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<Jwk<'a>>,
}

#[derive(Deserialize)]
struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow, default)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "use")]
    usage: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key_ops: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    y: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    k: Option<Cow<'a, str>>,
}

enum Broken {
    Reason(&'static str),
    Key(KeyError),
}

impl Jwk<'_> {
    /// The algorithm of a key that signatures can be verified with here; none for others.
    fn algorithm(&self) -> Result<Option<Algorithm>, &'static str> {
        let for_signatures = self.usage.as_ref().is_none_or(|usage| usage == "sig");
        let may_verify = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures || !may_verify {
            return Ok(None);
        }
        let of_kind: &[Algorithm] = match (self.kty.as_ref(), self.crv.as_deref()) {
            ("RSA", _) => &[Algorithm::Rs256],
            ("EC", Some("P-256")) => &[Algorithm::Es256],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDsa],
            ("oct", _) => &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512],
            _ => return Ok(None),
        };
        match (self.alg.as_deref(), of_kind) {
            (Some(name), _) => Ok(Algorithm::of_name(name).filter(|algorithm| of_kind.contains(algorithm))),
            (None, [algorithm]) => Ok(Some(*algorithm)),
            (None, _) => Err("a secret needs `alg`"),
        }
    }

    fn key(&self, algorithm: Algorithm) -> Result<Key, Broken> {
        let kid = self.kid.as_deref();
        let public = match algorithm {
            Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => {
                let secret = part(self.k.as_deref(), "`k` is absent or not base64url")?;
                return Key::from_secret(algorithm, kid, &secret).map_err(Broken::Key);
            }
            Algorithm::Rs256 => {
                let n = part(self.n.as_deref(), "`n` is absent or not base64url")?;
                let e = part(self.e.as_deref(), "`e` is absent or not base64url")?;
                check_rsa_bits(bits(&n)).map_err(Broken::Key)?;
                RsaPublicKeyComponents { n, e }.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
            }
            Algorithm::Es256 => {
                let x = coordinate(self.x.as_deref(), "`x` is not 32 bytes of base64url")?;
                let y = coordinate(self.y.as_deref(), "`y` is not 32 bytes of base64url")?;
                // SEC 1 2.3.3: an uncompressed point.
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, [&[4], &x[..], &y[..]].concat())
            }
            Algorithm::EdDsa => {
                let x = coordinate(self.x.as_deref(), "`x` is not 32 bytes of base64url")?;
                ParsedPublicKey::new(&signature::ED25519, x)
            }
        };
        let public = public.map_err(|_| Broken::Reason("its numbers are no public key"))?;
        Ok(Key::from_public(algorithm, kid, public))
    }
}

fn part(text: Option<&str>, reason: &'static str) -> Result<Vec<u8>, Broken> {
    text.and_then(|text| jws::decode(text).ok()).filter(|bytes| !bytes.is_empty()).ok_or(Broken::Reason(reason))
}

fn coordinate(text: Option<&str>, reason: &'static str) -> Result<Vec<u8>, Broken> {
    let bytes = part(text, reason)?;
    if bytes.len() == 32 { Ok(bytes) } else { Err(Broken::Reason(reason)) }
}

/// The length of a number in bits.
fn bits(number: &[u8]) -> usize {
    let zeros: usize = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros).map_or(0, |first| (number.len() - zeros) * 8 - first.leading_zeros() as usize)
}
