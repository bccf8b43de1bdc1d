//! Faults in what subscribers get: too much, too little, something else, in another order.

use super::{caught, find, insert, is_op, loud, message, object, pairs, replace, sent};
use crate::event::{Event, Frame, Note, Sent};
use crate::model::Oracle;
use crate::plan::Ending;

#[test]
fn a_publication_to_a_stranger_is_seen() {
    caught(&[Oracle::Stranger], None, |_, notes| {
        let Some(at) = find(notes, |note| message(note).is_some()) else { return false };
        let concerns = |note: &Note, it: u32| match &note.event {
            Event::Sent { client, what: Sent::Subscribe { .. }, .. }
            | Event::Ended { client, .. }
            | Event::Got { client, frame: Frame::Close(_) } => *client == it,
            _ => false,
        };
        let before = &notes[..at];
        let mut others = before.iter().filter(|note| is_op(note, "welcome")).filter_map(|note| Some(object(note)?.0));
        let Some(other) = others.find(|&it| !before.iter().any(|note| concerns(note, it))) else { return false };
        let Event::Got { frame, .. } = notes[at].event.clone() else { return false };
        insert(notes, at + 1, Event::Got { client: other, frame });
        true
    });
}

#[test]
fn a_publication_before_its_ack_is_seen() {
    caught(&[Oracle::Stranger], None, |_, notes| {
        let Some(first) = find(notes, |note| message(note).is_some()) else { return false };
        let Some((client, topic, _)) = message(&notes[first]) else { return false };
        let before = &notes[..first];
        let ids: Vec<&String> = before
            .iter()
            .filter_map(|note| match &note.event {
                Event::Sent { client: it, what: Sent::Subscribe { id, .. }, .. } if *it == client => id.as_ref(),
                _ => None,
            })
            .collect();
        let [id] = ids[..] else { return false }; // its only subscribe
        let is_ack =
            |note: &Note| object(note).is_some_and(|(it, object)| it == client && object["id"].to_string().eq(id));
        let Some(ack) = find(before, is_ack) else { return false };
        let rests = before[ack..].iter().any(|note| matches!(note.event, Event::Rest { .. }));
        if rests || topic.is_empty() || !loud(before).contains(&client) {
            return false;
        }
        let note = notes.remove(ack);
        notes.insert(first, note);
        true
    });
}

#[test]
fn a_lost_publication_is_seen_and_so_is_a_doubled_or_swapped_one() {
    caught(&[Oracle::Hole, Oracle::Tail], None, |_, notes| {
        let pairs = pairs(notes);
        let middle = pairs.iter().find(|(first, _)| pairs.iter().any(|(_, second)| second == first));
        middle.is_some_and(|&(at, _)| notes.remove(at).step > 0)
    });
    caught(&[Oracle::Twice], None, |_, notes| {
        let Some(at) = find(notes, |note| message(note).is_some()) else { return false };
        notes.insert(at, notes[at].clone());
        true
    });
    caught(&[Oracle::Hole, Oracle::Twice], None, |_, notes| {
        let is_under_way = |(first, second): &(usize, usize)| sent(notes, *second).is_some_and(|(at, _)| at < *first);
        let Some((first, second)) = pairs(notes).into_iter().find(is_under_way) else { return false };
        notes.swap(first, second);
        true
    });
}

#[test]
fn a_lost_last_publication_is_seen_at_rest_and_after_a_stop() {
    for ending in [Ending::Leave, Ending::Stop] {
        caught(&[Oracle::Tail], Some(ending), |_, notes| {
            let all: Vec<_> = notes.iter().enumerate().filter_map(|(at, note)| Some((at, message(note)?))).collect();
            let last_of = |over: usize, loud: &[u32]| {
                let last = all.iter().rev().find(|(at, (client, topic, offset))| {
                    // Someone else has it too, so that the model knows that it exists.
                    let is_shared = all.iter().any(|(_, it)| it.0 != *client && it.1 == *topic && it.2 == *offset);
                    let goes_on = all.iter().any(|(later, it)| later > at && it.0 == *client && it.1 == *topic);
                    // A first one under a wildcard may have been sent before the ack: not owed.
                    let is_owed = all.iter().any(|(_, it)| it.0 == *client && it.1 == *topic && it.2 + 1 == *offset);
                    *at < over && loud.contains(client) && is_shared && is_owed && !goes_on
                });
                last.map(|(at, _)| *at)
            };
            let found = notes.iter().enumerate().find_map(|(at, note)| match note.event {
                Event::Rest { audited: true } => last_of(at, &loud(&notes[..at])),
                Event::Got { client, frame: Frame::Close(Some(1001)) } => {
                    loud(&notes[..at]).contains(&client).then(|| last_of(at, &[client])).flatten()
                }
                _ => None,
            });
            found.is_some_and(|at| notes.remove(at).step > 0)
        });
    }
}

