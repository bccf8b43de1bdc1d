//! The client threads of one process: those of a run that are its own, with their connections, publishers and subscribers.
//! `fanout` hires for this process, `part` for one of several; each thread knows its number among those of all processes.
//! Invariants: the same layout in every process; whoever only publishes is of the first thread; in rooms every thread publishes.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use super::fanout::Shape;
use super::layout::Layout;
use super::listening::{Listening, Wakers};
use super::publishing::{Publishing, Stage};
use super::shares::Sink;
use crate::client::{Crew, Ramp, Scene, Worker};
use crate::flight::Flight;
use crate::machine::pin_thread;
use crate::target::Target;

/// What the threads of a process are hired for.
pub(super) struct Hiring<'a> {
    pub(super) target: &'a Target,
    pub(super) shape: &'a Shape,
    /// Who sits where, in the whole run.
    pub(super) layout: &'a Arc<Layout>,
    /// Of the whole run.
    pub(super) seed: u64,
    /// This process's number.
    pub(super) process: usize,
    pub(super) crew: &'a Arc<Crew>,
    pub(super) flight: &'a Arc<Flight>,
    /// Where shares go, if there are several processes.
    pub(super) sink: Option<Sink>,
    /// Who is woken when a publication is complete: to be set by [`Hiring::hire`].
    pub(super) wakers: Wakers,
}

/// Client threads at work.
pub(super) struct Hired<S> {
    threads: Vec<JoinHandle<S>>,
    /// Where those that publish are told what comes next: the first ones.
    stages: Vec<mpsc::Sender<Stage>>,
    wakers: Wakers,
}

impl Hiring<'_> {
    /// Lets the threads begin, with what `dress(thread, flight, listening)` makes of each thread's subscribers.
    pub(super) fn hire<S: Scene + 'static>(
        self,
        dress: impl Fn(usize, &Arc<Flight>, Listening) -> S,
    ) -> Result<Hired<S>, String> {
        let (mut workers, mut stages) = (Vec::new(), Vec::new());
        let first = self.process * self.shape.threads;
        for thread in first..first + self.shape.threads {
            let (listening, connections) = self.listening(thread, &mut stages);
            let worker = Worker::new(Arc::clone(self.crew), self.ramp(thread), dress(thread, self.flight, listening))
                .map_err(|error| format!("a client thread cannot be made: {error}"))?;
            worker.wanted().store(connections, Ordering::Relaxed);
            workers.push(worker);
        }
        // Nobody runs yet, so nobody has looked.
        let _ = self.wakers.set(workers.iter().take(stages.len()).map(Worker::waker).collect());
        let begin = |worker: Worker<S>| {
            let (cores, crew) = (self.shape.load_cores.clone(), Arc::clone(self.crew));
            thread::spawn(move || {
                if let Err(sentence) = pin_thread(&cores) {
                    crew.fail(sentence);
                }
                worker.run()
            })
        };
        Ok(Hired { threads: workers.into_iter().map(begin).collect(), stages, wakers: self.wakers })
    }

    /// What a thread of the run listens with, and how many connections it has; whoever publishes gets its stages from `stages`.
    fn listening(&self, thread: usize, stages: &mut Vec<mpsc::Sender<Stage>>) -> (Listening, usize) {
        let (shape, layout) = (self.shape, self.layout);
        let threads = shape.threads * shape.processes;
        let part = part_of(thread, threads, layout);
        let publishes = thread == 0 || layout.is_rooms();
        let publishing = publishes.then(|| {
            let (sender, receiver) = mpsc::channel();
            stages.push(sender);
            let (crew, flight, layout) = (Arc::clone(self.crew), Arc::clone(self.flight), Arc::clone(layout));
            Publishing::new(crew, flight, layout, part.clone(), shape.payload_bytes, receiver)
                .conflating(shape.conflate_keys)
                .speaking(self.target)
        });
        let connections = share_of(thread, threads, shape.others).len() + part.len();
        let (layout, flight) = (Arc::clone(layout), Arc::clone(self.flight));
        let listening = Listening::new(layout, flight, publishing, part, shape.payload_bytes)
            .mixed(shape.mixed)
            .sharing(self.sink.clone())
            .wakes(thread - self.process * shape.threads, &self.wakers);
        (listening, connections)
    }

    fn ramp(&self, thread: usize) -> Ramp {
        let shape = self.shape;
        let published = self.layout.topics[0].clone();
        Ramp {
            target: Target { deflate: shape.deflate, published, ..self.target.clone() },
            sources: shape.sources,
            connects_per_second: shape.connects_per_second / (shape.threads * shape.processes) as f64,
            at_once: shape.at_once,
            seed: self.seed ^ (thread as u64) << 52,
        }
    }
}

impl<S> Hired<S> {
    /// How many of them publish.
    pub(super) fn publishers(&self) -> usize {
        self.stages.len()
    }

    /// Tells those that publish what comes next.
    pub(super) fn begin(&self, stage: Stage) {
        for (thread, stages) in self.stages.iter().enumerate() {
            // The receiver lives as long as the crew works.
            let _ = stages.send(stage.part(thread, self.stages.len()));
        }
        wake(&self.wakers);
    }

    /// Waits for the threads of a crew that was stopped, and answers what they leave behind.
    pub(super) fn join(self) -> Result<Vec<S>, String> {
        self.threads.into_iter().map(|thread| thread.join().map_err(|_| "a client thread failed".to_owned())).collect()
    }
}

/// Wakes those that publish.
pub(super) fn wake(publishers: &Wakers) {
    for waker in publishers.get().into_iter().flatten() {
        // Should it fail, the publisher still looks by itself after its longest sleep.
        let _ = waker.wake();
    }
}

/// One thread's connections of the layout: whoever only publishes is the first thread's.
fn part_of(thread: usize, threads: usize, layout: &Layout) -> Range<usize> {
    let part = share_of(thread, threads, layout.connections() - layout.apart);
    let start = if thread == 0 { 0 } else { layout.apart + part.start };
    start..layout.apart + part.end
}

/// The part of so many that is this thread's.
pub(super) fn share_of(thread: usize, threads: usize, all: usize) -> Range<usize> {
    all * thread / threads..all * (thread + 1) / threads
}
