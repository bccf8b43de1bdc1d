//! A session and a client of rustls, joined in memory by pipes that take and give any number of bytes at a time.

use std::sync::LazyLock;

use proptest::prelude::*;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion, version};
use rustls_pki_types::ServerName;

use super::*;
use crate::config::{Certificate, Tls};
use crate::net::tls::{HTTP_1_1, Terms, provider};

/// The two directions of a connection.
#[derive(Default)]
struct Pipe {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// How much the server may still write before the kernel is full.
    room: usize,
    /// The client's socket is shut down.
    ended: bool,
}

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(self.to_server.len());
        if len == 0 && !self.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buf[..len].copy_from_slice(&self.to_server[..len]);
        self.to_server.drain(..len);
        Ok(len)
    }
}

impl Write for Pipe {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = buf.len().min(self.room);
        if len == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.to_client.extend_from_slice(&buf[..len]);
        self.room -= len;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all tests go by: making keys is slow.
struct World {
    terms: Terms,
    roots: RootCertStore,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = std::env::temp_dir().join(format!("wirefan-session-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let first = Certificate { cert: directory.join("cert"), key: directory.join("key") };
    std::fs::write(&first.cert, made.cert.pem()).unwrap();
    std::fs::write(&first.key, made.signing_key.serialize_pem()).unwrap();
    let terms = Terms::read(&Tls { first, ..Tls::default() }).unwrap().unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    World { terms, roots }
});

/// A server's session and a client.
struct Pair {
    session: Session,
    scratch: Scratch,
    client: ClientConnection,
    pipe: Pipe,
    /// What the client said, as the server read it.
    heard: Vec<u8>,
    /// What the server said, as the client read it.
    said: Vec<u8>,
    end: Option<Got>,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        Self::offering(version, HTTP_1_1)
    }

    fn offering(version: &'static SupportedProtocolVersion, protocol: &[u8]) -> Self {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(WORLD.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            session: Session::new(Arc::clone(&WORLD.terms.config)).unwrap(),
            scratch: Scratch::default(),
            client: ClientConnection::new(Arc::new(config), name).unwrap(),
            pipe: Pipe { room: usize::MAX, ..Pipe::default() },
            heard: Vec::new(),
            said: Vec::new(),
            end: None,
        }
    }

    fn shaken(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        for _ in 0..4 {
            pair.client_sends(usize::MAX);
            pair.client_reads(usize::MAX).unwrap();
        }
        assert!(!pair.client.is_handshaking() && !pair.session.tls.is_handshaking());
        pair
    }

    /// What the client has to send goes over in parts of so many bytes.
    fn client_sends(&mut self, part: usize) {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        for part in wire.chunks(part) {
            self.pipe.to_server.extend_from_slice(part);
            self.server_reads();
        }
    }

    fn server_reads(&mut self) {
        let mut plain = vec![0; crate::limits::READ_BYTES_PER_TURN];
        loop {
            match self.session.read(&mut self.pipe, &mut self.scratch, &mut plain, false) {
                Got::Bytes { len, more, .. } => {
                    self.heard.extend_from_slice(&plain[..len]);
                    if !more {
                        return;
                    }
                }
                Got::Nothing => return,
                end => return self.end = Some(end),
            }
        }
    }

    /// The client takes so many bytes off the wire; returns what it thinks of them.
    fn client_reads(&mut self, at_most: usize) -> Result<(), rustls::Error> {
        let len = at_most.min(self.pipe.to_client.len());
        let taken: Vec<u8> = self.pipe.to_client.drain(..len).collect();
        let mut wire = &taken[..];
        while !wire.is_empty() {
            self.client.read_tls(&mut wire).unwrap();
            self.client.process_new_packets()?;
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = self.client.reader().read(&mut chunk) {
                self.said.extend_from_slice(&chunk[..len]);
            }
        }
        Ok(())
    }

    fn server_sends(&mut self, plain: &[u8]) -> usize {
        match self.session.send(&mut self.pipe, &mut self.scratch, &[IoSlice::new(plain)]) {
            Sent::Bytes(taken) => taken,
            Sent::Gone => panic!("the session is gone"),
        }
    }
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 % 251) as u8).collect()
}

#[test]
fn an_idle_session_keeps_no_buffers() {
    let mut pair = Pair::shaken(&version::TLS13);
    assert_eq!(pair.server_sends(&noise(100_000)), 100_000);
    pair.client_reads(usize::MAX).unwrap();
    pair.client.writer().write_all(&noise(40_000)).unwrap();
    pair.client_sends(1000);
    assert_eq!((pair.said, pair.heard), (noise(100_000), noise(40_000)));
    assert_eq!((pair.session.incoming.capacity(), pair.session.outgoing.capacity()), (0, 0));
}

