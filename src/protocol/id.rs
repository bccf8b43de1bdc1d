//! The `id` by which a client recognises the reply to a command.
//!
//! Parsed with the command, echoed by `reply`, kept by whoever answers later. It means nothing to the broker.

use super::json_text::{write_decimal, write_string};

/// An integer 0..=2^53-1, a string of at most [`ID_BYTES_MAX`](crate::limits::ID_BYTES_MAX) bytes, or none.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub enum Id {
    /// The command had none: a success stays silent.
    #[default]
    None,
    /// What every JSON parser keeps exactly: at most 2^53-1.
    Int(u64),
    /// Decoded, without quotation marks.
    Text(Box<str>),
}

/// The largest integer that an `id` can be: 2^53-1, `Number.MAX_SAFE_INTEGER` of a browser.
pub(super) const ID_INT_MAX: u64 = (1 << 53) - 1;

// An id travels in every envelope of a command.
const _: () = assert!(size_of::<Id>() <= 24);

impl Id {
    /// Whether the command had no id.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Appends the id as the JSON value that the client sent, `null` for none.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(b"null"),
            Self::Int(number) => write_decimal(out, *number),
            Self::Text(text) => write_string(out, text),
        }
    }
}
