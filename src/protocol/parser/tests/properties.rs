//! Random documents: both readers agree with each other and with serde_json, and nothing panics.

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

/// What the fast reader makes of it, if it takes it.
fn fast(json: &[u8]) -> Option<Vec<String>> {
    let mut out = Vec::new();
    let taken = Spans::new().read(json, true, &mut |members| out.push(shown(members)));
    assert!(taken || out.is_empty(), "what is refused hands nothing on");
    taken.then_some(out)
}

fn careful(json: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    fallback::read(json, true, &mut |members| out.push(shown(members)));
    out
}

fn shown(members: Result<&crate::protocol::command::Members<'_>, Reason>) -> String {
    match members {
        Ok(members) => show(members.command(Form::Text)),
        Err(reason) => show(Err(Fault::new(Id::None, reason))),
    }
}

fn is_grammar(outcome: &str) -> bool {
    ["not valid JSON", "JSON is incomplete", "not UTF-8", "nests too deep"].iter().any(|words| outcome.contains(words))
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", " ", "\n", "\t \r\n"])
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (0u64..=1 << 54).prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
    ]
}

/// A JSON string as written, with escapes of every kind.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-z/$+# ]{1,3}",
        1 => "[]\\[{}:,']{1,4}",
        1 => prop::sample::select(vec![
            "\\\"", "\\\\", "\\/", "\\b", "\\n", "\\u0041", "\\u00e9", "\\u2028", "\\ud83d\\ude00", "é", "東京", "😀",
            "\u{7f}",
        ]).prop_map(String::from),
        1 => prop::sample::select(vec!["\\ud800", "\\uDFFF"]).prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        2 => number(),
        3 => string(),
        1 => prop::sample::select(vec!["true", "false", "null", "{}", "[]", "[ ]"]).prop_map(String::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let element = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space(), string(), space(), inner, space())
            .prop_map(|(a, key, b, value, c)| format!("{a}{key}{b}:{b}{value}{c}"));
        prop_oneof![
            prop::collection::vec(element, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|all| format!("{{{}}}", all.join(","))),
        ]
    })
}

/// A member that some op takes besides `topic`.
fn optional() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["since", "last", "presence", "limit", "reverse", "after", "key", "conflate", "k\\u0065y"])
}

const OPTIONAL_VALUES: [&str; 9] =
    ["1", "0", "1000", "1001", "true", "false", "\"00000001:2\"", "\"0000000\\u0031:2\"", "\"\""];

/// An object that is often a command and often nearly one.
fn object() -> impl Strategy<Value = String> {
    let known = prop_oneof![
        3 => prop::sample::select(vec!["publish", "subscribe", "history", "presence", "ping", "nop"]).prop_map(|op| format!("\"op\":\"{op}\"")),
        3 => prop::sample::select(vec!["a/b", "a/#", "+", "$s", "\\u0061", "a//b"])
            .prop_map(|topic| format!("\"topic\":\"{topic}\"")),
        3 => (space(), value(), space()).prop_map(|(a, value, b)| format!("\"data\":{a}{value}{b}")),
        1 => value().prop_map(|value| format!("\"id\" :{value}")),
        1 => (0u32..99).prop_map(|id| format!("\"i\\u0064\":{id}")),
        1 => prop::sample::select(vec!["true", "false", "1"]).prop_map(|echo| format!("\"echo\": {echo} ")),
        1 => value().prop_map(|value| format!("\"topic\":{value}")),
        2 => (optional(), prop_oneof![3 => prop::sample::select(OPTIONAL_VALUES.to_vec()).prop_map(String::from), 1 => value()])
            .prop_map(|(name, value)| format!("\"{name}\":{value}")),
        2 => (string(), value()).prop_map(|(key, value)| format!("{key}:{value}")),
    ];
    (prop::collection::vec(known, 0..7), space())
        .prop_map(|(members, space)| format!("{space}{{{space}{}{space}}}{space}", members.join(",")))
}

fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => object(),
        3 => prop::collection::vec(prop_oneof![3 => object(), 1 => value()], 0..5)
            .prop_map(|all| format!("[{}]", all.join(","))),
        1 => value(),
    ]
}

/// Changes, inserts or removes one byte.
fn mutant() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"{}[]:,\"\\ \n0e.-+u/\0\x7f\x80\xc3\xff".to_vec()),
        1 => any::<u8>(),
    ];
    (document(), any::<prop::sample::Index>(), byte, 0..3).prop_map(|(document, at, byte, how)| {
        let mut bytes = document.into_bytes();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        bytes
    })
}

/// Both readers, and the parser over them, against serde_json's raw value.
fn check(json: &[u8]) {
    let careful = careful(json);
    if let Some(fast) = fast(json) {
        assert_eq!(fast, careful);
    }
    assert_eq!(text_all(json), careful);
    if serde_json::from_slice::<&RawValue>(json).is_err() {
        assert!(careful.len() == 1 && is_grammar(&careful[0]), "{careful:?}");
    } else if !json.windows(3).any(|w| w.eq_ignore_ascii_case(br"\ud")) {
        // Half a pair in a key of the command itself is the one thing that we refuse and a raw value does not.
        assert!(!careful.iter().any(|outcome| is_grammar(outcome)), "{careful:?}");
    }
}

#[derive(Deserialize)]
struct OnlyData<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_readers_give_the_same_commands(document in document()) {
        check(document.as_bytes());
    }

    #[test]
    fn mutants_are_accepted_only_when_serde_json_accepts_them(mutant in mutant()) {
        check(&mutant);
    }

    #[test]
    fn random_bytes_are_answered(bytes: Vec<u8>) {
        check(&bytes);
        let mut outcomes = 0;
        Parser::new().binary(&bytes, &mut |_| outcomes += 1);
        prop_assert_eq!(outcomes, 1);
    }

    #[test]
    fn the_payload_is_what_serde_json_sees_as_the_raw_value(
        before in prop::collection::vec((string(), value()), 0..3),
        data in value(),
        after in value(),
        space in space(),
    ) {
        let before: String = before.iter()
            .filter(|(key, _)| serde_json::from_str::<String>(key).is_ok_and(|key| key != "data" && key != "op"))
            .map(|(key, value)| format!("\"x{}:{value},{space}", &key[1..]))
            .collect();
        let message = format!(
            r#"{{{before}"op":"publish","topic":"t","data"{space}:{space}{data}{space},"x":{after}}}"#
        );
        let expected: OnlyData<'_> = serde_json::from_str(&message).unwrap();
        prop_assert_eq!(expected.data.get(), data.as_str());
        let data = data.as_bytes().escape_ascii();
        prop_assert_eq!(text(&message), format!("null publish t json {data}"));
    }
}

proptest! {
    #[test]
    fn a_payload_that_comes_alone_is_judged_as_serde_json_does(
        json in "[\\[\\]{}\":, \\n\\\\u0a1\u{1}\u{e9}]{0,14}|\"[ -~\u{e9}]{0,40}\"| ?\"[a-c]{0,9}\"[ \n]?",
    ) {
        let judged: Result<&serde_json::value::RawValue, _> = serde_json::from_str(&json);
        let value = Parser::value(json.as_bytes());
        prop_assert_eq!(value.ok(), judged.ok().map(|value| value.get().as_bytes()));
    }
}

#[test]
fn a_payload_of_many_brackets_that_do_not_nest_is_taken_and_one_that_is_too_deep_is_not() {
    let (flat, text) = (format!("[{}[]]", "[],".repeat(500)), format!("\"{}\"", "[{".repeat(500)));
    for json in [flat, text, format!("{}{}", "[".repeat(63), "]".repeat(63))] {
        assert_eq!(Parser::value(json.as_bytes()), Ok(json.as_bytes()));
    }
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert!(matches!(Parser::value(deep.as_bytes()), Err(Reason::TooDeep { at: 63 })));
    assert!(matches!(Parser::value(b"\"\xff\""), Err(Reason::Utf8 { at: 1 })));
}
