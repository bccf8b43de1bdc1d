//! Faults planted in what a subscriber hears: each must be counted for what it is, in the fast and in the slow spelling.

use super::*;
use crate::envelope::{Stamp, write_message, write_payload};

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
            assert!(flight.launch(number, 1));
        }
        flight.measure_from(0, 0);
        let topics = Arc::new(vec!["t/a".to_owned(), "t/b".to_owned()]);
        let listening = Listening::new(topics, Arc::clone(&flight), None, 1, 0..TOPICS, 64);
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
    let stamp = Stamp { publisher: 0, sequence, publication, intended_ns: 1_000 };
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
