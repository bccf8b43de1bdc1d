//! What another process says that its homes remember: no panic, no memory beyond what came, any split gives the same, and
//! whatever is taken leaves a home that answers and can be handed on.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use wirefan::home::Home;
use wirefan::home::estate::{Bequest, Reader, write_end};
use wirefan::ids::{ShardId, Tick};
use wirefan::rules::{History, Rule, Rules};

const AS_OF: Tick = Tick(1_000);

// The first byte says how the others are split.
fuzz_target!(|data: &[u8]| {
    let Some((split, estate)) = data.split_first() else { return };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let read = Reader::new(usize::MAX).read(estate, &mut |bequest| whole.push(bequest));
    let mut reader = Reader::new(usize::MAX);
    let mut outcome = Ok(());
    for piece in estate.chunks(usize::from(*split).max(1)) {
        outcome = reader.read(piece, &mut |bequest| parts.push(bequest));
    }
    assert_eq!(outcome, read);
    assert_eq!(format!("{parts:?}"), format!("{whole:?}"));
    let (home, again) = (heir(whole), parts.len());
    let second = heir(bequeathed(home));
    // Twice the same topic is one, so there may be fewer than were read.
    assert!(second.topics_len() <= again);
});

fn heir(bequests: Vec<Bequest>) -> Home {
    let history = Some(History { count: 3, age_s: 50 });
    let rules = Rules::new(vec![Rule { filter: "a/#".to_owned(), history, ..Rule::default() }]);
    let mut home = Home::new(ShardId(0), 1, Rc::new(rules), 10_000, 1);
    bequests.into_iter().for_each(|bequest| home.inherit(bequest, AS_OF));
    home.end_inheritance(AS_OF);
    home.begin_turn(AS_OF);
    let kept = home.kept();
    assert!(kept.bytes <= 10_000, "{kept:?}");
    home
}

fn bequeathed(mut home: Home) -> Vec<Bequest> {
    home.handle_freeze();
    let (mut estate, mut bequests) = (Vec::new(), Vec::new());
    while home.bequeath(&mut estate) {}
    write_end(&mut estate, 1);
    let mut reader = Reader::new(usize::MAX);
    reader.read(&estate, &mut |bequest| bequests.push(bequest)).expect("what a home says is right");
    assert!(reader.is_whole());
    bequests
}
