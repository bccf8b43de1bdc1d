//! RFC 7692, permessage-deflate: what is agreed on in the handshake, and messages into and out of DEFLATE.
//!
//! `handshake` asks [`agree`] of every upgrade. A [`super::Decoder`] made for it hands compressed messages out as they
//! came, and its owner puts them through its one [`Inflater`]; what goes out is made by a [`Deflater`]. Neither keeps
//! anything from message to message ("no context takeover", in both directions), so one of each serves all connections
//! of a thread, a connection owns nothing for it, and one compressed publication is right for all who get it.

mod deflater;
mod inflater;
mod offer;

pub use deflater::{Deflater, WINDOW_BITS_MIN};
pub use inflater::Inflater;
pub use offer::Agreement;
pub(super) use offer::{Malformed, agree};

/// RFC 7692 7.2.1: every flush ends with these, and they are left out on the wire.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// How long a message may be in DEFLATE whose content may have `bytes_max`: as long as a compressor makes it that found
/// nothing to shorten and codes each byte in nine bits, in a few blocks.
pub(super) const fn deflated_bytes_max(bytes_max: usize) -> usize {
    bytes_max.saturating_add(bytes_max / 8).saturating_add(64)
}
