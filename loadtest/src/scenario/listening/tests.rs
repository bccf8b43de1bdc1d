//! Faults planted in what a subscriber hears: each must be counted for what it is, in the fast and in the slow spelling.

use super::*;
use crate::envelope::{Stamp, write_message, write_payload};
use crate::flight::MEASURED;
use crate::scenario::found::Found;
use crate::scenario::weather::Recoveries;

const TOPICS: usize = 2;

struct Planted {
    listening: Listening,
    flight: Arc<Flight>,
}

impl Planted {
    /// One thread with two subscribers, of topics a and b, and ten publications to each under way.
    fn new() -> Self {
        let flight = Arc::new(Flight::new());
        for number in 0..20 {
            assert!(flight.launch(MEASURED + number, 1));
        }
        flight.measure(0);
        let topics = vec!["t/a".to_owned(), "t/b".to_owned()];
        let listening =
            Listening::new(Arc::new(Layout::apart(topics, TOPICS, 1)), Arc::clone(&flight), None, 1..1 + TOPICS, 64);
        Self { listening, flight }
    }

    fn hear(&mut self, subscriber: usize, text: &[u8]) {
        self.listening.message(subscriber, Message::Text(text), 5_000);
    }

    /// Subscriber 0 hears sequence `n` of its topic.
    fn step(&mut self, n: u32) {
        self.hear(0, &message("t/a", n, n));
    }

    /// All of topic b, so that only subscriber 0 can be at fault.
    fn finish(mut self) -> (Faults, u64) {
        for n in 0..10 {
            self.hear(1, &message("t/b", n, n + 10));
        }
        let heard = self.listening.finish();
        (heard.checker.finish(|_, _| 10), heard.lateness.all.summary().count)
    }
}

fn message(topic: &str, sequence: u32, publication: u32) -> Vec<u8> {
    let (mut data, mut out) = (Vec::new(), Vec::new());
    let stamp = Stamp { publisher: 0, sequence, publication: MEASURED + publication, intended_ns: 1_000 };
    write_payload(&mut data, stamp, 64);
    let position = Position { epoch: 9, offset: u64::from(sequence) + 1 };
    write_message(&mut out, topic, position, &data);
    out
}

#[test]
fn all_ten_in_order_pass_and_are_timed_from_the_intended_send() {
    let mut planted = Planted::new();
    (0..10).for_each(|n| planted.step(n));
    let flight = Arc::clone(&planted.flight);
    let (faults, timed) = planted.finish();
    assert_eq!((faults, timed), (Faults::default(), 20));
    assert!(flight.is_quiet());
}

#[test]
fn the_slow_spelling_is_judged_alike() {
    let mut planted = Planted::new();
    for n in 0..10 {
        let text = String::from_utf8(message("t/a", n, n)).unwrap();
        let spaced = text.replacen("{\"op\":\"message\",", "{ \"from\":\"u\", \"op\": \"message\", ", 1);
        planted.hear(0, spaced.as_bytes());
    }
    assert_eq!(planted.finish(), (Faults::default(), 20));
}

#[test]
fn a_planted_loss_is_counted() {
    let mut planted = Planted::new();
    (0..10).filter(|n| *n != 4).for_each(|n| planted.step(n));
    let (faults, timed) = planted.finish();
    assert_eq!((faults.lost, faults.position_breaks, faults.total(), timed), (1, 1, 2, 19));
}

#[test]
fn a_planted_double_is_counted_and_not_timed() {
    let mut planted = Planted::new();
    (0..10).for_each(|n| planted.step(n));
    planted.step(9);
    let (faults, timed) = planted.finish();
    assert_eq!((faults.doubled, faults.lost, timed), (1, 0, 20));
}

#[test]
fn a_planted_swap_is_counted() {
    let mut planted = Planted::new();
    [0, 1, 2, 4, 3, 5, 6, 7, 8, 9].into_iter().for_each(|n| planted.step(n));
    let (faults, timed) = planted.finish();
    assert_eq!((faults.out_of_order, faults.lost, faults.doubled, timed), (1, 0, 0, 20));
}

#[test]
fn a_planted_misdelivery_is_counted_in_both_spellings() {
    let mut planted = Planted::new();
    (0..10).for_each(|n| planted.step(n));
    planted.hear(0, &message("t/b", 0, 10));
    let text = String::from_utf8(message("t/ab", 0, 10)).unwrap();
    planted.hear(0, text.replace("\"op\"", " \"op\"").as_bytes());
    let (faults, _) = planted.finish();
    assert_eq!((faults.misdelivered, faults.total()), (2, 2));
}

