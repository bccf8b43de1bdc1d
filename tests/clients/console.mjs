// The broker's own pages in headless Chromium, as a person would use them: the console at `/` and the demo chat.
// `tests/clients/run browser` runs it. Each test has a broker of its own; none may write an error to the console or break its policy.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KEPT, directory, proxy, publish, start, until } from "./broker.mjs";
import { shows, signer, visit } from "./pages.mjs";

const CHAT = readFileSync(new URL("../../config/chat.toml", import.meta.url), "utf8").replace(/^\[server\]\nlisten.*\n/m, "");

const text = (page, selector) => page.locator(selector).first().innerText();
const open = (page, name) => page.getByRole("navigation", { name: "Views" }).getByRole("link", { name }).click();

/** `[auth]` with one operator's key and one of somebody else. */
function guarded(t) {
  const made = (name, ...flags) => execFileSync(process.env.WIREFAN, ["token", "--api-key", name, ...flags], { encoding: "utf8" }).split("\n");
  const [[root, rootLine], [ann, annLine]] = [made("root", "--operate"), made("ann")];
  const file = join(directory(t), "api_keys");
  writeFileSync(file, `${rootLine}\n${annLine}\n`, { mode: 0o600 });
  return { root, ann, toml: `[auth]\napi_keys_file = "${file}"\n${KEPT}` };
}

test("the figures move, and are kept in bounds", async (t) => {
  const { host } = await start(t);
  const { page, wrong } = await visit(t, `http://${host}/`);
  await shows(page, "#state", /^live$/);
  assert.equal(await page.locator("#tiles .tile").count(), 8);
  const astray = "dl > :not(div), dl > div > :not(dt, dd), :is(ol, ul)[role], :is(ol, ul) > :not(li)";
  assert.equal(await page.locator(astray).count(), 0, "lists are lists to who hears the page");
  assert.equal(await page.locator("#shards tbody tr").count(), 2);
  const published = page.locator(".tile", { hasText: "Publications" }).locator(".small");
  const [before, line] = [await published.innerText(), await page.locator(".spark .line").first().getAttribute("d")];
  const box = await page.locator("#shards").boundingBox();
  for (let n = 0; n < 20; n++) await publish(host, "a", n);
  await until("they are counted", async () => (await published.innerText()) !== before);
  await until("the line moved", async () => (await page.locator(".spark .line").first().getAttribute("d")) !== line);
  assert.deepEqual(await page.locator("#shards").boundingBox(), box, "nothing moves as figures change");
  const bounded = await page.evaluate(async () => {
    const { Ring } = await import("/console/figures.js");
    const ring = new Ring();
    for (let n = 0; n < 3600; n++) ring.push(n);
    return [[...ring].length, [...ring][0], ring.last];
  });
  assert.deepEqual(bounded, [120, 3480, 3599]);
  assert.deepEqual(wrong, []);
});

test("a topic is explored: found by a filter, its history and its members; what strangers publish is text", async (t) => {
  const { host } = await start(t, KEPT + '[[rule]]\nfilter = "room/#"\nhistory = { count = 10, age = "1h" }\npresence = true\n');
  const evil = "<img src=x onerror=alert(1)>";
  await publish(host, "room/1", { text: evil });
  await publish(host, encodeURIComponent(`kept/${evil}`), 1);
  await publish(host, "bare", 1);
  const { page, wrong } = await visit(t, `http://${host}/#topics`);
  await shows(page, "#topics .count", /^3 topics$/);
  assert.equal(await page.locator("#topics img, dialog img").count(), 0);
  await page.fill("#topics [name=filter]", "room/#");
  await page.keyboard.press("Enter");
  await shows(page, "#topics .count", /^1 topic$/);
  await page.evaluate(async () => {
    const { Wirefan } = await import("/client.js");
    await new Wirefan("/").subscribe("room/1", () => {}).ready;
  });
  await page.getByRole("button", { name: "room/1" }).press("Enter");
  await shows(page, "#topic-history .data", /<img src=x/);
  await shows(page, "#topic-members-note", /^1 connection, /);
  assert.equal(await page.locator("#topic-members li").count(), 1);
  await page.keyboard.press("Escape");
  await until("it is shut", async () => !(await page.locator("#topic").isVisible()));
  await page.getByRole("columnheader", { name: "Subscribers" }).getByRole("button").click();
  assert.equal(await page.getByRole("columnheader", { name: "Subscribers" }).getAttribute("aria-sort"), "descending");
  assert.deepEqual(wrong, []);
});

