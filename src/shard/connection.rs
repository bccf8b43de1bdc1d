//! One connection's state on its shard, and every way for it to end.
//!
//! ```text
//! Http ───────101──> Open ──our Close──> Closing ──peer's Close──┐
//!     │                └──peer's Close, or it broke the RFC──────┤
//!     └──any other HTTP answer──────────────────────────────> Lingering ──end of stream, or deadline──> gone
//! ```
//! Lingering: what waits is written, then our side is shut down and input is thrown away until the peer ends too, so that
//! our last bytes are not lost to a reset. A deadline stands behind every phase.

use std::rc::Rc;

use super::identity::User;
use crate::http::Reader;
use crate::ids::Tick;
use crate::ws::Decoder;
use crate::ws::deflate::Agreement;

/// Where a connection stands; see the module's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Speaks HTTP.
    Http,
    /// Speaks WebSocket, or listens to events.
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
    /// No whole request in `handshake_ms_max`.
    HandshakeTimeout,
    /// A connection of HTTP was kept open, and no further request began in `handshake_ms_max`.
    Idle,
    /// A plain HTTP request was answered.
    HttpAnswered,
    /// An upgrade or a malformed head was refused with an HTTP problem.
    HttpRefused,
    /// The broker stops (1001).
    Stopping,
    /// Its token expired and was not refreshed (4001).
    TokenExpired,
    /// Its token was refused, or none came (4501).
    TokenRefused,
    /// It went on for too long with more commands than its rate (4029).
    TooFast,
    /// An operator ended it (4503).
    Revoked,
}

impl CloseReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 15] = [
        Self::PeerClosed,
        Self::PeerGone,
        Self::Reset,
        Self::Violation,
        Self::SlowConsumer,
        Self::HeartbeatMissed,
        Self::HandshakeTimeout,
        Self::Idle,
        Self::HttpAnswered,
        Self::HttpRefused,
        Self::Stopping,
        Self::TokenExpired,
        Self::TokenRefused,
        Self::TooFast,
        Self::Revoked,
    ];

    /// In one word, for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::PeerGone => "peer_gone",
            Self::Reset => "reset",
            Self::Violation => "violation",
            Self::SlowConsumer => "slow_consumer",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Idle => "idle",
            Self::HttpAnswered => "http_answered",
            Self::HttpRefused => "http_refused",
            Self::Stopping => "stopping",
            Self::TokenExpired => "token_expired",
            Self::TokenRefused => "token_refused",
            Self::TooFast => "too_fast",
            Self::Revoked => "revoked",
        }
    }

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
            Self::Idle => "idle",
            Self::HttpAnswered => "HTTP answered",
            Self::HttpRefused => "HTTP refused",
            Self::Stopping => "stopping",
            Self::TokenExpired => "token expired",
            Self::TokenRefused => "token refused",
            Self::TooFast => "too fast",
            Self::Revoked => "ended by an operator",
        }
    }
}

/// What the bytes of a connection are.
#[derive(Debug)]
pub(super) enum Speech {
    /// Requests; so it begins.
    Http(Reader),
    /// Frames.
    WebSocket(Decoder),
    /// Nothing more: it listens to a stream of events.
    Events,
}

/// The fat record of a connection; what a fan-out touches lives elsewhere (`outbound`).
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) speech: Speech,
    /// Whom it has authenticated as; thin, because most connections of many a broker have nobody.
    pub(super) user: Option<Rc<User>>,
    /// Of its [`ConnId`](crate::ids::ConnId).
    pub(super) generation: u32,
    /// When it was accepted.
    pub(super) came: Tick,
    /// When the peer last sent anything.
    pub(super) seen: Tick,
    /// Open: its place in the heartbeat interval or, if pinged, when the pong must have come. Otherwise: when the phase
    /// must be over.
    pub(super) deadline: Tick,
    /// Open: when its identity ends, or must have been given.
    pub(super) until: Tick,
    pub(super) phase: Phase,
    /// Set with the first event that ends it.
    pub(super) reason: Option<CloseReason>,
    /// How it may be sent compressed messages, if at all.
    pub(super) deflate: Option<Agreement>,
    /// Answers each message with itself (`/echo`).
    pub(super) echo: bool,
    /// A ping is on its way.
    pub(super) pinged: bool,
    /// Reading pauses until its replies are written.
    pub(super) paused: bool,
    /// A request of it was answered, and it stayed open.
    pub(super) answered: bool,
    /// The peer ended its stream.
    pub(super) ended: bool,
    /// Our side was shut down.
    pub(super) shut: bool,
    /// What comes is decrypted here.
    pub(super) tls: bool,
}

impl Connection {
    pub(super) fn new(generation: u32, now: Tick, deadline: Tick, tls: bool) -> Self {
        Self {
            speech: Speech::default(),
            user: None,
            generation,
            came: now,
            seen: now,
            deadline,
            until: Tick(u32::MAX),
            phase: Phase::Http,
            reason: None,
            deflate: None,
            echo: false,
            pinged: false,
            paused: false,
            answered: false,
            ended: false,
            shut: false,
            tls,
        }
    }
}

const _: () = assert!(size_of::<Connection>() <= 64, "an idle connection stays small");
