//! Subscribing, publishing and taking it back, with homes here and elsewhere.

use super::*;

/// Runs a conversation with the topic's home on the connections' own shard and on the other one.
fn here_and_there(conversation: impl Fn(&mut World, &str)) {
    for home in 0..2 {
        let mut world = World::new(2);
        let topic = world.topic_at(home);
        conversation(&mut world, &topic);
        world.leave();
    }
}

fn subscribe(id: u32, filter: &str) -> String {
    format!(r#"{{"op":"subscribe","id":{id},"topic":"{filter}"}}"#)
}

fn unsubscribe(id: u32, filter: &str) -> String {
    format!(r#"{{"op":"unsubscribe","id":{id},"topic":"{filter}"}}"#)
}

fn publish(topic: &str, data: u32) -> String {
    format!(r#"{{"op":"publish","topic":"{topic}","data":{data}}}"#)
}

#[test]
fn a_publication_reaches_subscribers_on_all_shards_with_one_position() {
    here_and_there(|world, topic| {
        let peers = [world.open(0), world.open(1), world.open(0)];
        world.tell(peers[0], &subscribe(1, topic));
        world.tell(peers[1], &subscribe(2, topic));
        world.tell(peers[2], &format!(r#"{{"op":"publish","id":"p","topic":"{topic}","data":[1.0]}}"#));
        assert_eq!(world.hear(peers[0]), [format!("ack 1 {topic} @0"), format!("{topic}:1 [1.0]")]);
        assert_eq!(world.hear(peers[1]), [format!("ack 2 {topic} @0"), format!("{topic}:1 [1.0]")]);
        assert_eq!(world.hear(peers[2]), [format!(r#"ack "p" {topic} @1"#)]);
    });
}

#[test]
fn a_binary_publication_comes_as_a_binary_message() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        world.tell(peer, &subscribe(1, topic));
        let message = format!("{{\"op\":\"publish\",\"topic\":\"{topic}\"}}\nbytes\n\n");
        world.frame(peer, Opcode::Binary, message.as_bytes());
        world.settle();
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @0"), format!("{topic}:1 bytes bytes\n\n")]);
    });
}

#[test]
fn one_publisher_s_publications_keep_their_order_across_shards() {
    here_and_there(|world, topic| {
        let (near, far) = (world.open(0), world.open(1));
        world.tell(near, &subscribe(1, topic));
        world.tell(far, &subscribe(1, topic));
        for number in 0..200 {
            world.say(near, &publish(topic, number));
            world.say(far, &publish(topic, 1000 + number));
            if number % 3 == 0 {
                world.turn(number as usize % 2);
            }
        }
        world.settle();
        let heard = [world.hear(near), world.hear(far)];
        assert_eq!(heard[0], heard[1], "one order for all");
        assert_eq!(heard[0].len(), 401);
        let from_far = |data: &u32| *data >= 1000;
        let data: Vec<u32> =
            heard[0][1..].iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        let (far, near): (Vec<u32>, Vec<u32>) = data.iter().partition(|data| from_far(data));
        assert_eq!(near, (0..200).collect::<Vec<_>>());
        assert_eq!(far, (1000..1200).collect::<Vec<_>>());
    });
}

#[test]
fn a_second_subscribe_is_a_success_that_tells_the_position_and_doubles_nothing() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        world.tell(peer, &subscribe(1, topic));
        world.tell(peer, &publish(topic, 1));
        world.tell(peer, &subscribe(2, topic));
        world.tell(peer, &publish(topic, 2));
        let expected =
            [format!("ack 1 {topic} @0"), format!("{topic}:1 1"), format!("ack 2 {topic} @1"), format!("{topic}:2 2")];
        assert_eq!(world.hear(peer), expected);
        world.tell(peer, &unsubscribe(3, topic));
        world.tell(peer, &publish(topic, 3));
        assert_eq!(world.hear(peer), [format!("ack 3 {topic}")]);
        assert_eq!(world.shards[0].held()[2..4], [("filters", 0), ("subscriptions", 0)]);
    });
}

#[test]
fn after_the_ack_of_an_unsubscribe_nothing_of_the_filter_follows() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &subscribe(1, topic));
        world.say(other, &publish(topic, 1));
        world.turn(1);
        world.say(peer, &unsubscribe(2, topic));
        world.settle();
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @0"), format!("ack 2 {topic}")]);
    });
}

