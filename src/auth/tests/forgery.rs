//! What a stranger may try: `none`, another algorithm, another `kid`, any change of a valid token, any bytes at all.

use proptest::prelude::*;

use super::*;

fn refused(token: &str) -> TokenError {
    verifier().verify(token, NOW).unwrap_err()
}

#[test]
fn rfc8725_2_1_none_is_refused_however_it_is_written() {
    assert_eq!(refused(&VECTORS.none), TokenError::Algorithm);
    let (_, rest) = VECTORS.tokens["HS256"].split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = jws::encode(json!({ "alg": alg, "kid": "HS256" }).to_string().as_bytes());
        for signature in ["", signature] {
            assert_eq!(refused(&format!("{header}.{payload}.{signature}")), TokenError::Algorithm, "{alg:?}");
        }
    }
}

#[test]
fn rfc8725_2_1_a_public_key_is_no_secret() {
    // Signed with the PEM text of the RSA key, and naming that key.
    assert_eq!(refused(&VECTORS.confused), TokenError::UnknownKey);
    // Without other secrets there is no key at all to try.
    let rsa = Key::from_pem(Algorithm::Rs256, None, VECTORS.pems["RS256"].as_bytes()).unwrap();
    let verifier = Verifier::new(ring([rsa]), Expectations::default());
    assert_eq!(verifier.verify(&VECTORS.confused, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn rfc8725_3_1_a_key_is_used_for_its_one_algorithm_only() {
    let tokens = &VECTORS.tokens;
    for (name, token) in tokens {
        let rest = token.split_once('.').unwrap().1;
        for (alg, kid) in tokens.keys().flat_map(|alg| tokens.keys().map(move |kid| (alg, kid))) {
            let header = jws::encode(json!({ "alg": alg, "kid": kid }).to_string().as_bytes());
            let error = refused(&format!("{header}.{rest}"));
            let expected = if alg == kid { TokenError::Signature } else { TokenError::UnknownKey };
            assert_eq!(error, expected, "{name}'s as {alg} of {kid}");
        }
    }
}

#[test]
fn a_header_chooses_a_key_only_by_kid_or_algorithm() {
    let key = |kid, byte| Key::from_secret(Algorithm::Hs256, kid, &[byte; 32]).unwrap();
    let keys = ring([key(Some("old"), 1), key(Some("new"), 2), key(None, 3)]);
    let verifier = Verifier::new(keys, Expectations::default());
    let token = |kid: Option<&str>, byte| {
        let input = jws::signing_input(Algorithm::Hs256, kid, r#"{"sub":"ann","exp":1700003600}"#);
        let signature = jws::encode(&key(None, byte).sign(input.as_bytes()).unwrap());
        format!("{input}.{signature}")
    };
    for (kid, by, taken) in [
        (Some("old"), 1, Ok(())),
        (Some("new"), 2, Ok(())),
        (Some("old"), 2, Err(TokenError::Signature)),
        (Some("old"), 3, Err(TokenError::Signature)),
        (None, 1, Ok(())),
        (None, 2, Ok(())),
        (None, 3, Ok(())),
        (None, 4, Err(TokenError::Signature)),
        // The issuer's name for the key that has none here.
        (Some("other"), 3, Ok(())),
        (Some("other"), 1, Err(TokenError::Signature)),
        (Some(""), 3, Ok(())),
    ] {
        assert_eq!(verifier.verify(&token(kid, by), NOW).map(|_| ()), taken, "{kid:?} by {by}");
    }
    let only_named = Verifier::new(ring([key(Some("old"), 1)]), Expectations::default());
    assert_eq!(only_named.verify(&token(Some("new"), 1), NOW), Err(TokenError::UnknownKey));
    let none = Verifier::default();
    assert_eq!(none.verify(&token(None, 1), NOW), Err(TokenError::UnknownKey));
}

#[test]
fn what_is_no_token_is_refused_before_any_key_is_tried() {
    let token = &VECTORS.tokens["HS256"];
    let (header, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        header,
        &format!("{header}.{payload}"),
        &format!("{token}.{signature}"),
        &format!("{header}.{payload}.{payload}.{signature}.{signature}"),
        &format!("{header}={}", &token[header.len()..]),
        &format!("{token}="),
        &format!(" {token}"),
        &format!("{token}\n"),
        &format!("{header}..{payload}.{signature}"),
        &format!("{header}é.{payload}.{signature}"),
    ] {
        assert_eq!(refused(text), TokenError::Malformed, "{text:?}");
    }
    for json in [
        "",
        "{}",
        "[]",
        "null",
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256"}{}"#,
        r#"{"alg":"HS256"#,
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        let text = format!("{}.{payload}.{signature}", jws::encode(json.as_bytes()));
        assert_eq!(refused(&text), TokenError::Malformed, "{json}");
    }
    let deep = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(2000), "]".repeat(2000));
    let text = format!("{}.{payload}.{signature}", jws::encode(deep.as_bytes()));
    assert!(matches!(refused(&text), TokenError::Malformed | TokenError::Signature));
}

#[test]
fn rfc7515_4_1_11_what_is_critical_is_not_understood() {
    for crit in [r#"["b64"]"#, "[]", "null", "true"] {
        let text = signed_text(&format!(r#"{{"alg":"HS256","b64":false,"crit":{crit}}}"#), "{}");
        assert_eq!(refused(&text), TokenError::Critical, "{crit}");
    }
}

#[test]
fn the_length_is_bounded_before_anything_is_decoded() {
    let claims =
        |padding: usize| signed(&json!({ "sub": "ann", "exp": 1_700_003_600, "padding": "x".repeat(padding) }));
    let verifier = of_secret(Expectations::default());
    let overhead = claims(0).len();
    let fits = claims((TOKEN_BYTES_MAX - overhead) / 4 * 3);
    assert!(fits.len() > TOKEN_BYTES_MAX - 4 && verifier.verify(&fits, NOW).is_ok(), "{}", fits.len());
    assert_eq!(verifier.verify(&claims(TOKEN_BYTES_MAX), NOW), Err(TokenError::TooLong));
    assert_eq!(verifier.verify(&".".repeat(1 << 20), NOW), Err(TokenError::TooLong));
}

#[test]
fn until_the_signature_is_right_the_sentence_tells_nothing_about_keys() {
    let sentence = TokenError::Signature.to_string();
    assert_eq!(TokenError::UnknownKey.to_string(), sentence);
    assert_eq!(TokenError::Algorithm.to_string(), sentence);
}

#[test]
fn every_single_bit_of_every_token_counts() {
    let verifier = verifier();
    for (name, token) in &VECTORS.tokens {
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(verifier.verify(&changed, NOW).is_err(), "{name}: bit {bit} of byte {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_change_of_a_valid_token_is_refused(
        which in 0..6usize,
        from in any::<prop::sample::Index>(),
        len in 0..40usize,
        with in "[A-Za-z0-9_.=+/ -]{0,40}",
    ) {
        let token = VECTORS.tokens.values().nth(which).unwrap();
        let from = from.index(token.len() + 1);
        let to = (from + len).min(token.len());
        let changed = format!("{}{with}{}", &token[..from], &token[to..]);
        prop_assume!(&changed != token);
        prop_assert!(verifier().verify(&changed, NOW).is_err(), "{}", changed);
    }

    #[test]
    fn parts_of_different_tokens_do_not_fit_together(parts in prop::array::uniform3(0..6usize)) {
        let part = |at: usize| VECTORS.tokens.values().nth(parts[at]).unwrap().split('.').nth(at).unwrap();
        let mixed = [part(0), part(1), part(2)].join(".");
        // All of them say the same, so what counts is that header and signature belong together.
        prop_assert_eq!(verifier().verify(&mixed, NOW).is_ok(), parts[0] == parts[2]);
    }

    #[test]
    fn any_header_and_payload_are_judged_without_a_panic(header in "\\PC{0,60}", payload in "\\PC{0,200}") {
        let _ = verifier().verify(&signed_text(&header, &payload), NOW);
        let verdict = of_secret(Expectations::default()).verify(&signed_text(r#"{"alg":"HS256"}"#, &payload), NOW);
        prop_assert!(verdict.is_err());
    }
}
