//! What a token says, each claim wrong in each way, and the sentence for it.

use super::*;

const EXP: u64 = 1_700_003_600;

fn expected(audience: Option<&str>, issuer: Option<&str>) -> Expectations {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Expectations { audience: text(audience), issuer: text(issuer), ..Expectations::default() }
}

fn verify(claims: &Value) -> Result<Identity, TokenError> {
    of_secret(Expectations::default()).verify(&signed(claims), NOW)
}

/// The claims with a member set.
fn with(name: &str, value: Value) -> Value {
    let mut claims = json!({ "sub": "ann", "exp": EXP });
    claims[name] = value;
    claims
}

#[test]
fn a_user_and_an_end_are_enough_and_grant_nothing() {
    let identity = verify(&json!({ "sub": "ann", "exp": EXP })).unwrap();
    assert_eq!(
        identity,
        Identity {
            user: "ann".into(),
            expires_unix_s: EXP + 30,
            subscribe: Grants::default(),
            publish: Grants::default(),
            operate: false,
            mark: identity.mark,
        }
    );
    assert_eq!(verify(&with("wirefan", json!({}))).unwrap(), identity);
    assert_eq!(verify(&with("wirefan", json!({ "subscibe": ["#"] }))).unwrap(), identity);
    assert_eq!(verify(&with("jti", json!({ "any": [1, 2] }))).unwrap(), identity);
}

#[test]
fn rfc7519_4_1_4_the_end_is_the_first_second_that_is_over() {
    let verifier = of_secret(Expectations::default());
    for exp in [json!(EXP), json!(EXP as f64), json!(EXP as f64 + 0.9)] {
        let token = signed(&with("exp", exp));
        let identity = verifier.verify(&token, EXP + 29).unwrap();
        assert!(!identity.is_expired(EXP + 29) && identity.is_expired(EXP + 30));
        for now in [EXP + 30, EXP + 31, u64::MAX] {
            let error = verifier.verify(&token, now).unwrap_err();
            assert_eq!(error, TokenError::Expired);
            assert!(error.is_expired() && error.to_string() == "the token has expired");
        }
    }
    let strict = of_secret(Expectations { leeway_s: 0, ..Expectations::default() });
    let token = signed(&with("exp", json!(EXP)));
    assert!(strict.verify(&token, EXP - 1).is_ok());
    assert_eq!(strict.verify(&token, EXP), Err(TokenError::Expired));
}

#[test]
fn a_token_without_an_end_is_refused() {
    assert_eq!(verify(&json!({ "sub": "ann" })), Err(TokenError::NoExpiry));
    for exp in [json!("1700003600"), json!(null), json!([EXP]), json!(true)] {
        assert_eq!(verify(&with("exp", exp.clone())), Err(TokenError::Claims), "{exp}");
    }
}

#[test]
fn times_are_seconds_until_the_year_9999() {
    assert!(verify(&with("exp", json!(253_402_300_799_u64))).is_ok());
    // What JavaScript's Date.now() gives, and what no clock does.
    for time in [json!(1_700_003_600_000_u64), json!(253_402_300_800_u64), json!(-1), json!(1e300), json!(u64::MAX)] {
        for name in ["exp", "nbf"] {
            assert_eq!(verify(&with(name, time.clone())), Err(TokenError::NotSeconds), "{name} {time}");
        }
    }
    assert_eq!(verify(&with("exp", json!(0))), Err(TokenError::Expired));
}

#[test]
fn rfc7519_4_1_5_not_before_has_the_same_leeway() {
    let verifier = of_secret(Expectations::default());
    for (nbf, ok_at) in [(json!(NOW), NOW - 30), (json!(NOW as f64 - 0.5), NOW - 30)] {
        let token = signed(&with("nbf", nbf));
        assert!(verifier.verify(&token, ok_at).is_ok());
        assert_eq!(verifier.verify(&token, ok_at - 1), Err(TokenError::NotYet));
    }
    assert_eq!(verify(&with("nbf", json!("now"))), Err(TokenError::Claims));
}

#[test]
fn rfc7519_4_1_3_an_audience_has_to_be_the_one_that_is_configured() {
    let me = of_secret(expected(Some("me"), None));
    for (aud, taken) in [
        (json!("me"), true),
        (json!(["you", "me"]), true),
        (json!("you"), false),
        (json!("Me"), false),
        (json!(["you"]), false),
        (json!([]), false),
        (json!("me "), false),
    ] {
        let taken = if taken { Ok(()) } else { Err(TokenError::Audience) };
        assert_eq!(me.verify(&signed(&with("aud", aud.clone())), NOW).map(|_| ()), taken, "{aud}");
        assert_eq!(verify(&with("aud", aud)), Err(TokenError::Audience), "a token for others");
    }
    assert_eq!(me.verify(&signed(&json!({ "sub": "ann", "exp": EXP })), NOW), Err(TokenError::Audience));
    for aud in [json!(1), json!(["me", 1]), json!({ "me": true })] {
        assert_eq!(me.verify(&signed(&with("aud", aud.clone())), NOW), Err(TokenError::Claims), "{aud}");
    }
}

