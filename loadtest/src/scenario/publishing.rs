//! Sends publications by a schedule: open loop at a rate, or closed loop with so many under way.
//! Lives in the scene of the first client thread, which calls `turn` once per turn of its loop.
//! Invariants: a publication's intended time is fixed by the schedule and never moved by a slow server; all publications that
//! are due in one turn leave each publisher in one write.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crate::client::{Crew, Link};
use crate::envelope::{Stamp, write_payload};
use crate::flight::{Flight, UNDER_WAY_MAX};
use crate::stats::Latencies;
use crate::target::Target;

/// When the next publication is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Open loop: so many per second in all, whatever the server does.
    Rate(f64),
    /// Closed loop: the next one when fewer than so many are under way.
    UnderWay(u32),
}

/// A stretch of publishing: ends by number or by time, whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage {
    /// When to send.
    pub(crate) pace: Pace,
    /// At most so many publications.
    pub(crate) publications_max: u64,
    /// At most so long, in nanoseconds.
    pub(crate) length_ns: u64,
    /// Whether latencies of this stage count.
    pub(crate) measured: bool,
}

/// The sending half of a run.
pub(crate) struct Publishing {
    crew: Arc<Crew>,
    flight: Arc<Flight>,
    topics: Arc<Vec<String>>,
    /// Subscribers of each topic.
    expected: Vec<u32>,
    publishers: usize,
    payload_bytes: usize,
    stages: Receiver<Stage>,
    stage: Option<Running>,
    /// Number of the next publication.
    number: u32,
    /// Next sequence of each publisher in each topic: `[topic * publishers + publisher]`.
    sequences: Vec<u32>,
    /// How late publications left, in nanoseconds: the load generator's own fault.
    late: Latencies,
    /// `conflate` keys that publications take turns with; none if 0.
    keys: u32,
    /// How the broker is spoken to, if not as wirefan.
    foreign: Option<Target>,
    command: Vec<u8>,
    payload: Vec<u8>,
}

struct Running {
    stage: Stage,
    start_ns: u64,
    sent: u64,
}

impl Running {
    fn is_over(&self, now_ns: u64) -> bool {
        let Stage { publications_max, length_ns, .. } = self.stage;
        // An open loop sends all whose intended time lies within the stage, even if it is late with them.
        let by_time = match self.stage.pace {
            Pace::Rate(_) => self.next_ns() - self.start_ns >= length_ns,
            Pace::UnderWay(_) => now_ns - self.start_ns >= length_ns,
        };
        self.sent >= publications_max || by_time
    }

    /// The intended time of the next publication in an open loop.
    fn next_ns(&self) -> u64 {
        match self.stage.pace {
            Pace::Rate(rate) => self.start_ns + (self.sent as f64 * 1e9 / rate) as u64,
            Pace::UnderWay(_) => 0,
        }
    }
}

/// What the sending half leaves behind.
pub(crate) struct Sent {
    /// Publications of each publisher to each topic: `[topic * publishers + publisher]`.
    pub(crate) sequences: Vec<u32>,
    /// How late publications left.
    pub(crate) late: Latencies,
}

