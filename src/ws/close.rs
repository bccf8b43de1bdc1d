//! The payload of a close frame: which codes and reasons may be on the wire (RFC 6455 5.5.1 and 7.4).
//!
//! The decoder calls [`parse`] for every close frame it reads. It refuses what a peer may never send.

use super::Violation;

/// Whether a peer may send this close code: 1000-1003, 1007-1014 or 3000-4999.
///
/// RFC 6455 7.4.1 keeps 1004, 1005, 1006 and 1015 off the wire; 1012-1014 are in the IANA registry of 11.7; the rest
/// below 3000 is reserved, and 7.4.2 ends at 4999.
#[must_use]
pub const fn is_valid_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Code and reason of a whole close payload; an empty one has neither.
pub(super) fn parse(payload: &[u8]) -> Result<(Option<u16>, &str), Violation> {
    match payload {
        [] => Ok((None, "")),
        [_] => Err(Violation::ClosePayloadOfOneByte),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !is_valid_code(code) {
                return Err(Violation::CloseCode);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
            Ok((Some(code), reason))
        }
    }
}
