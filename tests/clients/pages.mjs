// The broker's own pages, each visit in a new profile of one headless Chromium, and all that goes wrong in them. A suite that imports it has the browser
// from its first test to its last.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { PATIENCE, directory, until } from "./broker.mjs";

let browser;

before(async () => {
  const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"];
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args });
});

after(() => browser?.close());

/**
 * A page of that address, and what went wrong in it: errors, warnings, violations of its policy. A request that is meant to be refused,
 * or finds no broker, is told by the browser as an error of its own; `expected` says which of them are. `prepare` is called with the page
 * while it is empty.
 */
export async function visit(t, address, { expected = /^$/, prepare = () => {}, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(PATIENCE);
  await context.addInitScript(() => addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`)));
  const page = await context.newPage();
  const wrong = [];
  page.on("pageerror", (error) => wrong.push(error.message));
  page.on("console", (line) => ["error", "warning"].includes(line.type()) && !expected.test(line.text()) && wrong.push(line.text()));
  await prepare(page);
  const answer = await page.goto(address);
  const policy = answer.headers()["content-security-policy"];
  assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
  return { page, wrong, context };
}

/** Waits until the text of the first such element is as wanted. */
export const shows = (page, selector, wanted) => until(`${selector} shows ${wanted}`, async () => wanted.test(await page.locator(selector).first().innerText().catch(() => "")));

/** `[auth]` with a key that signs, and `token(ttl)`, an operator's for so long. */
export function signer(t) {
  const at = directory(t);
  const [secret, file] = [join(at, "secret"), join(at, "wirefan.toml")];
  writeFileSync(secret, "c2VjcmV0".repeat(12), { mode: 0o600 });
  const toml = `[auth]\nkeys = [{ alg = "HS256", secret_file = "${secret}" }]\nleeway_s = 0\n`;
  writeFileSync(file, toml);
  const token = (ttl) => execFileSync(process.env.WIREFAN, ["token", "--config", file, "--user", "root", "--operate", "--ttl", ttl], { encoding: "utf8" }).trim();
  return { toml, token };
}
