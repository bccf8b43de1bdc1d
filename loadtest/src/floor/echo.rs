//! A bare echo: unmasks each piece of a frame where it was read, writes the server's shorter header before it, and sends.
//! The floor gives it what comes on a connection to `/echo`; what it answers leaves in one `send`.
//! It puts no message together, checks neither UTF-8 nor the rules of fragments, and answers nothing to control frames but
//! their own bytes: no measure of RFC 6455, only of moving bytes.

use std::ops::Range;

use wirefan::simd;

/// Longest header that a client writes: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;
const MASK_BYTES: usize = 4;

/// Where a connection stands.
#[derive(Default)]
pub(super) struct Echo {
    /// The beginning of a header.
    partial: Vec<u8>,
    /// Payload bytes of the frame under way that have not come.
    left: u64,
    /// The mask of the next of them.
    key: [u8; 4],
}

impl Echo {
    /// What the bytes `buffer[..filled]` are answered with; `None` for a frame that is not masked. Behind them the buffer has room
    /// for [`HEADER_BYTES_MAX`] bytes.
    pub(super) fn answer<'b>(&mut self, buffer: &'b mut [u8], filled: usize) -> Option<&'b [u8]> {
        let mut at = 0;
        // Headers shrink by the mask, so what is written never overtakes what is read; the first payload need not move.
        let mut out = if self.left > 0 { 0..0 } else { MASK_BYTES..MASK_BYTES };
        if !self.partial.is_empty() {
            // The header began in an earlier read: its end is here, and has to be put in front.
            let had = self.partial.len();
            self.partial.extend_from_slice(&buffer[..filled.min(HEADER_BYTES_MAX - had)]);
            let Some(header_bytes) = header_len(&self.partial)? else {
                return Some(&[]);
            };
            let header: Vec<u8> = self.partial.drain(..).take(header_bytes).collect();
            at = header_bytes - had;
            self.begin(&header);
            return self.rest_of_header(buffer, &header, at, filled);
        }
        loop {
            let piece = usize::try_from(self.left).unwrap_or(usize::MAX).min(filled - at);
            self.piece(buffer, at..at + piece, &mut out);
            at += piece;
            if at == filled {
                return Some(&buffer[out]);
            }
            let Some(header_bytes) = header_len(&buffer[at..filled])? else {
                self.partial.extend_from_slice(&buffer[at..filled]);
                return Some(&buffer[out]);
            };
            let header: [u8; HEADER_BYTES_MAX] =
                std::array::from_fn(|n| if n < header_bytes { buffer[at + n] } else { 0 });
            self.begin(&header[..header_bytes]);
            at += header_bytes;
            let kept = header_bytes - MASK_BYTES;
            buffer[out.end..out.end + kept].copy_from_slice(&header[..kept]);
            buffer[out.end + 1] &= 0x7f;
            out.end += kept;
        }
    }

    /// A header that came in two reads is longer than the room before its payload: this once, the answer is copied.
    fn rest_of_header<'b>(
        &mut self,
        buffer: &'b mut [u8],
        header: &[u8],
        at: usize,
        filled: usize,
    ) -> Option<&'b [u8]> {
        let mut all = header[..header.len() - MASK_BYTES].to_vec();
        all[1] &= 0x7f;
        buffer.copy_within(at..filled, 0);
        let answer = self.answer(buffer, filled - at)?;
        all.extend_from_slice(answer);
        let len = all.len();
        // Never longer than what came: the mask alone is four bytes, and the part of the header that came before is at most 13.
        let room = buffer.get_mut(..len)?;
        room.copy_from_slice(&all);
        Some(room)
    }

    fn begin(&mut self, header: &[u8]) {
        let key = header.len() - MASK_BYTES;
        self.key.copy_from_slice(&header[key..]);
        self.left = match header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => header[2..key].iter().fold(0, |n, byte| n << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
    }

    /// Unmasks a piece of a payload and puts it behind what is to be sent.
    fn piece(&mut self, buffer: &mut [u8], piece: Range<usize>, out: &mut Range<usize>) {
        if piece.is_empty() {
            return;
        }
        let len = piece.len();
        simd::unmask(buffer, piece.clone(), self.key);
        self.key = simd::rotate(self.key, len);
        self.left -= len as u64;
        if piece.start != out.end {
            buffer.copy_within(piece, out.end);
        }
        out.end += len;
    }
}

/// The length of the header at the start of `bytes`; `Some(None)` if it is not whole, `None` if it has no mask.
#[expect(clippy::option_option, reason = "not masked, not whole, and whole are three things")]
fn header_len(bytes: &[u8]) -> Option<Option<usize>> {
    let Some(second) = bytes.get(1) else {
        return Some(None);
    };
    if second & 0x80 == 0 {
        return None;
    }
    let len = match second & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    };
    Some((bytes.len() >= len).then_some(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wirefan::ws::{Opcode, encode};

    /// What comes back when `sent` is read in pieces of `cut` bytes.
    fn echoed(sent: &[u8], cut: usize) -> Vec<u8> {
        let (mut echo, mut back) = (Echo::default(), Vec::new());
        for piece in sent.chunks(cut) {
            let mut buffer = vec![0; 4_096 + HEADER_BYTES_MAX];
            buffer[..piece.len()].copy_from_slice(piece);
            back.extend_from_slice(echo.answer(&mut buffer, piece.len()).unwrap());
        }
        back
    }

    #[test]
    fn frames_come_back_unmasked_however_they_are_cut() {
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for (number, len) in [0, 1, 16, 125, 126, 300, 2, 70_000, 5].into_iter().enumerate() {
            let payload: Vec<u8> = (0..len).map(|n| (n * 7 + number) as u8).collect();
            encode::masked_frame(&mut sent, Opcode::Binary, &payload, [1, 2, 3, number as u8]);
            encode::frame(&mut expected, Opcode::Binary, &payload);
        }
        for cut in [1, 2, 3, 5, 7, 13, 64, 1_000, 4_096] {
            assert_eq!(echoed(&sent, cut), expected, "{cut}");
        }
    }

    #[test]
    fn a_frame_without_a_mask_ends_the_connection() {
        let mut frame = Vec::new();
        encode::frame(&mut frame, Opcode::Binary, b"abcdef");
        let filled = frame.len();
        assert_eq!(Echo::default().answer(&mut frame, filled), None);
    }
}