#[test]
fn both_versions_agree_on_http_1_1() {
    for (version, expected) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let pair = Pair::shaken(version);
        assert_eq!(pair.client.protocol_version(), Some(expected));
        assert_eq!(pair.client.alpn_protocol(), Some(HTTP_1_1));
    }
}

#[test]
fn rfc7301_3_2_a_client_with_no_protocol_of_ours_is_told_so() {
    let mut pair = Pair::offering(&version::TLS13, b"h2");
    pair.client_sends(usize::MAX);
    assert_eq!(pair.end, Some(Got::Failed));
    let told = pair.client_reads(usize::MAX).unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol));
}

#[test]
fn one_record_waits_here_and_the_last_byte_of_all_counts_when_it_went() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.pipe.room = 100;
    let plain = noise(1000);
    assert_eq!(pair.server_sends(&plain), 999);
    assert!(pair.session.outgoing.len() < 1000);
    // Nothing is taken while it waits, and nothing is sealed.
    let waits = pair.session.outgoing.len();
    assert_eq!(pair.server_sends(&plain[999..]), 0);
    assert_eq!(pair.session.outgoing.len(), waits);
    pair.pipe.room = usize::MAX;
    let rest = [&plain[999..], b"more"].concat();
    assert_eq!(pair.server_sends(&rest), 5);
    pair.client_reads(usize::MAX).unwrap();
    assert_eq!(pair.said, [&plain[..], b"more"].concat());
}

#[test]
fn a_frame_that_a_record_cut_off_is_known_to_be_begun() {
    // The second frame begins with the last byte of the first record. Who offers them must learn that it has begun, or he
    // might drop it; so no byte is held back while more than the record was offered.
    let mut pair = Pair::shaken(&version::TLS13);
    pair.pipe.room = 10;
    assert_eq!(pair.server_sends(&noise(TLS_PLAINTEXT_BYTES_MAX + 500)), TLS_PLAINTEXT_BYTES_MAX);
}

#[test]
fn a_client_that_reads_nothing_costs_one_record() {
    let mut pair = Pair::shaken(&version::TLS12);
    pair.pipe.room = 50_000;
    let plain = noise(1_000_000);
    let mut taken = 0;
    for _ in 0..100 {
        taken += pair.server_sends(&plain[taken..]);
    }
    assert!((50_000 - 1000..50_000 + TLS_PLAINTEXT_BYTES_MAX).contains(&taken), "{taken}");
    assert!(pair.session.outgoing.capacity() <= 2 * TLS_RECORD_BYTES_MAX);
}

#[test]
fn rfc8446_6_1_ends_are_told_both_ways_and_what_follows_is_not_heard() {
    for version in [&version::TLS12, &version::TLS13] {
        let mut pair = Pair::shaken(version);
        pair.client.writer().write_all(b"last").unwrap();
        pair.client.send_close_notify();
        pair.client_sends(usize::MAX);
        assert_eq!((pair.heard.as_slice(), pair.end), (&b"last"[..], Some(Got::End)));
        // Its side is over, ours is not (RFC 8446 6.1).
        assert_eq!(pair.server_sends(b"answer"), 6);
        assert!(pair.session.shutdown(&mut pair.pipe));
        pair.client_reads(usize::MAX).unwrap();
        assert_eq!(pair.said, b"answer");
        assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
        assert_eq!(pair.session.send(&mut pair.pipe, &mut pair.scratch, &[IoSlice::new(b"x")]), Sent::Gone);
    }
}

#[test]
fn the_socket_is_shut_down_behind_what_waits() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.pipe.room = 3;
    assert!(!pair.session.shutdown(&mut pair.pipe));
    assert!(!pair.session.handle_writable(&mut pair.pipe));
    pair.pipe.room = usize::MAX;
    assert!(pair.session.handle_writable(&mut pair.pipe));
    assert!(!pair.session.handle_writable(&mut pair.pipe), "once");
    pair.client_reads(usize::MAX).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn a_cut_is_an_end_like_any_other() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.client.writer().write_all(b"half a record").unwrap();
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    pair.pipe.to_server.extend_from_slice(&wire[..wire.len() - 1]);
    pair.pipe.ended = true;
    pair.server_reads();
    pair.server_reads();
    assert_eq!((pair.heard.len(), pair.end), (0, Some(Got::End)));
}

#[test]
fn who_speaks_http_in_the_clear_is_answered_in_the_clear() {
    let mut pair = Pair::new(&version::TLS13);
    pair.pipe.to_server.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    pair.server_reads();
    assert_eq!(pair.end, Some(Got::Failed));
    let text = String::from_utf8(pair.pipe.to_client).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
}

