"""Python as a client: `websockets`, `requests`, a loop that reads events, the standard library; OpenSSL under TLS.

`tests/clients/run python` runs it in an environment that has them.
"""

import itertools
import json
import os
import shutil
import ssl
import subprocess
import threading
import unittest
import urllib.error
import urllib.request

import requests
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from serving import KEPT, PATIENCE_S, Case


CONFIG = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "config")


def command(socket, **members):
    socket.send(json.dumps(members))
    return json.loads(socket.recv(PATIENCE_S))


def events(response):
    """The events of a stream, as objects with their id: what a page's EventSource does, in a dozen lines."""
    event = {"data": []}
    for line in response.iter_lines(chunk_size=1, decode_unicode=True):
        if line == "" and event["data"]:
            yield {**json.loads("\n".join(event["data"])), "id": event.get("id")}
            event = {"data": []}
        elif line and not line.startswith(":"):
            field, _, value = line.partition(": ")
            event = {**event, "data": [*event["data"], value]} if field == "data" else {**event, field: value}


class Http(Case):
    def setUp(self):
        super().setUp()
        self.url = f"http://127.0.0.1:{self.start(KEPT)}/v1"
        self.session = requests.Session()
        self.addCleanup(self.session.close)

    def publish(self, topic, **body):
        answer = self.session.post(f"{self.url}/publish", params={"topic": topic}, timeout=PATIENCE_S, **body)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def get(self, path, **query):
        answer = self.session.get(f"{self.url}/{path}", params=query, timeout=PATIENCE_S)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def test_json_text_and_bytes_are_published_as_what_they_are(self):
        self.publish("kept/a", json={"n": 1.5})
        self.publish("kept/a", data="grüß dich".encode(), headers={"Content-Type": "text/plain; charset=utf-8"})
        self.publish("kept/a", data=b"\x00\xff")
        parts = (b for b in (b'{"in":', b'"chunks"}'))
        self.publish("kept/a", data=parts, headers={"Content-Type": "application/json"})
        messages = self.get("history", topic="kept/a")["messages"]
        self.assertEqual([m["data"] for m in messages], [{"n": 1.5}, "grüß dich", "AP8=", {"in": "chunks"}])
        self.assertEqual(messages[2]["encoding"], "base64")

    def test_a_key_makes_a_repeat_harmless(self):
        same = {"json": 1, "headers": {"Idempotency-Key": "order-17"}}
        self.assertEqual(self.publish("kept/a", **same), self.publish("kept/a", **same))
        self.assertEqual(len(self.get("history", topic="kept/a")["messages"]), 1)

    def test_several_topics_and_a_batch(self):
        answers = self.publish(["kept/a", "kept/b"], json=1)
        self.assertEqual([one["topic"] for one in answers], ["kept/a", "kept/b"])
        batch = [{"topic": "kept/a", "data": 2}, {"topic": "kept/+", "data": 3}]
        answers = self.session.post(f"{self.url}/batch", json=batch, timeout=PATIENCE_S).json()
        self.assertEqual((answers[0]["topic"], answers[1]["error"]["code"]), ("kept/a", 400))

    def test_a_stream_is_read_line_by_line_and_goes_on_where_it_ended(self):
        query, got = {"topic": ["kept/a", "kept/b"]}, []
        for start in (0, 10):
            with self.session.get(f"{self.url}/events", params=query, stream=True, timeout=PATIENCE_S) as response:
                self.assertEqual(response.headers["content-type"], "text/event-stream")
                stream = events(response)
                acks = [next(stream), next(stream)]
                self.assertEqual({ack["op"] for ack in acks}, {"ack"})
                self.assertEqual([ack.get("recovered") for ack in acks], [True, True] if start else [None, None])
                publishing = requests.Session()
                for n in range(start, start + 10):
                    publishing.post(f"{self.url}/publish?topic=kept/{'ab'[n % 2]}", json=n, timeout=PATIENCE_S)
                got += list(itertools.islice((e for e in stream if e["op"] == "message"), 8 if start == 0 else 12))
                publishing.close()
            query["last_event_id"] = got[-1]["id"]
        for topic, numbers in (("kept/a", range(0, 20, 2)), ("kept/b", range(1, 20, 2))):
            self.assertEqual([e["data"] for e in got if e["topic"] == topic], list(numbers))

    def test_a_poll_waits_for_what_comes(self):
        since = self.get("poll", topic="kept/a", wait=0)["next"]
        late = threading.Timer(0.2, lambda: requests.post(f"{self.url}/publish?topic=kept/a", json="late", timeout=PATIENCE_S))
        late.start()
        answer = self.get("poll", topic="kept/a", wait=15, since=since)
        late.join()
        self.assertEqual([m["data"] for m in answer["messages"]], ["late"])
        self.assertEqual(self.get("poll", topic="kept/a", wait=0, since=answer["next"])["messages"], [])

    def test_a_refusal_is_a_problem_document(self):
        for method, path, status in (
            ("GET", "history?topic=elsewhere", 404),
            ("GET", "history?topic=a//b", 400),
            ("DELETE", "publish?topic=a", 405),
            ("GET", "nothing", 404),
        ):
            answer = self.session.request(method, f"{self.url}/{path}", timeout=PATIENCE_S)
            self.assertEqual((answer.status_code, answer.json()["status"]), (status, status), path)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")
            self.assertEqual("allow" in answer.headers, status == 405)


