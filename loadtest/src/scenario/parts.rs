//! The other processes of a publishing run, seen from the one that directs it, which is number 0 and holds its part like the others.
//! `fanout` starts them, tells them each stage, asks how far they are, and takes their judgements; `part` is at the other end of the pipes.
//! Invariants: a run is quiet only when every part has heeded all it was told and has nothing under way; a part that fails fails the crew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::fanout::Shape;
use super::found::{Found, add_sequences};
use super::hire::wake;
use super::layout::Layout;
use super::listening::{Lateness, Wakers};
use super::part::{self, At, Tale, Word};
use super::peer::{Peer, own_program};
use super::processes::Orders;
use super::publishing::Stage;
use super::shares::{Gathering, Share, Sink};
use super::storm;
use super::timeline::Timeline;
use crate::client::Crew;
use crate::flight::Flight;
use crate::target::Target;

/// Longest wait for what a part found.
const JUDGEMENT: Duration = Duration::from_secs(60);

/// All parts but this process's own.
pub(super) struct Parts {
    crew: Arc<Crew>,
    flight: Arc<Flight>,
    gathering: Gathering,
    /// Those of this process that publish.
    publishers: Wakers,
    members: Mutex<Vec<Member>>,
    /// Stages begun and ended so far.
    said: Mutex<u32>,
    shape: Shape,
}

struct Member {
    peer: Arc<Peer>,
    told: Arc<Mutex<Told>>,
}

/// What a part has told.
#[derive(Default)]
struct Told {
    at: At,
    sent: Option<Vec<u32>>,
    found: Option<Found>,
    /// It has said all: its end is no news.
    done: bool,
}

/// What all parts together are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) ready: usize,
    pub(super) delivered: u64,
    pub(super) published: u64,
}

impl Parts {
    /// Not begun yet: this process's own threads need to know where their shares go first.
    pub(super) fn new(
        shape: &Shape,
        layout: &Arc<Layout>,
        crew: &Arc<Crew>,
        flight: &Arc<Flight>,
        publishers: &Wakers,
    ) -> Arc<Self> {
        Arc::new(Self {
            crew: Arc::clone(crew),
            flight: Arc::clone(flight),
            gathering: Gathering::new(Arc::clone(layout), Arc::clone(flight)),
            publishers: Arc::clone(publishers),
            members: Mutex::default(),
            said: Mutex::default(),
            shape: shape.clone(),
        })
    }

    /// Where shares of this process's threads go.
    pub(super) fn sink(self: &Arc<Self>) -> Sink {
        let parts = Arc::clone(self);
        Arc::new(move |shares| parts.take(shares))
    }

    /// Starts all processes but this one.
    pub(super) fn begin(
        self: &Arc<Self>,
        target: &Target,
        storm: Option<&storm::Shape>,
        seed: u64,
    ) -> Result<(), String> {
        let program = own_program()?;
        for process in 1..self.shape.processes {
            let orders = part::Orders {
                target: target.clone(),
                shape: self.shape.clone(),
                storm: storm.cloned(),
                seed,
                process,
                origin_ns: self.crew.origin_ns(),
            };
            let told = Arc::<Mutex<Told>>::default();
            // Weak: a part that is heard for longer than the run is not what keeps it.
            let (own, parts) = (Arc::clone(&told), Arc::downgrade(self));
            let peer = Peer::start(&program, &Orders::Part(Box::new(orders)), move |tale| hear(tale, &own, &parts))?;
            lock(&self.members).push(Member { peer: Arc::new(peer), told });
        }
        Ok(())
    }

    /// Process ids.
    pub(super) fn pids(&self) -> Vec<u32> {
        lock(&self.members).iter().map(|member| member.peer.pid()).collect()
    }

    /// All that they have told, added up.
    pub(super) fn sum(&self) -> Sum {
        lock(&self.members).iter().fold(Sum::default(), |sum, member| {
            let at = lock(&member.told).at;
            Sum {
                ready: sum.ready + at.ready,
                delivered: sum.delivered + at.delivered,
                published: sum.published + at.published,
            }
        })
    }

    /// A stretch begins.
    pub(super) fn begin_stage(&self, stage: Stage) -> Result<(), String> {
        self.say(|process| Word::Stage(stage.of_process(process, self.shape.publishing_processes())))
    }

