//! Fan-outs against the floor in the same process: the whole path of a run, small and bounded.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use wirefan::config::{Config, Flags};

use super::*;
use crate::common;
use crate::floor::{Floor, Manner as FloorManner};
use crate::scenario::crowd::Manner;
use crate::scenario::idle;
use crate::spawn::Configuration;
use crate::target::{Tls, Transport};

/// A floor on a thread of its own, for as long as `body` runs and thirty seconds at most.
pub(crate) fn with_floor<T>(body: impl FnOnce(&Target) -> T) -> T {
    with_floor_in(FloorManner::default(), body)
}

/// The same, of that manner.
pub(crate) fn with_floor_in<T>(manner: FloorManner, body: impl FnOnce(&Target) -> T) -> T {
    let mut floor = Floor::bind("127.0.0.1:0".parse().unwrap(), manner).unwrap();
    let target = Target::at(floor.address().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let stop = Arc::clone(&stop);
        move || floor.run(&stop, Some(Instant::now() + Duration::from_secs(30)))
    });
    let found = body(&target);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap().unwrap();
    found
}

pub(crate) fn shape() -> Shape {
    Shape { subscribers: 50, warmup: Duration::from_millis(30), publications_max: 40, ..Shape::default() }
}

fn run_small(shape: &Shape) -> Measured {
    let own = Some(std::process::id());
    with_floor(|target| run(target, shape, own, &Progress::new(true)).unwrap())
}

#[test]
fn fifty_subscribers_get_forty_publications_one_at_a_time() {
    let measured = run_small(&shape());
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (40, 2_000));
    let [first, last] = [&measured.lateness.first, &measured.lateness.last].map(Latencies::summary);
    assert_eq!((first.count, last.count), (40, 40));
    assert_eq!(measured.lateness.median.summary().count, 40);
    assert!(0 < first.p50_ns && first.p50_ns <= last.p50_ns);
    assert!(measured.wall_ns > 0 && measured.spending.server.is_some());
}

#[test]
fn bursts_topics_publishers_threads_and_sources_keep_every_sequence() {
    let measured = run_small(&Shape {
        publishers: 3,
        topics: 4,
        threads: 3,
        sources: 3,
        pace: Pace::UnderWay(32),
        publications_max: 200,
        payload_bytes: 1_000,
        ..shape()
    });
    assert_eq!(measured.faults, Faults::default());
    assert_eq!(measured.publications, 200);
    // 50 subscribers over 4 topics and 200 publications over 4 topics: 50 x 50.
    assert_eq!(measured.deliveries, 2_500);
}

#[test]
fn a_batching_floor_delivers_the_same() {
    let shape = Shape { topics: 4, pace: Pace::UnderWay(32), publications_max: 400, ..shape() };
    let own = Some(std::process::id());
    let manner = FloorManner { batch: true, heartbeat: Some(Duration::from_millis(20)) };
    let measured = with_floor_in(manner, |target| run(target, &shape, own, &Progress::new(true)).unwrap());
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (400, 5_000));
}

/// 120 seats in 12 rooms of 10: 40 connections in three each.
fn rooms() -> Shape {
    Shape {
        subscribers: 40,
        publishers: 0,
        topics: 12,
        seating: Seating::Rooms { seats: 120, zipf: 0.0 },
        publications_max: 360,
        ..shape()
    }
}

#[test]
fn in_rooms_each_member_publishes_and_gets_what_all_publish() {
    for (threads, pace) in [(1, Pace::UnderWay(1)), (3, Pace::UnderWay(16)), (2, Pace::Rate(2_000.0))] {
        let shape = Shape { threads, pace, ..rooms() };
        let run = |target: &Target| run(target, &shape, None, &Progress::new(true)).unwrap();
        for measured in [with_floor(run), with_broker(None, run)] {
            assert_eq!(measured.faults, Faults::default(), "{pace:?}");
            assert_eq!((measured.publications, measured.deliveries), (360, 3_600), "{pace:?}");
            assert_eq!(measured.lateness.last.summary().count, 360);
        }
    }
    let batching = FloorManner { batch: true, heartbeat: None };
    let shape = Shape { pace: Pace::UnderWay(64), ..rooms() };
    let measured = with_floor_in(batching, |target| run(target, &shape, None, &Progress::new(true)).unwrap());
    assert_eq!((measured.faults, measured.deliveries), (Faults::default(), 3_600));
}

