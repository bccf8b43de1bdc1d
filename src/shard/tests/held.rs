//! What a connection publishes behind its own wildcard subscribe.

use super::*;

#[test]
fn a_publication_right_behind_a_wildcard_subscribe_comes_back_wherever_its_home_is() {
    for home in 0..3 {
        let mut world = World::new(3);
        let (topic, peer) = (world.topic_at(home), world.open(1));
        world.say(peer, r##"[{"op":"subscribe","topic":"#","id":1},{"op":"subscribe","topic":"+/#","id":2}]"##);
        for number in 1..=3 {
            world.say(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":{number}}}"#));
        }
        world.turn(1); // its own home has answered, the others have not
        assert!(world.hear(peer).is_empty());
        world.settle();
        let heard = world.hear(peer);
        assert_eq!(heard[2..], [1, 2, 3].map(|number| format!("{topic}:{number} {number}")), "home {home}");
        world.leave();
    }
}

#[test]
fn what_was_held_back_is_published_when_its_connection_leaves_and_when_the_broker_stops() {
    for stop in [false, true] {
        let mut world = World::new(2);
        let (topic, peer, other) = (world.topic_at(1), world.open(0), world.open(1));
        world.tell(other, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        world.say(peer, r##"{"op":"subscribe","topic":"#"}"##);
        world.say(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":1}}"#));
        if stop {
            world.shards.iter_mut().for_each(Shard::handle_stop);
        } else {
            world.end(peer);
        }
        world.settle();
        assert_eq!(world.hear(other)[0], format!("{topic}:1 1"));
        if !stop {
            world.leave();
        }
    }
}

#[test]
fn a_connection_that_holds_back_much_is_not_read_until_it_lets_go() {
    let mut world = World::new(2);
    let (topic, peer) = (world.topic_at(1), world.open(0));
    world.say(peer, r##"{"op":"subscribe","topic":"#"}"##);
    let much = "x".repeat(40_000);
    for _ in 0..2 {
        world.say(peer, &format!(r#"{{"op":"publish","topic":"{topic}","data":"{much}"}}"#));
    }
    assert!(!world.reads(peer));
    world.settle();
    assert!(world.reads(peer));
    assert_eq!(world.hear(peer).len(), 2);
    world.leave();
}