class Unit(Case):
    """The unit of systemd, as systemd reads it."""

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is missing (on Debian and Ubuntu: in the package systemd)")
    def test_systemd_finds_nothing_wrong_with_it(self):
        with open(os.path.join(CONFIG, "wirefan.service")) as file:
            unit = file.read().replace("/usr/local/bin/wirefan", os.path.abspath(os.environ["WIREFAN"]))
        verdict = subprocess.run(["systemd-analyze", "verify", self.file("wirefan.service", unit)], capture_output=True, text=True, timeout=PATIENCE_S)
        # What it says of other units is their matter.
        self.assertNotIn("wirefan.service:", verdict.stderr)
        self.assertEqual(verdict.returncode, 0, verdict.stderr)


class Metrics(Case):
    """What Prometheus's own library makes of the figures."""

    def test_both_formats_are_read_and_agree_with_what_happened(self):
        port = self.start(KEPT)
        url = f"http://127.0.0.1:{port}"
        for n in range(3):
            requests.post(f"{url}/v1/publish?topic=kept/a", json=n, timeout=PATIENCE_S).raise_for_status()
        modern = requests.get(f"{url}/metrics", headers={"Accept": "application/openmetrics-text"}, timeout=PATIENCE_S)
        self.assertIn("application/openmetrics-text; version=1.0.0", modern.headers["Content-Type"])
        classic = requests.get(f"{url}/metrics", timeout=PATIENCE_S)
        self.assertIn("text/plain; version=0.0.4", classic.headers["Content-Type"])
        named = {}
        for text, read in ((modern.text, openmetrics.text_string_to_metric_families), (classic.text, prometheus.text_string_to_metric_families)):
            families = {family.name: family for family in read(text)}
            self.assertGreater(len(families), 40)
            self.assertTrue(all(family.documentation for family in families.values()))
            self.assertEqual(families["wirefan_publications"].type, "counter")
            self.assertEqual(families["wirefan_publications"].samples[0].value, 3)
            self.assertEqual(families["wirefan_turn_seconds"].type, "histogram")
            self.assertGreater(families["process_resident_memory_bytes"].samples[0].value, 1 << 20)
            self.assertGreater(families["process_cpu_seconds"].samples[0].value, 0)
            calls = {sample.labels["call"]: sample.value for sample in families["wirefan_syscalls"].samples}
            self.assertTrue(min(calls[call] for call in ("poll", "read", "write", "accept")) >= 3, calls)
            named[read] = set(families)
        self.assertEqual(*named.values())

    @unittest.skipUnless(shutil.which("promtool"), "promtool is missing (on Debian and Ubuntu: in the package prometheus)")
    def test_promtool_finds_nothing_wrong_with_them_and_each_alert_fires(self):
        judge = lambda *what, text=None: subprocess.run(["promtool", *what], input=text, capture_output=True, text=True, timeout=PATIENCE_S)
        port = self.start()
        metrics = judge("check", "metrics", text=requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).text)
        self.assertEqual((metrics.returncode, metrics.stdout, metrics.stderr), (0, "", ""))
        for what in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
            verdict = judge(*what[:2], os.path.join(CONFIG, "prometheus", what[2]))
            self.assertEqual(verdict.returncode, 0, verdict.stdout + verdict.stderr)
        with open(os.path.join(CONFIG, "prometheus", "alerts.yml")) as alerts, open(os.path.join(CONFIG, "prometheus", "alerts_test.yml")) as tests:
            fired = tests.read()
            for line in alerts:
                if "alert: " in line:
                    self.assertIn(f"alertname: {line.split()[-1]}\n        exp_alerts:", fired)

    def test_they_are_for_operators_where_there_are_any(self):
        keys = subprocess.run(
            [os.environ["WIREFAN"], "token", "--api-key", "prometheus", "--operate"],
            capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        )
        key, line = keys.stdout.splitlines()[:2]
        path = self.file("api_keys", line + "\n")
        port = self.start(f'[auth]\napi_keys_file = "{path}"\n')
        get = lambda **headers: requests.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=PATIENCE_S)
        self.assertEqual(get().status_code, 401)
        self.assertEqual(get(Authorization=f"Bearer {key}").status_code, 200)

    def test_stats_come_each_second_by_websocket_and_by_events(self):
        port = self.start()
        with connect(f"ws://127.0.0.1:{port}/ws") as socket:
            socket.recv(PATIENCE_S)
            socket.send(json.dumps({"op": "subscribe", "topic": "$sys/stats"}))
            reports = [json.loads(socket.recv(PATIENCE_S))["data"] for _ in range(3)]
        self.assertEqual([report["total"]["connections"]["websocket"] for report in reports], [1, 1, 1])
        self.assertEqual(len(reports[2]["shards"]), 2)
        self.assertGreater(reports[2]["process"]["memory_bytes"], 1 << 20)
        self.assertTrue(900 <= reports[2]["interval_ms"] <= 3000, reports[2])
        url = f"http://127.0.0.1:{port}/v1/poll?topic=$sys/stats"
        poll = requests.get(url, timeout=PATIENCE_S).json()
        self.assertEqual(poll["messages"][0]["topic"], "$sys/stats")


