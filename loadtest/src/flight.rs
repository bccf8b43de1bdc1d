//! Publications under way, shared by the threads that publish and the threads that receive.
//! The publisher launches a number; each fresh delivery arrives at it and learns how many came before. Where a run has several processes,
//! deliveries are counted by `scenario::shares`, and a publication is completed as a whole.
//! Invariants: a number's slot is reused only when its tenant has arrived everywhere; what arrives for a tenant long gone
//! is not counted; a number says whose it is, and whether it is measured. One atomic addition per delivery.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Publications that may be under way at once.
pub(crate) const UNDER_WAY_MAX: usize = 1 << 16;

/// Numbers from here on are of the measured stage.
pub(crate) const MEASURED: u32 = 1 << 31;
/// Measured publications that can be told apart.
pub(crate) const PUBLICATIONS_MAX: u32 = u32::MAX - MEASURED;

/// Whether this publication's latencies count.
pub(crate) fn is_measured(number: u32) -> bool {
    number >= MEASURED
}

/// All publications under way.
pub(crate) struct Flight {
    slots: Box<[Slot]>,
    published: AtomicU64,
    completed: AtomicU64,
    delivered: AtomicU64,
    /// When the last publication was complete, in nanoseconds since the crew's origin.
    completed_last_ns: AtomicU64,
    /// When the measured stage began.
    measured_start_ns: AtomicU64,
    /// Threads that have a stage to run.
    busy: AtomicU32,
    /// Number of the next publication.
    next: AtomicU32,
    /// Its first number, and what lies between two of its numbers: those between are other processes'.
    numbers: (u32, u32),
}

#[derive(Default)]
struct Slot {
    number: AtomicU32,
    expected: AtomicU32,
    arrived: AtomicU32,
}

/// Which of a publication's deliveries this was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// 1 for the first subscriber.
    pub(crate) nth: u32,
    /// How many subscribers there are.
    pub(crate) of: u32,
}

