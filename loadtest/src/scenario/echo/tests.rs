//! Echoes of the broker and of the floor, of all contents and sizes; and faults planted in what comes back.

use wirefan::config::Config;

use super::*;
use crate::common;
use crate::scenario::fanout::tests::with_floor;

fn shape(content: Content, payload_bytes: usize) -> Shape {
    Shape {
        connections: 2,
        depth: 3,
        payload_bytes,
        content,
        warmup: Duration::ZERO,
        length: Duration::from_millis(5),
        load_cores: Vec::new(),
    }
}

fn with_broker<T>(body: impl FnOnce(&Target) -> T) -> T {
    let configure = |config: &mut Config| {
        config.server.echo = true;
        config.limits.message_bytes_max = 1024 * 1024;
        config.limits.outbound_bytes_max = 8 * 1024 * 1024;
    };
    common::with_broker(configure, |address| body(&Target::at(address)))
}

#[test]
fn all_contents_and_sizes_come_back_from_broker_and_floor() {
    for content in [Content::Binary, Content::Ascii, Content::Text] {
        for bytes in [16, 17, 126, 65_536, 1024 * 1024] {
            let shape = shape(content, bytes);
            let run = |target: &Target| {
                let own = Some(std::process::id());
                let measured = run(target, &shape, own, &Progress::new(true)).unwrap();
                assert_eq!(measured.faults, Faults::default(), "{content:?} {bytes}");
                assert!(measured.echoes >= 6 && measured.spending.server.is_some(), "{content:?} {bytes}");
                assert_eq!(measured.latencies.summary().count, measured.echoes);
            };
            with_broker(run);
            with_floor(run);
        }
    }
}

#[test]
fn a_broker_without_an_echo_is_a_sentence() {
    let refusal = crate::scenario::fanout::tests::with_broker(None, |target| {
        run(target, &shape(Content::Binary, 64), None, &Progress::new(true)).err().unwrap()
    });
    assert!(refusal.contains("404") && refusal.contains("server.echo"), "{refusal}");
}

#[test]
fn fillings_have_their_length_and_are_what_they_say() {
    for bytes in [0, 1, 2, 3, 5, 100, 1_001] {
        assert_eq!(Content::Binary.filling(bytes).len(), bytes);
        assert!(Content::Ascii.filling(bytes).is_ascii());
        let text = String::from_utf8(Content::Text.filling(bytes)).unwrap();
        assert_eq!(text.len(), bytes);
    }
    assert!(std::str::from_utf8(&Content::Binary.filling(9)).is_err() && !Content::Text.filling(9).is_ascii());
}

/// A connection with messages 0 to 3 under way.
fn speaker() -> Speaker {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = std::net::TcpStream::connect(address).unwrap();
    let stream = Stream::new(mio::net::TcpStream::from_std(socket), None).unwrap();
    let mut speaker = Speaker::new(stream, 7, &Target::at(address), &shape(Content::Ascii, 40), 1);
    (0..4).for_each(|_| speaker.say());
    speaker
}

fn echo(number: usize, sequence: u64) -> Vec<u8> {
    [stamp(number, sequence).to_vec(), Content::Ascii.filling(24)].concat()
}

/// What the judge says when those come back.
fn judged(echoes: &[Vec<u8>]) -> (Faults, u64) {
    let (mut speaker, mut faults) = (speaker(), Faults::default());
    for echo in echoes {
        speaker.judge(Kind::Text, echo, &mut faults);
    }
    (faults, speaker.echoes)
}

#[test]
fn four_in_order_are_right() {
    let (faults, echoes) = judged(&[echo(7, 0), echo(7, 1), echo(7, 2), echo(7, 3)]);
    assert_eq!((faults, echoes), (Faults::default(), 4));
}

#[test]
fn each_fault_is_what_it_is() {
    let (faults, _) = judged(&[echo(7, 0), echo(7, 3)]);
    assert_eq!((faults.lost, faults.total()), (2, 2));
    let (faults, _) = judged(&[echo(7, 0), echo(7, 0)]);
    assert_eq!((faults.doubled, faults.total()), (1, 1));
    // Swapped: one is lost before, and comes late.
    let (faults, _) = judged(&[echo(7, 1), echo(7, 0)]);
    assert_eq!((faults.lost, faults.doubled, faults.total()), (1, 1, 2));
    let (faults, _) = judged(&[echo(8, 0)]);
    assert_eq!((faults.misdelivered, faults.total()), (1, 1));
    let (faults, _) = judged(&[echo(7, 9)]);
    assert_eq!((faults.misdelivered, faults.total()), (1, 1), "nobody has said it yet");
    let mut changed = echo(7, 0);
    *changed.last_mut().unwrap() ^= 1;
    for mangled in [changed, echo(7, 0)[..39].to_vec(), b"x".to_vec(), Vec::new()] {
        let (faults, echoes) = judged(&[mangled, echo(7, 1)]);
        assert_eq!((faults.mangled, faults.total(), echoes), (1, 1, 1));
    }
    let (mut speaker, mut faults) = (speaker(), Faults::default());
    assert!(speaker.judge(Kind::Binary, &echo(7, 0), &mut faults));
    assert_eq!(faults.mangled, 1, "text came back as binary");
}
