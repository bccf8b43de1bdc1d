//! A line of the screen: pieces of text, each in its tone.
//!
//! `page` makes them without knowing of a terminal; [`Line::render`] cuts one to a width and colours it, or not. Invariant: a
//! rendered line has no character that a terminal acts on but our own colours, and at most the width in characters.

/// How a piece looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Names and units: what stays.
    Dim,
    Bold,
    /// Worth a look.
    Warn,
    /// Something is wrong.
    Alarm,
}

impl Tone {
    /// SGR parameters of ECMA-48, 8.3.117, that every terminal knows.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Dim => "2",
            Self::Bold => "1",
            Self::Warn => "33",
            Self::Alarm => "1;31",
        }
    }
}

/// See the module's page.
#[derive(Clone, Debug, Default)]
pub(super) struct Line(Vec<(Tone, String)>);

impl Line {
    pub(super) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().and(tone, text)
    }

    pub(super) fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// With the text at the right end of a field.
    pub(super) fn right(self, tone: Tone, width: usize, text: &str) -> Self {
        self.and(tone, format!("{text:>width$}"))
    }

    /// With blanks up to this width.
    pub(super) fn pad(self, width: usize) -> Self {
        let blanks = width.saturating_sub(self.width());
        self.and(Tone::Plain, " ".repeat(blanks))
    }

    /// One behind the other.
    pub(super) fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.chars().count()).sum()
    }

    pub(super) fn render(&self, width: usize, colour: bool) -> String {
        let mut left = width;
        let mut out = String::new();
        for (tone, text) in &self.0 {
            let text: String = text.chars().filter(|it| !it.is_control()).take(left).collect();
            left -= text.chars().count();
            let code = tone.code();
            if !colour || code.is_empty() || text.trim().is_empty() {
                out.push_str(&text);
            } else {
                out.extend(["\x1b[", code, "m", &text, "\x1b[0m"]);
            }
        }
        out.truncate(out.trim_end_matches(' ').len());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_coloured_and_no_text_becomes_a_command_of_the_terminal() {
        let line = Line::of(Tone::Alarm, "bad\x1b[2J").and(Tone::Plain, " and more").right(Tone::Dim, 5, "x");
        assert_eq!(line.render(80, false), "bad[2J and more    x");
        assert_eq!(line.render(10, true), "\x1b[1;31mbad[2J\x1b[0m and");
        assert_eq!(line.render(0, true), "");
    }
}