impl Flight {
    /// That of a run in one process, with nothing under way.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::of(0, 1)
    }

    /// That of one of so many processes that publish, with nothing under way.
    pub(crate) fn of(process: usize, processes: usize) -> Self {
        let numbers = (process as u32, processes as u32);
        Self {
            slots: (0..UNDER_WAY_MAX).map(|_| Slot::default()).collect(),
            published: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            completed_last_ns: AtomicU64::new(0),
            measured_start_ns: AtomicU64::new(0),
            busy: AtomicU32::new(0),
            next: AtomicU32::new(numbers.0),
            numbers,
        }
    }

    /// The number of a publication, which no other has.
    pub(crate) fn number(&self) -> u32 {
        self.next.fetch_add(self.numbers.1, Ordering::AcqRel)
    }

    /// The process whose publication this is.
    pub(crate) fn process_of(&self, number: u32) -> usize {
        (number % MEASURED % self.numbers.1) as usize
    }

    /// A publication goes to `expected` subscribers. `false` while an old one still holds its slot.
    pub(crate) fn launch(&self, number: u32, expected: u32) -> bool {
        let slot = &self.slots[number as usize % UNDER_WAY_MAX];
        if slot.arrived.load(Ordering::Acquire) < slot.expected.load(Ordering::Relaxed) {
            return false;
        }
        slot.number.store(number, Ordering::Relaxed);
        slot.expected.store(expected, Ordering::Relaxed);
        slot.arrived.store(0, Ordering::Release);
        self.published.fetch_add(1, Ordering::AcqRel);
        if expected == 0 {
            self.completed.fetch_add(1, Ordering::AcqRel);
        }
        true
    }

    /// One subscriber has it, for the first time. `None` if it is not under way.
    pub(crate) fn arrive(&self, number: u32, now_ns: u64) -> Option<Arrival> {
        let slot = &self.slots[number as usize % UNDER_WAY_MAX];
        if slot.number.load(Ordering::Acquire) != number {
            return None;
        }
        let nth = slot.arrived.fetch_add(1, Ordering::AcqRel) + 1;
        let of = slot.expected.load(Ordering::Relaxed);
        if nth == of {
            self.completed_at(now_ns);
            self.completed.fetch_add(1, Ordering::AcqRel);
        }
        Some(Arrival { nth, of })
    }

    /// Everybody has a publication, whoever counted that.
    pub(crate) fn complete(&self, number: u32) {
        let slot = &self.slots[number as usize % UNDER_WAY_MAX];
        if slot.number.load(Ordering::Acquire) == number {
            slot.arrived.store(slot.expected.load(Ordering::Relaxed), Ordering::Release);
            self.completed.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Some publication was complete then.
    pub(crate) fn completed_at(&self, now_ns: u64) {
        self.completed_last_ns.fetch_max(now_ns, Ordering::Relaxed);
    }

    /// Publications launched and not yet everywhere.
    pub(crate) fn under_way(&self) -> u64 {
        let completed = self.completed.load(Ordering::Acquire);
        self.published.load(Ordering::Acquire).saturating_sub(completed)
    }

    /// Publications launched.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Adds to the deliveries counted; a thread does so once per turn.
    pub(crate) fn count_deliveries(&self, deliveries: u64) {
        self.delivered.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// Fresh deliveries counted.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Latencies count from the next publication on, whose stage begins at `now_ns`. Of several threads the first one says so.
    pub(crate) fn measure(&self, now_ns: u64) {
        // Nobody has a number of the stage before any more.
        let first = self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            (!is_measured(next)).then_some(MEASURED + self.numbers.0)
        });
        if first.is_ok() {
            self.measured_start_ns.store(now_ns, Ordering::Relaxed);
        }
    }

    /// True from the start of the measured stage until nothing more of it is published.
    pub(crate) fn is_measuring(&self) -> bool {
        is_measured(self.next.load(Ordering::Acquire)) && self.busy() > 0
    }

    /// How long the measured stage has run at `now_ns`, in nanoseconds.
    pub(crate) fn since_measured(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.measured_start_ns.load(Ordering::Relaxed))
    }

    /// From the start of the measured stage to the last completion, in nanoseconds.
    pub(crate) fn measured_ns(&self) -> u64 {
        let start = self.measured_start_ns.load(Ordering::Relaxed);
        self.completed_last_ns.load(Ordering::Relaxed).saturating_sub(start)
    }

    /// So many threads begin a stage.
    pub(crate) fn begin_stage(&self, threads: u32) {
        self.busy.store(threads, Ordering::Release);
    }

    /// One of them has published all of it.
    pub(crate) fn end_stage(&self) {
        self.busy.fetch_sub(1, Ordering::AcqRel);
    }

    /// Threads that have more to publish.
    pub(crate) fn busy(&self) -> u32 {
        self.busy.load(Ordering::Acquire)
    }

    /// True when nothing is published any more and all that was is everywhere.
    pub(crate) fn is_quiet(&self) -> bool {
        self.busy() == 0 && self.under_way() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_are_told_and_the_last_completes() {
        let flight = Flight::new();
        assert!(flight.launch(0, 3));
        assert_eq!(flight.under_way(), 1);
        assert_eq!(flight.arrive(0, 5), Some(Arrival { nth: 1, of: 3 }));
        assert_eq!(flight.arrive(0, 6), Some(Arrival { nth: 2, of: 3 }));
        assert!(!flight.is_quiet());
        assert_eq!(flight.arrive(0, 7), Some(Arrival { nth: 3, of: 3 }));
        assert!(flight.is_quiet());
        assert_eq!((flight.published(), flight.measured_ns()), (1, 7));
    }

    #[test]
    fn a_slot_under_way_is_not_given_away_and_the_dead_do_not_arrive() {
        let flight = Flight::new();
        let again = UNDER_WAY_MAX as u32;
        assert!(flight.launch(0, 1));
        assert!(!flight.launch(again, 1));
        flight.arrive(0, 1);
        assert!(flight.launch(again, 1));
        assert_eq!(flight.arrive(0, 2), None);
        assert_eq!(flight.under_way(), 1);
    }

    #[test]
    fn numbers_say_whose_they_are_and_whether_they_are_measured() {
        let flights = [0, 1, 2].map(|process| Flight::of(process, 3));
        let mut all = Vec::new();
        for (process, flight) in flights.iter().enumerate() {
            let warm = [flight.number(), flight.number()];
            flight.measure(5);
            flight.measure(9);
            let timed = [flight.number(), flight.number()];
            assert!(warm.iter().all(|number| !is_measured(*number)) && timed.iter().all(|number| is_measured(*number)));
            assert_eq!(flight.since_measured(6), 1, "the first one says when");
            all.extend(warm.into_iter().chain(timed));
            assert!(all.iter().rev().take(4).all(|number| flight.process_of(*number) == process));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn who_is_completed_as_a_whole_leaves_its_slot() {
        let flight = Flight::new();
        assert!(flight.launch(0, 3));
        flight.complete(7);
        assert_eq!(flight.under_way(), 1);
        flight.complete(0);
        assert!(flight.is_quiet() && flight.launch(UNDER_WAY_MAX as u32, 1));
    }

    #[test]
    fn a_publication_without_subscribers_is_complete_at_once() {
        let flight = Flight::new();
        assert!(flight.launch(0, 0));
        assert!(flight.is_quiet());
    }
}
