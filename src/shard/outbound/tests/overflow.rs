//! The overflow rules against what a home really encodes: what a slow reader gets, what it is told that it missed.
//!
//! Topics are named for their rule: `disconnect/…`, `oldest/…`, `latest/…`.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::home::{Delivery, From, Home, Publish, Subscribe};
use crate::ids::{ConnId, ShardId};
use crate::protocol::{Id, Payload};
use crate::rules::{Overflow, Permit, Rule, Rules};
use crate::topic::Topic;
use crate::transport::Form;
use crate::ws::{Decoder, Event, Input, Kind as Message, Role};

/// A home whose topics are all wanted, and one connection that gets everything.
struct Reader {
    desk: Desk,
    home: Home,
    decoder: Decoder,
    /// Bytes of `desk.net.got` that were decoded.
    taken: usize,
    published: BTreeMap<String, u64>,
}

const ME: ShardId = ShardId(0);
const CONN: ConnId = ConnId { index: 0, generation: 0 };

impl Reader {
    fn new(bytes_max: usize) -> Self {
        let rule = |filter: &str, overflow| Rule { filter: filter.to_owned(), overflow, ..Rule::default() };
        let rules = vec![rule("oldest/#", Overflow::DropOldest), rule("latest/#", Overflow::Latest)];
        let mut desk = Desk::new(1);
        desk.out.bytes_max = bytes_max;
        let home = Home::new(ME, 1, Rc::new(Rules::new(rules)), 0, 1);
        Self { desk, home, decoder: Decoder::new(Role::Client), taken: 0, published: BTreeMap::new() }
    }

    /// One turn's publications: topic and key, `""` for none. The payload is the key.
    fn publish(&mut self, all: &[(&str, &str)]) {
        for &(name, key) in all {
            let topic = Topic::known(name);
            let from = From::Now;
            if !self.published.contains_key(name) {
                self.home.handle_subscribe(Subscribe {
                    topic,
                    shard: ME,
                    conn: CONN,
                    user: None,
                    permit: Permit::default(),
                    slot: 0,
                    watch: None,
                    serial: 0,
                    id: Id::None,
                    from,
                    form: Form::Frames,
                });
            }
            *self.published.entry(name.to_owned()).or_default() += 1;
            let data = format!("\"{key}\"");
            let (payload, conflate) = (Payload::Json(data.as_bytes()), Some(key).filter(|key| !key.is_empty()));
            let (shard, conn, id) = (ME, CONN, Id::None);
            self.home.handle_publish(Publish {
                topic,
                payload,
                shard,
                conn,
                user: None,
                permit: Permit::default(),
                id,
                echo: true,
                key: None,
                conflate,
            });
        }
        self.home.end_turn();
        for item in std::mem::take(self.home.parcel(ME)).items {
            if let Delivery::Batch { batch, runs } = item {
                let segment = self.desk.out.segments().insert_batch(Arc::clone(&batch));
                for run in runs {
                    let frames = batch.runs[run as usize].frames;
                    self.desk.out.push_share(0, Share { segment, start: frames.start, end: frames.end }, false);
                }
                self.desk.out.segments().release(segment);
            }
        }
        self.desk.flush();
    }

    /// The socket takes so many bytes and then no more.
    fn room(&mut self, room: usize) {
        self.desk.net.room[0] = room;
        self.desk.out.unblock(0);
        self.desk.flush();
    }

    /// What came since it was last asked, whole frames: `oldest/1 3 "key"`, `gap oldest/1 missed 2 to 5`, a reply's text.
    fn hear(&mut self) -> Vec<String> {
        let mut bytes = self.desk.net.got[0][self.taken..].to_vec();
        self.taken = self.desk.net.got[0].len();
        let filled = bytes.len();
        let mut input = Input::new(&mut bytes, filled);
        let mut heard = Vec::new();
        while let Some(event) = self.decoder.next(&mut input, usize::MAX).expect("whole frames in order") {
            let Event::Message { kind: Message::Text, payload } = event else { panic!("{event:?}") };
            let Ok(object) = serde_json::from_slice::<Value>(payload) else {
                heard.push(String::from_utf8_lossy(payload).into_owned());
                continue;
            };
            let (topic, position) = (object["topic"].as_str().unwrap(), object["position"].as_str().unwrap());
            let offset = position.split_once(':').expect("a position").1;
            heard.push(match object["op"].as_str() {
                Some("gap") => format!("gap {topic} missed {} to {offset}", object["missed"]),
                _ => format!("{topic} {offset} {}", object["data"]),
            });
        }
        heard
    }

