//! One connection's TLS: plaintext on the shard's side, records on the socket's.
//!
//! Called by `Sockets` in place of the socket's own reads and writes. Of its own a session keeps what is left of a record
//! that has not come whole, and the records that the kernel did not take; both are nothing while it is idle. All else is
//! in the [`Scratch`] of the shard. Refuses to seal a record before the one before it is with the kernel.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use crate::limits::{TLS_PLAINTEXT_BYTES_MAX, TLS_RECORD_BYTES_MAX};
use crate::net::sockets::Got;
use crate::shard::Sent;

/// What all sessions of a shard work in, one after the other. No memory before the first one.
#[derive(Debug, Default)]
pub(in crate::net) struct Scratch {
    /// Records as they were read, opened in place.
    incoming: Vec<u8>,
    /// One record that was sealed.
    sealed: Vec<u8>,
    /// Plaintext of several pieces side by side.
    gathered: Vec<u8>,
}

/// See the module's page.
pub(in crate::net) struct Session {
    tls: UnbufferedServerConnection,
    /// What came of a record, or of a handshake message, that is not whole.
    incoming: Vec<u8>,
    /// Sealed, and not yet taken by the kernel.
    outgoing: Vec<u8>,
    /// The last byte in `outgoing` was not told to be taken, so that whoever sent it knows that something waits.
    held: bool,
    /// Something came.
    heard: bool,
    /// The peer ended its side (`close_notify`).
    ended: bool,
    /// Our `close_notify` is sealed: nothing may follow it.
    said_goodbye: bool,
    /// Our side of the socket is to be shut down when `outgoing` is with the kernel.
    shuts: bool,
    /// The peer broke TLS, or refused it.
    failed: bool,
    /// How, for the log, which takes it.
    fault: Option<Box<rustls::Error>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = (self.incoming.len(), self.outgoing.len());
        f.debug_struct("Session").field("bytes", &bytes).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Session {
    pub(in crate::net) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            held: false,
            heard: false,
            ended: false,
            said_goodbye: false,
            shuts: false,
            failed: false,
            fault: None,
        })
    }

    /// Reads once and opens every record that is whole; what they say goes to `plain`, which may be nothing. `urgent`: a
    /// short read does not prove that nothing more is there.
    pub(in crate::net) fn read(
        &mut self,
        stream: &mut (impl Read + Write),
        scratch: &mut Scratch,
        plain: &mut [u8],
        urgent: bool,
    ) -> Got {
        if self.failed {
            return Got::Failed;
        }
        if self.ended {
            return Got::End;
        }
        // A record is longer than what it says, so what fits here fits there.
        scratch.incoming.resize(plain.len(), 0);
        let kept = self.incoming.len();
        scratch.incoming[..kept].copy_from_slice(&self.incoming);
        let read = match read_some(stream, &mut scratch.incoming[kept..]) {
            Ok(Some(0)) => return Got::End,
            Ok(Some(read)) => read,
            Ok(None) => return Got::Nothing,
            Err(_) => return Got::Failed,
        };
        let full = kept + read == plain.len();
        if !std::mem::replace(&mut self.heard, true) && scratch.incoming[0].is_ascii_uppercase() {
            // The first byte of TLS is 22 (RFC 8446 5.1). This one speaks HTTP in the clear, and understands an answer.
            self.failed = true;
            let _ = stream.write(PLAIN); // best effort: it is closed in any case
            return Got::Failed;
        }
        let len = self.open(&mut scratch.incoming[..kept + read], plain);
        if self.drain(stream).is_err() {
            self.failed = true;
        }
        match len {
            0 if self.failed => Got::Failed,
            0 if self.ended => Got::End,
            len => Got::Bytes { placed: 0, len, more: full || urgent || self.failed || self.ended },
        }
    }

    /// Seals and sends as much as the kernel takes, and at most one record more: this one is kept here. If all that was
    /// offered is sealed and not all of it with the kernel, the last byte counts as not taken. The caller then offers it
    /// again, as he must offer the rest of a frame that he began, and knows until then that something waits.
    pub(in crate::net) fn send(
        &mut self,
        stream: &mut impl Write,
        scratch: &mut Scratch,
        pieces: &[IoSlice<'_>],
    ) -> Sent {
        if self.failed || self.said_goodbye || self.tls.is_handshaking() {
            return Sent::Gone; // nobody is there to whom it could be said
        }
        match self.drain(stream) {
            Ok(true) => {}
            Ok(false) => return Sent::Bytes(0),
            Err(_) => return Sent::Gone,
        }
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let mut taken = usize::from(std::mem::take(&mut self.held)).min(offered);
        while taken < offered {
            let Scratch { sealed, gathered, .. } = scratch;
            let plain = next_plain(pieces, taken, gathered);
            let Some(len) = self.seal(plain, sealed) else { return Sent::Gone };
            taken += plain.len();
            match self.put(stream, &sealed[..len]) {
                Ok(true) => {}
                Ok(false) if taken == offered => {
                    self.held = true;
                    return Sent::Bytes(taken - 1);
                }
                Ok(false) => return Sent::Bytes(taken),
                Err(_) => return Sent::Gone,
            }
        }
        Sent::Bytes(taken)
    }

    /// The socket takes bytes again: true if our side of it is to be shut down now.
    pub(in crate::net) fn handle_writable(&mut self, stream: &mut impl Write) -> bool {
        // An error is met again by the next read or write.
        self.drain(stream).is_ok_and(|drained| drained) && std::mem::take(&mut self.shuts)
    }

    /// Ends our side (RFC 8446 6.1): true if the socket's is to be shut down now, else when the rest is written.
    pub(in crate::net) fn shutdown(&mut self, stream: &mut impl Write) -> bool {
        self.say_goodbye(stream);
        self.shuts = !self.outgoing.is_empty();
        !self.shuts
    }

    /// Says `close_notify`, once, so that the peer can tell an end from a cut. Does nothing where it cannot be said.
    pub(in crate::net) fn say_goodbye(&mut self, stream: &mut impl Write) {
        if self.failed || self.said_goodbye || self.tls.is_handshaking() {
            return;
        }
        self.said_goodbye = true;
        let mut sealed = [0; GOODBYE_BYTES_MAX];
        let len = match self.tls.process_tls_records(&mut self.incoming).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(&mut sealed).unwrap_or(0),
            _ => 0,
        };
        let _ = self.put(stream, &sealed[..len]); // an error is met again by whoever reads
    }

    /// Whether its handshake is not over: it may have failed.
    pub(in crate::net) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// What the peer did wrong, once.
    pub(in crate::net) fn take_fault(&mut self) -> Option<Box<rustls::Error>> {
        self.fault.take()
    }

    /// Opens what is whole of `sealed`: how many bytes of plaintext it had. Keeps the rest.
    fn open(&mut self, sealed: &mut [u8], plain: &mut [u8]) -> usize {
        let (mut done, mut len) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(&mut sealed[done..]);
            let mut idle = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        plain[len..][..record.payload.len()].copy_from_slice(record.payload);
                        len += record.payload.len();
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(), // `outgoing` keeps it in order
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                    idle = true;
                }
                // Early data is not offered, and rustls has no further states today.
                Ok(_) => self.failed = true,
                Err(error) => {
                    self.failed = true;
                    self.fault.get_or_insert_with(|| Box::new(error));
                }
            }
            done += discard;
            if idle || self.failed || self.ended {
                break;
            }
        }
        if self.failed {
            self.encode_alert(&mut sealed[done..]);
        }
        // A handshake message of ours to take fits into one record; a record is not longer than this.
        self.failed |= sealed.len() - done > TLS_RECORD_BYTES_MAX && !self.ended;
        let rest = if self.failed || self.ended { &[] } else { &sealed[done..] };
        self.keep(rest);
        len
    }

    fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
    }

    /// What rustls has to say about a failure, and nothing beyond that: it does not look at the input before it is said.
    fn encode_alert(&mut self, rest: &mut [u8]) {
        while self.tls.wants_write() {
            match self.tls.process_tls_records(rest).state {
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                _ => return,
            }
        }
    }

    /// One record of `plain`; `None` if there can be no more.
    fn seal(&mut self, plain: &[u8], sealed: &mut Vec<u8>) -> Option<usize> {
        // With room for a change of keys before it (RFC 8446 4.6.3).
        sealed.resize(TLS_RECORD_BYTES_MAX + GOODBYE_BYTES_MAX, 0);
        loop {
            match self.tls.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => return traffic.encrypt(plain, sealed).ok(),
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return None,
            }
        }
    }

    /// Sends a record behind what waits already: true if all is with the kernel.
    fn put(&mut self, stream: &mut impl Write, sealed: &[u8]) -> io::Result<bool> {
        let sent = if self.outgoing.is_empty() { write_some(stream, sealed)? } else { 0 };
        if sent == sealed.len() {
            return Ok(self.outgoing.is_empty());
        }
        self.outgoing.extend_from_slice(&sealed[sent..]);
        if sent > 0 { Ok(false) } else { self.drain(stream) }
    }

    /// Sends what waits: true if nothing does any more.
    fn drain(&mut self, stream: &mut impl Write) -> io::Result<bool> {
        if self.outgoing.is_empty() {
            return Ok(true);
        }
        let sent = write_some(stream, &self.outgoing)?;
        if sent == self.outgoing.len() {
            self.outgoing = Vec::new();
        } else {
            self.outgoing.drain(..sent);
        }
        Ok(self.outgoing.is_empty())
    }
}

