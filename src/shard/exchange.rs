//! The requests of a connection that wait for homes, and their answers in order.
//!
//! `api` begins an [`Exchange`] in the connection's [`Line`] and sends its commands, `deliver` brings the answers by
//! [`Shard::take_part`]. Invariants: a line is never empty; its responses leave it in the order of its requests; behind a
//! request for a document, which may be long, no other is begun before it is answered. Whatever answers a request at once
//! goes by [`Shard::say`], behind those that wait.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::Shard;
use super::connection::{CloseReason, Phase};
use super::feeds::{Feed, Joined, Wanted};
use super::requests::Next;
use crate::http::{Cors, Date, Problem, Response, Terms};
use crate::ids::ConnId;
use crate::limits;
use crate::protocol::{Id, Position};

/// A request that waits for the homes.
#[derive(Debug)]
pub(super) struct Exchange {
    terms: Terms,
    cors: Cors<'static>,
    /// The answer is a list, however many parts it has.
    pub(super) list: bool,
    /// It asks for a feed, and its parts are the subscriptions to each topic.
    pub(super) feed: Option<Feed>,
    /// What the feed is to subscribe to, as long as it has not.
    pub(super) wanted: Option<Box<Wanted>>,
    pub(super) parts: SmallVec<[Part; 1]>,
    /// Commands without an answer, and one more while commands are still being added.
    waiting: usize,
    /// What was answered already, but has to wait for its turn.
    written: Option<Vec<u8>>,
    /// Why the connection ends behind the answer, if it does.
    end: CloseReason,
}

/// The requests of one connection that wait, in their order; not empty.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// The number of the first of them.
    first: u64,
    exchanges: VecDeque<Exchange>,
    /// The next request has to wait for the answers to these.
    closed: bool,
}

impl Line {
    /// A place for one more answer to the last request; the id of its command.
    pub(super) fn expect_part(&mut self) -> Id {
        let serial = self.first + self.exchanges.len() as u64 - 1;
        let Some(exchange) = self.exchanges.back_mut() else { return Id::None };
        let part = exchange.parts.len() as u64;
        exchange.parts.push(Part::Waiting);
        exchange.waiting += 1;
        Id::Int(serial * PARTS_MAX + part)
    }

    /// The place for the answer to a command. A document has no id: nothing is asked behind it.
    fn place(&mut self, id: &Id) -> Option<(&mut usize, &mut Part)> {
        let (exchange, part) = match id {
            Id::Int(number) => {
                let exchange = usize::try_from((number / PARTS_MAX).checked_sub(self.first)?).ok()?;
                (self.exchanges.get_mut(exchange)?, usize::try_from(number % PARTS_MAX).ok()?)
            }
            _ => (self.exchanges.back_mut()?, 0),
        };
        Some((&mut exchange.waiting, exchange.parts.get_mut(part)?))
    }
}

/// More than any request has.
const PARTS_MAX: u64 = 2048;

const _: () = assert!(limits::BATCH_COMMANDS_MAX < PARTS_MAX as usize);
const _: () = assert!(limits::PUBLISH_TOPICS_MAX < PARTS_MAX as usize);

impl Exchange {
    pub(super) fn new(terms: Terms, cors: Cors<'static>) -> Self {
        let parts = SmallVec::new();
        let (written, end) = (None, CloseReason::HttpAnswered);
        Self { terms, cors, list: false, feed: None, wanted: None, parts, waiting: 1, written, end }
    }
}

impl Exchange {
    /// Whether something of it can be done by a successor alone, to which this connection does not lead.
    fn is_refused_here(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Failed(503, _)))
    }
}

/// The answer to one command of a request.
#[derive(Debug)]
pub(super) enum Part {
    /// Still to come.
    Waiting,
    /// It was published here; the topic's name is for a list.
    Published(Box<str>, Position),
    /// It was not carried out.
    Failed(u16, String),
    /// A whole JSON document.
    Document(Vec<u8>),
    /// A whole document of that media type.
    Text(&'static str, String),
    /// It subscribed.
    Joined(Box<Joined>),
    /// It was carried out, and there is nothing to say about it.
    Done,
}

impl Shard {
    pub(super) fn begin(&mut self, index: u32, exchange: Exchange) {
        self.exchanges.entry(index).or_default().exchanges.push_back(exchange);
    }

