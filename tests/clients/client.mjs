// clients/js in Node against the broker, by each of its transports. `tests/clients/run client` runs it.
// The built file is what is tried: the one that the broker serves.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import Socket from "ws";
import { Wirefan, WirefanError } from "../../clients/js/dist/client.js";
import { KEPT, directory, proxy, publish, start, until, within } from "./broker.mjs";

const TRANSPORTS = ["websocket", "sse", "poll"];
const ROOMS = '[[rule]]\nfilter = "room/#"\npresence = true\n';
const BRISK = [5, 50];

/** A client that ends with the test, and what it tells in `.told`. */
function client(t, host, options = {}) {
  const it = new Wirefan(`http://${host}`, { WebSocket: Socket, backoffMs: BRISK, ...options });
  it.told = { state: [], error: [], gap: [] };
  for (const type of ["state", "error", "gap"]) it.on(type, (detail) => it.told[type].push(detail));
  t.after(() => it.close());
  return it;
}

const open = (it, transport) => until(`it is open by ${transport}`, () => it.state === "open" && it.transport === transport);
const data = (messages) => messages.map((message) => message.data);
const count = (n) => Array.from({ length: n }, (_, i) => i);

/** A test for each transport. */
const each = (name, run, transports = TRANSPORTS) => {
  for (const transport of transports) test(`${transport}: ${name}`, { timeout: 15_000 }, (t) => run(t, transport));
};

each("publish, subscribe, history, bytes, the last ones", async (t, transport) => {
  const { host } = await start(t, KEPT);
  const it = client(t, host, { transports: [transport] });
  const came = [];
  const subscription = it.subscribe("kept/a", (message, from) => came.push([message, from]));
  await within("ready", subscription.ready);
  assert.match(subscription.position, /^[0-9a-f]{8}:0$/);
  const bytes = new Uint8Array([0, 10, 255, 123]);
  const published = [{ text: "grüß dich" }, null, bytes, 1.5];
  const positions = [];
  for (const one of published) positions.push(await within("a publish", it.publish("kept/a", one)));
  await until("four messages", () => came.length === 4);
  assert.deepEqual(came.map(([message]) => message.data), published);
  assert.deepEqual(came.map(([message]) => message.position), positions);
  assert.ok(came.every(([message, from]) => message.topic === "kept/a" && from === subscription));
  assert.equal(subscription.position, positions[3]);
  const history = await it.history("kept/a", { limit: 2, reverse: true });
  assert.deepEqual([history.position, ...data(history.messages)], [positions[3], 1.5, bytes]);
  const since = await it.history("kept/a", { since: positions[1] });
  assert.deepEqual(data(since.messages), [bytes, 1.5]);
  subscription.unsubscribe();
  const last = it.subscribe("kept/a", null, { last: 3 });
  const got = [];
  for await (const message of last) if (got.push(message.data) === 4) break;
  else if (got.length === 3) await it.publish("kept/a", "live");
  assert.deepEqual(got, [null, bytes, 1.5, "live"]);
  assert.equal(came.length, 4, "what was unsubscribed from brings nothing");
  const again = it.subscribe("kept/a", () => {});
  await within("the loop has unsubscribed, so there is room for another", again.ready);
});

