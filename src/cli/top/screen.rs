//! The terminal: its size, whether pictures can be redrawn on it, and the way back to what was there.
//!
//! `top` draws through it, with the sequences of ECMA-48 and xterm's other screen alone. Invariant: what [`enter`] changed is
//! undone by the drop of the [`Screen`] or by [`leave_and_end`], whichever comes first; nothing is drawn after the latter.

use std::io::{self, IsTerminal, Write};

use super::line::Line;
use crate::cli::outcome::Failure;
use crate::net::client::at_interrupt;

/// A terminal that shows our page instead of what was there.
pub(super) struct Screen {
    colour: bool,
}

/// Whether standard output can be drawn on again and again.
pub(super) fn can_redraw() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Columns and rows of the terminal, 80 and 24 where nobody knows.
pub(super) fn size() -> (usize, usize) {
    match terminal_size::terminal_size_of(io::stdout()) {
        Some((terminal_size::Width(columns @ 1..), terminal_size::Height(rows @ 1..))) => (columns.into(), rows.into()),
        _ => (80, 24),
    }
}

/// Begins to draw. SIGINT and SIGTERM end the process with the terminal as it was.
pub(super) fn enter() -> Result<Screen, Failure> {
    at_interrupt(leave_and_end).map_err(|error| Failure::Failed(format!("cannot catch signals: {error}")))?;
    // https://no-color.org: present and not empty, whatever it says.
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    write(ENTER).map_err(|error| Failure::from_stdout(&error))?;
    Ok(Screen { colour })
}

impl Screen {
    /// Shows these lines, as many as there is room for.
    pub(super) fn draw(&self, lines: &[Line]) -> Result<(), Failure> {
        let (columns, rows) = size();
        let mut frame = String::from(HOME);
        for (number, line) in lines.iter().take(rows).enumerate() {
            if number > 0 {
                frame.push_str("\r\n");
            }
            // Erased before it is written: behind the last column an erasure would take the last character.
            frame.push_str(ERASE_LINE);
            frame.push_str(&line.render(columns, self.colour));
        }
        if lines.len() < rows {
            frame.push_str("\r\n");
            frame.push_str(ERASE_BELOW);
        }
        write(&frame).map_err(|error| Failure::from_stdout(&error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
    }
}

/// What a signal does: it does not wait for the broker, who may be gone for minutes.
fn leave_and_end() {
    // Held to the end, so that no frame comes behind it.
    let mut out = io::stdout().lock();
    let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    std::process::exit(0);
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The other screen, without its cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const ERASE_LINE: &str = "\x1b[2K";
const ERASE_BELOW: &str = "\x1b[J";
