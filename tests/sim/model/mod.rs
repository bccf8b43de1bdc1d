//! The model: what the broker promised, told from nothing but the notes of what clients sent and got.
//!
//! Plain maps and no code of the broker. [`Model::take`] judges each note as it comes; what can only be told later is
//! judged at a [`Event::Rest`] or at the [`Event::Finish`]. A broken promise names its [`Oracle`].

mod coverage;
mod gaps;
mod goodbye;
mod once;
mod pages;
mod past;
mod presence;
mod publications;
mod recovery;
mod replies;
mod rules;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::event::{Event, Note, Sent};
use crate::plan::Plan;
use publications::Publications;
use view::View;

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Oracle {
    /// `welcome` first and once, with the limits in force; the handshake's status.
    Welcome,
    /// Every command with an id has one reply, every error and pong comes in the order of the commands.
    Reply,
    /// At rest nothing is unanswered.
    Unanswered,
    /// Nothing is delivered to who has no matching subscription.
    Stranger,
    /// `echo: false` keeps a publication from its publisher.
    Echo,
    /// A position has one publication and a publication one position, for everybody; one epoch.
    Position,
    /// The payload is what somebody published to that topic, byte for byte.
    Payload,
    /// One publisher's publications to one topic keep their order.
    PublisherOrder,
    /// A subscriber's offsets grow: nothing twice, nothing backwards, nothing before the ack.
    Twice,
    /// A subscriber's offsets have no holes.
    Hole,
    /// A subscriber has everything up to the last publication.
    Tail,
    /// What was dropped was told: how many, up to which, before what is newer; and only to who was slow.
    Gap,
    /// Nothing is dropped that fits, and of each kind the newest waits.
    Overflow,
    /// A list of members has who is there, each once, and who stays while its pages are asked for.
    Presence,
    /// Who asked is told who comes and goes, the others are not; members publish between their join and leave.
    Watch,
    /// Publications accepted are publications counted.
    Count,
    /// Nobody reads or publishes what the topic's rule closes.
    Access,
    /// `recovered` says whether what follows is whole: true when it must be, false when it cannot be.
    Recovered,
    /// A page of history has what is kept, in order, as much as was asked for.
    History,
    /// One publication per key and window.
    Once,
    /// Histories stay within their memory, and nothing is forgotten early without need.
    Kept,
    /// Connections end with the code that belongs to the reason.
    Close,
    /// Streams end between frames.
    Torn,
    /// Nobody is dropped who did nothing wrong.
    Dropped,
    /// 4008 for those only who let more than `outbound_bytes_max` wait.
    Slow,
    /// Pending bytes stay within their bound.
    Pending,
    /// 4009 for those only who were silent.
    Heartbeat,
    /// An orderly stop loses nothing that was read, and ends.
    Stop,
    /// The broker comes to rest, and nobody sleeps on work.
    Liveness,
    /// After all, nothing is held.
    Held,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub(crate) oracle: Oracle,
    pub(crate) what: String,
}

pub(crate) type Judged = Result<(), Broken>;

/// A broken promise, as the error that it is.
pub(crate) fn broken<T>(oracle: Oracle, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { oracle, what: what.into() })
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.oracle, self.what)
    }
}

/// The limits that the model judges by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) outbound_bytes_max: usize,
    pub(crate) subscriptions_max: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) interval_s: u32,
    pub(crate) timeout_s: u32,
    pub(crate) handshake_ms_max: u64,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Model {
    limits: Limits,
    views: BTreeMap<u32, View>,
    publications: Publications,
    /// What the broker called its clients.
    names: BTreeSet<String>,
}

impl Model {
    pub(crate) fn new(plan: &Plan) -> Self {
        let limits = Limits {
            outbound_bytes_max: plan.outbound_bytes_max,
            subscriptions_max: plan.subscriptions_max,
            message_bytes_max: plan.message_bytes_max,
            interval_s: plan.interval_s,
            timeout_s: plan.timeout_s,
            handshake_ms_max: plan.handshake_ms_max,
        };
        Self { limits, views: BTreeMap::new(), publications: Publications::new(plan), names: BTreeSet::new() }
    }