each("what is wrong is told to who did it", async (t, transport) => {
  const { host } = await start(t, `[[rule]]\nfilter = "shut"\nsubscribe = "nobody"\npublish = "nobody"\n${KEPT}`);
  const it = client(t, host, { transports: [transport] });
  const good = it.subscribe("kept/a", () => {});
  const shut = it.subscribe("shut", () => {});
  const ended = new Promise((resolve) => shut.on("end", resolve));
  await assert.rejects(within("a refusal", shut.ready), { name: "WirefanError", code: 403 });
  assert.equal((await ended).code, 403);
  await within("the other one is not harmed", good.ready);
  assert.equal(it.told.error[0].code, 403);
  await assert.rejects(it.publish("shut", 1), { code: 403 });
  await assert.rejects(it.publish("a//b", 1), { code: 400 });
  await assert.rejects(it.history("plain"), { code: 404 });
  await assert.rejects(it.publish("kept/a", "x".repeat(70_000)), { code: 413 });
  await assert.rejects(it.publish("kept/a", undefined), TypeError);
  await assert.rejects(it.publish("kept/a", 1n), TypeError);
  assert.throws(() => it.subscribe("kept/a", () => {}), TypeError);
  assert.throws(() => it.subscribe("kept/#", () => {}, { last: 1 }), TypeError);
  assert.throws(() => new Wirefan("ftp://a"), TypeError);
  assert.throws(() => new Wirefan(`http://${host}`, { transports: [] }), TypeError);
  const [first, second] = await Promise.all([1, 2].map((n) => it.publish("kept/a", n, { key: "same" })));
  assert.equal(first, second, "a key is one publication");
});

each("signals: a publish, a subscription, the client", async (t, transport) => {
  const { host } = await start(t, KEPT);
  const whole = new AbortController();
  const it = client(t, host, { transports: [transport], signal: whole.signal });
  const [one, two] = [new AbortController(), new AbortController()];
  const waits = it.publish("kept/a", "never", { signal: one.signal }); // before there is a connection
  one.abort(new Error("no more"));
  await assert.rejects(waits, /no more/);
  await assert.rejects(it.publish("kept/a", 1, { signal: one.signal }), /no more/);
  const subscription = it.subscribe("kept/a", null, { signal: two.signal });
  await it.publish("kept/a", "first");
  assert.equal((await it.history("kept/a")).messages.length, 1);
  two.abort();
  for await (const _ of subscription) assert.fail("it has ended");
  const pending = it.subscribe("kept/b", null);
  whole.abort();
  assert.equal(it.state, "closed");
  await assert.rejects(it.publish("kept/a", 1), { code: "closed" });
  assert.throws(() => it.subscribe("kept/c"), { code: "closed" });
  for await (const _ of pending) assert.fail("it has ended");
});

each("a client that is closed, whenever that is, leaves nothing behind in the broker", async (t, transport) => {
  const { host } = await start(t, KEPT + ROOMS);
  for (const ms of [0, 1, 2, 3, 5, 8, 12, 20, 40]) {
    const it = client(t, host, { transports: [transport] });
    for (const n of [1, 2]) it.subscribe(`room/${n}`, () => {}, { last: 1, presence: transport !== "poll" && n === 1 });
    await new Promise((resolve) => setTimeout(resolve, ms));
    it.close();
  }
  const watch = client(t, host);
  await until("nobody is there", async () => (await watch.presence("room/1")).connections + (await watch.presence("room/2")).connections === 0);
});

each("a handler that throws stops nobody", async (t, transport) => {
  const { host } = await start(t, KEPT);
  const thrown = [];
  const catcher = (error) => thrown.push(error.message);
  process.setUncaughtExceptionCaptureCallback(catcher);
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const it = client(t, host, { transports: [transport] });
  const came = [];
  const subscription = it.subscribe("kept/a", (message) => {
    came.push(message.data);
    throw new Error(`thrown at ${message.data}`);
  });
  await subscription.ready;
  for (const n of [1, 2]) await it.publish("kept/a", n);
  await until("both", () => came.length === 2);
  await until("both were told", () => thrown.length === 2);
  assert.deepEqual(thrown, ["thrown at 1", "thrown at 2"]);
  assert.equal(it.state, "open");
});

