//! The client against a server of an independent library, and against servers that misbehave.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that serves one connection on a thread.
fn serve<T: Send + 'static>(conversation: impl FnOnce(TcpStream) -> T + Send + 'static) -> (Url, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(listener.local_addr().unwrap());
    (url, thread::spawn(move || conversation(listener.accept().unwrap().0)))
}

fn url_of(address: SocketAddr) -> Url {
    format!("ws://{address}/ws").parse().unwrap()
}

fn serve_websocket<T: Send + 'static>(
    conversation: impl FnOnce(WebSocket<TcpStream>) -> T + Send + 'static,
) -> (Client, JoinHandle<T>) {
    let (url, server) = serve(|stream| conversation(tungstenite::accept(stream).unwrap()));
    (Client::connect(&url, None, None, PATIENCE).unwrap(), server)
}

/// Answers a handshake by hand and then sends `bytes` as they are.
fn serve_bytes(bytes: &'static [u8]) -> (Client, JoinHandle<Vec<u8>>) {
    let (url, server) = serve(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        let stream = socket.get_mut();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        rest
    });
    (Client::connect(&url, None, None, PATIENCE).unwrap(), server)
}

fn refused(answer: &'static [u8]) -> String {
    let (url, server) = serve(move |mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).unwrap();
        stream.write_all(answer).unwrap();
    });
    let error = Client::connect(&url, None, None, PATIENCE).unwrap_err();
    server.join().unwrap();
    error.to_string()
}

#[test]
fn messages_of_both_kinds_pass_in_both_directions() {
    let (client, server) = serve_websocket(|mut socket| {
        for _ in 0..2 {
            let message = socket.read().unwrap();
            socket.send(message).unwrap();
        }
        socket.read().unwrap()
    });
    let long = "ü".repeat(100_000);
    client.send(Kind::Text, long.as_bytes()).unwrap();
    client.send(Kind::Binary, &[0, 255, 10]).unwrap();
    assert!(matches!(client.wait(PATIENCE), Heard::Text(text) if text == long));
    assert!(matches!(client.wait(PATIENCE), Heard::Binary(bytes) if bytes == [0, 255, 10]));
    client.close();
    let Message::Close(Some(goodbye)) = server.join().unwrap() else {
        panic!("the client says goodbye");
    };
    assert_eq!(goodbye.code, CloseCode::Normal);
}

#[test]
fn pings_are_answered_while_the_command_does_something_else() {
    let (client, server) = serve_websocket(|mut socket| {
        socket.send(Message::Ping("are you there".into())).unwrap();
        socket.read().unwrap()
    });
    // Nobody waits on the client.
    assert_eq!(server.join().unwrap(), Message::Pong("are you there".into()));
    drop(client);
}

#[test]
fn what_the_server_sends_with_its_handshake_is_not_lost() {
    let (url, server) = serve(|mut stream| {
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let text = String::from_utf8(request[..length].to_vec()).unwrap();
        let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: wirefan.v1\r\n\r\n\u{1}\u{2}"
        );
        // The start of a text message in one segment with the head, its end later.
        let (head, frame) = answer.as_bytes().split_at(answer.len() - 2);
        let mut first = head.to_vec();
        first.extend_from_slice(&[frame[0] | 0x80, frame[1], b'h']);
        stream.write_all(&first).unwrap();
        stream.write_all(b"i").unwrap();
        let _ = stream.read(&mut request);
    });
    let client = Client::connect(&url, None, None, PATIENCE).unwrap();
    assert!(matches!(client.wait(PATIENCE), Heard::Text(text) if text == "hi"));
    drop(client);
    server.join().unwrap();
}

