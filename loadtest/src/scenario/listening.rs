//! The receiving half of a fan-out: judges every message of one thread's subscribers and records how late it came.
//! One per client thread; that of a thread with publishers also publishes.
//! Invariants: a message counts as a delivery only when its bytes, its topic, its sequence and its position are right or the
//! fault is counted; the fast scan and the slow parse lead to the same judgement.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use mio::Waker;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::publishing::{Publishing, Sent};
use super::shares::{Shares, Sink};
use super::timeline::Timeline;
use crate::client::{Link, Message, Scene, Subscription};
use crate::envelope::{Position, Reply, Stamp, parse_reply, read_payload, scan_message, scan_topic};
use crate::flight::{Arrival, Flight, is_measured};
use crate::stats::Latencies;
use crate::target::Transport;
use crate::verify::{Checker, Faults};

/// How the subscribers of a mixed run come.
pub(crate) const TRANSPORTS: [Transport; 3] = [Transport::Ws, Transport::Sse, Transport::Poll];

/// Those of the threads that publish, the first ones, once all threads are there.
pub(crate) type Wakers = Arc<OnceLock<Vec<Arc<Waker>>>>;

/// Distributions of one fan-out, all from the intended time of the publication.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Lateness {
    /// Every delivery.
    pub(crate) all: Latencies,
    /// Per publication, its first subscriber.
    pub(crate) first: Latencies,
    /// Per publication, the subscriber in the middle.
    pub(crate) median: Latencies,
    /// Per publication, its last subscriber.
    pub(crate) last: Latencies,
    /// In a mixed run every delivery, by its transport, in the order of [`TRANSPORTS`].
    pub(crate) by_transport: Vec<Latencies>,
}

impl Lateness {
    /// Empty.
    pub(crate) fn new() -> Self {
        let [all, first, median, last] = std::array::from_fn(|_| Latencies::new());
        Self { all, first, median, last, by_transport: Vec::new() }
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.first.merge(&other.first);
        self.median.merge(&other.median);
        self.last.merge(&other.last);
        if self.by_transport.is_empty() {
            self.by_transport.clone_from(&other.by_transport);
        } else {
            self.by_transport.iter_mut().zip(&other.by_transport).for_each(|(own, other)| own.merge(other));
        }
    }
}

/// One thread's part of the connections; a subscriber is a seat of the layout, counted from the thread's first.
pub(crate) struct Listening {
    pub(super) layout: Arc<Layout>,
    flight: Arc<Flight>,
    /// Counts arrivals instead of the flight, where a run has several processes.
    shares: Option<Shares>,
    publishing: Option<Publishing>,
    /// Connections of this thread that only publish; the others subscribe.
    pub(super) publishers: usize,
    /// The connection of the layout that is this thread's first.
    connection: usize,
    /// The seat of the layout that is this thread's first.
    seat: usize,
    /// Subscribers of a topic come by all transports in turn.
    mixed: bool,
    pub(super) payload_bytes: usize,
    /// Judges what this thread's subscribers get, by their numbers within the thread.
    pub(super) checker: Checker,
    lateness: Lateness,
    timeline: Timeline,
    /// Fresh deliveries since the last turn.
    delivered: u64,
    /// Whether what comes now counts as live: how late a replay is says when its subscriber came back.
    pub(super) timed: bool,
    /// A publication was completed since the last turn.
    completed: bool,
    /// Wake the other threads that publish: they may wait for a completion.
    publishers_elsewhere: (usize, Wakers),
}

/// What a thread leaves behind.
pub(crate) struct Heard {
    /// Its checker, to be finished with what was sent.
    pub(crate) checker: Checker,
    /// Who sat where.
    pub(crate) layout: Arc<Layout>,
    /// The seat of its first subscriber.
    pub(crate) seat: usize,
    /// How late deliveries were.
    pub(crate) lateness: Lateness,
    /// How late they were with the last subscriber, over time.
    pub(crate) timeline: Timeline,
    /// From the thread that published.
    pub(crate) sent: Option<Sent>,
}

impl Listening {
    /// For a thread with those connections of the layout.
    pub(crate) fn new(
        layout: Arc<Layout>,
        flight: Arc<Flight>,
        publishing: Option<Publishing>,
        connections: Range<usize>,
        payload_bytes: usize,
    ) -> Self {
        let mut checker = Checker::new();
        let seat = layout.seats_before(connections.start);
        for seat in connections.clone().flat_map(|connection| layout.seats_of(connection)) {
            checker.add(layout.publishers(layout.topic_of(seat)));
        }
        Self {
            flight,
            shares: None,
            publishers: layout.apart.saturating_sub(connections.start),
            layout,
            publishing,
            connection: connections.start,
            seat,
            mixed: false,
            payload_bytes,
            checker,
            lateness: Lateness::new(),
            timeline: Timeline::new(),
            delivered: 0,
            timed: true,
            completed: false,
            publishers_elsewhere: (0, Wakers::default()),
        }
    }

