//! Who is there, over several shards: every road on which a member leaves, those who are told, users, rules that ask who.

mod random;

use super::*;
use crate::auth::{Grants, Identity, KeyMark, NEVER};
use crate::rules::{Access, Rule};
use crate::shard::identity::User;

/// `chat/#` has presence and names publishers; `users/#` and `granted/#` are read by those alone.
fn rooms(shards: usize) -> World {
    rooms_with(shards, |_| {})
}

fn rooms_with(shards: usize, configure: impl FnOnce(&mut Config)) -> World {
    World::with(shards, 4, |config| {
        let rule = |filter: &str| Rule { filter: filter.to_owned(), ..Rule::default() };
        config.rules = vec![
            Rule { presence: true, from: true, ..rule("chat/#") },
            Rule { subscribe: Access::User, presence: true, ..rule("users/#") },
            Rule { subscribe: Access::Granted, ..rule("granted/#") },
        ];
        configure(config);
    })
}

/// Runs a conversation with the topic's home on the first connection's own shard and on another one.
fn here_and_there(conversation: impl Fn(&mut World, &str)) {
    for home in 0..2 {
        let mut world = rooms(2);
        let topic = world.topic_at(home);
        conversation(&mut world, &topic);
        world.leave();
    }
}

impl World {
    fn name(&self, peer: usize) -> String {
        let Peer { shard, id, .. } = self.peers[peer];
        ClientName { shard: ShardId(u16::try_from(shard).expect("few")), conn: id }.to_string()
    }

    /// A connection that has authenticated.
    fn open_user(&mut self, shard: usize, name: &str) -> usize {
        let peer = self.open(shard);
        let index = self.peers[peer].id.index as usize;
        let (subscribe, publish) = (Grants::default(), Grants::default());
        let (mark, operate) = (KeyMark::default(), false);
        let identity = Identity { user: name.into(), expires_unix_s: NEVER, subscribe, publish, operate, mark };
        self.shards[shard].connections[index].user = Some(User::new(identity, None));
        peer
    }

    pub(super) fn members(&self) -> usize {
        self.shards.iter().map(|shard| shard.home.members_len()).sum()
    }

    /// What the list says, by somebody who has no part in it.
    fn list(&mut self, topic: &str) -> String {
        let peer = self.open(0);
        self.tell(peer, &presence(1, topic));
        let heard = self.hear(peer).join("; ");
        self.reset(peer);
        self.settle();
        heard
    }
}