    /// Everything that is left.
    fn drain(&mut self) -> Vec<String> {
        self.desk.drain();
        self.hear()
    }

    fn waits(&self) -> usize {
        self.desk.out.spills.get(self.desk.out.hot[0].spill() as usize).map_or(0, |spill| spill.publications)
    }
}

fn times(count: usize, topic: &str) -> Vec<(&str, &str)> {
    vec![(topic, ""); count]
}

#[test]
fn the_oldest_go_and_a_gap_stands_where_they_were() {
    let mut reader = Reader::new(400);
    reader.room(0);
    for _ in 0..10 {
        reader.publish(&times(1, "oldest/1"));
    }
    assert!(reader.waits() <= 400 && reader.desk.out.take_slow().is_none());
    let heard = reader.drain();
    assert_eq!(heard[0], "gap oldest/1 missed 5 to 5");
    assert_eq!(heard[1..], (6..=10).map(|offset| format!("oldest/1 {offset} \"\"")).collect::<Vec<_>>());
    assert_eq!(reader.desk.out.missed(), 5);
}

#[test]
fn a_burst_in_one_range_loses_its_front_only() {
    let mut reader = Reader::new(400);
    reader.room(0);
    reader.publish(&times(9, "oldest/1"));
    assert_eq!(reader.drain()[..2], ["gap oldest/1 missed 4 to 4", "oldest/1 5 \"\""]);
}

#[test]
fn a_half_sent_frame_is_completed_before_the_gap() {
    for room in 1..160 {
        let mut reader = Reader::new(300);
        reader.room(room);
        for _ in 0..12 {
            reader.publish(&times(1, "oldest/1"));
        }
        let heard = reader.drain();
        let gaps: Vec<_> = heard.iter().filter(|line| line.starts_with("gap")).collect();
        assert_eq!(gaps.len(), 1, "{heard:?}");
        let missed: usize = gaps[0].split(' ').nth(3).unwrap().parse().unwrap();
        assert_eq!(heard.len() - 1 + missed, 12, "room for {room}: {heard:?}");
    }
}

#[test]
fn only_the_topic_that_does_not_fit_loses_anything() {
    let mut reader = Reader::new(400);
    reader.room(0);
    reader.publish(&times(2, "disconnect/1"));
    reader.publish(&times(1, "oldest/1"));
    reader.publish(&times(1, "oldest/2"));
    for _ in 0..5 {
        reader.publish(&times(1, "oldest/1"));
    }
    assert_eq!(reader.desk.out.take_slow(), None);
    let heard = reader.drain();
    assert_eq!(
        heard,
        [
            "disconnect/1 1 \"\"",
            "disconnect/1 2 \"\"",
            "oldest/2 1 \"\"",
            "gap oldest/1 missed 4 to 4",
            "oldest/1 5 \"\"",
            "oldest/1 6 \"\"",
        ]
    );
}

#[test]
fn what_finds_no_room_beside_other_topics_is_missed_itself() {
    let mut reader = Reader::new(200);
    reader.room(0);
    reader.publish(&times(2, "disconnect/1"));
    reader.publish(&times(3, "oldest/1"));
    assert_eq!(reader.desk.out.take_slow(), None);
    assert_eq!(reader.drain(), ["disconnect/1 1 \"\"", "disconnect/1 2 \"\"", "gap oldest/1 missed 3 to 3"]);
    reader.publish(&times(1, "oldest/1"));
    assert_eq!(reader.hear(), ["oldest/1 4 \"\""]);
}

#[test]
fn a_topic_that_disconnects_does_so_though_others_fill_the_queue() {
    let mut reader = Reader::new(400);
    reader.room(0);
    reader.publish(&times(5, "oldest/1"));
    reader.publish(&times(1, "disconnect/1"));
    assert_eq!(reader.desk.out.take_slow(), Some(0));
}

