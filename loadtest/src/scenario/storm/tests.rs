//! Faults planted across a reconnect, each of which must be counted for what it is; and small storms against the broker.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::client::{Link, Message, Order, Scene};
use crate::envelope::{Ack, Position, Stamp, write_message, write_payload};
use crate::flight::{Flight, MEASURED};
use crate::scenario::fanout::tests::with_broker;
use crate::scenario::layout::Layout;
use crate::scenario::listening::Listening;
use crate::scenario::publishing::Pace;
use crate::stats::Latencies;
use crate::verify::Faults;

pub(crate) fn shape() -> Shape {
    let fanout = fanout::Shape {
        subscribers: 60,
        publishers: 2,
        topics: 3,
        pace: Pace::Rate(300.0),
        warmup: Duration::from_millis(100),
        length: Duration::from_millis(1_500),
        threads: 2,
        ..fanout::Shape::default()
    };
    Shape { fanout, share_per_second: 3.0, away_ns_max: 60_000_000 }
}

/// One subscriber of topic `t` with a publisher that sent ten, played by hand.
struct Stage {
    weather: Weather,
    now_ns: u64,
}

impl Stage {
    /// Acked at 9:0, and has sequences 0 to 2 live.
    fn new() -> Self {
        let flight = Arc::new(Flight::new());
        for number in 0..10 {
            assert!(flight.launch(MEASURED + number, 1));
        }
        flight.measure(0);
        flight.begin_stage(1);
        let listening = Listening::new(
            Arc::new(Layout::apart(vec!["t".to_owned()], 1, 1)),
            Arc::clone(&flight),
            None,
            1..1 + 1,
            64,
        );
        let shape = Shape { share_per_second: 1e-9, away_ns_max: 0, ..shape() };
        let mut stage = Self { weather: Weather::new(listening, &flight, &shape, 7), now_ns: 0 };
        stage.weather.opened(0, 0);
        stage.ack(0, None);
        (0..3).for_each(|n| stage.hear(n));
        stage
    }

    /// Cuts the subscriber off and lets it connect again; answers the `since` that it says.
    fn reconnect(&mut self) -> Option<Position> {
        self.weather.turn(&mut [], self.now_ns);
        // The first reset of a storm is due at once.
        assert_eq!(self.weather.order(self.now_ns), Some(Order::Reset(0)));
        assert_eq!(self.weather.order(self.now_ns), Some(Order::Open(0)));
        assert_eq!(self.weather.order(self.now_ns), None);
        self.now_ns += 1_000_000;
        self.weather.opened(0, self.now_ns);
        self.now_ns += 5_000_000;
        self.weather.subscriptions(0)[0].since
    }

    fn ack(&mut self, offset: u64, recovered: Option<bool>) {
        self.say(Ack { position: Some(Position { epoch: 9, offset }), recovered });
    }

    fn say(&mut self, ack: Ack) {
        self.weather.message(0, Message::Acked(ack), self.now_ns);
    }

    /// Sequence `n` at position n + 1.
    fn hear(&mut self, n: u32) {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        write_payload(&mut data, Stamp { publisher: 0, sequence: n, publication: MEASURED + n, intended_ns: 0 }, 64);
        write_message(&mut out, "t", Position { epoch: 9, offset: u64::from(n) + 1 }, &data);
        self.now_ns += 1_000_000;
        self.weather.message(0, Message::Text(&out), self.now_ns);
    }

    fn finish(self) -> (Faults, Recoveries, u64) {
        let (heard, recoveries) = self.weather.finish();
        (heard.checker.finish(|_, _| 10), recoveries, heard.lateness.all.summary().count)
    }
}

#[test]
fn a_whole_replay_is_without_fault_and_timed_to_its_last_publication() {
    let mut stage = Stage::new();
    assert_eq!(stage.reconnect(), Some(Position { epoch: 9, offset: 3 }));
    stage.ack(6, Some(true));
    (3..10).for_each(|n| stage.hear(n));
    let (faults, recoveries, live) = stage.finish();
    assert_eq!(faults, Faults::default());
    assert_eq!((recoveries.resets, recoveries.replayed, live), (1, 3, 7));
    let [ack, recovered] = [&recoveries.to_ack, &recoveries.to_recovered].map(Latencies::summary);
    assert_eq!((ack.count, recovered.count), (1, 1));
    // 5 ms to the ack, and one more for each replayed publication.
    let near = |ns: u64, ms: u64| ns.abs_diff(ms * 1_000_000) < 10_000;
    assert!(near(ack.max_ns, 5) && near(recovered.max_ns, 8), "{ack:?} {recovered:?}");
}

