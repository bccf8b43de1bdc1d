//! A position: which publication of a topic, in which life of its counter.
//!
//! Written as one string, `f3a9b2c1:121`, that clients keep and hand back but never take apart. There is one way to
//! write a position, and no other is read.

use std::fmt;
use std::str::FromStr;

use super::json_text::{decimal_len, write_decimal, write_hex8};

/// The epoch and the offset of one publication, or of the place before the first one (offset 0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// One life of the topic's counter.
    pub epoch: u32,
    /// Counts the publications of that life 1, 2, 3 … without holes.
    pub offset: u64,
}

impl Position {
    /// How many bytes [`Position::write`] appends.
    #[must_use]
    pub fn text_len(self) -> usize {
        9 + decimal_len(self.offset)
    }

    /// Appends what `Display` shows.
    pub fn write(self, out: &mut Vec<u8>) {
        write_hex8(out, self.epoch);
        out.push(b':');
        write_decimal(out, self.offset);
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{}", self.epoch, self.offset)
    }
}

/// A text is not of the form `f3a9b2c1:121`: 8 lower-case hex digits, a colon, and a decimal below 2^64 without
/// sign or leading zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PositionError;

impl fmt::Display for PositionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position is 8 lower-case hex digits, `:` and a decimal number")
    }
}

impl std::error::Error for PositionError {}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let (epoch, offset) = text.split_once(':').ok_or(PositionError)?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if epoch.len() != 8 || !epoch.bytes().all(lower_hex) {
            return Err(PositionError);
        }
        Ok(Self {
            epoch: u32::from_str_radix(epoch, 16).map_err(|_| PositionError)?,
            offset: decimal(offset.as_bytes()).ok_or(PositionError)?,
        })
    }
}

/// Reads digits, and nothing but digits, without leading zeros.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    match digits {
        [] | [b'0', _, ..] => None,
        _ => digits.iter().try_fold(0u64, |number, &digit| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_position_reads_what_it_writes_and_no_other_form() {
        let position = Position { epoch: 0xf3a9_b2c1, offset: 121 };
        assert_eq!(position.to_string(), "f3a9b2c1:121");
        assert_eq!("f3a9b2c1:121".parse(), Ok(position));
        for offset in [0, 9, 10, u64::MAX] {
            let (mut out, position) = (b"x".to_vec(), Position { offset, ..position });
            position.write(&mut out);
            assert_eq!(out, format!("x{position}").into_bytes());
            assert_eq!(out.len(), 1 + position.text_len());
        }
        for bad in [
            "",
            ":",
            "f3a9b2c1",
            "f3a9b2c1:",
            ":121",
            "f3a9b2c:121",
            "0f3a9b2c1:121",
            "F3A9B2C1:121",
            "+3a9b2c1:121",
            "f3a9b2c1:+1",
            "f3a9b2c1:-1",
            "f3a9b2c1:01",
            "f3a9b2c1: 1",
            "f3a9b2c1:1 ",
            "f3a9b2c1:1:2",
            "f3a9b2c1:18446744073709551616",
            "f3a9b2c\u{e9}:1",
            "f3a9b2c1:1e3",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(PositionError), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_position_survives_its_text(epoch: u32, offset: u64) {
            let position = Position { epoch, offset };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn a_text_that_is_read_is_the_text_that_is_written(text in "[0-9a-f]{7,9}:[0-9]{0,21}") {
            if let Ok(position) = text.parse::<Position>() {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
