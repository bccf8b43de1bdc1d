//! The head of an HTTP answer.
//! Streams, polls and the publishers by HTTP look at what the server answered with it.
//! Refuses what is no head of HTTP/1.1, and heads beyond `HEAD_BYTES_MAX`.

use std::borrow::Cow;

use serde::Deserialize;

/// Longest head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most lines of a head.
const LINES_MAX: usize = 64;

/// What a load test needs of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 200, if all is well.
    pub(crate) status: u16,
    /// Bytes of the head.
    pub(crate) head_bytes: usize,
    /// Bytes of the body; `None` if it lasts as long as the connection.
    pub(crate) body_bytes: Option<usize>,
}

impl Answer {
    /// Reads the head at the start of `bytes`; `None` if it is not complete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
        let mut head = httparse::Response::new(&mut lines);
        let head_bytes = match head.parse(bytes) {
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
            Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err("the head of the answer does not end".into()),
            Err(error) => return Err(format!("the answer is not HTTP/1.1: {error}")),
        };
        let length = head.headers.iter().find(|line| line.name.eq_ignore_ascii_case("content-length"));
        let length = length.map(|line| std::str::from_utf8(line.value).ok().and_then(|text| text.parse().ok()));
        if length == Some(None) {
            return Err("the length of the answer is no number".into());
        }
        Ok(Some(Self { status: head.code.unwrap_or_default(), head_bytes, body_bytes: length.flatten() }))
    }

    /// The bytes of the whole answer; `None` if it has no end of its own.
    pub(crate) fn whole_bytes(&self) -> Option<usize> {
        Some(self.head_bytes + self.body_bytes?)
    }
}

/// A sentence about an answer that is not the one that was hoped for, and what would help: `shown` is a problem document, or words.
pub(crate) fn refusal(status: u16, shown: &[u8]) -> String {
    let detail = serde_json::from_slice::<Problem<'_>>(shown).map(|problem| problem.detail.into_owned());
    let detail = detail.unwrap_or_else(|_| String::from_utf8_lossy(shown).into_owned());
    let detail: String = detail.trim().chars().filter(|shown| !shown.is_control()).take(200).collect();
    let advice = match status {
        429 | 503 => "; ask for less at a time (--connects-per-second, --rate, --depth), or raise the server's limit",
        401 | 403 => "; the load comes without a token: let the server admit it (server.allow_anonymous, or no [auth])",
        404 => "; is this the path of the server's WebSocket (--url)?",
        _ => "",
    };
    format!("the server refused with {status}: {detail}{advice}")
}

/// RFC 9457, as far as a reader needs it.
#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 2\r\n\r\nhi";

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        for cut in 0..WHOLE.len() - 2 {
            assert_eq!(Answer::parse(&WHOLE[..cut]), Ok(None), "{cut}");
        }
        let answer = Answer::parse(WHOLE).unwrap().unwrap();
        assert_eq!((answer.status, answer.body_bytes, answer.whole_bytes()), (200, Some(2), Some(WHOLE.len())));
    }

    #[test]
    fn a_stream_has_no_length() {
        let answer = Answer::parse(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, answer.whole_bytes()), (503, None));
    }

    #[test]
    fn a_refusal_is_told_with_its_detail_and_with_what_would_help() {
        let told = refusal(503, br#"{"type":"about:blank","detail":"too many","status":503}"#);
        assert!(told.starts_with("the server refused with 503: too many; ask for less"), "{told}");
        assert!(
            refusal(404, b"nothing\x1b[2J here\r\n")
                .starts_with("the server refused with 404: nothing[2J here; is this")
        );
        assert_eq!(refusal(500, b""), "the server refused with 500: ");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for odd in
            ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n"]
        {
            assert!(Answer::parse(odd.as_bytes()).is_err(), "{odd:?}");
        }
        assert!(Answer::parse(&[b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat()).is_err());
    }
}
