"""A small WebSocket echo server for the judge's own trial: right by default, wrong in one named way on demand.

check_judge.py starts it; it serves nothing else. Standard library only, one class, slow on purpose nowhere.
"""

import asyncio
import base64
import codecs
import hashlib
import re
import struct
import zlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PROTOCOL_ERROR, BAD_PAYLOAD = 1002, 1007
TAIL = b"\0\0\xff\xff"  # RFC 7692 7.2.1: left out on the wire

# What the peer can do wrong, and the cases that then have to be refused, every one of them.
FLAWS = {
    "ignores reserved bits": "3.1,3.2,3.3,3.4,3.5,3.6,3.7",
    "ignores reserved opcodes": "4.1.1,4.1.2,4.1.3,4.1.4,4.1.5,4.2.1,4.2.2,4.2.3,4.2.4,4.2.5",
    "accepts fragmented control frames": "5.1",
    "accepts long control frames": "2.5",
    "accepts a continuation of nothing": "5.9,5.11",
    "accepts bad close codes": "7.9.1,7.9.4,7.9.8",
    "accepts one byte of close code": "7.3.2",
    "accepts bad UTF-8": "6.3.1,6.4.1,6.20.1",
    "accepts bad UTF-8 in a close reason": "7.5.1",
    "checks UTF-8 at the end of a message": "6.4.1,6.4.2,6.4.3,6.4.4",
    "closes bad UTF-8 with 1002": "6.3.1,6.4.1",
    "drops the connection instead of closing it": "3.1,4.1.1,5.1,6.3.1,7.3.2",
    "does not answer a close": "7.1.1,7.1.4",
    "answers a ping after a close": "7.1.3",
    "does not answer pings": "2.1,2.6",
    "answers pings without their payload": "2.2,2.4",
    "loses empty messages": "1.1.1,1.2.1",
    "loses the end of a large message": "9.1.1,9.2.1",
    "swaps text and binary": "1.1.2,1.2.2",
    "answers the fragments, not the message": "5.3",
    "declines compression": "12.1.2,13.5.2",
    "echoes compressed bytes as they came": "12.1.2,13.1.2",
    "compresses by what it said before": "12.1.4,13.2.4",
    "forgets the bit of compressed messages": "12.1.2,13.7.2",
    "loses fragments of compressed messages": "12.1.11",
}


