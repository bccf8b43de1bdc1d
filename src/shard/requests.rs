//! HTTP on a connection: requests in order, and their answers; the upgrade that makes it a WebSocket; plain answers.
//!
//! Requests of the API wait for homes (`exchange`), some at a time: reading pauses until they are answered, and what the client
//! sent behind them is kept, bounded, by the [`Reader`]. Everything else is answered at once and ends the connection. Each whole request
//! has `handshake_ms_max`.

use std::rc::Rc;

use super::Shard;
use super::calls;
use super::connection::{CloseReason, Phase, Speech};
use super::identity::User;
use crate::http::{self, Begun, CONTINUE, Event, Problem, Reader, Request, Response, Terms};
use crate::ids::ClientName;
use crate::limits::DEFLATE_WINDOW_BITS;
use crate::protocol::reply;
use crate::telemetry::Refused;
use crate::transport::{Form, websocket};
use crate::ws::{self, handshake};

/// What an upgrade request asks for.
struct Asked<'h> {
    upgrade: handshake::Upgrade<'h>,
    /// The endpoint is `/echo`.
    echo: bool,
    credential: Option<&'h str>,
}

/// How it goes on behind a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It was answered, and another may follow.
    Request,
    /// Its answer is still to come.
    Answer,
    /// The connection speaks WebSocket.
    Frames,
    /// The connection ends.
    End,
}

impl Shard {
    /// Takes bytes of a connection that speaks HTTP.
    pub(super) fn handle_http(&mut self, index: u32, bytes: &mut [u8]) {
        let mut input = http::Input::new(bytes);
        if let Some(kept) = self.read_requests(index, &mut input) {
            let taken = input.taken();
            // A client that sent frames right behind its request gets its answers behind the 101.
            match kept {
                Some(mut kept) => self.handle_frames(index, &mut kept),
                None => self.handle_frames(index, &mut bytes[taken..]),
            }
        }
    }

    /// Goes on with what was kept while a request waited for its answer.
    pub(super) fn continue_requests(&mut self, index: u32) {
        let conn = self.id_of(index);
        self.handle_http(index, &mut []);
        if self.index_of(conn).is_none() {
            return;
        }
        let connection = &self.connections[index as usize];
        if connection.phase == Phase::Http && connection.ended && !self.answers_next(index) {
            return self.linger(index, CloseReason::HttpAnswered);
        }
        self.resume_if_room(index);
    }

    /// Whether a request waits for its answer, or for the one before it to be read.
    pub(super) fn answers_next(&self, index: u32) -> bool {
        self.is_asking(index) || self.keeps_requests(index)
    }

    /// Whether the connection sent more than was looked at so far.
    pub(super) fn keeps_requests(&self, index: u32) -> bool {
        match &self.connections[index as usize].speech {
            Speech::Http(reader) => reader.is_keeping(),
            _ => self.put_off.contains_key(&index),
        }
    }

    /// Reads requests until none is whole, one has to wait, or the answers so far fill what may wait for the client. If the connection was upgraded: the bytes behind the
    /// request, if they were kept; otherwise they are what is left of the input.
    fn read_requests(&mut self, index: u32, input: &mut http::Input<'_>) -> Option<Option<Vec<u8>>> {
        let Speech::Http(reader) = &mut self.connections[index as usize].speech else { return None };
        let mut reader = std::mem::take(reader);
        let mut waits = self.is_asking(index);
        let next = loop {
            if waits || self.is_full(index) {
                let Err(problem) = reader.keep(input) else { break Next::Answer };
                self.forget_exchanges(index);
                self.end_feed(index);
                break self.refuse(index, &problem, Terms::CLOSE);
            }
            let Some(next) = self.handle_next(index, &mut reader, input) else { break Next::Request };
            if matches!(next, Next::Frames | Next::End) {
                break next;
            }
            waits = self.is_line_full(index);
        };
        self.judged = None;
        match next {
            Next::Request | Next::Answer => {
                let waits = self.exchanges.contains_key(&index) || reader.is_keeping();
                let connection = &mut self.connections[index as usize];
                connection.speech = Speech::Http(reader);
                connection.paused |= waits;
                self.pause_if_full(index);
                None
            }
            Next::Frames => Some(reader.is_keeping().then(|| reader.into_kept())),
            Next::End => None,
        }
    }

