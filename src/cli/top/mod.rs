//! `wirefan top`: the figures of a running broker, drawn again each second.
//!
//! It subscribes to `$sys/stats` as anybody can. Where standard output is no terminal, or with `--once`, it prints one page
//! and ends. A broker that goes away after the first page is waited for, as long as it takes; one that does not want us is
//! not asked again.

mod figure;
mod line;
mod page;
mod report;
mod screen;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use self::page::{Page, lines};
use self::report::Report;
use super::Top;
use super::connection::{Arrival, Connection, out};
use super::outcome::Failure;
use super::publish::sentence;
use super::reply::{self, Data, Reply};
use crate::net::ambient;
use crate::net::client::{BearerToken, pause};
use crate::ws::Kind;

/// Shows the broker until the user interrupts, or once.
pub(super) fn top(arguments: &Top) -> Result<(), Failure> {
    let token = arguments.who.token()?;
    let mut feed = Feed::open(arguments, token.as_ref())?;
    if arguments.once || !screen::can_redraw() {
        return print_once(arguments, &feed);
    }
    let url = arguments.url.to_string();
    let mut now = feed.next()?;
    let mut before = None;
    let screen = screen::enter()?;
    loop {
        let (columns, rows) = screen::size();
        screen.draw(&lines(
            &Page { url: &url, now: &now, before: before.as_ref(), gone: None },
            columns,
            Some(rows),
        ))?;
        match feed.next() {
            Ok(report) => before = Some(std::mem::replace(&mut now, report)),
            Err(Failure::Failed(why)) => {
                (feed, now) = come_back(arguments, token.as_ref(), why, |why, gone_s| {
                    let (columns, rows) = screen::size();
                    let page = Page { url: &url, now: &now, before: None, gone: Some((gone_s, why)) };
                    screen.draw(&lines(&page, columns, Some(rows)))
                })?;
                before = None;
            }
            Err(other) => return Err(other),
        }
    }
}

/// A page of the first report that has rates.
fn print_once(arguments: &Top, feed: &Feed) -> Result<(), Failure> {
    let mut before = None;
    let now = loop {
        let report = feed.next()?;
        if report.interval_ms > 0 && before.is_some() {
            break report;
        }
        before = Some(report);
    };
    let page = Page { url: &arguments.url.to_string(), now: &now, before: before.as_ref(), gone: None };
    let (columns, _) = screen::size();
    let mut out = out();
    for line in lines(&page, columns, None) {
        io::Write::write_all(&mut out, format!("{}\n", line.render(columns, false)).as_bytes())
            .map_err(|error| Failure::from_stdout(&error))?;
    }
    io::Write::flush(&mut out).map_err(|error| Failure::from_stdout(&error))
}

/// Tries until the broker is there again and has said how it does. `draw` shows why it is not, and for how long.
fn come_back(
    arguments: &Top,
    token: Option<&BearerToken>,
    mut why: String,
    draw: impl Fn(&str, u64) -> Result<(), Failure>,
) -> Result<(Feed, Report), Failure> {
    let since_s = ambient::now_unix_s();
    let mut wait_s = 1;
    loop {
        for _ in 0..wait_s {
            draw(&why, ambient::now_unix_s().saturating_sub(since_s))?;
            pause(Duration::from_secs(1));
        }
        wait_s = (wait_s * 2).min(RETRY_S_MAX);
        let back = Feed::open(arguments, token).and_then(|feed| feed.next().map(|report| (feed, report)));
        match back {
            Err(Failure::Failed(reason)) => why = reason,
            other => return other,
        }
    }
}

/// A subscription to `$sys/stats`.
struct Feed {
    connection: Connection,
}

impl Feed {
    fn open(arguments: &Top, token: Option<&BearerToken>) -> Result<Self, Failure> {
        let connection = Connection::open(&arguments.url, arguments.ca.as_deref(), token)?;
        let subscribe = br#"{"op":"subscribe","id":0,"topic":"$sys/stats"}"#;
        connection.send(Kind::Text, subscribe).map_err(Failure::Failed)?;
        Ok(Self { connection })
    }

    /// Waits for the next report; one is due each second.
    fn next(&self) -> Result<Report, Failure> {
        loop {
            let Arrival::Text(text) = self.connection.next(true, &mut io::sink())? else { continue };
            match reply::read_text(&text).map_err(|reason| self.connection.garbled(&reason))? {
                Reply::Message(publication) => {
                    let Data::Json(data) = publication.data else { continue };
                    let read = serde_json::from_str(data);
                    return read
                        .map_err(|error| self.connection.garbled(&format!("figures that cannot be read: {error}")));
                }
                Reply::Error { code, reason, .. } => {
                    let said = format!("not subscribed to \"$sys/stats\": {}", sentence(code, &reason));
                    return Err(if matches!(code, 401 | 403) { Failure::Refused(said) } else { Failure::Failed(said) });
                }
                _ => {}
            }
        }
    }
}

/// The longest time between two looks for a broker that is gone.
const RETRY_S_MAX: u32 = 5;
