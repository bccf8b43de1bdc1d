//! What a shard asks of another shard and of the home there. Names and payloads stand in the parcel's bytes.

use crate::home::{From, Parcel, Publish, Question, Span};
use crate::ids::{ClientName, ConnId, ShardId};
use crate::protocol::{Id, Payload, Position};
use crate::rules::Permit;
use crate::topic::Topic;
use crate::transport::Form;

/// One command to a home; the parcel's sender is the shard that asks.
#[derive(Debug)]
pub enum Command {
    /// Publish to a topic of this home.
    Publish(PackedPublish),
    /// A connection subscribes to a topic of this home: answered by `Delivery::Subscribed`.
    Subscribe {
        /// The topic's name.
        topic: Span,
        /// The subscriber.
        conn: ConnId,
        /// Its user.
        user: Option<Span>,
        /// Who it is to the topic's rule.
        permit: Permit,
        /// The asking shard's slot of the filter.
        slot: u32,
        /// The asking shard's slot of who comes and goes, if the subscriber wants to be told.
        watch: Option<u32>,
        /// The asking shard's number of this subscribe.
        serial: u32,
        /// What the subscriber called it.
        id: Id,
        /// What it wants of the past.
        from: From,
        /// How it is spoken to.
        form: Form,
    },
    /// A connection asks for kept publications: answered by `Delivery::History` or `Delivery::Refused`.
    History {
        /// The topic's name.
        topic: Span,
        /// The one who asks.
        conn: ConnId,
        /// Who it is to the topic's rule.
        permit: Permit,
        /// What it called the command.
        id: Id,
        /// Only what is after this position; before it, if `reverse`.
        since: Option<Position>,
        /// At most so many.
        limit: usize,
        /// The newest first.
        reverse: bool,
    },
    /// A connection asks for members: answered by `Delivery::Presence` or `Delivery::Refused`.
    Presence {
        /// The topic's name.
        topic: Span,
        /// The one who asks.
        conn: ConnId,
        /// What it called the command.
        id: Id,
        /// Who it is to the topic's rule.
        permit: Permit,
        /// At most so many.
        limit: usize,
        /// Only those behind this one.
        after: Option<ClientName>,
    },
    /// A connection does not subscribe to this topic any more: it is no member of it.
    Leave {
        /// The topic's name.
        topic: Span,
        /// The one who left.
        conn: ConnId,
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
        /// A form in which it wants them.
        form: Form,
    },
    /// The shard does not want them any more.
    Unwatch {
        /// The wildcard filter.
        filter: Span,
    },
    /// An operator asks: answered by `Delivery::Surveyed`.
    Survey {
        /// The asking shard's number of the question.
        serial: u64,
        /// What is asked.
        question: Box<Question>,
    },
    /// Nothing comes from this shard any more: the broker stops.
    Stop,
}

/// A [`Publish`] whose name, payload, user and key stand in a parcel's bytes.
#[derive(Debug)]
pub struct PackedPublish {
    topic: Span,
    payload: Span,
    /// Whether the payload is bytes instead of a JSON value.
    binary: bool,
    conn: ConnId,
    user: Option<Span>,
    permit: Permit,
    id: Id,
    echo: bool,
    key: Option<Span>,
    conflate: Option<Span>,
}

impl Parcel<Command> {
    /// Packs a publication in.
    pub fn push_publish(&mut self, publish: Publish<'_>) {
        let Publish { topic, payload, conn, user, permit, id, echo, key, conflate, .. } = publish;
        let topic = self.keep(topic.as_str().as_bytes());
        let (binary, bytes) = match payload {
            Payload::Json(bytes) => (false, bytes),
            Payload::Binary(bytes) => (true, bytes),
        };
        let payload = self.keep(bytes);
        let mut keep = |text: Option<&str>| text.map(|text| self.keep(text.as_bytes()));
        let (user, key, conflate) = (keep(user), keep(key), keep(conflate));
        let packed = PackedPublish { topic, payload, binary, conn, user, permit, id, echo, key, conflate };
        self.items.push(Command::Publish(packed));
    }
}

impl PackedPublish {
    /// The publication again; `bytes` are its parcel's, `shard` is the publisher's.
    #[must_use]
    pub fn unpack(self, bytes: &[u8], shard: ShardId) -> Publish<'_> {
        let payload = self.payload.of(bytes);
        Publish {
            topic: Topic::known(self.topic.text(bytes)),
            payload: if self.binary { Payload::Binary(payload) } else { Payload::Json(payload) },
            shard,
            conn: self.conn,
            user: self.user.map(|user| user.text(bytes)),
            permit: self.permit,
            id: self.id,
            echo: self.echo,
            key: self.key.map(|key| key.text(bytes)),
            conflate: self.conflate.map(|conflate| conflate.text(bytes)),
        }
    }
}
