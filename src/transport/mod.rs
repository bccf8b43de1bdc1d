//! How a subscriber is spoken to: turns replies and publications into the bytes of its transport.
//!
//! `home` encodes a publication once in each [`Form`] that a subscriber of its topic wants, `shard` each reply in that of
//! its connection. A *unit* is what is never cut: a WebSocket frame, an event of a stream. Long polling has no form of its
//! own: its answers are made of events.

pub mod events;
pub mod websocket;

use crate::protocol::publication;
use crate::ws::encode;

/// The forms that publications are encoded in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// WebSocket frames; what histories keep, too.
    #[default]
    Frames,
    /// Server-sent events.
    Events,
}

impl Form {
    /// Those that are encoded only where somebody wants them.
    pub const OTHERS: [Self; 1] = [Self::Events];

    /// The length of the unit at the start of `bytes`, which we encoded.
    #[must_use]
    pub fn unit_len(self, bytes: &[u8]) -> usize {
        match self {
            Self::Frames => encode::frame_len(bytes),
            Self::Events => events::event_len(bytes),
        }
    }

    /// The offset of the publication that a unit is. `prefix_len` is the length of its topic's [`publication::prefix`].
    #[must_use]
    pub fn offset_of(self, unit: &[u8], prefix_len: usize) -> u64 {
        match self {
            Self::Frames => publication::offset_of(&unit[encode::frame_header_len(unit)..], prefix_len),
            Self::Events => events::offset_of(unit),
        }
    }

    /// Appends what the broker itself says as one unit; `write` appends its JSON.
    pub fn reply(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Frames => websocket::reply(out, write),
            Self::Events => events::reply(out, write),
        }
    }
}

/// A set of [`Form::OTHERS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms(u8);

impl Forms {
    /// Adds a form. [`Form::Frames`] is always encoded and never in the set.
    pub fn insert(&mut self, form: Form) {
        self.0 |= Self::of(form).0;
    }

    /// Whether the form is encoded where these are wanted.
    #[must_use]
    pub fn contains(self, form: Form) -> bool {
        Self::of(form).0 & !self.0 == 0
    }

    /// All of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn of(form: Form) -> Self {
        Self((1 << form as u8) & !1)
    }
}
