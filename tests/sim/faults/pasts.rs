//! Faults in what is said of a topic's past: recoveries, pages, repeats, rules that are not kept.

use wirefan::rules::{Access, History, Rule};

use super::{ask, asked, caught, caught_with, insert, is_op, message, object, pairs, replace, sent, welcomed};
use crate::event::{Begin, Event, Frame, Note, Sent};
use crate::model::Oracle;
use crate::plan::{Ending, Plan};

/// An ack of a subscribe since a position: its place, the position asked for, the one it says, and whether it recovered.
fn recoveries(notes: &[Note]) -> Vec<(usize, String, String, bool)> {
    let all = notes.iter().enumerate().filter_map(|(at, note)| {
        let (_, ack) = object(note).filter(|(_, object)| object["recovered"].is_boolean())?;
        let Sent::Subscribe { begin: Begin::Since(since), .. } = ask(notes, at)? else { return None };
        Some((at, since.clone(), ack["position"].as_str()?.to_owned(), ack["recovered"].as_bool()?))
    });
    all.collect()
}

fn parts(position: &str) -> (&str, u64) {
    let (epoch, offset) = position.split_once(':').expect("a position");
    (epoch, offset.parse().expect("an offset"))
}

/// The messages that a recovery replayed, and one more.
fn replayed(notes: &[Note], ack: usize, since: &str) -> Vec<usize> {
    let Some((client, object)) = object(&notes[ack]) else { return Vec::new() };
    let topic = object["topic"].as_str().unwrap_or("").to_owned();
    let is_it = |at: &usize, offset: u64| message(&notes[*at]) == Some((client, topic.clone(), offset));
    let mut found = Vec::new();
    while let Some(at) = (ack..notes.len()).find(|at| is_it(at, parts(since).1 + 1 + found.len() as u64)) {
        found.push(at);
    }
    found
}

/// The client unsubscribed before the ack of its subscribe came: the messages behind it may come and need not.
fn taken_back(notes: &[Note], ack: usize) -> bool {
    let (Some((acked, object)), Some(sent)) = (object(&notes[ack]), asked(notes, ack)) else { return false };
    notes[sent..ack].iter().any(|note| match &note.event {
        Event::Sent { client, what: Sent::Unsubscribe { filter, .. }, .. } => {
            *client == acked && object["topic"] == filter.as_str()
        }
        _ => false,
    })
}

fn keeps(plan: &mut Plan, count: u32, age_s: u32) {
    for rule in &mut plan.rules {
        rule.history = rule.history.map(|_| History { count, age_s });
    }
}

/// Everything is kept, and people come and go.
fn keep_all(plan: &mut Plan) {
    let history = Some(History { count: 1000, age_s: 86_400 });
    plan.rules = vec![Rule { history, ..Rule::default() }];
    (plan.history_bytes_max, plan.people, plan.steps) = (256 << 20, 1, 800);
    (plan.message_bytes_max, plan.rude) = (plan.message_bytes_max.max(4_000), 5);
    (plan.jumps, plan.rounds) = (30, 2);
}

fn evicts(notes: &[Note]) -> bool {
    notes.iter().any(|note| matches!(note.event, Event::Kept { .. }))
}

