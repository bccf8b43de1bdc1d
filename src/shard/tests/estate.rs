//! A hand-over between two brokers of different numbers of shards: what was acknowledged goes over, whatever was on its way.

use super::*;
use crate::home::estate::{self, Reader};
use crate::rules;
use crate::rules::Rule;

fn keeps(config: &mut Config) {
    let history = Some(rules::History { count: 1000, age_s: 1 });
    config.rules = vec![Rule { filter: "chat/#".to_owned(), history, ..Rule::default() }];
}

/// A broker of so many shards that inherits from one whose homes are frozen.
fn heir_of(former: &mut World, shards: usize) -> World {
    let (mut estate, homes) = (Vec::new(), former.shards.len() as u64);
    for shard in &mut former.shards {
        while shard.bequeath(&mut estate) {}
    }
    estate::write_end(&mut estate, homes);
    let mut heir = World::with(shards, 4, keeps);
    let (mut reader, as_of_ms) = (Reader::new(usize::MAX), heir.now_ms);
    let take = &mut |bequest: estate::Bequest| {
        let home = heir.shards[0].home_of(bequest.topic());
        heir.shards[home.index()].inherit(bequest, as_of_ms);
    };
    reader.read(&estate, take).expect("right");
    assert!(reader.is_whole());
    heir.shards.iter_mut().for_each(Shard::end_inheritance);
    heir
}

/// The offsets that a peer's lines say were published to a topic.
fn offsets(lines: &[String], what: &str, topic: &str) -> Vec<u64> {
    let number = |text: &str| text.split(' ').next().and_then(|text| text.parse().ok()).expect("an offset");
    let of = |line: &String| match what {
        "ack" => line.split_once(&format!(" {topic} @")).map(|(_, rest)| number(rest)),
        _ => line.strip_prefix(&format!("{topic}:")).map(number),
    };
    lines.iter().filter_map(of).collect()
}