impl Publishing {
    /// Publishers are the first `publishers` connections of the thread.
    pub(crate) fn new(
        crew: Arc<Crew>,
        flight: Arc<Flight>,
        topics: Arc<Vec<String>>,
        expected: Vec<u32>,
        publishers: usize,
        payload_bytes: usize,
        stages: Receiver<Stage>,
    ) -> Self {
        let sequences = vec![0; topics.len() * publishers];
        Self {
            crew,
            flight,
            topics,
            expected,
            publishers,
            payload_bytes,
            stages,
            stage: None,
            number: 0,
            sequences,
            late: Latencies::new(),
            keys: 0,
            foreign: None,
            command: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// Gives publication n the `conflate` key n modulo `keys`.
    pub(crate) fn conflating(mut self, keys: u32) -> Self {
        self.keys = keys;
        self
    }

    /// Speaks as the target's profile says, if it has one.
    pub(crate) fn speaking(mut self, target: &Target) -> Self {
        self.foreign = target.profile.is_some().then(|| target.clone());
        self
    }

    /// What was sent.
    pub(crate) fn finish(self) -> Sent {
        Sent { sequences: self.sequences, late: self.late }
    }

    /// Sends what is due. Answers when the next publication is.
    pub(crate) fn turn(&mut self, links: &mut [Link], now_ns: u64) -> Option<u64> {
        if self.stage.is_none() {
            self.begin(now_ns);
        }
        while let Some(running) = &self.stage {
            if running.is_over(now_ns) {
                self.stage = None;
                self.flight.set_idle(true);
            } else if !self.is_due(running, now_ns) || !self.launch(links, now_ns) {
                break;
            }
        }
        for link in links.iter_mut().take(self.publishers) {
            // A dead publisher is told by its own read.
            let _ = link.flush();
        }
        let running = self.stage.as_ref()?;
        match running.stage.pace {
            // Held back by the server: look again soon, without spinning.
            Pace::Rate(_) if running.next_ns() <= now_ns => Some(now_ns + 1_000_000),
            Pace::Rate(_) => Some(running.next_ns()),
            Pace::UnderWay(_) => Some(running.start_ns + running.stage.length_ns),
        }
    }

    fn begin(&mut self, now_ns: u64) {
        let Ok(stage) = self.stages.try_recv() else {
            return;
        };
        if stage.measured {
            self.flight.measure_from(self.number, now_ns);
        }
        self.stage = Some(Running { stage, start_ns: now_ns, sent: 0 });
    }

    fn is_due(&self, running: &Running, now_ns: u64) -> bool {
        match running.stage.pace {
            Pace::Rate(_) => running.next_ns() <= now_ns && self.flight.under_way() < UNDER_WAY_MAX as u64 / 2,
            Pace::UnderWay(most) => self.flight.under_way() < u64::from(most),
        }
    }

    /// Queues one publication. False if its publisher or its slot is not free.
    fn launch(&mut self, links: &mut [Link], now_ns: u64) -> bool {
        let topic = self.number as usize % self.topics.len();
        let publisher = self.number as usize / self.topics.len() % self.publishers;
        let link = &mut links[publisher];
        if link.is_backed_up() || !self.flight.launch(self.number, self.expected[topic]) {
            return false;
        }
        let Some(running) = &mut self.stage else {
            return false;
        };
        let intended_ns = match running.stage.pace {
            Pace::Rate(_) => running.next_ns(),
            Pace::UnderWay(_) => now_ns,
        };
        running.sent += 1;
        if running.stage.measured {
            self.late.record(self.crew.now_ns().saturating_sub(intended_ns));
        }
        let sequence = &mut self.sequences[topic * self.publishers + publisher];
        let stamp = Stamp { publisher: publisher as u16, sequence: *sequence, publication: self.number, intended_ns };
        *sequence += 1;
        self.number += 1;
        self.command.clear();
        if let Some((target, profile)) =
            self.foreign.as_ref().and_then(|target| target.profile.as_ref().map(|profile| (target, profile)))
        {
            self.payload.clear();
            write_payload(&mut self.payload, stamp, self.payload_bytes);
            let topic = &self.topics[topic];
            profile.publication(&mut self.command, &target.host(), &target.path, topic, &self.payload);
            link.queue_publication(&self.command, profile.binary);
            return true;
        }
        self.command.extend_from_slice(b"{\"op\":\"publish\",\"topic\":\"");
        self.command.extend_from_slice(self.topics[topic].as_bytes());
        self.command.push(b'"');
        if self.keys > 0 {
            let key = (self.number - 1) % self.keys;
            self.command.extend_from_slice(format!(",\"conflate\":\"{key}\"").as_bytes());
        }
        self.command.extend_from_slice(b",\"data\":");
        write_payload(&mut self.command, stamp, self.payload_bytes);
        self.command.push(b'}');
        link.queue_text(&self.command);
        true
    }
}
