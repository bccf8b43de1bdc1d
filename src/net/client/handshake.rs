//! From a URL to a stream on which both sides have shaken hands.
//!
//! Called by `Client::connect`. What is said is the matter of `ws::handshake`; here are the addresses, the timeouts and
//! the reading. A refusal is read to its end, within a limit, because it says why.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{BearerToken, ConnectError, Stream, Url, random};
use crate::limits::HEAD_BYTES_MAX;
use crate::ws::handshake::{ClientError, SUBPROTOCOL, parse_response, request_as};

/// The stream, and what was read after the server's answer.
pub(super) fn connect(
    url: &Url,
    ca: Option<&Path>,
    token: Option<&BearerToken>,
    deadline: Instant,
) -> Result<(Stream, Vec<u8>), ConnectError> {
    let socket = open(url, deadline)?;
    socket.set_nodelay(true).map_err(ConnectError::Handshake)?;
    let mut stream = if url.is_secure() {
        Stream::secure(socket, url, ca, |socket| socket.set_read_timeout(Some(left(deadline)?)))?
    } else {
        Stream::plain(socket)
    };
    let key = random().map_err(ConnectError::Handshake)?;
    let mut out = Vec::new();
    request_as(&mut out, url.host(), url.target(), key, &[SUBPROTOCOL], token.map(BearerToken::as_str));
    stream.write_all(&out).map_err(ConnectError::Handshake)?;
    let mut answer = Vec::new();
    loop {
        let received = read_some(&mut stream, &mut answer, deadline).map_err(ConnectError::Handshake)?;
        match parse_response(&answer, key) {
            Ok(Some(head)) => return Ok((stream, answer.split_off(head))),
            Ok(None) if received == 0 => return Err(ConnectError::Hangup),
            Ok(None) => {}
            Err(ClientError::Refused { .. }) => return Err(read_refusal(&mut stream, answer, key)),
            Err(error) => return Err(ConnectError::Answer(error)),
        }
    }
}

fn open(url: &Url, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let addresses = url.authority().to_socket_addrs().map_err(ConnectError::Name)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has none");
    for address in addresses {
        match left(deadline).and_then(|left| TcpStream::connect_timeout(&address, left)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Connect(last))
}

/// The refusal with as much of its text as comes soon.
fn read_refusal(stream: &mut Stream, mut answer: Vec<u8>, key: [u8; 16]) -> ConnectError {
    let deadline = Instant::now() + REFUSAL_PATIENCE;
    while answer.len() < HEAD_BYTES_MAX && read_some(stream, &mut answer, deadline).is_ok_and(|received| received > 0) {
    }
    match parse_response(&answer, key) {
        Err(error) => ConnectError::Answer(error),
        Ok(_) => ConnectError::Hangup,
    }
}

fn read_some(stream: &mut Stream, answer: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
    stream.set_read_timeout(Some(left(deadline)?))?;
    let mut chunk = [0; 1024];
    let received = stream.read(&mut chunk)?;
    answer.extend_from_slice(&chunk[..received]);
    Ok(received)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// How long the text of a refusal is waited for.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);
