// The console on bad days, under a clock that runs faster than ours: a broker away for ten minutes, a page that sleeps or is not looked at for an hour.
// `tests/clients/run browser` runs it behind `console.mjs`. The brokers are real ones, and really go away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { KEPT, proxy, publish, start, until } from "./broker.mjs";
import { shows, signer, visit } from "./pages.mjs";

const HOUR = 3_600_000;
/** What the browser says by itself of a connection that failed, or a request that was refused. */
const expected = /ERR_|WebSocket connection|status of 401/;
const AWAY = /^no connection since \d\d:\d\d:\d\d, trying again$/;

/**
 * In the page: notes when each WebSocket was tried, and by which of its clients, and when something was heard; the broker's clock goes with the page's;
 * `lookAway(true)` is another tab.
 */
function instruments() {
  Object.assign(window, { attempts: [], heardAt: 0, hidden: false });
  window.WebSocket = class WebSocket extends window.WebSocket {
    constructor(...given) {
      super(...given);
      attempts.push({ by: new.target.name, at: Date.now() });
    }
    set onmessage(hear) {
      const now = () => `"unix_s":${Math.floor(Date.now() / 1000)}`;
      super.onmessage =
        hear &&
        (({ data }) => {
          heardAt = Date.now();
          hear({ data: data.replace(/"unix_s":\d+/, now) });
        });
    }
  };
  Object.defineProperty(document, "hidden", { get: () => hidden });
  window.lookAway = (away) => {
    window.hidden = away;
    document.dispatchEvent(new Event("visibilitychange"));
  };
}

/** The console, its clock in our hands, entered with a token if there is one; `lists` has each request for a list. */
async function watch(t, address, token) {
  const lists = [];
  const prepare = async (page) => {
    await page.clock.install();
    await page.addInitScript(instruments);
    page.on("request", (request) => /\/v1\/(topics|connections)\?/.test(request.url()) && lists.push(request.url()));
  };
  const visited = await visit(t, address, { expected, prepare });
  if (token) {
    await visited.page.fill("#token", token);
    await visited.page.keyboard.press("Enter");
  }
  await shows(visited.page, "#state", /^live$/);
  const devtools = await visited.context.newCDPSession(visited.page);
  return { ...visited, lists, devtools };
}