    /// Begins a request behind which no other is looked at before it was answered.
    pub(super) fn begin_last(&mut self, index: u32, exchange: Exchange) {
        self.begin(index, exchange);
        if let Some(line) = self.exchanges.get_mut(&index) {
            line.closed = true;
        }
    }

    /// Begins a request for a document. It may be long: no other is made while it waits.
    pub(super) fn begin_one(&mut self, index: u32, exchange: Exchange) {
        self.begin_last(index, exchange);
        if let Some(line) = self.exchanges.get_mut(&index) {
            line.expect_part();
        }
    }

    /// The connection ends behind the answer to the last request.
    pub(super) fn end_behind(&mut self, index: u32, end: CloseReason) {
        let Some(line) = self.exchanges.get_mut(&index) else { return };
        line.closed = true;
        if let Some(exchange) = line.exchanges.back_mut() {
            (exchange.terms, exchange.end) = (exchange.terms.closing(), end);
        }
    }

    pub(super) fn last_exchange(&mut self, index: u32) -> Option<&mut Exchange> {
        self.exchanges.get_mut(&index)?.exchanges.back_mut()
    }

    /// The last request never began: nothing of it is under way.
    pub(super) fn take_back(&mut self, index: u32) {
        let Some(line) = self.exchanges.get_mut(&index) else { return };
        line.exchanges.pop_back();
        if line.exchanges.is_empty() {
            self.exchanges.remove(&index);
        }
    }

    /// The request's last command is on its way. If nothing is to be waited for, it is answered here.
    pub(super) fn all_added(&mut self, index: u32) -> Next {
        if let Some(exchange) = self.last_exchange(index) {
            exchange.waiting -= 1;
        }
        self.answer_line(index)
    }

    /// Whether the next request of the connection has to wait.
    pub(super) fn is_line_full(&self, index: u32) -> bool {
        let full = |line: &Line| line.closed || line.exchanges.len() >= limits::REQUESTS_UNDER_WAY_MAX;
        self.exchanges.get(&index).is_some_and(full) || self.polls.contains_key(&index)
    }

    /// Whether a request of the connection waits for its answer.
    pub(super) fn is_asking(&self, index: u32) -> bool {
        self.exchanges.contains_key(&index) || self.polls.contains_key(&index)
    }

    /// The connection's requests will not be answered.
    pub(super) fn forget_exchanges(&mut self, index: u32) {
        self.exchanges.remove(&index);
    }

    /// Takes the answer to one command of a connection's requests; whatever is whole then is answered, in order.
    pub(super) fn take_part(&mut self, conn: ConnId, id: &Id, part: Part) {
        let Some(index) = self.index_of(conn) else { return };
        let Some((waiting, place)) = self.exchanges.get_mut(&index).and_then(|line| line.place(id)) else { return };
        if !matches!(place, Part::Waiting) {
            return;
        }
        *place = part;
        *waiting -= 1;
        if *waiting == 0 && self.answer_line(index) == Next::Request {
            self.unread.push(conn);
        }
    }

    /// Answers the connection's requests as far as they are whole.
    pub(super) fn answer_line(&mut self, index: u32) -> Next {
        while let Some(line) = self.exchanges.get_mut(&index) {
            let Some(exchange) = line.exchanges.pop_front_if(|exchange| exchange.waiting == 0) else {
                return if self.feed_is_next(index) { self.start_feed(index) } else { Next::Answer };
            };
            line.first += 1;
            let last = line.exchanges.is_empty();
            if last {
                self.exchanges.remove(&index);
            }
            // RFC 9112 9.6: who is told that the connection ends sends no request that nobody reads.
            let closing = last && (!self.stop.reads() || exchange.is_refused_here());
            match self.finish(index, exchange, closing) {
                Next::Request => {}
                Next::End => {
                    self.forget_exchanges(index);
                    return Next::End;
                }
                next => return next, // a poll waits, and there is nothing behind it
            }
        }
        Next::Request
    }

