//! Every way a peer can break RFC 6455 once the connection is open, with the close code and sentence that answer it.
//!
//! The decoder makes them, the shard turns them into a close frame. They carry nothing of the peer's bytes.

use std::fmt;

/// What the peer did wrong. The connection ends with [`Violation::close_code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// RSV1-3 set although no extension was negotiated that defines them (RFC 6455 5.2).
    ReservedBits,
    /// RSV1 on a frame that does not begin a message (RFC 7692 6.1).
    CompressedBit,
    /// Opcode 3-7 or 11-15 (RFC 6455 5.2).
    ReservedOpcode,
    /// A client's frame without a mask (RFC 6455 5.1).
    Unmasked,
    /// A server's frame with a mask (RFC 6455 5.1).
    Masked,
    /// A control frame without FIN (RFC 6455 5.5).
    ControlFragmented,
    /// A control frame of more than 125 bytes (RFC 6455 5.5).
    ControlTooLong,
    /// A payload length in more bytes than it needs (RFC 6455 5.2).
    LengthNotMinimal,
    /// A 64-bit payload length with its top bit set (RFC 6455 5.2).
    LengthTopBit,
    /// A continuation frame while no message is under way (RFC 6455 5.4).
    ContinuationWithoutStart,
    /// A new data frame before the last fragment of the message under way (RFC 6455 5.4).
    MessageInsideMessage,
    /// A close frame with a payload of one byte, which is no code (RFC 6455 5.5.1).
    ClosePayloadOfOneByte,
    /// A close code that must not be on the wire (RFC 6455 7.4).
    CloseCode,
    /// A close reason that is not UTF-8 (RFC 6455 5.5.1).
    CloseReasonNotUtf8,
    /// A text message that is not UTF-8 (RFC 6455 8.1).
    TextNotUtf8,
    /// A compressed message that is no DEFLATE (RFC 7692 7.2.2).
    DeflateData,
    /// A message longer than the receiver takes (RFC 6455 7.4.1).
    MessageTooBig,
}

impl Violation {
    /// The code for our close frame: 1002, 1007 or 1009 (RFC 6455 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::CloseReasonNotUtf8 | Self::TextNotUtf8 | Self::DeflateData => 1007,
            Self::MessageTooBig => 1009,
            _ => 1002,
        }
    }

    /// A sentence for our close frame, at most 123 bytes of ASCII.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits are set but no extension was negotiated",
            Self::CompressedBit => "RSV1 is set on a frame that does not begin a message",
            Self::ReservedOpcode => "the opcode is reserved",
            Self::Unmasked => "a client must mask its frames",
            Self::Masked => "a server must not mask its frames",
            Self::ControlFragmented => "a control frame must not be fragmented",
            Self::ControlTooLong => "a control frame has more than 125 bytes",
            Self::LengthNotMinimal => "the payload length is not in its shortest form",
            Self::LengthTopBit => "the top bit of the payload length is set",
            Self::ContinuationWithoutStart => "a continuation without a message to continue",
            Self::MessageInsideMessage => "a new message began before the last one ended",
            Self::ClosePayloadOfOneByte => "a close code has two bytes",
            Self::CloseCode => "the close code is not allowed",
            Self::CloseReasonNotUtf8 => "the close reason is not UTF-8",
            Self::TextNotUtf8 => "the text message is not UTF-8",
            Self::DeflateData => "the compressed message is not valid DEFLATE",
            Self::MessageTooBig => "the message is longer than allowed",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
