//! What a path leads to: the page, the health check, the WebSocket endpoints, or a refusal.
//!
//! `net` asks [`endpoint`] for a request that wants to upgrade and [`respond_to`] for every other one.

use super::response::respond;
use super::{Head, Problem, respond_problem};

/// Where an upgrade request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The broker itself, subprotocol `wirefan.v1`.
    Broker,
    /// Answers each message with itself, for conformance suites (`server.echo`).
    Echo,
}

/// The endpoint of an upgrade request: `/ws` and `/`; `/echo` where that is enabled.
///
/// # Errors
/// 404 for any other path.
pub fn endpoint(path: &str, echo: bool) -> Result<Endpoint, Problem> {
    match path {
        "/ws" | "/" => Ok(Endpoint::Broker),
        "/echo" if echo => Ok(Endpoint::Echo),
        _ => Err(not_found()),
    }
}

/// Appends the answer to a request that does not ask for an upgrade.
pub fn respond_to(out: &mut Vec<u8>, head: &Head<'_>, echo: bool) {
    let head_only = head.method == "HEAD";
    match plain(head, echo) {
        Ok(Plain::Page) => {
            respond(
                out,
                200,
                "text/html; charset=utf-8",
                &PAGE_HEADERS,
                PAGE,
                head_only,
            );
        }
        Ok(Plain::Health) => {
            let extra = [("Cache-Control", "no-store")];
            respond(
                out,
                200,
                "text/plain; charset=utf-8",
                &extra,
                b"ok\n",
                head_only,
            );
        }
        Err(problem) => respond_problem(out, &problem, head_only),
    }
}

enum Plain {
    Page,
    Health,
}

fn plain(head: &Head<'_>, echo: bool) -> Result<Plain, Problem> {
    let found = match head.path {
        "/" => Ok(Plain::Page),
        "/healthz" => Ok(Plain::Health),
        // RFC 9110 15.5.22: 426 names the protocol to upgrade to.
        path if endpoint(path, echo).is_ok() => Err(Problem::new(
            426,
            "this is a WebSocket endpoint: ask for an upgrade, as `new WebSocket(url)` does",
        )
        .with_header("Upgrade", "websocket")
        .with_header("Sec-WebSocket-Version", "13")),
        _ => return Err(not_found()),
    };
    if !matches!(head.method, "GET" | "HEAD") {
        // RFC 9110 15.5.6: 405 says what is allowed.
        return Err(
            Problem::new(405, "only GET and HEAD work here").with_header("Allow", "GET, HEAD")
        );
    }
    found
}

fn not_found() -> Problem {
    Problem::new(404, "nothing is here: the WebSocket endpoint is /ws")
}

/// A page without scripts or styles: its only power is to be an origin from which a console may connect back.
/// `connect-src 'self'` covers ws: and wss: of the same host and port (CSP 3, 6.7.2.8).
const PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

const PAGE: &[u8] = include_bytes!("page.html");
