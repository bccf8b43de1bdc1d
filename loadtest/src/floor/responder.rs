//! A bare HTTP/1.1 responder: every good request is answered 200 and a position, in the bytes of wirefan, as many as came with
//! one read in one write. The floor gives it what comes on a connection that begins with a POST.
//! It does what RFC 9112 asks of any server and nothing of an API: a head of up to 64 lines by httparse, one valid Host, a target
//! of a known form, one length of the body or chunks, whether the connection stays, a Date that is true. It looks into no path
//! and no body, knows neither origins nor tokens, and keeps a number per connection.
//! What is no good request ends the connection behind a 400; an expectation gets a 417, which RFC 9110 10.1.1 leaves it.

use std::mem::MaybeUninit;
use std::time::SystemTime;

use wirefan::http::Date;

/// Most lines of a head, as wirefan takes them.
const LINES_MAX: usize = 64;
/// Longest head, in bytes, as wirefan takes it.
const HEAD_BYTES_MAX: usize = 8192;
/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What one connection is told.
pub(super) struct Responder {
    answered: u64,
    /// The time of the responses of this read.
    date: Date,
}

impl Default for Responder {
    fn default() -> Self {
        Self { answered: 0, date: Date::new(0) }
    }
}

/// What came of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Bytes of whole requests.
    pub(super) used: usize,
    /// The connection ends behind the answers.
    pub(super) ends: bool,
}

/// A whole request.
struct Request {
    /// Bytes of head and body.
    whole: usize,
    keep_alive: bool,
    head_only: bool,
    /// HTTP/1.0.
    old: bool,
}

/// Why there is no whole request.
#[derive(Debug, PartialEq, Eq)]
enum Lack {
    /// More is to come.
    More,
    /// It is none; the status that it gets.
    Bad(&'static str),
}

impl Responder {
    /// Answers the whole requests at the start of `bytes` into `out`.
    pub(super) fn answer(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Answered {
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.date.set(since_1970.as_secs());
        let mut used = 0;
        loop {
            match request(&bytes[used..]) {
                Ok(request) => {
                    used += request.whole;
                    self.respond(&request, out);
                    if !request.keep_alive {
                        return Answered { used, ends: true };
                    }
                }
                Err(Lack::More) => return Answered { used, ends: false },
                Err(Lack::Bad(status)) => {
                    for part in ["HTTP/1.1 ", status, "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"] {
                        out.extend_from_slice(part.as_bytes());
                    }
                    return Answered { used, ends: true };
                }
            }
        }
    }

    fn respond(&mut self, request: &Request, out: &mut Vec<u8>) {
        self.answered += 1;
        let (mut digits, mut length) = ([0; 20], [0; 20]);
        let offset = decimal(self.answered, &mut digits);
        let body_bytes = BEFORE_OFFSET.len() + offset.len() + AFTER_OFFSET.len();
        out.extend_from_slice(BEFORE_DATE);
        out.extend_from_slice(self.date.as_bytes());
        // RFC 9112 9.3: what is not the default of the request's version is said.
        match (request.keep_alive, request.old) {
            (true, false) => {}
            (true, true) => out.extend_from_slice(b"\r\nConnection: keep-alive"),
            (false, _) => out.extend_from_slice(b"\r\nConnection: close"),
        }
        out.extend_from_slice(BEFORE_LENGTH);
        out.extend_from_slice(decimal(body_bytes as u64, &mut length));
        out.extend_from_slice(b"\r\n\r\n");
        if !request.head_only {
            for part in [BEFORE_OFFSET, offset, AFTER_OFFSET] {
                out.extend_from_slice(part);
            }
        }
    }
}

/// The request at the start of `bytes`.
fn request(bytes: &[u8]) -> Result<Request, Lack> {
    const BAD: Lack = Lack::Bad("400 Bad Request");
    let mut lines = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut head = httparse::Request::new(&mut []);
    let head_bytes = match head.parse_with_uninit_headers(bytes, &mut lines) {
        Ok(httparse::Status::Complete(head_bytes)) if head_bytes <= HEAD_BYTES_MAX => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Err(Lack::More),
        _ => return Err(BAD),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else { return Err(BAD) };
    // RFC 9112 3.2: a path, `*` for OPTIONS, or what proxies get and a server must take.
    let asterisk = target == "*" && method == "OPTIONS";
    if !asterisk && !["/", "http://", "https://"].iter().any(|form| target.starts_with(form)) {
        return Err(BAD);
    }
    let (mut host, mut length, mut chunked, mut close, mut keep) = (None, None, false, false, false);
    for line in head.headers.iter() {
        match line.name.len() {
            // RFC 9112 3.2: one, and a valid one.
            4 if line.name.eq_ignore_ascii_case("host") => {
                let valid = line.value.iter().all(|&byte| IN_HOST[usize::from(byte)]);
                if host.replace(line.value).is_some() || !valid {
                    return Err(BAD);
                }
            }
            6 if line.name.eq_ignore_ascii_case("expect") => return Err(Lack::Bad("417 Expectation Failed")),
            10 if line.name.eq_ignore_ascii_case("connection") => {
                for option in line.value.split(|&byte| byte == b',') {
                    close |= option.trim_ascii().eq_ignore_ascii_case(b"close");
                    keep |= option.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if line.name.eq_ignore_ascii_case("content-length") => {
                let own = number(line.value).ok_or(BAD)?;
                if length.replace(own).is_some() {
                    return Err(BAD);
                }
            }
            17 if line.name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || !line.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Lack::Bad("501 Not Implemented"));
                }
                chunked = true;
            }
            _ => {}
        }
    }
    // RFC 9112 6.3: two lengths are one too many.
    if (host.is_none() && version == 1) || (chunked && (length.is_some() || version == 0)) {
        return Err(BAD);
    }
    let body = &bytes[head_bytes..];
    let body_bytes = if chunked { chunks(body)? } else { length.unwrap_or(0) };
    if body_bytes > BODY_BYTES_MAX {
        return Err(Lack::Bad("413 Content Too Large"));
    }
    if body_bytes > body.len() {
        return Err(Lack::More);
    }
    Ok(Request {
        whole: head_bytes + body_bytes,
        keep_alive: !close && (version == 1 || keep),
        head_only: method == "HEAD",
        old: version == 0,
    })
}

/// Bytes of a body in chunks, with its last chunk and trailers (RFC 9112 7.1).
fn chunks(body: &[u8]) -> Result<usize, Lack> {
    const BAD: Lack = Lack::Bad("400 Bad Request");
    let mut at = 0;
    loop {
        let Ok(size) = httparse::parse_chunk_size(&body[at..]) else { return Err(BAD) };
        let httparse::Status::Complete((line_bytes, size)) = size else { return Err(Lack::More) };
        at += line_bytes;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).ok().filter(|size| *size <= BODY_BYTES_MAX).ok_or(BAD)?;
        match body.get(at + size..at + size + 2) {
            None => return Err(Lack::More),
            Some(b"\r\n") => at += size + 2,
            Some(_) => return Err(BAD),
        }
    }
    let mut lines = [httparse::EMPTY_HEADER; LINES_MAX];
    match httparse::parse_headers(&body[at..], &mut lines) {
        Ok(httparse::Status::Complete((trailer_bytes, _))) => Ok(at + trailer_bytes),
        Ok(httparse::Status::Partial) => Err(Lack::More),
        Err(_) => Err(BAD),
    }
}

/// Digits and nothing else (RFC 9110 8.6).
fn number(digits: &[u8]) -> Option<usize> {
    let add = |number: usize, digit: &u8| {
        number.checked_mul(10)?.checked_add(usize::from(digit.is_ascii_digit().then(|| digit - b'0')?))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// Writes a number at the end of `digits`.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

/// What a Host is made of (RFC 3986 3.2.2 and 3.2.3), by the byte's value.
const IN_HOST: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')')
            || matches!(byte, b'*' | b'+' | b',' | b';' | b'=' | b'%' | b':' | b'[' | b']');
        byte += 1;
    }
    table
};

