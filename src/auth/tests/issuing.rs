//! Making tokens: each kind of key, and what the broker would refuse.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

use super::*;

fn wish<'a>(user: &'a str, filters: &'a [String]) -> Wish<'a> {
    Wish { user, subscribe: filters, publish: &[], operate: true, now_unix_s: NOW, ttl_s: 60 }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// A fresh pair of each algorithm: its private half in PKCS #8 and its public one.
fn pairs() -> [(Algorithm, Vec<u8>, Vec<u8>); 3] {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa_pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
    let private = |der: &[u8]| pem("PRIVATE KEY", der);
    [
        (Algorithm::Rs256, private(rsa_pkcs8.as_ref()), public(rsa.public_key())),
        (Algorithm::Es256, private(ec.to_pkcs8v1().unwrap().as_ref()), public(ec.public_key())),
        (Algorithm::EdDsa, private(ed.to_pkcs8().unwrap().as_ref()), public(ed.public_key())),
    ]
}

fn public(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
}

#[test]
fn a_token_of_the_first_secret_is_taken_and_says_what_was_wished() {
    let expected = Expectations {
        claims: "grants".to_owned(),
        audience: Some("me".to_owned()),
        issuer: Some("it".to_owned()),
        leeway_s: 0,
    };
    let keys = ring([
        Key::from_pem(Algorithm::Rs256, Some("r"), VECTORS.pems["RS256"].as_bytes()).unwrap(),
        Key::from_secret(Algorithm::Hs512, Some("h"), SECRET).unwrap(),
        Key::from_secret(Algorithm::Hs256, None, SECRET).unwrap(),
    ]);
    let verifier = Verifier::new(keys, expected);
    let token = verifier.issue(&wish("ann", &["chat/#".to_owned()]), None).unwrap();
    let header = jws::decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&header).unwrap(), json!({ "alg": "HS512", "kid": "h", "typ": "JWT" }));
    let identity = verifier.verify(&token, NOW).unwrap();
    assert_eq!((&*identity.user, identity.expires_unix_s, identity.operate), ("ann", NOW + 60, true));
    assert!(identity.subscribe.covers(Filter::known("chat/#")) && identity.publish.is_empty());
}

#[test]
fn a_private_key_signs_for_its_public_half() {
    let pairs = pairs();
    let keys = pairs.iter().map(|(algorithm, _, public)| Key::from_pem(*algorithm, None, public).unwrap());
    let verifier = Verifier::new(ring(keys), Expectations::default());
    for (algorithm, private, public) in &pairs {
        let private = PrivateKey::from_pem(private).unwrap();
        assert_eq!(private.algorithm(), *algorithm);
        assert_eq!(format!("{private:?}"), format!("PrivateKey {{ algorithm: {algorithm:?}, .. }}"));
        let token = verifier.issue(&wish("ann", &[]), Some(&private)).unwrap();
        assert_eq!(&*verifier.verify(&token, NOW).unwrap().user, "ann");
        let error = super::verifier().issue(&wish("ann", &[]), Some(&private)).unwrap_err();
        assert_eq!(error, IssueError::Stranger);
        assert_eq!(PrivateKey::from_pem(public).unwrap_err(), IssueError::NoPrivateKey);
    }
}

#[test]
fn what_the_broker_would_refuse_is_not_made() {
    let verifier = of_secret(Expectations::default());
    let error = verifier.issue(&wish("", &[]), None).unwrap_err();
    assert_eq!(error, IssueError::Refused(TokenError::User));
    let error = verifier.issue(&wish("ann", &["a//b".to_owned()]), None).unwrap_err();
    assert!(matches!(error, IssueError::Refused(TokenError::Subscribe(GrantError::Filter { number: 1, .. }))));
    let never = Wish { ttl_s: u64::MAX, ..wish("ann", &[]) };
    assert_eq!(verifier.issue(&never, None).unwrap_err(), IssueError::Refused(TokenError::NotSeconds));
    assert_eq!(Verifier::default().issue(&wish("ann", &[]), None).unwrap_err(), IssueError::NoSecret);
}
