//! UTF-8 in pieces: refuses at the first byte that no continuation could make valid (RFC 6455 8.1, RFC 3629).
//!
//! Used by `message` for text whose bytes arrive in several reads or fragments. It keeps at most the three bytes of a
//! character that a piece cut off; everything else goes to simdutf8 in bulk.

/// The bytes so far, and any that follow, are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotUtf8;

/// The state between two pieces of one text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Validator {
    /// `cut[..cut_len]` begin a character that the last piece did not end.
    cut: [u8; 3],
    cut_len: u8,
}

impl Validator {
    /// Takes the next piece. `is_ascii` says that it is known to be (false: not known).
    pub(super) fn feed(&mut self, mut piece: &[u8], is_ascii: bool) -> Result<(), NotUtf8> {
        if self.cut_len > 0 {
            piece = self.feed_cut(piece)?;
        }
        if is_ascii || piece.is_empty() {
            return Ok(()); // of an empty one the cut character may have taken all
        }
        // Where the last character is cut off, and what is before it is judged at once: telling where an error is costs more.
        let (whole, tail) = piece.split_at(piece.len() - cut_off(piece));
        simdutf8::basic::from_utf8(whole).map_err(|_| NotUtf8)?;
        if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_some()) {
            return Err(NotUtf8); // no byte that follows could end it
        }
        self.cut[..tail.len()].copy_from_slice(tail);
        self.cut_len = tail.len() as u8;
        Ok(())
    }

    /// The text ends here.
    pub(super) fn finish(&mut self) -> Result<(), NotUtf8> {
        if self.cut_len == 0 { Ok(()) } else { Err(NotUtf8) }
    }

    /// Gives the cut character its missing bytes and answers the rest of the piece.
    fn feed_cut<'a>(&mut self, piece: &'a [u8]) -> Result<&'a [u8], NotUtf8> {
        let mut character = [0; 4];
        let mut len = usize::from(self.cut_len);
        character[..len].copy_from_slice(&self.cut[..len]);
        for (taken, &byte) in piece.iter().enumerate() {
            // No character has more than four bytes, so the fourth decides and `len` stays below 4 here.
            character[len] = byte;
            len += 1;
            match std::str::from_utf8(&character[..len]) {
                Ok(_) => {
                    self.cut_len = 0;
                    return Ok(&piece[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(NotUtf8),
                Err(_) => {
                    self.cut[len - 1] = byte;
                    self.cut_len += 1;
                }
            }
        }
        Ok(&[])
    }
}

/// How many bytes at the end of `piece` begin a character that has more: 0 to 3. Whether they can be one is not asked.
fn cut_off(piece: &[u8]) -> usize {
    for (index, &byte) in piece.iter().rev().take(3).enumerate() {
        let len = match byte {
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            0x80..0xc0 => continue, // within one: where does it begin?
            _ => 1,
        };
        return if len > index + 1 { index + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The number of bytes after which no continuation is UTF-8, by the standard library.
    fn fails_after(bytes: &[u8]) -> Option<usize> {
        (1..=bytes.len())
            .find(|&len| std::str::from_utf8(&bytes[..len]).is_err_and(|error| error.error_len().is_some()))
    }

    /// The verdict on pieces: the first one refused, or whether the end is.
    fn judge<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Option<usize>, bool) {
        let mut validator = Validator::default();
        for (index, piece) in pieces.enumerate() {
            if validator.feed(piece, piece.is_ascii()).is_err() {
                return (Some(index), false);
            }
        }
        (None, validator.finish().is_ok())
    }

    fn check_every_split(bytes: &[u8]) {
        let bad = fails_after(bytes);
        let good = std::str::from_utf8(bytes).is_ok();
        let by_byte = judge(bytes.chunks(1));
        assert_eq!(by_byte, (bad.map(|len| len - 1), good), "{bytes:02x?}");
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let cuts = [0, first, second, bytes.len()];
                let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
                let refused = bad.map(|len| cuts[1..].iter().filter(|&&end| end < len).count());
                assert_eq!(judge(pieces), (refused, good), "{bytes:02x?} cut at {cuts:?}");
            }
        }
    }

    #[test]
    fn s3629_the_borders_of_every_range_are_judged_like_std_at_every_split() {
        for bytes in [
            &b"plain ASCII"[..],
            "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            "\u{d7ff}\u{e000}\u{fffd}".as_bytes(),
            "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}".as_bytes(),
            b"\xf4\x90\x80\x80",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xc0\x80",
            b"\xc1\xbf",
            b"\xe0\x80\x80",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf5\x80\x80\x80",
            b"\xff",
            b"\x80",
            b"ab\xe2\x82",
            b"ab\xf0\x9f\x98",
            b"\xe2\x82\xacab\xe2ab",
            b"\xf0\x9f\x98\x80\xf0\x9f\xc3\xa9",
        ] {
            check_every_split(bytes);
        }
    }

    #[test]
    fn every_pair_and_many_triples_of_bytes_are_judged_like_std() {
        for first in 0..=255 {
            for second in 0..=255 {
                check_every_split(&[first, second]);
            }
        }
        let heads = [0x7f, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5];
        let tails = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
        for a in heads {
            for b in tails {
                for c in tails {
                    check_every_split(&[a, b, c, 0x80]);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_text_with_any_byte_broken_is_judged_like_std(
            text in "[a-z]{0,20}\\PC{0,8}[a-z]{0,20}\\PC{0,4}",
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            sizes in vec(1..9usize, 1..9),
        ) {
            let mut bytes = text.into_bytes();
            if let Some((index, byte)) = broken && !bytes.is_empty() {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for &size in sizes.iter().cycle() {
                let (piece, later) = rest.split_at(size.min(rest.len()));
                pieces.push(piece);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            let (refused, good) = judge(pieces.iter().copied());
            prop_assert_eq!(good, std::str::from_utf8(&bytes).is_ok());
            let ends = pieces.iter().scan(0, |end, piece| { *end += piece.len(); Some(*end) });
            let expected = fails_after(&bytes).map(|len| ends.filter(|&end| end < len).count());
            prop_assert_eq!(refused, expected);
        }
    }
}
