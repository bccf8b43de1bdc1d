//! A client that subscribes by a stream of events: its request out, its events in, in the words of a WebSocket.
//!
//! So the model judges both by the same promises. What is a stream's own is judged here and reported as garbage: `retry`
//! first, ids that say where the client is in each of its topics, whole events, a head of its own.

use std::collections::VecDeque;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;

use crate::commands::quoted;
use crate::event::{Begin, Frame, Sent};
use crate::plan::{Plan, TOPICS, WILD};
use crate::random::Random;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    seen: Vec<u8>,
    /// The response head came.
    begun: bool,
    /// `retry` came.
    timed: bool,
    over: bool,
    /// What the acks to come answer, as a WebSocket would have named it.
    acks: VecDeque<String>,
    /// Its filters, and where it is in each.
    places: Vec<(String, String)>,
    /// The welcome that a WebSocket would have got.
    pub(crate) welcome: Vec<u8>,
}

impl Stream {
    /// A request, and the subscribes that it is. `begin` says where each is to begin, if it is a topic.
    pub(crate) fn ask(
        plan: &Plan,
        random: &mut Random,
        begin: impl Fn(&str, &String, &mut Random) -> Begin,
    ) -> Option<(Self, Vec<u8>, Vec<Sent>)> {
        let readable = |filter: &str| !TOPICS.contains(&filter) || plan.is_readable(filter);
        // Several may wait for one another, and then no more than the limit for them.
        let most = if plan.outbound_bytes_max < 1 << 20 { 1 } else { 4.min(plan.subscriptions_max) };
        let mut filters: Vec<&str> = Vec::new();
        for _ in 0..random.between(1, most) {
            let filter = if random.chance(70) { *random.pick(&TOPICS) } else { *random.pick(&WILD) };
            if !filters.contains(&filter) && readable(filter) {
                filters.push(filter);
            }
        }
        let (mut stream, mut sent, mut ids, mut query) = (Self::default(), Vec::new(), Vec::new(), String::new());
        let last = random.chance(20).then(|| *random.pick(&[1, 2, 5, 1000]));
        for filter in &filters {
            let id = (random.word() >> 11).to_string();
            let topic = TOPICS.contains(filter);
            let begin = match begin(filter, &id, random) {
                Begin::Since(position) if topic => Begin::Since(position),
                _ => last.filter(|_| topic).map_or(Begin::Now, Begin::Last),
            };
            ids.push(if let Begin::Since(position) = &begin { position.clone() } else { String::new() });
            query += &format!("{}topic={}", if query.is_empty() { '?' } else { '&' }, encoded(filter));
            stream.acks.push_back(id.clone());
            stream.places.push(((*filter).to_owned(), String::new()));
            sent.push(Sent::Subscribe { filter: (*filter).to_owned(), id: Some(id), begin, presence: false });
        }
        if sent.is_empty() {
            return None;
        }
        query += &last.map_or_else(String::new, |last| format!("&last={last}"));
        let (known, id) = (ids.iter().any(|id| !id.is_empty()), ids.join(","));
        let header = if known && random.chance(50) { format!("Last-Event-ID: {id}\r\n") } else { String::new() };
        query += &if known && header.is_empty() { format!("&last_event_id={id}") } else { String::new() };
        let request = format!("GET /v1/events{query} HTTP/1.1\r\nHost: sim\r\n{header}\r\n");
        Some((stream, request.into_bytes(), sent))
    }

    /// One that asked for these filters.
    pub(crate) fn of(filters: &[&str]) -> Self {
        let places = filters.iter().map(|filter| ((*filter).to_owned(), String::new())).collect();
        let acks = (1..=filters.len()).map(|number| number.to_string()).collect();
        Self { acks, places, ..Self::default() }
    }

