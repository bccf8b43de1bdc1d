//! The storm over one thread's subscribers: resets them at random, lets them come back with their last position, and times how
//! long each takes to have caught up. `storm` puts one around each thread's `Listening`, which goes on judging all of them.
//!
//! ```text
//! live --reset--> away --its time is over--> connecting --ack, recovered--> replaying --all up to the ack's position--> live
//!        any of them but away --reset--> away
//! ```
//! Invariants: `since` is the position that the subscriber had when it was cut off; positions go on across connections.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::listening::{Heard, Listening};
use super::storm::Shape;
use crate::client::{Link, Message, Order, Scene, Subscription};
use crate::envelope::Ack;
use crate::flight::Flight;
use crate::stats::Latencies;

/// How often another subscriber is picked when the first one is away already.
const PICKS_MAX: usize = 8;

/// How subscribers came back.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Recoveries {
    /// Connections reset.
    pub(crate) resets: u64,
    /// When all were cut off at once: from then to each one's ack.
    pub(crate) since_all: Latencies,
    /// Publications that came by replay.
    pub(crate) replayed: u64,
    /// From the start of the connect to the ack.
    pub(crate) to_ack: Latencies,
    /// From the start of the connect to the last replayed publication; to the ack if there was none.
    pub(crate) to_recovered: Latencies,
}

impl Recoveries {
    /// None yet.
    pub(crate) fn new() -> Self {
        let [since_all, to_ack, to_recovered] = std::array::from_fn(|_| Latencies::new());
        Self { resets: 0, since_all, replayed: 0, to_ack, to_recovered }
    }

    /// Those of several threads.
    pub(crate) fn of_all(threads: &[Self]) -> Self {
        let mut all = Self::new();
        threads.iter().for_each(|thread| all.merge(thread));
        all
    }

    /// Adds another thread's.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.resets += other.resets;
        self.replayed += other.replayed;
        self.since_all.merge(&other.since_all);
        self.to_ack.merge(&other.to_ack);
        self.to_recovered.merge(&other.to_recovered);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It has no connection.
    Away,
    /// Its first connection, or a later one before the ack, begun then, in nanoseconds.
    Connecting(u64),
    /// Publications up to the offset `until` are a replay.
    Replaying { began_ns: u64, until: u64 },
    /// What comes is live.
    Live,
}

/// One thread's subscribers in the storm.
pub(crate) struct Weather {
    listening: Listening,
    flight: Arc<Flight>,
    /// Of each subscriber of this thread.
    phases: Vec<Phase>,
    /// (when it comes back, in nanoseconds; subscriber) of those away that were not ordered back yet.
    away: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the next one is cut off, in nanoseconds; `None` while there is no storm.
    reset_next_ns: Option<u64>,
    /// Mean time between two resets in this thread, in nanoseconds.
    gap_ns: f64,
    /// Everybody is cut off in the first moment, and comes back at once.
    at_once: bool,
    /// When that was, in nanoseconds.
    struck_ns: Option<u64>,
    /// What becomes of them then, one after the other.
    orders: VecDeque<Order>,
    away_ns_max: u64,
    random: u64,
    recoveries: Recoveries,
}

impl Weather {
    /// Over the subscribers of `listening`.
    pub(crate) fn new(listening: Listening, flight: &Arc<Flight>, shape: &Shape, seed: u64) -> Self {
        let subscribers = listening.subscribers();
        Self {
            listening,
            flight: Arc::clone(flight),
            phases: vec![Phase::Away; subscribers],
            away: BinaryHeap::new(),
            reset_next_ns: None,
            gap_ns: 1e9 / (shape.share_per_second * subscribers.max(1) as f64),
            at_once: shape.fanout.at_once,
            struck_ns: None,
            orders: VecDeque::new(),
            away_ns_max: shape.away_ns_max,
            random: seed,
            recoveries: Recoveries::new(),
        }
    }

    /// The start of a thread's random numbers.
    pub(crate) fn seed(run: u64, thread: usize) -> u64 {
        run.rotate_left(7) ^ (thread as u64) << 40
    }

    /// Hands over what was found.
    pub(crate) fn finish(self) -> (Heard, Recoveries) {
        (self.listening.finish(), self.recoveries)
    }

    fn acked(&mut self, subscriber: usize, ack: Ack, now_ns: u64) {
        let Phase::Connecting(began_ns) = self.phases[subscriber] else {
            return self.not_recovered(subscriber, ack, "was acked twice");
        };
        let checker = &mut self.listening.checker;
        self.phases[subscriber] = Phase::Live;
        match (checker.last(subscriber), ack.position) {
            (_, None) => self.not_recovered(subscriber, ack, "was not told where live begins"),
            (None, Some(position)) => checker.begins(subscriber, position),
            (Some(since), Some(position)) => {
                let follows = position.epoch == since.epoch && position.offset >= since.offset;
                if ack.recovered != Some(true) || !follows {
                    return self.not_recovered(subscriber, ack, &format!("came back with since {since}"));
                }
                self.recoveries.to_ack.record(now_ns.saturating_sub(began_ns));
                if let Some(struck_ns) = self.struck_ns {
                    self.recoveries.since_all.record(now_ns.saturating_sub(struck_ns));
                }
                self.phases[subscriber] = Phase::Replaying { began_ns, until: position.offset };
                self.caught_up(subscriber, now_ns);
            }
        }
    }