test("10,000 topics stay usable", async (t) => {
  const { host } = await start(t, KEPT);
  for (let from = 0; from < 10_000; from += 500) {
    const batch = Array.from({ length: 500 }, (_, n) => ({ topic: `kept/many/${from + n}`, data: from + n }));
    const answer = await fetch(`http://${host}/v1/batch`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(batch) });
    assert.equal(answer.status, 200);
  }
  const { page, wrong } = await visit(t, `http://${host}/#topics`);
  await shows(page, "#topics .count", /^10,000 topics$/);
  assert.equal(await page.locator("#topics tbody tr").count(), 100);
  await page.locator("#topics [data-step='1']").click();
  await shows(page, "#topics .pager span", /^101 to 200$/);
  const took = await page.evaluate(() => {
    const field = document.querySelector("#topics [name=contains]");
    const began = performance.now();
    field.value = "many/9999";
    field.dispatchEvent(new Event("input"));
    return performance.now() - began;
  });
  await shows(page, "#topics .count", /^1 of 10,000 topics$/);
  t.diagnostic(`searched and drawn in ${took.toFixed(0)} ms`);
  assert.ok(took < 1000, `${took} ms`);
  assert.deepEqual(wrong, []);
});

test("subscribe, publish, see it with its position; a lost connection is recovered", async (t) => {
  const { host } = await start(t, KEPT);
  const { page, wrong } = await visit(t, `http://${host}/`);
  await open(page, "Try it");
  for (const form of ["#subscribe [name=filter]", "#publish [name=topic]"]) await page.fill(form, "kept/a");
  for (const transport of ["websocket", "sse", "poll"]) {
    await page.locator("#clear").click();
    await page.selectOption("#subscribe [name=transport]", transport);
    await page.getByRole("button", { name: "Subscribe", exact: true }).click();
    await page.locator("#log [data-kind=subscribed]").first().waitFor();
    await page.getByRole("button", { name: "Publish" }).click();
    await page.locator("#log [data-kind=message]", { hasText: '{"text":"hi"}' }).waitFor();
    const position = await text(page, "#publish output");
    assert.match(position, /^[0-9a-f]{8}:\d+$/);
    assert.equal(await text(page, "#log [data-kind=message] .position"), position);
    await page.getByRole("button", { name: "Cut" }).click();
    await until("what was missed", async () => (await page.locator("#log [data-kind=message]", { hasText: '"missed"' }).count()) === 3);
    if (transport !== "poll") await page.locator("#log [data-kind=subscribed]", { hasText: "back" }).waitFor();
    assert.equal(await page.locator("#log [data-kind=message]").count(), 4, "nothing came twice");
    await page.getByRole("button", { name: "Unsubscribe" }).click();
    await page.locator("#log [data-kind=state]", { hasText: "unsubscribed" }).waitFor();
  }
  assert.deepEqual(wrong, []);
});

test("a filter with wildcards is told apart from a topic without a past", async (t) => {
  const { host } = await start(t, KEPT);
  const { page, wrong } = await visit(t, `http://${host}/#try`);
  const says = (kind, words) => page.locator(`#log [data-kind=${kind}]`, { hasText: words }).waitFor();
  for (const [filter, last, why] of [["kept/#", "3", "a filter with wildcards has no position"], ["bare", "0", "the topic keeps no history"]]) {
    await page.fill("#subscribe [name=filter]", filter);
    await page.fill("#subscribe [name=last]", last);
    await page.getByRole("button", { name: "Subscribe", exact: true }).click();
    await says("subscribed", "subscribed");
    if (last > 0) await says("state", "without the last 3: they are for a topic");
    await page.fill("#publish [name=topic]", filter.replace("#", "a"));
    await page.getByRole("button", { name: "Cut" }).click();
    await says("error", why);
    await page.locator("#clear").click();
  }
  assert.deepEqual(wrong, []);
});

