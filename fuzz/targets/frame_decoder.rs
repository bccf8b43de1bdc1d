//! A stranger's frames: no panic, and the same events in every split of the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wirefan::ws::{Decoder, Input, Role};

const MESSAGE_BYTES_MAX: usize = 1000;

// The first byte is the role, the second the bytes of a read; the frames follow.
fuzz_target!(|data: &[u8]| {
    if let Some((&[role, read_bytes], frames)) = data.split_first_chunk() {
        let at_once = events(role, frames, frames.len().max(1));
        assert_eq!(events(role, frames, 1 + usize::from(read_bytes)), at_once);
    }
});

fn events(role: u8, frames: &[u8], read_bytes: usize) -> Vec<String> {
    let mut decoder = Decoder::new(if role % 2 == 0 { Role::Server } else { Role::Client });
    let mut events = Vec::new();
    for read in frames.chunks(read_bytes) {
        let mut buf = read.to_vec();
        let mut input = Input::new(&mut buf, read.len());
        loop {
            match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => events.push(format!("{violation:?}")),
            }
        }
        assert!(decoder.held_bytes() < 4 * MESSAGE_BYTES_MAX, "a partial message is bounded");
    }
    events
}
