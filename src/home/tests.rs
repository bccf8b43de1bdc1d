//! The home's contract as conversations: commands in, what each shard hears out, one word per delivery.
//!
//! [`hear`] ends the turn and writes a shard's mail as text: `a:1,2 | b:7` is a batch with two runs.

mod estate;
mod forms;
mod large;
mod past;
mod presence;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::ws::encode;

const NO_ONE: ConnId = ConnId { index: 9, generation: 9 };

fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

fn topic(name: &str) -> Topic<'_> {
    Topic::parse(name).expect("valid")
}

fn filter(text: &str) -> Filter<'_> {
    Filter::parse(text).expect("valid")
}

fn publish(home: &mut Home, name: &str) -> Position {
    publish_by(home, name, 0, NO_ONE, true)
}

fn publish_by(home: &mut Home, name: &str, shard: u16, conn: ConnId, echo: bool) -> Position {
    let (payload, id) = (Payload::Json(b"{}"), Id::None);
    home.handle_publish(Publish {
        topic: topic(name),
        payload,
        shard: ShardId(shard),
        conn,
        user: None,
        permit: Permit::default(),
        id,
        echo,
        key: None,
        conflate: None,
    });
    newest(home, name)
}

/// The position of the topic's last publication.
fn newest(home: &mut Home, name: &str) -> Position {
    let key = home.topics.find(topic(name)).expect("it was published to");
    let state = home.topics.at(key);
    Position { epoch: state.epoch, offset: state.offset }
}

/// A home without rules.
fn plain(shards: u16, seed: u64) -> Home {
    Home::new(ShardId(0), shards, Rc::default(), usize::MAX, seed)
}

fn subscribe(home: &mut Home, name: &str, shard: u16, serial: u32) {
    let (conn, slot, id, from) = (conn(0), 3, Id::None, From::Now);
    home.handle_subscribe(Subscribe {
        topic: topic(name),
        shard: ShardId(shard),
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
}

/// Ends the turn; all that waits for one shard.
fn hear(home: &mut Home, shard: u16) -> Vec<String> {
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(shard)));
    let say = |item: &Delivery| match item {
        Delivery::Batch { batch, runs } => runs.iter().map(|&run| say_run(batch, run)).collect::<Vec<_>>().join(" | "),
        Delivery::Subscribed(answer) => format!("subscribed {} at {}", answer.serial, answer.position.offset),
        Delivery::Unsubscribed { serial, .. } => format!("unsubscribed {serial}"),
        Delivery::Refused { id, refusal, .. } => format!("refused {id:?} {}", refusal.code()),
        Delivery::History { position, .. } => format!("history at {}", position.offset),
        Delivery::Presence { ack, .. } => say_members(ack.of(&parcel.bytes)),
        Delivery::Watching { slot } => format!("watching {slot}"),
        Delivery::Published { topic, position, .. } => {
            format!("published {} {}", topic.text(&parcel.bytes), position.offset)
        }
        Delivery::Surveyed { serial, .. } => format!("surveyed {serial}"),
        Delivery::Ruled { topic, access, presence } => {
            let presence = if *presence { " with presence" } else { "" };
            format!("ruled {} {access:?}{presence}", topic.text(&parcel.bytes))
        }
        Delivery::Final => "final".to_owned(),
    };
    parcel.items.iter().map(say).collect()
}

fn say_run(batch: &Batch, run: u32) -> String {
    let run = batch.runs[run as usize];
    let name = run.name.text(&batch.bytes);
    if let Some(subject) = name.strip_prefix("$presence/") {
        assert_eq!(run.publications, 0);
        return format!("{subject} {}", events(run.frames.of(&batch.bytes), subject).join(" "));
    }
    let offsets: Vec<String> = frames(batch, run).iter().map(|(_, position)| position.offset.to_string()).collect();
    assert_eq!(offsets.len(), run.publications as usize);
    format!("{name}:{}", offsets.join(","))
}

