//! Replies and publications as WebSocket frames of a server: whole, unmasked, final.

use crate::limits::DEFLATE_BYTES_MIN;
use crate::protocol::Payload;
use crate::protocol::publication::{self as body, Head};
use crate::ws::deflate::{Deflater, STORED_HEADER_LEN, stored_header};
use crate::ws::{Opcode, encode};

/// Appends one publication as one frame.
pub fn publication(out: &mut Vec<u8>, head: Head<'_>, payload: Payload<'_>) {
    match payload {
        Payload::Json(data) => {
            encode::header(out, Opcode::Text, body::json_len(head, data.len()));
            body::write_json(out, head, data);
        }
        Payload::Binary(bytes) => {
            encode::header(out, Opcode::Binary, body::binary_len(head, bytes.len()));
            body::write_binary(out, head, bytes);
        }
    }
}

/// Appends one publication as one compressed frame and says true; or appends nothing, where that would hardly be shorter.
/// What stands before the payload is a block of its own, not compressed: a shard reads it in a frame that it drops
/// ([`object_of`]), and names and numbers that differ from frame to frame are little to win.
pub fn deflated_publication(out: &mut Vec<u8>, deflater: &mut Deflater, head: Head<'_>, payload: Payload<'_>) -> bool {
    let (opcode, [bytes, after]) = (opcode_of(payload), body::payload_and_after(payload));
    if bytes.len() < DEFLATE_BYTES_MIN {
        return false;
    }
    let Some(deflated) = deflater.deflate([bytes, after], bytes.len() - STORED_HEADER_LEN - 1) else { return false };
    let before_len = body::before_len(head, payload);
    encode::deflated_header(out, opcode, STORED_HEADER_LEN + before_len + deflated.len());
    out.extend_from_slice(&stored_header(u16::try_from(before_len).expect("at most ENVELOPE_BYTES_MAX")));
    body::write_before(out, head, payload);
    out.extend_from_slice(deflated);
    true
}

fn opcode_of(payload: Payload<'_>) -> Opcode {
    match payload {
        Payload::Json(_) => Opcode::Text,
        Payload::Binary(_) => Opcode::Binary,
    }
}

/// Where the object of a publication begins in its frame, compressed or not: as far as its payload it is readable.
#[must_use]
pub fn object_of(frame: &[u8]) -> &[u8] {
    let object = &frame[encode::frame_header_len(frame)..];
    if encode::is_deflated(frame) { &object[STORED_HEADER_LEN..] } else { object }
}

/// The head and the payload within a frame of [`publication`], which had that prefix and that offset.
#[must_use]
pub fn parts_of<'f>(frame: &'f [u8], prefix: &'f [u8], offset: u64) -> (Head<'f>, Payload<'f>) {
    let binary = frame.first().is_some_and(|first| first & 0xf == Opcode::Binary as u8);
    let behind_prefix = encode::frame_header_len(frame) + prefix.len();
    let (from, payload) = body::split_head(&frame[behind_prefix..], offset, binary);
    let head = Head { prefix, offset, from };
    match binary {
        true => (head, Payload::Binary(payload)),
        false => (head, Payload::Json(&payload[..payload.len() - 1])), // less what closes the object
    }
}

/// Appends one reply as one text frame; `write` appends its JSON, whose length is not known before.
pub fn reply(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    let len = out.len() - start;
    encode::header(out, Opcode::Text, len); // at the end, then brought to the front
    let header = out.len() - start - len;
    out[start..].rotate_right(header);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::DEFLATE_WINDOW_BITS;
    use crate::topic::Topic;
    use crate::ws::Kind;
    use crate::ws::deflate::Inflater;

    /// The plain frame of a publication, and the compressed one if there is one.
    fn both(head: Head<'_>, payload: Payload<'_>) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut plain = Vec::new();
        publication(&mut plain, head, payload);
        let mut deflated = b"before".to_vec();
        let made = deflated_publication(&mut deflated, &mut Deflater::new(DEFLATE_WINDOW_BITS), head, payload);
        assert!(deflated.starts_with(b"before") && (made || deflated.len() == 6));
        (plain, made.then(|| deflated[6..].to_vec()))
    }

    fn inflated(frame: &[u8]) -> Vec<u8> {
        assert!(encode::is_deflated(frame) && encode::frame_len(frame) == frame.len());
        let mut inflater = Inflater::default();
        inflater.message(Kind::Binary, &frame[encode::frame_header_len(frame)..], 1 << 20).unwrap().to_vec()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_compressed_publication_is_the_same_message_and_shorter(
            words in prop::collection::vec("[a-z]{1,9}", 0..200),
            noise in prop::collection::vec(any::<u8>(), 0..400),
            offset: u64,
            user: Option<String>,
            binary: bool,
        ) {
            let mut from = Vec::new();
            user.iter().for_each(|user| body::write_from(&mut from, user));
            let prefix = &body::prefix(Topic::parse("a/\"b").unwrap(), 7);
            let head = Head { prefix, offset, from: &from };
            let (json, bytes) = (format!("{words:?}"), [words.concat().as_bytes(), &noise].concat());
            let payload = if binary { Payload::Binary(&bytes) } else { Payload::Json(json.as_bytes()) };
            let (plain, deflated) = both(head, payload);
            prop_assert_eq!(body::offset_of(object_of(&plain), prefix.len()), offset);
            if let Some(deflated) = deflated {
                prop_assert!(deflated.len() < plain.len());
                prop_assert_eq!(deflated[0], plain[0] | 0x40);
                prop_assert_eq!(&inflated(&deflated)[..], &plain[encode::frame_header_len(&plain)..]);
                prop_assert_eq!(body::offset_of(object_of(&deflated), prefix.len()), offset);
            }
        }
    }

    #[test]
    fn short_payloads_and_those_that_do_not_shrink_stay_as_they_are() {
        let prefix = &body::prefix(Topic::parse("a").unwrap(), 1);
        let head = Head { prefix, offset: 1, from: b"" };
        let zeros = [b'0'; DEFLATE_BYTES_MIN];
        for payload in [Payload::Json, Payload::Binary] {
            assert!(both(head, payload(&zeros)).1.is_some());
            assert!(both(head, payload(&zeros[1..])).1.is_none());
        }
        let mut state = 1u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        assert!(both(head, Payload::Binary(&noise.take(5000).collect::<Vec<_>>())).1.is_none());
    }

    #[test]
    fn a_reply_of_any_length_gets_the_shortest_header() {
        for len in [0, 1, 125, 126, 65_535, 65_536] {
            let mut out = b"before".to_vec();
            reply(&mut out, |out| out.extend(std::iter::repeat_n(b'x', len)));
            let mut expected = b"before".to_vec();
            encode::frame(&mut expected, Opcode::Text, &vec![b'x'; len]);
            assert_eq!(out, expected, "{len} bytes");
        }
    }
}