each("many topics, wildcards and overlaps: each subscription has each publication once", async (t, transport) => {
  const { host } = await start(t, KEPT);
  for (const n of count(3)) await publish(host, "kept/1", `old ${n}`);
  const it = client(t, host, { transports: [transport] });
  const came = new Map();
  const listen = (filter, options) => it.subscribe(filter, ({ data }) => came.get(filter).push(data), (came.set(filter, []), options));
  const many = count(150).map((n) => listen(`kept/many/${n}`));
  const wild = listen("kept/+");
  await Promise.all([...many, wild].map((one) => within("many", one.ready)));
  const exact = listen("kept/1", { last: 2 });
  await within("one more", exact.ready);
  for (const n of count(5)) await it.publish("kept/1", n);
  await it.publish("kept/many/149", "far");
  await until("all", () => came.get("kept/1").length >= 7 && came.get("kept/many/149").length >= 1 && came.get("kept/+").length >= 5);
  assert.deepEqual(came.get("kept/1"), ["old 1", "old 2", 0, 1, 2, 3, 4]);
  assert.deepEqual(came.get("kept/+"), count(5), "the past is for who asked for it");
  assert.deepEqual(came.get("kept/many/149"), ["far"]);
  // One by one, so that a stream is made anew many times while it is spoken to.
  let n = 5;
  for (const more of count(6)) {
    const one = listen(`kept/more/${more}`);
    const said = Promise.all(count(20).map(() => it.publish("kept/1", n++)));
    await Promise.all([within("one more", one.ready), said]);
  }
  await until("all of it", () => came.get("kept/1").length >= 127 && came.get("kept/+").length >= 125);
  assert.deepEqual(came.get("kept/1").slice(2), count(125));
  assert.deepEqual(came.get("kept/+"), count(125));
  assert.deepEqual(it.told.gap, []);
}, ["websocket", "sse"]);

test("poll: filters with wildcards wait, the others do not", async (t) => {
  const { host } = await start(t, KEPT);
  const it = client(t, host, { transports: ["poll"] });
  const wild = it.subscribe("kept/#", () => assert.fail("nothing comes"));
  const came = [];
  await within("ready", it.subscribe("kept/a", (message) => came.push(message.data)).ready);
  await it.publish("kept/a", 1);
  await until("it", () => came.length === 1);
  assert.match(it.told.error[0].message, /wildcards/);
  assert.equal(wild.position, undefined);
});

each("who is there, who comes and who goes", async (t, transport) => {
  const { host } = await start(t, ROOMS + KEPT);
  const [ann, bob] = [client(t, host, { transports: [transport] }), client(t, host)];
  const plain = ann.subscribe("kept/a", () => {});
  const room = ann.subscribe("room/1", () => {}, { presence: true });
  const told = [];
  for (const type of ["join", "leave"]) room.on(type, (member) => told.push(`${type} ${member.client}`));
  await Promise.all([within("ready", room.ready), within("ready", plain.ready)]);
  const own = (await ann.presence("room/1")).members[0].client;
  const his = bob.subscribe("room/1", () => {});
  await within("ready", his.ready);
  const there = await ann.presence("room/1", { limit: 1 });
  assert.deepEqual([there.members.length, there.connections, there.users], [1, 2, 0]);
  const rest = await ann.presence("room/1", { after: there.next });
  const [other] = [...there.members, ...rest.members].map(({ client }) => client).filter((name) => name !== own);
  his.unsubscribe();
  await until("he is gone", () => told.includes(`leave ${other}`));
  assert.deepEqual(told, [`join ${own}`, `join ${other}`, `leave ${other}`]);
  const refused = ann.subscribe("kept/b", () => {}, { presence: true });
  await assert.rejects(within("a refusal", refused.ready), { code: 404 });
  assert.equal(ann.state, "open");
}, ["websocket", "sse"]);

/** `[auth]` of a configuration, and who signs its tokens. */
function guarded(t, more = "") {
  const at = directory(t);
  writeFileSync(join(at, "secret"), "c2VjcmV0IG9mIHRoZSB0ZXN0cywgd2hpY2ggaXMgbG9uZyBlbm91Z2ggZm9yIEhTMjU2", { mode: 0o600 });
  const toml = `[auth]\nkeys = [{ alg = "HS256", secret_file = "${join(at, "secret")}" }]
leeway_s = 0
[[rule]]\nfilter = "#"\nsubscribe = "granted"\npublish = "granted"\nfrom = true\nhistory = { count = 1000, age = "1h" }\n${more}`;
  const file = join(at, "wirefan.toml");
  writeFileSync(file, toml);
  const token = (...words) => execFileSync(process.env.WIREFAN, ["token", "--config", file, ...words]).toString().trim();
  const ending = (...words) => token(...words, "--ttl", "2s");
  return { toml, token, ending };
}

