//! The rules that tidy holds, each a function from a file to its offences.
//! Called by tests/tidy.rs, which proves with planted samples that each of them can fail.

use crate::scan::{Source, is_word};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const HEADER_LINES_MAX: usize = 10;

/// The rooms of the house from top to bottom: an import points down only.
const LAYERS: [&str; 15] = [
    "main",
    "cli",
    "net",
    "shard",
    "mesh",
    "home",
    "telemetry",
    "transport",
    "protocol",
    "ws",
    "http",
    "auth",
    "topic",
    "simd",
    "lib",
];

/// What anyone may import, with what it may import itself.
const LEAVES: [(&str, &[&str]); 5] = [
    ("chunks", &[]),
    ("ids", &["limits"]),
    ("limits", &["ids"]),
    ("rules", &["ids", "limits", "auth", "topic"]),
    ("config", &["ids", "limits", "rules", "auth", "topic"]),
];

/// Tests that start threads because what they prove is what happens between threads.
const BETWEEN_THREADS: [&str; 2] = ["src/mesh/under_loom.rs", "src/mesh/desk/tests.rs"];

/// What only `net` may touch: sockets, threads, clocks, signals, random sources.
const OUTSIDE: [&str; 13] = [
    "Instant::now",
    "SystemTime::now",
    "std::thread",
    "thread::",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "mio::",
    "socket2::",
    "signal_hook::",
    "core_affinity::",
    "getrandom::",
];

/// Tests that may start threads: what crosses cores is proved by threads that race.
const THREADED_TESTS: [&str; 2] = ["src/mesh/desk/tests.rs", "src/mesh/under_loom.rs"];

const UNFINISHED_CODE: [&str; 4] = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
const UNFINISHED_COMMENTS: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
const EMPTY_NAMES: [&str; 10] =
    ["manager", "managers", "handler", "handlers", "service", "services", "helper", "helpers", "util", "utils"];

/// All offences of a file, as `path:line: sentence`.
pub(crate) fn offences(source: &Source) -> Vec<String> {
    let rules = [size, header, functions, layers, outside, unsafe_code, unfinished, names];
    let mut found: Vec<(usize, String)> = rules.iter().flat_map(|rule| rule(source)).collect();
    found.sort();
    found.into_iter().map(|(line, sentence)| format!("{}:{line}: {sentence}", source.path)).collect()
}

type Offences = Vec<(usize, String)>;

fn size(source: &Source) -> Offences {
    let lines = source.text.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| (lines, format!("the file has {lines} lines, at most {FILE_LINES_MAX}"))).into_iter().collect()
}

fn header(source: &Source) -> Offences {
    match source.text.lines().take_while(|line| line.starts_with("//!")).count() {
        0 => vec![(1, "the file does not open with `//!`".to_owned())],
        lines if lines > HEADER_LINES_MAX => {
            vec![(1, format!("the file opens with {lines} lines of `//!`, at most {HEADER_LINES_MAX}"))]
        }
        _ => Vec::new(),
    }
}

fn functions(source: &Source) -> Offences {
    let long = source.functions().into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    long.map(|function| {
        let sentence = format!("`{}` has {} lines, at most {FUNCTION_LINES_MAX}", function.name, function.lines);
        (function.line, sentence)
    })
    .collect()
}

/// The room that a file of `src/` belongs to, and how many modules deep it is: 1 for a room's own file.
fn room(path: &str) -> Option<(&str, usize)> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some((path.split('/').next().unwrap_or(path), path.split('/').count()))
}

fn layers(source: &Source) -> Offences {
    let Some((room, depth)) = room(&source.path) else {
        return Vec::new();
    };
    let known = |name: &str| LAYERS.contains(&name) || LEAVES.iter().any(|(leaf, _)| *leaf == name);
    if !known(room) {
        return vec![(1, format!("`{room}` has no place in the order of the rooms (tests/tidy/rules.rs)"))];
    }
    let imports = imports(&source.code, depth).into_iter();
    let bad = imports.filter(|(_, to)| known(to) && room != "lib" && !may_import(room, to));
    bad.map(|(at, to)| (Source::line(&source.code, at), format!("`{room}` may not import `{to}`: imports point down")))
        .collect()
}

fn may_import(from: &str, to: &str) -> bool {
    let leaf = |name| LEAVES.iter().find(|(leaf, _)| *leaf == name);
    let layer = |name| LAYERS.iter().position(|layer| *layer == name);
    match (leaf(from), leaf(to)) {
        _ if from == to => true,
        (Some((_, allowed)), _) => allowed.contains(&to),
        (None, Some(_)) => true,
        (None, None) => layer(from) < layer(to),
    }
}

