//! Response heads and bodies, appended to bytes that the caller owns (RFC 9112 4, RFC 9110 6.6).
//!
//! `routes` and `net` call it. Every response says `Connection: close`; the 101 of a handshake is written in
//! `ws::handshake`. It sends no Date: that needs a clock, which only `net` has (RFC 9110 6.6.1 asks for it of servers
//! with one; it comes with the HTTP API).

use std::fmt::Write as _;

use super::Problem;

/// Appends a whole response. `extra` headers must be fit for the wire: no line ends. With `head_only` (HEAD) the body
/// is announced and left out (RFC 9110 9.3.2).
pub fn respond(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    extra: &[(&str, &str)],
    body: &[u8],
    head_only: bool,
) {
    // RFC 9110 7.8: who sends Upgrade lists it in Connection too.
    let upgrade = extra.iter().any(|(name, _)| name.eq_ignore_ascii_case("upgrade"));
    let connection = if upgrade { "close, upgrade" } else { "close" };
    let mut head = String::with_capacity(256);
    write!(
        head,
        "HTTP/1.1 {status} {}\r\nServer: wirefan\r\nConnection: {connection}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n",
        title(status),
        body.len()
    )
    .expect("a String takes every write");
    for (name, value) in extra {
        debug_assert!(!value.contains(['\r', '\n']), "a header value has one line");
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    if !head_only {
        out.extend_from_slice(body);
    }
}

/// Appends a refusal as a problem document (RFC 9457).
pub fn respond_problem(out: &mut Vec<u8>, problem: &Problem, head_only: bool) {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": title(problem.status),
        "status": problem.status,
        "detail": problem.reason,
    });
    let mut body = body.to_string();
    body.push('\n');
    let extra: Vec<(&str, &str)> = problem.headers.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    respond(out, problem.status, "application/problem+json", &extra, body.as_bytes(), head_only);
}

/// The reason phrases of RFC 9110 15 and RFC 6585 that we use.
fn title(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // RFC 9112 4: the phrase may be empty.
        _ => "",
    }
}
