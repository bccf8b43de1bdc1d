//! N subscribers, P publishers, T topics: what the server delivered, how late, how dear, and whether all of it was right.
//! `run` directs: connect, warm up, measure between two moments of quiet, linger for doubles, judge.
//! Invariants: CPU time is read only when nothing is under way, so every delivery counted was paid for inside the stretch;
//! a run that stalls is ended, and its missing deliveries are counted as lost.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::found::{self, Found};
use super::hire::{Hired, Hiring};
use super::layout::{self, Layout, Seating};
use super::listening::{Heard, Lateness, Listening, Wakers};
use super::meter::{Meter, Spending};
use super::parts::Parts;
use super::publishing::{Pace, Stage};
use super::recorder::Recorder;
use super::storm;
use super::wait_until;
use super::weather::Recoveries;
use crate::client::{Crew, Scene};
use crate::envelope::PAYLOAD_BYTES_MIN;
use crate::flight::Flight;
use crate::machine;
use crate::process::Memory;
use crate::profile::Profile;
use crate::report::{Progress, Series};
use crate::stats::Latencies;
use crate::target::Target;
use crate::verify::Faults;

/// No delivery for so long while some are missing: the run has stalled.
pub(super) const STALL: Duration = Duration::from_secs(5);
/// How long doubles are waited for after the last delivery.
const LINGER: Duration = Duration::from_millis(100);
/// Longest measured stretch beyond its own length.
const DRAIN: Duration = Duration::from_secs(60);

/// How much load, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Connections that subscribe to one topic each.
    pub(crate) subscribers: usize,
    /// Connections that publish.
    pub(crate) publishers: usize,
    /// Topics; subscriber n has topic n modulo topics.
    pub(crate) topics: usize,
    /// Bytes of the JSON value published.
    pub(crate) payload_bytes: usize,
    /// Open or closed loop.
    pub(crate) pace: Pace,
    /// Before the measurement, at the same pace.
    pub(crate) warmup: Duration,
    /// At most so many measured publications.
    pub(crate) publications_max: u64,
    /// At most so long.
    pub(crate) length: Duration,
    /// Client threads.
    pub(crate) threads: usize,
    /// Source addresses.
    pub(crate) sources: u8,
    /// Connects per second, all threads together.
    pub(crate) connects_per_second: f64,
    /// Cores of the client threads.
    pub(crate) load_cores: Vec<usize>,
    /// Further connections, which only the scene knows.
    pub(crate) others: usize,
    /// `conflate` keys that publications take turns with; 0: they have none.
    pub(crate) conflate_keys: u32,
    /// Whether connections offer permessage-deflate.
    pub(crate) deflate: bool,
    /// Who sits in which topics; in rooms there are no `publishers` apart.
    pub(crate) seating: Seating,
    /// Whoever is cut off comes back at no pace, all at once.
    pub(crate) at_once: bool,
    /// Subscribers of each topic come by WebSocket, server-sent events and long polling in turn.
    pub(crate) mixed: bool,
    /// Processes that hold the connections, this one among them, each with so many threads.
    pub(crate) processes: usize,
}

impl Default for Shape {
    /// One publication at a time, of one publisher to one subscriber, for ten seconds: a scenario says what is its own.
    fn default() -> Self {
        Self {
            subscribers: 1,
            publishers: 1,
            topics: 1,
            payload_bytes: PAYLOAD_BYTES_MIN.max(64),
            pace: Pace::UnderWay(1),
            warmup: Duration::ZERO,
            publications_max: u64::MAX,
            length: Duration::from_secs(10),
            threads: 1,
            sources: 1,
            connects_per_second: 10_000.0,
            load_cores: Vec::new(),
            others: 0,
            conflate_keys: 0,
            deflate: false,
            seating: Seating::Apart,
            at_once: false,
            mixed: false,
            processes: 1,
        }
    }
}

impl Shape {
    /// Connections in all.
    fn connections(&self) -> usize {
        self.subscribers + self.publishers + self.others
    }

    /// Processes that publish: in rooms all, else the first one.
    pub(super) fn publishing_processes(&self) -> usize {
        if matches!(self.seating, Seating::Rooms { .. }) { self.processes } else { 1 }
    }

    /// What is under way, in one of the processes.
    pub(super) fn flight(&self, process: usize) -> Flight {
        let all = self.publishing_processes();
        Flight::of(process % all, all)
    }

    /// Who sits where, in topics that no other run has.
    pub(super) fn layout(&self, seed: u64, profile: Option<&Profile>) -> Layout {
        let topics = (0..self.topics).map(|topic| topic_name(profile, seed, topic)).collect();
        match self.seating {
            Seating::Apart => Layout::apart(topics, self.subscribers, self.publishers),
            Seating::Rooms { seats, zipf } => {
                Layout::rooms(topics, &layout::sizes(self.topics, seats, self.subscribers, zipf), self.subscribers)
            }
        }
    }
}

