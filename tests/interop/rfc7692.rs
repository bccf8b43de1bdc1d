//! permessage-deflate on the wire, against another implementation of DEFLATE's settings: zlib's own level and window.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::common::Broker;
use crate::common::raw::{Raw, handshake};

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn deflating() -> Broker {
    Broker::start(&[("SERVER__DEFLATE", "true"), ("LIMITS__MESSAGE_BYTES_MAX", "10000")])
}

/// A connection that offered this, its welcome read, and the answer to the offer.
fn offer(broker: &Broker, offer: &str) -> (Raw, Option<String>) {
    let mut raw = Raw::dial(broker);
    let request = handshake("/ws").replacen("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n"), 1);
    raw.write(request.as_bytes());
    let head = raw.read_head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let answer = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: ")).map(str::to_owned);
    assert_eq!(raw.read_frame().expect("the welcome").0, 0x81);
    (raw, answer)
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 100);
    Compress::new(Compression::best(), false).compress_vec(content, &mut out, FlushCompress::Sync).expect("bytes");
    out.truncate(out.len() - TAIL.len());
    out
}

fn inflated(deflated: &[u8], window_bits: u8) -> String {
    let mut out = Vec::with_capacity(100_000);
    let mut state = Decompress::new_with_window_bits(false, window_bits);
    state.decompress_vec(&[deflated, &TAIL].concat(), &mut out, FlushDecompress::Sync).expect("DEFLATE");
    String::from_utf8(out).expect("text")
}

#[test]
fn s7_compressed_commands_are_carried_out_and_publications_come_compressed() {
    let broker = deflating();
    let (mut raw, answer) = offer(&broker, "permessage-deflate; server_max_window_bits=12; client_max_window_bits");
    let promised =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";
    assert_eq!(answer.as_deref(), Some(promised));
    raw.write_frame(0xc1, &deflated(br#"{"op":"subscribe","id":1,"topic":"a"}"#));
    assert_eq!(raw.read_frame().expect("the ack").0, 0x81, "replies come as they are");
    let data = format!("[{}0]", r#"{"price":17,"name":"some"},"#.repeat(200));
    let publish = deflated(format!(r#"{{"op":"publish","topic":"a","data":{data}}}"#).as_bytes());
    for _ in 0..2 {
        raw.write_frame(0x41, &publish[..9]);
        raw.write_frame(0x89, b"?");
        raw.write_frame(0x80, &publish[9..]);
        assert_eq!(raw.read_frame(), Some((0x8a, b"?".to_vec())));
        let (first, payload) = raw.read_frame().expect("the publication");
        assert!(first == 0xc1 && payload.len() < 400, "{first:#x}, {} bytes", payload.len());
        assert!(inflated(&payload, 12).ends_with(&format!(r#","data":{data}}}"#)));
    }
}

#[test]
fn s7_what_is_wrong_with_a_compressed_message_closes_with_its_code() {
    let broker = deflating();
    for (first, payload, code) in [
        (0xc1, deflated(&[b'0'; 10_001]), 1009),
        (0xc2, deflated(&vec![0; 10_000_000]), 1009),
        (0xc1, b"\xff\xff\xff".to_vec(), 1007),
        (0xc1, deflated(b"\xed\xa0\x80"), 1007),
        (0xc0, deflated(b"{}"), 1002),
        (0xc9, b"".to_vec(), 1002),
        (0xa1, b"".to_vec(), 1002),
    ] {
        let (mut raw, _) = offer(&broker, "permessage-deflate");
        raw.write_frame(first, &payload);
        assert_eq!(raw.read_to_close(), code, "{first:#x} with {} bytes", payload.len());
    }
}

#[test]
fn s5_offers_that_cannot_be_kept_are_declined_and_malformed_ones_refused() {
    let broker = deflating();
    for declined in ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; level=9", "permessage-bzip2"]
    {
        assert_eq!(offer(&broker, declined).1, None, "{declined}");
    }
    let request = handshake("/ws").replacen("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate;\r\n\r\n", 1);
    assert_eq!(Raw::request(&broker, &request).status(), 400);
    assert_eq!(offer(&Broker::start(&[]), "permessage-deflate").1, None, "off unless configured");
}
