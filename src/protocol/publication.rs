//! The `message` object around a payload, as every subscriber of the topic gets it.
//!
//! `home` keeps the prefix of each of its topics and writes each publication once, into the batch of the turn. The
//! payload goes out byte for byte. The lengths are known beforehand, for the frame header.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Payload;
use super::json_text::{decimal_len, write_decimal, write_hex8, write_string};
use crate::topic::Topic;

/// The bytes before the offset, the same for all publications of a topic in one epoch:
/// `{"op":"message","topic":"chat/1","position":"f3a9b2c1:`.
#[must_use]
pub fn prefix(topic: Topic<'_>, epoch: u32) -> Box<[u8]> {
    let mut out = Vec::with_capacity(64 + topic.as_str().len());
    out.extend_from_slice(BEFORE_TOPIC);
    write_string(&mut out, topic.as_str());
    out.extend_from_slice(BEFORE_EPOCH);
    write_hex8(&mut out, epoch);
    out.push(b':');
    out.into_boxed_slice()
}

/// The offset in what [`write_json`] or [`write_binary`] made of a prefix of that length.
#[must_use]
pub fn offset_of(object: &[u8], prefix_len: usize) -> u64 {
    let digits = object[prefix_len..].iter().take_while(|digit| digit.is_ascii_digit());
    digits.fold(0, |offset, digit| offset * 10 + u64::from(digit - b'0'))
}

/// What a `message` says before its payload.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its topic's, from [`prefix`].
    pub prefix: &'a [u8],
    /// The publication's.
    pub offset: u64,
    /// The member that names its publisher, from [`write_from`]; empty if nobody is named.
    pub from: &'a [u8],
}

impl Head<'_> {
    fn len(self) -> usize {
        self.prefix.len() + decimal_len(self.offset) + AFTER_OFFSET.len() + self.from.len()
    }

    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix);
        write_decimal(out, self.offset);
        out.extend_from_slice(AFTER_OFFSET);
        out.extend_from_slice(self.from);
    }
}

/// Appends the member that names a publication's user: `,"from":"ann"`.
pub fn write_from(out: &mut Vec<u8>, user: &str) {
    out.extend_from_slice(FROM);
    write_string(out, user);
}

/// Whether these bytes are what [`write_from`] makes of some user, or nothing.
#[must_use]
pub fn is_from(member: &[u8]) -> bool {
    let Some(user) = member.strip_prefix(FROM) else { return member.is_empty() };
    let quoted = user.len() >= 2 && user.starts_with(b"\"") && user.ends_with(b"\"");
    quoted && serde_json::from_slice::<Cow<'_, str>>(user).is_ok()
}

/// Takes a message's bytes behind its prefix apart: the member that names its publisher, empty if none does, and what
/// follows behind what stands before the payload. The message must be one of [`write_json`] or [`write_binary`].
#[must_use]
pub fn split_head(rest: &[u8], offset: u64, binary: bool) -> (&[u8], &[u8]) {
    let rest = &rest[decimal_len(offset) + AFTER_OFFSET.len()..];
    let from_len = if rest.starts_with(FROM) { FROM.len() + string_len(&rest[FROM.len()..]) } else { 0 };
    let (from, rest) = rest.split_at(from_len);
    (from, &rest[if binary { BEFORE_BYTES.len() } else { BEFORE_DATA.len() }..])
}

/// The text of the position in an object of [`write_json`] or [`write_binary`]; none if it is no publication.
#[must_use]
pub fn position_of(object: &[u8]) -> Option<&[u8]> {
    let (_, rest) = topic_of(object)?;
    let rest = &rest[BEFORE_EPOCH.len()..];
    rest.iter().position(|&byte| byte == b'"').map(|len| &rest[..len])
}

/// A topic or filter as [`topic_of`] finds it.
#[must_use]
pub fn quoted(name: &str) -> Box<[u8]> {
    let mut out = Vec::with_capacity(name.len() + 2);
    write_string(&mut out, name);
    out.into_boxed_slice()
}

/// The JSON string that names the topic in an object of [`write_json`] or [`write_binary`], and what follows it.
#[must_use]
pub fn topic_of(object: &[u8]) -> Option<(&[u8], &[u8])> {
    let topic = object.strip_prefix(BEFORE_TOPIC)?;
    Some(topic.split_at(string_len(topic)))
}

/// The object of [`write_binary`] up to its closing brace, and the bytes behind it.
#[must_use]
pub fn split_binary(object: &[u8]) -> (&[u8], &[u8]) {
    // No string in it has a line feed as it is.
    let brace = memchr::memchr(b'\n', object).map_or(object.len(), |line_feed| line_feed - 1);
    (&object[..brace], &object[(brace + BEFORE_BYTES.len()).min(object.len())..])
}

