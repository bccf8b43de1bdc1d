//! Queries and percent-encoding: `?topic=a&topic=b%2Fc` in, decoded pairs in order out (RFC 3986 2.1, WHATWG URL 5.1).
//!
//! Routes parse a query once and a path segment where they need it. A `%` that begins no escape and text that is no
//! UTF-8 are refused rather than mended. [`Target`] is the only way to show a request target: it hides tokens.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};
use smallvec::SmallVec;

use super::Problem;
use crate::limits::QUERY_PARAMETERS_MAX;

/// The parameters of a query, decoded; at most `limits::QUERY_PARAMETERS_MAX`. Borrowed where nothing was encoded.
pub struct Query<'a> {
    pairs: SmallVec<[(Cow<'a, str>, Cow<'a, str>); 4]>,
}

impl<'a> Query<'a> {
    /// Parses what follows `?`. Empty pairs are skipped, a pair without `=` has an empty value.
    ///
    /// # Errors
    /// 400 for a bad escape, for what is no UTF-8 and for too many parameters.
    pub fn parse(query: &'a str) -> Result<Self, Problem> {
        let mut pairs = SmallVec::new();
        let plain = memchr2(b'%', b'+', query.as_bytes()).is_none();
        let decode = |text| if plain { Ok(Cow::Borrowed(text)) } else { decode(text, Plus::IsSpace) };
        for pair in parameters(query).filter(|pair| !pair.is_empty()) {
            if pairs.len() == QUERY_PARAMETERS_MAX {
                return Err(Problem::bad_request("the query has more than 512 parameters"));
            }
            let (name, value) = cut(pair, b'=');
            pairs.push((decode(name)?, decode(value.unwrap_or(""))?));
        }
        Ok(Self { pairs })
    }

    /// The values of this name, in order.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> + use<'a, 'q> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_ref())
    }

    /// The only value of this name.
    ///
    /// # Errors
    /// 400 if there are several.
    pub fn single(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let mut values = self.pairs.iter().filter(|(key, _)| key == name);
        let first = values.next();
        match values.next() {
            None => Ok(first.map(|(_, value)| value.as_ref())),
            Some(_) => Err(Problem::new(400, format!("the query names `{name}` more than once"))),
        }
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// What a query has between its ampersands, in order.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let (parameter, behind) = cut(rest?, b'&');
        rest = behind;
        Some(parameter)
    })
}

/// What is before the first `byte`, an ASCII character, and what is behind it. `str::split` looks at bytes one by one.
fn cut(text: &str, byte: u8) -> (&str, Option<&str>) {
    match memchr(byte, text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// The names alone: a value may be a token.
impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

/// What a `+` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plus {
    /// In a query, as forms write it.
    IsSpace,
    /// In a path.
    IsPlus,
}

/// A path segment without its percent-encoding.
///
/// # Errors
/// 400 for a bad escape and for what is no UTF-8.
pub fn decode_segment(segment: &str) -> Result<Cow<'_, str>, Problem> {
    decode(segment, Plus::IsPlus)
}

fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, Problem> {
    let first = match plus {
        Plus::IsSpace => memchr2(b'%', b'+', text.as_bytes()),
        Plus::IsPlus => memchr(b'%', text.as_bytes()),
    };
    let Some(first) = first else {
        return Ok(Cow::Borrowed(text));
    };
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    decoded.extend_from_slice(&bytes[..first]);
    let mut rest = &bytes[first..];
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        decoded.push(match byte {
            b'%' => {
                let (Some(high), Some(low)) = (hex(rest.first()), hex(rest.get(1))) else {
                    return Err(Problem::bad_request("a % in the request target is not followed by two hex digits"));
                };
                rest = &rest[2..];
                high << 4 | low
            }
            b'+' if plus == Plus::IsSpace => b' ',
            other => other,
        });
    }
    match String::from_utf8(decoded) {
        Ok(decoded) => Ok(Cow::Owned(decoded)),
        Err(_) => Err(Problem::bad_request("the request target is not UTF-8 behind its percent-encoding")),
    }
}