    /// True when they have heeded all they were told and nothing of theirs is under way. Once nobody publishes any more, they are told so.
    pub(super) fn are_quiet(&self) -> Result<bool, String> {
        let said = *lock(&self.said);
        let all = |is: fn(&At) -> bool| {
            lock(&self.members).iter().all(|member| {
                let at = lock(&member.told).at;
                at.heeded == said && is(&at)
            })
        };
        if said % 2 == 1 {
            if self.flight.busy() == 0 && all(|at| !at.publishes) {
                self.say(|_| Word::Over)?;
            }
            return Ok(false);
        }
        Ok(all(|at| at.under_way == 0))
    }

    fn say(&self, word: impl Fn(usize) -> Word) -> Result<(), String> {
        *lock(&self.said) += 1;
        for (number, member) in lock(&self.members).iter().enumerate() {
            member.peer.say(&word(number + 1))?;
        }
        Ok(())
    }

    /// Ends all connections; answers what each publisher of other processes sent.
    pub(super) fn stop(&self) -> Result<Vec<u32>, String> {
        self.tell_all(&Word::Stop)?;
        let mut all = Vec::new();
        for own in self.awaited("say what it published", |told| told.sent.take())? {
            add_sequences(&mut all, &own);
        }
        Ok(all)
    }

    /// What they found, when so much was published.
    pub(super) fn judge(&self, sequences: Vec<u32>) -> Result<Vec<Found>, String> {
        self.tell_all(&Word::Judge(sequences))?;
        self.awaited("judge", |told| told.found.take())
    }

    /// What was gathered of the publications of all processes.
    pub(super) fn gathered(&self) -> (Lateness, Timeline) {
        self.gathering.finish()
    }

    fn tell_all(&self, word: &Word) -> Result<(), String> {
        lock(&self.members).iter().try_for_each(|member| member.peer.say(word))
    }

    fn awaited<T>(&self, what: &str, of: impl Fn(&mut Told) -> Option<T>) -> Result<Vec<T>, String> {
        let deadline = Instant::now() + JUDGEMENT;
        let tolds: Vec<_> = lock(&self.members).iter().map(|member| Arc::clone(&member.told)).collect();
        let mut all = Vec::new();
        for told in tolds {
            all.push(loop {
                if let Some(found) = of(&mut lock(&told)) {
                    break found;
                }
                self.crew.failure()?;
                if Instant::now() > deadline {
                    return Err(format!("a load process did not {what} within {} s", JUDGEMENT.as_secs()));
                }
                thread::sleep(super::LOOK);
            });
        }
        Ok(all)
    }

    /// Takes what threads of any process have finished, and tells those who published it.
    fn take(&self, shares: Vec<Share>) {
        let mut numbers = self.gathering.take(shares);
        numbers.sort_unstable_by_key(|number| self.flight.process_of(*number));
        for own in numbers.chunk_by(|a, b| self.flight.process_of(*a) == self.flight.process_of(*b)) {
            let process = self.flight.process_of(own[0]);
            if process == 0 {
                own.iter().for_each(|number| self.flight.complete(*number));
                wake(&self.publishers);
                continue;
            }
            let peer = lock(&self.members).get(process - 1).map(|member| Arc::clone(&member.peer));
            if let Some(Err(sentence)) = peer.map(|peer| peer.say(&Word::Completed(own.to_vec()))) {
                self.crew.fail(sentence);
            }
        }
    }
}

/// Notes what a part tells.
fn hear(tale: Result<Tale, String>, told: &Mutex<Told>, parts: &Weak<Parts>) {
    let Some(parts) = parts.upgrade() else {
        return;
    };
    match tale {
        Ok(Tale::At(at)) => lock(told).at = at,
        Ok(Tale::Shares(shares)) => parts.take(shares),
        Ok(Tale::Sent(sequences)) => lock(told).sent = Some(sequences),
        Ok(Tale::Found(found)) => {
            let mut told = lock(told);
            (told.found, told.done) = (Some(*found), true);
        }
        Err(_) if lock(told).done => {}
        Ok(Tale::Failed(sentence)) | Err(sentence) => parts.crew.fail(sentence),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