    /// Tells `sink` what this thread's subscribers have, because others are in other processes.
    pub(crate) fn sharing(mut self, sink: Option<Sink>) -> Self {
        let seats = self.seat..self.seat + self.subscribers();
        self.shares = sink.map(|sink| Shares::new(&self.layout, seats, sink));
        self
    }

    /// Lets this thread, of that number, tell the others that publish about completions.
    pub(crate) fn wakes(mut self, thread: usize, publishers: &Wakers) -> Self {
        self.publishers_elsewhere = (thread, Arc::clone(publishers));
        self
    }

    /// Lets the subscribers of each topic come by WebSocket, server-sent events and long polling in turn.
    pub(crate) fn mixed(mut self, mixed: bool) -> Self {
        self.mixed = mixed;
        if mixed {
            self.lateness.by_transport = TRANSPORTS.map(|_| Latencies::new()).to_vec();
        }
        self
    }

    /// How many subscribers this thread has.
    pub(super) fn subscribers(&self) -> usize {
        self.checker.subscribers()
    }

    /// Hands over what was found.
    pub(crate) fn finish(self) -> Heard {
        Heard {
            checker: self.checker,
            layout: self.layout,
            seat: self.seat,
            lateness: self.lateness,
            timeline: self.timeline,
            sent: self.publishing.map(Publishing::finish),
        }
    }

    /// The subscribers of a connection.
    fn subscribers_of(&self, link: usize) -> Range<usize> {
        let seats = self.layout.seats_of(self.connection + link);
        seats.start - self.seat..seats.end - self.seat
    }

    /// Which transport of [`TRANSPORTS`] a subscriber has in a mixed run: all in turn within its topic.
    fn transport_of(&self, subscriber: usize) -> usize {
        (self.seat + subscriber) / self.layout.topics.len() % TRANSPORTS.len()
    }

    fn text(&mut self, link: usize, text: &[u8], now_ns: u64) {
        let subscribers = self.subscribers_of(link);
        let subscriber = if subscribers.len() == 1 {
            Some(subscribers.start)
        } else {
            let name = scan_topic(text);
            subscribers.clone().find(|one| name == Some(self.layout.name_of(self.seat + one).as_bytes()))
        };
        let scanned = subscriber.and_then(|one| {
            let (position, data) = scan_message(text, self.layout.name_of(self.seat + one))?;
            Some((one, position, data))
        });
        match scanned {
            Some((one, position, data)) if self.take(one, position, data, now_ns) => {}
            _ => self.look_closer(subscribers, text, now_ns),
        }
    }

    /// False if the payload is not one of ours, byte for byte.
    fn take(&mut self, subscriber: usize, position: Position, data: &[u8], now_ns: u64) -> bool {
        let Some(stamp) = read_payload(data, self.payload_bytes) else {
            return false;
        };
        if self.checker.delivered(subscriber, stamp, position) {
            self.arrived(subscriber, stamp, now_ns);
        }
        true
    }

    /// A publication that a profile recognised: it has no position, and no second spelling.
    fn recognised(&mut self, link: usize, topic: Option<&[u8]>, payload: &[u8], now_ns: u64) {
        let subscribers = self.subscribers_of(link);
        let layout = Arc::clone(&self.layout);
        let first = subscribers.start;
        let is_own = |one: &usize| topic.is_none_or(|topic| topic == layout.name_of(self.seat + one).as_bytes());
        let Some(subscriber) = subscribers.clone().find(is_own) else {
            self.checker.faults.misdelivered += 1;
            let topic = String::from_utf8_lossy(topic.unwrap_or_default());
            let own = layout.name_of(self.seat + first);
            return self.say(&format!("subscriber {first} of {own} got a publication of"), &topic);
        };
        if let Some(stamp) = read_payload(payload, self.payload_bytes) {
            if self.checker.delivered_without_position(subscriber, stamp) {
                self.arrived(subscriber, stamp, now_ns);
            }
        } else {
            self.checker.faults.mangled += 1;
            let shown = String::from_utf8_lossy(payload);
            self.say(&format!("subscriber {subscriber} got other bytes than published:"), &shown);
        }
    }

    /// A fresh delivery.
    fn arrived(&mut self, subscriber: usize, stamp: Stamp, now_ns: u64) {
        self.delivered += 1;
        let late_ns = (self.timed && is_measured(stamp.publication)).then(|| now_ns.saturating_sub(stamp.intended_ns));
        if let Some(shares) = &mut self.shares {
            shares.arrive(self.layout.topic_of(self.seat + subscriber), stamp, (now_ns, self.timed));
        } else {
            let Some(arrival) = self.flight.arrive(stamp.publication, now_ns) else {
                return;
            };
            self.completed |= arrival.nth == arrival.of;
            if let Some(late_ns) = late_ns {
                self.record(arrival, late_ns, now_ns);
            }
        }
        if let Some(late_ns) = late_ns {
            self.lateness.all.record(late_ns);
            if self.mixed {
                let transport = self.transport_of(subscriber);
                self.lateness.by_transport[transport].record(late_ns);
            }
        }
    }

