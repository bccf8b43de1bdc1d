//! Which key an identity came by, so that it ends with that key: what is kept of a token is not the token.
//!
//! `keys` and `api_key` make one for each key, `Credentials::renew` asks after a reload whether it is still there. Equal
//! for the same key in another file; different once its algorithm, its `kid` or a bit of it is another. Not shown.

use std::fmt;

use aws_lc_rs::digest;

/// Stands for one key. The default stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyMark([u8; 16]);

impl KeyMark {
    /// Of a key that consists of these parts.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = digest::Context::new(&digest::SHA256);
        for part in parts {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut mark = Self::default();
        let len = mark.0.len();
        mark.0.copy_from_slice(&hash.finish().as_ref()[..len]);
        mark
    }
}

/// Of a short secret even a hash would tell something.
impl fmt::Debug for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMark")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_and_nothing_is_shown() {
        let marks =
            [KeyMark::of(&[b"ab", b"c"]), KeyMark::of(&[b"a", b"bc"]), KeyMark::of(&[b"abc"]), KeyMark::default()];
        for (at, mark) in marks.iter().enumerate() {
            assert_eq!(marks.iter().position(|other| other == mark), Some(at));
            assert_eq!(format!("{mark:?}"), "KeyMark");
        }
        assert_eq!(KeyMark::of(&[b"ab", b"c"]), marks[0]);
    }
}
