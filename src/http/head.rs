//! A request head, parsed and judged (RFC 9112 2, 3 and 5).
//!
//! `net` calls [`parse_head`] with all bytes so far whenever more arrive; the same bytes give the same head, or the same
//! status, in any split. httparse reads the lines, this file refuses what it lets pass: bare LF, targets that are no
//! URI, a Host that is missing, doubled or invalid. Bounded by `limits::HEAD_BYTES_MAX` and `limits::HEADERS_MAX`.

use std::fmt;
use std::mem::MaybeUninit;

use memchr::memchr;
use smallvec::SmallVec;

use super::field::Fields;
use super::{Field, Problem, Target};
use crate::auth::authority::{self, Authority};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// A valid request head, borrowed from the bytes that it came in.
pub struct Head<'a> {
    /// As sent; methods are case-sensitive (RFC 9110 9.1).
    pub method: &'a str,
    /// Starts with `/`, percent-encoding left as it is; or `*` for `OPTIONS *`.
    pub path: &'a str,
    /// What follows `?`, empty if nothing does. It may hold a token: show it by [`Head::target`] only.
    pub query: &'a str,
    /// 0 or 1: HTTP/1.0 or HTTP/1.1.
    pub version_minor: u8,
    /// Valid, and so text.
    host: Option<&'a [u8]>,
    bytes: &'a [u8],
    lines: SmallVec<[Line; HEADERS_USUAL]>,
    fields: Fields,
}

/// Where a header line's name and value lie in the head's bytes: a quarter of what two slices take, because a head is
/// moved about.
#[derive(Clone, Copy)]
struct Line {
    name: u16,
    name_len: u16,
    value: u16,
    value_len: u16,
}

const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize && HEADERS_MAX <= u8::MAX as usize);

impl<'a> Head<'a> {
    /// The first header of this name, in any case; its value without the white space around.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// All headers of this name, in order.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'h> {
        self.lines()
            .filter(move |(line_name, _)| line_name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The only value of this field.
    ///
    /// # Errors
    /// 400 with the sentence `doubled` if there are several: recipients differ in which one counts.
    pub fn single(&self, field: Field, doubled: &'static str) -> Result<Option<&'a [u8]>, Problem> {
        if self.fields.is_doubled(field) {
            return Err(Problem::bad_request(doubled));
        }
        Ok(self.fields.line(field).map(|line| self.value(self.lines[usize::from(line)])))
    }

    /// `host[:port]` that the request is for, valid by [`Authority::parse`]: the Host header, or what an absolute target
    /// says instead (RFC 9112 3.2.2). `None` only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.host.and_then(|host| std::str::from_utf8(host).ok())
    }

    /// Path and query for people and logs, without secrets.
    #[must_use]
    pub fn target(&self) -> Target<'a> {
        Target { path: self.path, query: self.query }
    }

    /// No header is this one.
    #[must_use]
    pub fn lacks(&self, field: Field) -> bool {
        self.fields.line(field).is_none()
    }

    /// All of it, as it came.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where in its bytes the first value of this field lies.
    pub(super) fn place(&self, field: Field) -> Option<std::ops::Range<usize>> {
        let Line { value, value_len, .. } = self.lines[usize::from(self.fields.line(field)?)];
        Some(usize::from(value)..usize::from(value) + usize::from(value_len))
    }

    /// Names and values in order.
    fn lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.lines.iter().map(|&line| (self.part(line.name, line.name_len), self.value(line)))
    }

    fn value(&self, line: Line) -> &'a [u8] {
        self.part(line.value, line.value_len)
    }

    fn part(&self, at: u16, len: u16) -> &'a [u8] {
        &self.bytes[usize::from(at)..usize::from(at) + usize::from(len)]
    }
}

/// Neither header values nor the query: they hold tokens.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("target", &format_args!("{}", self.target()))
            .field("version_minor", &self.version_minor)
            .field("headers", &self.lines.len())
            .finish_non_exhaustive()
    }
}

/// The head at the start of `bytes` and its length, or `None` while its end has not come.
///
/// # Errors
/// 400, 414, 431 or 505 as soon as `bytes` can be no head any more.
pub fn parse_head(bytes: &[u8]) -> Result<Option<(Head<'_>, usize)>, Problem> {
    match head_len(bytes)? {
        Some(len) => Ok(Some((whole_head(&bytes[..len])?, len))),
        None => Ok(None),
    }
}

