//! Who is there, at the home: members, lists of them, and what those who want to be told hear, in which order.

use super::*;
use crate::rules::Rule;

/// `room/#` has presence, `guarded/#` for users only, `closed/#` for nobody; all else has none.
fn rooms(shards: u16) -> Home {
    let rule = |filter: &str, subscribe| Rule {
        filter: filter.to_owned(),
        presence: true,
        from: true,
        subscribe,
        ..Rule::default()
    };
    let rules = vec![
        rule("room/#", Access::Anyone),
        rule("guarded/#", Access::User),
        rule("closed/#", Access::Nobody),
        Rule { filter: "granted/#".to_owned(), publish: Access::Granted, ..Rule::default() },
    ];
    Home::new(ShardId(0), shards, Rc::new(Rules::new(rules)), usize::MAX, 7)
}

/// Subscribes a connection, which wants to be told or not.
fn enter(home: &mut Home, name: &str, shard: u16, index: u32, user: Option<&str>, told: bool) {
    let (topic, shard, conn, slot, id, from) =
        (topic(name), ShardId(shard), conn(index), 3, Id::Int(index.into()), From::Now);
    let (permit, watch) = (Permit { user: user.is_some(), granted: false }, told.then_some(4));
    home.handle_subscribe(Subscribe {
        topic,
        shard,
        conn,
        user,
        permit,
        slot,
        watch,
        serial: index,
        id,
        from,
        form: Form::Frames,
    });
}

fn leave(home: &mut Home, name: &str, shard: u16, index: u32) {
    home.handle_leave(ShardId(shard), topic(name), conn(index));
}

fn ask(home: &mut Home, name: &str, limit: usize, after: Option<&str>) {
    let after = after.map(|after| after.parse().expect("a name"));
    let (topic, shard, conn, permit) = (topic(name), ShardId(0), conn(9), Permit::default());
    home.handle_presence(Presence { topic, shard, conn, id: Id::None, permit, limit, after });
}

#[test]
fn members_are_those_who_subscribed_by_name_where_the_rule_has_presence() {
    let mut home = rooms(2);
    for (index, user) in [(1, None), (2, Some("ann")), (3, Some("ann"))] {
        enter(&mut home, "room/a", 0, index, user, false);
        enter(&mut home, "bare", 0, index, user, false);
    }
    enter(&mut home, "room/a", 1, 1, None, false);
    home.handle_watch(ShardId(1), filter("room/#"), 0, Form::Frames);
    assert_eq!(home.members_len(), 4);
    hear(&mut home, 0);
    ask(&mut home, "room/a", 3, None);
    ask(&mut home, "room/a", 3, Some("0-3-1"));
    ask(&mut home, "room/empty", 3, None);
    ask(&mut home, "bare", 3, None);
    ask(&mut home, "closed/a", 3, None);
    let expected = [
        "presence [0-1-1, 0-2-1 ann, 0-3-1 ann] 1 users 4 connections, more behind 0-3-1",
        "presence [1-1-1] 1 users 4 connections",
        "presence [] 0 users 0 connections",
        "refused None 404",
        "refused None 403",
    ];
    assert_eq!(hear(&mut home, 0), expected);
}

#[test]
fn who_asked_to_be_told_hears_its_own_join_behind_its_answer_and_then_the_others() {
    let mut home = rooms(2);
    enter(&mut home, "room/a", 0, 1, None, true);
    enter(&mut home, "room/a", 1, 2, Some("ann"), false);
    assert_eq!(hear(&mut home, 0), ["subscribed 1 at 0", "room/a +0-1-1 +ann"]);
    assert_eq!(hear(&mut home, 1), ["subscribed 2 at 0"], "who did not ask is not told");
    enter(&mut home, "room/a", 1, 3, Some("ann"), false);
    leave(&mut home, "room/a", 1, 2);
    assert_eq!(hear(&mut home, 0), [""; 0]);
    leave(&mut home, "room/a", 1, 3);
    assert_eq!(hear(&mut home, 0), ["room/a -ann"]);
}

#[test]
fn a_member_s_join_comes_before_its_first_publication_and_its_leave_behind_its_last() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, true);
    hear(&mut home, 0);
    publish(&mut home, "room/a");
    publish(&mut home, "room/b");
    enter(&mut home, "room/a", 0, 2, None, false);
    publish(&mut home, "room/a");
    publish(&mut home, "room/a");
    leave(&mut home, "room/a", 0, 2);
    publish(&mut home, "room/a");
    enter(&mut home, "room/a", 0, 3, None, false);
    let expected = [
        "room/a:1",
        "subscribed 2 at 1",
        "room/a +0-2-1 | room/a:2,3",
        "room/a -0-2-1 | room/a:4",
        "subscribed 3 at 4",
        "room/a +0-3-1",
    ];
    assert_eq!(hear(&mut home, 0), expected);
    enter(&mut home, "room/a", 0, 4, None, false);
    publish(&mut home, "room/a");
    leave(&mut home, "room/a", 0, 4);
    let expected = ["subscribed 4 at 4", "room/a +0-4-1 | room/a:5", "room/a -0-4-1"];
    assert_eq!(hear(&mut home, 0), expected, "the end of a turn tells, too");
}

