//! What a configuration file that is read again changes in a broker that runs.
//!
//! `net` asks at SIGHUP. Rules, origins, `[auth]` and the files of `[tls]` are taken; every other key stays as it was at
//! the start and is named, so that nobody waits for it. What comes out is checked as a whole: a new file may be right by
//! itself and wrong with the addresses that stay.

use std::fmt;

use super::key::{KEYS, Key, Value};
use super::{Config, ConfigError, check};

/// A key whose new value counts from the next start on.
#[derive(Clone, Debug, PartialEq)]
pub struct Unchanged {
    name: &'static str,
    now: Value,
    later: Value,
}

impl Config {
    /// What this configuration becomes with the one that was `read`, and which keys it keeps although they were changed.
    ///
    /// # Errors
    /// What is wrong with the outcome; then all stays as it was.
    pub fn reloaded(&self, read: &Self) -> Result<(Self, Vec<Unchanged>), ConfigError> {
        let mut next = read.clone();
        let mut unchanged = Vec::new();
        // TLS begins and ends with its listeners.
        let tls = self.tls.is_configured() == read.tls.is_configured();
        for key in KEYS.iter().filter(|key| !(key.is_live() && (tls || key.parts().0 != "tls"))) {
            let (now, later) = ((key.show)(self), (key.show)(read));
            if now != later {
                (key.read)(&mut next, &now).expect("a value in force can be read");
                unchanged.push(Unchanged { name: key.name, now, later });
            }
        }
        let shown = |name: &str| KEYS.iter().find(|key| key.name == name).map(|key| (key.show)(&next));
        let written = |name| shown(name).map_or_else(|| name.to_owned(), |value| format!("{name} = {value}"));
        let problems = check::check(&next, written);
        if problems.is_empty() { Ok((next, unchanged)) } else { Err(ConfigError::new(problems)) }
    }

    /// The names of the keys that a reload changes, besides rules.
    pub fn live_keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().filter(|key| key.is_live()).map(|key| key.name)
    }
}

impl Key {
    fn is_live(&self) -> bool {
        LIVE.contains(&self.name) || self.parts().0 == "auth"
    }
}

impl fmt::Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, now, later } = self;
        write!(f, "{name} stays {now} until the next start, and is then {later}")
    }
}

/// And all of `[auth]`.
const LIVE: [&str; 6] =
    ["server.allow_anonymous", "server.allowed_origins", "tls.cert", "tls.key", "tls.certificates", "log.level"];
