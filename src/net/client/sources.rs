//! What a command waits for besides the broker: lines of an input, and signals. Both post to the client's inbox.
//!
//! Each has a thread, because neither can be waited for together with a socket by portable blocking calls. The threads
//! end with the process.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use super::{Client, Heard};
use crate::limits::{CLIENT_LINES_MAX, CLIENT_MESSAGE_BYTES_MAX};

/// The lines of an input, each posted as [`Heard::Line`]. At most [`CLIENT_LINES_MAX`] are under way: read, and not yet
/// given back with [`Lines::done`].
#[derive(Debug)]
pub struct Lines {
    under_way: Receiver<()>,
}

impl Lines {
    /// A line has been dealt with: another one may be read.
    pub fn done(&self) {
        // Nobody counts any more once the input has ended.
        let _ = self.under_way.try_recv();
    }
}

impl Client {
    /// Starts to read lines.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn read_lines(&self, input: impl Read + Send + 'static) -> io::Result<Lines> {
        let (place, under_way) = sync_channel(CLIENT_LINES_MAX);
        let post = self.post.clone();
        thread::Builder::new().name("lines".to_owned()).spawn(move || {
            let ended = post_lines(input, &post, &place);
            // A command that is gone needs no last word.
            let _ = post.send(Heard::LinesEnded(ended));
        })?;
        Ok(Lines { under_way })
    }

    /// From now on SIGINT and SIGTERM are posted as [`Heard::Interrupted`]; a second one ends the process at once, with
    /// the exit code of a process that SIGINT ended.
    ///
    /// # Errors
    /// The signals cannot be had.
    pub fn catch_signals(&self) -> io::Result<()> {
        let post = self.post.clone();
        at_interrupt(move || {
            let _ = post.send(Heard::Interrupted);
        })
    }
}

/// From now on the first SIGINT or SIGTERM makes this call, on a thread of its own; a second one ends the process at once,
/// with the exit code of a process that SIGINT ended.
///
/// # Errors
/// The signals cannot be had.
pub fn at_interrupt(call: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let caught = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order the first signal finds the flag unset and sets it.
        flag::register_conditional_shutdown(signal, 128 + SIGINT, Arc::clone(&caught))?;
        flag::register(signal, Arc::clone(&caught))?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            call();
        }
    })?;
    Ok(())
}

/// Does nothing for so long.
pub fn pause(time: Duration) {
    thread::sleep(time);
}

fn post_lines(input: impl Read, post: &SyncSender<Heard>, place: &SyncSender<()>) -> io::Result<()> {
    let mut input = BufReader::new(input);
    loop {
        let mut line = Vec::new();
        // One byte more than allowed shows that there are more.
        let read = (&mut input).take(CLIENT_MESSAGE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        if line.len() > CLIENT_MESSAGE_BYTES_MAX {
            let reason = format!("a line is longer than {CLIENT_MESSAGE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if place.send(()).is_err() || post.send(Heard::Line(line)).is_err() {
            return Ok(());
        }
    }
}