#[test]
fn who_comes_and_goes_within_a_turn_is_not_told_and_no_event_is_a_publication() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, true);
    for index in 2..50 {
        enter(&mut home, "room/a", 0, index, Some("ann"), false);
        leave(&mut home, "room/a", 0, index);
    }
    assert!(home.has_work());
    home.end_turn();
    assert!(!home.has_work());
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    let Some(Delivery::Batch { batch, .. }) = parcel.items.last() else { panic!("{:?}", parcel.items) };
    assert_eq!(say_run(batch, 0), "room/a +0-1-1");
    assert_eq!(batch.runs[0].publications, 0);
    assert_eq!(newest(&mut home, "room/a").offset, 0);
}

#[test]
fn a_list_stands_in_the_order_of_events() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, true);
    publish(&mut home, "room/a"); // tells the join
    ask(&mut home, "room/a", 9, None);
    leave(&mut home, "room/a", 0, 1);
    let expected =
        ["subscribed 1 at 0", "room/a +0-1-1 | room/a:1", "presence [0-1-1] 0 users 1 connections", "room/a -0-1-1"];
    assert_eq!(hear(&mut home, 0), expected);
}

#[test]
fn nothing_is_encoded_while_nobody_is_told_and_nothing_stays_when_all_are_gone() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, false);
    leave(&mut home, "room/a", 0, 1);
    assert!(!home.has_work() && home.turn.is_empty());
    enter(&mut home, "room/a", 0, 2, None, true);
    home.end_turn();
    home.handle_release(ShardId(0), Topic::known("$presence/room/a"));
    leave(&mut home, "room/a", 0, 2);
    home.handle_release(ShardId(0), topic("room/a"));
    assert_eq!((home.has_work(), home.members_len(), home.interest_len()), (false, 0, (0, 0)));
    let key = home.topics.find(topic("room/a")).expect("it is remembered for a while");
    assert!(home.topics.at(key).members.is_none());
}

#[test]
fn the_last_to_be_told_may_go_before_or_behind_the_last_member() {
    for order in [[0, 1], [1, 0]] {
        let mut home = rooms(2);
        enter(&mut home, "room/a", 0, 1, None, true);
        hear(&mut home, 0);
        for step in order {
            match step {
                0 => leave(&mut home, "room/a", 0, 1),
                _ => home.handle_release(ShardId(0), Topic::known("$presence/room/a")),
            }
        }
        enter(&mut home, "room/a", 1, 5, None, true);
        assert_eq!(hear(&mut home, 1), ["subscribed 5 at 0", "room/a +1-5-1"], "{order:?}");
    }
}

#[test]
fn to_be_told_where_the_rule_has_no_presence_is_refused_and_subscribes_to_nothing() {
    let mut home = rooms(1);
    enter(&mut home, "bare", 0, 1, None, true);
    enter(&mut home, "closed/a", 0, 2, None, true);
    let expected = ["unsubscribed 1", "refused Int(1) 404", "unsubscribed 2", "refused Int(2) 403"];
    assert_eq!(hear(&mut home, 0), expected);
    assert_eq!((home.members_len(), home.interest_len()), (0, (0, 0)));
}

#[test]
fn after_a_stop_nobody_is_told_anything() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, true);
    home.handle_stop();
    assert_eq!(hear(&mut home, 0), ["subscribed 1 at 0", "room/a +0-1-1", "final"]);
    enter(&mut home, "room/a", 0, 2, None, false);
    leave(&mut home, "room/a", 0, 1);
    assert_eq!((hear(&mut home, 0), home.has_work()), (vec!["subscribed 2 at 0".to_owned()], false));
}

#[test]
fn a_topic_with_members_is_never_forgotten() {
    let mut home = rooms(1);
    enter(&mut home, "room/a", 0, 1, None, false);
    let before = publish(&mut home, "room/a");
    home.end_turn();
    home.handle_release(ShardId(0), topic("room/a"));
    flood(&mut home, "x", 2 * limits::TOPICS_IDLE_MAX + 1);
    assert_eq!(publish(&mut home, "room/a"), Position { offset: 2, ..before });
    leave(&mut home, "room/a", 0, 1);
    flood(&mut home, "y", 2 * limits::TOPICS_IDLE_MAX + 1);
    assert_ne!(publish(&mut home, "room/a").epoch, before.epoch);
}

#[test]
fn rules_for_users_and_for_the_granted_admit_those_alone() {
    let mut home = rooms(1);
    enter(&mut home, "guarded/a", 0, 1, None, false);
    enter(&mut home, "guarded/a", 0, 2, Some("ann"), false);
    ask(&mut home, "guarded/a", 9, None);
    let said = hear(&mut home, 0);
    assert_eq!(said, ["unsubscribed 1", "refused Int(1) 403", "subscribed 2 at 0", "refused None 403"]);
    for (user, granted, answer) in [
        (false, false, "refused Int(1) 403"),
        (true, false, "refused Int(1) 403"),
        (false, true, "published granted/a 1"),
    ] {
        let (payload, id, permit) = (Payload::Json(b"1"), Id::Int(1), Permit { user, granted });
        let (topic, shard) = (topic("granted/a"), ShardId(0));
        home.handle_publish(Publish {
            topic,
            payload,
            shard,
            conn: NO_ONE,
            user: None,
            permit,
            id,
            echo: true,
            key: None,
            conflate: None,
        });
        assert_eq!(hear(&mut home, 0), [answer]);
    }
}

