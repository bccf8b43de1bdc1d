//! Another process of this program, spoken to over its pipes: lines of JSON down, lines of JSON up.
//! `processes` (idle connections) and `parts` (publishing runs) start them; `wirefan-loadtest crowd` is one.
//! Invariants: a peer ends when its standard input does, so none outlives its parent; only children of this process are ever ended; what is
//! no line of the protocol, and an end that nobody asked for, are told as failures.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A child of this process.
pub(super) struct Peer {
    child: Child,
    /// None once it was told to end.
    stdin: Mutex<Option<ChildStdin>>,
    reader: Option<JoinHandle<()>>,
}

impl Peer {
    /// Starts `program`, which is told `orders` first. `hear` is called for each line that it tells, from a thread of its own, and at last with
    /// an error: that it ended, or what it said instead of a line.
    pub(super) fn start<T: DeserializeOwned>(
        program: &Path,
        orders: &impl Serialize,
        mut hear: impl FnMut(Result<T, String>) + Send + 'static,
    ) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("crowd").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start another load process: {error}"))?;
        let reader = child.stdout.take().map(|stdout| {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let told = serde_json::from_str(&line);
                    hear(told.map_err(|error| format!("a load process told {:?}: {error}", excerpt(&line))));
                }
                hear(Err("a load process ended before it was told to".to_owned()));
            })
        });
        let stdin = Mutex::new(child.stdin.take());
        let peer = Self { child, stdin, reader };
        peer.say(orders)?;
        Ok(peer)
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it a line.
    pub(super) fn say(&self, word: &impl Serialize) -> Result<(), String> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        stdin.as_mut().map_or(Ok(()), |stdin| write_line(stdin, word))
    }

    /// Ends its standard input: it says what it still has to say, and ends.
    pub(super) fn hang_up(&self) {
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Waits until it has said all.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.hang_up();
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(_)) => Err("the reader of a load process failed".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.hang_up();
        // Who has not been heard to the end is not waited for.
        if self.reader.is_some() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// This program.
pub(super) fn own_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))
}

/// One line of the protocol.
pub(super) fn write_line(output: &mut impl Write, word: &impl Serialize) -> Result<(), String> {
    let mut line = serde_json::to_vec(word).map_err(|error| error.to_string())?;
    line.push(b'\n');
    output
        .write_all(&line)
        .and_then(|()| output.flush())
        .map_err(|error| format!("a load process does not listen: {error}"))
}

fn excerpt(line: &str) -> String {
    line.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A script in place of this program, and what is heard of it.
    fn heard(script: &str) -> Vec<Result<u32, String>> {
        let path = std::env::temp_dir().join(format!("loadtest-peer-{}-{}", std::process::id(), script.len()));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let (sender, receiver) = mpsc::channel();
        // Whether it still takes its orders depends on how soon it ends.
        let peer = Peer::start(&path, &1, move |told| sender.send(told).unwrap());
        if let Ok(peer) = peer {
            assert!(peer.pid() > 0);
            peer.end().unwrap();
        }
        std::fs::remove_file(&path).unwrap();
        receiver.into_iter().collect()
    }

    #[test]
    fn what_it_tells_is_heard_and_so_is_its_end() {
        let told = heard("read orders; echo $orders; echo 7; cat >/dev/null; echo 8");
        let ended = told.last().unwrap().clone().unwrap_err();
        assert_eq!(told[..3], [Ok(1), Ok(7), Ok(8)], "what it says after its input ended is heard too");
        assert!(told.len() == 4 && ended.contains("ended before"), "{told:?}");
    }

    #[test]
    fn who_babbles_is_quoted() {
        let told = heard("read orders; echo hello");
        assert!(told[0].clone().unwrap_err().contains("\"hello\""), "{told:?}");
    }

    #[test]
    fn nobody_to_start_is_a_sentence() {
        let refusal = Peer::start(Path::new("/nonexistent/x"), &1, |_: Result<u32, String>| ()).err().unwrap();
        assert!(refusal.contains("cannot start another load process"), "{refusal}");
    }
}
