//! Faults in who is there: lists that lack or invent somebody, what is told twice, never, to others, or at the wrong time.

use wirefan::rules::Rule;

use super::{ask, caught_with, find, insert, is_op, message, object, replace, welcomed};
use crate::event::{Event, Frame, Note, Sent};
use crate::model::Oracle;
use crate::plan::Plan;

/// It is known everywhere who is there, and nobody is slow or rude.
fn knows(plan: &mut Plan) {
    plan.rules = vec![Rule { presence: true, ..Rule::default() }];
    (plan.subscriptions_max, plan.rude, plan.stalls, plan.jumps) = (1000, 1, 0, 0);
    (plan.message_bytes_max, plan.kernel_bytes) = (plan.message_bytes_max.max(4_000), 100_000);
    (plan.outbound_bytes_max, plan.clients, plan.rounds) = (1 << 20, 6, 2);
}

/// The client, the topic and the member of a `join` or `leave`.
fn told(note: &Note, op: &str) -> Option<(u32, String, String)> {
    let (client, event) = object(note).filter(|(_, object)| object["op"] == op)?;
    Some((client, event["topic"].as_str()?.to_owned(), event["member"]["client"].as_str()?.to_owned()))
}

/// What is judged at once by a model that knows who was there: behind the first rest, to one who asked before it, for whom
/// nothing changes in between.
fn certain(notes: &[Note], op: &str) -> Option<usize> {
    let rest = find(notes, |note| matches!(note.event, Event::Rest { audited: true }))?;
    (rest..notes.len()).find(|&at| {
        let Some((it, topic, _)) = told(&notes[at], op) else { return false };
        let asks = |note: &Note| matches!(&note.event, Event::Sent { client, what: Sent::Subscribe { filter, .. } | Sent::Unsubscribe { filter, .. }, .. } if *client == it && *filter == topic);
        let asked = |note: &Note| matches!(&note.event, Event::Sent { client, what: Sent::Subscribe { filter, id: Some(_), presence: true, .. }, .. } if *client == it && *filter == topic);
        let lists = |note: &Note| matches!(&note.event, Event::Sent { client, what: Sent::Presence { topic: of, .. }, .. } if *client == it && *of == topic);
        let last = notes[..rest].iter().rposition(asks);
        last.is_some_and(|last| asked(&notes[last])) && !notes[rest..].iter().any(|note| asks(note) || lists(note))
    })
}