/// Looks on from the directing thread.
pub(super) trait Witness {
    /// Called every few milliseconds while publications are under way.
    fn look(&mut self, _measuring: bool) -> Result<(), String> {
        Ok(())
    }

    /// Called when all that was published is everywhere, before the connections end.
    fn end(&mut self, _crew: &Crew) -> Result<(), String> {
        Ok(())
    }
}

/// Nobody looks on.
impl Witness for () {}

/// What one run found.
pub(crate) struct Measured {
    /// Publications in the measured stretch.
    pub(crate) publications: u64,
    /// Fresh deliveries in it.
    pub(crate) deliveries: u64,
    /// From its first publication to its last delivery, in nanoseconds.
    pub(crate) wall_ns: u64,
    /// What server and load spent in it.
    pub(crate) spending: Spending,
    /// How late deliveries were.
    pub(crate) lateness: Lateness,
    /// How late this program sent.
    pub(crate) sent_late: Latencies,
    /// How it went over time.
    pub(crate) series: Vec<Series>,
    /// What went wrong, in the whole run.
    pub(crate) faults: Faults,
}

impl Measured {
    /// Nothing went wrong, and there was something that could have.
    pub(crate) fn passed(&self) -> bool {
        self.faults.total() == 0 && self.faults.sentences.is_empty() && self.deliveries > 0
    }
}

/// Runs `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    let run = Run { target, shape, server_pid, progress, storm: None };
    let mut directed = run.direct(&mut (), |_, _, listening| listening)?;
    let heard = directed.scenes().into_iter().map(Listening::finish).collect();
    directed.judge(heard, Recoveries::new()).map(|(measured, _)| measured)
}

/// What is run, and how.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) target: &'a Target,
    pub(super) shape: &'a Shape,
    pub(super) server_pid: Option<u32>,
    pub(super) progress: &'a Progress,
    /// The subscribers of other processes are in this storm.
    pub(super) storm: Option<&'a storm::Shape>,
}

/// A run whose connections have ended, to be judged.
pub(super) struct Directed<S> {
    pub(super) conducted: Conducted,
    layout: Arc<Layout>,
    /// What each thread's subscribers became.
    scenes: Vec<S>,
    parts: Option<Arc<Parts>>,
}

impl Run<'_> {
    /// Runs with what `dress(thread, flight, listening)` makes of the subscribers of each thread of this process, and brings it back.
    pub(super) fn direct<S: Scene + 'static>(
        self,
        witness: &mut impl Witness,
        dress: impl Fn(usize, &Arc<Flight>, Listening) -> S,
    ) -> Result<Directed<S>, String> {
        let Self { target, shape, .. } = self;
        if let Some(pid) = self.server_pid {
            machine::server_holds(pid, shape.connections())?;
        }
        let (crew, flight, wakers) = (Arc::new(Crew::new()), Arc::new(shape.flight(0)), Wakers::default());
        let seed = fresh_seed();
        let layout = Arc::new(shape.layout(seed, target.profile.as_deref()));
        let parts = (shape.processes > 1).then(|| Parts::new(shape, &layout, &crew, &flight, &wakers));
        let hiring = Hiring {
            target,
            shape,
            layout: &layout,
            seed,
            process: 0,
            crew: &crew,
            flight: &flight,
            sink: parts.as_ref().map(Parts::sink),
            wakers,
        };
        let hired = hiring.hire(dress)?;
        let begun = parts.as_ref().map_or(Ok(()), |parts| parts.begin(target, self.storm, seed));
        let director = Director { crew: &crew, flight: &flight, run: self, hired: &hired, parts: parts.as_deref() };
        let conducted = begun.and_then(|()| director.conduct(witness));
        crew.stop();
        let scenes = hired.join()?;
        crew.failure()?;
        Ok(Directed { conducted: conducted?, layout, scenes, parts })
    }
}

impl<S> Directed<S> {
    /// What each thread's subscribers became, to be finished.
    pub(super) fn scenes(&mut self) -> Vec<S> {
        std::mem::take(&mut self.scenes)
    }

    /// The judgement over all processes: this one's threads heard and recovered that.
    pub(super) fn judge(&self, heard: Vec<Heard>, recoveries: Recoveries) -> Result<(Measured, Recoveries), String> {
        let mut sequences = found::sequences(&heard);
        let mut all = Vec::new();
        if let Some(parts) = &self.parts {
            found::add_sequences(&mut sequences, &parts.stop()?);
            all = parts.judge(sequences.clone())?;
        }
        let own = Found::of(heard, &sequences, recoveries);
        all.push(match &self.parts {
            Some(parts) => own.with(parts.gathered()),
            None => own,
        });
        Ok(found::judge(&self.conducted, &self.layout, all))
    }
}

/// Tells all client threads what comes next, and waits for it.
struct Director<'a, S> {
    crew: &'a Crew,
    flight: &'a Flight,
    run: Run<'a>,
    hired: &'a Hired<S>,
    parts: Option<&'a Parts>,
}

