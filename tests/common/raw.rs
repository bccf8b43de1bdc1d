//! A client that writes its bytes by hand, to say what no library would.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::client::dial;
use super::{Broker, PATIENCE};

/// A connection as bytes.
pub(crate) struct Raw {
    stream: TcpStream,
    /// What was read and not yet taken.
    seen: Vec<u8>,
}

/// The head of an HTTP response and what followed it.
pub(crate) struct Answer {
    /// Status line and header lines.
    pub(crate) head: String,
    /// All bytes after the empty line.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The status code.
    pub(crate) fn status(&self) -> u16 {
        let code = self.head.split(' ').nth(1).expect("a status line");
        code.parse().expect("a status code")
    }

    /// The body as the JSON that it has to be.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.head))
    }

    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Raw {
    /// A TCP connection, nothing said yet.
    pub(crate) fn dial(broker: &Broker) -> Self {
        let stream = dial(broker.address, None);
        Self { stream, seen: Vec::new() }
    }

    /// Over a connection that is there already.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, seen: Vec::new() }
    }

    /// The same with a receive buffer of so many bytes, to be slow with.
    pub(crate) fn dial_narrow(broker: &Broker, receive_bytes: usize) -> Self {
        Self { stream: dial(broker.address, Some(receive_bytes)), seen: Vec::new() }
    }

    /// A WebSocket connection at that path; the welcome, if one comes, is not yet read.
    pub(crate) fn upgrade(broker: &Broker, path: &str) -> Self {
        let mut raw = Self::dial(broker);
        raw.write(handshake(path).as_bytes());
        let head = raw.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Writes bytes. That the broker may have hung up in between is for the next read to find out.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Writes one masked frame.
    pub(crate) fn write_frame(&mut self, first: u8, payload: &[u8]) {
        self.write(&frame(first, payload));
    }

    /// Reads one frame of the server: its first byte and its payload. `None` at the end of the connection. Pings, which
    /// may come at any time, are passed over and not answered.
    pub(crate) fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.read_frame_or_ping() {
                Some((0x89, _)) => {}
                other => return other,
            }
        }
    }

    /// Reads one frame, whatever it is.
    pub(crate) fn read_frame_or_ping(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, start, end)) = whole_frame(&self.seen) {
                let payload = self.seen[start..end].to_vec();
                self.seen.drain(..end);
                return Some((first, payload));
            }
            if !self.fill() {
                assert!(self.seen.is_empty(), "the connection ended inside a frame: {:?}", self.seen);
                return None;
            }
        }
    }

    /// Reads on to the close frame and to the end of the connection: the close code.
    pub(crate) fn read_to_close(&mut self) -> u16 {
        loop {
            let (first, payload) = self.read_frame().expect("a close frame before the end of the connection");
            if first == 0x88 {
                self.write_frame(0x88, &payload);
                assert_eq!(self.read_frame(), None, "nothing follows a close frame");
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    /// Sends an HTTP request and reads the response to the end of the connection.
    pub(crate) fn request(broker: &Broker, request: &str) -> Answer {
        let mut raw = Self::dial(broker);
        raw.write(request.as_bytes());
        raw.answer()
    }

    /// Reads a response and all that follows it, to the end of the connection.
    pub(crate) fn answer(mut self) -> Answer {
        let head = self.read_head();
        while self.fill() {}
        Answer { head, body: self.seen }
    }

    /// Reads what follows a head that was read, to the end of the connection.
    pub(crate) fn answer_body(mut self) -> Vec<u8> {
        self.read_to_end()
    }

    /// A second hand on the same connection, to write with.
    pub(crate) fn try_clone(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a descriptor"), seen: Vec::new() }
    }

    /// Reads one response of a connection that stays open; its body by its Content-Length.
    pub(crate) fn response(&mut self) -> Answer {
        let head = self.read_head();
        let mut answer = Answer { head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        while self.seen.len() < length {
            assert!(self.fill(), "the connection ended in the body of {}", answer.head);
        }
        answer.body = self.seen.drain(..length).collect();
        answer
    }

    /// Ends our side of the stream.
    pub(crate) fn end(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("the connection lives");
    }

    /// Reads and drops what comes until the connection ends.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.seen)
    }

    /// Says whether anything comes, or the end, within that time.
    pub(crate) fn hears_within(&mut self, time: std::time::Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a timeout");
        let heard = match self.stream.peek(&mut [0]) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        heard
    }

    /// Reads a response head.
    pub(crate) fn read_head(&mut self) -> String {
        self.read_text(b"\r\n\r\n").expect("a response head before the end of the connection")
    }

    /// Reads the text up to these bytes, and passes over them. `None` at the end of the connection.
    pub(crate) fn read_text(&mut self, end: &[u8]) -> Option<String> {
        let mut from = 0;
        loop {
            if let Some(at) = self.seen[from..].windows(end.len()).position(|bytes| bytes == end) {
                let text = String::from_utf8(self.seen[..from + at].to_vec()).expect("UTF-8");
                self.seen.drain(..from + at + end.len());
                return Some(text);
            }
            from = self.seen.len().saturating_sub(end.len());
            if !self.fill() {
                assert!(self.seen.is_empty(), "it ended in the middle: {:?}", self.seen);
                return None;
            }
        }
    }

    /// Reads some more; false at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.seen.extend_from_slice(&chunk[..count]);
                true
            }
            // The broker may hang up with bytes of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}"),
        }
    }
}

/// An opening handshake that is right in every respect.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame with that first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = frame_head(first, payload.len());
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The first bytes of a masked frame, up to the key.
pub(crate) fn frame_head(first: u8, length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => vec![first, 0x80 | short],
        (_, Ok(medium)) => [&[first, 0xfe][..], &medium.to_be_bytes()].concat(),
        _ => [&[first, 0xff][..], &(length as u64).to_be_bytes()].concat(),
    }
}

/// First byte, start and end of the payload of the frame at the front, once it is complete.
fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server masks nothing");
    let (start, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).expect("a length that fits");
    (bytes.len() >= end).then_some((first, start, end))
}
