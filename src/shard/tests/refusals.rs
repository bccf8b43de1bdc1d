//! What is refused before its body has come, in what time a request has to come, and what a page may read of a refusal.

use super::api::{JSON, request};
use super::identity::verifier;
use super::*;
use crate::auth::{Credentials, Wish};
use crate::http::Reader;

/// A broker that knows users and lets nobody else in, and pages of one origin.
fn world() -> World {
    let credentials = Arc::new(Credentials { tokens: verifier(), ..Credentials::default() });
    World::guarded(2, 4, Some(credentials), |config| {
        config.server.allowed_origins = vec!["https://ok.example".to_owned()];
        config.limits.message_bytes_max = 1_000;
    })
}

fn bearer() -> String {
    let publish = ["#".to_owned()];
    let wish =
        Wish { user: "a", subscribe: &[], publish: &publish, operate: false, now_unix_s: BEGAN_UNIX_S, ttl_s: 60 };
    format!("Authorization: Bearer {}\r\n", verifier().issue(&wish, None).expect("a valid wish"))
}

/// A head that announces a body of 900 bytes.
fn head(line: &str, headers: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: 900\r\n\r\n").into_bytes()
}

const PUBLISH: &str = "POST /v1/publish?topic=a";

#[test]
fn what_the_head_of_a_request_spoils_is_told_before_its_body_comes() {
    let other = format!("{}Origin: https://evil.example\r\n", bearer());
    let with = |headers: &str| format!("{}{headers}Expect: 100-continue\r\n", bearer());
    for (line, headers, status) in [
        ("POST /v1/publish", &*with(""), 400),
        ("POST /v1/publish?topic=a%2B", &with(""), 400),
        ("POST /v1/publish?topic=a&topic=$sys/a", &with(""), 403),
        ("POST /v1/publish?topic=a&conflate=", &with(""), 400),
        (PUBLISH, &with("Idempotency-Key: \r\n"), 400),
        (PUBLISH, &with("Content-Encoding: gzip\r\n"), 415),
        (PUBLISH, &with("Content-Type: text/plain; charset=utf-16\r\n"), 415),
        ("POST /v1/batch", &with("Content-Type: text/plain\r\n"), 415),
        (PUBLISH, "", 401),
        (PUBLISH, "Authorization: Bearer x\r\n", 401),
        (PUBLISH, "Expect: 100-continue\r\n", 401),
        (PUBLISH, &*other, 403),
        ("POST /v1/nothing", "", 404),
        ("PUT /v1/publish", "", 405),
        ("DELETE /v1/connections?user=a", &*bearer(), 403),
        ("POST /healthz", "", 405),
        ("POST /nothing", "Expect: 100-continue\r\n", 404),
    ] {
        let mut world = world();
        let peer = world.accept(0);
        world.send(peer, &head(line, headers));
        world.settle();
        let answers = world.answers(peer);
        let [answer] = &answers[..] else { panic!("{line} {headers}: {answers:?}") };
        assert!(answer.status == status && answer.head.contains("\r\nConnection: close\r\n"), "{line}: {answer:?}");
        assert!(world.peers[peer].shut);
        world.send(peer, &[b'x'; 900]); // it comes all the same, and is not looked at
        world.settle();
        assert!(world.answers(peer).is_empty());
        world.end(peer);
        world.settle();
        world.leave();
    }
}

#[test]
fn who_may_is_read_on_and_told_to_go_on_if_it_waits() {
    for (expect, interim) in [("", vec![]), ("Expect: 100-continue\r\n", vec![100])] {
        let mut world = world();
        let peer = world.accept(0);
        let statuses = |world: &mut World| world.answers(peer).iter().map(|answer| answer.status).collect::<Vec<_>>();
        for _ in 0..2 {
            world.send(peer, &head(PUBLISH, &format!("{}{expect}", bearer())));
            world.settle();
            assert_eq!(statuses(&mut world), interim);
            world.send(peer, &[b'x'; 900]);
            world.settle();
            assert_eq!(statuses(&mut world), [200]);
        }
        world.reset(peer);
        world.leave();
    }
}

