//! What a home remembers goes over to another one whole: positions, replays, keys, ages; and no more than that one may keep.

use super::*;
use crate::home::estate::{self, Bequest, Reader};
use crate::ids::{TICK_MS, Tick};
use crate::rules::{self, Rule};

/// The clock of an heir stands here when it inherits.
const AS_OF: Tick = Tick(50_000);

const TOPICS: [&str; 5] = ["kept/a", "kept/\"b\"", "brief/a", "plain", "mute/a"];

fn rules() -> Vec<Rule> {
    let rule = |filter: &str| Rule { filter: filter.to_owned(), ..Rule::default() };
    vec![
        Rule { history: Some(rules::History { count: 10, age_s: 100 }), from: true, ..rule("kept/#") },
        Rule { history: Some(rules::History { count: 1000, age_s: 5 }), idempotency_s: 3, ..rule("brief/#") },
        Rule { publish: Access::Nobody, ..rule("mute/#") },
    ]
}

fn home_of(rules: Vec<Rule>, history_bytes_max: usize, seed: u64) -> Home {
    Home::new(ShardId(0), 2, Rc::new(Rules::new(rules)), history_bytes_max, seed)
}

/// Publishes so many bytes of payload, as a user if it has one, under a key if it has one.
fn publish_with(home: &mut Home, name: &str, (len, binary): (usize, bool), user: Option<&str>, key: Option<&str>) {
    let json = format!("\"{}\"", "x".repeat(len));
    let payload = if binary { Payload::Binary(&json.as_bytes()[1..]) } else { Payload::Json(json.as_bytes()) };
    home.handle_publish(Publish {
        topic: topic(name),
        payload,
        shard: ShardId(0),
        conn: NO_ONE,
        user,
        permit: Permit::default(),
        id: Id::Int(1),
        echo: true,
        key,
        conflate: None,
    });
}

/// The whole estate of a home, which freezes for it.
fn estate_of(home: &mut Home) -> Vec<u8> {
    home.handle_freeze();
    let (mut all, mut more) = (Vec::new(), true);
    while more {
        let mut piece = Vec::new();
        more = home.bequeath(&mut piece);
        let keys = home.kept().keys * (limits::KEY_BYTES_MAX + 16);
        assert!(piece.len() < 2 * limits::ESTATE_RECORD_BYTES + keys, "{}", piece.len());
        all.append(&mut piece);
    }
    assert!(!home.bequeath(&mut all), "it was all");
    estate::write_end(&mut all, 1);
    all
}

/// What a reader gives out of bytes that come in these pieces.
fn read<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<Bequest>, Reader) {
    let (mut reader, mut bequests) = (Reader::new(usize::MAX), Vec::new());
    for piece in pieces {
        reader.read(piece, &mut |bequest| bequests.push(bequest)).expect("a right estate");
    }
    (bequests, reader)
}

fn inherit(heir: &mut Home, estate: &[u8]) {
    let (bequests, reader) = read(std::iter::once(estate));
    assert!(reader.is_whole());
    bequests.into_iter().for_each(|bequest| heir.inherit(bequest, AS_OF));
    heir.begin_turn(AS_OF); // turns go by before that was all
    heir.end_inheritance(AS_OF.after_ms(60_000));
    heir.begin_turn(AS_OF);
}

/// Everything that subscribers and publishers can find out of a home.
fn memory(home: &mut Home) -> Vec<String> {
    let mut memory = Vec::new();
    for name in TOPICS {
        let Some(key) = home.topics.find(topic(name)) else { continue };
        let Position { epoch, offset: newest } = newest(home, name);
        for offset in 0..=newest + 1 {
            let (recovered, replay) = home.topics.at(key).replay(From::Since(Position { epoch, offset }));
            let bytes: Vec<u8> =
                replay.iter().flat_map(|piece| piece.frames.of(&piece.chunk.bytes).iter().copied()).collect();
            memory.push(format!("{name} {epoch:x}:{offset} {recovered:?} {}", String::from_utf8_lossy(&bytes)));
        }
        for number in 0..KEYS {
            let found = Keys::find(&mut home.topics, key, &format!("key {number}"), home.now);
            memory.push(format!("{name} key {number} {found:?}"));
        }
    }
    memory
}

