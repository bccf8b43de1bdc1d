// A broker of its own for each test, and what stands between it and its clients: a proxy that cuts, pages of elsewhere.
// The suites of JavaScript import it. What it starts it ends, when the test does.

import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How long anything may take, in milliseconds, before a test gives up. */
export const PATIENCE = 20_000;

/** Rules by which topics under `kept/` have a past. */
export const KEPT = '[[rule]]\nfilter = "kept/#"\nhistory = { count = 1000, age = "1h" }\n';

/** A directory that is gone with the test. */
export function directory(t) {
  const path = mkdtempSync(join(tmpdir(), "wirefan-clients-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Starts the broker with a configuration in TOML. `{ port, host, stop, drain }`, where `stop` ends it at once and `drain` by SIGTERM. */
export async function start(t, toml = "", listen = "127.0.0.1:0") {
  const file = join(directory(t), "wirefan.toml");
  writeFileSync(file, toml);
  const child = spawn(process.env.WIREFAN, ["serve", "--config", file, "--shards", "2", "--listen", listen], {
    env: { PATH: process.env.PATH, WIREFAN_SERVER__DRAIN_S: "0" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const end = (signal) => () => {
    child.kill(signal);
    return ended;
  };
  const stop = end("SIGKILL");
  t.after(stop);
  const port = await within(
    "the broker listens",
    new Promise((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (bytes) => {
        said += bytes;
        const found = said.match(/listening on [\d.]+:(\d+)/);
        if (found) resolve(Number(found[1]));
      });
      child.once("exit", () => reject(new Error(`the broker ended: ${said}`)));
    }),
  );
  return { port, host: `127.0.0.1:${port}`, stop, drain: end("SIGTERM") };
}

/** The `[tls]` of a configuration with a certificate of our own for localhost, and the certificate. */
export function certificate(t) {
  const [at, name] = [directory(t), "subjectAltName=DNS:localhost"];
  const [key, cert] = [join(at, "key.pem"), join(at, "cert.pem")];
  const words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext";
  const own = ["basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert];
  execFileSync("openssl", [...words.split(" "), name, "-addext", ...own], { stdio: "ignore" });
  return { toml: `[tls]\ncert = "${cert}"\nkey = "${key}"\n`, pem: readFileSync(cert) };
}

/** A TCP proxy in front of a port. `cut()` ends what is open and lets nobody in until `mend()`; `kill()` resets one at random, if there is one; `hold(true)` reads nothing from the broker. */
export async function proxy(t, port) {
  const open = new Set();
  const brokers = new Set();
  let [to, whole, held] = [port, true, false];
  const server = net.createServer((client) => {
    if (!whole) return client.destroy();
    const broker = net.connect(to, "127.0.0.1");
    brokers.add(broker);
    broker.on("close", () => brokers.delete(broker));
    for (const [one, other] of [[client, broker], [broker, client]]) {
      open.add(one);
      one.on("error", () => {}); // the end of either is the end of both
      one.on("close", () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
    if (held) broker.pause();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    whole = false;
    for (const socket of open) socket.destroy();
  };
  const mend = (other = to) => ([to, whole] = [other, true]);
  const kill = () => {
    const victims = [...open];
    victims[Math.floor(Math.random() * victims.length)]?.resetAndDestroy();
    return victims.length > 0;
  };
  const hold = (still) => {
    held = still;
    for (const broker of brokers) broker[still ? "pause" : "resume"]();
  };
  t.after(() => {
    cut();
    server.close();
  });
  return { host: `127.0.0.1:${server.address().port}`, cut, mend, kill, hold };
}

/** A page that did not come from the broker: its origin. */
export async function elsewhere(t) {
  const server = http.createServer((_, response) => {
    response.setHeader("Content-Type", "text/html");
    response.end("<!doctype html><title>elsewhere</title>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** Publishes JSON by HTTP; answers the position. */
export async function publish(host, topic, data) {
  const response = await fetch(`http://${host}/v1/publish?topic=${topic}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(data),
  });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()).position;
}

/** What `promise` yields, or a failure that says what did not come. */
export function within(what, promise, ms = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks until the answer is true. */
export async function until(what, ask) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; ) {
    if (await ask()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${what}: not within ${PATIENCE} ms`);
}
