//! What a slow reader may hear, and each way in which a broker could get it wrong.

use super::*;

const EPOCH: u32 = 7;

#[derive(Clone, Copy)]
enum Heard {
    /// The publication at an offset.
    At(u64),
    /// So many missed, up to an offset.
    Gap(u64, u64),
}
use Heard::{At, Gap};

/// Ten are published; the subscription began at 100.
fn judged(overflow: Overflow, newest: u64, refused: bool, heard: &[Heard]) -> Faults {
    let (mut reader, mut faults) = (SlowReader::default(), Faults::default());
    reader.begins(position(0));
    for heard in heard {
        match *heard {
            At(offset) => reader.take(stamp(offset), position(offset), &mut faults),
            Gap(missed, offset) => reader.take_gap(missed, position(offset), &mut faults),
        }
    }
    if refused {
        reader.take_refusal();
    }
    assert_eq!(reader.is_done(10), refused || heard.iter().any(|heard| matches!(heard, At(10))));
    reader.finish(&Expected { overflow, published: 10, newest }, &mut faults);
    faults
}

fn dropping(heard: &[Heard]) -> Faults {
    judged(Overflow::DropOldest, 1, false, heard)
}

fn position(offset: u64) -> Position {
    Position { epoch: EPOCH, offset: 100 + offset }
}

fn stamp(offset: u64) -> Stamp {
    Stamp { publisher: 0, sequence: u32::try_from(offset).unwrap() - 1, publication: 0, intended_ns: 0 }
}

#[test]
fn delivered_and_missed_that_add_up_are_without_fault() {
    for heard in [
        &[At(1), At(2), Gap(5, 7), At(8), At(9), At(10)][..],
        &[At(1), At(2), At(4), Gap(5, 8), At(9), At(10)],
        &[At(1), Gap(2, 3), At(4), Gap(4, 8), At(9), At(10)],
        &[Gap(9, 9), At(10)],
        &[Gap(3, 3), Gap(6, 9), At(10)],
        &[At(1), At(2), At(3), At(4), At(5), At(6), At(7), At(8), At(9), At(10)],
    ] {
        assert_eq!(dropping(heard), Faults::default());
        assert_eq!(judged(Overflow::Latest, 1, false, heard), Faults::default());
    }
}

#[test]
fn of_each_conflate_key_the_newest_has_to_come() {
    // Keys 1, 2, 0, 1, 2, 0 …: the newest of each are 8, 9 and 10; in between an old one of a quiet key may come late.
    let conflated = |heard: &[Heard]| judged(Overflow::Latest, 3, false, heard);
    assert_eq!(conflated(&[At(1), Gap(6, 7), At(8), At(9), At(10)]), Faults::default());
    assert_eq!(conflated(&[At(1), Gap(5, 7), At(4), At(8), At(9), At(10)]), Faults::default());
    let faults = conflated(&[At(1), Gap(6, 8), At(7), At(9), At(10)]);
    assert_eq!((faults.lost, faults.overflow_breaks), (1, 0), "8 is the newest of its key: {:?}", faults.sentences);
}

#[test]
fn what_is_missed_and_not_told_is_found() {
    for heard in [
        &[At(1), At(2), At(8), At(9), At(10)][..],
        &[At(1), At(2), Gap(4, 7), At(8), At(9), At(10)],
        &[At(1), At(2), Gap(5, 7), At(8), At(10)],
    ] {
        let faults = dropping(heard);
        assert_eq!((faults.overflow_breaks, faults.total()), (1, 1), "{:?}", faults.sentences);
    }
}

#[test]
fn a_gap_that_tells_too_much_is_found_where_it_stands() {
    for heard in [
        &[At(1), At(2), Gap(6, 7), At(8), At(9), At(10)][..], // more than there are holes
        &[At(1), At(2), Gap(5, 2), At(8), At(9), At(10)],     // up to one that came
        &[At(1), At(2), Gap(5, 8), At(8), At(9), At(10)],     // one that comes yet
        &[At(1), At(2), Gap(5, 7), Gap(5, 7), At(8), At(9), At(10)],
        &[At(1), At(2), Gap(5, 7), Gap(0, 6), At(8), At(9), At(10)],
        &[At(1), At(2), At(8), Gap(5, 7), At(9), At(10)], // behind what is newer
        &[At(1), At(2), At(8), At(9), At(10), Gap(5, 7)],
    ] {
        let faults = dropping(heard);
        assert!(faults.overflow_breaks > 0, "{:?}", faults.sentences);
    }
}

#[test]
fn the_newest_that_never_came_is_lost_even_if_it_is_told() {
    let faults = dropping(&[At(1), At(2), Gap(8, 10)]);
    assert_eq!((faults.lost, faults.total()), (1, 1));
}

#[test]
fn doubles_swaps_and_strangers_are_what_they_are() {
    let faults = dropping(&[At(1), At(1), Gap(8, 9), At(10)]);
    assert_eq!((faults.doubled, faults.total()), (1, 1));
    let faults = dropping(&[At(2), At(1), Gap(7, 9), At(10)]);
    assert_eq!((faults.out_of_order, faults.overflow_breaks), (1, 1));
    let (mut reader, mut faults) = (SlowReader::default(), Faults::default());
    reader.begins(position(0));
    reader.take(stamp(1), Position { epoch: EPOCH + 1, offset: 101 }, &mut faults);
    reader.take(stamp(2), position(1), &mut faults);
    reader.take_gap(1, Position { epoch: EPOCH, offset: 100 }, &mut faults);
    reader.take_gap(1, Position { epoch: EPOCH, offset: u64::MAX }, &mut faults);
    assert_eq!((faults.position_breaks, faults.total(), reader.delivered(), reader.missed()), (4, 4, 0, 0));
}

#[test]
fn with_disconnect_it_gets_a_prefix_and_4008() {
    let refused = |refused, heard: &[Heard]| judged(Overflow::Disconnect, 1, refused, heard);
    assert_eq!(refused(true, &[At(1), At(2), At(3)]), Faults::default());
    assert_eq!(refused(true, &[]), Faults::default());
    assert_eq!(refused(false, &[At(1), At(2), At(3)]).overflow_breaks, 1, "not closed");
    assert_eq!(refused(true, &[At(1), At(3)]).lost, 1);
    assert_eq!(refused(true, &[At(1), Gap(1, 2), At(3)]).overflow_breaks, 1, "closed, not dropped from");
}
