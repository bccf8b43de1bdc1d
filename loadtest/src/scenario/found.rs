//! What the subscribers of one process found, and the judgement over all processes.
//! Each process makes its `Found` once it knows how much was published in the whole run; `judge` puts them together.
//! Invariants: every subscriber is judged where it was heard, against the sequences of all publishers; one order per topic holds over all
//! processes; histograms are added up, never averaged.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::fanout::{Conducted, Measured, STALL};
use super::layout::Layout;
use super::listening::{Heard, Lateness};
use super::timeline::Timeline;
use super::weather::Recoveries;
use crate::stats::Latencies;
use crate::verify::Faults;

/// One process's part of the judgement.
#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    lateness: Lateness,
    sent_late: Latencies,
    pub(super) faults: Faults,
    /// Of each topic and number of publications, a digest of their order: whoever got as many got the same.
    orders: Vec<Order>,
    /// How subscribers came back, in a storm.
    pub(super) recoveries: Recoveries,
    /// Gathered by the process that directs.
    #[serde(skip)]
    timeline: Timeline,
}

/// (topic, publications, digest).
type Order = (usize, u64, u64);

/// How many publications each publisher of each topic sent, as the layout counts them, by the threads that heard so.
pub(super) fn sequences(heard: &[Heard]) -> Vec<u32> {
    let mut all = Vec::new();
    for sent in heard.iter().filter_map(|part| part.sent.as_ref()) {
        add_sequences(&mut all, &sent.sequences);
    }
    all
}

/// Each publisher is of one thread: the others have nothing of it.
pub(super) fn add_sequences(all: &mut Vec<u32>, own: &[u32]) {
    if all.len() < own.len() {
        all.resize(own.len(), 0);
    }
    all.iter_mut().zip(own).for_each(|(all, own)| *all += own);
}

impl Found {
    /// What threads heard, when so much was published.
    pub(super) fn of(heard: Vec<Heard>, sequences: &[u32], recoveries: Recoveries) -> Self {
        let (mut lateness, mut sent_late, mut timeline) = (Lateness::new(), Latencies::new(), Timeline::new());
        let mut faults = Faults::default();
        let orders = orders(&heard, &mut faults);
        for Heard { checker, layout, seat, lateness: late, timeline: part, sent } in heard {
            lateness.merge(&late);
            timeline.merge(part);
            if let Some(sent) = sent {
                sent_late.merge(&sent.late);
            }
            faults.merge(checker.finish(|subscriber, publisher| {
                sequences[layout.publisher(layout.topic_of(seat + subscriber), publisher)]
            }));
        }
        Self { lateness, sent_late, faults, orders, recoveries, timeline }
    }

    /// With what was gathered from all processes.
    pub(super) fn with(mut self, (lateness, timeline): (Lateness, Timeline)) -> Self {
        self.lateness.merge(&lateness);
        self.timeline.merge(timeline);
        self
    }
}

/// One order for all: whoever got as many publications of a topic as another got them in the same order, by whatever transport.
/// Who got fewer has lost some, and is told for that.
fn orders(heard: &[Heard], faults: &mut Faults) -> Vec<Order> {
    let mut known = Known::default();
    for Heard { checker, layout, seat, .. } in heard {
        for subscriber in 0..checker.subscribers() {
            let topic = layout.topic_of(seat + subscriber);
            let own = checker.heard(subscriber);
            let told = || format!("subscriber {subscriber} got the publications of {}", layout.topics[topic]);
            known.compare((topic, own.count, own.digest), faults, told);
        }
    }
    known.0.into_iter().map(|((topic, count), digest)| (topic, count, digest)).collect()
}

/// The first digest of each topic and number of publications.
#[derive(Default)]
struct Known(HashMap<(usize, u64), u64>);

impl Known {
    fn compare(&mut self, (topic, count, digest): Order, faults: &mut Faults, who: impl FnOnce() -> String) {
        if *self.0.entry((topic, count)).or_insert(digest) != digest {
            faults.disordered += 1;
            faults.say(|| format!("{} in another order than others", who()));
        }
    }
}

/// Puts together what all processes found and what the directing thread read.
pub(super) fn judge(conducted: &Conducted, layout: &Layout, found: Vec<Found>) -> (Measured, Recoveries) {
    let mut faults = Faults::default();
    if conducted.stalled {
        let stall = STALL.as_secs();
        faults.say(|| format!("the run stalled: nothing moved for {stall} s, or it could not drain"));
    }
    let (mut lateness, mut sent_late, mut timeline) = (Lateness::new(), Latencies::new(), Timeline::new());
    let (mut known, mut recoveries) = (Known::default(), Recoveries::new());
    for part in found {
        lateness.merge(&part.lateness);
        sent_late.merge(&part.sent_late);
        timeline.merge(part.timeline);
        recoveries.merge(&part.recoveries);
        faults.merge(part.faults);
        for order in part.orders {
            let told = || format!("subscribers of one load process got the publications of {}", layout.topics[order.0]);
            known.compare(order, &mut faults, told);
        }
    }
    let measured = Measured {
        publications: conducted.publications,
        deliveries: lateness.all.summary().count,
        wall_ns: conducted.wall_ns,
        spending: conducted.spending,
        lateness,
        sent_late,
        series: conducted.series.iter().cloned().chain(timeline.series()).collect(),
        faults,
    };
    (measured, recoveries)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::envelope::{Position, Stamp};
    use crate::verify::Checker;

    fn layout() -> Arc<Layout> {
        Arc::new(Layout::apart(vec!["t".to_owned()], 2, 2))
    }

    /// A thread with one subscriber, that got publications of these publishers, in this order.
    fn heard(order: &[u16]) -> Heard {
        let mut checker = Checker::new();
        checker.add(2);
        let mut next = [0, 0];
        for (offset, publisher) in order.iter().enumerate() {
            let sequence = next[usize::from(*publisher)];
            next[usize::from(*publisher)] += 1;
            let stamp = Stamp { publisher: *publisher, sequence, publication: 0, intended_ns: 0 };
            assert!(checker.delivered(0, stamp, Position { epoch: 1, offset: offset as u64 + 1 }));
        }
        let (lateness, timeline) = (Lateness::new(), Timeline::new());
        Heard { checker, layout: layout(), seat: 0, lateness, timeline, sent: None }
    }

    /// Over the pipe and back.
    fn told(order: &[u16]) -> Found {
        let found = Found::of(vec![heard(order)], &[2, 2], Recoveries::new());
        serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap()
    }

    #[test]
    fn another_order_in_another_process_is_found_and_so_is_what_one_lost() {
        let judged =
            |one: &[u16], other: &[u16]| judge(&Conducted::default(), &layout(), vec![told(one), told(other)]).0.faults;
        assert_eq!(judged(&[0, 1, 0, 1], &[0, 1, 0, 1]), Faults::default());
        let faults = judged(&[0, 1, 0, 1], &[0, 1, 1, 0]);
        assert_eq!((faults.disordered, faults.total()), (1, 1));
        let faults = judged(&[0, 1, 0, 1], &[0, 1, 0]);
        assert_eq!((faults.lost, faults.total()), (1, 1));
        let faults = judged(&[], &[0, 1, 0, 1]);
        assert_eq!((faults.lost, faults.total()), (4, 4));
    }

    #[test]
    fn what_each_thread_sent_adds_up() {
        let mut all = vec![1, 0];
        add_sequences(&mut all, &[0, 5, 7]);
        add_sequences(&mut all, &[]);
        assert_eq!(all, [1, 5, 7]);
    }
}