test("with [auth] nothing is shown without a token that says `operate`; an operator ends a connection", async (t) => {
  const { root, ann, toml } = guarded(t);
  const { host } = await start(t, toml);
  const { page, wrong } = await visit(t, `http://${host}/#connections`, { expected: /status of 40[13]/ });
  await page.getByRole("heading", { name: "This broker asks who you are" }).waitFor();
  const refused = [["nonsense", /^Refused: /], ["日本", /no token/], [ann, /operate/], [`${root}\u200b`, /no token/]];
  for (const [token, reason] of refused) {
    await page.fill("#token", token);
    await page.keyboard.press("Enter");
    await shows(page, "#gate-error", reason);
    assert.equal(await page.locator(".view:visible, nav:visible").count(), 0);
    assert.equal(await page.evaluate(() => document.querySelectorAll("#tiles *, #shards *, .list tbody tr").length), 0);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, "a refused token is not kept");
    await until("it may be tried again", () => page.locator("#gate button").isEnabled());
  }
  await page.fill("#token", ` ${root} `);
  await page.keyboard.press("Enter");
  await shows(page, "#state", /^live$/);
  assert.ok(!page.url().includes(root) && !(await page.content()).includes(root));
  const victim = await page.evaluate(
    (token) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://${location.host}/ws`, ["wirefan.v1", `bearer.${token}`]);
        socket.onmessage = ({ data }) => resolve(JSON.parse(data).client);
        socket.onclose = ({ code }) => (window.ended = code);
      }),
    ann,
  );
  await page.getByRole("button", { name: `End ${victim}` }).click();
  await shows(page, "#ending-about", new RegExp(`^${victim}, websocket, ann$`));
  await page.getByRole("button", { name: "End it" }).click();
  await until("it is closed", () => page.evaluate(() => window.ended === 4503));
  await until("it is gone from the list", async () => (await page.getByRole("button", { name: `End ${victim}` }).count()) === 0);
  await page.reload();
  await shows(page, "#state", /^live$/);
  await page.getByRole("button", { name: "Forget token" }).click();
  await page.getByRole("heading", { name: "This broker asks who you are" }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(wrong, []);
});

test("when the token ends nothing is left of what was shown, and it is asked for again", async (t) => {
  const { toml, token } = signer(t);
  const { host } = await start(t, toml);
  const { page, wrong } = await visit(t, `http://${host}/`, { expected: /status of 40[13]/ });
  await page.fill("#token", token("6s"));
  await page.keyboard.press("Enter");
  await shows(page, "#state", /^live$/);
  await shows(page, "#gate-error", /expired/);
  assert.equal(await page.locator(".view:visible, nav:visible").count(), 0);
  assert.equal(await page.evaluate(() => document.querySelectorAll("#tiles *, #shards *, .list tbody tr").length), 0);
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(wrong, []);
});

test("the log of what happens is bounded, however much comes", async (t) => {
  const { host } = await start(t, KEPT);
  const { page, wrong } = await visit(t, `http://${host}/#try`);
  await page.fill("#subscribe [name=filter]", "kept/#");
  await page.getByRole("button", { name: "Subscribe", exact: true }).click();
  await page.locator("#log [data-kind=subscribed]").waitFor();
  const batch = JSON.stringify(Array.from({ length: 1000 }, (_, n) => ({ topic: "kept/a", data: n })));
  for (let n = 0; n < 3; n++) await fetch(`http://${host}/v1/batch`, { method: "POST", headers: { "Content-Type": "application/json" }, body: batch });
  await shows(page, "#log-count", /^3,000 messages$/);
  assert.equal(await page.locator("#log li").count(), 200);
  assert.equal(await page.locator("#log li .data").last().innerText(), "999");
  assert.deepEqual(wrong, []);
});

test("where the lists and the figures are not for everybody, a sentence says so", async (t) => {
  const { host } = await start(t, '[metrics]\nallow_anonymous = "never"\n');
  const { page, wrong } = await visit(t, `http://${host}/`, { expected: /status of 403/ });
  await shows(page, "#live-note", /not for everybody here/);
  for (const name of ["Topics", "Connections"]) {
    await open(page, name);
    await shows(page, `#${name.toLowerCase()} .notice`, /not for everybody here.*\[auth\]/);
    assert.equal(await page.locator(`#${name.toLowerCase()} table:visible`).count(), 0);
  }
  assert.deepEqual(wrong, []);
});

