//! What a client would rather have: the Accept header (RFC 9110 12.5.1), as far as anything here has two forms.
//!
//! `shard` asks for one media type by its name. A type that only a wildcard stands for is not asked for; nobody is refused
//! for what he does not accept (12.4.1).

use super::{Head, tokens};

/// How much the client wants exactly this media type, in thousandths; none if it does not name it. Parameters other than
/// `q` make no difference.
#[must_use]
pub fn weight(head: &Head<'_>, essence: &str) -> Option<u16> {
    let weight = |range: &[u8]| {
        let mut parts = std::str::from_utf8(range).ok()?.split(';').map(str::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(essence) {
            return None;
        }
        let q = parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q")));
        Some(q.map_or(1000, |(_, value)| thousandths(value)))
    };
    tokens(head, "accept").filter_map(weight).max()
}

/// RFC 9110 12.4.2: `0.5`, at most three digits behind the point. What is none weighs nothing.
fn thousandths(text: &str) -> u16 {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, rest.len()) {
        ("1", 0..=3) if rest.bytes().all(|byte| byte == b'0') => 1000,
        ("0", 0..=3) if digits(rest) => format!("{rest:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn weigh(accept: &str) -> Option<u16> {
        let text = format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{accept}\r\n");
        let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
        weight(&head, "application/openmetrics-text")
    }

    #[test]
    fn s9110_12_5_1_a_media_type_is_wanted_as_much_as_it_says() {
        for (accept, expected) in [
            ("", None),
            ("Accept: */*\r\n", None),
            ("Accept: application/*\r\n", None),
            ("Accept: application/openmetrics-text\r\n", Some(1000)),
            ("Accept: Application/OpenMetrics-Text ; version=1.0.0; Q=0.5, text/plain\r\n", Some(500)),
            ("Accept: text/plain\r\nAccept: application/openmetrics-text;q=0.25\r\n", Some(250)),
            ("Accept: application/openmetrics-text;q=0.1,application/openmetrics-text;q=1.000\r\n", Some(1000)),
            ("Accept: application/openmetrics-text;q=0\r\n", Some(0)),
            ("Accept: application/openmetrics-text;q=7\r\n", Some(0)),
            ("Accept: application/openmetrics-text;q=0.1234\r\n", Some(0)),
            ("Accept: application/openmetrics-text;q=\r\n", Some(0)),
            ("Accept: ,;=,\r\n", None),
        ] {
            assert_eq!(weigh(accept), expected, "{accept}");
        }
    }
}
