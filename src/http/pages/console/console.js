// The console: who may see it, the one connection that feeds the live figures, and which view is shown.
//
// With `[auth]` nothing is built before a token that says `operate` is known to be good. When one stops being good the page is loaded
// anew, so that nothing of what it showed is left.

import { $, clock, note, write } from "./dom.js";
import { broker } from "./broker.js";
import { Bench } from "./bench.js";
import { Figures } from "./figures.js";
import { Connections, Topics } from "./lists.js";

const REASON = "wirefan.console.reason";
/** Without a report for so long the figures are said to be old. */
const SILENCE_MS = 5000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function tell(state, text) {
  $("#state").dataset.state = state;
  write($("#state-text"), text);
}

/** What the broker lets us do; asks until there is one. */
async function enter() {
  for (let ms = 500; ; ms = Math.min(2 * ms, 10_000)) {
    try {
      return await broker.enter();
    } catch (error) {
      tell("away", "no answer from the broker, trying again");
      note($("#live-note"), error.message);
      await sleep(ms * (0.5 + Math.random() / 2));
    }
  }
}

/** Asks for a token until one is good. */
function ask(reason) {
  const [gate, field, bad] = [$("#gate"), $("#token"), $("#gate-error")];
  tell("shut", "not signed in");
  gate.hidden = false;
  write(bad, reason ?? "");
  field.focus();
  return new Promise((resolve) => {
    const form = $("form", gate);
    form.addEventListener("submit", async function submit(event) {
      event.preventDefault();
      const button = $("button", form);
      button.disabled = true;
      broker.token = field.value.trim();
      const { verdict, reason } = await enter();
      button.disabled = false;
      if (verdict === "open") {
        broker.keep(broker.token);
        field.value = "";
        gate.hidden = true;
        form.removeEventListener("submit", submit);
        return resolve();
      }
      broker.keep(undefined);
      tell("shut", "not signed in");
      write(bad, `Refused: ${reason}`);
      field.select();
    });
  });
}

/** Ends what is shown, and asks again. */
function shut(reason) {
  broker.keep(undefined);
  sessionStorage.setItem(REASON, reason);
  location.reload();
}

/** Feeds the figures for as long as the page is there. */
function watch(figures) {
  const client = broker.connect({ transports: ["websocket"] });
  let [since, heard, refused] = [undefined, Date.now(), false];
  const subscription = client.subscribe("$sys/stats", ({ data }) => {
    heard = Date.now();
    tell("open", "live");
    figures.take(data);
  });
  subscription.ready.catch(() => {}); // `end` tells
  subscription.on("end", (error) => {
    refused = true;
    figures.lose();
    if (error?.code === 403)
      note($("#live-note"), `The figures are not for everybody here. The broker says: “${error.message}.”`);
  });
  client.on("state", ({ state, error }) => {
    if (state === "open") {
      [since, heard] = [undefined, Date.now()];
      if (refused) tell("open", "connected");
    } else if (state === "closed") {
      if (broker.token !== undefined && [401, 4001, 4501].includes(error?.code)) return shut(error.message);
      figures.lose();
      tell("away", error?.code === 4503 ? "an operator ended this page's connection: reload to connect again" : `closed: ${error?.message ?? ""}`);
    } else {
      since ??= clock();
      figures.lose();
      tell("away", `no connection since ${since}, trying again`);
    }
  });
  setInterval(() => {
    if (document.hidden || refused || client.state !== "open" || Date.now() - heard < SILENCE_MS) return;
    figures.lose();
    tell("away", "connected, but the broker reports nothing");
  }, 1000);
}

function views(topics, connections) {
  const lists = { topics, connections };
  const show = () => {
    const wanted = location.hash.slice(1);
    const view = ["topics", "connections", "try"].includes(wanted) ? wanted : "live";
    for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== view;
    for (const link of document.querySelectorAll("nav a")) link.ariaCurrent = link.getAttribute("href") === `#${view}` ? "page" : null;
    for (const [name, list] of Object.entries(lists)) list.show(name === view);
    scrollTo(0, 0);
  };
  addEventListener("hashchange", show);
  show();
}

async function main() {
  const told = sessionStorage.getItem(REASON);
  sessionStorage.removeItem(REASON);
  const { verdict, reason } = await enter();
  if (verdict === "token") {
    broker.keep(undefined);
    await ask(reason ?? told);
  }
  note($("#live-note"), undefined);
  $("nav").hidden = false;
  const leave = $("#leave");
  leave.hidden = broker.token === undefined;
  leave.addEventListener("click", () => shut("The token is forgotten."));
  const bench = new Bench();
  const tryIt = (topic) => {
    location.hash = "try";
    bench.take(topic);
  };
  views(new Topics(tryIt), new Connections());
  watch(new Figures());
}

main();