/// As long as wirefan's, and as many lines.
const BEFORE_DATE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: floor  \r\nDate: ";
const BEFORE_LENGTH: &[u8] = b"\r\nVary: Origin\r\nContent-Type: application/json\r\nContent-Length: ";
const BEFORE_OFFSET: &[u8] = b"{\"position\":\"0000f100:";
const AFTER_OFFSET: &[u8] = b"\"}\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(bytes: &[u8]) -> (Answered, String) {
        let mut out = Vec::new();
        let answered = Responder::default().answer(bytes, &mut out);
        (answered, String::from_utf8(out).unwrap())
    }

    #[test]
    fn whole_requests_are_answered_and_the_rest_waits() {
        for request in [
            &b"POST /v1/publish?topic=a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n12"[..],
            b"POST http://a/ HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nB: c\r\n\r\n",
        ] {
            let all = request.repeat(3);
            for cut in 0..all.len() {
                let (mut responder, mut out) = (Responder::default(), Vec::new());
                let used = responder.answer(&all[..cut], &mut out).used;
                assert_eq!(used, cut / request.len() * request.len());
                let rest = responder.answer(&all[used..], &mut out);
                assert_eq!(rest, Answered { used: all.len() - used, ends: false });
                let text = String::from_utf8(out).unwrap();
                assert_eq!(text.matches("Content-Length: 26\r\n\r\n{\"position\":\"0000f100:").count(), 3, "{text}");
                assert!(text.ends_with(":3\"}\n"));
            }
        }
    }

    #[test]
    fn a_response_is_as_long_as_that_of_the_broker() {
        let broker = "HTTP/1.1 200 OK\r\nServer: wirefan\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nVary: Origin\r\n\
            Content-Type: application/json\r\nContent-Length: 26\r\n\r\n{\"position\":\"0000f100:1\"}\n";
        assert_eq!(answered(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n").1.len(), broker.len());
    }

    #[test]
    fn rfc9112_9_3_the_connection_stays_as_the_version_and_the_client_say() {
        for (version, option, stays, said) in [
            ("1.1", "", true, None),
            ("1.1", "Connection: a, Close\r\n", false, Some("close")),
            ("1.0", "", false, Some("close")),
            ("1.0", "Connection: keep-alive\r\n", true, Some("keep-alive")),
        ] {
            let (answered, text) = answered(format!("HEAD / HTTP/{version}\r\nHost: a\r\n{option}\r\n").as_bytes());
            assert_eq!(answered.ends, !stays, "{text}");
            assert_eq!(text.lines().find_map(|line| line.strip_prefix("Connection: ")), said);
            assert!(text.ends_with("\r\nContent-Length: 26\r\n\r\n"), "{text}");
        }
    }

    #[test]
    fn what_is_no_good_request_is_refused_and_ends_the_connection() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(64));
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_BYTES_MAX));
        for (odd, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n1", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 417),
            ("\u{1}\r\n\r\n", 400),
            (&many, 400),
            (&long, 400),
        ] {
            let (answered, text) = answered(odd.as_bytes());
            assert_eq!(answered, Answered { used: 0, ends: true }, "{odd:?}");
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")) && text.contains("close\r\n"), "{text}");
        }
    }
}
