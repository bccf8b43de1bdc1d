//! Messages in, commands or faults out: what each op is read from, what stays byte for byte, what is bounded.

mod kept;
mod properties;
mod refusals;

use super::*;
use crate::protocol::{Op, Payload};
use crate::topic::{Filter, Topic};

/// What came out for one command, as text: an op with its id, or a code with its id and sentence.
fn show(outcome: Result<Command<'_>, Fault>) -> String {
    let id = |id: &Id| {
        let mut json = Vec::new();
        id.write_json(&mut json);
        String::from_utf8(json).unwrap()
    };
    match outcome {
        Ok(Command { id: of, op }) => match op {
            Op::Subscribe { filter, since, last, presence } => {
                let options = [option("since", since), option("last", last), set("presence", presence)].concat();
                format!("{} subscribe {filter}{options}", id(&of))
            }
            Op::Unsubscribe { filter } => format!("{} unsubscribe {filter}", id(&of)),
            Op::Publish { topic, payload, echo, key, conflate } => {
                let (kind, bytes) = match payload {
                    Payload::Json(bytes) => ("json", bytes),
                    Payload::Binary(bytes) => ("binary", bytes),
                };
                let options = [set("unechoed", !echo), option("key", key), option("conflate", conflate)].concat();
                format!("{} publish {topic} {kind} {}{options}", id(&of), bytes.escape_ascii())
            }
            Op::History { topic, since, limit, reverse } => {
                let options = [option("since", since), option("limit", limit), set("reverse", reverse)].concat();
                format!("{} history {topic}{options}", id(&of))
            }
            Op::Presence { topic, limit, after } => {
                let options = [option("limit", limit), option("after", after)].concat();
                format!("{} presence {topic}{options}", id(&of))
            }
            Op::Auth { token } => format!("{} auth {}", id(&of), token.0),
            Op::Ping => format!("{} ping", id(&of)),
        },
        Err(Fault { id: of, code, reason }) => format!("{} {code} {reason}", id(&of)),
    }
}

fn option(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| format!(" {name} {value}")).unwrap_or_default()
}

fn set(name: &str, given: bool) -> String {
    option("", given.then_some(name)).replace("  ", " ")
}

fn text_all(message: impl AsRef<[u8]>) -> Vec<String> {
    let mut out = Vec::new();
    Parser::new().text(message.as_ref(), &mut |outcome| out.push(show(outcome)));
    out
}

#[track_caller]
fn text(message: impl AsRef<[u8]>) -> String {
    let [one] = <[String; 1]>::try_from(text_all(message)).expect("one outcome");
    one
}

#[track_caller]
fn binary(message: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    Parser::new().binary(message.as_ref(), &mut |outcome| out.push(show(outcome)));
    let [one] = <[String; 1]>::try_from(out).expect("one outcome");
    one
}

#[test]
fn a_conversation_in_text() {
    let mut parser = Parser::new();
    let mut said = Vec::new();
    for message in [
        r#"{"id":1,"op":"subscribe","topic":"chat/#"}"#,
        r#" { "op" : "publish" , "topic" : "chat/1" , "data" : { "text" : "hi" } , "id" : "a" } "#,
        r#"{"op":"publish","topic":"chat/1","data":null,"echo":false}"#,
        r#"{"op":"ping","id":9007199254740991}"#,
        r#"{"op":"unsubscribe","topic":"chat/#","id":0}"#,
        r#"{"op":"unsubscribe","topic":"$sys/#"}"#,
        r#"{"op":"auth","token":"a.b.c","id":3}"#,
    ] {
        parser.text(message.as_bytes(), &mut |outcome| said.push(show(outcome)));
    }
    assert_eq!(
        said,
        [
            "1 subscribe chat/#",
            r#""a" publish chat/1 json { \"text\" : \"hi\" }"#,
            "null publish chat/1 json null unechoed",
            "9007199254740991 ping",
            "0 unsubscribe chat/#",
            "null unsubscribe $sys/#",
            "3 auth a.b.c",
        ]
    );
}

#[test]
fn a_command_borrows_what_it_can_be_built_from() {
    let mut seen = 0;
    Parser::new().text(br#"{"op":"publish","topic":"a","data":[1]}"#, &mut |outcome| {
        let (topic, payload) = (Topic::known("a"), Payload::Json(b"[1]"));
        let op = Op::Publish { topic, payload, echo: true, key: None, conflate: None };
        assert_eq!(outcome, Ok(Command { id: Id::None, op }));
        seen += 1;
    });
    Parser::new().text(br#"{"op":"subscribe","topic":"+"}"#, &mut |outcome| {
        let op = Op::Subscribe { filter: Filter::known("+"), since: None, last: None, presence: false };
        assert_eq!(outcome, Ok(Command { id: Id::None, op }));
        seen += 1;
    });
    assert_eq!(seen, 2);
}

