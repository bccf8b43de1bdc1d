//! Why a command is refused: a code, and a reason that displays as a sentence.
//!
//! Made by the parser, answered through `reply::error`; the connection lives. Text of a stranger appears only as an
//! [`Excerpt`]: bounded, and with its control characters escaped. Positions are bytes of the message, from 0.

use std::fmt;

use super::{Id, PositionError};
use crate::ids::ClientNameError;
use crate::limits::{BATCH_COMMANDS_MAX, ID_BYTES_MAX, JSON_DEPTH_MAX};
use crate::topic::NameError;

/// A refused command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The command's id, if it got that far.
    pub id: Id,
    /// One of HTTP's: 400, 403, 404 or 413.
    pub code: u16,
    /// What was wrong, with the field, the value and the limit.
    pub reason: Reason,
}

impl Fault {
    /// A fault with the code that belongs to the reason.
    #[must_use]
    pub fn new(id: Id, reason: Reason) -> Self {
        let code = reason.code();
        Self { id, code, reason }
    }
}

/// A member of a command that the broker reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// What to do.
    Op,
    /// What the reply echoes.
    Id,
    /// A topic or a filter.
    Topic,
    /// The payload of a text publication.
    Data,
    /// Whether the publisher gets its own publication.
    Echo,
    /// By which a repeat of a publication is known.
    Key,
    /// What a newer publication makes obsolete.
    Conflate,
    /// A position to go on from.
    Since,
    /// How many kept publications a subscriber wants first.
    Last,
    /// Whether a subscriber is told who comes and goes.
    Presence,
    /// How many an answer may hold.
    Limit,
    /// Whether the newest comes first.
    Reverse,
    /// The `next` of the answer that this one goes on from.
    After,
    /// Who the connection is.
    Token,
}

impl Field {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Op,
        Self::Id,
        Self::Topic,
        Self::Data,
        Self::Echo,
        Self::Key,
        Self::Conflate,
        Self::Since,
        Self::Last,
        Self::Presence,
        Self::Limit,
        Self::Reverse,
        Self::After,
        Self::Token,
    ];

    /// The member of that name, if the broker reads it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "op" => Self::Op,
            "id" => Self::Id,
            "topic" => Self::Topic,
            "data" => Self::Data,
            "echo" => Self::Echo,
            "key" => Self::Key,
            "conflate" => Self::Conflate,
            "since" => Self::Since,
            "last" => Self::Last,
            "presence" => Self::Presence,
            "limit" => Self::Limit,
            "reverse" => Self::Reverse,
            "after" => Self::After,
            "token" => Self::Token,
            _ => return None,
        })
    }

    /// As it is spelled in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Op => "op",
            Self::Id => "id",
            Self::Topic => "topic",
            Self::Data => "data",
            Self::Echo => "echo",
            Self::Key => "key",
            Self::Conflate => "conflate",
            Self::Since => "since",
            Self::Last => "last",
            Self::Presence => "presence",
            Self::Limit => "limit",
            Self::Reverse => "reverse",
            Self::After => "after",
            Self::Token => "token",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Op | Self::Topic | Self::Key | Self::Conflate | Self::After | Self::Token => "a string",
            Self::Id => "an integer from 0 to 2^53-1 or a string",
            Self::Data => "a JSON value",
            Self::Echo | Self::Presence | Self::Reverse => "true or false",
            Self::Since => "a position, which is a string",
            Self::Last | Self::Limit => "an integer",
        }
    }
}

/// The kinds of JSON values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the words of RFC 8259")]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// The kind of the valid JSON value that `raw` begins with.
    pub(super) fn of(raw: &[u8]) -> Self {
        match raw.first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
            Self::Null => "null",
        })
    }
}

/// The beginning of a stranger's text, at most 32 bytes. Displays quoted and escaped, with `…` where it was cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; EXCERPT_BYTES_MAX],
    len: u8,
    cut: bool,
}

const EXCERPT_BYTES_MAX: usize = 32;

impl Excerpt {
    /// Copies the beginning of `text`, up to a character's end.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let len = text.floor_char_boundary(EXCERPT_BYTES_MAX);
        let mut bytes = [0; EXCERPT_BYTES_MAX];
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self { bytes, len: u8::try_from(len).expect("an excerpt has at most 32 bytes"), cut: len < text.len() }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = &self.bytes[..usize::from(self.len)];
        let text = std::str::from_utf8(bytes).expect("it was cut at a character's end");
        let more = if self.cut { "…" } else { "" };
        write!(f, "\"{}{more}\"", text.escape_debug())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What was wrong with a message or a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "`at` is a byte of the message; the sentences below say the rest")]
