//! One run of one seed: shards, clients and the wire between them, moved one random step at a time.
//!
//! Every choice comes from the seed. Whatever a client sends or gets is noted and judged by the model at once; the first
//! broken promise ends the run. `acts` has what clients do, `endings` how a run comes to rest and ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use wirefan::ids::{ClientName, ShardId};
use wirefan::mesh::{self, Wake};

use crate::client::Client;
use crate::driver::{Bell, Driver};
use crate::event::{Event, Frame, Note};
use crate::model::{Broken, Judged, Model};
use crate::plan::{Ending, Plan};
use crate::random::Random;
use crate::stream::{Stream, welcome};

/// The notes that a failure shows.
const SHOWN: usize = 30;

/// A run that ended with a broken promise.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) broken: Broken,
    pub(crate) step: u64,
    pub(crate) recent: Vec<Note>,
}

/// A run that kept them all.
#[derive(Debug)]
pub(crate) struct Report {
    /// Of all bytes written by all shards.
    pub(crate) hash: u64,
    /// What happened besides, by name.
    pub(crate) tally: BTreeSet<&'static str>,
    /// Every note, in order.
    pub(crate) notes: Vec<Note>,
    pub(crate) steps: u64,
    /// Turns that ended with a full ring, and connections that were read again after a pause.
    pub(crate) stalls: u64,
    pub(crate) resumes: u64,
}

