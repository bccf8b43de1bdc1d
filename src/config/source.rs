//! The layers that a configuration comes from: the file, the environment, the flags.
//!
//! `Config::load` lays them over each other in a [`Draft`], which remembers for every key where its value was
//! written, so that a problem found later still names the line or the variable. A layer takes the keys that it
//! understands and notes a problem for each other one, so that all of them are reported at once.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeValue;

use super::error::excerpt;
use super::file::{self, Entry};
use super::key::{KEYS, Key, VARIABLE_PREFIX, Value};
use super::{AllowAnonymous, Config, ConfigError, Flags, Problem, check};

/// A configuration in the making.
#[derive(Default)]
pub(super) struct Draft {
    config: Config,
    /// For each key that a layer set: the value and its place, as the beginning of a sentence about it.
    written: BTreeMap<&'static str, String>,
    problems: Vec<Problem>,
}

impl Draft {
    /// Lays the file over what is there.
    ///
    /// # Errors
    /// The file cannot be read or is no TOML: then nothing in it can be judged.
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = excerpt(&path.to_string_lossy());
        for entry in file::read(path, &file)? {
            let Entry { line, name, written, value } = entry;
            let place = format!("{file}:{line}: {}", excerpt(&name));
            if TABLES.contains(&name.as_str()) {
                let reason = format!("must be a table, [{name}]");
                self.problems.push(Problem::new(place, reason));
            } else if let Some(key) = KEYS.iter().find(|key| key.name == name) {
                let place = format!("{place} = {written}");
                self.set(key, &value, place);
            } else if value == Value::Table && !name.contains('.') {
                let place = format!("{file}:{line}: [{}]", excerpt(&name));
                self.problems.push(Problem::new(place, unknown_table(&name)));
            } else {
                self.problems.push(Problem::new(place, unknown_key(&name)));
            }
        }
        Ok(())
    }

    /// Lays the variables that begin with `WIREFAN_` over what is there; all others are none of ours.
    pub(super) fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
        ours.sort();
        for (name, text) in ours {
            if is_service_link(&name) {
                continue;
            }
            let Some(key) = KEYS.iter().find(|key| key.variable() == name) else {
                self.problems.push(Problem::new(excerpt(&name), unknown_variable(&name)));
                continue;
            };
            // The shape of the default says how the text is to be read.
            let value = value_of_text(&(key.show)(&self.config), &text);
            self.set(key, &value, format!("{name}={}", excerpt(&text)));
        }
    }

    /// Lays the flags over what is there.
    pub(super) fn read_flags(&mut self, flags: &Flags) {
        if !flags.listen.is_empty() {
            let addresses = flags.listen.iter().map(ToString::to_string);
            let spelled: Vec<_> = addresses.clone().map(|address| format!("--listen {address}")).collect();
            let value = Value::List(addresses.map(Value::Text).collect());
            self.set_named("server.listen", &value, spelled.join(" "));
        }
        if let Some(shards) = flags.shards {
            let value = Value::Integer(shards as u64);
            self.set_named("server.shards", &value, format!("--shards {shards}"));
        }
        if flags.allow_anonymous {
            self.config.server.allow_anonymous = AllowAnonymous::Always;
            self.written.insert("server.allow_anonymous", "--allow-anonymous".to_owned());
        }
    }

    /// Checks what the keys demand of each other, if each of them could be read.
    ///
    /// # Errors
    /// All problems of all layers, or of the check.
    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        if self.problems.is_empty() {
            let Self { config, written, .. } = &self;
            self.problems = check::check(config, |name| written_as(config, written, name));
        }
        if self.problems.is_empty() { Ok(self.config) } else { Err(ConfigError::new(self.problems)) }
    }

    fn set_named(&mut self, name: &'static str, value: &Value, written: String) {
        let key = KEYS.iter().find(|key| key.name == name).expect("flags name keys of the table");
        self.set(key, value, written);
    }

    fn set(&mut self, key: &'static Key, value: &Value, written: String) {
        match (key.read)(&mut self.config, value) {
            Ok(()) => {
                self.written.insert(key.name, written);
            }
            Err(reason) => self.problems.push(Problem::new(written, reason)),
        }
    }
}

fn written_as(config: &Config, written: &BTreeMap<&'static str, String>, name: &'static str) -> String {
    written.get(name).cloned().unwrap_or_else(|| {
        let key = KEYS.iter().find(|key| key.name == name).expect("checks name keys of the table");
        format!("{name} = {} (the default)", (key.show)(config))
    })
}

/// A variable has no type of its own: it is read as what its key wants, and stays text where it is not that.
fn value_of_text(shape: &Value, text: &str) -> Value {
    let text = text.trim();
    match shape {
        Value::Integer(_) => text.replace('_', "").parse().map(Value::Integer).ok(),
        Value::Boolean(_) => text.parse().map(Value::Boolean).ok(),
        Value::List(_) if text.starts_with('[') => {
            DeValue::parse(text).ok().map(|value| file::value_of(value.get_ref()))
        }
        Value::List(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::List(items.map(|item| Value::Text(item.to_owned())).collect()))
        }
        Value::Text(_) | Value::Table | Value::Other => None,
    }
    .unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn unknown_key(name: &str) -> String {
    match nearest(name) {
        Some(key) => format!("unknown key; did you mean {}?", key.name),
        None => format!("unknown key; {ALL_KEYS}"),
    }
}

fn unknown_table(name: &str) -> String {
    let known = TABLES.iter().map(|table| (strsim::normalized_damerau_levenshtein(name, table), table));
    match known.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|&(likeness, _)| likeness >= LIKENESS_MIN) {
        Some((_, table)) => format!("unknown table; did you mean [{table}]?"),
        None => format!("unknown table; {ALL_KEYS}"),
    }
}

fn unknown_variable(name: &str) -> String {
    let dotted = name[VARIABLE_PREFIX.len()..].to_lowercase().replacen("__", ".", 1);
    match nearest(&dotted) {
        Some(key) => format!("unknown variable; did you mean {}?", key.variable()),
        None => format!("unknown variable; all that begin with {VARIABLE_PREFIX} are read as keys, and {ALL_KEYS}"),
    }
}

/// The key that was probably meant: near as a whole, or by its last part where the table is wrong or missing.
fn nearest(name: &str) -> Option<&'static Key> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let likeness = |key: &Key| {
        let whole = strsim::normalized_damerau_levenshtein(name, key.name);
        // A little less than certain, so that a full match in the right table wins.
        let last = strsim::normalized_damerau_levenshtein(leaf, key.parts().1) * 0.95;
        whole.max(last)
    };
    let best = KEYS.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKENESS_MIN).then_some(best)
}

/// Kubernetes gives every container addresses of the services beside it, `WIREFAN_SERVICE_HOST` and
/// `WIREFAN_PORT_8080_TCP_ADDR` for one named wirefan. Nobody wrote them, so nobody mistyped them.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        number && parts.next().is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP"))
    };
    !name.contains("__")
        && (name.ends_with("_SERVICE_HOST")
            || name.ends_with("_SERVICE_PORT")
            || name.contains("_SERVICE_PORT_")
            || name.ends_with("_PORT")
            || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest)))
}

/// The tables that the keys are in.
pub(super) const TABLES: [&str; 3] = ["server", "limits", "heartbeat"];

const ALL_KEYS: &str = "`wirefan check` lists every known one";

/// From 0, nothing in common, to 1, the same. Below this a guess confuses more than it helps.
const LIKENESS_MIN: f64 = 0.6;