#[test]
fn what_came_before_a_wrong_record_is_heard_and_then_the_alert_is_sent() {
    let mut pair = Pair::shaken(&version::TLS13);
    pair.client.writer().write_all(b"good").unwrap();
    let mut wire = Vec::new();
    pair.client.write_tls(&mut wire).unwrap();
    wire.extend_from_slice(&[23, 3, 3, 0, 20]);
    wire.extend_from_slice(&[0; 20]);
    pair.pipe.to_server.extend_from_slice(&wire);
    pair.server_reads();
    assert_eq!((pair.heard.as_slice(), pair.end), (&b"good"[..], Some(Got::Failed)));
    let told = pair.client_reads(usize::MAX).unwrap_err();
    assert_eq!(told, rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
    assert_eq!(pair.session.send(&mut pair.pipe, &mut pair.scratch, &[IoSlice::new(b"x")]), Sent::Gone);
}

#[test]
fn a_client_hello_in_endless_parts_is_refused() {
    let mut pair = Pair::new(&version::TLS13);
    // A handshake message of 65,000 bytes in records of 1,000: more than is kept.
    let mut message = vec![1, 0, 253, 232];
    message.resize(65_004, 0);
    for part in message.chunks(1000) {
        let len = u16::try_from(part.len()).unwrap().to_be_bytes();
        pair.pipe.to_server.extend_from_slice(&[22, 3, 1, len[0], len[1]]);
        pair.pipe.to_server.extend_from_slice(part);
        pair.server_reads();
        assert!(pair.session.incoming.capacity() <= 2 * TLS_RECORD_BYTES_MAX);
    }
    assert_eq!(pair.end, Some(Got::Failed));
}

#[test]
fn the_client_may_change_its_keys_as_often_as_it_speaks() {
    let mut pair = Pair::shaken(&version::TLS13);
    for round in 0..100_usize {
        pair.client.refresh_traffic_keys().unwrap();
        pair.client.writer().write_all(&noise(round + 1)).unwrap();
        pair.client_sends(7);
        assert_eq!(std::mem::take(&mut pair.heard), noise(round + 1));
        assert_eq!(pair.server_sends(&noise(50)), 50);
        pair.client_reads(usize::MAX).unwrap();
        assert_eq!(std::mem::take(&mut pair.said), noise(50));
    }
    assert_eq!((pair.end, pair.session.outgoing.len()), (None, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever parts the wire and the kernel make of the records: what is said arrives, from the first byte of the
    /// handshake on, and a sender who offers again what was not taken never says anything twice.
    #[test]
    fn any_split_of_bytes_says_the_same(
        is_13: bool,
        parts in prop::collection::vec(1_usize..3000, 1..6),
        rooms in prop::collection::vec(0_usize..30_000, 1..12),
        up in prop::collection::vec(1_usize..40_000, 0..4),
        down in prop::collection::vec(2_usize..40_000, 0..6),
    ) {
        let mut pair = Pair::new(if is_13 { &version::TLS13 } else { &version::TLS12 });
        let mut parts = parts.iter().copied().cycle();
        pair.pipe.room = 1;
        // A byte at a time, the handshake of some kilobytes takes as many rounds.
        for _ in 0..10_000 {
            if !pair.client.is_handshaking() && !pair.session.tls.is_handshaking() && pair.session.outgoing.is_empty() {
                break;
            }
            pair.client_sends(parts.next().unwrap());
            pair.pipe.room = parts.next().unwrap();
            pair.session.handle_writable(&mut pair.pipe);
            pair.client_reads(parts.next().unwrap()).unwrap();
        }
        prop_assert!(!pair.session.tls.is_handshaking());
        let mut expected = Vec::new();
        for len in up {
            pair.client.writer().write_all(&noise(len)).unwrap();
            pair.client_sends(parts.next().unwrap());
            expected.extend(noise(len));
        }
        prop_assert_eq!(&pair.heard, &expected);

        let pieces: Vec<Vec<u8>> = down.iter().map(|&len| noise(len)).collect();
        let all = pieces.concat();
        let (mut taken, mut rooms) = (0, rooms.iter().copied().chain([5000]).cycle());
        for _ in 0..10_000 {
            if taken == all.len() {
                break;
            }
            pair.pipe.room = rooms.next().unwrap();
            // What is left, in the pieces that it began with.
            let mut skip = taken;
            let left: Vec<_> = pieces.iter().filter_map(|piece| {
                let rest = &piece[skip.min(piece.len())..];
                skip -= skip.min(piece.len());
                (!rest.is_empty()).then(|| IoSlice::new(rest))
            }).collect();
            let Sent::Bytes(sent) = pair.session.send(&mut pair.pipe, &mut pair.scratch, &left) else {
                panic!("the session is gone");
            };
            taken += sent;
            prop_assert!(taken < all.len() || pair.session.outgoing.is_empty());
            prop_assert!(pair.session.outgoing.len() <= TLS_RECORD_BYTES_MAX);
            pair.client_reads(parts.next().unwrap()).unwrap();
        }
        pair.client_reads(usize::MAX).unwrap();
        prop_assert_eq!(&pair.said, &all);
    }
}
