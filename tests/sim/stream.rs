//! A client that subscribes by HTTP, by a stream of events or a poll: its request out, what came in the words of a WebSocket.
//!
//! So the model judges all of them by the same promises. What is a stream's own is judged here and reported as garbage:
//! `retry` first, ids that say where the client is in each of its topics, whole events, a head of its own. A poll is a
//! subscriber with one answer, which is taken for its ack and what followed that; then it goes.

use std::collections::VecDeque;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// A poll: the newest offset of its topic that anybody knew when it asked.
    poll: Option<u64>,
    /// It may be answered late: with what comes, or in some seconds.
    pub(crate) waits: bool,
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

    /// A poll of a topic of which nobody is a member: when it was answered and when it went is not the same.
    pub(crate) fn poll(
        plan: &Plan,
        random: &mut Random,
        known: u64,
        topic: &'static str,
        begin: Begin,
    ) -> Option<(Self, Vec<u8>, Vec<Sent>)> {
        let Begin::Since(since) = begin else { return None };
        if !plan.is_readable(topic) || plan.has_presence(topic) {
            return None;
        }
        let (id, wait) = ((random.word() >> 11).to_string(), *random.pick(&[0, 1, 5]));
        let query = format!("topic={}&since={since}&wait={wait}", encoded(topic));
        let stream = Self { waits: wait > 0, ..Self::of_poll(topic, &since, known, &id) };
        let request = format!("GET /v1/poll?{query} HTTP/1.1\r\nHost: sim\r\n\r\n");
        let begin = Begin::Since(since);
        let sent = vec![Sent::Subscribe { filter: topic.to_owned(), id: Some(id), begin, presence: false }];
        Some((stream, request.into_bytes(), sent))
    }

    /// One that polled a topic from there, when `known` was its newest offset.
    pub(crate) fn of_poll(topic: &str, since: &str, known: u64, id: &str) -> Self {
        let (acks, places) = (VecDeque::from([id.to_owned()]), vec![(topic.to_owned(), since.to_owned())]);
        Self { acks, places, poll: Some(known), ..Self::default() }
    }

    /// Whether it was a poll, and is over.
    pub(crate) fn is_answered(&self) -> bool {
        self.poll.is_some() && self.over
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
        if let Some(known) = self.poll {
            return self.receive_answer(known, frames);
        }
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

    fn receive_answer(&mut self, known: u64, frames: &mut Vec<Frame>) {
        let Some(end) = self.seen.windows(4).position(|end| end == b"\r\n\r\n").filter(|_| !self.over) else { return };
        let head = String::from_utf8_lossy(&self.seen[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
        let body = self.seen[end + 4..].to_vec();
        if length.is_some_and(|length| body.len() < length) {
            return;
        }
        self.over = true;
        if !head.starts_with("HTTP/1.1 200 ") || length != Some(body.len()) {
            let status = head.get(9..12).and_then(|digits| digits.parse().ok());
            return frames.push(Frame::Http(status.filter(|status| *status != 200).unwrap_or(0)));
        }
        frames.extend([Frame::Http(101), Frame::Text(self.welcome.clone())]);
        let garbage = |what| vec![Frame::Garbage(format!("{what} in {}", String::from_utf8_lossy(&body)))];
        frames.extend(self.answer(known, &body).unwrap_or_else(garbage));
    }

    /// The ack of the subscription that a poll was, and what it brought.
    fn answer(&mut self, known: u64, body: &[u8]) -> Result<Vec<Frame>, String> {
        let answer: Answer<'_> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let [(topic, since)] = &mut self.places[..] else { return Err("a poll has one topic".to_owned()) };
        let offset = |position: &str| position.split_once(':').and_then(|(_, offset)| offset.parse::<u64>().ok());
        // Where live began it does not say. Up to what was known it was the past, if that is whole.
        let position = match offset(since).filter(|_| answer.recovered) {
            Some(since) => format!("{}:{}", answer.next.split(':').next().unwrap_or(""), since.max(known)),
            None => answer.next.clone(),
        };
        let (id, recovered) = (self.acks.pop_front().ok_or("a second answer")?, answer.recovered);
        let topic = quoted(topic);
        let ack =
            format!(r#"{{"op":"ack","id":{id},"topic":{topic},"position":"{position}","recovered":{recovered}}}"#);
        let mut frames = vec![Frame::Text(ack.into_bytes())];
        for message in answer.messages {
            let object: Object = serde_json::from_str(message.get()).map_err(|error| error.to_string())?;
            let told = if object.op == "gap" { object.missed } else { 1 };
            if recovered && offset(since).map(|since| since + told) != offset(&object.position) {
                return Err(format!("a hole behind {since}"));
            }
            since.clone_from(&object.position);
            frames.push(frame(message.get())?);
        }
        if recovered && *since != answer.next {
            return Err(format!("next is not {since}"));
        }
        if !recovered && frames.len() > 1 {
            return Err("what nobody knows the beginning of".to_owned());
        }
        Ok(frames)
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
        frame(data)
    }
}

/// The object of a publication as the frame that brings it.
fn frame(data: &str) -> Result<Frame, String> {
    let Some((head, rest)) = data.split_once(r#","encoding":"base64","data":""#) else {
        return Ok(Frame::Text(data.as_bytes().to_vec()));
    };
    let bytes = BASE64_STANDARD.decode(rest.trim_end_matches("\"}")).map_err(|error| error.to_string())?;
    Ok(Frame::Binary([head.as_bytes(), b"}\n", &bytes].concat()))
}

/// What a poll is answered with.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
    next: String,
    recovered: bool,
}

/// What is looked at of an event's data.
#[derive(Debug, Deserialize)]
struct Object {
    op: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    position: String,
    #[serde(default)]
    missed: u64,
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
