"""What subscribers that never read cost: kernel memory per peer, and the broker's own.

    cargo build --release && python3 bench/stalled_peers.py --peers 200
    python3 bench/stalled_peers.py --peers 1000 --payload 64 --step 16 --receive-buffer 8192

Starts the broker on a port of 127.0.0.1, connects peers that subscribe to one topic and read nothing more, publishes in
steps, and prints at each step what the kernel and the broker hold. Then every peer reads to its end. The script fails
unless the broker ended all of them as slow consumers and some were quick enough to read why (4008): who has not taken
the Close after 5 seconds is dropped without. Linux only; needs `ss`; ends by itself.
"""

import argparse
import base64
import json
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import time

PAGE = resource.getpagesize()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="target/release/wirefan", help="the broker's program")
    parser.add_argument("--peers", type=int, default=200, help="subscribers that do not read")
    parser.add_argument("--receive-buffer", type=int, help="SO_RCVBUF of each peer in bytes [default: the kernel's]")
    parser.add_argument("--payload", type=int, default=4096, help="bytes of a publication's data")
    parser.add_argument("--together", type=int, default=1, help="publications sent in one array of commands")
    parser.add_argument("--step", type=int, default=64, help="KiB published between two looks")
    parser.add_argument("--publish", type=int, default=3072, help="KiB published in all; less, if all were closed before")
    return parser.parse_args()


def frame(text):
    data = text.encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    if len(data) > 65535:
        length = b"\xff" + struct.pack(">Q", len(data))
    return b"\x81" + length + bytes(4) + data  # the masking key of zeros changes nothing


class Peer:
    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.fill()
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 101"), head
        assert self.message()["op"] == "welcome"

    def fill(self):
        more = self.socket.recv(1 << 18)
        if not more:
            raise EOFError
        self.bytes += more

    def next(self):
        """The next frame: opcode, payload, length in all."""
        while True:
            if len(self.bytes) >= 2:
                length, start = self.bytes[1], 2
                if length == 126 and len(self.bytes) >= 4:
                    length, start = struct.unpack(">H", self.bytes[2:4])[0], 4
                elif length == 127 and len(self.bytes) >= 10:
                    length, start = struct.unpack(">Q", self.bytes[2:10])[0], 10
                elif length > 125:
                    length = 1 << 62
                if len(self.bytes) >= start + length:
                    opcode, payload = self.bytes[0] & 15, self.bytes[start : start + length]
                    self.bytes = self.bytes[start + length :]
                    return opcode, payload, start + length
            self.fill()

    def message(self):
        while True:
            opcode, payload, _ = self.next()
            if opcode == 1:
                return json.loads(payload)

    def ask(self, *commands):
        """Sends them in one message; the last one is to have an id, and be answered."""
        self.socket.sendall(frame(json.dumps(commands)))
        answer = self.message()
        assert answer["op"] == "ack", answer

    def to_the_end(self):
        """Bytes of frames until a Close, and its code (None: the stream ended without one)."""
        total = 0
        try:
            while True:
                opcode, payload, length = self.next()
                if opcode == 8:
                    return total, struct.unpack(">H", payload[:2])[0]
                total += length
        except (EOFError, ConnectionError):
            return total, None


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))


def tcp_mem():
    with open("/proc/net/sockstat") as file:
        return next(int(line.split()[-1]) * PAGE for line in file if line.startswith("TCP:"))


def server_sockets(port):
    """Kernel memory of the broker's connected sockets, in bytes: queued to be sent, and all of it; and how many they are."""
    out = subprocess.run(["ss", "-tmnH", "state", "established", f"( sport = :{port} )"], capture_output=True, text=True)
    found = [dict(re.findall(r"([a-z]+)(\d+)", skmem)) for skmem in re.findall(r"skmem:\(([^)]*)\)", out.stdout)]
    queued = sum(int(each["w"]) for each in found)
    return queued, queued + sum(int(each["f"]) + int(each["r"]) for each in found), len(found)


def main():
    args = arguments()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    # A peer that does not read answers no ping either: without this a slow run would end it for that.
    environment = os.environ | {"WIREFAN_HEARTBEAT__INTERVAL_S": "3600"}
    command = [args.broker, "serve", "--listen", "127.0.0.1:0", "--shards", "1"]
    broker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        port = int(re.search(r":(\d+)", broker.stderr.readline()).group(1))
        peers = [Peer(port, args.receive_buffer) for _ in range(args.peers)]
        for peer in peers:
            peer.ask({"op": "subscribe", "topic": "stalled", "id": 1})
        publisher = Peer(port)
        codes = measure(args, broker.pid, port, peers, publisher)
    finally:
        broker.terminate()
        summary = broker.communicate(timeout=30)[1].strip()
    print(f"broker: {summary}")
    if f"{args.peers} slow consumer" not in summary or not {4008} <= set(codes) <= {4008, None}:
        sys.exit("not every peer was closed as a slow consumer")


def measure(args, pid, port, peers, publisher):
    data = "x" * args.payload
    last = {"op": "publish", "topic": "stalled", "data": data, "id": 1}
    each_step = max(1, args.step * 1024 // args.payload // args.together)
    pss_before, tcp_before = pss(pid), tcp_mem()
    print(f"{args.peers} peers, receive buffer {args.receive_buffer or 'default'}, payload {args.payload} B")
    print("published KiB | kernel, both ends, KiB/peer | broker's sockets KiB/peer (queued) | broker PSS +KiB | open")
    published = 0
    while published < args.publish * 1024:
        for _ in range(each_step):
            publisher.ask(*[{"op": "publish", "topic": "stalled", "data": data}] * (args.together - 1), last)
            published += args.payload * args.together
        time.sleep(0.1)
        queued, held, still_open = server_sockets(port)
        per_peer = lambda total: f"{total / args.peers / 1024:.1f}"
        kernel, own = per_peer(tcp_mem() - tcp_before), (pss(pid) - pss_before) // 1024
        print(f"{published // 1024:>6} | {kernel:>7} | {per_peer(held):>7} ({per_peer(queued)}) | {own:>7} | {still_open - 1}")
    ends = [peer.to_the_end() for peer in peers]
    codes = {code: sum(1 for _, other in ends if other == code) for _, code in ends}
    least, most = min(got for got, _ in ends) // 1024, max(got for got, _ in ends) // 1024
    print(f"each peer then read {least} to {most} KiB of whole frames; close codes: {codes}")
    time.sleep(0.5)
    print(f"broker PSS after all have ended: +{(pss(pid) - pss_before) // 1024} KiB")
    return codes


if __name__ == "__main__":
    main()