/// A list of members.
fn say_members(ack: &[u8]) -> String {
    let ack: serde_json::Value = serde_json::from_slice(ack).expect("JSON");
    let members = ack["members"].as_array().expect("a list").iter().map(|member| {
        let client = member["client"].as_str().expect("a name");
        member["user"].as_str().map_or_else(|| client.to_owned(), |user| format!("{client} {user}"))
    });
    let members = members.collect::<Vec<_>>().join(", ");
    let more = ack["next"].as_str().map(|next| format!(", more behind {next}")).unwrap_or_default();
    format!("presence [{members}] {} users {} connections{more}", ack["users"], ack["connections"])
}

/// Who came and who went, by user or by connection.
fn events(mut frames: &[u8], subject: &str) -> Vec<String> {
    let mut said = Vec::new();
    while !frames.is_empty() {
        let (frame, rest) = frames.split_at(encode::frame_len(frames));
        let body: serde_json::Value = serde_json::from_slice(&frame[encode::frame_header_len(frame)..]).expect("JSON");
        assert_eq!(body["topic"], subject);
        let sign = if body["op"] == "join" { '+' } else { '-' };
        let member = &body["member"];
        said.push(format!("{sign}{}", member["user"].as_str().or(member["client"].as_str()).expect("somebody")));
        frames = rest;
    }
    said
}

/// The frames of a run: where each stands, and the position in it. Each must name the run's topic.
fn frames(batch: &Batch, run: Run) -> Vec<(Span, Position)> {
    let (mut found, mut at) = (Vec::new(), run.frames.start);
    while at < run.frames.end {
        let bytes = &batch.bytes[at as usize..run.frames.end as usize];
        let len = encode::frame_len(bytes);
        let body: serde_json::Value = serde_json::from_slice(&bytes[encode::header_len(len - 2)..len]).expect("JSON");
        assert_eq!(body["topic"], run.name.text(&batch.bytes));
        let position = body["position"].as_str().expect("a string").parse().expect("a position");
        let end = at + u32::try_from(len).expect("short");
        found.push((Span { start: at, end }, position));
        at = end;
    }
    assert_eq!(at, run.frames.end, "a run ends with a frame");
    found
}

/// The only batch that waits for a shard.
fn only_batch(home: &mut Home, shard: u16) -> Arc<Batch> {
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(shard)));
    match &parcel.items[..] {
        [Delivery::Batch { batch, .. }] => Arc::clone(batch),
        other => panic!("one batch is expected, not {other:?}"),
    }
}

