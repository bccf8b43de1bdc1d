//! The broker's figures as Prometheus sees them: what is counted, who may see it, and that nobody can hold up a scrape.

use super::api::{Answer, JSON, request};
use super::operate::{bearer, world_of};
use super::*;
use crate::limits::FIGURES_MS_MAX;

const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0; q=0.6, text/plain; q=0.4\r\n";

/// The value of a sample, by its name with labels.
fn value(answer: &Answer, sample: &str) -> f64 {
    let text = String::from_utf8(answer.body.clone()).expect("text");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    let value = lines.next().unwrap_or_else(|| panic!("{sample} in {text}")).parse().expect("a number");
    assert_eq!(lines.next(), None, "{sample} is there once");
    value
}

#[test]
fn what_happened_on_all_cores_is_counted_once() {
    let mut world = World::new(2);
    let (scraper, publisher) = (world.accept(0), world.open(1));
    let readers = [world.open(0), world.open(1)];
    for home in 0..2 {
        let topic = world.topic_at(home);
        readers.iter().for_each(|&reader| world.tell(reader, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#)));
        world.tell(publisher, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
    }
    world.tell(publisher, r#"{"op":"nonsense"}"#);
    let events = world.accept(0);
    world.send(events, &request("GET /v1/events?topic=zebra", "", b""));
    let poll = world.accept(1);
    world.send(poll, &request("GET /v1/poll?topic=zebra", "", b""));
    let lost = world.accept(1);
    world.send(lost, b"nonsense\r\n\r\n");
    world.settle();
    world.reset(lost);
    let answer = world.request(scraper, "GET /metrics", OPENMETRICS, b"");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
    assert!(answer.head.contains("\r\nCache-Control: no-store\r\n") && answer.body.ends_with(b"\n# EOF\n"));
    for (sample, expected) in [
        ("wirefan_connections{transport=\"websocket\"}", 3.0),
        ("wirefan_connections{transport=\"events\"}", 1.0),
        ("wirefan_connections{transport=\"poll\"}", 1.0),
        ("wirefan_connections{transport=\"http\"}", 1.0),
        ("wirefan_connections_accepted_total", 7.0),
        ("wirefan_refused_total{cause=\"malformed\"}", 1.0),
        ("wirefan_connections_closed_total{reason=\"http_refused\"}", 1.0),
        ("wirefan_publications_total", 2.0),
        ("wirefan_deliveries_total", 4.0),
        ("wirefan_errors_total", 1.0),
        ("wirefan_subscriptions", 6.0),
        ("wirefan_topics", 3.0),
        ("wirefan_shards_answered", 2.0),
        ("wirefan_shard_connections{shard=\"1\"}", 3.0),
    ] {
        assert_eq!(value(&answer, sample), expected, "{sample}");
    }
    let text = String::from_utf8(answer.body).expect("text");
    assert!(!text.contains("chat/") && !text.contains("zebra"), "no topic is named: {text}");
    // Whoever goes is counted no more, by whatever way.
    world.say(readers[0], r#"{"op":"ping"}"#);
    world.frame(readers[0], Opcode::Close, b"");
    world.reset(readers[1]);
    world.reset(events);
    world.reset(poll);
    world.settle();
    let answer = world.request(scraper, "GET /metrics", "", b"");
    for (transport, expected) in [("websocket", 1.0), ("events", 0.0), ("poll", 0.0), ("http", 2.0)] {
        let sample = format!("wirefan_connections{{transport=\"{transport}\"}}");
        assert_eq!(value(&answer, &sample), expected, "{transport}: the closing one still has its socket");
    }
    world.leave();
}

#[test]
fn a_scrape_gets_the_format_that_it_asks_for() {
    let mut world = World::new(1);
    let scraper = world.accept(0);
    for (accept, openmetrics) in [
        ("", false),
        ("Accept: */*\r\n", false),
        ("Accept: text/html, application/xhtml+xml, */*;q=0.8\r\n", false),
        (OPENMETRICS, true),
        ("Accept: application/openmetrics-text;q=0.1, text/plain;q=0.9\r\n", false),
        ("Accept: application/openmetrics-text;q=0\r\n", false),
        ("Accept: application/openmetrics-text\r\n", true),
        ("Accept: image/png\r\n", false),
    ] {
        let answer = world.request(scraper, "GET /metrics", accept, b"");
        let media =
            if openmetrics { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
        assert!(answer.status == 200 && answer.head.contains(media), "{accept}: {}", answer.head);
        assert_eq!(answer.body.ends_with(b"# EOF\n"), openmetrics);
    }
    let got = world.peers[scraper].got.len();
    world.send(scraper, &request("HEAD /metrics", "", b""));
    world.settle();
    let head = String::from_utf8(world.peers[scraper].got[got..].to_vec()).expect("text");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n") && head.contains("Content-Length: "));
    world.peers[scraper].heard = world.peers[scraper].got.len();
    for (line, status, allow) in [
        ("POST /metrics", 405, "Allow: GET, HEAD, OPTIONS"),
        ("DELETE /metrics", 405, "Allow: GET, HEAD, OPTIONS"),
        ("OPTIONS /metrics", 204, "Allow: GET, HEAD, OPTIONS"),
        ("GET /metrics/", 404, ""),
    ] {
        let peer = world.accept(0);
        let answer = world.request(peer, line, "", b"");
        assert!(answer.status == status && answer.head.contains(allow), "{line}: {}", answer.head);
    }
    world.leave();
}

#[test]
fn figures_are_for_operators_unless_the_broker_is_alone_on_its_machine_or_says_otherwise() {
    let get = |world: &mut World, headers: &str| {
        let peer = world.accept(1);
        let answer = world.request(peer, "GET /metrics", headers, b"");
        world.reset(peer);
        answer.status
    };
    // Strangers are welcome here, as subscribers.
    let mut known = world_of(2, 4);
    assert_eq!(get(&mut known, ""), 401);
    assert_eq!(get(&mut known, &bearer("ann", false)), 403);
    assert_eq!(get(&mut known, "Authorization: Bearer nonsense\r\n"), 401);
    assert_eq!(get(&mut known, &bearer("ann", true)), 200);
    known.leave();
    for (listen, anonymous, status) in [
        ("127.0.0.1:80", AllowAnonymous::Loopback, 200),
        ("[::1]:80", AllowAnonymous::Loopback, 200),
        ("0.0.0.0:80", AllowAnonymous::Loopback, 403),
        ("0.0.0.0:80", AllowAnonymous::Always, 200),
        ("127.0.0.1:80", AllowAnonymous::Never, 403),
    ] {
        let mut world = World::with(2, 4, |config| {
            config.server.listen.push(listen.parse().expect("an address"));
            config.metrics.allow_anonymous = anonymous;
        });
        assert_eq!(get(&mut world, ""), status, "{listen} {anonymous:?}");
        world.leave();
    }
}

#[test]
fn a_shard_that_stands_still_is_missing_in_a_scrape_and_does_not_hold_it_up() {
    let mut world = World::new(3);
    let (scraper, other) = (world.accept(0), world.accept(0));
    let turn = |world: &mut World| [0, 1].into_iter().for_each(|shard| world.turn(shard));
    world.send(scraper, &request("GET /metrics", "", b""));
    world.send(other, &request("GET /metrics", "", b""));
    for _ in 0..5 {
        turn(&mut world);
    }
    assert_eq!(world.shards[0].tallies(), 1, "both wait for the same");
    assert!(world.peers[scraper].got.is_empty());
    assert!(world.shards[0].deadline_ms().expect("it wakes for it") <= world.now_ms + FIGURES_MS_MAX);
    world.now_ms += FIGURES_MS_MAX;
    turn(&mut world);
    for peer in [scraper, other] {
        let answer = world.answers(peer).remove(0);
        assert_eq!((answer.status, value(&answer, "wirefan_shards_answered")), (200, 2.0));
        assert_eq!(value(&answer, "wirefan_shards"), 3.0);
        assert!(!String::from_utf8_lossy(&answer.body).contains("{shard=\"2\"}"));
    }
    // Its late answer is nobody's, and the next scrape has it again.
    world.settle();
    let answer = world.request(scraper, "GET /metrics", "", b"");
    assert_eq!(value(&answer, "wirefan_shards_answered"), 3.0);
    world.leave();
}

#[test]
fn who_asked_may_be_gone_and_the_connection_serves_other_requests() {
    let mut world = World::new(2);
    let (gone, both) = (world.accept(0), world.accept(1));
    world.send(gone, &request("GET /metrics", "", b""));
    world.reset(gone);
    world.send(both, &request("GET /metrics", "", b""));
    world.send(both, &request("POST /v1/publish?topic=a", JSON, b"1"));
    world.settle();
    let answers: Vec<u16> = world.answers(both).iter().map(|answer| answer.status).collect();
    assert_eq!(answers, [200, 200]);
    world.leave();
}

#[test]
fn every_reason_of_an_end_is_explained_and_has_a_word_of_its_own() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let manual = std::fs::read_to_string(path).expect("a readable file");
    let (_, table) = manual.split_once("## Why connections end").expect("the table");
    let labels: std::collections::BTreeSet<_> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
    assert_eq!(labels.len(), CloseReason::ALL.len());
    for label in labels {
        assert!(table.contains(&format!("`{label}`")), "{label}");
    }
}
