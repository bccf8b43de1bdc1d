"""A broker of its own for each test of the Python suites; it ends with the test."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

PATIENCE_S = 20
KEPT = '[[rule]]\nfilter = "kept/#"\nhistory = { count = 1000, age = "1h" }\n'
CERTIFICATE = (
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
)


class Case(unittest.TestCase):
    """A test with a directory, and brokers that end with it."""

    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="wirefan-clients-")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(text)
        return path

    def start(self, toml=""):
        """Starts a broker; answers its port."""
        return self.run_broker([os.environ["WIREFAN"], "serve", "--config", self.file("wirefan.toml", toml)])

    def run_broker(self, command, **options):
        environment = {"PATH": os.environ["PATH"], "WIREFAN_SERVER__DRAIN_S": "0", **options.pop("env", {})}
        broker = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", "--shards", "2"],
            stderr=subprocess.PIPE, text=True, env=environment, **options,
        )
        self.addCleanup(self.end, broker)
        said = ""
        watch = threading.Timer(PATIENCE_S, broker.kill)
        watch.start()
        for line in broker.stderr:
            said += line
            if found := re.search(r"listening on [\d.]+:(\d+)", line):
                watch.cancel()
                return int(found.group(1))
        self.fail(f"the broker did not start: {said}")

    @staticmethod
    def end(broker):
        broker.kill()
        broker.wait()
        broker.stderr.close()

    def certificate(self, name="cert"):
        """Makes a certificate for localhost; answers its file, and the `[tls]` of a configuration."""
        key, cert = (os.path.join(self.directory, f"{name}.{kind}") for kind in ("key", "pem"))
        subprocess.run(["openssl", *CERTIFICATE.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
        return cert, f'[tls]\ncert = "{cert}"\nkey = "{key}"\n'
