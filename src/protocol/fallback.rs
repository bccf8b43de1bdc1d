//! The careful reader: serde_json decides about what simd-json refused, and says where it is wrong.
//!
//! The parser asks it only then. It takes what browsers send and simd-json does not (`"\ud800"`, `1e400`, both kept
//! raw). serde_json skips raw values without recursion and without a limit, so the depth is checked before.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr_iter;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::command::{Members, Value};
use super::fault::{Field, Kind, Reason};
use super::spans::Item;
use crate::limits::{BATCH_COMMANDS_MAX, JSON_DEPTH_MAX};

/// Hands the commands of `json` to `item`, in order, or the one reason why it holds none.
pub(super) fn read(json: &[u8], batches: bool, item: Item<'_>) {
    match document(json, batches) {
        Ok(Document::Command(quoted)) => hand_on(&quoted, item),
        Ok(Document::Batch(elements)) => {
            for (index, element) in elements.into_iter().enumerate() {
                match command(json, index, element) {
                    Ok(quoted) => hand_on(&quoted, item),
                    Err(reason) => item(Err(reason)),
                }
            }
        }
        Err(reason) => item(Err(reason)),
    }
}

/// Hands on a command whose strings are still quoted: their texts live as long as the call.
fn hand_on(quoted: &Members<'_>, item: Item<'_>) {
    let texts = Field::ALL.map(|field| quoted.get(field).filter(|_| field != Field::Data).and_then(text_of));
    item(Ok(&quoted.map(|field, value| match &texts[field as usize] {
        Some(Ok(text)) => Value::Text(text),
        Some(Err(_)) => Value::Surrogate,
        None => value,
    })));
}

/// What a string says, borrowed where it has no escapes; `None` for any other value. Its escapes were checked when it became
/// a raw value, except that surrogates come in pairs.
fn text_of(value: Value<'_>) -> Option<Result<Cow<'_, str>, serde_json::Error>> {
    let Value::Raw(raw) = value else { return None };
    (Kind::of(raw) == Kind::String).then(|| serde_json::from_slice(raw).map(|Text(text)| text))
}

/// A valid JSON value without the white space around it, no deeper than one inside a command may be.
pub(super) fn value(json: &[u8]) -> Result<&[u8], Reason> {
    let text = simdutf8::compat::from_utf8(json).map_err(|error| Reason::Utf8 { at: error.valid_up_to() })?;
    if is_plain_string(json) {
        return Ok(json);
    }
    if let Some(at) = deeper_than(JSON_DEPTH_MAX - 1, json) {
        return Err(Reason::TooDeep { at });
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| reason_of(json, 0, &error))?;
    Ok(json.trim_ascii()) // of white space, a valid document has only JSON's around it
}

/// Whether it is a JSON string without escapes: nothing in it but what stands for itself (RFC 8259 7).
fn is_plain_string(json: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = json else { return false };
    // No early end, so that many bytes are looked at together.
    !inside.iter().fold(false, |odd, &byte| odd | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

#[expect(clippy::large_enum_variant, reason = "it lives for one call, on the stack")]
enum Document<'a> {
    Command(Members<'a>),
    Batch(Vec<&'a RawValue>),
}

fn document(json: &[u8], batches: bool) -> Result<Document<'_>, Reason> {
    let text = std::str::from_utf8(json).map_err(|error| Reason::Utf8 { at: error.valid_up_to() })?;
    if let Some(at) = deeper_than(JSON_DEPTH_MAX, json) {
        return Err(Reason::TooDeep { at });
    }
    let reason = |error| reason_of(json, 0, &error);
    let found = Kind::of(json.trim_ascii_start());
    match found {
        Kind::Object => {
            let Object(members) = serde_json::from_str(text).map_err(reason)?;
            Ok(Document::Command(members))
        }
        Kind::Array if batches => {
            let batch: Batch<'_> = serde_json::from_str(text).map_err(reason)?;
            match batch.len {
                0 => Err(Reason::BatchEmpty),
                len if len > BATCH_COMMANDS_MAX => Err(Reason::BatchTooLong { len }),
                _ => Ok(Document::Batch(batch.elements)),
            }
        }
        _ => {
            serde_json::from_str::<IgnoredAny>(text).map_err(reason)?;
            Err(Reason::NotACommand { found })
        }
    }
}

fn command<'a>(json: &[u8], index: usize, element: &'a RawValue) -> Result<Members<'a>, Reason> {
    let element = element.get();
    match Kind::of(element.as_bytes()) {
        Kind::Object => {
            let start = element.as_ptr().addr() - json.as_ptr().addr();
            serde_json::from_str(element)
                .map(|Object(members)| members)
                .map_err(|error| reason_of(element.as_bytes(), start, &error))
        }
        found => Err(Reason::ElementNotACommand { index, found }),
    }
}

/// Where more than `depth_max` brackets are open, if anywhere. Iterative, and right up to the first error
/// of the grammar, behind which nothing counts.
fn deeper_than(depth_max: usize, json: &[u8]) -> Option<usize> {
    if opening(json) <= depth_max {
        return None; // as nearly all are; inside strings or not
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, &byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > depth_max {
                    return Some(at);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// How many `{` and `[` there are.
fn opening(json: &[u8]) -> usize {
    // They differ in one bit, and nothing else is one of them then. Counted in bytes, as many as fit: so many at a time.
    let count = |some: &[u8]| some.iter().map(|&byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(128).map(|some| usize::from(count(some))).sum()
}

/// serde_json's line and column (both from 1, columns in bytes) as a byte of the message, where `json` is at `start`.
fn reason_of(json: &[u8], start: usize, error: &serde_json::Error) -> Reason {
    if error.is_eof() {
        return Reason::JsonEnd { at: start + json.len() };
    }
    let line = match error.line() {
        0 | 1 => 0,
        line => memchr_iter(b'\n', json).nth(line - 2).map_or(0, |at| at + 1),
    };
    // It points behind the byte that is wrong, except at a control character in a string, where it points at it.
    let control = error.to_string().starts_with("control character");
    let at = line + error.column().saturating_sub(usize::from(!control));
    Reason::Json { at: start + at.min(json.len()) }
}

/// The members of a command, values raw: strings are still quoted.
struct Object<'a>(Members<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members = Members::default();
        while let Some(Text(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let raw = value.get().as_bytes();
            members.take(&key, raw, || Value::Raw(raw));
        }
        Ok(Object(members))
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The first elements of an array and how many it has.
struct Batch<'a> {
    /// At most [`BATCH_COMMANDS_MAX`].
    elements: Vec<&'a RawValue>,
    len: usize,
}

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch<'de>, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < BATCH_COMMANDS_MAX {
            match seq.next_element()? {
                Some(element) => elements.push(element),
                None => break,
            }
        }
        let mut len = elements.len();
        if len == BATCH_COMMANDS_MAX {
            while seq.next_element::<IgnoredAny>()?.is_some() {
                len += 1;
            }
        }
        Ok(Batch { elements, len })
    }
}
