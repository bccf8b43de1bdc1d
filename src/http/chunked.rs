//! The chunked transfer coding, decoded in place (RFC 9112 7.1).
//!
//! `reader` hands over the bytes behind a head, in any split; the data of the chunks is moved together at their front.
//! Extensions and trailers are checked, bounded and thrown away. One state per byte that may come next: whatever two
//! recipients could read differently (bare CR or LF, white space around a size, a sign, `0x`) is refused.

use super::Problem;
use super::head::is_token_byte;
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};

/// The decoder of one body.
#[derive(Debug)]
pub(super) struct Chunked {
    next: Next,
    /// Data bytes of this chunk that are still to come.
    left: u64,
    /// Data bytes that may still come in all, this chunk's not counted.
    room: u64,
    size_digits: u8,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first digit of a chunk's size.
    Size,
    MoreSize,
    /// White space before the `;` of an extension (RFC 9112 7.1.1).
    Semicolon,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    /// A trailer field, or the empty line that ends all.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Nothing,
}

/// What a call of [`Chunked::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Bytes consumed: all of them, unless the body ended before.
    pub(super) read: usize,
    /// Bytes of data, now at the front.
    pub(super) written: usize,
}

impl Chunked {
    /// For a body of at most `body_bytes_max` bytes of data.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Self {
            next: Next::Size,
            left: 0,
            room: body_bytes_max as u64,
            size_digits: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }

    /// The body and its trailers are complete.
    pub(super) fn is_done(&self) -> bool {
        self.next == Next::Nothing
    }

    /// Takes `bytes` up to the end of the body.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Result<Step, Problem> {
        let (mut read, mut written) = (0, 0);
        while read < bytes.len() && !self.is_done() {
            if self.next == Next::Data {
                let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - read);
                bytes.copy_within(read..read + len, written);
                (read, written) = (read + len, written + len);
                self.left -= len as u64;
                if self.left == 0 {
                    self.next = Next::DataReturn;
                }
            } else {
                self.next = self.after(bytes[read])?;
                read += 1;
            }
        }
        Ok(Step { read, written })
    }

    /// Where one byte that is not data leads.
    fn after(&mut self, byte: u8) -> Result<Next, Problem> {
        match (self.next, byte) {
            (Next::Size, _) => {
                (self.left, self.size_digits) = (0, 0);
                self.size_digit(byte)
            }
            (Next::MoreSize, b'\r') => Ok(Next::SizeLineFeed),
            (Next::MoreSize | Next::Semicolon, b';') => Ok(Next::Extension),
            (Next::MoreSize | Next::Semicolon, b' ' | b'\t') => self.extension(Next::Semicolon),
            (Next::MoreSize, _) => self.size_digit(byte),
            (Next::Extension, b'\r') => Ok(Next::SizeLineFeed),
            (Next::Extension, _) if is_text(byte) => self.extension(Next::Extension),
            (Next::SizeLineFeed, b'\n') if self.left == 0 => Ok(Next::Trailer),
            (Next::SizeLineFeed, b'\n') => {
                self.room -= self.left;
                Ok(Next::Data)
            }
            (Next::DataReturn, b'\r') => Ok(Next::DataLineFeed),
            (Next::DataLineFeed, b'\n') => Ok(Next::Size),
            (Next::Trailer, b'\r') => Ok(Next::LastLineFeed),
            (Next::LastLineFeed, b'\n') => Ok(Next::Nothing),
            (Next::Trailer | Next::TrailerName, _) if is_token_byte(byte) => self.trailer(Next::TrailerName),
            (Next::TrailerName, b':') => self.trailer(Next::TrailerValue),
            (Next::TrailerValue, b'\r') => self.trailer(Next::TrailerLineFeed),
            (Next::TrailerValue, _) if is_text(byte) => self.trailer(Next::TrailerValue),
            (Next::TrailerLineFeed, b'\n') => self.trailer(Next::Trailer),
            (Next::Semicolon | Next::Extension | Next::SizeLineFeed, _) => {
                Err(Problem::bad_request("a chunk's size is followed by neither an extension nor CRLF"))
            }
            (Next::DataReturn | Next::DataLineFeed, _) => {
                Err(Problem::bad_request("a chunk's data is not followed by CRLF: it is longer than its size says"))
            }
            _ => Err(Problem::bad_request("the trailer section of the chunked body is malformed")),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<Next, Problem> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Err(Problem::bad_request("a chunk's size is not a hexadecimal number"));
        };
        self.size_digits += 1;
        if self.size_digits > SIZE_DIGITS_MAX {
            return Err(Problem::bad_request("a chunk's size has more than 16 digits"));
        }
        // No overflow: 16 digits are 64 bits.
        self.left = self.left << 4 | u64::from(digit);
        if self.left > self.room {
            return Err(Problem::content_too_large());
        }
        Ok(Next::MoreSize)
    }

    fn extension(&mut self, next: Next) -> Result<Next, Problem> {
        self.extension_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Problem::bad_request("the body's chunk extensions are longer than 1024 bytes"));
        }
        Ok(next)
    }

    fn trailer(&mut self, next: Next) -> Result<Next, Problem> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Problem::new(431, "the body's trailer section is longer than 4096 bytes"));
        }
        Ok(next)
    }
}

