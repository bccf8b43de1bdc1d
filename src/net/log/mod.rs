//! What the broker tells its operator while it runs: one line for one event, on standard error, by a thread of its own.
//!
//! `cli` makes a [`Log`], `net` and its loops say things to it. Saying never waits: lines go into a bounded queue, and
//! where nobody reads standard error they are left out, counted, and told of by the next line that is written. Sentences
//! and the names of values are ours; every value is written escaped and bounded, as it may be a stranger's. Refuses to be
//! handed a token, a key or a payload: whoever calls has to.

mod line;
mod pace;

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use self::line::Value;
pub(super) use self::pace::{Kind, Paced};
use super::ambient;
use crate::config::{LogFormat, LogLevel};
use crate::limits::{LOG_FLUSH_MS, LOG_LINES_MAX};

/// Where lines go; cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    format: LogFormat,
    level: AtomicU8,
    left_out: AtomicU64,
    lines: SyncSender<Item>,
}

enum Item {
    Line(Vec<u8>),
    /// Everything before it was written.
    Flush(mpsc::Sender<()>),
}

impl Log {
    /// Lines on standard error.
    ///
    /// # Errors
    /// The machine refuses a thread.
    pub fn to_stderr(format: LogFormat, level: LogLevel) -> io::Result<Self> {
        Self::to(format, level, io::stderr())
    }

    fn to(format: LogFormat, level: LogLevel, out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(LOG_LINES_MAX);
        let (level, left_out) = (AtomicU8::new(level as u8), AtomicU64::new(0));
        let log = Self { shared: Arc::new(Shared { format, level, left_out, lines }) };
        let shared = Arc::downgrade(&log.shared);
        let left_out = move || shared.upgrade().map_or(0, |shared| shared.left_out.swap(0, Ordering::Relaxed));
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&queue, format, left_out, out))?;
        Ok(log)
    }

    /// Whether lines of this level are written.
    #[must_use]
    pub fn is_on(&self, level: LogLevel) -> bool {
        level as u8 <= self.shared.level.load(Ordering::Relaxed)
    }

    /// From here on.
    pub fn set_level(&self, level: LogLevel) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// One event: a sentence of ours, and its values by name.
    pub fn say(&self, level: LogLevel, sentence: impl fmt::Display, values: &[(&str, Value<'_>)]) {
        if self.is_on(level) {
            self.put(line::line(self.shared.format, ambient::now_unix_ms(), level, &sentence.to_string(), values));
        }
    }

    /// A line that scripts wait for: as text it is nothing but the sentence, whatever the level.
    pub fn announce(&self, sentence: impl fmt::Display) {
        let sentence = sentence.to_string();
        self.put(match self.shared.format {
            LogFormat::Text => format!("{sentence}\n").into_bytes(),
            LogFormat::Json => line::line(LogFormat::Json, ambient::now_unix_ms(), LogLevel::Info, &sentence, &[]),
        });
    }

    fn put(&self, line: Vec<u8>) {
        if self.shared.lines.try_send(Item::Line(line)).is_err() {
            self.shared.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all was written, a moment at most.
    pub fn flush(&self) {
        let (done, written) = channel();
        for _ in 0..LOG_FLUSH_MS / FLUSH_STEP_MS {
            if self.shared.lines.try_send(Item::Flush(done.clone())).is_ok() {
                let _ = written.recv_timeout(Duration::from_millis(LOG_FLUSH_MS)); // nobody reads: so be it
                return;
            }
            thread::sleep(Duration::from_millis(FLUSH_STEP_MS));
        }
    }
}

/// The thread: ends with the last [`Log`].
fn write_all(queue: &Receiver<Item>, format: LogFormat, left_out: impl Fn() -> u64, mut out: impl Write) {
    for item in queue {
        // Whoever closed standard error does not want to know.
        match item {
            Item::Line(line) => {
                let _ = out.write_all(&line);
                let left_out = left_out();
                if left_out > 0 {
                    let (sentence, values) = ("lines were left out: standard error is read too slowly", left_out);
                    let values = [("lines", Value::Number(values))];
                    let line = line::line(format, ambient::now_unix_ms(), LogLevel::Warn, sentence, &values);
                    let _ = out.write_all(&line);
                }
            }
            Item::Flush(done) => {
                let _ = out.flush().map(|()| done.send(()));
            }
        }
    }
}

const FLUSH_STEP_MS: u64 = 10;

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("format", &self.shared.format).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
