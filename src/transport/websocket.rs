//! Replies and publications as WebSocket frames of a server: whole, unmasked, final.

use crate::protocol::{Payload, publication as body};
use crate::ws::{Opcode, encode};

/// Appends one publication as one frame. `prefix` is the topic's, from [`body::prefix`].
pub fn publication(out: &mut Vec<u8>, prefix: &[u8], offset: u64, payload: Payload<'_>) {
    match payload {
        Payload::Json(data) => {
            encode::header(out, Opcode::Text, body::json_len(prefix, offset, data.len()));
            body::write_json(out, prefix, offset, data);
        }
        Payload::Binary(bytes) => {
            encode::header(out, Opcode::Binary, body::binary_len(prefix, offset, bytes.len()));
            body::write_binary(out, prefix, offset, bytes);
        }
    }
}

/// The payload within a frame of [`publication`], whose prefix had that length.
#[must_use]
pub fn payload_of(frame: &[u8], prefix_len: usize, offset: u64) -> Payload<'_> {
    let binary = frame.first().is_some_and(|first| first & 0xf == Opcode::Binary as u8);
    let around = if binary { body::binary_len(&[], offset, 0) } else { body::json_len(&[], offset, 0) };
    let tail = usize::from(!binary); // what closes the object behind a JSON value
    let header = encode::frame_header_len(frame);
    let payload = &frame[header + prefix_len + around - tail..frame.len() - tail];
    if binary { Payload::Binary(payload) } else { Payload::Json(payload) }
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
