"""The examples of the README, of docs/start.md and of docs/protocol.md, run as they are written, and every row of the HTTP API by curl.

`tests/clients/run examples` runs it. The documents say 8080: here it is a free port, which is all that is changed.
"""

import json
import os
import re
import subprocess
import unittest

from serving import PATIENCE_S, Case

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What shows how to begin: each block of shell in them is run here.
GUIDES = ("README.md", "docs/start.md", "docs/testing.md")
# Blocks of them that begin so are not run here: they build, test or measure the whole.
NOT_RUN = ("cargo run --release -- serve", "tests/run", "cargo build --release --workspace")
# For each row of the HTTP API a request, and what its answer has to have.
ROWS = {
    "POST /v1/publish": ("curl -sS --json 1 'http://127.0.0.1:8080/v1/publish?topic=kept/a'", r'^\{"position":"[0-9a-f]{8}:\d+"\}'),
    "POST /v1/batch": ("""curl -sS --json '[{"topic":"kept/a","data":1}]' http://127.0.0.1:8080/v1/batch""", r'^\[\{"position":'),
    "GET /v1/events": ("curl -sSN --max-time 1 'http://127.0.0.1:8080/v1/events?topic=kept/a' || true", r"^retry: \d+\n\nid: .*\nevent: ack\ndata: "),
    "GET /v1/poll": ("curl -sS 'http://127.0.0.1:8080/v1/poll?topic=kept/a&wait=0'", r'^\{"messages":\[\],"next":"'),
    "GET /v1/history": ("curl -sS 'http://127.0.0.1:8080/v1/history?topic=kept/a&limit=5&reverse=true'", r'"messages":\['),
    "GET /v1/presence": ("curl -sS 'http://127.0.0.1:8080/v1/presence?topic=room/1&limit=5'", r'"members":\[\],"users":0,"connections":0'),
    "GET /": ("curl -sS http://127.0.0.1:8080/", r"^<!doctype html>"),
    "GET /demo/chat": ("curl -sS http://127.0.0.1:8080/demo/chat", r"^<!doctype html>"),
    "GET /client.js": ("curl -sS http://127.0.0.1:8080/client.js", r"(?s)^/\*! wirefan .*export\{"),
    "GET /metrics": ("curl -sSi http://127.0.0.1:8080/metrics", r"(?s)^HTTP/1.1 200 OK.*\nwirefan_publications_total \d+\n"),
    "GET /healthz": ("curl -sSi http://127.0.0.1:8080/healthz", r"^HTTP/1.1 200 OK"),
    "GET /readyz": ("curl -sSi http://127.0.0.1:8080/readyz", r"^HTTP/1.1 200 OK"),
}
# What an operator with the API key KEY asks. The last two speak of a stream that is there meanwhile.
ASK = 'curl -sS -H "Authorization: Bearer $KEY" '
LISTEN = (ASK + "-N --max-time 3 'http://127.0.0.1:8080/v1/events?topic=kept/a' >stream & sleep 0.5; CLIENT=$("
    + ASK + "http://127.0.0.1:8080/v1/connections | tr '{' '\\n' | sed -n '/\"events\"/s/^\"client\":\"\\([^\"]*\\)\".*/\\1/p'); ")
OPERATORS = {
    "GET /v1/topics": (ASK + "'http://127.0.0.1:8080/v1/topics?filter=kept/%23'", r'^\{"topics":\['),
    "GET /v1/connections": (ASK + "http://127.0.0.1:8080/v1/connections", r'"user":"backend","transport":"http"'),
    "DELETE /v1/connections": (ASK + "-X DELETE 'http://127.0.0.1:8080/v1/connections?user=ann'", r'^\{"disconnected":0\}'),
    "GET /v1/connections/CLIENT": (LISTEN + ASK + "http://127.0.0.1:8080/v1/connections/$CLIENT", r'"transport":"events"'),
    "DELETE /v1/connections/CLIENT": (
        LISTEN + ASK + "-iX DELETE http://127.0.0.1:8080/v1/connections/$CLIENT; wait; cat stream",
        r'(?s)^HTTP/1.1 204 .*event: close\ndata: \{"op":"close","code":4503,',
    ),
}
RULES = """
[[rule]]
filter = "room/#"
presence = true
[[rule]]
filter = "#"
history = { count = 10, age = "1h" }
"""


