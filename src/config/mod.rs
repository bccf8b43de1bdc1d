//! The broker's configuration: every setting an operator can choose, with its default.
//!
//! Called once by `cli` before anything starts; the parts of the broker then hold copies of what they need.
//! A [`Config`] that [`Config::load`] returned is valid as a whole: types, ranges, and what the keys demand of each
//! other. A flag beats an environment variable, which beats the file, which beats the default.
//! It refuses unknown keys and variables, with the nearest known one, and reports every problem at once.

mod auth;
mod check;
mod error;
mod file;
mod key;
mod log;
mod reload;
mod rule;
mod source;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use self::error::{ConfigError, Problem};
pub use self::key::{TOKEN_VARIABLE, listen_address};
pub use self::log::{Log, LogFormat, LogLevel};
pub use self::reload::Unchanged;
pub use self::rule::duration_s;
use crate::auth::Algorithm;
use crate::rules::Rule;

/// Every setting of the broker. [`Config::default`] is what runs without file, variables and flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[server]`: where it listens, on how many cores, for whom.
    pub server: Server,
    /// `[limits]`: how much a stranger can cost.
    pub limits: Limits,
    /// `[heartbeat]`: how soon a silent connection is found dead.
    pub heartbeat: Heartbeat,
    /// `[auth]`: who is who, and what they may do.
    pub auth: Auth,
    /// `[tls]`: certificates, and where they are shown.
    pub tls: Tls,
    /// `[log]`: what is told, and how.
    pub log: Log,
    /// `[metrics]`: who may see the broker's figures.
    pub metrics: Metrics,
    /// `[[rule]]`: what topics are like, in the order of the file; see [`Rules`](crate::rules::Rules). At most
    /// [`RULES_MAX`](crate::limits::RULES_MAX), no filter twice.
    pub rules: Vec<Rule>,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Addresses to listen on: at least one, none twice. Each shard has one listener per address. Port 0 lets the
    /// kernel choose.
    pub listen: Vec<SocketAddr>,
    /// Threads that serve connections, each with its own share of them. 0: one per core of the process's affinity mask.
    pub shards: usize,
    /// Whether each shard is tied to one core.
    pub pin: bool,
    /// On which addresses connections without a token are welcome.
    pub allow_anonymous: AllowAnonymous,
    /// Which web pages may connect: `same`, `*`, or origins such as `https://app.example`.
    pub allowed_origins: Vec<String>,
    /// Whether `/echo` answers each message with itself, for conformance suites.
    pub echo: bool,
    /// Whether permessage-deflate is agreed to.
    pub deflate: bool,
    /// Over how many seconds a stop spreads its disconnects.
    pub drain_s: u32,
    /// Milliseconds for which a shard may not be heard of by the others before `/readyz` is 503. 0: nobody listens.
    pub silence_ms_max: u64,
    /// Microseconds for which a shard looks for more before it sleeps, where that pays. 0: not at all.
    pub spin_us: u32,
}

/// On which addresses connections without a token are welcome. With `[auth]` only [`AllowAnonymous::Always`] lets them
/// in, on loopback too: the proxy in front of a broker comes from there with everybody's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowAnonymous {
    /// Only on loopback addresses, and only without `[auth]`; a public one is refused at the start.
    Loopback,
    /// On every address.
    Always,
    /// On none.
    Never,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections of the whole process.
    pub connections_max: usize,
    /// Bytes of one message from a client, envelope included.
    pub message_bytes_max: usize,
    /// Subscriptions of one connection.
    pub subscriptions_max: usize,
    /// Bytes that may wait for one connection before it counts as a slow consumer.
    pub outbound_bytes_max: usize,
    /// Milliseconds from accepting a connection to the end of its opening handshake.
    pub handshake_ms_max: u64,
    /// Bytes of all kept publications of the whole process; beyond it the oldest of all topics go first.
    pub history_bytes_max: usize,
    /// Commands per second of one connection, twice that at once. 0: unlimited.
    pub commands_per_second_max: u32,
    /// Connections accepted per second by the whole process, twice that at once. 0: unlimited.
    pub accepts_per_second_max: u32,
}

/// `[heartbeat]`
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Seconds within which a silent connection is sent a ping.
    pub interval_s: u32,
    /// Seconds that its pong may take.
    pub timeout_s: u32,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Where `/metrics` and `$sys/stats` are for everybody and not only for operators; [`AllowAnonymous::Loopback`]: where
    /// there is no `[auth]` and the broker listens on loopback addresses alone.
    pub allow_anonymous: AllowAnonymous,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { allow_anonymous: AllowAnonymous::Loopback }
    }
}

