//! N subscribers, P publishers, T topics: what the server delivered, how late, how dear, and whether all of it was right.
//! `run` directs: connect, warm up, measure between two moments of quiet, linger for doubles, judge.
//! Invariants: CPU time is read only when nothing is under way, so every delivery counted was paid for inside the stretch;
//! a run that stalls is ended, and its missing deliveries are counted as lost.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::layout::{self, Layout, Seating};
use super::listening::{Heard, Lateness, Listening, Wakers};
use super::publishing::{Pace, Publishing, Stage};
use super::recorder::Recorder;
use super::timeline::Timeline;
use super::wait_until;
use crate::client::{Crew, Ramp, Scene, Worker};
use crate::counters;
use crate::flight::Flight;
use crate::machine::pin_thread;
use crate::process::{Cost, Memory};
use crate::profile::Profile;
use crate::report::{Progress, Series};
use crate::stats::Latencies;
use crate::target::Target;
use crate::verify::Faults;

/// No delivery for so long while some are missing: the run has stalled.
const STALL: Duration = Duration::from_secs(5);
/// How long doubles are waited for after the last delivery.
const LINGER: Duration = Duration::from_millis(100);
/// Longest measured stretch beyond its own length.
const DRAIN: Duration = Duration::from_secs(60);

/// How much load, and how.
#[derive(Clone, Debug)]
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
}

/// The client threads of a run.
struct Hired<S> {
    workers: Vec<Worker<S>>,
    /// Where those that publish are told what comes next: the first ones.
    stages: Vec<mpsc::Sender<Stage>>,
}

impl Shape {
    /// Connections in all.
    fn connections(&self) -> usize {
        self.subscribers + self.publishers + self.others
    }

    /// Who sits where, in topics that no other run has.
    fn layout(&self, seed: u64, profile: Option<&Profile>) -> Layout {
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
    /// What the server spent in it; `None` if its process id is not known.
    pub(crate) server: Option<Cost>,
    /// System calls that the server made in it, if it counts them.
    pub(crate) system_calls: Option<u64>,
    /// The server's memory at its end.
    pub(crate) memory: Option<Memory>,
    /// What this program spent in it.
    pub(crate) own: Cost,
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
    let (conducted, scenes) = direct(target, shape, server_pid, progress, &mut (), |_, _, listening| listening)?;
    Ok(judge(&conducted, scenes.into_iter().map(Listening::finish).collect()))
}

/// Runs `shape` with what `dress(thread, flight, listening)` makes of each thread's subscribers, and brings it back.
pub(super) fn direct<S: Scene + 'static>(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
    witness: &mut impl Witness,
    dress: impl Fn(usize, &Arc<Flight>, Listening) -> S,
) -> Result<(Conducted, Vec<S>), String> {
    let crew = Arc::new(Crew::new());
    let flight = Arc::new(Flight::new());
    let Hired { workers, stages } = hire(target, shape, &crew, &flight, dress)?;
    let publishers: Vec<_> = workers.iter().take(stages.len()).map(Worker::waker).collect();
    let mut threads = Vec::new();
    for worker in workers {
        let cores = shape.load_cores.clone();
        let crew = Arc::clone(&crew);
        threads.push(thread::spawn(move || {
            if let Err(sentence) = pin_thread(&cores) {
                crew.fail(sentence);
            }
            worker.run()
        }));
    }
    let director = Director { crew: &crew, flight: &flight, shape, target, progress };
    let conducted = director.conduct(server_pid, witness, |stage| {
        flight.begin_stage(stages.len() as u32);
        for (thread, (stages, publisher)) in stages.iter().zip(&publishers).enumerate() {
            // The receiver lives as long as the crew works; a wake-up that fails is made good by its longest sleep.
            let _ = stages.send(stage.part(thread, publishers.len()));
            let _ = publisher.wake();
        }
    });
    crew.stop();
    let mut scenes = Vec::new();
    for thread in threads {
        scenes.push(thread.join().map_err(|_| "a client thread failed")?);
    }
    crew.failure()?;
    Ok((conducted?, scenes))
}

/// One thread's connections of the layout: whoever only publishes is the first thread's.
fn part_of(thread: usize, shape: &Shape, layout: &Layout) -> Range<usize> {
    let part = share_of(thread, shape.threads, layout.connections() - layout.apart);
    let start = if thread == 0 { 0 } else { layout.apart + part.start };
    start..layout.apart + part.end
}

