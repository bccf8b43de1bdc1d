//! The HTTP API: what `/v1/...` asks for becomes the same commands as over WebSocket, and their answers a response.
//!
//! `requests` hands a request over; its commands go to the homes, and it waits as an [`Exchange`] until each was answered
//! and those before it were. Commands of a connection go out in order, so what they do to a topic is in order too. Nothing
//! here blocks, and no body is looked at before its sender is known.

use std::borrow::Cow;
use std::rc::Rc;

use smallvec::SmallVec;

use super::Shard;
use super::calls::Call;
use super::connection::CloseReason;
use super::exchange::{Exchange, Line, Part, failed, too_many};
use super::identity::User;
use super::repeats::{Content, Judged};
use super::requests::{Next, unauthorized};
use crate::auth::Pace;
use crate::home::{History, Presence, Publish, Refusal};
use crate::http::{self, Cors, Date, MediaType, Problem, Query, Request, Response, Terms};
use crate::ids::ClientName;
use crate::limits;
use crate::protocol::{Command, Excerpt, Fault, Id, Op, Payload, Position, Reason};
use crate::rules::Permit;
use crate::telemetry::Refused;
use crate::topic::Topic;

impl Shard {
    pub(super) fn handle_api(&mut self, index: u32, request: &Request<'_>) -> Next {
        let cors = self.judge_origin(index, &request.head).map(Cors::into_owned);
        // Before all else: what is refused for another reason is a request, too.
        if let Err(too_fast) = self.pace(index) {
            return self.slow_down(index, request.terms, &cors.unwrap_or_default(), too_fast);
        }
        let cors = match cors {
            Ok(cors) => cors,
            Err(problem) => {
                self.counters.refused.note(Refused::of_status(problem.status));
                return self.answer(index, request.terms, |response| response.refuse(&problem), problem.status);
            }
        };
        match self.call(index, request, &cors) {
            Ok(next) => next,
            Err(problem) => self.refuse_call(index, request.terms, &cors, &problem),
        }
    }

    /// Answers a request that is one too many.
    pub(super) fn slow_down(&mut self, index: u32, terms: Terms, cors: &Cors<'_>, too_fast: TooFast) -> Next {
        let TooFast { problem, ends } = too_fast;
        self.counters.refused.note(Refused::of_status(problem.status));
        let (terms, end) = match ends {
            true => (terms.closing(), CloseReason::TooFast),
            false => (terms, CloseReason::HttpAnswered),
        };
        self.say(index, terms, end, |out, date| {
            cors.mark(Response::begin(out, problem.status, terms, Some(date))).refuse(&problem);
        })
    }

    /// Answers a request of an allowed origin that is not carried out.
    pub(super) fn refuse_call(&mut self, index: u32, terms: Terms, cors: &Cors<'_>, problem: &Problem) -> Next {
        self.counters.refused.note(Refused::of_status(problem.status));
        // Somebody else may do it, to whom this connection does not lead.
        let terms = if problem.status == 503 { terms.closing() } else { terms };
        self.answer(index, terms, |response| cors.mark(response).refuse(problem), problem.status)
    }

    fn call(&mut self, index: u32, request: &Request<'_>, cors: &Cors<'static>) -> Result<Next, Problem> {
        let head = &request.head;
        let call = Call::of(head)?;
        if let Call::Options(allow) = call {
            let options = |out: &mut Vec<u8>, date: &Date| cors.respond_options(out, head, allow, Some(date));
            return Ok(self.say(index, request.terms, CloseReason::HttpAnswered, options));
        }
        let user = self.admit(index, head, call)?;
        let query = Query::parse(head.query)?;
        let exchange = || Exchange::new(request.terms, cors.clone());
        match call {
            Call::Publish => self.publish_body(index, request, &query, user.as_ref(), cors),
            Call::Batch => self.publish_batch(index, request, user.as_deref(), exchange()),
            Call::History => self.ask_history(index, &query, user.as_deref(), exchange()),
            Call::Presence => self.ask_presence(index, &query, user.as_deref(), exchange()),
            Call::Events | Call::Poll => self.ask_feed(index, call, head, &query, exchange()),
            Call::Metrics => Ok(self.ask_metrics(index, head, exchange())),
            _ => self.operate(index, call, &query, (request.terms, exchange())),
        }
    }

