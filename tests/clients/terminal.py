"""`wirefan top` in a terminal: a pseudo-terminal is its screen, and the broker behind it goes and comes back.

`tests/clients/run terminal` runs it. What is looked at are the bytes that a terminal gets.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from serving import PATIENCE_S, Case

ENTER, LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[0m\x1b[?25h\x1b[?1049l"


class Terminal:
    """A command on a screen of its own."""

    def __init__(self, case, command, columns=80, rows=24, **environment):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        environment = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.said = b""
        case.addCleanup(self.end)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def read(self, until):
        """Reads on until that holds of all that was said since the last call; answers it."""
        end = time.monotonic() + PATIENCE_S
        while not until(self.said):
            if time.monotonic() > end:
                raise AssertionError(f"it never came, but … {self.said[-600:]!r}")
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.master, 65536)
                except OSError: # the last one has closed the other end
                    if not until(self.said):
                        raise AssertionError(f"it ended: … {self.said[-600:]!r}") from None
        said, self.said = self.said, b""
        return said


def frames(said):
    """The pictures: each a list of lines, as they look without colours."""
    plain = re.sub(rb"\x1b\[[\d;]*m", b"", said).decode()
    plain = re.sub(r"\x1b\[(2K|J)", "", plain)
    return [re.split(r"\r+\n", frame) for frame in plain.split("\x1b[H")[1:]] # the terminal adds a \r of its own


class Top(Case):
    def top(self, port, **options):
        return Terminal(self, [os.environ["WIREFAN"], "top", "--url", f"ws://127.0.0.1:{port}/ws"], **options)

    def test_it_draws_in_place_and_leaves_the_terminal_as_it_was(self):
        terminal = self.top(self.start())
        said = terminal.read(lambda said: said.count(b"\x1b[H") >= 3 and b"turns" in said.split(b"\x1b[H")[2])
        self.assertTrue(said.startswith(ENTER), said)
        for frame in frames(said)[:2]:
            self.assertLessEqual(len(frame), 24)
            self.assertLessEqual(max(map(len, frame)), 80)
            self.assertIn("wirefan 0.", frame[0])
        self.assertNotIn("calls/s", frames(said)[0][14])
        terminal.resize(200, 50)
        terminal.read(lambda said: b"calls/s" in said)
        os.write(terminal.master, b"\x03")
        self.assertTrue(terminal.read(lambda said: LEAVE in said).endswith(LEAVE))
        self.assertEqual(terminal.process.wait(PATIENCE_S), 0)

    def test_no_colour_where_none_is_wanted_and_no_picture_where_none_can_be_drawn(self):
        port = self.start()
        terminal = self.top(port, NO_COLOR="1")
        said = terminal.read(lambda said: said.count(b"\x1b[H") >= 2)
        self.assertIsNone(re.search(rb"\x1b\[[\d;]*m", said), said)
        terminal.process.send_signal(signal.SIGTERM)
        terminal.read(lambda said: LEAVE in said)
        dumb = self.top(port, TERM="dumb")
        self.assertNotIn(b"\x1b", dumb.read(lambda said: b"canary lag" in said and b"\n    1 " in said))
        self.assertEqual(dumb.process.wait(PATIENCE_S), 0)

    def test_a_broker_that_goes_is_waited_for(self):
        command = [os.environ["WIREFAN"], "serve"]
        serve = lambda port: subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stderr=subprocess.PIPE, text=True)
        first = serve(0)
        self.addCleanup(self.end, first)
        port = int(re.search(r":(\d+)", first.stderr.readline())[1])
        terminal = self.top(port)
        terminal.read(lambda said: b"turns" in said)
        first.kill()
        first.wait()
        said = terminal.read(lambda said: b"nobody listens there" in said)
        self.assertIn(b"gone for ", said)
        second = serve(port)
        self.addCleanup(self.end, second)
        terminal.read(lambda said: re.search(rb"\x1b\[2K[^\r]*\d\d:\d\d:\d\d UTC", said))
        os.write(terminal.master, b"\x03")
        terminal.read(lambda said: LEAVE in said)
        self.assertEqual(terminal.process.wait(PATIENCE_S), 0)

    def test_who_may_not_see_it_is_told_once_and_before_anything_is_drawn(self):
        terminal = self.top(self.start('[metrics]\nallow_anonymous = "never"\n'))
        self.assertEqual(terminal.process.wait(PATIENCE_S), 1)
        said = terminal.read(lambda said: b"403" in said)
        self.assertNotIn(b"\x1b", said)


if __name__ == "__main__":
    unittest.main()
