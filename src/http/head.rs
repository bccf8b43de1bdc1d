//! A request head, parsed and judged (RFC 9112 2, 3 and 5).
//!
//! `net` calls [`parse_head`] with all bytes so far whenever more arrive; the same bytes give the same head, or the same
//! status, in any split. httparse reads the lines, this file refuses what it lets pass: bare LF, targets that are no
//! URI, a Host that is missing, doubled or invalid. Bounded by `limits::HEAD_BYTES_MAX` and `limits::HEADERS_MAX`.

use super::Problem;
use crate::auth::authority::Authority;
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A valid request head, borrowed from the bytes that it came in.
#[derive(Debug)]
pub struct Head<'a> {
    /// As sent; methods are case-sensitive (RFC 9110 9.1).
    pub method: &'a str,
    /// Starts with `/`, percent-encoding left as it is; or `*` for `OPTIONS *`.
    pub path: &'a str,
    /// What follows `?`, empty if nothing does.
    pub query: &'a str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub version_minor: u8,
    host: Option<&'a str>,
    headers: [httparse::Header<'a>; HEADERS_MAX],
    headers_len: usize,
}

impl<'a> Head<'a> {
    /// The first header of this name, in any case; its value without the white space around.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// All headers of this name, in order.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'h> {
        self.headers[..self.headers_len]
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// `host[:port]` that the request is for, valid by [`Authority::parse`]: the Host header, or what an absolute target
    /// says instead (RFC 9112 3.2.2). `None` only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }
}

/// The head at the start of `bytes` and its length, or `None` while its end has not come.
///
/// # Errors
/// 400, 414, 431 or 505 as soon as `bytes` can be no head any more.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, Problem> {
    let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    match lines(within) {
        Lines::End(len) => Ok(Some((whole_head(&within[..len])?, len))),
        Lines::Open => {
            check_prefix(within)?;
            if bytes.len() < HEAD_BYTES_MAX {
                return Ok(None);
            }
            Err(if within.trim_ascii_start().contains(&b'\n') {
                Problem::new(431, "the request head is longer than 8192 bytes")
            } else {
                Problem::new(414, "the request line is longer than 8192 bytes")
            })
        }
        Lines::BareLineFeed(at) => {
            check_prefix(&within[..at])?;
            Err(Problem::bad_request("a line ends in LF without CR"))
        }
    }
}

/// The comma-separated elements of all headers of this name, trimmed, empty ones skipped (RFC 9110 5.6.1.2).
/// Elements are not checked to be tokens.
pub fn tokens<'h>(head: &'h Head<'_>, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    head.all(name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Where a head's lines lead.
enum Lines {
    /// An empty line ends the head, at this length.
    End(usize),
    /// No empty line yet.
    Open,
    /// RFC 9112 2.2 lets a recipient take LF alone as a line's end; where two recipients differ in that, requests are
    /// smuggled, so we do not.
    BareLineFeed(usize),
}

fn lines(bytes: &[u8]) -> Lines {
    let mut line_start = 0;
    let mut begun = false;
    for end in memchr::memchr_iter(b'\n', bytes) {
        match bytes[line_start..end].split_last() {
            Some((b'\r', [])) if begun => return Lines::End(end + 1),
            // RFC 9112 2.2: empty lines before the request line are ignored.
            Some((b'\r', line)) => begun |= !line.is_empty(),
            _ => return Lines::BareLineFeed(end),
        }
        line_start = end + 1;
    }
    Lines::Open
}

/// Parses bytes that end in the empty line of the head.
fn whole_head(bytes: &[u8]) -> Result<Head<'_>, Problem> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(bytes).map_err(|error| problem(error, bytes))?;
    let (Some(method), Some(target), Some(version_minor)) = (request.method, request.path, request.version) else {
        return Err(malformed());
    };
    let headers_len = request.headers.len();
    let (path, query) = (target, "");
    let mut head = Head { method, path, query, version_minor, host: None, headers, headers_len };
    head.host = host(&head)?;
    apply_target(&mut head, target)?;
    Ok(head)
}

/// Refuses bytes that no continuation makes a head.
fn check_prefix(bytes: &[u8]) -> Result<(), Problem> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    match httparse::Request::new(&mut headers).parse(bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(problem(error, bytes)),
    }
}

fn problem(error: httparse::Error, bytes: &[u8]) -> Problem {
    match error {
        httparse::Error::TooManyHeaders => Problem::new(431, "the request has more than 64 headers"),
        httparse::Error::HeaderName => {
            Problem::bad_request("a header line has no valid name before its colon, or is folded onto a second line")
        }
        httparse::Error::HeaderValue => Problem::bad_request("a header's value has a control character"),
        httparse::Error::NewLine => Problem::bad_request("a line has CR without LF"),
        httparse::Error::Version => {
            let version = bytes.trim_ascii_start().split(|&byte| byte == b' ').nth(2);
            if version.is_some_and(|version| version.starts_with(b"HTTP/")) {
                // The preface of HTTP/2 with prior knowledge (RFC 9113 3.4) ends here too.
                Problem::new(505, "this server speaks HTTP/1.1")
            } else {
                malformed()
            }
        }
        httparse::Error::Token | httparse::Error::Status => malformed(),
    }
}

fn malformed() -> Problem {
    Problem::bad_request("this is not an HTTP/1.1 request")
}

/// RFC 9112 3.2: exactly one valid Host, or 400; HTTP/1.0 may do without.
fn host<'a>(head: &Head<'a>) -> Result<Option<&'a str>, Problem> {
    let mut hosts = head.all("host");
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(Problem::bad_request("more than one Host header"));
    }
    match first {
        None if head.version_minor == 0 => Ok(None),
        None => Err(Problem::bad_request("the Host header is missing")),
        Some(value) => match std::str::from_utf8(value) {
            Ok(host) if Authority::parse(host).is_some() => Ok(Some(host)),
            _ => Err(Problem::bad_request("the Host header is not host[:port]")),
        },
    }
}

/// Splits the request target (RFC 9112 3.2): origin-form; absolute-form of http and https, which a server must accept
/// and whose authority replaces Host; asterisk-form for OPTIONS. Authority-form is for proxies and refused.
fn apply_target<'a>(head: &mut Head<'a>, target: &'a str) -> Result<(), Problem> {
    // RFC 3986 2: URIs are ASCII; httparse let pass what is neither control nor space. A fragment is never sent.
    if !target.is_ascii() || target.contains('#') {
        return Err(Problem::bad_request("the request target has a character that must be percent-encoded"));
    }
    let mut path_and_query = target;
    if let Some((scheme, rest)) = target.split_once("://")
        && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
    {
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if Authority::parse(authority).is_none() {
            return Err(Problem::bad_request("the request target's host is not host[:port]"));
        }
        head.host = Some(authority);
        path_and_query = rest;
    } else if !(target.starts_with('/') || (target == "*" && head.method == "OPTIONS")) {
        return Err(Problem::bad_request("the request target is neither a path nor an http URI"));
    }
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    head.path = if path.is_empty() { "/" } else { path };
    head.query = query;
    Ok(())
}

#[cfg(test)]
mod tests;
