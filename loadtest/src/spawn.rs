//! Starts the server under test as a child of its own, reads where it listens, and ends it.
//! The scenarios hold a `Server` for the length of a run.
//! Invariants: only the child started here is ever signalled; it is ended on every path, by SIGTERM first; its standard
//! error is read to the end, so that it never blocks on it, and its last lines are kept for the report.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::pin_thread;

/// Longest wait for `listening on`.
const READY_WAIT: Duration = Duration::from_secs(10);
/// Longest wait between SIGTERM and SIGKILL.
const END_WAIT: Duration = Duration::from_secs(10);
/// What wirefan wants to have room for around a message that waits, in bytes.
pub(crate) const AROUND_BYTES: u32 = 1_280;
/// The longest message that wirefan can be told to take, in bytes.
const MESSAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Lines of standard error kept.
const LINES_KEPT: usize = 12;

/// A configuration file for a wirefan that is to be started, with what it names; removed when dropped.
pub(crate) struct Configuration {
    path: PathBuf,
    /// The certificate and its key, once [`Configuration::certify`] made them.
    certificate: Option<[PathBuf; 2]>,
}

impl Configuration {
    /// One rule, by which each topic of this program keeps `count` publications, for longer than any run takes.
    pub(crate) fn keeping(count: u32) -> Result<Self, String> {
        Self::write(&format!("[[rule]]\nfilter = \"loadtest/#\"\nhistory = {{ count = {count}, age = \"4h\" }}\n"))
    }

    /// One rule, by which `overflow` is done with the topics of this program once more than `outbound_bytes` wait. Peers that
    /// read nothing answer no ping either: they are given an hour.
    pub(crate) fn overflowing(overflow: &str, outbound_bytes: u32) -> Result<Self, String> {
        // A message with what is around it has to fit into what may wait.
        let message_bytes = outbound_bytes.saturating_sub(AROUND_BYTES).min(MESSAGE_BYTES_MAX);
        Self::write(&format!(
            "[limits]\noutbound_bytes_max = {outbound_bytes}\nmessage_bytes_max = {message_bytes}\n[heartbeat]\ninterval_s = 3600\n\
             [[rule]]\nfilter = \"loadtest/#\"\noverflow = \"{overflow}\"\n"
        ))
    }

    /// An echo of messages of up to `bytes`, with `depth` of them under way on a connection.
    pub(crate) fn echoing(bytes: u32, depth: u32) -> Result<Self, String> {
        let message_bytes = bytes.max(65_536);
        let outbound_bytes = (message_bytes + AROUND_BYTES).saturating_mul(depth + 1).max(1_048_576);
        Self::write(&format!(
            "[server]\necho = true\n[limits]\nmessage_bytes_max = {message_bytes}\noutbound_bytes_max = {outbound_bytes}\n"
        ))
    }

    /// A ping to each connection once in `seconds`: it waits for the pong, and so for less than that.
    pub(crate) fn beating(seconds: u32) -> Result<Self, String> {
        let timeout = (seconds / 2).clamp(1, 10);
        Self::write(&format!("[heartbeat]\ninterval_s = {seconds}\ntimeout_s = {timeout}\n"))
    }

    /// Nothing but defaults.
    pub(crate) fn usual() -> Result<Self, String> {
        Self::write("")
    }

