//! The broker that comes, towards the one whose place it takes: waiting for it to leave, and what it leaves.
//!
//! [`super::serve`] calls it with `--take-over`. [`wait`] returns when the other broker leaves the port, or when there is none; as
//! long as it waits nothing listens here, so that no client is split from the others. [`Predecessor::inherit`] then reads the
//! estate, while the kernel keeps those who connect. Every wait but the one for the operator is bounded. What did not come
//! whole is not taken, and the log says so.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use super::kin::{self, LISTENING};
use super::log::{Log, Value};
use super::{Bound, now, sys};
use crate::config::LogLevel;
use crate::home::estate::{self, Bequest, Reader};
use crate::limits;

/// How the waiting ended.
#[derive(Debug)]
pub(super) enum Waited {
    /// There is no broker to wait for.
    Alone,
    /// It leaves: this one is to listen, and to say so.
    Leaves(Predecessor),
    /// This one was told to stop.
    Stopped,
}

/// A broker that serves where this one is to serve.
#[derive(Debug)]
pub(super) struct Predecessor {
    stream: kin::Stream,
    heard: Vec<u8>,
}

/// What a predecessor has said so far.
enum Word {
    Nothing,
    /// It leaves.
    Leaves,
    /// It has gone, or is none.
    Gone,
}

/// Waits for the broker that serves at these addresses to leave; `found` is called once if there is one, and `got_on` again and
/// again. `reload` is set if the configuration was to be read again meanwhile.
pub(super) fn wait(
    addresses: &[Bound],
    signals: &mut Signals,
    log: &Log,
    reload: &mut bool,
    got_on: &mut impl FnMut(),
    found: impl FnOnce(),
) -> Waited {
    let Some(mut predecessor) = Predecessor::find(addresses, log) else {
        if listens(addresses) {
            log.say(LogLevel::Warn, "the broker that has the port hands nothing over: listening beside it", &[]);
        } else {
            log.say(LogLevel::Info, "there is no broker to take over from", &[]);
        }
        return Waited::Alone;
    };
    found();
    loop {
        got_on();
        for signal in signals.pending() {
            match signal {
                SIGHUP => *reload = true,
                _ => return Waited::Stopped,
            }
        }
        match predecessor.listen_for(PATIENCE) {
            Word::Nothing => {}
            Word::Leaves => return Waited::Leaves(predecessor),
            Word::Gone => match Predecessor::find_next(addresses, log) {
                Some(next) => predecessor = next,
                None => {
                    log.say(LogLevel::Warn, "the broker to take over from went without a word", &[]);
                    return Waited::Alone;
                }
            },
        }
    }
}

/// Whether somebody listens at one of the addresses.
fn listens(addresses: &[Bound]) -> bool {
    addresses.iter().any(|bound| sys::listeners(bound.address).is_some_and(|all| all > 0))
}

impl Predecessor {
    /// The broker that has the name of one of the addresses.
    fn find(addresses: &[Bound], log: &Log) -> Option<Self> {
        let connect = |bound: &Bound| {
            let mut stream = kin::connect(bound.address).ok()?;
            if !kin::is_kin(&stream) {
                let values = [("address", Value::Text(&bound.address.to_string()))];
                log.say(LogLevel::Warn, "another user has the name by which a broker is found", &values);
                return None;
            }
            stream.write_all(&kin::greeting()).ok()?;
            Some(Self { stream, heard: Vec::new() })
        };
        addresses.iter().find_map(connect)
    }

    /// The former one is gone. Perhaps it crashed, then nobody listens and nothing is waited for; perhaps it left to another
    /// one, which will have the name in a moment.
    fn find_next(addresses: &[Bound], log: &Log) -> Option<Self> {
        let until = now() + Duration::from_millis(limits::PREDECESSOR_LOOKS_MS);
        loop {
            let found = Self::find(addresses, log);
            if found.is_some() || !listens(addresses) || now() >= until {
                return found;
            }
            std::thread::sleep(PATIENCE);
        }
    }

    fn listen_for(&mut self, patience: Duration) -> Word {
        let mut buf = [0; kin::GREETING.len()];
        let some = &mut buf[self.heard.len()..];
        let read = self.stream.set_read_timeout(Some(patience)).and_then(|()| self.stream.read(some));
        match read {
            Ok(0) => return Word::Gone,
            Ok(len) => self.heard.extend_from_slice(&some[..len]),
            Err(error) if is_silence(&error) => {}
            Err(_) => return Word::Gone,
        }
        match self.heard.len() < kin::GREETING.len() {
            true => Word::Nothing,
            false if kin::version_of(&self.heard).is_some() => Word::Leaves,
            false => Word::Gone,
        }
    }

    /// Tells it that this broker listens, and gives each topic of its estate to `take`; a topic is given at most `topic_bytes_max`
    /// of publications. The log says what came of it.
    pub(super) fn inherit(mut self, topic_bytes_max: usize, log: &Log, mut take: impl FnMut(Bequest)) {
        let mut topics = 0;
        let mut count = |bequest| {
            topics += 1;
            take(bequest);
        };
        let read = match kin::version_of(&self.heard) {
            Some(estate::VERSION) => self.read(&mut Reader::new(topic_bytes_max), &mut count),
            _ => self.stream.write_all(&LISTENING).and(Err(io::Error::other("it is of another version"))),
        };
        let topics = ("topics", Value::Number(topics));
        match read {
            Ok(()) => log.say(LogLevel::Info, "took over", &[topics]),
            Err(error) => {
                let why = ("why", Value::Text(&error.to_string()));
                log.say(LogLevel::Warn, "took over, but not everything that was remembered", &[topics, why]);
            }
        }
    }

    fn read(&mut self, reader: &mut Reader, take: &mut impl FnMut(Bequest)) -> io::Result<()> {
        self.stream.set_read_timeout(Some(Duration::from_millis(limits::ESTATE_SILENCE_MS)))?;
        self.stream.write_all(&LISTENING)?;
        let until: Instant = now() + Duration::from_millis(limits::ESTATE_MS_MAX);
        let mut buf = vec![0; limits::READ_BYTES_PER_TURN];
        while !reader.is_whole() {
            if now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
            }
            match self.stream.read(&mut buf) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => reader.read(&buf[..len], take).map_err(io::Error::other)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_silence(&error) => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it stopped talking"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// How long one look takes.
const PATIENCE: Duration = Duration::from_millis(50);
