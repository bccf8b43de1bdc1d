//! Publications by HTTP, pipelined on connections that stay: what a request costs the server.
//! `run` connects, warms up, and reads the server's CPU time before and after the measured requests.
//! Invariants: CPU time is read only when nothing is under way; every answer is a 200 whose position is the successor of the
//! one before, or the run fails with a sentence.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::fanout::fresh_seed;
use super::meter::{Meter, Spending};
use crate::client::{Answer, Stream, refusal};
use crate::envelope::Position;
use crate::machine::{self, pin_thread};
use crate::report::Progress;
use crate::stats::ratio;
use crate::target::Target;

/// Bytes read from one connection at a time.
const READ_BYTES: usize = 64 * 1024;
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// No answer for so long while some are missing: the run has stalled.
const STALL: Duration = Duration::from_secs(5);

/// How much, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Connections, each with a topic of its own.
    pub(crate) connections: usize,
    /// Requests that each sends at once; the next so many go when the last are answered.
    pub(crate) depth: usize,
    /// Bytes of the JSON value published.
    pub(crate) payload_bytes: usize,
    /// Measured requests, all connections together; a tenth of them goes before as a warm-up.
    pub(crate) requests: usize,
    /// Cores of the thread that sends.
    pub(crate) load_cores: Vec<usize>,
}

impl Shape {
    /// Windows that each connection sends for so many requests in all.
    fn windows(&self, requests: usize) -> usize {
        requests.div_ceil(self.connections * self.depth)
    }
}

/// What one run found.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Measured {
    /// Requests that were answered as they have to be.
    pub(crate) requests: usize,
    /// How long that took, in nanoseconds.
    pub(crate) wall_ns: u64,
    /// What server and load spent.
    #[serde(flatten)]
    pub(crate) spending: Spending,
}

impl Measured {
    /// The server's CPU time per request, in nanoseconds; 0 if it is not known.
    pub(crate) fn cpu_ns_per_request(&self) -> f64 {
        ratio(self.spending.server.unwrap_or_default().cpu_ns as f64, self.requests as f64)
    }
}

/// Runs `shape` against `target`; `server_pid` is the process whose cost is read.
pub(crate) fn run(
    target: &Target,
    shape: &Shape,
    server_pid: Option<u32>,
    progress: &Progress,
) -> Result<Measured, String> {
    pin_thread(&shape.load_cores)?;
    let mut crowd = Crowd::connect(target, shape).map_err(|error| machine::refused(target.address, &error))?;
    progress.begin("warming up", 0);
    crowd.send(shape.windows(shape.requests / 10), progress)?;
    let meter = Meter::begin(target, server_pid, &[])?;
    let begun = Instant::now();
    let windows = shape.windows(shape.requests);
    progress.begin("publishing", (windows * shape.connections) as u64);
    crowd.send(windows, progress)?;
    let wall_ns = begun.elapsed().as_nanos() as u64;
    Ok(Measured { requests: windows * shape.connections * shape.depth, wall_ns, spending: meter.end()? })
}

/// All connections of a run.
struct Crowd {
    poll: Poll,
    all: Vec<Publisher>,
    buffer: Vec<u8>,
}

impl Crowd {
    fn connect(target: &Target, shape: &Shape) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut all = Vec::new();
        let seed = fresh_seed() as u32;
        for number in 0..shape.connections {
            let mut stream = Stream::connect(target)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream.socket(), Token(number), interest)?;
            let window =
                request(target, &format!("loadtest/{seed:08x}/{number}"), shape.payload_bytes).repeat(shape.depth);
            all.push(Publisher::new(stream, window, shape.depth));
        }
        Ok(Self { poll, all, buffer: vec![0; READ_BYTES] })
    }

    /// Sends so many windows on each connection, and waits for all answers.
    fn send(&mut self, windows: usize, progress: &Progress) -> Result<(), String> {
        let mut events = Events::with_capacity(256);
        let mut done = 0;
        for publisher in &mut self.all {
            publisher.windows_left = windows;
            publisher.goes_on()?;
        }
        let mut moved = Instant::now();
        while self.all.iter().any(|publisher| publisher.under_way > 0) {
            match self.poll.poll(&mut events, Some(Duration::from_millis(100))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(format!("the poll failed: {error}"));
                }
                _ => {}
            }
            for event in &events {
                let publisher = &mut self.all[event.token().0];
                if event.is_writable() {
                    publisher.flush()?;
                }
                if event.is_readable() {
                    done += publisher.read(&mut self.buffer)?;
                    moved = Instant::now();
                }
            }
            if moved.elapsed() > STALL {
                return Err(format!("the run stalled: no answer came for {} s", STALL.as_secs()));
            }
            progress.at(done);
        }
        Ok(())
    }
}

/// One connection.
struct Publisher {
    stream: Stream,
    /// What it sends again and again.
    window: Vec<u8>,
    depth: usize,
    /// `window[sent..]` is still to be sent.
    sent: usize,
    /// Requests that are not answered.
    under_way: usize,
    windows_left: usize,
    /// The beginning of an answer.
    unread: Vec<u8>,
    last: Option<Position>,
}

