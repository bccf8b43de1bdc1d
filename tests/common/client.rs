//! A client of the broker on top of tungstenite, an implementation of RFC 6455 that is not ours.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderValue, StatusCode};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::{Broker, PATIENCE};

/// What a client reads from and writes to.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub(crate) struct Client {
    socket: WebSocket<Box<dyn Stream>>,
    /// The `client` of the welcome.
    pub(crate) name: String,
}

impl Client {
    /// Connects to `/ws` and takes the welcome.
    pub(crate) fn connect(broker: &Broker) -> Self {
        Self::over(dial(broker.address, None), broker.address)
    }

    /// Connects with a receive buffer of so many bytes, to be slow with.
    pub(crate) fn connect_narrow(broker: &Broker, receive_bytes: usize) -> Self {
        Self::over(dial(broker.address, Some(receive_bytes)), broker.address)
    }

    /// Connects to that path with further headers; nothing is read yet.
    pub(crate) fn open(broker: &Broker, path: &str, headers: &[(&'static str, String)]) -> Self {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let url = format!("ws://{}{path}", broker.address);
        let stream: Box<dyn Stream> = Box::new(dial(broker.address, None));
        let (socket, _) = upgrade(stream, &url, &headers).expect("a handshake");
        Self { socket, name: String::new() }
    }

    /// The same over a stream that is there already.
    pub(crate) fn over(stream: impl Stream + 'static, address: SocketAddr) -> Self {
        let stream: Box<dyn Stream> = Box::new(stream);
        let (socket, _) = upgrade(stream, &format!("ws://{address}/ws"), &[]).expect("a handshake");
        let mut client = Self { socket, name: String::new() };
        let welcome = client.next();
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        client.name = welcome["client"].as_str().expect("a name").to_owned();
        client
    }

    /// Sends a text message.
    pub(crate) fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).expect("the broker reads");
    }

    /// Sends a binary message.
    pub(crate) fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(Message::binary(bytes.into())).expect("the broker reads");
    }

    /// The next message, pings passed over (their pongs go out by themselves).
    pub(crate) fn receive(&mut self) -> Message {
        loop {
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return message,
                Err(error) => panic!("no message came: {error}"),
            }
        }
    }

    /// The text of the next message.
    pub(crate) fn next_text(&mut self) -> String {
        match self.receive() {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    /// The next message as the JSON that it has to be.
    pub(crate) fn next(&mut self) -> Value {
        serde_json::from_str(&self.next_text()).expect("the broker sends JSON")
    }

    /// The next message, which has to be a binary publication: its header and its payload.
    pub(crate) fn next_binary(&mut self) -> (Value, Vec<u8>) {
        let Message::Binary(bytes) = self.receive() else { panic!("not a binary message") };
        let end = bytes.iter().position(|&byte| byte == b'\n').expect("a header line");
        let header = serde_json::from_slice(&bytes[..end]).expect("the header is JSON");
        (header, bytes[end + 1..].to_vec())
    }

    /// The next message, which has to be of that `op`.
    pub(crate) fn expect(&mut self, op: &str) -> Value {
        let message = self.next();
        assert_eq!(message["op"], op, "{message}");
        message
    }

    /// Sends a command and takes its reply, which has to come next.
    pub(crate) fn ask(&mut self, command: impl Into<String>) -> Value {
        self.send(command);
        self.next()
    }

    /// Subscribes and takes the ack.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Value {
        let ack = self.ask(format!(r#"{{"op":"subscribe","topic":"{filter}","id":"subscribe"}}"#));
        assert_eq!((&ack["op"], &ack["id"]), (&Value::from("ack"), &Value::from("subscribe")), "{ack}");
        ack
    }

    /// Shows that the connection lives and that nothing else was on its way: the next message is our pong.
    pub(crate) fn expect_quiet(&mut self) {
        let pong = self.ask(r#"{"op":"ping","id":"quiet"}"#);
        assert_eq!((&pong["op"], &pong["id"]), (&Value::from("pong"), &Value::from("quiet")), "{pong}");
    }

    /// Starts the closing handshake.
    pub(crate) fn close(&mut self) {
        self.socket.close(None).expect("the broker reads");
    }

    /// Reads on to the close frame and to the end of the connection: the messages before it, the code, the reason.
    /// A frame that was cut off, or a connection without a close frame, fails the test.
    pub(crate) fn read_to_close(&mut self) -> (Vec<Message>, u16, String) {
        let mut messages = Vec::new();
        loop {
            match self.socket.read() {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    let frame = frame.expect("the broker always says why");
                    self.expect_end();
                    return (messages, frame.code.into(), frame.reason.to_string());
                }
                Ok(message) => messages.push(message),
                Err(error) => panic!("no close came after {} messages: {error}", messages.len()),
            }
        }
    }

    /// RFC 6455 7.1.1: after the closing handshake the server ends the TCP connection.
    pub(crate) fn expect_end(&mut self) {
        match self.socket.read() {
            Err(Error::ConnectionClosed) => {}
            other => panic!("the server has not ended the connection: {other:?}"),
        }
    }
}

/// A connected socket whose reads and writes have an end.
pub(crate) fn dial(address: SocketAddr, receive_bytes: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).expect("a buffer size");
    }
    socket.connect_timeout(&address.into(), PATIENCE).expect("the broker accepts");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A handshake with extra headers; a refusal is its status.
pub(crate) fn upgrade<S: Stream>(
    stream: S,
    url: &str,
    headers: &[(&'static str, &str)],
) -> Result<(WebSocket<S>, Response), StatusCode> {
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header value");
        request.headers_mut().insert(*name, value);
    }
    match tungstenite::client(request, stream) {
        Ok(upgraded) => Ok(upgraded),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status()),
        Err(error) => panic!("the handshake broke off: {error}"),
    }
}