fn subscribe(id: u32, topic: &str) -> String {
    format!(r#"{{"op":"subscribe","id":{id},"topic":"{topic}"}}"#)
}

/// To be told, too.
fn attend(id: u32, topic: &str) -> String {
    format!(r#"{{"op":"subscribe","id":{id},"topic":"{topic}","presence":true}}"#)
}

fn unsubscribe(id: u32, topic: &str) -> String {
    format!(r#"{{"op":"unsubscribe","id":{id},"topic":"{topic}"}}"#)
}

fn presence(id: u32, topic: &str) -> String {
    format!(r#"{{"op":"presence","id":{id},"topic":"{topic}"}}"#)
}

fn publish(topic: &str, data: u32) -> String {
    format!(r#"{{"op":"publish","topic":"{topic}","data":{data}}}"#)
}

#[test]
fn a_list_names_each_member_once_wherever_it_is() {
    here_and_there(|world, topic| {
        let (near, far, other) = (world.open(0), world.open_user(1, "ann"), world.open_user(0, "ann"));
        for peer in [near, far, other] {
            world.tell(peer, &subscribe(1, topic));
            world.tell(peer, &subscribe(1, topic));
            world.tell(peer, &subscribe(1, "chat/#"));
            world.hear(peer);
        }
        let stranger = world.open(1);
        world.tell(stranger, &subscribe(1, "chat/+"));
        world.hear(stranger);
        world.tell(stranger, &format!(r#"{{"op":"presence","id":2,"topic":"{topic}","limit":2}}"#));
        let (a, b, c) = (world.name(near), world.name(other), world.name(far));
        assert_eq!(world.hear(stranger), [format!("ack 2 {topic} members [{a}, {b} ann] 1 of 3 next {b}")]);
        world.tell(stranger, &format!(r#"{{"op":"presence","id":2,"topic":"{topic}","limit":2,"after":"{b}"}}"#));
        assert_eq!(world.hear(stranger), [format!("ack 2 {topic} members [{c} ann] 1 of 3")]);
    });
}

#[test]
fn who_attends_hears_its_own_join_behind_its_ack_and_then_who_comes_and_goes() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &attend(1, topic));
        let me = world.name(peer);
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @0"), format!("join {topic} {me}")]);
        world.tell(other, &subscribe(1, topic));
        world.tell(other, &publish(topic, 7));
        world.tell(other, &unsubscribe(2, topic));
        let you = world.name(other);
        let expected = [format!("join {topic} {you}"), format!("{topic}:1 7"), format!("leave {topic} {you}")];
        assert_eq!(world.hear(peer), expected);
        assert_eq!(world.hear(other), [format!("ack 1 {topic} @0"), format!("{topic}:1 7"), format!("ack 2 {topic}")]);
        assert_eq!(world.shards.iter().map(|shard| shard.counters().delivered).sum::<u64>(), 2, "events do not count");
    });
}

#[test]
fn a_member_that_comes_publishes_and_goes_in_one_turn_does_so_in_that_order() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &attend(1, topic));
        world.hear(peer);
        for command in [subscribe(1, topic), publish(topic, 1), unsubscribe(2, topic), publish(topic, 2)] {
            world.say(other, &command);
        }
        world.settle();
        let you = world.name(other);
        let expected = [
            format!("join {topic} {you}"),
            format!("{topic}:1 1"),
            format!("leave {topic} {you}"),
            format!("{topic}:2 2"),
        ];
        assert_eq!(world.hear(peer), expected);
    });
}

#[test]
fn a_member_leaves_behind_a_publication_that_was_held_back_and_stays_if_it_subscribes_again() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &attend(1, topic));
        world.tell(other, &subscribe(1, topic));
        world.hear(peer);
        let you = world.name(other);
        let held = [subscribe(2, "#"), publish(topic, 1), unsubscribe(3, topic)];
        held.iter().for_each(|command| world.say(other, command));
        world.settle();
        assert_eq!(world.hear(peer), [format!("{topic}:1 1"), format!("leave {topic} {you}")]);
        world.tell(other, &unsubscribe(4, "#"));
        let again =
            [subscribe(5, "#"), publish(topic, 2), unsubscribe(6, topic), subscribe(7, topic), publish(topic, 3)];
        world.tell(other, &subscribe(8, topic));
        assert_eq!(world.hear(peer), [format!("join {topic} {you}")]);
        again.iter().for_each(|command| world.say(other, command));
        world.settle();
        assert_eq!(world.hear(peer), [format!("{topic}:2 2"), format!("{topic}:3 3")]);
        assert_eq!(world.members(), 2);
    });
}

#[test]
fn to_be_told_ends_with_a_subscribe_without_it_and_with_the_unsubscribe() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &subscribe(1, topic));
        world.tell(peer, &attend(2, topic));
        assert_eq!(world.hear(peer), [format!("ack 1 {topic} @0"), format!("ack 2 {topic} @0")], "it was there before");
        world.tell(other, &subscribe(1, topic));
        assert_eq!(world.hear(peer), [format!("join {topic} {}", world.name(other))]);
        world.tell(peer, &subscribe(3, topic));
        world.tell(other, &unsubscribe(2, topic));
        assert_eq!(world.hear(peer), [format!("ack 3 {topic} @0")]);
        world.tell(peer, &attend(4, topic));
        world.tell(peer, &unsubscribe(5, topic));
        world.tell(other, &subscribe(3, topic));
        assert_eq!(world.hear(peer), [format!("ack 4 {topic} @0"), format!("ack 5 {topic}")]);
        assert_eq!(world.members(), 1);
        let subscriptions: usize = world.shards.iter().map(|shard| shard.held()[3].1).sum();
        assert_eq!(subscriptions, 1, "of the two subscriptions none is left");
    });
}

/// How a member, subscribed to the topic, goes.
type Road = fn(&mut World, usize, &str);

