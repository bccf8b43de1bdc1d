//! Sends publications by a schedule: open loop at a rate, or closed loop with so many under way.
//! Lives in the scene of a client thread with publishers, which calls `turn` once per turn of its loop.
//! Invariants: a publication's intended time is fixed by the schedule and never moved by a slow server; all publications that
//! are due in one turn leave each publisher in one write.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::client::{Crew, Link};
use crate::envelope::{Stamp, write_payload};
use crate::flight::{Flight, UNDER_WAY_MAX};
use crate::stats::Latencies;
use crate::target::Target;

/// When the next publication is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Pace {
    /// Open loop: so many per second in all, whatever the server does.
    Rate(f64),
    /// Closed loop: the next one when fewer than so many are under way.
    UnderWay(u32),
}

impl Pace {
    /// In words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Rate(rate) => format!("open loop: {rate} publications per second, whatever the server does"),
            Self::UnderWay(1) => "closed loop: the next publication when everybody has the last".into(),
            Self::UnderWay(most) => format!("closed loop: always {most} publications under way"),
        }
    }
}

/// A stretch of publishing: ends by number or by time, whichever comes first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
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
    layout: Arc<Layout>,
    plan: Plan,
    payload_bytes: usize,
    stages: Receiver<Stage>,
    stage: Option<Running>,
    /// Number of the next publication, once its turn has come.
    number: Option<u32>,
    /// Publications launched by this thread.
    launched: u64,
    /// Next sequence of each publisher of each topic, as the layout counts them.
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

/// Who publishes in turn.
enum Plan {
    /// The first connections of the thread, so many, to all topics.
    Apart(usize),
    /// So many connections of the thread, each where it sits: (connection of the thread, seat).
    Seats(usize, Vec<(u32, u32)>),
}

/// One publication's sender.
struct Turn {
    link: usize,
    topic: usize,
    /// Within the topic.
    publisher: usize,
}

impl Stage {
    /// What one of so many processes that publish has to do of it; what is under way is counted by each of them alone.
    pub(crate) fn of_process(self, process: usize, processes: usize) -> Self {
        let own = self.part(process, processes);
        let Pace::UnderWay(most) = self.pace else {
            return own;
        };
        let (process, of, most) = (process as u64, processes as u64, u64::from(most));
        Self { pace: Pace::UnderWay((most / of + u64::from(process < most % of)) as u32), ..own }
    }

    /// What one of so many threads has to do of it.
    pub(crate) fn part(self, thread: usize, threads: usize) -> Self {
        let (thread, of) = (thread as u64, threads as u64);
        let most = self.publications_max;
        let publications_max = most / of + u64::from(thread < most % of);
        match self.pace {
            Pace::Rate(rate) => Self { pace: Pace::Rate(rate / of as f64), publications_max, ..self },
            // What is under way is counted over all threads.
            Pace::UnderWay(_) => Self { publications_max, ..self },
        }
    }
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
    /// Publications of each publisher of each topic, as the layout counts them.
    pub(crate) sequences: Vec<u32>,
    /// How late publications left.
    pub(crate) late: Latencies,
}

impl Publishing {
    /// For those of `connections`, a thread's part of the layout, that publish.
    pub(crate) fn new(
        crew: Arc<Crew>,
        flight: Arc<Flight>,
        layout: Arc<Layout>,
        connections: Range<usize>,
        payload_bytes: usize,
        stages: Receiver<Stage>,
    ) -> Self {
        let plan = if layout.is_rooms() { Plan::seats(&layout, connections) } else { Plan::Apart(layout.apart) };
        Self {
            crew,
            flight,
            plan,
            payload_bytes,
            stages,
            stage: None,
            number: None,
            launched: 0,
            sequences: vec![0; layout.publishers_of_all()],
            layout,
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
                self.number = None;
                self.flight.end_stage();
            } else if !self.is_due(running, now_ns) || !self.launch(links, now_ns) {
                break;
            }
        }
        for link in links.iter_mut().take(self.plan.links()) {
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
            self.flight.measure(now_ns);
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
        let Turn { link, topic, publisher } = self.plan.turn(self.launched, &self.layout);
        let link = &mut links[link];
        if link.is_backed_up() {
            return false;
        }
        let number = *self.number.get_or_insert_with(|| self.flight.number());
        if !self.flight.launch(number, self.layout.members(topic)) {
            return false;
        }
        self.number = None;
        self.launched += 1;
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
        let sequence = &mut self.sequences[self.layout.publisher(topic, publisher)];
        let stamp = Stamp { publisher: publisher as u16, sequence: *sequence, publication: number, intended_ns };
        *sequence += 1;
        self.command.clear();
        if let Some((target, profile)) =
            self.foreign.as_ref().and_then(|target| target.profile.as_ref().map(|profile| (target, profile)))
        {
            self.payload.clear();
            write_payload(&mut self.payload, stamp, self.payload_bytes);
            let topic = &self.layout.topics[topic];
            profile.publication(&mut self.command, &target.host(), &target.path, topic, &self.payload);
            link.queue_publication(&self.command, profile.binary);
            return true;
        }
        self.command.extend_from_slice(b"{\"op\":\"publish\",\"topic\":\"");
        self.command.extend_from_slice(self.layout.topics[topic].as_bytes());
        self.command.push(b'"');
        if self.keys > 0 {
            let key = number % self.keys;
            self.command.extend_from_slice(format!(",\"conflate\":\"{key}\"").as_bytes());
        }
        self.command.extend_from_slice(b",\"data\":");
        write_payload(&mut self.command, stamp, self.payload_bytes);
        self.command.push(b'}');
        link.queue_text(&self.command);
        true
    }
}

impl Plan {
    /// Round all connections before one of them publishes to its next topic.
    fn seats(layout: &Layout, connections: Range<usize>) -> Self {
        let mut seats = Vec::new();
        let most = connections.clone().map(|connection| layout.seats_of(connection).len()).max().unwrap_or(0);
        for round in 0..most {
            for (link, connection) in connections.clone().enumerate() {
                seats.extend(layout.seats_of(connection).nth(round).map(|seat| (link as u32, seat as u32)));
            }
        }
        Self::Seats(connections.len(), seats)
    }

    /// The connections of the thread that publish: the first ones.
    fn links(&self) -> usize {
        match self {
            Self::Apart(links) | Self::Seats(links, _) => *links,
        }
    }

    /// Whose turn it is after so many publications of this thread.
    fn turn(&self, launched: u64, layout: &Layout) -> Turn {
        match self {
            Self::Apart(publishers) => {
                let topics = layout.topics.len() as u64;
                let publisher = (launched / topics % *publishers as u64) as usize;
                Turn { link: publisher, topic: (launched % topics) as usize, publisher }
            }
            Self::Seats(_, seats) => {
                let (link, seat) = seats[(launched % seats.len() as u64) as usize];
                let seat = seat as usize;
                Turn { link: link as usize, topic: layout.topic_of(seat), publisher: layout.number_of(seat) }
            }
        }
    }
}
