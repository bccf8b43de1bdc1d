//! The receiving half of a fan-out: judges every message of one thread's subscribers and records how late it came.
//! One per client thread; the first thread's also publishes.
//! Invariants: a message counts as a delivery only when its bytes, its topic, its sequence and its position are right or the
//! fault is counted; the fast scan and the slow parse lead to the same judgement.

use std::sync::Arc;

use mio::Waker;

use super::publishing::{Publishing, Sent};
use super::timeline::Timeline;
use crate::client::{Link, Message, Scene, Subscription};
use crate::envelope::{Position, Reply, Stamp, parse_reply, read_payload, scan_message};
use crate::flight::Flight;
use crate::stats::Latencies;
use crate::verify::{Checker, Faults};

/// Distributions of one fan-out, all from the intended time of the publication.
#[derive(Clone)]
pub(crate) struct Lateness {
    /// Every delivery.
    pub(crate) all: Latencies,
    /// Per publication, its first subscriber.
    pub(crate) first: Latencies,
    /// Per publication, the subscriber in the middle.
    pub(crate) median: Latencies,
    /// Per publication, its last subscriber.
    pub(crate) last: Latencies,
}

impl Lateness {
    /// Empty.
    pub(crate) fn new() -> Self {
        let [all, first, median, last] = std::array::from_fn(|_| Latencies::new());
        Self { all, first, median, last }
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        self.first.merge(&other.first);
        self.median.merge(&other.median);
        self.last.merge(&other.last);
    }
}

/// One thread's subscribers: numbers `base..`, connections `publishers..`.
pub(crate) struct Listening {
    pub(super) topics: Arc<Vec<String>>,
    flight: Arc<Flight>,
    publishing: Option<Publishing>,
    /// Connections of this thread that publish; the others subscribe.
    pub(super) publishers: usize,
    /// Number of the first subscriber of this thread; subscriber n has topic n % topics.
    base: usize,
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
    /// Wakes the thread that publishes, if that is another one: it may wait for a completion.
    publisher_waker: Option<Arc<Waker>>,
}

/// What a thread leaves behind.
pub(crate) struct Heard {
    /// Its checker, to be finished with what was sent.
    pub(crate) checker: Checker,
    /// Number of its first subscriber.
    pub(crate) base: usize,
    /// How late deliveries were.
    pub(crate) lateness: Lateness,
    /// How late they were with the last subscriber, over time.
    pub(crate) timeline: Timeline,
    /// From the thread that published.
    pub(crate) sent: Option<Sent>,
}

impl Listening {
    /// For a thread with so many subscribers. `all_publishers` counts those of the whole run.
    pub(crate) fn new(
        topics: Arc<Vec<String>>,
        flight: Arc<Flight>,
        publishing: Option<Publishing>,
        all_publishers: usize,
        subscribers: std::ops::Range<usize>,
        payload_bytes: usize,
    ) -> Self {
        let mut checker = Checker::new(all_publishers);
        for _ in subscribers.clone() {
            checker.add();
        }
        Self {
            topics,
            flight,
            publishers: if publishing.is_some() { all_publishers } else { 0 },
            publishing,
            base: subscribers.start,
            payload_bytes,
            checker,
            lateness: Lateness::new(),
            timeline: Timeline::new(),
            delivered: 0,
            timed: true,
            completed: false,
            publisher_waker: None,
        }
    }

