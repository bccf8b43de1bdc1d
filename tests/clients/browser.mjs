// Headless Chromium as a client: WebSocket, compressed or not, EventSource, fetch in a loop, what CORS refuses, a certificate that nobody signed.
// `tests/clients/run browser` runs it. Each test has a broker of its own; the browser is one, with a new profile.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { KEPT, PATIENCE, certificate, elsewhere, proxy, publish, start, until } from "./broker.mjs";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

let browser;

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: FLAGS });
});

after(() => browser?.close());

/** A page of that address, in a profile of its own. */
async function visit(t, address, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  await page.goto(address);
  return page;
}

/** Connects the page by WebSocket. It keeps what came in `window.came`. */
function connect(page, address, protocols = []) {
  return page.evaluate(
    ([address, protocols]) =>
      new Promise((resolve) => {
        const came = (window.came = []);
        window.ws = new WebSocket(address, protocols);
        ws.binaryType = "arraybuffer";
        ws.onmessage = ({ data }) => came.push(typeof data === "string" ? JSON.parse(data) : [...new Uint8Array(data)]);
        ws.onopen = () => resolve({ protocol: ws.protocol, extensions: ws.extensions });
        ws.onclose = ({ code, wasClean }) => resolve({ closed: code, wasClean });
      }),
    [address, protocols],
  );
}

/** Opens a stream of the page. It keeps what came in `window.came`, and its changes in `window.states`. */
function listen(page, address) {
  return page.evaluate(
    (address) =>
      new Promise((resolve) => {
        const [came, states] = ([window.came, window.states] = [[], []]);
        window.stream = new EventSource(address);
        const note = (event) => came.push({ ...JSON.parse(event.data), id: event.lastEventId });
        for (const kind of ["ack", "message", "gap", "close"]) stream.addEventListener(kind, note);
        stream.onopen = () => resolve(states.push("open"));
        stream.onerror = () => {
          states.push(stream.readyState === EventSource.CLOSED ? "closed" : "connecting");
          if (stream.readyState === EventSource.CLOSED) resolve(states);
        };
      }),
    address,
  );
}

const came = (page, op) => page.evaluate((op) => came.filter((one) => one.op === op), op);
const heard = (page, count) => until(`${count} messages`, async () => (await came(page, "message")).length >= count);

test("a page speaks WebSocket: text, bytes, a clean end", async (t) => {
  const { host } = await start(t);
  const page = await visit(t, `http://${host}/`);
  assert.equal((await connect(page, `ws://${host}/ws`, ["wirefan.v1"])).protocol, "wirefan.v1");
  await page.evaluate(() => ws.send('{"op":"subscribe","topic":"chat/#","id":1}'));
  await until("the ack", async () => (await came(page, "ack")).length === 1);
  await page.evaluate(() => ws.send('{"op":"publish","topic":"chat/1","data":{"text":"grüß dich"}}'));
  await heard(page, 1);
  assert.deepEqual((await came(page, "message"))[0].data, { text: "grüß dich" });
  await page.evaluate(() => {
    const head = new TextEncoder().encode('{"op":"publish","topic":"chat/2"}\n');
    ws.send(new Uint8Array([...head, 0, 255, 10]));
  });
  await until("the bytes", () => page.evaluate(() => came.some((one) => Array.isArray(one) && one.at(-2) === 255)));
  const code = await page.evaluate(
    () =>
      new Promise((resolve) => {
        ws.onclose = ({ code, wasClean }) => resolve([code, wasClean]);
        ws.close(3000, "done");
      }),
  );
  assert.deepEqual(code, [3000, true]);
});

test("a page and the broker compress what they say to each other", async (t) => {
  const { host } = await start(t, "[server]\ndeflate = true\n");
  const page = await visit(t, `http://${host}/`);
  assert.match((await connect(page, `ws://${host}/ws`)).extensions, /^permessage-deflate/);
  await page.evaluate(() => ws.send('{"op":"subscribe","topic":"chat/1","id":1}'));
  await until("the ack", async () => (await came(page, "ack")).length === 1);
  // Long and short, alike and not, so that what one leaves behind would spoil the next.
  const texts = [1, 2, 3].flatMap((n) => [`text ${n} of many `.repeat(300 * n), "short"]);
  for (const text of texts) {
    await page.evaluate((data) => ws.send(JSON.stringify({ op: "publish", topic: "chat/1", data })), text);
  }
  await heard(page, texts.length);
  assert.deepEqual((await came(page, "message")).map((one) => one.data), texts);
});

