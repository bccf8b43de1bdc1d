//! The opening handshake: the server's half here (RFC 6455 4.2), the client's in `client_handshake`.
//!
//! `net` asks [`is_upgrade`] of every request head, then [`upgrade`], and writes [`Upgrade::respond`] or the problem.
//! Whether path and origin are welcome is the caller's to decide (`http::endpoint`, `auth::origin`), and whether what
//! could be agreed on about compression (`deflate`) is; no other extension is taken up, which RFC 6455 9.1 allows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

pub use super::client_handshake::{
    ClientError, EXCERPT_CHARS_MAX, parse_response, parse_response_deflate, parse_response_to, request, request_as,
    request_deflate,
};
use super::deflate::{self, Agreement, Malformed};
use crate::http::{Field, Head, Problem, tokens};

/// The one language spoken inside messages, and what a client that offers none gets.
pub const SUBPROTOCOL: &str = "wirefan.v1";

/// A handshake that keeps every MUST of RFC 6455 4.2.1, ready to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// Starts with `/`.
    pub path: &'a str,
    /// What follows `?`, empty if nothing does.
    pub query: &'a str,
    /// `host[:port]`, valid.
    pub host: &'a str,
    /// A browser's page, not judged yet.
    pub origin: Option<&'a str>,
    /// The subprotocol to answer with, `None` if none was offered.
    pub protocol: Option<&'static str>,
    /// The client's offer of permessage-deflate that can be kept. Who does not want it takes it away before it answers.
    pub deflate: Option<Agreement>,
    accept: [u8; 28],
}

/// Whether the request asks to be upgraded to WebSocket, rightly or not.
#[must_use]
pub fn is_upgrade(head: &Head<'_>) -> bool {
    !head.lacks(Field::Upgrade) && has_token(head, "upgrade", "websocket")
}

/// Judges a request for which [`is_upgrade`] holds.
///
/// # Errors
/// 400, 405 or 426 with the sentence and headers that the client needs to do better.
pub fn upgrade<'a>(head: &'a Head<'_>) -> Result<Upgrade<'a>, Problem> {
    // RFC 6455 4.2.1, in its order.
    if head.method != "GET" {
        return Err(Problem::new(405, "a WebSocket handshake is a GET").with_header("Allow", "GET"));
    }
    // Not 505: that would refuse all of HTTP/1 (RFC 9110 15.6.6).
    if head.version_minor < 1 {
        return Err(Problem::bad_request("a WebSocket handshake needs HTTP/1.1"));
    }
    let Some(host) = head.host() else {
        return Err(Problem::bad_request("the Host header is missing"));
    };
    // A handshake has no body: bytes after the head are frames, whatever a proxy may believe.
    if head.header("content-length").is_some() || head.header("transfer-encoding").is_some() {
        return Err(Problem::bad_request(
            "a WebSocket handshake has no body: Content-Length and Transfer-Encoding are refused",
        ));
    }
    if !is_upgrade(head) {
        return Err(Problem::bad_request("the Upgrade header does not name websocket"));
    }
    if !has_token(head, "connection", "upgrade") {
        return Err(Problem::bad_request("the Connection header does not name Upgrade"));
    }
    let key = key(head)?;
    check_version(head)?;
    Ok(Upgrade {
        path: head.path,
        query: head.query,
        host,
        origin: origin(head)?,
        protocol: protocol(head)?,
        deflate: deflate::agree(head.all("sec-websocket-extensions")).map_err(|Malformed| {
            Problem::bad_request("the Sec-WebSocket-Extensions header is not a list of extensions")
        })?,
        accept: accept(key),
    })
}

impl Upgrade<'_> {
    /// Appends the 101 response, after which frames follow (RFC 6455 4.2.2).
    pub fn respond(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&self.accept);
        if let Some(protocol) = self.protocol {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        if let Some(agreement) = self.deflate {
            out.extend_from_slice(b"\r\n");
            agreement.respond(out);
        }
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// RFC 6455 4.2.2: base64 of the SHA-1 of the key as sent and a fixed GUID.
pub(super) fn accept(key: &[u8]) -> [u8; 28] {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(digest, &mut accept).expect("20 bytes are 28 characters");
    accept
}

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// RFC 6455 4.2.1 3 and 4: lists of tokens, compared without regard to case.
fn has_token(head: &Head<'_>, name: &str, token: &str) -> bool {
    tokens(head, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The only header of this name. More than one is refused: recipients differ in which one counts.
fn single<'a>(head: &Head<'a>, name: &str, doubled: &'static str) -> Result<Option<&'a [u8]>, Problem> {
    let mut values = head.all(name);
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Problem::bad_request(doubled)),
    }
}

/// RFC 6455 4.2.1 5: 16 bytes in base64, of which there is exactly one spelling.
fn key<'a>(head: &Head<'a>) -> Result<&'a [u8], Problem> {
    let key = single(head, "sec-websocket-key", "more than one Sec-WebSocket-Key header")?
        .ok_or(Problem::bad_request("the Sec-WebSocket-Key header is missing"))?;
    let mut decoded = [0; 24];
    match STANDARD.decode_slice(key, &mut decoded) {
        Ok(16) => Ok(key),
        _ => Err(Problem::bad_request("the Sec-WebSocket-Key header is not base64 of 16 bytes")),
    }
}

/// RFC 6455 4.2.1 6 and 4.4: version 13, or 426 which says so. Without a version it is no handshake of this RFC: 400.
fn check_version(head: &Head<'_>) -> Result<(), Problem> {
    let name = "Sec-WebSocket-Version";
    match single(head, name, "more than one Sec-WebSocket-Version header")? {
        Some(b"13") => Ok(()),
        Some(_) => Err(Problem::new(426, "the WebSocket version must be 13")
            .with_header("Upgrade", "websocket")
            .with_header(name, "13")),
        None => Err(Problem::bad_request("the Sec-WebSocket-Version header is missing: 13 is spoken here")
            .with_header(name, "13")),
    }
}

fn origin<'a>(head: &Head<'a>) -> Result<Option<&'a str>, Problem> {
    match single(head, "origin", "more than one Origin header")? {
        None => Ok(None),
        Some(value) => match std::str::from_utf8(value) {
            Ok(origin) => Ok(Some(origin)),
            Err(_) => Err(Problem::bad_request("the Origin header is not an origin")),
        },
    }
}

/// RFC 6455 4.2.1 8 and 4.2.2: of the offered subprotocols ours, or none if none was offered. `bearer.<token>` is how a
/// browser sends a token, not a language to speak; beside nothing else it is refused, because a browser takes no answer
/// without one of the subprotocols that it offered.
fn protocol(head: &Head<'_>) -> Result<Option<&'static str>, Problem> {
    let (mut ours, mut token, mut unknown) = (false, false, false);
    for offered in tokens(head, "sec-websocket-protocol") {
        if !offered.iter().copied().all(is_token_byte) {
            return Err(Problem::bad_request("the Sec-WebSocket-Protocol header is not a list of tokens"));
        }
        ours |= offered == SUBPROTOCOL.as_bytes();
        let is_token = offered.starts_with(b"bearer.");
        (token, unknown) = (token | is_token, unknown | !is_token);
    }
    match (ours, unknown, token) {
        (true, ..) => Ok(Some(SUBPROTOCOL)),
        (_, true, _) => {
            Err(Problem::bad_request("none of the offered subprotocols is supported: offer wirefan.v1, or none"))
        }
        (.., true) => Err(Problem::bad_request("only a token is offered: offer wirefan.v1 beside it")),
        _ => Ok(None),
    }
}

/// RFC 9110 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
