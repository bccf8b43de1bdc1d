"""Publications by HTTP per CPU second of the broker: persistent connections, requests one behind the other.

    cargo build --release && python3 bench/http_publish.py
    python3 bench/http_publish.py --connections 10 --depth 1 --shards 2

Starts the broker on a port of 127.0.0.1, sends `--requests` requests of `--bytes` bytes of JSON in windows of `--depth`
and waits for the answers of each window, all of which have to be 200. What counts is the CPU time of the broker's
threads; this program's own is not in it. A connection keeps to one topic. Linux only.
"""

import argparse
import glob
import re
import selectors
import socket
import statistics
import subprocess

ANSWER = b"HTTP/1.1 "


def cpu_ns(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total


class Connection:
    def __init__(self, port, number, arguments):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = b'"' + b"x" * (arguments.bytes - 2) + b'"'
        head = (
            f"POST /v1/publish?topic=bench/{number} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.request = head.encode() + body
        self.awaited = 0
        self.tail = b""

    def send(self, depth):
        self.awaited = depth
        self.socket.sendall(self.request * depth)

    def receive(self):
        read = self.socket.recv(1 << 18)
        if not read:
            raise SystemExit("the broker ended a connection")
        seen = self.tail + read
        statuses = re.findall(rb"HTTP/1\.1 (\d\d\d)", seen)
        if any(status != b"200" for status in statuses):
            raise SystemExit(f"not all was published: {seen[-1000:]}")
        # An answer ends in its document: the last status line may be cut, so what may be a part of one is kept.
        self.tail = seen[-(len(ANSWER) + 2):] if ANSWER[:1] in seen[-(len(ANSWER) + 2):] else b""
        if re.search(rb"HTTP/1\.1 \d\d\d", self.tail):
            self.tail = b""
        self.awaited -= len(statuses)
        return self.awaited == 0


def run(port, pid, arguments):
    connections = [Connection(port, number, arguments) for number in range(arguments.connections)]
    windows = max(1, arguments.requests // (arguments.depth * len(connections)))
    selector = selectors.DefaultSelector()
    for connection in connections:
        connection.left = windows
        connection.send(arguments.depth)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    before = cpu_ns(pid)
    busy = len(connections)
    while busy:
        for key, _ in selector.select(10):
            connection = key.data
            if connection.receive():
                connection.left -= 1
                if connection.left:
                    connection.send(arguments.depth)
                else:
                    selector.unregister(connection.socket)
                    busy -= 1
    spent = cpu_ns(pid) - before
    return windows * arguments.depth * len(connections) / (spent / 1e9)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="target/release/wirefan")
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--depth", type=int, default=64, help="requests under way on a connection")
    parser.add_argument("--requests", type=int, default=100_000, help="of each round")
    parser.add_argument("--bytes", type=int, default=64, help="of each body")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    broker = subprocess.Popen(
        [arguments.broker, "serve", "--listen", "127.0.0.1:0", "--shards", str(arguments.shards)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(re.search(r":(\d+)", broker.stderr.readline()).group(1))
        rates = [run(port, broker.pid, arguments) for _ in range(arguments.rounds)]
        print(
            f"{arguments.connections} connections, {arguments.depth} under way, {arguments.bytes} bytes, "
            f"{arguments.shards} shards: {statistics.median(rates):,.0f} publications per CPU second "
            f"({min(rates):,.0f} to {max(rates):,.0f})"
        )
    finally:
        broker.terminate()
        broker.wait(60)


if __name__ == "__main__":
    main()
