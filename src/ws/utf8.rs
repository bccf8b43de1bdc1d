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
        if is_ascii {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(NotUtf8),
            Err(error) => {
                let tail = &piece[error.valid_up_to()..];
                self.cut[..tail.len()].copy_from_slice(tail);
                self.cut_len = u8::try_from(tail.len()).map_err(|_| NotUtf8)?;
                Ok(())
            }
        }
    }

    /// The text ends here.
    pub(super) fn finish(&mut self) -> Result<(), NotUtf8> {
        if self.cut_len == 0 {
            Ok(())
        } else {
            Err(NotUtf8)
        }
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
