"""Connections one after the other, each: connect, upgrade, subscribe, reset. For strace; see README.md.

python3 bench/churn.py PORT CONNECTIONS
"""
import socket
import struct
import sys
import time

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\1\2\3\4"


def frame(text):
    """A text message of fewer than 126 bytes, as a client sends it."""
    return bytes([0x81, 0x80 | len(text)]) + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(text))


def read_until(connection, text):
    got = b""
    while text not in got:
        more = connection.recv(4096)
        assert more, got
        got += more


def main():
    port, connections = int(sys.argv[1]), int(sys.argv[2])
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.sendall(REQUEST)
        read_until(connection, b'"welcome"')
        connection.sendall(frame(b'{"op":"subscribe","topic":"a","id":1}'))
        read_until(connection, b'"ack"')
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        time.sleep(0.01)


main()
