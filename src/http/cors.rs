//! Answers to pages of other origins (WHATWG Fetch 3.2), and to OPTIONS at large.
//!
//! The API's routes ask [`Cors::judge`] before anything else. A page whose origin is not allowed is refused outright: its
//! browser would keep the answer from it, but the publication would be made. No cookies are in play, so credentials are
//! never allowed; a token in Authorization needs no such leave.

use std::borrow::Cow;

use super::{Date, Field, Head, Problem, Response, Terms};
use crate::auth::origin::Origins;

/// What the answer to one request has to say about its origin; kept by whoever answers later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors<'a> {
    /// An allowed origin. `None`: the request is not a browser's, or needs no leave.
    origin: Option<Cow<'a, str>>,
}

impl<'a> Cors<'a> {
    /// Whether the request may be carried out, as far as its origin is concerned; `tls` as for [`Origins::allows`].
    ///
    /// # Errors
    /// 403 for an origin that is not allowed, 400 for what is none.
    pub fn judge(head: &Head<'a>, origins: &Origins, tls: bool) -> Result<Self, Problem> {
        let Some(origin) = head.single(Field::Origin, "more than one Origin header")? else {
            return Ok(Self { origin: None });
        };
        let Ok(origin) = std::str::from_utf8(origin) else {
            return Err(Problem::bad_request("the Origin header is not an origin"));
        };
        if !origins.allows(Some(origin), head.host().unwrap_or_default(), tls) {
            let refusal = Problem::new(403, "this origin is not among server.allowed_origins");
            return Err(refusal.with_header("Vary", "Origin"));
        }
        Ok(Self { origin: Some(Cow::Borrowed(origin)) })
    }

    /// For keeping beyond the request.
    #[must_use]
    pub fn into_owned(self) -> Cors<'static> {
        Cors { origin: self.origin.map(|origin| Cow::Owned(origin.into_owned())) }
    }

    /// Adds what lets the page read the answer. Vary is for caches, to which no two origins are alike, even if this
    /// request has none.
    pub fn mark<'o>(&self, response: Response<'o>) -> Response<'o> {
        let response = response.fixed(b"Vary: Origin\r\n");
        match &self.origin {
            Some(origin) => response
                .header("Access-Control-Allow-Origin", origin)
                // WHATWG Fetch 3.2.4: a page that is to wait has to be able to see for how long.
                .header("Access-Control-Expose-Headers", "Retry-After"),
            None => response,
        }
    }

    /// Answers an OPTIONS request for a path on which the methods `allow` work (RFC 9110 9.3.7), be it a preflight or
    /// not.
    pub fn respond_options(&self, out: &mut Vec<u8>, head: &Head<'_>, allow: &str, date: Option<&Date>) {
        let mut response = self.mark(Response::begin(out, 204, Terms::of(head), date)).header("Allow", allow);
        // WHATWG Fetch 3.2.2: a preflight names the method that is to come.
        if self.origin.is_some() && head.header("access-control-request-method").is_some() {
            response = response
                .header("Access-Control-Allow-Methods", allow)
                .header("Access-Control-Allow-Headers", HEADERS)
                .header("Access-Control-Max-Age", MAX_AGE_S);
        }
        response.empty();
    }
}

/// Request headers that a page may set besides the safelisted ones.
const HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID";

/// How long a browser need not ask again, in seconds; none remembers for longer than this.
const MAX_AGE_S: &str = "86400";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn origins(list: &[&str]) -> Origins {
        Origins::parse(list).unwrap()
    }

    fn with_head<T>(method: &str, headers: &str, judge: impl FnOnce(&Head<'_>) -> T) -> T {
        let text = format!("{method} /v1/publish HTTP/1.1\r\nHost: a.example\r\n{headers}\r\n");
        judge(&parse_head(text.as_bytes()).unwrap().unwrap().0)
    }

    /// The headers of the answer, or the status of the refusal.
    fn answer(list: &[&str], method: &str, headers: &str) -> Result<String, u16> {
        with_head(method, headers, |head| {
            let cors = Cors::judge(head, &origins(list), false).map_err(|problem| problem.status)?.into_owned();
            let mut out = vec![];
            match head.method {
                "OPTIONS" => cors.respond_options(&mut out, head, "POST, OPTIONS", None),
                _ => cors.mark(Response::begin(&mut out, 200, Terms::of(head), None)).empty(),
            }
            Ok(String::from_utf8(out).unwrap())
        })
    }

    #[test]
    fn fetch_3_2_an_allowed_origin_may_read_the_answer() {
        let answer = answer(&["https://b.example"], "POST", "Origin: https://b.example\r\n").unwrap();
        assert!(answer.contains("\r\nAccess-Control-Allow-Origin: https://b.example\r\n"), "{answer}");
        assert!(answer.contains("\r\nVary: Origin\r\n") && !answer.contains("Credentials"), "{answer}");
    }

    #[test]
    fn fetch_3_2_other_origins_are_refused_before_anything_happens() {
        for (list, origin) in
            [(&["https://b.example"][..], "https://c.example"), (&["same"], "null"), (&[], "http://a")]
        {
            assert_eq!(answer(list, "POST", &format!("Origin: {origin}\r\n")), Err(403), "{origin}");
            let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
            assert_eq!(answer(list, "OPTIONS", &preflight), Err(403), "{origin}");
        }
        assert_eq!(answer(&["*"], "POST", "Origin: http://a\r\nOrigin: http://a\r\n"), Err(400));
        let refusal =
            with_head("GET", "Origin: http://c\r\n", |head| Cors::judge(head, &origins(&["same"]), false).unwrap_err());
        assert_eq!(refusal.headers, [("Vary", "Origin".into())]);
    }

    #[test]
    fn without_an_origin_only_the_caches_are_told() {
        let answer = answer(&[], "GET", "").unwrap();
        assert!(answer.contains("\r\nVary: Origin\r\n") && !answer.contains("Access-Control"), "{answer}");
    }

    #[test]
    fn same_and_any_origins_pass() {
        assert!(answer(&["same"], "GET", "Origin: https://a.example\r\n").is_ok());
        let any = answer(&["*"], "GET", "Origin: null\r\n").unwrap();
        assert!(any.contains("\r\nAccess-Control-Allow-Origin: null\r\n"), "{any}");
    }

    #[test]
    fn fetch_3_2_2_a_preflight_is_told_methods_headers_and_for_how_long() {
        let headers = "Origin: https://b.example\r\nAccess-Control-Request-Method: POST\r\n\
                       Access-Control-Request-Headers: authorization\r\n";
        let answer = answer(&["https://b.example"], "OPTIONS", headers).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
        for line in [
            "Access-Control-Allow-Origin: https://b.example",
            "Vary: Origin",
            "Access-Control-Allow-Methods: POST, OPTIONS",
            "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, Last-Event-ID",
            "Access-Control-Max-Age: 86400",
        ] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} in {answer}");
        }
    }

    #[test]
    fn rfc9110_9_3_7_options_is_told_what_is_allowed() {
        for headers in ["", "Access-Control-Request-Method: POST\r\n"] {
            let answer = answer(&["same"], "OPTIONS", headers).unwrap();
            assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
            assert!(answer.contains("\r\nAllow: POST, OPTIONS\r\n") && !answer.contains("Access-Control"), "{answer}");
        }
    }
}
