//! The opening handshake as a client: the request and the judgement of its answer (RFC 6455 4.1).
//!
//! The load test and the command line call it through `handshake`. It accepts no extension that it did not offer. What a
//! server says in a refusal is shown only in a bounded, escaped excerpt.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::deflate;
use super::handshake::{SUBPROTOCOL, accept};
use crate::limits::{HEAD_BYTES_MAX, HEADERS_MAX};

/// Why the answer to our handshake is no WebSocket connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server answered with another status than 101.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The start of what it said, escaped, at most [`EXCERPT_CHARS_MAX`] characters; empty if that has not come.
        excerpt: String,
    },
    /// The answer is not HTTP/1.1.
    NotHttp,
    /// The head of the answer is longer, or has more headers, than `limits` allow.
    TooLong,
    /// A 101 whose Upgrade header is not `websocket`.
    Upgrade,
    /// A 101 whose Connection header does not name `Upgrade`.
    Connection,
    /// A 101 whose Sec-WebSocket-Accept is not the one for our key: a stale or foreign answer.
    Accept,
    /// A subprotocol that was not offered, or several.
    Subprotocol,
    /// An extension that was not offered, or not in this way.
    Extension,
}

/// Most characters of a refusal's body that are kept.
pub const EXCERPT_CHARS_MAX: usize = 256;

/// Appends the client's request. `host` is `host[:port]`, `path_and_query` starts with `/`; both must be fit for the
/// wire (no space, no line end). RFC 6455 4.1: `key` must be random for each connection.
pub fn request(out: &mut Vec<u8>, host: &str, path_and_query: &str, key: [u8; 16], subprotocols: &[&str]) {
    request_as(out, host, path_and_query, key, subprotocols, None);
}

