//! Subscribers over HTTP: `GET /v1/events`, a stream of server-sent events, and `GET /v1/poll`, one answer per question.
//!
//! Either is an ordinary subscriber of the topics that the query names, from the moment when their homes answer. Until all
//! of them did it holds back what comes (`outbound::forms`), so that a refusal is still a response of its own. Then a
//! stream lets go of it and goes on; a poll takes it out, as soon as there is something, and is no subscriber any more:
//! what it says of the places that it came to is all that the next one needs, on whichever shard.

use super::Shard;
use super::calls::Call;
use super::connection::{CloseReason, Phase, Speech};
use super::exchange::{Exchange, Part};
use super::outbound::Places;
use super::requests::Next;
use crate::home::{From, Piece};
use crate::http::{self, Cors, Problem, Query, Response, Terms};
use crate::ids::TICK_MS;
use crate::limits;
use crate::protocol::{Excerpt, Id, Position, Reason, publication, reply};
use crate::topic::Filter;
use crate::transport::{Form, events};
use crate::ws::encode;

/// What a subscriber over HTTP asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Feed {
    /// A stream.
    Events,
    /// An answer within so many milliseconds.
    Poll { wait_ms: u64 },
}

/// One subscription of a feed, as its home sees it begin.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) filter: Box<str>,
    /// The last publication before live begins; none with wildcards.
    pub(super) position: Option<Position>,
    pub(super) recovered: Option<bool>,
    pub(super) replay: Vec<Piece>,
}

impl Joined {
    /// The last publication that the subscriber knows of: the one before the replay.
    fn place(&self) -> Option<Position> {
        let Some(Piece { chunk, frames }) = self.replay.first() else { return self.position };
        let frame = frames.of(&chunk.bytes);
        let first = publication::position_of(&frame[encode::frame_header_len(frame)..])?;
        let first: Position = std::str::from_utf8(first).ok()?.parse().ok()?;
        Some(Position { offset: first.offset.saturating_sub(1), ..first })
    }

    /// The event that tells of it, on a stream.
    fn tell(&self, out: &mut Vec<u8>) {
        Form::Events.reply(out, |out| {
            reply::ack_subscribe(out, &Id::None, &self.filter, self.position, self.recovered);
        });
    }
}

/// A poll that waits for something to come.
#[derive(Debug)]
pub(super) struct Poll {
    terms: Terms,
    cors: Cors<'static>,
    places: Places,
    recovered: Option<bool>,
}

const _: () = assert!(size_of::<Poll>() <= 88, "a poll that waits stays small");

impl Shard {
    /// Takes a request for a feed. It begins behind all that waits to be answered and written before it.
    pub(super) fn ask_feed(
        &mut self,
        index: u32,
        call: Call<'_>,
        head: &http::Head<'_>,
        query: &Query<'_>,
        mut exchange: Exchange,
    ) -> Result<Next, Problem> {
        let wanted = if call == Call::Poll { Wanted::of_poll(query)? } else { Wanted::of_events(head, query)? };
        exchange.feed = Some(wanted.feed);
        exchange.wanted = Some(Box::new(wanted));
        self.begin_last(index, exchange);
        Ok(self.answer_line(index))
    }

    /// Subscribes to each topic of the feed whose turn it is, if nothing is to be written before it.
    pub(super) fn start_feed(&mut self, index: u32) -> Next {
        if self.outbound.pending(index) > 0 {
            self.outbound.watch(index, true); // the flush that writes it sees to it that this is called again
            return Next::Answer;
        }
        let Some(wanted) = self.last_exchange(index).and_then(|exchange| exchange.wanted.take()) else {
            return Next::Answer;
        };
        self.outbound.hold(index);
        let conn = self.id_of(index);
        for (filter, from) in &wanted.topics {
            let Some(line) = self.exchanges.get_mut(&index) else { break };
            let id = line.expect_part();
            self.subscribe(conn, id, Filter::known(filter), *from, wanted.presence);
        }
        self.all_added(index)
    }

