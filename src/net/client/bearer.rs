//! A token or an API key on its way into `Authorization: Bearer` (RFC 6750 2.1).
//!
//! The command line makes one of `--token`; the handshake sends it. It is fit for the wire by existing. Neither its
//! `Debug` nor the sentence that refuses one shows anything of it.

use std::fmt;
use std::str::FromStr;

/// See the module's page.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

impl BearerToken {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BearerToken {
    type Err = &'static str;

    /// RFC 6750 2.1: `b64token`, which every JWT and every API key is. White space around it, such as the line feed
    /// that a file ends with, is no part of it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_ascii();
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        match text {
            "" => Err("is empty"),
            _ if text.bytes().all(is_fit) => Ok(Self(text.to_owned())),
            _ => Err("has characters that no token has: letters, digits and -._~+/= are all that there are"),
        }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6750_2_1_a_token_is_fit_for_a_header_and_never_shown() {
        let token: BearerToken = " eyJhbGciOi.J9-_~+/.x==\n".parse().unwrap();
        assert_eq!(token.as_str(), "eyJhbGciOi.J9-_~+/.x==");
        assert_eq!(format!("{token:?}"), "BearerToken(…)");
        for wrong in ["", " \n", "a b", "a\r\nX: y", "ä", "\"a\"", "a,b"] {
            let sentence = wrong.parse::<BearerToken>().unwrap_err();
            assert!(wrong.trim().is_empty() || !sentence.contains(wrong), "{sentence}");
        }
    }
}