#[test]
fn rooms_after_zipf_are_verified_alike() {
    let shape = Shape { seating: Seating::Rooms { seats: 120, zipf: 1.0 }, pace: Pace::UnderWay(8), ..rooms() };
    let measured = with_broker(None, |target| run(target, &shape, None, &Progress::new(true)).unwrap());
    assert_eq!(measured.faults, Faults::default());
    // Three times from each seat, to all of its room.
    let sizes = layout::sizes(12, 120, 40, 1.0);
    let expected: u64 = sizes.iter().map(|size| 3 * u64::from(*size).pow(2)).sum();
    assert_eq!((measured.publications, measured.deliveries), (360, expected));
}

#[test]
fn subscribers_by_all_transports_get_the_same_in_one_order() {
    let shape = Shape {
        subscribers: 48,
        publishers: 3,
        topics: 4,
        threads: 2,
        mixed: true,
        pace: Pace::UnderWay(16),
        publications_max: 400,
        ..shape()
    };
    let measured = with_broker(Some(1_000), |target| run(target, &shape, None, &Progress::new(true)).unwrap());
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (400, 4_800));
    let by: Vec<u64> = measured.lateness.by_transport.iter().map(|one| one.summary().count).collect();
    assert_eq!(by, [1_600; 3], "a third each, in every topic");
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let measured = run_small(&Shape {
        pace: Pace::Rate(500.0),
        publications_max: u64::MAX,
        length: Duration::from_millis(400),
        ..shape()
    });
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (200, 10_000));
    assert!(measured.wall_ns > 390_000_000, "{}", measured.wall_ns);
}

#[test]
fn topics_without_subscribers_do_not_hold_the_loop() {
    let measured = run_small(&Shape { subscribers: 2, topics: 5, publications_max: 10, ..shape() });
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (10, 4));
}

#[test]
fn nobody_there_is_a_sentence() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusal = run(&Target::at(port), &shape(), None, &Progress::new(true)).err().unwrap();
    assert!(refusal.contains("cannot connect"), "{refusal}");
}

#[test]
fn a_server_that_is_no_websocket_is_a_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 1024]).unwrap();
        socket.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let lone = Shape { subscribers: 1, publishers: 1, connects_per_second: 1.0, ..shape() };
    let refusal = run(&Target::at(address), &lone, None, &Progress::new(true)).err().unwrap();
    assert!(refusal.contains("404"), "{refusal}");
    thread.join().unwrap();
}

/// The broker, which keeps `history` publications of each topic.
pub(crate) fn with_broker<T>(history: Option<u32>, body: impl FnOnce(&Target) -> T) -> T {
    common::with_broker(|config| config.rules = vec![common::rule(history)], |address| body(&Target::at(address)))
}

#[test]
fn the_broker_on_two_shards_delivers_everything_once_and_in_order() {
    let shape =
        Shape { publishers: 3, topics: 4, threads: 2, pace: Pace::UnderWay(16), publications_max: 400, ..shape() };
    let measured =
        with_broker(None, |target| run(target, &shape, Some(std::process::id()), &Progress::new(true)).unwrap());
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (400, 5_000));
}

#[test]
fn streams_and_polls_get_everything_once_and_in_order() {
    let shape = Shape { topics: 4, threads: 2, pace: Pace::UnderWay(16), publications_max: 400, ..shape() };
    for transport in [Transport::Sse, Transport::Poll] {
        let run = |target: &Target| {
            let target = Target { transport, ..target.clone() };
            run(&target, &shape, Some(std::process::id()), &Progress::new(true)).unwrap()
        };
        let measured = with_broker(Some(1_000), run);
        assert_eq!(measured.faults, Faults::default(), "{transport:?}");
        assert_eq!((measured.publications, measured.deliveries), (400, 5_000));
    }
}

#[test]
fn polls_of_a_broker_that_keeps_nothing_are_seen_to_lose() {
    let shape = Shape { pace: Pace::Rate(4_000.0), ..shape() };
    let run = |target: &Target| {
        let target = Target { transport: Transport::Poll, ..target.clone() };
        run(&target, &shape, None, &Progress::new(true)).unwrap()
    };
    let faults = with_broker(None, run).faults;
    assert!(
        faults.closed > 0 && faults.sentences.iter().any(|sentence| sentence.contains("not recovered")),
        "{faults:?}"
    );
}

#[test]
fn under_tls_everything_comes_once_and_in_order_too() {
    let mut configuration = Configuration::keeping(1_000).unwrap();
    let tls = Tls::trusting(&configuration.certify().unwrap(), "127.0.0.1").unwrap();
    let [_, path] = configuration.arguments();
    let config = Config::load(Some(Path::new(&path)), std::iter::empty(), &Flags::default()).unwrap();
    let body = |address| {
        for transport in [Transport::Ws, Transport::Sse, Transport::Poll] {
            let target = Target { transport, tls: Some(tls.clone()), ..Target::at(address) };
            let shape = Shape { payload_bytes: 30_000, publications_max: 10, pace: Pace::UnderWay(4), ..shape() };
            let measured = run(&target, &shape, None, &Progress::new(true)).unwrap();
            assert_eq!(measured.faults, Faults::default(), "{transport:?}");
            assert_eq!((measured.publications, measured.deliveries), (10, 500));
        }
    };
    common::with_broker(|defaults| *defaults = config, body);
}