#[test]
fn a_changed_payload_or_position_is_seen() {
    caught(&[Oracle::Payload], None, |_, notes| {
        let Some(at) = find(notes, |note| message(note).is_some()) else { return false };
        replace(&mut notes[at], "1.0", "1.00");
        object(&notes[at]).is_some()
            && matches!(&notes[at].event, Event::Got { frame: Frame::Text(json), .. } if String::from_utf8_lossy(json).contains("1.00"))
    });
    caught(&[Oracle::Position], None, |_, notes| {
        let Some(&(first, _)) = pairs(notes).first() else { return false };
        let Some((_, object)) = object(&notes[first]) else { return false };
        let position = object["position"].as_str().unwrap_or("").to_owned();
        replace(&mut notes[first], &position, &position.replacen(&position[..8], "01234567", 1));
        true
    });
    caught(&[Oracle::Position], None, |_, notes| {
        let Some(&(first, second)) = pairs(notes).first() else { return false };
        let data = |at: usize| object(&notes[at]).map(|(_, object)| object["data"].clone());
        let others = notes
            .iter()
            .filter(|note| message(note).map(|it| (it.1, it.2)) == message(&notes[first]).map(|it| (it.1, it.2)))
            .count();
        if others < 2 || data(first) == data(second) || sent(notes, second).is_none_or(|(at, _)| at > first) {
            return false;
        }
        // The later payload under the earlier position, for this one subscriber only.
        let (Some((_, topic, offset)), Some((_, _, later))) = (message(&notes[first]), message(&notes[second])) else {
            return false;
        };
        assert!(!topic.is_empty());
        let mut note = notes[second].clone();
        replace(&mut note, &format!(":{later}\""), &format!(":{offset}\""));
        notes[first] = note;
        true
    });
}

#[test]
fn a_publication_that_comes_back_in_spite_of_echo_false_is_seen() {
    caught(&[Oracle::Echo], None, |_, notes| {
        let own = notes.iter().find_map(|note| {
            let (client, object) = object(note).filter(|(_, object)| object["op"] == "message")?;
            (object["data"]["by"] == client).then(|| (client, object["data"]["n"].to_string()))
        });
        let Some((by, unique)) = own else { return false };
        notes.iter_mut().any(|note| match &mut note.event {
            Event::Sent { client, what: Sent::Publish { echo, payload, .. }, .. }
                if *client == by && String::from_utf8_lossy(payload).contains(&unique) =>
            {
                *echo = false;
                true
            }
            _ => false,
        })
    });
}

#[test]
fn a_publication_that_was_not_counted_is_seen() {
    caught(&[Oracle::Count], Some(Ending::Leave), |_, notes| {
        let Some(rest) = find(notes, |note| matches!(note.event, Event::Rest { audited: true })) else { return false };
        let auditor = notes[..rest].iter().rev().find_map(|note| match &note.event {
            Event::Sent { client, what: Sent::Publish { .. }, .. } => Some(*client),
            _ => None,
        });
        let Some(client) = auditor else { return false };
        let payload = b"\"swallowed\"".to_vec();
        let topic = "a".to_owned();
        let what = Sent::Publish { topic, id: None, echo: true, text: true, payload, key: None, conflate: None };
        insert(notes, rest, Event::Sent { client, seq: 1 << 40, end: 1 << 40, what });
        true
    });
}

#[test]
fn a_publisher_s_order_that_is_not_kept_is_seen() {
    caught(&[Oracle::PublisherOrder], None, |_, notes| {
        let author = |at: usize| object(&notes[at]).map(|(_, object)| object["data"]["by"].clone());
        let is_by_one = |(first, second): &(usize, usize)| {
            author(*first) == author(*second) && author(*first).is_some_and(|by| !by.is_null())
        };
        let Some((first, second)) = pairs(notes).into_iter().find(is_by_one) else { return false };
        // As if the publisher had sent them the other way round.
        let (Some((one, low)), Some((two, high))) = (sent(notes, first), sent(notes, second)) else { return false };
        for (at, number) in [(one, high), (two, low)] {
            if let Event::Sent { seq, .. } = &mut notes[at].event {
                *seq = number;
            }
        }
        true
    });
}