    /// Notes how late a publication was with its first, median or last subscriber.
    fn record(&mut self, arrival: Arrival, late_ns: u64, now_ns: u64) {
        if arrival.nth == 1 {
            self.lateness.first.record(late_ns);
        }
        if arrival.nth == arrival.of.div_ceil(2) {
            self.lateness.median.record(late_ns);
        }
        if arrival.nth == arrival.of {
            self.lateness.last.record(late_ns);
            self.timeline.note(self.flight.since_measured(now_ns), late_ns);
        }
    }

    /// Another spelling of a message, or a fault.
    #[cold]
    fn look_closer(&mut self, subscribers: Range<usize>, text: &[u8], now_ns: u64) {
        let shown = String::from_utf8_lossy(text);
        let layout = Arc::clone(&self.layout);
        let own = |subscriber: &usize| layout.name_of(self.seat + subscriber);
        match parse_reply(&shown) {
            Reply::Message { topic, position, data } => {
                let Some(subscriber) = subscribers.clone().find(|one| own(one) == topic) else {
                    let names: Vec<&str> = subscribers.clone().map(|one| own(&one)).collect();
                    self.checker.faults.misdelivered += 1;
                    let who = subscribers.start;
                    return self.say(&format!("subscriber {who} of {} got a publication of", names.join(", ")), topic);
                };
                if !self.take(subscriber, position, data, now_ns) {
                    self.checker.faults.mangled += 1;
                    self.say(&format!("subscriber {subscriber} got other bytes than published:"), &shown);
                }
            }
            Reply::Error(error) => {
                self.checker.faults.errors += 1;
                self.say("the server answered", error);
            }
            Reply::Ack(_) | Reply::Welcome | Reply::Gap { .. } | Reply::Unexpected(_) => self.unexpected(&shown),
        }
    }

    fn unexpected(&mut self, shown: &str) {
        self.checker.faults.unexpected += 1;
        self.say("nobody asked for", shown);
    }

    fn say(&mut self, what: &str, shown: &str) {
        let excerpt: String = shown.chars().take(160).collect();
        self.checker.faults.say(|| format!("{what} {excerpt:?}"));
    }
}

impl Scene for Listening {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        let live = |seat| Subscription::live(self.layout.name_of(seat).to_owned());
        self.layout.seats_of(self.connection + link).map(live).collect()
    }

    fn transport(&self, link: usize) -> Option<Transport> {
        let subscriber = self.subscribers_of(link).next().filter(|_| self.mixed)?;
        Some(TRANSPORTS[self.transport_of(subscriber)])
    }

    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64) {
        match message {
            Message::Text(text) if link >= self.publishers => self.text(link, text, now_ns),
            Message::Text(text) => {
                let shown = String::from_utf8_lossy(text);
                if let Reply::Error(error) = parse_reply(&shown) {
                    self.checker.faults.errors += 1;
                    self.say("a publisher was answered", error);
                } else {
                    // Publishers subscribe to nothing and send no ids.
                    self.unexpected(&shown);
                }
            }
            Message::Acked(_) => {}
            Message::Delivered { topic, payload } if link >= self.publishers => {
                self.recognised(link, topic, payload, now_ns);
            }
            Message::Binary(bytes) | Message::Delivered { payload: bytes, .. } => {
                self.unexpected(&String::from_utf8_lossy(bytes));
            }
        }
    }

    fn closed(&mut self, link: usize, why: &str) {
        self.checker.faults.closed += 1;
        let Faults { closed, .. } = self.checker.faults;
        if closed <= 3 {
            self.say(&format!("connection {link} ended:"), why);
        }
    }

    fn turn(&mut self, links: &mut [Link], now_ns: u64) -> Option<u64> {
        if self.delivered > 0 {
            self.flight.count_deliveries(std::mem::take(&mut self.delivered));
        }
        if let Some(shares) = &mut self.shares {
            shares.flush();
        }
        if std::mem::take(&mut self.completed) {
            let (own, all) = &self.publishers_elsewhere;
            for (_, waker) in all.get().into_iter().flatten().enumerate().filter(|(thread, _)| thread != own) {
                // Should it fail, the publisher still looks by itself after its longest sleep.
                let _ = waker.wake();
            }
        }
        self.publishing.as_mut()?.turn(links, now_ns)
    }
}

#[cfg(test)]
mod tests;
