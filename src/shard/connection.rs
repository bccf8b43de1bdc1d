//! One connection's state on its shard, and every way for it to end.
//!
//! ```text
//! Handshake ──101──> Open ──our Close──> Closing ──peer's Close──┐
//!     │                └──peer's Close, or it broke the RFC──────┤
//!     └──any other HTTP answer──────────────────────────────> Lingering ──end of stream, or deadline──> gone
//! ```
//! Lingering: what waits is written, then our side is shut down and input is thrown away until the peer ends too, so that
//! our last bytes are not lost to a reset. A deadline stands behind every phase.

use std::rc::Rc;

use crate::ids::Tick;
use crate::rules::Permit;
use crate::ws::{Decoder, Role};

/// Where a connection stands; see the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a whole HTTP head.
    Handshake,
    /// Speaks WebSocket.
    Open,
    /// We sent a Close frame and wait for the peer's.
    Closing,
    /// All is said.
    Lingering,
}

/// Why a connection ended. Counted, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseReason {
    /// The peer closed by a Close frame.
    PeerClosed,
    /// The peer ended its stream without one.
    PeerGone,
    /// The socket failed.
    Reset,
    /// The peer broke RFC 6455.
    Violation,
    /// Its pending publications passed `outbound_bytes_max` (4008).
    SlowConsumer,
    /// It did not answer a ping (4009).
    HeartbeatMissed,
    /// No whole upgrade request in `handshake_ms_max`.
    HandshakeTimeout,
    /// A plain HTTP request was answered.
    HttpAnswered,
    /// An upgrade or a malformed head was refused with an HTTP problem.
    HttpRefused,
    /// The broker stops (1001).
    Stopping,
}

impl CloseReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::PeerClosed,
        Self::PeerGone,
        Self::Reset,
        Self::Violation,
        Self::SlowConsumer,
        Self::HeartbeatMissed,
        Self::HandshakeTimeout,
        Self::HttpAnswered,
        Self::HttpRefused,
        Self::Stopping,
    ];

    /// In a few words, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PeerClosed => "closed by the peer",
            Self::PeerGone => "peer gone",
            Self::Reset => "reset",
            Self::Violation => "broke RFC 6455",
            Self::SlowConsumer => "slow consumer",
            Self::HeartbeatMissed => "heartbeat missed",
            Self::HandshakeTimeout => "handshake timeout",
            Self::HttpAnswered => "HTTP answered",
            Self::HttpRefused => "HTTP refused",
            Self::Stopping => "stopping",
        }
    }
}

/// The bytes of a head that has not arrived whole.
#[derive(Debug, Default)]
pub(super) struct PartialHead(pub(super) Vec<u8>);

/// The user behind a connection.
#[derive(Debug)]
pub(super) struct User {
    /// As every `from` and every list of members names it.
    pub(super) name: Box<str>,
}

/// The fat record of a connection; what a fan-out touches lives elsewhere (`outbound`).
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) decoder: Decoder,
    /// In a box, because hardly any connection has one.
    pub(super) head: Option<Box<PartialHead>>,
    /// Whom it has authenticated as; thin, because most connections of many a broker have nobody.
    pub(super) user: Option<Rc<User>>,
    /// When the peer last sent anything.
    pub(super) seen: Tick,
    /// Open: its place in the heartbeat interval or, if pinged, when the pong must have come. Otherwise: when the phase
    /// must be over.
    pub(super) deadline: Tick,
    pub(super) phase: Phase,
    /// Set with the first event that ends it.
    pub(super) reason: Option<CloseReason>,
    /// Answers each message with itself (`/echo`).
    pub(super) echo: bool,
    /// A ping is on its way.
    pub(super) pinged: bool,
    /// Reading pauses until its replies are written.
    pub(super) paused: bool,
    /// The peer ended its stream.
    pub(super) ended: bool,
    /// Our side was shut down.
    pub(super) shut: bool,
}

impl Connection {
    /// Who it is to a topic's rule.
    pub(super) fn permit(&self) -> Permit {
        Permit { user: self.user.is_some(), granted: false }
    }

    pub(super) fn new(now: Tick, deadline: Tick) -> Self {
        Self {
            decoder: Decoder::new(Role::Server),
            head: None,
            user: None,
            seen: now,
            deadline,
            phase: Phase::Handshake,
            reason: None,
            echo: false,
            pinged: false,
            paused: false,
            ended: false,
            shut: false,
        }
    }
}

const _: () = assert!(size_of::<Connection>() <= 64, "an idle connection stays small");
