//! Publications by HTTP whose head is the one before it: what that one was judged to be holds for them too.
//!
//! `api` leaves a [`Judged`] when a publication was made on this shard and the next request begins alike; `requests` asks
//! for it before it reads that one, and drops it at the first request with another head and at the end of the read. Within
//! a read neither time nor settings change, and no other request comes between: so path, method, origin, credential,
//! query, media type and topic need no second look. Each body, the connection's rate, the rule and the home are asked anew.

use std::rc::Rc;

use super::Shard;
use super::api::{Publication, wrong};
use super::connection::CloseReason;
use super::exchange::{failed, write_position};
use super::identity::User;
use super::requests::Next;
use crate::http::{Cors, Date, Head, MediaType, Problem, Repeat, Request, Response, Terms};
use crate::protocol::{Parser, Payload, Position};
use crate::topic::Topic;

/// What the head of a publication said, and who asks.
#[derive(Debug)]
pub(super) struct Judged {
    head: Repeat,
    terms: Terms,
    cors: Cors<'static>,
    user: Option<Rc<User>>,
    content: Content,
    topic: Box<str>,
    key: Option<Box<str>>,
    conflate: Option<Box<str>>,
    /// The answer as far as the length of its body.
    answer: Vec<u8>,
}

/// What a body is published as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    /// It goes out as a JSON string.
    Text,
    Binary,
}

impl Content {
    pub(super) fn of(head: &Head<'_>) -> Result<Self, Problem> {
        Ok(match MediaType::of(head)? {
            Some(media) if media.is("application/json") => Self::Json,
            Some(media) if media.is_text() => Self::Text,
            _ => Self::Binary,
        })
    }

    /// What is published; `text` has the room for what is not sent as it goes out.
    pub(super) fn payload<'p>(self, body: &'p [u8], text: &'p mut Vec<u8>) -> Result<Payload<'p>, Problem> {
        Ok(match self {
            Self::Json => Payload::Json(Parser::value(body).map_err(|reason| wrong(&reason))?),
            Self::Text => {
                let body = std::str::from_utf8(body).map_err(|_| Problem::bad_request("text must be UTF-8"))?;
                *text = serde_json::to_vec(body).expect("a string is JSON");
                Payload::Json(text)
            }
            Self::Binary => Payload::Binary(body),
        })
    }
}

impl Judged {
    /// Its request was this one, and was carried out.
    pub(super) fn new(
        (request, body_bytes_max): (&Request<'_>, usize),
        (user, cors): (Option<&Rc<User>>, &Cors<'static>),
        content: Content,
        (topic, _, key, conflate): Publication<'_>,
        date: &Date,
    ) -> Option<Box<Self>> {
        let (head, terms) = (Repeat::of(&request.head, body_bytes_max)?, request.terms);
        let (user, cors) = (user.map(Rc::clone), cors.clone());
        let (topic, key, conflate) = (topic.as_str().into(), key.map(Box::from), conflate.map(Box::from));
        let mut answer = Vec::new();
        cors.mark(Response::begin(&mut answer, 200, terms, Some(date))).up_to_length("application/json");
        Some(Box::new(Self { head, terms, cors, user, content, topic, key, conflate, answer }))
    }

    pub(super) fn head(&self) -> &Repeat {
        &self.head
    }
}

impl Shard {
    /// Publishes the body of a request with that head.
    pub(super) fn publish_again(&mut self, index: u32, judged: &Judged, body: &[u8]) -> Next {
        if let Err(too_fast) = self.pace(index) {
            return self.slow_down(index, judged.terms, &judged.cors, too_fast);
        }
        match self.take_again(index, judged, body) {
            Ok(position) => {
                self.outbound.push_solid(index, |out| {
                    out.extend_from_slice(&judged.answer);
                    write_position(out, judged.terms, position);
                });
                self.answered(index, judged.terms, CloseReason::HttpAnswered)
            }
            Err(problem) => self.refuse_call(index, judged.terms, &judged.cors, &problem),
        }
    }

    fn take_again(&mut self, index: u32, judged: &Judged, body: &[u8]) -> Result<Position, Problem> {
        let mut text = Vec::new();
        let payload = judged.content.payload(body, &mut text)?;
        let publication = (Topic::known(&judged.topic), payload, judged.key.as_deref(), judged.conflate.as_deref());
        let answer = self.publish_home(index, judged.user.as_deref(), publication);
        answer.map_err(|refusal| failed(refusal.code(), refusal.to_string()))
    }
}
