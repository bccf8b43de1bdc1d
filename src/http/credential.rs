//! Where a request has its token or API key: `Authorization: Bearer`, `access_token` in the query, or, for a browser's
//! WebSocket, a subprotocol `bearer.<token>` among those that it offers.
//!
//! `shard` asks before it answers a request. What is found is not looked at here, and never shown.

use super::query::parameters;
use super::{Field, Head, Problem, tokens};

/// The one credential of a request, if it has any.
///
/// # Errors
/// 400 for more than one (RFC 6750 2), 401 for a scheme other than Bearer.
pub fn credential<'h>(head: &'h Head<'_>) -> Result<Option<&'h str>, Problem> {
    let mut found = None;
    if !head.lacks(Field::Authorization) {
        for value in head.all("authorization") {
            keep(&mut found, bearer(value)?)?;
        }
    }
    if !head.lacks(Field::SecWebSocketProtocol) {
        for offered in tokens(head, "sec-websocket-protocol") {
            if let Some(token) = offered.strip_prefix(b"bearer.") {
                keep(&mut found, std::str::from_utf8(token).map_err(|_| garbled())?)?;
            }
        }
    }
    for parameter in parameters(head.query) {
        if let Some(token) = parameter.strip_prefix("access_token=") {
            keep(&mut found, token)?;
        }
    }
    Ok(found)
}

fn keep<'h>(found: &mut Option<&'h str>, token: &'h str) -> Result<(), Problem> {
    match found.replace(token) {
        None => Ok(()),
        Some(_) => Err(Problem::bad_request("more than one token: send it in one way, once")),
    }
}

/// RFC 6750 2.1; the scheme in any case (RFC 9110 11.1).
fn bearer(value: &[u8]) -> Result<&str, Problem> {
    let text = std::str::from_utf8(value).map_err(|_| garbled())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim_start_matches(' ')),
        _ => Err(Problem::new(401, "only `Authorization: Bearer` with a token is understood")
            .with_header("WWW-Authenticate", "Bearer")),
    }
}

fn garbled() -> Problem {
    Problem::bad_request("the token is not text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn found(target: &str, headers: &str) -> Result<Option<String>, u16> {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let (head, _) = parse_head(bytes.as_bytes()).expect("a head").expect("whole");
        credential(&head).map(|token| token.map(str::to_owned)).map_err(|problem| problem.status)
    }

    #[test]
    fn a_token_comes_in_one_of_three_ways() {
        let token = || Ok(Some("a.b.c".to_owned()));
        assert_eq!(found("/ws", "Authorization: Bearer a.b.c\r\n"), token());
        assert_eq!(found("/ws", "Authorization: bearer  a.b.c\r\n"), token());
        assert_eq!(found("/ws?x=1&access_token=a.b.c", ""), token());
        assert_eq!(found("/ws", "Sec-WebSocket-Protocol: wirefan.v1, bearer.a.b.c\r\n"), token());
        assert_eq!(found("/ws?x=access_token", "X-Authorization: Bearer a\r\n"), Ok(None));
    }

    #[test]
    fn rfc6750_2_more_than_one_way_is_refused() {
        assert_eq!(found("/ws?access_token=a", "Authorization: Bearer a\r\n"), Err(400));
        assert_eq!(found("/ws?access_token=a&access_token=a", ""), Err(400));
        assert_eq!(found("/ws", "Authorization: Bearer a\r\nSec-WebSocket-Protocol: bearer.a\r\n"), Err(400));
    }

    #[test]
    fn another_scheme_is_refused_and_an_empty_token_is_one() {
        assert_eq!(found("/ws", "Authorization: Basic YTpi\r\n"), Err(401));
        assert_eq!(found("/ws", "Authorization: Bearer\r\n"), Err(401));
        assert_eq!(found("/ws?access_token=", ""), Ok(Some(String::new())));
    }
}
