//! Where a subscriber over HTTP is in each of its topics: the id of its events, the `next` of its polls.

use smallvec::SmallVec;

use crate::protocol::{Position, publication};
use crate::topic::Filter;
use crate::transport::events;

/// By topic, in the order in which the request named them. One is kept in place: most requests name no more, and a poll
/// keeps it for as long as it waits.
#[derive(Debug, Default)]
pub(in crate::shard) struct Places(SmallVec<[Place; 1]>);

#[derive(Debug)]
struct Place {
    /// The topic's name as a JSON string.
    topic: Box<[u8]>,
    /// The last publication; none for a filter with wildcards, which has no such place.
    position: Option<Position>,
}

/// What an event is to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) enum Noted {
    /// A publication that it did not have.
    New,
    /// One that it has.
    Known,
    /// No publication.
    Other,
}

impl Places {
    /// Room for so many topics and no more.
    pub(in crate::shard) fn of(topics: usize) -> Self {
        Self(SmallVec::with_capacity(topics))
    }

    /// Adds a topic.
    pub(in crate::shard) fn push(&mut self, filter: Filter<'_>, position: Option<Position>) {
        self.0.push(Place { topic: publication::quoted(filter.as_str()), position });
    }

    /// How many topics there are.
    pub(in crate::shard) fn len(&self) -> usize {
        self.0.len()
    }

    /// Notes that an event was delivered. Publications of a filter with wildcards have no place.
    pub(in crate::shard) fn note(&mut self, event: &[u8]) -> Noted {
        let Some((position, topic)) = events::publication_of(event) else { return Noted::Other };
        for place in self.0.iter_mut().filter(|place| *place.topic == *topic) {
            if let Some(before) = &mut place.position {
                if before.epoch == position.epoch && before.offset >= position.offset {
                    return Noted::Known;
                }
                *before = position;
            }
        }
        Noted::New
    }

    /// Notes the event that `made[start..]` is, and says in it where that leaves the subscriber. One that it knows is
    /// taken out: a filter brought it before the topic's own replay did.
    pub(super) fn mark(&mut self, made: &mut Vec<u8>, start: usize) {
        match self.note(&made[start..]) {
            Noted::Other => {}
            Noted::Known => made.truncate(start),
            Noted::New => {
                made.pop(); // of the two line feeds that end it
                made.extend_from_slice(b"id: ");
                made.extend_from_slice(self.to_string().as_bytes());
                made.extend_from_slice(b"\n\n");
            }
        }
    }
}

/// Separated by commas; where there is none, nothing.
impl std::fmt::Display for Places {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, place) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            if let Some(position) = place.position {
                write!(f, "{position}")?;
            }
        }
        Ok(())
    }
}