test("a broker that goes away is missed, and found again", async (t) => {
  const first = await start(t);
  const way = await proxy(t, first.port);
  const { page, wrong } = await visit(t, `http://${way.host}/`, { expected: /ERR_|WebSocket connection/ });
  await shows(page, "#state", /^live$/);
  way.cut();
  await first.stop();
  await shows(page, "#state", /^no connection since \d\d:\d\d:\d\d, trying again$/);
  assert.equal(await page.locator("#live[data-old]").count(), 1);
  const second = await start(t);
  way.mend(second.port);
  await shows(page, "#state", /^live$/);
  await until("the figures are new", async () => (await page.locator("#live[data-old]").count()) === 0);
  assert.deepEqual(wrong, []);
});

test("on a phone nothing but tables is wider than the screen", async (t) => {
  const { host } = await start(t, CHAT);
  const { page, wrong } = await visit(t, `http://${host}/`, { viewport: { width: 360, height: 740 } });
  await shows(page, "#state", /^live$/);
  const fits = async (what) => assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, what);
  for (const name of ["Live", "Topics", "Connections", "Try it"]) {
    await open(page, name);
    await fits(name);
  }
  await page.goto(`http://${host}/demo/chat`);
  await shows(page, "#here", /^1 here$/);
  await fits("chat");
  assert.deepEqual(wrong, []);
});

test("nothing moves while a page loads on a phone, however late its scripts come", async (t) => {
  const brokers = { open: await start(t, CHAT), bare: await start(t), guarded: await start(t, guarded(t).toml) };
  const loads = [
    ["open", "/", "#tiles .number", /\d/],
    ["open", "/#topics", "#topics .count", /topics?$/],
    ["open", "/#connections", "#connections .count", /connections?$/],
    ["open", "/#try", "#try:not([hidden]) h2", /./],
    ["guarded", "/", "#gate:not([hidden]) h2", /./],
    ["open", "/demo/chat", "#here", /^1 here$/],
    ["bare", "/demo/chat", "#log .note", /^No rule/],
    ["guarded", "/demo/chat", "#enter:not([hidden])", /token/],
  ];
  for (const [broker, path, selector, wanted] of loads) {
    const prepare = async (page) => {
      await page.addInitScript(() => {
        window.shifts = [];
        const name = ({ node }) => node?.id || node?.className || node?.nodeName;
        new PerformanceObserver((list) => {
          for (const { value, sources } of list.getEntries()) shifts.push({ value, what: sources.map(name) });
        }).observe({ type: "layout-shift", buffered: true });
      });
      await page.route("**/*.js", async (route) => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        await route.continue();
      });
    };
    const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
    const { page, wrong } = await visit(t, `http://${brokers[broker].host}${path}`, { expected: /status of 401/, prepare, ...phone });
    await shows(page, selector, wanted);
    await new Promise((resolve) => setTimeout(resolve, 300)); // what comes late
    const shifts = await page.evaluate(() => shifts);
    const sum = shifts.reduce((sum, { value }) => sum + value, 0);
    t.diagnostic(`${broker} ${path}: ${sum.toFixed(3)}`);
    assert.ok(sum < 0.01, `${broker} ${path}: ${JSON.stringify(shifts)}`);
    assert.deepEqual(wrong, []);
  }
});

