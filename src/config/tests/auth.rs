//! `[auth]`: what it takes, where its files are looked for, and the sentences with which it refuses.

use super::*;
use crate::auth::{Algorithm, TokenError};
use crate::limits::KEY_FILE_BYTES_MAX;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Loads `toml` beside these files and reads what it names; problems without the directory.
fn credentials(toml: &str, files: &[(&str, &[u8])]) -> Result<crate::auth::Credentials, String> {
    let directory = scratch();
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).unwrap();
    }
    let path = directory.join("wirefan.toml");
    fs::write(&path, toml).unwrap();
    let config = Config::load(Some(&path), std::iter::empty(), &Flags::default());
    let read = config.and_then(|config| config.credentials());
    fs::remove_dir_all(&directory).unwrap();
    read.map_err(|error| error.to_string().replace(&format!("{}/", directory.display()), ""))
}

fn key(written: &str) -> String {
    format!("[auth]\nkeys = [{written}]")
}

#[test]
fn nobody_is_known_without_a_file() {
    let config = Config::default();
    assert!(!config.auth.is_configured());
    let credentials = config.credentials().unwrap();
    assert!(credentials.tokens.keys().is_empty() && credentials.api_keys.is_empty());
}

#[test]
fn files_lie_beside_the_configuration_or_where_the_broker_is_started() {
    let toml = key(r#"{ alg = "HS256", secret_file = "s" }"#);
    let read = credentials(&toml, &[("s", SECRET.as_bytes())]).unwrap();
    assert_eq!(read.tokens.keys().iter().next().unwrap().algorithm(), Algorithm::Hs256);
    let variables = [("WIREFAN_AUTH__API_KEYS_FILE", "keys"), ("WIREFAN_AUTH__KEYS", r#"[{ jwks_file = "a/j" }]"#)];
    let config = load("auth.api_keys_file = \"beside\"", &variables, &Flags::default()).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(config.auth.api_keys_file, Some(here.join("keys")));
    assert_eq!(config.auth.keys, [AuthKey { file: here.join("a/j"), kind: AuthKeyKind::Jwks }]);
    let elsewhere = load(&key(r#"{ jwks_file = "/etc/j" }"#), &[], &Flags::default()).unwrap();
    assert_eq!(elsewhere.auth.keys[0].file, PathBuf::from("/etc/j"));
}

#[test]
fn every_kind_of_file_becomes_keys_and_the_settings_hold() {
    let (jwks, pem) = vectors();
    let toml = r#"
        [auth]
        keys = [
            { alg = "HS256", secret_file = "s", kid = "mine" },
            { alg = "EdDSA", pem_file = "p" },
            { jwks_file = "j" },
        ]
        api_keys_file = "a"
        audience = "me"
        leeway_s = 7
    "#;
    let api_keys = format!("backend {} operate", "0".repeat(64));
    let secret = format!("{SECRET}\n");
    let files: [(&str, &[u8]); 4] =
        [("s", secret.as_bytes()), ("p", pem.as_bytes()), ("j", jwks.as_bytes()), ("a", api_keys.as_bytes())];
    let read = credentials(toml, &files).unwrap();
    let kids: Vec<_> = read.tokens.keys().iter().map(|key| key.kid()).collect();
    let of_set = ["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"].map(Some);
    assert_eq!(kids, [&[Some("mine"), None][..], &of_set].concat());
    assert_eq!(read.api_keys.len(), 1);
    let expected = read.tokens.expected();
    assert_eq!((expected.audience.as_deref(), expected.issuer.as_deref()), (Some("me"), None));
    assert_eq!((expected.claims.as_str(), expected.leeway_s), ("wirefan", 7));
    assert_eq!(read.identify("wfk_none", 0), Err(TokenError::ApiKey));
}

/// The key set and a public key of the tokens that another implementation made.
fn vectors() -> (String, String) {
    let vectors: serde_json::Value = serde_json::from_str(&shipped("src/auth/tests/vectors.json")).unwrap();
    (vectors["jwks"].to_string(), vectors["pems"]["EdDSA"].as_str().unwrap().to_owned())
}

#[test]
fn the_line_feed_at_the_end_is_no_part_of_a_secret() {
    let toml = key(r#"{ alg = "HS256", secret_file = "s" }"#);
    let wish = crate::auth::Wish { user: "a", subscribe: &[], publish: &[], operate: false, now_unix_s: 0, ttl_s: 60 };
    let of = |secret: &str| credentials(&toml, &[("s", secret.as_bytes())]).unwrap().tokens;
    let token = of(SECRET).issue(&wish, None).unwrap();
    for (end, taken) in [("\n", true), ("\r\n", true), ("\n\n", false), (" ", false)] {
        assert_eq!(of(&format!("{SECRET}{end}")).verify(&token, 0).is_ok(), taken, "{end:?}");
    }
}

#[test]
fn files_that_are_no_keys_are_all_told_with_place_and_reason() {
    let toml = r#"
        [auth]
        keys = [
            { alg = "HS256", secret_file = "short" },
            { alg = "ES256", pem_file = "none" },
            { jwks_file = "short" },
            { alg = "HS256", secret_file = "good", kid = "k" },
            { alg = "HS256", secret_file = "good", kid = "k" },
            { alg = "HS256", secret_file = "large" },
        ]
        api_keys_file = "short"
    "#;
    let large = vec![b'x'; usize::try_from(KEY_FILE_BYTES_MAX).unwrap() + 1];
    let files: [(&str, &[u8]); 3] = [("short", b"secret"), ("good", SECRET.as_bytes()), ("large", &large)];
    let refused = credentials(toml, &files).unwrap_err();
    assert_eq!(
        refused.lines().collect::<Vec<_>>(),
        [
            "auth.keys, key 1: short: is a secret of 6 bytes; HS256 needs 32 at least: openssl rand -base64 32",
            "auth.keys, key 2: none: cannot be opened: No such file or directory (os error 2)",
            r#"auth.keys, key 3: short: is no JSON Web Key Set: {"keys": [...]}"#,
            r#"auth.keys, key 5: good: has the kid "k", as another key has"#,
            "auth.keys, key 6: large: is longer than 1048576 bytes, so it hardly has keys",
            "auth.api_keys_file: short:1: lacks the SHA-256 of the key",
        ]
    );
    assert!(!refused.contains("0123456789"));
    let refused = credentials("auth.api_keys_file = \"a\"", &[("a", b"\xff")]).unwrap_err();
    assert_eq!(refused, "auth.api_keys_file: a: is not UTF-8");
}

#[test]
fn a_key_says_its_file_and_its_algorithm() {
    let shape = r#"must be a list of keys, such as [{ alg = "HS256", secret_file = "secret" }]"#;
    let known = "it has alg, kid, and one of secret_file, pem_file and jwks_file";
    let algorithms = "needs one of HS256, HS384, HS512, RS256, ES256 and EdDSA";
    for (written, reason) in [
        ("3".to_owned(), shape.to_owned()),
        ("\"secret\"".to_owned(), shape.to_owned()),
        ("[\"secret\"]".to_owned(), shape.to_owned()),
        ("[{}]".to_owned(), "its key 1 needs one file: secret_file, pem_file or jwks_file".to_owned()),
        (
            r#"[{ jwks_file = "j" }, { secret_file = "s", pem_file = "p" }]"#.to_owned(),
            "its key 2 needs one file: secret_file, pem_file or jwks_file".to_owned(),
        ),
        (r#"[{ secret_file = "s" }]"#.to_owned(), format!("its key 1 lacks its alg and {algorithms}")),
        (r#"[{ alg = "none", secret_file = "s" }]"#.to_owned(), format!("its key 1 {algorithms}")),
        (
            r#"[{ alg = "RS256", secret_file = "s" }]"#.to_owned(),
            "its key 1 has secret_file, and RS256 needs pem_file".to_owned(),
        ),
        (
            r#"[{ alg = "HS256", pem_file = "s" }]"#.to_owned(),
            "its key 1 has pem_file, and HS256 needs secret_file".to_owned(),
        ),
        (
            r#"[{ alg = "HS256", jwks_file = "j" }]"#.to_owned(),
            "its key 1 has alg or kid beside jwks_file, which says them itself".to_owned(),
        ),
        (r#"[{ secret = "s" }]"#.to_owned(), format!("its key 1 has the unknown key secret; {known}")),
        (
            r#"[{ alg = "HS256", secret_file = "" }]"#.to_owned(),
            "its key 1 has a wrong secret_file, which must be a text of 1 to 4096 bytes on one line".to_owned(),
        ),
    ] {
        let refused = refusal(&format!("auth.keys = {written}"));
        assert_eq!(refused, format!("wirefan.toml:1: auth.keys = {}: {reason}", error::excerpt(&written)));
    }
    let many = vec![r#"{ jwks_file = "j" }"#; 33].join(", ");
    assert!(refusal(&key(&many)).ends_with(": has more than 32 keys"));
}

#[test]
fn the_other_keys_of_auth_have_their_bounds() {
    for (written, reason) in [
        ("auth.claims = \"\"", "must be a text of 1 to 4096 bytes on one line"),
        ("auth.claims = \"exp\"", "is a claim with a meaning of its own (RFC 7519 4.1)"),
        ("auth.audience = [\"a\"]", "must be a text of 0 to 4096 bytes on one line"),
        ("auth.issuer = \"a\\nb\"", "must be a text of 0 to 4096 bytes on one line"),
        ("auth.leeway_s = 601", "must be a whole number of seconds from 0 to 600"),
        ("auth.in_band_ms_max = 99", "must be a whole number of milliseconds from 100 to 600000"),
        ("limits.commands_per_second_max = 100001", "must be a whole number from 0 to 100000"),
        ("limits.accepts_per_second_max = -1", "must be a whole number from 0 to 100000"),
    ] {
        assert_eq!(refusal(written), format!("wirefan.toml:1: {written}: {reason}"));
    }
    assert_eq!(refusal("[auth]\nkey = []"), "wirefan.toml:2: auth.key: unknown key; did you mean auth.keys?");
}