fn hex(digit: Option<&u8>) -> Option<u8> {
    let value = char::from(*digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// A request target for people and logs. The value of `access_token` is never shown, however its name is spelled; that
/// of a name that cannot be decoded neither.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)?;
        for (index, pair) in self.query.split('&').enumerate() {
            if index > 0 || !self.query.is_empty() {
                f.write_str(if index == 0 { "?" } else { "&" })?;
            }
            match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => write!(f, "{name}=[redacted]")?,
                _ => f.write_str(pair)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_secret(name: &str) -> bool {
    decode(name, Plus::IsSpace).map_or(true, |name| name.trim().eq_ignore_ascii_case("access_token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        Query::parse(query).unwrap().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn shown(path: &str, query: &str) -> String {
        Target { path, query }.to_string()
    }

    #[test]
    fn parameters_come_decoded_and_in_order() {
        let expected = [("topic", "a/b"), ("n", ""), ("topic", "c d+e"), ("x", ""), ("", "y"), ("é", "1=2")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(pairs("topic=a/b&n&topic=c+d%2be&&x=&=y&%C3%a9=1=2"), expected);
        assert_eq!(pairs(""), []);
        assert_eq!(pairs("&&"), []);
        let query = Query::parse("topic=a&n=1&topic=b").unwrap();
        assert_eq!(query.all("topic").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.single("n"), Ok(Some("1")));
        assert_eq!(query.single("m"), Ok(None));
        assert_eq!(query.single("topic").unwrap_err().status, 400);
    }

    #[test]
    fn rfc3986_2_1_bad_escapes_and_what_is_no_utf8_are_refused() {
        for query in ["a=%", "a=%4", "a=%4g", "a=%g4", "%=a", "a=%+1", "a=%ff", "a=%C3", "a=%ed%a0%80", "b=1&a=%C3&c"] {
            assert_eq!(Query::parse(query).unwrap_err().status, 400, "{query}");
            assert_eq!(decode_segment(query).unwrap_err().status, 400, "{query}");
        }
    }

    #[test]
    fn rfc3986_3_3_a_plus_in_a_path_is_a_plus() {
        assert_eq!(decode_segment("a+b%2Fc%20d").unwrap(), "a+b/c d");
        assert!(matches!(decode_segment("a+b"), Ok(Cow::Borrowed("a+b"))));
    }

    #[test]
    fn a_query_has_at_most_512_parameters() {
        let fits = vec!["a"; 512].join("&");
        assert_eq!(Query::parse(&fits).unwrap().iter().count(), 512);
        assert_eq!(Query::parse(&format!("{fits}&b")).unwrap_err().status, 400);
    }

    #[test]
    fn what_is_not_encoded_is_borrowed() {
        let query = Query::parse("topic=a/b&last=3").unwrap();
        assert!(!query.pairs.spilled());
        assert!(query.pairs.iter().all(|pair| matches!(pair, (Cow::Borrowed(_), Cow::Borrowed(_)))));
    }

    #[test]
    fn a_token_in_the_query_is_never_shown() {
        assert_eq!(shown("/v1/x", ""), "/v1/x");
        assert_eq!(shown("/v1/x", "a=1&b&access_token=s3cret&c=%20"), "/v1/x?a=1&b&access_token=[redacted]&c=%20");
        for name in ["access_token", "access%5Ftoken", "ACCESS_TOKEN", "%61ccess_token", "+access_token", "a%", "%ff"] {
            for query in [format!("{name}=s3cret"), format!("a&{name}=s3cret=s3cret"), format!("{name}=s3cret&b=1")] {
                let (shown, query_debug) = (shown("/", &query), format!("{:?}", Query::parse(&query)));
                assert!(!shown.contains("s3cret") && shown.contains(name), "{shown}");
                assert!(!query_debug.contains("s3cret"), "{query_debug}");
            }
        }
    }

    #[test]
    fn a_head_shown_for_debugging_tells_no_secrets() {
        let text = "GET /x?access_token=s3cret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\n\r\n";
        let shown = format!("{:?}", crate::http::parse_head(text.as_bytes()).unwrap());
        assert!(!shown.contains("s3cret") && shown.contains("/x?access_token=[redacted]"), "{shown}");
    }
}
