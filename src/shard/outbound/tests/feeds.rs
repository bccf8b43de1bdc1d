//! Subscribers over HTTP against what a home really encodes: held, let go as a stream, taken out by a poll; any split of
//! what the socket takes.

use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::home::{Delivery, From, Home, Piece, Publish, Subscribe, Subscribed};
use crate::ids::{ConnId, ShardId};
use crate::protocol::{Id, Payload, Position};
use crate::rules::{History, Overflow, Permit, Rule, Rules};
use crate::topic::{Filter, Topic};
use crate::transport::Form;

const ME: ShardId = ShardId(0);
const CONN: ConnId = ConnId { index: 0, generation: 0 };
const TOPICS: [&str; 3] = ["plain/1", "oldest/1", "latest/1"];
const HEAD: &[u8] = b"retry: 7\n\n";

/// A home that keeps what is published, and one connection that is held.
struct Feed {
    desk: Desk,
    home: Home,
    /// What it subscribed to, and the position behind which that began.
    begun: Vec<(&'static str, Position)>,
    asked: &'static str,
    replay: Vec<Piece>,
}

impl Feed {
    fn new(bytes_max: usize) -> Self {
        let rule = |filter: &str, overflow| Rule {
            filter: filter.to_owned(),
            overflow,
            history: Some(History { count: 1000, age_s: 100 }),
            ..Rule::default()
        };
        let rules = vec![
            rule("oldest/#", Overflow::DropOldest),
            rule("latest/#", Overflow::Latest),
            rule("#", Overflow::Disconnect),
        ];
        let mut desk = Desk::new(1);
        desk.out.bytes_max = bytes_max;
        desk.out.hold(0);
        let home = Home::new(ME, 1, Rc::new(Rules::new(rules)), usize::MAX, 1);
        Self { desk, home, begun: Vec::new(), asked: "", replay: Vec::new() }
    }

