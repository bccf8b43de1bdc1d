//! The walls of the house, held by a test: sizes, openings, who may import whom, where `unsafe` and the outside world
//! may be touched, unfinished work, names. Every offence is told at once, as `path:line: sentence`.
//! The tests below the first plant a bad sample for each rule: a rule that cannot fail is no rule.

#[path = "../bench/counts/record.rs"]
mod record;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use scan::Source;
use std::fs;
use std::path::{Path, PathBuf};

const PLACES: [&str; 6] = ["src", "loadtest/src", "loadtest/tests", "bench", "tests", "fuzz/targets"];

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = PLACES.iter().flat_map(|place| rust_files(&root.join(place))).collect();
    files.sort();
    assert!(files.len() > 20, "only {} files found: is this the repository?", files.len());
    let offences: Vec<String> = files.iter().flat_map(|file| check_file(root, file)).collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

/// All `.rs` files below a folder; none where there is no such folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn check_file(root: &Path, file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a readable file");
    let path = file.strip_prefix(root).expect("a file below the root").to_string_lossy().replace('\\', "/");
    rules::offences(&Source::new(&path, &text))
}

/// The offences of a planted sample, without its path.
fn offences(path: &str, text: &str) -> Vec<String> {
    let found = rules::offences(&Source::new(path, text));
    found.iter().map(|offence| offence.replacen(&format!("{path}:"), "", 1)).collect()
}

#[test]
fn a_tidy_sample_has_no_offence() {
    let text = r##"//! A sample.
use crate::topic::Name;
// It may speak of unsafe code, of Instant::now() and of crate::net in a comment,
/* or /* in a nested */ todo!() block comment. */
const TEXT: &str = "unsafe { dbg!(\"crate::net\") } // FIXME";
const RAW: &[u8] = br#"fn get_it() { "todo!()" }"#;
const QUOTES: [char; 3] = ['"', '\'', '{'];
fn borrow<'a>(name: &'a Name) -> &'a Name { name }
"##;
    assert_eq!(offences("src/ws/sample.rs", text), [""; 0]);
}

#[test]
fn a_file_of_over_600_lines_is_an_offence() {
    let text = |lines: usize| "//! A sample.\n".to_owned() + &"const _: () = ();\n".repeat(lines - 1);
    assert_eq!(offences("bench/a.rs", &text(600)), [""; 0]);
    assert_eq!(offences("bench/a.rs", &text(601)), ["601: the file has 601 lines, at most 600"]);
}

#[test]
fn a_function_of_over_70_lines_is_an_offence() {
    let text = |lines: usize| {
        let body = "    let _ = (\"}\", '}', 1); // }\n".repeat(lines - 2);
        format!(
            "//! A sample.\ntrait T {{\n    fn declared(a: [u8; 4]);\n}}\nfn long(f: fn(u8) -> u8) {{\n{body}}}\nfn short() {{}}\n"
        )
    };
    assert_eq!(offences("loadtest/src/a.rs", &text(70)), [""; 0]);
    assert_eq!(offences("loadtest/src/a.rs", &text(71)), ["5: `long` has 71 lines, at most 70"]);
}

#[test]
fn a_file_that_does_not_say_what_it_is_is_an_offence() {
    assert_eq!(offences("tests/a.rs", "fn f() {}\n"), ["1: the file does not open with `//!`"]);
    assert_eq!(offences("tests/a.rs", "\n//! Late.\n"), ["1: the file does not open with `//!`"]);
    assert_eq!(offences("tests/a.rs", &"//! Ten.\n".repeat(10)), [""; 0]);
    let eleven = ["1: the file opens with 11 lines of `//!`, at most 10"];
    assert_eq!(offences("tests/a.rs", &"//! Eleven.\n".repeat(11)), eleven);
}

