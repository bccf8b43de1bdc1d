//! An estate: what the homes of a broker remember, as bytes for the broker that takes its place.
//!
//! `bequeath` writes it, [`Reader`] checks it and makes a [`Bequest`] of each topic, `inherit` places these; `net` carries
//! the bytes. It is a row of records: a length, a kind, a body, all numbers little-endian. Publications are in it as what was
//! published and not as frames, ages and windows as spans and not as times, so that it means the same under other code, seeds,
//! clocks and rules. Invariant of a bequest: its publications have no hole and end with the topic's newest. Whoever changes
//! a body changes [`VERSION`].

mod reader;

pub use reader::{Fault, Reader};

use std::collections::VecDeque;

use crate::limits;
use crate::protocol::Payload;
use crate::protocol::publication;
use crate::topic::Topic;

/// Which form of an estate this code writes and reads.
pub const VERSION: u8 = 1;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A topic begins: epoch, offset, whether it had subscribers, name.
    Topic = 1,
    /// Kept publications of it, from the oldest on: the offset of the first, then each.
    Publications = 2,
    /// Idempotency keys of it, each with offset and window.
    Keys = 3,
    /// That was all of the topic.
    TopicEnd = 4,
    /// That was all of one home: how many topics it had.
    HomeEnd = 5,
    /// That was all: how many homes there were.
    End = 6,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Topic, Self::Publications, Self::Keys, Self::TopicEnd, Self::HomeEnd, Self::End];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// One topic, whole, as its former home left it.
#[derive(Debug)]
pub struct Bequest {
    name: Box<str>,
    pub(super) epoch: u32,
    /// Of the last publication.
    pub(super) offset: u64,
    /// It had subscribers, who may come back.
    pub(super) awaited: bool,
    /// Bodies of checked records.
    pub(super) publications: VecDeque<Vec<u8>>,
    pub(super) keys: Vec<Vec<u8>>,
}

impl Bequest {
    /// Which topic it is.
    #[must_use]
    pub fn topic(&self) -> Topic<'_> {
        Topic::known(&self.name)
    }
}

/// A kept publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept<'a> {
    /// How long ago it was published when the home froze, in ticks.
    pub(super) age: u32,
    /// The member that names its publisher.
    pub(super) from: &'a [u8],
    pub(super) payload: Payload<'a>,
}

/// An idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// Of the publication that was made with it.
    pub(super) offset: u64,
    /// How much of its window was left when the home froze, in ticks.
    pub(super) left: u32,
    pub(super) key: &'a str,
}

/// Appends a record whose body `write` appends.
fn record(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind as u8);
    write(out);
    let len = u32::try_from(out.len() - start - 4).expect("at most ESTATE_RECORD_BYTES_MAX");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

pub(super) fn write_topic(out: &mut Vec<u8>, name: &str, epoch: u32, offset: u64, awaited: bool) {
    record(out, Kind::Topic, |out| {
        out.extend_from_slice(&epoch.to_le_bytes());
        out.extend_from_slice(&offset.to_le_bytes());
        out.push(awaited.into());
        out.extend_from_slice(name.as_bytes());
    });
}

/// Writes as many as fill a record, one at least. Returns the offset of the next one, if there are more.
pub(super) fn write_publications<'a>(
    out: &mut Vec<u8>,
    publications: impl Iterator<Item = (u64, Kept<'a>)>,
) -> Option<u64> {
    let mut publications = publications.peekable();
    let first = publications.peek()?.0;
    record(out, Kind::Publications, |out| {
        out.extend_from_slice(&first.to_le_bytes());
        let start = out.len();
        while let Some((_, Kept { age, from, payload })) = publications.next_if(|_| out.len() - start < FULL) {
            let (binary, bytes) = match payload {
                Payload::Json(bytes) => (false, bytes),
                Payload::Binary(bytes) => (true, bytes),
            };
            out.extend_from_slice(&age.to_le_bytes());
            out.push(binary.into());
            let from_len = u16::try_from(from.len()).expect("six times USER_BYTES_MAX and some");
            out.extend_from_slice(&from_len.to_le_bytes());
            let len = u32::try_from(bytes.len()).expect("a message is far below 4 GiB");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(from);
            out.extend_from_slice(bytes);
        }
    });
    publications.peek().map(|(offset, _)| *offset)
}