test("the examples of docs/start.md work in the console of the broker's page", async (t) => {
  const { host } = await start(t);
  const page = await visit(t, `http://${host}/`);
  const guide = readFileSync(new URL("../../docs/start.md", import.meta.url), "utf8");
  const [subscribe, say] = [...guide.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  const logged = [];
  page.on("console", (line) => logged.push(line.text()));
  const paste = (code) => page.evaluate(`${code.replace(/^const /m, "globalThis.")}; 0`);
  await paste(subscribe);
  await until("the ack", () => logged.some((line) => JSON.parse(line).op === "ack"));
  await paste(say);
  await until("the message", () => logged.some((line) => JSON.parse(line).data?.text === "hi"));
});

test("the chat of the README is a chat, on a page of another origin", async (t) => {
  const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  const [, html] = readme.match(/```html\n(.*?)```/s);
  const [, toml] = readme.match(/cat > chat.toml <<'END'\n(.*?)END\n/s);
  assert.ok(html.trimEnd().split("\n").length <= 22, "it is short");
  let text = "";
  const server = http.createServer((_, answer) => answer.setHeader("Content-Type", "text/html").end(text));
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  t.after(() => server.close());
  const origin = `http://localhost:${server.address().port}`;
  const { host } = await start(t, toml.replace("http://localhost:8000", origin));
  text = html.replaceAll("127.0.0.1:8080", host);
  const [ann, bob] = [await visit(t, `${origin}/chat.html`), await visit(t, `${origin}/chat.html`)];
  const shows = (page, ...lines) =>
    until(lines.join(), () => page.$$eval("li", (all) => all.map((one) => one.textContent)).then((all) => all.join() === lines.join()));
  const say = async (page, words) => {
    await page.fill("input", words);
    await page.press("input", "Enter");
  };
  await say(ann, "hi");
  await shows(bob, "hi");
  await say(bob, "<b>hi</b>");
  await shows(ann, "hi", "<b>hi</b>");
  await shows(await visit(t, `${origin}/chat.html`), "hi", "<b>hi</b>");
});

test("an EventSource whose connection is cut comes back by itself and misses nothing", async (t) => {
  const { host, port } = await start(t, KEPT);
  const way = await proxy(t, port);
  const page = await visit(t, `http://${way.host}/`);
  await publish(host, "kept/a", "before");
  await listen(page, "/v1/events?topic=kept/a");
  const positions = [];
  const say = async (n) => positions.push(await publish(host, "kept/a", n));
  for (const n of [1, 2, 3]) await say(n);
  await heard(page, 3);
  way.cut();
  for (const n of [4, 5, 6]) await say(n);
  way.mend();
  await heard(page, 6);
  await say(7);
  await heard(page, 7);
  const messages = await came(page, "message");
  assert.deepEqual(messages.map((one) => one.data), [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(messages.map((one) => one.id), positions);
  assert.deepEqual((await came(page, "ack")).map((one) => one.recovered), [undefined, true]);
});

test("an EventSource is told when the past is lost with its broker", async (t) => {
  const first = await start(t, KEPT);
  const way = await proxy(t, first.port);
  const page = await visit(t, `http://${way.host}/`);
  await listen(page, "/v1/events?topic=kept/a");
  await publish(first.host, "kept/a", 1);
  await heard(page, 1);
  way.cut();
  await first.stop();
  const second = await start(t, KEPT);
  await publish(second.host, "kept/a", 2);
  way.mend(second.port);
  await until("the second ack", async () => (await came(page, "ack")).length === 2);
  await publish(second.host, "kept/a", 3);
  await heard(page, 2);
  assert.equal((await came(page, "ack"))[1].recovered, false);
  assert.deepEqual((await came(page, "message")).map((one) => one.data), [1, 3]);
});

test("a page that polls misses nothing between its polls", async (t) => {
  const { host } = await start(t, KEPT);
  const page = await visit(t, `http://${host}/`);
  await page.evaluate(() => {
    window.came = [];
    window.polls = 0;
    (async () => {
      for (let since = ""; ; polls++) {
        const answer = await fetch(`/v1/poll?topic=kept/a&wait=${polls ? 20 : 0}${since && `&since=${since}`}`);
        const { messages, next } = await answer.json();
        came.push(...messages);
        since = next;
      }
    })();
  });
  await until("the first poll", () => page.evaluate(() => polls > 0));
  for (let n = 0; n < 50; n++) await publish(host, "kept/a", n);
  await heard(page, 50);
  assert.deepEqual((await came(page, "message")).map((one) => one.data), Array.from({ length: 50 }, (_, n) => n));
});

/** What a page may do at a broker: by each door, and whether a publication of it arrived. */
async function doors(page, host) {
  const socket = await connect(page, `ws://${host}/ws`);
  await listen(page, `http://${host}/v1/events?topic=kept/a`);
  const stream = await page.evaluate(() => states.at(-1));
  const fetched = (path, init) =>
    page.evaluate(
      ([address, init]) => fetch(address, init).then((answer) => answer.status, (error) => error.name),
      [`http://${host}${path}`, init],
    );
  const json = { method: "POST", body: "1", headers: { "Content-Type": "application/json" } };
  const plain = { method: "POST", body: "1", headers: { "Content-Type": "text/plain" } };
  const answers = [];
  for (const [path, init] of [
    ["/v1/poll?topic=kept/a&wait=0", {}],
    ["/v1/history?topic=kept/a", {}],
    ["/v1/publish?topic=kept/a", json],
    ["/v1/publish?topic=kept/a", plain],
  ]) {
    answers.push(await fetched(path, init));
  }
  const history = await fetch(`http://${host}/v1/history?topic=kept/a`);
  return { socket: socket.closed ?? "open", stream, answers, published: (await history.json()).messages.length };
}

test("a page of another origin is let in by no door", async (t) => {
  const { host } = await start(t, KEPT);
  const page = await visit(t, await elsewhere(t));
  const refused = "TypeError";
  const expected = { socket: 1006, stream: "closed", answers: [refused, refused, refused, refused], published: 0 };
  assert.deepEqual(await doors(page, host), expected);
});

test("a page of an allowed origin is let in by every door", async (t) => {
  const origin = await elsewhere(t);
  const { host } = await start(t, `[server]\nallowed_origins = ["${origin}"]\n${KEPT}`);
  const page = await visit(t, origin);
  assert.deepEqual(await doors(page, host), { socket: "open", stream: "open", answers: [200, 200, 200, 200], published: 2 });
});

test("under TLS a page speaks by every door, once it trusts the certificate", async (t) => {
  const { toml } = certificate(t);
  const { port } = await start(t, toml + KEPT);
  const host = `localhost:${port}`;
  await assert.rejects(visit(t, `https://${host}/`), /ERR_CERT_AUTHORITY_INVALID/);
  const page = await visit(t, `https://${host}/`, { ignoreHTTPSErrors: true });
  assert.equal((await connect(page, `wss://${host}/ws`, ["wirefan.v1"])).protocol, "wirefan.v1");
  await page.evaluate(() => ws.send('{"op":"subscribe","topic":"kept/a","id":1}'));
  await until("the ack", async () => (await came(page, "ack")).length === 1);
  await page.evaluate(() => (window.socketCame = came));
  await listen(page, "/v1/events?topic=kept/a");
  const status = await page.evaluate(() => fetch("/v1/publish?topic=kept/a", { method: "POST", body: "hi" }).then((it) => it.status));
  assert.equal(status, 200);
  await heard(page, 1);
  assert.equal((await came(page, "message"))[0].data, "hi");
  await until("it by WebSocket", () => page.evaluate(() => socketCame.some((one) => one.data === "hi")));
});
