//! RFC 7692, permessage-deflate: what is agreed on in the handshake, and messages into and out of DEFLATE.
//!
//! `handshake` asks `agree` of every upgrade. A [`super::Decoder`] made for it hands compressed messages out as they
//! came, and its owner puts them through its one [`Inflater`]; what goes out is made by a [`Deflater`]. Neither keeps
//! anything from message to message ("no context takeover", in both directions), so one of each serves all connections
//! of a thread, a connection owns nothing for it, and one compressed publication is right for all who get it.

mod deflater;
mod inflater;
mod offer;

pub use deflater::{Deflater, WINDOW_BITS_MIN};
pub use inflater::Inflater;
pub use offer::Agreement;
pub(super) use offer::{Malformed, agree, is_answer};

/// RFC 7692 7.2.1: every flush ends with these, and they are left out on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// RFC 1951 3.2.4: what begins a block that is not compressed, of `len` bytes, and is not the last one. They follow as they
/// are, and the next block begins with a byte of its own.
#[must_use]
pub fn stored_header(len: u16) -> [u8; STORED_HEADER_LEN] {
    let ([a, b], [c, d]) = (len.to_le_bytes(), (!len).to_le_bytes());
    [0, a, b, c, d]
}

/// Bytes of a [`stored_header`].
pub const STORED_HEADER_LEN: usize = 5;

/// How long a message may be in DEFLATE whose content may have `bytes_max`: as long as a compressor makes it that found
/// nothing to shorten and codes each byte in nine bits, in a few blocks.
pub(super) const fn deflated_bytes_max(bytes_max: usize) -> usize {
    bytes_max.saturating_add(bytes_max / 8).saturating_add(64)
}
