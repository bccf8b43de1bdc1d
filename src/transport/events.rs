//! Publications and replies as server-sent events (HTML, "Server-sent events").
//!
//! An event names its `op`, a publication also its position as the id, so that a browser that reconnects says where it
//! was. Its data is the JSON object that a WebSocket gets, with bytes in base64. Made of that very frame: `home` does it
//! once per publication, `shard` for what a history kept. A line feed in the data, which JSON has only between its parts,
//! begins another `data` line.

use memchr::{memchr2_iter, memmem};

use crate::protocol::Position;
use crate::protocol::publication::{self as body, BINARY_MEMBER};
use crate::ws::{Opcode, encode};

/// Appends the event of a frame of [`websocket`](super::websocket), a publication or what the broker says of members.
pub fn of_frame(out: &mut Vec<u8>, frame: &[u8]) {
    let object = &frame[encode::frame_header_len(frame)..];
    if let Some(position) = body::position_of(object) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(position);
        out.push(b'\n');
    }
    begin(out, object);
    if frame[0] & 0xf == Opcode::Binary as u8 {
        let (head, bytes) = body::split_binary(object);
        out.extend_from_slice(DATA);
        out.extend_from_slice(head);
        out.extend_from_slice(BINARY_MEMBER);
        body::write_base64(out, bytes);
        out.extend_from_slice(b"\"}\n\n");
    } else {
        data(out, object);
    }
}

/// Appends what the broker says; `write` appends its JSON.
pub fn reply(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut object = Vec::new();
    write(&mut object);
    begin(out, &object);
    data(out, &object);
}

/// Appends the time after which a client that lost its connection comes back, in milliseconds.
pub fn retry(out: &mut Vec<u8>, ms: u64) {
    out.extend_from_slice(format!("retry: {ms}\n\n").as_bytes());
}

/// Appends why the stream ends: a code of the close frames, a reason.
pub fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    // By hand: the event is named by the first member, and serde_json may sort them.
    let object = format!(r#"{{"op":"close","code":{code},"reason":{}}}"#, serde_json::Value::from(reason));
    reply(out, |out| out.extend_from_slice(object.as_bytes()));
}

/// The length of the event at the start of `bytes`, which we encoded.
///
/// # Panics
/// If there is no whole event: our own bug.
#[must_use]
pub fn event_len(bytes: &[u8]) -> usize {
    memmem::find(bytes, b"\n\n").expect("events are whole") + 2
}

/// The offset of the publication that an event is.
#[must_use]
pub fn offset_of(event: &[u8]) -> u64 {
    let digits = event[ID.len() + 9..].iter().take_while(|digit| digit.is_ascii_digit());
    digits.fold(0, |offset, digit| offset * 10 + u64::from(digit - b'0'))
}

/// The position of the publication that an event is, and its topic as a JSON string; none if it is no publication.
#[must_use]
pub fn publication_of(event: &[u8]) -> Option<(Position, &[u8])> {
    let rest = event.strip_prefix(ID)?;
    let mut lines = rest.splitn(3, |&byte| byte == b'\n');
    let position = std::str::from_utf8(lines.next()?).ok()?.parse().ok()?;
    let object = lines.nth(1)?.strip_prefix(DATA)?;
    Some((position, body::topic_of(object)?.0))
}

/// Appends the object of an event as the element of a list. The comma that parts it from an element before it comes first.
pub fn write_listed(out: &mut Vec<u8>, event: &[u8]) {
    if out.ends_with(b"}") {
        out.push(b',');
    }
    let mut behind_first = false;
    for line in event.split(|&byte| byte == b'\n') {
        if let Some(line) = line.strip_prefix(DATA) {
            if behind_first {
                out.push(b'\n');
            }
            out.extend_from_slice(line);
            behind_first = true;
        }
    }
}