/// What the directing thread read itself.
#[derive(Default)]
pub(super) struct Conducted {
    pub(super) publications: u64,
    pub(super) wall_ns: u64,
    pub(super) spending: Spending,
    /// The server's memory before the measured stretch.
    pub(super) memory_before: Option<Memory>,
    pub(super) series: Vec<Series>,
    pub(super) stalled: bool,
}

impl<S> Director<'_, S> {
    fn conduct(&self, witness: &mut impl Witness) -> Result<Conducted, String> {
        let Run { target, shape, server_pid, progress, .. } = self.run;
        let wanted = shape.connections();
        let seconds = 30.0 + 2.0 * wanted as f64 / shape.connects_per_second;
        progress.begin("connecting", wanted as u64);
        wait_until(
            self.crew,
            Duration::from_secs_f64(seconds),
            &format!("{wanted} connections"),
            || progress.at(self.ready() as u64),
            || self.ready() == wanted,
        )?;
        let Shape { pace, warmup, publications_max, length, .. } = *shape;
        let mut stalled = false;
        if !warmup.is_zero() {
            let length_ns = warmup.as_nanos() as u64;
            self.begin(Stage { pace, publications_max: u64::MAX, length_ns, measured: false })?;
            stalled = !self.await_quiet("warming up", warmup, witness, None)?;
        }
        let [_, published] = self.counts();
        let meter = Meter::begin(target, server_pid, &self.parts.map(Parts::pids).unwrap_or_default())?;
        let mut recorder = Recorder::new(["deliveries", "publications"], self.counts(), server_pid, length);
        if !stalled {
            let length_ns = length.as_nanos() as u64;
            self.begin(Stage { pace, publications_max, length_ns, measured: true })?;
            stalled = !self.await_quiet("measuring", length, witness, Some(&mut recorder))?;
        }
        let conducted = Conducted {
            publications: self.counts()[1] - published,
            wall_ns: self.flight.measured_ns(),
            spending: meter.end()?,
            memory_before: meter.memory,
            series: recorder.finish(),
            stalled,
        };
        thread::sleep(LINGER);
        witness.end(self.crew)?;
        Ok(conducted)
    }

    /// Tells all that publish, of all processes.
    fn begin(&self, stage: Stage) -> Result<(), String> {
        let own = stage.of_process(0, self.run.shape.publishing_processes());
        self.flight.begin_stage(self.hired.publishers() as u32);
        self.hired.begin(own);
        self.parts.map_or(Ok(()), |parts| parts.begin_stage(stage))
    }

    /// Connections with all their acks.
    fn ready(&self) -> usize {
        self.crew.ready() + self.parts.map(Parts::sum).unwrap_or_default().ready
    }

    /// Deliveries and publications so far.
    fn counts(&self) -> [u64; 2] {
        let others = self.parts.map(Parts::sum).unwrap_or_default();
        [self.flight.delivered() + others.delivered, self.flight.published() + others.published]
    }

    /// True when all that was published is everywhere, and every subscriber there to have it; false when nothing has moved
    /// for [`STALL`].
    fn await_quiet(
        &self,
        what: &'static str,
        length: Duration,
        witness: &mut impl Witness,
        mut recorder: Option<&mut Recorder>,
    ) -> Result<bool, String> {
        let (begun, progress) = (Instant::now(), self.run.progress);
        progress.begin(what, length.as_millis() as u64);
        let mut moved = (Instant::now(), 0);
        let wanted = self.run.shape.connections();
        while !self.parts.map_or(Ok(true), Parts::are_quiet)? || !self.flight.is_quiet() || self.ready() < wanted {
            self.crew.failure()?;
            let counts = self.counts();
            let seen = counts.iter().sum::<u64>() + self.ready() as u64;
            if seen != moved.1 {
                moved = (Instant::now(), seen);
            }
            if moved.0.elapsed() > STALL || begun.elapsed() > length + DRAIN {
                return Ok(false);
            }
            progress.at(begun.elapsed().min(length).as_millis() as u64);
            progress.say(|| format!("{} delivered", counts[0]));
            if let Some(recorder) = &mut recorder {
                recorder.look(counts);
            }
            witness.look(self.flight.is_measuring())?;
            thread::sleep(super::LOOK);
        }
        Ok(true)
    }
}

/// The name of a run's topic, as the broker spells topics.
pub(super) fn topic_name(profile: Option<&Profile>, seed: u64, topic: usize) -> String {
    let run = seed as u32;
    profile.map_or_else(|| format!("loadtest/{run:08x}/{topic}"), |profile| profile.topic(run, topic))
}

/// Tells this run's topics and masks from another's.
pub(crate) fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_nanos() as u64) ^ u64::from(std::process::id()).rotate_left(32)
}

#[cfg(test)]
pub(crate) mod tests;
