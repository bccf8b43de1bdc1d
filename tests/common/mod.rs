//! What the black-box tests share: the real binary as a process, and clients that know nothing of its insides.
//!
//! Every wait has an end: a read fails after [`PATIENCE`], so a broker that stays silent fails its test and hangs none.

pub(crate) mod client;
pub(crate) mod raw;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a test waits for one thing before it gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A process of ours and the lines of its standard error. Killed when dropped, so that no failed test leaves it behind.
struct Process {
    child: Child,
    stderr: Receiver<String>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `wirefan serve` with two shards on a free port.
pub(crate) struct Broker {
    process: Process,
    /// Where it listens: first of all addresses.
    pub(crate) address: SocketAddr,
    /// Where it listens.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Broker {
    /// Starts it with environment settings such as `("LIMITS__MESSAGE_BYTES_MAX", "1024")`, and waits until it listens.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = serve(settings);
        command.args(["--listen", "127.0.0.1:0", "--shards", "2"]);
        Self::run(command)
    }

    /// Runs a command that ends up as the broker, and waits until it listens.
    pub(crate) fn run(command: Command) -> Self {
        Self::run_until(command, "listening on ")
    }

    /// Runs a command that ends up as a broker that waits for another one to leave, and waits until it waits.
    #[allow(dead_code, reason = "not every program that includes this needs it")]
    pub(crate) fn run_heir(command: Command) -> Self {
        Self::run_until(command, "ready to take over ")
    }

    fn run_until(command: Command, words: &str) -> Self {
        let process = Process::spawn(command);
        let line = process.hear(words);
        let (_, list) = line.split_once(words).expect("it was found by it");
        let address = |one: &str| one.split_whitespace().next().expect("an address").parse().expect("IP:PORT");
        let addresses: Vec<SocketAddr> = list.split(", ").map(address).collect();
        Self { process, address: addresses[0], addresses }
    }

    /// Waits for a line of standard error with these words.
    pub(crate) fn hear(&self, words: &str) -> String {
        self.process.hear(words)
    }

    /// The operating system's number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends a signal by its name, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the broker still runs");
    }

    /// Waits until the process has ended, at most as long as given.
    pub(crate) fn exit(mut self, within: Duration) -> ExitStatus {
        self.process.end(within).0
    }
}

/// `wirefan serve` with these settings in its environment, and none of ours.
pub(crate) fn serve(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    command.arg("serve");
    configure(&mut command, settings);
    command
}

/// Gives a command these settings of the broker, and none of ours.
pub(crate) fn configure(command: &mut Command, settings: &[(&str, &str)]) {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WIREFAN_")) {
        command.env_remove(name);
    }
    for (name, value) in settings {
        command.env(format!("WIREFAN_{name}"), value);
    }
}

/// Runs a command to its end: how it ended, and what it wrote to standard error.
pub(crate) fn run_to_end(command: Command) -> (ExitStatus, Vec<String>) {
    Process::spawn(command).end(PATIENCE)
}

impl Process {
    fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let (sender, stderr) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, stderr }
    }

    fn hear(&self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("the words come");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits for the end, which closes standard error: how it ended, and what it had left to say.
    fn end(&mut self, within: Duration) -> (ExitStatus, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            match self.stderr.recv_timeout(within) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return (self.child.wait().expect("our child"), lines),
                Err(RecvTimeoutError::Timeout) => panic!("no end within {within:?}: {lines:?}"),
            }
        }
    }
}
