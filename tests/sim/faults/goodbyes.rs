//! Faults in replies and endings: owed and not paid, undeserved, torn, slept through, left behind.

use serde_json::Value;

use super::{TRIED, caught, find, insert, is_op, object, welcomed};
use crate::endings::left_behind;
use crate::event::{Begin, Event, Frame, Note, Sent};
use crate::model::Oracle;
use crate::plan::{Ending, Plan};
use crate::world::World;

#[test]
fn a_lost_doubled_or_misplaced_reply_is_seen() {
    let is_publish_ack = |note: &Note, notes: &[Note]| {
        let Some((it, object)) = object(note).filter(|(_, object)| object["op"] == "ack") else { return false };
        let ids = object["id"].to_string();
        notes.iter().any(|note| matches!(&note.event, Event::Sent { client, what: Sent::Publish { id: Some(id), echo: true, .. }, .. } if *client == it && *id == ids))
    };
    caught(&[Oracle::Unanswered], Some(Ending::Leave), |_, notes| {
        let rest = find(notes, |note| matches!(note.event, Event::Rest { audited: true })).unwrap_or(0);
        let at = (0..rest).rev().find(|&at| is_publish_ack(&notes[at], notes)); // the auditor's, who is open
        at.is_some_and(|at| notes.remove(at).step > 0)
    });
    caught(&[Oracle::Reply], None, |_, notes| {
        let Some(at) = find(notes, |note| is_op(note, "ack")) else { return false };
        notes.insert(at, notes[at].clone());
        true
    });
    caught(&[Oracle::Reply], None, |_, notes| {
        // What a home refuses may come in any order.
        let by_home = |object: &Value| {
            let reason = object["reason"].as_str().unwrap_or_default();
            ["its rule", "no such position", "too much"].iter().any(|words| reason.contains(words))
        };
        let is_at_once = |object: &Value| object["op"] == "pong" || (object["op"] == "error" && !by_home(object));
        let at_once = |note: &Note| object(note).filter(|(_, object)| is_at_once(object));
        let all: Vec<_> = notes.iter().enumerate().filter_map(|(at, note)| Some((at, at_once(note)?))).collect();
        let pair = all.windows(2).find(|pair| pair[0].1.0 == pair[1].1.0 && pair[0].1.1["op"] != pair[1].1.1["op"]);
        let Some(pair) = pair else { return false };
        let (first, second) = (pair[0].0, pair[1].0);
        notes.swap(first, second);
        true
    });
    caught(&[Oracle::Welcome, Oracle::Unanswered], None, |_, notes| {
        let Some(at) = find(notes, |note| is_op(note, "welcome")) else { return false };
        notes.remove(at);
        true
    });
}

#[test]
fn an_end_that_nobody_deserves_is_seen() {
    let ends = |code: u16| {
        move |plan: &mut Plan, notes: &mut Vec<Note>| {
            if plan.jumps > 0 || plan.timeout_s < 10 {
                return false; // it may have been silent for long enough
            }
            let Some((client, at)) = welcomed(notes) else { return false };
            let excused = |note: &Note| matches!(&note.event, Event::Blocked { client: it } if *it == client);
            if notes[..at].iter().any(excused) {
                return false;
            }
            insert(notes, at, Event::Got { client, frame: Frame::Close(Some(code)) });
            true
        }
    };
    caught(&[Oracle::Close], Some(Ending::Leave), ends(1001));
    caught(&[Oracle::Close], None, ends(1002));
    caught(&[Oracle::Slow], None, ends(4008));
    caught(&[Oracle::Heartbeat], None, ends(4009));
    caught(&[Oracle::Dropped], None, |_, notes| {
        let Some((client, at)) = welcomed(notes) else { return false };
        insert(notes, at, Event::Ended { client, clean: true, torn: false });
        true
    });
    caught(&[Oracle::Torn], None, |_, notes| {
        let is_clean = |note: &Note| matches!(note.event, Event::Ended { clean: true, .. });
        let Some(at) = find(notes, is_clean) else { return false };
        let Event::Ended { client, .. } = notes[at].event else { return false };
        notes[at].event = Event::Ended { client, clean: true, torn: true };
        true
    });
    caught(&[Oracle::Torn], None, |_, notes| {
        let Some((client, at)) = welcomed(notes) else { return false };
        let torn = Frame::Garbage("a frame that begins in the middle".to_owned());
        insert(notes, at, Event::Got { client, frame: torn });
        true
    });
}

#[test]
fn a_slow_consumer_is_neither_let_off_nor_blamed_without_cause() {
    caught(&[Oracle::Slow], None, |plan, notes| {
        plan.outbound_bytes_max *= 1000; // so it had no cause
        notes.iter().any(|note| matches!(note.event, Event::Got { frame: Frame::Close(Some(4008)), .. }))
    });
    caught(&[Oracle::Pending], None, |_, notes| {
        let Some((client, at)) = welcomed(notes) else { return false };
        insert(notes, at, Event::Pending { client, bytes: 1 << 30 });
        true
    });
}

#[test]
fn a_stop_that_leaves_a_read_command_unanswered_is_seen() {
    caught(&[Oracle::Stop], Some(Ending::Stop), |_, notes| {
        let closed = notes.iter().find_map(|note| match note.event {
            Event::Got { client, frame: Frame::Close(Some(1001)) } => Some(client),
            _ => None,
        });
        let Some(it) = closed else { return false };
        let Some(at) = find(notes, |note| matches!(note.event, Event::Stopping { client, .. } if client == it)) else {
            return false;
        };
        notes[at].event = Event::Stopping { client: it, read: u64::MAX };
        let (filter, id) = ("never/answered".to_owned(), Some("\"never\"".to_owned()));
        let what = Sent::Subscribe { filter, id, begin: Begin::Now, presence: false };
        let full = notes[..at]
            .iter()
            .any(|note| matches!(note.event, Event::Sent { client, what: Sent::Subscribe { .. }, .. } if client == it));
        if full {
            return false; // it might be refused for its limit, which is answered at once
        }
        insert(notes, at, Event::Sent { client: it, seq: 1 << 40, end: 1 << 40, what });
        true
    });
}

#[test]
fn a_lost_wake_up_is_seen() {
    let seen = (0..TRIED).any(|seed| {
        let mut plan = Plan::of(seed);
        (plan.shards, plan.crowded) = (3, 3);
        let world = World::new(plan, false);
        world.drivers.iter().for_each(|driver| driver.bell.lose(2));
        world.run().is_err_and(|failure| failure.broken.oracle == Oracle::Liveness)
    });
    assert!(seen, "every second bell was lost and nothing came of it");
}

#[test]
fn what_is_left_behind_is_seen() {
    let held = [("connections", 0), ("filters", 1)];
    assert!(left_behind(0, &held, &[]).is_err_and(|broken| broken.oracle == Oracle::Held));
    assert!(left_behind(0, &held, &["filters"]).is_ok());
}