/// RFC 9110 5.5: what a field value is made of; no control character but the tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

const SIZE_DIGITS_MAX: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Data, and what is behind the body; the same in every split in two and byte by byte.
    fn decode(text: &str, max: usize) -> Result<Option<(String, String)>, u16> {
        let whole = decode_in(text, max, &[]);
        for cut in 0..text.len() {
            assert_eq!(decode_in(text, max, &[cut]), whole, "{text:?} cut at {cut}");
        }
        assert_eq!(decode_in(text, max, &(1..text.len()).collect::<Vec<_>>()), whole, "{text:?}");
        whole
    }

    fn decode_in(text: &str, max: usize, cuts: &[usize]) -> Result<Option<(String, String)>, u16> {
        let mut chunked = Chunked::new(max);
        let (mut data, mut behind, mut start) = (vec![], vec![], 0);
        for &end in cuts.iter().chain(&[text.len()]) {
            let mut piece = text.as_bytes()[start..end].to_vec();
            let step = chunked.decode(&mut piece).map_err(|problem| problem.status)?;
            data.extend_from_slice(&piece[..step.written]);
            behind.extend_from_slice(&piece[step.read..]);
            start = end;
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok(chunked.is_done().then(|| (text(data), text(behind))))
    }

    fn accepted(text: &str) -> (String, String) {
        decode(text, 100).expect(text).expect(text)
    }

    fn status(text: &str) -> u16 {
        decode(text, 100).expect_err(text)
    }

    #[test]
    fn rfc9112_7_1_chunks_are_joined_and_what_follows_is_left() {
        assert_eq!(accepted("5\r\nhello\r\nA\r\n, chunked!\r\n0\r\n\r\nGET"), ("hello, chunked!".into(), "GET".into()));
        assert_eq!(accepted("0\r\n\r\n"), (String::new(), String::new()));
        assert_eq!(accepted("0005\r\n\r\n\r\n0\r\n000\r\n\r\n").0, "\r\n\r\n0");
        assert_eq!(decode("5\r\nhello\r\n0\r\n", 100), Ok(None));
    }

    #[test]
    fn rfc9112_7_1_malformed_sizes_are_refused() {
        for size in
            ["", " 5", "5 ", "-5", "+5", "0x5", "5h", "5\n", "5\r5", "g", "5,5", "\t5", "\u{0}5", "00000000000000005"]
        {
            assert_eq!(status(&format!("{size}\r\nhello\r\n0\r\n\r\n")), 400, "{size:?}");
        }
    }

    #[test]
    fn rfc9112_7_1_data_ends_where_its_size_says() {
        for body in
            ["4\r\nhello\r\n0\r\n\r\n", "6\r\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello0\r\n\r\n"]
        {
            assert_eq!(status(body), 400, "{body:?}");
        }
    }

    #[test]
    fn rfc9112_7_1_1_extensions_are_skipped_and_bounded() {
        assert_eq!(accepted("2;a\r\nhi\r\n0;b=c;d=\"e f\"\r\n\r\n").0, "hi");
        assert_eq!(accepted("2 \t;a\r\nhi\r\n0\r\n\r\n").0, "hi");
        for extension in [";a\n", ";a\r", ";a\u{0}", ";\u{7f}", " a", " \r\n"] {
            assert_eq!(status(&format!("2{extension}\r\nhi\r\n0\r\n\r\n")), 400, "{extension:?}");
        }
        let of_len = |len: usize| format!("1;{}\r\na\r\n0;b\r\n\r\n", "x".repeat(len - 1));
        assert!(decode_in(&of_len(1024), 100, &[]).unwrap().is_some());
        assert_eq!(decode_in(&of_len(1025), 100, &[]), Err(400));
    }

    #[test]
    fn rfc9112_7_1_2_trailers_are_discarded_and_bounded() {
        assert_eq!(accepted("0\r\nA: b\r\nContent-Length:5\r\n\r\nx"), (String::new(), "x".into()));
        for trailer in
            ["A\r\n", " a: b\r\n", "a : b\r\n", "a: b\n", ": b\r\n", "a: b\r\n c\r\n", "a: \u{0}\r\n", "a: b\rc"]
        {
            assert_eq!(status(&format!("0\r\n{trailer}\r\n")), 400, "{trailer:?}");
        }
        assert_eq!(status("0\r\n\n"), 400);
        let of_len = |len: usize| format!("0\r\nA:{}\r\n\r\n", "x".repeat(len - 4));
        assert!(decode_in(&of_len(4096), 100, &[]).unwrap().is_some());
        assert_eq!(decode_in(&of_len(4097), 100, &[]), Err(431));
    }

    #[test]
    fn rfc9110_15_5_14_more_data_than_allowed_is_refused_at_its_announcement() {
        assert_eq!(decode("5\r\nhello\r\n0\r\n\r\n", 5).unwrap().unwrap().0, "hello");
        assert_eq!(decode("5\r\nhel", 4), Err(413));
        assert_eq!(decode("3\r\nhel\r\n2\r", 4), Err(413));
        assert_eq!(decode("FFFFFFFFFFFFFFFF", usize::MAX), Ok(None));
        assert_eq!(decode("FFFFFFFFFFFFFFFF\r\n", 1 << 40), Err(413));
    }
}
