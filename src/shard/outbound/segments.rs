//! The byte strings that ranges point into: batches shared by a whole shard, and bytes of a single connection.
//!
//! One `Arc` of a batch is held per shard however many connections wait for it; their ranges count in a plain integer.

use std::sync::Arc;

use slab::Slab;

use crate::home::{Batch, Run};
use crate::ids::TopicLife;
use crate::limits;
use crate::ws::Spares;

/// Index of a segment.
pub(crate) type SegmentKey = u32;

#[derive(Debug)]
enum Bytes {
    Batch(Arc<Batch>),
    Own(Vec<u8>),
    /// A large message, sent back where it lies.
    Moved(Vec<u8>),
    /// Publications of one topic, copied.
    Copy(Vec<u8>, Option<TopicLife>),
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    /// Ranges that point here, and whoever is delivering it just now.
    refs: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Segments {
    slab: Slab<Segment>,
    /// Emptied own buffers, so that a reply allocates nothing in the long run.
    spare: Vec<Vec<u8>>,
    /// The same of large messages.
    large: Spares,
}

impl Segments {
    /// Takes a batch in, with one reference held by the caller.
    pub(crate) fn insert_batch(&mut self, batch: Arc<Batch>) -> SegmentKey {
        self.insert(Segment { bytes: Bytes::Batch(batch), refs: 1 })
    }

    /// An empty own segment, with one reference held by the caller.
    pub(super) fn insert_own(&mut self) -> SegmentKey {
        let bytes = Bytes::Own(self.spare.pop().unwrap_or_default());
        self.insert(Segment { bytes, refs: 1 })
    }

    /// Takes the bytes of a large message in, with one reference held by the caller.
    pub(super) fn insert_moved(&mut self, bytes: Vec<u8>) -> SegmentKey {
        self.insert(Segment { bytes: Bytes::Moved(bytes), refs: 1 })
    }

    /// Emptied buffers of large messages.
    pub(crate) fn large(&mut self) -> &mut Spares {
        &mut self.large
    }

    fn insert(&mut self, segment: Segment) -> SegmentKey {
        u32::try_from(self.slab.insert(segment)).expect("fewer than 2^32 segments fit in memory")
    }

    pub(super) fn retain(&mut self, key: SegmentKey) {
        self.retain_times(key, 1);
    }

    pub(super) fn retain_times(&mut self, key: SegmentKey, times: u32) {
        self.slab[key as usize].refs += times;
    }

    /// Gives one reference back; with the last one the segment goes.
    pub(crate) fn release(&mut self, key: SegmentKey) {
        let segment = &mut self.slab[key as usize];
        segment.refs -= 1;
        if segment.refs > 0 {
            return;
        }
        match self.slab.remove(key as usize).bytes {
            Bytes::Own(mut bytes)
                if bytes.capacity() <= limits::SPARE_BYTES_MAX && self.spare.len() < limits::SPARES_MAX =>
            {
                bytes.clear();
                self.spare.push(bytes);
            }
            Bytes::Moved(bytes) => self.large.keep(bytes),
            Bytes::Own(_) | Bytes::Batch(_) | Bytes::Copy(..) => {}
        }
    }

    pub(super) fn bytes(&self, key: SegmentKey) -> &[u8] {
        match &self.slab[key as usize].bytes {
            Bytes::Batch(batch) => &batch.bytes,
            Bytes::Own(bytes) | Bytes::Moved(bytes) | Bytes::Copy(bytes, _) => bytes,
        }
    }

    /// Whether a range of `len` bytes is a small part of a batch.
    pub(super) fn is_sparse(&self, key: SegmentKey, len: usize) -> bool {
        match &self.slab[key as usize].bytes {
            Bytes::Batch(batch) => len * 4 < batch.bytes.len(),
            Bytes::Own(_) | Bytes::Moved(_) | Bytes::Copy(..) => false,
        }
    }

    /// Whether more may be written behind a range that ends there: own, whole, and not so long that sent bytes would be kept
    /// for ever.
    pub(super) fn grows(&self, key: SegmentKey, end: u32) -> bool {
        let Bytes::Own(bytes) = &self.slab[key as usize].bytes else { return false };
        bytes.len() == end as usize && bytes.len() < limits::SPARE_BYTES_MAX
    }

    /// Appends to an own segment; its new length.
    pub(super) fn write_own(&mut self, key: SegmentKey, write: impl FnOnce(&mut Vec<u8>)) -> u32 {
        match &mut self.slab[key as usize].bytes {
            Bytes::Own(bytes) => {
                write(bytes);
                u32::try_from(bytes.len()).expect("messages are far below 4 GiB")
            }
            Bytes::Batch(_) | Bytes::Moved(_) | Bytes::Copy(..) => unreachable!("only own segments are written to"),
        }
    }

    /// The run of a batch that a frame is part of.
    pub(super) fn run_at(&self, key: SegmentKey, start: u32) -> Option<Run> {
        match &self.slab[key as usize].bytes {
            Bytes::Batch(batch) => batch.run_at(start).copied(),
            Bytes::Own(_) | Bytes::Moved(_) | Bytes::Copy(..) => None,
        }
    }

    /// The topic of a publication's frame.
    pub(super) fn topic_of(&self, key: SegmentKey, start: u32) -> Option<TopicLife> {
        match &self.slab[key as usize].bytes {
            Bytes::Batch(batch) => batch.run_at(start).map(|run| run.topic),
            Bytes::Copy(_, topic) => *topic,
            Bytes::Own(_) | Bytes::Moved(_) => None,
        }
    }

    /// The `conflate` that came with a publication of a batch.
    pub(super) fn conflate_of(&self, key: SegmentKey, start: u32) -> Option<&str> {
        match &self.slab[key as usize].bytes {
            Bytes::Batch(batch) => batch.conflate_of(start),
            Bytes::Own(_) | Bytes::Moved(_) | Bytes::Copy(..) => None,
        }
    }

    /// A copy of publications of one topic, with one reference held by the caller.
    pub(super) fn copy(&mut self, key: SegmentKey, start: u32, end: u32, topic: Option<TopicLife>) -> SegmentKey {
        let bytes = self.bytes(key)[start as usize..end as usize].to_vec();
        self.insert(Segment { bytes: Bytes::Copy(bytes, topic), refs: 1 })
    }

    /// Whether copies of more publications of that topic may stand behind.
    pub(super) fn takes_copies_of(&self, key: SegmentKey, topic: Option<TopicLife>) -> bool {
        matches!(&self.slab[key as usize].bytes, Bytes::Copy(bytes, of) if *of == topic && bytes.len() < limits::SPARE_BYTES_MAX)
    }

    /// Appends publications to a copy; its new length.
    pub(super) fn copy_behind(&mut self, copy: SegmentKey, key: SegmentKey, start: u32, end: u32) -> u32 {
        let Some((copy, segment)) = self.slab.get2_mut(copy as usize, key as usize) else {
            unreachable!("a copy is made of another segment")
        };
        match (&mut copy.bytes, &segment.bytes) {
            (Bytes::Copy(bytes, _), Bytes::Batch(batch)) => {
                bytes.extend_from_slice(&batch.bytes[start as usize..end as usize]);
                u32::try_from(bytes.len()).expect("copies are small")
            }
            _ => unreachable!("a copy is made of a batch"),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    #[cfg(test)]
    pub(super) fn spares(&self) -> usize {
        self.spare.len()
    }
}
