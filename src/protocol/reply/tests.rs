//! Every reply, word for word, and that each is one JSON object.

use super::*;
use crate::protocol::{Payload, publication};
use crate::topic::Topic;

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert!(value.is_object());
    String::from_utf8(out).unwrap()
}

const POSITION: Position = Position { epoch: 0xc1, offset: 121 };

#[test]
fn welcome_names_the_client_the_server_and_the_limits() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        text(|out| welcome(out, &"7-\"0\"", None, 25, 65_536, 1000)),
        format!(
            r#"{{"op":"welcome","client":"7-\"0\"","user":null,"server":"wirefan/{version}","heartbeat":25,"limits":{{"message_bytes":65536,"subscriptions":1000}}}}"#
        )
    );
    assert!(text(|out| welcome(out, &1, Some("a\nb"), 25, 1, 1)).contains(r#""user":"a\nb","#));
}

#[test]
fn acks_echo_the_id_and_what_the_op_yields() {
    let seven = Id::Int(7);
    let text_id = Id::Text("a\"b".into());
    assert_eq!(
        text(|out| ack_subscribe(out, &seven, "chat/1", Some(POSITION), None)),
        r#"{"op":"ack","id":7,"topic":"chat/1","position":"000000c1:121"}"#
    );
    assert_eq!(
        text(|out| ack_subscribe(out, &text_id, "chat/#", None, None)),
        r#"{"op":"ack","id":"a\"b","topic":"chat/#"}"#
    );
    assert_eq!(text(|out| ack_unsubscribe(out, &seven, "say \"hi\"")), r#"{"op":"ack","id":7,"topic":"say \"hi\""}"#);
    assert_eq!(
        text(|out| ack_publish(out, &Id::None, "a", POSITION)),
        r#"{"op":"ack","topic":"a","position":"000000c1:121"}"#
    );
}

#[test]
fn pong_and_error_leave_out_an_id_that_was_not_given() {
    assert_eq!(text(|out| pong(out, &Id::Int(0))), r#"{"op":"pong","id":0}"#);
    assert_eq!(text(|out| pong(out, &Id::None)), r#"{"op":"pong"}"#);
    assert_eq!(
        text(|out| error(out, &Id::None, 400, &"no \"op\"\u{1}")),
        r#"{"op":"error","code":400,"reason":"no \"op\"\u0001"}"#
    );
    assert_eq!(
        text(|out| error_of_topic(out, "a/\"b", 403, &"not any more")),
        r#"{"op":"error","topic":"a/\"b","code":403,"reason":"not any more"}"#
    );
    assert_eq!(
        text(|out| error(out, &Id::Text("x".into()), 404, &"unknown")),
        r#"{"op":"error","id":"x","code":404,"reason":"unknown"}"#
    );
}

#[test]
fn a_recovering_subscribe_is_told_whether_all_that_was_missed_follows() {
    for recovered in [true, false] {
        assert_eq!(
            text(|out| ack_subscribe(out, &Id::Int(7), "chat/1", Some(POSITION), Some(recovered))),
            format!(r#"{{"op":"ack","id":7,"topic":"chat/1","position":"000000c1:121","recovered":{recovered}}}"#)
        );
    }
}

#[test]
fn a_history_is_a_list_of_messages() {
    let prefix = publication::prefix(Topic::known("a\"b"), 0xc1);
    let message = |rest: &str| format!(r#"{{"op":"message","topic":"a\"b","position":"000000c1:{rest}}}"#);
    let messages = [message(r#"120","data":{"n":1.0}"#), message(r#"121","encoding":"base64","data":"AP8=""#)];
    let head = |offset| publication::Head { prefix: &prefix, offset, from: b"" };
    let list = |out: &mut Vec<u8>| {
        publication::write_listed(out, head(120), Payload::Json(br#"{"n":1.0}"#));
        publication::write_listed(out, head(121), Payload::Binary(b"\0\xff"));
    };
    assert_eq!(
        text(|out| ack_history(out, &Id::Int(7), "a\"b", POSITION, list)),
        format!(
            r#"{{"op":"ack","id":7,"topic":"a\"b","position":"000000c1:121","messages":[{}]}}"#,
            messages.join(",")
        )
    );
    let nothing = Position { epoch: 0xc1, offset: 0 };
    assert_eq!(
        text(|out| ack_history(out, &Id::None, "a", nothing, |_| {})),
        r#"{"op":"ack","topic":"a","position":"000000c1:0","messages":[]}"#
    );
}

#[test]
fn a_page_of_members_has_the_totals_and_where_to_go_on() {
    let name = |text: &str| text.parse().unwrap();
    let members = [(name("0-1-0"), None), (name("1-2-f"), Some("ann\n"))];
    assert_eq!(
        text(|out| ack_presence(out, &Id::Int(7), "r", members.into_iter(), 2, 40, 99, Some(name("1-2-f")))),
        concat!(
            r#"{"op":"ack","id":7,"topic":"r","members":[{"client":"0-1-0","user":null},{"client":"1-2-f","user":"ann\n"}],"#,
            r#""users":40,"connections":99,"next":"1-2-f"}"#
        )
    );
    assert_eq!(
        text(|out| ack_presence(out, &Id::None, "r", std::iter::empty(), 0, 0, 0, None)),
        r#"{"op":"ack","topic":"r","members":[],"users":0,"connections":0}"#
    );
}

#[test]
fn a_gap_counts_what_was_withheld_up_to_a_position() {
    assert_eq!(
        text(|out| gap(out, "a\\b", 3, POSITION)),
        r#"{"op":"gap","topic":"a\\b","missed":3,"position":"000000c1:121"}"#
    );
}

#[test]
fn who_comes_and_goes_is_a_member_of_the_topic() {
    assert_eq!(
        text(|out| presence_event(out, true, "r", &"1-0", None)),
        r#"{"op":"join","topic":"r","member":{"client":"1-0","user":null}}"#
    );
    assert_eq!(
        text(|out| presence_event(out, false, "r", &7, Some("a\"b"))),
        r#"{"op":"leave","topic":"r","member":{"client":"7","user":"a\"b"}}"#
    );
}
