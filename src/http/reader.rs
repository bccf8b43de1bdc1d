//! Bytes of one client in, requests out, in any split of the bytes (RFC 9112).
//!
//! [`Reader::next`] is called on each read until it answers `None`, or until the caller has something to answer first:
//! then [`Reader::keep`] keeps what is unread. A request that lies whole in the read is handed out as slices of it; what
//! is partial, or kept, moves to a box, so an idle connection owns three words.
//! ```text
//!  between requests ──part of a head──> head ──its end (Begun)──> body ──its end (Request)──> between requests
//!      │   ^ └──────────────── all of it (Request) ─┐              │
//!      │   └─────────────────────────────────────────┘              └──Problem, Refused, or a last request──> stopped
//! ```

use super::chunked::Chunked;
use super::framing::{Framing, expects_continue, framing};
use super::head::{head_len, whole_head};
use super::repeat::is_alike;
use super::{Field, Head, Problem, Repeat, Terms, tokens};
use crate::limits::{HEAD_BYTES_MAX, PIPELINE_BYTES_MAX, READ_BYTES_PER_TURN};

/// What a client sent. It lives until the next call of [`Reader::next`].
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole request.
    Request(Request<'a>),
    /// A request whose body has not come whole: the next event is the request itself, unless the caller answers already
    /// and ends the connection.
    Begun(Begun<'a>),
    /// The head is a good one, but what is to follow it cannot be read: the connection is to be closed after the answer.
    Refused(Head<'a>, Problem),
}

/// The begin of a request.
#[derive(Debug)]
pub struct Begun<'a> {
    /// Valid.
    pub head: Head<'a>,
    /// The client waits for [`CONTINUE`] before it sends the body (RFC 9110 10.1.1).
    pub awaits: bool,
}

/// A whole request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Valid, and consistent with `body`.
    pub head: Head<'a>,
    /// At most `body_bytes_max` bytes, without transfer coding; empty if there is none.
    pub body: &'a [u8],
    /// How to answer.
    pub terms: Terms,
    /// The head announced a body, if only an empty one.
    pub announced: bool,
    /// What came behind it begins with the same head as far as its Content-Length: worth a [`Repeat`].
    pub repeats: bool,
}

impl<'a> Request<'a> {
    /// The body of a request that makes no sense without one.
    ///
    /// # Errors
    /// 411 if none was announced (RFC 9110 15.5.12).
    pub fn required_body(&self) -> Result<&'a [u8], Problem> {
        if self.announced {
            return Ok(self.body);
        }
        Err(Problem::new(411, "this needs a body: send Content-Length, or Transfer-Encoding: chunked"))
    }
}

/// The interim answer to a client that waits before it sends the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One read's bytes, consumed by [`Reader::next`]. Chunked bodies are decoded in place.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    /// `bytes[at..]` are unread.
    at: usize,
}

impl<'b> Input<'b> {
    /// All of `bytes` was read.
    #[must_use]
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.at
    }

    /// The bytes that no event has consumed yet.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }
}

/// The state of one connection, made to be small in a slab of many.
///
/// ```
/// use wirefan::http::{CONTINUE, Date, Event, Input, Reader, Response, Terms};
///
/// let (mut reader, mut out, date) = (Reader::new(), Vec::new(), Date::new(784_111_777));
/// let mut read = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".to_vec();
/// let mut input = Input::new(&mut read);
/// loop {
///     match reader.next(&mut input, 65_536) {
///         Ok(None) => break,
///         Ok(Some(Event::Begun(begun))) if begun.awaits => out.extend_from_slice(CONTINUE),
///         Ok(Some(Event::Begun(_))) => {}
///         Ok(Some(Event::Refused(_, problem))) => Response::problem(&mut out, &problem, Terms::CLOSE, Some(&date)),
///         Ok(Some(Event::Request(request))) => {
///             Response::begin(&mut out, 200, request.terms, Some(&date)).body("text/plain", request.body);
///             // Were the answer still to come, this would be `reader.keep(&mut input)` and the end of the loop.
///         }
///         Err(problem) => Response::problem(&mut out, &problem, Terms::CLOSE, Some(&date)),
///     }
/// }
/// assert!(out.ends_with(b"\r\nContent-Length: 2\r\n\r\nhi"));
/// ```
#[derive(Debug, Default)]
pub struct Reader {
    stopped: bool,
    kept: Option<Box<Kept>>,
    partial: Option<Box<Partial>>,
}