#[test]
fn of_latest_only_the_newest_waits_however_much_would_fit() {
    let mut reader = Reader::new(100_000);
    reader.publish(&times(2, "latest/1"));
    assert_eq!(reader.hear().len(), 2, "a reader that keeps up gets everything");
    reader.room(0);
    for _ in 0..50 {
        reader.publish(&times(3, "latest/1"));
    }
    assert!(reader.waits() < 100);
    assert_eq!(reader.drain(), ["gap latest/1 missed 149 to 151", "latest/1 152 \"\""]);
}

#[test]
fn of_each_key_the_newest_waits_in_the_order_of_offsets() {
    let mut reader = Reader::new(100_000);
    reader.room(0);
    reader.publish(&[("latest/1", "eur"), ("latest/1", "usd"), ("latest/1", "eur"), ("latest/1", "")]);
    reader.publish(&[("latest/1", "chf"), ("latest/1", "usd"), ("latest/2", "usd"), ("latest/1", "")]);
    let heard = reader.drain();
    assert_eq!(
        heard,
        [
            "latest/1 3 \"eur\"",
            "gap latest/1 missed 3 to 4",
            "latest/1 5 \"chf\"",
            "latest/1 6 \"usd\"",
            "latest/1 7 \"\"",
            "latest/2 1 \"usd\"",
        ]
    );
}

#[test]
fn too_many_keys_lose_the_oldest_ones() {
    let mut reader = Reader::new(400);
    reader.room(0);
    let keys: Vec<String> = (0..20).map(|key| format!("k{key}")).collect();
    for key in &keys {
        reader.publish(&[("latest/1", key)]);
    }
    assert!(reader.waits() <= 400);
    let heard = reader.drain();
    assert_eq!(
        (&heard[0][..], heard.last().unwrap().as_str()),
        ("gap latest/1 missed 15 to 15", "latest/1 20 \"k19\"")
    );
    assert_eq!(heard.len(), 6);
}

#[test]
fn what_is_said_in_between_keeps_its_place() {
    let mut reader = Reader::new(300);
    reader.room(0);
    reader.publish(&times(2, "oldest/1"));
    reader.desk.reply(0, b"first");
    reader.publish(&times(5, "oldest/1"));
    reader.desk.reply(0, b"second");
    let heard = reader.drain();
    assert_eq!(heard[0], "first");
    assert_eq!(heard[1], "gap oldest/1 missed 3 to 3");
    assert_eq!(heard.last().unwrap(), "second");
}

#[test]
fn a_reader_that_is_always_behind_holds_no_more_for_it() {
    let mut reader = Reader::new(2_000);
    for turn in 0..3_000 {
        reader.publish(&[("oldest/1", ""), ("latest/1", ["a", "b", "c"][turn % 3]), ("oldest/2", "")]);
        reader.room(40);
        let Some(spill) = reader.desk.out.spills.get(reader.desk.out.hot[0].spill() as usize) else { continue };
        assert!(spill.ranges.len() < 100 && spill.publications <= 2_000 && spill.bytes <= 2_100, "{spill:?}");
        assert!(reader.desk.pinned(0) <= 4 * (reader.desk.out.pending(0) + 200));
        assert!(reader.desk.out.slow.is_empty());
    }
    reader.drain();
}

#[test]
fn records_of_what_was_lost_are_bounded_too() {
    let mut reader = Reader::new(2_000);
    reader.room(0);
    reader.publish(&times(20, "disconnect/1"));
    let names: Vec<String> = (0..100).map(|number| format!("oldest/{number}")).collect();
    for name in &names {
        reader.publish(&[(name, "")]);
    }
    assert_eq!(reader.desk.out.take_slow(), Some(0), "it can no longer be told of every topic");
}

