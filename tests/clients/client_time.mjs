// clients/js under a clock of our own: a broker away for ten minutes, a page in the background for an hour, the back-off.
// `tests/clients/run client` runs it. Nothing here opens a socket: the other side is played, word for word.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Wirefan } from "../../clients/js/dist/client.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Lets time pass in steps, and everything happen that is due in each. */
async function pass(t, ms, step = 1000) {
  for (let at = 0; at < ms; at += step) {
    t.mock.timers.tick(step);
    for (let n = 0; n < 5; n++) await turn();
  }
}

/** A broker behind a WebSocket: `up` lets in, `mute` answers no publish; `seen` are the attempts, `heard` what was sent. */
function played(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const broker = { up: true, mute: false, silent: false, seen: [], heard: [], fetched: 0 };
  broker.WebSocket = class {
    bufferedAmount = 0;
    protocol = "wirefan.v1";
    constructor() {
      broker.seen.push(Date.now());
      broker.socket = this;
      setImmediate(() => {
        if (!broker.up) return this.onclose?.({ code: 1006, reason: "" });
        this.onopen?.();
        this.say({ op: "welcome", heartbeat: 25, limits: { message_bytes: 65_536 } });
      });
    }
    say(wire) {
      this.onmessage?.({ data: JSON.stringify(wire) });
    }
    send(text) {
      const command = JSON.parse(text);
      broker.heard.push({ ...command, at: Date.now() });
      if (broker.silent || (broker.mute && command.op === "publish")) return;
      setImmediate(() => this.say({ op: command.op === "ping" ? "pong" : "ack", id: command.id, topic: command.topic, position: "00000001:1" }));
    }
    close() {}
  };
  broker.fetch = () => {
    broker.fetched++;
    return Promise.reject(new TypeError("fetch failed"));
  };
  return broker;
}

test("a broker away for ten minutes: patient, never idle, and nothing is published twice", async (t) => {
  const broker = played(t);
  const it = new Wirefan("http://broker.example", broker);
  t.after(() => it.close());
  await pass(t, 20_000);
  assert.equal(it.state, "open");
  broker.mute = true;
  const flying = it.publish("a", "flying").then(() => "published", (error) => error.code);
  await turn();
  broker.up = false;
  const gone = Date.now();
  broker.socket.onclose({ code: 1006, reason: "" });
  let waiting = "waits";
  const waits = it.publish("a", "waiting").then(() => (waiting = "published"));
  let settled;
  flying.then((what) => (settled = [what, Date.now() - gone]));
  await pass(t, 600_000);
  const tries = broker.seen.filter((at) => at > gone);
  const between = tries.map((at, n) => at - (tries[n - 1] ?? gone));
  assert.ok(Math.max(...between) <= 31_000, `never idle: ${between}`);
  assert.ok(Math.min(...between) >= 100, `never in a hurry: ${between}`);
  assert.ok(tries.length >= 20 && tries.length <= 100, `${tries.length} attempts`);
  assert.ok(broker.fetched > 10, "the other doors are tried, too");
  assert.equal(settled[0], "unknown");
  assert.ok(settled[1] >= 240_000 && settled[1] <= 272_000, `${settled}: as long as keys are remembered, and no longer`);
  assert.equal(waiting, "waits", "what was never sent is safe");
  [broker.up, broker.mute] = [true, false];
  await pass(t, 60_000);
  assert.equal(it.state, "open");
  await waits;
  const published = broker.heard.filter(({ op }) => op === "publish").map(({ data }) => data);
  assert.deepEqual(published, ["flying", "waiting"]);
});

test("a publish in flight at a cut is sent again with its key; with resendMs 0 it is not", async (t) => {
  const broker = played(t);
  for (const [resendMs, expected, sent] of [[undefined, "00000001:1", 2], [0, "unknown", 1]]) {
    const it = new Wirefan("ws://broker.example/ws", { ...broker, ...(resendMs === 0 && { resendMs }) });
    await pass(t, 1000);
    [broker.mute, broker.heard] = [true, []];
    const flying = it.publish("a", 1).catch((error) => error.code);
    await turn();
    broker.mute = false;
    broker.socket.onclose({ code: 1006, reason: "" });
    await pass(t, 10_000);
    assert.equal(await flying, expected);
    const keys = broker.heard.filter(({ op }) => op === "publish").map(({ key }) => key);
    assert.equal(keys.length, sent);
    assert.equal(new Set(keys).size, 1);
    it.close();
  }
});

