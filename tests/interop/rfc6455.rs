//! RFC 6455 on the wire: what breaks it closes the connection with the right code, what does not is answered.

use tungstenite::Message;

use crate::common::Broker;
use crate::common::client::{Client, dial, upgrade};
use crate::common::raw::{Raw, frame, frame_head};

const PING: &[u8] = br#"{"op":"ping","id":1}"#;

/// A connection on which the welcome has been read.
fn welcomed(broker: &Broker) -> Raw {
    let mut raw = Raw::upgrade(broker, "/ws");
    let (first, welcome) = raw.read_frame().expect("the welcome");
    assert_eq!(first, 0x81, "{welcome:?}");
    raw
}

/// The close code after these bytes.
fn code_after(broker: &Broker, bytes: &[u8]) -> u16 {
    let mut raw = welcomed(broker);
    raw.write(bytes);
    raw.read_to_close()
}

#[test]
fn s5_1_unmasked_client_frame_closes_1002() {
    let broker = Broker::start(&[]);
    let unmasked = [&[0x81, 20][..], PING].concat();
    assert_eq!(code_after(&broker, &unmasked), 1002);
}

#[test]
fn s5_2_reserved_bits_and_opcodes_close_1002() {
    let broker = Broker::start(&[]);
    for first in [0xc1, 0xa1, 0x91, 0x83, 0x87, 0x8b, 0x8f] {
        assert_eq!(code_after(&broker, &frame(first, b"x")), 1002, "{first:#x}");
    }
}

#[test]
fn s5_2_non_minimal_and_64_bit_lengths_close_1002() {
    let broker = Broker::start(&[]);
    let key = [1, 2, 3, 4];
    let two_bytes = [&[0x82, 0xfe, 0, 125][..], &key].concat();
    assert_eq!(code_after(&broker, &two_bytes), 1002);
    let eight_bytes = [&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..], &key].concat();
    assert_eq!(code_after(&broker, &eight_bytes), 1002);
    let top_bit = [&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], &key].concat();
    assert_eq!(code_after(&broker, &top_bit), 1002);
}

#[test]
fn s5_4_fragments_out_of_turn_close_1002() {
    let broker = Broker::start(&[]);
    assert_eq!(code_after(&broker, &frame(0x80, b"nothing to continue")), 1002);
    let two_starts = [frame(0x01, b"{"), frame(0x81, b"}")].concat();
    assert_eq!(code_after(&broker, &two_starts), 1002);
}

#[test]
fn s5_5_bad_control_frames_close_1002() {
    let broker = Broker::start(&[]);
    assert_eq!(code_after(&broker, &frame(0x09, b"in pieces")), 1002);
    assert_eq!(code_after(&broker, &frame(0x89, &[b'x'; 126])), 1002);
    assert_eq!(code_after(&broker, &frame(0x88, b"\x03")), 1002);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_eq!(code_after(&broker, &frame(0x88, &code.to_be_bytes())), 1002, "{code}");
    }
}

#[test]
fn s5_5_1_a_close_is_answered_with_its_code_and_the_server_hangs_up_first() {
    let broker = Broker::start(&[]);
    for code in [1000_u16, 1001, 1011, 3000, 4999] {
        assert_eq!(code_after(&broker, &frame(0x88, &code.to_be_bytes())), code);
    }
    let mut client = Client::connect(&broker);
    client.close();
    assert!(matches!(client.receive(), Message::Close(_)));
    client.expect_end();
}

#[test]
fn s5_4_control_frames_between_fragments_are_answered_at_once() {
    let broker = Broker::start(&[]);
    let mut raw = welcomed(&broker);
    raw.write_frame(0x01, &PING[..9]);
    raw.write_frame(0x89, b"between");
    assert_eq!(raw.read_frame(), Some((0x8a, b"between".to_vec())));
    raw.write_frame(0x00, &PING[9..10]);
    raw.write_frame(0x00, b"");
    raw.write_frame(0x80, &PING[10..]);
    let (first, pong) = raw.read_frame().expect("a frame");
    assert_eq!(first, 0x81);
    assert!(String::from_utf8_lossy(&pong).contains("pong"));
}