#[test]
fn who_missed_nothing_is_recovered_with_the_ack() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(3, Some(true));
    (3..10).for_each(|n| stage.hear(n));
    let (faults, recoveries, live) = stage.finish();
    assert_eq!((faults, recoveries.replayed, live), (Faults::default(), 0, 10));
    assert_eq!(recoveries.to_ack.summary(), recoveries.to_recovered.summary());
}

#[test]
fn a_second_reset_amid_the_replay_goes_on_where_the_first_was() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(8, Some(true));
    stage.hear(3);
    // By hand: the next reset of this calm storm is days away.
    stage.weather.opened(0, stage.now_ns);
    assert_eq!(stage.weather.subscriptions(0)[0].since, Some(Position { epoch: 9, offset: 4 }));
    stage.ack(8, Some(true));
    (4..10).for_each(|n| stage.hear(n));
    let (faults, recoveries, _) = stage.finish();
    assert_eq!(faults, Faults::default());
    assert_eq!((recoveries.to_ack.summary().count, recoveries.to_recovered.summary().count), (2, 1));
}

#[test]
fn a_publication_lost_between_two_connections_is_lost() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(6, Some(true));
    (4..10).for_each(|n| stage.hear(n));
    let (faults, _, _) = stage.finish();
    assert_eq!((faults.lost, faults.position_breaks, faults.total()), (1, 1, 2));
}

#[test]
fn a_publication_lost_between_replay_and_live_is_lost() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(6, Some(true));
    [3, 4, 5, 7, 8, 9].into_iter().for_each(|n| stage.hear(n));
    let (faults, _, _) = stage.finish();
    assert_eq!((faults.lost, faults.position_breaks, faults.total()), (1, 1, 2));
}

#[test]
fn a_publication_of_the_old_connection_again_on_the_new_one_is_doubled() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(6, Some(true));
    (2..10).for_each(|n| stage.hear(n));
    let (faults, _, _) = stage.finish();
    assert_eq!((faults.doubled, faults.lost), (1, 0));
    assert!(faults.position_breaks > 0);
}

#[test]
fn a_replay_that_runs_into_live_is_doubled() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(6, Some(true));
    [3, 4, 5, 6, 6, 7, 8, 9].into_iter().for_each(|n| stage.hear(n));
    let (faults, _, _) = stage.finish();
    assert_eq!((faults.doubled, faults.lost), (1, 0));
}

#[test]
fn a_replay_that_never_ends_is_lost_and_never_recovered() {
    let mut stage = Stage::new();
    stage.reconnect();
    stage.ack(10, Some(true));
    (3..6).for_each(|n| stage.hear(n));
    let (faults, recoveries, _) = stage.finish();
    assert_eq!((faults.lost, faults.total()), (4, 4));
    assert_eq!((recoveries.to_ack.summary().count, recoveries.to_recovered.summary().count), (1, 0));
}

#[test]
fn acks_that_are_not_a_recovery_are_faults() {
    let at = |epoch, offset| Some(Position { epoch, offset });
    for ack in [
        Ack { position: at(9, 6), recovered: Some(false) },
        Ack { position: at(9, 6), recovered: None },
        Ack { position: at(8, 6), recovered: Some(true) },
        Ack { position: at(9, 2), recovered: Some(true) },
        Ack { position: None, recovered: Some(true) },
    ] {
        let mut stage = Stage::new();
        stage.reconnect();
        stage.say(ack);
        let (faults, recoveries, _) = stage.finish();
        assert!(faults.sentences[0].contains("since 00000009:3: `recovered` was") || ack.position.is_none());
        assert_eq!((faults.not_recovered, recoveries.to_recovered.summary().count), (1, 0), "{ack:?}");
        assert_eq!(faults.lost, 7, "{ack:?}");
    }
}

#[test]
fn the_first_delivery_has_to_be_the_one_after_the_first_ack() {
    let flight = Arc::new(Flight::new());
    let listening =
        Listening::new(Arc::new(Layout::apart(vec!["t".to_owned()], 1, 1)), Arc::clone(&flight), None, 1..1 + 1, 64);
    let mut stage = Stage { weather: Weather::new(listening, &flight, &shape(), 7), now_ns: 0 };
    stage.weather.opened(0, 0);
    stage.ack(0, None);
    stage.hear(1);
    let (faults, _, _) = stage.finish();
    assert_eq!(faults.position_breaks, 1);
}

