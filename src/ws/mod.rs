//! RFC 6455 and 7692 without I/O: bytes in, events out, and the frames that answer them.
//!
//! `transport` hands every read to a [`Decoder`] and turns its [`Event`]s into commands; it frames replies and
//! publications with [`encode`]. `net` runs [`handshake`] before that. The load test and the command line use the
//! client role of the same code. Nothing here knows a socket, a clock or a random source: keys are arguments.

mod ahead;
mod body;
mod client_handshake;
mod close;
mod decoder;
pub mod deflate;
pub mod encode;
mod frame;
pub mod handshake;
mod message;
mod spares;
mod utf8;
mod violation;

pub use ahead::Ahead;
pub use body::Body;
pub use close::is_valid_code;
pub use decoder::{Decoder, Event, Input};
pub use spares::Spares;
pub use violation::Violation;

/// Which side of the connection *we* are. RFC 6455 5.1: clients mask, servers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection: every frame we read must be masked.
    Server,
    /// We opened the connection: no frame we read may be masked.
    Client,
}

/// What a message's payload is (RFC 6455 5.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8, checked.
    Text,
    /// Any bytes.
    Binary,
}

/// The frame types of RFC 6455 11.8; all other numbers are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the message under way.
    Continuation = 0,
    /// A text message or its first fragment.
    Text = 1,
    /// A binary message or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping, or is a heartbeat nobody asked for.
    Pong = 10,
}

impl Opcode {
    /// Control frames may stand between the fragments of a message (RFC 6455 5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

impl From<Kind> for Opcode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}

/// RFC 6455 5.5: a control frame's payload is at most 125 bytes.
pub const CONTROL_PAYLOAD_MAX: usize = 125;
