//! One topic's history against a list of all that it should keep.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// A history and what it is to hold: offset and frame, oldest first.
#[derive(Default)]
struct Pair {
    history: History,
    model: VecDeque<(u64, Vec<u8>, Tick)>,
    newest: u64,
}

impl Pair {
    fn push(&mut self, len: usize) {
        self.newest += 1;
        let frame: Vec<u8> = (0..len).map(|at| (self.newest as usize * 7 + at) as u8).collect();
        let at = Tick(u32::try_from(self.newest).expect("few") / 3);
        self.history.push(self.newest, Frame::Copied(&frame), at);
        self.model.push_back((self.newest, frame, at));
    }

    fn push_shared(&mut self, len: usize) {
        self.newest += 1;
        let frame = vec![self.newest as u8; len];
        let at = Tick(u32::try_from(self.newest).expect("few") / 3);
        let batch = Arc::new(Batch::of([&frame[..], b"the topic's name"].concat()));
        self.history.push(self.newest, Frame::Shared(batch, end_of(&frame)), at);
        self.model.push_back((self.newest, frame, at));
    }

    fn forget_oldest(&mut self) {
        self.history.forget_oldest();
        self.model.pop_front();
    }

    fn forget_chunk(&mut self) {
        let gone = self.history.forget_chunk();
        assert_eq!(gone > 0, !self.model.is_empty(), "something goes as long as there is something");
        self.model.drain(..gone);
    }

    /// Everything that can be asked, from every offset.
    fn check(&mut self) {
        assert_eq!(self.history.len(), self.model.len());
        assert_eq!(self.history.first(), self.model.front().map(|(offset, ..)| *offset));
        assert_eq!(self.history.oldest(), self.model.front().map(|(.., at)| *at));
        for from in 0..=self.newest + 2 {
            let expected: Vec<u8> = self
                .model
                .iter()
                .filter(|(offset, ..)| *offset >= from)
                .flat_map(|(_, frame, _)| frame.clone())
                .collect();
            assert_eq!(replayed(&self.history.replay(from)), expected, "from {from}");
        }
        let frames: Vec<(u64, Vec<u8>)> =
            self.history.frames(0..=u64::MAX).map(|(at, frame)| (at, frame.to_vec())).collect();
        let expected: Vec<(u64, Vec<u8>)> = self.model.iter().map(|(at, frame, _)| (*at, frame.clone())).collect();
        assert_eq!(frames, expected);
        let middle = self.newest / 2;
        let upto: Vec<u64> = self.history.frames(0..=middle).rev().map(|(at, _)| at).collect();
        let expected: Vec<u64> = self.model.iter().rev().map(|(at, ..)| *at).filter(|at| *at <= middle).collect();
        assert_eq!(upto, expected);
        assert_eq!(self.history.bytes() == 0, self.model.is_empty());
        let payload: usize = self.model.iter().map(|(_, frame, _)| frame.len()).sum();
        assert!(self.history.bytes() >= payload, "what is kept takes at least its bytes");
    }
}

fn replayed(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| piece.frames.of(&piece.chunk.bytes).to_vec()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    PushShared(usize),
    ForgetOldest,
    ForgetChunk,
    Replay,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![4 => 1usize..300, 2 => 3_000usize..9_000, 1 => Just(limits::HISTORY_CHUNK_BYTES * 2)].prop_map(Step::Push),
        1 => (limits::HISTORY_CHUNK_BYTES + 1..40_000).prop_map(Step::PushShared),
        4 => Just(Step::ForgetOldest),
        1 => Just(Step::ForgetChunk),
        1 => Just(Step::Replay),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_a_list_holds_whatever_happens(steps in prop::collection::vec(step(), 0..80)) {
        let mut pair = Pair::default();
        let mut readers = Vec::new();
        for step in steps {
            match step {
                Step::Push(len) => pair.push(len),
                Step::PushShared(len) => pair.push_shared(len),
                Step::ForgetOldest => pair.forget_oldest(),
                Step::ForgetChunk => pair.forget_chunk(),
                Step::Replay => {
                    let pieces = pair.history.replay(0);
                    readers.push((replayed(&pieces), pieces));
                }
            }
        }
        pair.check();
        for (then, pieces) in readers {
            prop_assert_eq!(replayed(&pieces), then, "what a reader was given stays as it was");
        }
    }
}