#[test]
fn a_publication_names_its_user_where_the_rule_says_so() {
    let mut home = rooms(1);
    let say = |home: &mut Home, name: &str, user: Option<&str>, payload| {
        let (topic, shard, permit) = (topic(name), ShardId(0), Permit { user: user.is_some(), granted: false });
        home.handle_publish(Publish {
            topic,
            payload,
            shard,
            conn: NO_ONE,
            user,
            permit,
            id: Id::None,
            echo: true,
            key: None,
            conflate: None,
        });
    };
    for name in ["room/a", "bare"] {
        enter(&mut home, name, 0, 1, None, false);
        hear(&mut home, 0);
        for user in [Some("a\"nn"), None] {
            say(&mut home, name, user, Payload::Json(b"1"));
        }
        let batch = only_batch(&mut home, 0);
        let text = String::from_utf8_lossy(&batch.bytes);
        let named = text.matches(r#":1","from":"a\"nn","data":1}"#).count();
        assert_eq!((named, text.matches("from").count()), if name == "bare" { (0, 0) } else { (1, 1) }, "{text}");
        say(&mut home, name, Some("bob"), Payload::Binary(b"x"));
        let batch = only_batch(&mut home, 0);
        let text = String::from_utf8_lossy(&batch.bytes);
        assert_eq!(text.contains(":3\",\"from\":\"bob\"}\nx"), name == "room/a", "{text}");
    }
}

#[test]
fn lists_of_one_turn_are_bounded_and_the_rest_is_to_ask_again() {
    let mut home = rooms(1);
    for index in 0..1_000 {
        enter(&mut home, "room/a", 0, index, Some(&format!("user number {index}")), false);
    }
    hear(&mut home, 0);
    for _ in 0..200 {
        ask(&mut home, "room/a", 1_000, None);
    }
    assert!(home.parcel(ShardId(0)).bytes.len() < limits::HISTORY_PARCEL_BYTES_MAX + 100_000);
    let heard = hear(&mut home, 0);
    let refused = heard.iter().filter(|answer| *answer == "refused None 429").count();
    assert!((1..150).contains(&refused) && heard.len() == 200, "{refused}");
    ask(&mut home, "room/a", 1, None);
    assert!(hear(&mut home, 0)[0].starts_with("presence [0-0-1 user number 0] 1000 users"));
}

#[test]
fn what_is_kept_names_its_user_in_lists_and_replays_too() {
    let rule = Rule { history: Some(crate::rules::History { count: 9, age_s: 9 }), from: true, ..Rule::default() };
    let mut home = Home::new(ShardId(0), 1, Rc::new(Rules::new(vec![rule])), usize::MAX, 7);
    for (user, payload) in
        [(Some("a\"nn"), Payload::Json(b"1")), (None, Payload::Json(b"2")), (Some("bob"), Payload::Binary(b"\n"))]
    {
        let (topic, shard, permit) = (topic("a"), ShardId(0), Permit::default());
        home.handle_publish(Publish {
            topic,
            payload,
            shard,
            conn: NO_ONE,
            user,
            permit,
            id: Id::None,
            echo: true,
            key: None,
            conflate: None,
        });
    }
    let (topic, shard, conn, permit) = (topic("a"), ShardId(0), conn(1), Permit::default());
    home.handle_history(History { topic, shard, conn, permit, id: Id::None, since: None, limit: 9, reverse: false });
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    let [Delivery::History { messages, .. }] = &parcel.items[..] else { panic!("{:?}", parcel.items) };
    let list: serde_json::Value = serde_json::from_str(&format!("[{}]", messages.text(&parcel.bytes))).expect("JSON");
    let part =
        |name: &str| list.as_array().expect("three").iter().map(|message| message[name].clone()).collect::<Vec<_>>();
    assert_eq!(part("from"), [serde_json::json!("a\"nn"), serde_json::Value::Null, serde_json::json!("bob")]);
    assert_eq!(part("data"), [serde_json::json!(1), serde_json::json!(2), serde_json::json!("Cg==")]);
}

#[test]
fn no_rule_of_an_operator_is_one_for_events() {
    let own =
        Rule { filter: "$presence/#".to_owned(), overflow: crate::rules::Overflow::DropOldest, ..Rule::default() };
    let mut home =
        Home::new(ShardId(0), 1, Rc::new(Rules::new(vec![own, Rule { presence: true, ..Rule::default() }])), 0, 7);
    enter(&mut home, "a", 0, 1, None, true);
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    let Some(Delivery::Batch { batch, .. }) = parcel.items.last() else { panic!("{:?}", parcel.items) };
    assert_eq!(batch.runs[0].overflow, crate::rules::Overflow::Disconnect);
}