#[test]
fn a_subscription_taken_back_while_pending_never_becomes_live() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        world.say(peer, &subscribe(1, topic));
        world.say(peer, &unsubscribe(2, topic));
        world.settle();
        let mut heard = world.hear(peer);
        heard.sort();
        assert_eq!(heard, [format!("ack 1 {topic} @0"), format!("ack 2 {topic}")]);
        world.tell(peer, &publish(topic, 1));
        assert_eq!(world.hear(peer), [""; 0]);
        assert!(world.shards.iter().all(|shard| shard.held()[6].1 == 0), "its home was told");
    });
}

#[test]
fn subscribing_again_while_the_first_answer_is_on_its_way_counts_from_the_second() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.say(peer, &subscribe(1, topic));
        world.say(peer, &unsubscribe(2, topic));
        world.turn(0);
        world.say(other, &publish(topic, 1));
        world.settle();
        world.hear(peer);
        world.say(peer, &format!("[{},{},{}]", subscribe(3, topic), unsubscribe(4, topic), subscribe(5, topic)));
        world.say(peer, &publish(topic, 2));
        world.settle();
        let heard = world.hear(peer);
        let ack = heard.iter().position(|line| *line == format!("ack 5 {topic} @1")).expect("the last one's answer");
        let message = heard.iter().position(|line| *line == format!("{topic}:2 2")).expect("it is live");
        assert!(ack < message && heard.len() == 4, "{heard:?}");
    });
}

#[test]
fn a_connection_that_leaves_while_pending_leaves_nothing_at_the_home() {
    for home in 0..2 {
        let mut world = World::new(2);
        let topic = world.topic_at(home);
        for filter in [&topic[..], "chat/#", "+/+"] {
            let peer = world.open(0);
            world.say(peer, &subscribe(1, filter));
            world.turn(0);
            world.reset(peer);
        }
        world.assert_empty();
    }
}

#[test]
fn a_wildcard_s_ack_comes_when_all_homes_deliver_and_then_nothing_is_missed() {
    let mut world = World::new(3);
    let topics = [0, 1, 2].map(|home| world.topic_at(home));
    let (peer, second, other) = (world.open(0), world.open(0), world.open(1));
    world.say(peer, &subscribe(1, "chat/#"));
    world.turn(0);
    world.say(second, &subscribe(2, "chat/#"));
    world.turn(1);
    world.turn(0);
    assert_eq!((world.hear(peer), world.hear(second)), (vec![], vec![]), "one home has not answered");
    world.settle();
    assert_eq!((world.hear(peer), world.hear(second)), (vec!["ack 1 chat/#".into()], vec!["ack 2 chat/#".into()]));
    for topic in &topics {
        world.tell(other, &publish(topic, 7));
    }
    let expected: Vec<String> = topics.iter().map(|topic| format!("{topic}:1 7")).collect();
    assert_eq!((world.hear(peer), world.hear(second)), (expected.clone(), expected));
    let third = world.open(0);
    world.tell(third, &subscribe(3, "chat/#"));
    assert_eq!(world.hear(third), ["ack 3 chat/#"], "all homes know the filter already");
    world.tell(peer, &unsubscribe(4, "chat/#"));
    assert_eq!(world.shards[2].held()[7].1, 1, "two subscribers are left");
    world.leave();
}

#[test]
fn a_wildcard_taken_back_and_asked_for_again_in_one_turn_is_live() {
    let mut world = World::new(2);
    let (peer, topic) = (world.open(0), world.topic_at(1));
    world.say(peer, &format!("[{},{},{}]", subscribe(1, "#"), unsubscribe(2, "#"), subscribe(3, "#")));
    world.settle();
    assert_eq!(world.hear(peer).len(), 3);
    world.tell(peer, &publish(&topic, 1));
    assert_eq!(world.hear(peer), [format!("{topic}:1 1")]);
    world.leave();
}

#[test]
fn two_filters_that_match_are_one_delivery() {
    here_and_there(|world, topic| {
        let (both, one) = (world.open(0), world.open(0));
        for filter in [topic, "chat/+", "#"] {
            world.tell(both, &subscribe(1, filter));
        }
        world.tell(one, &subscribe(1, "chat/+"));
        world.hear(both);
        world.hear(one);
        world.say(one, &publish(topic, 1));
        world.say(one, &publish(topic, 2));
        world.settle();
        let expected = [format!("{topic}:1 1"), format!("{topic}:2 2")];
        assert_eq!((world.hear(both), world.hear(one)), (expected.to_vec(), expected.to_vec()));
        world.tell(both, &unsubscribe(2, "chat/+"));
        world.hear(both);
        world.tell(one, &publish(topic, 3));
        assert_eq!(world.hear(both), [format!("{topic}:3 3")], "the other filters still hold");
    });
}