class WebSockets(Case):
    def test_subscribe_publish_presence_and_a_clean_end(self):
        port = self.start(KEPT + "[[rule]]\nfilter = \"room/#\"\npresence = true\n")
        with connect(f"ws://127.0.0.1:{port}/ws", subprotocols=["wirefan.v1"], open_timeout=PATIENCE_S) as socket:
            client = json.loads(socket.recv(PATIENCE_S))["client"]
            self.assertEqual(socket.subprotocol, "wirefan.v1")
            self.assertEqual(command(socket, op="subscribe", topic="room/1", id=1)["op"], "ack")
            members = command(socket, op="presence", topic="room/1", id=2)["members"]
            self.assertEqual(members, [{"client": client, "user": None}])
            socket.send(b'{"op":"publish","topic":"room/1"}\n\x00\xff')
            self.assertTrue(socket.recv(PATIENCE_S).endswith(b"\n\x00\xff"))
            self.assertTrue(socket.ping().wait(PATIENCE_S))

    def test_back_with_since_nothing_is_missed(self):
        url = f"ws://127.0.0.1:{self.start(KEPT)}/ws"
        with connect(url, open_timeout=PATIENCE_S) as one, connect(url, open_timeout=PATIENCE_S) as two:
            one.recv(PATIENCE_S), two.recv(PATIENCE_S)
            first = command(one, op="publish", topic="kept/a", data=0, id=1)["position"]
            for n in range(1, 6):
                command(one, op="publish", topic="kept/a", data=n, id=n)
            self.assertTrue(command(two, op="subscribe", topic="kept/a", since=first, id="s")["recovered"])
            self.assertEqual([json.loads(two.recv(PATIENCE_S))["data"] for _ in range(5)], [1, 2, 3, 4, 5])

    def test_a_refused_token_is_told_by_4501(self):
        secret = self.file("secret", "c2VjcmV0IG9mIHRoZSB0ZXN0cywgd2hpY2ggaXMgbG9uZyBlbm91Z2ggZm9yIEhTMjU2")
        port = self.start(f'[auth]\nkeys = [{{ alg = "HS256", secret_file = "{secret}" }}]\n')
        headers = {"Authorization": "Bearer nonsense"}
        with connect(f"ws://127.0.0.1:{port}/ws", additional_headers=headers, open_timeout=PATIENCE_S) as socket:
            with self.assertRaises(ConnectionClosed) as raised:
                socket.recv(PATIENCE_S)
            self.assertEqual(raised.exception.rcvd.code, 4501)


