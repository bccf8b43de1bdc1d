//! One real shard without sockets, for benchmarks: connections that take every byte at once.

use std::io::IoSlice;

use wirefan::auth::origin::Origins;
use wirefan::config::Config;
use wirefan::ids::ConnId;
use wirefan::mesh::{self, Wake};
use wirefan::shard::{Action, Sent, Settings, Shard, Wire};
use wirefan::ws::{Opcode, encode};

/// Takes everything and counts it.
#[derive(Default)]
pub(crate) struct Sink {
    /// Bytes taken.
    pub(crate) bytes: u64,
    /// System calls that they would have been.
    pub(crate) calls: u64,
}

impl Wire for Sink {
    fn send(&mut self, _: u32, bytes: &[u8]) -> Sent {
        self.bytes += bytes.len() as u64;
        self.calls += 1;
        Sent::Bytes(bytes.len())
    }

    fn send_pieces(&mut self, conn: u32, pieces: &[IoSlice<'_>]) -> Sent {
        pieces.iter().map(|piece| self.send(conn, piece)).last();
        Sent::Bytes(pieces.iter().map(|piece| piece.len()).sum())
    }
}

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// A shard, its only driver and its sink.
pub(crate) struct Rig {
    /// The shard under test.
    pub(crate) shard: Shard,
    /// Where its bytes go.
    pub(crate) sink: Sink,
    buf: Vec<u8>,
}

impl Rig {
    /// A broker of one shard; `change` adjusts the default configuration.
    pub(crate) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let origins = Origins::parse(&config.server.allowed_origins).expect("the default is valid");
        let desk = mesh::join(vec![std::sync::Arc::new(Nobody)], 16).remove(0);
        let shard = Shard::new(Settings { config, origins, credentials: None, began_unix_s: 0, seed: 7 }, desk, 0);
        Self { shard, sink: Sink::default(), buf: Vec::new() }
    }

    /// A connection that has shaken hands.
    pub(crate) fn connect(&mut self) -> ConnId {
        let conn = self.shard.handle_accept(false);
        self.bytes(
            conn,
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        conn
    }

    /// Hands the shard raw bytes of a connection.
    pub(crate) fn bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.buf.clear();
        self.buf.extend_from_slice(bytes);
        self.shard.handle_bytes(conn, &mut self.buf, bytes.len());
    }

    /// Hands the shard one text message of a connection.
    pub(crate) fn text(&mut self, conn: ConnId, message: &str) {
        let mut frame = Vec::new();
        encode::masked_frame(&mut frame, Opcode::Text, message.as_bytes(), [1, 2, 3, 4]);
        self.bytes(conn, &frame);
    }

    /// Ends the turn and forgets what the sockets are asked to do.
    pub(crate) fn turn(&mut self) {
        self.shard.end_turn(&mut self.sink);
        while let Some(action) = self.shard.poll_action() {
            std::hint::black_box::<Action>(action);
        }
    }
}