#[test]
fn without_echo_a_publisher_gets_all_but_its_own() {
    here_and_there(|world, topic| {
        for filters in [vec![topic], vec!["chat/+"], vec![topic, "chat/+", "#"]] {
            let (mine, other, stranger) = (world.open(0), world.open(0), world.open(1));
            for filter in &filters {
                world.tell(mine, &subscribe(1, filter));
            }
            world.tell(other, &subscribe(1, topic));
            world.hear(mine);
            world.hear(other);
            let quiet = |data: u32| publish(topic, data).replace("}", r#","echo":false}"#);
            for (who, command) in [
                (mine, quiet(1)),
                (other, publish(topic, 2)),
                (mine, quiet(3)),
                (mine, publish(topic, 4)),
                (stranger, quiet(5)),
                (other, quiet(6)),
                (mine, quiet(7)),
            ] {
                world.say(who, &command);
            }
            world.settle();
            let data = |lines: Vec<String>| {
                let mut data: Vec<u32> =
                    lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
                data.sort_unstable();
                data
            };
            assert_eq!(data(world.hear(mine)), [2, 4, 5, 6], "{filters:?}");
            assert_eq!(data(world.hear(other)), [1, 2, 3, 4, 5, 7]);
            for peer in [mine, other, stranger] {
                world.reset(peer);
            }
            world.settle();
        }
    });
}

#[test]
fn no_more_than_subscriptions_max_and_room_again_after_an_unsubscribe() {
    let mut world = World::with(2, 4, |config| config.limits.subscriptions_max = 3);
    let peer = world.open(0);
    for number in 0..3 {
        world.say(peer, &subscribe(number, &format!("t/{number}")));
    }
    world.say(peer, &subscribe(3, "t/3"));
    world.say(peer, &subscribe(4, "t/1"));
    world.settle();
    let mut heard = world.hear(peer);
    heard.sort();
    let expected = ["ack 0 t/0 @0", "ack 1 t/1 @0", "ack 2 t/2 @0", "ack 4 t/1 @0", "error 3 403"];
    assert_eq!(heard, expected, "one that it has already is no further one");
    world.tell(peer, &unsubscribe(5, "t/0"));
    world.tell(peer, &subscribe(6, "t/+/x"));
    assert_eq!(world.hear(peer), ["ack 5 t/0", "ack 6 t/+/x"]);
    world.leave();
}

#[test]
fn commands_without_an_id_succeed_silently_and_fail_aloud() {
    here_and_there(|world, topic| {
        let peer = world.open(0);
        for command in ["subscribe", "publish", "unsubscribe"] {
            world.tell(peer, &format!(r#"{{"op":"{command}","topic":"{topic}","data":0}}"#));
        }
        assert_eq!(world.hear(peer), [format!("{topic}:1 0")]);
        world.tell(peer, r#"{"op":"publish","topic":"a/+","data":0}"#);
        world.tell(peer, "{");
        world.tell(peer, r#"{"op":"dance","id":1}"#);
        assert_eq!(world.hear(peer), ["error null 400", "error null 400", "error 1 404"]);
        assert_eq!(world.shards[0].counters().faults, 3);
        world.tell(peer, r#"{"op":"ping"}"#);
        assert_eq!(world.hear(peer), ["pong null"], "the connection lives");
    });
}

#[test]
fn a_connection_with_many_subscriptions_takes_all_of_them_with_it() {
    let mut world = World::new(3);
    let (many, stays) = (world.open(0), world.open(0));
    for number in 0..300 {
        let filter = format!("t/{number}{}", if number % 10 == 0 { "/#" } else { "" });
        world.say(many, &subscribe(number, &filter));
        if number % 3 == 0 {
            world.say(stays, &subscribe(number, &filter));
        }
    }
    world.settle();
    assert_eq!(world.hear(many).len(), 300);
    world.end(many);
    world.settle();
    assert_eq!(world.shards[0].held()[2..4], [("filters", 100), ("subscriptions", 100)]);
    let at_homes: usize = world.shards.iter().map(|shard| shard.held()[6].1).sum();
    assert_eq!(at_homes, 90, "each of those topics is held at its home");
    world.leave();
}
