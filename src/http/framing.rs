//! What a head says about what follows it: how long the body is, whether the connection stays, what the client waits
//! for (RFC 9112 6 and 9.3, RFC 9110 10.1.1).
//!
//! `reader` asks once per head. Where two recipients could disagree about a body's end, the request is refused and its
//! connection closed: that is how requests are smuggled (RFC 9112 11.2).

use super::{Field, Head, Problem, tokens};

/// How long a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Neither header: no body (RFC 9112 6.3, 7).
    Absent,
    /// Content-Length, in bytes.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
}

/// On what terms a request is to be answered; kept by whoever answers later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The connection stays open for further requests.
    pub keep_alive: bool,
    /// HEAD: the answer has no body (RFC 9110 9.3.2).
    pub head_only: bool,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub version_minor: u8,
}

impl Terms {
    /// For a request that could not be read: the connection ends with the answer.
    pub const CLOSE: Self = Self { keep_alive: false, head_only: false, version_minor: 1 };

    /// The terms of this request by RFC 9112 9.3: HTTP/1.1 stays unless it says `close`, HTTP/1.0 only with
    /// `keep-alive`.
    #[must_use]
    pub fn of(head: &Head<'_>) -> Self {
        let says = |option: &[u8]| tokens(head, "connection").any(|element| element.eq_ignore_ascii_case(option));
        let keep_alive = if head.lacks(Field::Connection) {
            head.version_minor > 0
        } else {
            !says(b"close") && (head.version_minor > 0 || says(b"keep-alive"))
        };
        Self { keep_alive, head_only: head.method == "HEAD", version_minor: head.version_minor }
    }

    /// The same, but the connection ends with the answer.
    #[must_use]
    pub fn closing(self) -> Self {
        Self { keep_alive: false, ..self }
    }
}

/// RFC 9112 6.3, with every MAY used to refuse.
pub(super) fn framing(head: &Head<'_>) -> Result<Framing, Problem> {
    let length = content_length(head)?;
    if head.lacks(Field::TransferEncoding) {
        return Ok(length.map_or(Framing::Absent, Framing::Length));
    }
    let (mut count, mut last, mut earlier_faulty) = (0, &b""[..], false);
    for coding in head.all("transfer-encoding").flat_map(|value| value.split(|&byte| byte == b',')) {
        // RFC 9112 6.1: chunked is not applied twice. An empty element is refused too: recipients skip it or do not.
        earlier_faulty |= count > 0 && (last.is_empty() || is_chunked(last));
        (count, last) = (count + 1, coding.trim_ascii());
    }
    if length.is_some() {
        return Err(Problem::bad_request("both Content-Length and Transfer-Encoding: one body has one length"));
    }
    // RFC 9112 6.1: the framing of such a message is faulty.
    if head.version_minor == 0 {
        return Err(Problem::bad_request("Transfer-Encoding is not for HTTP/1.0"));
    }
    match count {
        // RFC 9112 6.3, 4.
        _ if !is_chunked(last) || earlier_faulty => {
            Err(Problem::bad_request("the transfer codings do not end in chunked, applied once"))
        }
        1 => Ok(Framing::Chunked),
        // RFC 9112 6.1: the end could be found, the body not be read.
        _ => Err(Problem::new(501, "the only transfer coding that works here is chunked")),
    }
}

fn is_chunked(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"chunked")
}

/// RFC 9110 8.6: digits and nothing else, once. A list of equal numbers may be refused and is.
fn content_length(head: &Head<'_>) -> Result<Option<u64>, Problem> {
    let Some(value) = head.single(Field::ContentLength, "more than one Content-Length header")? else {
        return Ok(None);
    };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Problem::bad_request("the Content-Length header is not a number"));
    }
    let mut digits = value.iter().map(|digit| u64::from(digit - b'0'));
    let length = digits.try_fold(0_u64, |length, digit| length.checked_mul(10)?.checked_add(digit));
    // A number all the same, and more than anyone may send.
    length.map(Some).ok_or_else(Problem::content_too_large)
}

/// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 10.1.1).
///
/// # Errors
/// 417 for any other expectation.
pub(super) fn expects_continue(head: &Head<'_>) -> Result<bool, Problem> {
    if head.lacks(Field::Expect) {
        return Ok(false);
    }
    let mut expects = false;
    for expectation in tokens(head, "expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Problem::new(417, "the only expectation that can be met is 100-continue"));
        }
        // RFC 9110 10.1.1: in HTTP/1.0 it is ignored.
        expects = head.version_minor > 0;
    }
    Ok(expects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn with_head<T>(version: &str, headers: &str, judge: impl Fn(&Head<'_>) -> T) -> T {
        let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{headers}\r\n");
        let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
        judge(&head)
    }

    fn framed(headers: &str) -> Result<Framing, u16> {
        with_head("1.1", headers, |head| framing(head).map_err(|problem| problem.status))
    }

    #[test]
    fn rfc9112_6_3_without_either_header_there_is_no_body() {
        assert_eq!(framed(""), Ok(Framing::Absent));
        assert_eq!(framed("TE: chunked\r\n"), Ok(Framing::Absent));
    }

    #[test]
    fn rfc9112_6_3_both_lengths_are_refused() {
        assert_eq!(framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Err(400));
        assert_eq!(framed("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), Err(400));
        assert_eq!(framed("Transfer-Encoding: x\r\ncontent-length: 5\r\n"), Err(400));
    }

    #[test]
    fn rfc9110_8_6_content_length_is_one_number() {
        for (value, length) in [("0", 0), ("5", 5), ("005", 5), ("18446744073709551615", u64::MAX)] {
            assert_eq!(framed(&format!("Content-Length: {value}\r\n")), Ok(Framing::Length(length)));
        }
        for value in ["", "+5", "-5", "5.0", "0x5", "5a", "5, 5", "5,5", "5 5", "\u{664}", "1_0"] {
            assert_eq!(framed(&format!("Content-Length: {value}\r\n")), Err(400), "{value}");
        }
        assert_eq!(framed("Content-Length: 5\r\nContent-Length: 5\r\n"), Err(400));
        assert_eq!(framed("Content-Length: 5\r\ncontent-length: 6\r\n"), Err(400));
        assert_eq!(framed("Content-Length: 18446744073709551616\r\n"), Err(413));
    }

    #[test]
    fn rfc9112_6_1_chunked_once_and_alone() {
        for value in ["chunked", "Chunked", "CHUNKED\t"] {
            assert_eq!(framed(&format!("Transfer-Encoding: {value}\r\n")), Ok(Framing::Chunked), "{value}");
        }
        for value in ["gzip, chunked", "x,y, chunked", "identity, chunked", "chunked;a=b, chunked"] {
            assert_eq!(framed(&format!("Transfer-Encoding: {value}\r\n")), Err(501), "{value}");
        }
        assert_eq!(framed("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), Err(501));
    }

    #[test]
    fn rfc9112_6_3_codings_that_do_not_end_in_chunked_are_refused() {
        for value in [
            "",
            "gzip",
            "identity",
            "chunked, gzip",
            "chunked, identity",
            "chunked, chunked",
            "chunked,",
            ",chunked",
            "xchunked",
            "chunked;a=b",
            "\"chunked\"",
            "chunked chunked",
            "gzip, chunked, chunked",
        ] {
            assert_eq!(framed(&format!("Transfer-Encoding: {value}\r\n")), Err(400), "{value}");
        }
        assert_eq!(framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), Err(400));
        assert_eq!(framed("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"), Err(400));
        assert_eq!(framed("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"), Err(400));
    }

    #[test]
    fn rfc9112_6_1_transfer_encoding_in_http_1_0_is_refused() {
        let status = with_head("1.0", "Transfer-Encoding: chunked\r\n", |head| framing(head).unwrap_err().status);
        assert_eq!(status, 400);
    }

    #[test]
    fn rfc9112_9_3_who_stays() {
        for (version, headers, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: keep-alive\r\n", true),
            ("1.1", "Connection: x, Close\r\n", false),
            ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            assert_eq!(with_head(version, headers, Terms::of).keep_alive, keep_alive, "{version} {headers}");
        }
    }

    #[test]
    fn rfc9110_10_1_1_expectations() {
        let expects = |version, headers| {
            with_head(version, headers, |head| expects_continue(head).map_err(|problem| problem.status))
        };
        assert_eq!(expects("1.1", ""), Ok(false));
        assert_eq!(expects("1.1", "Expect: 100-Continue\r\n"), Ok(true));
        assert_eq!(expects("1.0", "Expect: 100-continue\r\n"), Ok(false));
        assert_eq!(expects("1.1", "Expect: 100-continue, more\r\n"), Err(417));
        assert_eq!(expects("1.1", "Expect: tea\r\n"), Err(417));
    }
}
