//! A command's connection to the broker, from the greeting on: what `publish`, `subscribe` and `top` have in common.
//!
//! Waits in one place for replies, input and signals, with standard output flushed before every wait; turns every way
//! for the connection to end into a sentence.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;
use std::time::Duration;

use super::outcome::Failure;
use super::reply::{self, Reply};
use crate::net::client::{BearerToken, Client, ConnectError, Ended, Heard, Url};
use crate::ws::Kind;
use crate::ws::handshake::ClientError;

/// A connection that the broker has welcomed.
pub(super) struct Connection {
    client: Client,
    url: Url,
    /// It came with a token.
    known: bool,
    /// How long the broker may be silent while nothing is asked of it.
    patience: Duration,
    /// Longest message that the broker takes, in bytes.
    message_bytes_max: Option<usize>,
}

/// What a command waits for.
pub(super) enum Arrival {
    Text(String),
    Binary(Vec<u8>),
    Line(Vec<u8>),
    LinesEnded(io::Result<()>),
    Interrupted,
}

/// Standard output, written in large pieces.
pub(super) type Out = BufWriter<StdoutLock<'static>>;

impl Connection {
    /// Connects and waits for the welcome.
    pub(super) fn open(url: &Url, ca: Option<&Path>, token: Option<&BearerToken>) -> Result<Self, Failure> {
        if ca.is_some() && !url.is_secure() {
            return Err(Failure::Wrong(format!("--ca is for wss://, and {url} is in the clear")));
        }
        let known = token.is_some() || url.has_token();
        let client = Client::connect(url, ca, token, ANSWER_PATIENCE).map_err(|error| {
            let status = match error {
                ConnectError::Answer(ClientError::Refused { status, .. }) => status,
                _ => 0,
            };
            let hint = if status == 401 && !known { format!("; {GIVE_TOKEN}") } else { String::new() };
            let sentence = format!("cannot connect to {url}: {error}{hint}");
            if matches!(status, 401 | 403) { Failure::Refused(sentence) } else { Failure::Failed(sentence) }
        })?;
        let mut connection =
            Self { client, url: url.clone(), known, patience: ANSWER_PATIENCE, message_bytes_max: None };
        match connection.client.wait(ANSWER_PATIENCE) {
            Heard::Silence => return Err(connection.no_broker()),
            heard => match connection.arrival(heard)? {
                Arrival::Text(text) => {
                    let Ok(Reply::Welcome { heartbeat, message_bytes }) = reply::read_text(&text) else {
                        return Err(connection.no_broker());
                    };
                    connection.message_bytes_max = message_bytes;
                    connection.patience = patience(heartbeat);
                }
                _ => return Err(connection.no_broker()),
            },
        }
        Ok(connection)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a message; one that is longer than the broker takes is refused here, where there is a sentence for it.
    pub(super) fn send(&self, kind: Kind, payload: &[u8]) -> Result<(), String> {
        if let Some(max) = self.message_bytes_max
            && payload.len() > max
        {
            return Err(format!(
                "it makes a message of {} bytes, and the broker at {} takes {max} at most",
                payload.len(),
                self.url
            ));
        }
        // If the socket is broken, the inbox says why, and better.
        let _ = self.client.send(kind, payload);
        Ok(())
    }

    /// Waits for what comes next. `asked`: an answer is due, so that silence is told soon.
    pub(super) fn next(&self, asked: bool, out: &mut impl Write) -> Result<Arrival, Failure> {
        let heard = match self.client.heard() {
            Some(heard) => heard,
            None => {
                out.flush().map_err(|error| Failure::from_stdout(&error))?;
                let patience = if asked { ANSWER_PATIENCE.min(self.patience) } else { self.patience };
                self.client.wait(patience)
            }
        };
        self.arrival(heard)
    }

    /// Says goodbye.
    pub(super) fn close(self) {
        self.client.close();
    }

    /// A message that is none of the protocol.
    pub(super) fn garbled(&self, reason: &str) -> Failure {
        Failure::Failed(format!("{} sent what no broker sends: {reason}", self.url))
    }

    fn no_broker(&self) -> Failure {
        Failure::Failed(format!("{} did not welcome us as a broker does; its WebSocket is at /ws", self.url))
    }

    /// The broker ended the connection for want of a token that is good.
    fn unwelcome(&self, code: u16, reason: &str) -> String {
        match code {
            4001 => format!("the broker ended the connection with {code}: {reason}"),
            _ if self.known => format!("the broker refuses the token with {code}: {reason}"),
            _ => format!("the broker wants to know who you are, and closed with {code}: {reason}; {GIVE_TOKEN}"),
        }
    }

    fn arrival(&self, heard: Heard) -> Result<Arrival, Failure> {
        let sentence = match heard {
            Heard::Text(text) => return Ok(Arrival::Text(text)),
            Heard::Binary(bytes) => return Ok(Arrival::Binary(bytes)),
            Heard::Line(line) => return Ok(Arrival::Line(line)),
            Heard::LinesEnded(ended) => return Ok(Arrival::LinesEnded(ended)),
            Heard::Interrupted => return Ok(Arrival::Interrupted),
            Heard::Ended(Ended::Closed { code: Some(code @ (4001 | 4501)), reason }) => {
                return Err(Failure::Refused(format!("{}: {}", self.url, self.unwelcome(code, &reason))));
            }
            Heard::Ended(ended @ Ended::Closed { code: Some(4500..=4999), .. }) => {
                return Err(Failure::Refused(format!("{}: {ended}", self.url)));
            }
            Heard::Ended(ended) => ended.to_string(),
            Heard::Silence => "the broker does not answer any more".to_owned(),
        };
        Err(Failure::Failed(format!("{}: {sentence}", self.url)))
    }
}

/// Standard output for data.
pub(super) fn out() -> Out {
    BufWriter::new(io::stdout().lock())
}

/// The broker sends a ping in every heartbeat in which nothing else passed; two may be late or missed.
fn patience(heartbeat_s: Option<u64>) -> Duration {
    let heartbeat_s = heartbeat_s.filter(|&seconds| seconds > 0).unwrap_or(HEARTBEAT_S_MAX);
    ANSWER_PATIENCE + Duration::from_secs(3 * heartbeat_s.min(HEARTBEAT_S_MAX))
}

/// What to do about an answer that asks who one is.
pub(super) const GIVE_TOKEN: &str = "give a token with --token or the variable WIREFAN_TOKEN";

/// How long the broker may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A day, which is the longest that can be configured, and stands for none.
const HEARTBEAT_S_MAX: u64 = 86_400;