test("two chat: history, who is there, who is typing, and a restart of the broker", async (t) => {
  const first = await start(t, CHAT);
  const way = await proxy(t, first.port);
  const expected = /ERR_|WebSocket connection/;
  const enter = async (name) => {
    const visited = await visit(t, `http://${way.host}/demo/chat#kitchen`, { expected });
    await visited.page.fill("#say [name=name]", name);
    return visited;
  };
  const say = async ({ page }, words) => {
    await page.fill("#say [name=text]", words);
    await page.keyboard.press("Enter");
  };
  const hears = ({ page }, words) => page.locator("#log li:not(.pending)", { hasText: words }).waitFor();
  const ann = await enter("ann");
  await shows(ann.page, "#here", /^1 here$/);
  await say(ann, "is there coffee left?");
  const bob = await enter("bob");
  await hears(bob, "is there coffee left?");
  await shows(ann.page, "#here", /^2 here$/);
  await bob.page.fill("#say [name=text]", "<b>half");
  await shows(ann.page, "#typing", /^bob is typing …$/);
  await say(bob, "<b>half a pot");
  await hears(ann, "<b>half a pot");
  await shows(ann.page, "#typing", /^$/);
  await ann.page.getByRole("link", { name: "library" }).click();
  await shows(bob.page, "#here", /^1 here$/);
  await ann.page.getByRole("link", { name: "kitchen" }).click();
  await hears(ann, "is there coffee left?");

  way.cut();
  await first.stop();
  await shows(ann.page, "#state", /away/);
  await say(ann, "said while it was away");
  await ann.page.locator("#log .pending").waitFor();
  const second = await start(t, CHAT);
  way.mend(second.port);
  await hears(bob, "said while it was away");
  await hears(ann, "said while it was away");
  await shows(bob.page, "#here", /^2 here$/);
  await say(bob, "still here");
  await hears(ann, "still here");
  assert.equal(await ann.page.locator("#log li", { hasText: "said while it was away" }).count(), 1);
  assert.deepEqual([ann.wrong, bob.wrong], [[], []]);
});

test("what was said to a new broker before the chat came back is shown before what came live", async (t) => {
  const first = await start(t, CHAT);
  const way = await proxy(t, first.port);
  const { page, wrong } = await visit(t, `http://${way.host}/demo/chat#kitchen`, { expected: /ERR_|WebSocket connection/ });
  const shown = () => page.$$eval("#log [data-position]", (all) => all.map((one) => one.childNodes[1].textContent).join());
  const say = async (words) => {
    await page.fill("#say [name=text]", words);
    await page.keyboard.press("Enter");
  };
  await say("before");
  await until("it is said", async () => (await shown()) === "before");
  way.cut();
  await first.stop();
  await shows(page, "#state", /away/);
  await say("mine");
  await page.locator("#log .pending").waitFor();
  const second = await start(t, CHAT);
  const others = Array.from({ length: 11 }, (_, n) => `other ${n + 1}`); // by their text 10 would be before 2
  for (const text of others) await publish(second.host, "demo/chat/kitchen", { name: "bob", text });
  way.mend(second.port);
  await until("all are shown in their order", async () => (await shown()) === ["before", ...others, "mine"].join());
  await say("after");
  await until("the next is the last", async () => (await shown()).endsWith("mine,after"));
  assert.deepEqual(wrong, []);
});

test("the chat keeps a token once it was accepted, and asks again for one that was not", async (t) => {
  const { root, toml } = guarded(t);
  const { host } = await start(t, toml);
  const { page, wrong } = await visit(t, `http://${host}/demo/chat`, { expected: /status of 401|WebSocket connection/ });
  const asks = () => page.locator("#enter").waitFor();
  const kept = () => page.evaluate(() => sessionStorage.length);
  await asks();
  for (const [token, reason] of [["日本", /not a token/], ["nonsense", /is shut/]]) {
    await page.fill("#enter input", token);
    await page.keyboard.press("Enter");
    await page.locator("#log .note", { hasText: reason }).waitFor();
    await asks();
    assert.equal(await kept(), 0, "a refused token is not kept");
    await page.reload();
    await asks();
  }
  await page.fill("#enter input", ` ${root} `);
  await page.keyboard.press("Enter");
  await page.locator("#say").waitFor();
  await until("it is kept", async () => (await kept()) === 1);
  await page.reload();
  await shows(page, "#state", /^connected$/);
  assert.ok(await page.locator("#say").isVisible());
  assert.deepEqual(wrong, []);
});

test("without a rule for it the chat says what is missing, and works", async (t) => {
  const { host } = await start(t);
  const { page, wrong } = await visit(t, `http://${host}/demo/chat`);
  await page.locator("#log .note", { hasText: "No rule" }).waitFor();
  await page.fill("#say [name=text]", "hi");
  await page.keyboard.press("Enter");
  await page.locator("#log [data-position]", { hasText: "hi" }).waitFor();
  assert.deepEqual(wrong, []);
});