def document(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def blocks(text):
    """The blocks of shell of a document."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)


def guide():
    """The blocks of shell of all guides."""
    return [block for name in GUIDES for block in blocks(document(name))]


class Examples(Case):
    def setUp(self):
        super().setUp()
        # What the README calls target/release/wirefan: the binary, told which port it is this time.
        os.makedirs(os.path.join(self.directory, "target/release"))
        self.path = os.path.join(self.directory, "target/release/wirefan")
        self.port = None

    def serve(self, command="target/release/wirefan serve"):
        """Runs the line of an example that starts a broker."""
        self.wrap('exec "$WIREFAN" "$@"')
        environment = {"WIREFAN": os.environ["WIREFAN"]}
        assignments = re.match(r"((?:\w+=\S+ )*)(.*)", command, re.S)
        environment |= dict(one.split("=", 1) for one in assignments[1].split())
        self.port = self.run_broker(assignments[2].split(), cwd=self.directory, env=environment)
        self.wrap(
            'case "$1 $*" in (publish*--url*|subscribe*--url*) ;;\n'
            f'(publish*|subscribe*) set -- "$@" --url ws://127.0.0.1:{self.port}/ws ;;\nesac\nexec "$WIREFAN" "$@"'
        )

    def wrap(self, script):
        with open(self.path, "w") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        os.chmod(self.path, 0o755)

    def shell(self, script, **options):
        """Starts a script; what it says comes on one pipe."""
        script = re.sub(r"(127\.0\.0\.1|localhost):8080", rf"\1:{self.port}", script)
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=self.directory, env={"PATH": os.environ["PATH"], "WIREFAN": os.environ["WIREFAN"]},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options,
        )
        self.addCleanup(self.stop, process)
        return process

    @staticmethod
    def stop(process):
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
        process.stdout.close()

    def run_to_end(self, script):
        process = self.shell(script)
        said, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said

    def until_heard(self, subscriber, say, words):
        """Says it again until the subscriber, who may not be there yet, has heard it."""
        os.set_blocking(subscriber.stdout.fileno(), False)
        heard = ""
        for _ in range(10 * PATIENCE_S):
            say()
            try:
                subprocess.run(["sleep", "0.1"], check=True)
                heard += subscriber.stdout.read() or ""
            except TypeError:
                continue # nothing was there
            if words in heard:
                return
        self.fail(f"{words!r} never came, but {heard!r}")

    def block(self, begin):
        found = [block for block in guide() if block.startswith(begin)]
        self.assertEqual(len(found), 1, begin)
        return found[0]

    def test_every_block_of_the_guides_is_run_or_named(self):
        tried = ("target/release/wirefan subscribe 'chat/#'\n", "curl --json", "curl -N", "curl -i", "openssl req", "mkdir guarded", "export ", "ROOT=", "cat > chat.toml")
        for block in guide():
            self.assertTrue(block.startswith(NOT_RUN + tried), f"nobody tries this example:\n{block}")

    def test_two_terminals_and_a_backend(self):
        self.serve()
        subscribe, publish = self.block("target/release/wirefan subscribe 'chat/#'\n").splitlines()
        subscriber = self.shell(subscribe)
        self.until_heard(subscriber, lambda: self.assertEqual(self.run_to_end(publish)[0], 0), '{"text":"hi"}')
        backend = self.block("curl --json")
        self.until_heard(subscriber, lambda: self.assertEqual(self.run_to_end(backend)[0], 0), "hi from a backend")

    def test_the_chat_is_served_to_its_page(self):
        """The page itself is tried in Chromium, by `browser.mjs`."""
        *prepare, pages, serve = self.block("cat > chat.toml").splitlines()
        self.assertEqual(pages, "python3 -m http.server 8000 --bind localhost &")
        self.assertEqual(self.run_to_end("\n".join(prepare))[0], 0)
        self.serve(serve)
        page = re.search(r"^```html\n(.*?)^```", document("README.md"), re.M | re.S)[1]
        client = re.search(r'from "(.*?)"', page)[1]
        code, said = self.run_to_end(f"curl -sSi -H 'Origin: http://localhost:8000' {client}")
        self.assertEqual(code, 0, said)
        self.assertRegex(said, r"(?is)^HTTP/1.1 200 .*access-control-allow-origin: \S+.*export\{")

    def test_a_topic_is_a_stream_or_a_poll(self):
        self.serve()
        listen, poll = self.block("curl -N").splitlines()
        backend = self.block("curl --json")
        say = lambda: self.assertEqual(self.run_to_end(backend)[0], 0)
        self.until_heard(self.shell(listen), say, "hi from a backend")
        self.until_heard(self.shell(poll), say, '"next":"')

    def test_is_it_there_and_how_is_it_set(self):
        self.serve()
        code, said = self.run_to_end("set -e\n" + self.block("curl -i"))
        self.assertEqual(code, 0, said)
        self.assertIn("HTTP/1.1 200 OK", said)
        self.assertIn("message_bytes_max = 65536", said)

    def test_a_certificate_for_trying(self):
        lines = self.block("openssl req").replace("\\\n", "").splitlines()
        make, serve, subscribe = lines
        self.assertEqual(self.run_to_end(make)[0], 0)
        self.serve(serve)
        subscriber = self.shell(subscribe)
        say = "curl -sS --cacert cert.pem --json '\"hi\"' 'https://localhost:8080/v1/publish?topic=chat/1'"
        self.until_heard(subscriber, lambda: self.assertEqual(self.run_to_end(say)[0], 0), '"hi"')

    def test_bob_reads_and_ann_writes(self):
        *prepare, serve = self.block("mkdir guarded").splitlines()
        code, said = self.run_to_end("set -e\n" + "\n".join(prepare))
        self.assertEqual(code, 0, said)
        self.serve(serve)
        bob, ann = (block for block in guide() if block.startswith("export "))
        token, publish, elsewhere, wrong = ann.splitlines()
        bob = self.shell(bob)
        say = lambda: self.assertEqual(self.run_to_end(f"{token}\n{publish}")[0], 0)
        self.until_heard(bob, say, '"from":"ann"')
        for line, words in ((elsewhere, "403"), (wrong, "4501")):
            code, said = self.run_to_end(f"{token}\n{line}")
            self.assertNotEqual(code, 0)
            self.assertIn(words, said)

        code, said = self.run_to_end("set -e\n" + self.block("ROOT="))
        self.assertEqual(code, 0, said)
        for words in ('"user":"bob","transport":"websocket"', '{"disconnected":1}'):
            self.assertIn(words, said)

    def kept(self, toml=""):
        self.file("wirefan.toml", toml + RULES)
        self.serve("target/release/wirefan serve --config wirefan.toml")

    def test_every_row_of_the_http_api_works_by_curl(self):
        named = re.findall(r"^\| `(GET|POST|DELETE) (/[^?`]*)", document("docs/protocol.md"), re.M)
        self.assertGreater(len(named), 5)
        for row in (f"{method} {path}" for method, path in named):
            self.assertIn(row, ROWS | OPERATORS, "docs/protocol.md names it, and nothing here tries it")
        key = self.api_key("--operate")
        for toml, rows in (("", ROWS), ('[auth]\napi_keys_file = "keys"\n', OPERATORS)):
            self.kept(toml)
            for row, (command, expected) in rows.items():
                code, said = self.run_to_end(f"KEY={key}\n{command}")
                self.assertEqual(code, 0, f"{row}: {said}")
                self.assertRegex(said, expected, row)

    def api_key(self, *rights):
        """A key of the backend's, known by the file `keys`."""
        make = [os.environ["WIREFAN"], "token", "--api-key", "backend", *rights]
        made = subprocess.run(make, check=True, capture_output=True, text=True)
        key, entry = made.stdout.strip(), made.stderr.strip()
        if "\n" in key:
            key, entry = key.splitlines()
        self.file("keys", entry + "\n")
        return key

    def test_the_requests_of_the_protocol_get_the_answers_that_it_shows(self):
        key = self.api_key("--publish", "#")
        shown = [line for block in blocks(document("docs/protocol.md")) for line in block.splitlines()]
        requests = [(line, after) for line, after in zip(shown, [*shown[1:], ""]) if line.startswith("curl ")]
        self.assertGreater(len(requests), 3)
        for toml, asked in (("", False), ('[auth]\napi_keys_file = "keys"\n', True)):
            self.kept(toml)
            for line, after in requests:
                if ("$KEY" in line) != asked:
                    continue
                if line.startswith("curl -N "): # it does not end
                    said = self.run_to_end(line.replace("curl ", "curl -sS --max-time 1 "))[1]
                    self.assertRegex(said, r"^retry: \d+\n\nid: .*\nevent: ack\ndata: ")
                    continue
                code, said = self.run_to_end(f"KEY={key}\n" + line.replace("curl ", "curl -sS "))
                self.assertEqual(code, 0, said)
                answer = json.loads(said)
                self.assertNotIn("status", answer, line)
                if "/v1/poll" in line: # of another broker's positions nothing is known here
                    self.assertEqual(set(answer), set(json.loads(after)), line)
                elif after[:1] in ("{", "["):
                    self.assertEqual(shape(answer), shape(json.loads(after)), line)


def shape(answer):
    """The names in an answer, without what they stand for."""
    if isinstance(answer, list):
        return [shape(one) for one in answer]
    if isinstance(answer, dict):
        return {name: shape(value) for name, value in answer.items()}
    return type(answer).__name__


if __name__ == "__main__":
    unittest.main()