    /// Takes what the broker wrote.
    pub(crate) fn receive(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        self.seen.extend_from_slice(bytes);
        if !self.begun {
            let Some(end) = self.seen.windows(4).position(|end| end == b"\r\n\r\n") else { return };
            let head: Vec<u8> = self.seen.drain(..end + 4).collect();
            let text = String::from_utf8_lossy(&head).into_owned();
            self.begun = true;
            if !text.starts_with("HTTP/1.1 200 ") || !text.contains("\r\nContent-Type: text/event-stream\r\n") {
                self.over = true;
                let status = text.get(9..12).and_then(|digits| digits.parse().ok());
                return frames.push(Frame::Http(status.filter(|status| *status != 200).unwrap_or(0)));
            }
            frames.extend([Frame::Http(101), Frame::Text(self.welcome.clone())]);
        }
        while let Some(end) = self.seen.windows(2).position(|end| end == b"\n\n").filter(|_| !self.over) {
            let event: Vec<u8> = self.seen.drain(..end + 2).collect();
            let frame = match std::str::from_utf8(&event[..end]) {
                Ok(text) => self.event(text).unwrap_or_else(|what| Some(Frame::Garbage(format!("{what} in {text}")))),
                Err(error) => Some(Frame::Garbage(error.to_string())),
            };
            self.over |= matches!(frame, Some(Frame::Close(_) | Frame::Garbage(_)));
            frames.extend(frame);
        }
    }

    /// Whether it got a part of something.
    pub(crate) fn is_torn(&self) -> bool {
        !self.seen.is_empty() && !self.over
    }

    fn event(&mut self, text: &str) -> Result<Option<Frame>, String> {
        if text == ":" {
            return Ok(Some(Frame::Ping));
        }
        if let Some(ms) = text.strip_prefix("retry: ") {
            self.timed = true;
            return ms.parse::<u64>().map(|_| None).map_err(|error| error.to_string());
        }
        let field = |name: &str| text.lines().filter_map(|line| line.strip_prefix(name)).collect::<Vec<_>>();
        let (ids, names, data) = (field("id: "), field("event: "), field("data: ").join("\n"));
        if !self.timed || ids.len() + names.len() + field("data: ").len() != text.lines().count() {
            return Err("not what an event is made of".to_owned());
        }
        let object: Object = serde_json::from_str(&data).map_err(|error| error.to_string())?;
        if names != [object.op.as_str()] {
            return Err("it has another name".to_owned());
        }
        match names[0] {
            "ack" => self.ack(ids.last().copied(), &data).map(Some),
            "message" => self.message(ids.last().copied(), &object, &data).map(Some),
            "close" => Ok(Some(Frame::Close(object.code))),
            _ => Ok(Some(Frame::Text(data.into_bytes()))),
        }
    }

    fn ack(&mut self, id: Option<&str>, data: &str) -> Result<Frame, String> {
        if let Some(id) = id {
            let all: Vec<&str> = id.split(',').collect();
            if all.len() != self.places.len() {
                return Err(format!("an id of {} topics", all.len()));
            }
            for ((_, place), id) in self.places.iter_mut().zip(all) {
                id.clone_into(place);
            }
        }
        let id = self.acks.pop_front().ok_or("one ack too many")?;
        Ok(Frame::Text(data.replacen(r#""op":"ack","#, &format!(r#""op":"ack","id":{id},"#), 1).into_bytes()))
    }

    /// RFC 6455's words for it; its id has to be where it leaves the client.
    fn message(&mut self, id: Option<&str>, object: &Object, data: &str) -> Result<Frame, String> {
        let position = object.position.as_str();
        let own = self.places.iter_mut().find(|(filter, _)| object.topic == *filter);
        if let Some((_, place)) = own {
            position.clone_into(place);
        }
        let all = self.places.iter().map(|(_, place)| place.as_str()).collect::<Vec<_>>().join(",");
        let due = if self.places.len() == 1 { position } else { &all };
        if id != Some(due) {
            return Err(format!("the id {id:?} and not {due}"));
        }
        let Some((head, rest)) = data.split_once(r#","encoding":"base64","data":""#) else {
            return Ok(Frame::Text(data.as_bytes().to_vec()));
        };
        let bytes = BASE64_STANDARD.decode(rest.trim_end_matches("\"}")).map_err(|error| error.to_string())?;
        Ok(Frame::Binary([head.as_bytes(), b"}\n", &bytes].concat()))
    }
}

/// What is looked at of an event's data.
#[derive(Debug, Deserialize)]
struct Object {
    op: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    position: String,
    code: Option<u16>,
}

/// What the broker would say of a connection, if it were a WebSocket.
pub(crate) fn welcome(name: &str, plan: &Plan) -> Vec<u8> {
    let limits = serde_json::json!({
        "message_bytes": plan.message_bytes_max,
        "subscriptions": plan.subscriptions_max,
    });
    format!(r#"{{"op":"welcome","client":{},"heartbeat":{},"limits":{limits}}}"#, quoted(name), plan.interval_s)
        .into_bytes()
}

/// A name as part of a query.
fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