    /// Lets the server speak TLS with a certificate that is made here, for 127.0.0.1. Answers the file that a client trusts.
    pub(crate) fn certify(&mut self) -> Result<PathBuf, String> {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])
            .map_err(|error| format!("a certificate cannot be made: {error}"))?;
        let [cert, key] = ["cert.pem", "key.pem"].map(|ending| self.path.with_extension(ending));
        create(&cert, &made.cert.pem())?;
        let written = create(&key, &made.signing_key.serialize_pem());
        let text = format!("[tls]\ncert = {:?}\nkey = {:?}\n", cert.display(), key.display());
        self.certificate = Some([cert.clone(), key]);
        written?;
        let mut file = File::options().append(true).open(&self.path).map_err(|error| told(&self.path, &error))?;
        file.write_all(text.as_bytes()).map_err(|error| told(&self.path, &error))?;
        Ok(cert)
    }

    /// What agrees to compression.
    pub(crate) fn deflating() -> Result<Self, String> {
        Self::write("[server]\ndeflate = true\n")
    }

    fn write(text: &str) -> Result<Self, String> {
        static WRITTEN: AtomicU32 = AtomicU32::new(0);
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let name = format!("wirefan-loadtest-{}-{number}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        create(&path, text)?;
        Ok(Self { path, certificate: None })
    }

    /// What `wirefan serve` is told to read it.
    pub(crate) fn arguments(&self) -> [String; 2] {
        ["--config".to_owned(), self.path.display().to_string()]
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        for path in self.certificate.iter().flatten().chain([&self.path]) {
            // Whoever cleans up temporary files may have been here before.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Never over somebody else's file, nor through a link that waits there; nobody else reads it.
fn create(path: &Path, text: &str) -> Result<(), String> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| told(path, &error))?;
    file.write_all(text.as_bytes()).map_err(|error| {
        let _ = std::fs::remove_file(path); // it is ours, and no use to anybody
        told(path, &error)
    })
}

fn told(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

/// A running child that listens.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    lines: Lines,
}

type Lines = Arc<Mutex<VecDeque<String>>>;

impl Server {
    /// Starts `program arguments…` on `cores` (wherever the kernel likes if empty) and waits until it says where it listens.
    pub(crate) fn start(program: &Path, arguments: &[String], cores: &[usize]) -> Result<Self, String> {
        let mut command = Command::new(program);
        // The peers are this program's: they need no time to come back one after the other.
        command.env("WIREFAN_SERVER__DRAIN_S", "0");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn_on(command, cores.to_vec())
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let (sender, receiver) = mpsc::channel();
        let lines = Lines::default();
        if let Some(stderr) = child.stderr.take() {
            let lines = Arc::clone(&lines);
            thread::spawn(move || read_lines(stderr, &lines, &sender));
        }
        match receiver.recv_timeout(READY_WAIT) {
            Ok(address) => Ok(Self { child, address, lines }),
            Err(reason) => {
                let _ = child.kill();
                let _ = child.wait();
                let when = match reason {
                    RecvTimeoutError::Timeout => format!("within {} s", READY_WAIT.as_secs()),
                    RecvTimeoutError::Disconnected => "before it ended".to_owned(),
                };
                let program = program.display();
                let words = quote(&lines);
                Err(format!("{program} did not say \"listening on ADDRESS\" {when}{words}"))
            }
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGTERM, by SIGKILL if that does not help.
    ///
    /// # Errors
    /// A sentence when it had ended before, or did not end cleanly.
    pub(crate) fn end(mut self) -> Result<(), String> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the server ended during the run: {status}{}", quote(&self.lines)));
        }
        self.terminate();
        let deadline = Instant::now() + END_WAIT;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    return Err(format!("the server ended with {status} after SIGTERM{}", quote(&self.lines)));
                }
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(format!("cannot wait for the server: {error}")),
            }
        }
        // Drop kills it.
        Err(format!("the server did not end within {} s after SIGTERM", END_WAIT.as_secs()))
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may just have ended by itself: `try_wait` tells.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The program `name` beside this one, as cargo lays them.
pub(crate) fn sibling(name: &str) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut directory = own.parent().unwrap_or(Path::new("."));
    // Test binaries lie one level deeper.
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(format!("{} does not exist: build it, or give --spawn PATH or --url URL", path.display()))
}

/// A child inherits the cores of the thread that starts it.
fn spawn_on(mut command: Command, cores: Vec<usize>) -> Result<Child, String> {
    let starter = thread::spawn(move || {
        pin_thread(&cores)?;
        command.spawn().map_err(|error| error.to_string())
    });
    starter.join().unwrap_or_else(|_| Err("the starting thread failed".into()))
}

fn read_lines(stderr: ChildStderr, lines: &Lines, sender: &mpsc::Sender<SocketAddr>) {
    for line in BufReader::new(stderr).lines() {
        let Ok(line) = line else { break };
        if let Some(address) = listening_on(&line) {
            // Only the first address is waited for.
            let _ = sender.send(address);
        }
        let mut kept = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == LINES_KEPT {
            kept.pop_front();
        }
        kept.push_back(line);
    }
}

fn listening_on(line: &str) -> Option<SocketAddr> {
    let (_, after) = line.split_once("listening on ")?;
    let word = after.split([' ', ',']).next()?;
    let bare = word.split_once("://").map_or(word, |(_, rest)| rest);
    bare.split('/').next()?.parse().ok()
}

