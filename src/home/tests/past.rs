//! What a home says of the past: recovery from every position, the last ones, lists, keys, and who is refused.

use super::*;
use crate::rules::{self, Rule};

/// `kept/#` keeps ten for 100 s; `closed/#` lets nobody in but keeps, too; `mute/#` lets nobody publish.
fn ruled() -> Home {
    let rule = |filter: &str| Rule { filter: filter.to_owned(), ..Rule::default() };
    let history = Some(rules::History { count: 10, age_s: 100 });
    let rules = vec![
        Rule { history, ..rule("kept/#") },
        Rule { history, subscribe: Access::Nobody, ..rule("closed/#") },
        Rule { publish: Access::Nobody, ..rule("mute/#") },
        Rule { idempotency_s: 0, ..rule("often/#") },
    ];
    Home::new(ShardId(0), 2, Rc::new(Rules::new(rules)), usize::MAX, 7)
}

fn publish_15(home: &mut Home) {
    for _ in 0..15 {
        publish(home, "kept/a");
    }
}

pub(super) fn ask(home: &mut Home, name: &str, from: From) -> Box<Subscribed> {
    let (conn, slot, serial, id) = (conn(0), 3, 1, Id::None);
    home.handle_subscribe(Subscribe {
        topic: topic(name),
        shard: ShardId(1),
        conn,
        user: None,
        permit: Permit::default(),
        slot,
        watch: None,
        serial,
        id,
        from,
        form: Form::Frames,
    });
    match std::mem::take(home.parcel(ShardId(1))).items.pop() {
        Some(Delivery::Subscribed(answer)) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

/// Whether it was recovered, and the offsets that are replayed.
fn since(home: &mut Home, name: &str, position: Position) -> (Option<bool>, Vec<u64>) {
    let answer = ask(home, name, From::Since(position));
    assert_eq!(answer.position, newest(home, name), "where live begins");
    (answer.recovered, offsets(&answer.replay))
}

fn offsets(replay: &[Piece]) -> Vec<u64> {
    let mut offsets = Vec::new();
    for piece in replay {
        let mut rest = piece.frames.of(&piece.chunk.bytes);
        while !rest.is_empty() {
            let len = encode::frame_len(rest);
            let body = &rest[encode::frame_header_len(rest)..len];
            let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            let position: Position = body["position"].as_str().expect("one").parse().expect("one");
            offsets.push(position.offset);
            rest = &rest[len..];
        }
    }
    offsets
}

#[test]
fn a_replay_is_everything_since_the_position_or_nothing() {
    let mut home = ruled();
    publish_15(&mut home);
    let newest = newest(&mut home, "kept/a");
    for offset in 0..20 {
        let expected = match offset {
            5..=15 => (Some(true), (offset + 1..=15).collect()),
            _ => (Some(false), vec![]), // 1 to 5 are not kept, 16 and more were never published
        };
        assert_eq!(since(&mut home, "kept/a", Position { offset, ..newest }), expected, "since {offset}");
        let other = Position { epoch: newest.epoch ^ 1, offset };
        assert_eq!(since(&mut home, "kept/a", other), (Some(false), vec![]), "another life");
    }
    let far = Position { offset: u64::MAX, ..newest };
    assert_eq!(since(&mut home, "kept/a", far), (Some(false), vec![]));
}

#[test]
fn position_0_works_before_the_first_publication_and_after_it() {
    for name in ["kept/a", "plain"] {
        let mut home = ruled();
        let before = ask(&mut home, name, From::Now).position;
        assert_eq!(before.offset, 0);
        assert_eq!(since(&mut home, name, before), (Some(true), vec![]));
        publish(&mut home, name);
        let expected = if name == "plain" { (Some(false), vec![]) } else { (Some(true), vec![1]) };
        assert_eq!(since(&mut home, name, before), expected);
    }
}

#[test]
fn without_history_only_the_newest_position_is_recovered() {
    let mut home = ruled();
    let first = publish(&mut home, "plain");
    assert_eq!(since(&mut home, "plain", first), (Some(true), vec![]));
    publish(&mut home, "plain");
    assert_eq!(since(&mut home, "plain", first), (Some(false), vec![]));
}

#[test]
fn what_is_too_old_is_not_replayed() {
    let mut home = ruled();
    home.begin_turn(Tick(0));
    let first = publish(&mut home, "kept/a");
    home.begin_turn(Tick(500));
    let second = publish(&mut home, "kept/a");
    home.begin_turn(Tick(999));
    assert_eq!(since(&mut home, "kept/a", Position { offset: 0, ..first }), (Some(true), vec![1, 2]));
    home.begin_turn(Tick(1_000));
    assert_eq!(since(&mut home, "kept/a", Position { offset: 0, ..first }), (Some(false), vec![]));
    assert_eq!(since(&mut home, "kept/a", first), (Some(true), vec![2]));
    home.begin_turn(Tick(1_500));
    assert_eq!(since(&mut home, "kept/a", first), (Some(false), vec![]));
    assert_eq!(since(&mut home, "kept/a", second), (Some(true), vec![]), "nothing was missed");
}

#[test]
fn last_gives_as_many_as_there_are() {
    let mut home = ruled();
    assert_eq!(offsets(&ask(&mut home, "kept/a", From::Last(5)).replay), [0; 0]);
    publish_15(&mut home);
    for (last, from) in [(0, 16), (1, 15), (9, 7), (10, 6), (11, 6), (1000, 6), (u32::MAX, 6)] {
        let answer = ask(&mut home, "kept/a", From::Last(last));
        assert_eq!((answer.recovered, offsets(&answer.replay)), (None, (from..=15).collect()), "last {last}");
    }
    assert_eq!(offsets(&ask(&mut home, "plain", From::Last(5)).replay), [0; 0]);
}

#[test]
fn a_replay_ends_where_live_begins_even_within_a_turn() {
    let mut home = ruled();
    subscribe(&mut home, "kept/a", 1, 1);
    let first = publish(&mut home, "kept/a");
    publish(&mut home, "kept/a");
    let (conn, slot, serial, id) = (conn(4), 3, 2, Id::None);
    let from = From::Since(first);
    home.handle_subscribe(Subscribe {
        topic: topic("kept/a"),
        shard: ShardId(1),
        conn,
        user: None,
        permit: Permit::default(),
        slot,
        watch: None,
        serial,
        id,
        from,
        form: Form::Frames,
    });
    publish(&mut home, "kept/a");
    home.end_turn();
    let items = std::mem::take(home.parcel(ShardId(1))).items;
    let [Delivery::Subscribed(_), Delivery::Batch { .. }, Delivery::Subscribed(answer), Delivery::Batch { batch, .. }] =
        &items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!((answer.recovered, offsets(&answer.replay)), (Some(true), vec![2]));
    assert_eq!(frames(batch, batch.runs[0])[0].1.offset, 3);
}

/// The offsets of a list of kept publications, or how it was refused.
fn list(
    home: &mut Home,
    name: &str,
    since: Option<Position>,
    limit: usize,
    reverse: bool,
) -> Result<Vec<u64>, Refusal> {
    let (conn, id) = (conn(0), Id::Int(1));
    home.handle_history(History {
        topic: topic(name),
        shard: ShardId(0),
        conn,
        permit: Permit::default(),
        id,
        since,
        limit,
        reverse,
    });
    let mut parcel = std::mem::take(home.parcel(ShardId(0)));
    match parcel.items.pop() {
        Some(Delivery::History { topic, position, messages, .. }) => {
            assert_eq!((topic.text(&parcel.bytes), position), (name, newest(home, name)));
            let json = format!("[{}]", messages.text(&parcel.bytes));
            let all: Vec<serde_json::Value> = serde_json::from_str(&json).expect("elements of a list");
            let offset = |message: &serde_json::Value| message["position"].as_str()?.parse::<Position>().ok();
            Ok(all.iter().map(|message| offset(message).expect("a position").offset).collect())
        }
        Some(Delivery::Refused { refusal, .. }) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

#[test]
fn history_gives_those_after_a_position_or_backwards_those_before_it() {
    let mut home = ruled();
    publish_15(&mut home);
    let newest = newest(&mut home, "kept/a");
    let at = |offset| Some(Position { offset, ..newest });
    let mut all = |since, limit, reverse| list(&mut home, "kept/a", since, limit, reverse).expect("answered");
    assert_eq!(all(None, 1000, false), (6..=15).collect::<Vec<_>>());
    assert_eq!(all(None, 3, false), [6, 7, 8]);
    assert_eq!(all(None, 3, true), [15, 14, 13]);
    assert_eq!(all(at(13), 3, true), [12, 11, 10], "scrolling back");
    assert_eq!(all(at(7), 3, true), [6]);
    assert_eq!(all(at(6), 3, true), [0; 0]);
    assert_eq!(all(at(0), 3, true), [0; 0]);
    assert_eq!(all(at(12), 3, false), [13, 14, 15]);
    assert_eq!(all(at(13), 3, false), [14, 15]);
    assert_eq!(all(at(15), 3, false), [0; 0]);
    assert_eq!(all(at(2), 2, false), [6, 7], "the offsets tell that 3 to 5 are gone");
}

#[test]
fn a_position_that_the_topic_never_had_is_no_place_to_begin() {
    let mut home = ruled();
    let first = publish(&mut home, "kept/a");
    for wrong in [
        Position { epoch: !first.epoch, ..first },
        Position { offset: 2, ..first },
        Position { offset: u64::MAX, ..first },
    ] {
        for reverse in [false, true] {
            assert_eq!(list(&mut home, "kept/a", Some(wrong), 10, reverse), Err(Refusal::NoSuchPosition));
        }
    }
    assert_eq!(Refusal::NoSuchPosition.code(), 400);
}

#[test]
fn a_list_is_bounded_in_bytes_and_a_turn_s_lists_too() {
    let mut home = ruled();
    let payload = format!("\"{}\"", "x".repeat(limits::HISTORY_REPLY_BYTES_MAX / 3));
    for _ in 0..5 {
        let (payload, id) = (Payload::Json(payload.as_bytes()), Id::None);
        let (topic, shard) = (topic("kept/a"), ShardId(0));
        home.handle_publish(Publish {
            topic,
            payload,
            shard,
            conn: NO_ONE,
            user: None,
            permit: Permit::default(),
            id,
            echo: true,
            key: None,
            conflate: None,
        });
    }
    assert_eq!(list(&mut home, "kept/a", None, 1000, false), Ok(vec![1, 2]));
    assert_eq!(list(&mut home, "kept/a", None, 1000, true), Ok(vec![5, 4]));
    for _ in 0..1_000 {
        let (conn, id, since, topic) = (conn(0), Id::Int(1), None, topic("kept/a"));
        home.handle_history(History {
            topic,
            shard: ShardId(0),
            conn,
            permit: Permit::default(),
            id,
            since,
            limit: 1,
            reverse: false,
        });
    }
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    assert!(parcel.bytes.len() < limits::HISTORY_PARCEL_BYTES_MAX + limits::HISTORY_REPLY_BYTES_MAX);
    let refused = |item: &&Delivery| matches!(item, Delivery::Refused { refusal: Refusal::TooMuch, .. });
    assert_eq!(parcel.items.len(), 1_000, "each is answered");
    assert!((900..1_000).contains(&parcel.items.iter().filter(refused).count()));
    assert_eq!(list(&mut home, "kept/a", None, 1, false), Ok(vec![1]), "the next turn begins anew");
}

#[test]
fn one_publication_beyond_the_bytes_of_a_list_is_given_all_the_same() {
    let mut home = ruled();
    let payload = vec![b'x'; limits::HISTORY_REPLY_BYTES_MAX];
    let (topic, shard, payload) = (topic("kept/a"), ShardId(0), Payload::Binary(&payload));
    home.handle_publish(Publish {
        topic,
        payload,
        shard,
        conn: NO_ONE,
        user: None,
        permit: Permit::default(),
        id: Id::None,
        echo: true,
        key: None,
        conflate: None,
    });
    publish(&mut home, "kept/a");
    assert_eq!(list(&mut home, "kept/a", None, 1000, false), Ok(vec![1]));
    assert_eq!(list(&mut home, "kept/a", None, 1000, true), Ok(vec![2]));
}

#[test]
fn a_rule_lets_nobody_in_and_nobody_publish() {
    let mut home = ruled();
    assert_eq!(list(&mut home, "plain", None, 1, false), Err(Refusal::NoHistory));
    assert_eq!(list(&mut home, "closed/a", None, 1, false), Err(Refusal::Subscribe));
    subscribe(&mut home, "closed/a", 1, 5);
    home.handle_watch(ShardId(1), filter("#"), 0, Form::Frames);
    publish(&mut home, "closed/a");
    publish(&mut home, "kept/a");
    assert_eq!(hear(&mut home, 1), ["unsubscribed 5", "refused None 403", "watching 0", "kept/a:1"]);
    assert_eq!(home.interest_len(), (0, 1), "who is refused is not interested");
    let (topic, shard, payload, id) = (topic("mute/a"), ShardId(0), Payload::Json(b"1"), Id::Int(1));
    home.handle_publish(Publish {
        topic,
        payload,
        shard,
        conn: NO_ONE,
        user: None,
        permit: Permit::default(),
        id,
        echo: true,
        key: Some("k"),
        conflate: None,
    });
    assert_eq!(hear(&mut home, 0), ["refused Int(1) 403"]);
    assert_eq!(newest(&mut home, "mute/a").offset, 0, "it has no position");
    assert_eq!(home.kept().keys, 0);
}

#[test]
fn refused_commands_cannot_grow_a_home_beyond_its_limit() {
    let mut home = ruled();
    for number in 0..limits::TOPICS_IDLE_MAX + 17 {
        let (name, id) = (format!("mute/{number}"), Id::None);
        let (topic, payload) = (topic(&name), Payload::Json(b"1"));
        home.handle_publish(Publish {
            topic,
            payload,
            shard: ShardId(0),
            conn: NO_ONE,
            user: None,
            permit: Permit::default(),
            id,
            echo: true,
            key: None,
            conflate: None,
        });
    }
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX);
    for number in 0..limits::TOPICS_IDLE_MAX + 17 {
        subscribe(&mut home, &format!("closed/{number}"), 0, 1);
    }
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX);
}

#[test]
fn a_question_about_a_new_name_is_answered_when_all_remembered_ones_were_just_used() {
    let mut home = ruled();
    for _ in 0..2 {
        for number in 0..limits::TOPICS_IDLE_MAX {
            publish(&mut home, &format!("x/{number}"));
        }
    }
    list_new(&mut home);
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX);
}

fn list_new(home: &mut Home) {
    let (conn, id, since) = (conn(0), Id::Int(1), None);
    let topic = topic("kept/new");
    home.handle_history(History {
        topic,
        shard: ShardId(0),
        conn,
        permit: Permit::default(),
        id,
        since,
        limit: 1,
        reverse: false,
    });
    assert_eq!(hear(home, 0), ["history at 0"]);
}

fn publish_key(home: &mut Home, name: &str, key: &str) {
    let (payload, id, shard) = (Payload::Json(b"1"), Id::Int(1), ShardId(0));
    home.handle_publish(Publish {
        topic: topic(name),
        payload,
        shard,
        conn: NO_ONE,
        user: None,
        permit: Permit::default(),
        id,
        echo: true,
        key: Some(key),
        conflate: None,
    });
}

#[test]
fn a_repeated_key_answers_the_first_position_and_publishes_nothing() {
    let mut home = ruled();
    home.begin_turn(Tick(0));
    subscribe(&mut home, "kept/a", 1, 1);
    for key in ["k", "k", "l", "k"] {
        publish_key(&mut home, "kept/a", key);
    }
    assert_eq!(hear(&mut home, 1), ["subscribed 1 at 0", "kept/a:1,2"]);
    assert_eq!(hear(&mut home, 0), [1, 1, 2, 1].map(|offset| format!("published kept/a {offset}")));
    assert_eq!(list(&mut home, "kept/a", None, 10, false), Ok(vec![1, 2]));
    home.begin_turn(Tick(3_000));
    publish_key(&mut home, "kept/a", "k");
    assert_eq!(hear(&mut home, 0), ["published kept/a 3"], "five minutes are over");
    publish_key(&mut home, "often/a", "k");
    publish_key(&mut home, "often/a", "k");
    assert_eq!(hear(&mut home, 0), ["published often/a 1", "published often/a 2"], "a window of nothing");
}

#[test]
fn an_unheld_topic_is_forgotten_in_its_turn_once_its_history_is_empty_and_lives_anew() {
    let mut home = ruled();
    home.begin_turn(Tick(0));
    let before = publish(&mut home, "kept/a");
    flood(&mut home, "x", 2 * limits::TOPICS_IDLE_MAX);
    assert_eq!(newest(&mut home, "kept/a"), before, "its history holds it");
    home.begin_turn(Tick(1_000));
    assert_eq!((home.kept(), home.next_due()), (Kept::default(), None));
    flood(&mut home, "y", 2 * limits::TOPICS_IDLE_MAX);
    let after = ask(&mut home, "kept/a", From::Since(before));
    assert_eq!((after.recovered, after.position.offset), (Some(false), 0));
    assert_ne!(after.position.epoch, before.epoch);
}
