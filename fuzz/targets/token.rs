//! A stranger's credentials, and an issuer's claims: what is taken is within its bounds and says what was written.
#![no_main]

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use std::sync::LazyLock;
use wirefan::auth::{Algorithm, ApiKeys, Credentials, Expectations, Identity, Key, Keyring, Verifier, is_user, jwks};
use wirefan::limits::{GRANT_BYTES_MAX, GRANT_FILTERS_MAX};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_700_000_000;

static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
    let mut ring = Keyring::default();
    ring.add(Key::from_secret(Algorithm::Hs256, Some("k"), SECRET).expect("32 bytes are enough")).expect("the first");
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let api_keys = ApiKeys::parse(&format!("a {hash}")).expect("a line as it should be");
    Credentials { tokens: Verifier::new(ring, Expectations::default()), api_keys }
});

// One line: a credential, whose signature nobody can have. Two: header and payload of a token, rightly signed.
fuzz_target!(|text: &str| {
    let Some((header, payload)) = text.split_once('\n') else {
        assert!(CREDENTIALS.identify(text, NOW).is_err(), "{text:?} is taken");
        let _ = jwks::read(text.as_bytes());
        let _ = ApiKeys::parse(text);
        return;
    };
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), input.as_bytes());
    let Ok(identity) = CREDENTIALS.identify(&format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag)), NOW) else {
        return;
    };
    check(&identity);
    // What the reader skips may be deeper or larger than a value here can be.
    if let Ok(header) = serde_json::from_str::<Value>(header) {
        assert!(header["alg"] == "HS256" && header.get("crit").is_none(), "{header}");
    }
    if let Ok(claims) = serde_json::from_str::<Value>(payload) {
        assert_eq!(claims["sub"], *identity.user);
        assert!(claims["exp"].is_number() && claims.get("aud").is_none(), "{claims}");
        assert_eq!(claims["wirefan"]["operate"].as_bool().unwrap_or(false), identity.operate);
    }
});

fn check(identity: &Identity) {
    assert!(is_user(&identity.user) && !identity.is_expired(NOW));
    let filters = || identity.subscribe.iter().chain(identity.publish.iter());
    assert!(filters().count() <= GRANT_FILTERS_MAX);
    assert!(filters().map(|filter| filter.as_str().len()).sum::<usize>() <= GRANT_BYTES_MAX);
    for filter in identity.subscribe.iter() {
        assert!(identity.subscribe.covers(filter), "{filter} of its own grants");
        assert!(filter.as_topic().is_none_or(|topic| identity.subscribe.allows(topic)));
    }
}