const ROADS: [(&str, Road); 6] = [
    ("unsubscribe", |world, peer, topic| world.say(peer, &unsubscribe(1, topic))),
    ("close", |world, peer, _| world.frame(peer, Opcode::Close, &1000u16.to_be_bytes())),
    ("end", |world, peer, _| world.end(peer)),
    ("reset", |world, peer, _| world.reset(peer)),
    ("broken frame", |world, peer, _| world.send(peer, &[0xff, 0xff])),
    ("write failed", |world, peer, _| {
        world.peers[peer].broken = true;
        world.say(peer, r#"{"op":"ping"}"#);
    }),
];

#[test]
fn a_member_leaves_by_every_road() {
    for (home, (road, leave)) in (0..2).flat_map(|home| ROADS.map(|road| (home, road))) {
        let mut world = rooms(2);
        let topic = world.topic_at(home);
        let (watcher, peer) = (world.open(1), world.open(0));
        world.tell(watcher, &attend(1, &topic));
        world.tell(peer, &attend(1, &topic));
        world.hear(watcher);
        leave(&mut world, peer, &topic);
        world.settle();
        let gone = format!("leave {topic} {}", world.name(peer));
        assert_eq!(world.hear(watcher), [gone], "{road}, home {home}");
        assert_eq!(world.members(), 1);
        world.leave();
    }
}

#[test]
fn a_member_that_misses_its_heartbeat_or_is_too_slow_leaves() {
    for home in 0..2 {
        let mut world = rooms_with(2, |config| {
            config.limits.outbound_bytes_max = 70_000;
            config.heartbeat.interval_s = 5;
            config.heartbeat.timeout_s = 1;
        });
        let topic = world.topic_at(home);
        let (slow, watcher) = (world.open(0), world.open(1));
        world.tell(slow, &subscribe(1, &topic));
        world.tell(watcher, &attend(1, &topic));
        world.hear(watcher);
        world.peers[slow].room = 0;
        let much = "x".repeat(40_000);
        for _ in 0..2 {
            world.tell(watcher, &format!(r#"{{"op":"publish","topic":"{topic}","data":"{much}"}}"#));
        }
        assert_eq!(world.hear(watcher).last(), Some(&format!("leave {topic} {}", world.name(slow))));
        let dead = world.open(0);
        world.tell(dead, &subscribe(1, &topic));
        assert_eq!(world.hear(watcher), [format!("join {topic} {}", world.name(dead))]);
        for _ in 0..15 {
            world.pass(1_000);
            world.frame(watcher, Opcode::Pong, b"");
        }
        assert_eq!(
            world.hear(watcher).into_iter().filter(|line| line != "ping").collect::<Vec<_>>(),
            [format!("leave {topic} {}", world.name(dead))]
        );
        assert_eq!([CloseReason::SlowConsumer, CloseReason::HeartbeatMissed].map(|why| world.closed(why)), [1, 1]);
        assert_eq!(world.members(), 1);
        world.leave();
    }
}

#[test]
fn a_stop_takes_all_members_along_and_tells_nobody() {
    let mut world = rooms(3);
    let topics = [0, 1, 2].map(|home| world.topic_at(home));
    let peers: Vec<usize> = (0..6).map(|number| world.open(number % 3)).collect();
    for (&peer, topic) in peers.iter().zip(topics.iter().cycle()) {
        world.tell(peer, &attend(1, topic));
    }
    for &peer in &peers {
        world.tell(peer, &attend(2, &topics[0]));
    }
    for &peer in &peers {
        world.hear(peer);
    }
    world.shards.iter_mut().for_each(Shard::handle_stop);
    world.settle();
    for &peer in &peers {
        assert_eq!(world.hear(peer), ["close 1001"]);
        world.frame(peer, Opcode::Close, &1001u16.to_be_bytes());
    }
    world.settle();
    peers.iter().for_each(|&peer| world.end(peer));
    world.settle();
    assert!(world.shards.iter().all(Shard::is_stopped));
    world.assert_empty();
}

#[test]
fn subscribing_again_while_the_first_answer_is_on_its_way_is_one_membership() {
    for home in 0..2 {
        for (leaves, first, second) in
            [(true, true, true), (true, true, false), (true, false, true), (false, true, false), (false, false, true)]
        {
            let mut world = rooms(2);
            let topic = world.topic_at(home);
            let (peer, watcher) = (world.open(0), world.open(1));
            world.tell(watcher, &attend(1, &topic));
            world.hear(watcher);
            let ask = |id, told| if told { attend(id, &topic) } else { subscribe(id, &topic) };
            world.say(peer, &ask(1, first));
            if leaves {
                world.say(peer, &unsubscribe(2, &topic));
            }
            world.say(peer, &ask(3, second));
            world.settle();
            assert_eq!(world.members(), 2);
            let me = world.name(peer);
            assert_eq!(world.hear(watcher), [format!("join {topic} {me}")]);
            let told = world.hear(peer).iter().filter(|line| line.starts_with("join")).count();
            assert_eq!(told, usize::from(second), "{leaves} {first} {second}");
            world.tell(watcher, &unsubscribe(2, &topic));
            world.tell(peer, &publish(&topic, 1));
            let expected = [format!("leave {topic} {}", world.name(watcher)), format!("{topic}:1 1")];
            assert_eq!(world.hear(peer), expected[usize::from(!second)..]);
            world.say(peer, &unsubscribe(4, &topic));
            world.say(peer, &ask(5, first));
            world.say(peer, &unsubscribe(6, &topic));
            world.settle();
            assert_eq!(world.members(), 0);
            world.leave();
        }
    }
}

#[test]
fn a_member_that_goes_while_pending_leaves_nothing_anywhere() {
    for home in 0..2 {
        let mut world = rooms(2);
        let topic = world.topic_at(home);
        for turns in 0..4 {
            let peer = world.open(0);
            world.say(peer, &attend(1, &topic));
            (0..turns).for_each(|turn| world.turn(turn % 2));
            world.reset(peer);
        }
        world.assert_empty();
    }
}

#[test]
fn where_the_rule_has_no_presence_it_is_404_and_what_was_subscribed_stays() {
    for name in ["bare/0", "bare/1", "bare/2"] {
        let mut world = rooms(2);
        let peer = world.open(0);
        world.tell(peer, &presence(1, name));
        world.tell(peer, &attend(2, name));
        assert_eq!(world.hear(peer), ["error 1 404", "error 2 404"]);
        world.tell(peer, &publish(name, 1));
        assert_eq!(world.hear(peer), [""; 0], "it was refused whole");
        world.tell(peer, &subscribe(3, name));
        world.tell(peer, &attend(4, name));
        world.tell(peer, &publish(name, 2));
        assert_eq!(world.hear(peer), [format!("ack 3 {name} @1"), "error 4 404".into(), format!("{name}:2 2")]);
        world.say(peer, &unsubscribe(5, name));
        world.say(peer, &attend(6, name));
        world.say(peer, &subscribe(7, name));
        world.settle();
        world.hear(peer);
        assert_eq!(world.shards[0].counters().faults, 4);
        world.leave();
    }
}

#[test]
fn a_subscribe_behind_one_that_is_refused_for_presence_holds_by_itself() {
    let mut world = World::with(2, 4, |_| {});
    for home in 0..2 {
        let topic = world.topic_at(home);
        let (peer, publisher) = (world.open(0), world.open(1));
        world.tell(peer, &format!("[{},{}]", attend(1, &topic), subscribe(2, &topic)));
        world.tell(publisher, &publish(&topic, 2));
        let heard = world.hear(peer);
        assert_eq!(heard.len(), 3, "{heard:?}");
        assert!(heard[0].starts_with("error 1 404") && heard[1].starts_with("ack 2"), "{heard:?}");
        assert!(heard[2].starts_with(&topic), "{heard:?}");
    }
    world.leave();
}

#[test]
fn nobody_can_subscribe_to_or_end_the_broker_s_own_subscriptions() {
    here_and_there(|world, topic| {
        let (peer, other) = (world.open(0), world.open(1));
        world.tell(peer, &attend(1, topic));
        world.hear(peer);
        let own = format!("$presence/{topic}");
        world.tell(peer, &unsubscribe(2, &own));
        world.tell(other, &subscribe(3, &own));
        world.tell(other, &subscribe(4, "#"));
        world.tell(other, &publish(&own, 1));
        assert_eq!(world.hear(peer), [format!("ack 2 {own}")]);
        assert_eq!(world.hear(other), ["error 3 403", "ack 4 #", "error null 403"]);
        world.tell(other, &subscribe(5, topic));
        assert_eq!(world.hear(other), [format!("ack 5 {topic} @0")], "a wildcard is not told");
        assert_eq!(world.hear(peer), [format!("join {topic} {}", world.name(other))], "it still is");
    });
}

#[test]
fn to_be_told_counts_as_one_subscription_more() {
    let mut world = rooms_with(2, |config| config.limits.subscriptions_max = 3);
    let peer = world.open(0);
    world.tell(peer, &attend(1, "chat/a"));
    world.tell(peer, &attend(2, "chat/b"));
    world.tell(peer, &subscribe(3, "chat/b"));
    world.tell(peer, &attend(4, "chat/b"));
    world.tell(peer, &attend(5, "chat/a"));
    let mut heard = world.hear(peer);
    heard.retain(|line| !line.starts_with("join"));
    assert_eq!(heard, ["ack 1 chat/a @0", "error 2 403", "ack 3 chat/b @0", "error 4 403", "ack 5 chat/a @0"]);
    world.leave();
}

#[test]
fn a_user_of_several_connections_on_several_shards_is_one() {
    here_and_there(|world, topic| {
        let (watcher, stranger) = (world.open_user(0, "bob"), world.open(1));
        world.tell(watcher, &attend(1, topic));
        let ann: Vec<usize> = (0..4).map(|number| world.open_user(number % 2, "ann")).collect();
        ann.iter().for_each(|&peer| world.tell(peer, &subscribe(1, topic)));
        assert_eq!(world.hear(watcher)[1..], [format!("join {topic} bob"), format!("join {topic} ann")]);
        world.tell(stranger, &subscribe(1, topic));
        assert_eq!(world.hear(watcher), [format!("join {topic} {}", world.name(stranger))]);
        assert!(world.list(topic).ends_with(" 2 of 6"));
        for &peer in &ann[1..] {
            world.reset(peer);
            world.settle();
        }
        assert_eq!(world.hear(watcher), [""; 0]);
        world.tell(ann[0], &unsubscribe(2, topic));
        assert_eq!(world.hear(watcher), [format!("leave {topic} ann")]);
    });
}

#[test]
fn a_publication_names_its_user_to_everybody_and_a_stranger_is_not_named() {
    here_and_there(|world, topic| {
        let (ann, stranger) = (world.open_user(0, "ann"), world.open(1));
        world.tell(ann, &subscribe(1, topic));
        world.tell(stranger, &subscribe(1, topic));
        world.say(ann, r##"{"op":"subscribe","topic":"x/#"}"##); // what follows is held back for a while
        world.tell(ann, &publish(topic, 1));
        world.tell(stranger, &publish(topic, 2));
        let expected = [format!("ack 1 {topic} @0"), format!("{topic}:1 by ann 1"), format!("{topic}:2 2")];
        assert_eq!((world.hear(ann), world.hear(stranger)), (expected.to_vec(), expected.to_vec()));
        world.tell(ann, &publish("bare", 3));
        world.tell(stranger, &presence(2, topic));
        let members = format!("[{} ann, {}]", world.name(ann), world.name(stranger));
        assert_eq!(world.hear(stranger), [format!("ack 2 {topic} members {members} 1 of 2")]);
    });
}

#[test]
fn what_a_rule_gives_to_users_reaches_no_stranger_by_name_or_by_wildcard() {
    for home in 0..2 {
        let mut world = rooms(2);
        let mut names = (0..).map(|number| format!("users/{number}"));
        let topic = names.find(|name| world.shards[0].home_of(Topic::known(name)) == ShardId(home)).expect("some");
        let granted = topic.replace("users", "granted");
        let (ann, stranger) = (world.open_user(0, "ann"), world.open(0));
        for peer in [ann, stranger] {
            for name in [&topic, "users/+", "#", &granted] {
                world.tell(peer, &subscribe(1, name));
            }
            world.tell(peer, &presence(2, &topic));
            world.tell(peer, &format!(r#"{{"op":"history","id":3,"topic":"{topic}"}}"#));
        }
        let answers = |world: &mut World, peer| {
            let heard = world.hear(peer);
            heard
                .iter()
                .map(|line| line.split_once(" users").map_or(&**line, |(start, _)| start).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(answers(&mut world, ann), ["ack 1", "ack 1", "ack 1 #", "error 1 403", "ack 2", "error 3 404"]);
        assert_eq!(
            answers(&mut world, stranger),
            ["error 1 403", "ack 1", "ack 1 #", "error 1 403", "error 2 403", "error 3 403"]
        );
        world.tell(stranger, &publish(&topic, 1));
        world.tell(stranger, &publish(&granted, 1));
        assert_eq!((world.hear(ann), world.hear(stranger)), (vec![format!("{topic}:1 1")], vec![]));
        world.leave();
    }
}