/// The length of the head at the start of `bytes`, which [`whole_head`] then judges; or `None` while its end has not
/// come. Errors as those of [`parse_head`].
pub(super) fn head_len(bytes: &[u8]) -> Result<Option<usize>, Problem> {
    let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    match ends(within) {
        Ends::At(len) => Ok(Some(len)),
        Ends::Open => {
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
        Ends::BareLineFeed(at) => {
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

/// RFC 9110 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where a head's lines lead.
enum Ends {
    /// An empty line ends the head, at this length.
    At(usize),
    /// No empty line yet.
    Open,
    /// RFC 9112 2.2 lets a recipient take LF alone as a line's end; where two recipients differ in that, requests are
    /// smuggled, so we do not.
    BareLineFeed(usize),
}

fn ends(bytes: &[u8]) -> Ends {
    let mut line_start = 0;
    let mut begun = false;
    for end in memchr::memchr_iter(b'\n', bytes) {
        match bytes[line_start..end].split_last() {
            Some((b'\r', [])) if begun => return Ends::At(end + 1),
            // RFC 9112 2.2: empty lines before the request line are ignored.
            Some((b'\r', line)) => begun |= !line.is_empty(),
            _ => return Ends::BareLineFeed(end),
        }
        line_start = end + 1;
    }
    Ends::Open
}

/// Parses bytes that end in the empty line of the head.
pub(super) fn whole_head(bytes: &[u8]) -> Result<Head<'_>, Problem> {
    // Most heads have few lines: the others are parsed again, with room for the most that may come.
    match parse_lines::<HEADERS_USUAL>(bytes)? {
        Some(head) => Ok(head),
        None => match parse_lines::<HEADERS_MAX>(bytes)? {
            Some(head) => Ok(head),
            None => Err(problem(httparse::Error::TooManyHeaders, bytes)),
        },
    }
}

/// The head, or `None` if it has more than `N` lines.
fn parse_lines<const N: usize>(bytes: &[u8]) -> Result<Option<Head<'_>>, Problem> {
    let mut headers = [const { MaybeUninit::uninit() }; N];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(_) => {}
        Err(httparse::Error::TooManyHeaders) => return Ok(None),
        Err(error) => return Err(problem(error, bytes)),
    }
    let (Some(method), Some(target), Some(version_minor)) = (request.method, request.path, request.version) else {
        return Err(malformed());
    };
    let (mut lines, mut fields) = (SmallVec::new(), Fields::default());
    for (number, header) in (0..).zip(request.headers.iter()) {
        let (name, name_len) = place(header.name.as_bytes(), bytes);
        let (value, value_len) = place(header.value, bytes);
        lines.push(Line { name, name_len, value, value_len });
        if let Some(field) = Field::of(header.name) {
            fields.note(field, number);
        }
    }
    let mut head = Head { method, path: target, query: "", version_minor, host: None, bytes, lines, fields };
    head.host = host(&head)?;
    apply_target(&mut head, target)?;
    Ok(Some(head))
}

/// Offset and length of `part` in `whole`, whose length is at most [`HEAD_BYTES_MAX`]. An empty part may lie elsewhere.
fn place(part: &[u8], whole: &[u8]) -> (u16, u16) {
    if part.is_empty() {
        return (0, 0);
    }
    let at = part.as_ptr().addr() - whole.as_ptr().addr();
    let fits = |len: usize| u16::try_from(len).expect("a head is at most 8192 bytes long");
    (fits(at), fits(part.len()))
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
fn host<'a>(head: &Head<'a>) -> Result<Option<&'a [u8]>, Problem> {
    match head.single(Field::Host, "more than one Host header")? {
        None if head.version_minor == 0 => Ok(None),
        None => Err(Problem::bad_request("the Host header is missing")),
        Some(value) if authority::is_plain(value) => Ok(Some(value)),
        Some(value) => match std::str::from_utf8(value) {
            Ok(host) if Authority::parse(host).is_some() => Ok(Some(value)),
            _ => Err(Problem::bad_request("the Host header is not host[:port]")),
        },
    }
}

/// Splits the request target (RFC 9112 3.2): origin-form; absolute-form of http and https, which a server must accept
/// and whose authority replaces Host; asterisk-form for OPTIONS. Authority-form is for proxies and refused.
fn apply_target<'a>(head: &mut Head<'a>, target: &'a str) -> Result<(), Problem> {
    // RFC 3986 2: URIs are ASCII; httparse let pass what is neither control nor space. A fragment is never sent.
    if !target.is_ascii() || memchr(b'#', target.as_bytes()).is_some() {
        return Err(Problem::bad_request("the request target has a character that must be percent-encoded"));
    }
    let mut path_and_query = target;
    if target.starts_with('/') {
        // Origin-form, which is what nearly all send.
    } else if let Some((scheme, rest)) = target.split_once("://")
        && (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
    {
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if Authority::parse(authority).is_none() {
            return Err(Problem::bad_request("the request target's host is not host[:port]"));
        }
        head.host = Some(authority.as_bytes());
        path_and_query = rest;
    } else if target != "*" || head.method != "OPTIONS" {
        return Err(Problem::bad_request("the request target is neither a path nor an http URI"));
    }
    let (path, query) = match memchr(b'?', path_and_query.as_bytes()) {
        Some(mark) => (&path_and_query[..mark], &path_and_query[mark + 1..]),
        None => (path_and_query, ""),
    };
    head.path = if path.is_empty() { "/" } else { path };
    head.query = query;
    Ok(())
}

/// As many header lines as most heads have.
const HEADERS_USUAL: usize = 16;

#[cfg(test)]
mod tests;