const KEYS: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Publish { topic: usize, body: (usize, bool), user: bool, key: Option<u32> },
    Pass { ticks: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let body = (prop_oneof![0..100usize, 0..100usize, 9_000..30_000usize], any::<bool>());
    let publish = (0..4usize, body, any::<bool>(), prop::option::of(0..KEYS));
    prop_oneof![
        8 => publish.prop_map(|(topic, body, user, key)| Step::Publish { topic, body, user, key }),
        1 => (0..30u32).prop_map(|ticks| Step::Pass { ticks }),
    ]
}

fn walk(home: &mut Home, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Publish { topic, body, user, key } => {
                let key = key.map(|key| format!("key {key}"));
                publish_with(home, TOPICS[*topic], *body, user.then_some("a \"b\" ä"), key.as_deref());
            }
            Step::Pass { ticks } => {
                home.end_turn();
                home.begin_turn(Tick(home.now.0 + ticks));
            }
        }
    }
    home.end_turn();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_heir_remembers_what_the_home_would_have_then_and_at_any_time_after(
        steps in prop::collection::vec(step(), 0..120),
        later in prop::collection::vec(0..60u32, 1..4),
        seed: u64,
    ) {
        let mut former = home_of(rules(), usize::MAX, 7);
        let mut lives_on = home_of(rules(), usize::MAX, 7);
        walk(&mut former, &steps);
        walk(&mut lives_on, &steps);
        let mut heir = home_of(rules(), usize::MAX, seed);
        inherit(&mut heir, &estate_of(&mut former));
        prop_assert_eq!(memory(&mut heir), memory(&mut lives_on));
        prop_assert_eq!(heir.kept().keys, lives_on.kept().keys);
        for ticks in later {
            for home in [&mut heir, &mut lives_on] {
                home.begin_turn(Tick(home.now.0 + ticks));
                home.begin_turn(home.now);
                if home.topics.find(topic("kept/a")).is_some() {
                    publish_with(home, "kept/a", (3, false), None, Some("key 0"));
                }
            }
            prop_assert_eq!(memory(&mut heir), memory(&mut lives_on));
        }
        // And a second time, by what it inherited itself.
        let mut next = home_of(rules(), usize::MAX, !seed);
        let expected = memory(&mut heir);
        inherit(&mut next, &estate_of(&mut heir));
        prop_assert_eq!(memory(&mut next), expected);
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_topics(
        steps in prop::collection::vec(step(), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut home = home_of(rules(), usize::MAX, 7);
        walk(&mut home, &steps);
        let estate = estate_of(&mut home);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(estate.len() + 1)).chain([0, estate.len()]).collect();
        cuts.sort_unstable();
        let (pieces, reader) = read(cuts.windows(2).map(|cut| &estate[cut[0]..cut[1]]));
        prop_assert!(reader.is_whole());
        let (whole, _) = read(std::iter::once(&estate[..]));
        prop_assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
    }

    #[test]
    fn what_breaks_off_is_taken_as_far_as_topics_are_whole(
        steps in prop::collection::vec(step(), 1..40),
        cut: prop::sample::Index,
    ) {
        let mut home = home_of(rules(), usize::MAX, 7);
        walk(&mut home, &steps);
        let expected = memory(&mut home);
        let estate = estate_of(&mut home);
        let (bequests, reader) = read(std::iter::once(&estate[..cut.index(estate.len())]));
        prop_assert!(!reader.is_whole());
        let mut heir = home_of(rules(), usize::MAX, 8);
        bequests.into_iter().for_each(|bequest| heir.inherit(bequest, AS_OF));
        heir.end_inheritance(AS_OF);
        heir.begin_turn(AS_OF);
        let taken = memory(&mut heir);
        prop_assert!(taken.iter().all(|line| expected.contains(line)), "{taken:?}");
    }
}

