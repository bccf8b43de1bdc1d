//! Texts are filled in and found again, however their bytes are cut.

use proptest::prelude::*;

use super::*;

const ALL: [Hole; 4] = [Hole::Topic, Hole::Any, Hole::Bytes, Hole::Payload];

fn stream(text: &str) -> Pattern {
    Pattern::parse(text, &ALL, true).unwrap()
}

fn whole(text: &str) -> Pattern {
    Pattern::parse(text, &ALL, false).unwrap()
}

fn caught<'a>(found: Found<'a>) -> Caught<'a> {
    match found {
        Found::Yes(caught) => caught,
        other => panic!("{other:?}"),
    }
}

#[test]
fn braces_that_enclose_no_name_are_text() {
    let text = Text::parse(r#"CONNECT {} {"a":{"b":1}} {A} {topic}"#, &[Hole::Topic]).unwrap();
    let mut out = Vec::new();
    text.fill(&mut out, Filling { topic: "t", ..Filling::default() });
    assert_eq!(String::from_utf8(out).unwrap(), r#"CONNECT {} {"a":{"b":1}} {A} t"#);
}

#[test]
fn a_hole_that_is_unknown_or_out_of_place_is_refused_with_those_that_are_not() {
    let refusal = Text::parse("SUB {topik}", &[Hole::Topic, Hole::Id]).unwrap_err();
    assert_eq!(refusal, "{topik} is no hole that it can have ({topic}, {id})");
    let refusal = Text::parse("hello {payload}", &[]).unwrap_err();
    assert_eq!(refusal, "{payload} is no hole that it can have (none)");
}

#[test]
fn what_could_not_be_told_apart_is_refused() {
    for (text, in_stream, reason) in [
        ("", false, "everything"),
        ("{topic}{payload}", false, "ends and {payload} begins"),
        ("{any}{topic} x", false, "ends and {topic} begins"),
        ("{bytes}{payload}", false, "where {bytes} ends"),
        ("{bytes}0 {payload}", false, "digit"),
        ("MSG {payload}", true, "text has to follow"),
        ("{topic} {bytes} {payload}", true, "begin with text"),
        ("MSG {any}", true, "text has to follow"),
    ] {
        let refusal = Pattern::parse(text, &ALL, in_stream).unwrap_err();
        assert!(refusal.contains(reason), "{text:?}: {refusal}");
    }
    // With a length before it, a payload may be last.
    stream("MSG {bytes} {payload}");
}

#[test]
fn the_last_text_of_a_unit_stands_at_its_end() {
    let pattern = whole("<{payload}>");
    assert_eq!(caught(pattern.find(b"<a>b>")).payload, Some(&b"a>b"[..]));
    assert_eq!(pattern.find(b"<a>b"), Found::No);
    assert_eq!(pattern.find(b"<"), Found::No);
    assert_eq!(pattern.find(b">"), Found::No);
}

#[test]
fn a_length_that_lies_is_not_believed() {
    let pattern = whole("{bytes}:{payload}");
    assert_eq!(caught(pattern.find(b"3:abc")).payload, Some(&b"abc"[..]));
    for wrong in ["2:abc", "4:abc", ":abc", "x:abc", "9999999999:abc", "99999999999999999999999:abc"] {
        assert_eq!(pattern.find(wrong.as_bytes()), Found::No, "{wrong}");
    }
    assert_eq!(stream("M {bytes} {payload}\n").find(b"M 2 abc\n"), Found::No);
    assert_eq!(stream("M {bytes} {payload}\n").find(b"M 1234567890"), Found::No);
}

#[test]
fn a_stream_waits_only_where_more_can_help() {
    let pattern = stream("PING\r\n");
    for cut in 0..6 {
        assert_eq!(pattern.find(&b"PING\r\n"[..cut]), Found::Partial);
    }
    assert_eq!(pattern.find(b"PONG\r\n"), Found::No);
    assert_eq!(caught(pattern.find(b"PING\r\nPI")).bytes, 6);
}

proptest! {
    #[test]
    fn what_was_filled_in_is_found_with_what_was_filled_in(
        topic in "[a-z/.]{1,12}",
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        after in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let spelled = "MSG {topic} {bytes}\r\n{payload}\r\n";
        let mut bytes = Vec::new();
        Text::parse(spelled, &ALL).unwrap().fill(&mut bytes, Filling { topic: &topic, payload: &payload, ..Filling::default() });
        let expected = Caught { bytes: bytes.len(), topic: Some(topic.as_bytes()), payload: Some(&payload) };
        prop_assert_eq!(whole(spelled).find(&bytes), Found::Yes(expected));
        for cut in 0..bytes.len() {
            prop_assert_eq!(stream(spelled).find(&bytes[..cut]), Found::Partial);
            prop_assert_eq!(whole(spelled).find(&bytes[..cut]), Found::No);
        }
        let length = bytes.len();
        bytes.extend_from_slice(&after);
        let found = stream(spelled).find(&bytes);
        prop_assert_eq!(caught(found).bytes, length);
        prop_assert_eq!(caught(found).payload, Some(&payload[..]));
    }

    #[test]
    fn no_bytes_make_it_panic_and_no_find_goes_beyond_them(
        spelled in prop_oneof![
            Just("MSG {topic} {any} {bytes}\r\n{payload}\r\n"), Just("{\"a\":{any},\"d\":{payload}}"), Just("a{bytes}b"),
        ],
        bytes in proptest::collection::vec(prop_oneof![Just(b'M'), Just(b' '), Just(b'9'), Just(b'\r'), Just(b'\n'), any::<u8>()], 0..80),
    ) {
        for pattern in [whole(spelled), stream(spelled)] {
            if let Found::Yes(caught) = pattern.find(&bytes) {
                prop_assert!(0 < caught.bytes && caught.bytes <= bytes.len());
            }
        }
    }
}
