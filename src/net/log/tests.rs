//! Lines as they come out, with a reader that is slow, and strangers who do one thing very often.

use std::sync::Mutex;

use super::*;
use crate::limits::LOG_LINES_PER_SECOND;

/// What was written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn kept(level: LogLevel) -> (Log, Kept) {
    let out = Kept::default();
    (Log::to(LogFormat::Text, level, out.clone()).unwrap(), out)
}

/// The sentences, without their times.
fn lines(log: &Log, out: &Kept) -> Vec<String> {
    log.flush();
    let bytes = std::mem::take(&mut *out.0.lock().unwrap());
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
}

#[test]
fn only_what_the_level_asks_for_is_written() {
    let (log, out) = kept(LogLevel::Warn);
    let say = |level| log.say(level, "x", &[]);
    LogLevel::ALL.into_iter().for_each(say);
    assert_eq!(lines(&log, &out), ["error x", "warn  x"]);
    log.set_level(LogLevel::Debug);
    LogLevel::ALL.into_iter().for_each(say);
    assert_eq!(lines(&log, &out).len(), 4);
    log.set_level(LogLevel::Error);
    log.announce("listening on a");
    assert_eq!(lines(&log, &out), ["on a"], "whatever the level, and with nothing before it");
}

#[test]
fn a_reader_that_stands_still_stops_nobody_and_is_told_what_it_missed() {
    /// Takes nothing before the gate opens.
    struct Gated(Receiver<()>, Kept);

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv(); // open for good once the other end is gone
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (gate, gated) = channel();
    let out = Kept::default();
    let log = Log::to(LogFormat::Text, LogLevel::Info, Gated(gated, out.clone())).unwrap();
    for number in 0..LOG_LINES_MAX as u64 + 100 {
        log.say(LogLevel::Info, "x", &[("n", Value::Number(number))]);
    }
    drop(gate);
    let said = lines(&log, &out);
    let left_out = said.iter().find_map(|line| line.split_once("too slowly lines=")).unwrap().1.parse::<usize>();
    assert_eq!(said.len() - 1 + left_out.unwrap(), LOG_LINES_MAX + 100);
    assert_eq!(said[0], "info  x n=0");
}

#[test]
fn one_kind_has_so_many_lines_a_second_and_then_a_count() {
    let (log, out) = kept(LogLevel::Debug);
    let mut paced = Paced::new(log.clone());
    let happen = |paced: &mut Paced, kind, now_ms| {
        if paced.wants(kind, now_ms) {
            paced.say(kind, &[]);
        }
    };
    let most = LOG_LINES_PER_SECOND as usize;
    (0..most + 5).for_each(|_| happen(&mut paced, Kind::Closed, 1_000));
    happen(&mut paced, Kind::Refused, 1_999);
    assert_eq!(lines(&log, &out).len(), most + 1, "each kind by itself");
    assert_eq!(paced.next_ms(), Some(2_000));
    paced.leave_out(Kind::Closed, 10);
    paced.tell_all(2_000);
    assert_eq!(lines(&log, &out), ["debug more of the same was left out like=\"connection ended\" lines=15"]);
    assert_eq!(paced.next_ms(), None);
    happen(&mut paced, Kind::Closed, 2_000);
    assert_eq!(lines(&log, &out), ["debug connection ended"]);
    log.set_level(LogLevel::Info);
    assert!(!paced.wants(Kind::Closed, 3_000));
}
