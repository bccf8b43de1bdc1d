//! Response heads and bodies, appended to bytes that the caller owns (RFC 9112 4, RFC 9110 6.6).
//!
//! [`Response`] is what answers a [`super::Request`] on the terms that it came with. The 101 of a handshake is written in
//! `ws::handshake`.

use super::{Date, Problem, Terms};

/// A response that is being written: first its headers, then one of [`Response::body`], [`Response::empty`] and
/// [`Response::stream`], which end the head.
#[must_use = "the head is not complete"]
#[derive(Debug)]
pub struct Response<'o> {
    out: &'o mut Vec<u8>,
    status: u16,
    terms: Terms,
    upgrade: bool,
}

impl<'o> Response<'o> {
    /// Appends the status line and what every response says. `status` is 200..=599.
    pub fn begin(out: &'o mut Vec<u8>, status: u16, terms: Terms, date: Option<&Date>) -> Self {
        out.reserve(256);
        if status == 200 {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\nServer: wirefan\r\n");
        } else {
            out.extend_from_slice(b"HTTP/1.1 ");
            push_number(out, status.into());
            out.push(b' ');
            out.extend_from_slice(title(status).as_bytes());
            out.extend_from_slice(b"\r\nServer: wirefan\r\n");
        }
        if let Some(date) = date {
            out.extend_from_slice(date.as_line());
        }
        Self { out, status, terms, upgrade: false }
    }