#[test]
fn an_import_that_points_up_is_an_offence() {
    let up = |from: &str, to: &str| vec![format!("2: `{from}` may not import `{to}`: imports point down")];
    let sample = |line: &str| format!("//! A sample.\n{line}\n");
    assert_eq!(offences("src/ws/frame.rs", &sample("use crate::net::Loop;")), up("ws", "net"));
    assert_eq!(offences("src/ws/frame.rs", &sample("fn f() { crate::shard::f() }")), up("ws", "shard"));
    assert_eq!(offences("src/ws/frame.rs", &sample("use crate::{simd, home::{mesh, Home}};")), up("ws", "home"));
    assert_eq!(offences("src/ws/frame.rs", &sample("use super::super::mesh;")), up("ws", "mesh"));
    assert_eq!(offences("src/ws/mod.rs", &sample("use super::protocol::Parser;")), up("ws", "protocol"));
    assert_eq!(offences("src/topic.rs", &sample("use crate::auth::Grant;")), up("topic", "auth"));
    assert_eq!(offences("src/net/mod.rs", &sample("use crate::cli;")), up("net", "cli"));
    assert_eq!(offences("src/ids.rs", &sample("use crate::config::Config;")), up("ids", "config"));
    assert_eq!(offences("src/config.rs", &sample("use crate::ws::Decoder;")), up("config", "ws"));
    for (path, line) in [
        ("src/ws/frame.rs", "use crate::{config::Config, ids, limits, simd, ws::Decoder};"),
        ("src/ws/frame.rs", "use super::net;"),
        ("src/config.rs", "use crate::{auth::Origins, topic::Filter};"),
        ("src/main.rs", "use wirefan::cli;"),
        ("src/lib.rs", "pub use crate::net::serve;"),
        ("tests/a.rs", "use wirefan::net;"),
    ] {
        assert_eq!(offences(path, &sample(line)), [""; 0], "{path}: {line}");
    }
}

#[test]
fn a_room_without_a_place_in_the_order_is_an_offence() {
    let expected = ["1: `attic` has no place in the order of the rooms (tests/tidy/rules.rs)"];
    assert_eq!(offences("src/attic/mod.rs", "//! A sample.\n"), expected);
}

#[test]
fn the_outside_world_beyond_net_is_an_offence() {
    for (line, name) in [
        ("let now = std::time::Instant::now();", "Instant::now"),
        ("use std::thread;", "std::thread"),
        ("fn f() { std::thread::sleep(d) }", "std::thread"),
        ("fn f() { thread::spawn(g); }", "thread"),
        ("use std::net::{SocketAddr, TcpListener};", "TcpListener"),
        ("use mio::Poll;", "mio"),
        ("fn f() { getrandom::fill(&mut b) }", "getrandom"),
    ] {
        let text = format!("//! A sample.\n{line}\n");
        let expected = [format!("2: `{name}` belongs to `net` alone")];
        assert_eq!(offences("src/shard/mod.rs", &text), expected, "{line}");
        assert_eq!(offences("src/cli/mod.rs", &text), expected, "{line}");
        assert_eq!(offences("src/net/mod.rs", &text), [""; 0], "{line}");
        assert_eq!(offences("loadtest/src/main.rs", &text), [""; 0], "{line}");
    }
    assert_eq!(offences("src/shard/mod.rs", "//! A sample.\nuse std::net::SocketAddr;\n"), [""; 0]);
    let race = "//! A sample.\nfn race() { std::thread::scope(|_| {}) }\nfn when() { Instant::now(); }\n";
    assert_eq!(offences("src/mesh/desk/tests.rs", race), ["3: `Instant::now` belongs to `net` alone"]);
}

#[test]
fn unsafe_code_beyond_simd_is_an_offence() {
    let text = "//! A sample.\n#[expect(unsafe_code)]\nunsafe fn f() {}\n";
    assert_eq!(offences("src/ws/mod.rs", text), ["3: `unsafe` belongs to src/simd alone"]);
    assert_eq!(offences("loadtest/src/main.rs", text), ["3: `unsafe` belongs to src/simd alone"]);
    assert_eq!(offences("src/simd/mod.rs", text), [""; 0]);
}

