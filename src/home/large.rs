//! Large publications that are kept: the bytes that subscribers get are those that the history keeps, copied once.
//!
//! `Home` calls it for what is longer than a history's chunk, before it encodes such a publication and after. It is a batch of its own,
//! which pins nothing but itself and so takes just what the archive counts. Where it is wanted in other forms, which would be
//! pinned along, the history has a copy of the frame.

use std::sync::Arc;

use super::batch::Batch;
use super::history::Frame;
use super::topics::TopicKey;
use super::{Home, Publish};
use crate::limits;
use crate::rules::History;

/// Whether a publication is to be a batch of its own, if it is kept.
pub(super) fn is_large(publish: &Publish<'_>) -> bool {
    publish.payload.bytes_len() > limits::HISTORY_CHUNK_BYTES
}

impl Home {
    /// Seals all that was published before: the next publication of the topic is large.
    #[cold]
    pub(super) fn begin_large(&mut self, key: TopicKey) {
        self.tell(key);
        self.seal();
        self.turn.forget_usual();
    }

    /// Seals the publication by itself and keeps it. Its frame is in this turn's batch if it is `wanted`, else in `alone`.
    #[cold]
    pub(super) fn keep_large(&mut self, key: TopicKey, publish: &Publish<'_>, wanted: bool, kept: History) {
        let (batch, frame_len) = if wanted {
            // What stands behind the frame in its batch.
            let behind = self.topics.at(key).name().len() + publish.conflate.map_or(0, str::len);
            self.turn.fit(behind);
            let frame_len = self.turn.last_frame().len();
            let batch = self.seal().expect("it was pushed");
            self.turn.forget_usual();
            (batch, frame_len)
        } else {
            let mut frame = std::mem::take(&mut self.alone);
            frame.shrink_to_fit();
            let frame_len = frame.len();
            (Arc::new(Batch::of(frame)), frame_len)
        };
        let frame = match batch.others.iter().any(Option::is_some) {
            true => Frame::Copied(&batch.bytes[..frame_len]),
            false => Frame::Shared(Arc::clone(&batch), u32::try_from(frame_len).expect("a message is bounded")),
        };
        self.archive.keep(key, self.topics.at(key), &kept, frame, self.now);
    }
}