#[test]
fn a_replay_changes_neither_the_memory_nor_the_chunks() {
    let mut pair = Pair::default();
    for _ in 0..1_000 {
        pair.push(100);
        let before = pair.history.bytes();
        drop(pair.history.replay(0));
        assert_eq!(pair.history.bytes(), before, "its accountant is not asked");
    }
    assert_eq!(pair.history.chunks.len(), 100_000 / limits::HISTORY_CHUNK_BYTES);
    pair.check();
}

/// Publishes until `count` are kept and a third more have come and gone; somebody reads every `reader` publications.
fn long(count: usize, frame: usize, reader: usize) -> History {
    let mut history = History::default();
    let frame = vec![7; frame];
    for offset in 1..=(count + count / 3) as u64 {
        history.push(offset, Frame::Copied(&frame), Tick(0));
        if history.len() > count {
            history.forget_oldest();
        }
        if offset % reader as u64 == 0 {
            history.replay(offset);
        }
    }
    history
}

#[test]
fn a_replay_of_a_long_history_is_some_hundred_pieces_however_often_it_is_read() {
    for reader in [3, 1_000_000] {
        let mut history = long(100_000, 200, reader);
        let pieces = history.replay(0);
        assert_eq!(pieces.iter().map(|piece| piece.frames.len()).sum::<usize>(), 100_000 * 200);
        assert!(pieces.len() < 200, "{} pieces", pieces.len());
        let chunks: usize = history.chunks.iter().map(Chunk::bytes).sum();
        assert_eq!(history.closed_bytes, chunks, "the account survives the merging");
        assert!(history.bytes() * 10 <= 100_000 * 200 * 13, "and stays small");
        let most = history.chunks.iter().map(|chunk| chunk.batch.bytes.len()).max().expect("many");
        assert!(most <= limits::HISTORY_MERGED_BYTES * 3 / 2, "a chunk of {most} bytes");
    }
}

#[test]
fn what_is_merged_at_once_is_bounded_whatever_the_length_of_the_frames() {
    for frame in [1_000, 15_000, 17_000, 60_000, 130_000] {
        let mut history = History::default();
        for offset in 1..=50_000_000 / frame as u64 {
            history.push(offset, Frame::Copied(&vec![1; frame]), Tick(0));
        }
        let most = history.chunks.iter().map(|chunk| chunk.batch.bytes.len()).max().expect("many");
        assert!(most <= limits::HISTORY_MERGED_BYTES * 3 / 2, "a chunk of {most} bytes from frames of {frame}");
        let pieces = history.replay(0).len();
        assert!(
            pieces <= 2 * 50_000_000 / limits::HISTORY_MERGED_BYTES + 300,
            "{pieces} pieces from frames of {frame}"
        );
    }
}

#[test]
fn very_large_publications_are_never_copied_and_smaller_ones_are_merged_around_them() {
    let mut history = History::default();
    let mut batches = Vec::new();
    for offset in 1..=1_000 {
        if offset % 5 == 0 {
            let batch = Arc::new(Batch::of(vec![1; limits::HISTORY_MERGED_BYTES / 4 + 9]));
            batches.push(Arc::clone(&batch));
            history.push(offset, Frame::Shared(batch, limits::HISTORY_MERGED_BYTES as u32 / 4), Tick(0));
        } else {
            let batch = Arc::new(Batch::of(vec![2; 40_000]));
            history.push(offset, Frame::Shared(batch, 40_000), Tick(0));
        }
    }
    let pieces = history.replay(0);
    let large: Vec<_> = pieces.iter().filter(|piece| piece.chunk.bytes[0] == 1).collect();
    assert_eq!(large.len(), batches.len());
    assert!(large.iter().zip(&batches).all(|(piece, batch)| Arc::ptr_eq(&piece.chunk, batch)));
    assert!(pieces.len() < 700, "{} pieces", pieces.len());
}