#[test]
fn s5_5_1_a_close_of_the_broker_is_answered_and_told_with_code_and_reason() {
    // 4008, "slow\x1b".
    let (client, server) = serve_bytes(b"\x88\x07\x0f\xa8slow\x1b");
    let Heard::Ended(ended) = client.wait(PATIENCE) else {
        panic!("the connection is over");
    };
    assert_eq!(ended.to_string(), r"the broker closed the connection with 4008: slow\u{1b}");
    client.close();
    let answer = server.join().unwrap();
    assert_eq!(answer.len(), 8, "one masked close frame with a code, and nothing after it");
    assert_eq!(answer[..2], [0x88, 0x82]);
    assert_eq!([answer[6] ^ answer[2], answer[7] ^ answer[3]], 4008_u16.to_be_bytes());
}

#[test]
fn s5_1_a_masked_frame_of_the_server_is_told_and_closed_with_1002() {
    let (client, server) = serve_bytes(b"\x81\x81\0\0\0\0a");
    let heard = client.wait(PATIENCE);
    assert!(matches!(heard, Heard::Ended(Ended::Violation(Violation::Masked))), "{heard:?}");
    drop(client);
    let answer = server.join().unwrap();
    assert_eq!([answer[6] ^ answer[2], answer[7] ^ answer[3]], 1002_u16.to_be_bytes());
}

#[test]
fn a_stream_that_ends_without_a_close_frame_is_lost() {
    let (client, server) = serve_websocket(drop);
    let heard = client.wait(PATIENCE);
    assert!(matches!(heard, Heard::Ended(Ended::Lost(_))), "{heard:?}");
    server.join().unwrap();
}

#[test]
fn a_silent_broker_is_noticed_and_a_ping_counts_as_a_word() {
    let last = Arc::new(Mutex::new(Instant::now()));
    let pinged = Arc::clone(&last);
    let (client, server) = serve_websocket(move |mut socket| {
        for _ in 0..10 {
            *pinged.lock().unwrap() = Instant::now();
            socket.send(Message::Ping("".into())).unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        while socket.read().is_ok() {}
    });
    let patience = Duration::from_millis(500);
    assert!(matches!(client.wait(patience), Heard::Silence));
    // Whole milliseconds are counted.
    let silent = last.lock().unwrap().elapsed() + Duration::from_millis(2);
    assert!(silent >= patience, "{silent:?} since the last ping, however slow this machine is");
    drop(client);
    server.join().unwrap();
}

#[test]
fn lines_are_posted_one_by_one_and_no_more_than_allowed_are_under_way() {
    let (client, server) = serve_websocket(|mut socket| socket.read().is_err());
    let input: String = (0..200).map(|number| format!("{number}\r\n")).collect();
    let lines = client.read_lines(io::Cursor::new(format!("{input}last"))).unwrap();
    for number in 0..200 {
        if number == CLIENT_LINES_MAX_IN_TEST {
            thread::sleep(Duration::from_millis(50));
            assert!(client.heard().is_none(), "the places are taken");
            (0..CLIENT_LINES_MAX_IN_TEST).for_each(|_| lines.done());
        }
        let expected = number.to_string().into_bytes();
        assert!(matches!(client.wait(PATIENCE), Heard::Line(line) if line == expected));
        if number >= CLIENT_LINES_MAX_IN_TEST {
            lines.done();
        }
    }
    assert!(matches!(client.wait(PATIENCE), Heard::Line(line) if line == b"last"));
    assert!(matches!(client.wait(PATIENCE), Heard::LinesEnded(Ok(()))));
    client.close();
    assert!(!server.join().unwrap(), "the server hears the goodbye");
}

const CLIENT_LINES_MAX_IN_TEST: usize = crate::limits::CLIENT_LINES_MAX;

#[test]
fn a_refused_handshake_says_status_and_text() {
    let sentence = refused(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno\x1bpage");
    assert!(sentence.contains("403") && sentence.contains(r"no\x1bpag"), "{sentence}");
    assert_eq!(refused(b"HTTP/1.1 101 Sw"), "the server hung up during the handshake");
    assert_eq!(refused(b"SSH-2.0-OpenSSH_9.2\r\n"), "the server's answer is not HTTP/1.1");
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_patience() {
    let (url, server) = serve(|stream| {
        thread::sleep(Duration::from_millis(300));
        drop(stream);
    });
    let error = Client::connect(&url, None, None, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.to_string(), "the server did not answer the handshake in time; does it speak WebSocket?");
    server.join().unwrap();
}

#[test]
fn nobody_listening_is_said_in_a_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url_of(listener.local_addr().unwrap());
    drop(listener);
    let error = Client::connect(&url, None, None, PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), "nobody listens there; is `wirefan serve` running?");
}

#[test]
fn s3_urls_give_host_port_and_target() {
    let cases = [
        ("ws://127.0.0.1:8080/ws", ("127.0.0.1", 8080), "127.0.0.1:8080", "/ws"),
        ("ws://broker.example", ("broker.example", 80), "broker.example", "/"),
        ("WS://broker.example:80/a/b?c=d", ("broker.example", 80), "broker.example", "/a/b?c=d"),
        ("ws://[::1]:9/ws", ("::1", 9), "[::1]:9", "/ws"),
        ("ws://[2001:db8::1]/", ("2001:db8::1", 80), "[2001:db8::1]", "/"),
        ("ws://h?x=ws://y/", ("h", 80), "h", "/?x=ws://y/"),
        ("ws://h:/", ("h", 80), "h", "/"),
        ("wss://h/ws", ("h", 443), "h", "/ws"),
        ("WSS://h:80/ws", ("h", 80), "h:80", "/ws"),
        ("ws://h:443/ws", ("h", 443), "h:443", "/ws"),
    ];
    for (text, authority, host, target) in cases {
        let url: Url = text.parse().unwrap();
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.host(), host, "{text}");
        assert_eq!(url.target(), target, "{text}");
        assert_eq!(url.to_string(), text);
        assert_eq!(url.is_secure(), text.to_lowercase().starts_with("wss:"), "{text}");
        assert!(!url.has_token());
    }
    for (text, shown) in [
        ("wss://h/ws?access_token=a.b", "wss://h/ws?access_token=…"),
        ("ws://h/ws?access_token=a.b", "ws://h/ws?access_token=…"),
        ("ws://h?a=b&access_token=a?b=&c", "ws://h?a=b&access_token=…&c"),
    ] {
        let url: Url = text.parse().unwrap();
        assert_eq!(
            (url.to_string(), format!("{url:?}")),
            (shown.to_owned(), format!("Url({shown})")),
            "no token is shown"
        );
        assert!(url.has_token());
    }
}

