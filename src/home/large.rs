//! Large publications that are kept: the bytes that subscribers get are those that the history keeps, copied once.
//!
//! `Home` calls it for what is longer than a history's chunk. Such a publication is a batch of its own, which pins nothing but
//! itself and so takes just what the archive counts. Where it is wanted in other forms, which would be pinned with it, the history has
//! a copy of the frame.

use std::sync::Arc;

use super::batch::Batch;
use super::interest::Interest;
use super::topics::TopicKey;
use super::{Home, Publish};
use crate::protocol::publication::Head;
use crate::rules::{History, Overflow};
use crate::transport::websocket;

impl Home {
    /// Puts a publication where it is wanted and keeps it. `wanted` says who subscribes, and what the topic's rule says of those
    /// who are slow.
    pub(super) fn encode_large(
        &mut self,
        key: TopicKey,
        publish: &Publish<'_>,
        wanted: Option<(Interest, Overflow)>,
        kept: History,
    ) {
        let (batch, frame_len) = match wanted {
            Some((interest, overflow)) => self.seal_alone(key, publish, interest, overflow),
            None => {
                let topic = self.topics.at(key);
                let offset = topic.offset;
                let head = Head { prefix: topic.prefix(), offset, from: &self.from };
                let mut frame = Vec::with_capacity(websocket::publication_len(head, publish.payload));
                websocket::publication(&mut frame, head, publish.payload);
                let len = frame.len();
                (Arc::new(Batch::of(frame)), len)
            }
        };
        let (topic, now) = (self.topics.at(key), self.now);
        if batch.others.iter().any(Option::is_some) {
            return self.archive.keep(key, topic, &kept, &batch.bytes[..frame_len], now);
        }
        let (offset, end) = (topic.offset, u32::try_from(frame_len).expect("a message is bounded"));
        self.archive.keep_by(key, topic, &kept, |history| history.push_shared(offset, batch, end, now));
    }

    /// Seals what was published before, then the publication by itself: its batch, which begins with the frame, and the length of
    /// that.
    fn seal_alone(
        &mut self,
        key: TopicKey,
        publish: &Publish<'_>,
        interest: Interest,
        overflow: Overflow,
    ) -> (Arc<Batch>, usize) {
        self.seal();
        let topic = self.topics.at(key);
        let offset = topic.offset;
        let head = Head { prefix: topic.prefix(), offset, from: &self.from };
        let frame_len = websocket::publication_len(head, publish.payload);
        let behind = topic.name().len() + publish.conflate.map_or(0, str::len);
        self.turn.reserve(frame_len + behind);
        self.turn.push(key, topic, interest, overflow, &self.from, publish);
        (self.seal().expect("something was pushed"), frame_len)
    }
}
