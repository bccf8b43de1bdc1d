//! Another broker, described by a file: how it is connected to, subscribed to and published to, and how its deliveries look.
//! The command line reads one by name or from a path; connections speak it by `client::talk`, publishers by `publication`.
//! Invariants: whatever a profile accepts can be spoken and recognised; a file that is wrong is refused with the key, its
//! value and the reason. A profile describes; it never computes.

mod file;
pub(crate) mod pattern;

use std::path::Path;

use serde_json::value::RawValue;

use file::File;
use pattern::{Filling, Found, Hole, Pattern, Text};

/// The profiles that come with the program.
pub(crate) const BUILT_IN: [(&str, &str); 6] = [
    ("wirefan", include_str!("../profiles/wirefan.toml")),
    ("bun", include_str!("../profiles/bun.toml")),
    ("ws", include_str!("../profiles/ws.toml")),
    ("nats", include_str!("../profiles/nats.toml")),
    ("nchan", include_str!("../profiles/nchan.toml")),
    ("nchan-post", include_str!("../profiles/nchan-post.toml")),
];
/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How a broker divides what it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One unit in each WebSocket message.
    Message,
    /// Units follow one another, wherever messages end; patterns tell them apart.
    Stream,
    /// Several in a message, with this between them.
    Separated(Vec<u8>),
    /// Each behind its length, big-endian in so many bytes, wherever messages end. What is sent is framed alike.
    Length(usize),
}

/// How publications come to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// As messages of a WebSocket.
    WebSocket,
    /// As the bodies of POST requests.
    Post,
}

/// Where the payload of a delivery is.
#[derive(Clone, Debug)]
enum Delivery {
    /// As a pattern says.
    Matching(Pattern),
    /// In a member of a JSON object, by the names on the way there; and the topic, if it is looked at.
    Json { payload: Vec<String>, topic: Option<Vec<String>> },
}

/// One broker.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// As it was written: told to another process.
    pub(crate) text: String,
    /// One word.
    pub(crate) name: String,
    /// One sentence.
    pub(crate) about: String,
    /// Topics that it can tell apart, if not any number.
    pub(crate) topics_max: Option<usize>,
    topic: Text,
    /// What is offered at the handshake.
    pub(crate) subprotocol: Option<String>,
    /// What it is sent is binary.
    pub(crate) binary: bool,
    /// How it divides what it sends.
    pub(crate) framing: Framing,
    /// What comes first, unasked.
    pub(crate) greeting: Option<Pattern>,
    hello: Option<Text>,
    subscriber_path: Option<Text>,
    subscribe: Option<Text>,
    /// What says that a subscription has begun.
    pub(crate) subscribed: Option<Pattern>,
    publisher_path: Option<Text>,
    /// How publications go there.
    pub(crate) by: By,
    content_type: String,
    publish: Text,
    /// What a publisher is told for each publication.
    pub(crate) answer: Option<Pattern>,
    /// Those who publish get what others publish, and it is not judged.
    pub(crate) publishers_receive: bool,
    delivery: Delivery,
    /// What it wants to hear when it says what.
    pub(crate) heartbeat: Option<(Pattern, Vec<u8>)>,
    ignored: Vec<Pattern>,
}

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit<'a> {
    /// A publication; the topic is known if the broker names it where the profile looks.
    Delivery {
        /// The topic's name.
        topic: Option<&'a [u8]>,
        /// The payload, byte for byte.
        payload: &'a [u8],
    },
    /// It wants a sign of life.
    Heartbeat,
    /// What the broker said first.
    Greeting,
    /// A subscription has begun.
    Subscribed,
    /// A publication was taken.
    Answer,
    /// What means nothing here.
    Ignored,
}