    /// Adds a header; not one that the other methods write. A control character in the value becomes a space, so that
    /// nobody's text begins a line of its own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.upgrade |= name.eq_ignore_ascii_case("upgrade");
        self.line(name.as_bytes(), value.as_bytes());
        self
    }

    /// Adds a whole line that is our own; not one that the other methods write.
    pub(super) fn fixed(self, line: &'static [u8]) -> Self {
        self.out.extend_from_slice(line);
        self
    }

    /// Ends the head and appends the body, or in answer to HEAD only its length (RFC 9110 9.3.2).
    pub fn body(self, content_type: &'static str, body: &[u8]) {
        self.body_of(content_type, body.len(), |out| out.extend_from_slice(body));
    }

    /// The same for a body of `len` bytes, which `write` appends.
    pub fn body_of(self, content_type: &'static str, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let terms = self.terms;
        Self::end(self.up_to_length(content_type), terms, len, write);
    }

    /// Appends the head as far as the length of the body. [`Response::end`] goes on: who answers often alike has this part
    /// written once.
    pub fn up_to_length(mut self, content_type: &'static str) -> &'o mut Vec<u8> {
        self.connection();
        self.out.extend_from_slice(b"Content-Type: ");
        self.out.extend_from_slice(content_type.as_bytes());
        self.out.extend_from_slice(b"\r\nContent-Length: ");
        self.out
    }

    /// Ends a head that was written up to the length of the body, and appends the body of `len` bytes by `write`.
    pub fn end(out: &mut Vec<u8>, terms: Terms, len: usize, write: impl FnOnce(&mut Vec<u8>)) {
        push_number(out, len as u64);
        out.extend_from_slice(b"\r\n\r\n");
        if !terms.head_only {
            let before = out.len();
            write(out);
            debug_assert_eq!(out.len() - before, len, "the body is as long as it was said to be");
        }
    }

    /// Ends the head of a response that has no content.
    pub fn empty(mut self) {
        self.connection();
        // RFC 9110 8.6: no Content-Length in a 204; a 304 would have to tell the length of the 200.
        if !matches!(self.status, 204 | 304) {
            self.length(0);
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// Ends the head of a response without a length: what follows lasts until the connection ends (RFC 9112 6.3, 8).
    pub fn stream(mut self, content_type: &'static str) {
        self.terms.keep_alive = false;
        self.connection();
        self.line(b"Content-Type", content_type.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// A refusal as a problem document (RFC 9457), with the headers that it asks for.
    pub fn problem(out: &'o mut Vec<u8>, problem: &Problem, terms: Terms, date: Option<&Date>) {
        Self::begin(out, problem.status, terms, date).refuse(problem);
    }

    /// As [`Response::problem`], behind headers that were added before.
    pub fn refuse(self, problem: &Problem) {
        let document = serde_json::json!({
            "type": "about:blank",
            "title": title(problem.status),
            "status": problem.status,
            "detail": problem.reason,
        });
        let mut document = document.to_string();
        document.push('\n');
        let add = |response: Self, (name, value): &(&'static str, std::borrow::Cow<'static, str>)| {
            response.header(name, value)
        };
        problem.headers.iter().fold(self, add).body("application/problem+json", document.as_bytes());
    }

    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        let start = self.out.len();
        self.out.extend_from_slice(value);
        for byte in &mut self.out[start..] {
            if byte.is_ascii_control() {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    fn length(&mut self, length: usize) {
        self.out.extend_from_slice(b"Content-Length: ");
        push_number(self.out, length as u64);
        self.out.extend_from_slice(b"\r\n");
    }

    /// RFC 9112 9.3: what is not the default of the request's version is said. RFC 9110 7.8: who sends Upgrade lists it
    /// in Connection too.
    fn connection(&mut self) {
        let options = match (self.terms.keep_alive, self.terms.version_minor, self.upgrade) {
            (false, _, false) => "close",
            (false, _, true) => "close, upgrade",
            (true, 0, _) => "keep-alive",
            (true, _, true) => "upgrade",
            (true, _, false) => return,
        };
        self.line(b"Connection", options.as_bytes());
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let (mut digits, mut at, mut left) = ([0; 20], 20, number);
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The reason phrases of RFC 9110 15 and RFC 6585 that we use.
fn title(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112 4: the phrase may be empty.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAY: Terms = Terms { keep_alive: true, head_only: false, version_minor: 1 };

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn rfc9112_4_a_response_word_for_word() {
        let date = Date::new(784_111_777);
        let text = written(|out| {
            Response::begin(out, 200, STAY, Some(&date)).header("A", "b").body("application/json", b"{}");
        });
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nServer: wirefan\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nA: b\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn rfc9112_9_3_connection_says_what_is_not_the_default() {
        let connection = |terms: Terms, upgrade: bool| {
            let text = written(|out| {
                let response = Response::begin(out, 426, terms, None);
                if upgrade { response.header("Upgrade", "websocket").empty() } else { response.empty() }
            });
            assert!(text.starts_with("HTTP/1.1 426 Upgrade Required\r\n") && text.ends_with("\r\n\r\n"), "{text}");
            text.lines().find_map(|line| line.strip_prefix("Connection: ")).map(str::to_owned)
        };
        let old = Terms { version_minor: 0, ..STAY };
        assert_eq!(connection(STAY, false), None);
        assert_eq!(connection(STAY, true).as_deref(), Some("upgrade"));
        assert_eq!(connection(STAY.closing(), false).as_deref(), Some("close"));
        assert_eq!(connection(STAY.closing(), true).as_deref(), Some("close, upgrade"));
        assert_eq!(connection(old, false).as_deref(), Some("keep-alive"));
        assert_eq!(connection(old.closing(), false).as_deref(), Some("close"));
    }

    #[test]
    fn rfc9110_9_3_2_head_tells_the_length_and_sends_nothing() {
        let to = |head_only| {
            written(|out| {
                Response::begin(out, 200, Terms { head_only, ..STAY }, None).body("text/plain", b"0123456789");
            })
        };
        assert_eq!(to(false), format!("{}0123456789", to(true)));
        assert!(to(true).ends_with("\r\nContent-Length: 10\r\n\r\n"));
    }

    #[test]
    fn rfc9110_8_6_only_what_has_no_content_has_no_length() {
        let text = |status| written(|out| Response::begin(out, status, STAY, None).empty());
        assert_eq!(text(204), "HTTP/1.1 204 No Content\r\nServer: wirefan\r\n\r\n");
        assert_eq!(text(304), "HTTP/1.1 304 Not Modified\r\nServer: wirefan\r\n\r\n");
        assert!(text(202).ends_with("\r\nContent-Length: 0\r\n\r\n"));
    }

    #[test]
    fn rfc9112_6_3_a_stream_ends_with_its_connection() {
        let text = written(|out| Response::begin(out, 200, STAY, None).stream("text/event-stream"));
        assert!(text.ends_with("\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n"), "{text}");
        assert!(!text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn rfc9110_5_5_no_value_begins_a_line() {
        let text = written(|out| Response::begin(out, 200, STAY, None).header("A", "b\r\nC: d\0\u{7f}\u{e9}").empty());
        assert!(text.contains("\r\nA: b  C: d  \u{e9}\r\n"), "{text}");
    }

    #[test]
    fn rfc9457_a_problem_brings_its_headers_and_keeps_the_terms() {
        let problem = Problem::method_not_allowed("GET, HEAD");
        let text = written(|out| Response::problem(out, &problem, STAY, None));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 405 Method Not Allowed\r\n") && !head.contains("Connection"), "{head}");
        assert!(head.contains("\r\nAllow: GET, HEAD\r\nContent-Type: application/problem+json\r\n"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["status"], &body["title"]), (&405.into(), &"Method Not Allowed".into()));
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 1234, u64::MAX] {
            assert_eq!(written(|out| push_number(out, number)), number.to_string());
        }
    }
}