    /// Reads one request, or as much of it as there is. None if there is no more.
    fn handle_next(&mut self, index: u32, reader: &mut Reader, input: &mut http::Input<'_>) -> Option<Next> {
        if let Some(judged) = self.judged.take()
            && let Some(body) = reader.again(input, judged.head())
        {
            let next = self.publish_again(index, &judged, body);
            self.judged = Some(judged);
            return Some(next);
        }
        Some(match reader.next(input, self.settings.config.limits.message_bytes_max) {
            Ok(None) => return None,
            Ok(Some(Event::Begun(begun))) => self.handle_begun(index, &begun),
            Ok(Some(Event::Request(request))) => self.handle_request(index, &request),
            Ok(Some(Event::Refused(head, problem))) => self.refuse_head(index, &head, &problem),
            Err(problem) => self.refuse(index, &problem, Terms::CLOSE),
        })
    }

    /// Looks at a request before its body has come: who may not send it need not, and nothing is kept for it.
    fn handle_begun(&mut self, index: u32, begun: &Begun<'_>) -> Next {
        let head = &begun.head;
        if !is_api(head.path) {
            return self.answer_page(index, head);
        }
        if let Err(problem) = self.judge_head(index, head) {
            return self.refuse_head(index, head, &problem);
        }
        if !begun.awaits {
            return Next::Request;
        }
        let go_on = |out: &mut Vec<u8>, _: &http::Date| out.extend_from_slice(CONTINUE);
        self.say(index, Terms { keep_alive: true, ..Terms::of(head) }, CloseReason::HttpAnswered, go_on)
    }

    fn handle_request(&mut self, index: u32, request: &Request<'_>) -> Next {
        if handshake::is_upgrade(&request.head) {
            return self.answer_upgrade(index, &request.head);
        }
        if is_api(request.head.path) {
            return self.handle_api(index, request);
        }
        self.answer_page(index, &request.head)
    }

    /// Answers a request that is none of the API.
    fn answer_page(&mut self, index: u32, head: &http::Head<'_>) -> Next {
        let (echo, ready) = (self.settings.config.server.echo, self.readiness());
        let page = |out: &mut Vec<u8>, date: &http::Date| http::respond_to(out, head, echo, ready, date);
        self.say(index, Terms::of(head).closing(), CloseReason::HttpAnswered, page)
    }

    fn answer_upgrade(&mut self, index: u32, head: &http::Head<'_>) -> Next {
        if self.exchanges.contains_key(&index) {
            let problem = Problem::bad_request("an upgrade waits for the answers to the requests before it");
            return self.refuse(index, &problem, Terms::of(head));
        }
        match self.judge_upgrade(index, head) {
            Ok(Asked { upgrade, echo, credential }) => {
                self.outbound.push_solid(index, |out| upgrade.respond(out));
                let decoder = ws::Decoder::new(ws::Role::Server).with_deflate(upgrade.deflate.is_some());
                let connection = &mut self.connections[index as usize];
                (connection.speech, connection.deflate) = (Speech::WebSocket(decoder), upgrade.deflate);
                match self.identify(credential) {
                    Ok(user) => self.open(index, echo, user),
                    // A browser tells its page nothing of a refused handshake, but the code of a close.
                    Err(error) => {
                        self.connections[index as usize].phase = Phase::Open;
                        self.count_open(index);
                        self.counters.refused.note(Refused::Token);
                        self.refuse_token(index, error);
                    }
                }
                Next::Frames
            }
            Err(problem) => self.refuse(index, &problem, Terms::of(head)),
        }
    }

    fn judge_upgrade<'h>(&self, index: u32, head: &'h http::Head<'_>) -> Result<Asked<'h>, Problem> {
        let mut upgrade = handshake::upgrade(head)?;
        upgrade.deflate = upgrade.deflate.filter(|_| self.settings.config.server.deflate);
        let echo = http::endpoint(upgrade.path, self.settings.config.server.echo)? == http::Endpoint::Echo;
        if !self.settings.origins.allows(upgrade.origin, upgrade.host, self.connections[index as usize].tls) {
            return Err(Problem::new(403, "this origin is not among server.allowed_origins"));
        }
        let credential = http::credential(head)?;
        if echo && credential.is_none() && self.shuts_strangers_out() {
            return Err(unauthorized("a token is needed"));
        }
        Ok(Asked { upgrade, echo, credential })
    }

