//! The HTTP API: what `/v1/...` asks for becomes the same commands as over WebSocket, and their answers a response.
//!
//! `requests` hands a request over; its commands go to the homes with their number in the request as id, and the request
//! waits as an [`Exchange`] until each was answered. One request of a connection is under way at a time, so an answer
//! always finds its own. Nothing here blocks, and no body is looked at before the one who sent it is known.

use std::borrow::Cow;
use std::rc::Rc;

use super::Shard;
use super::connection::{CloseReason, Phase};
use super::identity::User;
use super::requests::{Next, unauthorized};
use crate::auth::Pace;
use crate::home::{History, Presence, Publish};
use crate::http::{self, Cors, MediaType, Problem, Query, Request, Response, Terms};
use crate::ids::{ClientName, ConnId};
use crate::limits;
use crate::protocol::{Excerpt, Fault, Id, Op, Parser, Payload, Position, Reason};
use crate::rules::Permit;
use crate::topic::Topic;

/// A request that waits for the homes.
#[derive(Debug)]
pub(super) struct Exchange {
    terms: Terms,
    cors: Cors<'static>,
    /// The answer is a list, however many parts it has.
    list: bool,
    parts: Vec<Part>,
    waiting: usize,
}

/// The answer to one command of a request.
#[derive(Debug)]
pub(super) enum Part {
    /// Still to come.
    Waiting,
    /// It was published here.
    Published(Box<str>, Position),
    /// It was not carried out.
    Failed(u16, String),
    /// A whole JSON document.
    Document(Vec<u8>),
}

impl Shard {
    pub(super) fn handle_api(&mut self, index: u32, request: &Request<'_>) -> Next {
        let cors = match Cors::judge(&request.head, &self.settings.origins) {
            Ok(cors) => cors.into_owned(),
            Err(problem) => {
                return self.answer(index, request.terms, |response| response.refuse(&problem), problem.status);
            }
        };
        match self.call(index, request, &cors) {
            Ok(next) => next,
            Err(problem) => {
                let status = problem.status;
                self.answer(index, request.terms, |response| cors.mark(response).refuse(&problem), status)
            }
        }
    }

    fn call(&mut self, index: u32, request: &Request<'_>, cors: &Cors<'static>) -> Result<Next, Problem> {
        let head = &request.head;
        let (allow, publishes) = match head.path {
            "/v1/publish" | "/v1/batch" => ("POST, OPTIONS", true),
            "/v1/history" | "/v1/presence" => ("GET, HEAD, OPTIONS", false),
            _ => return Err(Problem::new(404, "the API has no such path: see docs/protocol.md")),
        };
        match head.method {
            "OPTIONS" => {
                self.date.set(self.now_unix_s());
                let date = Some(&self.date);
                self.outbound.push_solid(index, |out| cors.respond_options(out, head, allow, date));
                return Ok(self.answered(index, request.terms));
            }
            "POST" if publishes => {}
            "GET" | "HEAD" if !publishes => {}
            _ => return Err(Problem::method_not_allowed(allow)),
        }
        let user = self.authorise(index, head)?;
        self.pace(index)?;
        let exchange =
            Exchange { terms: request.terms, cors: cors.clone(), list: false, parts: Vec::new(), waiting: 0 };
        let query = Query::parse(head.query)?;
        match head.path {
            "/v1/publish" => self.publish_body(index, request, &query, user.as_deref(), exchange),
            "/v1/batch" => self.publish_batch(index, request, user.as_deref(), exchange),
            "/v1/history" => self.ask_history(index, &query, user.as_deref(), exchange),
            _ => self.ask_presence(index, &query, user.as_deref(), exchange),
        }
    }

    /// Who asks. A connection that sends the same credential again is not asked twice.
    fn authorise(&mut self, index: u32, head: &http::Head<'_>) -> Result<Option<Rc<User>>, Problem> {
        let credential = http::credential(head)?;
        let known = self.connections[index as usize].user.as_ref();
        if let Some(user) = known.filter(|user| credential.is_some_and(|text| user.is_of(text, self.now_unix_s()))) {
            return Ok(Some(Rc::clone(user)));
        }
        let user = self.identify(credential).map_err(|error| unauthorized(error.to_string()))?;
        if user.is_none() && self.shuts_strangers_out() {
            return Err(unauthorized("say who you are: Authorization: Bearer with a token or an API key"));
        }
        self.connections[index as usize].user.clone_from(&user);
        Ok(user)
    }

