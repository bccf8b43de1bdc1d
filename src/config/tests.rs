//! Tables of what a configuration takes and of the sentences with which it refuses.
//!
//! The example files of `config/` and the reference in `docs/configuration.md` are held to the code here as well.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::rules::History;

mod auth;
mod reload;
mod rules;
mod tls;

/// Loads `toml` as a file called `wirefan.toml`, with these variables and flags.
fn load(toml: &str, variables: &[(&str, &str)], flags: &Flags) -> Result<Config, String> {
    let directory = scratch();
    let path = directory.join("wirefan.toml");
    fs::write(&path, toml).unwrap();
    let environment = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    let loaded = Config::load(Some(&path), environment, flags);
    fs::remove_dir_all(&directory).unwrap();
    let prefix = format!("{}/", directory.display());
    loaded.map_err(|error| error.to_string().replace(&prefix, ""))
}

fn scratch() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("wirefan-config-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

fn shipped(name: &str) -> String {
    fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn refusal(toml: &str) -> String {
    load(toml, &[], &Flags::default()).unwrap_err()
}

#[test]
fn nothing_said_gives_the_defaults() {
    let config = Config::load(None, std::iter::empty(), &Flags::default()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(load("", &[], &Flags::default()).unwrap(), Config::default());
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "[server]\nshards = 3\n[limits]\nconnections_max = 30\nsubscriptions_max = 300";
    let variables = [("WIREFAN_SERVER__SHARDS", "4"), ("WIREFAN_LIMITS__CONNECTIONS_MAX", "40")];
    let flags = Flags { shards: Some(5), ..Flags::default() };
    let config = load(file, &variables, &flags).unwrap();
    assert_eq!(config.server.shards, 5);
    assert_eq!(config.limits.connections_max, 40);
    assert_eq!(config.limits.subscriptions_max, 300);
    assert_eq!(config.heartbeat.interval_s, 25);
}

#[test]
fn a_variable_with_an_ipv6_address_first_is_a_list_and_no_array_of_toml() {
    for (written, expected) in [
        ("[::1]:8080", &["[::1]:8080"][..]),
        ("[::1]:8080, 127.0.0.1:80", &["[::1]:8080", "127.0.0.1:80"]),
        ("[::ffff:127.0.0.1]:1,[::1]:2", &["[::ffff:127.0.0.1]:1", "[::1]:2"]),
        (r#"["[::1]:8080"]"#, &["[::1]:8080"]),
        (r#"[ "127.0.0.1:80" , "[::1]:80" ]"#, &["127.0.0.1:80", "[::1]:80"]),
    ] {
        let config = load("", &[("WIREFAN_SERVER__LISTEN", written)], &Flags::default()).unwrap();
        let listen: Vec<_> = config.server.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, expected, "{written}");
    }
    for (written, reason) in [
        ("[::1]", r#""[::1]" lacks the port: write [::1]:8080"#),
        ("[::1]8080", r#""[::1]8080" is not an address"#),
        ("[8080]", "must be a list of addresses"),
    ] {
        let error = load("", &[("WIREFAN_SERVER__LISTEN", written)], &Flags::default()).unwrap_err();
        assert!(error.contains(reason), "{written}: {error}");
    }
}

#[test]
fn every_key_can_be_set_in_the_file_and_by_its_variable() {
    let values = [
        ("server.listen", r#"["127.0.0.2:1", "[::1]:2"]"#, "127.0.0.2:1, [::1]:2"),
        ("server.shards", "7", "7"),
        ("server.pin", "false", "false"),
        ("server.allow_anonymous", r#""always""#, "always"),
        ("server.allowed_origins", r#"["https://a.example", "*"]"#, "https://a.example,*"),
        ("server.echo", "true", "true"),
        ("server.deflate", "true", "true"),
        ("server.drain_s", "0", "0"),
        ("server.silence_ms_max", "0", "0"),
        ("server.spin_us", "50", "50"),
        ("limits.connections_max", "1_000", "1_000"),
        ("limits.message_bytes_max", "1000", "1000"),
        ("limits.subscriptions_max", "0x10", "16"),
        ("limits.outbound_bytes_max", "70000", "70000"),
        ("limits.handshake_ms_max", "100", "100"),
        ("limits.history_bytes_max", "4096", "4_096"),
        ("limits.commands_per_second_max", "50", "50"),
        ("limits.accepts_per_second_max", "1_000", "1000"),
        ("heartbeat.interval_s", "1", "1"),
        ("heartbeat.timeout_s", "2", " 2 "),
        (
            "auth.keys",
            r#"[{ alg = "HS256", secret_file = "/s", kid = "k" }, { jwks_file = "/j" }]"#,
            r#"[{ kid = "k", secret_file = "/s", alg = "HS256" }, { jwks_file = "/j" }]"#,
        ),
        ("auth.api_keys_file", r#""/etc/wirefan/api_keys""#, "/etc/wirefan/api_keys"),
        ("auth.claims", r#""https://example.com/grants""#, "https://example.com/grants"),
        ("auth.audience", r#""wirefan.example.com""#, "wirefan.example.com"),
        ("auth.issuer", r#""https://id.example.com/""#, "https://id.example.com/"),
        ("auth.leeway_s", "0", "0"),
        ("auth.in_band_ms_max", "5000", "5000"),
        ("tls.cert", r#""/etc/wirefan/a.pem""#, "/etc/wirefan/a.pem"),
        ("tls.key", r#""/etc/wirefan/a.key""#, "/etc/wirefan/a.key"),
        ("tls.certificates", r#"[{ cert = "/b.pem", key = "/b.key" }]"#, r#"[{ key = "/b.key", cert = "/b.pem" }]"#),
        ("tls.listen", r#"["127.0.0.2:443"]"#, "127.0.0.2:443"),
        ("log.format", r#""json""#, "json"),
        ("log.level", r#""debug""#, "debug"),
        ("metrics.allow_anonymous", r#""never""#, "never"),
    ];
    // What a key demands of others.
    let beside = |name| match name {
        "tls.cert" => "tls.key = \"/k\"\n",
        "tls.key" => "tls.cert = \"/c\"\n",
        "tls.certificates" | "tls.listen" => "tls.cert = \"/c\"\ntls.key = \"/k\"\n",
        _ => "",
    };
    assert!(values.iter().map(|&(name, ..)| name).eq(Config::keys()), "the table above names every key");
    for (name, in_file, in_variable) in values {
        let beside = beside(name);
        let by_file = load(&format!("{beside}{name} = {in_file}"), &[], &Flags::default()).unwrap();
        let variable = format!("WIREFAN_{}", name.replace('.', "__").to_uppercase());
        let by_variable = load(beside, &[(&variable, in_variable)], &Flags::default()).unwrap();
        assert_eq!(by_file, by_variable, "{name}");
        assert_ne!(by_file.to_string(), Config::default().to_string(), "{name}");
        let again = load(&by_file.to_string(), &[], &Flags::default()).unwrap();
        assert_eq!(again, by_file, "what check prints can be read again: {name}");
    }
}

#[test]
fn a_list_variable_may_be_a_toml_array_or_empty() {
    let origins = |text| {
        let config = load("", &[("WIREFAN_SERVER__ALLOWED_ORIGINS", text)], &Flags::default()).unwrap();
        config.server.allowed_origins
    };
    assert_eq!(origins(r#"["https://a.example", "https://b.example"]"#), ["https://a.example", "https://b.example"]);
    assert_eq!(origins(" https://a.example , https://b.example ,"), ["https://a.example", "https://b.example"]);
    assert!(origins("").is_empty());
}

#[test]
fn flags_replace_the_list_of_addresses_and_allow_strangers() {
    let flags = Flags {
        listen: vec!["0.0.0.0:1".parse().unwrap(), "127.0.0.1:0".parse().unwrap()],
        shards: None,
        allow_anonymous: true,
    };
    let config = load("server.listen = [\"127.0.0.1:9\"]", &[], &flags).unwrap();
    assert_eq!(config.server.listen, flags.listen);
    assert_eq!(config.server.allow_anonymous, AllowAnonymous::Always);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_one() {
    let cases = [
        (
            "[limits]\nmessage_byte_max = 1",
            "wirefan.toml:2: limits.message_byte_max: unknown key; did you mean limits.message_bytes_max?",
        ),
        ("\n\nlisten = []", "wirefan.toml:3: listen: unknown key; did you mean server.listen?"),
        (
            "[server]\nmessage_bytes_max = 1",
            "wirefan.toml:2: server.message_bytes_max: unknown key; did you mean limits.message_bytes_max?",
        ),
        (
            "[heartbeat]\ninterval = 3",
            "wirefan.toml:2: heartbeat.interval: unknown key; did you mean heartbeat.interval_s?",
        ),
        ("[limit]\nconnections_max = 1", "wirefan.toml:1: [limit]: unknown table; did you mean [limits]?"),
        ("[broker]\ncert = \"a\"", "wirefan.toml:1: [broker]: unknown table; `wirefan check` lists every known one"),
        ("[server]\nzzz = true", "wirefan.toml:2: server.zzz: unknown key; `wirefan check` lists every known one"),
        (
            "server.listen.port = 1",
            "wirefan.toml:1: server.listen = {…}: must be a list of addresses, such as [\"127.0.0.1:8080\"]",
        ),
        ("server = 3", "wirefan.toml:1: server: must be a table, [server]"),
        ("\"a\\u0007\\nb\" = 3", "wirefan.toml:1: a\\u{7}\\nb: unknown key; `wirefan check` lists every known one"),
    ];
    for (toml, sentence) in cases {
        assert_eq!(refusal(toml), sentence);
    }
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_known_one() {
    let cases = [
        ("WIREFAN_LIMITS__MESSAGE_BYTE_MAX", "unknown variable; did you mean WIREFAN_LIMITS__MESSAGE_BYTES_MAX?"),
        ("WIREFAN_LIMITS_MESSAGE_BYTES_MAX", "unknown variable; did you mean WIREFAN_LIMITS__MESSAGE_BYTES_MAX?"),
        ("WIREFAN_SHARDS", "unknown variable; did you mean WIREFAN_SERVER__SHARDS?"),
        ("WIREFAN_limits__connections_max", "unknown variable; did you mean WIREFAN_LIMITS__CONNECTIONS_MAX?"),
        (
            "WIREFAN_COLOUR",
            "unknown variable; all that begin with WIREFAN_ are read as keys, and `wirefan check` lists every known one",
        ),
    ];
    for (name, sentence) in cases {
        let refused = load("", &[(name, "1")], &Flags::default()).unwrap_err();
        assert_eq!(refused, format!("{name}: {sentence}"));
    }
}

#[test]
fn variables_of_others_and_the_service_links_of_kubernetes_are_left_alone() {
    let others = [
        ("PATH", "/bin"),
        ("wirefan_server__shards", "x"),
        ("WIREFAN_TOKEN", "of `wirefan subscribe`"),
        ("WIREFAN_SERVICE_HOST", "10.0.0.1"),
        ("WIREFAN_SERVICE_PORT", "8080"),
        ("WIREFAN_SERVICE_PORT_HTTP", "8080"),
        ("WIREFAN_PORT", "tcp://10.0.0.1:8080"),
        ("WIREFAN_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("WIREFAN_CANARY_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(load("", &others, &Flags::default()).unwrap(), Config::default());
    assert!(load("", &[("WIREFAN_PORT_X_TCP", "1")], &Flags::default()).is_err());
}

#[test]
fn wrong_types_and_values_out_of_range_name_key_value_and_reason() {
    for (toml, sentence) in WRONG {
        assert_eq!(refusal(toml), format!("wirefan.toml:1: {sentence}"));
    }
}

#[test]
fn wrong_variables_and_flags_are_named_as_they_were_written() {
    let refused = load("", &[("WIREFAN_SERVER__SHARDS", "many")], &Flags::default()).unwrap_err();
    assert_eq!(refused, "WIREFAN_SERVER__SHARDS=many: must be a whole number from 0 to 128");
    let refused = load("", &[("WIREFAN_SERVER__PIN", "yes")], &Flags::default()).unwrap_err();
    assert_eq!(refused, "WIREFAN_SERVER__PIN=yes: must be true or false");
    let flags = Flags { shards: Some(1000), ..Flags::default() };
    assert_eq!(load("", &[], &flags).unwrap_err(), "--shards 1000: must be a whole number from 0 to 128");
}

#[test]
fn addresses_that_lack_something_say_what_to_write() {
    let cases = [
        ("127.0.0.1", "lacks the port: write 127.0.0.1:8080"),
        ("::1", "lacks the port: write [::1]:8080"),
        ("[::1]", "lacks the port: write [::1]:8080"),
        (
            "8080",
            "lacks the address: write 127.0.0.1:8080 for this machine alone, 0.0.0.0:8080 for every IPv4 network of it",
        ),
        (
            ":80",
            "lacks the address: write 127.0.0.1:80 for this machine alone, 0.0.0.0:80 for every IPv4 network of it",
        ),
        ("127.0.0.1:65536", "is not an address: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080"),
        ("", "is not an address: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080"),
    ];
    for (text, sentence) in cases {
        assert_eq!(listen_address(text).unwrap_err(), sentence, "{text:?}");
    }
}

#[test]
fn a_public_address_needs_the_operators_word() {
    for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "[::ffff:192.0.2.1]:80"] {
        let toml = format!("server.listen = [\"127.0.0.1:80\", \"{address}\"]");
        let refused = refusal(&toml);
        assert!(refused.contains(&format!("{address} can be reached from other machines")), "{refused}");
        assert!(refused.contains("--allow-anonymous or server.allow_anonymous = \"always\""), "{refused}");
        load(&format!("{toml}\nserver.allow_anonymous = \"always\""), &[], &Flags::default()).unwrap();
        // With [auth] strangers stay out.
        load(&format!("{toml}\nauth.api_keys_file = \"k\""), &[], &Flags::default()).unwrap();
    }
    for address in ["127.8.9.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
        load(&format!("server.listen = [\"{address}\"]"), &[], &Flags::default()).unwrap();
    }
}

#[test]
fn never_refuses_every_address_because_nobody_could_come_in() {
    let refused = refusal("server.allow_anonymous = \"never\"");
    assert!(
        refused
            .contains("= \"never\": would refuse every connection, because without [auth] nobody can say who they are"),
        "{refused}"
    );
    load("server.allow_anonymous = \"never\"\nauth.keys = [{ jwks_file = \"j\" }]", &[], &Flags::default()).unwrap();
}

#[test]
fn outbound_has_room_for_one_longest_message() {
    let refused = refusal("limits.message_bytes_max = 1048576");
    assert_eq!(
        refused,
        "limits.outbound_bytes_max = 1048576 (the default): must be at least 1049856, so that one message of \
         limits.message_bytes_max (1048576) and the 1280 bytes around it can wait"
    );
    let toml = "limits.message_bytes_max = 1000\nlimits.outbound_bytes_max = ";
    load(&format!("{toml}2280"), &[], &Flags::default()).unwrap();
    assert!(refusal(&format!("{toml}2279")).starts_with("wirefan.toml:2: limits.outbound_bytes_max = 2279: "));
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let toml = "[server]\nshards = -1\nfoo = 1\n[limits]\nconnections_max = 0";
    let variables = [("WIREFAN_HEARTBEAT__TIMEOUT_S", "0")];
    let refused = load(toml, &variables, &Flags::default()).unwrap_err();
    let places: Vec<_> = refused.lines().map(|line| line.split(['=', ' ']).next().unwrap()).collect();
    assert_eq!(places, ["wirefan.toml:2:", "wirefan.toml:3:", "wirefan.toml:5:", "WIREFAN_HEARTBEAT__TIMEOUT_S"]);
}

#[test]
fn what_is_no_toml_or_no_file_is_one_line_each() {
    let refused = refusal("[server]\nshards = = 2");
    assert!(refused.starts_with("wirefan.toml:2: this is not TOML: "), "{refused}");
    assert!(refusal("a = 1\na = 2").starts_with("wirefan.toml:2: this is not TOML: "));
    let missing = Config::load(Some(Path::new("/nonexistent/w.toml")), std::iter::empty(), &Flags::default());
    assert_eq!(
        missing.unwrap_err().to_string(),
        "/nonexistent/w.toml: cannot be opened: No such file or directory (os error 2)"
    );
    let large = format!("#{}", " ".repeat(1024 * 1024));
    assert!(refusal(&large).contains("is longer than 1048576 bytes"));
}

#[test]
fn wirefan_toml_is_complete_and_equals_the_defaults() {
    let text = shipped("config/wirefan.toml");
    assert_eq!(load(&text, &[], &Flags::default()).unwrap(), Config::default());
    // Without its comments it is what `wirefan check` prints: every key, its default, the same order.
    let bare: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
    assert_eq!(bare.trim(), Config::default().to_string().trim());
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with("# ")) {
        assert!(pair[0].starts_with("# ") && pair[0].ends_with('.'), "a sentence above {:?}", pair[1]);
    }
}

#[test]
fn the_rule_of_wirefan_toml_has_every_key_and_is_the_implicit_one_with_a_history() {
    let text = shipped("config/wirefan.toml");
    let example: String = text
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')))
        .map(|line| format!("{line}\n"))
        .collect();
    let history = Some(History { count: 1000, age_s: 600 });
    let expected = Config { rules: vec![Rule { history, ..Rule::default() }], ..Config::default() };
    assert_eq!(load(&example, &[], &Flags::default()).unwrap(), expected);
    let printed = expected.to_string();
    assert_eq!(&printed[printed.find("[[rule]]").unwrap()..], example);
    assert_eq!(example.lines().count(), 1 + rule::RULE_KEYS.len());
}

#[test]
fn the_ready_files_load() {
    for name in ["config/chat.toml", "config/development.toml", "config/production.toml"] {
        load(&shipped(name), &[], &Flags::default()).unwrap_or_else(|refused| panic!("{name}: {refused}"));
    }
    assert!(shipped("config/wirefan.service").contains("\nLimitNOFILE=1048576\n"));
    // Its examples taken in, production.toml asks who somebody is, and has a rule that wants to know.
    let uncommented =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    let guarded: Vec<_> = shipped("config/production.toml").lines().map(uncommented).collect();
    let guarded = load(&guarded.join("\n"), &[], &Flags::default()).unwrap();
    assert!(guarded.auth.is_configured() && guarded.auth.api_keys_file.is_some() && guarded.tls.is_configured());
    assert_eq!((guarded.rules.len(), guarded.warnings().len()), (2, 0));
}

#[test]
fn the_reference_documents_every_key_with_its_default_and_variable() {
    let reference = shipped("docs/configuration.md");
    for key in key::KEYS {
        let default = (key.show)(&Config::default());
        let row = format!("| `{}` | `{default}` |", key.name);
        assert!(reference.contains(&row), "docs/configuration.md has the row {row}");
    }
    for key in rule::RULE_KEYS {
        let row = match (key.show)(&Rule::default()) {
            _ if key.name == "rule.filter" => "| `filter` | required |".to_owned(),
            Some(default) => format!("| `{}` | `{default}` |", key.leaf()),
            None => format!("| `{}` | none |", key.leaf()),
        };
        assert!(reference.contains(&row), "docs/configuration.md has the row {row}");
    }
}

/// What the file says, and the refusal after `wirefan.toml:1: `.
const WRONG: &[(&str, &str)] = &[
    ("server.shards = 129", "server.shards = 129: must be a whole number from 0 to 128"),
    ("server.shards = -1", "server.shards = -1: must be a whole number from 0 to 128"),
    ("server.shards = \"2\"", "server.shards = \"2\": must be a whole number from 0 to 128"),
    ("server.pin = 1", "server.pin = 1: must be true or false"),
    (
        "server.silence_ms_max = 999",
        "server.silence_ms_max = 999: must be 0, or a whole number of milliseconds from 1000 to 600000",
    ),
    ("server.allow_anonymous = true", r#"server.allow_anonymous = true: must be "loopback", "always" or "never""#),
    (
        "server.allowed_origins = \"*\"",
        r#"server.allowed_origins = "*": must be a list: ["same"], ["*"], or origins such as ["https://app.example"]"#,
    ),
    (
        "limits.message_bytes_max = 0",
        "limits.message_bytes_max = 0: must be a whole number of bytes from 1 to 67108864",
    ),
    (
        "limits.message_bytes_max = 67108865",
        "limits.message_bytes_max = 67108865: must be a whole number of bytes from 1 to 67108864",
    ),
    (
        "limits.message_bytes_max = 1e6",
        "limits.message_bytes_max = 1e6: must be a whole number of bytes from 1 to 67108864",
    ),
    (
        "limits.connections_max = 99999999999999999999999",
        "limits.connections_max = 99999999999999999999999: must be a whole number from 1 to 100000000",
    ),
    (
        "limits.handshake_ms_max = 99",
        "limits.handshake_ms_max = 99: must be a whole number of milliseconds from 100 to 600000",
    ),
    ("heartbeat.interval_s = 0", "heartbeat.interval_s = 0: must be a whole number of seconds from 1 to 86400"),
    ("heartbeat.timeout_s = 0", "heartbeat.timeout_s = 0: must be a whole number of seconds from 1 to 86400"),
    (
        "server.listen = [\"localhost:80\"]",
        r#"server.listen = ["localhost:80"]: "localhost:80" is a name: write the address, 127.0.0.1:80 or [::1]:80"#,
    ),
    ("server.listen = [8080]", r#"server.listen = [8080]: must be a list of addresses, such as ["127.0.0.1:8080"]"#),
    ("log.format = \"xml\"", r#"log.format = "xml": must be "text" or "json""#),
    ("log.level = 3", r#"log.level = 3: must be "error", "warn", "info" or "debug""#),
    ("server.listen = []", "server.listen = []: must name at least one address to listen on"),
    (
        "server.listen = [\"127.0.0.1:1\",\"127.0.0.1:1\"]",
        r#"server.listen = ["127.0.0.1:1","127.0.0.1:1"]: names 127.0.0.1:1 twice"#,
    ),
    (
        "server.allowed_origins = [\"\"]",
        r#"server.allowed_origins = [""]: "" is not an origin: write "same", "*", or scheme://host[:port] without a path"#,
    ),
];