fn hire<S: Scene>(
    target: &Target,
    shape: &Shape,
    crew: &Arc<Crew>,
    flight: &Arc<Flight>,
    dress: impl Fn(usize, &Arc<Flight>, Listening) -> S,
) -> Result<Hired<S>, String> {
    let seed = fresh_seed();
    let layout = Arc::new(shape.layout(seed, target.profile.as_deref()));
    let wakers = Wakers::default();
    let (mut workers, mut stages): (Vec<Worker<S>>, Vec<mpsc::Sender<Stage>>) = (Vec::new(), Vec::new());
    for thread in 0..shape.threads {
        let part = part_of(thread, shape, &layout);
        let publishes = thread == 0 || layout.is_rooms();
        let publishing = publishes.then(|| {
            let (sender, receiver) = mpsc::channel();
            stages.push(sender);
            let (crew, flight, layout) = (Arc::clone(crew), Arc::clone(flight), Arc::clone(&layout));
            Publishing::new(crew, flight, layout, part.clone(), shape.payload_bytes, receiver)
                .conflating(shape.conflate_keys)
                .speaking(target)
        });
        let connections = share_of(thread, shape.threads, shape.others).len() + part.len();
        let listening = Listening::new(Arc::clone(&layout), Arc::clone(flight), publishing, part, shape.payload_bytes)
            .mixed(shape.mixed)
            .wakes(thread, &wakers);
        let ramp = Ramp {
            target: Target { deflate: shape.deflate, published: layout.topics[0].clone(), ..target.clone() },
            sources: shape.sources,
            connects_per_second: shape.connects_per_second / shape.threads as f64,
            at_once: shape.at_once,
            seed: seed ^ (thread as u64) << 56,
        };
        let worker = Worker::new(Arc::clone(crew), ramp, dress(thread, flight, listening))
            .map_err(|error| format!("a client thread cannot be made: {error}"))?;
        worker.wanted().store(connections, Ordering::Relaxed);
        workers.push(worker);
    }
    // Nobody runs yet, so nobody has looked.
    let _ = wakers.set(workers.iter().take(stages.len()).map(Worker::waker).collect());
    Ok(Hired { workers, stages })
}

/// The part of so many that is this thread's.
pub(super) fn share_of(thread: usize, threads: usize, all: usize) -> std::ops::Range<usize> {
    all * thread / threads..all * (thread + 1) / threads
}

/// Tells the client threads what comes next, and waits for it.
struct Director<'a> {
    crew: &'a Crew,
    flight: &'a Flight,
    shape: &'a Shape,
    target: &'a Target,
    progress: &'a Progress,
}

/// What the directing thread read itself.
pub(super) struct Conducted {
    publications: u64,
    wall_ns: u64,
    server: Option<Cost>,
    /// The server's memory before the measured stretch.
    pub(super) memory_before: Option<Memory>,
    memory: Option<Memory>,
    system_calls: Option<u64>,
    own: Cost,
    series: Vec<Series>,
    stalled: bool,
}

