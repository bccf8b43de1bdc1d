//! Tokens, from the outside: of every algorithm, made by another implementation; forged, mutated, wrong in each claim.
//!
//! `vectors.json` was printed by `vectors.py` with PyJWT. What no library would make is signed here by hand.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::limits::{GRANT_FILTERS_MAX, TOKEN_BYTES_MAX, TOKEN_KEYS_MAX, USER_BYTES_MAX};
use crate::topic::{Filter, NameError, Topic};

mod api_keys;
mod claims;
mod forgery;
mod issuing;
mod keys;

#[derive(Deserialize)]
struct Vectors {
    jwks: Value,
    secrets: BTreeMap<String, String>,
    pems: BTreeMap<String, String>,
    tokens: BTreeMap<String, String>,
    confused: String,
    none: String,
}

static VECTORS: LazyLock<Vectors> = LazyLock::new(|| serde_json::from_str(include_str!("vectors.json")).unwrap());

/// Within the life of every token of `vectors.json`.
const NOW: u64 = 1_700_000_100;

/// A secret of 64 bytes, enough for all.
const SECRET: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn ring(keys: impl IntoIterator<Item = Key>) -> Keyring {
    let mut ring = Keyring::default();
    keys.into_iter().for_each(|key| ring.add(key).unwrap());
    ring
}

/// Takes what any key of `vectors.json` signed.
fn verifier() -> Verifier {
    Verifier::new(ring(jwks::read(VECTORS.jwks.to_string().as_bytes()).unwrap()), Expectations::default())
}

/// Takes what [`signed`] makes.
fn of_secret(expected: Expectations) -> Verifier {
    Verifier::new(ring([Key::from_secret(Algorithm::Hs256, None, SECRET).unwrap()]), expected)
}

/// A token of these very texts, with the right signature.
fn signed_text(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", jws::encode(header.as_bytes()), jws::encode(payload.as_bytes()));
    let key = Key::from_secret(Algorithm::Hs256, None, SECRET).unwrap();
    let signature = jws::encode(&key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

fn signed(claims: &Value) -> String {
    signed_text(r#"{"alg":"HS256"}"#, &claims.to_string())
}

#[test]
fn tokens_of_every_algorithm_by_another_implementation_are_taken() {
    let verifier = verifier();
    for algorithm in Algorithm::ALL {
        let identity = verifier.verify(&VECTORS.tokens[algorithm.name()], NOW).unwrap();
        assert_eq!(&*identity.user, "ann", "{algorithm}");
        assert_eq!(identity.expires_unix_s, 1_700_003_600 + 30);
        assert!(identity.subscribe.covers(Filter::known("chat/#")));
        assert!(identity.publish.allows(Topic::known("news")) && !identity.publish.allows(Topic::known("chat/1/2")));
        assert!(!identity.operate);
    }
}

#[test]
fn a_secret_or_a_pem_file_does_what_the_set_does() {
    for algorithm in Algorithm::ALL {
        let name = algorithm.name();
        let key = match VECTORS.secrets.get(name) {
            Some(secret) => Key::from_secret(algorithm, None, secret.as_bytes()),
            None => Key::from_pem(algorithm, Some(name), VECTORS.pems[name].as_bytes()),
        };
        let verifier = Verifier::new(ring([key.unwrap()]), Expectations::default());
        for (other, token) in &VECTORS.tokens {
            let taken = verifier.verify(token, NOW).map(|_| ());
            assert_eq!(taken, if other == name { Ok(()) } else { Err(TokenError::UnknownKey) }, "{other} by {name}");
        }
    }
}

#[test]
fn no_debug_output_shows_a_secret() {
    let secret = std::str::from_utf8(SECRET).unwrap();
    let verifier = of_secret(Expectations::default());
    let shown = format!("{verifier:?} {:?}", verifier.keys().iter().next());
    assert!(shown.contains("Hs256"), "{shown}");
    for hidden in [&secret[..8], &jws::encode(SECRET)[..8], "[48, 49", "30313233"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    let pem = Key::from_pem(Algorithm::EdDsa, Some("k"), VECTORS.pems["EdDSA"].as_bytes()).unwrap();
    assert_eq!(format!("{pem:?}"), r#"Key { algorithm: EdDsa, kid: Some("k"), .. }"#);
}
