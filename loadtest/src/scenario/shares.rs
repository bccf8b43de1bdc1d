//! Publications whose subscribers are in several processes: each thread tells when all of its own have one, `Gathering` puts that together.
//! `listening` counts arrivals here where a run has several processes; the process that directs gathers.
//! Invariants: one message for each publication and thread, however many subscribers it has; times are of the machine's one monotonic clock,
//! read where the delivery was; first and last subscriber are exact, the median one to within a sixteenth of a thread's ranks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::listening::Lateness;
use super::timeline::Timeline;
use crate::envelope::Stamp;
use crate::flight::{Flight, is_measured};

/// Most moments that are told of a publication by one thread, from its first subscriber to its last in even steps.
const MARKS_MAX: u64 = 17;

/// When a subscriber had a publication, in nanoseconds since the run's origin; and whether that was live, not by a replay.
type Mark = (u64, bool);

/// What one thread's subscribers saw of a publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    number: u32,
    topic: u32,
    intended_ns: u64,
    /// How many of the thread's subscribers it goes to.
    members: u32,
    arrived: u32,
    marks: Vec<Mark>,
}

/// Where finished shares go.
pub(super) type Sink = Arc<dyn Fn(Vec<Share>) + Send + Sync>;

/// One thread's publications under way.
pub(super) struct Shares {
    /// How many of the thread's subscribers each topic has.
    members: Vec<u32>,
    open: HashMap<u32, Share>,
    done: Vec<Share>,
    sink: Sink,
}

impl Shares {
    /// For a thread with those seats of the layout.
    pub(super) fn new(layout: &Layout, seats: std::ops::Range<usize>, sink: Sink) -> Self {
        let mut members = vec![0; layout.topics.len()];
        seats.for_each(|seat| members[layout.topic_of(seat)] += 1);
        Self { members, open: HashMap::new(), done: Vec::new(), sink }
    }

    /// One of the thread's subscribers has a publication, for the first time.
    pub(super) fn arrive(&mut self, topic: usize, stamp: Stamp, mark: Mark) {
        let share = self.open.entry(stamp.publication).or_insert_with(|| Share {
            number: stamp.publication,
            topic: topic as u32,
            intended_ns: stamp.intended_ns,
            members: self.members[topic],
            arrived: 0,
            marks: Vec::new(),
        });
        share.arrived += 1;
        if is_marked(share.arrived.into(), share.members.into()) {
            share.marks.push(mark);
        }
        if share.arrived == share.members {
            self.done.extend(self.open.remove(&stamp.publication));
        }
    }

    /// Hands over what is finished.
    pub(super) fn flush(&mut self) {
        if !self.done.is_empty() {
            (self.sink)(std::mem::take(&mut self.done));
        }
    }
}

/// Whether the moment of the nth of so many subscribers is told: so are `MARKS_MAX` of them, the first and the last among them.
fn is_marked(nth: u64, of: u64) -> bool {
    let step = |nth: u64| nth * (MARKS_MAX - 1) / (of - 1).max(1);
    nth == 1 || step(nth - 1) > step(nth - 2)
}

/// All threads' shares, of all processes.
pub(super) struct Gathering {
    layout: Arc<Layout>,
    flight: Arc<Flight>,
    gathered: Mutex<Gathered>,
}

struct Gathered {
    open: HashMap<u32, Vec<Share>>,
    lateness: Lateness,
    timeline: Timeline,
}

impl Gathering {
    /// Nothing yet.
    pub(super) fn new(layout: Arc<Layout>, flight: Arc<Flight>) -> Self {
        let gathered = Gathered { open: HashMap::new(), lateness: Lateness::new(), timeline: Timeline::new() };
        Self { layout, flight, gathered: Mutex::new(gathered) }
    }

    /// Takes what threads have finished. Answers the numbers of the publications that everybody has now.
    pub(super) fn take(&self, shares: Vec<Share>) -> Vec<u32> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut complete = Vec::new();
        for share in shares {
            let (number, topic) = (share.number, share.topic as usize);
            let known = gathered.open.entry(number).or_default();
            known.push(share);
            if known.iter().map(|share| share.members).sum::<u32>() >= self.layout.members(topic) {
                let all = gathered.open.remove(&number).unwrap_or_default();
                gathered.judge(&all, &self.flight);
                complete.push(number);
            }
        }
        complete
    }

    /// How late publications were with their first, median and last subscriber, and that over time.
    pub(super) fn finish(&self) -> (Lateness, Timeline) {
        let gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        (gathered.lateness.clone(), gathered.timeline.clone())
    }
}