    /// Publications in one turn, by topic and length; what they bring comes to the connection.
    fn publish(&mut self, all: &[(usize, usize)]) {
        for &(topic, len) in all {
            let data = format!("\"{}\"", "x".repeat(len));
            self.home.handle_publish(Publish {
                topic: Topic::known(TOPICS[topic]),
                payload: Payload::Json(data.as_bytes()),
                shard: ME,
                conn: CONN,
                user: None,
                permit: Permit::default(),
                id: Id::None,
                echo: true,
                key: None,
                conflate: Some(["even", "odd"][len % 2]),
            });
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.home.end_turn();
        for item in std::mem::take(self.home.parcel(ME)).items {
            match item {
                Delivery::Batch { batch, runs } => {
                    let segments = Form::ALL.map(|form| {
                        let batch = Arc::clone(batch.in_form(form)?);
                        Some((Arc::clone(&batch), self.desk.out.segments().insert_batch(batch)))
                    });
                    for run in runs {
                        let shares = shares(|form| match &segments[form as usize] {
                            Some((batch, segment)) => {
                                let frames = batch.runs[run as usize].frames;
                                Share { segment: *segment, start: frames.start, end: frames.end }
                            }
                            None => Share::NOTHING,
                        });
                        self.desk.out.push_shared(0, &shares, false);
                    }
                    for (_, segment) in segments.into_iter().flatten() {
                        self.desk.out.segments().release(segment);
                    }
                }
                Delivery::Subscribed(answer) => {
                    let Subscribed { position, replay, .. } = *answer;
                    let missed: usize = replay.iter().map(frames_in).sum();
                    let place = Position { offset: position.offset - missed as u64, ..position };
                    self.begun.push((self.asked, place));
                    self.replay.extend(replay);
                }
                _ => {}
            }
        }
    }

    /// Subscribes to topics, one after the other.
    fn subscribe(&mut self, topics: &[&'static str], from: From) {
        for topic in topics {
            self.asked = topic;
            self.home.handle_subscribe(Subscribe {
                topic: Topic::known(topic),
                shard: ME,
                conn: CONN,
                user: None,
                permit: Permit::default(),
                slot: 0,
                watch: None,
                serial: 0,
                id: Id::None,
                from,
                form: Form::Events,
            });
            self.turn();
        }
    }

    fn begin(&mut self) {
        let mut places = Places::default();
        self.begun.iter().for_each(|(topic, place)| places.push(Filter::known(topic), Some(*place)));
        let places = (places.len() > 1).then_some(places);
        let replay = std::mem::take(&mut self.replay).into_iter();
        self.desk.out.begin_stream(0, |out| out.extend_from_slice(HEAD), replay, places);
    }

    fn room(&mut self, room: usize) {
        self.desk.net.room[0] = room;
        self.desk.out.unblock(0);
        self.desk.flush();
    }

    /// What of each topic was published since its subscription began.
    fn published(&mut self) -> BTreeMap<&'static str, u64> {
        let begun = std::mem::take(&mut self.begun);
        let topics: Vec<&str> = begun.iter().map(|(topic, _)| *topic).collect();
        self.subscribe(&topics, From::Now);
        let ends = std::mem::replace(&mut self.begun, begun);
        let each = self.begun.iter().zip(ends);
        each.map(|((topic, begin), (_, end))| (*topic, end.offset - begin.offset)).collect()
    }
}

fn frames_in(piece: &Piece) -> usize {
    let (mut rest, mut count) = (piece.frames.of(&piece.chunk.bytes), 0);
    while !rest.is_empty() {
        rest = &rest[encode::frame_len(rest)..];
        count += 1;
    }
    count
}

/// One event of a stream: its ids, its topic, how many were missed, its offset.
#[derive(Debug)]
struct Heard {
    ids: Vec<String>,
    topic: String,
    missed: u64,
    offset: u64,
}

/// Takes whole events apart; the head is not among them.
fn hear(mut bytes: &[u8]) -> Vec<Heard> {
    let mut heard = Vec::new();
    while !bytes.is_empty() {
        let (event, rest) = bytes.split_at(Form::Events.unit_len(bytes));
        let text = std::str::from_utf8(event).expect("UTF-8");
        let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect();
        let object: Value = serde_json::from_str(data).expect("JSON");
        let position: Position = object["position"].as_str().expect("one").parse().expect("a position");
        let (topic, missed) = (object["topic"].as_str().expect("a name").to_owned(), object["missed"].as_u64());
        heard.push(Heard { ids, topic, missed: missed.unwrap_or(0), offset: position.offset });
        bytes = rest;
    }
    heard
}

/// Each topic's publications came in order or were told as missed, and each id says where that leaves the subscriber.
fn check(feed: &mut Feed, heard: &[Heard]) {
    let published = feed.published();
    let mut places: Vec<Position> = feed.begun.iter().map(|(_, place)| *place).collect();
    let mut last: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for one in heard {
        let number = feed.begun.iter().position(|(topic, _)| *topic == one.topic).expect("one of ours");
        let begin = feed.begun[number].1.offset;
        let (newest, count) = last.entry(&one.topic).or_insert((begin, 0));
        assert!(one.offset > *newest, "{one:?} behind {newest}");
        (*newest, *count) = (one.offset, *count + one.missed.max(1));
        if one.missed > 0 {
            assert_eq!(one.ids.len(), 0, "a gap is no place to go on from");
            continue;
        }
        places[number].offset = one.offset;
        let all = places.iter().map(Position::to_string).collect::<Vec<_>>().join(",");
        assert_eq!(one.ids.last(), Some(&all), "{one:?}");
    }
    for (topic, count) in published {
        assert_eq!(last.get(topic).map_or(0, |(_, count)| *count), count, "delivered and missed of {topic}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<(usize, usize)>),
    Room(usize),
    Beat,
}

fn topics() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(TOPICS.to_vec(), 1..=TOPICS.len())
}

fn publications() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..TOPICS.len(), prop_oneof![3 => 0usize..30, 1 => 100usize..4_000]), 0..12)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => publications().prop_map(Step::Publish),
        3 => prop_oneof![0usize..600, 600usize..20_000].prop_map(Step::Room),
        1 => Just(Step::Beat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_gets_each_publication_once_in_order_or_is_told(
        topics in topics(),
        kept in publications(),
        since in any::<bool>(),
        held in prop::collection::vec(publications(), 0..4),
        steps in prop::collection::vec(step(), 0..40),
        bytes_max in 500usize..5_000,
    ) {
        let mut feed = Feed::new(bytes_max);
        feed.publish(&kept);
        feed.subscribe(&topics, if since { From::Last(1000) } else { From::Now });
        for publications in &held {
            feed.publish(publications);
            prop_assert!(feed.desk.flush().iter().all(|(_, flushed)| *flushed == Flushed::Held));
            prop_assert!(feed.desk.net.got[0].is_empty(), "nothing is written before it begins");
            prop_assert_eq!(feed.desk.out.owed(), 0);
        }
        feed.begin();
        let mut beats = 0;
        for step in steps {
            match step {
                Step::Publish(publications) => feed.publish(&publications),
                Step::Room(room) => feed.room(room),
                Step::Beat => {
                    feed.desk.out.push_reply(0, |out| out.extend_from_slice(HEAD));
                    beats += 1;
                }
            }
            prop_assert_eq!(feed.desk.out.owed(), feed.desk.owed());
        }
        feed.desk.drain();
        let got = std::mem::take(&mut feed.desk.net.got[0]);
        prop_assert!(got.starts_with(HEAD));
        let text = String::from_utf8(got).expect("UTF-8");
        prop_assert_eq!(text.matches("retry: 7\n\n").count(), beats + 1);
        check(&mut feed, &hear(text.replace("retry: 7\n\n", "").as_bytes()));
    }

    #[test]
    fn a_poll_takes_what_was_held_in_order_and_leaves_nothing(
        topics in topics(),
        held in prop::collection::vec(publications(), 0..4),
        bytes_max in 500usize..5_000,
        wanted in prop_oneof![2 => Just(usize::MAX), 1 => 0usize..10],
    ) {
        let mut feed = Feed::new(bytes_max);
        feed.subscribe(&topics, From::Now);
        held.iter().for_each(|publications| feed.publish(publications));
        let (mut taken, mut count) = (Vec::new(), 0);
        feed.desk.out.take_held(0, |event| {
            count += 1;
            if count <= wanted {
                taken.extend_from_slice(event);
            }
            count < wanted
        });
        prop_assert_eq!(feed.desk.out.held(), (0, 0));
        prop_assert_eq!((feed.desk.out.owed(), feed.desk.out.pending(0)), (0, 0));
        let heard = hear(&taken);
        if wanted == usize::MAX && topics.len() == 1 {
            check(&mut feed, &heard);
        }
        feed.publish(&[(0, 1), (1, 1), (2, 1)]);
        prop_assert_eq!(feed.desk.out.pending(0), 0, "it is no subscriber any more");
        feed.desk.out.push_solid(0, |out| out.extend_from_slice(b"answer"));
        feed.desk.drain();
        prop_assert_eq!(&feed.desk.net.got[0], b"answer");
        feed.desk.out.hold(0);
        feed.publish(&[(0, 1), (1, 1), (2, 1)]);
        prop_assert!(feed.desk.out.pending(0) > 0 && feed.desk.out.is_held(0), "and one again");
        feed.desk.out.remove(0);
        prop_assert_eq!(feed.desk.out.held(), (0, 0));
    }
}

/// A stream of two topics with a replay, what was held and what came later, to a socket that takes `room` bytes at a time.
fn streamed(room: usize) -> Vec<u8> {
    let mut feed = Feed::new(1_000_000);
    feed.publish(&[(0, 3), (1, 20_000), (0, 5), (1, 0)]);
    feed.subscribe(&TOPICS[..2], From::Last(10));
    feed.publish(&[(1, 1), (0, 9), (1, 4_000)]);
    feed.begin();
    feed.publish(&[(1, 8), (0, 16_000), (1, 1), (0, 2)]);
    feed.desk.net.room[0] = room;
    feed.desk.flush();
    feed.publish(&[(0, 40)]);
    while feed.desk.out.pending(0) > 0 {
        feed.room(room);
    }
    feed.desk.drain();
    let got = std::mem::take(&mut feed.desk.net.got[0]);
    check(&mut feed, &hear(&got[HEAD.len()..]));
    got
}

#[test]
fn the_split_of_what_a_socket_takes_changes_no_byte() {
    let whole = streamed(usize::MAX);
    for room in (1..60).chain([100, 333, 4_096, 16_383, 16_384, 16_385, 20_000]) {
        assert!(streamed(room) == whole, "{room} at a time");
    }
}

#[test]
fn what_a_filter_brought_before_is_taken_out_even_where_nothing_else_is_in_the_range() {
    let mut feed = Feed::new(10_000);
    feed.subscribe(&TOPICS[..2], From::Now);
    feed.publish(&[(0, 1), (0, 1), (1, 1)]);
    for (_, place) in &mut feed.begun[..1] {
        place.offset = 2; // as if its home had answered behind these
    }
    feed.begin();
    feed.publish(&[(0, 1)]);
    feed.desk.drain();
    let got = std::mem::take(&mut feed.desk.net.got[0]);
    let heard: Vec<(String, u64)> = hear(&got[HEAD.len()..]).into_iter().map(|one| (one.topic, one.offset)).collect();
    assert_eq!(heard, [("oldest/1".to_owned(), 1), ("plain/1".to_owned(), 3)]);
}
