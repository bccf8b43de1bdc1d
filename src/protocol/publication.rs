//! The `message` object around a payload, as every subscriber of the topic gets it.
//!
//! `home` keeps the prefix of each of its topics and writes each publication once, into the batch of the turn. The
//! payload goes out byte for byte. The lengths are known beforehand, for the frame header.

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
    out.extend_from_slice(br#"{"op":"message","topic":"#);
    write_string(&mut out, topic.as_str());
    out.extend_from_slice(br#","position":""#);
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

/// How many bytes [`write_json`] appends for a payload of `data_len` bytes.
#[must_use]
pub fn json_len(prefix: &[u8], offset: u64, data_len: usize) -> usize {
    prefix.len() + decimal_len(offset) + BEFORE_DATA.len() + data_len + AFTER_DATA.len()
}

/// Appends a publication whose payload is JSON: `…121","data":<data>}`.
pub fn write_json(out: &mut Vec<u8>, prefix: &[u8], offset: u64, data: &[u8]) {
    out.reserve(json_len(prefix, offset, data.len()));
    out.extend_from_slice(prefix);
    write_decimal(out, offset);
    out.extend_from_slice(BEFORE_DATA);
    out.extend_from_slice(data);
    out.extend_from_slice(AFTER_DATA);
}

/// How many bytes [`write_binary`] appends for a payload of `bytes_len` bytes.
#[must_use]
pub fn binary_len(prefix: &[u8], offset: u64, bytes_len: usize) -> usize {
    prefix.len() + decimal_len(offset) + BEFORE_BYTES.len() + bytes_len
}

/// Appends a publication whose payload is bytes: `…121"}`, a line feed, `<bytes>`.
pub fn write_binary(out: &mut Vec<u8>, prefix: &[u8], offset: u64, bytes: &[u8]) {
    out.reserve(binary_len(prefix, offset, bytes.len()));
    out.extend_from_slice(prefix);
    write_decimal(out, offset);
    out.extend_from_slice(BEFORE_BYTES);
    out.extend_from_slice(bytes);
}

/// Appends a publication as an element of a list: the `message` object of [`write_json`]; bytes become a member,
/// `…121","encoding":"base64","data":"<base64>"}`. The comma that parts it from an element before it comes first.
pub fn write_listed(out: &mut Vec<u8>, prefix: &[u8], offset: u64, payload: Payload<'_>) {
    if out.ends_with(b"}") {
        out.push(b',');
    }
    match payload {
        Payload::Json(data) => write_json(out, prefix, offset, data),
        Payload::Binary(bytes) => {
            out.extend_from_slice(prefix);
            write_decimal(out, offset);
            out.extend_from_slice(BEFORE_BASE64);
            write_base64(out, bytes);
            out.extend_from_slice(AFTER_BASE64);
        }
    }
}

fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // RFC 4648 4: each three bytes, or what is left of them, become four characters.
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written, Ok(out.len() - start));
}

const BEFORE_DATA: &[u8] = br#"","data":"#;
const AFTER_DATA: &[u8] = b"}";
const BEFORE_BYTES: &[u8] = b"\"}\n";
const BEFORE_BASE64: &[u8] = br#"","encoding":"base64","data":""#;
const AFTER_BASE64: &[u8] = b"\"}";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_json_publication_carries_its_payload_byte_for_byte() {
        let prefix = prefix(Topic::parse("chat/1").unwrap(), 0xf3a9_b2c1);
        let mut out = b"before ".to_vec();
        write_json(&mut out, &prefix, 121, br#"{"a":1.0,"a":1.0}"#);
        let expected =
            br#"before {"op":"message","topic":"chat/1","position":"f3a9b2c1:121","data":{"a":1.0,"a":1.0}}"#;
        assert_eq!(out, expected);
    }

    #[test]
    fn a_binary_publication_is_a_header_line_and_its_bytes() {
        let prefix = prefix(Topic::parse("say \"hi\"\\").unwrap(), 1);
        let mut out = Vec::new();
        write_binary(&mut out, &prefix, 7, b"\n\0\xff");
        let expected = b"{\"op\":\"message\",\"topic\":\"say \\\"hi\\\"\\\\\",\"position\":\"00000001:7\"}\n\n\0\xff";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_listed_publication_is_its_message_with_bytes_in_base64() {
        let prefix = prefix(Topic::parse("a").unwrap(), 1);
        let mut out = b"[".to_vec();
        for (offset, payload) in [
            (1, Payload::Json(b"{}")),
            (2, Payload::Binary(b"")),
            (3, Payload::Binary(b"\xff")),
            (4, Payload::Binary(b"\xfb\xff}")),
            (5, Payload::Json(b" 1.0")),
        ] {
            write_listed(&mut out, &prefix, offset, payload);
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
        fn lengths_are_known_before_a_byte_is_written(epoch: u32, offset: u64, shift in 0u32..64, data: Vec<u8>) {
            let offset = offset >> shift;
            let prefix = prefix(Topic::parse("a/b").unwrap(), epoch);
            let mut out = Vec::new();
            write_json(&mut out, &prefix, offset, &data);
            prop_assert_eq!(out.len(), json_len(&prefix, offset, data.len()));
            out.clear();
            write_binary(&mut out, &prefix, offset, &data);
            prop_assert_eq!(out.len(), binary_len(&prefix, offset, data.len()));
        }
    }
}
