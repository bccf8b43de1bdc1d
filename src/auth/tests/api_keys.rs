//! API keys: made, written, read, compared; what is wrong with a line.

use proptest::prelude::*;

use super::*;

fn new(name: &str, subscribe: &[&str], publish: &[&str], operate: bool) -> NewApiKey {
    let filters = |list: &[&str]| list.iter().map(|&filter| filter.to_owned()).collect::<Vec<_>>();
    NewApiKey::new(name, &filters(subscribe), &filters(publish), operate, [7; 32]).unwrap()
}

#[test]
fn a_key_is_known_by_its_line_and_only_whole() {
    let NewApiKey { key, line } = new("backend", &["chat/#"], &["a b/\"c\\", "#"], true);
    assert_eq!(key, format!("wfk_{}", jws::encode(&[7; 32])));
    assert!(is_api_key(&key) && !is_api_key(&VECTORS.tokens["HS256"]));
    let keys = ApiKeys::parse(&format!("# who\n\n  {line}\r\nother {} operate\n", "0".repeat(64))).unwrap();
    assert_eq!(keys.len(), 2);
    let identity = keys.verify(&key).unwrap();
    assert_eq!((&*identity.user, identity.operate, identity.expires_unix_s), ("backend", true, NEVER));
    assert!(!identity.is_expired(u64::MAX - 1));
    assert!(identity.subscribe.allows(Topic::known("chat/1")) && !identity.subscribe.allows(Topic::known("x")));
    assert!(identity.publish.covers(Filter::known("#")));
    for wrong in ["", "wfk_", &key[..key.len() - 1], &format!("{key}x"), &format!(" {key}"), &key.to_lowercase(), &line]
    {
        assert_eq!(keys.verify(wrong), Err(TokenError::ApiKey), "{wrong:?}");
    }
    assert!(ApiKeys::default().is_empty());
    assert_eq!(ApiKeys::default().verify(&key), Err(TokenError::ApiKey));
}

#[test]
fn no_name_makes_a_comment_of_its_line() {
    for name in ["#", "# a", "#a", "\"#"] {
        let NewApiKey { key, line } = new(name, &["#"], &[], false);
        assert_eq!(&*ApiKeys::parse(&line).unwrap().verify(&key).unwrap().user, name, "{line}");
    }
}

#[test]
fn one_question_takes_tokens_and_api_keys() {
    let NewApiKey { key, line } = new("backend", &[], &["a"], false);
    let credentials = Credentials { tokens: verifier(), api_keys: ApiKeys::parse(&line).unwrap() };
    assert_eq!(&*credentials.identify(&key, NOW).unwrap().user, "backend");
    assert_eq!(&*credentials.identify(&VECTORS.tokens["ES256"], NOW).unwrap().user, "ann");
    assert_eq!(credentials.identify("wfk_x", NOW), Err(TokenError::ApiKey));
    assert_eq!(credentials.identify("x", NOW), Err(TokenError::Malformed));
    assert_eq!(Credentials::default().identify(&key, NOW), Err(TokenError::ApiKey));
}

#[test]
fn an_identity_lives_as_long_as_its_key_and_has_what_the_file_says_of_it() {
    let NewApiKey { key, line } = new("backend", &["a"], &[], false);
    let with = |tokens: Verifier, lines: &str| Credentials { tokens, api_keys: ApiKeys::parse(lines).unwrap() };
    let before = with(verifier(), &line);
    let of_key = before.identify(&key, NOW).unwrap();
    let more = format!("{line} subscribe b operate");
    let renewed = with(verifier(), &more).renew(&of_key).unwrap();
    assert!(renewed.operate && renewed.subscribe.allows(Topic::known("b")) && renewed.user == of_key.user);
    for gone in ["", &line.replace("backend", "other"), &format!("backend {}", "0".repeat(64))] {
        assert_eq!(with(verifier(), gone).renew(&of_key), None, "{gone}");
    }
    for name in ["HS256", "RS256", "ES256", "EdDSA"] {
        let of_token = before.identify(&VECTORS.tokens[name], NOW).unwrap();
        assert_eq!(with(verifier(), "").renew(&of_token).as_ref(), Some(&of_token), "{name}");
        assert_eq!(with(of_secret(Expectations::default()), &line).renew(&of_token), None, "{name}");
    }
}

