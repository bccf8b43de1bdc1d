//! Commands: what a client asks for, checked and borrowed from its message.
//!
//! Both readers (`spans`, `fallback`) collect a JSON object's [`Members`]; this file alone decides what they mean, so
//! that the two cannot differ. Unknown members are ignored, unknown ops are not.

use std::ops::RangeInclusive;

use super::fault::{Excerpt, Fault, Field, Kind, Reason};
use super::id::{ID_INT_MAX, Id};
use super::position::{Position, decimal};
use crate::ids::ClientName;
use crate::limits::{
    AFTER_BYTES_MAX, CONFLATE_BYTES_MAX, HISTORY_LAST_MAX, HISTORY_LIMIT_MAX, ID_BYTES_MAX, KEY_BYTES_MAX,
    PRESENCE_LIMIT_MAX, TOKEN_BYTES_MAX,
};
use crate::topic::{Filter, NameError, Topic};

/// One command and the id that its reply echoes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command<'a> {
    /// [`Id::None`]: a success stays silent.
    pub id: Id,
    /// What to do.
    pub op: Op<'a>,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op<'a> {
    /// Say who the connection is, or go on being it.
    Auth {
        /// A token or an API key, not looked at: 1..=[`TOKEN_BYTES_MAX`] bytes. Never to be logged.
        token: Secret<'a>,
    },
    /// Deliver what the filter matches to this connection.
    Subscribe {
        /// Never one of the broker's.
        filter: Filter<'a>,
        /// First what came after this position. Only with a topic, and not with `last`.
        since: Option<Position>,
        /// First the last kept ones, at most [`HISTORY_LAST_MAX`]. Only with a topic.
        last: Option<u32>,
        /// Whether to tell who comes and goes. Only with a topic.
        presence: bool,
    },
    /// Stop that, for exactly this filter.
    Unsubscribe {
        /// May be any filter, one of the broker's too.
        filter: Filter<'a>,
    },
    /// Give the payload to all subscribers of the topic.
    Publish {
        /// Never one of the broker's.
        topic: Topic<'a>,
        /// Untouched bytes of the message.
        payload: Payload<'a>,
        /// Whether the publisher, if subscribed, gets it too.
        echo: bool,
        /// A repeat with this key publishes nothing: 1..=[`KEY_BYTES_MAX`] bytes.
        key: Option<&'a str>,
        /// What a newer publication with the same value makes obsolete: 1..=[`CONFLATE_BYTES_MAX`] bytes.
        conflate: Option<&'a str>,
    },
    /// Answer with kept publications.
    History {
        /// Never one of the broker's.
        topic: Topic<'a>,
        /// Only what came after it; before it, if `reverse`.
        since: Option<Position>,
        /// At most so many, 1..=[`HISTORY_LIMIT_MAX`].
        limit: Option<u32>,
        /// From the newest to the oldest.
        reverse: bool,
    },
    /// Answer who is there.
    Presence {
        /// Never one of the broker's.
        topic: Topic<'a>,
        /// At most so many members, 1..=[`PRESENCE_LIMIT_MAX`].
        limit: Option<u32>,
        /// Those behind this `next` of an earlier answer.
        after: Option<ClientName>,
    },
    /// Answer `pong`.
    Ping,
}

