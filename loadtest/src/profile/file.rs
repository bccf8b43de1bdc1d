//! The TOML of a profile, and the checks that make a `Profile` of it.
//! `Profile::parse` calls it.
//! Invariants: an unknown key is refused (by toml, with its line); everything else is refused as `key = value: reason`.

use serde::Deserialize;

use super::pattern::{Hole, Pattern, Text};
use super::{By, Delivery, Framing, Profile};
use super::{HOLES_OF_DELIVERY, HOLES_OF_PATH, HOLES_OF_PUBLISH, HOLES_OF_SUBSCRIBE, HOLES_OF_TOPIC};

/// Topics are spelled so unless the file says otherwise.
const TOPIC_USUAL: &str = "loadtest/{run}/{number}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    name: String,
    about: String,
    #[serde(default = "usual_topic")]
    topic: String,
    topics_max: Option<usize>,
    subprotocol: Option<String>,
    #[serde(default)]
    binary: bool,
    #[serde(default)]
    framing: Division,
    separator: Option<String>,
    length_bytes: Option<usize>,
    #[serde(default)]
    open: Open,
    #[serde(default)]
    subscribe: Subscribe,
    publish: Publish,
    delivery: Deliveries,
    heartbeat: Option<Heartbeat>,
    #[serde(default)]
    ignore: Vec<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Division {
    #[default]
    Message,
    Stream,
    Separated,
    Length,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    r#await: Option<String>,
    send: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    path: Option<String>,
    send: Option<String>,
    r#await: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    path: Option<String>,
    #[serde(default)]
    by: Way,
    content_type: Option<String>,
    send: String,
    answer: Option<String>,
    #[serde(default)]
    receives: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    #[default]
    WebSocket,
    Post,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deliveries {
    r#match: Option<String>,
    json: Option<String>,
    json_topic: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    r#await: String,
    send: String,
}

fn usual_topic() -> String {
    TOPIC_USUAL.to_owned()
}

/// `key = "value": reason`.
fn refused(key: &str, value: &str, reason: &str) -> String {
    format!("{key} = {value:?}: {reason}")
}

fn text(key: &str, value: &str, allowed: &[Hole]) -> Result<Text, String> {
    Text::parse(value, allowed).map_err(|reason| refused(key, value, &reason))
}

/// A path: it begins with `/` and may stand in a request line.
fn path(key: &str, value: Option<&String>) -> Result<Option<Text>, String> {
    let Some(value) = value else { return Ok(None) };
    if !value.starts_with('/') {
        return Err(refused(key, value, "a path begins with /"));
    }
    if value.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#') {
        return Err(refused(key, value, "a path holds visible ASCII only, and no fragment"));
    }
    text(key, value, &HOLES_OF_PATH).map(Some)
}

