//! What one shard asks others for an operator, and the parts of the answer.
//!
//! `shard` asks by an envelope, and each answer rides with the deliveries of the home that is on the answering shard: there
//! is no other lane. Both own what they hold, for they are rare. A [`Page`] is a shard's part of a list, in the order of its
//! slots; invariant: it has everything that was asked for of the slots before `next`.

use std::sync::Arc;

use super::Span;
use crate::ids::{ClientName, ConnId, Mark};
use crate::limits;
use crate::telemetry::Figures;

/// What an operator wants to know or to be done.
#[derive(Clone, Debug)]
pub enum Question {
    /// Topics of this home: answered by [`Answer::Page`].
    Topics {
        /// A filter that they match.
        filter: Box<str>,
        /// Where the page begins.
        from: Mark,
        /// At most so many.
        limit: usize,
    },
    /// How many connections have subscribed to these topics by their names: answered by [`Answer::Counts`].
    Subscribers(Arc<[Box<str>]>),
    /// Connections of this shard: answered by [`Answer::Page`].
    Connections {
        /// Only those of this user.
        user: Option<Box<str>>,
        /// Where the page begins.
        from: Mark,
        /// At most so many.
        limit: usize,
    },
    /// Everything that this shard counts: answered by [`Answer::Figures`].
    Figures,
    /// One connection: answered by an [`Answer::Page`] with it or with nothing.
    Connection(ConnId),
    /// One connection is to end: answered by [`Answer::Ended`].
    End(ConnId),
    /// All connections of a user are to end: answered by [`Answer::Ended`].
    EndUser {
        /// The user.
        user: Box<str>,
        /// But the one that gets the answer.
        spared: ClientName,
    },
}

/// One shard's part of an answer.
#[derive(Debug)]
pub enum Answer {
    /// Its part of a list.
    Page(Page),
    /// In the order of the question.
    Counts(Vec<usize>),
    /// How many connections it ended.
    Ended(usize),
    /// What it counts.
    Figures(Box<Figures>),
}

/// One item of a page.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its slot.
    pub slot: u32,
    /// Its name in `bytes`, where the asking shard needs it.
    pub name: Span,
    /// Its JSON in `bytes`.
    pub json: Span,
}

/// A shard's part of a page, or as much of it as has been looked through.
#[derive(Debug)]
pub struct Page {
    /// What is listed, in the order of the slots.
    pub items: Vec<Listed>,
    /// What the items' spans point into.
    pub bytes: Vec<u8>,
    /// The first slot that was not looked at; none behind the last one.
    pub next: Option<u32>,
    limit: usize,
}

impl Page {
    /// An empty page that begins at that slot and gets at most `limit` items.
    #[must_use]
    pub fn new(slot: u32, limit: usize) -> Self {
        Self { items: Vec::new(), bytes: Vec::new(), next: Some(slot), limit }
    }

    /// Whether nothing more is to be looked for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next.is_none() || self.items.len() >= self.limit || self.bytes.len() >= limits::LIST_BYTES_MAX
    }

    /// Looks at the slots below `end` one after the other, each by `look`, until the page is done or `budget` slots were
    /// looked at.
    pub fn walk(&mut self, end: usize, budget: &mut usize, mut look: impl FnMut(&mut Self, u32)) {
        while let Some(slot) = self.next.filter(|&slot| (slot as usize) < end) {
            if *budget == 0 || self.is_done() {
                return;
            }
            *budget -= 1;
            self.next = slot.checked_add(1);
            look(self, slot);
        }
        self.next = None;
    }

    /// Adds an item, whose JSON `write` appends.
    pub fn push(&mut self, slot: u32, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let name_at = Span::at_end(&self.bytes, name.len());
        self.bytes.extend_from_slice(name.as_bytes());
        write(&mut self.bytes);
        let json = Span { start: name_at.end, end: Span::at_end(&self.bytes, 0).end };
        self.items.push(Listed { slot, name: name_at, json });
    }
}
