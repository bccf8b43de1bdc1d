//! Replies and publications as WebSocket frames of a server: whole, unmasked, final.

use crate::protocol::Payload;
use crate::protocol::publication::{self as body, Head};
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
    use super::*;

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
