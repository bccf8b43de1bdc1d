//! The parser of one shard: messages in, commands or faults out.
//!
//! `shard` calls it for each complete message and acts inside the callback, because commands borrow the message and the
//! parser's buffers. The callback runs at least once per message. A batch that is not JSON runs none of its commands; a
//! command that is wrong in a batch stops no other. Between messages the buffers stay below about 3 MiB.

use memchr::memchr;

use super::command::{Command, Form, Members};
use super::fallback;
use super::fault::{Fault, Reason};
use super::id::Id;
use super::spans::Spans;
use crate::limits::SPANS_BYTES_MAX;

#[cfg(test)]
mod tests;

/// Reads commands with reused buffers.
pub struct Parser {
    spans: Spans,
}

impl Parser {
    /// A parser without buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self { spans: Spans::new() }
    }

    /// Reads a text message: one command, or an array of at most
    /// [`BATCH_COMMANDS_MAX`](crate::limits::BATCH_COMMANDS_MAX), which are handed to `each` in order.
    pub fn text(&mut self, message: &[u8], each: &mut dyn FnMut(Result<Command<'_>, Fault>)) {
        self.read(message, true, Form::Text, each);
    }

    /// Reads a binary message: one command as the header line, a line feed, and the payload of a publish.
    ///
    /// Other ops may come this way too, with or without the line feed, but with nothing behind it.
    pub fn binary(&mut self, message: &[u8], each: &mut dyn FnMut(Result<Command<'_>, Fault>)) {
        let (header, rest) = match memchr(b'\n', message) {
            Some(end) => (&message[..end], Some(&message[end + 1..])),
            None => (message, None),
        };
        self.read(header, false, Form::Binary(rest), each);
    }

    /// Reads one publication, or an array of them as [`Parser::text`] reads commands: objects whose `op` is `publish`, said
    /// or not.
    pub fn publications(&mut self, json: &[u8], each: &mut dyn FnMut(Result<Command<'_>, Fault>)) {
        self.read(json, true, Form::Publications, each);
    }

    /// Checks a payload that comes alone: valid JSON, as deep as in a command. Without the white space around it.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn value(json: &[u8]) -> Result<&[u8], Reason> {
        fallback::value(json)
    }

    fn read(&mut self, json: &[u8], batches: bool, form: Form<'_>, each: &mut dyn FnMut(Result<Command<'_>, Fault>)) {
        let mut item = |members: Result<&Members<'_>, Reason>| match members {
            Ok(members) => each(members.command(form)),
            Err(reason) => each(Err(Fault::new(Id::None, reason))),
        };
        // simd-json writes down every number and string that it meets, in up to 30 times the message's size.
        if json.len() > SPANS_BYTES_MAX || !self.spans.read(json, batches, &mut item) {
            fallback::read(json, batches, &mut item);
        }
    }
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Parser {
    fn kept_bytes(&self) -> usize {
        self.spans.kept_bytes()
    }
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}
