//! A head that equals the one before it was judged already: who pipelines sends the same head again and again.
//!
//! [`Repeat::of`] keeps the bytes of a judged head; [`super::Reader::again`] tells of a next request only its body, if its
//! head is the same, byte for byte, but for the number that is its Content-Length. What was found out about the head by its
//! bytes alone then holds for this one too. Refuses to guess: what is not the same, or not whole, is read as any request.

use super::{Field, Head};
use crate::limits::HEAD_BYTES_MAX;

/// The head of a request whose body has a Content-Length, kept to know it again.
#[derive(Debug)]
pub struct Repeat {
    bytes: Vec<u8>,
    /// `bytes[..before]` stand before the number of the body's bytes, `bytes[behind..]` behind it.
    before: usize,
    behind: usize,
    body_bytes_max: usize,
}

impl Repeat {
    /// Keeps the head of a request whose body came whole, and which did not end its connection; `body_bytes_max` is what
    /// the reader was told. None if a request with this head may be anything but a head and as many bytes as it says.
    #[must_use]
    pub fn of(head: &Head<'_>, body_bytes_max: usize) -> Option<Self> {
        let number = number(head)?;
        let (before, behind) = (number.start, number.end);
        Some(Self { bytes: head.bytes().to_vec(), before, behind, body_bytes_max })
    }

    /// The lengths of head and body of the request at the start of `unread`, if it is whole and its head is this one.
    pub(super) fn find(&self, unread: &[u8]) -> Option<(usize, usize)> {
        let rest = unread.strip_prefix(&self.bytes[..self.before])?;
        let mut body_len = 0;
        let digits = rest.iter().take(DIGITS_MAX).take_while(|digit| digit.is_ascii_digit());
        let digits = digits.map(|digit| body_len = body_len * 10 + usize::from(digit - b'0')).count();
        let rest = rest[digits..].strip_prefix(&self.bytes[self.behind..])?;
        let head_len = unread.len() - rest.len();
        let fits = digits > 0 && head_len <= HEAD_BYTES_MAX && body_len <= self.body_bytes_max;
        (fits && body_len <= rest.len()).then_some((head_len, body_len))
    }
}

/// Digits of a Content-Length that are looked at here: no body that may be sent needs more.
const DIGITS_MAX: usize = 9;

/// Whether what was read behind a whole request begins with the same head, as far as its Content-Length.
pub(super) fn is_alike(head: &Head<'_>, behind: &[u8]) -> bool {
    !behind.is_empty() && number(head).is_some_and(|number| behind.starts_with(&head.bytes()[..number.start]))
}

/// Where the Content-Length stands of a judged head that has one. Who expects something is answered before the body.
fn number(head: &Head<'_>) -> Option<std::ops::Range<usize>> {
    let plain = head.lacks(Field::Expect) && head.lacks(Field::TransferEncoding);
    head.place(Field::ContentLength).filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn repeat(text: &str) -> Option<Repeat> {
        Repeat::of(&parse_head(text.as_bytes()).unwrap().unwrap().0, 500)
    }

    fn find(first: &str, next: &str) -> Option<(usize, usize)> {
        repeat(first).expect("it has a length").find(next.as_bytes())
    }

    const FIRST: &str = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nA: b\r\n\r\n";

    #[test]
    fn the_same_head_is_known_and_its_length_may_be_another() {
        assert_eq!(find(FIRST, &format!("{FIRST}hello, world")), Some((FIRST.len(), 12)));
        for (number, length) in [("0", 0), ("7", 7), ("012", 12), ("500", 500), ("000000500", 500)] {
            let next = FIRST.replace("12", number);
            assert_eq!(find(FIRST, &format!("{next}{}", "x".repeat(600))), Some((next.len(), length)), "{number}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        let body = "x".repeat(600);
        for number in
            ["", "501", "1234", "0000000012", "+12", "1 2", "12 ", "1,2", "12, 12", "12\r\nContent-Length: 12"]
        {
            assert_eq!(find(FIRST, &format!("{}{body}", FIRST.replace("12", number))), None, "{number}");
        }
        for at in 0..FIRST.len() {
            let mut next = format!("{FIRST}{body}").into_bytes();
            next[at] ^= 0x20;
            assert_eq!(repeat(FIRST).unwrap().find(&next), None, "{at}");
        }
        for len in 0..FIRST.len() + 12 {
            assert_eq!(find(FIRST, &format!("{FIRST}hello, world")[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_head_that_grew_too_long_is_not() {
        let fill = HEAD_BYTES_MAX - FIRST.len() - "B: \r\n".len();
        let first = FIRST.replace("A: b", &format!("A: b\r\nB: {}", "y".repeat(fill)));
        assert_eq!(first.len(), HEAD_BYTES_MAX);
        let body = "x".repeat(600);
        assert_eq!(find(&first, &format!("{first}{body}")), Some((HEAD_BYTES_MAX, 12)));
        assert_eq!(find(&first, &format!("{}{body}", first.replace("12", "100"))), None);
    }

    #[test]
    fn what_says_its_length_in_no_number_or_is_answered_before_is_not_kept() {
        for header in ["A: b", "Transfer-Encoding: chunked", "Content-Length: 3\r\nExpect: 100-continue"] {
            assert!(repeat(&format!("POST /p HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n")).is_none(), "{header}");
        }
    }
}
