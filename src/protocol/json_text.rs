//! Writes strings and numbers of JSON into a byte buffer, without allocating anything but its growth.
//!
//! `reply`, `publication` and `Id` build their objects from these. Only what RFC 8259 section 7 requires is escaped:
//! the quotation mark, the backslash and U+0000..=U+001F; everything else goes out as its UTF-8.

use std::fmt::{self, Write as _};

/// Appends `text` as a JSON string with its quotation marks.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends what `value` displays as a JSON string with its quotation marks.
pub(super) fn write_display(out: &mut Vec<u8>, value: &dyn fmt::Display) {
    out.push(b'"');
    let outcome = write!(Escaped(out), "{value}");
    debug_assert!(outcome.is_ok(), "a Display failed without a writer's cause");
    out.push(b'"');
}

/// Appends a number in decimal.
pub(super) fn write_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; DECIMAL_BYTES_MAX];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = DIGITS[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// How many bytes [`write_decimal`] appends.
pub(super) fn decimal_len(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends a number as 8 hex digits.
pub(super) fn write_hex8(out: &mut Vec<u8>, number: u32) {
    let digits: [u8; 8] = std::array::from_fn(|nibble| DIGITS[(number >> (28 - 4 * nibble)) as usize & 0xf]);
    out.extend_from_slice(&digits);
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut clean = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[clean..]);
}

struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text);
        Ok(())
    }
}

/// 2^64 - 1 has 20 digits.
const DECIMAL_BYTES_MAX: usize = 20;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(&mut out, text);
        out
    }

    #[test]
    fn only_what_rfc_8259_requires_is_escaped() {
        let text = "a\"b\\c\n\r\t\u{0}\u{1f}\u{7f}/é\u{2028}😀";
        let json = "\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001f\u{7f}/é\u{2028}😀\"";
        assert_eq!(string(text), json.as_bytes());
    }

    proptest! {
        #[test]
        fn a_json_parser_reads_every_string_back(text: String) {
            prop_assert_eq!(serde_json::from_slice::<String>(&string(&text)).unwrap(), text.as_str());
            let mut displayed = Vec::new();
            write_display(&mut displayed, &text);
            prop_assert_eq!(displayed, string(&text));
        }

        #[test]
        fn numbers_are_written_as_the_standard_library_does(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            prop_assert_eq!(out.len(), decimal_len(number));
            prop_assert_eq!(out, number.to_string().into_bytes());
        }

        #[test]
        fn hex_is_written_as_the_standard_library_does(number: u32) {
            let mut out = Vec::new();
            write_hex8(&mut out, number);
            prop_assert_eq!(out, format!("{number:08x}").into_bytes());
        }
    }
}