#[test]
fn the_payload_is_a_slice_of_the_message_itself() {
    let message = br#"{"op":"publish","topic":"a","data": "\u0041" }"#;
    Parser::new().text(message, &mut |outcome| match outcome.unwrap().op {
        Op::Publish { payload: Payload::Json(data), .. } => {
            assert_eq!(data, br#""\u0041""#);
            assert!(message.as_ptr_range().contains(&data.as_ptr()));
        }
        op => panic!("{op:?}"),
    });
}

#[test]
fn data_keeps_every_byte_that_json_allows() {
    for data in [
        "1.0",
        "-0",
        "-0.0",
        "1e400",
        "-1e400",
        "1E+2",
        "1180591620717411303424",
        "0.10000000000000000000000000001",
        "12345678901234567890123456789012345678901234567890",
        r#"{"a":1,"a":2}"#,
        "[1 , 2]",
        "{ }",
        "[ ]",
        "true",
        "false",
        "null",
        r#""""#,
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#"["\uDEAD",1e400]"#,
        r#"{"\ud800":0}"#,
        r#""\/\b\f\n\r\t\u0000\\\"""#,
        "\"\u{7f}\u{2028}é😀\"",
        r#"{"op":"ping","id":{},"topic":[],"data":1}"#,
        "\"}{][,:\"",
        r#"{"\\":"\\\\","\"":"\""}"#,
    ] {
        let expected = format!("7 publish t json {}", data.as_bytes().escape_ascii());
        for message in [
            format!(r#"{{"id":7,"op":"publish","topic":"t","data":{data}}}"#),
            format!("{{\"data\" :\t{data}\r\n ,\n\"topic\":\"t\",\"id\":7,\"op\":\"publish\"}}\n"),
            format!(r#"{{"d\u0061ta":{data},"\u006fp":"publish","topic":"\u0074","id":7,"x":[{data}]}}"#),
            format!(r#"[{{"id":7,"op":"publish","topic":"t","data":{data}}}]"#),
        ] {
            assert_eq!(text(&message), expected, "{message}");
        }
    }
}

#[test]
fn a_batch_runs_in_order_and_a_bad_command_stops_no_other() {
    assert_eq!(
        text_all(
            r#" [ {"op":"ping","id":1} , 7 , {} , [{"op":"ping"}] , {"op":"subscribe","topic":"a//b","id":2},
               "x", null, true, {"op":"publish","topic":"t","data":[1, {"a":[]}] },{"op":"ping","id":3}] "#
        ),
        [
            "1 ping",
            "null 400 a batch holds JSON objects; its element 1 (from 0) is a number",
            "null 400 the member `op` is missing; it is a string",
            "null 400 a batch holds JSON objects; its element 3 (from 0) is an array",
            "2 400 the member `topic` is \"a//b\": the level at byte 2 is empty; each needs 1 character",
            "null 400 a batch holds JSON objects; its element 5 (from 0) is a string",
            "null 400 a batch holds JSON objects; its element 6 (from 0) is null",
            "null 400 a batch holds JSON objects; its element 7 (from 0) is a boolean",
            r#"null publish t json [1, {\"a\":[]}]"#,
            "3 ping",
        ]
    );
}

#[test]
fn a_batch_that_only_the_careful_reader_takes_runs_in_order_too() {
    assert_eq!(
        text_all(
            r#"[{"op":"ping","id":1},1e400,{"\ud800":0},{"op":"\ud800","id":"\u0032"},{"id":"\ud800"},
               {"op":"publish","topic":"\udfff","data":0},{"op":"ping","id":3}]"#
        ),
        [
            "1 ping",
            "null 400 a batch holds JSON objects; its element 1 (from 0) is a number",
            "null 400 the message is not valid JSON at byte 36",
            r#""2" 400 the member `op` holds half of a surrogate pair, which is no character"#,
            "null 400 the member `id` holds half of a surrogate pair, which is no character",
            "null 400 the member `topic` holds half of a surrogate pair, which is no character",
            "3 ping",
        ]
    );
}

#[test]
fn a_batch_that_is_not_json_runs_none_of_its_commands() {
    assert_eq!(text(r#"[{"op":"ping"},{"op":"ping"},]"#), "null 400 the message is not valid JSON at byte 29");
}

#[test]
fn a_batch_has_at_least_one_command_and_a_limit() {
    assert_eq!(text("[]"), "null 400 the batch is an empty array; it needs 1 command");
    let batch = |len: usize, more: &str| format!("[{}{more}]", vec![r#"{"op":"ping"}"#; len].join(","));
    assert_eq!(text_all(batch(1024, "")).len(), 1024);
    // The second form is for the careful reader.
    assert_eq!(text_all(batch(1023, ",1e400")).len(), 1024);
    for message in [batch(1025, ""), batch(1024, ",1e400")] {
        assert_eq!(text(message), "null 413 the batch has 1025 commands, none was run; the limit is 1024");
    }
}

#[test]
fn a_binary_message_is_a_header_line_and_the_payload() {
    for (message, expected) in [
        (&b"{\"op\":\"publish\",\"topic\":\"a\",\"id\":1}\n\0\xff\n{"[..], r"1 publish a binary \x00\xff\n{"),
        (b"{\"op\":\"publish\",\"topic\":\"a\",\"echo\":false}\r\n", "null publish a binary  unechoed"),
        (b"{\"op\":\"publish\",\"topic\":\"a\"}\n", "null publish a binary "),
        (b"{\"op\":\"ping\",\"id\":2}", "2 ping"),
        (b"{\"op\":\"ping\",\"id\":2}\n", "2 ping"),
        (b"{\"op\":\"subscribe\",\"topic\":\"a/#\",\"data\":1}\n", "null subscribe a/#"),
        (b"{\"op\":\"unsubscribe\",\"topic\":\"a/#\"}", "null unsubscribe a/#"),
        (
            b"{\"op\":\"publish\",\"topic\":\"a\",\"id\":1}",
            "1 400 a binary publish is a header line, a line feed and the payload; the line feed is missing",
        ),
        (
            b"{\"op\":\"publish\",\"topic\":\"a\",\"data\":1}\nx",
            "null 400 the member `data` does not belong in a binary publish; its payload follows the header",
        ),
        (b"{\"op\":\"ping\",\"id\":3}\n\n", "3 400 1 bytes follow the header line; only a publish has a payload"),
        (
            b"{\"op\":\"nop\"}\nx",
            "null 404 unknown op \"nop\"; known are auth, subscribe, unsubscribe, publish, history, presence and ping",
        ),
        (b"\n{\"op\":\"ping\"}", "null 400 the JSON is incomplete, it ends at byte 0"),
        (b"{\n\"op\":\"ping\"}", "null 400 the JSON is incomplete, it ends at byte 1"),
        (b"", "null 400 the JSON is incomplete, it ends at byte 0"),
        (b"\xff\xfe", "null 400 the header is not UTF-8 at byte 0"),
        (b"{\"op\":\"p\xc3\"}\n", "null 400 the header is not UTF-8 at byte 8"),
        (b"{\"op\":\"ping\",\"x\":\"\xed\xa0\x80\"}\n", "null 400 the header is not UTF-8 at byte 18"),
    ] {
        assert_eq!(binary(message), expected, "{}", message.escape_ascii());
    }
}

#[test]
fn brackets_nest_up_to_64_deep_and_deeper_is_refused_without_recursion() {
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let publish = |data: &str| format!(r#"{{"op":"publish","topic":"t","data":{data}}}"#);
    for inner in ["1", "1e400", "\"[[[{{{\"", "\"\\\"[\\ud800\"", ""] {
        let data = nested(63, inner);
        let expected = format!("null publish t json {}", data.as_bytes().escape_ascii());
        assert_eq!(text(publish(&data)), expected);
        assert_eq!(text(format!("[{}]", publish(&nested(62, inner)))).len(), expected.len() - 2);
        let deep = |at: usize| format!("null 400 the JSON nests too deep at byte {at}; the limit is 64 open brackets");
        assert_eq!(text(publish(&nested(64, inner))), deep(35 + 63));
        assert_eq!(text(format!("[{}]", publish(&nested(63, inner)))), deep(36 + 62));
        assert_eq!(text(nested(50_000, inner)), deep(64));
        assert_eq!(text("[".repeat(50_000)), deep(64));
        assert_eq!(text(r#"{"":"#.repeat(50_000)), deep(64 * 4));
        assert_eq!(binary(format!("{}\n", nested(50_000, inner))), deep(64));
    }
}

#[test]
fn a_huge_message_leaves_no_huge_buffers() {
    let mut parser = Parser::new();
    let mut outcomes = 0;
    // Between the two limits the fast reader's buffers are given back; beyond the second they are not even made.
    for (len, kept) in [(1000, true), (60_000, true), (200_000, false), (2_000_000, false), (1000, true)] {
        let message = format!(r#"{{"op":"publish","topic":"t","data":[{}1]}}"#, "1,".repeat(len / 2));
        parser.text(message.as_bytes(), &mut |outcome| {
            assert!(outcome.is_ok());
            outcomes += 1;
        });
        assert_eq!(parser.kept_bytes() > 0, kept, "{len}");
        assert!(parser.kept_bytes() < 4 * 1024 * 1024);
    }
    assert_eq!(outcomes, 5);
}

#[test]
fn a_fault_takes_no_memory_for_what_it_quotes() {
    assert!(size_of::<Fault>() <= 96, "{}", size_of::<Fault>());
    assert!(size_of::<Command<'_>>() <= 112, "{}", size_of::<Command<'_>>());
}
