//! Reads a configuration file into a flat list of what it sets.
//!
//! Called by `Draft::read_file`. Knows TOML and lines; which keys there are is the matter of the caller, so that the
//! file's mistakes are found in the same way as those of the environment. Refuses what cannot be read or is no TOML.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::excerpt;
use super::key::Value;
use super::source::{RULE, TABLES};
use super::{ConfigError, Problem};

/// One thing that the file sets.
pub(super) struct Entry {
    /// Where, from 1.
    pub(super) line: usize,
    /// `table.key` in the tables that are known, else the name at the top.
    pub(super) name: String,
    /// The value as it stands in the file, fit for a line of an error.
    pub(super) written: String,
    pub(super) value: Value,
}

/// One `[[rule]]`.
pub(super) struct RuleTable {
    /// Where it begins, from 1.
    pub(super) line: usize,
    /// What it sets, from the top, each named `rule.key`.
    pub(super) entries: Vec<Entry>,
}

/// What a file consists of.
pub(super) enum Item {
    Entry(Entry),
    Rule(RuleTable),
}

/// All that the file at `path` sets, from the top; `file` is its name for errors.
///
/// # Errors
/// The file cannot be read, or every place where it is no TOML.
pub(super) fn read(path: &Path, file: &str) -> Result<Vec<Item>, ConfigError> {
    let source = read_to_string(path).map_err(|reason| Problem::new(file, reason))?;
    let (table, errors) = DeTable::parse_recoverable(&source);
    if !errors.is_empty() {
        let problems = errors.iter().map(|error| {
            let line = line_of(&source, error.span().map_or(0, |span| span.start));
            let reason = excerpt(&error.message().replace('\n', "; "));
            Problem::new(format_args!("{file}:{line}"), format_args!("this is not TOML: {reason}"))
        });
        return Err(ConfigError::new(problems.collect()));
    }
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        let table = name.get_ref();
        match value.get_ref() {
            DeValue::Table(keys) if TABLES.contains(&table.as_ref()) => {
                found.extend(entries(&source, table, keys).map(|(offset, entry)| (offset, Item::Entry(entry))));
            }
            DeValue::Array(elements)
                if table == RULE && elements.iter().all(|element| element.get_ref().is_table()) =>
            {
                found.extend(elements.iter().filter_map(|element| rule(&source, element)));
            }
            _ => {
                let offset = name.span().start;
                found.push((offset, Item::Entry(entry(&source, offset, table.to_string(), value))));
            }
        }
    }
    // The parser sorts by name; an operator reads from the top.
    found.sort_by_key(|&(offset, _)| offset);
    Ok(found.into_iter().map(|(_, item)| item).collect())
}

fn rule(source: &str, element: &Spanned<DeValue<'_>>) -> Option<(usize, Item)> {
    let DeValue::Table(keys) = element.get_ref() else {
        return None;
    };
    let mut found: Vec<_> = entries(source, RULE, keys).collect();
    found.sort_by_key(|&(offset, _)| offset);
    let offset = element.span().start;
    let entries = found.into_iter().map(|(_, entry)| entry).collect();
    Some((offset, Item::Rule(RuleTable { line: line_of(source, offset), entries })))
}

/// What a table sets, each with its offset in the file.
fn entries<'k>(source: &'k str, table: &'k str, keys: &'k DeTable<'_>) -> impl Iterator<Item = (usize, Entry)> + 'k {
    keys.iter().map(move |(leaf, value)| {
        let offset = leaf.span().start;
        (offset, entry(source, offset, format!("{table}.{}", leaf.get_ref()), value))
    })
}

fn entry(source: &str, offset: usize, name: String, value: &Spanned<DeValue<'_>>) -> Entry {
    let text = source.get(value.span()).unwrap_or_default();
    let written = match value.get_ref() {
        // Written as `[server.listen]` or by dotted keys a table has no text of its own.
        DeValue::Table(_) if !text.starts_with('{') => "{…}".to_owned(),
        _ => excerpt(text),
    };
    Entry { line: line_of(source, offset), name, written, value: value_of(value.get_ref()) }
}

/// The value without its place.
pub(super) fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other, Value::Integer)
        }
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Array(values) => Value::List(values.iter().map(|value| value_of(value.get_ref())).collect()),
        DeValue::Table(keys) => {
            let keys = keys.iter().map(|(name, value)| (name.get_ref().to_string(), value_of(value.get_ref())));
            Value::Table(keys.collect())
        }
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Other,
    }
}

fn read_to_string(path: &Path) -> Result<String, String> {
    let mut source = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut source).map_err(|error| format!("cannot be read: {error}"))?;
    if source.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is longer than {FILE_BYTES_MAX} bytes, so it is hardly a configuration"));
    }
    Ok(source)
}

fn line_of(source: &str, offset: usize) -> usize {
    let before = source.as_bytes().get(..offset).unwrap_or(source.as_bytes());
    memchr::memchr_iter(b'\n', before).count() + 1
}

/// A configuration is a page; whoever names a disk image by mistake should be told so.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