#[test]
fn a_blocked_reader_that_is_cut_or_goes_leaves_nothing_behind() {
    for cut in [false, true] {
        let mut reader = Reader::new(300);
        reader.room(30);
        for _ in 0..20 {
            reader.publish(&[("oldest/1", ""), ("latest/1", "a"), ("disconnect/1", "")]);
        }
        if cut {
            reader.desk.out.cut(0);
            assert_eq!(reader.drain().len(), 1, "the half-sent frame");
        } else {
            reader.desk.out.remove(0);
        }
        assert_eq!(reader.desk.out.held(), (0, 0));
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Topic and key, by number.
    Publish(Vec<(usize, usize)>),
    Room(usize),
    Reply,
}

const TOPICS: [&str; 4] = ["oldest/1", "oldest/2", "latest/1", "latest/2"];
const KEYS: [&str; 3] = ["", "a", "b"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0..TOPICS.len(), 0..KEYS.len()), 1..8).prop_map(Step::Publish),
        3 => (0usize..400).prop_map(Step::Room),
        1 => Just(Step::Reply),
    ]
}

/// What one topic's lines add up to.
#[derive(Default)]
struct Account {
    delivered: u64,
    missed: u64,
    last: u64,
}

/// Judges the lines of one reader: offsets grow, gaps lie between what they stand between, and nothing is unaccounted for.
fn judge(heard: &[String], published: &BTreeMap<String, u64>) {
    let mut accounts: BTreeMap<&str, Account> = BTreeMap::new();
    for line in heard.iter().filter(|line| line.contains(' ')) {
        let words: Vec<&str> = line.split(' ').collect();
        let (topic, offset, missed) = match words[..] {
            ["gap", topic, "missed", missed, "to", offset] => (topic, offset, missed.parse().unwrap()),
            [topic, offset, _] => (topic, offset, 0),
            _ => panic!("{line}"),
        };
        let (account, offset) = (accounts.entry(topic).or_default(), offset.parse().unwrap());
        assert!(offset > account.last, "{line} in {heard:?}");
        (account.last, account.missed) = (offset, account.missed + missed);
        account.delivered += u64::from(missed == 0);
        assert!(account.delivered + account.missed <= offset, "{line}: more than there is up to here");
    }
    for (topic, published) in published {
        let account = accounts.get(topic.as_str()).expect("something came of it, or a gap");
        assert_eq!(account.delivered + account.missed, *published, "{topic} in {heard:?}");
        assert_eq!(account.last, *published, "{topic} in {heard:?}");
    }
}

/// Carries the steps out with those topics, judges, and gives what was heard and the newest offset of each topic and key.
fn run(
    steps: Vec<Step>,
    bytes_max: usize,
    topics: &[&'static str],
) -> (Vec<String>, BTreeMap<(&'static str, &'static str), u64>) {
    let mut reader = Reader::new(bytes_max);
    let (mut heard, mut newest) = (Vec::new(), BTreeMap::new());
    for step in steps {
        match step {
            Step::Publish(all) => {
                let all: Vec<_> =
                    all.into_iter().map(|(topic, key)| (topics[topic % topics.len()], KEYS[key])).collect();
                for (at, &(topic, key)) in all.iter().enumerate() {
                    let earlier = all[..at].iter().filter(|(other, _)| *other == topic).count() as u64;
                    newest.insert((topic, key), reader.published.get(topic).unwrap_or(&0) + earlier + 1);
                }
                reader.publish(&all);
            }
            Step::Room(room) => reader.room(room),
            Step::Reply => {
                reader.desk.reply(0, b"reply");
                reader.desk.flush();
            }
        }
        if reader.desk.out.is_blocked(0) {
            assert!(reader.waits() <= bytes_max.max(100), "one half-sent frame at most beyond the limit");
            assert!(reader.desk.pinned(0) <= 4 * (reader.desk.out.pending(0) + 200));
        }
        assert_eq!(reader.desk.out.owed(), reader.desk.owed());
        heard.extend(reader.hear());
    }
    if reader.desk.out.slow.is_empty() {
        heard.extend(reader.drain());
        judge(&heard, &reader.published);
    }
    (heard, newest)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn delivered_and_missed_are_what_was_published(
        steps in prop::collection::vec(step(), 1..80), bytes_max in 60usize..1_500
    ) {
        run(steps, bytes_max, &TOPICS);
    }

    #[test]
    fn the_newest_of_each_key_arrives(steps in prop::collection::vec(step(), 1..60)) {
        let (heard, newest) = run(steps, 100_000, &TOPICS[2..]);
        for ((topic, key), offset) in newest {
            let line = format!("{topic} {offset} \"{key}\"");
            prop_assert!(heard.contains(&line), "{} in {:?}", line, heard);
        }
    }
}
