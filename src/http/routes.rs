//! What a path leads to: a page, the client, the health check, the WebSocket endpoints, or a refusal.
//!
//! `net` asks [`endpoint`] for a request that wants to upgrade and [`respond_to`] for every other one.

use super::pages::{self, Page};
use super::{Date, Head, Problem, Response, Terms};

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
        "/echo" => Err(Problem::new(404, "the echo is off: server.echo enables it, for tests")),
        _ => Err(not_found()),
    }
}

/// Appends the answer to a request that does not ask for an upgrade; its connection ends with it.
/// `ready` is what the readiness check says: yes, or why not.
pub fn respond_to(out: &mut Vec<u8>, head: &Head<'_>, echo: bool, ready: Result<(), &'static str>, date: &Date) {
    let terms = Terms::of(head).closing();
    let plain = plain(head, echo).and_then(|plain| match plain {
        Plain::Readiness => ready.map(|()| Plain::Readiness).map_err(|reason| Problem::new(503, reason)),
        plain => Ok(plain),
    });
    let status = match &plain {
        Ok(Plain::Methods) => 204,
        Ok(Plain::Page(page)) if page.is_known(head) => 304,
        Ok(_) => 200,
        Err(problem) => problem.status,
    };
    let response = Response::begin(out, status, terms, Some(date));
    match plain {
        Ok(Plain::Page(page)) => {
            let response = page.headers.iter().fold(response, |response, (name, value)| response.header(name, value));
            let response = response.header("ETag", page.tag());
            if status == 304 { response.empty() } else { response.body(page.media, page.bytes) }
        }
        Ok(Plain::Health) => state(response, b"ok\n"),
        Ok(Plain::Readiness) => state(response, b"ready\n"),
        Ok(Plain::Methods) => response.header("Allow", ALLOW).empty(),
        Err(problem) => response.refuse(&problem),
    }
}

/// How the broker is, at this moment.
fn state(response: Response<'_>, text: &[u8]) {
    response.header("Cache-Control", "no-store").body("text/plain; charset=utf-8", text);
}

enum Plain {
    Page(&'static Page),
    Health,
    /// Whether new connections are welcome.
    Readiness,
    /// Which methods there are.
    Methods,
}

fn plain(head: &Head<'_>, echo: bool) -> Result<Plain, Problem> {
    let found = match head.path {
        // RFC 9110 9.3.7: about the server as a whole.
        "*" => return Ok(Plain::Methods),
        "/healthz" => Ok(Plain::Health),
        "/readyz" => Ok(Plain::Readiness),
        // RFC 9110 15.5.22: 426 names the protocol to upgrade to.
        path if path != "/" && endpoint(path, echo).is_ok() => {
            Err(Problem::new(426, "this is a WebSocket endpoint: ask for an upgrade, as `new WebSocket(url)` does")
                .with_header("Upgrade", "websocket")
                .with_header("Sec-WebSocket-Version", "13"))
        }
        path => Ok(Plain::Page(pages::page(path).ok_or_else(not_found)?)),
    };
    match head.method {
        "GET" | "HEAD" => found,
        "OPTIONS" => Ok(Plain::Methods),
        _ => Err(Problem::method_not_allowed(ALLOW)),
    }
}

fn not_found() -> Problem {
    Problem::new(404, "nothing is here: the WebSocket endpoint is /ws")
}

const ALLOW: &str = "GET, HEAD, OPTIONS";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;

    fn answer(line: &str, echo: bool) -> String {
        let text = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
        let mut out = vec![];
        respond_to(&mut out, &head, echo, Ok(()), &Date::new(784_111_777));
        String::from_utf8(out).unwrap()
    }

    /// Head and body of a response whose Content-Length is that of the body.
    fn parts(response: &str) -> (&str, &str) {
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let length = format!("\r\nContent-Length: {}", body.len());
        assert!(head.lines().count() > 1 && head.contains(&length), "{response}");
        (head, body)
    }

    #[test]
    fn the_console_and_the_chat_are_html_under_a_strict_policy() {
        for path in ["/?x", "/demo/chat"] {
            let response = answer(&format!("GET {path}"), false);
            let (head, body) = parts(&response);
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            for line in [
                "Content-Type: text/html; charset=utf-8",
                "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                 img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                "X-Content-Type-Options: nosniff",
                "Referrer-Policy: no-referrer",
                "Connection: close",
            ] {
                assert!(head.contains(&format!("\r\n{line}\r\n")) || head.ends_with(line), "{line}: {head}");
            }
            assert!(body.starts_with("<!doctype html>"), "{body}");
        }
    }

