//! A slot's next tenant inherits nothing, whatever still refers to the former one.

use super::*;

#[test]
fn what_was_meant_for_a_former_tenant_does_not_reach_the_next_one() {
    let mut world = World::new(2);
    let far = world.topic_at(1);
    let first = world.open(0);
    world.say(first, &format!(r#"{{"op":"subscribe","id":1,"topic":"{far}"}}"#));
    world.say(first, &format!(r#"{{"op":"publish","id":2,"topic":"{far}","data":1}}"#));
    world.say(first, r##"{"op":"subscribe","id":3,"topic":"#"}"##);
    world.turn(0); // on its way to the other shard
    world.reset(first);
    world.turn(0);
    let second = world.open(0);
    assert_eq!(world.peers[first].id.index, world.peers[second].id.index);
    assert_ne!(world.peers[first].id, world.peers[second].id);
    world.settle();
    assert_eq!(world.hear(second), [""; 0], "no acks of another's commands");
    world.tell(second, &format!(r#"{{"op":"publish","topic":"{far}","data":2}}"#));
    assert_eq!(world.hear(second), [""; 0], "no subscriptions of another");
    world.leave();
}

#[test]
fn stale_names_of_a_connection_do_nothing() {
    let mut world = World::new(1);
    let first = world.open(0);
    world.reset(first);
    world.settle();
    let second = world.open(0);
    let stale = world.peers[first].id;
    assert_eq!(stale.index, world.peers[second].id.index);
    let shard = &mut world.shards[0];
    shard.handle_end(stale);
    shard.handle_reset(stale);
    shard.handle_writable(stale);
    shard.handle_bytes(stale, &mut [0xff; 100], 36);
    assert!(!shard.reads(stale) && shard.pending(stale) == 0);
    world.tell(second, r#"{"op":"ping","id":7}"#);
    assert_eq!(world.hear(second), ["pong 7"]);
    world.leave();
}

#[test]
fn an_exception_for_a_former_tenant_does_not_rob_the_next_one() {
    let mut world = World::new(2);
    let far = world.topic_at(1);
    let (first, witness) = (world.open(0), world.open(0));
    world.tell(witness, &format!(r#"{{"op":"subscribe","topic":"{far}"}}"#));
    world.say(first, &format!(r#"{{"op":"publish","topic":"{far}","data":1,"echo":false}}"#));
    world.turn(0);
    world.reset(first);
    world.turn(0);
    let second = world.accept(0);
    assert_eq!(world.peers[first].id.index, world.peers[second].id.index);
    world.send(second, UPGRADE.as_bytes());
    world.say(second, &format!(r#"{{"op":"subscribe","id":1,"topic":"{far}"}}"#));
    world.settle();
    world.hear_head(second);
    let heard = world.hear(second);
    // Its subscribe went behind the publication, so it may not hear it; the next one it must.
    assert_eq!(heard, ["welcome", &format!("ack 1 {far} @1")]);
    world.tell(witness, &format!(r#"{{"op":"publish","topic":"{far}","data":2}}"#));
    assert_eq!(world.hear(second), [format!("{far}:2 2")]);
    assert_eq!(world.hear(witness).len(), 2);
    world.leave();
}

#[test]
fn a_slow_connection_that_left_does_not_make_its_successor_slow() {
    let mut world = World::with(1, 4, |config| config.limits.outbound_bytes_max = 1000);
    let (slow, publisher) = (world.open(0), world.open(0));
    world.tell(slow, r#"{"op":"subscribe","topic":"a"}"#);
    world.peers[slow].room = 0;
    let publish = format!(r#"{{"op":"publish","topic":"a","data":"{}"}}"#, "x".repeat(600));
    world.tell(publisher, &publish);
    world.say(publisher, &publish);
    world.reset(slow);
    let next = world.accept(0);
    assert_eq!(world.peers[slow].id.index, world.peers[next].id.index);
    world.send(next, UPGRADE.as_bytes());
    world.settle();
    world.hear_head(next);
    assert_eq!(world.hear(next), ["welcome"]);
    assert_eq!(world.closed(CloseReason::SlowConsumer), 0);
    world.leave();
}
