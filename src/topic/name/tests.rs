//! What is a topic, what is a filter, and which topics a filter stands for.

use super::*;
use NameError::*;
use proptest::prelude::*;

#[test]
fn a_topic_is_levels_of_plain_characters() {
    let longest = "x".repeat(255);
    let deepest = ["a"; 128].join("/");
    for text in [
        "a",
        "chat",
        "chat/1",
        "a/b/c/d",
        "chat room/No. 1",
        "Größe/東京/😀",
        "$sys/load",
        "a$/b",
        "a\\b\"c",
        "\u{a0}",
        "\u{b5}",
        "\u{fffd}",
        " ",
        &longest,
        &deepest,
    ] {
        let topic = Topic::parse(text).unwrap();
        assert_eq!(topic.as_str(), text);
        assert_eq!(Topic::known(text), topic);
        assert_eq!(Filter::parse(text).unwrap().as_topic(), Some(topic));
    }
}

#[test]
fn a_bad_topic_is_refused_with_the_byte_that_is_wrong() {
    for (text, error) in [
        ("", Empty),
        ("/", EmptyLevel { at: 0 }),
        ("/a", EmptyLevel { at: 0 }),
        ("a/", EmptyLevel { at: 2 }),
        ("a//b", EmptyLevel { at: 2 }),
        ("a///b", EmptyLevel { at: 2 }),
        ("+", Wildcard { at: 0 }),
        ("a/+/b", Wildcard { at: 2 }),
        ("a/#", Wildcard { at: 2 }),
        ("a+b", Wildcard { at: 1 }),
        ("a\0", Control { at: 1 }),
        ("\u{1f}", Control { at: 0 }),
        ("a\n", Control { at: 1 }),
        ("é\u{7f}", Control { at: 2 }),
        ("a\u{80}", Control { at: 1 }),
        ("a\u{9f}b", Control { at: 1 }),
    ] {
        assert_eq!(Topic::parse(text), Err(error), "{text:?}");
    }
    let long = "x".repeat(256);
    assert_eq!(Topic::parse(&long), Err(TooLong { len: 256 }));
    assert_eq!(Filter::parse(&long), Err(TooLong { len: 256 }));
}

#[test]
fn mqtt_4_7_1_wildcards_stand_alone_and_hash_comes_last() {
    for text in ["#", "+", "sport/tennis/#", "+/tennis/#", "sport/+/player1", "+/+", "$sys/#", "$sys/+", "+/#"] {
        let filter = Filter::parse(text).unwrap();
        assert!(filter.has_wildcard(), "{text}");
        assert_eq!(filter.as_topic(), None);
        assert_eq!(Filter::known(text), filter);
    }
    for (text, error) in [
        ("sport/tennis#", MisplacedHash { at: 12 }),
        ("sport/tennis/#/ranking", MisplacedHash { at: 13 }),
        ("#/", MisplacedHash { at: 0 }),
        ("##", MisplacedHash { at: 0 }),
        ("a/#b", MisplacedHash { at: 2 }),
        ("sport+", MisplacedPlus { at: 5 }),
        ("+sport", MisplacedPlus { at: 0 }),
        ("a/+b/c", MisplacedPlus { at: 2 }),
        ("a/++", MisplacedPlus { at: 2 }),
        ("+#", MisplacedPlus { at: 0 }),
        ("+/", EmptyLevel { at: 2 }),
        ("a//#", EmptyLevel { at: 2 }),
        ("a/\u{85}/#", Control { at: 2 }),
    ] {
        assert_eq!(Filter::parse(text), Err(error), "{text:?}");
    }
}

#[test]
fn only_filters_with_plus_have_a_limit_of_levels() {
    let levels = |first: &str, count: usize| [&[first], &vec!["a"; count - 1][..]].concat().join("/");
    assert!(Filter::parse(&levels("+", PLUS_FILTER_LEVELS_MAX)).is_ok());
    assert_eq!(
        Filter::parse(&levels("+", PLUS_FILTER_LEVELS_MAX + 1)),
        Err(TooManyLevels { levels: PLUS_FILTER_LEVELS_MAX + 1 })
    );
    assert!(Filter::parse(&levels("a", 128)).is_ok());
    assert!(Filter::parse(&format!("{}/#", levels("a", 127))).is_ok());
}

#[test]
fn mqtt_4_7_1_examples_match_as_the_standard_says() {
    for (filter, topic, expected) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "sport/tennis", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player2", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+/player1", "sport/tennis/player1", true),
        ("sport/+/player1", "sport/tennis/player2", false),
        ("+", "finance", true),
        ("+", "sport/tennis", false),
        ("+/+", "sport/tennis", true),
        ("+/tennis/#", "sport/tennis", true),
        ("+/#", "sport", true),
        ("ACCOUNTS", "Accounts", false),
        ("a/b", "a/b", true),
        ("a/b", "a", false),
        ("a", "a/b", false),
        // 4.7.2: topics that begin with $.
        ("#", "$SYS/uptime", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("+", "$SYS", false),
        ("+/#", "$SYS/monitor", false),
        ("$SYS/#", "$SYS/monitor/Clients", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/+", "a/$b", true),
        ("a/#", "a/$b", true),
    ] {
        let matches = Filter::parse(filter).unwrap().matches(Topic::parse(topic).unwrap());
        assert_eq!(matches, expected, "{filter} {topic}");
    }
}

