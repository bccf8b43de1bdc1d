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

/// A running `wirefan serve` with two shards on a free port. Killed when dropped.
pub(crate) struct Broker {
    child: Child,
    stderr: Receiver<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
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
        let (child, stderr) = spawn(command);
        let mut broker = Self { child, stderr, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        loop {
            let line = broker.stderr.recv_timeout(PATIENCE).expect("the broker says where it listens");
            if let Some((_, address)) = line.split_once("listening on ") {
                let address = address.split_whitespace().next().expect("an address");
                broker.address = address.parse().expect("IP:PORT");
                return broker;
            }
        }
    }

    /// The operating system's number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the broker still runs");
    }

    /// Waits until the process has ended, at most as long as given.
    pub(crate) fn exit(mut self, within: Duration) -> ExitStatus {
        rest_of(&self.stderr, within);
        self.child.wait().expect("our child")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Both fail only when the process has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
    let (mut child, stderr) = spawn(command);
    let lines = rest_of(&stderr, PATIENCE);
    (child.wait().expect("our child"), lines)
}

fn spawn(mut command: Command) -> (Child, Receiver<String>) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    (child, receiver)
}

/// The lines until the process closes its standard error, which it does when it ends.
fn rest_of(stderr: &Receiver<String>, within: Duration) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match stderr.recv_timeout(within) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => return lines,
            Err(RecvTimeoutError::Timeout) => {
                panic!("the process has not ended within {within:?}: {lines:?}")
            }
        }
    }
}
