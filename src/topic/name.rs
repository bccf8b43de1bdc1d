//! Topics and filters: text that is valid by existing.
//!
//! `protocol` parses what strangers send; whoever keeps a name takes it back with `known`. Both types only borrow.
//! Levels are compared byte for byte: no case folding, no Unicode normalisation, no trimming.

use std::fmt;

use memchr::memchr2;

use super::presence::checked_part;

#[cfg(test)]
mod tests;

/// The longest topic or filter, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The most levels of a filter that holds a `+`.
///
/// A search visits every node of the matcher whose levels fit the topic so far. Without `+` that is one node per
/// level of the topic, whatever filters exist; with it, each filter can add as many nodes as it has levels although
/// it matches nothing in the end. This bounds what one subscription can add to one search.
pub const PLUS_FILTER_LEVELS_MAX: usize = 16;

/// The concrete name of a topic: 1..=255 bytes of UTF-8, levels separated by `/`, none of them empty, no `+`, `#` or
/// control character.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Topic<'a>(&'a str);

impl<'a> Topic<'a> {
    /// Takes `text` as a topic.
    ///
    /// # Errors
    /// Says what forbids it, and at which byte.
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        check(text, Kind::Topic).map(|_| Self(text))
    }

    /// Takes back text that was parsed before, without looking at it again.
    #[must_use]
    pub fn known(text: &'a str) -> Self {
        debug_assert_eq!(check(checked_part(text), Kind::Topic), Ok(Wildcards(false)), "{text:?}");
        Self(text)
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the topic belongs to the broker: its name starts with `$`.
    #[must_use]
    pub fn is_broker(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a subscription names: a topic, or many by `+` (one whole level) and a last `#` (any number of levels, the
/// parent included).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Filter<'a> {
    text: &'a str,
    wildcard: bool,
}

impl<'a> From<Topic<'a>> for Filter<'a> {
    fn from(topic: Topic<'a>) -> Self {
        Self::known(topic.as_str())
    }
}

impl<'a> Filter<'a> {
    /// Takes `text` as a filter.
    ///
    /// # Errors
    /// Says what forbids it, and at which byte.
    pub fn parse(text: &'a str) -> Result<Self, NameError> {
        check(text, Kind::Filter).map(|Wildcards(wildcard)| Self { text, wildcard })
    }

    /// Takes back text that was parsed before, without validating it again.
    #[must_use]
    pub fn known(text: &'a str) -> Self {
        let wildcard = memchr2(b'+', b'#', text.as_bytes()).is_some();
        debug_assert_eq!(check(checked_part(text), Kind::Filter), Ok(Wildcards(wildcard)), "{text:?}");
        Self { text, wildcard }
    }

    /// The text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.text
    }

    /// Whether it can stand for more than one topic.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.wildcard
    }

    /// Whether it names topics of the broker: its text starts with `$`.
    #[must_use]
    pub fn is_broker(self) -> bool {
        self.text.starts_with('$')
    }

    /// The one topic that a filter without wildcards stands for.
    #[must_use]
    pub fn as_topic(self) -> Option<Topic<'a>> {
        (!self.wildcard).then_some(Topic(self.text))
    }

    /// Whether it stands for `topic`. This is the definition; [`Matcher`](super::Matcher) is held equal to it.
    #[must_use]
    pub fn matches(self, topic: Topic<'_>) -> bool {
        if topic.is_broker() && self.text.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.0.split('/');
        for level in self.text.split('/') {
            if level == "#" {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether it stands for every topic that `other` stands for.
    #[must_use]
    pub fn covers(self, other: Filter<'_>) -> bool {
        if other.is_broker() && self.text.starts_with(['+', '#']) {
            return false;
        }
        // A topic has a first level, so a lone `#` says what `+/#` says.
        let (first, rest) = if other.text == "#" { ("+", Some("#")) } else { (other.text, None) };
        let mut others = first.split('/').chain(rest);
        for level in self.text.split('/') {
            if level == "#" {
                return true;
            }
            match others.next() {
                // The `#` of the other stands for no level at all, too, and a level here is one.
                Some("#") => return false,
                Some(theirs) if level == "+" || level == theirs => {}
                _ => return false,
            }
        }
        others.next().is_none()
    }
}

impl fmt::Display for Filter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Why a text is no topic or no filter. Positions are bytes, counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameError {
    /// No text at all.
    Empty,
    /// Longer than [`TOPIC_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A level without characters: a leading, trailing or doubled `/`.
    EmptyLevel {
        /// Where the level would be.
        at: usize,
    },
    /// A control character: U+0000..=U+001F or U+007F..=U+009F.
    Control {
        /// Its first byte.
        at: usize,
    },
    /// A `+` or `#` in a topic.
    Wildcard {
        /// Its byte.
        at: usize,
    },
    /// A `+` in a filter that is not a whole level.
    MisplacedPlus {
        /// Its byte.
        at: usize,
    },
    /// A `#` in a filter that is not the whole last level.
    MisplacedHash {
        /// Its byte.
        at: usize,
    },
    /// More than [`PLUS_FILTER_LEVELS_MAX`] levels in a filter with a `+`.
    TooManyLevels {
        /// How many it has.
        levels: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => write!(f, "it is empty; a name has 1 to {TOPIC_BYTES_MAX} bytes"),
            Self::TooLong { len } => {
                write!(f, "it has {len} bytes; the limit is {TOPIC_BYTES_MAX}")
            }
            Self::EmptyLevel { at } => {
                write!(f, "the level at byte {at} is empty; each needs 1 character")
            }
            Self::Control { at } => write!(f, "byte {at} begins a control character"),
            Self::Wildcard { at } => write!(f, "byte {at} is a wildcard; `+` and `#` belong in filters only"),
            Self::MisplacedPlus { at } => {
                write!(f, "the `+` at byte {at} has to be a whole level")
            }
            Self::MisplacedHash { at } => {
                write!(f, "the `#` at byte {at} has to be the whole last level")
            }
            Self::TooManyLevels { levels } => {
                write!(f, "it has {levels} levels; the limit for a filter with `+` is {PLUS_FILTER_LEVELS_MAX}")
            }
        }
    }
}

impl std::error::Error for NameError {}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Topic,
    Filter,
}