#[test]
fn rfc9110_15_5_9_a_request_that_does_not_end_in_time_is_told_so() {
    for part in [b"GET /v1/hist".to_vec(), head(PUBLISH, &bearer())] {
        for before in [false, true] {
            let mut world = world();
            let peer = world.accept(0);
            if before {
                world.request(peer, "GET /v1/nothing", "", b"");
            }
            world.send(peer, &part);
            world.pass(10_000);
            let answers = world.answers(peer);
            let [answer] = &answers[..] else { panic!("{answers:?}") };
            assert!(answer.status == 408 && answer.head.contains("\r\nConnection: close\r\n"), "{answer:?}");
            assert!(world.peers[peer].shut && !world.peers[peer].dropped);
            world.pass(limits::CLOSE_MS_MAX);
            assert!(world.peers[peer].dropped, "whether it answers or not");
            assert_eq!(world.closed(CloseReason::HandshakeTimeout), 1);
            world.leave();
        }
    }
}

#[test]
fn a_request_that_came_in_time_is_answered_however_late_its_home_is() {
    let mut world = world();
    let peer = world.accept(0);
    world.pass(9_900);
    let line = format!("POST /v1/publish?topic={}", world.topic_at(1));
    world.send(peer, &request(&line, &format!("{JSON}{}", bearer()), b"1"));
    for _ in 0..200 {
        world.now_ms += TICK_MS;
        world.turn(0); // the other shard has better things to do
    }
    assert!(!world.peers[peer].dropped && world.answers(peer).is_empty());
    world.settle();
    assert_eq!(world.answers(peer)[0].status, 200);
    world.pass(10_000);
    assert!(world.peers[peer].dropped);
    assert_eq!(world.closed(CloseReason::Idle), 1);
}

#[test]
fn a_page_of_an_allowed_origin_reads_what_is_wrong_with_its_body() {
    for (wrong, status) in [
        ("Content-Length: 1001\r\n\r\n", 413),
        ("Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
        ("Content-Length: x\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413),
    ] {
        for (origin, marked) in [("https://ok.example", true), ("https://evil.example", false)] {
            let mut world = world();
            let peer = world.accept(0);
            let text = format!("{PUBLISH} HTTP/1.1\r\nHost: a\r\n{}Origin: {origin}\r\n{wrong}", bearer());
            world.send(peer, text.as_bytes());
            world.settle();
            let answers = world.answers(peer);
            let [answer] = &answers[..] else { panic!("{answers:?}") };
            assert_eq!(answer.status, status, "{wrong}");
            let allowed = answer.head.contains("\r\nAccess-Control-Allow-Origin: https://ok.example\r\n");
            assert_eq!(allowed, marked, "{answer:?}");
            assert!(answer.head.contains("\r\nVary: Origin\r\n") && answer.head.contains("\r\nDate: "), "{answer:?}");
            world.end(peer);
            world.settle();
            world.leave();
        }
    }
}

#[test]
fn a_body_of_a_stranger_takes_no_memory() {
    let mut world = world();
    let peer = world.accept(0);
    world.send(peer, &[&head(PUBLISH, "")[..], &[b'x'; 800]].concat());
    let connection::Speech::Http(reader) = &world.shards[0].connections[0].speech else { panic!("no upgrade") };
    assert_eq!(reader.held_bytes(), Reader::new().held_bytes());
    world.settle();
    assert_eq!(world.answers(peer)[0].status, 401);
    let mut request = request(PUBLISH, &format!("{JSON}{}", bearer()), b"[1,2]");
    let late = request.split_off(request.len() - 2);
    let peer = world.accept(0);
    world.send(peer, &request);
    let connection::Speech::Http(reader) = &world.shards[0].connections[1].speech else { panic!("no upgrade") };
    assert!(reader.held_bytes() > 0, "that of a known one is kept until it is whole");
    world.send(peer, &late);
    world.settle();
    assert_eq!(world.answers(peer)[0].status, 200);
}