impl Director<'_> {
    fn conduct(
        &self,
        server_pid: Option<u32>,
        witness: &mut impl Witness,
        stage: impl Fn(Stage),
    ) -> Result<Conducted, String> {
        let wanted = self.shape.connections();
        let seconds = 30.0 + 2.0 * wanted as f64 / self.shape.connects_per_second;
        self.progress.begin("connecting", wanted as u64);
        wait_until(
            self.crew,
            Duration::from_secs_f64(seconds),
            &format!("{wanted} connections"),
            || self.progress.at(self.crew.ready() as u64),
            || self.crew.ready() == wanted,
        )?;
        let Shape { pace, warmup, publications_max, length, .. } = *self.shape;
        let mut stalled = false;
        if !warmup.is_zero() {
            let length_ns = warmup.as_nanos() as u64;
            stage(Stage { pace, publications_max: u64::MAX, length_ns, measured: false });
            stalled = !self.await_quiet("warming up", warmup, witness, None)?;
        }
        let published = self.flight.published();
        let cost = || server_pid.map(Cost::of).transpose();
        let memory = || server_pid.map(Memory::of).transpose();
        let memory_before = memory()?;
        let calls = counters::system_calls(self.target);
        let (server, own) = (cost()?, Cost::of(std::process::id())?);
        let mut recorder = Recorder::new(["deliveries", "publications"], self.counts(), server_pid, length);
        if !stalled {
            let length_ns = length.as_nanos() as u64;
            stage(Stage { pace, publications_max, length_ns, measured: true });
            stalled = !self.await_quiet("measuring", length, witness, Some(&mut recorder))?;
        }
        let conducted = Conducted {
            publications: self.flight.published() - published,
            wall_ns: self.flight.measured_ns(),
            server: cost()?.zip(server).map(|(after, before)| after.since(before)),
            memory_before,
            memory: memory()?,
            system_calls: calls.and_then(|before| Some(counters::system_calls(self.target)?.saturating_sub(before))),
            own: Cost::of(std::process::id())?.since(own),
            series: recorder.finish(),
            stalled,
        };
        thread::sleep(LINGER);
        witness.end(self.crew)?;
        Ok(conducted)
    }

    fn counts(&self) -> [u64; 2] {
        [self.flight.delivered(), self.flight.published()]
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
        let begun = Instant::now();
        self.progress.begin(what, length.as_millis() as u64);
        let mut moved = (Instant::now(), 0);
        let wanted = self.shape.connections();
        while !self.flight.is_quiet() || self.crew.ready() < wanted {
            self.crew.failure()?;
            let seen = self.flight.delivered() + self.flight.published() + self.crew.ready() as u64;
            if seen != moved.1 {
                moved = (Instant::now(), seen);
            }
            if moved.0.elapsed() > STALL || begun.elapsed() > length + DRAIN {
                return Ok(false);
            }
            self.progress.at(begun.elapsed().min(length).as_millis() as u64);
            self.progress.say(|| format!("{} delivered", self.flight.delivered()));
            if let Some(recorder) = &mut recorder {
                recorder.look(self.counts());
            }
            witness.look(self.flight.is_measuring())?;
            thread::sleep(super::LOOK);
        }
        Ok(true)
    }
}

/// One order for all: whoever got as many publications of a topic as another got them in the same order, by whatever transport.
/// Who got fewer has lost some, and is told for that.
pub(super) fn compare_orders(heard: &[Heard], faults: &mut Faults) {
    let mut first: HashMap<(usize, u64), u64> = HashMap::new();
    for Heard { checker, layout, seat, .. } in heard {
        for subscriber in 0..checker.subscribers() {
            let topic = layout.topic_of(seat + subscriber);
            let own = checker.heard(subscriber);
            if *first.entry((topic, own.count)).or_insert(own.digest) != own.digest {
                faults.disordered += 1;
                faults.say(|| {
                    let name = &layout.topics[topic];
                    format!("subscriber {subscriber} got the publications of {name} in another order than others")
                });
            }
        }
    }
}

/// Puts together what the threads heard and what the directing thread read.
pub(super) fn judge(conducted: &Conducted, heard: Vec<Heard>) -> Measured {
    let mut lateness = Lateness::new();
    let mut faults = Faults::default();
    if conducted.stalled {
        let stall = STALL.as_secs();
        faults.say(|| format!("the run stalled: nothing moved for {stall} s, or it could not drain"));
    }
    let mut sent_late = Latencies::new();
    let mut timeline = Timeline::new();
    let mut sequences: Vec<u32> = Vec::new();
    for part in &heard {
        lateness.merge(&part.lateness);
        if let Some(sent) = &part.sent {
            // Each publisher is of one thread.
            sequences.resize(sent.sequences.len(), 0);
            sequences.iter_mut().zip(&sent.sequences).for_each(|(all, own)| *all += own);
            sent_late.merge(&sent.late);
        }
    }
    compare_orders(&heard, &mut faults);
    for Heard { checker, layout, seat, timeline: part, .. } in heard {
        timeline.merge(part);
        faults.merge(checker.finish(|subscriber, publisher| {
            sequences[layout.publisher(layout.topic_of(seat + subscriber), publisher)]
        }));
    }
    Measured {
        publications: conducted.publications,
        deliveries: lateness.all.summary().count,
        wall_ns: conducted.wall_ns,
        server: conducted.server,
        system_calls: conducted.system_calls,
        memory: conducted.memory,
        own: conducted.own,
        lateness,
        sent_late,
        series: conducted.series.iter().cloned().chain(timeline.series()).collect(),
        faults,
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