/// See the module's page.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) drivers: Vec<Driver>,
    pub(crate) clients: Vec<Client>,
    pub(crate) now_ms: u64,
    pub(crate) step: u64,
    /// The shard that gets no time for now.
    starved: Option<usize>,
    /// No client comes any more.
    pub(crate) closed_to_new: bool,
    pub(crate) model: Model,
    /// What was known before the broker forgot its topics.
    pub(crate) former: Option<Model>,
    notes: Vec<Note>,
    /// Prints every note as it comes.
    loud: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, loud: bool) -> Self {
        let bells: Vec<Arc<Bell>> = (0..plan.shards).map(|_| Arc::new(Bell::default())).collect();
        let wakes = bells.iter().map(|bell| Arc::clone(bell) as Arc<dyn Wake>).collect();
        let mut random = Random::new(plan.seed ^ 0x00c0_ffee);
        let now_ms = random.below(500) as u64;
        let drive = |(desk, bell)| Driver::new(plan.settings(), desk, bell, plan.kernel_bytes, plan.read_bytes, now_ms);
        let drivers = mesh::join(wakes, plan.ring).into_iter().zip(bells).map(drive).collect();
        let model = Model::new(&plan);
        Self {
            plan,
            random,
            drivers,
            clients: Vec::new(),
            now_ms,
            step: 0,
            starved: None,
            closed_to_new: false,
            model,
            former: None,
            notes: Vec::new(),
            loud,
        }
    }

    /// The whole run.
    pub(crate) fn run(mut self) -> Result<Report, Failure> {
        match self.live() {
            Ok(()) => {
                let fold = |hash: u64, driver: &Driver| hash.rotate_left(7) ^ driver.sockets.hash;
                let hash = self.drivers.iter().fold(0, fold);
                let sum = |count: fn(&Driver) -> u64| self.drivers.iter().map(count).sum();
                Ok(Report {
                    hash,
                    stalls: sum(|driver| driver.stalls),
                    resumes: sum(|driver| driver.resumes),
                    tally: self.model.tally().clone(),
                    notes: std::mem::take(&mut self.notes),
                    steps: self.step,
                })
            }
            Err(broken) => Err(Failure { broken, step: self.step, recent: self.recent() }),
        }
    }

    fn recent(&self) -> Vec<Note> {
        let mut recent: Vec<Note> = self.notes.iter().rev().filter(|it| !it.is_noise()).take(SHOWN).cloned().collect();
        recent.reverse();
        recent
    }

    fn live(&mut self) -> Judged {
        for round in 0..self.plan.rounds {
            let last = round + 1 == self.plan.rounds;
            for _ in 0..self.plan.steps {
                self.random_step()?;
            }
            if !(last && self.plan.ending == Ending::Stop) {
                self.rest_and_audit()?;
                if self.random.chance(self.plan.edges) {
                    self.probe_an_edge()?;
                }
            }
        }
        match self.plan.ending {
            Ending::Stop => self.stop(),
            Ending::Leave => self.leave(),
        }
    }

    /// One thing happens somewhere.
    pub(crate) fn random_step(&mut self) -> Judged {
        self.step += 1;
        self.pass_time();
        match self.random.below(100) {
            0..40 => {
                let shard = self.random.below(self.drivers.len());
                if self.random.below(1000) < self.plan.starves {
                    self.starved = (!self.random.chance(30)).then_some(shard);
                }
                if self.starved == Some(shard) { Ok(()) } else { self.step_shard(shard) }
            }
            40..60 => self.on_some_client(|world, at| {
                let most = *world.random.pick(&[1, 3, 50, 100_000]);
                world.carry(at, most);
                Ok(())
            }),
            60..75 => self.on_some_client(|world, at| {
                let most = *world.random.pick(&[1, 20, 500, 100_000]);
                if world.clients[at].stalled { Ok(()) } else { world.take_in(at, most) }
            }),
            _ => self.random_act(),
        }
    }

    fn on_some_client(&mut self, act: impl FnOnce(&mut Self, usize) -> Judged) -> Judged {
        if self.clients.is_empty() {
            return Ok(());
        }
        let at = self.random.below(self.clients.len());
        act(self, at)
    }

    fn pass_time(&mut self) {
        if self.random.below(1000) < self.plan.jumps {
            let long = self.plan.interval_s.max(self.plan.timeout_s) as usize * 1500;
            self.now_ms += self.random.below(long) as u64;
        } else if self.random.chance(30) {
            self.now_ms += self.random.below(20) as u64;
        }
    }

    /// Lets a shard do its next turn, if its thread would run.
    pub(crate) fn step_shard(&mut self, shard: usize) -> Judged {
        if !self.drivers[shard].runs(self.now_ms) {
            return Ok(());
        }
        self.drivers[shard].step(self.now_ms, &mut self.random);
        for (number, id) in std::mem::take(&mut self.drivers[shard].accepted) {
            if let Some(at) = self.client(number) {
                self.clients[at].conn = Some(id);
                let shard = ShardId(u16::try_from(shard).expect("few shards"));
                let name = ClientName { shard, conn: id }.to_string();
                if let Some(stream) = &mut self.clients[at].stream {
                    stream.welcome = welcome(&name, &self.plan);
                }
            }
        }
        for event in std::mem::take(&mut self.drivers[shard].sockets.events) {
            self.note(event)?;
        }
        for dropped in std::mem::take(&mut self.drivers[shard].dropped) {
            if let Some(at) = self.client(dropped.client) {
                self.clients[at].dropped = Some((dropped.rest, dropped.clean));
            }
        }
        Ok(())
    }

    fn client(&self, number: u32) -> Option<usize> {
        self.clients.iter().position(|client| client.number == number)
    }

    /// Brings up to `most` bytes of a client to its shard, and behind them the end of its stream. Whether any moved.
    pub(crate) fn carry(&mut self, at: usize, most: usize) -> bool {
        let client = &mut self.clients[at];
        let Some(conn) = client.conn else { return false };
        let some = most.min(client.out.len());
        let sockets = &mut self.drivers[client.shard].sockets;
        if some > 0 {
            sockets.arrive(conn, client.out.drain(..some));
        }
        let ends = client.ends && !client.ended && client.out.is_empty();
        if ends {
            client.ended = true;
            sockets.arrive_end(conn, false);
        }
        some > 0 || ends
    }

    /// Lets a client read up to `most` bytes and answer what wants an answer.
    pub(crate) fn take_in(&mut self, at: usize, most: usize) -> Judged {
        let client = &mut self.clients[at];
        if client.over {
            return Ok(());
        }
        let Some(conn) = client.conn else { return Ok(()) };
        let (bytes, shut) = match &mut client.dropped {
            Some((rest, _)) => {
                let some = most.min(rest.len());
                (rest.drain(..some).collect(), false)
            }
            None => self.drivers[client.shard].sockets.take(conn, most),
        };
        for frame in client.receive(bytes) {
            self.clients[at].answer(&frame, &mut self.random);
            self.hear(at, frame)?;
        }
        if self.clients[at].stream.as_ref().is_some_and(Stream::is_answered) {
            return self.reset(at);
        }
        let client = &mut self.clients[at];
        let dropped = client.dropped.as_ref().and_then(|(rest, clean)| rest.is_empty().then_some(*clean));
        let Some(clean) = dropped.or(shut.then_some(true)) else { return Ok(()) };
        client.over = true;
        client.ends = true; // the peer ended, so does it
        let (client, torn) = (client.number, client.is_torn());
        self.note(Event::Ended { client, clean, torn })
    }

    fn hear(&mut self, at: usize, frame: Frame) -> Judged {
        let client = self.clients[at].number;
        self.note(Event::Got { client, frame })
    }

    /// Has the model judge what happened.
    pub(crate) fn note(&mut self, event: Event) -> Judged {
        let note = Note { step: self.step, ms: self.now_ms, event };
        if self.loud && !note.is_noise() {
            println!("{note}");
        }
        self.notes.push(note);
        self.model.take(self.notes.last().expect("just pushed"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker panicked under seed {} at step {}, after", self.plan.seed, self.step);
            for note in self.recent() {
                eprintln!("  {note}");
            }
        }
    }
}
