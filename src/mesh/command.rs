//! What a shard asks of a home on another shard. Names and payloads stand in the parcel's bytes.

use crate::home::{From, Span};
use crate::ids::ConnId;
use crate::protocol::{Id, Position};

/// One command to a home; the parcel's sender is the shard that asks.
#[derive(Debug)]
pub enum Command {
    /// Publish to a topic of this home.
    Publish {
        /// The topic's name.
        topic: Span,
        /// The payload as its publisher wrote it.
        payload: Span,
        /// Whether the payload is bytes instead of a JSON value.
        binary: bool,
        /// The publisher.
        conn: ConnId,
        /// What it called the command; [`Id::None`] asks for no answer.
        id: Id,
        /// Whether the publisher gets its own publication.
        echo: bool,
        /// Its idempotency key.
        key: Option<Span>,
    },
    /// A connection subscribes to a topic of this home: answered by `Delivery::Subscribed`.
    Subscribe {
        /// The topic's name.
        topic: Span,
        /// The subscriber.
        conn: ConnId,
        /// The asking shard's slot of the filter.
        slot: u32,
        /// The asking shard's number of this subscribe.
        serial: u32,
        /// What the subscriber called it.
        id: Id,
        /// What it wants of the past.
        from: From,
    },
    /// A connection asks for kept publications: answered by `Delivery::History` or `Delivery::Refused`.
    History {
        /// The topic's name.
        topic: Span,
        /// The one who asks.
        conn: ConnId,
        /// What it called the command.
        id: Id,
        /// Only what is after this position; before it, if `reverse`.
        since: Option<Position>,
        /// At most so many.
        limit: usize,
        /// The newest first.
        reverse: bool,
    },
    /// The shard holds no subscriber of this topic any more.
    Release {
        /// The topic's name.
        topic: Span,
    },
    /// The shard wants all topics that match: answered by `Delivery::Watching`.
    Watch {
        /// The wildcard filter.
        filter: Span,
        /// The asking shard's slot of the filter.
        slot: u32,
    },
    /// The shard does not want them any more.
    Unwatch {
        /// The wildcard filter.
        filter: Span,
    },
    /// Nothing comes from this shard any more: the broker stops.
    Stop,
}