    /// Whether it is worth reading the body of a request: everything that its head says must be right.
    pub(super) fn judge_head(&mut self, index: u32, head: &http::Head<'_>) -> Result<(), Problem> {
        self.judge_origin(index, head)?;
        let call = Call::of(head)?;
        if matches!(call, Call::Options(_)) {
            return Ok(());
        }
        self.admit(index, head, call)?;
        let query = Query::parse(head.query)?;
        match call {
            Call::Publish => Publishing::of(head, &query).map(drop),
            Call::Batch => check_batch(head),
            _ => Ok(()),
        }
    }

    /// Whether a page of the request's origin may ask at all.
    pub(super) fn judge_origin<'h>(&self, index: u32, head: &http::Head<'h>) -> Result<Cors<'h>, Problem> {
        Cors::judge(head, &self.settings.origins, self.connections[index as usize].tls)
    }

    /// Who asks, if it may.
    fn admit(&mut self, index: u32, head: &http::Head<'_>, call: Call<'_>) -> Result<Option<Rc<User>>, Problem> {
        if call == Call::Metrics {
            return self.admit_observer(index, head);
        }
        let user = self.authorise(index, head)?;
        if call.ends_connections() || call.lists() && !self.shows_lists() {
            self.check_operator(user.as_deref())?;
        }
        Ok(user)
    }

    /// Who asks. A connection that sends the same credential again is not asked twice.
    pub(super) fn authorise(&mut self, index: u32, head: &http::Head<'_>) -> Result<Option<Rc<User>>, Problem> {
        let credential = http::credential(head)?;
        let known = self.connections[index as usize].user.as_ref();
        if let Some(user) = known.filter(|user| credential.is_some_and(|text| user.is_of(text, self.now_unix_s()))) {
            return Ok(Some(Rc::clone(user)));
        }
        let user = self.identify_for_requests(credential).map_err(|error| {
            self.note_token(index, error);
            // RFC 6750 3.1: a token came, and another one is needed.
            let problem = Problem::new(401, error.to_string());
            problem.with_header("WWW-Authenticate", "Bearer error=\"invalid_token\"")
        })?;
        if user.is_none() && self.shuts_strangers_out() {
            return Err(unauthorized("say who you are: Authorization: Bearer with a token or an API key"));
        }
        self.connections[index as usize].user.clone_from(&user);
        Ok(user)
    }

    /// Takes one request or publication of the connection's rate.
    pub(super) fn pace(&mut self, index: u32) -> Result<(), TooFast> {
        let Some(rate) = self.rate else { return Ok(()) };
        let (retry_ms, ends) = match self.buckets[index as usize].take(rate, self.now_ms * 1000) {
            Pace::Ok => return Ok(()),
            Pace::TooFast { retry_ms } => (retry_ms, false),
            Pace::TooLong { retry_ms } => (retry_ms, true),
        };
        let most = self.settings.config.limits.commands_per_second_max;
        let reason = format!("more than {most} commands per second (limits.commands_per_second_max)");
        Err(TooFast { problem: too_many(reason, retry_ms.div_ceil(1000)), ends })
    }

    /// `POST /v1/publish`: the body to each topic of the query.
    fn publish_body(
        &mut self,
        index: u32,
        request: &Request<'_>,
        query: &Query<'_>,
        known: Option<&Rc<User>>,
        cors: &Cors<'static>,
    ) -> Result<Next, Problem> {
        let user = known.map(Rc::as_ref);
        let (body, mut text) = (request.required_body()?, Vec::new());
        let Publishing { content, key, conflate, topics } = Publishing::of(&request.head, query)?;
        let payload = content.payload(body, &mut text)?;
        if let [topic] = topics[..]
            && !self.exchanges.contains_key(&index)
            && let Some(answer) = self.publish_here(index, user, (topic, payload, key, conflate))
        {
            let position = answer.map_err(|refusal| failed(refusal.code(), refusal.to_string()))?;
            let next = self.tell_position(index, (request.terms, cors), position);
            if request.repeats {
                let request = (request, self.settings.config.limits.message_bytes_max);
                let publication = (topic, payload, key, conflate);
                self.judged = Judged::new(request, (known, cors), content, publication, &self.date);
            }
            return Ok(next);
        }
        let mut exchange = Exchange::new(request.terms, cors.clone());
        exchange.list = topics.len() > 1;
        self.begin(index, exchange);
        for topic in topics {
            self.add_publication(index, user, (topic, payload, key, conflate));
        }
        Ok(self.all_added(index))
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
        check_batch(&request.head)?;
        if body.trim_ascii_start().first() != Some(&b'[') {
            return Err(Problem::bad_request("a batch is an array of publications"));
        }
        exchange.list = true;
        self.begin(index, exchange);
        let mut parser = self.parser.take().expect("messages are handled one at a time");
        let mut last_fault = None;
        parser.publications(body, &mut |command| match command {
            Ok(Command { op: Op::Publish { topic, payload, key, conflate, .. }, .. }) => {
                self.add_publication(index, user, (topic, payload, key, conflate));
            }
            Ok(_) => unreachable!("only publications are read"),
            Err(Fault { code, reason, .. }) => {
                self.add_failure(index, code, reason.to_string());
                last_fault = Some(reason);
            }
        });
        self.parser = Some(parser);
        // What is wrong with all of it comes alone: the parser runs no command of it.
        let parts = self.last_exchange(index).map_or(0, |exchange| exchange.parts.len());
        if let Some(reason) = last_fault.filter(|reason| parts == 1 && spoils_all(reason)) {
            self.take_back(index);
            return Err(wrong(&reason));
        }
        Ok(self.all_added(index))
    }

    /// One more publication of the request; all but the first take of the connection's rate here.
    fn add_publication(&mut self, index: u32, user: Option<&User>, publication: Publication<'_>) {
        let first = self.last_exchange(index).is_some_and(|exchange| exchange.parts.is_empty());
        if !first && let Err(TooFast { problem, ends }) = self.pace(index) {
            if ends {
                self.end_behind(index, CloseReason::TooFast);
            }
            return self.add_failure(index, problem.status, problem.reason.into_owned());
        }
        if let Some(answer) = self.publish_here(index, user, publication) {
            let (topic, ..) = publication;
            let part = match answer {
                Ok(position) => Part::Published(topic.as_str().into(), position),
                Err(refusal) => Part::Failed(refusal.code(), refusal.to_string()),
            };
            if let Some(exchange) = self.last_exchange(index) {
                exchange.parts.push(part);
            }
            return;
        }
        let Some(id) = self.exchanges.get_mut(&index).map(Line::expect_part) else { return };
        let publish = Publish { id, ..self.publication(index, user, publication) };
        self.counters.published += 1;
        self.publish_now(publish);
    }

    /// Publishes where the topic's home is on this very shard: its answer, at once. None if it is elsewhere.
    fn publish_here(
        &mut self,
        index: u32,
        user: Option<&User>,
        publication: Publication<'_>,
    ) -> Option<Result<Position, Refusal>> {
        (self.home_of(publication.0) == self.me).then(|| self.publish_home(index, user, publication))
    }

    /// Publishes to a topic whose home is here.
    pub(super) fn publish_home(
        &mut self,
        index: u32,
        user: Option<&User>,
        publication: Publication<'_>,
    ) -> Result<Position, Refusal> {
        let publish = self.publication(index, user, publication);
        self.counters.published += 1;
        let answer = self.home.publish(&publish);
        self.counters.faults += u64::from(answer.is_err());
        answer
    }

    fn publication<'p>(
        &self,
        index: u32,
        user: Option<&'p User>,
        (topic, payload, key, conflate): Publication<'p>,
    ) -> Publish<'p> {
        let permit = user.map_or_else(Permit::default, |user| user.publishes(topic));
        let (shard, conn, user) = (self.me, self.id_of(index), user.map(User::name));
        Publish { topic, payload, shard, conn, user, permit, id: Id::None, echo: true, key, conflate }
    }

    /// One more command of the request, which is wrong.
    fn add_failure(&mut self, index: u32, code: u16, reason: String) {
        self.counters.faults += 1;
        if let Some(exchange) = self.last_exchange(index) {
            exchange.parts.push(Part::Failed(code, reason));
        }
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
        self.begin_one(index, exchange);
        let permit = user.map_or_else(Permit::default, |user| user.reads(topic.into()));
        let (shard, conn, id) = (self.me, self.id_of(index), Id::None);
        self.history(History { topic, shard, conn, permit, id, since, limit, reverse });
        Ok(self.all_added(index))
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
        self.begin_one(index, exchange);
        let permit = user.map_or_else(Permit::default, |user| user.reads(topic.into()));
        let (shard, conn, id) = (self.me, self.id_of(index), Id::None);
        self.presence(Presence { topic, shard, conn, permit, id, limit, after });
        Ok(self.all_added(index))
    }
}

