//! An estate that is wrong: each fault is found where it is, and costs no memory.

use proptest::prelude::*;

use super::*;

/// A right estate of one topic with two publications and a key.
fn right() -> Vec<u8> {
    let mut out = Vec::new();
    write_topic(&mut out, "a/b", 7, 5, true);
    write_keys(&mut out, std::iter::once(Key { offset: 5, left: 9, key: "k" }));
    assert_eq!(write_publications(&mut out, two(4)), None);
    write_topic_end(&mut out);
    write_home_end(&mut out, 1);
    write_end(&mut out, 1);
    out
}

/// Two publications from that offset on.
fn two(first: u64) -> impl Iterator<Item = (u64, Kept<'static>)> {
    let payloads = [Payload::Json(b"{\"n\":1}"), Payload::Binary(b"\xff\0")];
    let kept = payloads.map(|payload| Kept { age: 3, from: b",\"from\":\"ann\"", payload });
    (first..).zip(kept)
}

fn write_two(out: &mut Vec<u8>, first: u64) {
    assert_eq!(write_publications(out, two(first)), None, "they fit into one record");
}

/// Whether all of it was right, and how many topics came whole.
fn outcome(estate: &[u8]) -> (Result<bool, Fault>, usize) {
    let (mut reader, mut topics) = (Reader::new(usize::MAX), 0);
    let read = reader.read(estate, &mut |_| topics += 1);
    assert_eq!(reader.read(b"", &mut |_| unreachable!()), read, "it says so again");
    (read.map(|()| reader.is_whole()), topics)
}

#[test]
fn what_is_written_is_read() {
    let (mut reader, mut bequests) = (Reader::new(usize::MAX), Vec::new());
    reader.read(&right(), &mut |bequest| bequests.push(bequest)).expect("right");
    let [Bequest { name, epoch: 7, offset: 5, awaited: true, publications: kept, keys: known }] = &bequests[..] else {
        panic!("{bequests:?}");
    };
    assert_eq!(&**name, "a/b");
    assert_eq!(publications(&kept[0]).collect::<Vec<_>>(), two(4).collect::<Vec<_>>());
    assert_eq!(keys(&known[0]).collect::<Vec<_>>(), [Key { offset: 5, left: 9, key: "k" }]);
}

#[test]
fn each_record_belongs_where_it_is() {
    type Write = fn(&mut Vec<u8>);
    let topic: Write = |out| write_topic(out, "a", 1, 5, false);
    let kept: Write = |out| write_two(out, 4);
    let early: Write = |out| write_two(out, 2);
    let late: Write = |out| write_two(out, 5);
    let none: Write = |out| write_two(out, 0);
    let key: Write = |out| write_keys(out, std::iter::once(Key { offset: 5, left: 1, key: "k" }));
    let future: Write = |out| write_keys(out, std::iter::once(Key { offset: 6, left: 1, key: "k" }));
    let (end, home, all): (Write, Write, Write) =
        (write_topic_end, |out| write_home_end(out, 1), |out| write_end(out, 1));
    let odd: Write = |out| record(out, Kind::TopicEnd, |out| out.push(0));
    let stranger: Write = |out| write_topic(out, "$presence/a", 1, 5, false);
    let filter: Write = |out| write_topic(out, "a/+", 1, 5, false);
    let kind: Write = |out| out.extend_from_slice(&[1, 0, 0, 0, 9]);
    let empty: Write = |out| out.extend_from_slice(&[0, 0, 0, 0]);
    let long: Write = |out| out.extend_from_slice(&[0xff; 4]);
    let cases: [(&[Write], Result<bool, Fault>, usize); 27] = [
        (&[topic, kept, key, end, home, all], Ok(true), 1),
        (&[topic, end, home, all], Ok(true), 1),
        (&[topic, end, home], Ok(false), 1),
        (&[topic, kept], Ok(false), 0),
        (&[topic, end, topic, end, home], Err(Fault::Count), 2),
        (&[topic, end, home, home], Err(Fault::Count), 1),
        (&[topic, end, all], Err(Fault::Order), 1),
        (&[all], Err(Fault::Count), 0),
        (&[topic, topic], Err(Fault::Order), 0),
        (&[kept], Err(Fault::Order), 0),
        (&[key], Err(Fault::Order), 0),
        (&[end], Err(Fault::Order), 0),
        (&[topic, home], Err(Fault::Order), 0),
        (&[topic, all], Err(Fault::Order), 0),
        (&[topic, end, home, all, topic], Err(Fault::Order), 1),
        (&[topic, early, end], Err(Fault::Body), 0),
        (&[topic, early, kept, end, home, all], Ok(true), 1),
        (&[topic, kept, early], Err(Fault::Body), 0),
        (&[topic, late], Err(Fault::Body), 0),
        (&[topic, none], Err(Fault::Body), 0),
        (&[topic, future], Err(Fault::Body), 0),
        (&[topic, odd], Err(Fault::Body), 0),
        (&[stranger], Err(Fault::Body), 0),
        (&[filter], Err(Fault::Body), 0),
        (&[kind], Err(Fault::Kind(9)), 0),
        (&[empty], Err(Fault::Length(0)), 0),
        (&[long], Err(Fault::Length(u32::MAX)), 0),
    ];
    for (number, (records, expected, topics)) in cases.into_iter().enumerate() {
        let mut out = Vec::new();
        records.iter().for_each(|write| write(&mut out));
        assert_eq!(outcome(&out), (expected, topics), "case {number}");
    }
}