#[test]
fn a_filter_covers_another_if_it_stands_for_all_of_its_topics() {
    for (wide, narrow, expected) in [
        ("chat/#", "chat/1", true),
        ("chat/#", "chat", true),
        ("chat/#", "chat/+", true),
        ("chat/#", "chat/#", true),
        ("chat/+", "chat/1", true),
        ("chat/+", "chat/+", true),
        ("chat/+", "chat/#", false),
        ("chat/+/#", "chat/#", false),
        ("chat/1", "chat/+", false),
        ("chat/1", "chat/#", false),
        ("chat/1", "chat/1/#", false),
        ("chat", "chat/#", false),
        ("+/#", "#", true),
        ("+", "#", false),
        ("#", "+/#", true),
        ("#", "$sys/load", false),
        ("+/load", "$sys/load", false),
        ("$sys/#", "$sys/+", true),
        ("$sys/#", "#", false),
        ("a/#", "a/$b", true),
        ("chat/#", "chats/#", false),
    ] {
        let covers = Filter::parse(wide).unwrap().covers(Filter::parse(narrow).unwrap());
        assert_eq!(covers, expected, "{wide} {narrow}");
    }
}

/// Every name of up to `depth` levels, `last` among them only at the end.
fn names(levels: &[&str], last: &[&str], depth: usize) -> Vec<String> {
    let (mut all, mut open) = (Vec::new(), vec![String::new()]);
    for _ in 0..depth {
        let extended = |with: &[&str]| -> Vec<String> {
            let gap = |name: &str| if name.is_empty() { "" } else { "/" };
            open.iter().flat_map(|name| with.iter().map(move |level| format!("{name}{}{level}", gap(name)))).collect()
        };
        let (closed, next) = (extended(last), extended(levels));
        all.extend(closed.into_iter().chain(next.iter().cloned()));
        open = next;
    }
    all
}

#[test]
fn covering_is_what_the_topics_say_for_every_pair_of_small_filters() {
    let filters = names(&["a", "b", "$s", "+"], &["#"], 3);
    // A name that no filter holds, and one level more than the deepest of them.
    let topics = names(&["a", "b", "$s", "other"], &[], 4);
    let stands_for: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| topics.iter().map(|topic| Filter::known(filter).matches(Topic::known(topic))).collect())
        .collect();
    for (wide, all) in filters.iter().zip(&stands_for) {
        for (narrow, some) in filters.iter().zip(&stands_for) {
            let expected = all.iter().zip(some).all(|(all, some)| *all || !some);
            assert_eq!(Filter::known(wide).covers(Filter::known(narrow)), expected, "{wide} {narrow}");
        }
    }
}

#[test]
fn names_of_the_broker_start_with_a_dollar() {
    assert!(Topic::parse("$sys/load").unwrap().is_broker());
    assert!(!Topic::parse("a/$sys").unwrap().is_broker());
    assert!(Filter::parse("$sys/#").unwrap().is_broker());
    assert!(Filter::parse("$+").is_err());
    assert!(!Filter::parse("#").unwrap().is_broker());
}

#[test]
fn each_error_is_a_sentence_with_the_place_or_the_limit() {
    for (error, words) in [
        (Empty, "255"),
        (TooLong { len: 300 }, "300 bytes; the limit is 255"),
        (EmptyLevel { at: 7 }, "byte 7"),
        (Control { at: 7 }, "byte 7"),
        (Wildcard { at: 7 }, "byte 7"),
        (MisplacedPlus { at: 7 }, "`+` at byte 7"),
        (MisplacedHash { at: 7 }, "`#` at byte 7"),
        (TooManyLevels { levels: 40 }, "40 levels; the limit for a filter with `+` is 16"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// The rules of names, said again and slowly.
fn is_topic(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.contains(['+', '#'])
        && !text.chars().any(char::is_control)
        && text.split('/').all(|level| !level.is_empty())
}

fn is_filter(text: &str) -> bool {
    let levels: Vec<_> = text.split('/').collect();
    let plain = |level: &str| level == "+" || is_topic(level);
    (1..=255).contains(&text.len())
        && (!levels.contains(&"+") || levels.len() <= PLUS_FILTER_LEVELS_MAX)
        && levels.iter().enumerate().all(|(at, level)| plain(level) || (*level == "#" && at + 1 == levels.len()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn parsing_agrees_with_the_rules(text in r"[a$/+#\x00\x7f\u{80}\u{9f}\u{a0}é😀]{0,12}|[a/+]{0,90}|([a+]/){0,40}a|(.|/){0,300}") {
        prop_assert_eq!(Topic::parse(&text).is_ok(), is_topic(&text));
        prop_assert_eq!(Filter::parse(&text).is_ok(), is_filter(&text));
    }

    #[test]
    fn every_position_in_an_error_lies_in_the_text(text in r"[a/+#\x00\u{80}é]{1,12}") {
        for error in [Topic::parse(&text).err(), Filter::parse(&text).err()].into_iter().flatten() {
            match error {
                EmptyLevel { at } => prop_assert!(at <= text.len()),
                Control { at } => prop_assert!(text[at..].starts_with(char::is_control)),
                Wildcard { at } => prop_assert!(text[at..].starts_with(['+', '#'])),
                MisplacedPlus { at } => prop_assert!(text[at..].starts_with('+')),
                MisplacedHash { at } => prop_assert!(text[at..].starts_with('#')),
                Empty | TooLong { .. } | TooManyLevels { .. } => prop_assert!(false, "{error:?}"),
            }
        }
    }
}
