//! `wirefan serve` and `wirefan check`: the configuration, and the broker that runs with it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::outcome::{Failure, tell};
use super::{Check, Serve};
use crate::config::{Config, Flags};
use crate::net;
use crate::topic::Topic;

/// Runs the broker until it is stopped.
pub(super) fn serve(arguments: &Serve) -> Result<(), Failure> {
    let flags = Flags {
        listen: arguments.listen.clone(),
        shards: arguments.shards,
        allow_anonymous: arguments.allow_anonymous,
    };
    let config = load(arguments.config.as_deref(), &flags)?;
    warn(&config);
    let served = net::serve(config, |addresses| {
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        tell(format_args!("listening on {}", addresses.join(", ")));
    });
    match served {
        Ok(summary) => {
            tell(format_args!("stopped: {summary}"));
            Ok(())
        }
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}

/// Prints the configuration in force, or what it makes of one topic.
pub(super) fn check(arguments: &Check) -> Result<(), Failure> {
    let config = load(arguments.config.as_deref(), &Flags::default())?;
    warn(&config);
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

fn load(file: Option<&Path>, flags: &Flags) -> Result<Config, Failure> {
    // A variable that is not Unicode is none of ours, or is refused with what can be shown of it.
    let environment = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    Config::load(file, environment, flags).map_err(|error| Failure::Wrong(error.to_string()))
}
