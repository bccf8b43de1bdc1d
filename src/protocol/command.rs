//! Commands: what a client asks for, checked and borrowed from its message.
//!
//! Both readers (`spans`, `fallback`) collect a JSON object's [`Members`]; this file alone decides what they mean, so
//! that the two cannot differ. Unknown members are ignored, unknown ops are not.

use std::borrow::Cow;

use super::fault::{Excerpt, Fault, Field, Kind, Reason};
use super::id::{ID_INT_MAX, Id};
use super::position::decimal;
use crate::limits::ID_BYTES_MAX;
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
    /// Deliver what the filter matches to this connection.
    Subscribe {
        /// Never one of the broker's.
        filter: Filter<'a>,
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
    },
    /// Answer `pong`.
    Ping,
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
    /// With what follows the header line, if a line feed ends it.
    Binary(Option<&'a [u8]>),
}

/// The members of one JSON object that a command can use.
#[derive(Default)]
pub(super) struct Members<'a> {
    op: Option<Value<'a>>,
    id: Option<Value<'a>>,
    topic: Option<Value<'a>>,
    echo: Option<Value<'a>>,
    data: Option<&'a [u8]>,
    twice: Option<Field>,
}

/// A member's value.
pub(super) enum Value<'a> {
    /// A string, decoded.
    Text(Cow<'a, str>),
    /// A string with half of a surrogate pair.
    Surrogate,
    /// Anything else: its valid JSON, without whitespace around it.
    Raw(&'a [u8]),
}

impl Value<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::Text(_) | Self::Surrogate => Kind::String,
            Self::Raw(raw) => Kind::of(raw),
        }
    }
}

impl<'a> Members<'a> {
    /// Takes a member in: its decoded key, its JSON, and how to decode that.
    pub(super) fn take(&mut self, key: &str, raw: &'a [u8], value: impl FnOnce() -> Value<'a>) {
        let (slot, field) = match key {
            "data" => {
                if self.data.replace(raw).is_some() {
                    self.twice.get_or_insert(Field::Data);
                }
                return;
            }
            "op" => (&mut self.op, Field::Op),
            "id" => (&mut self.id, Field::Id),
            "topic" => (&mut self.topic, Field::Topic),
            "echo" => (&mut self.echo, Field::Echo),
            _ => return,
        };
        if slot.replace(value()).is_some() {
            self.twice.get_or_insert(field);
        }
    }

    /// What they mean.
    ///
    /// The id is looked at first, so that every later fault can name it.
    pub(super) fn command<'s>(&'s self, form: Form<'s>) -> Result<Command<'s>, Fault> {
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
        match &self.id {
            None => Ok(Id::None),
            Some(Value::Text(text)) if text.len() > ID_BYTES_MAX => Err(Reason::IdTooLong { len: text.len() }),
            Some(Value::Text(text)) => Ok(Id::Text(text.as_ref().into())),
            Some(Value::Raw(raw)) if Kind::of(raw) == Kind::Number => match decimal(raw) {
                Some(number) if number <= ID_INT_MAX => Ok(Id::Int(number)),
                _ => Err(Reason::IdRange),
            },
            Some(Value::Surrogate) => Err(Reason::Surrogate { field: Field::Id }),
            Some(value) => Err(wrong_type(Field::Id, value)),
        }
    }

    fn op<'s>(&'s self, form: Form<'s>) -> Result<Op<'s>, Reason> {
        let name = text(Field::Op, self.op.as_ref())?;
        if let (Form::Binary(Some(rest)), "subscribe" | "unsubscribe" | "ping") = (form, name)
            && !rest.is_empty()
        {
            return Err(Reason::UnusedPayload { len: rest.len() });
        }
        match name {
            "subscribe" => match self.filter()? {
                filter if filter.is_broker() => Err(Reason::BrokerFilter { filter: Excerpt::of(filter.as_str()) }),
                filter => Ok(Op::Subscribe { filter }),
            },
            "unsubscribe" => Ok(Op::Unsubscribe { filter: self.filter()? }),
            "publish" => self.publish(form),
            "ping" => Ok(Op::Ping),
            _ => Err(Reason::UnknownOp { op: Excerpt::of(name) }),
        }
    }

    fn filter(&self) -> Result<Filter<'_>, Reason> {
        let name = text(Field::Topic, self.topic.as_ref())?;
        Filter::parse(name).map_err(|error| bad_name(name, error))
    }

    fn publish<'s>(&'s self, form: Form<'s>) -> Result<Op<'s>, Reason> {
        let name = text(Field::Topic, self.topic.as_ref())?;
        let topic = Topic::parse(name).map_err(|error| bad_name(name, error))?;
        if topic.is_broker() {
            return Err(Reason::BrokerTopic { topic: Excerpt::of(name) });
        }
        let echo = match &self.echo {
            None | Some(Value::Raw(b"true")) => true,
            Some(Value::Raw(b"false")) => false,
            Some(value) => return Err(wrong_type(Field::Echo, value)),
        };
        let payload = match (form, self.data) {
            (Form::Text, Some(data)) => Payload::Json(data),
            (Form::Text, None) => return Err(Reason::Missing { field: Field::Data }),
            (Form::Binary(_), Some(_)) => return Err(Reason::DataTwice),
            (Form::Binary(Some(rest)), None) => Payload::Binary(rest),
            (Form::Binary(None), None) => return Err(Reason::NoPayload),
        };
        Ok(Op::Publish { topic, payload, echo })
    }
}

fn text<'s>(field: Field, value: Option<&'s Value<'_>>) -> Result<&'s str, Reason> {
    match value {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Surrogate) => Err(Reason::Surrogate { field }),
        Some(value) => Err(wrong_type(field, value)),
        None => Err(Reason::Missing { field }),
    }
}

fn wrong_type(field: Field, value: &Value<'_>) -> Reason {
    Reason::WrongType { field, found: value.kind() }
}

fn bad_name(name: &str, error: NameError) -> Reason {
    Reason::Name { value: Excerpt::of(name), error }
}
