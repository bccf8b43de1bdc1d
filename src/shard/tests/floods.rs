//! Floods of HTTP requests: each turn does a bounded part of them, and everybody else is served in that very turn.

use super::api::{JSON, request};
use super::*;

/// A publication by WebSocket reaches its subscriber in the turn in which it was sent.
struct Others {
    topic: String,
    publisher: usize,
    subscriber: usize,
}

impl Others {
    fn new(world: &mut World) -> Self {
        let (publisher, subscriber) = (world.open(0), world.open(0));
        let topic = world.topic_at(0);
        world.tell(subscriber, &format!(r#"{{"op":"subscribe","topic":"{topic}"}}"#));
        Self { topic, publisher, subscriber }
    }

    fn turn(&self, world: &mut World) {
        world.say(self.publisher, &format!(r#"{{"op":"publish","topic":"{}","data":1}}"#, self.topic));
        world.turn(0);
        assert_eq!(world.hear(self.subscriber).len(), 1, "in the very turn");
    }
}

/// The most requests that one connection gets answered without another turn: those that are under way, at each go.
const ANSWERS_PER_GO: usize = limits::REQUESTS_UNDER_WAY_MAX;

#[test]
fn a_flood_on_many_connections_is_worked_off_in_bounded_turns_and_the_others_are_served_in_each() {
    let mut world = World::new(2);
    let others = Others::new(&mut world);
    let mut names = (0..).map(|number| format!("flood/{number}"));
    let home = |name: &String| world.shards[0].home_of(Topic::known(name));
    let topic = names.find(|name| home(name) == ShardId(0)).expect("some");
    let one = request(&format!("POST /v1/publish?topic={topic}"), JSON, b"1");
    let per_connection = limits::PIPELINE_BYTES_MAX / one.len();
    let connections: Vec<usize> = (0..20).map(|_| world.accept(0)).collect();
    for &connection in &connections {
        world.send(connection, &one.repeat(per_connection));
    }
    let all = connections.len() * per_connection;
    let (mut answered, mut turns) = (0, 0);
    while answered < all {
        others.turn(&mut world);
        let answers: usize = connections.iter().map(|&connection| world.answers(connection).len()).sum();
        // What was begun as it was read, and the goes of this turn.
        let most = (connections.len() + limits::REQUESTS_PER_TURN) * ANSWERS_PER_GO;
        assert!((1..=most).contains(&answers), "{answers} answers in a turn, at most {most} may be");
        (answered, turns) = (answered + answers, turns + 1);
    }
    assert!(answered == all && turns > 1, "{turns} turns for {all} requests");
    world.leave();
}

#[test]
fn a_flood_of_what_other_shards_answer_goes_on_no_faster_than_they_do() {
    let mut world = World::new(2);
    let others = Others::new(&mut world);
    let one = request(&format!("POST /v1/publish?topic={}", world.topic_at(1)), JSON, b"1");
    let flood = world.accept(0);
    let all = limits::PIPELINE_BYTES_MAX / one.len();
    world.send(flood, &one.repeat(all));
    let mut answered = 0;
    while answered < all {
        others.turn(&mut world);
        world.turn(1);
        let answers = world.answers(flood).len();
        assert!(answers <= ANSWERS_PER_GO, "{answers} answers in a turn");
        answered += answers;
    }
    world.leave();
}

#[test]
fn a_flood_that_reads_no_answers_costs_one_answer_over_the_limit_and_keeps_nobody_waiting() {
    let mut world = World::new(2);
    let others = Others::new(&mut world);
    let flood = world.accept(0);
    world.peers[flood].room = 0;
    let one = request("GET /v1/nothing", "", b"");
    world.send(flood, &one.repeat(limits::PIPELINE_BYTES_MAX / one.len()));
    for _ in 0..10 {
        others.turn(&mut world);
    }
    let id = world.peers[flood].id;
    assert!(world.shards[0].pending(id) < limits::REPLY_BYTES_MAX + 1_000);
    assert!(!world.reads(flood));
    world.leave();
}