#[derive(Deserialize)]
struct Published<'a> {
    position: &'a str,
}

impl Publisher {
    fn new(stream: Stream, window: Vec<u8>, depth: usize) -> Self {
        let sent = window.len();
        Self { stream, window, depth, sent, under_way: 0, windows_left: 0, unread: Vec::new(), last: None }
    }

    /// Begins the next window, if there is one.
    fn goes_on(&mut self) -> Result<(), String> {
        if self.windows_left > 0 {
            self.windows_left -= 1;
            (self.sent, self.under_way) = (0, self.depth);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), String> {
        self.stream.send(&self.window, &mut self.sent).map_err(|error| format!("sending failed: {error}"))
    }

    /// Reads all there is. Answers how many windows it began for that.
    fn read(&mut self, buffer: &mut [u8]) -> Result<u64, String> {
        let mut begun = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server ended the connection without a word".into()),
                Ok(filled) => {
                    self.take(&buffer[..filled])?;
                    if self.under_way == 0 {
                        self.goes_on()?;
                        begun += 1;
                    }
                    if filled < buffer.len() && self.stream.is_emptied_by_a_short_read() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("reading failed: {error}")),
            }
        }
        // What waited for a handshake.
        self.flush()?;
        Ok(begun)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(answer) = Answer::parse(&self.unread[used..])? {
            let rest = &self.unread[used..];
            let Some(whole) = answer.whole_bytes().filter(|whole| *whole <= ANSWER_BYTES_MAX) else {
                return Err("an answer has no length, or too much of it".into());
            };
            if rest.len() < whole {
                break;
            }
            let body = &rest[answer.head_bytes..whole];
            if answer.status != 200 {
                return Err(refusal(answer.status, body));
            }
            let position =
                serde_json::from_slice::<Published<'_>>(body).ok().and_then(|it| Position::parse(it.position));
            let expected = self.last.map(|last| Position { offset: last.offset + 1, ..last });
            if position.is_none() || expected.is_some_and(|expected| position != Some(expected)) {
                let shown = String::from_utf8_lossy(body);
                return Err(format!("after {:?} came {shown:?}", self.last));
            }
            self.last = position;
            self.under_way = self.under_way.checked_sub(1).ok_or("an answer came that nobody asked for")?;
            used += whole;
        }
        self.unread.drain(..used);
        Ok(())
    }
}

fn request(target: &Target, topic: &str, payload_bytes: usize) -> Vec<u8> {
    let host = target.host();
    let mut request = format!(
        "POST /v1/publish?topic={topic} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {payload_bytes}\r\n\r\n\""
    )
    .into_bytes();
    request.resize(request.len() + payload_bytes - 2, b'x');
    request.push(b'"');
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::fanout::tests::{with_broker, with_floor};

    fn shape() -> Shape {
        Shape { connections: 3, depth: 8, payload_bytes: 64, requests: 240, load_cores: Vec::new() }
    }

    #[test]
    fn a_broker_and_the_floor_answer_every_request_in_order() {
        for depth in [1, 8, 64] {
            let shape = Shape { depth, ..shape() };
            let own = Some(std::process::id());
            let run = |target: &Target| run(target, &shape, own, &Progress::new(true)).unwrap();
            let (broker, floor) = (with_broker(None, run), with_floor(run));
            assert!(broker.requests >= 240 && broker.requests == floor.requests, "{depth}");
            assert!(broker.spending.server.is_some() && floor.wall_ns > 0);
        }
    }

    #[test]
    fn a_window_is_whole_requests_and_the_last_one_is_not_short() {
        assert_eq!((shape().windows(240), shape().windows(241), shape().windows(1)), (10, 11, 1));
        let request = request(&Target::at("127.0.0.1:1".parse().unwrap()), "t", 5);
        assert!(request.ends_with(b"Content-Length: 5\r\n\r\n\"xxx\""));
    }

    #[test]
    fn an_answer_that_is_not_the_next_one_fails_the_run() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let first = answer(r#"{"position":"00000001:7"}"#);
        for (second, sentence) in [
            (answer(r#"{"position":"00000001:9"}"#), "00000001:9"),
            (answer(r#"{"position":"00000002:8"}"#), "00000002:8"),
            (answer(r#"{"code":1}"#), "code"),
            ("HTTP/1.1 429 Slow\r\nContent-Length: 1\r\n\r\nx".to_owned(), "429"),
        ] {
            let mut crowd = Crowd::connect(&target, &Shape { connections: 1, ..shape() }).unwrap();
            crowd.all[0].under_way = 2;
            crowd.all[0].take(first.as_bytes()).unwrap();
            let refusal = crowd.all[0].take(second.as_bytes()).unwrap_err();
            assert!(refusal.contains(sentence), "{refusal}");
        }
    }
}