    /// Every home has answered.
    pub(super) fn begin_feed(
        &mut self,
        index: u32,
        feed: Feed,
        (terms, cors): (Terms, Cors<'static>),
        parts: impl Iterator<Item = Part>,
    ) -> Next {
        let (mut joined, mut refusal) = (Vec::new(), None);
        for part in parts {
            match part {
                Part::Joined(one) => joined.push(*one),
                Part::Failed(code, reason) => {
                    refusal.get_or_insert(Problem::new(code, reason));
                }
                _ => unreachable!("a subscribe is answered by one of these"),
            }
        }
        if let Some(problem) = refusal {
            self.end_feed(index);
            return self.answer(index, terms, |response| cors.mark(response).refuse(&problem), problem.status);
        }
        match feed {
            Feed::Events => self.begin_events(index, (terms, cors), joined),
            Feed::Poll { wait_ms } => self.begin_poll(index, wait_ms, (terms, cors), joined),
        }
    }

    fn begin_events(&mut self, index: u32, (terms, cors): (Terms, Cors<'static>), joined: Vec<Joined>) -> Next {
        let mut places = Places::of(joined.len());
        joined.iter().for_each(|one| places.push(Filter::known(&one.filter), one.place()));
        self.date.set(self.now_unix_s());
        let mut head = Vec::new();
        let response = cors.mark(Response::begin(&mut head, 200, terms, Some(&self.date)));
        let response = response.header("Cache-Control", "no-store").header("X-Accel-Buffering", "no");
        response.stream("text/event-stream");
        if terms.head_only {
            self.end_feed(index);
            self.outbound.push_solid(index, |out| out.extend_from_slice(&head));
            self.linger(index, CloseReason::HttpAnswered);
            return Next::End;
        }
        events::retry(&mut head, limits::EVENTS_RETRY_MS + self.retry_ms(index, limits::EVENTS_RETRY_MS));
        head.extend_from_slice(format!("id: {places}\n").as_bytes());
        joined.iter().for_each(|one| one.tell(&mut head));
        let replay = joined.into_iter().flat_map(|one| one.replay);
        let several = (places.len() > 1).then_some(places);
        self.outbound.begin_stream(index, |out| out.extend_from_slice(&head), replay, several);
        let connection = &mut self.connections[index as usize];
        (connection.phase, connection.speech) = (Phase::Open, Speech::Events);
        connection.seen = self.now;
        let (user, ended) = (connection.user.clone(), connection.ended);
        self.count_open(index);
        self.take_identity(index, user);
        self.file_heartbeat(index);
        if ended {
            self.linger(index, CloseReason::PeerGone); // nothing would tell of its end any more
        } else {
            self.resume(index); // its end must be seen
        }
        Next::End
    }

    fn begin_poll(
        &mut self,
        index: u32,
        wait_ms: u64,
        (terms, cors): (Terms, Cors<'static>),
        joined: Vec<Joined>,
    ) -> Next {
        let mut places = Places::of(joined.len());
        joined.iter().for_each(|one| places.push(Filter::known(&one.filter), one.place()));
        let recovered = joined.iter().filter_map(|one| one.recovered).reduce(|all, one| all && one);
        let replay: Vec<Piece> = joined.into_iter().flat_map(|one| one.replay).collect();
        let some = !replay.is_empty() || self.outbound.pending(index) > 0 || recovered == Some(false);
        let poll = Poll { terms, cors, places, recovered };
        let ended = self.connections[index as usize].ended;
        if some || wait_ms == 0 || terms.head_only || ended || self.ends_requests() {
            return self.answer_poll(index, poll, &replay);
        }
        let user = self.connections[index as usize].user.clone();
        let deadline = self.now.after_ms(wait_ms).min(self.until(user.as_deref()));
        self.connections[index as usize].deadline = deadline;
        self.wheel.file(index, deadline);
        self.polls.insert(index, Box::new(poll));
        if !self.keeps_requests(index) {
            self.resume(index); // its end must be seen
        }
        Next::Answer
    }

    /// Something came for a connection that is held. A stream whose homes have not all answered goes on waiting.
    pub(super) fn handle_held(&mut self, index: u32) {
        if self.polls.contains_key(&index) {
            self.end_poll(index);
        }
    }

    /// Answers a poll that waits, with what there is.
    pub(super) fn end_poll(&mut self, index: u32) {
        let Some(poll) = self.polls.remove(&index) else { return };
        if self.answer_poll(index, *poll, &[]) == Next::Request {
            self.wheel.file(index, self.connections[index as usize].deadline); // where it stood the poll ended
            self.unread.push(self.id_of(index));
        }
    }

    fn answer_poll(&mut self, index: u32, mut poll: Poll, replay: &[Piece]) -> Next {
        let mut body = br#"{"messages":["#.to_vec();
        let (start, places) = (body.len(), &mut poll.places);
        let mut take = |event: &[u8]| {
            let before = body.len();
            events::write_listed(&mut body, event);
            // One is always given.
            let room = before == start || body.len() - start <= limits::HISTORY_REPLY_BYTES_MAX;
            if room {
                places.note(event); // only topics by name: there is none twice
            } else {
                body.truncate(before);
            }
            room
        };
        let all = replay.iter().all(|piece| each_event(piece, &mut take));
        self.outbound.take_held(index, |event| all && take(event));
        self.end_feed(index);
        body.extend_from_slice(format!("],\"next\":\"{}\"", poll.places).as_bytes());
        if let Some(recovered) = poll.recovered {
            body.extend_from_slice(format!(",\"recovered\":{recovered}").as_bytes());
        }
        body.extend_from_slice(b"}\n");
        let Poll { mut terms, cors, .. } = poll;
        if self.ends_requests() {
            terms = terms.closing();
        }
        let document = |response: Response<'_>| {
            cors.mark(response).header("Cache-Control", "no-store").body("application/json", &body);
        };
        self.answer(index, terms, document, 200)
    }

    /// Whether whoever asks again had better do so on another connection.
    fn ends_requests(&self) -> bool {
        !self.is_ready() || self.stop.is_begun()
    }

    /// The connection is no subscriber any more, and what it held is gone.
    pub(super) fn end_feed(&mut self, index: u32) {
        self.polls.remove(&index);
        if self.outbound.is_held(index) {
            self.outbound.take_held(index, |_| false);
        }
        self.leave_all(index);
    }

    /// More was published to a feed that has not begun than may wait for it.
    pub(super) fn refuse_feed(&mut self, index: u32) {
        if !self.outbound.is_held(index) || self.polls.contains_key(&index) {
            return; // a poll that has begun is answered in this turn
        }
        self.forget_exchanges(index);
        self.end_feed(index);
        let reason = "limits.outbound_bytes_max: more was published than may wait until the subscription holds";
        let problem = Problem::new(503, reason).with_header("Retry-After", "1");
        self.refuse(index, &problem, Terms::CLOSE);
    }

    /// Says goodbye on a stream.
    pub(super) fn end_events(&mut self, index: u32, reason: CloseReason, code: u16, text: &str) {
        self.outbound.push_reply(index, |out| events::close(out, code, text));
        self.linger(index, reason);
    }

    /// Tells a stream, if the connection is one, after how long to come back.
    pub(super) fn tell_retry(&mut self, index: u32, retry_ms: u64) {
        if matches!(self.connections[index as usize].speech, Speech::Events) {
            self.outbound.push_reply(index, |out| events::retry(out, retry_ms));
        }
    }

    /// Keeps a stream that is silent from looking dead. A peer that took nothing for as long as a pong may take is gone.
    pub(super) fn beat_events(&mut self, index: u32) {
        let patience_s = self.settings.config.heartbeat.interval_s + self.settings.config.heartbeat.timeout_s;
        let seen = self.connections[index as usize].seen;
        if !self.outbound.is_blocked(index) {
            self.connections[index as usize].seen = self.now; // it took all there was
            self.outbound.push_reply(index, |out| out.extend_from_slice(events::HEARTBEAT));
        } else if self.now.0 - seen.0 > self.ticks(patience_s) {
            return self.discard(index, CloseReason::HeartbeatMissed);
        }
        self.file_heartbeat(index);
    }
}

/// Gives each publication of a replay to `take` as an event, while it wants more. Whether it took all of them.
fn each_event(piece: &Piece, take: &mut impl FnMut(&[u8]) -> bool) -> bool {
    let (mut frames, mut event) = (piece.frames.of(&piece.chunk.bytes), Vec::new());
    while !frames.is_empty() {
        let (frame, rest) = frames.split_at(Form::Frames.unit_len(frames));
        event.clear();
        events::of_frame(&mut event, frame);
        if !take(&event) {
            return false;
        }
        frames = rest;
    }
    true
}

/// What the query of a feed asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    feed: Feed,
    /// Filters, and where each begins.
    topics: Vec<(Box<str>, From)>,
    presence: bool,
}

impl Wanted {
    fn of_events(head: &http::Head<'_>, query: &Query<'_>) -> Result<Self, Problem> {
        let header = head.single(http::Field::LastEventId, "more than one Last-Event-ID header")?;
        let header = header.map(std::str::from_utf8).transpose();
        let header = header.map_err(|_| Problem::bad_request("the Last-Event-ID header is not text"))?;
        let since = header.filter(|id| !id.is_empty()).or(query.single("last_event_id")?);
        let topics = owned(topics(query, "last_event_id", since)?);
        Ok(Self { feed: Feed::Events, topics, presence: presence(query)? })
    }

