//! The table of what a `[[rule]]` may say: for each key how a written value is taken and how the one in force is shown.
//!
//! Used by `Draft` to read rules, by `Config`'s `Display` to write them and by `wirefan check --topic` to explain them.
//! Refuses unknown keys with the nearest known one, a missing filter, and values out of range, each with its line.

use std::fmt::Write as _;

use super::error::excerpt;
use super::file::{Entry, RuleTable};
use super::key::{Reason, Value, flag, whole};
use super::source::unknown_key;
use super::{Config, Problem};
use crate::rules::{Access, History, Overflow, Rule, Rules};
use crate::topic::{Filter, Topic};

/// One key of a rule.
pub(super) struct RuleKey {
    /// `rule.key`, as documented.
    pub(super) name: &'static str,
    /// Takes a value, or says why not.
    pub(super) read: fn(&mut Rule, &Value) -> Result<(), Reason>,
    /// The value in force; none where the key is absent.
    pub(super) show: fn(&Rule) -> Option<Value>,
}

pub(super) const RULE_KEYS: &[RuleKey] = &[
    RuleKey {
        name: "rule.filter",
        read: |rule, value| {
            rule.filter = filter(value)?;
            Ok(())
        },
        show: |rule| Some(Value::Text(rule.filter.clone())),
    },
    RuleKey {
        name: "rule.subscribe",
        read: |rule, value| word(&mut rule.subscribe, value, &ACCESS),
        show: |rule| Some(shown(rule.subscribe, &ACCESS)),
    },
    RuleKey {
        name: "rule.publish",
        read: |rule, value| word(&mut rule.publish, value, &ACCESS),
        show: |rule| Some(shown(rule.publish, &ACCESS)),
    },
    RuleKey {
        name: "rule.history",
        read: |rule, value| {
            rule.history = Some(history(value)?);
            Ok(())
        },
        show: |rule| {
            let History { count, age_s } = rule.history?;
            let count = ("count".to_owned(), Value::Integer(count.into()));
            let age = ("age".to_owned(), Value::Text(duration(age_s)));
            Some(Value::Table(vec![count, age]))
        },
    },
    RuleKey {
        name: "rule.presence",
        read: |rule, value| flag(&mut rule.presence, value),
        show: |rule| Some(Value::Boolean(rule.presence)),
    },
    RuleKey {
        name: "rule.overflow",
        read: |rule, value| word(&mut rule.overflow, value, &OVERFLOW),
        show: |rule| Some(shown(rule.overflow, &OVERFLOW)),
    },
    RuleKey {
        name: "rule.from",
        read: |rule, value| flag(&mut rule.from, value),
        show: |rule| Some(Value::Boolean(rule.from)),
    },
    RuleKey {
        name: "rule.idempotency",
        read: |rule, value| {
            rule.idempotency_s = seconds(value, 0, IDEMPOTENCY_S_MAX)?;
            Ok(())
        },
        show: |rule| Some(Value::Text(duration(rule.idempotency_s))),
    },
];

impl RuleKey {
    /// The key within its table.
    pub(super) fn leaf(&self) -> &'static str {
        self.name.strip_prefix("rule.").expect("every name in the table is `rule.key`")
    }
}

/// Reads one rule. With it comes the place of its filter, as the beginning of a sentence.
///
/// # Errors
/// Everything that is wrong in it.
pub(super) fn read(file: &str, table: &RuleTable) -> Result<(Rule, String), Vec<Problem>> {
    let mut rule = Rule::default();
    let mut filter_at = None;
    let mut problems = Vec::new();
    for Entry { line, name, written, value } in &table.entries {
        let place = format!("{file}:{line}: {}", excerpt(name));
        let Some(key) = RULE_KEYS.iter().find(|key| key.name == name) else {
            problems.push(Problem::new(place, unknown_key(name)));
            continue;
        };
        let place = format!("{place} = {written}");
        if let Err(reason) = (key.read)(&mut rule, value) {
            problems.push(Problem::new(&place, reason));
        }
        if key.name == "rule.filter" {
            filter_at = Some(place);
        }
    }
    match filter_at {
        Some(place) if problems.is_empty() => return Ok((rule, place)),
        Some(_) => {}
        None => {
            let place = format!("{file}:{}: [[rule]]", table.line);
            problems.push(Problem::new(place, r##"lacks its filter: write filter = "#" for all topics"##));
        }
    }
    Err(problems)
}

/// The lines of a rule as its table has them, each `key = value`.
pub(super) fn lines(rule: &Rule) -> impl Iterator<Item = String> {
    RULE_KEYS.iter().filter_map(move |key| Some(format!("{} = {}", key.leaf(), (key.show)(rule)?)))
}

impl Config {
    /// What is allowed and yet may not be meant, a sentence each: rules that ask who somebody is while nobody can say so,
    /// and tokens whose grants no rule asks for.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.auth.is_configured() {
            let asks = |rule: &Rule| [rule.subscribe, rule.publish].contains(&Access::Granted);
            if !self.rules.iter().any(asks) {
                warnings.push(NO_RULE_ASKS.to_owned());
            }
            return warnings;
        }
        for (number, rule) in self.rules.iter().enumerate() {
            let words = [("subscribe", rule.subscribe), ("publish", rule.publish)];
            for (key, access) in words.into_iter().filter(|(_, access)| access.needs_permit()) {
                warnings.push(format!(
                    "rule {} (filter {:?}): {key} = {} admits nobody, because without [auth] nobody can say who they are",
                    number + 1,
                    rule.filter,
                    shown(access, &ACCESS)
                ));
            }
        }
        warnings
    }

    /// Which rule a topic gets and what that says: a sentence behind `# `, then the rule as in a file, a line each.
    #[must_use]
    pub fn explain(&self, topic: Topic<'_>) -> String {
        let rules = Rules::new(self.rules.clone());
        let written = self.rules.len();
        let Some(id) = rules.of(topic) else {
            return format!(
                "# {topic} gets no rule: a topic of the broker needs one that names it, and there is none.\n"
            );
        };
        let mut text = match written {
            _ if !rules.is_implicit(id) => {
                format!("# {topic} gets rule {} of {written}, the first whose filter matches.\n", id.index() + 1)
            }
            0 => format!("# {topic} gets the implicit rule: the configuration has no other.\n"),
            1 => format!("# {topic} gets the implicit rule: the filter of the one rule does not match.\n"),
            _ => format!("# {topic} gets the implicit rule: no filter of the {written} rules matches.\n"),
        };
        let rule = rules.at(id);
        for key in RULE_KEYS {
            // A String takes all.
            let _ = match (key.show)(rule) {
                Some(value) => writeln!(text, "{} = {value}", key.leaf()),
                None => writeln!(text, "# {}: none", key.leaf()),
            };
        }
        text
    }
}

