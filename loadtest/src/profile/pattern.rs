//! Texts with holes: what a profile writes down once, is filled in for each command and recognised in each message.
//! `Profile` parses them; `Talk` fills them in and matches them.
//! Invariants: a text that was filled in is recognised by the same text, with the same contents of its holes; what matches
//! does not depend on where the bytes were cut on their way. Refuses, when it is parsed, what could not be told apart later.

use memchr::memmem;

/// Most digits of a `{bytes}` that is recognised.
const DIGITS_MAX: usize = 9;

/// What a hole stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    /// A topic's name.
    Topic,
    /// The number of a subscription on its connection: 1, 2, 3 …
    Id,
    /// The length of the payload that follows, in decimal digits.
    Bytes,
    /// A payload, byte for byte.
    Payload,
    /// Whatever there is.
    Any,
    /// Tells this run from others; in topics.
    Run,
    /// The number of a topic; in topics.
    Number,
}

impl Hole {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "topic" => Self::Topic,
            "id" => Self::Id,
            "bytes" => Self::Bytes,
            "payload" => Self::Payload,
            "any" => Self::Any,
            "run" => Self::Run,
            "number" => Self::Number,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Topic => "{topic}",
            Self::Id => "{id}",
            Self::Bytes => "{bytes}",
            Self::Payload => "{payload}",
            Self::Any => "{any}",
            Self::Run => "{run}",
            Self::Number => "{number}",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Hole(Hole),
}

/// Literal bytes and holes, in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Vec<Part>);

/// What holes are filled with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filling<'a> {
    /// `{topic}`.
    pub(crate) topic: &'a str,
    /// `{id}` or `{number}`.
    pub(crate) number: usize,
    /// `{payload}` and, by its length, `{bytes}`.
    pub(crate) payload: &'a [u8],
    /// `{run}`.
    pub(crate) run: u32,
}

impl Text {
    /// Reads `text`, whose holes have to be among `allowed`.
    ///
    /// # Errors
    /// The reason why it is none.
    pub(crate) fn parse(text: &str, allowed: &[Hole]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            // A brace that encloses no name is JSON, or NATS's `{}`.
            let name = from[1..].split_once('}').map(|(name, _)| name);
            let Some(name) = name.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase())) else {
                literal.push('{');
                rest = &from[1..];
                continue;
            };
            let hole = Hole::named(name).filter(|hole| allowed.contains(hole)).ok_or_else(|| {
                let known: Vec<&str> = allowed.iter().map(|hole| hole.name()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                format!("{{{name}}} is no hole that it can have ({known})")
            })?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal).into_bytes()));
            }
            parts.push(Part::Hole(hole));
            rest = &from[name.len() + 2..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into_bytes()));
        }
        Ok(Self(parts))
    }

    /// Whether it has this hole.
    pub(crate) fn has(&self, hole: Hole) -> bool {
        self.0.contains(&Part::Hole(hole))
    }

    /// Appends it, filled in.
    pub(crate) fn fill(&self, out: &mut Vec<u8>, filling: Filling<'_>) {
        for part in &self.0 {
            match part {
                Part::Literal(literal) => out.extend_from_slice(literal),
                Part::Hole(Hole::Topic) => out.extend_from_slice(filling.topic.as_bytes()),
                Part::Hole(Hole::Id | Hole::Number) => out.extend_from_slice(filling.number.to_string().as_bytes()),
                Part::Hole(Hole::Bytes) => out.extend_from_slice(filling.payload.len().to_string().as_bytes()),
                Part::Hole(Hole::Payload) => out.extend_from_slice(filling.payload),
                Part::Hole(Hole::Run) => out.extend_from_slice(format!("{:08x}", filling.run).as_bytes()),
                // Only what is recognised may have it.
                Part::Hole(Hole::Any) => {}
            }
        }
    }
}

/// A text that is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: Text,
    /// It is looked for in bytes that go on, not in whole units.
    stream: bool,
}

/// What a pattern found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caught<'a> {
    /// Bytes that the text took.
    pub(crate) bytes: usize,
    /// What stood for `{topic}`.
    pub(crate) topic: Option<&'a [u8]>,
    /// What stood for `{payload}`.
    pub(crate) payload: Option<&'a [u8]>,
}

/// Whether bytes are what a pattern says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// They are not.
    No,
    /// More of them will tell.
    Partial,
    /// They are.
    Yes(Caught<'a>),
}

