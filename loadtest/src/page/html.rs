//! Writes HTML and SVG: elements that close in the order they opened, and text that stays text.
//! The parts of the page write with it.
//! Invariants: what is not a literal of this program is escaped, in text and in attributes; numbers are finite; `finish` has
//! every element closed. There is no way to write a script.

use std::fmt::Write;

/// Elements that have no end.
const VOID: [&str; 2] = ["meta", "br"];

/// The value of an attribute.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// Of this program.
    Word(&'static str),
    /// Of anybody.
    Text(&'a str),
    /// A length or a coordinate.
    Number(f64),
}

impl From<&'static str> for Value<'_> {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

impl From<f64> for Value<'_> {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

/// The attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'static str, Value<'a>)];

/// A document that grows.
#[derive(Default)]
pub(super) struct Html {
    out: String,
    open: Vec<&'static str>,
}

impl Html {
    /// A document of its own kind, with this first line.
    pub(super) fn beginning(first: &'static str) -> Self {
        Self { out: first.to_owned(), open: Vec::new() }
    }

    /// Begins an element.
    pub(super) fn open(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.tag(name, attributes);
        self.out.push('>');
        if !VOID.contains(&name) {
            self.open.push(name);
        }
        self
    }

    /// Ends the element that was opened last.
    pub(super) fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.out.extend(["</", name, ">"]);
            // Between blocks a line break changes nothing and lets a person read the source.
            if matches!(
                name,
                "p" | "h1" | "h2" | "h3" | "tr" | "table" | "section" | "svg" | "figure" | "head" | "style"
            ) {
                self.out.push('\n');
            }
        }
        self
    }

    /// An element of SVG that holds nothing.
    pub(super) fn shape(&mut self, name: &'static str, attributes: Attributes<'_>) -> &mut Self {
        self.tag(name, attributes);
        self.out.push_str("/>");
        self
    }

    /// An element that holds text.
    pub(super) fn element(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) -> &mut Self {
        self.open(name, attributes).text(text).close()
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.out, text);
        self
    }

    /// The style sheet of this program, which no text of anybody can get into.
    pub(super) fn style(&mut self, sheet: &'static str) -> &mut Self {
        self.open("style", &[]);
        self.out.push_str(sheet);
        self.close()
    }

    fn tag(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.out.extend(["<", name]);
        for (key, value) in attributes {
            self.out.extend([" ", key, "=\""]);
            match value {
                Value::Word(text) | Value::Text(text) => escape(&mut self.out, text),
                Value::Number(number) => number_into(&mut self.out, *number),
            }
            self.out.push('"');
        }
    }

    /// The document, with all elements closed.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }
}

/// Two decimals, without those that say nothing; what is not finite is 0.
pub(super) fn number_into(out: &mut String, number: f64) {
    let number = if number.is_finite() { number } else { 0.0 };
    let from = out.len();
    // Writing to memory cannot fail.
    let _ = write!(out, "{number:.2}");
    while out.ends_with('0') {
        out.pop();
    }
    if out.ends_with('.') {
        out.pop();
    }
    if &out[from..] == "-0" {
        out.replace_range(from.., "0");
    }
}

fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            // HTML has no such characters; direction marks would let a name rearrange its neighbours.
            character if character.is_control() || is_direction(character) => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
}

fn is_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
