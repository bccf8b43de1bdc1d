//! Why a request is refused: a status, a sentence, and the headers that the status asks for (RFC 9457).
//!
//! Made by `head`, `routes` and `ws::handshake`, written by [`super::Response::problem`]. The sentence is ours: it never
//! repeats a stranger's bytes.

use std::borrow::Cow;
use std::fmt;

/// A refusal in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 400..=599.
    pub status: u16,
    /// What is wrong and, where it helps, what would be right.
    pub reason: Cow<'static, str>,
    /// Such as `Allow`, `Sec-WebSocket-Version`, `Retry-After`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
}

impl Problem {
    /// A refusal without extra headers.
    #[must_use]
    pub fn new(status: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), headers: Vec::new() }
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    /// 405: the path is there, the method is not. `allow` lists those that are (RFC 9110 15.5.6).
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(405, format!("the methods that work here are {allow}")).with_header("Allow", allow)
    }

    /// 413: the body is longer than `limits.message_bytes_max` allows.
    #[must_use]
    pub fn content_too_large() -> Self {
        Self::new(413, "the body is longer than limits.message_bytes_max")
    }

    /// Adds a header. `value` must be fit for one: no line ends.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.reason)
    }
}

impl std::error::Error for Problem {}