/// Writes all of them, in as many records as it takes.
pub(super) fn write_keys<'a>(out: &mut Vec<u8>, keys: impl Iterator<Item = Key<'a>>) {
    let mut keys = keys.peekable();
    while keys.peek().is_some() {
        record(out, Kind::Keys, |out| {
            let start = out.len();
            while let Some(Key { offset, left, key }) = keys.next_if(|_| out.len() - start < FULL) {
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&left.to_le_bytes());
                out.push(u8::try_from(key.len()).expect("at most KEY_BYTES_MAX"));
                out.extend_from_slice(key.as_bytes());
            }
        });
    }
}

pub(super) fn write_topic_end(out: &mut Vec<u8>) {
    record(out, Kind::TopicEnd, |_| {});
}

pub(super) fn write_home_end(out: &mut Vec<u8>, topics: u64) {
    record(out, Kind::HomeEnd, |out| out.extend_from_slice(&topics.to_le_bytes()));
}

/// Appends what follows the last home's record.
pub fn write_end(out: &mut Vec<u8>, homes: u64) {
    record(out, Kind::End, |out| out.extend_from_slice(&homes.to_le_bytes()));
}

const FULL: usize = limits::ESTATE_RECORD_BYTES;
const _: () = assert!(limits::KEY_BYTES_MAX <= u8::MAX as usize);

/// The offset of the first publication of a record's body, and the body's entries.
fn publications_of(body: &[u8]) -> Option<(u64, Fields<'_>)> {
    let mut fields = Fields(body);
    Some((fields.u64()?, fields))
}

/// The publications of a checked body, with their offsets.
pub(super) fn publications(body: &[u8]) -> impl Iterator<Item = (u64, Kept<'_>)> {
    let (first, mut fields) = publications_of(body).unwrap_or_default();
    (first..).zip(std::iter::from_fn(move || fields.publication()))
}

/// The keys of a checked body.
pub(super) fn keys(body: &[u8]) -> impl Iterator<Item = Key<'_>> {
    let mut fields = Fields(body);
    std::iter::from_fn(move || fields.key())
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, Default)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn topic(mut self) -> Option<Bequest> {
        let (epoch, offset, awaited) = (self.u32()?, self.u64()?, self.flag()?);
        let name = std::str::from_utf8(self.0).ok()?;
        let topic = Topic::parse(name).ok().filter(|topic| !topic.is_broker())?;
        let (publications, keys) = (VecDeque::new(), Vec::new());
        Some(Bequest { name: topic.as_str().into(), epoch, offset, awaited, publications, keys })
    }

    /// What it says is JSON is text; that it is JSON is believed.
    fn publication(&mut self) -> Option<Kept<'a>> {
        let (age, binary) = (self.u32()?, self.flag()?);
        let from_len = self.array().map(u16::from_le_bytes)?;
        let len = self.u32()? as usize;
        let from = self.bytes(from_len.into()).filter(|from| publication::is_from(from))?;
        let bytes = self.bytes(len)?;
        let payload = if binary { Payload::Binary(bytes) } else { Payload::Json(bytes) };
        (binary || (len > 0 && simdutf8::basic::from_utf8(bytes).is_ok())).then_some(Kept { age, from, payload })
    }

    fn key(&mut self) -> Option<Key<'a>> {
        let (offset, left, [len]) = (self.u64()?, self.u32()?, self.array()?);
        let key = self.bytes(len.into()).filter(|key| (1..=limits::KEY_BYTES_MAX).contains(&key.len()))?;
        Some(Key { offset, left, key: std::str::from_utf8(key).ok()? })
    }
}

#[cfg(test)]
mod tests;
