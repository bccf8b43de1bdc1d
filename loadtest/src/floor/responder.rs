//! A bare HTTP responder: every request with a length is answered 200 and a position, as many as there are in one write.
//! The floor gives it what comes on a connection that does not ask for an upgrade.
//! It reads the head for the length of the body alone, looks at neither path nor body, and keeps a number per connection: no
//! measure of an API, only of reading requests and writing answers.

use std::io::Write;

/// Most lines of a head.
const LINES_MAX: usize = 32;

/// What one connection is told.
#[derive(Default)]
pub(super) struct Responder {
    answered: u64,
}

impl Responder {
    /// Answers the whole requests at the start of `bytes` into `out`. Answers how many bytes they were; `None` for what
    /// is no request.
    pub(super) fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let mut used = 0;
        while let Some(whole) = whole_request(&bytes[used..])? {
            used += whole;
            self.answered += 1;
            let position = format!("{{\"position\":\"0000f100:{}\"}}\n", self.answered);
            // Writing to memory cannot fail.
            let _ = write!(out, "{HEAD}{}\r\n\r\n{position}", position.len());
        }
        Some(used)
    }
}

/// `Some(None)` if the request is not complete.
#[expect(clippy::option_option, reason = "not HTTP, not whole, and whole are three things")]
fn whole_request(bytes: &[u8]) -> Option<Option<usize>> {
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    let mut head = httparse::Request::new(&mut lines);
    let httparse::Status::Complete(head_bytes) = head.parse(bytes).ok()? else {
        return Some(None);
    };
    let length = head.headers.iter().find(|line| line.name.eq_ignore_ascii_case("content-length"))?;
    let body_bytes: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    let whole = head_bytes.checked_add(body_bytes)?;
    Some((whole <= bytes.len()).then_some(whole))
}

/// As long as wirefan's.
const HEAD: &str = "HTTP/1.1 200 OK\r\nServer: floor  \r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_requests_are_answered_and_the_rest_waits() {
        let request = b"POST /v1/publish?topic=a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n12";
        let all = request.repeat(3);
        for cut in 0..all.len() {
            let (mut responder, mut out) = (Responder::default(), Vec::new());
            let used = responder.answer(&all[..cut], &mut out).unwrap();
            assert_eq!(used, cut / request.len() * request.len());
            assert_eq!(responder.answer(&all[used..], &mut out), Some(all.len() - used));
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.matches("Content-Length: 26\r\n\r\n{\"position\":\"0000f100:").count(), 3, "{text}");
            assert!(text.ends_with(":3\"}\n"));
        }
    }

    #[test]
    fn what_has_no_length_or_is_no_request_is_refused() {
        for odd in ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "\u{1}\r\n\r\n"] {
            assert_eq!(Responder::default().answer(odd.as_bytes(), &mut Vec::new()), None, "{odd:?}");
        }
    }
}