#[test]
fn a_list_that_lacks_somebody_or_counts_wrong_is_seen() {
    let still = |notes: &[Note], least: usize| {
        (0..notes.len()).find(|&at| {
            let members = object(&notes[at]).and_then(|(_, object)| object["members"].as_array().map(Vec::len));
            let whole = object(&notes[at]).is_some_and(|(_, object)| object["next"].is_null());
            let asked = || matches!(ask(notes, at), Some(Sent::Presence { after: None, still: true, .. }));
            whole && members.is_some_and(|members| members >= least) && asked()
        })
    };
    caught_with(knows, &[Oracle::Presence], None, |_, notes| {
        let Some(at) = still(notes, 1) else { return false };
        let (_, object) = object(&notes[at]).expect("it has members");
        let (members, count) = (object["members"].as_array().expect("a list"), &object["connections"]);
        let first = format!(r#"{{"client":{},"user":null}}"#, members[0]["client"]);
        let first = if members.len() > 1 { first + "," } else { first };
        let fewer = count.as_u64().expect("a number") - 1;
        replace(&mut notes[at], &first, "");
        replace(&mut notes[at], &format!(r#""connections":{count}"#), &format!(r#""connections":{fewer}"#));
        true
    });
    caught_with(knows, &[Oracle::Presence], None, |_, notes| {
        let Some(at) = still(notes, 0) else { return false };
        replace(&mut notes[at], r#""users":0"#, r#""users":1"#);
        true
    });
    caught_with(knows, &[Oracle::Presence], None, |_, notes| {
        let Some(at) = still(notes, 1) else { return false };
        let (_, object) = object(&notes[at]).expect("it has members");
        let name = object["members"][0]["client"].as_str().expect("a name").to_owned();
        replace(&mut notes[at], &format!(r#"{{"client":"{name}""#), r#"{"client":"0-7777-0""#);
        true
    });
}

#[test]
fn one_who_stays_and_is_on_no_page_is_seen() {
    caught_with(knows, &[Oracle::Presence], None, |_, notes| {
        let rest = find(notes, |note| matches!(note.event, Event::Rest { audited: true })).unwrap_or(0);
        let found = (rest..notes.len()).find_map(|at| {
            let Some(Sent::Presence { after: None, still: false, topic, .. }) = ask(notes, at) else { return None };
            let (it, object) = object(&notes[at]).filter(|(_, object)| object["next"].is_null())?;
            let watches = |note: &Note| matches!(&note.event, Event::Sent { client, what: Sent::Subscribe { filter, presence: true, .. }, .. } if *client == it && filter == topic);
            let members = object["members"].as_array().filter(|members| members.len() > 1)?;
            // Itself, who is open at the next rest and did nothing about the topic since it was acknowledged.
            let moves = |note: &Note| matches!(&note.event, Event::Sent { client, what: Sent::Subscribe { filter, .. } | Sent::Unsubscribe { filter, .. }, .. } if *client == it && filter == topic);
            let ends = |note: &Note| matches!(note.event, Event::Ended { client, .. } if client == it);
            let next = notes[at..].iter().position(|note| matches!(note.event, Event::Rest { .. }))? + at;
            let mine = notes[..at].iter().rev().filter(|note| is_op(note, "welcome")).filter_map(super::object);
            let name = mine.filter(|(client, _)| *client == it).map(|(_, object)| object["client"].clone()).next()?;
            let listed = members.iter().position(|member| member["client"] == name)?;
            let quiet = !notes[rest..next].iter().any(|note| moves(note) || ends(note)) && !notes.iter().any(watches);
            quiet.then(|| (at, name, listed + 1 < members.len(), object["connections"].as_u64()))
        });
        let Some((at, name, more, Some(count))) = found else { return false };
        let comma = if more { "," } else { "" };
        let text = format!(r#"{{"client":{name},"user":null}}{comma}"#);
        if !more {
            return false;
        }
        replace(&mut notes[at], &text, "");
        replace(&mut notes[at], &format!(r#""connections":{count}"#), &format!(r#""connections":{}"#, count - 1));
        true
    });
}

#[test]
fn a_join_or_leave_that_is_doubled_lost_or_of_another_is_seen() {
    for op in ["join", "leave"] {
        caught_with(knows, &[Oracle::Watch], None, |_, notes| {
            let Some(at) = certain(notes, op) else { return false };
            notes.insert(at, notes[at].clone());
            true
        });
        caught_with(knows, &[Oracle::Watch], None, |_, notes| {
            let Some(at) = certain(notes, op) else { return false };
            let rests = |note: &Note| matches!(note.event, Event::Rest { .. });
            let (it, ..) = told(&notes[at], op).expect("just found");
            let ends = |note: &Note| matches!(note.event, Event::Ended { client, .. } if client == it);
            let Some(rest) = notes[at..].iter().position(rests) else { return false };
            if notes[at..at + rest].iter().any(ends) {
                return false;
            }
            notes.remove(at);
            true
        });
        caught_with(knows, &[Oracle::Watch], None, |_, notes| {
            let Some(at) = certain(notes, op) else { return false };
            let other = if op == "join" { "leave" } else { "join" };
            replace(&mut notes[at], op, other);
            true
        });
    }
}

#[test]
fn its_own_join_that_does_not_come_is_seen() {
    caught_with(knows, &[Oracle::Watch], None, |_, notes| {
        let name = |client: u32| {
            let welcome =
                notes.iter().find(|note| is_op(note, "welcome") && object(note).is_some_and(|it| it.0 == client));
            welcome.and_then(object).map(|(_, object)| object["client"].as_str().unwrap_or("").to_owned())
        };
        let own = (0..notes.len()).find(|&at| {
            told(&notes[at], "join").is_some_and(|(client, topic, member)| {
                let same = |note: &Note| matches!(&note.event, Event::Sent { client: it, what: Sent::Subscribe { filter, .. } | Sent::Unsubscribe { filter, .. }, .. } if *it == client && *filter == topic);
                let asked = |note: &Note| matches!(&note.event, Event::Sent { what: Sent::Subscribe { id: Some(_), presence: true, .. }, .. });
                let mut all = notes.iter().filter(|note| same(note));
                let only = all.next().is_some_and(asked) && all.next().is_none();
                let stays = !notes.iter().take_while(|note| !matches!(note.event, Event::Rest { .. })).any(|note| matches!(note.event, Event::Ended { client: it, .. } if it == client));
                only && stays && name(client) == Some(member)
            })
        });
        own.is_some_and(|at| notes.remove(at).step > 0)
    });
}

#[test]
fn what_nobody_asked_to_be_told_is_seen() {
    caught_with(knows, &[Oracle::Watch], None, |_, notes| {
        let Some((client, at)) = welcomed(notes) else { return false };
        let json = br#"{"op":"join","topic":"a","member":{"client":"0-7777-0","user":null}}"#.to_vec();
        insert(notes, at, Event::Got { client, frame: Frame::Text(json) });
        true
    });
}

#[test]
fn a_publication_of_a_member_before_its_join_or_behind_its_leave_is_seen() {
    caught_with(knows, &[Oracle::Watch], None, |_, notes| {
        let found = notes.iter().enumerate().find_map(|(at, note)| {
            let (it, topic, member) = told(note, "join").filter(|_| certain(notes, "join") == Some(at))?;
            let next = (at + 1..notes.len())
                .find(|&next| message(&notes[next]).is_some_and(|(client, of, _)| client == it && of == topic))?;
            let by = object(&notes[next])?.1["data"]["by"].as_u64()?;
            let names = |note: &Note| {
                object(note).is_some_and(|(client, object)| {
                    u64::from(client) == by && object["op"] == "welcome" && object["client"] == member.as_str()
                })
            };
            // It had subscribed before it published, and for good.
            let does = |note: &Note, comes: bool| match &note.event {
                Event::Sent { client, what: Sent::Subscribe { filter, .. }, .. } => {
                    comes && u64::from(*client) == by && *filter == topic
                }
                Event::Sent { client, what: Sent::Unsubscribe { filter, .. }, .. } => {
                    !comes && u64::from(*client) == by && *filter == topic
                }
                _ => false,
            };
            let (published, _) = super::sent(notes, next)?;
            let stays =
                notes[..published].iter().any(|note| does(note, true)) && !notes.iter().any(|note| does(note, false));
            (stays && notes.iter().any(names)).then_some((at, next))
        });
        let Some((join, message)) = found else { return false };
        let note = notes.remove(join);
        notes.insert(message, note);
        true
    });
}
