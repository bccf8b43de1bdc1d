//! Telling the one who started the process how it does, where it wants to know: sd_notify(3) of systemd.
//!
//! [`super::serve`] says `READY=1` when connections are accepted, or will be as soon as another broker leaves, and
//! where a [`Watchdog`] is wanted `WATCHDOG=1` as long as every shard turns. The thread that says so proves
//! nothing by itself: it rings all shards, and is silent until each has completed a turn. The messages
//! go to the datagram socket that `NOTIFY_SOCKET` names, a path or, behind `@`, an abstract name.

#[cfg(unix)]
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;

use super::{Bells, ServeError, now};

/// Tells it once more if it was told before, which says nothing new.
pub(super) fn tell_ready() {
    if let Ok(socket) = std::env::var("NOTIFY_SOCKET") {
        tell(&socket, READY);
    }
}

/// How many turns a shard has completed; [`Turns::OVER`] when it has ended, which is no standstill.
#[derive(Debug, Default)]
pub(super) struct Turns(CachePadded<AtomicU64>);

impl Turns {
    const OVER: u64 = u64::MAX;

    /// Written by one thread alone, so that it costs a store.
    pub(super) fn note(&self) {
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.0.store(Self::OVER, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Somebody who ends the process if it says nothing for as long as `WATCHDOG_USEC`.
#[derive(Debug)]
pub(super) struct Watchdog {
    socket: String,
    /// A quarter of that.
    every: Duration,
    told: Instant,
}

impl Watchdog {
    /// The one that waits for this process, if there is one.
    pub(super) fn of_environment() -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        let every = period(variable("WATCHDOG_USEC")?.as_str(), variable("WATCHDOG_PID").as_deref())?;
        Some(Self { socket: variable("NOTIFY_SOCKET")?, every, told: now() })
    }

    /// Said by the one thread that works before there are shards: it got on.
    pub(super) fn got_on(&mut self) {
        if self.told.elapsed() >= self.every {
            self.tell();
        }
    }

    /// From here on the shards have to turn.
    pub(super) fn watch(mut self, turns: Arc<[Turns]>, bells: Bells) -> Result<(), ServeError> {
        self.tell();
        let watch = move || {
            let mut before = counts(&turns);
            loop {
                // A shard with nothing to do sleeps, and is to show that it can wake.
                bells.iter().for_each(|bell| bell.wake());
                thread::sleep(self.every);
                let after = counts(&turns);
                if all_turned(&before, &after) {
                    self.tell();
                    before = after;
                }
            }
        };
        let thread = thread::Builder::new().name("watchdog".to_owned()).spawn(watch);
        thread.map(|_| ()).map_err(|error| ServeError::Machine("start a thread", error))
    }

    fn tell(&mut self) {
        tell(&self.socket, WATCHDOG);
        self.told = now();
    }
}

/// A quarter of what `WATCHDOG_USEC` says, unless that is for another process.
fn period(usec: &str, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let usec: u64 = usec.parse().ok().filter(|usec| ours && *usec > 0)?;
    Some(Duration::from_micros(usec.div_ceil(4)))
}

fn counts(turns: &[Turns]) -> Vec<u64> {
    turns.iter().map(Turns::count).collect()
}

fn all_turned(before: &[u64], after: &[u64]) -> bool {
    before.iter().zip(after).all(|(before, after)| after != before || *after == Turns::OVER)
}

/// Best effort: who is not told starts us again or gives up, by its own rules.
#[cfg(unix)]
fn tell(socket: &str, word: &[u8]) {
    let Ok(own) = UnixDatagram::unbound() else { return };
    // Who does not read is not waited for.
    let _ = own.set_nonblocking(true);
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
        let _ = address.and_then(|address| own.send_to_addr(word, &address));
        return;
    }
    let _ = own.send_to(word, socket);
}

#[cfg(not(unix))]
fn tell(_: &str, _: &[u8]) {}

const READY: &[u8] = b"READY=1\n";
const WATCHDOG: &[u8] = b"WATCHDOG=1\n";

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::mesh::Wake;