/// [`request`] of somebody who has a token, in `Authorization: Bearer` (RFC 6750 2.1); it must be as fit for the wire.
pub fn request_as(
    out: &mut Vec<u8>,
    host: &str,
    path_and_query: &str,
    key: [u8; 16],
    subprotocols: &[&str],
    token: Option<&str>,
) {
    debug_assert!(!host.contains(is_unfit) && !path_and_query.contains(is_unfit));
    debug_assert!(!token.is_some_and(|token| token.contains(is_unfit)));
    let mut head = String::with_capacity(256);
    head.extend(["GET ", path_and_query, " HTTP/1.1\r\nHost: ", host]);
    head.push_str("\r\nUpgrade: websocket\r\nConnection: Upgrade");
    head.push_str("\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    STANDARD.encode_string(key, &mut head);
    for (index, subprotocol) in subprotocols.iter().enumerate() {
        head.push_str(if index == 0 { "\r\nSec-WebSocket-Protocol: " } else { ", " });
        head.push_str(subprotocol);
    }
    if let Some(token) = token {
        head.extend(["\r\nAuthorization: Bearer ", token]);
    }
    head.push_str("\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// [`request`] that offers permessage-deflate without context takeover, in both directions (RFC 7692 7.1.1).
pub fn request_deflate(out: &mut Vec<u8>, host: &str, path_and_query: &str, key: [u8; 16], subprotocols: &[&str]) {
    request(out, host, path_and_query, key, subprotocols);
    out.truncate(out.len() - b"\r\n".len());
    out.extend_from_slice(
        b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n",
    );
}

/// [`parse_response`] to a [`request_deflate`]; with the length comes whether the server agreed.
///
/// # Errors
/// As there.
pub fn parse_response_deflate(bytes: &[u8], key: [u8; 16]) -> Result<Option<(usize, bool)>, ClientError> {
    parse(bytes, key, &[SUBPROTOCOL], true)
}

/// [`parse_response_to`] for a request that offered [`SUBPROTOCOL`] or nothing.
///
/// # Errors
/// As there.
pub fn parse_response(bytes: &[u8], key: [u8; 16]) -> Result<Option<usize>, ClientError> {
    parse_response_to(bytes, key, &[SUBPROTOCOL])
}

/// The length of the answer to a [`request`] with this key and these subprotocols: frames follow it. `None` while its
/// end has not come: call again with more, up to `limits::HEAD_BYTES_MAX`.
///
/// # Errors
/// Why there is no WebSocket connection.
pub fn parse_response_to(bytes: &[u8], key: [u8; 16], subprotocols: &[&str]) -> Result<Option<usize>, ClientError> {
    Ok(parse(bytes, key, subprotocols, false)?.map(|(len, _)| len))
}

/// The length of the answer, and whether the server agreed to compression, which was offered if `deflate`.
fn parse(
    bytes: &[u8],
    key: [u8; 16],
    subprotocols: &[&str],
    deflate: bool,
) -> Result<Option<(usize, bool)>, ClientError> {
    let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(within) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(ClientError::TooLong);
        }
        Err(_) => return Err(ClientError::NotHttp),
    };
    match response.code {
        Some(101) if response.version == Some(1) => {}
        Some(status) if status != 101 => {
            return Err(ClientError::Refused { status, excerpt: excerpt(&bytes[len..]) });
        }
        _ => return Err(ClientError::NotHttp),
    }
    let agreed = check_headers(response.headers, key, subprotocols, deflate)?;
    Ok(Some((len, agreed)))
}

/// RFC 6455 4.1, what a client must validate in a 101, 2 to 6. Whether the server agreed to compression.
fn check_headers(
    headers: &[httparse::Header<'_>],
    key: [u8; 16],
    subprotocols: &[&str],
    deflate: bool,
) -> Result<bool, ClientError> {
    let all = |name: &'static str| {
        headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let only = |name| {
        let mut values = all(name);
        values.next().filter(|_| values.next().is_none())
    };
    if !only("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(ClientError::Upgrade);
    }
    let names_upgrade = all("connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    if !names_upgrade {
        return Err(ClientError::Connection);
    }
    let mut sent = [0; 24];
    STANDARD.encode_slice(key, &mut sent).expect("16 bytes are 24 characters");
    if only("sec-websocket-accept") != Some(&accept(&sent)) {
        return Err(ClientError::Accept);
    }
    if all("sec-websocket-protocol").next().is_some() {
        let chosen = only("sec-websocket-protocol").ok_or(ClientError::Subprotocol)?;
        if !subprotocols.iter().any(|offered| offered.as_bytes() == chosen) {
            return Err(ClientError::Subprotocol);
        }
    }
    let mut extensions = all("sec-websocket-extensions").filter(|value| !value.is_empty());
    match (extensions.next(), extensions.next()) {
        (None, _) => Ok(false),
        (Some(answer), None) if deflate && deflate::is_answer(answer) => Ok(true),
        _ => Err(ClientError::Extension),
    }
}

/// Of a problem document (RFC 9457 3.1.4) its sentence, of anything else the start.
fn excerpt(body: &[u8]) -> String {
    let problem: Option<Problem<'_>> = serde_json::from_slice(body).ok();
    let body = problem.as_ref().map_or(body, |problem| problem.detail.as_bytes());
    let start = &body[..body.len().min(EXCERPT_CHARS_MAX)];
    let mut excerpt: String = start.escape_ascii().take(EXCERPT_CHARS_MAX).map(char::from).collect();
    if body.len() > EXCERPT_CHARS_MAX {
        excerpt.truncate(EXCERPT_CHARS_MAX - 3);
        excerpt.push_str("...");
    }
    excerpt
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    detail: Cow<'a, str>,
}

fn is_unfit(character: char) -> bool {
    character.is_control() || character == ' '
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, excerpt } if excerpt.is_empty() => {
                write!(f, "the server refused the connection with HTTP status {status}")
            }
            Self::Refused { status, excerpt } => {
                write!(f, "the server refused the connection with HTTP status {status}: {excerpt}")
            }
            Self::NotHttp => f.write_str("the server's answer is not HTTP/1.1"),
            Self::TooLong => f.write_str("the head of the server's answer is too long"),
            Self::Upgrade => f.write_str("the server switched to something else than websocket"),
            Self::Connection => f.write_str("the server's Connection header does not name Upgrade"),
            Self::Accept => f.write_str("the server's Sec-WebSocket-Accept does not match our key"),
            Self::Subprotocol => f.write_str("the server chose a subprotocol that was not offered"),
            Self::Extension => f.write_str("the server chose an extension that was not offered"),
        }
    }
}

impl std::error::Error for ClientError {}