const _: () = assert!(size_of::<Reader>() <= 24);

/// Unread bytes of earlier reads: `bytes[at..]`.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    at: usize,
}

/// A request of which a part has come.
#[derive(Debug)]
struct Partial {
    /// The head's bytes, then those of the decoded body.
    bytes: Vec<u8>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The head goes on; its first `judged` bytes may begin one.
    Head { judged: usize },
    /// The head is `bytes[..head_len]`, the body goes on.
    Body { head_len: usize, rest: Rest },
    /// The request was handed out: the box is freed by the next call.
    HandedOut,
}

/// What is still to come of a body.
#[derive(Debug)]
enum Rest {
    Bytes(usize),
    Chunks(Chunked),
}

/// What was found in the bytes of a [`Partial`], behind whose head the body begins.
enum Found {
    Begun { awaits: bool },
    Request,
    Refused(Problem),
}

impl Reader {
    /// A reader for the first bytes of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { stopped: false, kept: None, partial: None }
    }

    /// The next event, or `None` when all input is consumed; then, and only then, may the buffer be reused without
    /// [`Reader::keep`].
    ///
    /// `body_bytes_max` bounds one request's body, in bytes.
    ///
    /// # Errors
    /// Why the bytes are no request's head; the connection is to be closed after the answer. Then, after
    /// [`Event::Refused`] and after a request that ends its connection, the rest of the input stays unread and every later
    /// call answers `Ok(None)`.
    pub fn next<'a>(
        &'a mut self,
        input: &'a mut Input<'_>,
        body_bytes_max: usize,
    ) -> Result<Option<Event<'a>>, Problem> {
        self.free();
        if self.stopped {
            return Ok(None);
        }
        let Self { stopped, kept, partial } = self;
        let result = match kept {
            None => next_in(partial, input.bytes, &mut input.at, body_bytes_max),
            Some(kept) => match kept.append(input) {
                Ok(()) => next_in(partial, &mut kept.bytes, &mut kept.at, body_bytes_max),
                Err(problem) => Err(problem),
            },
        };
        *stopped = match &result {
            Ok(Some(Event::Request(request))) => !request.terms.keep_alive,
            Ok(Some(Event::Begun(_)) | None) => false,
            Ok(Some(Event::Refused(..))) | Err(_) => true,
        };
        result
    }

    /// The body of the next request, if it is there whole and has the same head as the request before, which was this one;
    /// otherwise nothing is consumed, and [`Reader::next`] goes on. The terms are those of the request before.
    pub fn again<'a>(&'a mut self, input: &'a mut Input<'_>, head: &Repeat) -> Option<&'a [u8]> {
        self.free();
        if self.stopped || self.partial.is_some() {
            return None;
        }
        let (bytes, at) = match &mut self.kept {
            None => (&*input.bytes, &mut input.at),
            Some(kept) => {
                kept.append(input).ok()?; // if it is too much, `next` says so
                (&kept.bytes[..], &mut kept.at)
            }
        };
        let (head_len, body_len) = head.find(&bytes[*at..])?;
        let begin = *at + head_len;
        *at = begin + body_len;
        Some(&bytes[begin..begin + body_len])
    }

    /// Keeps what is unread of `input` for later calls of [`Reader::next`], because an earlier request is to be answered
    /// first.
    ///
    /// # Errors
    /// 429 if more than `limits::PIPELINE_BYTES_MAX` bytes are unread: reading has to pause while [`Reader::is_keeping`].
    pub fn keep(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        self.free();
        if self.stopped || input.rest().is_empty() {
            return Ok(());
        }
        let kept = self.kept.get_or_insert_default().append(input);
        self.stopped = kept.is_err();
        kept
    }

    /// Whether there are unread bytes of earlier reads.
    #[must_use]
    pub fn is_keeping(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.at < kept.bytes.len())
    }

    /// Whether a request has begun that is not whole yet: a deadline stands behind it.
    #[must_use]
    pub fn is_inside_request(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| !matches!(partial.stage, Stage::HandedOut))
    }

    /// The unread bytes of earlier reads: after an upgrade they come before those of the last input.
    #[must_use]
    pub fn into_kept(self) -> Vec<u8> {
        let mut kept = self.kept.map_or_else(Kept::default, |kept| *kept);
        kept.bytes.drain(..kept.at);
        kept.bytes
    }

    /// Heap bytes owned now: 0 unless a request is partial, was so before it was handed out, or input is kept.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let kept = self.kept.as_ref().map_or(0, |kept| size_of::<Kept>() + kept.bytes.capacity());
        let partial = self.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.bytes.capacity());
        kept + partial
    }

    /// Frees what the last event borrowed.
    fn free(&mut self) {
        if self.stopped || matches!(self.partial.as_deref(), Some(Partial { stage: Stage::HandedOut, .. })) {
            self.partial = None;
        }
        if self.stopped || !self.is_keeping() {
            self.kept = None;
        }
    }
}

