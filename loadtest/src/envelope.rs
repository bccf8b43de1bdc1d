//! What travels: the payload that carries its own proof (who, which, when), and the broker's `message` around it.
//! Publishers write payloads here; subscribers read envelopes here, by a fixed scan for the bytes that wirefan writes and by
//! serde_json for any other spelling of the same object; the floor writes envelopes here.
//! Invariants: the fast scan accepts only what serde_json would read alike; a payload whose filling or length differs from
//! what was published is refused, never guessed at.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use wirefan::limits::{DEFLATE_BYTES_MIN, DEFLATE_WINDOW_BITS};
use wirefan::ws::deflate::{Deflater, STORED_HEADER_LEN};

/// Bytes of the stamp inside the quotes: publisher 4, sequence 8, publication 8, intended time 16, all hex digits.
const STAMP_BYTES: usize = 36;
/// The least payload that can carry its stamp, quotes included, in bytes.
pub(crate) const PAYLOAD_BYTES_MIN: usize = STAMP_BYTES + 2;
/// What fills a payload after its stamp, over and over.
const FILLING: &[u8; 16] = b"wirefan-loadtest";

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The publisher's number.
    pub(crate) publisher: u16,
    /// Counts this publisher's publications to this topic: 0, 1, 2 …
    pub(crate) sequence: u32,
    /// Counts all publications of the run: 0, 1, 2 …
    pub(crate) publication: u32,
    /// When it should have been sent, in nanoseconds since the run's origin.
    pub(crate) intended_ns: u64,
}

/// `epoch:offset` of the protocol, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// One life of the topic's counter.
    pub(crate) epoch: u32,
    /// Counts a topic's publications without holes.
    pub(crate) offset: u64,
}

impl Position {
    /// Reads `xxxxxxxx:N` and nothing else.
    pub(crate) fn parse(spelled: &str) -> Option<Self> {
        let (position, used) = Self::scan(spelled.as_bytes())?;
        (used == spelled.len()).then_some(position)
    }

    /// Reads `xxxxxxxx:N` from the start of `bytes`; the number of bytes read comes with it.
    fn scan(bytes: &[u8]) -> Option<(Self, usize)> {
        let epoch = hex(bytes.get(..8)?)? as u32;
        if bytes.get(8) != Some(&b':') {
            return None;
        }
        let digits = bytes[9..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 || digits > 19 {
            return None;
        }
        let offset = bytes[9..9 + digits].iter().fold(0_u64, |n, b| n * 10 + u64::from(b - b'0'));
        Some((Self { epoch, offset }, 9 + digits))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{}", self.epoch, self.offset)
    }
}

/// Appends a payload of exactly `payload_bytes` bytes: a JSON string that starts with the stamp.
///
/// # Panics
/// When `payload_bytes` is under [`PAYLOAD_BYTES_MIN`]; the command line refuses that before.
pub(crate) fn write_payload(out: &mut Vec<u8>, stamp: Stamp, payload_bytes: usize) {
    assert!(payload_bytes >= PAYLOAD_BYTES_MIN, "the stamp does not fit");
    out.push(b'"');
    push_hex(out, u64::from(stamp.publisher), 4);
    push_hex(out, u64::from(stamp.sequence), 8);
    push_hex(out, u64::from(stamp.publication), 8);
    push_hex(out, stamp.intended_ns, 16);
    let filling = payload_bytes - PAYLOAD_BYTES_MIN;
    for _ in 0..filling / FILLING.len() {
        out.extend_from_slice(FILLING);
    }
    out.extend_from_slice(&FILLING[..filling % FILLING.len()]);
    out.push(b'"');
}

/// The length of a payload whose message is as long as that of one of `payload_bytes` is when the broker compressed it;
/// `None` if it does not compress such a payload, or makes it too short for a stamp.
pub(crate) fn deflated_payload_bytes(payload_bytes: usize) -> Option<usize> {
    if payload_bytes < DEFLATE_BYTES_MIN {
        return None;
    }
    let stamp = Stamp { publisher: 3, sequence: 0x2d7f, publication: 0x5b0e1, intended_ns: 0x1_93a7_c4e8 };
    let mut payload = Vec::new();
    write_payload(&mut payload, stamp, payload_bytes);
    let deflated = Deflater::new(DEFLATE_WINDOW_BITS).deflate([&payload, b"}"], payload_bytes)?.len();
    // Less the brace behind the payload, which is among them, and more the block around what stands before it.
    Some(deflated - 1 + STORED_HEADER_LEN).filter(|&bytes| bytes >= PAYLOAD_BYTES_MIN)
}

/// Reads a payload and checks every byte of it. `None` when it is not one that [`write_payload`] wrote at this length.
pub(crate) fn read_payload(payload: &[u8], payload_bytes: usize) -> Option<Stamp> {
    if payload.len() != payload_bytes {
        return None;
    }
    let inner = payload.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let (stamp, filling) = inner.split_at_checked(STAMP_BYTES)?;
    let whole = filling.chunks_exact(FILLING.len());
    let rest = whole.remainder();
    if rest != &FILLING[..rest.len()] || !whole.into_iter().all(|chunk| chunk == FILLING) {
        return None;
    }
    Some(Stamp {
        publisher: hex(&stamp[..4])? as u16,
        sequence: hex(&stamp[4..12])? as u32,
        publication: hex(&stamp[12..20])? as u32,
        intended_ns: hex(&stamp[20..])?,
    })
}

/// Appends the `message` that a broker sends for one publication, without a frame around it.
pub(crate) fn write_message(out: &mut Vec<u8>, topic: &str, position: Position, data: &[u8]) {
    out.extend_from_slice(MESSAGE_HEAD);
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(POSITION_HEAD);
    push_hex(out, u64::from(position.epoch), 8);
    out.extend_from_slice(format!(":{}", position.offset).as_bytes());
    out.extend_from_slice(DATA_HEAD);
    out.extend_from_slice(data);
    out.push(b'}');
}

const MESSAGE_HEAD: &[u8] = b"{\"op\":\"message\",\"topic\":\"";
const POSITION_HEAD: &[u8] = b"\",\"position\":\"";
const DATA_HEAD: &[u8] = b"\",\"data\":";

/// What the `ack` of a subscribe says, where it says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ack {
    /// Where live begins.
    pub(crate) position: Option<Position>,
    /// Whether everything since the position asked for follows.
    pub(crate) recovered: Option<bool>,
}

