//! What happened in a run, as far as the model may know: what clients sent and got, and what befell their sockets.
//!
//! The world makes notes of these, the model judges them. A recorded list of notes can be changed and judged again, which
//! is how the oracles are shown to be able to fail.

use std::fmt;

/// One thing that happened, and when.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Steps since the run began.
    pub(crate) step: u64,
    /// The time of the simulated clock, in milliseconds.
    pub(crate) ms: u64,
    pub(crate) event: Event,
}

/// See the module's page. Clients have numbers that are never used twice.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// The client opened a connection, and wants this status in answer to its request.
    Asked { client: u32, status: u16 },
    /// It did so for a stream of events, each of which takes more than a frame.
    Listens { client: u32 },
    /// It put a command (or frame) into its stream, which is `end` bytes long with it. `seq` numbers its commands.
    Sent { client: u32, seq: u64, end: u64, what: Sent },
    /// Its shard heard of it: an accept, bytes, or room in its socket.
    Heard { client: u32 },
    /// Its socket took less than was offered.
    Blocked { client: u32 },
    /// It reset or half closed its stream, or does not answer: the broker may end it without a word.
    Lapsed { client: u32 },
    /// The client read and decoded this.
    Got { client: u32, frame: Frame },
    /// Its stream is over: orderly (our side was shut down), and in the middle of a frame or not.
    Ended { client: u32, clean: bool, torn: bool },
    /// More than `outbound_bytes_max` bytes waited for it at the end of a turn.
    Pending { client: u32, bytes: usize },
    /// A home counted so many publications as forgotten before their time, or kept more than its share, in this turn.
    Kept { evicted: u64, bytes: usize },
    /// Its shard begins to stop, having read `read` bytes of it.
    Stopping { client: u32, read: u64 },
    /// Nothing moves any more and everybody reads: what is owed must be there. `audited`: every topic's last
    /// publication was acknowledged.
    Rest { audited: bool },
    /// The run is over.
    Finish,
}

/// What a client put into its stream.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Subscribe {
        filter: String,
        id: Option<String>,
        begin: Begin,
        /// It wants to be told who comes and goes.
        presence: bool,
    },
    Unsubscribe {
        filter: String,
        id: Option<String>,
    },
    Publish {
        topic: String,
        id: Option<String>,
        echo: bool,
        text: bool,
        payload: Vec<u8>,
        key: Option<String>,
        conflate: Option<String>,
    },
    History {
        topic: String,
        id: Option<String>,
        since: Option<String>,
        limit: u64,
        reverse: bool,
    },
    Presence {
        topic: String,
        id: Option<String>,
        limit: u64,
        after: Option<String>,
        /// Nothing moves besides until the last page is there.
        still: bool,
    },
    Ping {
        id: Option<String>,
    },
    /// A command that is refused with this code.
    Wrong {
        code: u16,
        id: Option<String>,
    },
    /// A ping frame.
    PingFrame(Vec<u8>),
    /// A Close frame, or what breaks RFC 6455: either way the broker's Close must have this code.
    End(Option<u16>),
}

/// Where a subscription is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Now,
    /// After this position.
    Since(String),
    /// With so many of the last.
    Last(u64),
}

/// What a client got.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The status of the answer to its request.
    Http(u16),
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// Bytes behind the Close frame, or that are no frames.
    Garbage(String),
}

impl Sent {
    /// The id of a command, as it was written.
    pub(crate) fn id(&self) -> Option<&String> {
        match self {
            Self::Subscribe { id, .. }
            | Self::Unsubscribe { id, .. }
            | Self::Publish { id, .. }
            | Self::History { id, .. }
            | Self::Presence { id, .. }
            | Self::Ping { id }
            | Self::Wrong { id, .. } => id.as_ref(),
            Self::PingFrame(_) | Self::End(_) => None,
        }
    }
}

impl Note {
    /// Whether somebody may join a topic by it, or leave one or all.
    pub(crate) fn may_come_or_go(&self) -> bool {
        let subscribes = |what: &Sent| matches!(what, Sent::Subscribe { .. } | Sent::Unsubscribe { .. });
        matches!(&self.event, Event::Sent { what, .. } if subscribes(what))
    }

    /// Too frequent to be shown to people.
    pub(crate) fn is_noise(&self) -> bool {
        matches!(self.event, Event::Heard { .. } | Event::Blocked { .. })
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe { filter, id, begin, presence } => {
                write!(f, "subscribe {filter} id {id:?} {begin:?} presence {presence}")
            }
            Self::Unsubscribe { filter, id } => write!(f, "unsubscribe {filter} id {id:?}"),
            Self::Publish { topic, id, echo, payload, key, conflate, .. } => {
                let excerpt = Excerpt(payload);
                write!(f, "publish {topic} id {id:?} echo {echo} key {key:?} conflate {conflate:?} {excerpt}")
            }
            Self::History { topic, id, since, limit, reverse } => {
                write!(f, "history {topic} id {id:?} since {since:?} limit {limit} reverse {reverse}")
            }
            Self::Presence { topic, id, limit, after, still } => {
                write!(f, "presence {topic} id {id:?} limit {limit} after {after:?} still {still}")
            }
            Self::Ping { id } => write!(f, "ping id {id:?}"),
            Self::Wrong { code, id } => write!(f, "wrong, for {code}, id {id:?}"),
            Self::PingFrame(payload) => write!(f, "ping frame {}", Excerpt(payload)),
            Self::End(code) => write!(f, "end, for {code:?}"),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Text(bytes) => write!(f, "text {}", Excerpt(bytes)),
            Self::Binary(bytes) => write!(f, "binary {}", Excerpt(bytes)),
            Self::Ping => f.write_str("ping frame"),
            Self::Pong(bytes) => write!(f, "pong frame {}", Excerpt(bytes)),
            Self::Close(code) => write!(f, "close {code:?}"),
            Self::Garbage(what) => write!(f, "garbage: {what}"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {:5} {:7} ms  {:?}", self.step, self.ms, self.event)
    }
}

/// The first bytes, for people.
struct Excerpt<'a>(&'a [u8]);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(110)];
        write!(f, "({} bytes) {}", self.0.len(), String::from_utf8_lossy(shown).escape_debug())
    }
}
