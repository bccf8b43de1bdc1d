//! One frame's header (RFC 6455 5.2), judged from its first byte on.
//!
//! The decoder calls [`parse`] with however many header bytes it has. Checks run in the order of the bytes, so the same
//! header gives the same violation however it was split, and none waits for bytes that cannot change the verdict.
//! It refuses a length before anything is allocated for it.

use super::deflate::deflated_bytes_max;
use super::{CONTROL_PAYLOAD_MAX, Opcode, Role, Violation};

/// A frame header that may stand where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// It begins a compressed message.
    pub(super) deflated: bool,
    /// Payload bytes that follow.
    pub(super) payload_len: usize,
    /// Zero where frames are not masked, so XOR with it changes nothing.
    pub(super) key: [u8; 4],
    /// Bytes of the header itself, 2..=[`HEADER_BYTES_MAX`].
    pub(super) header_len: usize,
}

/// What the header must fit into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) role: Role,
    /// Messages may be compressed: permessage-deflate was agreed on.
    pub(super) deflate: bool,
    /// A message has begun and its last fragment is missing.
    pub(super) inside_message: bool,
    /// Bytes that the message may still grow by. One that is compressed and begins here may have some more.
    pub(super) message_bytes_left: usize,
}

/// RFC 7692 6: the message is compressed.
pub(super) const RSV1: u8 = 0x40;

/// RFC 6455 5.2: for extensions.
const RSV_BITS: u8 = 0x70;

/// Two bytes, an eight-byte length, a key.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The header at the start of `bytes`, or `None` while it is incomplete (then `bytes` has fewer than
/// [`HEADER_BYTES_MAX`]).
#[inline]
pub(super) fn parse(bytes: &[u8], place: Place) -> Result<Option<Header>, Violation> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let opcode = opcode(first, place)?;
    let deflated = first & RSV1 != 0;
    let Some(&second) = bytes.get(1) else {
        return Ok(None);
    };
    // RFC 6455 5.1: a client masks all its frames, a server none.
    let masked = second & 0x80 != 0;
    match place.role {
        Role::Server if !masked => return Err(Violation::Unmasked),
        Role::Client if masked => return Err(Violation::Masked),
        _ => {}
    }
    let short = usize::from(second & 0x7f);
    if opcode.is_control() {
        if short > CONTROL_PAYLOAD_MAX {
            return Err(Violation::ControlTooLong);
        }
        if opcode == Opcode::Close && short == 1 {
            return Err(Violation::ClosePayloadOfOneByte);
        }
    }
    let Some((len, mut header_len)) = payload_len(short, bytes)? else {
        return Ok(None);
    };
    let left = place.message_bytes_left;
    let left = if deflated { deflated_bytes_max(left) } else { left };
    let payload_len = match usize::try_from(len) {
        Ok(len) if opcode.is_control() || len <= left => len,
        _ => return Err(Violation::MessageTooBig),
    };
    let mut key = [0; 4];
    if masked {
        let Some(&found) = bytes[header_len..].first_chunk::<4>() else {
            return Ok(None);
        };
        key = found;
        header_len += 4;
    }
    Ok(Some(Header { fin: first & 0x80 != 0, opcode, deflated, payload_len, key, header_len }))
}

/// What the first byte alone decides: RSV bits, opcode, FIN of control frames, the order of fragments.
#[inline]
fn opcode(first: u8, place: Place) -> Result<Opcode, Violation> {
    // RFC 6455 5.2: nonzero reserved bits without an extension that defines them fail the connection.
    let reserved = if place.deflate { RSV_BITS & !RSV1 } else { RSV_BITS };
    if first & reserved != 0 {
        return Err(Violation::ReservedBits);
    }
    let opcode = match first & 0x0f {
        0 => Opcode::Continuation,
        1 => Opcode::Text,
        2 => Opcode::Binary,
        8 => Opcode::Close,
        9 => Opcode::Ping,
        10 => Opcode::Pong,
        _ => return Err(Violation::ReservedOpcode),
    };
    // RFC 7692 6.1: the bit is for the first frame of a message, and for messages only.
    if first & RSV1 != 0 && !matches!(opcode, Opcode::Text | Opcode::Binary) {
        return Err(Violation::CompressedBit);
    }
    if opcode.is_control() {
        // RFC 6455 5.5: control frames are not fragmented.
        if first & 0x80 == 0 {
            return Err(Violation::ControlFragmented);
        }
    } else if place.inside_message != (opcode == Opcode::Continuation) {
        // RFC 6455 5.4: fragments of one message are not interleaved with another's.
        return Err(if place.inside_message {
            Violation::MessageInsideMessage
        } else {
            Violation::ContinuationWithoutStart
        });
    }
    Ok(opcode)
}

/// The payload length and where it ends, in bytes from the frame's start.
#[inline]
fn payload_len(short: usize, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    // RFC 6455 5.2: the minimal number of bytes must be used, and the top bit of eight must be 0.
    match short {
        126 => match bytes[2..].first_chunk::<2>() {
            None => Ok(None),
            Some(&found) => match u64::from(u16::from_be_bytes(found)) {
                0..=125 => Err(Violation::LengthNotMinimal),
                len => Ok(Some((len, 4))),
            },
        },
        127 => {
            if bytes.get(2).is_some_and(|top| top & 0x80 != 0) {
                return Err(Violation::LengthTopBit);
            }
            match bytes[2..].first_chunk::<8>() {
                None => Ok(None),
                Some(&found) => match u64::from_be_bytes(found) {
                    0..=0xffff => Err(Violation::LengthNotMinimal),
                    len => Ok(Some((len, 10))),
                },
            }
        }
        len => Ok(Some((len as u64, 2))),
    }
}
