//! Request heads, clause by clause (RFC 9112), each in every split of its bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Method and target, version and number of headers, host, length.
type Parts = (String, String, Option<String>, usize);

/// What a head says, or the status of the problem; the same byte by byte, up to where it is decided.
fn judge(bytes: &[u8]) -> Result<Option<Parts>, u16> {
    let judge_once = |bytes| match parse_head(bytes) {
        Ok(None) => Ok(None),
        Ok(Some((head, len))) => {
            let target = format!("{} {}?{}", head.method, head.path, head.query);
            let shape = format!("1.{} {}", head.version_minor, head.lines.len());
            Ok(Some((target, shape, head.host().map(str::to_owned), len)))
        }
        Err(problem) => Err(problem.status),
    };
    let whole = judge_once(bytes);
    let first = (0..bytes.len()).map(|end| judge_once(&bytes[..end])).find(|seen| *seen != Ok(None));
    if let Some(first) = first {
        assert_eq!(first, whole, "for {:?}", String::from_utf8_lossy(bytes));
    }
    whole
}

fn status(text: &str) -> u16 {
    judge(text.as_bytes()).expect_err(text)
}

fn accepted(text: &str) -> (String, Option<String>) {
    let (target, _, host, len) = judge(text.as_bytes()).expect(text).expect(text);
    assert_eq!(len, text.len(), "{text}");
    (target, host)
}

#[test]
fn s3_a_head_is_split_into_its_parts() {
    let text = b"GET /a/b%20c?d=e?f HTTP/1.1\r\nHost: a.example\r\nX-A: 1 \r\nx-a:\t2\r\n\
        Empty:\r\n\r\nmore";
    let (head, len) = parse_head(text).unwrap().unwrap();
    assert_eq!((head.method, head.path, head.query), ("GET", "/a/b%20c", "d=e?f"));
    assert_eq!((head.version_minor, head.host(), len), (1, Some("a.example"), text.len() - 4));
    assert_eq!(head.header("X-a"), Some(&b"1"[..]));
    assert_eq!(head.all("X-A").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(head.header("empty"), Some(&b""[..]));
    assert_eq!(head.header("none"), None);
}

#[test]
fn s2_2_empty_lines_before_the_request_line_are_ignored() {
    assert_eq!(accepted("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").0, "GET /?");
}

#[test]
fn s2_2_bare_line_feeds_and_bare_carriage_returns_are_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\rx",
        "\rGET / HTTP/1.1\r\n",
    ] {
        assert_eq!(status(text), 400, "{text:?}");
    }
}

#[test]
fn s5_malformed_header_lines_are_refused() {
    for line in [
        "Name : x",
        " Host: x",
        "A: b\r\n folded",
        "A: b\r\n\tfolded",
        "no colon",
        ": x",
        "A\u{e9}: x",
        "A: \0",
        "A: \x1b",
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        assert_eq!(status(&text), 400, "{line:?}");
    }
}

#[test]
fn s3_malformed_request_lines_are_refused() {
    for line in [
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET / x HTTP/1.1",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTPX1.1",
        "GET /\u{1} HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
        "GET /a#b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT a:80 HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET http:// HTTP/1.1",
    ] {
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(status(&text), 400, "{line:?}");
    }
}

#[test]
fn s2_3_other_versions_get_505_and_so_does_the_preface_of_http_2() {
    assert_eq!(status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    assert_eq!(status("GET / HTTP/3\r\n\r\n"), 505);
    assert_eq!(status("GET / HTTP/1.2\r\nHost: a\r\n\r\n"), 505);
}

#[test]
fn s3_2_exactly_one_valid_host() {
    assert_eq!(accepted("GET / HTTP/1.1\r\nHost: A:80\r\n\r\n").1.as_deref(), Some("A:80"));
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").1, None);
    for hosts in
        ["", "Host:\r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b\r\n", "Host: http://a\r\n"]
    {
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")), 400, "{hosts:?}");
    }
    assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn s3_2_2_an_absolute_target_replaces_the_host() {
    for (target, path, host) in [
        ("http://b.example/x?y=/", "GET /x?y=/", "b.example"),
        ("HTTPS://b:1", "GET /?", "b:1"),
        ("http://b?q", "GET /?q", "b"),
        ("http://[::1]:7/", "GET /?", "[::1]:7"),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(accepted(&text), (path.to_owned(), Some(host.to_owned())));
    }
    // RFC 9112 3.2: a Host header is demanded all the same.
    assert_eq!(status("GET http://b/ HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(accepted("GET /http://b HTTP/1.1\r\nHost: a\r\n\r\n").0, "GET /http://b?");
    assert_eq!(accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").0, "OPTIONS *?");
}

#[test]
fn heads_end_within_8192_bytes_and_64_headers() {
    let of_len = |len: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nA: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(len - frame))
    };
    let fits = of_len(8192);
    assert_eq!(parse_head(fits.as_bytes()).unwrap().unwrap().1, 8192);
    let long = of_len(8193);
    assert!(parse_head(&long.as_bytes()[..8191]).unwrap().is_none());
    for end in [8192, 8193] {
        assert_eq!(parse_head(&long.as_bytes()[..end]).unwrap_err().status, 431);
    }
    let long_target = format!("GET /{}", "x".repeat(8192));
    assert!(parse_head(&long_target.as_bytes()[..8191]).unwrap().is_none());
    for end in [8192, 8193] {
        assert_eq!(parse_head(&long_target.as_bytes()[..end]).unwrap_err().status, 414);
    }
    let many = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert!(parse_head(many(64).as_bytes()).unwrap().is_some());
    assert_eq!(parse_head(many(65).as_bytes()).unwrap_err().status, 431);
}

#[test]
fn tokens_are_collected_over_lines_and_empty_ones_skipped() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nT: a, b ,,\r\nt:\r\nT: \tc\r\n\r\n";
    let (head, _) = parse_head(text).unwrap().unwrap();
    assert_eq!(tokens(&head, "T").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_head_with_any_byte_broken_is_judged_alike_in_every_split(
        index in any::<prop::sample::Index>(),
        bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(b"\r\n :/?#,".to_vec())], 0..3),
    ) {
        let mut text = b"GET http://b/x?y HTTP/1.1\r\nHost: a:80\r\nUpgrade: websocket\r\nA:b\r\n\r\n\x81\n".to_vec();
        let at = index.index(text.len());
        text.splice(at..(at + 1), bytes);
        // judge() compares all prefixes.
        let _ = judge(&text);
    }
}
