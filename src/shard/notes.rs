//! What a shard notes for the log: connections that ended, requests and tokens that were refused.
//!
//! The sockets' owner takes it out once a turn, [`Shard::poll_note`], and decides what becomes a line. Only where
//! `log.level` is `debug`; at most `NOTES_PER_TURN` wait, the others are counted. Invariant: nothing in a note is what a
//! stranger sent but the name of a user, which a key of ours vouched for.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::{CloseReason, Shard};
use crate::auth::TokenError;
use crate::config::LogLevel;
use crate::http::Problem;
use crate::ids::ConnId;
use crate::limits;

/// Something about one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which.
    pub conn: ConnId,
    /// What became of it.
    pub what: Noted,
}

/// What became of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It ended.
    Closed(CloseReason, Option<Box<str>>),
    /// Its request was refused with this status.
    Refused(u16, &'static str),
    /// Its token or API key was refused; a word why.
    TokenRefused(&'static str),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Notes {
    waiting: VecDeque<Note>,
    left_out: u64,
}

impl Shard {
    /// What was noted, one after the other.
    pub fn poll_note(&mut self) -> Option<Note> {
        self.notes.waiting.pop_front()
    }

    /// How many notes had no room since this was last asked.
    pub fn take_notes_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.notes.left_out)
    }

    pub(super) fn note_refusal(&mut self, index: u32, problem: &Problem) {
        // A sentence that was put together may have something in it that was sent.
        let reason = if let Cow::Borrowed(reason) = problem.reason { reason } else { "" };
        self.note(index, |_| Noted::Refused(problem.status, reason));
    }

    pub(super) fn note_token(&mut self, index: u32, error: TokenError) {
        self.note(index, |_| Noted::TokenRefused(error.word()));
    }

    /// The connection is about to be forgotten.
    pub(super) fn note_end(&mut self, index: u32, reason: CloseReason) {
        self.note(index, |shard| {
            let user = shard.connections[index as usize].user.as_ref();
            Noted::Closed(reason, user.map(|user| user.name().into()))
        });
    }

    fn note(&mut self, index: u32, what: impl FnOnce(&Self) -> Noted) {
        if self.settings.config.log.level < LogLevel::Debug {
            return;
        }
        if self.notes.waiting.len() == limits::NOTES_PER_TURN {
            self.notes.left_out += 1;
            return;
        }
        let note = Note { conn: self.id_of(index), what: what(self) };
        self.notes.waiting.push_back(note);
    }
}