/// The length of the JSON string that the bytes begin with, its quotation marks included.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// How many bytes [`write_json`] appends for a payload of `data_len` bytes.
#[must_use]
pub fn json_len(head: Head<'_>, data_len: usize) -> usize {
    head.len() + BEFORE_DATA.len() + data_len + AFTER_DATA.len()
}

/// Appends a publication whose payload is JSON: `…121","data":<data>}`.
pub fn write_json(out: &mut Vec<u8>, head: Head<'_>, data: &[u8]) {
    out.reserve(json_len(head, data.len()));
    head.write(out);
    out.extend_from_slice(BEFORE_DATA);
    out.extend_from_slice(data);
    out.extend_from_slice(AFTER_DATA);
}

/// How many bytes [`write_before`] appends.
#[must_use]
pub fn before_len(head: Head<'_>, payload: Payload<'_>) -> usize {
    head.len() + payload.around().0.len()
}

/// Appends what stands before the payload in what [`write_json`] or [`write_binary`] would make of it.
pub fn write_before(out: &mut Vec<u8>, head: Head<'_>, payload: Payload<'_>) {
    head.write(out);
    out.extend_from_slice(payload.around().0);
}

/// The payload's bytes, and what [`write_json`] or [`write_binary`] would put behind them.
#[must_use]
pub fn payload_and_after(payload: Payload<'_>) -> [&[u8]; 2] {
    let (Payload::Json(bytes) | Payload::Binary(bytes)) = payload;
    [bytes, payload.around().1]
}

impl Payload<'_> {
    /// How many bytes it has.
    #[must_use]
    pub fn bytes_len(self) -> usize {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes.len(),
        }
    }

    /// What stands between the head and the payload, and what behind it.
    fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Json(_) => (BEFORE_DATA, AFTER_DATA),
            Self::Binary(_) => (BEFORE_BYTES, b""),
        }
    }
}

/// How many bytes [`write_binary`] appends for a payload of `bytes_len` bytes.
#[must_use]
pub fn binary_len(head: Head<'_>, bytes_len: usize) -> usize {
    head.len() + BEFORE_BYTES.len() + bytes_len
}

/// Appends a publication whose payload is bytes: `…121"}`, a line feed, `<bytes>`.
pub fn write_binary(out: &mut Vec<u8>, head: Head<'_>, bytes: &[u8]) {
    out.reserve(binary_len(head, bytes.len()));
    head.write(out);
    out.extend_from_slice(BEFORE_BYTES);
    out.extend_from_slice(bytes);
}

/// Appends a publication as an element of a list: the `message` object of [`write_json`]; bytes become a member,
/// `…121","encoding":"base64","data":"<base64>"}`. The comma that parts it from an element before it comes first.
pub fn write_listed(out: &mut Vec<u8>, head: Head<'_>, payload: Payload<'_>) {
    if out.ends_with(b"}") {
        out.push(b',');
    }
    match payload {
        Payload::Json(data) => write_json(out, head, data),
        Payload::Binary(bytes) => {
            head.write(out);
            out.extend_from_slice(BINARY_MEMBER);
            write_base64(out, bytes);
            out.extend_from_slice(AFTER_BASE64);
        }
    }
}

/// Appends bytes in base64, without quotation marks.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // RFC 4648 4: each three bytes, or what is left of them, become four characters.
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
}

/// What stands before bytes in base64 as a member of their object.
pub const BINARY_MEMBER: &[u8] = br#","encoding":"base64","data":""#;

