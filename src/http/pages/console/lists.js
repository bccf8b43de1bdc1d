// The explorer of topics, and the connections: what the two lists show, and what can be done with a row of them.

import { $, bytes, closable, count, duration, el, excerpt, several, together, write } from "./dom.js";
import { broker } from "./broker.js";
import { List } from "./list.js";

const HISTORY = 50;
const MEMBERS = 100;

const offsetOf = (position) => Number(position?.split(":")[1] ?? 0);

/** Publications per second between two lists, by their positions; unknown for a topic that is new, or whose counter is. */
function rate(items, before, elapsedMs) {
  const known = new Map(before.map((item) => [item.topic, item]));
  for (const item of items) {
    const last = known.get(item.topic);
    const same = last?.position && item.position && last.position.split(":")[0] === item.position.split(":")[0];
    item.rate = same ? ((offsetOf(item.position) - offsetOf(last.position)) * 1000) / elapsedMs : null;
  }
}

export class Topics {
  #list;
  #dialog = $("#topic");
  #topic;
  #loadedAt = 0;

  constructor(tryIt) {
    const open = (item, current) => el("button", { type: "button", class: "name", onclick: () => this.#open(current().topic) }, item.topic);
    this.#list = new List($("#topics"), {
      path: "topics",
      name: "topics",
      key: "topic",
      filter: "filter",
      unit: "topic",
      before: (items, former, now) => {
        rate(items, former, now - this.#loadedAt);
        this.#loadedAt = now;
      },
      columns: [
        { name: "Topic", plain: true, fixed: true, value: (item) => item.topic, cell: open },
        { name: "Rate", value: (item) => item.rate ?? -1, cell: (item) => (item.rate === null ? "–" : `${together(count(item.rate))}/s`) },
        { name: "Subscribers", value: (item) => item.subscribers, cell: (item) => together(count(item.subscribers)) },
        { name: "Members", value: (item) => item.presence?.connections ?? -1, cell: (item) => together(count(item.presence?.connections)) },
        { name: "Kept", value: (item) => item.history?.messages ?? -1, cell: (item) => together(count(item.history?.messages)) },
        { name: "Memory", value: (item) => item.history?.bytes ?? -1, cell: (item) => together(bytes(item.history?.bytes)) },
        { name: "Published", value: (item) => offsetOf(item.position), cell: (item) => offsetOf(item.position).toLocaleString("en") },
      ],
    });
    closable(this.#dialog);
    $("#topic-refresh").addEventListener("click", () => this.#open(this.#topic));
    $("#topic-try").addEventListener("click", () => {
      this.#dialog.close();
      tryIt(this.#topic);
    });
  }

  show(shown) {
    this.#list.show(shown);
  }

  async #open(topic) {
    this.#topic = topic;
    write($("#topic-name"), topic);
    write($("#topic-about"), "");
    if (!this.#dialog.open) {
      $("#topic-history").replaceChildren();
      $("#topic-members").replaceChildren();
      for (const part of ["history", "members"]) write($(`#topic-${part}-note`), "asking …");
      this.#dialog.showModal();
    }
    await Promise.all([this.#history(topic), this.#members(topic)]);
  }

  /** What the API answers about a topic, if that is still the one that is shown; else, or if it refuses, says why and is undefined. */
  async #ask(path, query, told) {
    try {
      const { status, body, problem } = await broker.ask(path, query);
      if (query.topic !== this.#topic) return undefined;
      if (status === 200) return body;
      write(told, status === 404 ? "The rule of this topic keeps none." : problem);
    } catch (error) {
      write(told, `${error.message}.`);
    }
    return undefined;
  }

  async #history(topic) {
    const told = $("#topic-history-note");
    const answer = await this.#ask("history", { topic, limit: HISTORY, reverse: true }, told);
    if (!answer) return $("#topic-history").replaceChildren();
    const { messages, position } = answer;
    write($("#topic-about"), `position ${position}`);
    write(told, messages.length ? `The newest ${messages.length}, the newest first.` : "Nothing is kept.");
    const isSigned = messages.some(({ from }) => from !== undefined);
    const row = ({ position, from, data, encoding }) =>
      el("tr", {},
        el("td", { class: "position" }, position), ...(isSigned ? [el("td", {}, from ?? "")] : []), el("td", { class: "data" }, encoding ? `base64 ${excerpt(data)}` : excerpt(data)));
    const heads = ["Position", ...(isSigned ? ["From"] : []), "Data"].map((name) => el("th", { scope: "col" }, name));
    $("#topic-history").replaceChildren(...(messages.length ? [el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...messages.map(row))] : []));
  }

  async #members(topic) {
    const told = $("#topic-members-note");
    const answer = await this.#ask("presence", { topic, limit: MEMBERS }, told);
    if (!answer) return $("#topic-members").replaceChildren();
    const { members, users, connections } = answer;
    write(told, `${several(connections, "connection")}, ${several(users, "user")}${connections > members.length ? `; the first ${members.length}` : ""}`);
    $("#topic-members").replaceChildren(...members.map(({ client, user }) => el("li", {}, user === null ? client : `${user} (${client})`)));
  }
}

export class Connections {
  #list;
  #dialog = $("#ending");
  #client;

  constructor() {
    $("#connections-note").hidden = broker.operates;
    const end = (item, current) => el("button", { type: "button", class: "danger small", onclick: () => this.#ask(current()), "aria-label": `End ${item.client}` }, "End");
    const inOrder = ({ client }) => client.split("-").map((part) => part.padStart(8, "0")).join();
    const columns = [
      { name: "Client", plain: true, value: inOrder, cell: (item) => item.client },
      { name: "User", plain: true, value: (item) => item.user ?? "", cell: (item) => item.user ?? "–" },
      { name: "Transport", plain: true, value: (item) => item.transport, cell: (item) => item.transport },
      { name: "Age", value: (item) => item.age_s, cell: (item) => duration(item.age_s) },
      { name: "Subscriptions", value: (item) => item.subscriptions, cell: (item) => together(count(item.subscriptions)) },
      { name: "Waiting", value: (item) => item.pending_bytes, cell: (item) => together(bytes(item.pending_bytes)) },
    ];
    if (broker.operates) columns.push({ name: "", plain: true, fixed: true, value: (item) => item.client, cell: end });
    this.#list = new List($("#connections"), { path: "connections", name: "connections", key: "client", filter: "user", unit: "connection", columns });
    closable(this.#dialog);
    $("#ending-yes").addEventListener("click", () => this.#end());
  }

  show(shown) {
    this.#list.show(shown);
  }

  #ask({ client, user, transport }) {
    this.#client = client;
    write($("#ending-about"), `${client}, ${transport}, ${user === null ? "nobody known" : user}`);
    write($("#ending-error"), "");
    this.#dialog.showModal();
  }

  async #end() {
    try {
      const { status, problem } = await broker.ask(`connections/${encodeURIComponent(this.#client)}`, {}, "DELETE");
      // Gone already is what was wanted.
      if (status !== 204 && status !== 404) return write($("#ending-error"), problem);
      this.#dialog.close();
    } catch (error) {
      write($("#ending-error"), `${error.message}.`);
    }
    this.#list.load();
  }
}