    fn not_recovered(&mut self, subscriber: usize, ack: Ack, what: &str) {
        let faults = &mut self.listening.checker.faults;
        faults.not_recovered += 1;
        faults.say(|| {
            let recovered = ack.recovered.map_or("nothing".to_owned(), |recovered| recovered.to_string());
            let position = ack.position.map_or("nowhere".to_owned(), |position| position.to_string());
            format!("subscriber {subscriber} {what}: `recovered` was {recovered}, and live begins after {position}")
        });
    }

    /// Ends a replay that has brought all it had to.
    fn caught_up(&mut self, subscriber: usize, now_ns: u64) {
        let has = self.listening.checker.last(subscriber).map_or(0, |position| position.offset);
        if let Phase::Replaying { began_ns, until } = self.phases[subscriber]
            && has >= until
        {
            self.recoveries.to_recovered.record(now_ns.saturating_sub(began_ns));
            self.phases[subscriber] = Phase::Live;
        }
    }

    fn publication(&mut self, link: usize, subscriber: usize, message: Message<'_>, now_ns: u64) {
        if !matches!(self.phases[subscriber], Phase::Replaying { .. }) {
            return self.listening.message(link, message, now_ns);
        }
        self.listening.timed = false;
        self.listening.message(link, message, now_ns);
        self.listening.timed = true;
        self.recoveries.replayed += 1;
        self.caught_up(subscriber, now_ns);
    }

    /// Cuts everybody off, once.
    fn strike_all(&mut self, now_ns: u64) {
        let links = self.listening.publishers..self.listening.publishers + self.phases.len();
        self.orders.extend(links.clone().map(Order::Reset));
        self.orders.extend(links.map(Order::Open));
        self.phases.fill(Phase::Away);
        self.recoveries.resets += self.phases.len() as u64;
        self.struck_ns = Some(now_ns);
    }

    /// Cuts one off, if it is time to.
    fn strike(&mut self, now_ns: u64) -> Option<Order> {
        let due_ns = self.reset_next_ns?;
        if due_ns > now_ns || self.phases.is_empty() {
            return None;
        }
        // The gaps of a Poisson process: resets come at random moments, and sometimes many at once.
        let gap_ns = -(1.0 - self.next_unit()).ln() * self.gap_ns;
        self.reset_next_ns = Some(due_ns + gap_ns as u64);
        let picked = (0..PICKS_MAX).find_map(|_| {
            let subscriber = (self.next_unit() * self.phases.len() as f64) as usize;
            (self.phases[subscriber] != Phase::Away).then_some(subscriber)
        })?;
        self.phases[picked] = Phase::Away;
        self.recoveries.resets += 1;
        let away_ns = (self.next_unit() * self.away_ns_max as f64) as u64;
        self.away.push(Reverse((now_ns + away_ns, picked)));
        Some(Order::Reset(self.listening.publishers + picked))
    }

    /// Lets one come back, if its time is over.
    fn call_back(&mut self, now_ns: u64) -> Option<Order> {
        let Reverse((due_ns, subscriber)) = *self.away.peek()?;
        if due_ns > now_ns {
            return None;
        }
        self.away.pop();
        Some(Order::Open(self.listening.publishers + subscriber))
    }

    /// From 0 inclusive to 1 exclusive; SplitMix64.
    fn next_unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Scene for Weather {
    fn subscriptions(&mut self, link: usize) -> Vec<Subscription> {
        let mut subscriptions = self.listening.subscriptions(link);
        if let Some(subscriber) = link.checked_sub(self.listening.publishers) {
            for subscription in &mut subscriptions {
                subscription.since = self.listening.checker.last(subscriber);
            }
        }
        subscriptions
    }

    fn opened(&mut self, link: usize, now_ns: u64) {
        if let Some(subscriber) = link.checked_sub(self.listening.publishers) {
            self.phases[subscriber] = Phase::Connecting(now_ns);
        }
    }

    fn message(&mut self, link: usize, message: Message<'_>, now_ns: u64) {
        match (link.checked_sub(self.listening.publishers), message) {
            (Some(subscriber), Message::Acked(ack)) => self.acked(subscriber, ack, now_ns),
            (Some(subscriber), message) => self.publication(link, subscriber, message, now_ns),
            (None, message) => self.listening.message(link, message, now_ns),
        }
    }

    fn closed(&mut self, link: usize, why: &str) {
        self.listening.closed(link, why);
    }

    fn turn(&mut self, links: &mut [Link], now_ns: u64) -> Option<u64> {
        if self.at_once && self.struck_ns.is_none() && self.flight.is_measuring() {
            self.strike_all(now_ns);
        }
        self.reset_next_ns = match (self.flight.is_measuring(), self.reset_next_ns) {
            (true, None) => Some(now_ns),
            (true, due) => due,
            (false, _) => None,
        };
        let strike_ns = self.reset_next_ns.filter(|_| !self.at_once);
        let back_ns = self.away.peek().map(|Reverse((due_ns, _))| *due_ns);
        let publish_ns = self.listening.turn(links, now_ns);
        [publish_ns, strike_ns, back_ns].into_iter().flatten().min()
    }

    fn order(&mut self, now_ns: u64) -> Option<Order> {
        if self.at_once {
            return self.orders.pop_front();
        }
        self.call_back(now_ns).or_else(|| self.strike(now_ns))
    }
}