each("a token that ends: another is asked for, and nothing is lost", async (t, transport) => {
  const { toml, token, ending } = guarded(t);
  const { host } = await start(t, toml);
  const reasons = [];
  const ask = async ({ reason, signal }) => {
    assert.ok(signal instanceof AbortSignal);
    reasons.push(reason);
    return (reasons.length > 1 ? token : ending)("--user", "ann", "--subscribe", "#", "--publish", "#");
  };
  const it = client(t, host, { transports: [transport], token: ask });
  const came = [];
  const subscription = it.subscribe("a/b", (message) => came.push(message));
  await within("ready", subscription.ready);
  let n = 0;
  while (reasons.length < 2 || n < 20) {
    await within("a publish", it.publish("a/b", n++));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await until("all", () => came.length === n);
  assert.deepEqual(data(came), count(n));
  assert.ok(came.every(({ from }) => from === "ann"));
  assert.equal(reasons[0], undefined);
  assert.equal(typeof reasons[1], "string");
  assert.equal(reasons.length, 2);
  assert.deepEqual(it.told.gap, []);
});

each("a token that is refused: with the same one nobody comes back", async (t, transport) => {
  const { toml, token } = guarded(t);
  const { host } = await start(t, toml);
  for (const wrong of ["nonsense", () => "nonsense", undefined]) {
    const it = client(t, host, { transports: [transport], ...(wrong && { token: wrong }) });
    const waits = it.publish("a/b", 1);
    waits.catch(() => {});
    const refused = transport === "websocket" && !wrong ? 401 : transport === "websocket" ? 4501 : 401;
    if (transport === "websocket" && !wrong) {
      await assert.rejects(within("an error", waits), { code: 401 }); // it could still say who it is
      continue;
    }
    await until("it is closed", () => it.state === "closed");
    assert.equal(it.told.error[0].code, refused);
    assert.equal(it.told.state.at(-1).error.code, refused);
    await assert.rejects(waits, { code: refused });
  }
  let asked = 0;
  const good = token("--user", "ann", "--publish", "#", "--subscribe", "#");
  const it = client(t, host, { transports: [transport], token: () => (++asked === 1 ? "nonsense" : good) });
  await within("a good one is taken", it.publish("a/b", 1));
});

each("what goes in no header is no token, and blanks around one are none of it", async (t, transport) => {
  const { toml, token } = guarded(t);
  const { host } = await start(t, toml);
  const good = token("--user", "ann", "--publish", "#");
  for (const wrong of ["日本", "“x”", `${good}\u200b`, "a b", " "]) {
    const it = client(t, host, { transports: [transport], token: wrong });
    const waits = it.publish("a/b", 1);
    await assert.rejects(within("an error", waits), { code: "token" });
    assert.equal(it.state, "closed", "a string does not get better");
    assert.deepEqual(it.told.error.map(({ code }) => code), ["token"]);
  }
  await within("a string", client(t, host, { transports: [transport], token: `\n${good} ` }).publish("a/b", 1));
  const given = ["日本", `${good}\n`];
  const it = client(t, host, { transports: [transport], token: () => given.shift() });
  await within("a callback is asked again", it.publish("a/b", 1));
  assert.deepEqual(it.told.error.map(({ code }) => code), ["token"]);
});

each("a token callback that throws is asked again, and not in a hurry", async (t, transport) => {
  const { toml, token } = guarded(t);
  const { host } = await start(t, toml);
  const good = token("--user", "ann", "--publish", "#");
  const asked = [];
  const it = client(t, host, {
    transports: [transport],
    backoffMs: [40, 80],
    token: () => {
      asked.push(Date.now());
      if (asked.length === 1) throw new Error("no session");
      if (asked.length === 2) return Promise.reject(new Error("no network"));
      return asked.length === 3 ? 7 : good;
    },
  });
  await within("a publish", it.publish("a/b", 1));
  assert.equal(asked.length, 4);
  for (const n of [1, 2, 3]) assert.ok(asked[n] - asked[n - 1] >= 39, `${asked}`);
  assert.deepEqual(it.told.error.map(({ code }) => code), ["token", "token", "token"]);
  assert.match(it.told.error[0].message, /no session/);
  assert.match(it.told.error[0].cause.message, /no session/);
});

each("what a token does not grant any more ends that subscription alone", async (t, transport) => {
  const { toml, token, ending } = guarded(t);
  const { host } = await start(t, toml);
  let asked = 0;
  const ask = () => (++asked === 1 ? ending("--user", "ann", "--subscribe", "#") : token("--user", "ann", "--subscribe", "a/1"));
  const it = client(t, host, { transports: [transport], token: ask });
  const [one, two] = ["a/1", "a/2"].map((topic) => it.subscribe(topic, () => {}));
  await Promise.all([within("one", one.ready), within("two", two.ready)]);
  const error = await within("its end", new Promise((resolve) => two.on("end", resolve)));
  assert.equal(error.code, 403);
  await until("the other goes on", () => it.state === "open" && one.recovered === true);
});

each("a history that does not reach back is a gap, and says so", async (t, transport) => {
  const { host, port } = await start(t, '[[rule]]\nfilter = "few"\nhistory = { count = 5, age = "1h" }\n');
  const way = await proxy(t, port);
  const it = client(t, way.host, { transports: [transport] });
  const [came, subscribed] = [[], []];
  const few = it.subscribe("few", (message) => came.push(message.data));
  few.on("subscribed", (detail) => subscribed.push(detail));
  await within("ready", few.ready);
  const say = async (...data) => {
    let position;
    for (const one of data) position = await publish(host, "few", one);
    return position;
  };
  await say(1, 2);
  await until("two", () => came.length === 2);
  way.cut();
  await say(3, 4, 5);
  way.mend();
  await until("they were kept", () => came.length === 5);
  if (transport === "poll") assert.notEqual(few.recovered, false); // a cut between two polls is not noticed
  else assert.equal(few.recovered, true);
  assert.deepEqual(it.told.gap, []);
  way.cut();
  const lost = await say(6, 7, 8, 9, 10, 11, 12);
  way.mend();
  await until("a gap", () => it.told.gap.length === 1);
  assert.deepEqual(it.told.gap, [{ topic: "few", position: lost }]);
  assert.deepEqual([few.recovered, few.position], [false, lost]);
  await say("live");
  await until("it goes on", () => came.length === 6);
  assert.deepEqual(came, [1, 2, 3, 4, 5, "live"]);
  assert.equal(subscribed[0].recovered, undefined);
  if (transport !== "poll") assert.deepEqual(subscribed.map((one) => one.recovered), [undefined, true, false]);
});

each("a slow reader is told how much it missed, and it adds up", async (t, transport) => {
  const toml = '[limits]\noutbound_bytes_max = 100000\n[[rule]]\nfilter = "flood"\noverflow = "drop_oldest"\n';
  const { host, port } = await start(t, toml);
  const way = await proxy(t, port);
  const it = client(t, way.host, { transports: [transport] });
  let [came, missed] = [0, 0];
  const flood = it.subscribe("flood", () => came++);
  flood.on("gap", (gap) => (missed += gap.missed));
  await within("ready", flood.ready);
  way.hold(true);
  const text = "x".repeat(60_000);
  for (let n = 0; n < 200; n++) await publish(host, "flood", text);
  way.hold(false);
  await until("all is told", () => came + missed === 200);
  assert.ok(missed > 0);
  assert.equal(it.told.gap.reduce((sum, gap) => sum + gap.missed, 0), missed);
  assert.match(flood.position, /:200$/);
}, ["websocket", "sse"]);

each("200 killed connections under load: nothing lost, nothing twice, all in order", async (t, transport) => {
  const { port } = await start(t, '[[rule]]\nfilter = "kept/#"\nhistory = { count = 100000, age = "1h" }\n');
  const way = await proxy(t, port);
  const options = { transports: [transport] };
  const [reader, writer] = [client(t, way.host, options), client(t, way.host, options)];
  const topics = ["kept/a", "kept/b", "kept/c"];
  const came = new Map(topics.map((topic) => [topic, []]));
  for (const topic of topics) reader.subscribe(topic, (message) => came.get(topic).push(message));
  await until("ready", () => reader.state === "open" && writer.state === "open");
  let [kills, n] = [0, 0];
  const published = new Map(topics.map((topic) => [topic, []]));
  const [done, failed] = [[], []];
  const killer = setInterval(() => (kills += way.kill() ? 1 : 0), 25);
  t.after(() => clearInterval(killer));
  while (kills < 200) {
    const topic = topics[n % 3];
    const said = n++;
    published.get(topic).push(said);
    done.push(writer.publish(topic, said).catch((error) => failed.push(error)));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  clearInterval(killer);
  await within("every publish is answered", Promise.all(done));
  assert.deepEqual(failed, []);
  await until("all came", () => topics.every((topic) => came.get(topic).length >= published.get(topic).length));
  for (const topic of topics) {
    assert.deepEqual(data(came.get(topic)), published.get(topic));
    assert.deepEqual(came.get(topic).map(({ position }) => Number(position.split(":")[1])), count(published.get(topic).length).map((n) => n + 1));
  }
  assert.deepEqual([...reader.told.gap, ...writer.told.gap], []);
  t.diagnostic(`${kills} kills, ${n} publications, ${reader.told.state.length} changes of the reader's state`);
});

each("a drained broker and its successor: told when to come back, told that the past is gone", async (t, transport) => {
  const first = await start(t, KEPT);
  const it = client(t, first.host, { transports: [transport] });
  const came = [];
  const subscription = it.subscribe("kept/a", (message) => came.push(message.data));
  await within("ready", subscription.ready);
  const published = [];
  let going = true;
  const load = (async () => {
    for (let n = 0; going; n++) {
      await it.publish("kept/a", n).then(() => published.push(n));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  await until("some", () => came.length > 10);
  await first.drain();
  const before = came.length;
  await start(t, KEPT, first.host);
  await until("it goes on", () => came.length > before + 10);
  going = false;
  await load;
  await until("the last one", () => came.at(-1) === published.at(-1));
  // The new broker knows no old position: what it was given before the client had subscribed again is told as a gap.
  assert.ok(new Set(came).size === came.length, "nothing twice");
  assert.deepEqual(came, came.toSorted((a, b) => a - b));
  assert.ok(came.length >= published.length || it.told.gap.length === 1, `${came.length} of ${published.length}`);
  if (transport === "websocket") {
    const waited = it.told.state.find(({ state, error }) => state === "waiting" && error.code === 1001);
    assert.ok(waited.retryMs > 0);
  }
  assert.deepEqual(it.told.state.filter(({ state }) => state === "closed"), []);
});

/** A proxy that lets HTTP through, but refuses to upgrade or to stream while it is told to. */
async function strict(t, port) {
  const shut = { upgrade: true, events: false };
  const server = http.createServer((request, response) => {
    if (shut.events && request.url.startsWith("/v1/events")) return response.writeHead(502).end();
    const { url: path, method, headers } = request;
    const ask = http.request({ port, path, method, headers, agent: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    ask.on("error", () => response.destroy());
    response.on("close", () => ask.destroy());
    request.pipe(ask);
  });
  server.on("upgrade", (request, socket, head) => {
    if (shut.upgrade) return socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    const broker = net.connect(port, "127.0.0.1");
    const lines = request.rawHeaders.reduce((text, word, n) => text + word + (n % 2 ? "\r\n" : ": "), "");
    broker.write(`GET ${request.url} HTTP/1.1\r\n${lines}\r\n`);
    broker.write(head);
    for (const [one, other] of [[socket, broker], [broker, socket]]) one.on("error", () => {}).on("close", () => other.destroy()).pipe(other);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { host: `127.0.0.1:${server.address().port}`, shut };
}

test("a proxy that refuses upgrades, then streams: the next door, and back up without a loss", async (t) => {
  const { port } = await start(t, KEPT);
  const way = await strict(t, port);
  way.shut.events = true;
  const it = client(t, way.host);
  const came = { "kept/a": [], "+/a": [] };
  const exact = it.subscribe("kept/a", (message) => came["kept/a"].push(message.data));
  it.subscribe("+/a", (message) => came["+/a"].push(message.data));
  await within("ready", exact.ready);
  assert.equal(it.transport, "poll");
  let [n, going] = [0, true];
  const load = (async () => {
    while (going) {
      await it.publish("kept/a", n++);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  way.shut.events = false;
  await open(it, "sse");
  await until("the other one too", () => came["+/a"].length > 10);
  way.shut.upgrade = false;
  await open(it, "websocket");
  const at = n;
  await until("it goes on", () => n > at + 50);
  going = false;
  await load;
  await until("all", () => came["kept/a"].length >= n && came["+/a"].at(-1) === n - 1);
  assert.deepEqual(came["kept/a"], count(n));
  assert.deepEqual(came["+/a"], count(n).slice(came["+/a"][0]), "from a stream to a WebSocket wildcards lose nothing either");
  assert.deepEqual(it.told.gap, []);
  assert.deepEqual(it.told.state.map(({ transport }) => transport), ["poll", "sse", "websocket"]);
});

test("Node without a WebSocket goes by events", async (t) => {
  const { host } = await start(t);
  const own = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = own));
  const it = client(t, host, { WebSocket: undefined });
  await within("a publish", it.publish("a", 1));
  assert.equal(it.transport, "sse");
});

test("a URL that is no wirefan: it says so, and does not hurry", async (t) => {
  let [requests, page] = [0, "<!doctype html><title>elsewhere</title>"];
  const server = http.createServer((_, response) => {
    requests++;
    response.setHeader("Content-Type", "text/html");
    response.end(page);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const it = client(t, `127.0.0.1:${server.address().port}`, { backoffMs: [100, 400] });
  it.subscribe("a", () => {});
  const waits = it.publish("a", 1);
  waits.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.ok(it.told.error.length > 1 && it.told.error.length < 16, `${it.told.error.length}`);
  assert.equal(it.told.error[0].code, "unreachable");
  assert.match(it.told.error[0].message, /websocket: .*; sse: .*; poll: /);
  assert.ok(requests < 60, `${requests}`);
  assert.notEqual(it.state, "open");
  it.close();
  await assert.rejects(waits, { code: "closed" });
});

test("a WebSocket of somebody else is no wirefan", async (t) => {
  const { WebSocketServer } = await import("ws");
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "wirefan.v1" });
  server.on("connection", (socket) => socket.send('{"hello":1}'));
  t.after(() => server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const it = client(t, `127.0.0.1:${server.address().port}`, { transports: ["websocket"] });
  await until("an error", () => it.told.error.length > 0);
  assert.match(it.told.error[0].message, /not a wirefan/);
});

test("an error is one", () => {
  const error = new WirefanError("full", "too much");
  assert.ok(error instanceof Error);
  assert.deepEqual([error.name, error.code, error.message], ["WirefanError", "full", "too much"]);
});

test("the built file is small, and has no line of its own but the first", () => {
  const text = readFileSync(new URL("../../clients/js/dist/client.js", import.meta.url), "utf8");
  assert.match(text, /^\/\*! wirefan \d+\.\d+\.\d+/);
  assert.doesNotMatch(text, /\beval\b|\bFunction\(|sourceMappingURL/);
});
