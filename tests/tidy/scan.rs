//! A scanner that knows just enough of Rust: where comments, strings and characters are, and how braces pair.
//! Called by the rules of tidy, for each file once. Both texts keep every line where it was.

/// A source file, split into what the compiler reads and what people read.
pub(crate) struct Source {
    /// Relative to the root of the repository, with `/`.
    pub(crate) path: String,
    /// As it is on disk.
    pub(crate) text: String,
    /// With blanks in place of comments and of what is between quotes.
    pub(crate) code: String,
    /// With blanks in place of all but comments.
    pub(crate) comments: String,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// From its `fn` to its closing brace, both counted.
    pub(crate) lines: usize,
}

/// What a stretch of the text is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (mut code, mut comments) = (String::new(), String::new());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            let after_word = code.ends_with(is_word);
            let (kind, length) = stretch(rest, after_word).unwrap_or((Kind::Code, next.len_utf8()));
            let (now, later) = rest.split_at(length);
            for character in now.chars() {
                let blank = if character == '\n' { '\n' } else { ' ' };
                code.push(if kind == Kind::Code { character } else { blank });
                comments.push(if kind == Kind::Comment { character } else { blank });
            }
            rest = later;
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, comments }
    }

    /// The line of a place in `code` or `comments`, from 1.
    pub(crate) fn line(text: &str, at: usize) -> usize {
        1 + text[..at].matches('\n').count()
    }

    /// Every word (identifier, keyword or number) of the code, with its place.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        words(&self.code)
    }

    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = self.words().filter(|(_, word)| *word == "fn");
        starts.filter_map(|(at, _)| self.function(at)).collect()
    }

    /// The function whose `fn` is at a place; none for a declaration, or for a type such as `fn(u8)`.
    fn function(&self, at: usize) -> Option<Function> {
        let after = at + "fn".len();
        let (start, name) = words(&self.code[after..]).next()?;
        if !self.code[after..after + start].trim().is_empty() {
            return None;
        }
        let (mut braces, mut groups) = (0, 0);
        for (i, character) in self.code[after..].char_indices() {
            match character {
                '(' | '[' => groups += 1,
                ')' | ']' => groups -= 1,
                ';' if braces == 0 && groups == 0 => return None,
                '{' => braces += 1,
                '}' => braces -= 1,
                _ => continue,
            }
            if character == '}' && braces == 0 && groups == 0 {
                let line = Self::line(&self.code, at);
                let lines = Self::line(&self.code, after + i) - line + 1;
                return Some(Function { name: name.to_owned(), line, lines });
            }
        }
        None
    }
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(|character| !is_word(character)).filter_map(move |word| {
        let start = at;
        // What splits is one character, of whatever size.
        at += word.len() + text[at + word.len()..].chars().next().map_or(0, char::len_utf8);
        (!word.is_empty()).then_some((start, word))
    })
}

/// The comment, string or character that `rest` starts with.
fn stretch(rest: &str, after_word: bool) -> Option<(Kind, usize)> {
    if rest.starts_with("//") {
        return Some((Kind::Comment, rest.find('\n').unwrap_or(rest.len())));
    }
    if rest.starts_with("/*") {
        return Some((Kind::Comment, block_comment(rest)));
    }
    let prefix = if after_word { 0 } else { rest.find(|character| !matches!(character, 'b' | 'c' | 'r')).unwrap_or(0) };
    let (letters, quoted) = rest.split_at(prefix);
    let length = match letters {
        "r" | "br" | "cr" => raw_string(quoted),
        "" | "b" | "c" => string(quoted).or_else(|| character(quoted)),
        _ => None,
    };
    length.map(|length| (Kind::Quoted, prefix + length))
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    for (i, character) in body.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(i + 2),
            _ => {}
        }
    }
    Some(rest.len())
}

fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let body = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&close).map_or(rest.len(), |at| hashes + 1 + at + close.len()))
}

/// A character's literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let first = body.chars().next()?;
    if first == '\\' {
        let escape = 1 + body[1..].chars().next().map_or(0, char::len_utf8);
        return Some(1 + escape + body[escape..].find('\'')? + 1);
    }
    body[first.len_utf8()..].starts_with('\'').then(|| 1 + first.len_utf8() + 1)
}