def allowed_code(code):
    """RFC 6455 7.4: what an endpoint may put into a close frame."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class Broken(Exception):
    """The client broke RFC 6455; the argument is the close code."""


class Peer(asyncio.Protocol):
    def __init__(self, flaw=None):
        assert flaw is None or flaw in FLAWS, flaw
        self.flaw = flaw
        self.inbox = bytearray()
        self.open = self.done = False
        self.closing = False  # only with the flaw that answers pings after a close
        self.frame = None  # of a data frame under way: [fin, bytes to come, mask, bytes seen]
        self.kind = None  # opcode of the message under way
        self.message = bytearray()
        self.utf8 = None
        self.window = 0  # bits, if compression was agreed on
        self.deflated = False  # the message under way
        self.deflater = None  # only with the flaw that keeps it

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.done:
            return
        self.inbox += data
        try:
            if self.open or self.handshake():
                while self.frame_part() if self.frame else self.frame_head():
                    pass
        except Broken as broken:
            self.close(struct.pack("!H", broken.args[0]), failed=True)

    def handshake(self):
        head, end, rest = bytes(self.inbox).partition(b"\r\n\r\n")
        if end:
            lines = (line.split(b":", 1) for line in head.split(b"\r\n")[1:])
            headers = {name.lower(): value.strip() for name, value in lines}
            key = headers[b"sec-websocket-key"]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            self.transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + accept + self.agree(headers.get(b"sec-websocket-extensions", b"")) + b"\r\n\r\n"
            )
            self.inbox, self.open = bytearray(rest), True
        return self.open

    def agree(self, offers):
        """The header that agrees to the first offer of compression; none if there is none."""
        offer = offers.split(b",")[0].strip()
        if not offer.startswith(b"permessage-deflate") or self.flaw == "declines compression":
            return b""
        bits = re.search(rb"server_max_window_bits=(\d+)", offer)
        self.window = int(bits[1]) if bits else 15
        return (
            b"\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            + (b"; " + bits[0] if bits else b"")
        )

    def frame_head(self):
        """Takes one frame header, and a whole control frame; false when more bytes are needed."""
        if self.done or len(self.inbox) < 2:
            return False
        fin, bits, opcode = self.inbox[0] & 0x80, self.inbox[0] & 0x70, self.inbox[0] & 0x0F
        length = self.inbox[1] & 0x7F
        deflated = self.window and bits == 0x40 and opcode in (1, 2)
        if bits and not deflated and self.flaw != "ignores reserved bits":
            raise Broken(PROTOCOL_ERROR)
        if opcode & 7 > 2 and self.flaw != "ignores reserved opcodes":
            raise Broken(PROTOCOL_ERROR)
        if opcode >= 8 and length > 125 and self.flaw != "accepts long control frames":
            raise Broken(PROTOCOL_ERROR)
        if opcode >= 8 and not fin and self.flaw != "accepts fragmented control frames":
            raise Broken(PROTOCOL_ERROR)
        if opcode == 0 and self.kind is None:
            if self.flaw != "accepts a continuation of nothing":
                raise Broken(PROTOCOL_ERROR)
            opcode = 1
        elif opcode in (1, 2) and self.kind is not None:
            raise Broken(PROTOCOL_ERROR)
        size = {126: 4, 127: 10}.get(length, 2)
        if len(self.inbox) < size + 4:
            return False
        if size > 2:
            length = int.from_bytes(self.inbox[2:size], "big")
        mask = bytes(self.inbox[size : size + 4])
        if opcode >= 3:
            if len(self.inbox) < size + 4 + length:
                return False
            payload = unmasked(self.inbox[size + 4 : size + 4 + length], mask, 0)
            del self.inbox[: size + 4 + length]
            self.control(opcode, payload)
            return True
        del self.inbox[: size + 4]
        if opcode:
            self.deflated = deflated
            self.kind, self.message, self.utf8 = opcode, bytearray(), codecs.getincrementaldecoder("utf-8")()
        self.frame = [fin, length, mask, 0]
        return True

    def frame_part(self):
        """Takes what has come of a data frame's payload; false when more bytes are needed."""
        fin, left, mask, seen = self.frame
        part = unmasked(self.inbox[:left], mask, seen)
        del self.inbox[: len(part)]
        self.message += part
        last = fin and len(part) == left
        self.check_utf8(part, last)
        if len(part) < left:
            self.frame = [fin, left - len(part), mask, seen + len(part)]
            return False
        self.frame = None
        if fin or self.flaw == "answers the fragments, not the message":
            self.echo()
        if fin:
            self.kind = None
        return True

    def check_utf8(self, part, last):
        if self.kind != 1 or self.deflated or self.flaw == "accepts bad UTF-8":
            return
        if self.flaw == "checks UTF-8 at the end of a message":
            part = self.message if last else b""
        try:
            self.utf8.decode(part, bool(last))
        except UnicodeDecodeError:
            raise Broken(PROTOCOL_ERROR if self.flaw == "closes bad UTF-8 with 1002" else BAD_PAYLOAD) from None

    def echo(self):
        message, kind = bytes(self.message), self.kind
        if self.deflated and self.flaw != "echoes compressed bytes as they came":
            message = self.inflated(message)
        if self.flaw == "answers the fragments, not the message":
            self.message = bytearray()
        if self.flaw == "loses empty messages" and not message:
            return
        if self.flaw == "loses the end of a large message":
            message = message[:65535]
        if self.flaw == "swaps text and binary":
            kind = 3 - kind
        self.send(kind, message)

    def control(self, opcode, payload):
        if opcode == 9 and self.flaw != "does not answer pings":
            self.send(10, b"" if self.flaw == "answers pings without their payload" else payload)
        elif opcode == 8:
            if len(payload) == 1 and self.flaw != "accepts one byte of close code":
                raise Broken(PROTOCOL_ERROR)
            if len(payload) >= 2:
                if not allowed_code(int.from_bytes(payload[:2], "big")) and self.flaw != "accepts bad close codes":
                    raise Broken(PROTOCOL_ERROR)
                try:
                    payload[2:].decode()
                except UnicodeDecodeError:
                    if self.flaw != "accepts bad UTF-8 in a close reason":
                        raise Broken(BAD_PAYLOAD) from None
            if self.flaw == "answers a ping after a close" and not self.closing:
                self.closing = True
                asyncio.get_running_loop().call_later(0.2, self.close, payload, False)
            else:
                self.close(payload, failed=False)

    def inflated(self, message):
        if self.flaw == "loses fragments of compressed messages":
            message = message[:256]
        try:
            message = zlib.decompressobj(-15).decompress(message + TAIL)
            if self.kind == 1 and self.flaw != "accepts bad UTF-8":
                message.decode()
        except (zlib.error, UnicodeDecodeError):
            raise Broken(BAD_PAYLOAD) from None
        return message

    def compressed(self, payload):
        deflater = self.deflater or zlib.compressobj(9, zlib.DEFLATED, -self.window)
        if self.flaw == "compresses by what it said before":
            self.deflater = deflater
        return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[: -len(TAIL)]

    def send(self, opcode, payload):
        bits = 0x80
        if self.window and opcode < 8:
            payload = self.compressed(payload)
            bits |= 0 if self.flaw == "forgets the bit of compressed messages" else 0x40
        size = len(payload)
        if size < 126:
            head = bytes([size])
        elif size < 1 << 16:
            head = struct.pack("!BH", 126, size)
        else:
            head = struct.pack("!BQ", 127, size)
        self.transport.write(bytes([bits | opcode]) + head + payload)

    def close(self, payload, failed):
        self.done = True
        if self.flaw == ("drops the connection instead of closing it" if failed else "does not answer a close"):
            self.transport.close()
            return
        self.send(8, payload)
        # Half a close: what the client still has under way is read and dropped, so that no reset overtakes the answer.
        self.transport.write_eof()
        asyncio.get_running_loop().call_later(20, self.transport.abort)


def unmasked(data, mask, seen):
    """RFC 6455 5.3, as one addition without carry over the whole part."""
    if not data:
        return b""
    key = (mask[seen % 4 :] + mask[: seen % 4]) * (len(data) // 4 + 1)
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[: len(data)], "big")).to_bytes(len(data), "big")