/// Its first line, which says what kind of event it is: `{"op":"message",…` is `event: message`.
fn begin(out: &mut Vec<u8>, object: &[u8]) {
    let op = &object[br#"{"op":""#.len()..];
    let len = op.iter().position(|&byte| byte == b'"').unwrap_or(0);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(&op[..len]);
    out.push(b'\n');
}

fn data(out: &mut Vec<u8>, object: &[u8]) {
    out.reserve(object.len() + DATA.len() + 2);
    let mut start = 0;
    for at in memchr2_iter(b'\n', b'\r', object) {
        line(out, &object[start..at]);
        start = at + 1;
    }
    line(out, &object[start..]);
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(DATA);
    out.extend_from_slice(text);
    out.push(b'\n');
}

const ID: &[u8] = b"id: ";
const DATA: &[u8] = b"data: ";

/// Says nothing, and keeps proxies from taking the stream for dead.
pub const HEARTBEAT: &[u8] = b":\n\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Payload;
    use crate::protocol::publication::{Head, prefix, write_listed as write_object};
    use crate::topic::Topic;
    use crate::transport::websocket;
    use proptest::prelude::*;

    fn event(topic: &str, offset: u64, from: &[u8], payload: Payload<'_>) -> (Vec<u8>, Vec<u8>) {
        let prefix = prefix(Topic::parse(topic).unwrap(), 0xf3a9_b2c1);
        let head = Head { prefix: &prefix, offset, from };
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        websocket::publication(&mut frame, head, payload);
        of_frame(&mut out, &frame);
        let mut object = Vec::new();
        write_object(&mut object, head, payload);
        (out, object)
    }

    #[test]
    fn a_publication_is_an_event_with_its_position_as_id() {
        let (event, _) = event("chat/1", 121, b"", Payload::Json(b"1.0"));
        let expected = "id: f3a9b2c1:121\nevent: message\n\
            data: {\"op\":\"message\",\"topic\":\"chat/1\",\"position\":\"f3a9b2c1:121\",\"data\":1.0}\n\n";
        assert_eq!(String::from_utf8(event).unwrap(), expected);
    }

    #[test]
    fn bytes_come_in_base64_behind_the_publisher_s_name() {
        let (event, _) = event("a\"b", 1, b",\"from\":\"}\\n{\"", Payload::Binary(b"\n\xff\n\n"));
        let expected = "id: f3a9b2c1:1\nevent: message\n\
            data: {\"op\":\"message\",\"topic\":\"a\\\"b\",\"position\":\"f3a9b2c1:1\",\"from\":\"}\\n{\",\
            \"encoding\":\"base64\",\"data\":\"Cv8KCg==\"}\n\n";
        assert_eq!(String::from_utf8(event).unwrap(), expected);
    }

    #[test]
    fn white_space_between_the_parts_of_json_cannot_end_an_event() {
        for data in ["[\n\n1]", "[\r\n\r\n1]", "[\r\r1]", "[\n\r1,\n2]"] {
            let (event, _) = event("a", 1, b"", Payload::Json(data.as_bytes()));
            assert_eq!(event_len(&event), event.len(), "{data:?}");
            assert!(!event.contains(&b'\r'));
        }
    }

    #[test]
    fn what_the_broker_says_is_named_by_its_op() {
        let mut out = Vec::new();
        reply(&mut out, |out| out.extend_from_slice(br#"{"op":"gap","topic":"a"}"#));
        assert_eq!(out, b"event: gap\ndata: {\"op\":\"gap\",\"topic\":\"a\"}\n\n");
        out.clear();
        close(&mut out, 4008, "\"slow\"");
        let expected = b"event: close\ndata: {\"op\":\"close\",\"code\":4008,\"reason\":\"\\\"slow\\\"\"}\n\n";
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn an_event_is_taken_apart_again(
            offset: u64,
            data in r#"[\[,\]{}" \n\r\ta1]{0,40}"#,
            bytes: Vec<u8>,
            binary: bool,
            behind: Vec<u8>,
        ) {
            let payload = if binary { Payload::Binary(&bytes) } else { Payload::Json(data.as_bytes()) };
            let (mut event, object) = event("t/\"", offset, b",\"from\":\"ann\"", payload);
            prop_assert_eq!(offset_of(&event), offset);
            let len = event.len();
            event.extend_from_slice(&behind);
            prop_assert_eq!(event_len(&event), len);
            let mut listed = Vec::new();
            write_listed(&mut listed, &event[..len]);
            let even = |text: &[u8]| String::from_utf8_lossy(text).replace('\r', "\n");
            prop_assert_eq!(even(&listed), even(&object));
        }
    }
}
