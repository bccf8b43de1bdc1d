//! Requests of persistent connections, clause by clause (RFC 9112), each in every split of its bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const BODY_BYTES_MAX: usize = 64;

/// What a stream of bytes led to, event by event; the last line may be a status.
fn read(pieces: &[&[u8]]) -> Vec<String> {
    let (mut reader, mut seen) = (Reader::new(), vec![]);
    for piece in pieces {
        let mut bytes = piece.to_vec();
        let mut input = Input::new(&mut bytes);
        if !drain(&mut reader, &mut input, &mut seen, usize::MAX) {
            break;
        }
        assert!(input.rest().is_empty() || reader.stopped);
    }
    assert!(reader.held_bytes() <= 2 * (HEAD_BYTES_MAX + BODY_BYTES_MAX) + 256, "{}", reader.held_bytes());
    seen
}

/// Asks for at most `events_max` events. Whether the stream may go on.
fn drain(reader: &mut Reader, input: &mut Input<'_>, seen: &mut Vec<String>, events_max: usize) -> bool {
    for _ in 0..events_max {
        match reader.next(input, BODY_BYTES_MAX) {
            Ok(None) => break,
            // Whether a body comes with its head is the splits' business.
            Ok(Some(Event::Begun(Begun { awaits: false, .. }))) => {}
            Ok(Some(Event::Request(request))) => seen.push(told(&request)),
            Ok(Some(Event::Begun(begun))) => seen.push(format!("continue {}", begun.head.path)),
            Ok(Some(Event::Refused(_, problem))) | Err(problem) => {
                seen.push(problem.status.to_string());
                assert!(matches!(reader.next(input, BODY_BYTES_MAX), Ok(None)), "a problem is the end");
                assert_eq!(reader.held_bytes(), 0);
                return false;
            }
        }
    }
    true
}

fn told(request: &Request<'_>) -> String {
    let (head, stays) = (&request.head, if request.terms.keep_alive { "stays" } else { "ends" });
    format!("{} {} {stays} {}", head.method, head.path, String::from_utf8_lossy(request.body))
}

/// The events of a stream, which are the same in one piece, byte by byte and in every split in two.
fn events(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let whole = read(&[bytes]);
    assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), whole, "{text:?}");
    for cut in 0..bytes.len() {
        assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "{text:?} cut at {cut}");
    }
    whole
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{headers}\r\n{body}")
}

const GET: &str = "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn rfc9112_9_3_2_pipelined_requests_come_in_order() {
    let stream = [
        GET,
        &post("Content-Length: 5\r\n", "hello"),
        &post("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: x\r\n\r\n"),
        "\r\n\r\n",
        "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        &post("Content-Length: 0\r\n", ""),
    ]
    .concat();
    let expected = [
        "GET /g stays ",
        "POST /p stays hello",
        "POST /p stays hello",
        "HEAD /h stays ",
        "OPTIONS * stays ",
        "POST /p stays ",
    ];
    assert_eq!(events(&stream), expected);
}

/// The events of a stream in one read, with the heads that equal the one before them not looked at; and how many did.
fn read_again(bytes: &[u8]) -> (Vec<String>, usize) {
    let (mut reader, mut seen, mut known, mut again) = (Reader::new(), vec![], None, 0);
    let mut bytes = bytes.to_vec();
    let mut input = Input::new(&mut bytes);
    loop {
        if let Some((head, start)) = &known
            && let Some(body) = reader.again(&mut input, head)
        {
            seen.push(format!("{start}{}", String::from_utf8_lossy(body)));
            again += 1;
            continue;
        }
        match reader.next(&mut input, BODY_BYTES_MAX) {
            Ok(Some(Event::Request(request))) => {
                seen.push(told(&request));
                let head = Repeat::of(&request.head, BODY_BYTES_MAX).filter(|_| request.repeats);
                known = head.map(|head| (head, told(&Request { body: b"", ..request })));
                continue;
            }
            Ok(None) => return (seen, again),
            Ok(Some(Event::Begun(Begun { awaits: false, .. }))) => {}
            Ok(Some(Event::Begun(begun))) => seen.push(format!("continue {}", begun.head.path)),
            Ok(Some(Event::Refused(_, problem))) | Err(problem) => {
                seen.push(problem.status.to_string());
                return (seen, again);
            }
        }
        known = None;
    }
}