    /// Tells the thread that publishes about completions.
    pub(crate) fn wakes(mut self, publisher: Option<Arc<Waker>>) -> Self {
        self.publisher_waker = publisher;
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
            base: self.base,
            lateness: self.lateness,
            timeline: self.timeline,
            sent: self.publishing.map(Publishing::finish),
        }
    }

    fn topic_of(&self, subscriber: usize) -> usize {
        (self.base + subscriber) % self.topics.len()
    }

    fn text(&mut self, subscriber: usize, text: &[u8], now_ns: u64) {
        let topic = self.topic_of(subscriber);
        match scan_message(text, &self.topics[topic]) {
            Some((position, data)) if self.take(subscriber, position, data, now_ns) => {}
            _ => self.look_closer(subscriber, text, now_ns),
        }
    }

    /// False if the payload is not one of ours, byte for byte.
    fn take(&mut self, subscriber: usize, position: Position, data: &[u8], now_ns: u64) -> bool {
        let Some(stamp) = read_payload(data, self.payload_bytes) else {
            return false;
        };
        if self.checker.delivered(subscriber, stamp, position) {
            self.arrived(stamp, now_ns);
        }
        true
    }

    /// A publication that a profile recognised: it has no position, and no second spelling.
    fn recognised(&mut self, subscriber: usize, topic: Option<&[u8]>, payload: &[u8], now_ns: u64) {
        let own = Arc::clone(&self.topics);
        let own = &own[self.topic_of(subscriber)];
        if let Some(topic) = topic
            && topic != own.as_bytes()
        {
            self.checker.faults.misdelivered += 1;
            let topic = String::from_utf8_lossy(topic);
            self.say(&format!("subscriber {subscriber} of {own} got a publication of"), &topic);
        } else if let Some(stamp) = read_payload(payload, self.payload_bytes) {
            if self.checker.delivered_without_position(subscriber, stamp) {
                self.arrived(stamp, now_ns);
            }
        } else {
            self.checker.faults.mangled += 1;
            let shown = String::from_utf8_lossy(payload);
            self.say(&format!("subscriber {subscriber} got other bytes than published:"), &shown);
        }
    }

    /// A fresh delivery.
    fn arrived(&mut self, stamp: Stamp, now_ns: u64) {
        self.delivered += 1;
        let Some(arrival) = self.flight.arrive(stamp.publication, now_ns) else {
            return;
        };
        self.completed |= arrival.nth == arrival.of;
        if self.timed && self.flight.is_measured(stamp.publication) {
            let late_ns = now_ns.saturating_sub(stamp.intended_ns);
            self.lateness.all.record(late_ns);
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
    }

    /// Another spelling of a message, or a fault.
    #[cold]
    fn look_closer(&mut self, subscriber: usize, text: &[u8], now_ns: u64) {
        let shown = String::from_utf8_lossy(text);
        let own = Arc::clone(&self.topics);
        let own = &own[self.topic_of(subscriber)];
        match parse_reply(&shown) {
            Reply::Message { topic, .. } if topic != own => {
                self.checker.faults.misdelivered += 1;
                self.say(&format!("subscriber {subscriber} of {own} got a publication of"), topic);
            }
            Reply::Message { position, data, .. } => {
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
        match link.checked_sub(self.publishers) {
            Some(subscriber) => vec![Subscription::live(self.topics[self.topic_of(subscriber)].clone())],
            None => Vec::new(),
        }
    }

    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64) {
        match (link.checked_sub(self.publishers), message) {
            (Some(subscriber), Message::Text(text)) => self.text(subscriber, text, now_ns),
            (None, Message::Text(text)) => {
                let shown = String::from_utf8_lossy(text);
                if let Reply::Error(error) = parse_reply(&shown) {
                    self.checker.faults.errors += 1;
                    self.say("a publisher was answered", error);
                } else {
                    // Publishers subscribe to nothing and send no ids.
                    self.unexpected(&shown);
                }
            }
            (_, Message::Acked(_)) => {}
            (Some(subscriber), Message::Delivered { topic, payload }) => {
                self.recognised(subscriber, topic, payload, now_ns);
            }
            (None, Message::Delivered { payload, .. }) => self.unexpected(&String::from_utf8_lossy(payload)),
            (_, Message::Binary(bytes)) => self.unexpected(&String::from_utf8_lossy(bytes)),
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
        if std::mem::take(&mut self.completed)
            && let Some(waker) = &self.publisher_waker
        {
            // Should it fail, the publisher still looks by itself after its longest sleep.
            let _ = waker.wake();
        }
        self.publishing.as_mut()?.turn(links, now_ns)
    }
}

#[cfg(test)]
mod tests;