impl Kept {
    /// Takes all that is unread of `input`.
    fn append(&mut self, input: &mut Input<'_>) -> Result<(), Problem> {
        let more = &input.bytes[input.at..];
        if more.is_empty() {
            return Ok(());
        }
        if self.bytes.len() - self.at + more.len() > PIPELINE_BYTES_MAX {
            return Err(Problem::new(429, "more requests are pipelined than this server keeps: wait for an answer"));
        }
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(more);
        input.at = input.bytes.len();
        Ok(())
    }
}

/// Reads on at `bytes[*at..]`.
fn next_in<'a>(
    partial: &'a mut Option<Box<Partial>>,
    bytes: &'a mut [u8],
    at: &mut usize,
    max: usize,
) -> Result<Option<Event<'a>>, Problem> {
    let unread = &mut bytes[*at..];
    match partial {
        None => begin(partial, unread, at, max),
        Some(partial) => match partial.resume(unread, at, max)? {
            Some((head_len, found)) => partial.event(head_len, found).map(Some),
            None => Ok(None),
        },
    }
}

/// Reads the next request, between requests.
fn begin<'a>(
    partial: &mut Option<Box<Partial>>,
    unread: &'a mut [u8],
    at: &mut usize,
    max: usize,
) -> Result<Option<Event<'a>>, Problem> {
    let Some(len) = head_len(unread)? else {
        if !unread.is_empty() {
            *at += unread.len();
            let stage = Stage::Head { judged: unread.len() };
            *partial = Some(Box::new(Partial { bytes: unread.to_vec(), stage }));
        }
        return Ok(None);
    };
    let (head_bytes, behind) = unread.split_at_mut(len);
    let head_bytes = &*head_bytes;
    let head = whole_head(head_bytes)?;
    *at += len;
    let body = match Rest::begin(&head, max) {
        Ok(body) => body,
        Err(problem) => return Ok(Some(Event::Refused(head, problem))),
    };
    let mut rest = body.rest;
    if body.awaited {
        *partial = Some(Partial::new(head_bytes, rest));
        return Ok(Some(Event::Begun(Begun { head, awaits: true })));
    }
    let (read, written) = match rest.take(behind) {
        Ok(taken) => taken,
        Err(problem) => return Ok(Some(Event::Refused(head, problem))),
    };
    *at += read;
    let (announced, body) = (body.announced, &behind[..written]);
    if rest.is_done() {
        let (terms, repeats) = (Terms::of(&head), is_alike(&head, &behind[read..]));
        return Ok(Some(Event::Request(Request { head, body, terms, announced, repeats })));
    }
    let mut begun = Partial::new(head_bytes, rest);
    begun.bytes.extend_from_slice(body);
    *partial = Some(begun);
    Ok(Some(Event::Begun(Begun { head, awaits: false })))
}

/// What a head says of its body.
struct Body {
    announced: bool,
    rest: Rest,
    /// The client waits for [`CONTINUE`] and has something to send after it.
    awaited: bool,
}

impl Rest {
    /// What is to come behind this head.
    fn begin(head: &Head<'_>, max: usize) -> Result<Body, Problem> {
        let (announced, rest) = Self::of(head, max)?;
        let awaited = expects_continue(head)? && !rest.is_done();
        Ok(Body { announced, rest, awaited })
    }

