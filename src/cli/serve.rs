//! `wirefan serve` and `wirefan check`: the configuration, and the broker that runs with it.

use std::io::Write;
use std::path::Path;

use super::outcome::{Failure, tell};
use super::{Check, Serve};
use crate::config::{Config, Flags};
use crate::net::log::Log;
use crate::net::{self, Bound, ambient, tls};
use crate::topic::Topic;

/// Runs the broker until it is stopped.
pub(super) fn serve(arguments: &Serve) -> Result<(), Failure> {
    let flags = Flags {
        listen: arguments.listen.clone(),
        shards: arguments.shards,
        allow_anonymous: arguments.allow_anonymous,
    };
    let config = load(arguments.config.as_deref(), &flags)?;
    let failed = |error| Failure::Failed(format!("cannot start a thread: {error}"));
    let log = Log::to_stderr(config.log.format, config.log.level).map_err(failed)?;
    config.warnings().iter().for_each(|warning| log.announce(format_args!("warning: {warning}")));
    let read = || Config::load(arguments.config.as_deref(), environment(), &flags);
    let served = net::serve(config, &log, read, arguments.take_over, |addresses| {
        let addresses: Vec<_> = addresses.iter().map(Bound::to_string).collect();
        log.announce(format_args!("listening on {}", addresses.join(", ")));
    });
    match served {
        Ok(summary) => {
            log.announce(format_args!("stopped: {summary}"));
            log.flush();
            Ok(())
        }
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

/// Prints the configuration in force, or what it makes of one topic.
pub(super) fn check(arguments: &Check) -> Result<(), Failure> {
    let config = load(arguments.config.as_deref(), &Flags::default())?;
    warn(&config);
    // A file that is no key is told here, not by the first user.
    let credentials = config.credentials().map(|_| ()).map_err(|error| error.to_string());
    let certificates = tls::check(&config.tls, ambient::now_unix_s()).map_err(|error| error.to_string());
    let certificates =
        certificates.map(|warnings| warnings.iter().for_each(|warning| tell(format_args!("warning: {warning}"))));
    let wrong: Vec<_> = [credentials, certificates].into_iter().filter_map(Result::err).collect();
    if !wrong.is_empty() {
        return Err(Failure::Wrong(wrong.join("\n")));
    }
    let text = match &arguments.topic {
        Some(topic) => config.explain(Topic::known(topic)),
        None => config.to_string(),
    };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::from_stdout(&error))
}

/// Says what is allowed and may not be meant.
fn warn(config: &Config) {
    for warning in config.warnings() {
        tell(format_args!("warning: {warning}"));
    }
}

/// The configuration of this file, the environment and the flags.
pub(super) fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, Failure> {
    Config::load(file, environment(), flags).map_err(|error| Failure::Wrong(error.to_string()))
}

/// A variable that is not Unicode is none of ours, or is refused with what can be shown of it.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}