/** Lets the page's clock run, in steps: what each of them asks of the network is answered before the next. */
async function pass(page, ms, step = 1000) {
  for (let at = 0; at < ms; at += step) {
    await page.clock.runFor(step);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** When the console tried to connect, in milliseconds since then; `by` is the class: `Socket` is that of the panel to try things in. */
const tried = (page, since, by = "WebSocket") =>
  page.evaluate(([since, by]) => attempts.filter((one) => one.by === by && one.at > since).map((one) => one.at - since), [since, by]);

const now = (page) => page.evaluate(() => Date.now());

/** The pieces of the line of connections, of which there always is a number: `[from, to]` in seconds before the newest. */
async function pieces(page) {
  const line = await page.locator(".spark .line").first().getAttribute("d");
  const second = (pair) => Math.round((240 - Number(pair.split(" ")[0])) / (240 / 119));
  return line.split("M").slice(1).map((piece) => [second(piece.split("L")[0]), second(piece.split("L").at(-1))]);
}

/** What the page holds, with its garbage collected. */
async function held(devtools) {
  await devtools.send("HeapProfiler.collectGarbage");
  const [{ nodes, jsEventListeners }, { usedSize }] = [await devtools.send("Memory.getDOMCounters"), await devtools.send("Runtime.getHeapUsage")];
  return { nodes, listeners: jsEventListeners, bytes: usedSize };
}

/** It is there again by itself, and what it shows is new. */
async function isBack(page) {
  await shows(page, "#state", /^live$/);
  await until("the figures are new", async () => (await page.locator("#live[data-old]").count()) === 0);
  const line = () => page.locator(".spark .line").first().getAttribute("d");
  const before = await line();
  await until("the line moves", async () => (await line()) !== before);
}

test("a broker away for ten minutes: said, asked for with patience, and found again", async (t) => {
  const first = await start(t, KEPT);
  const { page, wrong, lists, devtools } = await watch(t, `http://${first.host}/#try`);
  await page.fill("#subscribe [name=filter]", "kept/a");
  await page.getByRole("button", { name: "Subscribe", exact: true }).click();
  await page.locator("#log [data-kind=subscribed]").waitFor();
  await publish(first.host, "kept/a", "before");
  await page.locator("#log [data-kind=message]", { hasText: "before" }).waitFor();
  await page.evaluate(() => (location.hash = "topics"));
  await shows(page, "#topics .count", /^1 topic$/);
  const before = await held(devtools);

  await first.stop();
  const [gone, asked] = [await now(page), lists.length];
  await shows(page, "#state", AWAY);
  await pass(page, 600_000);
  assert.match(await page.locator("#state").innerText(), AWAY);
  assert.equal(await page.locator("#live[data-old]").count(), 1);
  await shows(page, "#topics .notice", /^The broker does not answer\. What is shown may be old\.$/);
  const at = await tried(page, gone);
  const between = at.map((ms, n) => ms - (at[n - 1] ?? 0));
  assert.ok(at.length <= 200, `${at.length} attempts`);
  assert.ok(Math.min(...between) >= 200, `never in a hurry: ${between}`);
  // Chromium holds an attempt back when many have failed, by its own clock: 10 s of ours until it is given up, and 10 s until the next.
  assert.ok(Math.max(...between) <= 21_000, `never idle: ${between}`);
  const panel = await tried(page, gone, "Socket");
  assert.ok(panel.length >= 40 && panel.length <= 600, `${panel.length} attempts of the panel`);
  assert.ok(lists.length - asked <= 220, `${lists.length - asked} lists`);
  t.diagnostic(`${at.length} attempts, at least ${Math.min(...between)} ms apart; ${panel.length} of the panel; ${lists.length - asked} lists`);

  const second = await start(t, KEPT, first.host);
  await pass(page, 12_000);
  await isBack(page);
  assert.ok((await pieces(page)).every(([from]) => from <= 30), `nothing is drawn of what nobody knows: ${await pieces(page)}`);
  await until("the list is of now", async () => (await page.locator("#topics .notice:visible").count()) === 0);
  await page.locator("#log li", { hasText: "back, not recovered" }).waitFor({ state: "attached" });
  await publish(second.host, "kept/a", "after");
  await page.locator("#log [data-kind=message]", { hasText: "after" }).waitFor({ state: "attached" });
  assert.equal(await page.locator("#log [data-kind=message]").count(), 2, "what was heard before is still there");
  const after = await held(devtools);
  t.diagnostic(`held before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`);
  assert.ok(after.nodes - before.nodes <= 300 && after.listeners - before.listeners <= 30, JSON.stringify([before, after]));
  assert.ok(after.bytes - before.bytes <= 2_000_000, JSON.stringify([before, after]));
  assert.deepEqual(wrong, []);
});

test("half a minute without a broker is a hole in the lines, as wide as it was long", async (t) => {
  const { port } = await start(t);
  const way = await proxy(t, port);
  const { page, wrong } = await watch(t, `http://${way.host}/`);
  await until("a line", async () => (await pieces(page)).some(([from, to]) => from > to));
  way.cut();
  await shows(page, "#state", AWAY);
  await pass(page, 30_000);
  way.mend();
  await pass(page, 12_000);
  await isBack(page);
  const drawn = await pieces(page);
  const holes = drawn.slice(1).map(([from], n) => drawn[n][1] - from);
  assert.ok(Math.max(...holes) >= 30 && Math.max(...holes) <= 60, `${drawn}`);
  assert.deepEqual(wrong, []);
});

test("a page that slept for an hour while its connection was cut wakes up without a rush", async (t) => {
  const { host, port } = await start(t, KEPT);
  await publish(host, "kept/a", 1);
  const way = await proxy(t, port);
  const { page, wrong, lists, devtools } = await watch(t, `http://${way.host}/#topics`);
  await shows(page, "#topics .count", /^1 topic$/);
  const before = await held(devtools);
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  way.cut();
  const [asleep, asked] = [await now(page), lists.length];
  await page.clock.fastForward(HOUR);
  way.mend();
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await pass(page, 12_000);
  await isBack(page);
  const attempts = await tried(page, asleep);
  assert.ok(attempts.length >= 1 && attempts.length <= 5, `${attempts} ms`);
  assert.ok(lists.length - asked <= 8, `${lists.length - asked} lists for an hour's timers`);
  assert.ok((await pieces(page)).every(([from]) => from <= 30), `${await pieces(page)}`);
  const rate = page.locator("#topics tbody td").nth(1);
  await until("the rate is one of now", async () => (await rate.innerText()) === "0/s");
  assert.ok((await held(devtools)).nodes - before.nodes <= 300);
  assert.deepEqual(wrong, []);
});

test("a page that slept while its connection died without a word finds out, and says so", async (t) => {
  const { port } = await start(t);
  const way = await proxy(t, port);
  const { page, wrong } = await watch(t, `http://${way.host}/`);
  way.hold(true);
  const asleep = await now(page);
  await page.clock.fastForward(HOUR);
  await shows(page, "#state", /^connected, but the broker reports nothing$/);
  assert.equal(await page.locator("#live[data-old]").count(), 1);
  await pass(page, 25_000);
  assert.match(await page.locator("#state").innerText(), AWAY);
  const attempts = await tried(page, asleep);
  assert.ok(attempts.length >= 1 && attempts.length <= 5, `${attempts} ms`);
  way.hold(false);
  await pass(page, 12_000);
  await isBack(page);
  assert.deepEqual(wrong, []);
});

test("a page whose token ended while it slept shows nothing any more, and asks for one", async (t) => {
  const { toml, token } = signer(t);
  const { port } = await start(t, toml);
  const way = await proxy(t, port);
  const { page, wrong, devtools } = await watch(t, `http://${way.host}/`, token("6s"));
  const signed = Date.now();
  await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
  way.cut();
  await page.clock.fastForward(HOUR);
  await until("it has ended", () => Date.now() - signed > 6000);
  way.mend();
  await devtools.send("Page.setWebLifecycleState", { state: "active" });
  await pass(page, 12_000);
  await shows(page, "#gate-error", /expired/);
  assert.equal(await page.locator(".view:visible, nav:visible").count(), 0);
  assert.equal(await page.evaluate(() => document.querySelectorAll("#tiles *, #shards *, .list tbody tr").length + sessionStorage.length), 0);
  assert.deepEqual(wrong, []);
});

test("an hour in the background: nothing is asked or drawn, nothing is lost, and it is all new when it is looked at", async (t) => {
  const { host } = await start(t, KEPT);
  await publish(host, "kept/a", 1);
  const { page, wrong, lists, devtools } = await watch(t, `http://${host}/#topics`);
  await shows(page, "#topics .count", /^1 topic$/);
  const before = await held(devtools);
  await page.evaluate(() => lookAway(true));
  await until("the last list came", () => page.evaluate(() => performance.getEntriesByType("resource").every((one) => one.responseEnd > 0)));
  const [asked, drawn] = [lists.length, await page.locator("#tiles").innerHTML()];
  // There timers come once a minute (Chromium's intensive throttling), messages as ever.
  for (let minute = 0; minute < 60; minute++) {
    await page.clock.fastForward(60_000);
    await until("something is heard", () => page.evaluate(() => Date.now() - heardAt < 30_000));
  }
  assert.equal(lists.length, asked, "no list");
  assert.equal(await page.locator("#tiles").innerHTML(), drawn, "nothing is drawn");
  assert.equal((await tried(page, 0)).length, 1, "one connection");
  await publish(host, "kept/b", 1);
  await page.evaluate(() => lookAway(false));
  await shows(page, "#topics .count", /^2 topics$/);
  await isBack(page);
  assert.ok((await held(devtools)).nodes - before.nodes <= 300);
  assert.deepEqual(wrong, []);
});
