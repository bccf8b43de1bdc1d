//! A crowd of several processes, each with descriptors of its own, directed by this one over their pipes; and what such a process does.
//! `idle` holds `Processes`; each of them runs `serve`, which is `wirefan-loadtest crowd`. A part of a publishing run is served by `part`.
//!
//! Down go one line of JSON (`Orders`), then numbers: how many are wanted. Up come lines of JSON (`Told`), whenever something has changed.
//! Invariants: a process ends when its standard input does.

use std::io::{BufRead, Write};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crowd::{Crowd, Manner, Threads};
use super::hire::share_of;
use super::part;
use super::peer::{Peer, own_program, write_line};
use crate::machine;
use crate::target::Target;
use crate::verify::Faults;

/// How often a process tells what has changed.
const TELL: Duration = Duration::from_millis(20);

/// What a process is told first.
#[derive(Serialize, Deserialize)]
pub(super) enum Orders {
    /// To hold idle connections.
    Idle { target: Box<Target>, manner: Manner },
    /// To be a part of a publishing run.
    Part(Box<part::Orders>),
}

/// What a process tells of its idle connections.
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
    peer: Peer,
    told: Arc<Mutex<Told>>,
}

impl Processes {
    /// `count` processes; the last connection of all has the number `most` less one.
    pub(crate) fn start(target: &Target, manner: &Manner, count: usize, most: usize) -> Result<Self, String> {
        let program = own_program()?;
        let mut all = Self { members: Vec::new() };
        for number in 0..count {
            let base = share_of(number, count, most).start;
            let connects_per_second = manner.connects_per_second / count as f64;
            let manner = Manner { base, connects_per_second, ..manner.clone() };
            let told = Arc::<Mutex<Told>>::default();
            let own = Arc::clone(&told);
            let orders = Orders::Idle { target: Box::new(target.clone()), manner };
            let peer = Peer::start(&program, &orders, move |news| hear(news, &own))?;
            all.members.push(Member { peer, told });
        }
        Ok(all)
    }

    fn sum<T: std::iter::Sum>(&self, of: impl Fn(&Told) -> T) -> T {
        self.members.iter().map(|member| of(&lock(&member.told))).sum()
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what a process tells.
fn hear(news: Result<Told, String>, told: &Mutex<Told>) {
    let mut told = lock(told);
    match news {
        Ok(news) => *told = news,
        // It has said all, or why not: that it ended is no news.
        Err(_) if told.faults.is_some() || told.failure.is_some() => {}
        Err(sentence) => told.failure = Some(sentence),
    }
}

impl Crowd for Processes {
    fn want(&self, connections: usize) -> Result<(), String> {
        let count = self.members.len();
        for (number, member) in self.members.iter().enumerate() {
            let said = member.peer.say(&share_of(number, count, connections).len());
            said.map_err(|sentence| lock(&member.told).failure.clone().unwrap_or(sentence))?;
        }
        Ok(())
    }

    fn ready(&self) -> usize {
        self.sum(|told| told.ready)
    }

    fn pings(&self) -> u64 {
        self.sum(|told| told.pings)
    }

    fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.peer.pid()).collect()
    }

    fn failure(&self) -> Result<(), String> {
        let failure = self.members.iter().find_map(|member| lock(&member.told).failure.clone());
        failure.map_or(Ok(()), Err)
    }

    fn finish(self: Box<Self>) -> Result<Faults, String> {
        let mut faults = Faults::default();
        self.members.iter().for_each(|member| member.peer.hang_up());
        for Member { peer, told } in self.members {
            peer.end()?;
            let told = lock(&told);
            if let Some(failure) = &told.failure {
                return Err(failure.clone());
            }
            faults.merge(told.faults.clone().unwrap_or_default());
        }
        Ok(faults)
    }
}

/// Is one of several processes: takes orders from `input` until its end, and tells `output` what has changed.
pub(crate) fn serve(input: impl BufRead + Send + 'static, mut output: impl Write) -> Result<(), String> {
    machine::raise_descriptors();
    let mut lines = input.lines();
    let first = lines.next().and_then(Result::ok).ok_or("a crowd is told by its parent what to do, and nobody did")?;
    let orders = serde_json::from_str(&first).map_err(|error| format!("these are no orders: {error}"))?;
    let lines = lines.map_while(Result::ok);
    match orders {
        Orders::Idle { target, manner } => hold(&target, &manner, lines, &mut output),
        Orders::Part(orders) => part::serve(&orders, lines, &mut output),
    }
}

/// Holds as many idle connections as it is told.
fn hold(
    target: &Target,
    manner: &Manner,
    lines: impl Iterator<Item = String> + Send + 'static,
    output: &mut impl Write,
) -> Result<(), String> {
    let (sender, wants) = mpsc::channel();
    // The end of the input ends the channel.
    thread::spawn(move || lines.map(|line| sender.send(line)).all(|sent| sent.is_ok()));
    let crowd: Box<dyn Crowd> = Box::new(Threads::start(target, manner)?);
    let mut last = Told::default();
    let failed = loop {
        match wants.recv_timeout(TELL) {
            Ok(line) => crowd.want(line.parse().map_err(|_| format!("{line:?} is no number"))?)?,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break false,
        }
        let told = Told { ready: crowd.ready(), pings: crowd.pings(), failure: crowd.failure().err(), faults: None };
        if told != last {
            write_line(output, &told)?;
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
    write_line(output, &Told { ready, pings, failure, faults })
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use crate::scenario::crowd::tests::manner;
    use crate::scenario::fanout::tests::with_broker;

    /// What a process tells that is told `script`, whose last line is left open for as long as that takes.
    fn told(target: &Target, wants: &str) -> Vec<Told> {
        let orders = Orders::Idle { target: Box::new(target.clone()), manner: manner() };
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
    fn the_end_of_a_process_is_a_failure_unless_it_has_said_all() {
        let told = Mutex::new(Told::default());
        hear(Ok(Told { faults: Some(Faults::default()), ..Told::default() }), &told);
        hear(Err("ended".to_owned()), &told);
        assert_eq!(lock(&told).failure, None);
        let told = Mutex::new(Told::default());
        hear(Err("babbled".to_owned()), &told);
        hear(Err("ended".to_owned()), &told);
        assert_eq!(lock(&told).failure.as_deref(), Some("babbled"), "the first reason is kept");
    }
}
