// Node as a client: its own WebSocket and fetch, and the packages ws and eventsource.
// `tests/clients/run node` runs it. Each test has a broker of its own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import https from "node:https";
import { join } from "node:path";
import { test } from "node:test";
import { EventSource } from "eventsource";
import Socket from "ws";
import { KEPT, certificate, directory, proxy, publish, start, until, within } from "./broker.mjs";

/** A key for API clients, and for tokens that sign themselves: `[auth]` of a configuration. */
function guarded(t) {
  const at = directory(t);
  writeFileSync(join(at, "secret"), "c2VjcmV0IG9mIHRoZSB0ZXN0cywgd2hpY2ggaXMgbG9uZyBlbm91Z2ggZm9yIEhTMjU2", { mode: 0o600 });
  const toml = `[auth]\nkeys = [{ alg = "HS256", secret_file = "${join(at, "secret")}" }]\n
[[rule]]\nfilter = "#"\nsubscribe = "granted"\npublish = "granted"\nfrom = true\nhistory = { count = 10, age = "1h" }\n`;
  const file = join(at, "wirefan.toml");
  writeFileSync(file, toml);
  const token = (...words) => execFileSync(process.env.WIREFAN, ["token", "--config", file, ...words]).toString().trim();
  return { toml, token };
}

/** The messages of a WebSocket of either kind, as objects; bytes as they are. */
function messages(socket) {
  const came = [];
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => came.push(typeof data === "string" ? JSON.parse(data) : Buffer.from(data));
  return came;
}

const opened = (socket) => within("the connection", new Promise((resolve) => (socket.onopen = resolve)));
const closed = (socket) =>
  within("the end", new Promise((resolve) => (socket.onclose = ({ code, reason }) => resolve({ code, reason }))));
const find = (came, what, is) => until(what, () => came.some(is)).then(() => came.find(is));

test("the built-in WebSocket and fetch: publish, history, polls, one after the other", async (t) => {
  const { host } = await start(t, KEPT);
  const socket = new WebSocket(`ws://${host}/ws`);
  const came = messages(socket);
  await opened(socket);
  socket.send('{"op":"subscribe","topic":"kept/#","id":1}');
  await find(came, "the ack", (it) => it.id === 1);
  const first = await publish(host, "kept/a", { n: 1.5 });
  assert.deepEqual((await find(came, "the message", (it) => it.op === "message")).data, { n: 1.5 });
  const history = await (await fetch(`http://${host}/v1/history?topic=kept/a`)).json();
  assert.deepEqual([history.position, history.messages.length], [first, 1]);
  let [since, polled] = [first, []];
  const polls = (async () => {
    while (polled.length < 20) {
      const { messages, next } = await (await fetch(`http://${host}/v1/poll?topic=kept/a&since=${since}&wait=10`)).json();
      polled.push(...messages.map((it) => it.data));
      since = next;
    }
  })();
  for (let n = 0; n < 20; n++) await publish(host, "kept/a", n);
  await within("20 polled", polls);
  assert.deepEqual(polled, Array.from({ length: 20 }, (_, n) => n));
  const end = closed(socket);
  socket.close(1000, "done");
  assert.deepEqual(await end, { code: 1000, reason: "done" });
});

test("a page's token in the list of subprotocols", async (t) => {
  const { toml, token } = guarded(t);
  const { host } = await start(t, toml);
  const good = new WebSocket(`ws://${host}/ws`, ["wirefan.v1", `bearer.${token("--user", "ann", "--publish", "chat/+")}`]);
  const came = messages(good);
  await opened(good);
  assert.equal((await find(came, "welcome", (it) => it.op === "welcome")).user, "ann");
  assert.equal(good.protocol, "wirefan.v1");
  good.send('{"op":"publish","topic":"chat/1","data":1,"id":1}\n');
  await find(came, "the ack", (it) => it.op === "ack" && it.id === 1);
  good.send('{"op":"subscribe","topic":"chat/1","id":2}');
  assert.equal((await find(came, "the refusal", (it) => it.id === 2)).code, 403);
  good.close();
  const bad = new WebSocket(`ws://${host}/ws`, ["wirefan.v1", "bearer.nonsense"]);
  assert.equal((await closed(bad)).code, 4501);
});

