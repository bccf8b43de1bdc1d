//! Subscribers over HTTP: a stream of server-sent events, or poll after poll.
//! A `Link` feeds one with the bytes that it reads, and sends what it asks for.
//! Invariants: each message is the object that a WebSocket would have got, and an event's id is that object's position; a
//! poll is sent only when the last one was answered, and asks from where that one ended.

use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, refusal};
use super::{Message, Subscription};
use crate::envelope::{Ack, Position, Reply, parse_reply};
use crate::target::{Target, Transport};

/// Longest event or answer, in bytes.
const UNIT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a poll may wait for something, in seconds: the most that wirefan takes.
const WAIT_S: u32 = 60;

/// One connection that reads over HTTP.
pub(super) enum Feed {
    /// `/v1/events`.
    Events(Events),
    /// `/v1/poll`.
    Polls(Polls),
}

impl Feed {
    /// What a subscriber by `target`'s transport is; `None` over a WebSocket. Its first request is appended to `out`.
    pub(super) fn begin(target: &Target, subscriptions: &[Subscription], out: &mut Vec<u8>) -> Option<Self> {
        let topics: Vec<String> = subscriptions.iter().map(|one| format!("topic={}", one.filter)).collect();
        let query = topics.join("&");
        match target.transport {
            Transport::Ws => None,
            Transport::Sse => {
                get(out, target, &format!("/v1/events?{query}"));
                Some(Self::Events(Events { acks_left: subscriptions.len(), ..Events::default() }))
            }
            Transport::Poll => {
                let polls = Polls { target: target.clone(), query, unread: Vec::new(), asked: false };
                polls.ask("wait=0", out);
                Some(Self::Polls(polls))
            }
        }
    }

    /// What it is waiting for before it is ready, in words.
    pub(super) fn awaited(&self) -> &'static str {
        match self {
            Self::Events(_) => "the ack on the stream",
            Self::Polls(_) => "the answer to the first poll",
        }
    }

    /// Takes what was read; appends to `out` what is to be sent. True once it is subscribed.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut message: impl FnMut(Message<'_>),
    ) -> Result<bool, String> {
        match self {
            Self::Events(events) => events.take(bytes, &mut message),
            Self::Polls(polls) => polls.take(bytes, out, &mut message),
        }
    }
}

fn get(out: &mut Vec<u8>, target: &Target, path: &str) {
    let host = target.host();
    out.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
}

/// A stream of server-sent events.
#[derive(Default)]
pub(super) struct Events {
    /// The response's head was read.
    open: bool,
    acks_left: usize,
    /// The beginning of an event, or of the head.
    partial: Vec<u8>,
}

impl Events {
    fn take(&mut self, bytes: &[u8], message: &mut impl FnMut(Message<'_>)) -> Result<bool, String> {
        if self.open && self.partial.is_empty() {
            let used = self.events(bytes, message)?;
            self.partial.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.partial);
            all.extend_from_slice(bytes);
            let mut used = 0;
            if !self.open {
                let Some(answer) = Answer::parse(&all)? else {
                    self.partial = all;
                    return Ok(false);
                };
                if answer.status != 200 {
                    return Err(refusal(answer.status, &all[answer.head_bytes..]));
                }
                (self.open, used) = (true, answer.head_bytes);
            }
            used += self.events(&all[used..], message)?;
            all.drain(..used);
            self.partial = all;
        }
        if self.partial.len() > UNIT_BYTES_MAX {
            return Err("an event does not end".into());
        }
        Ok(self.open && self.acks_left == 0)
    }