#[test]
fn frames_arrive_byte_by_byte_and_many_at_once() {
    let broker = Broker::start(&[]);
    let mut raw = welcomed(&broker);
    for byte in frame(0x81, PING) {
        raw.write(&[byte]);
    }
    assert!(raw.read_frame().is_some_and(|(first, _)| first == 0x81));
    raw.write(&frame(0x81, PING).repeat(3000));
    for _ in 0..3000 {
        assert!(raw.read_frame().is_some_and(|(first, _)| first == 0x81));
    }
}

#[test]
fn s8_1_bad_utf_8_closes_1007_as_soon_as_it_comes() {
    let broker = Broker::start(&[]);
    assert_eq!(code_after(&broker, &frame(0x81, b"\xff")), 1007);
    assert_eq!(code_after(&broker, &frame(0x81, b"\xed\xa0\x80")), 1007);
    assert_eq!(code_after(&broker, &frame(0x81, b"cut off \xc3")), 1007);
    assert_eq!(code_after(&broker, &frame(0x88, b"\x03\xe8\xff")), 1007);
    // The frame goes on and the message too: nobody has to wait for either.
    let mut begun = frame_head(0x01, 1000);
    begun.extend([0, 0, 0, 0]);
    begun.extend(b"good so far \xf4\x90");
    assert_eq!(code_after(&broker, &begun), 1007);
}

#[test]
fn s7_4_1_a_message_over_the_limit_closes_1009_before_it_has_come() {
    let broker = Broker::start(&[("LIMITS__MESSAGE_BYTES_MAX", "1024")]);
    for length in [1025, 70_000, 1 << 40] {
        let mut announced = frame_head(0x81, length);
        announced.extend([0, 0, 0, 0]);
        assert_eq!(code_after(&broker, &announced), 1009, "{length}");
    }
    let mut fragments = frame(0x02, &[0; 600]);
    fragments.extend(frame(0x00, &[0; 600]));
    assert_eq!(code_after(&broker, &fragments), 1009);
    let mut raw = welcomed(&broker);
    let fitting = [PING, &[b' '; 1004]].concat();
    raw.write_frame(0x81, &fitting);
    assert!(raw.read_frame().is_some_and(|(first, _)| first == 0x81), "the limit itself is allowed");
}

#[test]
fn s4_2_2_the_subprotocol_is_chosen_from_what_is_offered() {
    let broker = Broker::start(&[]);
    let url = format!("ws://{}/ws", broker.address);
    let offer =
        |offered: &'static str| upgrade(dial(broker.address, None), &url, &[("Sec-WebSocket-Protocol", offered)]);
    for offered in ["wirefan.v1", "mqtt, wirefan.v1", "wirefan.v2,wirefan.v1"] {
        let (_, response) = offer(offered).expect("a known subprotocol");
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "wirefan.v1");
    }
    let (_, response) = upgrade(dial(broker.address, None), &url, &[]).expect("none offered");
    assert!(!response.headers().contains_key("Sec-WebSocket-Protocol"));
    assert!(offer("mqtt").is_err_and(|status| status == 400));
    let answer = Raw::request(
        &broker,
        &crate::common::raw::handshake("/ws").replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"),
    );
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("wirefan.v1"));
}

#[test]
fn echo_answers_each_message_with_itself_where_it_is_enabled() {
    let broker = Broker::start(&[("SERVER__ECHO", "true")]);
    let url = format!("ws://{}/echo", broker.address);
    let (mut socket, _) = upgrade(dial(broker.address, None), &url, &[]).expect("a handshake");
    let large = "é".repeat(32_768);
    for message in [
        Message::text(""),
        Message::text("not { JSON"),
        Message::text(large),
        Message::binary(Vec::new()),
        Message::binary(vec![0xff; 65_536]),
    ] {
        socket.send(message.clone()).expect("the broker reads");
        assert_eq!(socket.read().expect("an echo"), message);
    }
    let mut raw = Raw::upgrade(&broker, "/echo");
    raw.write_frame(0x02, b"fragments ");
    for _ in 0..2000 {
        raw.write_frame(0x00, b".");
    }
    raw.write_frame(0x80, b" end");
    let expected = format!("fragments {} end", ".".repeat(2000));
    assert_eq!(raw.read_frame(), Some((0x82, expected.into_bytes())));
}

#[test]
fn echo_is_not_there_by_default() {
    let broker = Broker::start(&[]);
    let answer = Raw::request(&broker, &crate::common::raw::handshake("/echo"));
    assert_eq!(answer.status(), 404);
}