test("ws: bytes, pings, a header with a token", async (t) => {
  const { toml, token } = guarded(t);
  const { host } = await start(t, toml);
  const bearer = token("--user", "bob", "--subscribe", "#", "--publish", "#");
  const socket = new Socket(`ws://${host}/ws`, { headers: { Authorization: `Bearer ${bearer}` } });
  const came = messages(socket);
  await opened(socket);
  socket.send('[{"op":"subscribe","topic":"a/b","id":1},{"op":"ping","id":2}]');
  await find(came, "pong", (it) => it.op === "pong");
  await find(came, "the ack", (it) => it.id === 1);
  const pong = within("a pong frame", new Promise((resolve) => socket.once("pong", resolve)));
  socket.ping("are you there");
  assert.equal((await pong).toString(), "are you there");
  const bytes = Buffer.from([0, 10, 255, 10]);
  socket.send(Buffer.concat([Buffer.from('{"op":"publish","topic":"a/b"}\n'), bytes]));
  const message = await find(came, "the bytes", Buffer.isBuffer);
  const end = message.indexOf(10);
  const head = JSON.parse(message.subarray(0, end));
  assert.deepEqual([head.op, head.topic, head.from, message.subarray(end + 1)], ["message", "a/b", "bob", bytes]);
  const over = closed(socket);
  socket.send("x".repeat(100_000));
  assert.equal((await over).code, 1009);
});

test("ws: what is not UTF-8 ends with 1007, a strange subprotocol with 400", async (t) => {
  const { host } = await start(t);
  const socket = new Socket(`ws://${host}/ws`);
  await opened(socket);
  const end = closed(socket);
  socket.send(Buffer.from([0xff, 0xfe]), { binary: false });
  assert.equal((await end).code, 1007);
  const strange = new Socket(`ws://${host}/ws`, ["mqtt"]);
  const refusal = within("the refusal", new Promise((resolve) => strange.once("unexpected-response", (_, it) => resolve(it))));
  assert.equal((await refusal).statusCode, 400);
  strange.on("error", () => {}); // that it was ended before it was open
  strange.terminate();
});

test("eventsource: a token in a header, and back after a cut without a hole", async (t) => {
  const { toml, token } = guarded(t);
  const { host, port } = await start(t, toml);
  const way = await proxy(t, port);
  const headers = { Authorization: `Bearer ${token("--user", "ann", "--subscribe", "#", "--publish", "#")}` };
  const say = (n) => {
    const body = JSON.stringify(n);
    const send = { method: "POST", body, headers: { ...headers, "Content-Type": "application/json" } };
    return fetch(`http://${host}/v1/publish?topic=x/y`, send).then((it) => assert.equal(it.status, 200));
  };
  const stream = new EventSource(`http://${way.host}/v1/events?topic=x/y`, {
    fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }),
  });
  t.after(() => stream.close());
  const [came, ids] = [[], []];
  stream.addEventListener("message", (event) => {
    came.push(JSON.parse(event.data).data);
    ids.push(event.lastEventId);
  });
  const acks = [];
  stream.addEventListener("ack", (event) => acks.push(JSON.parse(event.data)));
  await until("the ack", () => acks.length === 1);
  for (const n of [1, 2]) await say(n);
  await until("two messages", () => came.length === 2);
  way.cut();
  for (const n of [3, 4]) await say(n);
  way.mend();
  await until("four messages", () => came.length === 4);
  assert.deepEqual(came, [1, 2, 3, 4]);
  assert.equal(acks.at(-1).recovered, true);
  assert.deepEqual(ids.map((id) => Number(id.split(":")[1])), [1, 2, 3, 4]);
  const refused = await fetch(`http://${host}/v1/events?topic=x/y`);
  assert.deepEqual([refused.status, refused.headers.get("content-type")], [401, "application/problem+json"]);
  await refused.text();
});

test("under TLS ws and https trust our certificate and no other", async (t) => {
  const [own, other] = [certificate(t), certificate(t)];
  const { port } = await start(t, own.toml);
  const socket = new Socket(`wss://localhost:${port}/ws`, { ca: own.pem });
  const came = messages(socket);
  await opened(socket);
  await find(came, "welcome", (it) => it.op === "welcome");
  socket.terminate();
  const get = (ca) =>
    new Promise((resolve) => {
      const request = https.get(`https://localhost:${port}/healthz`, { ca, ALPNProtocols: ["http/1.1"] }, (answer) => {
        resolve([answer.statusCode, answer.socket.alpnProtocol]);
        answer.resume();
      });
      request.on("error", (error) => resolve(error.code));
    });
  assert.deepEqual(await get(own.pem), [200, "http/1.1"]);
  assert.equal(await get(other.pem), "DEPTH_ZERO_SELF_SIGNED_CERT");
});
