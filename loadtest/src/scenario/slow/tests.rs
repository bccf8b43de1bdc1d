//! Slow readers played by hand, and small runs against the broker.

use wirefan::config::Config;
use wirefan::rules::{Overflow, Rule};

use super::*;
use crate::client::{Message, Order, Scene};
use crate::common;
use crate::envelope::{Ack, Position, Stamp, write_message, write_payload};
use crate::flight::Flight;
use crate::scenario::layout::Layout;
use crate::scenario::listening::Listening;
use crate::scenario::publishing::Pace;

/// Slow readers fall behind by more than all buffers hold before the measured stretch begins; the healthy, whose threads may have to wait for
/// their core as long as half a second, do not.
fn shape(overflow: Overflow) -> Shape {
    let fanout = fanout::Shape {
        subscribers: 30,
        payload_bytes: 2_000,
        pace: Pace::Rate(50.0),
        warmup: Duration::from_millis(1_500),
        length: Duration::from_millis(1_000),
        threads: 2,
        others: 7,
        ..fanout::Shape::default()
    };
    let unread_bytes_max = u64::from(OUTBOUND_BYTES_MAX) + 49_152;
    let manner = Manner { bytes_per_second: None, receive_buffer: Some(8_192), overflow, unread_bytes_max };
    Shape { fanout, manner }
}

/// What may wait for a connection in the broker.
const OUTBOUND_BYTES_MAX: u32 = 32_768;
/// Publications of a run, those of the warm-up included.
const PUBLISHED: u64 = 125;

fn over_broker(overflow: Overflow, shape: &Shape) -> Measured {
    let configure = |config: &mut Config| {
        config.limits.outbound_bytes_max = OUTBOUND_BYTES_MAX as usize;
        config.rules = vec![Rule { overflow, ..common::rule(None) }];
    };
    let own = Some(std::process::id());
    let body = |address| run_once(&Target::at(address), shape, own, &Progress::new(true)).unwrap();
    common::with_broker(configure, body)
}

#[test]
fn with_disconnect_each_slow_reader_gets_4008_and_the_healthy_get_everything() {
    let measured = over_broker(Overflow::Disconnect, &shape(Overflow::Disconnect));
    assert_eq!(measured.fanout.faults, Faults::default());
    assert_eq!((measured.slow.readers, measured.slow.refused, measured.slow.gaps), (7, 7, 0));
    assert!(measured.slow.delivered > 0, "each got what came before");
    assert_eq!((measured.fanout.publications, measured.fanout.deliveries), (50, 1_500));
    assert!(measured.passed());
    let [begin, _, end] = measured.memory().unwrap();
    assert!(measured.memory_before.is_some() && begin.seconds < end.seconds && end.server.pss_bytes > 0);
}

#[test]
fn what_is_dropped_is_told_by_gaps_that_add_up_and_the_newest_comes() {
    for (rule, conflate_keys) in [(Overflow::DropOldest, 0), (Overflow::Latest, 0), (Overflow::Latest, 3)] {
        let shape = shape(rule);
        let shape = Shape { fanout: fanout::Shape { conflate_keys, ..shape.fanout.clone() }, ..shape };
        let measured = over_broker(rule, &shape);
        assert_eq!(measured.fanout.faults, Faults::default(), "{rule:?} {conflate_keys}");
        let slow = measured.slow;
        assert_eq!((slow.refused, slow.delivered + slow.missed), (0, 7 * PUBLISHED));
        assert!(slow.missed > 0 && slow.gaps >= 7 && measured.passed(), "{slow:?}");
    }
}

#[test]
fn who_reads_at_a_rate_is_told_gaps_on_the_way() {
    let mut shape = shape(Overflow::DropOldest);
    // A quarter of what is published.
    shape.manner.bytes_per_second = Some(25_000);
    let measured = over_broker(Overflow::DropOldest, &shape);
    assert_eq!(measured.fanout.faults, Faults::default());
    assert!(measured.slow.gaps > 7, "{:?}", measured.slow);
    assert!(measured.passed());
}

