//! One of several processes of a publishing run: holds its part of the connections, publishes for them in rooms, and judges what they heard.
//! `processes::serve` calls `serve` in `wirefan-loadtest crowd`; `parts` is at the other end of the pipes.
//!
//! ```text
//! down: Orders, then Stage and Over for each stretch, Completed for what it published, Stop, Judge
//! up:   At whenever something has changed, Shares of publications as its threads finish them, Sent after Stop, Found after Judge
//! ```
//! Invariants: it knows the whole layout and makes the same of it as the others; it ends when its standard input does.

use std::io::Write;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fanout::Shape;
use super::found::{self, Found};
use super::hire::{Hired, Hiring, wake};
use super::listening::{Heard, Listening, Wakers};
use super::peer::write_line;
use super::publishing::Stage;
use super::shares::Share;
use super::storm;
use super::weather::{Recoveries, Weather};
use crate::client::{Crew, Scene};
use crate::flight::Flight;
use crate::target::Target;

/// How often it tells what has changed.
const TELL: Duration = Duration::from_millis(10);

/// What a part is told first.
#[derive(Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) target: Target,
    pub(super) shape: Shape,
    /// Its subscribers are in a storm.
    pub(super) storm: Option<storm::Shape>,
    pub(super) seed: u64,
    /// Its number; the process that directs is number 0.
    pub(super) process: usize,
    /// Time zero of all stamps.
    pub(super) origin_ns: u64,
}

/// What a part is told then.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// A stretch begins.
    Stage(Stage),
    /// Nobody publishes any more.
    Over,
    /// Everybody has these publications of its.
    Completed(Vec<u32>),
    /// All connections end.
    Stop,
    /// So much was published in the whole run.
    Judge(Vec<u32>),
}

/// What a part tells.
#[derive(Serialize, Deserialize)]
pub(super) enum Tale {
    /// What has changed.
    At(At),
    /// What its threads have finished.
    Shares(Vec<Share>),
    /// What each publisher sent.
    Sent(Vec<u32>),
    /// The judgement.
    Found(Box<Found>),
    /// It is over, for this reason.
    Failed(String),
}

/// How far a part is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At {
    /// Stages begun and ended, as it was told.
    pub(super) heeded: u32,
    /// It has more to publish.
    pub(super) publishes: bool,
    pub(super) under_way: u64,
    pub(super) ready: usize,
    pub(super) delivered: u64,
    pub(super) published: u64,
}

/// What wakes the thread that tells.
enum Event {
    Shares(Vec<Share>),
    Word(Word),
}

/// Is such a part: takes the words of `lines` until their end, and tells `output` what has happened.
pub(super) fn serve(
    orders: &Orders,
    lines: impl Iterator<Item = String> + Send + 'static,
    output: &mut impl Write,
) -> Result<(), String> {
    match &orders.storm {
        None => Part::begin(orders, lines, |_, _, listening| listening)?
            .run(output, |listening| (Listening::finish(listening), Recoveries::new())),
        Some(storm) => Part::begin(orders, lines, |thread, flight, listening| {
            Weather::new(listening, flight, storm, Weather::seed(orders.seed, thread))
        })?
        .run(output, Weather::finish),
    }
}

struct Part<S> {
    crew: Arc<Crew>,
    flight: Arc<Flight>,
    hired: Hired<S>,
    events: mpsc::Receiver<Event>,
    heeded: u32,
    told: At,
}