    /// Whether the first of the connection's requests is for a feed that has not begun.
    pub(super) fn feed_is_next(&self, index: u32) -> bool {
        let first = self.exchanges.get(&index).and_then(|line| line.exchanges.front());
        first.is_some_and(|exchange| exchange.wanted.is_some())
    }

    /// Writes the answer to a request that has all its parts.
    fn finish(&mut self, index: u32, exchange: Exchange, closing: bool) -> Next {
        let Exchange { terms, cors, list, feed, parts, written, end, .. } = exchange;
        let terms = if closing { terms.closing() } else { terms };
        if let Some(feed) = feed {
            return self.begin_feed(index, feed, (terms, cors), parts.into_iter());
        }
        if let Some(bytes) = written {
            self.outbound.push_solid(index, |out| out.extend_from_slice(&bytes));
            return self.answered(index, terms, end);
        }
        if let [Part::Text(media, text)] = &parts[..] {
            let document = |response: Response<'_>| {
                cors.mark(response).header("Cache-Control", "no-store").body(media, text.as_bytes());
            };
            self.date.set(self.now_unix_s());
            let date = Some(&self.date);
            self.outbound.push_solid(index, |out| document(Response::begin(out, 200, terms, date)));
            return self.answered(index, terms, CloseReason::HttpAnswered);
        }
        let done = matches!(parts[..], [Part::Done]);
        if let (false, [Part::Published(_, position)]) = (list, &parts[..]) {
            return self.tell_position(index, (terms, &cors), *position);
        }
        let (body, changes) = if list { (Ok(list_of(&parts)), false) } else { sole(parts) };
        self.date.set(self.now_unix_s());
        let date = Some(&self.date);
        self.outbound.push_solid(index, |out| match body {
            Ok(_) if done => cors.mark(Response::begin(out, 204, terms, date)).empty(),
            Ok(mut body) => {
                body.push(b'\n'); // for those who read it in a terminal
                let response = cors.mark(Response::begin(out, 200, terms, date));
                // A document is as old as the moment in which it was made.
                let response = if changes { response.header("Cache-Control", "no-store") } else { response };
                response.body("application/json", &body);
            }
            Err(problem) => cors.mark(Response::begin(out, problem.status, terms, date)).refuse(&problem),
        });
        self.answered(index, terms, end)
    }