const BEFORE_TOPIC: &[u8] = br#"{"op":"message","topic":"#;
const BEFORE_EPOCH: &[u8] = br#","position":""#;
const AFTER_OFFSET: &[u8] = b"\"";
const FROM: &[u8] = br#","from":"#;
const BEFORE_DATA: &[u8] = br#","data":"#;
const AFTER_DATA: &[u8] = b"}";
const BEFORE_BYTES: &[u8] = b"}\n";
const AFTER_BASE64: &[u8] = b"\"}";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_json_publication_carries_its_payload_byte_for_byte() {
        let prefix = &prefix(Topic::parse("chat/1").unwrap(), 0xf3a9_b2c1);
        let mut out = b"before ".to_vec();
        write_json(&mut out, Head { prefix, offset: 121, from: b"" }, br#"{"a":1.0,"a":1.0}"#);
        let expected =
            br#"before {"op":"message","topic":"chat/1","position":"f3a9b2c1:121","data":{"a":1.0,"a":1.0}}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn a_binary_publication_is_a_header_line_and_its_bytes() {
        let prefix = &prefix(Topic::parse("say \"hi\"\\").unwrap(), 1);
        let mut out = Vec::new();
        write_binary(&mut out, Head { prefix, offset: 7, from: b"" }, b"\n\0\xff");
        let expected = b"{\"op\":\"message\",\"topic\":\"say \\\"hi\\\"\\\\\",\"position\":\"00000001:7\"}\n\n\0\xff";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_listed_publication_is_its_message_with_bytes_in_base64() {
        let prefix = &prefix(Topic::parse("a").unwrap(), 1);
        let mut out = b"[".to_vec();
        for (offset, payload) in [
            (1, Payload::Json(b"{}")),
            (2, Payload::Binary(b"")),
            (3, Payload::Binary(b"\xff")),
            (4, Payload::Binary(b"\xfb\xff}")),
            (5, Payload::Json(b" 1.0")),
        ] {
            write_listed(&mut out, Head { prefix, offset, from: b"" }, payload);
        }
        let message = |rest: &str| format!(r#"{{"op":"message","topic":"a","position":"00000001:{rest}}}"#);
        let expected = [
            message(r#"1","data":{}"#),
            message(r#"2","encoding":"base64","data":"""#),
            message(r#"3","encoding":"base64","data":"/w==""#),
            message(r#"4","encoding":"base64","data":"+/99""#),
            message(r#"5","data": 1.0"#),
        ];
        assert_eq!(String::from_utf8(out).unwrap(), format!("[{}", expected.join(",")));
    }

    proptest! {
        #[test]
        fn base64_is_what_the_allocating_encoder_makes(bytes: Vec<u8>) {
            let mut out = b"before".to_vec();
            write_base64(&mut out, &bytes);
            prop_assert_eq!(out, format!("before{}", STANDARD.encode(&bytes)).into_bytes());
        }

        #[test]
        fn lengths_are_known_before_a_byte_is_written_and_a_message_is_taken_apart_again(
            epoch: u32,
            offset: u64,
            shift in 0u32..64,
            user: Option<String>,
            data: Vec<u8>,
        ) {
            let mut from = Vec::new();
            user.iter().for_each(|user| write_from(&mut from, user));
            let prefix = &prefix(Topic::parse("a/b").unwrap(), epoch);
            let head = Head { prefix, offset: offset >> shift, from: &from };
            let mut out = Vec::new();
            write_json(&mut out, head, &data);
            prop_assert_eq!(out.len(), json_len(head, data.len()));
            let apart = split_head(&out[prefix.len()..], head.offset, false);
            prop_assert_eq!(apart, (&from[..], &[&data[..], b"}"].concat()[..]));
            out.clear();
            write_binary(&mut out, head, &data);
            prop_assert_eq!(out.len(), binary_len(head, data.len()));
            prop_assert_eq!(split_head(&out[prefix.len()..], head.offset, true), (&from[..], &data[..]));
        }
    }

    #[test]
    fn nothing_around_the_data_is_longer_than_the_limit_says() {
        let (topic, mut from) = ("\"".repeat(255), Vec::new());
        write_from(&mut from, &"\\".repeat(crate::limits::USER_BYTES_MAX));
        let prefix = &prefix(Topic::parse(&topic).unwrap(), u32::MAX);
        let head = Head { prefix, offset: u64::MAX, from: &from };
        let frame_head = 10; // RFC 6455 5.2, of the longest frames
        let most = frame_head + json_len(head, 0).max(binary_len(head, 0));
        assert!((1024..=crate::limits::ENVELOPE_BYTES_MAX).contains(&most), "{most}");
    }

    #[test]
    fn a_publication_of_a_user_says_so_between_its_position_and_its_payload() {
        let (prefix, mut from) = (&prefix(Topic::parse("a").unwrap(), 1), Vec::new());
        write_from(&mut from, "ann \"\\\"");
        let head = Head { prefix, offset: 2, from: &from };
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let start = r#"{"op":"message","topic":"a","position":"00000001:2","from":"ann \"\\\"""#;
        assert_eq!(written(&|out| write_json(out, head, b"1")), format!(r#"{start},"data":1}}"#));
        assert_eq!(written(&|out| write_binary(out, head, b"x")), format!("{start}}}\nx"));
        let listed = written(&|out| write_listed(out, head, Payload::Binary(b"\xff")));
        assert_eq!(listed, format!(r#"{start},"encoding":"base64","data":"/w=="}}"#));
    }
}