#[test]
fn a_broker_that_closes_where_it_is_to_drop_is_found_out() {
    let measured = over_broker(Overflow::Disconnect, &shape(Overflow::DropOldest));
    let faults = &measured.fanout.faults;
    assert_eq!((faults.closed, faults.overflow_breaks), (7, 7), "{:?}", faults.sentences);
    assert!(!measured.passed());
}

#[test]
fn slow_readers_who_keep_up_are_no_test() {
    let mut shape = shape(Overflow::Disconnect);
    shape.manner.bytes_per_second = Some(100_000_000);
    shape.fanout.payload_bytes = 200;
    let measured = over_broker(Overflow::Disconnect, &shape);
    assert_eq!((measured.slow.refused, measured.slow.delivered), (0, 7 * PUBLISHED), "each has everything");
    assert_eq!(measured.fanout.faults.overflow_breaks, 7, "not closed");
    assert!(!measured.passed());
}

/// Three connections that publish nothing, of which the second is slow, on topic `t`.
struct Stage {
    scene: SlowReaders,
    flight: Arc<Flight>,
    shore: Arc<Shore>,
}

const SLOW: usize = 1;

impl Stage {
    fn new(manner: Manner) -> Self {
        let (flight, shore) = (Arc::new(Flight::new()), Arc::new(Shore::default()));
        let listening = Listening::new(
            Arc::new(Layout::apart(vec!["t".to_owned()], 2, 1)),
            Arc::clone(&flight),
            None,
            1..1 + 2,
            64,
        );
        let scene = SlowReaders::new(listening, 1, &flight, &shore, manner);
        let mut stage = Self { scene, flight, shore };
        let link = (0..3).find(|&link| stage.scene.receive_buffer(link).is_some());
        assert_eq!(link, Some(2), "the last of each share is slow");
        for link in 0..3 {
            assert!(stage.scene.reads(link), "all read until they are ready");
            let ack = Ack { position: Some(Position { epoch: 9, offset: 0 }), recovered: None };
            stage.scene.message(link, Message::Acked(ack), 0);
        }
        stage
    }

    fn publish(&self, count: u32) {
        (0..count).for_each(|number| assert!(self.flight.launch(number, 2)));
    }

    fn hear(&mut self, link: usize, n: u32) {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        write_payload(&mut data, Stamp { publisher: 0, sequence: n, publication: n, intended_ns: 0 }, 64);
        write_message(&mut out, "t", Position { epoch: 9, offset: u64::from(n) + 1 }, &data);
        self.scene.message(link, Message::Text(&out), 5_000);
    }

    /// What is ordered in the turn at `ms`.
    fn orders(&mut self, ms: u64) -> Vec<Order> {
        self.scene.turn(&mut [], ms * 1_000_000);
        std::iter::from_fn(|| self.scene.order(ms * 1_000_000)).collect()
    }
}

fn manner(overflow: Overflow, bytes_per_second: Option<u32>) -> Manner {
    Manner { bytes_per_second, receive_buffer: Some(1), overflow, unread_bytes_max: 640 }
}

#[test]
fn who_reads_nothing_is_not_let_read_until_all_read_up() {
    let mut stage = Stage::new(manner(Overflow::DropOldest, None));
    stage.publish(10);
    assert!([0, 1].iter().all(|&link| stage.scene.reads(link)) && !stage.scene.reads(2));
    assert!((1..500).all(|ms| stage.orders(ms).is_empty()));
    stage.shore.read_up.store(true, Ordering::Release);
    assert_eq!(stage.orders(500), [Order::Read(2, usize::MAX)]);
    assert!(stage.scene.reads(2));
    assert_eq!(stage.orders(501), [], "once is enough");
    let gap = br#"{"op":"gap","topic":"t","missed":9,"position":"00000009:9"}"#;
    stage.scene.message(2, Message::Text(gap), 0);
    stage.orders(502);
    assert_eq!(stage.shore.done.load(Ordering::Relaxed), 0, "the newest is to come");
    stage.hear(2, 9);
    stage.orders(503);
    assert_eq!((stage.shore.done.load(Ordering::Relaxed), stage.shore.heard.load(Ordering::Relaxed)), (SLOW, 3));
    for n in 0..10 {
        stage.hear(0, n);
        stage.hear(1, n);
    }
    assert!(stage.flight.under_way() == 0, "the healthy complete a publication by themselves");
    let found = stage.scene.finish();
    let mut faults = found.heard.checker.finish(|_, _| 10);
    found.readers[0].finish(&Expected { overflow: Overflow::DropOldest, published: 10, newest: 1 }, &mut faults);
    assert_eq!(faults, Faults::default());
}

