//! Every oracle is shown to fail: a clean run's notes are changed in one place, and the model must name the promise.
//!
//! A change says whether it found its place; seeds are tried until one has it. Faults that no note can show (a lost bell,
//! something left behind) are planted in the world itself.

mod deliveries;
mod goodbyes;
mod losses;
mod pasts;
mod presences;
mod streams;

use serde::Deserialize;
use serde_json::Value;

use crate::event::{Event, Frame, Note, Sent};
use crate::model::{Model, Oracle};
use crate::plan::{Ending, Plan};
use crate::world::World;

/// Seeds that are tried for a place where the change can be made.
const TRIED: u64 = 3000;

/// Runs calm seeds, changes what was noted, and expects one of these oracles to see it.
fn caught(expected: &[Oracle], ending: Option<Ending>, change: impl Fn(&mut Plan, &mut Vec<Note>) -> bool) {
    caught_with(|_| {}, expected, ending, change);
}

/// The same with plans that are made to have the place.
fn caught_with(
    tune: impl Fn(&mut Plan),
    expected: &[Oracle],
    ending: Option<Ending>,
    change: impl Fn(&mut Plan, &mut Vec<Note>) -> bool,
) {
    for seed in 0..TRIED {
        let mut plan = Plan::of(seed);
        (plan.steps, plan.rounds) = (if seed % 2 == 0 { 100 } else { 300 }, 1);
        tune(&mut plan);
        plan.ending = ending.unwrap_or(plan.ending);
        let report = World::new(plan.clone(), false).run().expect("the run is clean before it is changed");
        let mut notes = report.notes;
        if !change(&mut plan, &mut notes) {
            continue;
        }
        let mut model = Model::new(&plan);
        let broken = notes.iter().find_map(|note| model.take(note).err());
        let broken = broken.unwrap_or_else(|| panic!("seed {seed}: the change went unseen by {expected:?}"));
        assert!(expected.contains(&broken.oracle), "seed {seed}: {broken}, not {expected:?}");
        return;
    }
    panic!("no seed has a place for the change");
}

/// The client and the object of a text frame.
fn object(note: &Note) -> Option<(u32, Value)> {
    match &note.event {
        Event::Got { client, frame: Frame::Text(json) } => Some((*client, serde_json::from_slice(json).ok()?)),
        _ => None,
    }
}

fn is_op(note: &Note, op: &str) -> bool {
    object(note).is_some_and(|(_, object)| object["op"] == op)
}

/// What every message has; its data may be no value that serde_json can hold.
#[derive(Deserialize)]
struct Message {
    op: String,
    topic: String,
    position: String,
}

/// The client, the topic and the offset of a message.
fn message(note: &Note) -> Option<(u32, String, u64)> {
    let Event::Got { client, frame: Frame::Text(json) } = &note.event else { return None };
    let message: Message = serde_json::from_slice(json).ok().filter(|message: &Message| message.op == "message")?;
    let offset = message.position.split_once(':')?.1.parse().ok()?;
    Some((*client, message.topic, offset))
}

/// Before the first audit: consecutive publications of one topic to one client who never was uncertain of its subscriptions, in pairs.
fn pairs(notes: &[Note]) -> Vec<(usize, usize)> {
    let calm = find(notes, |note| matches!(note.event, Event::Rest { audited: true } | Event::Stopping { .. }));
    let notes = &notes[..calm.unwrap_or(notes.len())];
    let loud: Vec<u32> = loud(notes);
    let messages: Vec<_> = notes.iter().enumerate().filter_map(|(at, note)| Some((at, message(note)?))).collect();
    let follows = |(client, topic, offset): &(u32, String, u64), other: &(u32, String, u64)| {
        (client, topic, offset + 1) == (&other.0, &other.1, other.2)
    };
    let mut pairs = Vec::new();
    for (at, it) in messages.iter().filter(|(_, it)| loud.contains(&it.0)) {
        pairs.extend(messages.iter().find(|(_, other)| follows(it, other)).map(|(second, _)| (*at, *second)));
    }
    pairs
}

/// Clients that subscribe with ids only, and never unsubscribe, go or fall silent.
fn loud(notes: &[Note]) -> Vec<u32> {
    let mut loud: Vec<u32> =
        notes.iter().filter(|note| is_op(note, "welcome")).filter_map(|note| Some(object(note)?.0)).collect();
    for note in notes {
        match &note.event {
            Event::Sent {
                client,
                what: Sent::Subscribe { id: None, .. } | Sent::Unsubscribe { .. } | Sent::End(_),
                ..
            }
            | Event::Lapsed { client } => loud.retain(|it| it != client),
            _ => {}
        }
    }
    loud
}

/// The JSON text of a frame with some text of it replaced.
fn replace(note: &mut Note, from: &str, to: &str) {
    if let Event::Got { frame: Frame::Text(json), .. } = &mut note.event {
        *json = String::from_utf8_lossy(json).replacen(from, to, 1).into_bytes();
    }
}

/// Where the command stands that a reply answers.
fn asked(notes: &[Note], reply: usize) -> Option<usize> {
    let (replied, object) = object(&notes[reply])?;
    let text = object["id"].to_string();
    notes[..reply].iter().rposition(|note| match &note.event {
        Event::Sent { client, what, .. } => *client == replied && what.id() == Some(&text),
        _ => false,
    })
}

/// That command.
fn ask(notes: &[Note], reply: usize) -> Option<&Sent> {
    match &notes[asked(notes, reply)?].event {
        Event::Sent { what, .. } => Some(what),
        _ => None,
    }
}

fn find(notes: &[Note], is: impl Fn(&Note) -> bool) -> Option<usize> {
    notes.iter().position(is)
}

/// The first client whose welcome stands in the notes, and the place behind it.
fn welcomed(notes: &[Note]) -> Option<(u32, usize)> {
    let at = find(notes, |note| is_op(note, "welcome"))?;
    Some((object(&notes[at])?.0, at + 1))
}

fn insert(notes: &mut Vec<Note>, at: usize, event: Event) {
    let note = Note { event, ..notes[at - 1].clone() };
    notes.insert(at, note);
}

/// Where the publication of a message was sent, and its number.
fn sent(notes: &[Note], message: usize) -> Option<(usize, u64)> {
    let unique = object(&notes[message])?.1["data"]["n"].to_string();
    notes.iter().enumerate().find_map(|(at, note)| match &note.event {
        Event::Sent { seq, what: Sent::Publish { payload, .. }, .. } => {
            String::from_utf8_lossy(payload).contains(&unique).then_some((at, *seq))
        }
        _ => None,
    })
}