    /// Takes one request of the connection's rate.
    fn pace(&mut self, index: u32) -> Result<(), Problem> {
        let Some(rate) = self.rate else { return Ok(()) };
        match self.buckets[index as usize].take(rate, self.now_ms * 1000) {
            Pace::Ok => Ok(()),
            Pace::TooFast { retry_ms } | Pace::TooLong { retry_ms } => {
                let most = self.settings.config.limits.commands_per_second_max;
                let reason = format!("more than {most} commands per second (limits.commands_per_second_max)");
                Err(Problem::new(429, reason).with_header("Retry-After", retry_ms.div_ceil(1000).to_string()))
            }
        }
    }

    /// `POST /v1/publish`: the body to each topic of the query.
    fn publish_body(
        &mut self,
        index: u32,
        request: &Request<'_>,
        query: &Query<'_>,
        user: Option<&User>,
        mut exchange: Exchange,
    ) -> Result<Next, Problem> {
        let body = request.required_body()?;
        let text;
        let payload = match MediaType::of(&request.head)? {
            Some(media) if media.is("application/json") => {
                Payload::Json(Parser::value(body).map_err(|reason| wrong(&reason))?)
            }
            Some(media) if media.is_text() => {
                let body = std::str::from_utf8(body).map_err(|_| Problem::bad_request("text must be UTF-8"))?;
                text = serde_json::to_vec(body).expect("a string is JSON");
                Payload::Json(&text)
            }
            _ => Payload::Binary(body),
        };
        let key = key(&request.head)?;
        let conflate = query.single("conflate")?;
        bounded("conflate", conflate, limits::CONFLATE_BYTES_MAX)?;
        let mut topics = Vec::new();
        for name in query.all("topic") {
            topics.push(topic(name)?);
        }
        if topics.is_empty() || topics.len() > limits::PUBLISH_TOPICS_MAX {
            let most = limits::PUBLISH_TOPICS_MAX;
            return Err(Problem::new(
                400,
                format!("topic: give one in the query, as ?topic=NAME, or up to {most} of them"),
            ));
        }
        exchange.list = topics.len() > 1;
        let commands: Vec<_> = topics.into_iter().map(|topic| Ok((topic, payload, key, conflate))).collect();
        Ok(self.publish_all(index, user, exchange, commands))
    }

    /// `POST /v1/batch`: an array of publications.
    fn publish_batch(
        &mut self,
        index: u32,
        request: &Request<'_>,
        user: Option<&User>,
        mut exchange: Exchange,
    ) -> Result<Next, Problem> {
        let body = request.required_body()?;
        if !MediaType::of(&request.head)?.is_some_and(|media| media.is("application/json")) {
            return Err(Problem::new(415, "a batch is application/json: an array of publications"));
        }
        if body.trim_ascii_start().first() != Some(&b'[') {
            return Err(Problem::bad_request("a batch is an array of publications"));
        }
        exchange.list = true;
        let mut parser = self.parser.take().expect("messages are handled one at a time");
        let mut whole = None;
        // Two runs: the first one counts and finds what spoils all of it, so that nothing is published in vain.
        let mut count = 0;
        parser.publications(body, &mut |command| {
            count += 1;
            whole = command.err().filter(|fault| spoils_all(&fault.reason));
        });
        if count == 1
            && let Some(fault) = whole
        {
            self.parser = Some(parser);
            return Err(wrong(&fault.reason));
        }
        self.begin(index, exchange, count);
        let mut number = 0;
        parser.publications(body, &mut |command| {
            let id = Id::Int(number);
            number += 1;
            match command {
                Ok(crate::protocol::Command { op: Op::Publish { topic, payload, key, conflate, .. }, .. }) => {
                    self.publish_part(index, user, id, (topic, payload, key, conflate));
                }
                Ok(_) => unreachable!("only publications are read"),
                Err(Fault { code, reason, .. }) => {
                    self.take_part(self.id_of(index), &id, Part::Failed(code, reason.to_string()));
                }
            }
        });
        self.parser = Some(parser);
        Ok(Next::Answer)
    }

    fn publish_all(
        &mut self,
        index: u32,
        user: Option<&User>,
        exchange: Exchange,
        all: Vec<Result<Publication<'_>, Problem>>,
    ) -> Next {
        self.begin(index, exchange, all.len());
        for (number, publication) in (0..).zip(all) {
            match publication {
                Ok(publication) => self.publish_part(index, user, Id::Int(number), publication),
                Err(problem) => {
                    let part = Part::Failed(problem.status, problem.reason.into_owned());
                    self.take_part(self.id_of(index), &Id::Int(number), part);
                }
            }
        }
        Next::Answer
    }

