//! What a home tells one shard, and the parcel that carries a turn's worth of it.
//!
//! A parcel is two allocations however many items it holds: names and payloads stand in one byte string and items refer
//! to them by [`Span`]. It is also the form in which commands travel to a home (`mesh`).

use std::sync::Arc;

use smallvec::SmallVec;

use super::history::Piece;
use super::{Answer, Batch};
use crate::ids::{ConnId, ShardId};
use crate::protocol::{Id, Position};
use crate::rules::Access;

/// Bytes `start..end` of the parcel's (or batch's) byte string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// Length in bytes.
    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The bytes themselves.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// The text itself. The span must have been made of a `str`.
    #[must_use]
    pub fn text(self, bytes: &[u8]) -> &str {
        std::str::from_utf8(self.of(bytes)).expect("the span was kept from a str")
    }

    /// The place at the end of `bytes` where `len` more will stand.
    #[must_use]
    pub fn at_end(bytes: &[u8], len: usize) -> Self {
        let start = u32::try_from(bytes.len()).expect("batches and parcels stay far below 4 GiB");
        Self { start, end: start + u32::try_from(len).expect("a message is far below 4 GiB") }
    }
}

/// Items in order, and the bytes that they refer to.
#[derive(Debug)]
pub struct Parcel<T> {
    /// What happened, in order.
    pub items: Vec<T>,
    /// What the items' spans point into.
    pub bytes: Vec<u8>,
}

impl<T> Default for Parcel<T> {
    fn default() -> Self {
        Self { items: Vec::new(), bytes: Vec::new() }
    }
}

impl<T> Parcel<T> {
    /// Copies bytes in, to be referred to by an item.
    pub fn keep(&mut self, bytes: &[u8]) -> Span {
        let span = Span::at_end(&self.bytes, bytes.len());
        self.bytes.extend_from_slice(bytes);
        span
    }

    /// Whether there is anything to carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// One thing that a home tells a shard. The order within a parcel is the order that subscribers see.
#[derive(Debug)]
pub enum Delivery {
    /// Publications: those runs of the batch that concern this shard.
    Batch {
        /// The turn's encoded publications, shared by all shards concerned.
        batch: Arc<Batch>,
        /// Indices into `batch.runs`.
        runs: SmallVec<[u32; 4]>,
    },
    /// Answers a subscribe: deliveries of the topic begin right after this.
    Subscribed(Box<Subscribed>),
    /// Answers a subscribe that is refused: nothing will be delivered; the reason follows.
    Unsubscribed {
        /// The one who asked.
        conn: ConnId,
        /// The shard's slot of the filter.
        slot: u32,
        /// Its slot of who comes and goes, if that was asked for.
        watch: Option<u32>,
        /// The shard's number of the subscribe.
        serial: u32,
    },
    /// Answers a command that the home does not carry out.
    Refused {
        /// The one who asked.
        conn: ConnId,
        /// What it called the command.
        id: Id,
        /// Why not.
        refusal: Refusal,
    },
    /// Answers a question for kept publications.
    History {
        /// The one who asked.
        conn: ConnId,
        /// What it called the command.
        id: Id,
        /// The topic's name.
        topic: Span,
        /// The topic's last position.
        position: Position,
        /// The elements of the list, as JSON.
        messages: Span,
    },
    /// Answers a question for members.
    Presence {
        /// The one who asked.
        conn: ConnId,
        /// The whole answer, as JSON.
        ack: Span,
    },
    /// Answers a watch: this home will deliver all that matches from here on.
    Watching {
        /// The shard's slot of the filter.
        slot: u32,
    },
    /// Answers a publish that carried an `id`, with the position of the first publication of its key.
    Published {
        /// The publisher.
        conn: ConnId,
        /// What the publisher called it.
        id: Id,
        /// The topic's name.
        topic: Span,
        /// The position it was given.
        position: Position,
    },
    /// The part of this home's shard in the answer to a question of an operator.
    Surveyed {
        /// The asking shard's number of the question.
        serial: u64,
        /// Whose part it is.
        shard: ShardId,
        /// It.
        answer: Box<Answer>,
    },
    /// The topic has a new rule, and the shard has subscribers of its name: who of them it admits, and whether it wants to
    /// know who is there.
    Ruled {
        /// The topic's name.
        topic: Span,
        /// Who may subscribe.
        access: Access,
        /// Whether its home keeps members.
        presence: bool,
    },
    /// Nothing comes from this home any more: the broker stops.
    Final,
}

/// A subscription as its home sees it begin.
#[derive(Debug)]
pub struct Subscribed {
    /// The subscriber.
    pub conn: ConnId,
    /// The shard's slot of the filter.
    pub slot: u32,
    /// Its slot of who comes and goes, if that was asked for: events begin right after this, too.
    pub watch: Option<u32>,
    /// The shard's number of the subscribe.
    pub serial: u32,
    /// What the subscriber called it.
    pub id: Id,
    /// The topic's last position before live begins.
    pub position: Position,
    /// Whether the replay is everything since the position asked for, if one was.
    pub recovered: Option<bool>,
    /// What is sent before live begins.
    pub replay: Vec<Piece>,
    /// Whether it is a member now, so that its home wants to know when it leaves.
    pub presence: bool,
}

/// Why a home does not do what a command asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The rule's `publish`.
    Publish,
    /// The rule's `subscribe`.
    Subscribe,
    /// The rule keeps no history.
    NoHistory,
    /// The rule has no presence.
    NoPresence,
    /// The `since` of a `history` is of another life of the topic's counter, or of no publication yet.
    NoSuchPosition,
    /// The answers of this turn to questions for history and members are long enough.
    TooMuch,
    /// What is remembered here belongs to a successor: nothing is published any more.
    Draining,
}

impl Refusal {
    /// As an error code of the protocol.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Publish | Self::Subscribe => 403,
            Self::NoHistory | Self::NoPresence => 404,
            Self::NoSuchPosition => 400,
            Self::TooMuch => 429,
            Self::Draining => 503,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Publish => "topic: its rule does not let you publish to it",
            Self::Subscribe => "topic: its rule does not let you read it",
            Self::NoHistory => "topic: its rule keeps no history",
            Self::NoPresence => "topic: its rule has no presence",
            Self::NoSuchPosition => "since: the topic has no such position; ask without it",
            Self::Draining => "op: the broker is draining and publishes nothing more; connect again",
            Self::TooMuch => "op: too much is asked for at once; ask again",
        })
    }
}