/// The next plaintext for a record, from `taken` bytes on.
fn next_plain<'a>(pieces: &'a [IoSlice<'_>], taken: usize, gathered: &'a mut Vec<u8>) -> &'a [u8] {
    if let [only] = pieces {
        return &only[taken..][..(only.len() - taken).min(TLS_PLAINTEXT_BYTES_MAX)];
    }
    gathered.clear();
    let mut skip = taken;
    for piece in pieces {
        let rest = &piece[skip.min(piece.len())..];
        skip -= skip.min(piece.len());
        gathered.extend_from_slice(&rest[..rest.len().min(TLS_PLAINTEXT_BYTES_MAX - gathered.len())]);
    }
    gathered
}

/// Appends a record of the handshake.
fn encode<Data>(mut data: EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) {
    let begin = outgoing.len();
    // The first attempt only asks for the size.
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        outgoing.resize(begin + size.required_size, 0);
        let encoded = data.encode(&mut outgoing[begin..]);
        outgoing.truncate(begin + encoded.unwrap_or(0));
    }
}

/// `None`: nothing is there now.
fn read_some(stream: &mut impl Read, buf: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        return match stream.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            read => read.map(Some),
        };
    }
}

/// How many bytes the kernel took; fewer than all if it is full.
fn write_some(stream: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        return match stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        };
    }
}

/// An alert, or a change of keys, as a record of any suite.
const GOODBYE_BYTES_MAX: usize = 256;

/// What a client gets that speaks HTTP to a TLS address.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 37\r\nConnection: close\r\n\r\n\
    this address speaks TLS: use https://";

#[cfg(test)]
mod tests;