#[test]
fn what_was_acknowledged_before_the_freeze_is_the_heir_s_and_nothing_is_acknowledged_behind_it() {
    for cut in 0..40 {
        let mut former = World::with(3, 1, keeps);
        let publishers: Vec<usize> = (0..3).map(|shard| former.open(shard)).collect();
        let topics: Vec<String> = (0..3).map(|shard| former.topic_at(shard)).collect();
        let reader = former.open(0);
        for topic in &topics {
            former.tell(reader, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        }
        // Turns and commands interleave, and one home after the other freezes in the middle of it.
        for round in 0..40usize {
            let publisher = publishers[round % 3];
            let topic = &topics[(round / 3) % 3];
            if former.reads(publisher) {
                former.say(
                    publisher,
                    &format!(r#"{{"op":"publish","topic":"{topic}","data":{round},"id":{round},"key":"k{round}"}}"#),
                );
            }
            if round >= cut {
                former.shards[(round - cut) % 3].handle_freeze();
            }
            former.turn((round * 7 + cut) % 3);
        }
        former.shards.iter_mut().for_each(Shard::handle_freeze);
        let mut heir = heir_of(&mut former, 2);
        former.settle();
        let heard = former.hear(reader);
        let told: Vec<Vec<String>> = publishers.iter().map(|&publisher| former.hear(publisher)).collect();
        assert!(cut > 30 || told.concat().iter().any(|line| line.ends_with(" 503")), "cut {cut}");
        let client = heir.open(1);
        for topic in &topics {
            let mut acked: Vec<u64> = told.iter().flat_map(|lines| offsets(lines, "ack", topic)).collect();
            acked.sort_unstable();
            assert_eq!(acked, (1..=acked.len() as u64).collect::<Vec<_>>(), "cut {cut}");
            assert_eq!(offsets(&heard, "message", topic), acked, "who listened heard what was acknowledged, cut {cut}");
            heir.tell(client, &format!(r#"{{"op":"history","topic":"{topic}","id":1}}"#));
            let lines = heir.hear(client).concat();
            for offset in &acked {
                assert!(lines.contains(&format!("{topic}:{offset} ")), "cut {cut}: {lines}");
            }
            let beyond = format!("{topic}:{} ", acked.len() + 1);
            assert!(!lines.contains(&beyond), "cut {cut}: what was refused is not there");
        }
        // A repeat of what was acknowledged is answered alike, and one of what was refused is published now.
        let before: usize = told.iter().flatten().filter(|line| line.starts_with("ack")).count();
        let mut after = 0;
        for round in 0..40usize {
            let topic = &topics[(round / 3) % 3];
            heir.tell(
                client,
                &format!(r#"{{"op":"publish","topic":"{topic}","data":{round},"id":{round},"key":"k{round}"}}"#),
            );
            let answer = heir.hear(client);
            let told = told.iter().flatten().find(|line| line.starts_with(&format!("ack {round} ")));
            assert!(told.is_none_or(|told| *told == answer[0]), "cut {cut}: {told:?} {answer:?}");
            after += usize::from(told.is_none());
        }
        assert_eq!(before + after, 40);
    }
}

#[test]
fn subscribers_go_on_where_they_were_with_and_without_a_history() {
    let mut former = World::with(2, 4, keeps);
    let (kept, plain) = (former.topic_at(1), "plain");
    let client = former.open(0);
    for topic in [&kept[..], plain] {
        for _ in 0..3 {
            former.tell(client, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
        }
    }
    former.tell(client, r#"{"op":"subscribe","topic":"plain","id":1}"#);
    let text = String::from_utf8_lossy(&former.peers[client].got).into_owned();
    let (_, position) = text.rsplit_once("position\":\"").expect("in the ack");
    let plain_epoch = position[..8].to_owned();
    former.shards.iter_mut().for_each(Shard::handle_freeze);
    let mut heir = heir_of(&mut former, 3);
    let client = heir.open(2);
    let tell = |heir: &mut World, since: &str| {
        heir.tell(client, &format!(r#"{{"op":"subscribe","topic":"plain","since":"{since}","id":1}}"#));
        let lines = heir.hear(client);
        heir.tell(client, r#"{"op":"unsubscribe","topic":"plain"}"#);
        lines
    };
    assert_eq!(tell(&mut heir, &format!("{plain_epoch}:3")), ["ack 1 plain @3 recovered"]);
    assert_eq!(tell(&mut heir, &format!("{plain_epoch}:2")), ["ack 1 plain @3 not recovered"]);
    heir.tell(client, &format!(r#"{{"op":"subscribe","topic":"{kept}","last":2,"id":2}}"#));
    let lines = [format!("ack 2 {kept} @3"), format!("{kept}:2 1"), format!("{kept}:3 1")];
    assert_eq!(heir.hear(client), lines);
    heir.tell(client, &format!(r#"{{"op":"publish","topic":"{kept}","data":2}}"#));
    assert_eq!(heir.hear(client), [format!("{kept}:4 2")]);
    former.leave();
    // Nothing of the former broker keeps the heir awake for ever.
    heir.reset(client);
    heir.pass(2 * 30_000 + limits::BEQUEST_KEPT_MS + TICK_MS);
    heir.assert_empty();
}

#[test]
fn whoever_is_refused_a_publication_is_sent_away_first() {
    let mut world = World::with(1, 4, |config| config.server.drain_s = 100);
    let peers: Vec<usize> = (0..300).map(|_| world.open(0)).collect();
    world.shards[0].handle_freeze();
    let (last, late) = (peers[299], peers[290]);
    world.tell(last, r#"{"op":"publish","topic":"a","data":1,"id":1}"#);
    world.tell(last, r#"{"op":"publish","topic":"a","data":1,"id":2}"#);
    assert_eq!(world.hear(last), ["error 1 503", "error 2 503"]);
    world.shards[0].handle_drain();
    world.settle();
    assert_eq!(world.hear(last), ["close 1001"]);
    assert_eq!(world.hear(late), [""; 0]);
    world.tell(late, r#"[{"op":"publish","topic":"b","data":1,"id":1},{"op":"ping","id":2}]"#);
    world.pass(TICK_MS);
    assert_eq!(world.hear(late), ["pong 2", "error 1 503", "close 1001"]);
    assert_eq!(world.hear(peers[289]), [""; 0], "the others in their time");
    peers.into_iter().for_each(|peer| world.reset(peer));
    world.pass(4_000); // the others' turns come, and nobody is there
    world.assert_empty();
}

#[test]
fn a_request_that_is_refused_ends_its_connection_and_says_when_to_come_back() {
    // With the topic's home on the same shard, and on another one.
    for home in 0..2 {
        let mut world = World::with(2, 4, |_| {});
        let topic = world.topic_at(home);
        requests_end(&mut world, &topic);
    }
}

fn requests_end(world: &mut World, topic: &str) {
    let (one, batch, ready) = (world.accept(0), world.accept(0), world.accept(1));
    world.shards.iter_mut().for_each(Shard::handle_freeze);
    let head = "HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    world.send(one, format!("POST /v1/publish?topic={topic} {head}Content-Length: 1\r\n\r\n1").as_bytes());
    let body = format!(r#"[{{"topic":"{topic}","data":1}}]"#);
    world.send(batch, format!("POST /v1/batch {head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    world.send(ready, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    world.settle();
    let answer = world.hear_head(one);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    let answer = world.hear_head(batch);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(String::from_utf8_lossy(&world.peers[batch].got).contains(r#""code":503"#));
    assert!(world.hear_head(ready).starts_with("HTTP/1.1 503 "));
    world.leave();
}
