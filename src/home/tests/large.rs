//! Large publications that are kept: who has their bytes, and what they are counted as.

use super::past::ask;
use super::*;
use crate::rules::{self, Overflow, Rule};

const LEN: usize = 100_000;

/// Keeps ten of each topic, in so many bytes.
fn keeping(history_bytes_max: usize) -> Home {
    let history = Some(rules::History { count: 10, age_s: 100 });
    let rule = Rule { filter: "#".to_owned(), history, overflow: Overflow::Latest, ..Rule::default() };
    Home::new(ShardId(0), 2, Rc::new(Rules::new(vec![rule])), history_bytes_max, 7)
}

fn publish_bytes(home: &mut Home, len: usize) {
    home.handle_publish(Publish {
        topic: topic("a"),
        payload: Payload::Binary(&vec![7; len]),
        shard: ShardId(0),
        conn: NO_ONE,
        user: None,
        permit: Permit::default(),
        id: Id::None,
        echo: false,
        key: None,
        conflate: Some("one of the keys"),
    });
}

/// The batches of a turn that wait for one shard.
fn batches(home: &mut Home, shard: u16) -> Vec<Arc<Batch>> {
    home.end_turn();
    let items = std::mem::take(home.parcel(ShardId(shard))).items;
    let batch = |item| match item {
        Delivery::Batch { batch, .. } => Some(batch),
        _ => None,
    };
    items.into_iter().filter_map(batch).collect()
}

#[test]
fn the_history_has_the_very_bytes_that_subscribers_got() {
    let mut home = keeping(usize::MAX);
    subscribe(&mut home, "a", 0, 1);
    home.parcel(ShardId(0)).items.clear();
    for len in [10, LEN, 20, 30, LEN] {
        publish_bytes(&mut home, len);
    }
    let sent = batches(&mut home, 0);
    assert_eq!(sent.iter().map(|batch| batch.runs[0].publications).collect::<Vec<_>>(), [1, 1, 2, 1]);
    let replay = ask(&mut home, "a", From::Last(10)).replay;
    let large = [&replay[1], &replay[3]];
    for (piece, batch) in large.into_iter().zip([&sent[1], &sent[3]]) {
        assert!(Arc::ptr_eq(&piece.chunk, batch));
        assert_eq!(piece.frames.of(&piece.chunk.bytes), batch.runs[0].frames.of(&batch.bytes));
        assert_eq!(batch.bytes.capacity(), batch.bytes.len(), "made as long as it is, once");
    }
    let replayed: Vec<u8> = replay.iter().flat_map(|piece| piece.frames.of(&piece.chunk.bytes)).copied().collect();
    let frames: Vec<u8> = sent.iter().flat_map(|batch| batch.runs[0].frames.of(&batch.bytes)).copied().collect();
    assert!(replayed == frames, "and all in order");
}

#[test]
fn what_the_history_shares_is_counted_whole() {
    for subscribed in [true, false] {
        let mut home = keeping(usize::MAX);
        if subscribed {
            subscribe(&mut home, "a", 0, 1);
        }
        publish_bytes(&mut home, LEN);
        let sent = batches(&mut home, 0);
        let chunk = Arc::clone(&ask(&mut home, "a", From::Last(1)).replay[0].chunk);
        let bytes = home.kept().bytes;
        assert!((chunk.memory_bytes()..chunk.memory_bytes() + 1_000).contains(&bytes), "{bytes}");
        assert!((LEN..LEN + 2_000).contains(&bytes), "{bytes} of a frame that stands there once");
        assert_eq!(Arc::strong_count(&chunk), 2 + sent.len(), "ours, the history's and the delivery's");
    }
}

#[test]
fn what_the_history_forgets_for_want_of_room_is_given_back() {
    let mut home = keeping(3 * LEN);
    subscribe(&mut home, "a", 0, 1);
    let mut sent = Vec::new();
    for _ in 0..6 {
        publish_bytes(&mut home, LEN);
        sent.extend(batches(&mut home, 0).iter().map(Arc::downgrade));
        assert!(home.kept().bytes <= 3 * LEN);
    }
    let alive: Vec<bool> = sent.iter().map(|batch| batch.strong_count() > 0).collect();
    assert_eq!(alive, [false, false, false, false, true, true]);
}

#[test]
fn a_history_pins_no_other_form_of_what_it_keeps() {
    let mut home = keeping(usize::MAX);
    subscribe(&mut home, "a", 0, 1);
    let key = home.topics.find(topic("a")).expect("subscribed to");
    home.topics.at(key).exact_forms.insert(Form::Events);
    publish_bytes(&mut home, LEN);
    let sent = batches(&mut home, 0);
    assert!(sent[0].in_form(Form::Events).is_some());
    let replay = ask(&mut home, "a", From::Last(1)).replay;
    assert!(!Arc::ptr_eq(&replay[0].chunk, &sent[0]));
    assert_eq!(replay[0].frames.of(&replay[0].chunk.bytes), sent[0].runs[0].frames.of(&sent[0].bytes));
    assert_eq!(Arc::strong_count(&sent[0]), 1, "the delivery alone has it");
}