#[test]
fn unfinished_work_is_an_offence() {
    for (line, name) in [
        ("fn f() { todo!() }", "todo!"),
        ("fn f() { unimplemented!() }", "unimplemented!"),
        ("fn f() { dbg!(1); }", "dbg!"),
        ("#[ignore = \"slow\"]", "#[ignore"),
        ("// TODO: later", "TODO"),
        ("/* FIXME */", "FIXME"),
        ("/// XXX", "XXX"),
        ("fn f() {} // HACK", "HACK"),
    ] {
        let expected = [format!("2: `{name}` is unfinished work")];
        assert_eq!(offences("tests/a.rs", &format!("//! A sample.\n{line}\n")), expected, "{line}");
    }
}

#[test]
fn a_name_that_says_nothing_is_an_offence() {
    for (line, name) in [
        ("struct TopicManager;", "TopicManager"),
        ("enum Handlers {}", "Handlers"),
        ("trait Service {}", "Service"),
        ("fn parse_helper() {}", "parse_helper"),
        ("mod utils {}", "utils"),
        ("fn get_topic() {}", "get_topic"),
    ] {
        let expected = [format!("2: `{name}` does not say what it is")];
        assert_eq!(offences("src/ws/a.rs", &format!("//! A sample.\n{line}\n")), expected, "{line}");
    }
    let fine = "//! A sample.\nfn handle_read() { map.get_mut(1); }\nstruct Utilization;\nfn is_service_link() {}\n";
    assert_eq!(offences("src/ws/a.rs", fine), [""; 0]);
}

#[test]
fn the_gate_of_instruction_counts_fails_what_costs_more_and_compares_nothing_else() {
    let text = "# Notes.\nmade with: rustc 1, valgrind 2\nhome: publish    1000.0 per publication\nframes: a b    50.5 per message\n";
    let recorded: record::Record = text.parse().expect("a record");
    assert_eq!(recorded.to_string().parse::<record::Record>().as_ref(), Ok(&recorded), "read as it is written");
    let judged = |change: &dyn Fn(&mut record::Record)| {
        let mut now = recorded.clone();
        change(&mut now);
        let verdict = recorded.judge(&now);
        assert!(verdict.table.lines().count() <= 3, "{}", verdict.table);
        (verdict.failures.join("; "), verdict.remarks.join("; "))
    };
    let same = judged(&|_| {});
    assert_eq!(same, Default::default());
    assert_eq!(judged(&|now| now.counts[0].1 = 1_029.9), same, "within three of a hundred");
    let dearer = judged(&|now| now.counts[0].1 = 1_030.1).0;
    assert!(dearer.contains("`home: publish` takes 3.0 % more") && dearer.contains("--renew"), "{dearer}");
    let cheaper = judged(&|now| now.counts[1].1 = 40.0);
    assert!(cheaper.0.is_empty() && cheaper.1.contains("`frames: a b` has become"), "{cheaper:?}");
    let gone = judged(&|now| drop(now.counts.remove(1))).0;
    assert!(gone.contains("`frames: a b` is in the record and is gone"), "{gone}");
    let new = judged(&|now| now.counts.push(("new: path".to_owned(), 1.0, "unit".to_owned()))).0;
    assert!(new.contains("`new: path` is not in the record"), "{new}");
    let other = judged(&|now| {
        now.made_with = "rustc 3, valgrind 2".to_owned();
        now.counts[0].1 = 5_000.0;
    });
    assert!(other.0.is_empty() && other.1.contains("rustc 1") && other.1.contains("rustc 3"), "{other:?}");
    for wrong in ["", "home: publish 1 per publication", "made with: x\nno count per unit", "made with: x\na 1"] {
        assert!(wrong.parse::<record::Record>().is_err(), "{wrong:?}");
    }
}