impl Gathered {
    /// A publication that everybody has.
    fn judge(&mut self, shares: &[Share], flight: &Flight) {
        let mut marks: Vec<(Mark, f64)> = Vec::new();
        for share in shares {
            let weight = f64::from(share.members) / share.marks.len() as f64;
            marks.extend(share.marks.iter().map(|mark| (*mark, weight)));
        }
        marks.sort_unstable_by_key(|(mark, _)| *mark);
        let (Some(share), Some((first, _)), Some((last, _))) = (shares.first(), marks.first(), marks.last()) else {
            return;
        };
        flight.completed_at(last.0);
        if !is_measured(share.number) {
            return;
        }
        let half = f64::from(shares.iter().map(|share| share.members).sum::<u32>()) / 2.0;
        let mut seen = 0.0;
        let median = marks.iter().find(|(_, weight)| {
            seen += weight;
            seen + 1e-9 >= half
        });
        let late_ns = |at_ns: u64| at_ns.saturating_sub(share.intended_ns);
        let lateness = &mut self.lateness;
        for ((at_ns, live), latencies) in [
            (*first, &mut lateness.first),
            (median.map_or(*last, |(mark, _)| *mark), &mut lateness.median),
            (*last, &mut lateness.last),
        ] {
            if live {
                latencies.record(late_ns(at_ns));
            }
        }
        if last.1 {
            self.timeline.note(flight.since_measured(last.0), late_ns(last.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::MEASURED;
    use crate::stats::Latencies;

    /// Shares of threads that hold the subscribers of one topic, so many each, of a publication intended at 1,000,
    /// when subscriber n of all has it at `at(n)`.
    fn shares(members: &[usize], number: u32, at: impl Fn(usize) -> Mark) -> (Arc<Layout>, Vec<Share>) {
        let all: usize = members.iter().sum();
        let layout = Arc::new(Layout::apart(vec!["t".to_owned()], all, 0));
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut first = 0;
        for count in members {
            let told = Arc::clone(&told);
            let sink: Sink = Arc::new(move |shares| told.lock().unwrap().extend(shares));
            let mut thread = Shares::new(&layout, first..first + count, sink);
            for n in first..first + count {
                thread.flush();
                let stamp = Stamp { publisher: 0, sequence: 0, publication: number, intended_ns: 1_000 };
                thread.arrive(0, stamp, at(n));
            }
            thread.flush();
            first += count;
        }
        let told = told.lock().unwrap().clone();
        (layout, told)
    }

    fn gathered(layout: Arc<Layout>, shares: Vec<Share>) -> (Vec<u32>, [u64; 3], [u64; 3]) {
        let gathering = Gathering::new(layout, Arc::new(Flight::new()));
        let complete = shares.into_iter().flat_map(|share| gathering.take(vec![share])).collect();
        let (lateness, _) = gathering.finish();
        let all = [&lateness.first, &lateness.median, &lateness.last].map(Latencies::summary);
        (complete, all.map(|one| one.count), all.map(|one| one.max_ns))
    }

    #[test]
    fn marks_are_all_of_a_few_and_seventeen_of_many_with_first_and_last() {
        for of in [1, 2, 16, 17, 18, 40, 1_000, 1_000_000] {
            let marked: Vec<u64> = (1..=of).filter(|nth| is_marked(*nth, of)).collect();
            assert_eq!(marked.len() as u64, of.min(MARKS_MAX), "{of}");
            assert_eq!((marked[0], marked.last().copied()), (1, Some(of)));
        }
    }

    #[test]
    fn first_median_and_last_are_of_all_threads_together() {
        // Thread 0 has the early ones, thread 1 the late ones: the median is the last of thread 0, as in one process.
        let (layout, told) = shares(&[10, 10], MEASURED, |n| (11_000 + 10_000 * n as u64, true));
        assert_eq!(told.len(), 2);
        let (complete, counts, late) = gathered(layout, told);
        assert_eq!((complete, counts), (vec![MEASURED], [1; 3]));
        for (late, exact) in late.into_iter().zip([10_000, 100_000, 200_000]) {
            assert!(late.abs_diff(exact) <= 128 + exact / 500, "{late} {exact}");
        }
        // Many: within a sixteenth of a thread's ranks.
        let (layout, told) = shares(&[1_000, 3_000], MEASURED, |n| (1_000 + 1_000 * n as u64, true));
        let (_, _, late) = gathered(layout, told);
        assert!(late[1].abs_diff(2_000_000) <= 190_000, "{late:?}");
        assert!(late[2].abs_diff(3_999_000) <= 8_000, "{late:?}");
    }

    #[test]
    fn nothing_is_complete_before_the_last_thread_and_nothing_is_timed_before_the_measured_stage() {
        let (layout, mut told) = shares(&[3, 3, 3], MEASURED, |n| (n as u64 + 2_000, true));
        told.pop();
        assert!(gathered(layout, told).0.is_empty());
        let (layout, told) = shares(&[3, 3], 7, |n| (n as u64 + 2_000, true));
        assert_eq!(gathered(layout, told), (vec![7], [0; 3], [0; 3]));
    }

    #[test]
    fn who_had_it_by_a_replay_is_not_timed() {
        let (layout, told) = shares(&[4, 4], MEASURED, |n| (n as u64 * 1_000 + 2_000, n != 7));
        assert_eq!(gathered(layout, told).1, [1, 1, 0]);
    }
}
