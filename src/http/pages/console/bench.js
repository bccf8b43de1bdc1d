// The panel to try things in: a client of its own by any door, its subscription, publications, and a connection that can be lost on purpose.
//
// The log holds the last entries only and is written ten times a second, however fast messages come.

import { $, clock, el, excerpt, several, write } from "./dom.js";
import { broker } from "./broker.js";

const ENTRIES_MAX = 200;
const WRITE_MS = 100;
/** Long enough for what is published meanwhile to be missed. */
const BACKOFF_MS = [1000, 3000];

export class Bench {
  #subscribe = $("#subscribe");
  #publish = $("#publish");
  #cut = $("#cut");
  #log = $("#log");
  #client;
  #transport;
  #subscription;
  #sockets = new Set();
  #line = new AbortController();
  #pending = [];
  #heard = 0;
  #writing = false;

  constructor() {
    const on = (form, run) =>
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        run(form.elements).catch((error) => this.#say("error", "", "", error.message));
      });
    on(this.#subscribe, (fields) => this.#begin(fields));
    on(this.#publish, (fields) => this.#send(fields));
    on(this.#cut, (fields) => this.#lose(fields));
    this.#subscribe.elements.leave.addEventListener("click", () => this.#end());
    $("#clear").addEventListener("click", () => {
      this.#pending = [];
      this.#heard = 0;
      this.#log.replaceChildren();
      write($("#log-count"), "");
    });
  }

  /** Fills in a topic, from the explorer. */
  take(topic) {
    this.#subscribe.elements.filter.value = topic;
    this.#publish.elements.topic.value = topic;
    this.#subscribe.elements.filter.focus();
  }

  /** The client, by that door. */
  #connect(transport) {
    if (this.#client?.state !== "closed" && this.#client && this.#transport === transport) return this.#client;
    this.#client?.close();
    const sockets = this.#sockets;
    class Socket extends WebSocket {
      constructor(url, protocols) {
        super(url, protocols);
        sockets.add(this);
        this.addEventListener("close", () => sockets.delete(this));
      }
    }
    const fetched = (url, init) => fetch(url, { ...init, signal: AbortSignal.any([init.signal, this.#line.signal]) });
    const client = broker.connect({ transports: [transport], backoffMs: BACKOFF_MS, WebSocket: Socket, fetch: fetched });
    let unreachable = false;
    client.on("state", ({ state, transport, retryMs, error }) => {
      // Said once: the attempts of ten minutes would push out all that was heard.
      if (unreachable && (state === "connecting" || state === "waiting")) return;
      unreachable = error?.code === "unreachable";
      const when = unreachable ? ", trying again" : retryMs === undefined ? "" : `, again in ${(retryMs / 1000).toFixed(1)} s`;
      this.#say("state", "", "", `${state}${transport ? ` by ${transport}` : ""}${when}${error ? `: ${error.message || `code ${error.code}`}` : ""}`);
    });
    client.on("error", (error) => error.code === "unreachable" || this.#say("error", "", "", `${error.code}: ${error.message}`));
    [this.#client, this.#transport] = [client, transport];
    return client;
  }

  async #begin({ filter, last, transport }) {
    this.#end();
    const wanted = filter.value.trim();
    const kept = Number(last.value);
    const wild = /(^|\/)[+#](\/|$)/.test(wanted);
    const hear = ({ topic, position, from, data }) => this.#say("message", topic, position, `${from ? `${from}: ` : ""}${excerpt(data, 1000)}`);
    const subscription = this.#connect(transport.value).subscribe(wanted, hear, kept && !wild ? { last: kept } : {});
    this.#subscription = subscription;
    this.#enable(true);
    if (kept && wild) this.#say("state", wanted, "", `without the last ${kept}: they are for a topic, not for a filter with wildcards`);
    subscription.on("subscribed", ({ position, recovered }) => {
      const why = wild ? "a filter with wildcards has no position to go on from" : "the topic keeps no history, or not enough";
      const what = { true: "back: all that was missed follows", false: `back, not recovered: ${why}`, undefined: "subscribed" };
      this.#say(recovered === false ? "error" : "subscribed", wanted, position ?? "", what[recovered]);
    });
    subscription.on("gap", ({ topic, missed, position }) => this.#say("gap", topic, position ?? "", `${missed ?? "nobody knows how many"} missed`));
    subscription.on("end", (error) => {
      if (this.#subscription !== subscription) return;
      this.#enable(false);
      this.#subscription = undefined;
      if (error) this.#say("error", wanted, "", `${error.code}: ${error.message}`);
    });
    await subscription.ready.catch(() => {}); // `end` tells
  }

  #end() {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    this.#enable(false);
    if (!subscription) return;
    subscription.unsubscribe();
    this.#say("state", subscription.filter, "", "unsubscribed");
  }

  #enable(subscribed) {
    this.#subscribe.elements.leave.disabled = !subscribed;
    $("button", this.#cut).disabled = !subscribed;
  }

  async #send({ topic, data, position }) {
    let value = data.value;
    try {
      value = JSON.parse(value);
    } catch {
      // it is text
    }
    write(position, "…");
    // What is subscribed stays so, whatever door was chosen since.
    const client = this.#subscription ? this.#client : this.#connect(this.#subscribe.elements.transport.value);
    try {
      const answered = await client.publish(topic.value.trim(), value, { signal: AbortSignal.timeout(10_000) });
      write(position, answered);
    } catch (error) {
      write(position, "");
      throw error.name === "TimeoutError" ? new Error("nothing was answered within 10 s: it may be published or not") : error;
    }
  }

  async #lose({ meanwhile }) {
    const topic = this.#publish.elements.topic.value.trim();
    this.#say("cut", "", "", "the connection is lost");
    for (const socket of this.#sockets) socket.close(3000, "cut on purpose");
    this.#line.abort();
    this.#line = new AbortController();
    if (!meanwhile.checked) return;
    for (const n of [1, 2, 3]) {
      const { status, body, problem } = await broker.ask("publish", { topic }, "POST", { missed: n });
      if (status !== 200) throw new Error(problem);
      this.#say("outside", topic, body.position, `published {"missed":${n}} while it was away`);
    }
  }

  /** Notes an entry, to be written soon. */
  #say(kind, topic, position, text) {
    if (kind === "message") this.#heard++;
    this.#pending.push([clock(), kind, topic, position, text]);
    if (this.#pending.length > ENTRIES_MAX) this.#pending.shift();
    if (this.#writing) return;
    this.#writing = true;
    setTimeout(() => this.#write(), WRITE_MS);
  }

  #write() {
    const [log, entries] = [this.#log, this.#pending];
    [this.#pending, this.#writing] = [[], false];
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    // Nobody can listen to that.
    log.setAttribute("aria-live", entries.length > 5 ? "off" : "polite");
    log.append(
      ...entries.map(([at, kind, topic, position, text]) =>
        el("li", { "data-kind": kind },
          el("span", { class: "at" }, at), el("span", { class: "kind" }, kind), el("span", { class: "where" }, el("span", {}, topic), " ", el("span", { class: "position" }, position)), el("span", { class: "data" }, text)),
      ),
    );
    while (log.children.length > ENTRIES_MAX) log.firstChild.remove();
    write($("#log-count"), this.#heard ? several(this.#heard, "message") : "");
    if (atEnd) log.scrollTop = log.scrollHeight;
  }
}
