//! The headers that the broker itself asks for: where the first of each stands is noted while a head's lines are filed.
//!
//! `head` files, everybody else asks by [`Field`]: a look at a bit where a head lacks it, at one line where it does not.

/// A header that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Field {
    /// RFC 9110 11.6.2.
    Authorization,
    /// RFC 9110 7.6.1.
    Connection,
    /// RFC 9110 8.4.
    ContentEncoding,
    /// RFC 9110 8.6.
    ContentLength,
    /// RFC 9110 8.3.
    ContentType,
    /// RFC 9110 10.1.1.
    Expect,
    /// RFC 9110 7.2.
    Host,
    /// Names a publication, so that it is made once.
    IdempotencyKey,
    /// WHATWG HTML 9.2.4: where a stream of events goes on.
    LastEventId,
    /// RFC 6454 7.
    Origin,
    /// RFC 6455 11.3.4.
    SecWebSocketProtocol,
    /// RFC 9112 6.1.
    TransferEncoding,
    /// RFC 9110 7.8.
    Upgrade,
}

/// How many there are.
const COUNT: usize = Field::Upgrade as usize + 1;

impl Field {
    /// The field of this name in any case, if it is asked for.
    pub(super) fn of(name: &str) -> Option<Self> {
        let first = name.bytes().next().unwrap_or(0) | 0x20; // in lower case, if it is a letter
        let (field, spelled) = match (name.len(), first) {
            (4, _) => (Self::Host, "host"),
            (6, b'o') => (Self::Origin, "origin"),
            (6, _) => (Self::Expect, "expect"),
            (7, _) => (Self::Upgrade, "upgrade"),
            (10, _) => (Self::Connection, "connection"),
            (12, _) => (Self::ContentType, "content-type"),
            (13, b'l') => (Self::LastEventId, "last-event-id"),
            (13, _) => (Self::Authorization, "authorization"),
            (14, _) => (Self::ContentLength, "content-length"),
            (15, _) => (Self::IdempotencyKey, "idempotency-key"),
            (16, _) => (Self::ContentEncoding, "content-encoding"),
            (17, _) => (Self::TransferEncoding, "transfer-encoding"),
            (22, _) => (Self::SecWebSocketProtocol, "sec-websocket-protocol"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelled).then_some(field)
    }

    fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// Which fields a head has, and in which lines they stand first.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields {
    seen: u16,
    doubled: u16,
    first: [u8; COUNT],
}

impl Fields {
    /// Notes that the field stands in this line, one of `limits::HEADERS_MAX`.
    pub(super) fn note(&mut self, field: Field, line: u8) {
        if self.seen & field.bit() == 0 {
            self.seen |= field.bit();
            self.first[field as usize] = line;
        } else {
            self.doubled |= field.bit();
        }
    }

    /// The first line of the field.
    pub(super) fn line(&self, field: Field) -> Option<u8> {
        (self.seen & field.bit() != 0).then(|| self.first[field as usize])
    }

    /// Whether several lines have it.
    pub(super) fn is_doubled(&self, field: Field) -> bool {
        self.doubled & field.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, Field); COUNT] = [
        ("Authorization", Field::Authorization),
        ("Connection", Field::Connection),
        ("Content-Encoding", Field::ContentEncoding),
        ("Content-Length", Field::ContentLength),
        ("Content-Type", Field::ContentType),
        ("Expect", Field::Expect),
        ("Host", Field::Host),
        ("Idempotency-Key", Field::IdempotencyKey),
        ("Last-Event-ID", Field::LastEventId),
        ("Origin", Field::Origin),
        ("Sec-WebSocket-Protocol", Field::SecWebSocketProtocol),
        ("Transfer-Encoding", Field::TransferEncoding),
        ("Upgrade", Field::Upgrade),
    ];

    #[test]
    fn rfc9110_5_1_names_are_known_in_any_case_and_nothing_else_is() {
        for (number, (name, field)) in NAMES.into_iter().enumerate() {
            assert_eq!(field as usize, number);
            assert_eq!(Field::of(name), Some(field));
            assert_eq!(Field::of(&name.to_ascii_lowercase()), Some(field));
            assert_eq!(Field::of(&name.to_ascii_uppercase()), Some(field));
            assert_eq!(Field::of(&name[1..]), None);
            assert_eq!(Field::of(&format!("{}x", &name[..name.len() - 1])), None, "{name}");
            assert_eq!(Field::of(&format!("\u{7f}{}", &name[1..])), None, "{name}");
        }
        assert_eq!(Field::of(""), None);
    }

    #[test]
    fn the_first_line_counts_and_a_second_one_is_told() {
        let mut fields = Fields::default();
        fields.note(Field::Host, 3);
        fields.note(Field::Upgrade, 63);
        fields.note(Field::Host, 4);
        assert_eq!((fields.line(Field::Host), fields.is_doubled(Field::Host)), (Some(3), true));
        assert_eq!((fields.line(Field::Upgrade), fields.is_doubled(Field::Upgrade)), (Some(63), false));
        assert_eq!((fields.line(Field::Expect), fields.is_doubled(Field::Expect)), (None, false));
    }
}