fn filter(value: &Value) -> Result<String, Reason> {
    let Value::Text(text) = value else {
        return Err(r#"must be a filter, such as "chat/#""#.into());
    };
    match Filter::parse(text) {
        Ok(_) => Ok(text.clone()),
        Err(error) => Err(format!("is no filter: {error}").into()),
    }
}

fn word<W: Copy>(slot: &mut W, value: &Value, words: &[(&'static str, W)]) -> Result<(), Reason> {
    let known = words.iter().find(|(name, _)| matches!(value, Value::Text(text) if text == name));
    let Some((_, word)) = known else {
        let names: Vec<_> = words.iter().map(|(name, _)| format!("{name:?}")).collect();
        let (last, others) = names.split_last().expect("every list of words has some");
        return Err(format!("must be {} or {last}", others.join(", ")).into());
    };
    *slot = *word;
    Ok(())
}

fn shown<W: Copy + PartialEq>(word: W, words: &[(&'static str, W)]) -> Value {
    let (name, _) = words.iter().find(|(_, known)| *known == word).expect("every word has a name");
    Value::Text((*name).to_owned())
}

fn history(value: &Value) -> Result<History, Reason> {
    let Value::Table(keys) = value else {
        return Err(format!("must be a table, {HISTORY_SHAPE}").into());
    };
    let (mut count, mut age_s) = (None, None);
    for (key, value) in keys {
        match key.as_str() {
            "count" => {
                let mut number = 0u32;
                whole(&mut number, value, 1..=HISTORY_COUNT_MAX, "").map_err(|reason| format!("its count {reason}"))?;
                count = Some(number);
            }
            "age" => age_s = Some(seconds(value, 1, AGE_S_MAX).map_err(|reason| format!("its age {reason}"))?),
            other => {
                let other = excerpt(other);
                return Err(format!("has the unknown key {other}; it has two, as in {HISTORY_SHAPE}").into());
            }
        }
    }
    match (count, age_s) {
        (Some(count), Some(age_s)) => Ok(History { count, age_s }),
        (None, _) => Err(format!("lacks its count: write both, as in {HISTORY_SHAPE}").into()),
        (_, None) => Err(format!("lacks its age: write both, as in {HISTORY_SHAPE}").into()),
    }
}

/// A whole number and its unit, such as `10m`.
fn seconds(value: &Value, min: u32, max: u32) -> Result<u32, Reason> {
    match value {
        Value::Text(text) => duration_s(text).filter(|seconds| (min..=max).contains(seconds)),
        _ => None,
    }
    .ok_or_else(|| {
        let (min, max) = (duration(min), duration(max));
        format!(r#"must be a whole number with its unit (s, m, h or d) from "{min}" to "{max}", such as "10m""#).into()
    })
}

/// The seconds that a whole number with its unit stands for, such as `90s`, `10m`, `1h` or `2d`; none for all else.
#[must_use]
pub fn duration_s(text: &str) -> Option<u32> {
    let (unit_at, _) = text.char_indices().next_back()?;
    let (number, unit) = text.split_at(unit_at);
    let (_, unit_s) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse::<u32>().ok().filter(|_| digits)?.checked_mul(*unit_s)
}

/// In the largest unit without a remainder.
fn duration(seconds: u32) -> String {
    let fits = |unit_s: u32| seconds > 0 && seconds.is_multiple_of(unit_s);
    let (name, unit_s) = UNITS.iter().find(|(_, unit_s)| fits(*unit_s)).unwrap_or(&("s", 1));
    format!("{}{name}", seconds / unit_s)
}

/// Their seconds, the largest first.
const UNITS: [(&str, u32); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

const NO_RULE_ASKS: &str = "[auth]: no rule says \"granted\", so what tokens grant counts nowhere: who has one may read and \
                            publish wherever rules let anyone, or users";

const ACCESS: [(&str, Access); 4] =
    [("anyone", Access::Anyone), ("user", Access::User), ("granted", Access::Granted), ("nobody", Access::Nobody)];
const OVERFLOW: [(&str, Overflow); 3] =
    [("disconnect", Overflow::Disconnect), ("drop_oldest", Overflow::DropOldest), ("latest", Overflow::Latest)];

const HISTORY_SHAPE: &str = r#"{ count = 1000, age = "10m" }"#;
const HISTORY_COUNT_MAX: u64 = 1_000_000;
/// 365 days.
const AGE_S_MAX: u32 = 31_536_000;
/// A day: within it every key of a topic is remembered, as far as memory is granted for them.
const IDEMPOTENCY_S_MAX: u32 = 86_400;
