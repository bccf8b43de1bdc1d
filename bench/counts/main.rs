//! The gate of the hot paths: how many instructions each takes, by callgrind, held to the record.
//!
//! `cargo run --release -p wirefan-counts` compares, and with `-- --renew` writes the record anew. This program runs itself
//! under valgrind, once for each path, with `--run NAME`; callgrind counts only inside of [`measured`]. Nothing of
//! ours in there depends on time or chance; two runs differ by a few in a thousand, and a path that costs 3 % more fails.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use paths::HotPath;
use record::{Record, Verdict};

#[path = "../paths/mod.rs"]
mod paths;
mod record;
#[path = "../rig.rs"]
mod rig;
#[path = "../texts.rs"]
mod texts;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["--run", name] => {
            run(name);
            return ExitCode::SUCCESS;
        }
        ["--renew"] => renew(),
        [] => compare(),
        _ => Err("call it without arguments, or with --renew".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentences) => {
            eprintln!("counts: {sentences}");
            ExitCode::FAILURE
        }
    }
}

/// Does the work of one path; this is what runs under callgrind.
fn run(name: &str) {
    let path = paths::all().into_iter().find(|path| path.name == name).expect("a path of that name");
    let mut work = (path.make)();
    // What is allocated or looked up once is not the path's.
    work.prepare();
    work.run();
    for _ in 0..rounds(&path) {
        work.prepare();
        measured(&mut *work);
    }
}

/// Rounds that are counted: more where they are short, so that what is not the path's does not show.
fn rounds(path: &HotPath) -> u32 {
    (1_000 / path.units).clamp(4, 50)
}

/// What is counted: callgrind begins at its entry and stops at its exit.
#[inline(never)]
fn measured(work: &mut dyn paths::Work) {
    work.run();
}

fn renew() -> Result<(), String> {
    let now = count_all()?;
    std::fs::write(record_file(), now.to_string()).map_err(|error| format!("{}: {error}", record_file().display()))?;
    println!("{now}\nwritten to {}", record_file().display());
    Ok(())
}

fn compare() -> Result<(), String> {
    let file = record_file();
    let text = std::fs::read_to_string(&file)
        .map_err(|error| format!("{}: {error}; {RENEW} makes one for this machine", file.display()))?;
    let recorded: Record = text.parse().map_err(|error| format!("{}: {error}", file.display()))?;
    let now = count_all()?;
    let Verdict { table, failures, remarks } = recorded.judge(&now);
    print!("{table}");
    for remark in remarks {
        println!("{remark}");
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\ncounts: ")) }
}

/// Counts all paths, two at a time.
fn count_all() -> Result<Record, String> {
    let made_with = shape()?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut counts = Vec::new();
    for (number, pair) in paths::all().chunks(2).enumerate() {
        let begun: Vec<_> = pair
            .iter()
            .zip(0..)
            .map(|(path, half)| begin(&program, path, &out_file(2 * number + half)).map(|child| (path, half, child)))
            .collect::<Result<_, _>>()?;
        for (path, half, child) in begun {
            let total = finish(child, path, &out_file(2 * number + half))?;
            let units = f64::from(path.units) * f64::from(rounds(path));
            counts.push((path.name.to_owned(), total as f64 / units, path.unit.to_owned()));
        }
    }
    Ok(Record { made_with, counts })
}

fn begin(program: &Path, path: &HotPath, out: &Path) -> Result<Child, String> {
    let out = format!("--callgrind-out-file={}", out.display());
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", &out, "--collect-atstart=no", "--toggle-collect=wirefan_counts::measured"]);
    command.arg(program).args(["--run", path.name]);
    // The environment lies on the stack of the program: the same for everybody, it moves nothing.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().map_err(|error| format!("valgrind: {error} (on Debian and Ubuntu: apt-get install valgrind)"))
}

/// The instructions that were counted.
fn finish(child: Child, path: &HotPath, out: &Path) -> Result<u64, String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", path.name, String::from_utf8_lossy(&output.stderr)));
    }
    let text = std::fs::read_to_string(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let _ = std::fs::remove_file(out); // best effort: it lies in the directory for such files
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).and_then(|total| total.trim().parse().ok());
    total.filter(|&total| total > 0).ok_or_else(|| format!("{}: callgrind counted nothing", path.name))
}

fn out_file(number: usize) -> PathBuf {
    std::env::temp_dir().join(format!("counts-{}-{number}.out", std::process::id()))
}

fn record_file() -> PathBuf {
    let file = format!("bench/record/{}-{}.txt", std::env::consts::ARCH, std::env::consts::OS);
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// What counts depend on besides the source.
fn shape() -> Result<String, String> {
    let mut shape = String::new();
    for call in [&["rustc", "--version"][..], &["valgrind", "--version"], &["getconf", "GNU_LIBC_VERSION"]] {
        let output = Command::new(call[0]).args(&call[1..]).output();
        let output =
            output.map_err(|error| format!("{}: {error} (on Debian and Ubuntu: apt-get install valgrind)", call[0]))?;
        let _ = write!(shape, "{}, ", String::from_utf8_lossy(&output.stdout).trim());
    }
    // Valgrind shows a program the vector instructions of its own processor, but none that the machine lacks.
    let routines: Vec<_> = wirefan::simd::routines().into_iter().map(|(name, _)| name).collect();
    let _ = write!(shape, "{} with {}", std::env::consts::ARCH, routines.join(" "));
    Ok(shape)
}

const RENEW: &str = "`cargo run --release -p wirefan-counts -- --renew`";