#[test]
fn a_key_has_one_mark_whatever_file_it_comes_in_and_another_kid_makes_another_key() {
    for (algorithm, name) in [(Algorithm::Rs256, "RS256"), (Algorithm::Es256, "ES256"), (Algorithm::EdDsa, "EdDSA")] {
        let of_jwks = verifier();
        let of_jwks = of_jwks.keys().iter().find(|key| key.algorithm() == algorithm).unwrap();
        let pem = VECTORS.pems[name].as_bytes();
        let of_pem = |kid| ring([Key::from_pem(algorithm, kid, pem).unwrap()]);
        let identity = verifier().verify(&VECTORS.tokens[name], NOW).unwrap();
        assert!(of_pem(of_jwks.kid()).has(identity.mark), "{name}");
        assert!(!of_pem(Some("another")).has(identity.mark), "{name}");
    }
}

#[test]
fn the_hash_is_what_sha256sum_says() {
    let keys = ApiKeys::parse("a 2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938b9824").unwrap();
    assert_eq!(&*keys.verify("hello").unwrap().user, "a");
}

#[test]
fn a_wrong_line_is_named_with_the_reason() {
    let hash = "0".repeat(64);
    for (line, reason) in [
        ("a".to_owned(), "lacks the SHA-256 of the key"),
        ("a 00".to_owned(), "has no SHA-256 behind the name: 64 hex digits"),
        (format!("a {}g", "0".repeat(63)), "has no SHA-256 behind the name: 64 hex digits"),
        (format!("a {}é", "0".repeat(62)), "has no SHA-256 behind the name: 64 hex digits"),
        (format!("{} {hash}", "x".repeat(256)), "has a name that is empty, too long or has control characters"),
        (format!("\"a\\nb\" {hash}"), "has a name that is empty, too long or has control characters"),
        (format!("a {hash} write x"), "has a right that is none: operate, subscribe FILTER or publish FILTER"),
        (format!("a {hash} publish"), "lacks the filter behind publish"),
        (
            format!("a {hash} publish x//y"),
            "grants to publish what cannot be granted: filter 1 is none: the level at byte 2 is empty; each needs 1 \
             character",
        ),
        (format!("a {hash} subscribe \"x"), "has a string that is not JSON's"),
        (format!("a {hash} subscribe \"x\"operate"), "lacks a space behind a string"),
        (format!("first {}", "1".repeat(64)), "has a name or a key that a line before has"),
        (format!("second {}", "f".repeat(64)), "has a name or a key that a line before has"),
    ] {
        let error = ApiKeys::parse(&format!("first {}\n\n{line}\n", "f".repeat(64))).unwrap_err();
        assert_eq!((error.line, error.to_string().as_str()), (3, reason), "{line}");
    }
    let line = |number: usize| format!("n{number} {number:064x}\n");
    let many: String = (0..crate::limits::API_KEYS_MAX).map(line).collect();
    assert_eq!(ApiKeys::parse(&many).unwrap().len(), crate::limits::API_KEYS_MAX);
    let error = ApiKeys::parse(&format!("{many}{}", line(5000))).unwrap_err();
    assert_eq!((error.line, error.to_string().as_str()), (1001, "is one key more than 1000, the most"));
}

#[test]
fn no_debug_output_shows_a_key_or_its_hash() {
    let made = new("backend", &[], &["a"], false);
    let keys = ApiKeys::parse(&made.line).unwrap();
    let hash = made.line.split(' ').nth(1).unwrap();
    assert!(!format!("{made:?}").contains(&made.key));
    let shown = format!("{keys:?}");
    assert!(shown.contains("backend") && !shown.contains(hash) && !shown.contains("hash"), "{shown}");
}

proptest! {
    #[test]
    fn what_is_made_can_be_read(name in "\\PC{1,20}", filters in prop::collection::vec("[a #+\"/\\\\é]{1,8}", 0..4), operate: bool) {
        let valid = filters.iter().all(|filter| Filter::parse(filter).is_ok());
        let made = NewApiKey::new(&name, &filters, &filters, operate, [1; 32]);
        prop_assert_eq!(made.is_ok(), valid);
        if let Ok(NewApiKey { key, line }) = made {
            prop_assert!(!line.contains(['\n', '\r']));
            let identity = ApiKeys::parse(&line).unwrap().verify(&key).unwrap();
            prop_assert_eq!(&*identity.user, name.as_str());
            prop_assert_eq!(identity.operate, operate);
            prop_assert!(filters.iter().all(|filter| identity.publish.iter().any(|granted| granted.as_str() == filter)));
        }
    }
}
