//! What a topic can say of its past: the replay of a subscribe, the list of a `history` command.
//!
//! A replay is whole or it is none: it begins right after the position asked for and ends with the topic's last publication.

use std::ops::RangeInclusive;

use super::From;
use super::history::Piece;
use super::topics::TopicState;
use crate::limits;
use crate::protocol::{Position, publication};
use crate::transport::websocket;

impl TopicState {
    /// What is sent before live begins, and for a position whether that is everything since.
    pub(super) fn replay(&mut self, from: From) -> (Option<bool>, Vec<Piece>) {
        let newest = self.offset;
        match (from, &mut self.history) {
            (From::Now, _) | (From::Last(_), None) => (None, Vec::new()),
            (From::Since(since), _) if since == (Position { epoch: self.epoch, offset: newest }) => {
                (Some(true), Vec::new())
            }
            (From::Since(since), Some(history)) if since.epoch == self.epoch && since.offset < newest => {
                let first = history.first().filter(|first| *first <= since.offset + 1);
                match first {
                    Some(_) => (Some(true), history.replay(since.offset + 1)),
                    None => (Some(false), Vec::new()),
                }
            }
            (From::Since(_), _) => (Some(false), Vec::new()),
            (From::Last(last), Some(history)) => (None, history.replay((newest + 1).saturating_sub(u64::from(last)))),
        }
    }

    /// Appends the kept publications of some offsets as list elements: at most `limit`, and at most
    /// `HISTORY_REPLY_BYTES_MAX` bytes of them but at least one.
    pub(super) fn list(&mut self, wanted: RangeInclusive<u64>, limit: usize, reverse: bool, out: &mut Vec<u8>) {
        let Some(history) = self.history.take() else { return };
        let prefix = self.prefix();
        let start = out.len();
        out.push(b'['); // an element looks for the one before it
        let mut write = |(offset, frame): (u64, &[u8])| {
            let before = out.len();
            let (head, payload) = websocket::parts_of(frame, prefix, offset);
            publication::write_listed(out, head, payload);
            let full = before > start + 1 && out.len() - start > limits::HISTORY_REPLY_BYTES_MAX;
            if full {
                out.truncate(before);
            }
            !full
        };
        let frames = history.frames(wanted);
        if reverse {
            frames.rev().take(limit).all(&mut write);
        } else {
            frames.take(limit).all(&mut write);
        }
        out.remove(start);
        self.history = Some(history);
    }
}