impl Pattern {
    /// Reads `text`, to be recognised in whole units, or in a `stream` that nothing but such patterns divides.
    ///
    /// # Errors
    /// The reason why it cannot be recognised.
    pub(crate) fn parse(text: &str, allowed: &[Hole], stream: bool) -> Result<Self, String> {
        let text = Text::parse(text, allowed)?;
        if text.0.is_empty() {
            return Err("it is empty: everything would match".into());
        }
        for (n, part) in text.0.iter().enumerate() {
            let Part::Hole(hole) = part else { continue };
            let closed = matches!(hole, Hole::Bytes) || (*hole == Hole::Payload && counted(&text.0[..n]));
            match text.0.get(n + 1) {
                Some(Part::Hole(next)) if !closed => {
                    return Err(format!("nothing tells where {} ends and {} begins", hole.name(), next.name()));
                }
                Some(Part::Literal(next)) if *hole == Hole::Bytes && next[0].is_ascii_digit() => {
                    return Err("a digit follows {bytes}: nothing tells where it ends".into());
                }
                Some(Part::Hole(Hole::Topic | Hole::Any | Hole::Id | Hole::Payload)) if *hole == Hole::Bytes => {
                    return Err("nothing tells where {bytes} ends".into());
                }
                None if stream && !closed => {
                    return Err(format!(
                        "nothing tells where {} ends: in a stream, text has to follow it",
                        hole.name()
                    ));
                }
                _ => {}
            }
        }
        if stream && !matches!(text.0[0], Part::Literal(_)) {
            return Err("in a stream it has to begin with text, not with a hole".into());
        }
        Ok(Self { text, stream })
    }

    /// Whether it says nothing of what it finds.
    pub(crate) fn is_any(&self) -> bool {
        matches!(self.text.0[..], [Part::Hole(_)])
    }

    /// Whether `input` is it, or in a stream begins with it.
    pub(crate) fn find<'a>(&self, input: &'a [u8]) -> Found<'a> {
        let mut caught = Caught::default();
        let mut length = None;
        let mut at = 0;
        let parts = &self.text.0;
        for (n, part) in parts.iter().enumerate() {
            let rest = &input[at..];
            let taken = match part {
                Part::Literal(literal) if rest.starts_with(literal) => Ok(literal.len()),
                Part::Literal(literal) => Err(literal.starts_with(rest)),
                Part::Hole(Hole::Bytes) => digits(rest, self.stream).map(|(taken, value)| {
                    length = Some(value);
                    taken
                }),
                Part::Hole(Hole::Payload) if length.is_some() => length.filter(|len| *len <= rest.len()).ok_or(true),
                Part::Hole(_) => self.open(rest, &parts[n + 1..]),
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(more) => return if more && self.stream { Found::Partial } else { Found::No },
            };
            match part {
                Part::Hole(Hole::Topic) => caught.topic = Some(&rest[..taken]),
                Part::Hole(Hole::Payload) => caught.payload = Some(&rest[..taken]),
                _ => {}
            }
            at += taken;
        }
        if !self.stream && at != input.len() {
            return Found::No;
        }
        Found::Yes(Caught { bytes: at, ..caught })
    }

    /// How long a hole without a length is: to the text that follows, or to the end. `Err(true)` if more bytes may tell.
    fn open(&self, rest: &[u8], after: &[Part]) -> Result<usize, bool> {
        match after {
            [] => Ok(rest.len()),
            // The last text stands at the end of a unit, even if the hole holds the same bytes.
            [Part::Literal(last)] if !self.stream => {
                rest.len().checked_sub(last.len()).filter(|at| rest[*at..] == last[..]).ok_or(false)
            }
            [Part::Literal(next), ..] => memmem::find(rest, next).ok_or(true),
            // Refused when it was parsed.
            [Part::Hole(_), ..] => Err(false),
        }
    }
}

/// Whether `{bytes}` is among `parts`.
fn counted(parts: &[Part]) -> bool {
    parts.contains(&Part::Hole(Hole::Bytes))
}

/// The number at the start of `rest`, with its length. `Err(true)` if more digits may follow.
fn digits(rest: &[u8], stream: bool) -> Result<(usize, usize), bool> {
    let taken = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if taken > DIGITS_MAX {
        return Err(false);
    }
    if taken == rest.len() && stream {
        return Err(true);
    }
    if taken == 0 {
        return Err(false);
    }
    let value = rest[..taken].iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0'));
    Ok((taken, value))
}

#[cfg(test)]
mod tests;