    #[test]
    fn all_that_a_page_names_is_there_with_its_type() {
        for page in ["/", "/demo/chat"] {
            let response = answer(&format!("GET {page}"), false);
            let base = page.rsplit_once('/').unwrap().0;
            let named = response.split(['"']).filter(|word| word.ends_with(".js") || word.ends_with(".css"));
            let named: Vec<&str> = named.collect();
            assert!(named.len() >= 2, "{named:?}");
            for name in named {
                let path = name.strip_prefix("../").map_or_else(|| format!("{base}/{name}"), |name| format!("/{name}"));
                let response = answer(&format!("GET {path}"), false);
                let (head, _) = parts(&response);
                let media = if name.ends_with(".js") { "text/javascript" } else { "text/css" };
                assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}");
                assert!(head.contains(&format!("\r\nContent-Type: {media}; charset=utf-8\r\n")), "{path}: {head}");
                assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"), "{path}: {head}");
            }
        }
    }

    #[test]
    fn the_client_is_a_module_that_any_page_may_import() {
        let response = answer("GET /client.js?v=1", false);
        let (head, body) = parts(&response);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        for line in [
            "Content-Type: text/javascript; charset=utf-8",
            "Access-Control-Allow-Origin: *",
            "Cache-Control: no-cache",
        ] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
        assert!(body.contains("export{") && body.contains("Wirefan"), "{body}");
        assert!(body.len() < 32 * 1024, "{} bytes", body.len());
    }

    #[test]
    fn s9110_13_1_2_who_has_a_file_is_told_so() {
        for path in ["/", "/client.js", "/console/console.css", "/demo/chat"] {
            let response = answer(&format!("GET {path}"), false);
            let tag = response.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
            assert!(tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
            for (named, status) in [
                (tag.to_owned(), 304),
                (format!("\"other\", W/{tag}"), 304),
                ("*".to_owned(), 304),
                ("\"other\"".to_owned(), 200),
                (tag.trim_matches('"').to_owned(), 200),
            ] {
                let response = answer(&format!("GET {path} HTTP/1.1\r\nIf-None-Match: {named}\r\nX:"), false);
                assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{named}: {response}");
                assert!(response.contains(&format!("\r\nETag: {tag}\r\n")), "{response}");
                assert_eq!(response.ends_with("\r\n\r\n"), status == 304, "a 304 has no body");
            }
        }
    }

    #[test]
    fn healthz_is_ok() {
        let response = answer("GET /healthz", false);
        let (head, body) = parts(&response);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(body, "ok\n");
    }

    #[test]
    fn s9110_6_6_1_every_answer_has_a_date() {
        for line in ["GET /", "GET /healthz", "GET /readyz", "GET /ws", "POST /", "OPTIONS *", "GET /nothing"] {
            let response = answer(line, false);
            assert!(response.contains("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), "{response}");
        }
    }

    #[test]
    fn s9110_9_3_2_head_is_get_without_the_body() {
        for path in ["/", "/client.js", "/console/console.js", "/demo/chat", "/healthz", "/nothing", "/ws"] {
            let get = answer(&format!("GET {path}"), false);
            let head = answer(&format!("HEAD {path}"), false);
            assert_eq!(head, format!("{}\r\n\r\n", parts(&get).0));
        }
    }

    #[test]
    fn s9110_15_5_6_other_methods_get_405_and_are_told_which_work() {
        for line in ["POST /", "DELETE /healthz", "PUT /ws", "get /", "POST /demo/chat", "PUT /client.js"] {
            let response = answer(line, false);
            assert!(response.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{response}");
            assert!(response.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{response}");
        }
    }

    #[test]
    fn s9110_9_3_7_options_tells_the_methods_of_a_path_and_of_the_server() {
        for line in ["OPTIONS *", "OPTIONS /", "OPTIONS /ws", "OPTIONS /healthz"] {
            let response = answer(line, false);
            assert!(response.starts_with("HTTP/1.1 204 No Content\r\n"), "{response}");
            assert!(response.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{response}");
        }
    }

    #[test]
    fn s9457_other_paths_get_404_as_a_problem_document() {
        for line in [
            "GET /nothing",
            "POST /nothing",
            "GET /ws/",
            "GET //",
            "GET /echo",
            "GET /console",
            "GET /console/../client.js",
            "GET /demo/chat/",
            "OPTIONS /nothing",
        ] {
            let response = answer(line, false);
            let (head, body) = parts(&response);
            assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{head}");
            assert!(head.contains("\r\nContent-Type: application/problem+json\r\n"), "{head}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["type"], "about:blank");
            assert_eq!(body["title"], "Not Found");
            assert_eq!(body["status"], 404);
            assert!(body["detail"].as_str().unwrap().contains("/ws"));
        }
    }

    #[test]
    fn s9110_15_5_22_a_plain_get_of_a_websocket_endpoint_gets_426() {
        for (path, echo) in [("/ws", false), ("/ws", true), ("/echo", true)] {
            let response = answer(&format!("GET {path}"), echo);
            assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
            assert!(response.contains("\r\nUpgrade: websocket\r\n"), "{response}");
            assert!(response.contains("\r\nConnection: close, upgrade\r\n"), "{response}");
        }
    }

    #[test]
    fn upgrades_go_to_the_broker_or_where_enabled_to_the_echo() {
        for echo in [false, true] {
            assert_eq!(endpoint("/ws", echo), Ok(Endpoint::Broker));
            assert_eq!(endpoint("/", echo), Ok(Endpoint::Broker));
            assert_eq!(endpoint("/ws/", echo).unwrap_err().status, 404);
            assert_eq!(endpoint("/healthz", echo).unwrap_err().status, 404);
        }
        assert_eq!(endpoint("/echo", true), Ok(Endpoint::Echo));
        assert_eq!(endpoint("/echo", false).unwrap_err().status, 404);
    }
}