class Tls(Case):
    def setUp(self):
        super().setUp()
        self.cert, toml = self.certificate()
        self.port = self.start(toml + KEPT)

    def test_requests_and_websockets_trust_our_certificate(self):
        answer = requests.get(f"https://localhost:{self.port}/healthz", verify=self.cert, timeout=PATIENCE_S)
        self.assertEqual(answer.status_code, 200)
        context = ssl.create_default_context(cafile=self.cert)
        with connect(f"wss://localhost:{self.port}/ws", ssl=context, open_timeout=PATIENCE_S) as socket:
            self.assertEqual(json.loads(socket.recv(PATIENCE_S))["op"], "welcome")
            self.assertEqual(command(socket, op="publish", topic="a", data="x" * 50_000, id=1)["op"], "ack")

    def test_a_stream_comes_event_by_event_with_the_standard_library_alone(self):
        context = ssl.create_default_context(cafile=self.cert)
        url = f"https://localhost:{self.port}/v1"
        with urllib.request.urlopen(f"{url}/events?topic=kept/a", context=context, timeout=PATIENCE_S) as stream:
            lines = iter(stream.readline, b"")
            next(line for line in lines if line == b"event: ack\n")
            post = urllib.request.Request(f"{url}/publish?topic=kept/a", b"1", {"Content-Type": "application/json"})
            urllib.request.urlopen(post, context=context, timeout=PATIENCE_S).close()
            next(line for line in lines if line == b"event: message\n")
            self.assertEqual(json.loads(next(lines).removeprefix(b"data: "))["data"], 1)

    def test_nobody_else_s_certificate_is_taken_for_ours(self):
        other, _ = self.certificate("other")
        with self.assertRaises(requests.exceptions.SSLError):
            requests.get(f"https://localhost:{self.port}/healthz", verify=other, timeout=PATIENCE_S)
        with self.assertRaises(urllib.error.URLError):
            urllib.request.urlopen(f"https://localhost:{self.port}/healthz", timeout=PATIENCE_S)

    def s_client(self, *words):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        command = ["openssl", "s_client", "-connect", f"localhost:{self.port}", "-servername", "localhost"]
        return subprocess.run(
            [*command, "-CAfile", self.cert, "-verify_return_error", "-ign_eof", *words],
            input=request, capture_output=True, timeout=PATIENCE_S,
        )

    def test_openssl_speaks_tls_1_2_and_1_3_and_nothing_older(self):
        for flag, version in (("-tls1_2", b"TLSv1.2"), ("-tls1_3", b"TLSv1.3")):
            found = self.s_client(flag, "-alpn", "h2,http/1.1")
            self.assertEqual(found.returncode, 0, found.stderr)
            for words in (version, b"ALPN protocol: http/1.1", b"Verify return code: 0 (ok)", b"HTTP/1.1 200 OK"):
                self.assertIn(words, found.stdout)
        old = self.s_client("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        self.assertNotEqual(old.returncode, 0)
        self.assertNotIn(b"HTTP/1.1", old.stdout)


if __name__ == "__main__":
    unittest.main()
