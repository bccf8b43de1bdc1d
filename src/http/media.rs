//! What a body is made of: Content-Type and Content-Encoding, judged (RFC 9110 8.3 and 8.4).
//!
//! Routes that take a body ask [`MediaType::of`] before they look into it. Nothing is guessed from the body's bytes, and
//! nothing is decompressed.

use super::head::is_token_byte;
use super::{Field, Head, Problem};

/// A media type without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    essence: &'a str,
}

impl<'a> MediaType<'a> {
    /// What the body is said to be; `None` if nothing is said.
    ///
    /// # Errors
    /// 400 for a Content-Type that is none; 415 for text in another charset than UTF-8 and for a compressed body.
    pub fn of(head: &Head<'a>) -> Result<Option<Self>, Problem> {
        if !head.lacks(Field::ContentEncoding)
            && super::tokens(head, "content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
        {
            // RFC 9110 15.5.16: this is how a client learns which codings would do.
            return Err(Problem::new(415, "the body must not be compressed").with_header("Accept-Encoding", "identity"));
        }
        let Some(value) = head.single(Field::ContentType, "more than one Content-Type header")? else {
            return Ok(None);
        };
        if value == JSON.as_bytes() {
            return Ok(Some(Self { essence: JSON })); // as nearly all send it: nothing to look for in it
        }
        let malformed = || Problem::bad_request("the Content-Type header is not type/subtype");
        let value = std::str::from_utf8(value).map_err(|_| malformed())?;
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        let essence = essence.trim_ascii_end();
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(is_token_byte);
        if !essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype)) {
            return Err(malformed());
        }
        let media = Self { essence };
        if (media.is_text() || media.is(JSON)) && !is_utf8(parameters) {
            return Err(Problem::new(415, "text must be UTF-8"));
        }
        Ok(Some(media))
    }

    /// Whether it is this one, in lower case or not (RFC 9110 8.3.1).
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// `text/*`.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.essence.split_once('/').is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("text"))
    }
}

const JSON: &str = "application/json";

/// No parameter names a charset that is not UTF-8, or a part of it.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim_ascii().trim_matches('"');
        !name.trim_ascii().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii"].iter().any(|charset| value.eq_ignore_ascii_case(charset))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn judge(headers: &str) -> Result<Option<String>, u16> {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
        let media = MediaType::of(&head).map_err(|problem| problem.status)?;
        Ok(media.map(|media| {
            let json = media.is("application/json");
            format!("{} {json} {}", media.essence, media.is_text())
        }))
    }

    #[test]
    fn rfc9110_8_3_1_media_types() {
        for (value, media) in [
            ("application/json", "application/json true false"),
            ("Application/JSON;charset=UTF-8", "Application/JSON true false"),
            ("TEXT/plain ; charset=\"utf-8\"; format=flowed", "TEXT/plain false true"),
            ("text/plain;charset=us-ascii", "text/plain false true"),
            ("application/octet-stream;charset=latin1", "application/octet-stream false false"),
            ("application/json5", "application/json5 false false"),
        ] {
            assert_eq!(judge(&format!("Content-Type: {value}\r\n")), Ok(Some(media.to_owned())), "{value}");
        }
        assert_eq!(judge(""), Ok(None));
    }

    #[test]
    fn rfc9110_8_3_malformed_media_types_are_refused() {
        for value in ["", "json", "/", "a/", "/b", "a b/c", "a/b/c", "a/b, c/d", ";charset=utf-8", "a/\u{e9}"] {
            assert_eq!(judge(&format!("Content-Type: {value}\r\n")), Err(400), "{value}");
        }
        assert_eq!(judge("Content-Type: a/b\r\nContent-Type: a/b\r\n"), Err(400));
    }

    #[test]
    fn rfc9110_15_5_16_other_charsets_and_compressed_bodies_get_415() {
        for value in ["text/plain; charset=latin1", "application/json;a=b;Charset=\"utf-16\"", "text/html; charset="] {
            assert_eq!(judge(&format!("Content-Type: {value}\r\n")), Err(415), "{value}");
        }
        assert_eq!(judge("Content-Type: text/plain\r\nContent-Encoding: gzip\r\n"), Err(415));
        assert_eq!(judge("Content-Encoding: identity\r\n"), Ok(None));
    }
}
