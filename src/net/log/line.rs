//! One line of the log: time, level, sentence, values; as text or as a JSON object (RFC 8259).
//!
//! Invariant: a line has no line break but its last byte, and no character that a terminal acts on, whatever the values
//! are. A value is cut to `LOG_VALUE_CHARACTERS_MAX`.

use std::fmt::Write as _;

use crate::config::{LogFormat, LogLevel};
use crate::limits::LOG_VALUE_CHARACTERS_MAX;

/// What a line says of something.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// May be a stranger's.
    Text(&'a str),
    /// A count, a code.
    Number(u64),
}

pub(super) fn line(
    format: LogFormat,
    unix_ms: u64,
    level: LogLevel,
    sentence: &str,
    values: &[(&str, Value<'_>)],
) -> Vec<u8> {
    let (time, level) = (time(unix_ms), level.word());
    let mut line = String::with_capacity(128);
    match format {
        LogFormat::Text => {
            let _ = write!(line, "{time} {level:5} ");
            escape(&mut line, sentence, "", usize::MAX);
        }
        LogFormat::Json => {
            let _ = write!(line, r#"{{"time":"{time}","level":"{level}","message":"#);
            quote(&mut line, sentence, usize::MAX);
        }
    }
    for (name, value) in values {
        match format {
            LogFormat::Text => {
                let _ = write!(line, " {name}=");
            }
            LogFormat::Json => {
                let _ = write!(line, ",\"{name}\":");
            }
        }
        match *value {
            Value::Number(number) => {
                let _ = write!(line, "{number}");
            }
            Value::Text(text) if format == LogFormat::Text && is_bare(text) => line.push_str(text),
            Value::Text(text) => quote(&mut line, text, LOG_VALUE_CHARACTERS_MAX),
        }
    }
    line.push_str(if format == LogFormat::Json { "}\n" } else { "\n" });
    line.into_bytes()
}

/// Whether a value is one word that needs no quotes.
fn is_bare(text: &str) -> bool {
    (1..=LOG_VALUE_CHARACTERS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/@[]".contains(&byte))
}

/// A string of JSON, which is what quoted text looks like, too.
fn quote(line: &mut String, text: &str, characters_max: usize) {
    line.push('"');
    escape(line, text, "\"\\", characters_max);
    line.push('"');
}

/// What is neither a letter, a digit nor printable ASCII is written as JSON escapes it: controls, marks that turn the
/// direction of text, separators of lines. So is, with a backslash, what is `special` where the text stands.
fn escape(line: &mut String, text: &str, special: &str, characters_max: usize) {
    for (at, character) in text.chars().enumerate() {
        match character {
            _ if at == characters_max => return line.push('…'),
            _ if special.contains(character) => line.extend(['\\', character]),
            ' '..='~' => line.push(character),
            '…' => line.push(character),
            _ if character.is_alphanumeric() => line.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
}

/// RFC 3339, in UTC, with milliseconds.
fn time(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = crate::http::civil(days);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(format: LogFormat, sentence: &str, values: &[(&str, Value<'_>)]) -> String {
        String::from_utf8(line(format, 1_700_000_000_007, LogLevel::Info, sentence, values)).unwrap()
    }

    #[test]
    fn a_line_has_time_level_sentence_and_values() {
        let values = [("peer", Value::Text("127.0.0.1:5")), ("why", Value::Text("a b")), ("n", Value::Number(3))];
        assert_eq!(
            said(LogFormat::Text, "it is so", &values),
            "2023-11-14T22:13:20.007Z info  it is so peer=127.0.0.1:5 why=\"a b\" n=3\n"
        );
        assert_eq!(
            said(LogFormat::Json, "it is so", &values),
            "{\"time\":\"2023-11-14T22:13:20.007Z\",\"level\":\"info\",\"message\":\"it is so\",\
             \"peer\":\"127.0.0.1:5\",\"why\":\"a b\",\"n\":3}\n"
        );
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_gets_through() {
        for text in
            ["a\nb", "\x1b[2J", "\r", "\u{7f}", "\u{9b}2J", "\u{202e}x", "\u{2028}", "\"", "\\", "\u{200f}", "é"]
        {
            for format in [LogFormat::Text, LogFormat::Json] {
                let line = said(format, text, &[("a", Value::Text(text))]);
                let (end, rest) = line.as_bytes().split_last().unwrap();
                assert_eq!(*end, b'\n');
                let rest = std::str::from_utf8(rest).unwrap();
                assert!(rest.chars().all(|c| matches!(c, ' '..='~') || c.is_alphanumeric()), "{rest}");
            }
        }
        assert!(said(LogFormat::Text, "x", &[("a", Value::Text(""))]).ends_with(" a=\"\"\n"));
    }

    #[test]
    fn a_value_is_cut() {
        let text = "x".repeat(LOG_VALUE_CHARACTERS_MAX + 1);
        assert!(said(LogFormat::Text, "x", &[("a", Value::Text(&text))]).ends_with("x…\"\n"));
    }

    proptest! {
        #[test]
        fn a_line_of_json_says_what_went_in(sentence in ".*", text in ".{0,200}", number: u64) {
            let values = [("text", Value::Text(&text)), ("number", Value::Number(number))];
            let line = said(LogFormat::Json, &sentence, &values);
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert_eq!(read["message"].as_str(), Some(sentence.as_str()));
            prop_assert_eq!(read["text"].as_str(), Some(text.as_str()));
            prop_assert_eq!(read["number"].as_u64(), Some(number));
        }
    }
}
