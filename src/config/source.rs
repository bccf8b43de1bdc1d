//! The layers that a configuration comes from: the file, the environment, the flags.
//!
//! `Config::load` lays them over each other in a [`Draft`], which remembers for every key where its value was
//! written, so that a problem found later still names the line or the variable. A layer takes the keys that it
//! understands and notes a problem for each other one, so that all of them are reported at once.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::Path;

use toml::de::DeValue;

use super::error::excerpt;
use super::file::{self, Entry, Item, RuleTable};
use super::key::{KEYS, Key, TOKEN_VARIABLE, VARIABLE_PREFIX, Value};
use super::rule::{self, RULE_KEYS, RuleKey};
use super::{AllowAnonymous, Config, ConfigError, Flags, Problem, check};
use crate::limits::RULES_MAX;

/// A configuration in the making.
#[derive(Default)]
pub(super) struct Draft {
    config: Config,
    /// For each key that a layer set: the value and its place, as the beginning of a sentence about it.
    written: BTreeMap<&'static str, String>,
    /// Where each of the configuration's rules begins in the file.
    rule_lines: Vec<usize>,
    problems: Vec<Problem>,
}

impl Draft {
    /// Lays the file over what is there.
    ///
    /// # Errors
    /// The file cannot be read or is no TOML: then nothing in it can be judged.
    pub(super) fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = excerpt(&path.to_string_lossy());
        for item in file::read(path, &file)? {
            match item {
                Item::Entry(entry) => self.read_entry(&file, entry),
                Item::Rule(table) => self.read_rule(&file, &table),
            }
        }
        // What the file names lies beside it, wherever the broker is started.
        let directory = path.parent().unwrap_or(Path::new(""));
        self.config.auth.resolve(directory);
        self.config.tls.resolve(directory);
        Ok(())
    }

    fn read_entry(&mut self, file: &str, entry: Entry) {
        let Entry { line, name, written, value } = entry;
        let place = format!("{file}:{line}: {}", excerpt(&name));
        let shown = excerpt(&name);
        let problem = if TABLES.contains(&name.as_str()) {
            Problem::new(place, format_args!("must be a table, [{name}]"))
        } else if name == RULE {
            Problem::new(place, "must be a list of tables, each of which begins with [[rule]]")
        } else if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            return self.set(key, &value, format!("{place} = {written}"));
        } else if name.contains('.') {
            Problem::new(place, unknown_key(&name))
        } else {
            match &value {
                Value::Table(_) => Problem::new(format_args!("{file}:{line}: [{shown}]"), unknown_table(&name)),
                Value::List(elements) if matches!(elements[..], [Value::Table(_), ..]) => {
                    Problem::new(format_args!("{file}:{line}: [[{shown}]]"), unknown_table(&name))
                }
                _ => Problem::new(place, unknown_key(&name)),
            }
        };
        self.problems.push(problem);
    }

    fn read_rule(&mut self, file: &str, table: &RuleTable) {
        let (rule, filter_at) = match rule::read(file, table) {
            Ok(read) => read,
            Err(problems) => return self.problems.extend(problems),
        };
        let rules = &mut self.config.rules;
        if let Some(first) = rules.iter().position(|other| other.filter == rule.filter) {
            let line = self.rule_lines[first];
            let reason = format!("the rule of line {line} has this filter and comes first, so this one never applies");
            self.problems.push(Problem::new(filter_at, reason));
        } else if rules.len() == RULES_MAX {
            self.problems.push(Problem::new(filter_at, format_args!("is one rule more than {RULES_MAX}, the most")));
        } else {
            rules.push(rule);
            self.rule_lines.push(table.line);
        }
    }

    /// Lays the variables that begin with `WIREFAN_` over what is there; all others are none of ours.
    pub(super) fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        let mut ours: Vec<_> = variables.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)).collect();
        ours.sort();
        for (name, text) in ours {
            if name == TOKEN_VARIABLE || is_service_link(&name) {
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
        self.config.auth.resolve(Path::new(""));
        self.config.tls.resolve(Path::new(""));
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
        Value::List(_) if text.starts_with('[') && !is_ipv6_first(text) => {
            DeValue::parse(text).ok().map(|value| file::value_of(value.get_ref()))
        }
        Value::List(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::List(items.map(|item| Value::Text(item.to_owned())).collect()))
        }
        Value::Text(_) | Value::Table(_) | Value::Other => None,
    }
    .unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// `[::1]:8080,127.0.0.1:8080` begins like an array of TOML and is none: in an array something stands behind the first
