//! What a path leads to: the page, the client, the health check, the WebSocket endpoints, or a refusal.
//!
//! `net` asks [`endpoint`] for a request that wants to upgrade and [`respond_to`] for every other one.

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
        Ok(Plain::Client) if has_client(head) => 304,
        Ok(_) => 200,
        Err(problem) => problem.status,
    };
    let response = Response::begin(out, status, terms, Some(date));
    match plain {
        Ok(Plain::Page) => {
            let response = PAGE_HEADERS.iter().fold(response, |response, (name, value)| response.header(name, value));
            response.body("text/html; charset=utf-8", PAGE);
        }
        Ok(Plain::Client) => {
            let response = CLIENT_HEADERS.iter().fold(response, |response, (name, value)| response.header(name, value));
            let response = response.header("ETag", client_tag());
            if status == 304 { response.empty() } else { response.body("text/javascript; charset=utf-8", CLIENT) }
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

/// Whether who asks has the client already (RFC 9110 13.1.2, by weak comparison).
fn has_client(head: &Head<'_>) -> bool {
    let tags = |line: &[u8]| {
        let mut tags = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == client_tag().as_bytes())
    };
    head.all("if-none-match").any(tags)
}

/// The name of these bytes of the client: a hash that the compiler made.
fn client_tag() -> &'static str {
    std::str::from_utf8(&CLIENT_TAG).expect("hexadecimal digits in quotes")
}

enum Plain {
    Page,
    Client,
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
        "/" => Ok(Plain::Page),
        "/client.js" => Ok(Plain::Client),
        "/healthz" => Ok(Plain::Health),
        "/readyz" => Ok(Plain::Readiness),
        // RFC 9110 15.5.22: 426 names the protocol to upgrade to.
        path if endpoint(path, echo).is_ok() => {
            Err(Problem::new(426, "this is a WebSocket endpoint: ask for an upgrade, as `new WebSocket(url)` does")
                .with_header("Upgrade", "websocket")
                .with_header("Sec-WebSocket-Version", "13"))
        }
        _ => return Err(not_found()),
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

/// A page without scripts or styles of its own: its power is to be an origin from which a console may import the client and connect back.
/// `connect-src 'self'` covers ws: and wss: of the same host and port (CSP 3, 6.7.2.8).
const PAGE_HEADERS: [(&str, &str); 4] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; connect-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-cache"),
];

const PAGE: &[u8] = include_bytes!("page.html");

/// What `clients/js/build.mjs` made, and its tests verify to be made of what is beside it.
const CLIENT: &[u8] = include_bytes!("../../clients/js/dist/client.js");

/// It holds no secret, so any page may import it, from which its broker then accepts connections or not.
const CLIENT_HEADERS: [(&str, &str); 4] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-cache"),
];

/// FNV-1a of [`CLIENT`], in quotes (RFC 9110 8.8.3).
const CLIENT_TAG: [u8; 18] = {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < CLIENT.len() {
        hash = (hash ^ CLIENT[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    let (mut tag, mut digit) = ([b'"'; 18], 0);
    while digit < 16 {
        tag[digit + 1] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 15];
        digit += 1;
    }
    tag
};

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
    fn the_page_is_html_under_a_strict_policy_and_says_how_to_connect() {
        let response = answer("GET /?x", false);
        let (head, body) = parts(&response);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"), "{head}");
        assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; connect-src 'self';"), "{head}");
        assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
        assert!(body.contains("new WebSocket(") && !body.contains("<script") && !body.contains("<style"));
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
    fn s9110_13_1_2_who_has_the_client_is_told_so() {
        let response = answer("GET /client.js", false);
        let tag = response.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        assert!(tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for (named, status) in [
            (tag.to_owned(), 304),
            (format!("\"other\", W/{tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let response = answer(&format!("GET /client.js HTTP/1.1\r\nIf-None-Match: {named}\r\nX:"), false);
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{named}: {response}");
            assert!(response.contains(&format!("\r\nETag: {tag}\r\n")), "{response}");
            assert_eq!(response.ends_with("\r\n\r\n"), status == 304, "a 304 has no body");
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
        for path in ["/", "/client.js", "/healthz", "/nothing", "/ws"] {
            let get = answer(&format!("GET {path}"), false);
            let head = answer(&format!("HEAD {path}"), false);
            assert_eq!(head, format!("{}\r\n\r\n", parts(&get).0));
        }
    }

    #[test]
    fn s9110_15_5_6_other_methods_get_405_and_are_told_which_work() {
        for line in ["POST /", "DELETE /healthz", "PUT /ws", "get /"] {
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
        for line in ["GET /nothing", "POST /nothing", "GET /ws/", "GET //", "GET /echo", "OPTIONS /nothing"] {
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