#[test]
fn a_recovery_that_is_denied_or_claimed_is_seen() {
    caught(&[Oracle::Recovered], None, |_, notes| {
        let up_to_date = recoveries(notes).into_iter().find(|(_, since, position, _)| since == position);
        let Some((at, ..)) = up_to_date else { return false };
        replace(&mut notes[at], r#""recovered":true"#, r#""recovered":false"#);
        true
    });
    let strays: [fn(&str, &str) -> bool; 2] = [
        |since, position| parts(since).0 != parts(position).0,
        |since, position| parts(since).0 == parts(position).0 && parts(since).1 > parts(position).1,
    ];
    for is_stray in strays {
        caught(&[Oracle::Recovered], None, |_, notes| {
            let stray = recoveries(notes).into_iter().find(|(_, since, position, _)| is_stray(since, position));
            let Some((at, ..)) = stray else { return false };
            replace(&mut notes[at], r#""recovered":false"#, r#""recovered":true"#);
            true
        });
    }
}

#[test]
fn a_history_that_is_shorter_or_longer_than_its_rule_is_seen() {
    let is_past = |since: &str, position: &str| {
        let ((life, since), (epoch, newest)) = (parts(since), parts(position));
        life == epoch && since < newest
    };
    caught(&[Oracle::Recovered, Oracle::History, Oracle::Hole], None, |plan, notes| {
        let denied = |(at, since, position, recovered): &(usize, String, String, bool)| {
            let Some((_, object)) = object(&notes[*at]) else { return false };
            let topic = object["topic"].as_str().unwrap_or("").to_owned();
            let next = parts(since).1.saturating_add(1);
            let heard = |note: &Note| message(note).is_some_and(|it| it.1 == topic && it.2 == next);
            let published = notes[..*at].iter().any(heard);
            let keeps = plan.rules.iter().find(|rule| crate::model::meets(&rule.filter, &topic));
            !recovered && is_past(since, position) && published && keeps.is_some_and(|rule| rule.history.is_some())
        };
        let found = !evicts(notes) && recoveries(notes).iter().any(denied);
        keeps(plan, 1000, 86_400);
        found
    });
    caught_with(keep_all, &[Oracle::Recovered, Oracle::History, Oracle::Twice], None, |plan, notes| {
        let long = |(_, since, position, recovered): &(usize, String, String, bool)| {
            *recovered && parts(since).1 + 1 < parts(position).1
        };
        keeps(plan, 1, 86_400);
        recoveries(notes).iter().any(long)
    });
    caught_with(keep_all, &[Oracle::Recovered, Oracle::History, Oracle::Twice], None, |plan, notes| {
        let all = recoveries(notes).into_iter().filter(|(_, since, position, _)| is_past(since, position));
        let late = |(at, since, ..): &(usize, String, String, bool)| {
            let topic = object(&notes[*at]).map(|(_, object)| object["topic"].as_str().unwrap_or("").to_owned());
            let is_first =
                |note: &&Note| message(note).is_some_and(|it| Some(it.1) == topic && it.2 == parts(since).1 + 1);
            let (Some(first), Some(sent)) = (notes[..*at].iter().find(is_first), asked(notes, *at)) else {
                return false;
            };
            first.ms + 1_200 < notes[sent].ms
        };
        let found = all.filter(|(.., recovered)| *recovered).any(|it| late(&it));
        keeps(plan, 1000, 1);
        found
    });
}

#[test]
fn a_hole_or_a_repetition_in_a_replay_is_seen() {
    let long = |notes: &[Note]| {
        let all = recoveries(notes).into_iter().filter(|(.., recovered)| *recovered);
        let all = all.filter(|(at, ..)| !taken_back(notes, *at));
        let replays = all.map(|(at, since, position, _)| (parts(&position).1, replayed(notes, at, &since)));
        replays.into_iter().find_map(|(newest, found)| {
            let offset = |at: usize| message(&notes[at]).map(|it| it.2);
            (found.len() > 1 && offset(found[1]) <= Some(newest)).then_some(found)
        })
    };
    caught_with(keep_all, &[Oracle::Hole], None, |_, notes| {
        long(notes).is_some_and(|found| notes.remove(found[0]).step > 0)
    });
    caught_with(keep_all, &[Oracle::Twice], None, |_, notes| {
        let Some(found) = long(notes) else { return false };
        notes.insert(found[1] + 1, notes[found[0]].clone());
        true
    });
}

#[test]
fn a_begin_before_what_was_known_is_seen() {
    caught(&[Oracle::Position], None, |_, notes| {
        let stale = (0..notes.len()).find_map(|at| {
            let (_, ack) = object(&notes[at]).filter(|(_, object)| object["op"] == "ack")?;
            let Sent::Subscribe { filter, begin: Begin::Now, .. } = ask(notes, at)? else { return None };
            let heard = notes[..asked(notes, at)?].iter().any(|note| message(note).is_some_and(|it| it.1 == *filter));
            let offset = parts(ack["position"].as_str()?).1;
            (heard && offset > 0).then_some((at, offset))
        });
        let Some((at, offset)) = stale else { return false };
        replace(&mut notes[at], &format!(":{offset}\""), ":0\"");
        true
    });
}

#[test]
fn a_page_that_lacks_something_or_is_out_of_order_is_seen() {
    let page = |notes: &[Note], least: usize| {
        (0..notes.len()).find_map(|at| {
            let Event::Got { frame: Frame::Text(json), .. } = &notes[at].event else { return None };
            let text = String::from_utf8_lossy(json).into_owned();
            let Sent::History { since: None, reverse: false, limit: 1000, .. } = ask(notes, at)? else { return None };
            let starts: Vec<usize> = text.match_indices(r#"{"op":"message""#).map(|(start, _)| start).collect();
            (starts.len() >= least).then_some((at, text, starts))
        })
    };
    let cut = |notes: &mut Vec<Note>, at: usize, text: &str, from: usize, to: usize| {
        replace(&mut notes[at], &text[from..to], "");
    };
    caught_with(keep_all, &[Oracle::History], None, |_, notes| {
        let Some((at, text, starts)) = page(notes, 3) else { return false };
        cut(notes, at, &text, starts[1], starts[2]);
        true
    });
    caught_with(keep_all, &[Oracle::History], None, |_, notes| {
        let Some((at, text, starts)) = page(notes, 2) else { return false };
        let last = starts[starts.len() - 1] - 1; // with the comma before it
        cut(notes, at, &text, last, text.len() - 2);
        true
    });
    caught_with(keep_all, &[Oracle::History], None, |_, notes| {
        let Some((at, text, starts)) = page(notes, 2) else { return false };
        let (first, second) = (&text[starts[0]..starts[1]], starts.get(2).copied().unwrap_or(text.len() - 2));
        let both = &text[starts[0]..second];
        let swapped = format!("{},{}", text[starts[1]..second].trim_end_matches(','), first.trim_end_matches(','));
        replace(&mut notes[at], both.trim_end_matches(','), &swapped);
        true
    });
    caught_with(keep_all, &[Oracle::History], None, |_, notes| {
        let Some((at, _, _)) = page(notes, 0) else { return false };
        let Some((client, object)) = object(&notes[at]) else { return false };
        let json = format!(r#"{{"op":"error","id":{},"code":400,"reason":"no"}}"#, object["id"]);
        notes[at].event = Event::Got { client, frame: Frame::Text(json.into_bytes()) };
        true
    });
}

#[test]
fn two_publications_under_one_key_and_a_repeat_of_another_one_are_seen() {
    let name = |note: &mut Note, name: &str| match &mut note.event {
        Event::Sent { what: Sent::Publish { key, .. }, .. } => *key = Some(name.to_owned()),
        _ => unreachable!("it is a publish"),
    };
    caught(&[Oracle::Once], None, |plan, notes| {
        let sent = |at: usize| {
            sent(notes, at).map(|(at, _)| at).filter(|at| notes[*at].ms + 200_000 > notes[notes.len() - 1].ms)
        };
        let mut both = pairs(notes).into_iter().filter_map(|(first, second)| Some((sent(first)?, sent(second)?)));
        let Some((first, second)) = both.next().filter(|_| plan.rules.is_empty()) else { return false };
        name(&mut notes[first], "same");
        name(&mut notes[second], "same");
        true
    });
    caught(&[Oracle::Once, Oracle::Position], None, |_, notes| {
        let keyed = |at: usize| {
            let (_, ack) = object(&notes[at]).filter(|(_, object)| object["op"] == "ack")?;
            let Sent::Publish { key: Some(_), topic, .. } = ask(notes, at)? else { return None };
            Some((topic.clone(), ack["position"].to_string(), asked(notes, at)?))
        };
        let all: Vec<_> = (0..notes.len()).filter_map(keyed).collect();
        let repeat = all
            .iter()
            .enumerate()
            .find_map(|(at, it)| all[..at].iter().any(|other| (&other.0, &other.1) == (&it.0, &it.1)).then_some(it.2));
        let Some(at) = repeat else { return false };
        name(&mut notes[at], "another");
        true
    });
}

#[test]
fn what_a_rule_closes_and_comes_nevertheless_is_seen() {
    let closed = |plan: &mut Plan, topic: &str, subscribe: Access, publish: Access| {
        plan.rules.insert(0, Rule { filter: topic.to_owned(), subscribe, publish, ..Rule::default() });
    };
    caught(&[Oracle::Access], None, |plan, notes| {
        let asks = |note: &Note, topic: &str| match &note.event {
            Event::Sent { what: Sent::Subscribe { filter: it, .. } | Sent::History { topic: it, .. }, .. } => {
                it == topic
            }
            _ => false,
        };
        let by_wildcard = |it: &(u32, String, u64)| !notes.iter().any(|note| asks(note, &it.1));
        let Some((_, topic, _)) = notes.iter().filter_map(message).find(by_wildcard) else { return false };
        closed(plan, &topic, Access::Nobody, Access::Anyone);
        true
    });
    caught(&[Oracle::Access], None, |plan, notes| {
        let found = notes.iter().enumerate().find_map(|(at, note)| {
            let (_, topic, _) = message(note)?;
            let is_heard = |note: &Note| matches!(&note.event, Event::Sent { what: Sent::Publish { id: Some(_), topic: it, .. } | Sent::History { topic: it, .. }, .. } if *it == topic);
            (!notes[..at].iter().any(is_heard)).then_some(topic)
        });
        let Some(topic) = found else { return false };
        closed(plan, &topic, Access::Anyone, Access::Nobody);
        true
    });
}

#[test]
fn memory_that_is_passed_or_given_up_without_need_is_seen() {
    for (evicted, bytes) in [(1, 0), (0, usize::MAX)] {
        caught(&[Oracle::Kept], Some(Ending::Leave), |plan, notes| {
            let Some((_, at)) = welcomed(notes).filter(|_| plan.history_bytes_max > 1 << 20) else { return false };
            insert(notes, at, Event::Kept { evicted, bytes });
            notes.iter().any(|note| is_op(note, "welcome"))
        });
    }
}