#[test]
fn merged_chunks_hold_what_they_were_made_of() {
    let mut pair = Pair::default();
    let mut early = Vec::new();
    for round in 0..1_200 {
        match round % 12 {
            0 => pair.push_shared(17_000),
            _ => pair.push(3_000 + round % 7),
        }
        if round == 400 {
            early = pair.history.replay(300);
        }
    }
    let before: Vec<u8> =
        pair.model.iter().filter(|(at, ..)| (300..=401).contains(at)).flat_map(|(_, frame, _)| frame.clone()).collect();
    assert_eq!(replayed(&early), before, "a reader keeps what it was given");
    let (chunks, small) = (pair.history.chunks.len(), (1_100 * 3_000 + 100 * 17_000) / limits::HISTORY_CHUNK_BYTES);
    assert!(chunks < small * 9 / 10, "{chunks} chunks, {small} without merging");
    for from in [0, 1, 2, 599, 600, 601, 900, 1_100, 1_199, 1_200, 1_201] {
        let expected: Vec<u8> =
            pair.model.iter().filter(|(at, ..)| *at >= from).flat_map(|(_, frame, _)| frame.clone()).collect();
        assert!(replayed(&pair.history.replay(from)) == expected, "from {from}");
    }
    for (offset, frame, _) in &pair.model {
        assert!(pair.history.frame(*offset) == frame, "{offset}");
    }
    while pair.history.len() > 0 {
        assert_eq!(pair.history.oldest(), pair.model.front().map(|(.., at)| *at));
        pair.forget_oldest();
        if pair.history.len() % 100 == 0 {
            pair.forget_chunk();
        }
    }
    assert_eq!((pair.history.closed_bytes, pair.history.bytes()), (0, 0));
}

#[test]
fn readers_of_one_moment_share_one_copy_of_the_open_chunk() {
    let mut pair = Pair::default();
    pair.push(100);
    pair.push(100);
    let (first, second) = (pair.history.replay(1), pair.history.replay(2));
    assert!(Arc::ptr_eq(&first[0].chunk, &second[0].chunk));
    pair.push(100);
    assert!(!Arc::ptr_eq(&first[0].chunk, &pair.history.replay(1)[0].chunk), "it has changed since");
    let third = pair.history.replay(1);
    pair.forget_oldest();
    assert!(!Arc::ptr_eq(&third[0].chunk, &pair.history.replay(1)[0].chunk), "its front is gone");
    pair.check();
}

#[test]
fn a_kept_publication_of_200_bytes_costs_at_most_1_3_times_its_frame() {
    const FRAME: usize = 4 + 200;
    let mut history = History::default();
    for offset in 1..=3_500 {
        history.push(offset, Frame::Copied(&[0; FRAME]), Tick(0));
        if history.len() > 1_000 {
            history.forget_oldest();
        }
        assert!(
            offset < 1_000 || history.bytes() * 10 <= 1_000 * FRAME * 13,
            "{} bytes for {} publications after {offset}",
            history.bytes(),
            history.len()
        );
    }
}

#[test]
fn the_account_is_what_the_allocations_are() {
    let mut history = History::default();
    for offset in 1..=500 {
        history.push(offset, Frame::Copied(&[0; 150]), Tick(0));
    }
    for _ in 0..20 {
        history.forget_oldest();
    }
    let closed: usize =
        history.chunks.iter().map(|chunk| chunk.batch.bytes.capacity() + chunk.kept.capacity() * 8).sum();
    let open = history.open.capacity() + history.open_kept.capacity() * 8;
    let counted = history.bytes() - TOPIC_BYTES;
    assert!(counted >= closed + open);
    assert!(counted <= closed + open + history.chunks.len() * 160, "and what holds the chunks");
}

#[test]
fn room_is_made_by_the_older_half_of_a_small_history_and_by_whole_chunks_of_a_large_one() {
    let mut small = Pair::default();
    (0..10).for_each(|_| small.push(100));
    small.forget_chunk();
    assert_eq!(small.history.first(), Some(6));
    small.check();
    let mut large = Pair::default();
    (0..500).for_each(|_| large.push(100));
    let before = large.history.bytes();
    large.forget_chunk();
    assert_eq!(large.history.first(), Some(limits::HISTORY_CHUNK_BYTES as u64 / 100 + 1));
    assert!(before - large.history.bytes() >= limits::HISTORY_CHUNK_BYTES - 100, "memory came back");
    large.check();
}

#[test]
fn a_frame_longer_than_a_chunk_has_one_of_its_own() {
    let mut pair = Pair::default();
    for len in [10, limits::HISTORY_CHUNK_BYTES + 1, 20, limits::HISTORY_CHUNK_BYTES * 3, 30] {
        pair.push(len);
    }
    pair.check();
    for _ in 0..5 {
        pair.forget_oldest();
        pair.check();
    }
    pair.push(40);
    pair.check();
}