#[test]
fn a_frozen_home_publishes_nothing_forgets_nothing_and_still_answers() {
    let mut home = home_of(rules(), usize::MAX, 7);
    publish_with(&mut home, "kept/a", (1, false), None, None);
    publish_with(&mut home, "brief/a", (1, false), None, Some("key 0"));
    hear(&mut home, 0);
    home.handle_freeze();
    let before = memory(&mut home);
    publish_with(&mut home, "kept/a", (1, false), None, None);
    publish_with(&mut home, "brief/a", (1, false), None, Some("key 0"));
    publish_with(&mut home, "never/heard", (1, false), None, None);
    assert_eq!(hear(&mut home, 0), ["refused Int(1) 503", "refused Int(1) 503", "refused Int(1) 503"]);
    assert_eq!(home.next_due(), None, "nothing wakes it");
    home.begin_turn(Tick(20)); // of windows and ages only the clock knows
    assert_eq!(memory(&mut home), before);
    home.begin_turn(Tick(100_000));
    assert!(home.kept().bytes > 0 && home.topics.find(topic("never/heard")).is_none());
    subscribe(&mut home, "kept/a", 0, 5);
    assert_eq!(hear(&mut home, 0), ["subscribed 5 at 1"]);
}

#[test]
fn an_heir_keeps_what_its_own_rules_and_memory_keep() {
    let mut home = home_of(rules(), usize::MAX, 7);
    for number in 0..100 {
        publish_with(&mut home, "kept/a", (10, false), None, Some(&format!("key {number}")));
        publish_with(&mut home, "brief/a", (1000, false), None, None);
    }
    let position = newest(&mut home, "kept/a");
    home.begin_turn(Tick(20));
    let estate = estate_of(&mut home);
    let rule = |filter: &str| Rule { filter: filter.to_owned(), ..Rule::default() };
    let less = vec![
        Rule { history: Some(rules::History { count: 4, age_s: 3 }), idempotency_s: 0, ..rule("kept/#") },
        Rule { history: Some(rules::History { count: 1000, age_s: 2 }), ..rule("brief/#") },
    ];
    let mut heir = home_of(less, usize::MAX, 8);
    inherit(&mut heir, &estate);
    assert_eq!(newest(&mut heir, "kept/a"), position, "positions go on");
    let key = heir.topics.find(topic("kept/a")).expect("inherited");
    let replay = |heir: &mut Home, offset| {
        let since = From::Since(Position { offset, ..position });
        heir.topics.at(key).replay(since).0
    };
    assert_eq!((replay(&mut heir, 96), replay(&mut heir, 95)), (Some(true), Some(false)), "four");
    assert_eq!(heir.kept().keys, 0);
    heir.begin_turn(Tick(AS_OF.0 + 9));
    assert_eq!(replay(&mut heir, 96), Some(true));
    heir.begin_turn(Tick(AS_OF.0 + 10));
    assert_eq!(replay(&mut heir, 96), Some(false), "published two seconds before, they are three seconds old");
    let brief = heir.topics.find(topic("brief/a")).expect("its position is remembered");
    assert!(heir.topics.at(brief).history.is_none(), "two seconds old when it came");

    let mut heir = home_of(rules(), 50_000, 8);
    inherit(&mut heir, &estate);
    assert!(heir.kept().bytes <= 50_000 && heir.kept().evicted > 50, "{:?}", heir.kept());
    assert_eq!(newest(&mut heir, "brief/a").offset, 100);
}

#[test]
fn a_reader_keeps_the_newest_of_a_topic_that_is_longer_than_all_may_be() {
    let long = vec![Rule { history: Some(rules::History { count: 1_000_000, age_s: 100 }), ..Rule::default() }];
    let mut home = home_of(long.clone(), usize::MAX, 7);
    for _ in 0..3_000 {
        publish_with(&mut home, "a", (1_000, false), None, None);
    }
    let (mut reader, mut bequests) = (Reader::new(600_000), Vec::new());
    reader.read(&estate_of(&mut home), &mut |bequest| bequests.push(bequest)).expect("a right one");
    let bytes: usize = bequests[0].publications.iter().map(Vec::len).sum();
    assert!(bytes <= 600_000 && bytes > 300_000, "{bytes}");
    let mut heir = home_of(long, usize::MAX, 8);
    bequests.into_iter().for_each(|bequest| heir.inherit(bequest, AS_OF));
    heir.end_inheritance(AS_OF);
    let key = heir.topics.find(topic("a")).expect("inherited");
    let history = heir.topics.at(key).history.as_ref().expect("some of it");
    assert_eq!(history.first(), Some(3_001 - history.len() as u64), "no hole up to the newest");
}

