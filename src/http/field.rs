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
    /// The field of this valid name in any case, if it is asked for.
    pub(super) fn of(name: &str) -> Option<Self> {
        let name = name.as_bytes();
        let first = name.first().map_or(0, |first| first | 0x20); // in lower case, if it is a letter
        let field = match (name.len(), first) {
            (4, _) if is(name, b"host") => Self::Host,
            (6, b'o') if is(name, b"origin") => Self::Origin,
            (6, _) if is(name, b"expect") => Self::Expect,
            (7, _) if is(name, b"upgrade") => Self::Upgrade,
            (10, _) if is(name, b"connection") => Self::Connection,
            (12, _) if is(name, b"content-type") => Self::ContentType,
            (13, b'l') if is(name, b"last-event-id") => Self::LastEventId,
            (13, _) if is(name, b"authorization") => Self::Authorization,
            (14, _) if is(name, b"content-length") => Self::ContentLength,
            (15, _) if is(name, b"idempotency-key") => Self::IdempotencyKey,
            (16, _) if is(name, b"content-encoding") => Self::ContentEncoding,
            (17, _) if is(name, b"transfer-encoding") => Self::TransferEncoding,
            (22, _) if is(name, b"sec-websocket-protocol") => Self::SecWebSocketProtocol,
            _ => return None,
        };
        Some(field)
    }

    fn bit(self) -> u16 {
        1 << self as u8
    }
}

/// Whether a valid name is `spelled`, which is lower-case letters and hyphens, in any case. One bit tells a letter's cases
/// apart, and what differs from a hyphen in it is no character of a name (RFC 9110 5.6.2). All at once: no branch per byte.
fn is<const N: usize>(name: &[u8], spelled: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    (0..N).fold(0, |differs, at| differs | ((name[at] | 0x20) ^ spelled[at])) == 0
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