    /// Answers with a problem, after which the connection ends.
    pub(super) fn refuse(&mut self, index: u32, problem: &Problem, terms: Terms) -> Next {
        self.note_refusal(index, problem);
        self.counters.refused.note(Refused::of_status(problem.status));
        let terms = terms.closing();
        let document = |out: &mut Vec<u8>, date: &http::Date| Response::problem(out, problem, terms, Some(date));
        self.say(index, terms, CloseReason::HttpRefused, document)
    }

    /// The same where the head is a good one: a page of an allowed origin gets to know what is wrong with the rest.
    fn refuse_head(&mut self, index: u32, head: &http::Head<'_>, problem: &Problem) -> Next {
        let terms = Terms::of(head).closing();
        if !is_api(head.path) {
            return self.refuse(index, problem, terms);
        }
        self.counters.refused.note(Refused::of_status(problem.status));
        let cors = self.judge_origin(index, head).unwrap_or_default();
        let document = |out: &mut Vec<u8>, date: &http::Date| {
            cors.mark(Response::begin(out, problem.status, terms, Some(date))).refuse(problem);
        };
        self.say(index, terms, CloseReason::HttpRefused, document)
    }

    /// No whole request came in time. One of which a part came is told (RFC 9110 15.5.9); whoever sent none since the last
    /// answer expects nothing.
    pub(super) fn time_out(&mut self, index: u32) {
        if self.exchanges.contains_key(&index) {
            // One came in time, and its answer is our business.
            let deadline = self.now.after_ms(self.settings.config.limits.handshake_ms_max);
            self.connections[index as usize].deadline = deadline;
            return self.wheel.file(index, deadline);
        }
        let connection = &self.connections[index as usize];
        let begun = matches!(&connection.speech, Speech::Http(reader) if reader.is_inside_request());
        let waits = self.keeps_requests(index) || self.outbound.pending(index) > 0;
        if waits || !begun {
            let idle = connection.answered && !waits;
            return self.discard(index, if idle { CloseReason::Idle } else { CloseReason::HandshakeTimeout });
        }
        let problem = Problem::new(408, "the request did not end within limits.handshake_ms_max");
        self.counters.refused.note(Refused::Timeout);
        let document =
            |out: &mut Vec<u8>, date: &http::Date| Response::problem(out, &problem, Terms::CLOSE, Some(date));
        self.say(index, Terms::CLOSE, CloseReason::HandshakeTimeout, document);
    }

    /// The handshake is done: the connection speaks WebSocket, and the topic protocol unless it is an echo.
    fn open(&mut self, index: u32, echo: bool, user: Option<Rc<User>>) {
        let connection = &mut self.connections[index as usize];
        (connection.phase, connection.echo) = (Phase::Open, echo);
        self.count_open(index);
        let connection = &self.connections[index as usize];
        self.outbound.open(index, true);
        if connection.deflate.is_some_and(|agreement| agreement.server_window_bits() >= DEFLATE_WINDOW_BITS) {
            self.outbound.take_form(index, Form::Deflated);
        }
        self.take_identity(index, user);
        self.file_heartbeat(index);
        if echo {
            return;
        }
        let client = ClientName { shard: self.me, conn: self.id_of(index) };
        let (user, limits) = (self.connections[index as usize].user.clone(), &self.settings.config.limits);
        let user = user.as_ref().map(|user| user.name());
        let heartbeat_s = self.settings.config.heartbeat.interval_s;
        self.outbound.push_reply(index, |out| {
            websocket::reply(out, |out| {
                reply::welcome(out, &client, user, heartbeat_s, limits.message_bytes_max, limits.subscriptions_max);
            });
        });
    }
}

/// Who asks has to say who it is (RFC 6750 3).
pub(super) fn unauthorized(reason: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(401, reason).with_header("WWW-Authenticate", "Bearer")
}

/// Whether the path is one of the API's, which answers when the homes have.
fn is_api(path: &str) -> bool {
    path.starts_with("/v1/") || path == calls::METRICS
}

impl Default for Speech {
    fn default() -> Self {
        Self::Http(Reader::new())
    }
}