#[test]
fn topics_that_had_subscribers_are_kept_for_them_beyond_the_limit_of_idle_ones_for_a_time() {
    const MANY: usize = 2 * limits::TOPICS_IDLE_MAX;
    let mut home = plain(2, 7);
    for number in 0..MANY {
        subscribe(&mut home, &format!("held/{number}"), 0, 1);
    }
    publish(&mut home, "idle");
    let mut heir = plain(2, 8);
    inherit(&mut heir, &estate_of(&mut home));
    assert_eq!(heir.topics_len(), MANY + 1);
    assert_eq!(newest(&mut heir, "held/0"), newest(&mut home, "held/0"));
    subscribe(&mut heir, "held/1", 0, 1);
    heir.begin_turn(Tick(AS_OF.0 + 599));
    assert_eq!(heir.topics_len(), MANY + 1);
    let mut turns = 0;
    while heir.next_due().is_some() {
        heir.begin_turn(Tick(AS_OF.0 + 600));
        turns += 1;
    }
    assert!(turns >= MANY / limits::BEQUESTS_RELEASED_PER_TURN);
    assert_eq!(heir.topics_len(), limits::TOPICS_IDLE_MAX + 1, "the idle ones and the one that is held");
    assert!(heir.topics.find(topic("held/1")).is_some());
}

#[test]
fn members_and_names_that_were_only_refused_are_no_part_of_an_estate() {
    let presence = vec![Rule { presence: true, ..Rule::default() }];
    let mut home = home_of([rules(), presence.clone()].concat(), usize::MAX, 7);
    subscribe(&mut home, "room", 1, 1);
    publish_with(&mut home, "mute/a", (1, false), None, None);
    home.end_turn();
    let mut heir = home_of(presence, usize::MAX, 8);
    inherit(&mut heir, &estate_of(&mut home));
    assert_eq!((heir.topics_len(), heir.members_len()), (1, 0));
    assert!(heir.topics.find(topic("room")).is_some());
}

#[test]
fn more_keys_than_a_home_may_remember_leave_the_newest() {
    let rule = Rule { idempotency_s: 100, ..Rule::default() };
    let (mut estate, half) = (Vec::new(), limits::IDEMPOTENCY_KEYS_MAX / 2 + 1);
    for home in 0..5u32 {
        let mut former = home_of(vec![rule.clone()], usize::MAX, home.into());
        former.begin_turn(Tick(home));
        for number in 0..half {
            publish_with(&mut former, &format!("topic {home}"), (1, false), None, Some(&number.to_string()));
        }
        former.begin_turn(Tick(10));
        let mut all = estate_of(&mut former);
        all.truncate(all.len() - 13); // the record of the end
        estate.append(&mut all);
    }
    estate::write_end(&mut estate, 5);
    let mut heir = home_of(vec![rule], usize::MAX, 9);
    inherit(&mut heir, &estate);
    assert_eq!(heir.kept().keys, limits::IDEMPOTENCY_KEYS_MAX);
    let mut found = |home| {
        let key = heir.topics.find(topic(&format!("topic {home}"))).expect("inherited");
        (0..half).filter(|number| Keys::find(&mut heir.topics, key, &number.to_string(), AS_OF).is_some()).count()
    };
    assert_eq!([found(4), found(0)], [half, 0]);
    let due = heir.next_due().expect("keys end");
    assert_eq!(u64::from(due.0 - AS_OF.0) * TICK_MS / 1000, 99, "those of the youngest home");
}