    fn publish_part(&mut self, index: u32, user: Option<&User>, id: Id, publication: Publication<'_>) {
        let (topic, payload, key, conflate) = publication;
        let permit = user.map_or_else(Permit::default, |user| user.publishes(topic));
        let (shard, conn, user) = (self.me, self.id_of(index), user.map(User::name));
        self.counters.published += 1;
        self.publish_now(Publish { topic, payload, shard, conn, user, permit, id, echo: true, key, conflate });
    }

    /// `GET /v1/history`.
    fn ask_history(
        &mut self,
        index: u32,
        query: &Query<'_>,
        user: Option<&User>,
        exchange: Exchange,
    ) -> Result<Next, Problem> {
        let topic = asked_topic(query)?;
        let since = query.single("since")?.map(position).transpose()?;
        let limit = number("limit", query.single("limit")?, limits::HISTORY_LIMIT_MAX)?;
        let reverse = match query.single("reverse")? {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::bad_request("reverse: it is true or false")),
        };
        self.begin(index, exchange, 1);
        let permit = user.map_or_else(Permit::default, |user| user.reads(topic.into()));
        let (shard, conn, id) = (self.me, self.id_of(index), Id::None);
        self.history(History { topic, shard, conn, permit, id, since, limit, reverse });
        Ok(Next::Answer)
    }

    /// `GET /v1/presence`.
    fn ask_presence(
        &mut self,
        index: u32,
        query: &Query<'_>,
        user: Option<&User>,
        exchange: Exchange,
    ) -> Result<Next, Problem> {
        let topic = asked_topic(query)?;
        let limit = number("limit", query.single("limit")?, limits::PRESENCE_LIMIT_MAX)?;
        let after = query.single("after")?.map(client).transpose()?;
        self.begin(index, exchange, 1);
        let permit = user.map_or_else(Permit::default, |user| user.reads(topic.into()));
        let (shard, conn, id) = (self.me, self.id_of(index), Id::None);
        self.presence(Presence { topic, shard, conn, permit, id, limit, after });
        Ok(Next::Answer)
    }

    fn begin(&mut self, index: u32, mut exchange: Exchange, parts: usize) {
        exchange.parts.resize_with(parts, || Part::Waiting);
        exchange.waiting = parts;
        self.exchanges.insert(index, exchange);
    }

    /// The connection's request will not be answered.
    pub(super) fn forget_exchange(&mut self, index: u32) {
        self.exchanges.remove(&index);
    }

    /// Takes the answer to one command of a connection's request; with the last one the request is answered.
    pub(super) fn take_part(&mut self, conn: ConnId, id: &Id, part: Part) {
        let Some(index) = self.index_of(conn) else { return };
        let Some(exchange) = self.exchanges.get_mut(&index) else { return };
        let number = if let Id::Int(number) = id { *number } else { 0 };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(place) = exchange.parts.get_mut(number) else { return };
        *place = part;
        exchange.waiting -= 1;
        if exchange.waiting > 0 {
            return;
        }
        let Some(Exchange { terms, cors, list, parts, .. }) = self.exchanges.remove(&index) else { return };
        let (status, body) = if list { (200, list_of(&parts)) } else { sole(parts) };
        let next = match body {
            Ok(body) => {
                self.answer(index, terms, |response| cors.mark(response).body("application/json", &body), status)
            }
            Err(problem) => self.answer(index, terms, |response| cors.mark(response).refuse(&problem), problem.status),
        };
        if next == Next::Request {
            self.unread.push(conn);
        }
    }

    /// Takes the document that a request asks for; `write` appends it.
    pub(super) fn take_document(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut document = Vec::new();
        write(&mut document);
        self.take_part(conn, &Id::None, Part::Document(document));
    }

    /// Writes a response; `write` ends it.
    fn answer(&mut self, index: u32, terms: Terms, write: impl FnOnce(Response<'_>), status: u16) -> Next {
        self.date.set(self.now_unix_s());
        let date = Some(&self.date);
        self.outbound.push_solid(index, |out| write(Response::begin(out, status, terms, date)));
        self.answered(index, terms)
    }

    /// A request was answered: the next one has its time, if there may be one.
    fn answered(&mut self, index: u32, terms: Terms) -> Next {
        if !terms.keep_alive {
            self.linger(index, CloseReason::HttpAnswered);
            return Next::End;
        }
        let deadline = self.now.after_ms(self.settings.config.limits.handshake_ms_max);
        self.connections[index as usize].deadline = deadline;
        self.wheel.file(index, deadline);
        Next::Request
    }

    /// Goes on with the connections whose request was answered in this turn. Whether there were any.
    pub(super) fn read_on(&mut self, budget: &mut usize) -> bool {
        let some = if self.stop.reads() { self.unread.len().min(*budget) } else { 0 };
        *budget -= some;
        let answered: Vec<ConnId> = self.unread.drain(..some).collect();
        for conn in answered {
            if let Some(index) = self.index_of(conn)
                && self.connections[index as usize].phase == Phase::Http
            {
                self.continue_requests(index);
            }
        }
        some > 0
    }
}