#[test]
fn rfc7519_4_1_1_an_issuer_has_to_be_the_one_that_is_configured() {
    let trusting = of_secret(expected(None, Some("https://id.example")));
    for (iss, error) in [
        (json!("https://id.example/"), TokenError::Issuer),
        (json!("HTTPS://id.example"), TokenError::Issuer),
        (json!(""), TokenError::Issuer),
        (json!(1), TokenError::Claims),
        (json!(["https://id.example"]), TokenError::Claims),
    ] {
        assert_eq!(trusting.verify(&signed(&with("iss", iss.clone())), NOW), Err(error), "{iss}");
    }
    assert!(trusting.verify(&signed(&with("iss", json!("https://id.example"))), NOW).is_ok());
    assert_eq!(trusting.verify(&signed(&json!({ "sub": "ann", "exp": EXP })), NOW), Err(TokenError::Issuer));
    assert!(verify(&with("iss", json!("anyone"))).is_ok(), "without a configured one it is not looked at");
}

#[test]
fn a_user_is_a_name_that_can_be_shown() {
    for name in ["a", "ann@example.com", "Änne 東京", &"x".repeat(USER_BYTES_MAX)] {
        assert_eq!(&*verify(&with("sub", json!(name))).unwrap().user, name);
    }
    for name in ["", "a\nb", "\u{7f}", "a\u{85}", &"x".repeat(USER_BYTES_MAX + 1)] {
        assert_eq!(verify(&with("sub", json!(name))), Err(TokenError::User), "{name:?}");
    }
    assert_eq!(verify(&json!({ "exp": EXP })), Err(TokenError::User));
    assert_eq!(verify(&with("sub", json!(7))), Err(TokenError::Claims));
}

#[test]
fn grants_are_taken_whole_or_the_token_is_refused() {
    let grants = |subscribe: Value| verify(&with("wirefan", json!({ "subscribe": subscribe })));
    let identity = grants(json!(["a/+", "b"])).unwrap();
    assert_eq!(format!("{:?}", identity.subscribe), r#"["a/+", "b"]"#);
    let error = grants(json!(["a", "b/#/c"])).unwrap_err();
    let wrong = GrantError::Filter { number: 2, error: NameError::MisplacedHash { at: 2 } };
    assert_eq!(error, TokenError::Subscribe(wrong));
    assert_eq!(
        error.to_string(),
        "what the token grants to subscribe cannot be granted: filter 2 is none: the `#` at byte 2 has to be the whole \
         last level"
    );
    let many: Vec<_> = (0..=GRANT_FILTERS_MAX).map(|number| format!("t/{number}")).collect();
    assert_eq!(grants(json!(many)).unwrap_err(), TokenError::Subscribe(GrantError::TooMany));
    let both = json!({ "subscribe": many[1..], "publish": ["one more"] });
    assert_eq!(verify(&with("wirefan", both)), Err(TokenError::Publish(GrantError::TooMany)));
    for (member, value) in [
        ("subscribe", json!("a")),
        ("subscribe", json!([1])),
        ("publish", json!({ "a": true })),
        ("operate", json!("yes")),
        ("operate", json!(1)),
    ] {
        let claims = with("wirefan", json!({ member: value }));
        assert_eq!(verify(&claims), Err(TokenError::Claims), "{claims}");
    }
    for value in [json!("#"), json!(["#"]), json!(true)] {
        assert!(verify(&with("wirefan", value.clone())).is_err(), "{value}");
    }
}

#[test]
fn operating_and_another_member_for_the_grants() {
    let claims = with("https://example.com/wirefan", json!({ "operate": true, "publish": ["a"] }));
    assert!(!verify(&claims).unwrap().operate);
    let expected = Expectations { claims: "https://example.com/wirefan".to_owned(), ..Expectations::default() };
    let identity = of_secret(expected).verify(&signed(&claims), NOW).unwrap();
    assert!(identity.operate && identity.publish.allows(Topic::known("a")));
}

#[test]
fn rfc7519_4_a_member_that_is_there_twice_is_refused() {
    let verifier = of_secret(Expectations::default());
    let verdict = |payload: &str| verifier.verify(&signed_text(r#"{"alg":"HS256"}"#, payload), NOW);
    for payload in [
        r#"{"sub":"ann","exp":1700003600,"sub":"bob"}"#,
        r#"{"sub":"ann","exp":1,"exp":1700003600}"#,
        r#"{"sub":"ann","exp":1700003600,"s\u0075b":"bob"}"#,
        r#"{"sub":"ann","exp":1700003600,"x":1,"x":1}"#,
        r#"{"sub":"ann","exp":1700003600,"wirefan":{"publish":[],"publish":["a"]}}"#,
    ] {
        assert_eq!(verdict(payload), Err(TokenError::Claims), "{payload}");
    }
    for payload in ["", "[]", "null", "7", r#"{"sub":"ann","exp":1700003600"#, r#"{"sub":"ann","exp":1700003600}x"#] {
        assert_eq!(verdict(payload), Err(TokenError::Claims), "{payload}");
    }
    assert!(
        verdict(r#"{"s\u0075b":"ann","exp":1700003600}"#).is_ok(),
        "an escape is another spelling of the same name"
    );
}

#[test]
fn each_refusal_is_a_sentence_of_its_own_and_a_word() {
    use TokenError::*;
    let after_the_signature = [
        TooLong,
        Malformed,
        Critical,
        Signature,
        ApiKey,
        Claims,
        NoExpiry,
        NotSeconds,
        Expired,
        NotYet,
        Audience,
        Issuer,
        User,
        Subscribe(GrantError::TooMany),
        Publish(GrantError::TooMany),
    ];
    for (index, error) in after_the_signature.iter().enumerate() {
        assert!(error.to_string().len() > 15 && error.word().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        for other in &after_the_signature[..index] {
            assert_ne!((error.to_string(), error.word()), (other.to_string(), other.word()));
            assert_ne!(error.word(), other.word());
        }
        assert_eq!(error.is_expired(), *error == Expired);
    }
}