/// bracket that is no address.
fn is_ipv6_first(text: &str) -> bool {
    let first = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    first.is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok())
}

pub(super) fn unknown_key(name: &str) -> String {
    let names = KEYS.iter().map(|key| key.name).chain(RULE_KEYS.iter().map(|key| key.name));
    match nearest(name, names) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None if name.starts_with("rule.") => {
            let leaves: Vec<_> = RULE_KEYS.iter().map(RuleKey::leaf).collect();
            format!("unknown key; a rule has {}", leaves.join(", "))
        }
        None => format!("unknown key; {ALL_KEYS}"),
    }
}

fn unknown_table(name: &str) -> String {
    let known = TABLES.iter().chain([&RULE]).map(|table| (strsim::normalized_damerau_levenshtein(name, table), table));
    match known.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|&(likeness, _)| likeness >= LIKENESS_MIN) {
        Some((_, &RULE)) => "unknown table; did you mean [[rule]]?".to_owned(),
        Some((_, table)) => format!("unknown table; did you mean [{table}]?"),
        None => format!("unknown table; {ALL_KEYS}"),
    }
}

fn unknown_variable(name: &str) -> String {
    let dotted = name[VARIABLE_PREFIX.len()..].to_lowercase().replacen("__", ".", 1);
    if dotted.split(['.', '_']).next().is_some_and(|table| table == RULE || table == "rules") {
        return "unknown variable; rules have none, they are written in the file: [[rule]]".to_owned();
    }
    let known = nearest(&dotted, KEYS.iter().map(|key| key.name));
    match known.and_then(|known| KEYS.iter().find(|key| key.name == known)) {
        Some(key) => format!("unknown variable; did you mean {}?", key.variable()),
        None => format!("unknown variable; all that begin with {VARIABLE_PREFIX} are read as keys, and {ALL_KEYS}"),
    }
}

/// The key that was probably meant: one of the table it was written in, if one is near, else one that is near as a whole,
/// or by its last part where the table is wrong or missing.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let parts = |name| str::rsplit_once(name, '.').unwrap_or(("", name));
    let (table, leaf) = parts(name);
    let of_leaf = |known: &'static str| strsim::normalized_damerau_levenshtein(leaf, parts(known).1);
    // A little less than certain for the last part, so that a full match wins.
    let of_all = |known| strsim::normalized_damerau_levenshtein(name, known).max(of_leaf(known) * 0.95);
    let (here, elsewhere): (Vec<_>, Vec<_>) = known.partition(|known| parts(known).0 == table);
    let here = best(here.into_iter().map(|known| (of_leaf(known), known)));
    here.or_else(|| best(elsewhere.into_iter().map(|known| (of_all(known), known))))
}

/// The first of the likeliest, if any is likely at all.
fn best(known: impl Iterator<Item = (f64, &'static str)>) -> Option<&'static str> {
    let likely = known.filter(|&(likeness, _)| likeness >= LIKENESS_MIN);
    likely.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, known)| known)
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
pub(super) const TABLES: [&str; 7] = ["server", "limits", "heartbeat", "auth", "tls", "log", "metrics"];

/// The list of tables that the rules are.
pub(super) const RULE: &str = "rule";

const ALL_KEYS: &str = "`wirefan check` lists every known one";

/// From 0, nothing in common, to 1, the same. Below this a guess confuses more than it helps.
const LIKENESS_MIN: f64 = 0.6;
