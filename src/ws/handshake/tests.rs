//! The opening handshake, clause by clause, from both sides (RFC 6455 4).

use super::*;
use crate::http::{Response, Terms, parse_head};
use crate::ws::handshake::ClientError;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const KEY_BYTES: [u8; 16] = *b"the sample nonce";

/// The RFC's handshake, its lines one by one.
const LINES: [&str; 6] = [
    "GET /chat?room=1 HTTP/1.1",
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn request_of(lines: &[&str]) -> Vec<u8> {
    (lines.join("\r\n") + "\r\n\r\n").into_bytes()
}

/// The RFC's handshake with the line that starts with `start` replaced by these.
fn replaced(start: &str, by: &[&str]) -> Vec<u8> {
    let at = LINES.iter().position(|line| line.starts_with(start)).unwrap();
    let mut lines = LINES.to_vec();
    lines.splice(at..=at, by.iter().copied());
    request_of(&lines)
}

fn with(lines: &[&str]) -> Vec<u8> {
    request_of(&[&LINES[..], lines].concat())
}

/// The 101 response and the chosen subprotocol, or the problem.
fn judge(request: &[u8]) -> Result<(String, Option<&'static str>), Problem> {
    let (head, len) = parse_head(request)?.expect("a whole head");
    assert_eq!(len, request.len());
    let upgrade = upgrade(&head)?;
    let mut out = Vec::new();
    upgrade.respond(&mut out);
    Ok((String::from_utf8(out).unwrap(), upgrade.protocol))
}

fn assert_refused(request: &[u8], status: u16, part: &str) {
    let problem = judge(request).expect_err(&String::from_utf8_lossy(request));
    assert_eq!(problem.status, status, "{problem} for {}", String::from_utf8_lossy(request));
    assert!(problem.reason.contains(part), "{problem} has no {part:?}");
}

#[test]
fn s1_3_the_example_of_the_rfc_is_answered_as_there() {
    let (response, protocol) = judge(&request_of(&LINES)).unwrap();
    assert_eq!(
        response,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
    assert_eq!(protocol, None);
}

#[test]
fn s4_2_1_the_upgrade_says_what_was_asked_for() {
    let request = with(&["Origin: http://page.example:8080"]);
    let (head, _) = parse_head(&request).unwrap().unwrap();
    let upgrade = upgrade(&head).unwrap();
    assert_eq!((upgrade.path, upgrade.query), ("/chat", "room=1"));
    assert_eq!(upgrade.host, "server.example.com");
    assert_eq!(upgrade.origin, Some("http://page.example:8080"));
}

#[test]
fn s4_2_1_a_handshake_is_a_get_of_http_1_1() {
    for method in ["POST", "HEAD", "OPTIONS", "get", "PUT"] {
        let line = format!("{method} /chat HTTP/1.1");
        let problem = judge(&replaced("GET", &[&line])).unwrap_err();
        assert_eq!(problem.status, 405, "{method}");
        assert_eq!(problem.headers, [("Allow", "GET".into())]);
    }
    assert_refused(&replaced("GET", &["GET /chat HTTP/1.0"]), 400, "HTTP/1.1");
    assert_refused(&replaced("GET", &["GET /chat HTTP/2.0"]), 505, "HTTP/1.1");
}

#[test]
fn s4_2_1_the_target_is_a_path_or_an_http_uri() {
    let absolute = replaced("GET", &["GET http://other.example:81/x?y HTTP/1.1"]);
    let (head, _) = parse_head(&absolute).unwrap().unwrap();
    let upgrade = upgrade(&head).unwrap();
    assert_eq!((upgrade.path, upgrade.query, upgrade.host), ("/x", "y", "other.example:81"));
    for target in ["chat", "*", "ws://a/x", "http:///x", "/a#b", "/\u{e9}"] {
        let line = format!("GET {target} HTTP/1.1");
        assert_refused(&replaced("GET", &[&line]), 400, "target");
    }
}

#[test]
fn s4_2_1_one_valid_host_or_400() {
    assert_refused(&replaced("Host", &[]), 400, "Host header is missing");
    assert_refused(&replaced("Host", &["Host: a", "Host: a"]), 400, "more than one Host");
    for bad in ["", "a b", "u@a", "a:b", "a:99999", "::1", "a/b", "\u{e9}"] {
        let line = format!("Host: {bad}");
        assert_refused(&replaced("Host", &[&line]), 400, "host[:port]");
    }
    for good in ["a", "a:1", "[::1]:8080", "127.0.0.1:8080", "A.Example."] {
        let line = format!("hOST: {good}");
        assert!(judge(&replaced("Host", &[&line])).is_ok(), "{good}");
    }
}

#[test]
fn s4_2_1_upgrade_and_connection_are_lists_in_any_case_over_several_lines() {
    for by in [
        &["Upgrade: WebSocket"][..],
        &["UPGRADE: h2c, websocket"],
        &["Upgrade: h2c", "Upgrade: WEBSOCKET"],
        &["Upgrade: ,, websocket ,"],
    ] {
        assert!(judge(&replaced("Upgrade", by)).is_ok(), "{by:?}");
    }
    for by in [
        &["Connection: keep-alive, Upgrade"][..],
        &["connection: upgrade"],
        &["Connection: keep-alive", "Connection: UPGRADE"],
        &["Connection:\tkeep-alive\t,\tUpgrade\t"],
    ] {
        assert!(judge(&replaced("Connection", by)).is_ok(), "{by:?}");
    }
    for by in [&[][..], &["Upgrade: h2c"], &["Upgrade: websockets"], &["Upgrade: web socket"], &["Upgrade:"]] {
        assert_refused(&replaced("Upgrade", by), 400, "Upgrade header");
        let request = replaced("Upgrade", by);
        assert!(!is_upgrade(&parse_head(&request).unwrap().unwrap().0), "{by:?}");
    }
    for by in [&[][..], &["Connection: keep-alive"], &["Connection: upgraded"], &["Connection: up grade"]] {
        assert_refused(&replaced("Connection", by), 400, "Connection header");
    }
    assert!(is_upgrade(&parse_head(&request_of(&LINES)).unwrap().unwrap().0));
}

#[test]
fn s4_2_1_the_key_is_base64_of_16_bytes_and_comes_once() {
    assert_refused(&replaced("Sec-WebSocket-Key", &[]), 400, "Key header is missing");
    let line = format!("Sec-WebSocket-Key: {KEY}");
    let twice = replaced("Sec-WebSocket-Key", &[&line, &line]);
    assert_refused(&twice, 400, "more than one Sec-WebSocket-Key");
    for bad in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25j",
        "dGhlIHNhbXBsZSBub25jZTE=",
        "dGhlIHNhbXBsZSBub25jZTEy",
        "dGhlIHNhbXBsZSBub25jZ-==",
        "dGhl HNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZSBkR2hsSUhOaGJYQnNaU0J1YjI1alpRPT0gYW5k",
    ] {
        let line = format!("Sec-WebSocket-Key: {bad}");
        assert_refused(&replaced("Sec-WebSocket-Key", &[&line]), 400, "base64 of 16 bytes");
    }
}

#[test]
fn s4_4_another_version_than_13_gets_426_which_names_13() {
    for version in ["8", "0", "14", "013", "13, 8", "130", "x", ""] {
        let line = format!("Sec-WebSocket-Version: {version}");
        let request = replaced("Sec-WebSocket-Version", &[&line]);
        assert_refused(&request, 426, "13");
        let mut out = Vec::new();
        Response::problem(&mut out, &judge(&request).unwrap_err(), Terms::CLOSE, None);
        let response = String::from_utf8(out).unwrap();
        assert!(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{response}");
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
        assert!(response.contains("\r\nUpgrade: websocket\r\n"), "{response}");
        assert!(response.contains("\r\nConnection: close, upgrade\r\n"), "{response}");
    }
    assert_refused(&replaced("Sec-WebSocket-Version", &[]), 400, "Version header is missing");
    let line = "Sec-WebSocket-Version: 13";
    assert_refused(&replaced("Sec-WebSocket-Version", &[line, line]), 400, "more than one");
}

#[test]
fn s4_2_2_wirefan_v1_is_chosen_if_offered_and_unknown_ones_are_refused() {
    let answered = |lines: &[&str]| {
        judge(&with(lines)).map(|(response, protocol)| {
            assert_eq!(response.contains("\r\nSec-WebSocket-Protocol: wirefan.v1\r\n"), protocol.is_some());
            assert_eq!(response.matches("Sec-WebSocket-Protocol").count(), usize::from(protocol.is_some()));
            protocol
        })
    };
    let v1 = Ok(Some(SUBPROTOCOL));
    assert_eq!(answered(&["Sec-WebSocket-Protocol: wirefan.v1"]), v1);
    assert_eq!(answered(&["Sec-WebSocket-Protocol: mqtt, wirefan.v1,stomp"]), v1);
    assert_eq!(answered(&["Sec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: wirefan.v1"]), v1);
    assert_eq!(answered(&["Sec-WebSocket-Protocol: bearer.a-b.c_d, wirefan.v1"]), v1);
    assert_eq!(answered(&["Sec-WebSocket-Protocol:"]), Ok(None));
    assert_eq!(answered(&[]), Ok(None));
    for unknown in ["mqtt", "Wirefan.v1", "wirefan.v2", "wirefan.v1x", "mqtt, stomp", "mqtt, bearer.x", "bearer.x"] {
        let line = format!("Sec-WebSocket-Protocol: {unknown}");
        assert_refused(&with(&[&line]), 400, "wirefan.v1");
    }
    for bad in ["wirefan.v1 mqtt", "a/b, wirefan.v1", "\"wirefan.v1\"", "wirefan.v1, \u{e9}", "bearer.a b"] {
        let line = format!("Sec-WebSocket-Protocol: {bad}");
        assert_refused(&with(&[&line]), 400, "list of tokens");
    }
}

#[test]
fn a_body_or_any_framing_header_is_refused() {
    for line in [
        "Content-Length: 0",
        "Content-Length: 5",
        "content-length: x",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
    ] {
        assert_refused(&with(&[line]), 400, "no body");
    }
}

#[test]
fn s9_1_no_extension_but_one_is_taken_up() {
    for value in ["permessage-bzip2", "x-webkit-deflate-frame", "permessage-deflate; level=9", "", "x; y=\"z\", w"] {
        let line = format!("Sec-WebSocket-Extensions: {value}");
        let (response, _) = judge(&with(&[&line])).unwrap();
        assert!(!response.contains("Extensions"), "{response}");
    }
}

#[test]
fn s9_1_what_is_no_list_of_extensions_is_refused() {
    for value in [";", ",,;=\"", "x; y=\"\\\"\"", "\u{e9}", "permessage-deflate; server_max_window_bits="] {
        let line = format!("Sec-WebSocket-Extensions: {value}");
        assert_refused(&with(&[&line]), 400, "not a list of extensions");
        assert_refused(
            &with(&["Sec-WebSocket-Extensions: permessage-deflate", &line]),
            400,
            "not a list of extensions",
        );
    }
}

#[test]
fn s7692_5_an_offer_of_deflate_is_answered_unless_the_caller_takes_it_away() {
    let request = with(&["Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10"]);
    let (response, _) = judge(&request).unwrap();
    let header = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
        server_max_window_bits=10\r\n\r\n";
    assert!(response.ends_with(header), "{response}");
    let (head, _) = parse_head(&request).unwrap().unwrap();
    let mut out = Vec::new();
    Upgrade { deflate: None, ..upgrade(&head).unwrap() }.respond(&mut out);
    assert_eq!(out, response.replace(header, "\r\n\r\n").as_bytes());
}

#[test]
fn s4_2_1_one_origin_at_most() {
    assert_refused(&with(&["Origin: http://a", "Origin: http://b"]), 400, "more than one Origin");
    let mut request = with(&["Origin: x"]);
    let at = request.iter().rposition(|&byte| byte == b'x').unwrap();
    request[at] = 0xff;
    assert_refused(&request, 400, "Origin");
}

#[test]
fn a_handshake_in_any_split_is_the_same_and_what_follows_is_left() {
    let mut request = with(&["Sec-WebSocket-Protocol: wirefan.v1"]);
    let len = request.len();
    request.extend_from_slice(b"\x81\x80\n\n\n\n\r\n\r\n");
    for end in 0..request.len() {
        match parse_head(&request[..end]) {
            Ok(None) => assert!(end < len, "{end}"),
            Ok(Some((head, head_len))) => {
                assert!(end >= len && head_len == len, "{end}");
                assert_eq!(upgrade(&head).unwrap().protocol, Some(SUBPROTOCOL));
            }
            Err(problem) => panic!("{problem} at {end}"),
        }
    }
}

fn answer(lines: &[&str]) -> Vec<u8> {
    request_of(lines)
}

const ANSWER: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

fn answer_with(at: usize, by: &[&str]) -> Vec<u8> {
    let mut lines = ANSWER.to_vec();
    lines.splice(at..=at, by.iter().copied());
    answer(&lines)
}

#[test]
fn s4_1_client_and_server_agree_in_any_split() {
    for offered in [&[][..], &["wirefan.v1"], &["wirefan.v1", "bearer.t"]] {
        let mut out = Vec::new();
        request(&mut out, "[::1]:8080", "/ws?x=y", KEY_BYTES, offered);
        let (head, len) = parse_head(&out).unwrap().unwrap();
        assert_eq!(len, out.len());
        assert!(is_upgrade(&head));
        let upgrade = upgrade(&head).unwrap();
        assert_eq!((upgrade.path, upgrade.query, upgrade.host), ("/ws", "x=y", "[::1]:8080"));
        assert_eq!(upgrade.protocol.is_some(), !offered.is_empty());
        let mut response = Vec::new();
        upgrade.respond(&mut response);
        let len = response.len();
        response.extend_from_slice(b"\x81\x02hi");
        for end in 0..=response.len() {
            let expected = if end < len { Ok(None) } else { Ok(Some(len)) };
            assert_eq!(parse_response_to(&response[..end], KEY_BYTES, offered), expected);
            assert_eq!(parse_response(&response[..end], KEY_BYTES), expected);
        }
    }
}

#[test]
fn s4_1_the_client_checks_upgrade_connection_and_accept() {
    let judged = |bytes: &[u8]| parse_response(bytes, KEY_BYTES);
    let len = answer(&ANSWER).len();
    assert_eq!(judged(&answer(&ANSWER)), Ok(Some(len)));
    assert!(judged(&answer_with(1, &["upgrade: WebSocket"])).is_ok());
    assert!(judged(&answer_with(2, &["Connection: keep-alive, upgrade"])).is_ok());
    for by in [&[][..], &["Upgrade: h2c"], &["Upgrade: websocket", "Upgrade: websocket"]] {
        assert_eq!(judged(&answer_with(1, by)), Err(ClientError::Upgrade));
    }
    for by in [&[][..], &["Connection: close"]] {
        assert_eq!(judged(&answer_with(2, by)), Err(ClientError::Connection));
    }
    for by in [&[][..], &[ANSWER[3], ANSWER[3]], &["Sec-WebSocket-Accept: x"], &["Sec-WebSocket-Accept:"]] {
        assert_eq!(judged(&answer_with(3, by)), Err(ClientError::Accept));
    }
    assert_eq!(parse_response(&answer(&ANSWER), [0; 16]), Err(ClientError::Accept));
    assert_eq!(judged(&answer_with(0, &["HTTP/1.0 101 x"])), Err(ClientError::NotHttp));
}

#[test]
fn s4_1_the_client_refuses_what_it_did_not_ask_for() {
    let chosen = [&ANSWER[..], &["Sec-WebSocket-Protocol: wirefan.v1"]].concat();
    assert!(parse_response_to(&answer(&chosen), KEY_BYTES, &["a", "wirefan.v1"]).is_ok());
    let refused = Err(ClientError::Subprotocol);
    assert_eq!(parse_response_to(&answer(&chosen), KEY_BYTES, &[]), refused);
    assert_eq!(parse_response_to(&answer(&chosen), KEY_BYTES, &["Wirefan.v1"]), refused);
    let two = [&chosen[..], &["Sec-WebSocket-Protocol: wirefan.v1"]].concat();
    assert_eq!(parse_response(&answer(&two), KEY_BYTES), refused);
    let other = [&ANSWER[..], &["Sec-WebSocket-Protocol: mqtt"]].concat();
    assert_eq!(parse_response(&answer(&other), KEY_BYTES), refused);
    let extended = [&ANSWER[..], &["Sec-WebSocket-Extensions: permessage-deflate"]].concat();
    assert_eq!(parse_response(&answer(&extended), KEY_BYTES), Err(ClientError::Extension));
}

#[test]
fn s7692_7_1_a_client_that_offers_deflate_takes_the_answer_or_none() {
    let mut out = Vec::new();
    request_deflate(&mut out, "a", "/ws", KEY_BYTES, &["wirefan.v1"]);
    let (head, len) = parse_head(&out).unwrap().unwrap();
    assert_eq!(len, out.len());
    let upgrade = upgrade(&head).unwrap();
    let mut response = Vec::new();
    upgrade.respond(&mut response);
    let whole = response.len();
    assert_eq!(parse_response_deflate(&response, KEY_BYTES), Ok(Some((whole, true))));
    assert_eq!(parse_response(&response, KEY_BYTES), Err(ClientError::Extension), "it was not offered");
    let plain = answer(&ANSWER);
    assert_eq!(parse_response_deflate(&plain, KEY_BYTES), Ok(Some((plain.len(), false))));
    let twice =
        [&ANSWER[..], &["Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"; 2]].concat();
    assert_eq!(parse_response_deflate(&answer(&twice), KEY_BYTES), Err(ClientError::Extension));
    let other = [&ANSWER[..], &["Sec-WebSocket-Extensions: permessage-deflate"]].concat();
    assert_eq!(parse_response_deflate(&answer(&other), KEY_BYTES), Err(ClientError::Extension));
}

#[test]
fn the_client_shows_a_refusal_bounded_and_escaped() {
    let refusal = |body: &[u8]| {
        let mut bytes = answer(&["HTTP/1.1 403 Forbidden"]);
        bytes.extend_from_slice(body);
        match parse_response(&bytes, KEY_BYTES) {
            Err(ClientError::Refused { status: 403, excerpt }) => excerpt,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(b""), "");
    assert_eq!(refusal(b"no\x1b[31m \xff\r\n"), "no\\x1b[31m \\xff\\r\\n");
    assert_eq!(refusal(br#"{"detail":"not here\u001b","status":403}"#), "not here\\x1b", "a problem document");
    assert_eq!(refusal(b"{\"detail\":4}\n"), "{\\\"detail\\\":4}\\n");
    assert_eq!(refusal(&[b'a'; 256]), "a".repeat(256));
    assert_eq!(refusal(&[b'a'; 257]), "a".repeat(253) + "...");
    assert_eq!(refusal(&[0; 300]).len(), 256);
    let shown = ClientError::Refused { status: 404, excerpt: "gone".into() }.to_string();
    assert_eq!(shown, "the server refused the connection with HTTP status 404: gone");
}

#[test]
fn the_client_gives_up_on_what_is_no_answer_or_too_long_a_one() {
    assert_eq!(parse_response(b"SSH-2.0-x\r\n", KEY_BYTES), Err(ClientError::NotHttp));
    let mut long = b"HTTP/1.1 101 x\r\nA: ".to_vec();
    long.resize(8191, b'a');
    assert_eq!(parse_response(&long, KEY_BYTES), Ok(None));
    long.push(b'a');
    assert_eq!(parse_response(&long, KEY_BYTES), Err(ClientError::TooLong));
    let many = "A: b\r\n".repeat(65);
    let many = format!("HTTP/1.1 101 x\r\n{many}\r\n");
    assert_eq!(parse_response(many.as_bytes(), KEY_BYTES), Err(ClientError::TooLong));
}
