//! Random deliveries, replies, full sockets and comings and goings, against a model that is a list of bytes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const CONNS: u32 = 3;

#[derive(Clone, Debug)]
enum Step {
    /// To whom (one bit each), the frames' lengths, how many of them stand before the range, bulk.
    Deliver(u8, Vec<usize>, usize, bool),
    Reply(u32, usize),
    Solid(u32, usize),
    /// How much each socket takes from now on.
    Room(u32, usize),
    Flush,
    /// Comes and goes: whatever waits is gone.
    Replace(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![4 => 0usize..40, 1 => 100usize..200, 1 => 5_000usize..30_000];
    let lens = prop::collection::vec(len.clone(), 1..12);
    prop_oneof![
        8 => (1u8..8, lens, 0usize..12, any::<bool>()).prop_map(|(to, lens, skip, bulk)| Step::Deliver(to, lens, skip, bulk)),
        4 => (0..CONNS, len.clone()).prop_map(|(conn, len)| Step::Reply(conn, len)),
        1 => (0..CONNS, 1usize..50).prop_map(|(conn, len)| Step::Solid(conn, len)),
        4 => (0..CONNS, len).prop_map(|(conn, room)| Step::Room(conn, room)),
        6 => Just(Step::Flush),
        1 => (0..CONNS).prop_map(Step::Replace),
    ]
}

/// What one connection must get, and what of it is no publication.
#[derive(Default)]
struct Expected {
    bytes: Vec<u8>,
    /// Length and whether it is a publication, of all that was not taken yet.
    waits: VecDeque<(usize, bool)>,
    taken: usize,
}

impl Expected {
    fn push(&mut self, bytes: &[u8], publication: bool) {
        self.bytes.extend_from_slice(bytes);
        self.waits.push_back((bytes.len(), publication));
    }

    /// Compares with what the socket got; what is pending and how much of it are replies.
    fn take(&mut self, got: &[u8]) -> (usize, usize) {
        assert!(self.bytes.starts_with(got), "the bytes and their order");
        let mut fresh = got.len() - self.taken;
        self.taken = got.len();
        while let Some((len, _)) = self.waits.front_mut() {
            let part = fresh.min(*len);
            *len -= part;
            fresh -= part;
            if *len > 0 {
                break;
            }
            self.waits.pop_front();
        }
        let replies = self.waits.iter().filter(|(_, publication)| !publication).map(|(len, _)| len).sum();
        (self.bytes.len() - got.len(), replies)
    }
}

fn apply(desk: &mut Desk, expected: &mut [Expected], step: Step, salt: u8) {
    match step {
        Step::Deliver(to, lens, skip, bulk) => {
            let batch = batch(salt, &lens);
            let skip = skip.min(lens.len() - 1);
            let start: usize = lens[..skip].iter().map(|&len| len + encode::header_len(len)).sum();
            let conns: Vec<u32> = (0..CONNS).filter(|conn| to & (1 << conn) != 0).collect();
            // In two ranges where there are two frames, so that merging is part of it.
            let first = start + encode::frame_len(&batch.bytes[start..]);
            let segment = desk.out.segments().insert_batch(Arc::clone(&batch));
            for range in [start..first, first..batch.bytes.len()].into_iter().filter(|range| !range.is_empty()) {
                for &conn in &conns {
                    desk.out.push_share(
                        conn,
                        Share { segment, start: range.start as u32, end: range.end as u32 },
                        bulk,
                    );
                    expected[conn as usize].push(&batch.bytes[range.clone()], true);
                }
            }
            desk.out.segments().release(segment);
        }
        Step::Reply(conn, len) => {
            desk.reply(conn, &vec![salt; len]);
            let mut bytes = Vec::new();
            encode::frame(&mut bytes, Opcode::Text, &vec![salt; len]);
            expected[conn as usize].push(&bytes, false);
        }
        Step::Solid(conn, len) => {
            desk.out.push_solid(conn, |out| out.extend(std::iter::repeat_n(salt, len)));
            expected[conn as usize].push(&vec![salt; len], false);
        }
        Step::Room(conn, room) => {
            desk.net.room[conn as usize] = room;
            desk.out.unblock(conn);
        }
        Step::Flush => drop(desk.flush()),
        Step::Replace(conn) => {
            desk.out.remove(conn);
            desk.out.add(conn);
            desk.out.open(conn, true);
            desk.net.got[conn as usize].clear();
            expected[conn as usize] = Expected::default();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_connection_gets_its_bytes_in_order_and_the_accounts_are_exact(steps in prop::collection::vec(step(), 0..120)) {
        let mut desk = Desk::new(CONNS);
        let mut expected: Vec<Expected> = (0..CONNS).map(|_| Expected::default()).collect();
        for (number, step) in steps.into_iter().enumerate() {
            apply(&mut desk, &mut expected, step, number as u8);
            for conn in 0..CONNS {
                let (pending, replies) = expected[conn as usize].take(&desk.net.got[conn as usize]);
                prop_assert_eq!(desk.out.pending(conn), pending);
                // One range alone in the hot record is never a reply.
                prop_assert_eq!(desk.out.pending_replies(conn), replies);
                let slow = pending - replies > desk.out.bytes_max && desk.out.is_blocked(conn);
                prop_assert!(!slow || desk.out.slow.contains(&conn));
            }
            prop_assert_eq!(desk.out.owed(), desk.owed());
        }
        desk.drain();
        for (got, expected) in desk.net.got.iter().zip(&expected) {
            prop_assert!(*got == expected.bytes);
        }
    }

    #[test]
    fn a_stalled_connection_pins_in_proportion_to_what_it_waits_for(
        lens in prop::collection::vec(prop::collection::vec(0usize..400, 1..40), 1..12),
        parts in prop::collection::vec((0usize..40, 1usize..40), 12),
        room in 0usize..5_000,
    ) {
        let mut desk = Desk::new(1);
        desk.out.bytes_max = usize::MAX;
        desk.net.room[0] = room;
        for (number, lens) in lens.iter().enumerate() {
            let batch = batch(number as u8, lens);
            let ends: Vec<usize> = lens.iter().scan(0, |end, &len| { *end += len + encode::header_len(len); Some(*end) }).collect();
            let (first, frames) = parts[number];
            let first = first.min(lens.len() - 1);
            let last = (first + frames).min(lens.len());
            let start = if first == 0 { 0 } else { ends[first - 1] };
            desk.deliver(&[0], &batch, start..ends[last - 1], false);
            desk.flush();
            if desk.out.is_blocked(0) {
                // The rest of a half-sent frame stands behind its sent part.
                prop_assert!(desk.pinned(0) <= 4 * (desk.out.pending(0) + 403));
            }
        }
        desk.drain();
    }
}
