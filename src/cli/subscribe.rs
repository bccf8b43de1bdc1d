//! `wirefan subscribe`: filters in, a line for each publication out.
//!
//! A line is a line whatever the publisher wrote: JSON may have line breaks between its parts, and they become spaces.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Subscribe;
use super::connection::{Arrival, Connection, Out, out};
use super::outcome::{Failure, tell};
use super::publish::sentence;
use super::reply::{self, Data, Publication, Reply};
use crate::net::client::escape;
use crate::protocol::Position;
use crate::ws::Kind;

/// Prints publications until enough have come, the user interrupts, or the connection ends.
pub(super) fn subscribe(arguments: &Subscribe) -> Result<(), Failure> {
    if let (Some(since), [_, _, ..]) = (arguments.since, &arguments.filters[..]) {
        let sentence =
            format!("--since {since} is a position of one topic, and there are several: ask for each by itself");
        return Err(Failure::Wrong(sentence));
    }
    let token = arguments.who.token()?;
    let connection = Connection::open(&arguments.url, arguments.ca.as_deref(), token.as_ref())?;
    let signals = connection.client().catch_signals();
    signals.map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    let begin = match (arguments.since, arguments.last) {
        (Some(since), _) => format!(r#","since":"{since}""#),
        (None, Some(last)) => format!(r#","last":{last}"#),
        (None, None) => String::new(),
    };
    for (id, filter) in arguments.filters.iter().enumerate() {
        let filter = serde_json::Value::from(filter.as_str());
        let command = format!(r#"{{"op":"subscribe","id":{id},"topic":{filter}{begin}}}"#);
        connection.send(Kind::Text, command.as_bytes()).map_err(Failure::Failed)?;
    }
    let mut out = out();
    let mut awaited = arguments.filters.len();
    let mut left = arguments.count.unwrap_or(u64::MAX);
    while left > 0 {
        let arrival = connection.next(awaited > 0, &mut out)?;
        let reply = match &arrival {
            Arrival::Text(text) => reply::read_text(text),
            Arrival::Binary(bytes) => reply::read_binary(bytes),
            Arrival::Interrupted => break,
            Arrival::Line(_) | Arrival::LinesEnded(_) => continue,
        };
        match reply.map_err(|reason| connection.garbled(&reason))? {
            Reply::Message(publication) => {
                print(&publication, arguments.json, &mut out).map_err(|error| Failure::from_stdout(&error))?;
                left -= 1;
            }
            Reply::Ack { position, recovered, .. } => {
                awaited = awaited.saturating_sub(1);
                if awaited == 0 {
                    tell(format_args!("subscribed to {}", arguments.filters.join(", ")));
                }
                if let (Some(since), Some(recovered)) = (arguments.since, recovered) {
                    tell_recovered(since, recovered, position.as_deref());
                }
            }
            Reply::Gap { topic, missed, position } => tell_gap(&topic, missed, position.as_deref()),
            Reply::Error { id, code, reason } => {
                return Err(refused(&arguments.filters, id, &sentence(code, &reason)));
            }
            Reply::Welcome { .. } | Reply::Other => {}
        }
    }
    out.flush().map_err(|error| Failure::from_stdout(&error))?;
    connection.close();
    Ok(())
}

fn tell_recovered(since: Position, recovered: bool, position: Option<&str>) {
    if recovered {
        return tell(format_args!("recovered all since {since}"));
    }
    let live = position.map(|position| format!("; what follows begins after {}", escape(position)));
    tell(format_args!("not recovered: not all since {since} is kept{}", live.unwrap_or_default()));
}

fn tell_gap(topic: &str, missed: u64, position: Option<&str>) {
    let (topic, plural) = (escape(topic), if missed == 1 { "" } else { "s" });
    let newest = position.map(|position| format!(", the newest at {}", escape(position)));
    tell(format_args!("missed {missed} publication{plural} of {topic}{}", newest.unwrap_or_default()));
}

fn refused(filters: &[String], id: Option<u64>, sentence: &str) -> Failure {
    let filter = id.and_then(|id| filters.get(usize::try_from(id).ok()?));
    Failure::Failed(match filter {
        Some(filter) => format!("not subscribed to \"{}\": {sentence}", escape(filter)),
        None => sentence.to_owned(),
    })
}

fn print(publication: &Publication<'_>, json: bool, out: &mut Out) -> io::Result<()> {
    let Publication { topic, position, data, object } = publication;
    match data {
        Data::Json(_) if json => write_line(object, out),
        Data::Bytes(bytes) if json => {
            // The same shape as binary data has in Server-Sent Events.
            let open = object.trim_end();
            let open = open.strip_suffix('}').unwrap_or(open);
            let data = STANDARD.encode(bytes);
            write_line(&format!(r#"{open},"encoding":"base64","data":"{data}"}}"#), out)
        }
        Data::Json(data) => {
            write!(out, "{} {} ", escape(topic), escape(position))?;
            write_line(data, out)
        }
        Data::Bytes(bytes) => {
            write!(out, "{} {} ", escape(topic), escape(position))?;
            write_line(&STANDARD.encode(bytes), out)
        }
    }
}

/// Inside JSON strings line breaks are escaped, so a raw one is white space.
fn write_line(text: &str, out: &mut Out) -> io::Result<()> {
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        out.write_all(&rest[..at])?;
        out.write_all(b" ")?;
        rest = &rest[at + 1..];
    }
    out.write_all(rest)?;
    out.write_all(b"\n")
}
