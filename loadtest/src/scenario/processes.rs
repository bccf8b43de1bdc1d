//! A crowd of several processes, each with descriptors of its own, directed by this one over their pipes.
//! `idle` holds `Processes`; each of them runs `serve`, which is `wirefan-loadtest crowd`.
//!
//! Down go one line of JSON (`Orders`), then lines with a number: how many are wanted. Up come lines of JSON (`Told`), whenever something has changed.
//! Invariants: a process ends when its standard input does, so none outlives its parent; only children of this process are ever ended;
//! what is no line of the protocol fails the run.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crowd::{Crowd, Manner, Threads};
use super::fanout::share_of;
use crate::machine;
use crate::target::{Target, Transport};
use crate::verify::Faults;

/// How often a process tells what has changed.
const TELL: Duration = Duration::from_millis(20);

/// What a process is told first.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    address: SocketAddr,
    path: String,
    transport: Transport,
    manner: Manner,
}

/// What a process tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    ready: usize,
    pings: u64,
    /// It is over, for this reason.
    failure: Option<String>,
    /// It has ended, with these.
    faults: Option<Faults>,
}

/// All of them.
pub(crate) struct Processes {
    members: Vec<Member>,
}

struct Member {
    child: Child,
    /// None once it was told to end.
    stdin: Option<ChildStdin>,
    told: Arc<Mutex<Told>>,
    reader: Option<JoinHandle<()>>,
}

impl Processes {
    /// `count` processes of `program`, this one; the last connection of all has the number `most` less one.
    pub(crate) fn start(
        program: &Path,
        target: &Target,
        manner: &Manner,
        count: usize,
        most: usize,
    ) -> Result<Self, String> {
        let mut all = Self { members: Vec::new() };
        for number in 0..count {
            let base = share_of(number, count, most).start;
            let connects_per_second = manner.connects_per_second / count as f64;
            let orders = Orders {
                address: target.address,
                path: target.path.clone(),
                transport: target.transport,
                manner: Manner { base, connects_per_second, ..manner.clone() },
            };
            all.members.push(Member::start(program, &orders)?);
        }
        Ok(all)
    }

    fn sum<T: std::iter::Sum>(&self, of: impl Fn(&Told) -> T) -> T {
        self.members.iter().map(|member| of(&member.told())).sum()
    }
}

impl Member {
    fn start(program: &Path, orders: &Orders) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("crowd").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start another load process: {error}"))?;
        let told = Arc::new(Mutex::new(Told::default()));
        let reader = child.stdout.take().map(|stdout| {
            let told = Arc::clone(&told);
            thread::spawn(move || listen(stdout, &told))
        });
        let stdin = child.stdin.take();
        let mut member = Self { child, stdin, told, reader };
        let line = serde_json::to_string(orders).map_err(|error| error.to_string())?;
        member.say(&line)?;
        Ok(member)
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let Some(stdin) = &mut self.stdin else {
            return Ok(());
        };
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).map_err(|error| {
            let why = self.told().failure.clone().unwrap_or_else(|| error.to_string());
            format!("a load process takes no orders: {why}")
        })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The end of its standard input is the end of it; should it not listen, it is ended.
        self.stdin = None;
        if self.told().faults.is_none() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Notes what a process tells, until it ends.
fn listen(stdout: ChildStdout, told: &Mutex<Told>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let news = serde_json::from_str(&line).unwrap_or_else(|error| Told {
            failure: Some(format!("a load process told {line:?}: {error}")),
            ..Told::default()
        });
        *told.lock().unwrap_or_else(PoisonError::into_inner) = news;
    }
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.faults.is_none() && told.failure.is_none() {
        told.failure = Some("a load process ended before it was told to".to_owned());
    }
}

impl Crowd for Processes {
    fn want(&mut self, connections: usize) -> Result<(), String> {
        let count = self.members.len();
        for (number, member) in self.members.iter_mut().enumerate() {
            member.say(&share_of(number, count, connections).len().to_string())?;
        }
        Ok(())
    }

    fn ready(&self) -> usize {
        self.sum(|told| told.ready)
    }

    fn pings(&self) -> u64 {
        self.sum(|told| told.pings)
    }

    fn failure(&self) -> Result<(), String> {
        let failure = self.members.iter().find_map(|member| member.told().failure.clone());
        failure.map_or(Ok(()), Err)
    }