impl File {
    /// Makes a profile of it, that was written as `written`.
    pub(super) fn check(self, written: &str) -> Result<Profile, String> {
        let framing = self.framing()?;
        let stream = framing == Framing::Stream;
        let pattern = |key: &str, value: &str, allowed: &[Hole]| {
            Pattern::parse(value, allowed, stream).map_err(|reason| refused(key, value, &reason))
        };
        let any = |key: &str, value: Option<&String>| {
            value.map(|value| pattern(key, value, &[Hole::Any, Hole::Topic, Hole::Id])).transpose()
        };
        let ignored = self.ignore.iter().map(|value| pattern("ignore", value, &[Hole::Any]));
        let heartbeat = self.heartbeat.as_ref().map(|heartbeat| {
            let asked = pattern("heartbeat.await", &heartbeat.r#await, &[Hole::Any])?;
            Ok::<_, String>((asked, heartbeat.send.clone().into_bytes()))
        });
        let profile = Profile {
            text: written.to_owned(),
            greeting: any("open.await", self.open.r#await.as_ref())?,
            hello: self.open.send.as_ref().map(|value| text("open.send", value, &[])).transpose()?,
            subscriber_path: path("subscribe.path", self.subscribe.path.as_ref())?,
            subscribe: self
                .subscribe
                .send
                .as_ref()
                .map(|value| text("subscribe.send", value, &HOLES_OF_SUBSCRIBE))
                .transpose()?,
            subscribed: any("subscribe.await", self.subscribe.r#await.as_ref())?,
            publisher_path: path("publish.path", self.publish.path.as_ref())?,
            by: if self.publish.by == Way::Post { By::Post } else { By::WebSocket },
            content_type: self.content_type()?,
            publish: text("publish.send", &self.publish.send, &HOLES_OF_PUBLISH)?,
            answer: any("publish.answer", self.publish.answer.as_ref())?,
            publishers_receive: self.publish.receives,
            delivery: self.delivery(stream)?,
            heartbeat: heartbeat.transpose()?,
            ignored: ignored.collect::<Result<_, _>>()?,
            topic: self.topic()?,
            name: self.name,
            about: self.about,
            topics_max: self.topics_max,
            subprotocol: self.subprotocol,
            binary: self.binary,
            framing,
        };
        profile.check()
    }

    fn framing(&self) -> Result<Framing, String> {
        match (self.framing, &self.separator, self.length_bytes) {
            (Division::Separated, Some(separator), None) if !separator.is_empty() => {
                Ok(Framing::Separated(separator.clone().into_bytes()))
            }
            (Division::Separated, ..) => {
                Err("framing = \"separated\": it needs a separator, and no length_bytes".into())
            }
            (Division::Length, None, Some(width @ (1 | 2 | 4 | 8))) => Ok(Framing::Length(width)),
            (Division::Length, ..) => Err("framing = \"length\": it needs length_bytes of 1, 2, 4 or 8".into()),
            (_, Some(separator), _) => Err(refused("separator", separator, "only framing = \"separated\" has one")),
            (_, _, Some(width)) => Err(format!("length_bytes = {width}: only framing = \"length\" has them")),
            (Division::Message, ..) => Ok(Framing::Message),
            (Division::Stream, ..) => Ok(Framing::Stream),
        }
    }

    fn topic(&self) -> Result<Text, String> {
        let topic = text("topic", &self.topic, &HOLES_OF_TOPIC)?;
        for (hole, spelled) in [(Hole::Run, "{run}"), (Hole::Number, "{number}")] {
            if !topic.has(hole) {
                return Err(refused("topic", &self.topic, &format!("{spelled} is missing: topics would be mixed up")));
            }
        }
        if self.topic.bytes().any(|byte| !byte.is_ascii_graphic() || b"\"\\#?".contains(&byte)) {
            return Err(refused("topic", &self.topic, "it holds visible ASCII only, without quotes, \\, # and ?"));
        }
        Ok(topic)
    }

    fn content_type(&self) -> Result<String, String> {
        let value = self.publish.content_type.clone().unwrap_or_else(|| "text/plain".to_owned());
        if value.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(refused("publish.content_type", &value, "it holds a control character"));
        }
        Ok(value)
    }

    fn delivery(&self, stream: bool) -> Result<Delivery, String> {
        let names = |key: &str, value: &str| {
            let names: Vec<String> = value.split('.').map(str::to_owned).collect();
            let empty = names.iter().any(String::is_empty);
            if empty { Err(refused(key, value, "names are joined by dots, as in a.b")) } else { Ok(names) }
        };
        let Deliveries { r#match, json, json_topic } = &self.delivery;
        match (r#match, json) {
            (Some(value), None) => {
                let told = |reason: String| refused("delivery.match", value, &reason);
                if let Some(topic) = json_topic {
                    return Err(refused("delivery.json_topic", topic, "delivery.match finds the topic by {topic}"));
                }
                let text = Text::parse(value, &HOLES_OF_DELIVERY).map_err(told)?;
                if !text.has(Hole::Payload) {
                    return Err(told("{payload} is missing: nothing could be verified".into()));
                }
                Pattern::parse(value, &HOLES_OF_DELIVERY, stream).map(Delivery::Matching).map_err(told)
            }
            (None, Some(value)) if stream => {
                Err(refused("delivery.json", value, "a stream is divided by patterns: use delivery.match"))
            }
            (None, Some(value)) => Ok(Delivery::Json {
                payload: names("delivery.json", value)?,
                topic: json_topic.as_ref().map(|topic| names("delivery.json_topic", topic)).transpose()?,
            }),
            (Some(value), Some(_)) => Err(refused("delivery.match", value, "delivery.json is there, too: one of them")),
            (None, None) => Err("delivery: one of match and json is needed".into()),
        }
    }
}

impl Profile {
    /// What one key says with regard to another.
    fn check(mut self) -> Result<Self, String> {
        let told = |key: &str, reason: &str| Err(format!("{key}: {reason}"));
        if let Some(subprotocol) = &self.subprotocol
            && (subprotocol.is_empty() || !subprotocol.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','))
        {
            return Err(refused("subprotocol", subprotocol, "it is no token"));
        }
        if self.topics_max == Some(0) {
            return told("topics_max = 0", "one topic is the least");
        }
        if !self.publish.has(Hole::Payload) {
            return told("publish.send", "{payload} is missing: nothing could be verified");
        }
        if self.subscribe.is_none() && self.subscribed.is_some() {
            return told("subscribe.await", "nothing is sent by subscribe.send; what comes first is open.await");
        }
        if self.by == By::Post && self.answer.is_some() {
            return told("publish.answer", "a POST is answered by its status: 2xx is right");
        }
        if self.by == By::Post && self.publisher_path.is_none() {
            return told("publish.path", "a POST needs one");
        }
        if self.by == By::Post && self.publishers_receive {
            return told("publish.receives = true", "who publishes by POST receives nothing");
        }
        let has_topic = |text: &Option<Text>| text.as_ref().is_some_and(|text| text.has(Hole::Topic));
        if !has_topic(&self.subscribe) && !has_topic(&self.subscriber_path) && self.topics_max != Some(1) {
            return told("topics_max", "no {topic} in subscribe.send or subscribe.path: it has to be 1");
        }
        // A connection that publishes to a path with a topic has that topic for good.
        if self.by == By::WebSocket && has_topic(&self.publisher_path) {
            self.topics_max = Some(1);
        }
        Ok(self)
    }
}