/// `[auth]`. Without keys and without API keys nobody can say who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// What tokens may be signed with.
    pub keys: Vec<AuthKey>,
    /// API keys, a line each; absolute. None: there are none.
    pub api_keys_file: Option<PathBuf>,
    /// The member of a token's claims that has the grants.
    pub claims: String,
    /// What `aud` has to name. Empty: a token with `aud` is refused.
    pub audience: String,
    /// What `iss` has to be. Empty: it is not looked at.
    pub issuer: String,
    /// How far the clocks of issuer and broker may be apart, in seconds.
    pub leeway_s: u32,
    /// How long a connection that came without a token may take for its `auth` command, in milliseconds.
    pub in_band_ms_max: u64,
}

/// One of `auth.keys`.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthKey {
    /// The file; absolute.
    pub file: PathBuf,
    /// What the file is.
    pub kind: AuthKeyKind,
}

/// What a key's file is.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthKeyKind {
    /// `secret_file`, for HS256, HS384 or HS512.
    Secret(Algorithm, Option<String>),
    /// `pem_file`, for RS256, ES256 or EdDSA.
    Pem(Algorithm, Option<String>),
    /// `jwks_file`, which says of each key what it is.
    Jwks,
}

/// `[tls]`. Without certificates no TLS is spoken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// `cert` and `key`: what is shown to whoever asks for no name, or for one that no certificate has.
    pub first: Certificate,
    /// `certificates`: those for other names. At most [`TLS_CERTIFICATES_MAX`](crate::limits::TLS_CERTIFICATES_MAX) with
    /// the first.
    pub others: Vec<Certificate>,
    /// Addresses that speak TLS, while those of `server.listen` do not. Empty: those of `server.listen` do.
    pub listen: Vec<SocketAddr>,
}

/// A certificate with its key: absolute paths of PEM files, or empty ones.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// The certificate, and behind it the chain up to the one that clients know.
    pub cert: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
}

/// What the command line said. Nothing said leaves the setting to the environment, the file and the default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flags {
    /// `--listen ADDR`, as often as it was given; replaces the whole list.
    pub listen: Vec<SocketAddr>,
    /// `--shards N`
    pub shards: Option<usize>,
    /// `--allow-anonymous`: `server.allow_anonymous = "always"`.
    pub allow_anonymous: bool,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            shards: 0,
            pin: true,
            allow_anonymous: AllowAnonymous::Loopback,
            allowed_origins: vec!["same".to_owned()],
            echo: false,
            deflate: false,
            drain_s: 30,
            silence_ms_max: 5_000,
            spin_us: 0,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_000_000,
            message_bytes_max: 64 * 1024,
            subscriptions_max: 1_000,
            outbound_bytes_max: 1024 * 1024,
            handshake_ms_max: 10_000,
            history_bytes_max: 256 * 1024 * 1024,
            commands_per_second_max: 0,
            accepts_per_second_max: 0,
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval_s: 25, timeout_s: 10 }
    }
}

impl Default for Auth {
    fn default() -> Self {
        let crate::auth::Expectations { claims, leeway_s, .. } = crate::auth::Expectations::default();
        Self {
            keys: Vec::new(),
            api_keys_file: None,
            claims,
            audience: String::new(),
            issuer: String::new(),
            leeway_s: u32::try_from(leeway_s).expect("it is half a minute"),
            in_band_ms_max: 10_000,
        }
    }
}

impl Config {
    /// Puts the layers together: defaults, then `file`, then the `WIREFAN_...` variables among `environment`, then
    /// `flags`; checks the result.
    ///
    /// # Errors
    /// Everything that is wrong in the layers, or, where each of them is right, between the keys.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut draft = source::Draft::default();
        if let Some(path) = file {
            draft.read_file(path)?;
        }
        draft.read_environment(environment);
        draft.read_flags(flags);
        draft.finish()
    }

    /// The names of all keys outside rules, such as `limits.message_bytes_max`, in the order of the file. Each has an
    /// environment variable.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        key::KEYS.iter().map(|key| key.name)
    }
}

/// The configuration as a TOML file, every key written out.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = "";
        for key in key::KEYS {
            let (of, leaf) = key.parts();
            if of != table {
                let gap = if table.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{of}]")?;
                table = of;
            }
            writeln!(f, "{leaf} = {}", (key.show)(self))?;
        }
        for rule in &self.rules {
            writeln!(f, "\n[[rule]]")?;
            rule::lines(rule).try_for_each(|line| writeln!(f, "{line}"))?;
        }
        Ok(())
    }
}