impl<S: Scene + 'static> Part<S> {
    fn begin(
        orders: &Orders,
        lines: impl Iterator<Item = String> + Send + 'static,
        dress: impl Fn(usize, &Arc<Flight>, Listening) -> S,
    ) -> Result<Self, String> {
        let Orders { shape, process, .. } = orders;
        let crew = Arc::new(Crew::since(orders.origin_ns));
        let flight = Arc::new(shape.flight(*process));
        let wakers = Wakers::default();
        let (sender, events) = mpsc::channel();
        let shares = sender.clone();
        let hiring = Hiring {
            target: &orders.target,
            shape,
            layout: &Arc::new(shape.layout(orders.seed, orders.target.profile.as_deref())),
            seed: orders.seed,
            process: *process,
            crew: &crew,
            flight: &flight,
            // Who does not listen any more has ended.
            sink: Some(Arc::new(move |finished| drop(shares.send(Event::Shares(finished))))),
            wakers: Arc::clone(&wakers),
        };
        let hired = hiring.hire(dress)?;
        let (own_crew, own_flight) = (Arc::clone(&crew), Arc::clone(&flight));
        thread::spawn(move || listen(lines, &sender, &own_crew, &own_flight, &wakers));
        Ok(Self { crew, flight, hired, events, heeded: 0, told: At::default() })
    }

    /// Works until it is told to stop, then judges.
    fn run(mut self, output: &mut impl Write, finish: impl Fn(S) -> (Heard, Recoveries)) -> Result<(), String> {
        let mut more = true;
        while more && !self.crew.stopped() {
            let first = self.events.recv_timeout(TELL);
            let mut shares = Vec::new();
            let events: Vec<Event> = first.into_iter().chain(self.events.try_iter()).collect();
            for event in events {
                match event {
                    Event::Shares(finished) => shares.extend(finished),
                    Event::Word(Word::Stage(stage)) => self.begin_stage(stage),
                    Event::Word(Word::Over) => {
                        self.flight.end_stage();
                        self.heeded += 1;
                    }
                    Event::Word(_) => more = false,
                }
            }
            self.tell(shares, output)?;
        }
        self.crew.stop();
        let (heard, recoveries): (Vec<_>, Vec<_>) = self.hired.join()?.into_iter().map(finish).unzip();
        if let Err(sentence) = self.crew.failure() {
            return write_line(output, &Tale::Failed(sentence));
        }
        write_line(output, &Tale::Sent(found::sequences(&heard)))?;
        for event in self.events {
            if let Event::Word(Word::Judge(sequences)) = event {
                let found = Found::of(heard, &sequences, Recoveries::of_all(&recoveries));
                return write_line(output, &Tale::Found(Box::new(found)));
            }
        }
        Ok(())
    }

    fn begin_stage(&mut self, stage: Stage) {
        // One more than its own: the stage lasts until everybody's is over.
        self.flight.begin_stage(self.hired.publishers() as u32 + 1);
        if stage.measured {
            self.flight.measure(self.crew.now_ns());
        }
        self.hired.begin(stage);
        self.heeded += 1;
    }

    fn tell(&mut self, shares: Vec<Share>, output: &mut impl Write) -> Result<(), String> {
        if !shares.is_empty() {
            write_line(output, &Tale::Shares(shares))?;
        }
        // In this order: what it was told before shows in what it tells after.
        let at = At {
            heeded: self.heeded,
            publishes: self.flight.busy() > self.heeded % 2,
            under_way: self.flight.under_way(),
            ready: self.crew.ready(),
            delivered: self.flight.delivered(),
            published: self.flight.published(),
        };
        if at == self.told {
            return Ok(());
        }
        self.told = at;
        write_line(output, &Tale::At(at))
    }
}

/// Hands on what it is told, until the end. What is complete makes room for more at once.
fn listen(
    lines: impl Iterator<Item = String>,
    sender: &mpsc::Sender<Event>,
    crew: &Crew,
    flight: &Flight,
    publishers: &Wakers,
) {
    for line in lines {
        match serde_json::from_str(&line) {
            Ok(Word::Completed(numbers)) => {
                numbers.into_iter().for_each(|number| flight.complete(number));
                wake(publishers);
            }
            Ok(word) => drop(sender.send(Event::Word(word))),
            Err(error) => crew.fail(format!("{line:?} is no word: {error}")),
        }
    }
    // Nobody is there to tell any more.
    crew.stop();
    drop(sender.send(Event::Word(Word::Stop)));
}
