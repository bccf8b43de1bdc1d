//! A stranger's compressed messages: no panic, nothing over the limit, and the same content in every split of the bytes.
//! And the other way round: what we compress is what was said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wirefan::ws::deflate::{Deflater, Inflater, WINDOW_BITS_MIN};
use wirefan::ws::{Decoder, Event, Input, Kind, Role, encode};

const MESSAGE_BYTES_MAX: usize = 1000;

// The first byte is the bytes of a read, and the window to compress with; frames follow, unmasked ones.
fuzz_target!(|data: &[u8]| {
    if let Some((&first, frames)) = data.split_first() {
        let at_once = events(frames, frames.len().max(1));
        assert_eq!(events(frames, 1 + usize::from(first)), at_once);
        compress(WINDOW_BITS_MIN + first % 7, frames);
    }
});

fn events(frames: &[u8], read_bytes: usize) -> Vec<String> {
    let mut decoder = Decoder::new(Role::Client).with_deflate(true);
    let mut inflater = Inflater::default();
    let mut events = Vec::new();
    for read in frames.chunks(read_bytes) {
        let mut buf = read.to_vec();
        let mut input = Input::new(&mut buf, read.len());
        loop {
            match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                Ok(Some(Event::Deflated { kind, payload })) => {
                    let content = inflater.message(kind, payload, MESSAGE_BYTES_MAX);
                    if let Ok(content) = content {
                        assert!(content.len() <= MESSAGE_BYTES_MAX);
                        assert!(kind == Kind::Binary || std::str::from_utf8(content).is_ok());
                    }
                    events.push(format!("{content:?}"));
                }
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => events.push(format!("{violation:?}")),
            }
        }
        assert!(decoder.held_bytes() < 4 * MESSAGE_BYTES_MAX, "a partial message is bounded");
        assert!(inflater.kept_bytes() < 64 * MESSAGE_BYTES_MAX, "a content is bounded");
    }
    events
}

fn compress(window_bits: u8, content: &[u8]) {
    let mut frame = Vec::new();
    let mut deflater = Deflater::new(window_bits);
    let deflated = deflater.deflate([content, b"}"], 2 * content.len() + 64).expect("it has room");
    encode::deflated_header(&mut frame, wirefan::ws::Opcode::Binary, deflated.len());
    assert!(encode::is_deflated(&frame) && encode::frame_header_len(&frame) == frame.len());
    let mut inflater = Inflater::default();
    let again = inflater.message(Kind::Binary, deflated, content.len() + 1);
    assert_eq!(again, Ok(&[content, b"}"].concat()[..]));
}
