//! `wirefan publish`: data or lines in, positions out.
//!
//! Commands are sent as the input comes and acknowledged in their own time, a bounded number of them under way, so that a
//! slow input is published at once and a long one quickly. A publication that is refused is told and does not stop the
//! others; the exit code is then 1.

use std::io::{self, IsTerminal, Read, Write};

use serde_json::value::RawValue;

use super::Publish;
use super::connection::{Arrival, Connection, GIVE_TOKEN, Out, out};
use super::outcome::{Failure, complain, tell};
use super::reply::{self, Reply};
use crate::limits::CLIENT_MESSAGE_BYTES_MAX;
use crate::net::client::{Lines, escape};
use crate::ws::Kind;

/// Publishes what the arguments or standard input say.
pub(super) fn publish(arguments: Publish) -> Result<(), Failure> {
    let Publish { topic, data, url, ca, who, binary, key } = arguments;
    let token = who.token()?;
    if key.is_some() && data.is_none() && !binary {
        let sentence = "--key names one publication, and each line of standard input is one: give DATA, or --binary";
        return Err(Failure::Wrong(sentence.to_owned()));
    }
    // What is wrong with the data is known without a broker.
    let single = match data {
        Some(data) if binary => Some(data.into_bytes()),
        Some(data) => {
            let json = json(data.as_bytes())
                .map_err(|reason| Failure::Failed(format!("DATA {reason}; a string needs its own quotes, {QUOTED}")))?;
            Some(json.to_owned().into_bytes())
        }
        None if binary => Some(read_all()?),
        None => None,
    };
    let connection = Connection::open(&url, ca.as_deref(), token.as_ref())?;
    let mut publishing =
        Publishing { connection, topic, binary, key, under_way: Vec::new(), failed: false, out: out() };
    match single {
        Some(data) => publishing.send(Source::Argument, &data),
        None => publishing.publish_lines()?,
    }
    publishing.finish()
}

/// A run of publications.
struct Publishing {
    connection: Connection,
    topic: String,
    binary: bool,
    key: Option<String>,
    /// Sent and not answered, by id.
    under_way: Vec<u64>,
    /// One was refused, and the user told.
    failed: bool,
    out: Out,
}

/// Where data came from; its number is the id of its command.
#[derive(Clone, Copy)]
enum Source {
    Argument,
    /// Of standard input, from 1.
    Line(u64),
}

impl Publishing {
    fn publish_lines(&mut self) -> Result<(), Failure> {
        if io::stdin().is_terminal() {
            tell("publishing each line that you type, a JSON value; Ctrl-D ends");
        }
        let lines = self.connection.client().read_lines(io::stdin());
        let lines = lines.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
        let mut number = 0;
        loop {
            match self.connection.next(!self.under_way.is_empty(), &mut self.out)? {
                Arrival::Line(line) => {
                    number += 1;
                    self.send_line(Source::Line(number), &line);
                    if self.under_way.last() != Some(&number) {
                        lines.done();
                    }
                }
                Arrival::LinesEnded(ended) => {
                    return ended.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")));
                }
                arrival => self.take(arrival, Some(&lines))?,
            }
        }
    }

    fn send_line(&mut self, source: Source, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        match json(line) {
            Ok(json) => self.send(source, json.as_bytes()),
            Err(reason) => self.refuse(source, &format!("it {reason}; a string needs its quotes, \"hi\"")),
        }
    }

    /// Sends the command; `data` is valid JSON, or bytes.
    fn send(&mut self, source: Source, data: &[u8]) {
        let id = source.id();
        let topic = serde_json::Value::from(self.topic.as_str());
        let key = self.key.as_deref().map(|key| format!(r#","key":{}"#, serde_json::Value::from(key)));
        let head = format!(r#"{{"op":"publish","id":{id},"topic":{topic}{}"#, key.unwrap_or_default());
        let (kind, message) = if self.binary {
            (Kind::Binary, [head.as_bytes(), b"}\n", data].concat())
        } else {
            (Kind::Text, [head.as_bytes(), br#","data":"#, data, b"}"].concat())
        };
        match self.connection.send(kind, &message) {
            Ok(()) => self.under_way.push(id),
            Err(reason) => self.refuse(source, &reason),
        }
    }

    /// Waits for the answers that are due.
    fn finish(mut self) -> Result<(), Failure> {
        while !self.under_way.is_empty() {
            let arrival = self.connection.next(true, &mut self.out)?;
            self.take(arrival, None)?;
        }
        self.out.flush().map_err(|error| Failure::from_stdout(&error))?;
        self.connection.close();
        if self.failed { Err(Failure::Told) } else { Ok(()) }
    }

    fn take(&mut self, arrival: Arrival, lines: Option<&Lines>) -> Result<(), Failure> {
        let Arrival::Text(text) = arrival else {
            return Ok(());
        };
        match reply::read_text(&text).map_err(|reason| self.connection.garbled(&reason))? {
            Reply::Ack { id: Some(id), position, .. } if self.under_way.contains(&id) => {
                let (topic, position) = (&self.topic, position.unwrap_or_default());
                writeln!(self.out, "{topic} {}", escape(&position)).map_err(|error| Failure::from_stdout(&error))?;
                self.answered(id, lines);
            }
            Reply::Error { id, code, reason } => {
                // A broker that could not read a command knows no id; among several nobody knows which one it was.
                let only = if let [id] = self.under_way[..] { Some(id) } else { None };
                let Some(id) = id.or(only) else {
                    return Err(Failure::Failed(sentence(code, &reason)));
                };
                self.refuse(Source::of(id), &sentence(code, &reason));
                self.answered(id, lines);
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, id: u64, lines: Option<&Lines>) {
        self.under_way.retain(|&other| other != id);
        if let Some(lines) = lines {
            lines.done();
        }
    }

    fn refuse(&mut self, source: Source, reason: &str) {
        self.failed = true;
        match source {
            Source::Argument => complain(&format!("not published: {reason}")),
            Source::Line(number) => complain(&format!("line {number} is not published: {reason}")),
        }
    }
}

impl Source {
    fn id(self) -> u64 {
        match self {
            Self::Argument => 0,
            Self::Line(number) => number,
        }
    }

    fn of(id: u64) -> Self {
        if id == 0 { Self::Argument } else { Self::Line(id) }
    }
}

/// A refusal by the broker.
pub(super) fn sentence(code: u16, reason: &str) -> String {
    match code {
        401 => format!("the broker says 401, it wants to know who you are; {GIVE_TOKEN}"),
        _ => format!("the broker says {code}: {}", escape(reason)),
    }
}

/// The one JSON value that `bytes` are, without the white space around it. Whatever is more than that would become a
/// part of the command.
fn json(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8; bytes are published with --binary".to_owned())?;
    let value: &RawValue = serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // There is one line, as a rule, and its number here would be taken for another.
        format!("is not JSON: {}", reason.replace(" at line 1 column ", " at byte "))
    })?;
    Ok(value.get())
}

fn read_all() -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let read = io::stdin().lock().take(CLIENT_MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut data);
    read.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
    if data.len() > CLIENT_MESSAGE_BYTES_MAX {
        let sentence =
            format!("standard input is longer than {CLIENT_MESSAGE_BYTES_MAX} bytes, which no broker takes at once");
        return Err(Failure::Failed(sentence));
    }
    Ok(data)
}

const QUOTED: &str = "and the shell takes one pair away: '\"hi\"'";
