//! One client's side of the promises: what it asked for, what it is owed, what it got so far.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::coverage::Coverage;
use super::gaps::Stream;
use super::presence::Presence;
use super::publications::{Index, Publications};
use super::replies::{Beginning, Call, Due, Page, Replies, Reply, What};
use super::{Broken, Judged, Limits, Oracle, broken, is_wild};
use crate::event::{Begin, Frame, Note, Sent};

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for the answer to its request, which is to have this status.
    Asking(u16),
    Open,
    /// Got a Close frame, or an HTTP answer.
    Closed(Option<u16>),
    Gone,
}

/// What it knows of a topic.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// The last offset it got or was told.
    pub(super) last: u64,
    /// While every publication must come: the offset after which the next one comes.
    pub(super) base: Option<u64>,
    /// Up to this offset it is what was asked for again: its own is not left out of that.
    pub(super) replayed: u64,
    /// Offsets of its own `echo: false` publications.
    pub(super) muted: BTreeSet<u64>,
    /// Those of them that may be another's: of a key that came more than once.
    pub(super) doubtful: BTreeSet<u64>,
    /// What came live and what did not.
    pub(super) stream: Stream,
}

impl Topic {
    /// What has to come after `base`, up to `reached`.
    pub(super) fn owed(&self, base: u64, reached: u64) -> impl Iterator<Item = u64> {
        (base + 1..=reached).filter(|offset| *offset <= self.replayed || !self.muted.contains(offset))
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct View {
    pub(super) number: u32,
    pub(super) phase: Phase,
    pub(super) asked_ms: u64,
    welcomed: bool,
    pub(super) replies: Replies,
    /// Its filters as the shard will see them after its last command.
    pub(super) held: BTreeSet<String>,
    pub(super) coverage: Coverage,
    pub(super) presence: Presence,
    pub(super) topics: BTreeMap<String, Topic>,
    /// It sent a Close or broke the RFC: the code that this deserves.
    pub(super) ending: Option<Option<u16>>,
    pub(super) lapsed: bool,
    /// What it gets are events.
    pub(super) listens: bool,
    pub(super) blocked: bool,
    /// Its socket took less than was offered, since the last rest.
    pub(super) was_full: bool,
    /// The step of the last rest.
    pub(super) rest_step: u64,
    /// How often it has subscribed to each filter since the last rest; those that it had then count for many.
    pub(super) exposed: BTreeMap<String, u32>,
    pub(super) heard_ms: u64,
    pub(super) silence_ms: u64,
    /// The stop of its shard has begun, with so many bytes of it read.
    pub(super) stopped: Option<u64>,
    /// Topic, first offset that came, step since which it was to come: nothing sent later may stand before it.
    pub(super) firsts: Vec<(String, u64, u64)>,
}

impl View {
    pub(super) fn new(number: u32, status: u16, ms: u64) -> Self {
        Self {
            number,
            phase: Phase::Asking(status),
            asked_ms: ms,
            welcomed: false,
            replies: Replies::default(),
            held: BTreeSet::new(),
            coverage: Coverage::default(),
            presence: Presence::default(),
            topics: BTreeMap::new(),
            ending: None,
            lapsed: false,
            listens: false,
            blocked: false,
            was_full: false,
            rest_step: 0,
            exposed: BTreeMap::new(),
            heard_ms: ms,
            silence_ms: 0,
            stopped: None,
            firsts: Vec::new(),
        }
    }

    /// Open, and it neither said goodbye nor went away.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open && self.ending.is_none()
    }

    /// It was closed by a stop that nothing else came before.
    pub(super) fn was_stopped(&self) -> bool {
        self.phase == Phase::Closed(Some(1001)) && self.ending.is_none()
    }

    pub(super) fn broken<T>(&self, oracle: Oracle, what: impl std::fmt::Display) -> Result<T, Broken> {
        broken(oracle, format!("client {}: {what}", self.number))
    }

    /// Notes what its shard will owe it for this.
    pub(super) fn sent(
        &mut self,
        seq: u64,
        end: u64,
        what: &Sent,
        publication: Option<Index>,
        publications: &mut Publications,
        limits: &Limits,
    ) {
        if let (Sent::Publish { topic, .. }, Some(index)) = (what, publication) {
            publications.all[index].by_member = self.held.contains(topic);
        }
        let publications = &*publications;
        let ruled = |topic: &str| publications.rules.of(topic);
        let (id, what) = match what {
            Sent::Subscribe { filter, id, .. } if !is_wild(filter) && !ruled(filter).readable => {
                (id, What::Refused(403)) // by its home; the plan has no limit then that this could be refused for
            }
            Sent::Subscribe { filter, id, presence: true, .. } if !ruled(filter).presence => (id, What::Refused(404)),
            Sent::Subscribe { id, .. } => (id, self.subscribes(seq, what, publications, limits)),
            Sent::Presence { topic, id, .. } if !ruled(topic).readable => (id, What::Refused(403)),
            Sent::Presence { topic, id, .. } if !ruled(topic).presence => (id, What::Refused(404)),
            Sent::Presence { topic, id, limit, after, still } => {
                let (topic, after) = (topic.clone(), after.clone());
                (id, What::Members(Call { topic, limit: *limit, after, still: *still, step: publications.step }))
            }
            Sent::Unsubscribe { filter, id } => {
                self.held.remove(filter);
                self.presence.ends(filter, seq, id.is_none());
                if id.is_none() {
                    self.coverage.unsubscribe_silently(filter, seq);
                    self.forget_uncovered();
                }
                (id, What::Unsubscribed(filter.clone()))
            }
            Sent::Publish { topic, id, .. } if !ruled(topic).writable => (id, What::Refused(403)),
            Sent::Publish { id, .. } => (id, What::Published(publication.expect("it is one"))),
            Sent::History { topic, id, .. } if !ruled(topic).readable => (id, What::Refused(403)),
            Sent::History { topic, id, .. } if ruled(topic).kept.is_none() => (id, What::Refused(404)),
            Sent::History { topic, id, since, limit, reverse } => {
                let since = since.as_deref().map(super::recovery::split);
                let (asked_ms, known) = publications.moment(topic);
                let (topic, limit, reverse) = (topic.clone(), *limit, *reverse);
                (id, What::History(Page { topic, since, limit, reverse, asked_ms, known }))
            }
            Sent::Ping { id } => (id, What::Pong),
            Sent::Wrong { code, id } => (id, What::Error(*code)),
            Sent::PingFrame(payload) => (&None, What::PongFrame(payload.clone())),
            Sent::End(code) => {
                self.ending = Some(*code);
                return;
            }
        };
        self.replies.owe(Due { seq, end, id: id.clone(), what });
    }

    fn subscribes(&mut self, seq: u64, what: &Sent, publications: &Publications, limits: &Limits) -> What {
        let Sent::Subscribe { filter, id, begin, presence } = what else { unreachable!("it is a subscribe") };
        let (filter, presence) = (filter.as_str(), *presence);
        let fresh = !self.held.contains(filter);
        let more = usize::from(fresh) + usize::from(presence && !self.presence.held.contains(filter));
        if more > 0 && self.held.len() + self.presence.held.len() + more > limits.subscriptions_max {
            return What::Error(403);
        }
        let comes = self.presence.begins(filter, seq, id.is_none(), presence, publications.step);
        self.held.insert(filter.to_owned());
        *self.exposed.entry(filter.to_owned()).or_default() += 1;
        if id.is_none() {
            self.coverage.subscribe_silently(filter, seq);
        }
        let (asked_ms, known) = publications.moment(filter);
        // A second subscribe to the same filter replays nothing.
        let begin = if fresh { begin.clone() } else { Begin::Now };
        What::Subscribed(Beginning { filter: filter.to_owned(), begin, asked_ms, known, presence, comes })
    }

    /// Judges a frame. The name in it, if it is the welcome.
    pub(super) fn got(
        &mut self,
        frame: &Frame,
        note: &Note,
        publications: &mut Publications,
        limits: &Limits,
    ) -> Result<Option<String>, Broken> {
        match (self.phase, frame) {
            (Phase::Asking(status), Frame::Http(got)) if status == *got => {
                self.phase = if status == 101 { Phase::Open } else { Phase::Closed(None) };
                Ok(None)
            }
            // A part of its request came, and the rest of it not in time.
            (Phase::Asking(_), Frame::Http(408)) if note.ms - self.asked_ms + 100 >= limits.handshake_ms_max => {
                self.phase = Phase::Closed(None);
                Ok(None)
            }
            (Phase::Asking(status), _) => self.broken(Oracle::Welcome, format!("{frame:?} instead of {status}")),
            (Phase::Open, Frame::Text(json)) if !self.welcomed => self.welcome(json, limits).map(Some),
            (Phase::Open, Frame::Close(code)) => self.close(*code, note.ms, limits).map(|()| None),
            (Phase::Open, _) if !self.welcomed => self.broken(Oracle::Welcome, format!("{frame:?} came first")),
            (Phase::Open, Frame::Text(json)) => self.text(json, note.step, publications).map(|()| None),
            (Phase::Open, Frame::Binary(bytes)) => self.binary(bytes, publications).map(|()| None),
            (Phase::Open, Frame::Ping) => Ok(None),
            (Phase::Open, Frame::Pong(payload)) => {
                let due = self.own(|view| view.replies.at_once(None, &What::PongFrame(payload.clone())))?;
                self.seen(due.seq);
                Ok(None)
            }
            (_, Frame::Garbage(what)) => self.broken(Oracle::Torn, what),
            (phase, _) => self.broken(Oracle::Close, format!("{frame:?} while {phase:?}")),
        }
    }

    /// Adds whose it is to an error.
    pub(super) fn own<T>(&mut self, judge: impl FnOnce(&mut Self) -> Result<T, Broken>) -> Result<T, Broken> {
        let number = self.number;
        judge(self).map_err(|error| Broken { what: format!("client {number}: {}", error.what), ..error })
    }

    fn parse<'a>(&self, json: &'a [u8]) -> Result<Reply<'a>, Broken> {
        serde_json::from_slice(json).or_else(|error| self.broken(Oracle::Reply, format!("{error} in {json:?}")))
    }

    fn welcome(&mut self, json: &[u8], limits: &Limits) -> Result<String, Broken> {
        let reply = self.parse(json)?;
        let announced = reply.limits.as_ref().map(|it| (it.message_bytes, it.subscriptions));
        let expected = Some((limits.message_bytes_max, limits.subscriptions_max));
        if reply.op != "welcome" || announced != expected || reply.heartbeat != Some(limits.interval_s) {
            return self.broken(Oracle::Welcome, format!("not the welcome that was due: {reply:?}"));
        }
        self.welcomed = true;
        self.presence.name.clone_from(&reply.client);
        reply.client.map_or_else(|| self.broken(Oracle::Welcome, "no name in it"), Ok)
    }

    fn text(&mut self, json: &[u8], step: u64, publications: &mut Publications) -> Judged {
        let reply = self.parse(json)?;
        let id = reply.id.map(RawValue::get);
        match reply.op.as_str() {
            "message" => {
                let data = reply.data.map_or("", RawValue::get);
                self.message(&reply, data.as_bytes(), true, publications)
            }
            "join" | "leave" => self.told(&reply),
            "gap" => self.gap(&reply, publications),
            "ack" => self.ack(&reply, step, publications),
            "pong" => {
                let due = self.own(|view| view.replies.at_once(id, &What::Pong))?;
                self.seen(due.seq);
                Ok(())
            }
            "error" => {
                let code = reply.code.unwrap_or(0);
                let by_rule = reply.reason.as_ref().is_some_and(|reason| reason.contains("its rule"));
                let due = self.own(|view| view.replies.error(id, code, by_rule))?;
                self.seen(due.seq);
                if let What::History(page) = &due.what {
                    self.own(|_| publications.no_page(page, code))?;
                }
                if let What::Members(call) = &due.what {
                    self.own(|_| publications.no_call(call, code))?;
                }
                match reply.reason {
                    Some(reason) if !reason.is_empty() => Ok(()),
                    _ => self.broken(Oracle::Reply, "an error without a reason"),
                }
            }
            other => self.broken(Oracle::Reply, format!("the op {other}")),
        }
    }

    fn binary(&mut self, bytes: &[u8], publications: &mut Publications) -> Judged {
        let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else {
            return self.broken(Oracle::Payload, "a binary message without a header line");
        };
        let reply = self.parse(&bytes[..end])?;
        if reply.op != "message" {
            return self.broken(Oracle::Reply, format!("a binary {}", reply.op));
        }
        self.message(&reply, &bytes[end + 1..], false, publications)
    }

    fn ack(&mut self, reply: &Reply<'_>, step: u64, publications: &mut Publications) -> Judged {
        let Some(id) = reply.id.map(RawValue::get) else {
            return self.broken(Oracle::Reply, "an ack without an id");
        };
        let due = self.own(|view| view.replies.ack(id))?;
        self.seen(due.seq);
        let topic = reply.topic.as_deref().unwrap_or("");
        let position = reply.position.as_deref();
        match (&due.what, position) {
            (What::Unsubscribed(filter), None) if filter == topic => {
                self.coverage.unsubscribed(filter, due.seq);
                self.presence.told.unsubscribed(filter, due.seq);
                self.forget_uncovered();
                Ok(())
            }
            (What::Subscribed(it), None) if it.filter == topic && is_wild(topic) => {
                self.coverage.acked(topic, due.seq, step);
                Ok(())
            }
            (What::Subscribed(it), Some(position)) if it.filter == topic && !is_wild(topic) => {
                let since = self.coverage.sure_since(topic);
                self.coverage.acked(topic, due.seq, step);
                let offset = self.own(|_| publications.offset(topic, position))?;
                self.presence.acked(it, due.seq, step);
                let goes_on = self.listens && reply.recovered == Some(true);
                publications.tally.extend(goes_on.then_some("a stream that goes on"));
                self.begins(it, offset, reply.recovered, since, publications)
            }
            (What::Published(index), Some(position)) if publications.get(*index).topic == topic => {
                let offset = self.own(|_| publications.answered(*index, position))?;
                let is_another =
                    publications.log(topic).is_some_and(|log| log.at.get(&offset).is_some_and(|at| at != index));
                if publications.get(*index).muted && !is_another {
                    let known = self.topics.entry(topic.to_owned()).or_default();
                    known.muted.insert(offset);
                    known.doubtful.extend(publications.get(*index).key.is_some().then_some(offset));
                }
                Ok(())
            }
            (What::History(page), Some(position)) if page.topic == topic => {
                self.own(|_| publications.page(page, position, reply.messages.as_deref().unwrap_or(&[])))
            }
            (What::Members(call), None) if call.topic == topic => self.members(call, reply, step, publications),
            _ => self.broken(Oracle::Reply, format!("{reply:?} for {due:?}")),
        }
    }

    fn message(&mut self, reply: &Reply<'_>, payload: &[u8], text: bool, publications: &mut Publications) -> Judged {
        let (topic, position) = (reply.topic.as_deref().unwrap_or(""), reply.position.as_deref().unwrap_or(""));
        if !self.coverage.may_come(topic) {
            return self.broken(Oracle::Stranger, format!("{topic} {position}, without a subscription"));
        }
        if !publications.rules.of(topic).readable {
            return self.broken(Oracle::Access, format!("{topic} {position}: nobody may read it"));
        }
        let (index, offset) = self.own(|_| publications.recognize(topic, position, payload, text))?;
        let (last, replayed) = self.topics.get(topic).map_or((0, 0), |known| (known.last, known.replayed));
        let publication = publications.get(index);
        if publication.by == self.number && publication.muted && offset > replayed {
            return self.broken(Oracle::Echo, format!("{topic} {position}: its own came back"));
        }
        if offset > replayed {
            let told = self.between_join_and_leave(topic, position, publication, publications)?;
            publications.tally.extend(told.then_some("a publication of one whose join was told"));
        }
        if offset <= last {
            return self.broken(Oracle::Twice, format!("{topic} {position}: at or before what it had, {last}"));
        }
        let since = self.coverage.sure_since(topic);
        self.moved_on(topic, offset - 1, offset, since, publications)?;
        self.came(topic, offset, publications);
        Ok(())
    }

    /// It is at `last` of the topic now, and up to `reached` everything came or was its own. `since` as it was before.
    pub(super) fn moved_on(
        &mut self,
        topic: &str,
        reached: u64,
        last: u64,
        since: Option<u64>,
        publications: &Publications,
    ) -> Judged {
        let sure = self.coverage.sure_since(topic).is_some();
        let known = self.topics.entry(topic.to_owned()).or_default();
        let (before, base) = (known.last, known.base);
        if last < before {
            return self.broken(Oracle::Twice, format!("{topic}: back to {last} from {before}"));
        }
        known.last = last;
        known.base = sure.then_some(last);
        match (base, since) {
            (Some(base), _) if self.may_lose(topic, publications) => self.loses(topic, base, reached),
            (Some(base), _) => self.no_hole(Oracle::Hole, topic, base, reached),
            (None, Some(since)) if !self.may_lose(topic, publications) => {
                self.firsts.push((topic.to_owned(), reached + 1, since));
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    /// Everything after `base` up to `reached` is its own and not to come back.
    pub(super) fn no_hole(&self, oracle: Oracle, topic: &str, base: u64, reached: u64) -> Judged {
        match self.topics[topic].owed(base, reached).next() {
            Some(missing) => self.broken(oracle, format!("{topic}: {missing} is missing, of {}..={reached}", base + 1)),
            None => Ok(()),
        }
    }

    fn seen(&mut self, seq: u64) {
        self.coverage.seen(seq);
        self.presence.told.seen(seq);
        self.forget_uncovered();
    }

    fn forget_uncovered(&mut self) {
        for (topic, known) in &mut self.topics {
            if self.coverage.sure_since(topic).is_none() {
                known.base = None;
            }
        }
    }

    /// At rest, a whole request has its answer.
    pub(super) fn asked_in_vain(&self) -> Judged {
        match self.phase {
            Phase::Asking(_) if !self.lapsed => self.broken(Oracle::Unanswered, "its request"),
            _ => Ok(()),
        }
    }

    /// At rest, nothing is due.
    pub(super) fn unanswered(&self) -> Judged {
        if !self.welcomed {
            return self.broken(Oracle::Unanswered, "no welcome");
        }
        match self.replies.all().next() {
            Some(due) => self.broken(Oracle::Unanswered, format!("{due:?}")),
            None => Ok(()),
        }
    }

    /// It has all of every topic that it surely subscribes to.
    pub(super) fn tail(&self, publications: &Publications) -> Judged {
        for (topic, log) in publications.logs().filter(|(topic, _)| publications.rules.of(topic).readable) {
            let Some(since) = self.coverage.sure_since(topic) else { continue };
            self.all_told(topic)?;
            match self.topics.get(topic).and_then(|known| known.base) {
                None if self.may_lose(topic, publications) => {}
                Some(base) => self.no_hole(Oracle::Tail, topic, base, log.last)?,
                None => self.none_since(publications, topic, log.last + 1, since)?,
            }
        }
        Ok(())
    }

    /// What came first was the first that was sent after the ack.
    pub(super) fn missed_before_first(&self, publications: &Publications) -> Judged {
        self.firsts.iter().try_for_each(|(topic, offset, since)| self.none_since(publications, topic, *offset, *since))
    }

    fn none_since(&self, publications: &Publications, topic: &str, before: u64, since: u64) -> Judged {
        let Some(log) = publications.log(topic) else { return Ok(()) };
        for (offset, &index) in log.at.range(..before) {
            let publication = publications.get(index);
            let own = publication.by == self.number && publication.muted;
            if publication.step > since && !own {
                return self.broken(Oracle::Tail, format!("{topic}: {offset} was sent after the ack and did not come"));
            }
        }
        Ok(())
    }
}