    fn finish(mut self: Box<Self>) -> Result<Faults, String> {
        let mut faults = Faults::default();
        for member in &mut self.members {
            member.stdin = None;
        }
        for member in &mut self.members {
            if let Some(reader) = member.reader.take() {
                reader.join().map_err(|_| "the reader of a load process failed")?;
            }
            faults.merge(member.told().faults.clone().unwrap_or_default());
        }
        self.failure()?;
        Ok(faults)
    }
}

/// Is one of several processes: takes orders from `input` until its end, and tells `output` what has changed.
pub(crate) fn serve(input: impl BufRead + Send + 'static, mut output: impl Write) -> Result<(), String> {
    machine::raise_descriptors();
    let mut lines = input.lines();
    let first = lines.next().and_then(Result::ok).ok_or("a crowd is told by its parent what to do, and nobody did")?;
    let Orders { address, path, transport, manner } =
        serde_json::from_str(&first).map_err(|error| format!("{first:?} are no orders: {error}"))?;
    let target = Target { path, transport, ..Target::at(address) };
    let (sender, wants) = mpsc::channel();
    thread::spawn(move || {
        // The end of the input ends the channel.
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut crowd: Box<dyn Crowd> = Box::new(Threads::start(&target, &manner)?);
    let mut last = Told::default();
    let failed = loop {
        match wants.recv_timeout(TELL) {
            Ok(line) => crowd.want(line.parse().map_err(|_| format!("{line:?} is no number"))?)?,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
        }
        let told = Told { ready: crowd.ready(), pings: crowd.pings(), failure: crowd.failure().err(), faults: None };
        if told != last {
            tell(&mut output, &told)?;
            last = told;
        }
        if last.failure.is_some() {
            break true;
        }
    };
    let (ready, pings) = (crowd.ready(), crowd.pings());
    let finished = crowd.finish();
    if failed {
        return Ok(()); // it was told
    }
    let (faults, failure) = finished.map_or_else(|failure| (None, Some(failure)), |faults| (Some(faults), None));
    tell(&mut output, &Told { ready, pings, failure, faults })
}

fn tell(output: &mut impl Write, told: &Told) -> Result<(), String> {
    let line = serde_json::to_string(told).map_err(|error| error.to_string())?;
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| format!("nobody listens: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::crowd::tests::manner;
    use crate::scenario::fanout::tests::with_broker;

    /// What a process tells that is told `script`, whose last line is left open for as long as that takes.
    fn told(target: &Target, wants: &str) -> Vec<Told> {
        let orders =
            Orders { address: target.address, path: target.path.clone(), transport: Transport::Ws, manner: manner() };
        let script = format!("{}\n{wants}", serde_json::to_string(&orders).unwrap());
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(script.as_bytes()).unwrap();
        let keeper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(400));
            drop(writer);
        });
        let mut output = Vec::new();
        serve(BufReader::new(reader), &mut output).unwrap();
        keeper.join().unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_process_raises_its_number_tells_it_and_ends_with_its_input() {
        let all = with_broker(None, |target| told(target, "3\n7\n"));
        let last = all.last().unwrap();
        assert_eq!((last.ready, &last.faults, &last.failure), (7, &Some(Faults::default()), &None));
        assert!(all.is_sorted_by(|a, b| a.ready <= b.ready));
    }

    #[test]
    fn a_process_that_cannot_connect_says_so_in_a_sentence() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let all = told(&Target::at(port), "1\n");
        assert!(all.last().unwrap().failure.as_ref().unwrap().contains("cannot connect"), "{all:?}");
    }

    #[test]
    fn orders_that_are_none_are_refused() {
        assert!(serve(&b""[..], Vec::new()).is_err());
        assert!(serve(&b"{}\n"[..], Vec::new()).is_err());
    }

    #[test]
    fn a_child_that_ends_or_babbles_fails_the_run() {
        for (script, sentence) in [("exit 0", "ended before"), ("echo hello; exec sleep 5", "hello")] {
            let orders = Orders {
                address: "127.0.0.1:1".parse().unwrap(),
                path: "/".to_owned(),
                transport: Transport::Ws,
                manner: manner(),
            };
            // `sh crowd` would look for a file of that name: a script in its place.
            let path = std::env::temp_dir().join(format!("loadtest-crowd-{}-{}", std::process::id(), script.len()));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
            // Whether it still takes its orders depends on how soon it ends.
            let member = Member::start(&path, &orders);
            if let Ok(mut member) = member {
                if script == "exit 0" {
                    member.reader.take().unwrap().join().unwrap();
                } else {
                    thread::sleep(Duration::from_millis(200));
                }
                let failure = Processes { members: vec![member] }.failure().unwrap_err();
                assert!(failure.contains(sentence), "{failure}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
}