#[test]
fn a_publication_is_text_or_bytes_and_names_its_publisher_by_a_whole_member() {
    let with = |kept: Kept<'static>| {
        let mut out = Vec::new();
        write_topic(&mut out, "a", 1, 1, false);
        write_publications(&mut out, std::iter::once((1, kept)));
        write_topic_end(&mut out);
        outcome(&out).0
    };
    let right = Kept { age: 0, from: b"", payload: Payload::Json(b"1") };
    assert_eq!(with(right), Ok(false));
    assert_eq!(with(Kept { payload: Payload::Binary(b""), ..right }), Ok(false));
    assert_eq!(with(Kept { payload: Payload::Json(b"\"\xff\""), ..right }), Err(Fault::Body));
    assert_eq!(with(Kept { payload: Payload::Json(b""), ..right }), Err(Fault::Body));
    for from in [
        &b",\"from\":"[..],
        b",\"from\":\"",
        b",\"from\":\"a\"b\"",
        b"x",
        b",\"from\":\"a\",\"b\":\"c\"",
        b",\"from\":1",
    ] {
        assert_eq!(with(Kept { from, ..right }), Err(Fault::Body), "{from:?}");
    }
}

#[test]
fn a_promise_of_much_takes_no_memory() {
    let mut reader = Reader::new(usize::MAX);
    let len = u32::try_from(limits::ESTATE_RECORD_BYTES_MAX).expect("far below");
    reader.read(&len.to_le_bytes(), &mut |_| unreachable!()).expect("it may be so long");
    assert!(format!("{reader:?}").contains("fault: None"));
    assert!(reader.record.capacity() <= limits::ESTATE_RECORD_BYTES);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_byte_is_a_fault_or_another_estate_and_never_a_panic(
        at: prop::sample::Index,
        byte: u8,
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut estate = right();
        let at = at.index(estate.len());
        estate[at] = byte;
        estate.extend(tail);
        let (mut reader, mut bequests) = (Reader::new(usize::MAX), Vec::new());
        let _ = reader.read(&estate, &mut |bequest| bequests.push(bequest));
        for Bequest { offset, publications: kept, keys: known, .. } in &bequests {
            let last = kept.iter().flat_map(|body| publications(body)).last();
            prop_assert!(last.is_none_or(|(last, _)| last == *offset));
            prop_assert!(known.iter().flat_map(|body| keys(body)).all(|key| key.offset <= *offset));
        }
    }
}