/// Topic, payload, `key` and `conflate`.
type Publication<'a> = (Topic<'a>, Payload<'a>, Option<&'a str>, Option<&'a str>);

/// The answer to a request of one command.
fn sole(parts: Vec<Part>) -> (u16, Result<Vec<u8>, Problem>) {
    match parts.into_iter().next() {
        Some(Part::Published(_, position)) => (200, Ok(format!("{{\"position\":\"{position}\"}}").into_bytes())),
        Some(Part::Document(json)) => (200, Ok(json)),
        Some(Part::Failed(code, reason)) => (code, Err(Problem::new(code, reason))),
        Some(Part::Waiting) | None => unreachable!("it was answered"),
    }
}

/// The answers to all commands of a request, in their order.
fn list_of(parts: &[Part]) -> Result<Vec<u8>, Problem> {
    let each = |part: &Part| match part {
        Part::Published(topic, position) => serde_json::json!({ "topic": topic, "position": position.to_string() }),
        Part::Failed(code, reason) => serde_json::json!({ "error": { "code": code, "reason": reason } }),
        Part::Document(_) | Part::Waiting => unreachable!("publications are answered by positions"),
    };
    Ok(serde_json::Value::from_iter(parts.iter().map(each)).to_string().into_bytes())
}

/// Whether a fault is one of the whole message rather than of one of its commands.
fn spoils_all(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::Utf8 { .. }
            | Reason::Json { .. }
            | Reason::JsonEnd { .. }
            | Reason::TooDeep { .. }
            | Reason::BatchEmpty
            | Reason::BatchTooLong { .. }
    )
}

fn wrong(reason: &Reason) -> Problem {
    Problem::new(reason.code(), reason.to_string())
}

fn topic(name: &str) -> Result<Topic<'_>, Problem> {
    match Topic::parse(name) {
        Ok(topic) if topic.is_broker() => Err(wrong(&Reason::BrokerTopic { topic: Excerpt::of(name) })),
        Ok(topic) => Ok(topic),
        Err(error) => Err(wrong(&Reason::Name { value: Excerpt::of(name), error })),
    }
}

fn asked_topic<'q>(query: &'q Query<'_>) -> Result<Topic<'q>, Problem> {
    let name = query.single("topic")?.ok_or(Problem::bad_request("topic: give one in the query, as ?topic=NAME"))?;
    match Topic::parse(name) {
        Ok(topic) if topic.is_broker() => Err(wrong(&Reason::BrokerState { topic: Excerpt::of(name) })),
        Ok(topic) => Ok(topic),
        Err(error) => Err(wrong(&Reason::Name { value: Excerpt::of(name), error })),
    }
}

fn position(text: &str) -> Result<Position, Problem> {
    text.parse().map_err(|_| wrong(&Reason::NoPosition { value: Excerpt::of(text) }))
}

fn client(text: &str) -> Result<ClientName, Problem> {
    text.parse().map_err(|_| wrong(&Reason::NoClient { value: Excerpt::of(text) }))
}

fn number(name: &str, text: Option<&str>, most: u32) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(most as usize) };
    let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
    number.map(|number| number as usize).ok_or_else(|| Problem::new(400, format!("{name}: it is 1 to {most}")))
}

/// The idempotency key of a request.
fn key<'h>(head: &http::Head<'h>) -> Result<Option<&'h str>, Problem> {
    let value = head.single("idempotency-key", "more than one Idempotency-Key header")?;
    let text = value.map(std::str::from_utf8).transpose();
    let text = text.map_err(|_| Problem::bad_request("the Idempotency-Key header is not text"))?;
    bounded("Idempotency-Key", text, limits::KEY_BYTES_MAX)?;
    Ok(text)
}

fn bounded(name: &str, text: Option<&str>, max: usize) -> Result<(), Problem> {
    match text {
        Some(text) if !(1..=max).contains(&text.len()) => {
            let reason: Cow<'static, str> =
                format!("{name}: it has {} bytes, and may have 1 to {max}", text.len()).into();
            Err(Problem::new(400, reason))
        }
        _ => Ok(()),
    }
}