/// What the code names right under the root of the crate: by `crate::`, by `wirefan::`, or by enough `super::`.
fn imports(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let mut imports = Vec::new();
    for root in ["crate::".to_owned(), "wirefan::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root).filter(|(at, _)| !code[..*at].ends_with(is_word)) {
            let rest = &code[at + root.len()..];
            imports.extend(first_words(rest).into_iter().map(|(offset, word)| (at + root.len() + offset, word)));
        }
    }
    imports
}

/// The word that a path starts with, or each first word of a group in braces.
fn first_words(rest: &str) -> Vec<(usize, &str)> {
    let word = |at: usize| {
        let start = at + rest[at..].len() - rest[at..].trim_start().len();
        let length = rest[start..].find(|character| !is_word(character)).unwrap_or(rest.len() - start);
        (start, &rest[start..start + length])
    };
    if !rest.starts_with('{') {
        return vec![word(0)];
    }
    let (mut found, mut depth) = (Vec::new(), 0);
    for (i, character) in rest.char_indices() {
        depth += i32::from(character == '{') - i32::from(character == '}');
        if depth == 0 {
            break;
        }
        if depth == 1 && (i == 0 || character == ',') {
            found.push(word(i + 1));
        }
    }
    found
}

/// Places where a name stands in the code, not as a part of a longer name.
fn places(source: &Source, name: &str) -> Vec<usize> {
    let code = &source.code;
    let whole = |at: usize| {
        let ends = !name.ends_with(is_word) || !code[at + name.len()..].starts_with(is_word);
        ends && (!name.starts_with(is_word) || !code[..at].ends_with(is_word))
    };
    code.match_indices(name).map(|(at, _)| at).filter(|at| whole(*at)).collect()
}

fn outside(source: &Source) -> Offences {
    match room(&source.path) {
        None | Some(("net", _)) => return Vec::new(),
        Some(_) => {}
    }
    let mut found = Offences::new();
    let threads = BETWEEN_THREADS.contains(&source.path.as_str());
    for name in OUTSIDE.into_iter().filter(|name| !(threads && name.contains("thread"))) {
        for at in places(source, name) {
            let covered = name == "thread::" && source.code[..at].ends_with("std::");
            let proof = name.contains("thread") && THREADED_TESTS.contains(&source.path.as_str());
            if !covered && !proof {
                let sentence = format!("`{}` belongs to `net` alone", name.trim_end_matches(':'));
                found.push((Source::line(&source.code, at), sentence));
            }
        }
    }
    found
}

fn unsafe_code(source: &Source) -> Offences {
    if source.path.starts_with("src/simd/") {
        return Vec::new();
    }
    let places = places(source, "unsafe").into_iter();
    places.map(|at| (Source::line(&source.code, at), "`unsafe` belongs to src/simd alone".to_owned())).collect()
}

fn unfinished(source: &Source) -> Offences {
    let mut found = Offences::new();
    for name in UNFINISHED_CODE {
        let places = places(source, name).into_iter();
        found.extend(places.map(|at| (Source::line(&source.code, at), format!("`{name}` is unfinished work"))));
    }
    for name in UNFINISHED_COMMENTS {
        let places = source.comments.match_indices(name);
        found
            .extend(places.map(|(at, _)| (Source::line(&source.comments, at), format!("`{name}` is unfinished work"))));
    }
    found
}

/// Names that say nothing, in what the code defines: types by any of their words, all else by the last, as a function
/// may well ask something about the services of others.
fn names(source: &Source) -> Offences {
    let mut found = Offences::new();
    let mut previous = "";
    for (at, word) in source.words() {
        let parts = name_parts(word);
        let judged = match previous {
            "struct" | "enum" | "union" | "trait" | "type" => &parts[..],
            "fn" | "mod" => &parts[parts.len() - 1..],
            _ => &[],
        };
        let empty = judged.iter().any(|part| EMPTY_NAMES.contains(&part.as_str()));
        if empty || previous == "fn" && word.starts_with("get_") {
            found.push((Source::line(&source.code, at), format!("`{word}` does not say what it is")));
        }
        previous = word;
    }
    found
}

/// `TopicManager` and `topic_manager` to `topic`, `manager`.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for character in name.chars() {
        if character == '_' || character.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| character != '_') {
            part.extend(character.to_lowercase());
        }
    }
    parts
}