#[test]
fn s3_urls_that_cannot_be_say_what_to_write() {
    let cases = [
        ("127.0.0.1:8080", "must begin with ws:// or wss://, such as ws://127.0.0.1:8080/ws"),
        ("ftp://h", "must begin with ws:// or wss://, such as ws://127.0.0.1:8080/ws"),
        ("https://h/ws", "is a WebSocket's: write wss://h/ws"),
        ("http://h:8080/ws", "is a WebSocket's: write ws://h:8080/ws"),
        ("ws://", "names no host"),
        ("ws://:80/", "names no host"),
        ("ws://h/#a", "must not have a fragment (#): write %23 if the path has that character"),
        ("ws://h/a b", "must be printable ASCII without spaces: percent-encode ' '"),
        ("ws://h/\r\nX: y", "must be printable ASCII without spaces: percent-encode '\\r'"),
        ("ws://h/ü", "must be printable ASCII without spaces: percent-encode 'ü'"),
        ("ws://u:p@h/", "must not have a user name"),
        ("ws://h:0/", "has the port 0: it must be from 1 to 65535"),
        ("ws://h:65536/", "has the port 65536: it must be from 1 to 65535"),
        ("ws://h:x/", "has the port x: it must be a number"),
        ("ws://::1:80/", "has an IPv6 address without brackets: write ws://[::1]:8080/ws"),
        ("ws://[::g]/", "has [::g] where an IPv6 address should be"),
        ("ws://[::1/", "has [::1 where an IPv6 address should be"),
        ("ws://a%b/", "has a%b where a host name should be"),
    ];
    for (text, sentence) in cases {
        assert_eq!(text.parse::<Url>().unwrap_err(), sentence, "{text}");
    }
}