    /// Handles the whole events at the start of `bytes`; answers how many bytes they are.
    fn events(&mut self, bytes: &[u8], message: &mut impl FnMut(Message<'_>)) -> Result<usize, String> {
        let mut used = 0;
        while let Some(len) = memmem::find(&bytes[used..], b"\n\n") {
            self.event(&bytes[used..used + len], message)?;
            used += len + 2;
        }
        Ok(used)
    }

    /// One event: its lines, without the empty one at its end.
    fn event(&mut self, event: &[u8], message: &mut impl FnMut(Message<'_>)) -> Result<(), String> {
        let (mut id, mut kind, mut data): (&[u8], &[u8], Option<&[u8]>) = (b"", b"", None);
        let mut joined = Vec::new();
        for line in event.split(|byte| *byte == b'\n') {
            if let Some(text) = line.strip_prefix(b"data: ") {
                if let Some(first) = data {
                    if joined.is_empty() {
                        joined.extend_from_slice(first);
                    }
                    joined.push(b'\n');
                    joined.extend_from_slice(text);
                }
                data.get_or_insert(text);
            } else if let Some(text) = line.strip_prefix(b"id: ") {
                id = text;
            } else if let Some(text) = line.strip_prefix(b"event: ") {
                kind = text;
            } else if !line.starts_with(b"retry: ") && !line.starts_with(b":") {
                return Err(format!("a stream has no line {:?}", String::from_utf8_lossy(line)));
            }
        }
        let Some(data) = (if joined.is_empty() { data } else { Some(joined.as_slice()) }) else {
            return Ok(()); // nothing but `retry` or a heartbeat
        };
        if kind == b"message" && memmem::find(data, &[b"\"position\":\"", id, b"\""].concat()).is_none() {
            return Err(format!("an event's id {:?} is not its position", String::from_utf8_lossy(id)));
        }
        if kind == b"ack" {
            let Reply::Ack(ack) = parse_reply(std::str::from_utf8(data).unwrap_or_default()) else {
                return Err("the stream's ack is none".into());
            };
            self.acks_left = self.acks_left.checked_sub(1).ok_or("more acks came than topics were asked for")?;
            message(Message::Acked(ack));
        } else {
            message(Message::Text(data));
        }
        Ok(())
    }
}

/// One poll after the other.
pub(super) struct Polls {
    target: Target,
    /// The topics.
    query: String,
    /// The beginning of an answer.
    unread: Vec<u8>,
    /// The first answer came: the others go on from it.
    asked: bool,
}

#[derive(Deserialize)]
struct Polled<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    next: &'a str,
    recovered: Option<bool>,
}

impl Polls {
    fn ask(&self, parameters: &str, out: &mut Vec<u8>) {
        get(out, &self.target, &format!("/v1/poll?{}&{parameters}", self.query));
    }

    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, message: &mut impl FnMut(Message<'_>)) -> Result<bool, String> {
        self.unread.extend_from_slice(bytes);
        while let Some(answer) = Answer::parse(&self.unread)? {
            let Some(whole) = answer.whole_bytes().filter(|whole| *whole <= UNIT_BYTES_MAX) else {
                return Err("the answer to a poll has no length, or too much of it".into());
            };
            if self.unread.len() < whole {
                break;
            }
            let unread = std::mem::take(&mut self.unread);
            let body = &unread[answer.head_bytes..whole];
            if answer.status != 200 {
                return Err(refusal(answer.status, body));
            }
            let polled: Polled<'_> = serde_json::from_slice(body)
                .map_err(|error| format!("the answer to a poll is not its JSON: {error}"))?;
            if polled.recovered == Some(false) {
                return Err("a poll was not recovered: the history no longer reaches back to the one before".into());
            }
            if !self.asked {
                let position = polled.next.split(',').next().and_then(Position::parse);
                message(Message::Acked(Ack { position, recovered: None }));
            }
            self.asked = true;
            polled.messages.iter().for_each(|one| message(Message::Text(one.get().as_bytes())));
            self.ask(&format!("since={}&wait={WAIT_S}", polled.next), out);
            self.unread.extend_from_slice(&unread[whole..]);
        }
        Ok(self.asked)
    }
}

#[cfg(test)]
mod tests;