    /// Judges what happened next.
    pub(crate) fn take(&mut self, note: &Note) -> Judged {
        self.publications.passed(note);
        self.publications.comings += 2 * usize::from(note.may_come_or_go()); // a join, and its leave
        match &note.event {
            Event::Asked { client, status } => {
                self.views.insert(*client, View::new(*client, *status, note.ms));
                Ok(())
            }
            Event::Rest { audited } => self.rest(*audited),
            Event::Finish => self.finish(),
            Event::Kept { evicted, bytes } => self.publications.kept(*evicted, *bytes),
            Event::Sent { client, seq, end, what } => {
                let publication = self.publications.sent(*client, *seq, what);
                let view = self.views.get_mut(client).expect("a client asks before it sends");
                view.sent(*seq, *end, what, publication, &mut self.publications, &self.limits);
                Ok(())
            }
            Event::Got { client, frame } => {
                let view = self.views.get_mut(client).expect("a client asks before it gets");
                let name = view.got(frame, note, &mut self.publications, &self.limits)?;
                if let Some(name) = &name {
                    self.publications.names.insert(*client, name.clone());
                }
                self.call_still_rolls()?;
                match name {
                    Some(name) if !self.names.insert(name.clone()) => {
                        broken(Oracle::Welcome, format!("client {client}: the name {name} is another one's"))
                    }
                    _ => Ok(()),
                }
            }
            Event::Heard { client }
            | Event::Blocked { client }
            | Event::Listens { client }
            | Event::Lapsed { client }
            | Event::Ended { client, .. }
            | Event::Pending { client, .. }
            | Event::Stopping { client, .. } => {
                let view = self.views.get_mut(client).expect("a client asks before anything befalls it");
                view.befall(note, &self.publications, &self.limits)
            }
        }
    }

    /// The last position that a client had of a topic, as it would hand it back.
    pub(crate) fn position(&self, client: u32, topic: &str) -> Option<String> {
        let epoch = self.publications.log(topic)?.epoch.as_deref()?;
        let had = self.views.get(&client)?.topics.get(topic)?;
        Some(format!("{epoch}:{}", had.last))
    }

    /// The topic and the place where the client's last page of members ended, if there are more.
    pub(crate) fn next_page(&self, client: u32) -> Option<(&str, String)> {
        let (topic, next) = self.views.get(&client)?.presence.next.as_ref()?;
        Some((topic, next.clone()))
    }

    /// What happened that a run is to prove something by.
    pub(crate) fn tally(&self) -> &BTreeSet<&'static str> {
        &self.publications.tally
    }

    /// The newest position of a topic that anybody knows.
    pub(crate) fn newest(&self, topic: &str) -> Option<(&str, u64)> {
        let log = self.publications.log(topic)?;
        Some((log.epoch.as_deref()?, log.last))
    }

    /// What is owed to everybody who is open and reads.
    fn rest(&mut self, audited: bool) -> Judged {
        for view in self.views.values() {
            view.asked_in_vain()?;
        }
        for view in self.views.values_mut().filter(|view| view.is_open()) {
            view.unanswered()?;
            view.tail(&self.publications)?;
            view.lost_with_cause(&mut self.publications, &self.limits)?;
            view.rested(audited, &self.publications);
        }
        self.rest_of_presence()?;
        if audited {
            let stayed: BTreeSet<u32> =
                self.views.values().filter(|view| view.is_open()).map(|view| view.number).collect();
            self.publications.count(&stayed)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Judged {
        for view in self.views.values_mut() {
            view.missed_before_first(&self.publications)?;
            view.slow_with_cause(&mut self.publications, &self.limits)?;
            if view.was_stopped() {
                view.tail(&self.publications)?;
                view.lost_with_cause(&mut self.publications, &self.limits)?;
            }
        }
        Ok(())
    }
}

/// Whether the filter meets the topic: written from protocol.md's definition, level by level.
pub(crate) fn meets(filter: &str, topic: &str) -> bool {
    let (mut filters, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(filter), Some(level)) if filter == level => {}
            _ => return false,
        }
    }
}

pub(crate) fn is_wild(filter: &str) -> bool {
    filter.split('/').any(|level| level == "+" || level == "#")
}

/// Whether it is a publication that its publisher does not get.
pub(crate) fn is_muted(what: &Sent) -> bool {
    matches!(what, Sent::Publish { echo: false, .. })
}
