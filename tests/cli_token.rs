//! `wirefan token` from outside: what it prints, what the configuration makes of it, its sentences and exit codes; and
//! what `publish` and `subscribe` can do with it.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use wirefan::auth::{Credentials, TokenError};
use wirefan::config::{Config, Flags};
use wirefan::topic::{Filter, Topic};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A directory of its own, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wirefan-token-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With a configuration of these keys, and the secret.
    fn with_keys(name: &str, auth: &str) -> Self {
        let directory = Self::new(name);
        directory.write("secret", SECRET);
        directory.write("wirefan.toml", &format!("[auth]\n{auth}\n"));
        directory
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn config(&self) -> String {
        self.0.join("wirefan.toml").display().to_string()
    }

    /// What a broker with this configuration would know people by.
    fn credentials(&self) -> Credentials {
        let config = Config::load(Some(Path::new(&self.config())), std::iter::empty(), &Flags::default()).unwrap();
        config.credentials().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs to the end: exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    let output = command.env_clear().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[expect(clippy::disallowed_methods, reason = "a test plays the broker, which has a clock")]
fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A broker with a configuration, and its URL; killed at the end.
struct Broker(Child, String);

impl Broker {
    fn start(config: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
        command.env_clear().args(["serve", "--shards", "2", "--listen", "127.0.0.1:0", "--config", config]);
        let mut broker = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(broker.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").expect(&line);
        Self(broker, format!("ws://{address}/ws"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It fails only when the broker has ended, which is what it is for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const HMAC: &str = "keys = [{ alg = \"HS256\", secret_file = \"secret\", kid = \"k\" }]";

#[test]
fn a_token_is_printed_alone_and_taken_by_a_broker_of_the_same_configuration() {
    let directory = Directory::with_keys("taken", &format!("{HMAC}\naudience = \"me\"\nissuer = \"it\"\nleeway_s = 0"));
    let config = directory.config();
    let began = now_unix_s();
    let arguments = ["token", "--user", "ann", "--subscribe", "chat/#", "--subscribe", "news", "--publish", "chat/+"];
    let (code, out, err) = run(&[&arguments[..], &["--operate", "--ttl", "2m", "--config", &config]].concat());
    assert_eq!((code, err.as_str(), out.lines().count()), (0, "", 1));
    let identity = directory.credentials().identify(out.trim_end(), now_unix_s()).unwrap();
    assert!((began + 120..=now_unix_s() + 120).contains(&identity.expires_unix_s));
    assert_eq!((&*identity.user, identity.operate), ("ann", true));
    assert!(identity.subscribe.covers(Filter::parse("chat/#").unwrap()));
    assert!(identity.subscribe.allows(Topic::parse("news").unwrap()));
    assert!(!identity.publish.allows(Topic::parse("news").unwrap()));
    let expired = directory.credentials().identify(out.trim_end(), now_unix_s() + 121);
    assert_eq!(expired, Err(TokenError::Expired));
}

#[test]
fn publish_and_subscribe_come_with_a_token_and_never_show_it() {
    let rules = "[[rule]]\nfilter = \"chat/#\"\nsubscribe = \"granted\"\npublish = \"granted\"\nfrom = true\n\
                 history = { count = 9, age = \"1h\" }";
    let directory = Directory::with_keys("used", &format!("{HMAC}\napi_keys_file = \"keys\"\n{rules}"));
    let (_, made, _) = run(&["token", "--api-key", "backend", "--publish", "chat/#"]);
    let (key, line) = made.trim_end().split_once('\n').unwrap();
    directory.write("keys", line);
    let config = directory.config();
    let (_, token, _) = run(&["token", "--user", "ann", "--subscribe", "chat/+", "--config", &config]);
    let token = token.trim_end();
    let broker = Broker::start(&config);
    let with = |arguments: &[&str]| run(&[arguments, &["--url", &broker.1]].concat());
    let (code, position, err) = with(&["publish", "chat/1", "1", "--token", key]);
    assert_eq!((code, err.as_str()), (0, ""));
    let (code, out, err) = with(&["subscribe", "chat/1", "--last", "1", "--count", "1", "--json", "--token", token]);
    assert_eq!((code, err.as_str()), (0, "subscribed to chat/1\n"));
    assert!(out.contains(r#""from":"backend""#), "{out}");
    let mut by_variable = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    by_variable.env_clear().env("WIREFAN_TOKEN", token).args(["subscribe", "chat/1", "--last", "1", "--count", "1"]);
    let output = by_variable.args(["--url", &broker.1]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{} 1\n", position.trim_end()));

    let hint = "give a token with --token or the variable WIREFAN_TOKEN\n";
    let forged = format!("{token}x");
    for (arguments, sentence) in [
        (
            &["publish", "chat/1", "1"][..],
            format!("not published: the broker says 401, it wants to know who you are; {hint}"),
        ),
        (
            &["subscribe", "a"],
            format!("not subscribed to \"a\": the broker says 401, it wants to know who you are; {hint}"),
        ),
        (&["publish", "chat/1", "1", "--token", token], "not published: the broker says 403: ".to_owned()),
        (
            &["subscribe", "chat/#", "--last", "1", "--token", token],
            "not subscribed to \"chat/#\": the broker says 4".to_owned(),
        ),
        (
            &["subscribe", "chat/1", "--token", &forged],
            "the broker refuses the token with 4501: the token is not ".to_owned(),
        ),
        (
            &["publish", "a", "1", "--token", "wfk_x"],
            "the broker refuses the token with 4501: the API key is not ".to_owned(),
        ),
    ] {
        let (code, out, err) = with(arguments);
        assert_eq!((code, out.as_str()), (1, ""), "{arguments:?}");
        assert!(err.contains(&sentence) && !err.contains(token) && !err.contains("wfk_"), "{arguments:?}: {err}");
    }
    let in_query = format!("{}?access_token={forged}", broker.1);
    let (code, _, err) = run(&["publish", "a", "1", "--url", &in_query]);
    assert_eq!(code, 1);
    assert!(err.contains("?access_token=…: the broker refuses the token with 4501: ") && !err.contains(token), "{err}");
}

#[test]
fn it_is_valid_for_an_hour_if_nothing_is_said() {
    let directory = Directory::with_keys("hour", HMAC);
    let (_, out, _) = run(&["token", "--user", "ann", "--config", &directory.config()]);
    let identity = directory.credentials().identify(out.trim_end(), now_unix_s()).unwrap();
    assert!((now_unix_s() + 3600..).contains(&(identity.expires_unix_s)));
    assert!(identity.subscribe.is_empty() && identity.publish.is_empty() && !identity.operate);
}

#[test]
fn an_api_key_is_printed_with_the_line_that_the_file_gets() {
    let directory = Directory::with_keys("api", "api_keys_file = \"keys\"");
    let arguments = ["token", "--api-key", "back end", "--publish", "a b/#", "--publish", "#", "--operate"];
    let (code, out, err) = run(&arguments);
    assert_eq!((code, err.as_str()), (0, ""));
    let (key, line) = out.trim_end().split_once('\n').unwrap();
    assert!(key.starts_with("wfk_") && key.len() == 47 && !line.contains(key), "{out}");
    directory.write("keys", &format!("# backends\n{line}\n"));
    let identity = directory.credentials().identify(key, now_unix_s()).unwrap();
    assert_eq!((&*identity.user, identity.operate), ("back end", true));
    assert!(identity.publish.covers(Filter::parse("#").unwrap()) && identity.subscribe.is_empty());
    let (_, again, _) = run(&arguments);
    assert_ne!(out, again, "each is another");
}

#[test]
fn openssls_private_keys_sign_where_openssl_is() {
    let openssl = |directory: &Directory, arguments: &str| {
        let arguments = arguments.split(' ');
        Command::new("openssl").args(arguments).current_dir(&directory.0).stderr(Stdio::null()).status()
    };
    for (alg, make) in [
        ("RS256", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out private"),
        ("RS256", "genrsa -traditional -out private 2048"),
        ("ES256", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out private"),
        ("ES256", "ecparam -name prime256v1 -genkey -noout -out private"),
        ("EdDSA", "genpkey -algorithm ed25519 -out private"),
    ] {
        let keys = format!("keys = [{{ alg = \"{alg}\", pem_file = \"public\" }}]");
        let directory = Directory::with_keys(&format!("openssl-{alg}"), &keys);
        if openssl(&directory, make).is_err() {
            return;
        }
        assert!(openssl(&directory, "pkey -in private -pubout -out public").unwrap().success(), "{make}");
        let private = directory.0.join("private").display().to_string();
        let arguments = ["token", "--user", "ann", "--config", &directory.config(), "--key", &private];
        let (code, out, err) = run(&arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{make}");
        assert_eq!(&*directory.credentials().identify(out.trim_end(), now_unix_s()).unwrap().user, "ann", "{make}");
        // Without --key there is nothing to sign with, and the public half cannot.
        let (code, out, err) = run(&arguments[..5]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.contains("no key of HS256, HS384 or HS512 is configured to sign with"), "{err}");
        let public = directory.0.join("public").display().to_string();
        let (code, _, err) = run(&[&arguments[..6], &[&public]].concat());
        assert_eq!(code, 2);
        assert!(err.contains("public has no private key of RS256"), "{err}");
        directory.write("wirefan.toml", &format!("[auth]\n{HMAC}\n"));
        let (code, _, err) = run(&arguments);
        assert_eq!(code, 2);
        assert!(err.contains("private is not the private half of a configured key"), "{err}");
    }
}

#[test]
fn wrong_arguments_exit_with_2_and_a_sentence() {
    let directory = Directory::with_keys("wrong", HMAC);
    let config = directory.config();
    let long = "x".repeat(256);
    let cases: [(&[&str], &str); 12] = [
        (&["token"], "<--user <USER>|--api-key <NAME>>"),
        (&["token", "--user", "a", "--api-key", "b"], "cannot be used with"),
        (&["token", "--api-key", "b", "--ttl", "1h"], "cannot be used with"),
        (&["token", "--user", "a", "--subscribe", "a//b"], "the level at byte 2 is empty"),
        (&["token", "--user", "a", "--publish", "#/a"], "has to be the whole last level"),
        (&["token", "--user", "a", "--ttl", "1"], "must be a whole number with its unit"),
        (&["token", "--user", "a", "--ttl", "0s"], "must be a whole number with its unit"),
        (&["token", "--user", "a"], "name a configuration that has one with --config, or a private key with --key"),
        (&["token", "--user", "", "--config", &config], "the broker would refuse the token: the token's `sub`"),
        (&["token", "--user", &long, "--config", &config], "the broker would refuse the token: the token's `sub`"),
        (&["token", "--api-key", ""], "the API key has a name that is empty, too long or has control characters"),
        (&["token", "--user", "a", "--config", "/nonexistent/w.toml"], "cannot be opened"),
    ];
    for (arguments, sentence) in cases {
        let (code, out, err) = run(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(err.contains(sentence), "{arguments:?}: {err}");
    }
    let (code, _, err) = run(&["token", "--user", "a", "--config", &config, "--key", "/nonexistent"]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot read /nonexistent"), "{err}");
}

#[test]
fn check_and_serve_read_the_files_and_say_what_is_wrong_with_them() {
    let directory = Directory::with_keys("check", HMAC);
    let config = directory.config();
    let (code, out, err) = run(&["check", "--config", &config]);
    assert_eq!((code, err.lines().count()), (0, 1));
    assert!(err.starts_with("warning: [auth]: no rule says \"granted\", "), "{err}");
    let secret = directory.0.join("secret").display().to_string();
    let line = format!("keys = [{{ alg = \"HS256\", secret_file = \"{secret}\", kid = \"k\" }}]");
    assert!(out.contains(&line) && !out.contains(SECRET), "{out}");
    directory.write("secret", "short");
    let (code, out, err) = run(&["check", "--config", &config]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("is a secret of 5 bytes; HS256 needs 32 at least"), "{err}");
    let (code, out, err) = run(&["serve", "--config", &config, "--listen", "127.0.0.1:0"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("is a secret of 5 bytes; HS256 needs 32 at least"), "{err}");
}