#[test]
fn positions_count_per_topic_from_1_and_keep_one_epoch() {
    let mut home = plain(1, 7);
    let first = publish(&mut home, "a");
    let other = publish(&mut home, "b");
    let second = publish(&mut home, "a");
    subscribe(&mut home, "a", 0, 1);
    let third = publish(&mut home, "a");
    assert_eq!([first.offset, second.offset, third.offset, other.offset], [1, 2, 3, 1]);
    assert_eq!([second.epoch, third.epoch], [first.epoch; 2]);
    assert_ne!(first.epoch, other.epoch, "each topic's counter has a life of its own");
    let batch = {
        let parcel = {
            home.end_turn();
            std::mem::take(home.parcel(ShardId(0)))
        };
        assert!(matches!(&parcel.items[0], Delivery::Subscribed(answer) if answer.position == second));
        match &parcel.items[1] {
            Delivery::Batch { batch, .. } => Arc::clone(batch),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(frames(&batch, batch.runs[0])[0].1, third, "subscribers see the position that the publisher is told");
}

#[test]
fn two_homes_of_one_seed_agree_and_of_two_seeds_differ() {
    let epoch = |seed| publish(&mut plain(1, seed), "a").epoch;
    assert_eq!(epoch(1), epoch(1));
    assert_ne!(epoch(1), epoch(2));
}

#[test]
fn the_answer_to_a_subscribe_stands_between_what_came_before_and_after() {
    let mut home = plain(2, 7);
    subscribe(&mut home, "a", 0, 1);
    publish(&mut home, "a");
    publish(&mut home, "a");
    subscribe(&mut home, "a", 1, 2);
    publish(&mut home, "a");
    subscribe(&mut home, "a", 0, 3);
    publish(&mut home, "a");
    let expected = ["subscribed 1 at 0", "a:1,2", "a:3", "subscribed 3 at 3", "a:4"];
    assert_eq!(hear(&mut home, 0), expected);
    assert_eq!(hear(&mut home, 1), ["subscribed 2 at 2", "a:3", "a:4"]);
}

#[test]
fn a_subscribe_to_a_topic_without_publications_in_the_turn_does_not_split_the_batch() {
    let mut home = plain(1, 7);
    subscribe(&mut home, "a", 0, 1);
    hear(&mut home, 0);
    publish(&mut home, "a");
    subscribe(&mut home, "b", 0, 2);
    publish(&mut home, "a");
    assert_eq!(hear(&mut home, 0), ["subscribed 2 at 0", "a:1,2"]);
}

#[test]
fn a_watch_holds_for_exactly_what_comes_after_its_answer() {
    let mut home = plain(2, 7);
    subscribe(&mut home, "chat/1", 0, 1);
    publish(&mut home, "chat/1");
    home.handle_watch(ShardId(1), filter("chat/#"), 5, Form::Frames);
    publish(&mut home, "chat/1");
    publish(&mut home, "chat/2");
    publish(&mut home, "other");
    assert_eq!(hear(&mut home, 1), ["watching 5", "chat/1:2 | chat/2:1"]);
    assert_eq!(hear(&mut home, 0), ["subscribed 1 at 0", "chat/1:1", "chat/1:2"]);
    home.handle_unwatch(ShardId(1), filter("chat/#"));
    publish(&mut home, "chat/1");
    assert_eq!(hear(&mut home, 1), [""; 0]);
    assert_eq!(hear(&mut home, 0), ["chat/1:3"]);
}

#[test]
fn remembered_interest_follows_every_change_of_the_filters() {
    let mut home = plain(3, 7);
    let hears = |home: &mut Home| {
        publish(home, "a/b");
        let heard = [0, 1, 2].map(|shard| hear(home, shard).iter().any(|word| word.starts_with("a/b:")));
        heard.map(u8::from)
    };
    assert_eq!(hears(&mut home), [0, 0, 0], "an empty set is remembered, too");
    home.handle_watch(ShardId(1), filter("a/+"), 0, Form::Frames);
    assert_eq!(hears(&mut home), [0, 1, 0]);
    home.handle_watch(ShardId(2), filter("a/+"), 0, Form::Frames);
    home.handle_watch(ShardId(2), filter("#"), 0, Form::Frames);
    assert_eq!(hears(&mut home), [0, 1, 1]);
    home.handle_unwatch(ShardId(2), filter("a/+"));
    assert_eq!(hears(&mut home), [0, 1, 1], "the other filter still holds");
    home.handle_unwatch(ShardId(2), filter("#"));
    home.handle_unwatch(ShardId(0), filter("a/+"));
    home.handle_unwatch(ShardId(0), filter("never/watched/#"));
    assert_eq!(hears(&mut home), [0, 1, 0]);
    home.handle_unwatch(ShardId(1), filter("a/+"));
    assert_eq!((hears(&mut home), home.interest_len()), ([0, 0, 0], (0, 0)));
}

#[test]
fn a_shard_that_released_a_topic_hears_it_no_more_and_the_others_do() {
    let mut home = plain(2, 7);
    subscribe(&mut home, "a", 0, 1);
    subscribe(&mut home, "a", 1, 1);
    home.handle_release(ShardId(1), topic("a"));
    home.handle_release(ShardId(1), topic("unknown"));
    publish(&mut home, "a");
    assert_eq!(hear(&mut home, 0), ["subscribed 1 at 0", "a:1"]);
    assert_eq!(hear(&mut home, 1), ["subscribed 1 at 0"]);
    assert_eq!(home.interest_len(), (1, 0));
}

#[test]
fn interleaved_topics_are_brought_side_by_side_in_the_order_of_their_offsets() {
    let mut home = plain(2, 7);
    for name in ["a", "b"] {
        subscribe(&mut home, name, 0, 1);
    }
    subscribe(&mut home, "c", 1, 1);
    hear(&mut home, 0);
    hear(&mut home, 1);
    for name in ["a", "b", "a", "c", "b", "a", "c"] {
        publish(&mut home, name);
    }
    assert_eq!(hear(&mut home, 0), ["a:1,2,3 | b:1,2"]);
    assert_eq!(hear(&mut home, 1), ["c:1,2"]);
    publish(&mut home, "b");
    publish(&mut home, "a");
    assert_eq!(hear(&mut home, 0), ["b:3 | a:4"], "the next turn begins anew");
}

#[test]
fn runs_of_a_batch_lie_side_by_side_without_gaps() {
    let mut home = plain(1, 7);
    home.handle_watch(ShardId(0), filter("#"), 0, Form::Frames);
    std::mem::take(home.parcel(ShardId(0)));
    for number in 0..50 {
        publish(&mut home, ["a", "bb", "ccc"][number * number % 3]);
    }
    let batch = only_batch(&mut home, 0);
    let mut end = 0;
    for run in &batch.runs {
        assert_eq!(run.frames.start, end);
        assert!(!frames(&batch, *run).is_empty());
        end = run.frames.end;
    }
    assert_eq!(batch.runs.iter().map(|run| run.publications).sum::<u32>(), 50);
}

#[test]
fn exceptions_name_the_frames_that_a_publisher_is_not_to_get() {
    let mut home = plain(2, 7);
    for name in ["a", "b"] {
        subscribe(&mut home, name, 0, 1);
    }
    std::mem::take(home.parcel(ShardId(0)));
    publish_by(&mut home, "b", 0, conn(1), true);
    publish_by(&mut home, "a", 0, conn(1), false);
    publish_by(&mut home, "b", 1, conn(1), false);
    publish_by(&mut home, "a", 0, conn(2), false);
    publish_by(&mut home, "a", 0, conn(1), true);
    publish_by(&mut home, "b", 0, conn(1), false);
    let batch = only_batch(&mut home, 0);
    let told = |run: u32, shard: u16| -> Vec<(u32, u64)> {
        let all = frames(&batch, batch.runs[run as usize]);
        let offset = |except: &Exception| all.iter().find(|(span, _)| *span == except.frame).expect("a frame").1.offset;
        batch.exceptions_of(run, ShardId(shard)).map(|except| (except.conn.index, offset(except))).collect()
    };
    assert_eq!(told(0, 0), [(1, 3)], "topic b came first: its run is number 0");
    assert_eq!(told(0, 1), [(1, 2)]);
    assert_eq!(told(1, 0), [(1, 1), (2, 2)]);
    assert_eq!(told(1, 1), []);
}

#[test]
fn an_ack_goes_to_the_shard_that_asked_and_to_nobody_without_an_id() {
    let mut home = plain(2, 7);
    publish(&mut home, "a");
    let (payload, id, shard) = (Payload::Binary(b"\0"), Id::Int(4), ShardId(1));
    home.handle_publish(Publish {
        topic: topic("a"),
        payload,
        shard,
        conn: conn(1),
        user: None,
        permit: Permit::default(),
        id,
        echo: true,
        key: None,
        conflate: None,
    });
    assert_eq!(hear(&mut home, 0), [""; 0]);
    assert_eq!(hear(&mut home, 1), ["published a 2"]);
}

#[test]
fn nothing_is_encoded_while_nobody_is_interested_but_positions_go_on() {
    let mut home = plain(1, 7);
    for _ in 0..3 {
        publish(&mut home, "a");
    }
    assert!(home.turn.is_empty());
    subscribe(&mut home, "a", 0, 1);
    assert_eq!(hear(&mut home, 0), ["subscribed 1 at 3"]);
}

#[test]
fn a_batch_is_sealed_when_it_is_full_and_loses_nothing() {
    let mut home = plain(1, 7);
    subscribe(&mut home, "a", 0, 1);
    std::mem::take(home.parcel(ShardId(0)));
    let payload = format!("\"{}\"", "x".repeat(9_998));
    for _ in 0..60 {
        let (payload, id) = (Payload::Json(payload.as_bytes()), Id::None);
        home.handle_publish(Publish {
            topic: topic("a"),
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
    home.end_turn();
    let parcel = std::mem::take(home.parcel(ShardId(0)));
    let mut offsets = Vec::new();
    for item in &parcel.items {
        let Delivery::Batch { batch, .. } = item else { panic!("{item:?}") };
        assert!(batch.bytes.len() < limits::BATCH_BYTES_MAX + 10_200, "one publication beyond the limit at most");
        offsets.extend(frames(batch, batch.runs[0]).iter().map(|(_, position)| position.offset));
    }
    assert_eq!(parcel.items.len(), 3);
    assert_eq!(offsets, (1..=60).collect::<Vec<u64>>());
}

#[test]
fn after_a_stop_the_last_word_to_every_shard_is_final() {
    let mut home = plain(2, 7);
    subscribe(&mut home, "a", 1, 1);
    publish(&mut home, "a");
    home.handle_stop();
    assert_eq!(hear(&mut home, 0), ["final"]);
    assert_eq!(hear(&mut home, 1), ["subscribed 1 at 0", "a:1", "final"]);
}

/// Publishes once to each of so many names that nobody has heard of.
fn flood(home: &mut Home, salt: &str, names: usize) {
    for number in 0..names {
        publish(home, &format!("{salt}/{number}"));
    }
}

#[test]
fn random_names_cannot_grow_a_home_beyond_its_limit() {
    let mut home = plain(1, 7);
    flood(&mut home, "x", 2 * limits::TOPICS_IDLE_MAX + 17);
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX);
    home.handle_watch(ShardId(0), filter("#"), 0, Form::Frames);
    flood(&mut home, "y", limits::TOPICS_IDLE_MAX + 17);
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX, "watched by a wildcard or not");
}

#[test]
fn a_forgotten_topic_begins_a_new_life_with_a_new_epoch() {
    let mut home = plain(1, 7);
    let before = publish(&mut home, "a");
    flood(&mut home, "x", limits::TOPICS_IDLE_MAX);
    let after = publish(&mut home, "a");
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before.epoch);
}

#[test]
fn a_topic_in_use_gets_a_second_chance_before_names_used_once() {
    let mut home = plain(1, 7);
    let before = publish(&mut home, "a");
    for round in 0..4 {
        publish(&mut home, "a");
        flood(&mut home, &format!("x{round}"), limits::TOPICS_IDLE_MAX - 1);
    }
    let after = publish(&mut home, "a");
    assert_eq!((after.epoch, after.offset), (before.epoch, 6));
}

#[test]
fn a_held_topic_is_never_forgotten_and_a_released_one_in_its_turn() {
    let mut home = plain(1, 7);
    let before = publish(&mut home, "a");
    subscribe(&mut home, "a", 0, 1);
    flood(&mut home, "x", 2 * limits::TOPICS_IDLE_MAX);
    assert_eq!(publish(&mut home, "a"), Position { offset: 2, ..before });
    home.end_turn();
    home.handle_release(ShardId(0), topic("a"));
    assert_eq!(publish(&mut home, "a"), Position { offset: 3, ..before }, "it is remembered for a while");
    flood(&mut home, "y", 2 * limits::TOPICS_IDLE_MAX + 1);
    assert_ne!(publish(&mut home, "a").epoch, before.epoch);
    assert_eq!(home.topics_len(), limits::TOPICS_IDLE_MAX);
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    Subscribe(usize, u16),
    Release(usize, u16),
    Watch(usize, u16),
    Unwatch(usize, u16),
    Seal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4usize).prop_map(Step::Publish),
        2 => (0..4usize, 0..3u16).prop_map(|(name, shard)| Step::Subscribe(name, shard)),
        1 => (0..4usize, 0..3u16).prop_map(|(name, shard)| Step::Release(name, shard)),
        1 => (0..3usize, 0..3u16).prop_map(|(filter, shard)| Step::Watch(filter, shard)),
        1 => (0..3usize, 0..3u16).prop_map(|(filter, shard)| Step::Unwatch(filter, shard)),
        1 => Just(Step::Seal),
    ]
}