#[test]
fn changed_bytes_are_mangled_and_leave_a_hole() {
    let mut planted = Planted::new();
    for n in 0..10 {
        let mut text = message("t/a", n, n);
        if n == 6 {
            let filling = text.len() - 5;
            text[filling] ^= 1;
        }
        planted.hear(0, &text);
    }
    let (faults, _) = planted.finish();
    assert_eq!((faults.mangled, faults.lost, faults.position_breaks), (1, 1, 1));
}

#[test]
fn errors_gaps_binaries_and_ends_are_faults() {
    let mut planted = Planted::new();
    (0..10).for_each(|n| planted.step(n));
    planted.hear(0, br#"{"op":"error","code":403,"reason":"no"}"#);
    planted.hear(0, br#"{"op":"gap","topic":"t/a","missed":3}"#);
    planted.hear(0, br#"{"op":"ack","id":1}"#);
    planted.listening.message(0, Message::Binary(b"{}\nx"), 0);
    planted.listening.closed(0, "the server closed with 4008");
    let (faults, _) = planted.finish();
    assert_eq!((faults.errors, faults.unexpected, faults.closed, faults.total()), (1, 3, 1, 5));
    assert!(faults.sentences.iter().any(|sentence| sentence.contains("4008")));
}

/// One connection in the rooms t/a and t/b, another in t/b and t/c; each is the first or the second member of its rooms.
struct InRooms {
    listening: Listening,
}

impl InRooms {
    fn new() -> Self {
        let flight = Arc::new(Flight::new());
        for number in 0..40 {
            assert!(flight.launch(MEASURED + number, 2));
        }
        flight.measure(0);
        let topics = ["t/a", "t/b", "t/c"].map(str::to_owned).to_vec();
        let layout = Arc::new(Layout::rooms(topics, &[1, 2, 1], 2));
        assert_eq!((layout.seats_of(0), layout.seats_of(1)), (0..2, 2..4));
        Self { listening: Listening::new(layout, flight, None, 0..2, 64) }
    }

    /// Connection `link` hears the publication number `number` of a room's first member.
    fn hear(&mut self, link: usize, topic: &str, number: u32) {
        self.listening.message(link, Message::Text(&message(topic, number, number)), 5_000);
    }

    fn finish(self) -> Faults {
        let heard = self.listening.finish();
        assert_eq!((heard.layout.connections(), heard.seat), (2, 0));
        // The first member of each room has sent three.
        Found::of(vec![heard], &[3, 3, 0, 3], Recoveries::new()).faults
    }
}

/// Which (connection, room) are heard when all is right. Both connections sit in t/b.
const ROOMS: [(usize, &str); 4] = [(0, "t/a"), (0, "t/b"), (1, "t/c"), (1, "t/b")];

#[test]
fn who_sits_in_several_rooms_is_judged_in_each() {
    let mut rooms = InRooms::new();
    for (link, topic) in ROOMS {
        (0..3).for_each(|n| rooms.hear(link, topic, n));
    }
    assert_eq!(rooms.finish(), Faults::default());
}

#[test]
fn in_rooms_losses_doubles_and_strangers_are_what_they_are() {
    let mut rooms = InRooms::new();
    for (link, topic) in ROOMS {
        (0..3).filter(|n| (link, *n) != (0, 2) || topic == "t/a").for_each(|n| rooms.hear(link, topic, n));
    }
    // Connection 0 lacks the last of t/b.
    rooms.hear(1, "t/c", 2);
    rooms.hear(1, "t/a", 0);
    let faults = rooms.finish();
    assert_eq!((faults.lost, faults.doubled, faults.misdelivered, faults.disordered), (1, 1, 1, 0), "{faults:?}");
}

#[test]
fn two_members_that_hear_two_publishers_in_another_order_disagree() {
    let mut rooms = InRooms::new();
    for (link, topic) in ROOMS {
        (0..3).for_each(|n| rooms.hear(link, topic, n));
    }
    // One more of the room's second member: heard first by one and last by the other, at the same positions.
    let mut apart = InRooms::new();
    for (link, topic) in ROOMS {
        let mut order: Vec<(u16, u32)> = vec![(0, 0), (0, 1), (0, 2)];
        if topic == "t/b" {
            order.insert(if link == 0 { 0 } else { 3 }, (1, 0));
        }
        for (offset, (publisher, sequence)) in order.into_iter().enumerate() {
            let (mut data, mut out) = (Vec::new(), Vec::new());
            write_payload(&mut data, Stamp { publisher, sequence, publication: sequence, intended_ns: 0 }, 64);
            write_message(&mut out, topic, Position { epoch: 9, offset: offset as u64 + 1 }, &data);
            apart.listening.message(link, Message::Text(&out), 5_000);
        }
    }
    assert_eq!(rooms.finish().disordered, 0);
    let faults = apart.finish();
    assert_eq!((faults.disordered, faults.lost, faults.out_of_order), (1, 0, 0), "{faults:?}");
}