/// More came than the connection's rate, and whether that has gone on for so long that the connection ends: what 4029 is
/// to a WebSocket.
pub(super) struct TooFast {
    problem: Problem,
    ends: bool,
}

/// Topic, payload, `key` and `conflate`.
pub(super) type Publication<'a> = (Topic<'a>, Payload<'a>, Option<&'a str>, Option<&'a str>);

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

pub(super) fn wrong(reason: &Reason) -> Problem {
    Problem::new(reason.code(), reason.to_string())
}

/// What the head of `POST /v1/publish` asks for.
struct Publishing<'h> {
    content: Content,
    key: Option<&'h str>,
    conflate: Option<&'h str>,
    topics: SmallVec<[Topic<'h>; 4]>,
}

impl<'h> Publishing<'h> {
    fn of(head: &http::Head<'h>, query: &'h Query<'_>) -> Result<Self, Problem> {
        let (content, key) = (Content::of(head)?, key(head)?);
        let conflate = query.single("conflate")?;
        bounded("conflate", conflate, limits::CONFLATE_BYTES_MAX)?;
        let topics = query.all("topic").map(topic).collect::<Result<SmallVec<_>, _>>()?;
        let most = limits::PUBLISH_TOPICS_MAX;
        if !(1..=most).contains(&topics.len()) {
            let reason = format!("topic: give one in the query, as ?topic=NAME, or up to {most} of them");
            return Err(Problem::new(400, reason));
        }
        Ok(Self { content, key, conflate, topics })
    }
}

/// Refuses a head that is not that of a batch.
fn check_batch(head: &http::Head<'_>) -> Result<(), Problem> {
    match MediaType::of(head)? {
        Some(media) if media.is("application/json") => Ok(()),
        _ => Err(Problem::new(415, "a batch is application/json: an array of publications")),
    }
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

pub(super) fn number(name: &str, text: Option<&str>, most: u32) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(most as usize) };
    let number = text.parse::<u32>().ok().filter(|number| (1..=most).contains(number));
    number.map(|number| number as usize).ok_or_else(|| Problem::new(400, format!("{name}: it is 1 to {most}")))
}

/// The idempotency key of a request.
fn key<'h>(head: &http::Head<'h>) -> Result<Option<&'h str>, Problem> {
    let value = head.single(http::Field::IdempotencyKey, "more than one Idempotency-Key header")?;
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