    /// Answers a publication that came alone, and before which nothing waits.
    pub(super) fn tell_position(&mut self, index: u32, (terms, cors): (Terms, &Cors<'_>), position: Position) -> Next {
        self.date.set(self.now_unix_s());
        let date = Some(&self.date);
        self.outbound.push_solid(index, |out| {
            let out = cors.mark(Response::begin(out, 200, terms, date)).up_to_length("application/json");
            write_position(out, terms, position);
        });
        self.answered(index, terms, CloseReason::HttpAnswered)
    }

    /// Takes the document that a request asks for; `write` appends it.
    pub(super) fn take_document(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut document = Vec::new();
        write(&mut document);
        self.take_part(conn, &Id::None, Part::Document(document));
    }

    /// Answers a request with a response that `write` ends.
    pub(super) fn answer(&mut self, index: u32, terms: Terms, write: impl FnOnce(Response<'_>), status: u16) -> Next {
        let response = |out: &mut Vec<u8>, date: &Date| write(Response::begin(out, status, terms, Some(date)));
        self.say(index, terms, CloseReason::HttpAnswered, response)
    }

    /// Writes what answers a request, behind the answers to those before it. `end` is why the connection ends, where the
    /// terms say so.
    pub(super) fn say(
        &mut self,
        index: u32,
        terms: Terms,
        end: CloseReason,
        write: impl FnOnce(&mut Vec<u8>, &Date),
    ) -> Next {
        self.date.set(self.now_unix_s());
        let Some(line) = self.exchanges.get_mut(&index) else {
            let date = &self.date;
            self.outbound.push_solid(index, |out| write(out, date));
            return self.answered(index, terms, end);
        };
        let mut bytes = Vec::new();
        write(&mut bytes, &self.date);
        line.exchanges.push_back(Exchange {
            waiting: 0,
            written: Some(bytes),
            end,
            ..Exchange::new(terms, Cors::default())
        });
        line.closed |= !terms.keep_alive;
        Next::Answer
    }

    /// A request was answered: the next one has its time, if there may be one.
    pub(super) fn answered(&mut self, index: u32, terms: Terms, end: CloseReason) -> Next {
        if !terms.keep_alive {
            self.linger(index, end);
            return Next::End;
        }
        // The wheel finds out when the former deadline comes: it is never later than this one.
        let deadline = self.now.after_ms(self.settings.config.limits.handshake_ms_max);
        let connection = &mut self.connections[index as usize];
        (connection.deadline, connection.answered) = (deadline, true);
        Next::Request
    }

    /// Goes on with the connections whose request was answered, or has all before it written, or whose frames were put off.
    /// Whether there were any.
    pub(super) fn read_on(&mut self, budget: &mut usize) -> bool {
        let some = if self.stop.reads() { self.unread.len().min(*budget) } else { 0 };
        *budget -= some;
        let answered: Vec<ConnId> = self.unread.drain(..some).collect();
        for conn in answered {
            let Some(index) = self.index_of(conn) else { continue };
            let phase = self.connections[index as usize].phase;
            match phase {
                Phase::Http if self.feed_is_next(index) && self.answer_line(index) != Next::Request => {}
                Phase::Http => self.continue_requests(index),
                Phase::Open | Phase::Closing => self.continue_frames(index),
                Phase::Lingering => {}
            }
        }
        some > 0
    }
}

/// Goes on with the answer to a publication behind what [`Response::up_to_length`] wrote.
pub(super) fn write_position(out: &mut Vec<u8>, terms: Terms, position: Position) {
    const BEFORE: &[u8] = b"{\"position\":\"";
    const AFTER: &[u8] = b"\"}\n"; // for those who read it in a terminal
    Response::end(out, terms, BEFORE.len() + position.text_len() + AFTER.len(), |out| {
        out.extend_from_slice(BEFORE);
        position.write(out);
        out.extend_from_slice(AFTER);
    });
}

/// The answer to a request of one command that is no publication, and whether it is a document that changes.
fn sole(parts: SmallVec<[Part; 1]>) -> (Result<Vec<u8>, Problem>, bool) {
    match parts.into_iter().next() {
        Some(Part::Document(json)) => (Ok(json), true),
        Some(Part::Failed(code, reason)) => (Err(failed(code, reason)), false),
        Some(Part::Done) => (Ok(Vec::new()), false),
        Some(Part::Waiting | Part::Joined(_) | Part::Published(..) | Part::Text(..)) | None => {
            unreachable!("it was answered, asked for no feed, and is neither a publication nor a text")
        }
    }
}

/// A command came to nothing.
pub(super) fn failed(code: u16, reason: String) -> Problem {
    match code {
        429 => too_many(reason, 1),
        503 => Problem::new(503, reason).with_header("Retry-After", "1"),
        _ => Problem::new(code, reason),
    }
}

/// The answers to all commands of a request, in their order.
fn list_of(parts: &[Part]) -> Vec<u8> {
    let each = |part: &Part| match part {
        Part::Published(topic, position) => serde_json::json!({ "topic": topic, "position": position.to_string() }),
        Part::Failed(code, reason) => serde_json::json!({ "error": { "code": code, "reason": reason } }),
        Part::Document(_) | Part::Text(..) | Part::Joined(_) | Part::Done | Part::Waiting => {
            unreachable!("publications are answered by positions")
        }
    };
    serde_json::Value::from_iter(parts.iter().map(each)).to_string().into_bytes()
}

/// Too fast, or too much at once.
pub(super) fn too_many(reason: String, retry_s: u64) -> Problem {
    Problem::new(429, reason).with_header("Retry-After", retry_s.to_string())
}