    /// Whether a body was announced, and what is to come of it.
    fn of(head: &Head<'_>, max: usize) -> Result<(bool, Self), Problem> {
        let framing = framing(head)?;
        // RFC 6455 4.1: nothing but frames may follow a handshake, whatever a proxy may believe. It is not waited for.
        if framing != Framing::Absent
            && !head.lacks(Field::Upgrade)
            && tokens(head, "upgrade").any(|name| name.eq_ignore_ascii_case(b"websocket"))
        {
            return Err(Problem::bad_request(
                "a WebSocket handshake has no body: Content-Length and Transfer-Encoding are refused",
            ));
        }
        match framing {
            Framing::Absent => Ok((false, Self::Bytes(0))),
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= max => Ok((true, Self::Bytes(length))),
                _ => Err(Problem::content_too_large()),
            },
            Framing::Chunked => Ok((true, Self::Chunks(Chunked::new(max)))),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Self::Bytes(left) => *left == 0,
            Self::Chunks(chunked) => chunked.is_done(),
        }
    }

    /// Consumes the body's bytes: how many were read, and how many at the front of `bytes` are its decoded part.
    fn take(&mut self, bytes: &mut [u8]) -> Result<(usize, usize), Problem> {
        match self {
            Self::Bytes(left) => {
                let len = bytes.len().min(*left);
                *left -= len;
                Ok((len, len))
            }
            Self::Chunks(chunked) => chunked.decode(bytes).map(|step| (step.read, step.written)),
        }
    }
}

impl Partial {
    /// With a whole head.
    fn new(head: &[u8], rest: Rest) -> Box<Self> {
        // The client's word for the length is taken for one read at most.
        let more = if let Rest::Bytes(left) = rest { left.min(READ_BYTES_PER_TURN) } else { 0 };
        let mut bytes = Vec::with_capacity(head.len() + more);
        bytes.extend_from_slice(head);
        Box::new(Self { bytes, stage: Stage::Body { head_len: head.len(), rest } })
    }

    /// Takes more of the request from `unread`. If something was found: it, and the length of the head.
    fn resume(&mut self, unread: &mut [u8], at: &mut usize, max: usize) -> Result<Option<(usize, Found)>, Problem> {
        let (mut unread, mut fresh) = (unread, false);
        if let Stage::Head { judged } = self.stage {
            let (read, head_len) = self.take_head(unread, judged)?;
            *at += read;
            unread = &mut unread[read..];
            let Some(head_len) = head_len else { return Ok(None) };
            let Body { rest, awaited, .. } = match Rest::begin(&whole_head(&self.bytes)?, max) {
                Ok(body) => body,
                Err(problem) => return Ok(Some((head_len, Found::Refused(problem)))),
            };
            self.stage = Stage::Body { head_len, rest };
            if awaited {
                return Ok(Some((head_len, Found::Begun { awaits: true })));
            }
            fresh = true;
        }
        let Stage::Body { head_len, rest } = &mut self.stage else {
            return Ok(None);
        };
        let head_len = *head_len;
        let (read, written) = match rest.take(unread) {
            Ok(taken) => taken,
            Err(problem) => return Ok(Some((head_len, Found::Refused(problem)))),
        };
        *at += read;
        self.bytes.extend_from_slice(&unread[..written]);
        if !rest.is_done() {
            return Ok(fresh.then_some((head_len, Found::Begun { awaits: false })));
        }
        self.stage = Stage::HandedOut;
        Ok(Some((head_len, Found::Request)))
    }

    /// Takes more of the head: how many bytes of `unread` were its own, and its length if it is whole now.
    fn take_head(&mut self, unread: &[u8], judged: usize) -> Result<(usize, Option<usize>), Problem> {
        let before = self.bytes.len();
        let offered = &unread[..unread.len().min(HEAD_BYTES_MAX - before)];
        self.bytes.extend_from_slice(offered);
        let len = self.bytes.len();
        // A head that drips in is not judged anew for each drop: only where it may end, and as it grows by a quarter.
        if !offered.contains(&b'\n') && len < HEAD_BYTES_MAX && len < judged + judged / 4 + 1 {
            return Ok((offered.len(), None));
        }
        let Some(head_len) = head_len(&self.bytes)? else {
            self.stage = Stage::Head { judged: len };
            return Ok((offered.len(), None));
        };
        self.bytes.truncate(head_len);
        // A head ends in LF, and those of earlier reads were judged.
        Ok((head_len - before, Some(head_len)))
    }

    /// The event that was found. The head was judged before: it is parsed again because it could not be kept beside its
    /// bytes.
    fn event(&self, head_len: usize, found: Found) -> Result<Event<'_>, Problem> {
        let (head, body) = self.bytes.split_at(head_len);
        let head = whole_head(head)?;
        Ok(match found {
            Found::Begun { awaits } => Event::Begun(Begun { head, awaits }),
            Found::Refused(problem) => Event::Refused(head, problem),
            Found::Request => {
                let announced = framing(&head)? != Framing::Absent;
                Event::Request(Request { terms: Terms::of(&head), head, body, announced, repeats: false })
            }
        })
    }
}

#[cfg(test)]
mod tests;