fn quote(lines: &Lines) -> String {
    let kept = lines.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_empty() {
        return String::new();
    }
    let all: Vec<&str> = kept.iter().map(String::as_str).collect();
    format!("; it said:\n  {}", all.join("\n  "))
}

#[cfg(test)]
mod tests {
    use wirefan::config::Config;

    use super::*;

    fn shell(script: &str) -> Result<Server, String> {
        Server::start(Path::new("/bin/sh"), &["-c".into(), script.into()], &[])
    }

    #[test]
    fn the_ready_line_is_read_in_several_spellings() {
        let expected = "127.0.0.1:8080".parse().ok();
        for line in [
            "listening on 127.0.0.1:8080",
            "wirefan: listening on http://127.0.0.1:8080/",
            "listening on 127.0.0.1:8080, [::1]:8080",
            "listening on 127.0.0.1:8080 (2 shards)",
        ] {
            assert_eq!(listening_on(line), expected, "{line}");
        }
        assert_eq!(listening_on("listening on port 8080"), None);
    }

    #[test]
    fn a_configuration_is_one_that_wirefan_reads_and_is_gone_afterwards() {
        let configuration = Configuration::keeping(5).unwrap();
        let [_, path] = configuration.arguments();
        let flags = wirefan::config::Flags::default();
        let read = wirefan::config::Config::load(Some(Path::new(&path)), std::iter::empty(), &flags).unwrap();
        assert_eq!(read.rules[0].history.map(|history| (history.count, history.age_s)), Some((5, 14_400)));
        assert_eq!(read.rules[0].filter, "loadtest/#");
        drop(configuration);
        assert!(!Path::new(&path).exists());
        for (configuration, told) in [
            (Configuration::echoing(1_048_576, 4).unwrap(), (true, 1_048_576, 25)),
            (Configuration::beating(3).unwrap(), (false, 65_536, 3)),
        ] {
            let [_, path] = configuration.arguments();
            let read = Config::load(Some(Path::new(&path)), std::iter::empty(), &flags).unwrap();
            assert_eq!(
                (read.server.echo, read.limits.message_bytes_max as u32, read.heartbeat.interval_s as u32),
                told
            );
        }
        let configuration = Configuration::overflowing("disconnect", 65_536).unwrap();
        let [_, path] = configuration.arguments();
        let read = wirefan::config::Config::load(Some(Path::new(&path)), std::iter::empty(), &flags).unwrap();
        assert_eq!((read.limits.outbound_bytes_max, read.heartbeat.interval_s), (65_536, 3_600));
        assert_eq!(read.rules[0].overflow, wirefan::rules::Overflow::Disconnect);
    }

    #[test]
    fn a_certificate_is_one_that_wirefan_reads_and_is_gone_afterwards() {
        let mut configuration = Configuration::keeping(5).unwrap();
        let cert = configuration.certify().unwrap();
        let [_, path] = configuration.arguments();
        let flags = wirefan::config::Flags::default();
        let read = wirefan::config::Config::load(Some(Path::new(&path)), std::iter::empty(), &flags).unwrap();
        assert_eq!(read.rules.len(), 1);
        assert!(cert.exists() && crate::target::Tls::trusting(&cert, "127.0.0.1").is_ok());
        drop(configuration);
        assert!(!cert.exists() && !cert.with_file_name(path).exists());
    }

    #[test]
    fn a_child_that_listens_is_ended_by_sigterm() {
        let server = shell("trap 'exit 0' TERM; echo listening on 127.0.0.1:1 >&2; while :; do sleep 0.05; done");
        server.unwrap().end().unwrap();
    }

    #[test]
    fn a_child_that_dies_is_told_with_its_last_words() {
        let refusal = shell("echo no such key >&2; exit 2").err().unwrap();
        assert!(refusal.contains("no such key"), "{refusal}");
        let server = shell("echo listening on 127.0.0.1:1 >&2; echo panicked >&2; exit 101").unwrap();
        thread::sleep(Duration::from_millis(200));
        let sentence = server.end().unwrap_err();
        assert!(sentence.contains("101") && sentence.contains("panicked"), "{sentence}");
        assert!(Server::start(Path::new("/nonexistent/x"), &[], &[]).is_err());
    }
}
