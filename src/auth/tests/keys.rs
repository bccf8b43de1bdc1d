//! What is taken as a key and what is not, with the operator's sentence.

use super::*;

#[test]
fn rfc7518_3_2_a_secret_is_at_least_as_long_as_the_hash() {
    for (algorithm, min) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
        assert!(Key::from_secret(algorithm, None, &SECRET[..min]).is_ok());
        let error = Key::from_secret(algorithm, None, &SECRET[..min - 1]).unwrap_err();
        assert_eq!(error, KeyError::ShortSecret { algorithm, len: min - 1 });
        let sentence = format!("is a secret of {} bytes; {algorithm} needs {min} at least", min - 1);
        assert!(error.to_string().starts_with(&sentence), "{error}");
    }
}

#[test]
fn a_file_of_the_wrong_kind_is_refused() {
    let pem = VECTORS.pems["RS256"].as_bytes();
    assert_eq!(Key::from_secret(Algorithm::Hs256, None, pem).unwrap_err(), KeyError::SecretIsPem);
    assert_eq!(Key::from_secret(Algorithm::Rs256, None, SECRET).unwrap_err(), KeyError::NoSecret(Algorithm::Rs256));
    assert_eq!(Key::from_pem(Algorithm::Hs256, None, pem).unwrap_err(), KeyError::PemNeedsKeyPair);
    for (algorithm, of) in [
        (Algorithm::Rs256, "ES256"),
        (Algorithm::Rs256, "EdDSA"),
        (Algorithm::Rs256, "RS256 of 1024 bits"),
        (Algorithm::Es256, "RS256"),
        (Algorithm::Es256, "EdDSA"),
        (Algorithm::Es256, "ES384"),
        (Algorithm::EdDsa, "RS256"),
        (Algorithm::EdDsa, "ES256"),
    ] {
        let error = Key::from_pem(algorithm, None, VECTORS.pems[of].as_bytes()).unwrap_err();
        assert_eq!(error, KeyError::NotOf(algorithm), "{of}");
    }
    let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for none in [&b""[..], b"secret", certificate, b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n"] {
        assert_eq!(Key::from_pem(Algorithm::Es256, None, none).unwrap_err(), KeyError::NoPublicKey);
    }
    let private = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(Key::from_pem(Algorithm::Es256, None, private).unwrap_err(), KeyError::PrivateKey);
    let broken = b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        assert_eq!(Key::from_pem(algorithm, None, broken).unwrap_err(), KeyError::NotOf(algorithm));
    }
}

#[test]
fn a_ring_has_a_kid_once_and_a_bounded_number_of_keys() {
    let key = |kid: Option<&str>| Key::from_secret(Algorithm::Hs256, kid, SECRET).unwrap();
    let mut ring = Keyring::default();
    assert!(ring.is_empty());
    ring.add(key(Some("a"))).unwrap();
    ring.add(key(None)).unwrap();
    ring.add(key(None)).unwrap();
    assert_eq!(ring.add(key(Some("a"))), Err(KeyError::KidTwice("a".into())));
    for number in ring.iter().count()..TOKEN_KEYS_MAX {
        ring.add(key(Some(&number.to_string()))).unwrap();
    }
    assert_eq!(ring.add(key(Some("more"))), Err(KeyError::TooMany));
}

/// The set of `vectors.json` with one key changed.
fn changed(kid: &str, change: impl Fn(&mut Value)) -> Result<Vec<Key>, KeyError> {
    let mut set = VECTORS.jwks.clone();
    let keys = set["keys"].as_array_mut().unwrap();
    change(keys.iter_mut().find(|key| key["kid"] == kid).unwrap());
    jwks::read(set.to_string().as_bytes())
}

#[test]
fn rfc7517_5_keys_of_a_set_that_are_for_something_else_are_left_out() {
    for (kid, member, value) in [
        ("RS256", "use", json!("enc")),
        ("RS256", "alg", json!("RS512")),
        ("RS256", "alg", json!("RSA-OAEP")),
        ("RS256", "alg", json!("HS256")),
        ("RS256", "kty", json!("new")),
        ("ES256", "crv", json!("P-521")),
        ("ES256", "key_ops", json!(["sign"])),
        ("EdDSA", "crv", json!("X25519")),
        ("HS256", "alg", json!("A256KW")),
    ] {
        let keys = changed(kid, |key| key[member] = value.clone()).unwrap();
        let kids: Vec<_> = keys.iter().filter_map(Key::kid).collect();
        assert_eq!(kids.len(), 5, "{member} = {value}");
        assert!(!kids.contains(&kid));
    }
    let unchanged = changed("RS256", |key| key["key_ops"] = json!(["verify"])).unwrap();
    assert_eq!(unchanged.len(), 6);
    // Without `alg` the kind says it.
    assert_eq!(changed("EdDSA", |key| key["alg"] = Value::Null).unwrap().len(), 6);
}

#[test]
fn a_key_of_a_set_that_should_work_and_does_not_is_an_error() {
    for (kid, member, value, number, reason) in [
        ("HS256", "alg", Value::Null, 1, "a secret needs `alg`"),
        ("HS256", "k", Value::Null, 1, "`k` is absent or not base64url"),
        ("RS256", "n", json!("!"), 4, "`n` is absent or not base64url"),
        ("RS256", "e", json!(""), 4, "`e` is absent or not base64url"),
        ("ES256", "x", json!("AAAA"), 5, "`x` is not 32 bytes of base64url"),
        ("ES256", "y", json!("A".repeat(43)), 5, "its numbers are no public key"),
        ("EdDSA", "x", json!("A".repeat(44)), 6, "`x` is not 32 bytes of base64url"),
    ] {
        let error = changed(kid, |key| key[member] = value.clone()).unwrap_err();
        assert_eq!(error, KeyError::Jwk { number, reason });
    }
    let error = changed("HS384", |key| key["k"] = json!("AAAA")).unwrap_err();
    assert_eq!(error, KeyError::ShortSecret { algorithm: Algorithm::Hs384, len: 3 });
    let error = changed("RS256", |key| key["n"] = json!(jws::encode(&[0x7f; 128]))).unwrap_err();
    assert_eq!(error, KeyError::RsaBits(1023));
}

#[test]
fn what_is_no_set_is_refused() {
    for json in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[{}]}"#, r#"{"keys":[1]}"#] {
        assert_eq!(jwks::read(json.as_bytes()).unwrap_err(), KeyError::NotJwks, "{json}");
    }
    assert_eq!(jwks::read(br#"{"keys":[]}"#).unwrap_err(), KeyError::NoneUsable);
    assert_eq!(jwks::read(br#"{"keys":[{"kty":"EC","crv":"P-384"}]}"#).unwrap_err(), KeyError::NoneUsable);
}