    fn of_poll(query: &Query<'_>) -> Result<Self, Problem> {
        let topics = topics(query, "since", query.single("since")?)?;
        if let Some((filter, _)) = topics.iter().find(|(filter, _)| filter.has_wildcard()) {
            let reason =
                format!("topic: {} has no position to go on from: poll for topics", Excerpt::of(filter.as_str()));
            return Err(Problem::new(400, reason));
        }
        let wait_s = match query.single("wait")? {
            None => limits::POLL_WAIT_S_USUAL,
            Some(text) => {
                let wait_s = text.parse().ok().filter(|wait_s| *wait_s <= limits::POLL_WAIT_S_MAX);
                let most = limits::POLL_WAIT_S_MAX;
                wait_s.ok_or_else(|| Problem::new(400, format!("wait: it is 0 to {most} seconds")))?
            }
        };
        if presence(query)? {
            // It would be told of itself at once, and never of what happens between two polls.
            return Err(Problem::bad_request(
                "presence: a poll is not told who comes and goes; GET /v1/presence says who is there",
            ));
        }
        Ok(Self { feed: Feed::Poll { wait_ms: wait_s * 1000 }, topics: owned(topics), presence: false })
    }
}

fn owned(topics: Vec<(Filter<'_>, From)>) -> Vec<(Box<str>, From)> {
    topics.into_iter().map(|(filter, from)| (filter.as_str().into(), from)).collect()
}

/// The topics of a query, and where each begins: `since` has their positions, separated by commas.
fn topics<'q>(
    query: &'q Query<'_>,
    name: &'static str,
    since: Option<&str>,
) -> Result<Vec<(Filter<'q>, From)>, Problem> {
    let mut filters: Vec<Filter<'q>> = Vec::new();
    for text in query.all("topic") {
        let filter = Filter::parse(text).map_err(|error| wrong(&Reason::Name { value: Excerpt::of(text), error }))?;
        if filter.is_inner() {
            return Err(wrong(&Reason::BrokerFilter { filter: Excerpt::of(text) }));
        }
        if filters.iter().any(|other| other.as_str() == text) {
            return Err(Problem::new(400, format!("topic: {} is there twice", Excerpt::of(text))));
        }
        filters.push(filter);
    }
    if filters.is_empty() || filters.len() > limits::FEED_TOPICS_MAX {
        let most = limits::FEED_TOPICS_MAX;
        return Err(Problem::new(
            400,
            format!("topic: give one in the query, as ?topic=NAME, or up to {most} of them"),
        ));
    }
    let last = match query.single("last")? {
        None => From::Now,
        Some(text) => {
            let most = limits::HISTORY_LAST_MAX;
            let last = text.parse().ok().filter(|last| *last <= most);
            From::Last(last.ok_or_else(|| Problem::new(400, format!("last: it is 0 to {most}")))?)
        }
    };
    let Some(since) = since else {
        return Ok(filters.into_iter().map(|filter| (filter, begin(filter, last))).collect());
    };
    let mut positions = since.split(',');
    let each = |filter: Filter<'q>| match positions.next() {
        Some("") => Ok((filter, begin(filter, last))),
        Some(_) if filter.has_wildcard() => Ok((filter, From::Now)), // a browser sends what it last heard of
        Some(text) => {
            let position = text.parse().map_err(|_| wrong(&Reason::NoPosition { value: Excerpt::of(text) }))?;
            Ok((filter, From::Since(position)))
        }
        None => Err(Problem::new(400, format!("{name}: it has fewer positions than there are topics"))),
    };
    let topics = filters.into_iter().map(each).collect::<Result<_, _>>()?;
    if positions.next().is_some() {
        return Err(Problem::new(400, format!("{name}: it has more positions than there are topics")));
    }
    Ok(topics)
}

/// Where a subscription begins that goes on from nowhere: the past of a filter with wildcards cannot be asked for.
fn begin(filter: Filter<'_>, last: From) -> From {
    if filter.has_wildcard() { From::Now } else { last }
}

fn presence(query: &Query<'_>) -> Result<bool, Problem> {
    match query.single("presence")? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Problem::bad_request("presence: it is true or false")),
    }
}

fn wrong(reason: &Reason) -> Problem {
    Problem::new(reason.code(), reason.to_string())
}

const _: () = assert!(limits::POLL_WAIT_S_MAX * 1000 > TICK_MS);
