//! SIGHUP: the configuration is read again, judged as a whole, and handed to every shard.
//!
//! Files are read on the thread that waits for signals, never on a shard's. First everything is read and checked, then
//! everything is changed; whatever is wrong leaves all as it was. A shard sees at the beginning of each turn, by one load
//! of a number, whether there are new settings; the lock around them is only taken when there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::log::Value;
use super::tls::Prepared;
use super::{Broker, ServeError};
use crate::auth::origin::Origins;
use crate::config::{Config, ConfigError, LogLevel, Unchanged};
use crate::shard::Settings;

/// The newest settings, for all shards.
#[derive(Debug, Default)]
pub(super) struct Latest {
    number: AtomicU64,
    settings: Mutex<Option<Arc<Settings>>>,
}

impl Latest {
    /// From the next turn of each shard on.
    pub(super) fn set(&self, settings: Settings) {
        let mut latest = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(Arc::new(settings));
        self.number.fetch_add(1, Ordering::Release);
    }

    /// The newest settings, if they are newer than those of number `seen`, which is set to theirs.
    pub(super) fn newer(&self, seen: &mut u64) -> Option<Arc<Settings>> {
        if self.number.load(Ordering::Acquire) == *seen {
            return None;
        }
        let latest = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.number.load(Ordering::Acquire);
        latest.clone()
    }
}

/// What every shard is made with, of this configuration; reads the files of `[auth]`.
pub(super) fn settings(config: Config, seed: u64) -> Result<Settings, ServeError> {
    let origins = Origins::parse(&config.server.allowed_origins).map_err(ServeError::Origins)?;
    let credentials = config.credentials().map_err(ServeError::Config)?;
    let credentials = config.auth.is_configured().then(|| Arc::new(credentials));
    Ok(Settings { config, origins, credentials, began_unix_s: 0, seed })
}

impl Broker {
    /// Takes rules, origins, `[auth]` and the certificates of this configuration, their files read again; which of its
    /// other keys would need a new start.
    ///
    /// # Errors
    /// What is wrong with it or with a file; all stays as it was then.
    pub fn reload(&mut self, read: &Config) -> Result<Vec<Unchanged>, ServeError> {
        let (config, unchanged) = self.config.reloaded(read).map_err(ServeError::Config)?;
        let next = settings(config.clone(), 0)?;
        let certificates = self.shared.tls.as_ref().map(|terms| terms.prepare(&config.tls)).transpose();
        let certificates = certificates.map_err(ServeError::Certificates)?;
        // From here on nothing fails.
        certificates.into_iter().for_each(Prepared::show);
        self.log.set_level(config.log.level);
        self.shared.latest.set(next);
        self.config = config;
        self.bells.iter().for_each(|bell| bell.wake());
        Ok(unchanged)
    }

    /// Reloads, and says what came of it.
    pub(super) fn read_again(&mut self, read: impl Fn() -> Result<Config, ConfigError>) {
        let outcome = read().map_err(ServeError::Config).and_then(|config| self.reload(&config));
        self.tell_reload(outcome);
    }

    fn tell_reload(&self, outcome: Result<Vec<Unchanged>, ServeError>) {
        match outcome {
            Ok(unchanged) => {
                unchanged.iter().for_each(|key| self.log.say(LogLevel::Warn, key, &[]));
                self.config.warnings().iter().for_each(|warning| self.log.say(LogLevel::Warn, warning, &[]));
                self.log.say(LogLevel::Info, "rules, origins, keys and certificates were read again", &[]);
            }
            Err(error) => {
                error.to_string().lines().for_each(|line| self.log.say(LogLevel::Error, line, &[]));
                self.log.say(LogLevel::Error, "the configuration stays as it is", &[]);
            }
        }
    }

    /// Says what was started.
    pub(super) fn tell_start(&self) {
        let yes = |yes| Value::Text(if yes { "yes" } else { "no" });
        let values = [
            ("version", Value::Text(env!("CARGO_PKG_VERSION"))),
            ("pid", Value::Number(std::process::id().into())),
            ("shards", Value::Number(self.threads.len() as u64)),
            ("auth", yes(self.config.auth.is_configured())),
            ("tls", yes(self.config.tls.is_configured())),
            ("rules", Value::Number(self.config.rules.len() as u64)),
        ];
        self.log.say(LogLevel::Info, "serving", &values);
    }

    /// Says that it stops.
    pub(super) fn tell_stop(&self, successor: bool) {
        let connections = self.shared.connections.load(Ordering::SeqCst) as u64;
        let successor = Value::Text(if successor { "yes" } else { "no" });
        let values = [("connections", Value::Number(connections)), ("successor", successor)];
        self.log.say(LogLevel::Info, "stopping", &values);
    }
}