/// One text message of the server, as far as a load test cares.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// A publication; `data` is its payload byte for byte.
    Message {
        /// The topic's name.
        topic: &'a str,
        /// The position that the broker gave it.
        position: Position,
        /// The payload.
        data: &'a [u8],
    },
    /// `welcome`.
    Welcome,
    /// `ack`.
    Ack(Ack),
    /// `gap`: publications that this connection does not get, because it was too slow.
    Gap {
        /// The topic's name.
        topic: &'a str,
        /// How many since the last `gap`.
        missed: u64,
        /// Of the newest of them.
        position: Position,
    },
    /// `error`, with the whole object for the report.
    Error(&'a str),
    /// Anything else: an unknown `op`, not JSON. A load test expects none of it.
    Unexpected(&'a str),
}

/// Reads one message by the bytes that wirefan writes when the topic is the expected one. `None` says no more than "look closer".
pub(crate) fn scan_message<'a>(message: &'a [u8], topic: &str) -> Option<(Position, &'a [u8])> {
    let rest = message.strip_prefix(MESSAGE_HEAD)?;
    let rest = rest.strip_prefix(topic.as_bytes())?;
    let rest = rest.strip_prefix(POSITION_HEAD)?;
    let (position, used) = Position::scan(rest)?;
    let data = rest[used..].strip_prefix(DATA_HEAD)?.strip_suffix(b"}")?;
    // A payload that read_payload accepts holds no quote and no brace, so no further member can hide in it.
    Some((position, data))
}

/// The topic that a message names, if it is spelled as wirefan spells it: no name holds a quote.
pub(crate) fn scan_topic(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(MESSAGE_HEAD)?;
    rest.split(|byte| *byte == b'"').next()
}

/// Reads one text message in any spelling.
pub(crate) fn parse_reply(message: &str) -> Reply<'_> {
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(message) else {
        return Reply::Unexpected(message);
    };
    match wire.op {
        "welcome" => Reply::Welcome,
        "ack" => wire.ack().map_or(Reply::Unexpected(message), Reply::Ack),
        "error" => Reply::Error(message),
        "message" => wire.message().unwrap_or(Reply::Unexpected(message)),
        "gap" => wire.gap().unwrap_or(Reply::Unexpected(message)),
        _ => Reply::Unexpected(message),
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    op: &'a str,
    topic: Option<&'a str>,
    position: Option<&'a str>,
    recovered: Option<bool>,
    missed: Option<u64>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Wire<'a> {
    fn message(&self) -> Option<Reply<'a>> {
        let position = Position::parse(self.position?)?;
        Some(Reply::Message { topic: self.topic?, position, data: self.data?.get().as_bytes() })
    }

    fn gap(&self) -> Option<Reply<'a>> {
        let position = Position::parse(self.position?)?;
        Some(Reply::Gap { topic: self.topic?, missed: self.missed?, position })
    }

    /// None if it has a position that is none.
    fn ack(&self) -> Option<Ack> {
        let position = match self.position {
            Some(spelled) => Some(Position::parse(spelled)?),
            None => None,
        };
        Some(Ack { position, recovered: self.recovered })
    }
}

fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for digit in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * digit)) as usize & 15]);
    }
}

/// At most 16 lower-case hex digits.
fn hex(digits: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for digit in digits {
        let nibble = HEX[usize::from(*digit)];
        if nibble > 15 {
            return None;
        }
        value = value << 4 | u64::from(nibble);
    }
    Some(value)
}

const HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { publisher: 3, sequence: 41, publication: 0x00c0_ffee, intended_ns: 1_234_567_890_123 };

    fn envelope(topic: &str, offset: u64, payload_bytes: usize) -> Vec<u8> {
        let (mut data, mut out) = (Vec::new(), Vec::new());
        write_payload(&mut data, STAMP, payload_bytes);
        let position = Position { epoch: 0xf3a9_b2c1, offset };
        write_message(&mut out, topic, position, &data);
        out
    }

    #[test]
    fn a_payload_has_the_asked_length_is_json_and_reads_back() {
        for payload_bytes in PAYLOAD_BYTES_MIN..200 {
            let mut payload = Vec::new();
            write_payload(&mut payload, STAMP, payload_bytes);
            assert_eq!(payload.len(), payload_bytes);
            serde_json::from_slice::<String>(&payload).unwrap();
            assert_eq!(read_payload(&payload, payload_bytes), Some(STAMP));
        }
    }

    #[test]
    fn any_changed_byte_of_the_filling_or_the_length_is_seen() {
        let mut payload = Vec::new();
        write_payload(&mut payload, STAMP, 100);
        assert_eq!(read_payload(&payload[..99], 100), None);
        for at in (0..100).filter(|at| !(1..=STAMP_BYTES).contains(at)) {
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert_eq!(read_payload(&changed, 100), None, "byte {at}");
        }
        let mut upper = payload.clone();
        upper[1] = b'G';
        assert_eq!(read_payload(&upper, 100), None);
    }

    #[test]
    fn the_fast_scan_and_serde_json_read_the_same() {
        for (offset, bytes) in [(1, 64), (99_999, 38), (9_999_999_999_999_999_999, 1_024)] {
            let message = envelope("load/a", offset, bytes);
            let (position, data) = scan_message(&message, "load/a").unwrap();
            assert_eq!(position, Position { epoch: 0xf3a9_b2c1, offset });
            assert_eq!(read_payload(data, bytes), Some(STAMP));
            let text = std::str::from_utf8(&message).unwrap();
            let topic = "load/a";
            assert_eq!(parse_reply(text), Reply::Message { topic, position, data });
        }
    }

    #[test]
    fn another_spelling_is_left_to_serde_json() {
        let text = r#"{ "position":"00000001:7", "from":"u", "topic":"t", "data": "x", "op":"message" }"#;
        assert_eq!(scan_message(text.as_bytes(), "t"), None);
        let position = Position { epoch: 1, offset: 7 };
        let expected = Reply::Message { topic: "t", position, data: b"\"x\"" };
        assert_eq!(parse_reply(text), expected);
    }

    #[test]
    fn another_topic_is_never_taken_for_ours() {
        let message = envelope("load/ab", 1, 64);
        assert_eq!(scan_message(&message, "load/a"), None);
        assert_eq!(scan_message(&message, "load/abc"), None);
        assert_eq!(scan_message(&message, "load/aB"), None);
    }

    #[test]
    fn what_is_no_message_is_named_for_what_it_is() {
        assert_eq!(parse_reply(r#"{"op":"ack","id":1}"#), Reply::Ack(Ack::default()));
        let position = Position { epoch: 0xf3a9_b2c1, offset: 119 };
        assert_eq!(position.to_string(), "f3a9b2c1:119");
        assert_eq!(
            parse_reply(r#"{"op":"ack","id":1,"topic":"t","position":"f3a9b2c1:119","recovered":true}"#),
            Reply::Ack(Ack { position: Some(position), recovered: Some(true) })
        );
        assert_eq!(parse_reply(r#"{"op":"welcome","limits":{}}"#), Reply::Welcome);
        assert!(matches!(parse_reply(r#"{"op":"error","code":400}"#), Reply::Error(_)));
        assert_eq!(
            parse_reply(r#"{"op":"gap","topic":"t","missed":12,"position":"f3a9b2c1:119"}"#),
            Reply::Gap { topic: "t", missed: 12, position }
        );
        for odd in [
            "",
            "{",
            r#"{"op":"gap"}"#,
            r#"{"op":"gap","topic":"t","missed":-1,"position":"00000001:1"}"#,
            r#"{"op":"gap","topic":"t","missed":1}"#,
            r#"{"op":"ack","position":"1:1"}"#,
            r#"{"op":"message","topic":"t"}"#,
            r#"{"op":"message","topic":"t","position":"1:1","data":1}"#,
            r#"{"op":"message","topic":"t","position":"00000001:","data":1}"#,
            r#"{"op":"message","topic":"t","position":"00000001:1x","data":1}"#,
        ] {
            assert_eq!(parse_reply(odd), Reply::Unexpected(odd));
        }
    }

    #[test]
    fn cut_messages_never_scan() {
        let message = envelope("load/a", 12, 64);
        for cut in 0..message.len() {
            let found = scan_message(&message[..cut], "load/a");
            assert!(found.is_none_or(|(_, data)| read_payload(data, 64).is_none()), "{cut}");
        }
    }
}
