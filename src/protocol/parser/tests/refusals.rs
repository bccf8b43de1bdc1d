//! What is refused, with which code, and what the sentence names.

use super::*;

#[test]
fn what_is_not_json_is_refused_with_the_byte() {
    let bad = |at: usize| format!("null 400 the message is not valid JSON at byte {at}");
    let end = |at: usize| format!("null 400 the JSON is incomplete, it ends at byte {at}");
    for (message, expected) in [
        ("", end(0)),
        (" ", end(1)),
        ("{", end(1)),
        (r#"{"op":"ping""#, end(12)),
        (r#"{"op":"ping"#, end(11)),
        ("[{}", end(3)),
        ("nul", end(3)),
        ("x", bad(0)),
        ("NaN", bad(0)),
        ("\u{feff}{}", bad(0)),
        ("\0", bad(0)),
        ("{}\0", bad(2)),
        ("{}{}", bad(2)),
        ("{} x", bad(3)),
        ("{,}", bad(1)),
        ("{'op':1}", bad(1)),
        ("{op:1}", bad(1)),
        (r#"{"op":"ping",}"#, bad(13)),
        (r#"{"op" "ping"}"#, bad(6)),
        ("{\n\"op\":\"ping\",\n\"id\":NaN}", bad(20)),
        ("{\n\n}\n}", bad(5)),
        (r#"{"data":01}"#, bad(9)),
        (r#"{"data":+1}"#, bad(8)),
        (r#"{"data":.5}"#, bad(8)),
        (r#"{"data":1.}"#, bad(10)),
        (r#"{"data":-}"#, bad(9)),
        (r#"{"data":"\x"}"#, bad(10)),
        ("{\"data\":\"\t\"}", bad(9)),
        ("{\"data\":\"\n\"}", bad(9)),
        (r#"{"data":undefined}"#, bad(8)),
        (r#"{"data":[1,]}"#, bad(11)),
        (r#"{"data":Infinity}"#, bad(8)),
        (r#"{"data":1 /* */}"#, bad(10)),
        ("[{}", end(3)),
        ("]", bad(0)),
        (r#"{"data":[}]}"#, bad(9)),
    ] {
        assert_eq!(text(message), expected, "{message:?}");
    }
}

#[test]
fn a_command_is_an_object() {
    for (message, kind) in
        [("1", "a number"), ("1e400", "a number"), ("\"ping\"", "a string"), ("true", "a boolean"), ("null", "null")]
    {
        assert_eq!(text(message), format!("null 400 a command is a JSON object, not {kind}"));
        assert_eq!(binary(message), format!("null 400 a command is a JSON object, not {kind}"));
    }
    assert_eq!(binary("[{\"op\":\"ping\"}]\n"), "null 400 a command is a JSON object, not an array");
    assert_eq!(binary("[1e400]\n"), "null 400 a command is a JSON object, not an array");
}

#[test]
fn each_member_has_its_type() {
    for (members, expected) in [
        ("", "null 400 the member `op` is missing; it is a string"),
        (r#""op":7"#, "null 400 the member `op` is a number; it has to be a string"),
        (r#""op":null,"id":1"#, "1 400 the member `op` is null; it has to be a string"),
        (r#""op":"subscribe","id":1"#, "1 400 the member `topic` is missing; it is a string"),
        (r#""op":"subscribe","topic":["a"]"#, "null 400 the member `topic` is an array; it has to be a string"),
        (r#""op":"unsubscribe""#, "null 400 the member `topic` is missing; it is a string"),
        (r#""op":"publish","data":1"#, "null 400 the member `topic` is missing; it is a string"),
        (r#""op":"publish","topic":"a""#, "null 400 the member `data` is missing; it is a JSON value"),
        (
            r#""op":"publish","topic":"a","data":1,"echo":"no""#,
            "null 400 the member `echo` is a string; it has to be true or false",
        ),
        (
            r#""op":"publish","topic":"a","data":1,"echo":null"#,
            "null 400 the member `echo` is null; it has to be true or false",
        ),
        (r#""op":"publish","topic":{},"data":1"#, "null 400 the member `topic` is an object; it has to be a string"),
    ] {
        assert_eq!(text(format!("{{{members}}}")), expected, "{members}");
    }
}

#[test]
fn an_id_is_an_integer_below_2_to_the_53_or_a_short_string() {
    let ping = |id: &str| text(format!(r#"{{"op":"ping","id":{id}}}"#));
    for id in ["0", "1", "9007199254740991", r#""""#, r#""x""#, r#""é😀""#, r#""a\"b\\c\n""#] {
        assert_eq!(ping(id), format!("{id} ping"));
    }
    let longest = format!("\"{}\"", "x".repeat(64));
    assert_eq!(ping(&longest), format!("{longest} ping"));
    // 64 bytes when decoded, 384 as written.
    assert_eq!(ping(&format!("\"{}\"", r"\u0078".repeat(64))), format!("{longest} ping"));
    let long = format!("\"{}\"", "é".repeat(33));
    assert_eq!(ping(&long), "null 400 the member `id` has 66 bytes; the limit is 64");
    for id in ["9007199254740992", "-1", "-0", "1.0", "1e3", "1e400", "18446744073709551616"] {
        assert_eq!(ping(id), "null 400 the member `id` is no integer from 0 to 2^53-1", "{id}");
    }
    for (id, kind) in [("null", "null"), ("true", "a boolean"), ("[1]", "an array"), ("{}", "an object")] {
        let expected = "it has to be an integer from 0 to 2^53-1 or a string";
        assert_eq!(ping(id), format!("null 400 the member `id` is {kind}; {expected}"));
    }
}

#[test]
fn a_member_that_is_read_comes_once_and_others_are_ignored() {
    for (members, expected) in [
        (r#""op":"ping","op":"ping","id":1"#, "1 400 the member `op` is there twice"),
        (r#""op":"ping","id":1,"id":1"#, "null 400 the member `id` is there twice"),
        (r#""op":"ping","\u0069d":1,"id":null"#, "null 400 the member `id` is there twice"),
        (r#""op":"subscribe","topic":"a","topic":1"#, "null 400 the member `topic` is there twice"),
        (r#""op":"publish","topic":"a","data":1,"data":1"#, "null 400 the member `data` is there twice"),
        (r#""op":"publish","topic":"a","data":1,"echo":true,"echo":1"#, "null 400 the member `echo` is there twice"),
        (r#""op":"ping","x":1,"x":2,"Op":3,"":4,"op ":5,"since":6"#, "null ping"),
        (r#""op":"ping","data":[],"topic":7,"echo":null"#, "null ping"),
    ] {
        assert_eq!(text(format!("{{{members}}}")), expected, "{members}");
    }
}

#[test]
fn an_unknown_op_is_named_within_bounds() {
    for op in ["author", "histories", "Presence", "Subscribe", "ping ", ""] {
        assert_eq!(
            text(format!(r#"{{"op":"{op}","id":5}}"#)),
            format!(
                "5 404 unknown op \"{op}\"; known are auth, subscribe, unsubscribe, publish, history, presence and ping"
            )
        );
    }
    let known = "known are auth, subscribe, unsubscribe, publish, history, presence and ping";
    assert_eq!(text(r#"{"op":"\u0007\"\n\u009b"}"#), format!(r#"null 404 unknown op "\u{{7}}\"\n\u{{9b}}"; {known}"#));
    assert_eq!(
        text(format!(r#"{{"op":"x{}"}}"#, "é".repeat(10_000))),
        format!(r#"null 404 unknown op "x{}…"; {known}"#, "é".repeat(15))
    );
}

#[test]
fn names_are_held_to_their_rules_and_the_brokers_are_its_own() {
    for (members, expected) in [
        (
            r#""op":"publish","topic":"a/+","data":1"#,
            "null 400 the member `topic` is \"a/+\": byte 2 is a wildcard; `+` and `#` belong in filters only",
        ),
        (
            r#""op":"subscribe","topic":"""#,
            "null 400 the member `topic` is \"\": it is empty; a name has 1 to 255 bytes",
        ),
        (
            r#""op":"unsubscribe","topic":"a/\u0000""#,
            "null 400 the member `topic` is \"a/\\0\": byte 2 begins a control character",
        ),
        (
            r#""op":"publish","topic":"$sys/load","data":1"#,
            "null 403 the topic \"$sys/load\" belongs to the broker: nobody publishes to names that start with `$`",
        ),
        (r#""op":"subscribe","topic":"$sys/#""#, "null 403 no rule grants a subscription to \"$sys/#\""),
    ] {
        assert_eq!(text(format!("{{{members}}}")), expected, "{members}");
    }
    let long = format!(r#"{{"op":"subscribe","topic":"{}"}}"#, "x".repeat(300));
    let excerpt = "x".repeat(32);
    assert_eq!(
        text(long),
        format!("null 400 the member `topic` is \"{excerpt}…\": it has 300 bytes; the limit is 255")
    );
}
