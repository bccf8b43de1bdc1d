//! The extension's negotiation: a client's offers in, what the server agrees to out (RFC 6455 9.1, RFC 7692 5 and 7.1).
//!
//! The first offer that can be kept wins. One with a parameter that RFC 7692 does not define, twice the same, or a value
//! out of its range is declined and the next one looked at, as 7692 5.1 says. What is no list of extensions at all
//! fails the handshake (RFC 6455 9.1). Names and values are compared byte for byte.

use std::borrow::Cow;

use super::super::handshake::is_token_byte;
use super::deflater::WINDOW_BITS_MIN;

/// What both sides keep to: no context takeover, by either. The client's window stays as large as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The window that the client asked the server to stay within, [`WINDOW_BITS_MIN`]..=15.
    server_window_bits: Option<u8>,
}

/// The header is no list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Malformed;

/// Judges the offers in all `Sec-WebSocket-Extensions` headers of a request, `values`, in their order.
///
/// # Errors
/// [`Malformed`] if any of them breaks the grammar, whatever the others say.
pub(in super::super) fn agree<'v>(values: impl Iterator<Item = &'v [u8]>) -> Result<Option<Agreement>, Malformed> {
    let mut agreed = None;
    for value in values {
        let mut scanner = Scanner { rest: value.trim_ascii() };
        while !scanner.rest.is_empty() {
            // RFC 9110 5.6.1.2: a recipient takes empty elements of a list for none.
            if !scanner.takes(b',') {
                let offer = scanner.extension()?.filter(|offer| !offer.declined);
                agreed = agreed.or(offer.map(|offer| Agreement { server_window_bits: offer.server_window_bits }));
                if !scanner.rest.is_empty() && !scanner.takes(b',') {
                    return Err(Malformed);
                }
            }
        }
    }
    Ok(agreed)
}

/// Whether this is a server's answer to a client that offered no context takeover and said nothing of windows: it has to
/// promise the first (RFC 7692 7.1.1.1), may narrow its own window, and has nothing to ask of ours (7.1.2.2).
pub(in super::super) fn is_answer(value: &[u8]) -> bool {
    let mut scanner = Scanner { rest: value.trim_ascii() };
    match scanner.extension() {
        Ok(Some(Offer { seen: [no_context_takeover, _, _, client_window], declined, .. })) => {
            scanner.rest.is_empty() && no_context_takeover && !client_window && !declined
        }
        _ => false,
    }
}

impl Agreement {
    /// The most window bits that a frame to this client may be made with.
    #[must_use]
    pub fn server_window_bits(self) -> u8 {
        self.server_window_bits.unwrap_or(15)
    }

    /// Appends the answer's header, without what ends its line.
    pub(in super::super) fn respond(self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        );
        if let Some(bits) = self.server_window_bits {
            out.extend_from_slice(b"; server_max_window_bits=");
            out.extend_from_slice(bits.to_string().as_bytes());
        }
    }
}

/// One offer of permessage-deflate, as far as it was read.
#[derive(Default)]
struct Offer {
    /// By the order of [`PARAMETERS`].
    seen: [bool; 4],
    server_window_bits: Option<u8>,
    declined: bool,
}

/// RFC 7692 7.1, all of them.
const PARAMETERS: [&[u8]; 4] = [
    b"server_no_context_takeover",
    b"client_no_context_takeover",
    b"server_max_window_bits",
    b"client_max_window_bits",
];

impl Offer {
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) {
        let bits = value.map(window_bits);
        let keeps = match PARAMETERS.iter().position(|&known| known == name) {
            Some(number) if std::mem::replace(&mut self.seen[number], true) => false,
            Some(0 | 1) => value.is_none(),
            Some(2) => {
                self.server_window_bits = bits.flatten();
                // 7.1.2.1: a value must come. A window of 256 bytes is more than our compressor can promise.
                self.server_window_bits.is_some_and(|bits| bits >= WINDOW_BITS_MIN)
            }
            // 7.1.2.2: a hint that needs no answer, with or without a value. Every window is inflated.
            Some(_) => bits.is_none_or(|bits| bits.is_some()),
            None => false,
        };
        self.declined |= !keeps;
    }
}

/// RFC 7692 7.1.2: a number from 8 to 15 without leading zeros.
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// Reads RFC 6455 9.1's grammar off the front of a header's value; there may be blanks between any two parts.
struct Scanner<'v> {
    rest: &'v [u8],
}

impl<'v> Scanner<'v> {
    /// One extension with its parameters, if it is ours.
    fn extension(&mut self) -> Result<Option<Offer>, Malformed> {
        let is_ours = self.token()? == b"permessage-deflate";
        let mut offer = Offer::default();
        while self.takes(b';') {
            let name = self.token()?;
            let value = if self.takes(b'=') { Some(self.value()?) } else { None };
            offer.take(name, value.as_deref());
        }
        Ok(is_ours.then_some(offer))
    }

    /// Takes this byte, if it comes next, and the blanks around it.
    fn takes(&mut self, byte: u8) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let takes = self.rest.first() == Some(&byte);
        self.rest = self.rest[usize::from(takes)..].trim_ascii_start();
        takes
    }

    fn token(&mut self) -> Result<&'v [u8], Malformed> {
        let rest = self.rest.trim_ascii_start();
        let len = rest.iter().take_while(|&&byte| is_token_byte(byte)).count();
        let (token, rest) = rest.split_at(len);
        self.rest = rest.trim_ascii_start();
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// RFC 6455 9.1: a token, or one in quotation marks with any of its bytes behind a backslash.
    fn value(&mut self) -> Result<Cow<'v, [u8]>, Malformed> {
        let Some(quoted) = self.rest.strip_prefix(b"\"") else {
            return self.token().map(Cow::Borrowed);
        };
        let mut value = Vec::new();
        let mut bytes = quoted.iter();
        loop {
            match bytes.next() {
                Some(b'"') => break,
                Some(b'\\') => value.extend(bytes.next()),
                Some(&byte) => value.push(byte),
                None => return Err(Malformed),
            }
        }
        self.rest = bytes.as_slice().trim_ascii_start();
        let is_token = !value.is_empty() && value.iter().copied().all(is_token_byte);
        if is_token { Ok(Cow::Owned(value)) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