impl Profile {
    /// The built-in one of that name, or the file at that path.
    ///
    /// # Errors
    /// A sentence: what is wrong, with its key and value.
    pub(crate) fn load(name: &str) -> Result<Self, String> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).map_err(|reason| format!("profile {name}: {reason}"));
        }
        let path = Path::new(name);
        let told = |reason: &dyn std::fmt::Display| {
            let known: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            format!("profile {name}: {reason} (built in are {})", known.join(", "))
        };
        let bytes = std::fs::metadata(path).map_err(|error| told(&error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(told(&format!("{bytes} bytes are no profile, the most are {FILE_BYTES_MAX}")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        Self::parse(&text).map_err(|reason| format!("profile {name}: {reason}"))
    }

    /// Reads a profile.
    ///
    /// # Errors
    /// The key, its value and the reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        file.check(text)
    }

    /// The name of a topic.
    pub(crate) fn topic(&self, run: u32, number: usize) -> String {
        let mut name = Vec::new();
        self.topic.fill(&mut name, Filling { run, number, ..Filling::default() });
        String::from_utf8_lossy(&name).into_owned()
    }

    /// Whether a connection can have several topics.
    pub(crate) fn subscribes_by_path(&self) -> bool {
        self.subscribe.is_none()
    }

    /// The request line's path for a subscriber to `topic`, or for a publisher to it, below the path of the address.
    pub(crate) fn path(&self, base: &str, topic: &str, publishes: bool) -> String {
        let path = if publishes { &self.publisher_path } else { &self.subscriber_path };
        let Some(path) = path else {
            return base.to_owned();
        };
        let mut out = base.trim_end_matches('/').as_bytes().to_vec();
        path.fill(&mut out, Filling { topic, ..Filling::default() });
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What a connection says first, framed; nothing if it says nothing.
    pub(crate) fn hello(&self) -> Option<Vec<u8>> {
        self.hello.as_ref().map(|text| self.framed(|out| text.fill(out, Filling::default())))
    }

    /// What subscribes to `topic` as subscription `id`; nothing if connecting did.
    pub(crate) fn subscribe(&self, topic: &str, id: usize) -> Option<Vec<u8>> {
        let filling = Filling { topic, number: id, ..Filling::default() };
        self.subscribe.as_ref().map(|text| self.framed(|out| text.fill(out, filling)))
    }

    /// Appends the message, or the whole request to `host`, that publishes `payload` to `topic`.
    pub(crate) fn publication(&self, out: &mut Vec<u8>, host: &str, base: &str, topic: &str, payload: &[u8]) {
        let filling = Filling { topic, payload, ..Filling::default() };
        let body = self.framed(|out| self.publish.fill(out, filling));
        if self.by == By::Post {
            let (path, kind, length) = (self.path(base, topic, true), &self.content_type, body.len());
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
            );
            out.extend_from_slice(head.as_bytes());
        }
        out.extend_from_slice(&body);
    }

    fn framed(&self, fill: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        fill(&mut out);
        if let Framing::Length(width) = self.framing {
            let length = (out.len() as u64).to_be_bytes();
            out.splice(..0, length[8 - width..].iter().copied());
        }
        out
    }

    /// What `input` is, or in a stream begins with, and how many bytes of it. `Ok(None)` if more of it will tell.
    ///
    /// # Errors
    /// It is nothing that the profile knows.
    pub(crate) fn recognise<'a>(&self, input: &'a [u8]) -> Result<Option<(Unit<'a>, usize)>, ()> {
        let mut partial = false;
        let mut try_one = |pattern: &Pattern| match pattern.find(input) {
            Found::Yes(caught) => Some(caught),
            Found::Partial => {
                partial = true;
                None
            }
            Found::No => None,
        };
        let ignored = self.ignored.iter().map(|pattern| (pattern, Unit::Ignored));
        let known = [
            self.heartbeat.as_ref().map(|(pattern, _)| (pattern, Unit::Heartbeat)),
            self.subscribed.as_ref().map(|pattern| (pattern, Unit::Subscribed)),
            self.greeting.as_ref().map(|pattern| (pattern, Unit::Greeting)),
            self.answer.as_ref().map(|pattern| (pattern, Unit::Answer)),
        ];
        // Deliveries are most: only a delivery that takes anything has to come last.
        if let Delivery::Matching(pattern) = &self.delivery
            && !self.is_any_delivery()
            && let Some(caught) = try_one(pattern)
        {
            let payload = caught.payload.unwrap_or_default();
            return Ok(Some((Unit::Delivery { topic: caught.topic, payload }, caught.bytes)));
        }
        for (pattern, unit) in known.into_iter().flatten().chain(ignored) {
            if let Some(caught) = try_one(pattern) {
                return Ok(Some((unit, caught.bytes)));
            }
        }
        let last = match &self.delivery {
            Delivery::Matching(pattern) => {
                try_one(pattern).map(|caught| (caught.topic, caught.payload.unwrap_or_default()))
            }
            Delivery::Json { payload, topic } => member(input, payload).and_then(|found| match topic {
                None => Some((None, found)),
                Some(topic) => member(input, topic).map(|name| (Some(unquoted(name)), found)),
            }),
        };
        match last {
            Some((topic, payload)) => Ok(Some((Unit::Delivery { topic, payload }, input.len()))),
            None if partial => Ok(None),
            None => Err(()),
        }
    }

    /// Whether any bytes at all would be a delivery.
    fn is_any_delivery(&self) -> bool {
        matches!(&self.delivery, Delivery::Matching(pattern) if pattern.is_any())
    }
}

/// The value at `path` in a JSON object, as it is spelled.
fn member<'a>(json: &'a [u8], path: &[String]) -> Option<&'a [u8]> {
    let mut at = json;
    for name in path {
        let object: std::collections::HashMap<String, &'a RawValue> = serde_json::from_slice(at).ok()?;
        at = object.get(name)?.get().as_bytes();
    }
    Some(at)
}

/// A JSON string without its quotes; topics of a load test need no escapes.
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// The holes of each kind of text.
const HOLES_OF_TOPIC: [Hole; 2] = [Hole::Run, Hole::Number];
const HOLES_OF_PATH: [Hole; 1] = [Hole::Topic];
const HOLES_OF_SUBSCRIBE: [Hole; 2] = [Hole::Topic, Hole::Id];
const HOLES_OF_PUBLISH: [Hole; 3] = [Hole::Topic, Hole::Bytes, Hole::Payload];
const HOLES_OF_DELIVERY: [Hole; 4] = [Hole::Topic, Hole::Any, Hole::Bytes, Hole::Payload];

#[cfg(test)]
mod tests;
