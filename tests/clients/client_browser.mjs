// clients/js in headless Chromium, as the broker serves it: `tests/clients/run browser` runs it behind `browser.mjs`.
// Each test has a broker of its own; the browser is one, with a new profile.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { KEPT, PATIENCE, elsewhere, proxy, publish, start, until } from "./broker.mjs";

let browser;

before(async () => {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args });
});

after(() => browser?.close());

/** A page of that address, what it throws, and what it says in its console. */
async function visit(t, address) {
  const context = await browser.newContext();
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const thrown = [];
  const said = [];
  page.on("pageerror", (error) => thrown.push(error.message));
  page.on("console", (line) => said.push(line.text()));
  await page.goto(address);
  return { page, thrown, said, context };
}

/** Imports the client into the page and subscribes to `kept/a`; what came is `window.came`. */
const connect = (page, transport, from = "", url = "/") =>
  page.evaluate(
    async ([transport, from, url]) => {
      const { Wirefan } = await import(`${from}/client.js`);
      window.came = [];
      window.gaps = [];
      window.client = new Wirefan(url, { transports: [transport], backoffMs: [5, 50] });
      client.on("gap", (gap) => gaps.push(gap));
      window.subscription = client.subscribe("kept/a", (message) => came.push(message.data));
      await subscription.ready;
    },
    [transport, from, url],
  );

const count = (n) => Array.from({ length: n }, (_, i) => i);

for (const transport of ["websocket", "sse", "poll"]) {
  test(`${transport}: a page that is cut off again and again has all of it, once`, async (t) => {
    const { port } = await start(t, '[[rule]]\nfilter = "kept/#"\nhistory = { count = 100000, age = "1h" }\n');
    const way = await proxy(t, port);
    const { page, thrown } = await visit(t, `http://${way.host}/`);
    await connect(page, transport);
    const load = page.evaluate(async () => {
      window.going = true;
      const done = [];
      for (let n = 0; going; n++) {
        done.push(client.publish("kept/a", n));
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      await Promise.all(done);
      return done.length;
    });
    for (let kills = 0; kills < 60; await new Promise((resolve) => setTimeout(resolve, 30))) kills += way.kill() ? 1 : 0;
    await page.evaluate(() => (going = false));
    const n = await load;
    await until("all", () => page.evaluate((n) => came.length >= n, n));
    assert.deepEqual(await page.evaluate(() => came), count(n));
    assert.deepEqual(await page.evaluate(() => gaps), []);
    assert.deepEqual(thrown, []);
    t.diagnostic(`${n} publications`);
  });
}

test("a page that was frozen goes on where it was", async (t) => {
  const { host } = await start(t, KEPT);
  const { page, context } = await visit(t, `http://${host}/`);
  await connect(page, "websocket");
  await publish(host, "kept/a", 0);
  await until("one", () => page.evaluate(() => came.length === 1));
  const devtools = await context.newCDPSession(page);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  for (const n of [1, 2, 3]) await publish(host, "kept/a", n);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await publish(host, "kept/a", 4);
  await until("all", () => page.evaluate(() => came.length === 5));
  assert.deepEqual(await page.evaluate(() => came), count(5));
});

test("a page of another origin imports the client, and is let in only where it is allowed", async (t) => {
  const origin = await elsewhere(t);
  for (const allowed of [false, true]) {
    const { host } = await start(t, (allowed ? `[server]\nallowed_origins = ["${origin}"]\n` : "") + KEPT);
    const { page } = await visit(t, origin);
    for (const transport of ["websocket", "sse", "poll"]) {
      const connected = connect(page, transport, `http://${host}`, `http://${host}`).then(() => "ready");
      if (allowed) assert.equal(await connected, "ready");
      else {
        connected.catch(() => {});
        await until("it is told", () =>
          page.evaluate(() => window.client?.state === "waiting" || window.client?.state === "connecting"));
        assert.equal(await page.evaluate(() => subscription.position), undefined);
        await page.evaluate(() => client.close());
      }
    }
  }
});

test("the examples of docs/client.md and that of docs/start.md work in the console of the broker's page", async (t) => {
  const text = readFileSync(new URL("../../docs/client.md", import.meta.url), "utf8");
  const examples = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  assert.ok(examples.length >= 4);
  const { host } = await start(t, '[[rule]]\nfilter = "#"\nhistory = { count = 100, age = "1h" }\npresence = true\n');
  const { page, thrown, said } = await visit(t, `http://${host}/`);
  const guide = readFileSync(new URL("../../docs/start.md", import.meta.url), "utf8");
  const [short] = [...guide.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code).filter((code) => code.includes("/client.js"));
  await page.evaluate(`(async () => { ${short} })()`);
  await until("it came", () => said.some((line) => line.includes("hi from the client")));
  // One behind the other in one console, as a reader would. There an import is a function.
  const pasted = examples.join("\n").replace(/^import (.*) from (.*);/m, "const $1 = await import($2);");
  await page.evaluate(`(async () => { ${pasted} })()`);
  await until("what they say", () => ["hi", "who:", "older:", "loop:", "bytes:"].every((word) => said.some((line) => line.includes(word))));
  assert.deepEqual(thrown, []);
});
