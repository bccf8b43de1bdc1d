//! The broker that leaves, towards the one that takes its place: who it is, that it listens, what it is to remember.
//!
//! [`super::serve`] has [`Names`] as long as it serves, and `hand_over` asks for the [`Successor`] at a stop. One that is silent
//! for too long is none. Invariant: a stranger is told nothing and nothing of it is read.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::kin::{self, LISTENING};
use super::log::{Log, Value};
use super::{Bound, now};
use crate::config::LogLevel;
use crate::home::estate;
use crate::limits;

/// Where a successor finds this broker.
#[derive(Debug)]
pub(super) struct Names(Vec<kin::Listener>);

impl Names {
    /// Takes a name for each address. One that somebody has costs a warning: nothing is inherited by it.
    pub(super) fn take(addresses: &[Bound], log: &Log) -> Self {
        let take = |bound: &Bound| match kin::listen(bound.address) {
            Ok(listener) => Some(listener),
            Err(error) => {
                if error.kind() != io::ErrorKind::Unsupported {
                    let values = [("address", Value::Text(&bound.address.to_string()))];
                    log.say(LogLevel::Warn, "a successor will not inherit: somebody has the name", &values);
                }
                None
            }
        };
        Self(addresses.iter().filter_map(take).collect())
    }

    /// The first of those who wait to take over; the names are free then.
    pub(super) fn successor(self) -> Option<Successor> {
        let waiting = |listener: &kin::Listener| std::iter::from_fn(|| listener.accept().ok()).collect::<Vec<_>>();
        let all = self.0.iter().flat_map(waiting).map(|(stream, _)| stream);
        all.filter(kin::is_kin).find_map(|stream| Successor::greeted(stream).ok())
    }
}

/// A broker that waits for this one to leave.
#[derive(Debug)]
pub(super) struct Successor {
    stream: kin::Stream,
    version: u8,
    /// When it has to have everything.
    until: Instant,
}

impl Successor {
    /// It has said who it is when it came.
    fn greeted(mut stream: kin::Stream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(Duration::from_millis(limits::ESTATE_SILENCE_MS)))?;
        stream.set_read_timeout(Some(Duration::from_millis(limits::SUCCESSOR_LISTENS_MS)))?;
        let mut greeting = kin::GREETING;
        stream.read_exact(&mut greeting)?;
        let version = kin::version_of(&greeting).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { stream, version, until: now() + Duration::from_millis(limits::ESTATE_MS_MAX) })
    }

    /// Has it listen.
    pub(super) fn ask_to_listen(&mut self) -> io::Result<()> {
        self.stream.write_all(&kin::greeting())?;
        let mut answer = [0; LISTENING.len()];
        self.stream.read_exact(&mut answer)?;
        if answer == LISTENING { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Whether it understands what it would be told.
    pub(super) fn inherits(&self) -> bool {
        self.version == estate::VERSION
    }

    pub(super) fn tell(&mut self, piece: &[u8]) -> io::Result<()> {
        if now() >= self.until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.write_all(piece)
    }
}