    fn heard(socket: &UnixDatagram) -> Vec<u8> {
        let mut bytes = [0; 32];
        let len = socket.recv(&mut bytes).expect("it was sent");
        bytes[..len].to_vec()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told_and_nobody_is_no_harm() {
        let path = std::env::temp_dir().join(format!("wirefan-ready-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        tell(path.to_str().unwrap(), READY);
        assert_eq!(heard(&socket), READY);
        std::fs::remove_file(&path).unwrap();
        let name = format!("wirefan-ready-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell(&format!("@{name}"), WATCHDOG);
        assert_eq!(heard(&socket), WATCHDOG);
        tell("/nonexistent/socket", READY);
        tell("", READY);
    }

    #[test]
    fn one_shard_that_stands_is_enough_and_one_that_has_ended_stands_not() {
        let turns: Vec<Turns> = (0..3).map(|_| Turns::default()).collect();
        let before = counts(&turns);
        turns.iter().for_each(Turns::note);
        assert!(all_turned(&before, &counts(&turns)));
        let before = counts(&turns);
        turns[0].note();
        turns[2].end();
        assert!(!all_turned(&before, &counts(&turns)), "the second stands");
        turns[1].note();
        assert!(all_turned(&before, &counts(&turns)));
        let before = counts(&turns);
        turns[..2].iter().for_each(Turns::note);
        assert!(all_turned(&before, &counts(&turns)), "the third has ended long ago");
    }

    /// A shard that does nothing but turn when it is rung, unless it stands.
    struct Rung {
        turns: Arc<[Turns]>,
        number: usize,
        stands: Arc<AtomicBool>,
    }

    impl Wake for Rung {
        fn wake(&self) {
            if !self.stands.load(Ordering::SeqCst) {
                self.turns[self.number].note();
            }
        }
    }

    #[test]
    fn the_watchdog_hears_nothing_while_one_of_three_shards_stands() {
        let name = format!("wirefan-stands-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let (turns, stands): (Arc<[Turns]>, _) = ((0..3).map(|_| Turns::default()).collect(), Arc::default());
        let ring = |number| {
            let stands = if number == 1 { Arc::clone(&stands) } else { Arc::default() };
            Arc::new(Rung { turns: Arc::clone(&turns), number, stands }) as Arc<dyn Wake>
        };
        let every = Duration::from_millis(20);
        let watchdog = Watchdog { socket: format!("@{name}"), every, told: now() };
        watchdog.watch(Arc::clone(&turns), (0..3).map(ring).collect()).unwrap();
        for _ in 0..5 {
            assert_eq!(heard(&socket), WATCHDOG);
        }
        stands.store(true, Ordering::SeqCst);
        socket.set_read_timeout(Some(every * 10)).unwrap();
        let late = std::iter::from_fn(|| socket.recv(&mut [0; 32]).ok()).take(10).count();
        // What it had turned before it stood, and a thread of this test that came late to the socket.
        assert!(late < 10, "one shard stands");
        assert!(socket.recv(&mut [0; 32]).is_err(), "it still stands");
        stands.store(false, Ordering::SeqCst);
        socket.set_read_timeout(None).unwrap();
        assert_eq!(heard(&socket), WATCHDOG);
    }

    #[test]
    fn a_watchdog_of_another_process_or_of_no_time_is_none() {
        let own = std::process::id().to_string();
        assert_eq!(period("30000000", Some(&own)), Some(Duration::from_millis(7500)));
        assert_eq!(period("1", None), Some(Duration::from_micros(1)));
        for (usec, pid) in
            [("0", None), ("", None), ("-1", None), ("many", None), ("1000", Some("0")), ("1000", Some("x"))]
        {
            assert_eq!(period(usec, pid), None, "{usec} {pid:?}");
        }
    }
}
