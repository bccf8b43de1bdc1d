//! The head of an HTTP answer.
//! Streams, polls and the publishers by HTTP look at what the server answered with it.
//! Refuses what is no head of HTTP/1.1, and heads beyond `HEAD_BYTES_MAX`.

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

/// A sentence about an answer that is not the one that was hoped for.
pub(crate) fn refusal(status: u16, shown: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(shown).chars().take(200).collect();
    format!("the server answered {status}: {shown:?}")
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
    fn what_is_no_answer_is_refused() {
        for odd in
            ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n", "HTTP/1.1 200 OK\r\n folded\r\n\r\n"]
        {
            assert!(Answer::parse(odd.as_bytes()).is_err(), "{odd:?}");
        }
        assert!(Answer::parse(&[b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat()).is_err());
    }
}