test("an hour in the background, where timers come once a minute: one connection, a ping now and then", async (t) => {
  const broker = played(t);
  const it = new Wirefan("http://broker.example", broker);
  t.after(() => it.close());
  await pass(t, 3_600_000, 60_000);
  assert.equal(it.state, "open");
  assert.equal(broker.seen.length, 1);
  const pings = broker.heard.filter(({ op }) => op === "ping").length;
  assert.ok(pings >= 50 && pings <= 150, `${pings} pings`);
});

test("a connection that is dead without a word is found out, and left", async (t) => {
  const broker = played(t);
  const it = new Wirefan("http://broker.example", broker);
  t.after(() => it.close());
  await pass(t, 30_000);
  broker.silent = true;
  const from = Date.now();
  await pass(t, 70_000);
  assert.equal(broker.seen.length > 1, true);
  assert.ok(broker.seen[1] - from <= 62_000, `${broker.seen[1] - from} ms`);
});

test("what the broker says of when to come back, and whether, is done", async (t) => {
  const broker = played(t);
  for (const [code, reason, least, most] of [[1001, "retry_ms=7000", 7000, 8000], [4029, "retry_ms=3000", 3000, 4000], [4008, "", 100, 1000], [1013, "", 100, 1000]]) {
    const it = new Wirefan("http://broker.example", broker);
    await pass(t, 1000);
    const from = Date.now();
    broker.seen.length = 0;
    broker.socket.onclose({ code, reason });
    await pass(t, 9000, 100);
    assert.ok(broker.seen[0] - from >= least && broker.seen[0] - from <= most, `${code}: ${broker.seen[0] - from}`);
    it.close();
  }
  for (const code of [4503, 4999, 1002, 1007]) {
    const it = new Wirefan("http://broker.example", broker);
    await pass(t, 1000);
    broker.seen.length = 0;
    broker.socket.onclose({ code, reason: "no" });
    await pass(t, 120_000);
    assert.deepEqual([it.state, broker.seen.length], ["closed", 0]);
  }
});

test("connections that open and end at once are tried ever more rarely", async (t) => {
  const broker = played(t);
  const it = new Wirefan("http://broker.example", broker);
  t.after(() => it.close());
  const ends = setInterval(() => it.state === "open" && broker.socket.onclose({ code: 1006, reason: "" }), 0);
  t.after(() => clearInterval(ends));
  for (let n = 0; n < 600; n++) {
    await pass(t, 1000);
    if (it.state === "open") broker.socket.onclose({ code: 1006, reason: "" });
  }
  assert.ok(broker.seen.length < 120, `${broker.seen.length} in ten minutes`);
});

test("commands wait while the socket has enough", async (t) => {
  const broker = played(t);
  const it = new Wirefan("http://broker.example", broker);
  t.after(() => it.close());
  await pass(t, 1000);
  broker.socket.bufferedAmount = 1_000_000;
  const published = it.publish("a", 1);
  await pass(t, 5000, 50);
  assert.deepEqual(broker.heard.filter(({ op }) => op === "publish"), []);
  broker.socket.bufferedAmount = 0;
  await pass(t, 200, 50);
  assert.equal(await published, "00000001:1");
});

test("a network that is back, or a page that is looked at, does not wait for the back-off", async (t) => {
  const listeners = {};
  const listen = globalThis.addEventListener;
  globalThis.addEventListener = (type, listener) => (listeners[type] = listener);
  t.after(() => (globalThis.addEventListener = listen));
  const broker = played(t);
  const it = new Wirefan("http://broker.example", { ...broker, backoffMs: [20_000, 30_000] });
  t.after(() => it.close());
  await pass(t, 1000);
  broker.up = false;
  broker.socket.onclose({ code: 1006, reason: "" });
  await pass(t, 5000);
  assert.equal(it.state, "waiting");
  broker.up = true;
  for (let n = 0; n < 10; n++) listeners.online();
  await pass(t, 1000, 100);
  assert.equal(it.state, "open");
  assert.equal(broker.seen.length, 2, "one attempt, however often it wakes");
});
