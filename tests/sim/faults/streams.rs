//! Faults in streams: in their bytes, which the client's own ear has to notice, and in what they bring.

use super::{caught, pairs, sent};
use crate::event::{Event, Frame, Note};
use crate::model::Oracle;
use crate::stream::Stream;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const BEGIN: &str = "retry: 1500\n\nid: 0000000a:3,,\nevent: ack\ndata: {\"op\":\"ack\",\"topic\":\"a\",\"position\":\"0000000a:3\"}\n\n\
                     event: ack\ndata: {\"op\":\"ack\",\"topic\":\"#\"}\n\n";
const FIRST: &str = "id: 0000000a:4\nevent: message\ndata: {\"op\":\"message\",\"topic\":\"a\",\"position\":\"0000000a:4\",\
                     \"data\":1}\nid: 0000000a:4,,\n\n";
const SECOND: &str = "id: 0000000b:9\nevent: message\ndata: {\"op\":\"message\",\"topic\":\"b\",\"position\":\"0000000b:9\",\
                      \"encoding\":\"base64\",\"data\":\"AQo=\"}\nid: 0000000a:4,,\n\n";

/// What a client of three topics hears in these bytes, the head's two frames left out.
fn hear(text: &str) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut stream = Stream::of(&["a", "#", "none/+"]);
    stream.receive(text.as_bytes(), &mut frames);
    frames.drain(..2);
    frames
}

fn is_garbage(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| matches!(frame, Frame::Garbage(_)))
}

#[test]
fn a_whole_stream_is_heard_and_each_damage_of_its_bytes() {
    let whole = [HEAD, BEGIN, FIRST, SECOND].concat();
    let heard = hear(&whole);
    assert!(heard.len() == 4 && !is_garbage(&heard), "{heard:?}");
    assert_eq!(
        heard[3],
        Frame::Binary(b"{\"op\":\"message\",\"topic\":\"b\",\"position\":\"0000000b:9\"}\n\x01\n".to_vec())
    );
    for (what, from, to) in [
        ("no retry first", "retry: 1500\n\n", ""),
        ("a retry that is no number", "retry: 1500", "retry: soon"),
        ("an event by another name", "event: message", "event: gap"),
        ("an id that forgets a topic", "id: 0000000a:4,,\n\n", "id: 0000000a:4\n\n"),
        ("an id that stays behind", "id: 0000000a:4,,\n\n", "id: 0000000a:3,,\n\n"),
        ("an id of a filter", "id: 0000000a:4,,\n\nid: 0000000b", "id: 0000000a:4,0000000b:9,\n\nid: 0000000b"),
        ("an id of too few topics", "id: 0000000a:3,,\n", "id: 0000000a:3\n"),
        ("a line of another kind", "event: ack\n", "event: ack\nnonsense\n"),
        ("no JSON", "\"data\":1}", "\"data\":1"),
        ("no base64", "AQo=", "A!"),
    ] {
        assert!(whole.contains(from), "{what}");
        assert!(is_garbage(&hear(&whole.replacen(from, to, 1))), "{what} went unseen");
    }
    let mut frames = Vec::new();
    let mut stream = Stream::of(&["a", "#", "none/+"]);
    stream.receive(&whole.as_bytes()[..whole.len() - 1], &mut frames);
    assert!(stream.is_torn());
}

#[test]
fn a_whole_answer_to_a_poll_is_heard_and_each_damage_of_it() {
    let hear = |body: &str| {
        let (mut stream, mut frames) = (Stream::of_poll("a", "0000000a:3", 4, "7"), Vec::new());
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let (first, rest) = text.split_at(text.len() - 1);
        stream.receive(first.as_bytes(), &mut frames);
        assert!(frames.is_empty() && stream.is_torn() && !stream.is_answered());
        stream.receive(rest.as_bytes(), &mut frames);
        assert!(stream.is_answered());
        frames.split_off(2)
    };
    let message = |offset: u64| format!(r#"{{"op":"message","topic":"a","position":"0000000a:{offset}","data":1}}"#);
    let gap = r#"{"op":"gap","topic":"a","missed":2,"position":"0000000a:6"}"#;
    let whole = format!(r#"{{"messages":[{},{gap},{}],"next":"0000000a:7","recovered":true}}"#, message(4), message(7));
    let ack = br#"{"op":"ack","id":7,"topic":"a","position":"0000000a:4","recovered":true}"#;
    let heard = hear(&whole);
    assert!(heard.len() == 4 && heard[0] == Frame::Text(ack.to_vec()) && !is_garbage(&heard), "{heard:?}");
    for (what, from, to) in [
        ("a message too few", format!("{},", message(4)), String::new()),
        ("a message twice", message(4), [message(4), message(4)].join(",")),
        ("a gap that does not add up", "\"missed\":2".to_owned(), "\"missed\":1".to_owned()),
        ("a next that stays behind", "\"next\":\"0000000a:7\"".to_owned(), "\"next\":\"0000000a:4\"".to_owned()),
        ("messages behind nothing", "\"recovered\":true".to_owned(), "\"recovered\":false".to_owned()),
        ("no answer", "\"recovered\":true".to_owned(), "\"recovered\":".to_owned()),
    ] {
        assert!(whole.contains(&from), "{what}");
        assert!(is_garbage(&hear(&whole.replacen(&from, &to, 1))), "{what} went unseen");
    }
}

/// Whether the note's client listens to a stream.
fn listens(notes: &[Note], at: usize) -> bool {
    let Event::Got { client, .. } = &notes[at].event else { return false };
    notes.iter().any(|note| matches!(&note.event, Event::Listens { client: it } if it == client))
}

#[test]
fn a_publication_that_a_stream_lost_or_got_twice_or_too_early_is_seen() {
    caught(&[Oracle::Hole, Oracle::Tail], None, |_, notes| {
        let pairs = pairs(notes);
        let in_the_middle = |at: usize| pairs.iter().any(|(_, second)| *second == at) && listens(notes, at);
        let middle = pairs.iter().map(|(first, _)| *first).find(|&first| in_the_middle(first));
        middle.is_some_and(|at| notes.remove(at).step > 0)
    });
    caught(&[Oracle::Twice], None, |_, notes| {
        let Some((at, _)) = pairs(notes).into_iter().find(|(first, _)| listens(notes, *first)) else { return false };
        notes.insert(at, notes[at].clone());
        true
    });
    caught(&[Oracle::Hole, Oracle::Twice], None, |_, notes| {
        let is_under_way = |&(first, second): &(usize, usize)| {
            listens(notes, first) && sent(notes, second).is_some_and(|(at, _)| at < first)
        };
        let Some((first, second)) = pairs(notes).into_iter().find(is_under_way) else { return false };
        notes.swap(first, second);
        true
    });
}