pub enum Reason {
    /// The bytes are not UTF-8 (a binary message's header line).
    Utf8 { at: usize },
    /// The grammar of RFC 8259 is broken.
    Json { at: usize },
    /// The JSON stops before it is complete.
    JsonEnd { at: usize },
    /// More than [`JSON_DEPTH_MAX`] brackets are open.
    TooDeep { at: usize },
    /// The message is neither an object nor, where that is allowed, an array.
    NotACommand { found: Kind },
    /// An element of a batch is no object.
    ElementNotACommand { index: usize, found: Kind },
    /// A batch without commands.
    BatchEmpty,
    /// More than [`BATCH_COMMANDS_MAX`] commands: none of them was run.
    BatchTooLong { len: usize },
    /// A member that the broker reads is there twice.
    Twice { field: Field },
    /// A member that the op needs is not there.
    Missing { field: Field },
    /// A member has the wrong type.
    WrongType { field: Field, found: Kind },
    /// A string member holds a `\ud800`..=`\udfff` that is no pair, so it is no text.
    Surrogate { field: Field },
    /// A number as id that is no integer from 0 to 2^53-1.
    IdRange,
    /// A string as id of more than [`ID_BYTES_MAX`] bytes.
    IdTooLong { len: usize },
    /// No op of this name.
    UnknownOp { op: Excerpt },
    /// Something else than a publication where only these are taken.
    NotAPublish { op: Excerpt },
    /// The topic or filter is malformed.
    Name { value: Excerpt, error: NameError },
    /// A string member that is empty or longer than `max` bytes.
    Length { field: Field, len: usize, max: usize },
    /// A number that is no integer, or not one from `min` to `max`.
    Range { field: Field, min: u32, max: u32 },
    /// A `since` that is no position.
    NoPosition { value: Excerpt },
    /// An `after` that is no client's name.
    NoClient { value: Excerpt },
    /// Two answers to the question of where to begin.
    SinceAndLast,
    /// A member that is about one topic, with a filter that has wildcards.
    NeedsTopic { field: Field, filter: Excerpt },
    /// A publish to a topic of the broker.
    BrokerTopic { topic: Excerpt },
    /// A subscribe to topics of the broker without a rule that grants it.
    BrokerFilter { filter: Excerpt },
    /// A question for the history or the members of a topic of the broker without a rule that grants it.
    BrokerState { topic: Excerpt },
    /// A binary publish without a line feed after its header.
    NoPayload,
    /// A binary publish with a `data` member beside its payload.
    DataTwice,
    /// A binary message whose op takes no payload has one.
    UnusedPayload { len: usize },
}

const OPS: &str = "auth, subscribe, unsubscribe, publish, history, presence and ping";

impl Reason {
    /// The code that belongs to it.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::BrokerTopic { .. } | Self::BrokerFilter { .. } | Self::BrokerState { .. } => 403,
            Self::UnknownOp { .. } => 404,
            Self::BatchTooLong { .. } => 413,
            _ => 400,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Utf8 { at } => write!(f, "the header is not UTF-8 at byte {at}"),
            Self::Json { at } => write!(f, "the message is not valid JSON at byte {at}"),
            Self::JsonEnd { at } => write!(f, "the JSON is incomplete, it ends at byte {at}"),
            Self::TooDeep { at } => {
                write!(f, "the JSON nests too deep at byte {at}; the limit is {JSON_DEPTH_MAX} open brackets")
            }
            Self::NotACommand { found } => write!(f, "a command is a JSON object, not {found}"),
            Self::ElementNotACommand { index, found } => {
                write!(f, "a batch holds JSON objects; its element {index} (from 0) is {found}")
            }
            Self::BatchEmpty => f.write_str("the batch is an empty array; it needs 1 command"),
            Self::BatchTooLong { len } => {
                write!(f, "the batch has {len} commands, none was run; the limit is {BATCH_COMMANDS_MAX}")
            }
            Self::Twice { field } => write!(f, "the member `{}` is there twice", field.name()),
            Self::Missing { field } => {
                write!(f, "the member `{}` is missing; it is {}", field.name(), field.expected())
            }
            Self::WrongType { field, found } => {
                write!(f, "the member `{}` is {found}; it has to be {}", field.name(), field.expected())
            }
            Self::Surrogate { field } => {
                write!(f, "the member `{}` holds half of a surrogate pair, which is no character", field.name())
            }
            Self::IdRange => f.write_str("the member `id` is no integer from 0 to 2^53-1"),
            Self::IdTooLong { len } => write!(f, "the member `id` has {len} bytes; the limit is {ID_BYTES_MAX}"),
            Self::NotAPublish { op } => write!(f, "op: only publish is taken here, or nothing, not {op}"),
            Self::UnknownOp { op } => write!(f, "unknown op {op}; known are {OPS}"),
            Self::Length { field, len: 0, max } => {
                write!(f, "the member `{}` is empty; it has 1 to {max} bytes", field.name())
            }
            Self::Length { field, len, max } => {
                write!(f, "the member `{}` has {len} bytes; the limit is {max}", field.name())
            }
            Self::Range { field, min, max } => {
                write!(f, "the member `{}` is no integer from {min} to {max}", field.name())
            }
            Self::NoPosition { value } => write!(f, "the member `since` is {value}: {PositionError}"),
            Self::NoClient { value } => write!(f, "the member `after` is {value}: {ClientNameError}"),
            Self::SinceAndLast => f.write_str("the members `since` and `last` exclude each other; give one of them"),
            Self::NeedsTopic { field, filter } => {
                write!(f, "the member `{}` needs one topic, and the filter {filter} has wildcards", field.name())
            }
            Self::Name { value, error } => write!(f, "the member `topic` is {value}: {error}"),
            Self::BrokerTopic { topic } => {
                write!(f, "the topic {topic} belongs to the broker: nobody publishes to names that start with `$`")
            }
            Self::BrokerFilter { filter } => {
                write!(f, "no rule grants a subscription to {filter}")
            }
            Self::BrokerState { topic } => {
                write!(f, "no rule grants the history or the members of {topic}")
            }
            Self::NoPayload => {
                f.write_str("a binary publish is a header line, a line feed and the payload; the line feed is missing")
            }
            Self::DataTwice => {
                f.write_str("the member `data` does not belong in a binary publish; its payload follows the header")
            }
            Self::UnusedPayload { len } => {
                write!(f, "{len} bytes follow the header line; only a publish has a payload")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_known_by_their_names_and_numbers() {
        for (number, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!((field as usize, Field::named(field.name())), (number, Some(field)));
        }
        assert_eq!(Field::named("Topic"), None);
    }
}
