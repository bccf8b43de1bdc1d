//! What a file that is read again changes, what stays, and what is refused with what stays.

use super::*;

fn of(toml: &str) -> Config {
    load(toml, &[], &Flags::default()).unwrap()
}

/// What a running broker has of the new file, and what it says of the rest.
fn reloaded(running: &str, read: &str) -> Result<(Config, Vec<String>), String> {
    let outcome = of(running).reloaded(&of(read)).map_err(|error| error.to_string())?;
    Ok((outcome.0, outcome.1.iter().map(ToString::to_string).collect()))
}

const EVERY_LIVE_KEY: &str = r#"
[server]
allow_anonymous = "always"
allowed_origins = ["https://a.example"]
[auth]
keys = [{ alg = "HS256", secret_file = "a" }]
api_keys_file = "b"
claims = "c"
audience = "d"
issuer = "e"
leeway_s = 1
in_band_ms_max = 1000
[[rule]]
filter = "a"
presence = true
"#;

#[test]
fn rules_origins_and_all_of_auth_are_taken() {
    let (config, unchanged) = reloaded("", EVERY_LIVE_KEY).unwrap();
    assert_eq!(
        (config.to_string().lines().count(), unchanged),
        (of(EVERY_LIVE_KEY).to_string().lines().count(), vec![])
    );
    assert_eq!((config.server, config.rules), (of(EVERY_LIVE_KEY).server, of(EVERY_LIVE_KEY).rules));
    assert_eq!((config.auth.leeway_s, config.auth.claims.as_str()), (1, "c"));
    let (config, unchanged) = reloaded(EVERY_LIVE_KEY, "").unwrap();
    assert_eq!((config, unchanged), (of(""), vec![]), "what the file does not say any more is the default again");
}

#[test]
fn every_other_key_stays_and_is_named() {
    let read = "server = { shards = 3, listen = [\"127.0.0.1:1\"], echo = true }\nlimits = { subscriptions_max = 9 }";
    let (config, unchanged) = reloaded("heartbeat = { interval_s = 7 }", read).unwrap();
    assert_eq!(config, of("heartbeat = { interval_s = 7 }"));
    assert_eq!(
        unchanged,
        [
            r#"server.listen stays ["127.0.0.1:8080"] until the next start, and is then ["127.0.0.1:1"]"#,
            "server.shards stays 0 until the next start, and is then 3",
            "server.echo stays false until the next start, and is then true",
            "limits.subscriptions_max stays 1000 until the next start, and is then 9",
            "heartbeat.interval_s stays 7 until the next start, and is then 25",
        ]
    );
}

#[test]
fn certificates_may_be_others_but_tls_neither_begins_nor_ends() {
    let tls = |cert: &str| format!("[tls]\ncert = {cert:?}\nkey = \"key\"");
    let (config, unchanged) = reloaded(&tls("/a"), &tls("/b")).unwrap();
    assert_eq!((config.tls.first.cert, unchanged), (PathBuf::from("/b"), vec![]));
    for (running, read) in [(String::new(), tls("/a")), (tls("/a"), String::new())] {
        let (config, unchanged) = reloaded(&running, &read).unwrap();
        assert_eq!((config.tls.is_configured(), unchanged.len()), (!running.is_empty(), 2), "{unchanged:?}");
        assert!(unchanged[0].starts_with("tls.cert stays "), "{unchanged:?}");
    }
}

#[test]
fn what_is_right_by_itself_may_be_wrong_with_the_addresses_that_stay() {
    let public = "[server]\nlisten = [\"0.0.0.0:8080\"]\n[auth]\napi_keys_file = \"a\"";
    let error = reloaded(public, "").unwrap_err();
    assert!(error.starts_with(r#"server.listen = ["0.0.0.0:8080"]: 0.0.0.0:8080 can be reached from"#), "{error}");
    let error = reloaded(r#"server = { listen = ["0.0.0.0:1"], allow_anonymous = "always" }"#, "").unwrap_err();
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn the_reference_names_every_key_that_a_reload_changes() {
    let reference = shipped("docs/configuration.md");
    let section = reference.split("\n## Reload\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for key in Config::live_keys().filter(|key| !key.starts_with("auth.")) {
        assert!(section.contains(&format!("`{key}`")), "docs/configuration.md, Reload: {key}");
    }
}
