//! What is asked of a topic's past and of its members: `since`, `last`, `history`, `presence`, `key`, `conflate`.

use super::*;

/// What each command of the table gives, `{…}` around it left out.
#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (members, expected) in table {
        assert_eq!(text(format!("{{{members}}}")), *expected, "{members}");
    }
}

#[test]
fn a_subscribe_says_where_to_begin_and_whether_members_matter() {
    check(&[
        (r#""op":"subscribe","topic":"chat/1","since":"f3a9b2c1:121""#, "null subscribe chat/1 since f3a9b2c1:121"),
        (r#""op":"subscribe","topic":"a","since":"0000000\u0031:0","id":1"#, "1 subscribe a since 00000001:0"),
        (
            r#""op":"subscribe","topic":"a","since":"ffffffff:18446744073709551615""#,
            "null subscribe a since ffffffff:18446744073709551615",
        ),
        (r#""op":"subscribe","topic":"a","last":0"#, "null subscribe a last 0"),
        (r#""op":"subscribe","topic":"a","last":1000,"presence":true"#, "null subscribe a last 1000 presence"),
        (
            r#""op":"subscribe","topic":"a","since":"00000001:1","presence":true"#,
            "null subscribe a since 00000001:1 presence",
        ),
        (r#""op":"subscribe","topic":"a/#","presence":false"#, "null subscribe a/#"),
        (r#""op":"subscribe","topic":"a","limit":5000,"after":1,"key":"","data":1"#, "null subscribe a"),
    ]);
}

#[test]
fn a_position_that_is_none_is_refused_and_never_guessed_at() {
    let none = "a position is 8 lower-case hex digits, `:` and a decimal number";
    for (op, topic) in [("subscribe", "a"), ("subscribe", "a/#"), ("history", "a")] {
        for position in
            ["", "121", "f3a9b2c1", "f3a9b2c1:", "F3A9B2C1:121", "f3a9b2c1:-1", "f3a9b2c1:01", "f3a9b2c1:1 "]
        {
            assert_eq!(
                text(format!(r#"{{"op":"{op}","topic":"{topic}","since":"{position}","id":1}}"#)),
                format!("1 400 the member `since` is \"{position}\": {none}")
            );
        }
        for (value, kind) in [("121", "a number"), ("null", "null"), ("{}", "an object"), ("true", "a boolean")] {
            assert_eq!(
                text(format!(r#"{{"op":"{op}","topic":"{topic}","since":{value}}}"#)),
                format!("null 400 the member `since` is {kind}; it has to be a position, which is a string")
            );
        }
    }
    assert_eq!(
        text(format!(r#"{{"op":"subscribe","topic":"a","since":"{}"}}"#, "f".repeat(10_000))),
        format!("null 400 the member `since` is \"{}…\": {none}", "f".repeat(32))
    );
}

#[test]
fn since_and_last_exclude_each_other() {
    let expected = "1 400 the members `since` and `last` exclude each other; give one of them";
    check(&[
        (r#""op":"subscribe","id":1,"topic":"a","since":"00000001:1","last":5"#, expected),
        (r#""op":"subscribe","id":1,"topic":"a/#","since":"00000001:1","last":0"#, expected),
    ]);
}

#[test]
fn a_filter_with_wildcards_has_no_past_and_no_members() {
    for filter in ["#", "a/#", "+/b", "a/+"] {
        for (member, field) in
            [(r#""since":"00000001:1""#, "since"), (r#""last":5"#, "last"), (r#""presence":true"#, "presence")]
        {
            assert_eq!(
                text(format!(r#"{{"op":"subscribe","topic":"{filter}",{member}}}"#)),
                format!("null 400 the member `{field}` needs one topic, and the filter \"{filter}\" has wildcards")
            );
        }
    }
}

#[test]
fn numbers_are_integers_within_their_limits() {
    for (op, field, least) in [("subscribe", "last", 0), ("history", "limit", 1), ("presence", "limit", 1)] {
        let with = |value: &str| text(format!(r#"{{"op":"{op}","topic":"a","{field}":{value}}}"#));
        assert_eq!(with("1000"), format!("null {op} a {field} 1000"));
        assert_eq!(with(&least.to_string()), format!("null {op} a {field} {least}"));
        for value in ["1001", "-1", "-0", "1.0", "1e2", "4294967297", "18446744073709551617", "1e400"] {
            let expected = format!("null 400 the member `{field}` is no integer from {least} to 1000");
            assert_eq!(with(value), expected, "{value}");
        }
        for (value, kind) in [("\"5\"", "a string"), ("null", "null"), ("[5]", "an array"), ("true", "a boolean")] {
            assert_eq!(with(value), format!("null 400 the member `{field}` is {kind}; it has to be an integer"));
        }
    }
    assert_eq!(
        text(r#"{"op":"history","topic":"a","limit":0}"#),
        "null 400 the member `limit` is no integer from 1 to 1000"
    );
}

#[test]
fn a_history_is_asked_of_one_topic() {
    check(&[
        (r#""op":"history","topic":"a/b","id":"x""#, r#""x" history a/b"#),
        (
            r#""op":"history","topic":"a","since":"00000001:7","limit":50,"reverse":true"#,
            "null history a since 00000001:7 limit 50 reverse",
        ),
        (r#""op":"history","topic":"a","reverse":false,"last":5000,"presence":1"#, "null history a"),
        (r#""op":"history","id":1"#, "1 400 the member `topic` is missing; it is a string"),
        (
            r#""op":"history","topic":"a/#""#,
            "null 400 the member `topic` is \"a/#\": byte 2 is a wildcard; `+` and `#` belong in filters only",
        ),
        (r#""op":"history","topic":"$sys/x""#, "null 403 no rule grants the history or the members of \"$sys/x\""),
        (
            r#""op":"history","topic":"a","reverse":1"#,
            "null 400 the member `reverse` is a number; it has to be true or false",
        ),
    ]);
}

#[test]
fn members_are_asked_of_one_topic_page_by_page() {
    check(&[
        (r#""op":"presence","topic":"a/b","id":1"#, "1 presence a/b"),
        (r#""op":"presence","topic":"a","limit":1,"after":"0-1f-2""#, "null presence a limit 1 after 0-1f-2"),
        (
            r#""op":"presence","topic":"a","after":"1f-2""#,
            "null 400 the member `after` is \"1f-2\": no name of a client, such as 0-1f-2",
        ),
        (r#""op":"presence","id":1"#, "1 400 the member `topic` is missing; it is a string"),
        (
            r#""op":"presence","topic":"+""#,
            "null 400 the member `topic` is \"+\": byte 0 is a wildcard; `+` and `#` belong in filters only",
        ),
        (r#""op":"presence","topic":"$sys/x""#, "null 403 no rule grants the history or the members of \"$sys/x\""),
        (r#""op":"presence","topic":"a","after":"""#, "null 400 the member `after` is empty; it has 1 to 128 bytes"),
        (r#""op":"presence","topic":"a","after":7"#, "null 400 the member `after` is a number; it has to be a string"),
        (
            r#""op":"subscribe","topic":"a","presence":1"#,
            "null 400 the member `presence` is a number; it has to be true or false",
        ),
    ]);
}

#[test]
fn a_publication_may_have_a_key_and_something_that_it_makes_obsolete() {
    check(&[
        (r#""op":"publish","topic":"a","data":1,"key":"k 1","id":1"#, "1 publish a json 1 key k 1"),
        (
            r#""op":"publish","topic":"a","data":1,"echo":false,"conflate":"eur\u00e9","key":"é""#,
            "null publish a json 1 unechoed key é conflate euré",
        ),
    ]);
    assert_eq!(
        binary(b"{\"op\":\"publish\",\"topic\":\"a\",\"key\":\"k\",\"conflate\":\"c\"}\n\xff"),
        r"null publish a binary \xff key k conflate c"
    );
}

#[test]
fn keys_have_1_to_128_bytes_of_text() {
    for field in ["key", "conflate"] {
        let with = |value: &str| text(format!(r#"{{"op":"publish","topic":"a","data":1,"{field}":{value}}}"#));
        let longest = "x".repeat(128);
        assert_eq!(with(&format!("\"{longest}\"")), format!("null publish a json 1 {field} {longest}"));
        // 128 bytes when decoded, 768 as written.
        assert_eq!(with(&format!("\"{}\"", r"\u0078".repeat(128))), format!("null publish a json 1 {field} {longest}"));
        assert_eq!(with("\"\""), format!("null 400 the member `{field}` is empty; it has 1 to 128 bytes"));
        assert_eq!(
            with(&format!("\"{}\"", "é".repeat(65))),
            format!("null 400 the member `{field}` has 130 bytes; the limit is 128")
        );
        assert_eq!(with("7"), format!("null 400 the member `{field}` is a number; it has to be a string"));
        assert_eq!(with("null"), format!("null 400 the member `{field}` is null; it has to be a string"));
        assert_eq!(
            with(r#""\ud800""#),
            format!("null 400 the member `{field}` holds half of a surrogate pair, which is no character")
        );
    }
}

#[test]
fn each_of_these_members_comes_once() {
    for field in ["since", "last", "presence", "limit", "reverse", "after", "key", "conflate"] {
        assert_eq!(
            text(format!(r#"{{"op":"ping","id":1,"{field}":1,"{field}":"1"}}"#)),
            format!("1 400 the member `{field}` is there twice")
        );
    }
}

#[test]
fn only_a_publish_has_a_payload() {
    for op in ["history", "presence"] {
        let header = format!(r#"{{"op":"{op}","topic":"a","id":3}}"#);
        assert_eq!(binary(&header), format!("3 {op} a"));
        assert_eq!(binary(format!("{header}\n")), format!("3 {op} a"));
        assert_eq!(
            binary(format!("{header}\nxy")),
            "3 400 2 bytes follow the header line; only a publish has a payload"
        );
    }
}