/// Text that is not to be shown to anybody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a str);

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What a publication carries, byte for byte as the publisher sent it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// One valid JSON value without whitespace around it, UTF-8, at most 63 brackets deep.
    Json(&'a [u8]),
    /// Any bytes.
    Binary(&'a [u8]),
}

/// How a command came: it decides where the payload is.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Text,
    /// Only publications, which need not say so.
    Publications,
    /// With what follows the header line, if a line feed ends it.
    Binary(Option<&'a [u8]>),
}

/// The members of one JSON object that a command can use.
#[derive(Default)]
pub(super) struct Members<'a> {
    /// By [`Field`].
    values: [Option<Value<'a>>; Field::ALL.len()],
    twice: Option<Field>,
}

/// A member's value.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// A string, decoded.
    Text(&'a str),
    /// A string with half of a surrogate pair.
    Surrogate,
    /// Anything else, and any payload: its valid JSON, without whitespace around it.
    Raw(&'a [u8]),
}

impl Value<'_> {
    fn kind(self) -> Kind {
        match self {
            Self::Text(_) | Self::Surrogate => Kind::String,
            Self::Raw(raw) => Kind::of(raw),
        }
    }
}

impl<'a> Members<'a> {
    /// Takes a member in: its decoded key, its JSON, and how to decode that.
    pub(super) fn take(&mut self, key: &str, raw: &'a [u8], value: impl FnOnce() -> Value<'a>) {
        let Some(field) = Field::named(key) else { return };
        let value = if field == Field::Data { Value::Raw(raw) } else { value() };
        if self.values[field as usize].replace(value).is_some() {
            self.twice.get_or_insert(field);
        }
    }

    /// The same members, each value as `change` makes it.
    pub(super) fn map<'t>(&self, mut change: impl FnMut(Field, Value<'a>) -> Value<'t>) -> Members<'t> {
        let values = Field::ALL.map(|field| self.get(field).map(|value| change(field, value)));
        Members { values, twice: self.twice }
    }

    pub(super) fn get(&self, field: Field) -> Option<Value<'a>> {
        self.values[field as usize]
    }

    /// What they mean.
    ///
    /// The id is looked at first, so that every later fault can name it.
    pub(super) fn command(&self, form: Form<'a>) -> Result<Command<'a>, Fault> {
        let id = match self.twice {
            Some(field @ Field::Id) => return Err(Fault::new(Id::None, Reason::Twice { field })),
            _ => self.id().map_err(|reason| Fault::new(Id::None, reason))?,
        };
        let op = match self.twice {
            Some(field) => Err(Reason::Twice { field }),
            None => self.op(form),
        };
        match op {
            Ok(op) => Ok(Command { id, op }),
            Err(reason) => Err(Fault::new(id, reason)),
        }
    }

    fn id(&self) -> Result<Id, Reason> {
        match self.get(Field::Id) {
            None => Ok(Id::None),
            Some(Value::Text(text)) if text.len() > ID_BYTES_MAX => Err(Reason::IdTooLong { len: text.len() }),
            Some(Value::Text(text)) => Ok(Id::Text(text.into())),
            Some(Value::Raw(raw)) if Kind::of(raw) == Kind::Number => match decimal(raw) {
                Some(number) if number <= ID_INT_MAX => Ok(Id::Int(number)),
                _ => Err(Reason::IdRange),
            },
            Some(Value::Surrogate) => Err(Reason::Surrogate { field: Field::Id }),
            Some(value) => Err(wrong_type(Field::Id, value)),
        }
    }

    fn op(&self, form: Form<'a>) -> Result<Op<'a>, Reason> {
        let name = match form {
            Form::Publications if self.get(Field::Op).is_none() => "publish",
            _ => self.text(Field::Op)?,
        };
        if matches!(form, Form::Publications) && name != "publish" {
            return Err(Reason::NotAPublish { op: Excerpt::of(name) });
        }
        if let (Form::Binary(Some(rest)), "auth" | "subscribe" | "unsubscribe" | "history" | "presence" | "ping") =
            (form, name)
            && !rest.is_empty()
        {
            return Err(Reason::UnusedPayload { len: rest.len() });
        }
        match name {
            "auth" => self.auth(),
            "subscribe" => self.subscribe(),
            "unsubscribe" => Ok(Op::Unsubscribe { filter: self.filter()? }),
            "publish" => self.publish(form),
            "history" => self.history(),
            "presence" => self.presence(),
            "ping" => Ok(Op::Ping),
            _ => Err(Reason::UnknownOp { op: Excerpt::of(name) }),
        }
    }

    fn auth(&self) -> Result<Op<'a>, Reason> {
        let missing = Reason::Missing { field: Field::Token };
        let token = self.short(Field::Token, TOKEN_BYTES_MAX)?.ok_or(missing)?;
        Ok(Op::Auth { token: Secret(token) })
    }

    fn subscribe(&self) -> Result<Op<'a>, Reason> {
        let filter = self.filter()?;
        if filter.is_inner() {
            return Err(Reason::BrokerFilter { filter: Excerpt::of(filter.as_str()) });
        }
        let since = self.since()?;
        let last = self.integer(Field::Last, 0..=HISTORY_LAST_MAX)?;
        let presence = self.flag(Field::Presence, false)?;
        if since.is_some() && last.is_some() {
            return Err(Reason::SinceAndLast);
        }
        // All three are about one topic and its positions; a filter with wildcards has neither.
        let needs_topic = [(since.is_some(), Field::Since), (last.is_some(), Field::Last), (presence, Field::Presence)];
        if filter.has_wildcard()
            && let Some(&(_, field)) = needs_topic.iter().find(|(given, _)| *given)
        {
            return Err(Reason::NeedsTopic { field, filter: Excerpt::of(filter.as_str()) });
        }
        Ok(Op::Subscribe { filter, since, last, presence })
    }

    fn history(&self) -> Result<Op<'a>, Reason> {
        Ok(Op::History {
            topic: self.asked_topic()?,
            since: self.since()?,
            limit: self.integer(Field::Limit, 1..=HISTORY_LIMIT_MAX)?,
            reverse: self.flag(Field::Reverse, false)?,
        })
    }

    fn presence(&self) -> Result<Op<'a>, Reason> {
        Ok(Op::Presence {
            topic: self.asked_topic()?,
            limit: self.integer(Field::Limit, 1..=PRESENCE_LIMIT_MAX)?,
            after: self.after()?,
        })
    }

    fn after(&self) -> Result<Option<ClientName>, Reason> {
        let Some(value) = self.short(Field::After, AFTER_BYTES_MAX)? else { return Ok(None) };
        let name = value.parse().map_err(|_| Reason::NoClient { value: Excerpt::of(value) })?;
        Ok(Some(name))
    }

    fn filter(&self) -> Result<Filter<'a>, Reason> {
        let name = self.text(Field::Topic)?;
        Filter::parse(name).map_err(|error| bad_name(name, error))
    }

    fn topic(&self) -> Result<Topic<'a>, Reason> {
        let name = self.text(Field::Topic)?;
        Topic::parse(name).map_err(|error| bad_name(name, error))
    }

    /// A topic whose history or members are asked for.
    fn asked_topic(&self) -> Result<Topic<'a>, Reason> {
        match self.topic()? {
            topic if topic.is_broker() => Err(Reason::BrokerState { topic: Excerpt::of(topic.as_str()) }),
            topic => Ok(topic),
        }
    }

    fn since(&self) -> Result<Option<Position>, Reason> {
        if self.get(Field::Since).is_none() {
            return Ok(None);
        }
        let value = self.text(Field::Since)?;
        let position = value.parse().map_err(|_| Reason::NoPosition { value: Excerpt::of(value) })?;
        Ok(Some(position))
    }

    fn publish(&self, form: Form<'a>) -> Result<Op<'a>, Reason> {
        let topic = self.topic()?;
        if topic.is_broker() {
            return Err(Reason::BrokerTopic { topic: Excerpt::of(topic.as_str()) });
        }
        let echo = self.flag(Field::Echo, true)?;
        let key = self.short(Field::Key, KEY_BYTES_MAX)?;
        let conflate = self.short(Field::Conflate, CONFLATE_BYTES_MAX)?;
        let payload = match (form, self.get(Field::Data)) {
            (Form::Text | Form::Publications, Some(Value::Raw(data))) => Payload::Json(data),
            (Form::Text | Form::Publications, _) => return Err(Reason::Missing { field: Field::Data }),
            (Form::Binary(_), Some(_)) => return Err(Reason::DataTwice),
            (Form::Binary(Some(rest)), None) => Payload::Binary(rest),
            (Form::Binary(None), None) => return Err(Reason::NoPayload),
        };
        Ok(Op::Publish { topic, payload, echo, key, conflate })
    }

    fn flag(&self, field: Field, default: bool) -> Result<bool, Reason> {
        match self.get(field) {
            None => Ok(default),
            Some(Value::Raw(b"true")) => Ok(true),
            Some(Value::Raw(b"false")) => Ok(false),
            Some(value) => Err(wrong_type(field, value)),
        }
    }

    fn integer(&self, field: Field, range: RangeInclusive<u32>) -> Result<Option<u32>, Reason> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Raw(raw)) if Kind::of(raw) == Kind::Number => {
                let number = decimal(raw).and_then(|number| u32::try_from(number).ok());
                match number.filter(|number| range.contains(number)) {
                    Some(number) => Ok(Some(number)),
                    None => Err(Reason::Range { field, min: *range.start(), max: *range.end() }),
                }
            }
            Some(value) => Err(wrong_type(field, value)),
        }
    }

    /// A string of at least one byte and at most `max`.
    fn short(&self, field: Field, max: usize) -> Result<Option<&'a str>, Reason> {
        if self.get(field).is_none() {
            return Ok(None);
        }
        let text = self.text(field)?;
        if (1..=max).contains(&text.len()) {
            Ok(Some(text))
        } else {
            Err(Reason::Length { field, len: text.len(), max })
        }
    }

    fn text(&self, field: Field) -> Result<&'a str, Reason> {
        match self.get(field) {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Surrogate) => Err(Reason::Surrogate { field }),
            Some(value) => Err(wrong_type(field, value)),
            None => Err(Reason::Missing { field }),
        }
    }
}

fn wrong_type(field: Field, value: Value<'_>) -> Reason {
    Reason::WrongType { field, found: value.kind() }
}

fn bad_name(name: &str, error: NameError) -> Reason {
    Reason::Name { value: Excerpt::of(name), error }
}