#[test]
fn resets_come_at_the_asked_rate_and_never_hit_who_is_away() {
    let flight = Arc::new(Flight::new());
    flight.measure(0);
    flight.begin_stage(1);
    let topics = vec!["t".to_owned()];
    let listening = Listening::new(Arc::new(Layout::apart(topics, 100, 0)), Arc::clone(&flight), None, 0..100, 64);
    let mut weather = Weather::new(listening, &flight, &Shape { share_per_second: 2.0, ..shape() }, 3);
    let mut present = [true; 100];
    (0..100).for_each(|link| weather.opened(link, 0));
    for ms in 0..10_000 {
        weather.turn(&mut [], ms * 1_000_000);
        while let Some(order) = weather.order(ms * 1_000_000) {
            match order {
                Order::Reset(link) => assert!(std::mem::replace(&mut present[link], false)),
                Order::Open(link) => {
                    assert!(!std::mem::replace(&mut present[link], true));
                    weather.opened(link, ms * 1_000_000);
                }
                Order::Read(..) => panic!("a storm lets everybody read at once"),
            }
        }
    }
    flight.end_stage();
    weather.turn(&mut [], 20_000_000_000);
    while let Some(order) = weather.order(20_000_000_000) {
        let Order::Open(link) = order else { panic!("a reset after the storm") };
        present[link] = true;
    }
    assert!(present.iter().all(|present| *present));
    let (_, recoveries) = weather.finish();
    // 2,000 expected, with a standard deviation of 45.
    assert!((1_800..2_200).contains(&recoveries.resets), "{}", recoveries.resets);
}

#[test]
fn a_reset_link_is_a_reset_to_its_peer() {
    use std::io::{ErrorKind, Read};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut link = Link::open(&Target::at(listener.local_addr().unwrap()), 0, None, 1).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    link.reset();
    assert!(link.is_gone() && link.socket().is_none());
    assert_eq!(peer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

/// A storm over the broker, which keeps `history` publications of each topic.
fn storm_over_broker(history: Option<u32>, shape: &Shape) -> Measured {
    with_broker(history, |target| run(target, shape, Some(std::process::id()), &Progress::new(true)).unwrap())
}

#[test]
fn a_storm_over_a_broker_with_history_loses_and_doubles_nothing() {
    let measured = storm_over_broker(Some(1_000), &shape());
    assert_eq!(measured.fanout.faults, Faults::default());
    assert!(measured.passed());
    // 300 per second for 1.5 s over 3 topics, to 60 subscribers over 3 topics.
    assert_eq!((measured.fanout.publications, measured.fanout.deliveries), (450, 9_000));
    let recoveries = &measured.recoveries;
    assert!(recoveries.resets > 150 && recoveries.replayed > 100, "{} {}", recoveries.resets, recoveries.replayed);
    let recovered = recoveries.to_recovered.summary().count;
    assert!(0 < recovered && recovered <= recoveries.resets, "{recovered} {}", recoveries.resets);
    assert!(recoveries.to_ack.summary().p50_ns <= recoveries.to_recovered.summary().p50_ns);
    assert!(measured.memory_before.is_some() && measured.fanout.spending.server.unwrap().cpu_ns > 0);
}

#[test]
fn a_storm_over_a_broker_without_history_is_seen_to_lose() {
    let brief = fanout::Shape { length: Duration::from_millis(300), ..shape().fanout };
    let measured = storm_over_broker(None, &Shape { fanout: brief, ..shape() });
    let faults = &measured.fanout.faults;
    assert!(faults.not_recovered > 0 && faults.lost > 0 && !measured.passed(), "{faults:?}");
}

#[test]
fn all_cut_off_at_once_come_back_at_once_and_miss_nothing() {
    let fanout = fanout::Shape { at_once: true, topics: 3, ..shape().fanout };
    let shape = Shape { fanout, away_ns_max: 0, ..shape() };
    let measured = with_broker(Some(10_000), |target| {
        run(target, &shape, Some(std::process::id()), &Progress::new(true)).unwrap()
    });
    assert_eq!(measured.fanout.faults, Faults::default());
    let recoveries = &measured.recoveries;
    assert_eq!((recoveries.resets, recoveries.since_all.summary().count), (60, 60));
    assert!(recoveries.since_all.summary().max_ns >= recoveries.to_ack.summary().max_ns);
    let outcome = crate::report::all_at_once_outcome(&shape, &measured, Some(0), Vec::new());
    assert!(outcome.passed && outcome.figures.iter().any(|figure| figure.name == "all back after"));
}

#[test]
fn who_does_not_come_back_from_a_storm_of_all_fails_it() {
    let shape = shape();
    let mut measured = with_broker(Some(10_000), |target| run(target, &shape, None, &Progress::new(true)).unwrap());
    // Some were cut off now and then, but nobody in a moment of all.
    measured.fanout.faults = Faults::default();
    let outcome = crate::report::all_at_once_outcome(&shape, &measured, None, Vec::new());
    assert!(!outcome.passed && outcome.faults.sentences[0].contains("60 subscribers did not come back"));
}