#[test]
fn the_broker_refuses_a_payload_and_the_run_fails_with_its_words() {
    let shape = Shape { payload_bytes: 100_000, ..shape() };
    let measured = with_broker(None, |target| run(target, &shape, None, &Progress::new(true)).unwrap());
    assert_eq!((measured.faults.closed, measured.faults.lost, measured.deliveries), (1, 50, 0));
    assert!(measured.faults.sentences.iter().any(|sentence| sentence.contains("1009")));
}

#[test]
fn sixty_idle_connections_are_sampled_held_and_kept() {
    let manner = Manner { subscribe_each: 3, topics: Some(7), ..crate::scenario::crowd::tests::manner() };
    let shape = idle::Shape { connections: 60, manner, hold: Duration::from_millis(50), processes: 1 };
    for transport in [Transport::Ws, Transport::Sse, Transport::Poll] {
        let run = |target: &Target| {
            let target = Target { transport, ..target.clone() };
            idle::run(&target, &shape, std::process::id(), &Progress::new(true)).unwrap()
        };
        let measured = with_broker(None, run);
        assert_eq!(measured.faults, Faults::default());
        let counts: Vec<usize> = measured.samples.iter().map(|sample| sample.connections).collect();
        assert_eq!((counts[0], counts[1], counts.last().copied()), (0, 30, Some(60)));
        assert!(measured.pss_slope.is_some() && measured.hold_ns >= 50_000_000);
    }
}

/// By its own profile the broker is judged as any other: nothing lost, doubled, out of order or mangled.
#[test]
fn the_broker_by_its_own_profile_delivers_everything_once_and_in_order() {
    let shape =
        Shape { publishers: 3, topics: 4, threads: 2, pace: Pace::UnderWay(16), publications_max: 400, ..shape() };
    let profile = Some(Arc::new(crate::profile::Profile::load("wirefan").unwrap()));
    let measured = with_broker(None, |target| {
        let target = Target { path: "/".into(), profile: profile.clone(), ..target.clone() };
        run(&target, &shape, None, &Progress::new(true)).unwrap()
    });
    assert_eq!(measured.faults, Faults::default());
    assert_eq!((measured.publications, measured.deliveries), (400, 5_000));
}

/// A profile that looks for the payload in the wrong place finds nothing that was published.
#[test]
fn a_profile_that_is_wrong_about_its_broker_fails_the_run() {
    let text = include_str!("../../../profiles/wirefan.toml");
    let profile = text.replace(r#""{any}","data":{payload}}'"#, r#""{any}","data":"{payload}}'"#);
    assert_ne!(profile, text);
    let profile = Some(Arc::new(crate::profile::Profile::parse(&profile).unwrap()));
    let shape = Shape { publications_max: 3, ..shape() };
    let measured = with_broker(None, |target| {
        let target = Target { path: "/".into(), profile: profile.clone(), ..target.clone() };
        run(&target, &shape, None, &Progress::new(true)).unwrap()
    });
    assert!(measured.faults.mangled > 0 && measured.deliveries == 0, "{:?}", measured.faults);
}

#[test]
fn idle_connections_of_a_floor_that_pings_answer_it() {
    let manner = crate::scenario::crowd::tests::manner();
    let shape = idle::Shape { connections: 20, manner, hold: Duration::from_millis(500), processes: 1 };
    let beating = FloorManner { batch: false, heartbeat: Some(Duration::from_millis(100)) };
    let measured =
        with_floor_in(beating, |target| idle::run(target, &shape, std::process::id(), &Progress::new(true)).unwrap());
    assert_eq!(measured.faults, Faults::default());
    assert!((60..=140).contains(&measured.pings), "20 connections, five times each: {}", measured.pings);
}

#[test]
fn more_than_the_server_may_hold_is_a_sentence() {
    let most = crate::machine::descriptors_of(std::process::id()).unwrap();
    let manner = crate::scenario::crowd::tests::manner();
    let shape = idle::Shape { connections: most + 1, manner, hold: Duration::ZERO, processes: 1 };
    let nobody = Target::at("127.0.0.1:1".parse().unwrap());
    let refusal = idle::run(&nobody, &shape, std::process::id(), &Progress::new(true)).err().unwrap();
    assert!(refusal.contains("ulimit -n"), "{refusal}");
}
