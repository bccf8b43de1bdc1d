//! The frame decoder: reads full of small messages, as pipelining clients send them, and of middling ones.

use std::hint::black_box;

use wirefan::ws::{Decoder, Event, Input, Opcode, Role, encode};

use super::{HotPath, Work};

pub(super) fn paths() -> Vec<HotPath> {
    let path = |name, units, make| HotPath { name, unit: "message", units, make };
    vec![
        path("frames: text of 24 B", 1_000, || Box::new(Read::new(24, 1_000))),
        path("frames: text of 1 KiB", 60, || Box::new(Read::new(1 << 10, 60))),
    ]
}

/// What one read brought.
struct Read {
    bytes: Vec<u8>,
    /// It is unmasked in place, so each round has a copy.
    buf: Vec<u8>,
    messages: usize,
    decoder: Decoder,
}

impl Read {
    fn new(len: usize, messages: usize) -> Self {
        let mut bytes = Vec::new();
        for number in 0..messages {
            #[expect(clippy::cast_possible_truncation, reason = "the low bits make another key")]
            let key = [number as u8, 0x9e, 0x37, 0x79];
            encode::masked_frame(&mut bytes, Opcode::Text, &b"some text ".repeat(len)[..len], key);
        }
        Self { buf: bytes.clone(), bytes, messages, decoder: Decoder::new(Role::Server) }
    }
}

impl Work for Read {
    fn prepare(&mut self) {
        self.buf.copy_from_slice(&self.bytes);
    }

    fn run(&mut self) {
        let filled = self.buf.len();
        let (mut input, mut messages) = (Input::new(&mut self.buf, filled), 0);
        while let Ok(Some(event)) = self.decoder.next(&mut input, 65_536) {
            if let Event::Message { payload, .. } = event {
                black_box(payload);
                messages += 1;
            }
        }
        assert_eq!(messages, self.messages);
    }
}