/// Whether a valid name holds a wildcard.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Wildcards(bool);

fn check(text: &str, kind: Kind) -> Result<Wildcards, NameError> {
    let bytes = text.as_bytes();
    match bytes.len() {
        0 => return Err(NameError::Empty),
        len if len > TOPIC_BYTES_MAX => return Err(NameError::TooLong { len }),
        _ => {}
    }
    if is_plain(bytes) {
        return Ok(Wildcards(false));
    }
    check_each(bytes, kind)
}

/// Whether these are levels of nothing but plain characters: the common case, in a loop that compiles to vectors.
fn is_plain(bytes: &[u8]) -> bool {
    let special = |byte: u8| (byte < 0x20) | (byte == 0x7f) | (byte == 0xc2) | (byte == b'+') | (byte == b'#');
    let [first, after_first @ ..] = bytes else {
        return false;
    };
    let ends_badly = special(*first) | (*first == b'/') | bytes.ends_with(b"/");
    let pairs = bytes.iter().zip(after_first);
    !pairs.fold(ends_badly, |any, (&before, &byte)| any | special(byte) | ((before == b'/') & (byte == b'/')))
}

/// Byte by byte: where the first error is, if anything is wrong at all.
fn check_each(bytes: &[u8], kind: Kind) -> Result<Wildcards, NameError> {
    let (mut level_start, mut levels) = (0, 1);
    let (mut plus, mut hash) = (false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' if at == level_start => return Err(NameError::EmptyLevel { at }),
            b'/' => {
                level_start = at + 1;
                levels += 1;
            }
            b'+' | b'#' => {
                check_wildcard(bytes, at, level_start, kind)?;
                plus |= byte == b'+';
                hash |= byte == b'#';
            }
            0..0x20 | 0x7f => return Err(NameError::Control { at }),
            // U+0080..=U+009F, the C1 controls, are C2 80..=9F in UTF-8.
            0xc2 if bytes.get(at + 1).is_some_and(|&next| next <= 0x9f) => {
                return Err(NameError::Control { at });
            }
            _ => {}
        }
    }
    if level_start == bytes.len() {
        return Err(NameError::EmptyLevel { at: level_start });
    }
    if plus && levels > PLUS_FILTER_LEVELS_MAX {
        return Err(NameError::TooManyLevels { levels });
    }
    Ok(Wildcards(plus || hash))
}

fn check_wildcard(bytes: &[u8], at: usize, level_start: usize, kind: Kind) -> Result<(), NameError> {
    let next = bytes.get(at + 1);
    match bytes[at] {
        _ if kind == Kind::Topic => Err(NameError::Wildcard { at }),
        b'+' if at != level_start || next.is_some_and(|&byte| byte != b'/') => Err(NameError::MisplacedPlus { at }),
        b'#' if at != level_start || next.is_some() => Err(NameError::MisplacedHash { at }),
        _ => Ok(()),
    }
}
