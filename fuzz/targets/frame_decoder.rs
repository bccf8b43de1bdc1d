//! A stranger's frames: no panic, and the same events in every split of the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wirefan::ws::{Ahead, Decoder, Input, Role};

const MESSAGE_BYTES_MAX: usize = 1000;

// The first byte is the role, the second the bytes of a read; the frames follow.
fuzz_target!(|data: &[u8]| {
    if let Some((&[role, read_bytes], frames)) = data.split_first_chunk() {
        let at_once = events(role, frames, frames.len().max(1));
        assert_eq!(events(role, frames, 1 + usize::from(read_bytes)), at_once);
        assert_eq!(events_placed(role, frames, 1 + usize::from(read_bytes)), at_once);
        assert_eq!(events_ahead(role, frames, 1 + usize::from(read_bytes)), at_once);
    }
});

fn decoder(role: u8) -> Decoder {
    Decoder::new(if role % 2 == 0 { Role::Server } else { Role::Client })
}

fn events(role: u8, frames: &[u8], read_bytes: usize) -> Vec<String> {
    let (mut decoder, mut events) = (decoder(role), Vec::new());
    for read in frames.chunks(read_bytes) {
        take(&mut decoder, read, &mut events);
        assert!(decoder.held_bytes() < 4 * MESSAGE_BYTES_MAX, "a partial message is bounded");
    }
    events
}

/// Payload that is still to come is read to where the decoder has room for it, if it has.
fn events_placed(role: u8, frames: &[u8], read_bytes: usize) -> Vec<String> {
    let (mut decoder, mut events) = (decoder(role), Vec::new());
    for read in frames.chunks(read_bytes) {
        let room = decoder.room(1, |len| Some(vec![0xa5; len]));
        let (placed, read) = read.split_at(room.len().min(read.len()));
        room[..placed.len()].copy_from_slice(placed);
        if !placed.is_empty() {
            decoder.note_placed(placed.len());
        }
        take(&mut decoder, read, &mut events);
    }
    events
}

/// Each read goes ahead to where the payload of a message would lie that is about as long.
fn events_ahead(role: u8, frames: &[u8], read_bytes: usize) -> Vec<String> {
    let (mut decoder, mut events) = (decoder(role), Vec::new());
    for read in frames.chunks(read_bytes) {
        let mut ahead = Ahead::new(read_bytes, |len| Some(vec![0xa5; len])).expect("it was lent");
        ahead.room()[..read.len()].copy_from_slice(read);
        let (header, payload) = ahead.halves(read.len());
        let payload_len = payload.len();
        take(&mut decoder, header, &mut events);
        match decoder.adopt(ahead, payload_len) {
            Ok(()) => take(&mut decoder, &[], &mut events),
            Err(mut ahead) => take(&mut decoder, ahead.halves(read.len()).1, &mut events),
        }
    }
    events
}

fn take(decoder: &mut Decoder, read: &[u8], events: &mut Vec<String>) {
    let mut buf = read.to_vec();
    let mut input = Input::new(&mut buf, read.len());
    loop {
        match decoder.next(&mut input, MESSAGE_BYTES_MAX) {
            Ok(Some(event)) => events.push(format!("{event:?}")),
            Ok(None) => break,
            Err(violation) => events.push(format!("{violation:?}")),
        }
    }
}