const NAMES: [&str; 4] = ["a", "a/b", "a/c", "d/b"];
const FILTERS: [&str; 3] = ["a/#", "+/b", "#"];
/// Which filter stands for which name, by hand.
const MATCHES: [[bool; 4]; 3] = [[true, true, true, false], [false, true, false, true], [true; 4]];

/// What every shard holds, and so what it must hear.
#[derive(Default)]
struct Model {
    offsets: BTreeMap<usize, u64>,
    exact: std::collections::BTreeSet<(usize, u16)>,
    wild: std::collections::BTreeSet<(usize, u16)>,
    due: BTreeMap<(u16, usize), Vec<u64>>,
}

impl Model {
    fn publish(&mut self, name: usize) {
        let offset = self.offsets.entry(name).or_default();
        *offset += 1;
        for shard in 0..3 {
            let wild = (0..3).any(|filter| MATCHES[filter][name] && self.wild.contains(&(filter, shard)));
            if wild || self.exact.contains(&(name, shard)) {
                self.due.entry((shard, name)).or_default().push(*offset);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Interest that is taken back in the turn of a publication may or may not still bring it: nobody is there to care.
    /// So a release ends its turn here, and everything else may stand anywhere.
    #[test]
    fn each_shard_hears_each_publication_once_in_order_while_it_is_interested(steps in prop::collection::vec(step(), 0..200)) {
        let mut home = plain(3, 7);
        let mut model = Model::default();
        let mut heard: BTreeMap<(u16, usize), Vec<u64>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Publish(name) => {
                    publish(&mut home, NAMES[name]);
                    model.publish(name);
                }
                Step::Subscribe(name, shard) => {
                    subscribe(&mut home, NAMES[name], shard, 1);
                    model.exact.insert((name, shard));
                }
                Step::Release(name, shard) => {
                    home.end_turn();
                    home.handle_release(ShardId(shard), topic(NAMES[name]));
                    model.exact.remove(&(name, shard));
                }
                Step::Watch(number, shard) => {
                    home.handle_watch(ShardId(shard), filter(FILTERS[number]), 0, Form::Frames);
                    model.wild.insert((number, shard));
                }
                Step::Unwatch(number, shard) => {
                    home.end_turn();
                    home.handle_unwatch(ShardId(shard), filter(FILTERS[number]));
                    model.wild.remove(&(number, shard));
                }
                Step::Seal => home.end_turn(),
            }
        }
        home.end_turn();
        for shard in 0..3 {
            for item in std::mem::take(home.parcel(ShardId(shard))).items {
                let Delivery::Batch { batch, runs } = item else { continue };
                for run in runs {
                    let run = batch.runs[run as usize];
                    let name = NAMES.iter().position(|name| *name == run.name.text(&batch.bytes)).expect("known");
                    let offsets = frames(&batch, run).into_iter().map(|(_, position)| position.offset);
                    heard.entry((shard, name)).or_default().extend(offsets);
                }
            }
        }
        prop_assert_eq!(heard, model.due);
    }
}
