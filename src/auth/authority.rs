//! `host[:port]` of RFC 3986 3.2, as in a Host header or an origin.
//!
//! `http` checks Host headers with it and `origin` compares with it. It refuses what RFC 9110 4.2 calls invalid in an
//! http URI: an empty host, user information; and future IP literals, which nobody uses.

use core::net::Ipv6Addr;

/// A valid `host[:port]`, still in the text that it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Not empty. An IPv6 address keeps its brackets. Compare without regard to ASCII case.
    pub host: &'a str,
    /// `None` if absent or empty, which mean the scheme's default.
    pub port: Option<u16>,
}

/// Whether it is a name or an IPv4 address without percent-encoding, and a port or none: what nearly all
/// are, and all of ASCII.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let (host, port) = match text.iter().position(|&byte| !PLAIN[usize::from(byte)]) {
        Some(colon) if text[colon] == b':' => (&text[..colon], &text[colon + 1..]),
        Some(_) => return false,
        None => (text, &[][..]),
    };
    !host.is_empty()
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
        && (port.len() < 5 || port < &b"65536"[..])
}

impl<'a> Authority<'a> {
    /// `None` if `text` is no `host[:port]`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = match text.starts_with('[') {
            true => text.split_at(text.rfind(']')? + 1),
            false => text.split_at(memchr::memchr(b':', text.as_bytes()).unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return None,
            Some("") => None,
            // `u16::from_str` alone would take a sign.
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) => return None,
        };
        let valid = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
            None => is_registered_name(host),
        };
        valid.then_some(Self { host, port })
    }
}

/// RFC 3986 2.2 and 2.3: `unreserved` and `sub-delims`, by the byte's value. Every request's Host is held against it.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b'$')
            || matches!(byte, b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        byte += 1;
    }
    plain
};

/// RFC 3986 3.2.2 `reg-name`, which an IPv4 address is too, but not empty.
fn is_registered_name(host: &str) -> bool {
    let mut bytes = host.bytes();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => {
                [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit()))
            }
            _ => PLAIN[usize::from(byte)],
        };
        if !valid {
            return false;
        }
    }
    !host.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(&str, Option<u16>)> {
        Authority::parse(text).map(|authority| (authority.host, authority.port))
    }

    #[test]
    fn names_addresses_and_ports_are_split() {
        assert_eq!(parsed("a.example"), Some(("a.example", None)));
        assert_eq!(parsed("a.example:8080"), Some(("a.example", Some(8080))));
        assert_eq!(parsed("a.example:"), Some(("a.example", None)));
        assert_eq!(parsed("127.0.0.1:80"), Some(("127.0.0.1", Some(80))));
        assert_eq!(parsed("[::1]"), Some(("[::1]", None)));
        assert_eq!(parsed("[2001:db8::7]:65535"), Some(("[2001:db8::7]", Some(65535))));
        assert_eq!(parsed("xn--bcher-kva.example"), Some(("xn--bcher-kva.example", None)));
        assert_eq!(parsed("a%20b_c"), Some(("a%20b_c", None)));
    }

    proptest::proptest! {
        #[test]
        fn what_is_plain_is_an_authority(text in "[a-c0-9.:%_@ \\[\\]]{0,12}|[a-z.]{1,9}:[0-9]{0,6}") {
            let parsed = parsed(&text);
            proptest::prop_assert!(!is_plain(text.as_bytes()) || parsed.is_some(), "{}", text);
        }
    }

    #[test]
    fn most_hosts_are_plain() {
        for text in ["a", "a.example:80", "127.0.0.1:65535", "a:", "x_y:00080"] {
            assert!(is_plain(text.as_bytes()), "{text}");
        }
        for text in ["", ":80", "a:65536", "a:99999", "a:000080", "[::1]", "a%20", "a:b", "a:8:0", "\u{e9}"] {
            assert!(!is_plain(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "",
            ":80",
            "a:b",
            "a:65536",
            "a:+80",
            "a:-1",
            "a:80:80",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[::1]80",
            "[::1]x:80",
            "x[::1]",
            "a b",
            "a/b",
            "u@a",
            "a,b c",
            "a\u{e9}",
            "a%2",
            "a%zz",
            "[v1.x]",
            "[::1%25eth0]",
            "a\t",
            "a#",
            "a?b",
            "a\\b",
            "[::1]]",
            "a]",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