#[test]
fn a_head_that_is_there_again_is_not_looked_at_again() {
    let (a, b) = (post("Content-Length: 5\r\nA: b\r\n", "hello"), post("Content-Length: 0\r\nA: b\r\n", ""));
    let other = post("Content-Length: 5\r\nA: c\r\n", "hello");
    let stream = [&a[..], &a, &b, &a, &other, &other, GET, GET, &a].concat();
    assert_eq!(read_again(stream.as_bytes()), (read(&[stream.as_bytes()]), 4));
    // A request that ends its connection, or is not whole, is no such one.
    let last = post("Content-Length: 5\r\nConnection: close\r\n", "hello").repeat(2);
    assert_eq!(read_again(last.as_bytes()), (vec!["POST /p ends hello".to_owned()], 0));
    let cut = &a.repeat(3)[..a.len() * 3 - 1];
    assert_eq!(read_again(cut.as_bytes()), (vec!["POST /p stays hello".to_owned(); 2], 1));
    let long = [&a[..], &post("Content-Length: 65\r\nA: b\r\n", &"x".repeat(65))].concat();
    assert_eq!(read_again(long.as_bytes()), (vec!["POST /p stays hello".to_owned(), "413".to_owned()], 0));
}

#[test]
fn rfc9112_9_6_nothing_is_read_behind_a_request_that_ends_its_connection() {
    assert_eq!(events(&format!("{}{GET}", post("Connection: close\r\n", ""))), ["POST /p ends "]);
    assert_eq!(events(&format!("GET / HTTP/1.0\r\n\r\n{GET}")), ["GET / ends "]);
    assert_eq!(
        events("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
        ["GET / stays ", "GET / ends "]
    );
}

#[test]
fn rfc9112_6_3_both_lengths_are_refused() {
    let both = post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n");
    assert_eq!(events(&format!("{GET}{both}{GET}")), ["GET /g stays ", "400"]);
    assert_eq!(events(&post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")), ["400"]);
    assert_eq!(events(&post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")), ["501"]);
}

#[test]
fn rfc9112_7_1_a_malformed_chunk_ends_the_connection() {
    let stream = post("Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n");
    assert_eq!(events(&format!("{stream}{GET}")), ["400"]);
}

#[test]
fn rfc9112_5_2_a_folded_header_is_refused_behind_a_good_request() {
    assert_eq!(events(&format!("{GET}GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n")), ["GET /g stays ", "400"]);
}

#[test]
fn rfc9110_10_1_1_who_waits_is_told_to_go_on() {
    let expect = "Expect: 100-continue\r\n";
    let sized = post(&format!("{expect}Content-Length: 5\r\n"), "hello");
    assert_eq!(events(&format!("{sized}{GET}")), ["continue /p", "POST /p stays hello", "GET /g stays "]);
    let chunked = post(&format!("{expect}Transfer-Encoding: chunked\r\n"), "0\r\n\r\n");
    assert_eq!(events(&format!("{GET}{chunked}")), ["GET /g stays ", "continue /p", "POST /p stays "]);
    assert_eq!(events(&post(expect, "")), ["POST /p stays "]);
    assert_eq!(events(&post(&format!("{expect}Content-Length: 0\r\n"), "")), ["POST /p stays "]);
    assert_eq!(events("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"), ["POST / ends x"]);
    assert_eq!(events(&post("Expect: tea\r\nContent-Length: 5\r\n", "hello")), ["417"]);
}

#[test]
fn a_head_is_told_once_before_a_body_that_has_not_come_whole() {
    for expect in ["", "Expect: 100-continue\r\n"] {
        for framed in ["Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"] {
            let text = format!("POST /p HTTP/1.1\r\nHost: a\r\n{expect}{framed}");
            let (mut reader, mut heads, mut requests) = (Reader::new(), 0, 0);
            for mut byte in text.into_bytes() {
                let mut input = Input::new(std::slice::from_mut(&mut byte));
                while let Some(event) = reader.next(&mut input, BODY_BYTES_MAX).unwrap() {
                    match event {
                        Event::Begun(Begun { head, awaits }) => {
                            assert_eq!((head.path, awaits, requests), ("/p", !expect.is_empty(), 0));
                            heads += 1;
                        }
                        Event::Request(request) => {
                            assert_eq!(request.body, b"hello");
                            requests += 1;
                        }
                        Event::Refused(_, problem) => panic!("{problem}"),
                    }
                }
            }
            assert_eq!((heads, requests), (1, 1), "{expect}{framed}");
        }
    }
}

#[test]
fn what_cannot_be_read_behind_a_good_head_is_refused_with_the_head() {
    for wrong in ["Content-Length: 65\r\n\r\n", "Expect: tea\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nx\r\n"] {
        for cut in [0, 20, 60] {
            let mut bytes = format!("POST /p HTTP/1.1\r\nHost: a\r\nOrigin: https://b\r\n{wrong}").into_bytes();
            let (mut reader, (first, second)) = (Reader::new(), bytes.split_at_mut(cut));
            assert!(reader.next(&mut Input::new(first), BODY_BYTES_MAX).unwrap().is_none());
            let mut input = Input::new(second);
            let Ok(Some(Event::Refused(head, _))) = reader.next(&mut input, BODY_BYTES_MAX) else { panic!("{wrong}") };
            assert_eq!(head.header("origin"), Some(&b"https://b"[..]));
        }
    }
}

#[test]
fn rfc9110_15_5_14_a_body_over_its_limit_is_refused_unread() {
    let fits = "x".repeat(BODY_BYTES_MAX);
    assert_eq!(events(&post("Content-Length: 64\r\n", &fits)), [format!("POST /p stays {fits}")]);
    assert_eq!(events(&post("Content-Length: 65\r\n", "")), ["413"]);
    assert_eq!(events(&post("Content-Length: 65\r\nExpect: 100-continue\r\n", "")), ["413"]);
    assert_eq!(events(&post("Content-Length: 99999999999999999999\r\n", "")), ["413"]);
    let chunked = |len: usize| format!("20\r\n{}\r\n{len:x}\r\n", "x".repeat(0x20));
    assert_eq!(events(&post("Transfer-Encoding: chunked\r\n", &chunked(33))), ["413"]);
    assert_eq!(events(&post("Transfer-Encoding: chunked\r\n", &chunked(32))), [""; 0]);
}

#[test]
fn rfc9110_15_5_12_a_body_that_is_needed_must_be_announced() {
    for (headers, body, required) in [
        ("", "", Err(411)),
        ("Content-Length: 0\r\n", "", Ok(0)),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n", Ok(0)),
    ] {
        for cut in [0, 20] {
            let mut text = post(headers, body).into_bytes();
            let (mut reader, (first, second)) = (Reader::new(), text.split_at_mut(cut));
            assert!(reader.next(&mut Input::new(first), 9).unwrap().is_none());
            let mut input = Input::new(second);
            let Ok(Some(Event::Request(request))) = reader.next(&mut input, 9) else { panic!("{headers}") };
            assert_eq!(request.required_body().map(<[u8]>::len).map_err(|problem| problem.status), required);
        }
    }
}

#[test]
fn a_head_and_its_pipeline_are_bounded_in_every_split() {
    let long = format!("{GET}GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    for size in [1, 7, 8191, 8192, 8193, 65_536] {
        assert_eq!(read(&long.as_bytes().chunks(size).collect::<Vec<_>>()), ["GET /g stays ", "431"], "{size}");
    }
    let target = format!("GET /{}", "x".repeat(HEAD_BYTES_MAX));
    for size in [1, 4096, 65_536] {
        assert_eq!(read(&target.as_bytes().chunks(size).collect::<Vec<_>>()), ["414"], "{size}");
    }
}

#[test]
fn a_request_that_arrived_whole_costs_no_memory_and_is_not_copied() {
    let requests = [
        post("Content-Length: 5\r\n", "hello"),
        post("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2;x\r\nlo\r\n0\r\nT: x\r\n\r\n"),
    ];
    for text in requests {
        let mut bytes = text.into_bytes();
        let (range, mut reader) = (bytes.as_ptr_range(), Reader::new());
        let mut input = Input::new(&mut bytes);
        let Ok(Some(Event::Request(request))) = reader.next(&mut input, BODY_BYTES_MAX) else { panic!("no request") };
        assert_eq!(request.body, b"hello");
        assert!(range.contains(&request.body.as_ptr()) && range.contains(&request.head.path.as_ptr()));
        assert_eq!(reader.held_bytes(), 0);
        assert!(reader.next(&mut input, BODY_BYTES_MAX).unwrap().is_none());
        assert_eq!(reader.held_bytes(), 0);
    }
}

#[test]
fn memory_for_a_part_is_freed_when_its_request_was_handled() {
    let text = post("Content-Length: 50\r\n", &"x".repeat(50));
    let mut bytes = text.into_bytes();
    let (first, second) = bytes.split_at_mut(60);
    let mut reader = Reader::new();
    assert!(matches!(reader.next(&mut Input::new(first), 50), Ok(Some(Event::Begun(_)))));
    assert!(reader.held_bytes() > 0 && reader.is_inside_request());
    let mut input = Input::new(second);
    assert!(reader.next(&mut input, 50).unwrap().is_some());
    assert!(!reader.is_inside_request());
    reader.keep(&mut input).unwrap();
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn a_promised_length_is_not_allocated_in_advance() {
    let mut bytes = post("Content-Length: 9999999999\r\n", "x").into_bytes();
    let mut reader = Reader::new();
    assert!(matches!(reader.next(&mut Input::new(&mut bytes), usize::MAX), Ok(Some(Event::Begun(_)))));
    assert!(reader.held_bytes() <= READ_BYTES_PER_TURN + 256, "{}", reader.held_bytes());
}

#[test]
fn what_is_pipelined_behind_a_request_under_way_is_kept_up_to_its_bound() {
    let mut reader = Reader::new();
    let mut read = vec![b'x'; READ_BYTES_PER_TURN];
    for _ in 0..2 {
        reader.keep(&mut Input::new(&mut read)).unwrap();
        assert!(reader.is_keeping());
    }
    assert_eq!(reader.keep(&mut Input::new(&mut [b'x'])).unwrap_err().status, 429);
    assert!(reader.next(&mut Input::new(&mut []), 9).unwrap().is_none());
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn memory_for_what_is_kept_neither_grows_with_the_stream_nor_stays() {
    let mut reader = Reader::new();
    reader.keep(&mut Input::new(&mut GET.as_bytes().to_vec())).unwrap();
    for _ in 0..10_000 {
        let mut bytes = GET.as_bytes().to_vec();
        reader.keep(&mut Input::new(&mut bytes)).unwrap();
        assert!(reader.next(&mut Input::new(&mut []), 9).unwrap().is_some());
        assert!(reader.held_bytes() < 1024, "{}", reader.held_bytes());
    }
    assert!(reader.next(&mut Input::new(&mut []), 9).unwrap().is_some());
    assert!(reader.next(&mut Input::new(&mut []), 9).unwrap().is_none());
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn frames_behind_an_upgrade_are_left_to_the_caller() {
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let mut bytes = format!("{upgrade}\u{1}\n\n").into_bytes();
    let (mut reader, mut input) = (Reader::new(), Input::new(&mut bytes));
    assert!(reader.next(&mut input, 9).unwrap().is_some());
    assert_eq!((input.rest(), input.taken()), (&b"\x01\n\n"[..], upgrade.len()));

    let mut bytes = format!("{GET}{upgrade}\u{1}\n").into_bytes();
    let (mut reader, mut input) = (Reader::new(), Input::new(&mut bytes));
    assert!(reader.next(&mut input, 9).unwrap().is_some());
    reader.keep(&mut input).unwrap();
    assert!(reader.next(&mut Input::new(&mut b"\n".to_vec()), 9).unwrap().is_some());
    assert_eq!(reader.into_kept(), b"\x01\n\n");
}

/// A stream, cut in pieces; after each piece as many events are asked for as the plan says, and the rest is kept.
fn read_with_pauses(bytes: &[u8], cuts: &[usize], pauses: &[usize]) -> Vec<String> {
    let (mut reader, mut seen) = (Reader::new(), vec![]);
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for (index, ends) in cuts.windows(2).enumerate() {
        let mut piece = bytes[ends[0]..ends[1]].to_vec();
        let mut input = Input::new(&mut piece);
        let events_max = pauses.get(index).copied().unwrap_or(usize::MAX);
        if !drain(&mut reader, &mut input, &mut seen, events_max) {
            return seen;
        }
        reader.keep(&mut input).expect("the stream is shorter than the bound");
        assert!(input.rest().is_empty() || reader.stopped);
    }
    drain(&mut reader, &mut Input::new(&mut []), &mut seen, usize::MAX);
    seen
}

fn request() -> impl Strategy<Value = String> {
    let headers = prop::sample::select(vec![
        "",
        "Connection: close\r\n",
        "Expect: 100-continue\r\n",
        "A: b\r\n",
        "Host: a\r\n",
        "A : b\r\n",
        "A: b\n",
    ]);
    let framed = prop::sample::select(vec![
        "\r\n",
        "Content-Length: 5\r\n\r\nhello",
        "Content-Length: 0\r\n\r\n",
        "Content-Length: 5\r\n\r\n\r\n\r\n\n",
        "Content-Length: 99\r\n\r\nhello",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nTrailer: x\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: x\r\n\r\n",
    ]);
    let line = prop::sample::select(vec![
        "GET / HTTP/1.1",
        "POST http://b/x?y HTTP/1.1",
        "PUT /1 HTTP/1.0",
        "\r\nGET /2 HTTP/1.1",
    ]);
    (line, headers, framed).prop_map(|(line, headers, framed)| format!("{line}\r\nHost: a\r\n{headers}{framed}"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_and_any_pauses_give_the_same_events(
        requests in vec(request(), 1..6),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in vec(any::<usize>(), 0..12),
        pauses in vec(0_usize..3, 0..12),
    ) {
        let mut bytes = requests.concat().into_bytes();
        if let Some((index, byte)) = broken {
            *index.get_mut(&mut bytes) = byte;
        }
        // Where a line ends, a head that came in drops is judged.
        bytes.push(b'\n');
        let whole = read(&[&bytes]);
        prop_assert_eq!(&read_with_pauses(&bytes, &cuts, &[]), &whole);
        prop_assert_eq!(&read_with_pauses(&bytes, &cuts, &pauses), &whole);
        prop_assert_eq!(&read(&bytes.chunks(1).collect::<Vec<_>>()), &whole);
    }

    #[test]
    fn heads_that_are_there_again_give_the_same_events(
        requests in vec((request(), 1_usize..5), 1..4),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(|(request, times)| request.repeat(*times).into_bytes()).collect();
        if let Some((index, byte)) = broken {
            *index.get_mut(&mut bytes) = byte;
        }
        prop_assert_eq!(read_again(&bytes).0, read(&[&bytes]));
    }
}
