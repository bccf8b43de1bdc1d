//! What the broker says, as far as the commands care: `docs/protocol.md`, server to client.
//!
//! `publish` and `subscribe` hand over the messages they hear. The data of a publication stays the bytes that they are.
//! Refuses what is no object of the protocol; ops that are unknown here are [`Reply::Other`].

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message of the broker.
#[derive(Debug)]
pub(super) enum Reply<'a> {
    Welcome {
        /// Seconds from ping to ping.
        heartbeat: Option<u64>,
        /// Longest message that the broker takes, in bytes.
        message_bytes: Option<usize>,
    },
    Ack {
        id: Option<u64>,
        position: Option<Cow<'a, str>>,
        /// Whether all that was missed follows, if the command asked for that.
        recovered: Option<bool>,
    },
    /// Publications that the broker withheld.
    Gap {
        topic: Cow<'a, str>,
        missed: u64,
        position: Option<Cow<'a, str>>,
    },
    Error {
        id: Option<u64>,
        code: u16,
        reason: Cow<'a, str>,
    },
    Message(Publication<'a>),
    Other,
}

/// A publication as it arrived.
#[derive(Debug)]
pub(super) struct Publication<'a> {
    pub(super) topic: Cow<'a, str>,
    pub(super) position: Cow<'a, str>,
    pub(super) data: Data<'a>,
    /// The whole object of the message, or of the binary message's header.
    pub(super) object: &'a str,
}

#[derive(Debug)]
pub(super) enum Data<'a> {
    /// As its publisher wrote it, without the white space around it.
    Json(&'a str),
    Bytes(&'a [u8]),
}

/// Reads a text message.
///
/// # Errors
/// Why it cannot be a broker's.
pub(super) fn read_text(text: &str) -> Result<Reply<'_>, String> {
    let object: Object<'_> = parse(text)?;
    let data = object.data.map(|data| Data::Json(data.get()));
    Ok(match object.op.as_ref() {
        "welcome" => Reply::Welcome {
            heartbeat: object.heartbeat,
            message_bytes: object.limits.and_then(|limits| limits.message_bytes),
        },
        "ack" => Reply::Ack { id: object.id, position: object.position, recovered: object.recovered },
        "gap" => Reply::Gap {
            topic: object.topic.ok_or("a gap without a topic")?,
            missed: object.missed.ok_or("a gap without its count")?,
            position: object.position,
        },
        "error" => Reply::Error {
            id: object.id,
            code: object.code.unwrap_or_default(),
            reason: object.reason.unwrap_or_default(),
        },
        "message" => Reply::Message(publication(object.topic, object.position, data, text)?),
        _ => Reply::Other,
    })
}

/// Reads a binary message: a header line, then the data.
///
/// # Errors
/// Why it cannot be a broker's.
pub(super) fn read_binary(bytes: &[u8]) -> Result<Reply<'_>, String> {
    let end = memchr::memchr(b'\n', bytes).ok_or("a binary message without a header line")?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| "a header line that is not UTF-8")?;
    let object: Object<'_> = parse(header)?;
    if object.op != "message" {
        return Ok(Reply::Other);
    }
    let data = Some(Data::Bytes(&bytes[end + 1..]));
    Ok(Reply::Message(publication(object.topic, object.position, data, header)?))
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    id: Option<u64>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    position: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    recovered: Option<bool>,
    missed: Option<u64>,
    code: Option<u16>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    heartbeat: Option<u64>,
    limits: Option<Limits>,
}

#[derive(Deserialize)]
struct Limits {
    message_bytes: Option<usize>,
}

fn parse(text: &str) -> Result<Object<'_>, String> {
    serde_json::from_str(text).map_err(|error| format!("an object that cannot be read: {error}"))
}

fn publication<'a>(
    topic: Option<Cow<'a, str>>,
    position: Option<Cow<'a, str>>,
    data: Option<Data<'a>>,
    object: &'a str,
) -> Result<Publication<'a>, String> {
    let topic = topic.ok_or("a message without a topic")?;
    let position = position.ok_or("a message without a position")?;
    let data = data.ok_or("a message without data")?;
    Ok(Publication { topic, position, data, object })
}
