//! A name as a record keeps it: in the record itself while it is short, with something behind it if need be.
//!
//! Of names up to 23 bytes, which most are, a record then costs no memory of its own on the heap, and whoever looks a name
//! up waits for one miss of the cache instead of two. Invariant: no name has a control character
//! ([`Topic`](super::Topic) and [`Filter`](super::Filter) see to that), so one at its end says that it ends before.

/// The longest name that lies in the record.
const INLINE: usize = 23;

/// Control characters are below this.
const PLAIN: u8 = 0x20;

/// See the module's page.
#[derive(Debug)]
pub struct Text(Repr);

#[derive(Debug)]
enum Repr {
    /// The name. Is it shorter, the last byte is the number of those that are not its own.
    Inline([u8; INLINE]),
    /// The name; behind its so many bytes what is kept with it.
    Boxed(u16, Box<str>),
}

const _: () = assert!(size_of::<Text>() == 24 && size_of::<Option<Text>>() == 24);

impl Text {
    /// Keeps a name.
    ///
    /// # Panics
    /// If it is longer than a topic or a filter.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let Some(free) = INLINE.checked_sub(name.len()) else { return Self::boxed(name, name.into()) };
        let mut bytes = [0; INLINE];
        bytes[INLINE - 1] = u8::try_from(free).expect("at most 23"); // where none is free, the name's own is put there
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Self(Repr::Inline(bytes))
    }

    fn boxed(name: &str, text: Box<str>) -> Self {
        Self(Repr::Boxed(u16::try_from(name.len()).expect("at most TOPIC_BYTES_MAX, and `$presence/`"), text))
    }

    /// The name's bytes.
    #[must_use]
    pub fn name_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(bytes) => match bytes[INLINE - 1] {
                free @ ..PLAIN => &bytes[..INLINE.saturating_sub(free.into())],
                _ => bytes,
            },
            Repr::Boxed(len, text) => &text.as_bytes()[..usize::from(*len)],
        }
    }

    /// The name.
    ///
    /// # Panics
    /// Never: it was made of text.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Repr::Inline(_) => std::str::from_utf8(self.name_bytes()).expect("a name is text"),
            Repr::Boxed(len, text) => &text[..usize::from(*len)],
        }
    }

    /// What is kept with the name; made of it by `make`, which makes text, if there is nothing yet.
    ///
    /// # Panics
    /// If `make` makes something else.
    pub fn kept_with_name(&mut self, make: impl FnOnce(&str) -> Box<[u8]>) -> &[u8] {
        if !matches!(&self.0, Repr::Boxed(len, text) if text.len() > usize::from(*len)) {
            let name = self.name();
            let kept = make(name);
            let kept = std::str::from_utf8(&kept).expect("what is kept is text");
            *self = Self::boxed(name, [name, kept].concat().into());
        }
        match &self.0 {
            Repr::Inline(_) => &[],
            Repr::Boxed(len, text) => &text.as_bytes()[usize::from(*len)..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_was_at_every_length_with_and_without_something_behind_it() {
        for len in 1..=300 {
            let name: String = (0..len).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
            let mut text = Text::new(&name);
            assert_eq!((text.name(), text.name_bytes()), (&name[..], name.as_bytes()));
            assert_eq!(matches!(text.0, Repr::Inline(_)), len <= INLINE);
            let mut made = 0;
            for _ in 0..2 {
                let kept = text.kept_with_name(|name| {
                    made += 1;
                    name.to_uppercase().into_bytes().into_boxed_slice()
                });
                assert_eq!(kept, name.to_uppercase().as_bytes());
                assert_eq!(text.name(), name);
            }
            assert_eq!(made, 1);
        }
    }

    #[test]
    fn a_name_of_several_bytes_a_character_is_kept_whole() {
        for name in ["ключ/значение", "日本/東京/新宿区", "é"] {
            assert_eq!(Text::new(name).name(), name);
        }
    }
}