#[test]
fn who_reads_at_a_rate_is_let_read_ten_times_per_second() {
    let mut stage = Stage::new(manner(Overflow::Latest, Some(5_000)));
    let orders: Vec<Order> = (1..=1_000).flat_map(|ms| stage.orders(ms)).collect();
    assert_eq!(orders, [Order::Read(2, 500); 10]);
}

#[test]
fn with_disconnect_who_must_have_been_closed_reads_on_to_be_told_so() {
    let mut stage = Stage::new(manner(Overflow::Disconnect, None));
    stage.publish(10);
    assert!((1..500).all(|ms| stage.orders(ms).is_empty()), "640 bytes may lie unread");
    assert!(stage.flight.launch(10, 2));
    let orders: Vec<Order> = (500..700).flat_map(|ms| stage.orders(ms)).collect();
    assert_eq!(orders, [Order::Read(2, usize::MAX)]);
    stage.scene.closed(2, "the server closed with 4008 \"slow consumer\"");
    let found = stage.scene.finish();
    assert!(found.readers[0].was_refused());
    assert_eq!(found.heard.checker.faults, Faults::default());
}

#[test]
fn other_ends_and_strange_messages_of_a_slow_reader_are_faults() {
    let mut stage = Stage::new(manner(Overflow::DropOldest, None));
    let mut other = Vec::new();
    write_message(&mut other, "t", Position { epoch: 9, offset: 1 }, b"1");
    for text in [
        &br#"{"op":"gap","topic":"u","missed":9,"position":"00000009:9"}"#[..],
        br#"{"op":"error","code":400}"#,
        br#"{"op":"pong"}"#,
        &other,
    ] {
        stage.scene.message(2, Message::Text(text), 0);
    }
    stage.scene.message(2, Message::Binary(b"{}\n"), 0);
    stage.scene.closed(2, "the server closed with 4008 \"slow consumer\"");
    let faults = stage.scene.finish().heard.checker.faults;
    let counts = [faults.misdelivered, faults.errors, faults.unexpected, faults.mangled, faults.closed];
    assert_eq!((counts, faults.total()), ([1, 1, 2, 1, 1], 6));
}

#[test]
fn slow_readers_are_spread_among_the_others_and_each_is_found_again() {
    for (healthy, slow) in [(1, 1), (9, 1), (90, 10), (2, 7), (0, 3), (13, 4)] {
        let flight = Arc::new(Flight::new());
        let topics = vec!["t".to_owned()];
        let listening =
            Listening::new(Arc::new(Layout::apart(topics, healthy, 0)), Arc::clone(&flight), None, 0..healthy, 64);
        let manner = manner(Overflow::Latest, Some(10));
        let mut scene = SlowReaders::new(listening, slow, &flight, &Arc::new(Shore::default()), manner);
        let slow_links: Vec<usize> = (0..healthy + slow).filter(|&link| scene.receive_buffer(link).is_some()).collect();
        assert_eq!(slow_links.len(), slow, "{healthy} {slow}");
        let ack = Ack { position: Some(Position { epoch: 9, offset: 0 }), recovered: None };
        (0..healthy + slow).for_each(|link| scene.message(link, Message::Acked(ack), 0));
        let mut ordered = Vec::new();
        for tick in 1..=10 {
            scene.turn(&mut [], tick * 10_000_000);
            while let Some(Order::Read(link, 1)) = scene.order(0) {
                ordered.push(link);
            }
        }
        ordered.sort_unstable();
        assert_eq!(ordered, slow_links, "{healthy} {slow}");
    }
}
