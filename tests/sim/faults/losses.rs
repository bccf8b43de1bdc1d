//! Faults in what a slow client is told: miscounted, late, silent, without need, against the rule.

use wirefan::rules::{Overflow, Rule};

use super::{caught_with, is_op, loud, message, object, replace};
use crate::event::{Event, Frame, Note, Sent};
use crate::model::Oracle;
use crate::plan::Plan;

/// Every topic drops what a slow client does not take, and many are slow.
fn drops(overflow: Overflow, plan: &mut Plan) {
    plan.rules = vec![Rule { overflow, ..Rule::default() }];
    (plan.outbound_bytes_max, plan.kernel_bytes, plan.pad_bytes) = (700, 300, 100);
    (plan.stalls, plan.rude) = (20, 0);
}

fn drops_oldest(plan: &mut Plan) {
    drops(Overflow::DropOldest, plan);
}

/// The client, topic and last offset of a `gap`, and how many it counts.
fn gap(note: &Note) -> Option<(u32, String, u64, u64)> {
    let (client, gap) = object(note).filter(|(_, object)| object["op"] == "gap")?;
    let offset = gap["position"].as_str()?.split_once(':')?.1.parse().ok()?;
    Some((client, gap["topic"].as_str()?.to_owned(), offset, gap["missed"].as_u64()?))
}

/// A `gap` before which the client surely had everything or was told, and so surely begins where the last one ended.
fn sure(notes: &[Note]) -> Option<usize> {
    (0..notes.len()).find(|&at| {
        let Some((client, topic, ..)) = gap(&notes[at]).filter(|it| loud(&notes[..at]).contains(&it.0)) else {
            return false;
        };
        let same = |note: &Note| gap(note).is_some_and(|it| it.0 == client && it.1 == topic);
        let before = notes[..at].iter().rposition(same);
        before.is_some_and(|before| !notes[before..at].iter().any(|note| matches!(note.event, Event::Rest { .. })))
    })
}

#[test]
fn a_gap_that_counts_one_too_many_or_too_few_is_seen() {
    for by in [-1, 1] {
        caught_with(drops_oldest, &[Oracle::Gap], None, |_, notes| {
            let Some(at) = sure(notes) else { return false };
            let missed = gap(&notes[at]).map_or(0, |it| it.3);
            let other = missed.saturating_add_signed(by);
            replace(&mut notes[at], &format!(r#""missed":{missed},"#), &format!(r#""missed":{other},"#));
            true
        });
    }
}

#[test]
fn a_gap_that_does_not_come_or_comes_late_is_seen() {
    caught_with(drops_oldest, &[Oracle::Gap, Oracle::Tail, Oracle::Hole], None, |_, notes| {
        sure(notes).is_some_and(|at| notes.remove(at).step > 0)
    });
    caught_with(drops_oldest, &[Oracle::Gap], None, |_, notes| {
        let Some(at) = sure(notes) else { return false };
        let Some((client, topic, ..)) = gap(&notes[at]) else { return false };
        let is_next = |note: &Note| message(note).is_some_and(|it| it.0 == client && it.1 == topic);
        let Some(next) = notes[at..].iter().position(is_next) else { return false };
        if notes[at..at + next].iter().any(|note| matches!(note.event, Event::Rest { .. } | Event::Stopping { .. })) {
            return false;
        }
        let note = notes.remove(at);
        notes.insert(at + next, note);
        true
    });
}

#[test]
fn a_gap_for_who_was_not_slow_or_whose_rule_is_another_is_seen() {
    caught_with(drops_oldest, &[Oracle::Gap, Oracle::Hole], None, |_, notes| {
        let Some((it, ..)) = notes.iter().find_map(gap) else { return false };
        notes.retain(|note| !matches!(note.event, Event::Blocked { client } if client == it));
        true
    });
    caught_with(drops_oldest, &[Oracle::Gap, Oracle::Hole], None, |plan, notes| {
        plan.rules.clear();
        notes.iter().any(|note| is_op(note, "gap"))
    });
}

#[test]
fn a_gap_for_a_stranger_is_seen() {
    caught_with(drops_oldest, &[Oracle::Stranger], None, |_, notes| {
        let Some(at) = notes.iter().position(|note| is_op(note, "gap")) else { return false };
        let subscribes = |it: u32| {
            let is_its = |note: &Note| matches!(note.event, Event::Sent { client, what: Sent::Subscribe { .. }, .. } if client == it);
            notes[..at].iter().any(is_its)
        };
        let mut welcomed = notes[..at].iter().filter(|note| is_op(note, "welcome")).filter_map(object);
        let open = |it: u32| {
            let ends = |note: &Note| matches!(note.event, Event::Ended { client, .. } | Event::Got { client, frame: Frame::Close(_) } if client == it);
            !notes[..at].iter().any(ends)
        };
        let Some((other, _)) = welcomed.find(|(it, _)| !subscribes(*it) && open(*it)) else { return false };
        let Event::Got { frame, .. } = notes[at].event.clone() else { return false };
        notes[at].event = Event::Got { client: other, frame };
        true
    });
}

#[test]
fn what_was_dropped_although_it_fits_is_seen() {
    caught_with(drops_oldest, &[Oracle::Overflow], None, |plan, notes| {
        plan.outbound_bytes_max *= 1000;
        sure(notes).is_some()
    });
    let latest = |plan: &mut Plan| {
        drops(Overflow::Latest, plan);
        plan.outbound_bytes_max = 1 << 20;
    };
    caught_with(latest, &[Oracle::Overflow], None, |_, notes| {
        // As if each had been of a kind of its own.
        for (number, note) in notes.iter_mut().enumerate() {
            if let Event::Sent { what: Sent::Publish { conflate, .. }, .. } = &mut note.event {
                *conflate = Some(format!("own {number}"));
            }
        }
        sure(notes).is_some()
    });
}

#[test]
fn a_slow_consumer_that_is_closed_where_no_rule_says_so_is_seen() {
    let disconnects = |plan: &mut Plan| {
        drops(Overflow::Disconnect, plan);
        plan.outbound_bytes_max = 4_000;
    };
    caught_with(disconnects, &[Oracle::Slow], None, |plan, notes| {
        drops_oldest(plan);
        plan.outbound_bytes_max = 4_000;
        notes.iter().any(|note| matches!(note.event, Event::Got { frame: Frame::Close(Some(4008)), .. }))
    });
}
