// A chat on the client: rooms, history, who is there, who is typing. It goes on by itself when the broker was away or was restarted.
// A room is the topic `demo/chat/ROOM`, and `demo/chat/ROOM/typing` tells, without being kept, who writes. config/chat.toml has the rule.

import { Wirefan } from "../client.js";

const SHOWN_MAX = 500;
const TYPING_MS = 3000;
const TOKEN = "wirefan.chat.token"; // for this tab alone, once it was accepted, and never in an address

const $ = (selector) => document.querySelector(selector);
const [log, rooms, say, go, enter] = ["#log", "#rooms", "#say", "#go", "#enter"].map($);
const fields = say.elements;
const typing = new Map(); // name: when it is over
let toldAt = 0; // when we told last that we write
let client, topic, stop; // of the room: its topic, and what ends our part in it

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children); // strings become text, whatever is in them
  return element;
}

/** Shows an entry of the log, the last if it is not said before which. */
function show(entry, before = null) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.insertBefore(entry, before);
  while (log.children.length > SHOWN_MAX) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return entry;
}

const tell = (text) => show(make("li", { className: "note" }, text));

/** The first message shown that was published after this position, if one is. A broker that was restarted counts anew, in an epoch of its own. */
function behind(position) {
  const [epoch, offset] = position.split(":");
  return [...log.querySelectorAll(`[data-position^="${epoch}:"]`)].find((one) => Number(one.dataset.position.split(":")[1]) > Number(offset));
}

function hear({ position, from, data }) {
  const { name, text, at } = data ?? {};
  // Neither what is no message of a chat, nor what came live and is in the history, too.
  if (typeof text !== "string" || log.querySelector(`[data-position="${position}"]`)) return;
  const who = String(from ?? name ?? "somebody").slice(0, 30);
  const time = Math.abs(at) <= 8.64e15 ? new Date(Number(at)).toTimeString().slice(0, 5) : ""; // as far as dates go
  const entry = make("li", {}, make("b", {}, who), text.slice(0, 2000), make("time", {}, time));
  entry.dataset.position = position;
  show(entry, behind(position));
  typing.delete(who);
  showTyping();
}

function hearTyping({ data }) {
  const name = String(data?.name ?? "").slice(0, 30);
  if (!name || name === fields.name.value || typing.size > 50) return;
  typing.set(name, Date.now() + TYPING_MS);
  showTyping();
  setTimeout(showTyping, TYPING_MS + 50);
}

function showTyping() {
  for (const [name, until] of typing) if (until <= Date.now()) typing.delete(name);
  const names = [...typing.keys()].slice(0, 3).join(", ") + (typing.size > 3 ? " and others" : "");
  $("#typing").textContent = names && `${names} ${typing.size > 1 ? "are" : "is"} typing …`;
}

/** Subscribes to the room, and counts who is there: asks once, and then is told. Where the rule knows no presence, without it. */
function listen(topic, signal, presence) {
  const subscription = client.subscribe(topic, hear, { last: 50, presence, signal });
  const whoIs = ({ client, user }) => user ?? client; // a user counts once, a stranger's every connection by itself
  let members, more; // and how many more than an answer has
  const count = () => members && ($("#here").textContent = `${members.size + more} here`);
  const meet = (there) => {
    members = new Set(there.members.map(whoIs));
    more = there.connections - there.members.length;
    count();
  };
  subscription.on("join", (member) => count(members?.add(whoIs(member))));
  subscription.on("leave", (member) => count(members?.delete(whoIs(member))));
  subscription.on("subscribed", ({ recovered }) => {
    if (presence) client.presence(topic, { limit: 1000, signal }).then(meet, () => {});
    if (recovered !== false) return;
    tell("The broker does not know all that was said in between: it was restarted, or it keeps too little. Go on.");
    // What others said to the new broker before we came back. What is said now may be heard sooner.
    client.history(topic, { limit: 50, reverse: true, signal }).then(({ messages }) => messages.forEach(hear), () => {});
  });
  subscription.on("end", (error) => {
    if (signal.aborted || !error) return;
    if (error.code === 404 && presence) {
      tell("No rule of this broker keeps what is said here, or counts who is. For the whole demo: wirefan serve --config config/chat.toml");
      return listen(topic, signal, false);
    }
    if (error.code !== "closed") tell(`The room is shut: ${error.message}`);
  });
}

function visit() {
  const name = new URLSearchParams(`room=${location.hash.slice(1)}`).get("room") || "lobby";
  if (/[+#/\p{Cc}]/u.test(name) || name.length > 40) return void (location.hash = "lobby");
  stop?.abort();
  stop = new AbortController();
  topic = `demo/chat/${name}`;
  if (![...rooms.children].some((one) => one.textContent === name))
    rooms.append(make("li", {}, make("a", { href: `#${encodeURIComponent(name)}` }, name)));
  for (const link of rooms.querySelectorAll("a")) link.ariaCurrent = link.textContent === name ? "page" : null;
  $("#room").textContent = name;
  $("#here").textContent = "";
  log.replaceChildren();
  typing.clear();
  showTyping();
  listen(topic, stop.signal, true);
  client.subscribe(`${topic}/typing`, hearTyping, { signal: stop.signal });
}

/** Where the broker asks for a token, the field for it is in the place of that for messages. */
function ask(asked) {
  enter.hidden = !asked;
  say.hidden = asked;
}

function connect(token) {
  client?.close();
  client = new Wirefan("..", { token, backoffMs: [200, 5000] });
  client.on("state", ({ state, error }) => {
    const words = { open: "connected", connecting: "connecting", waiting: "the broker is away, trying again", closed: "closed" };
    $("#state").textContent = words[state];
    const refused = state === "closed" && ["token", 401, 4001, 4501].includes(error?.code);
    if (refused) sessionStorage.removeItem(TOKEN);
    else if (state === "open" && token) sessionStorage.setItem(TOKEN, token);
    ask(refused);
  });
  client.on("error", ({ code }) => code === 401 && ask(true));
  visit();
}

fields.name.value = localStorage.getItem("wirefan.chat.name") ?? `guest-${Math.floor(Math.random() * 1000)}`;
fields.name.addEventListener("change", () => localStorage.setItem("wirefan.chat.name", fields.name.value));

say.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [name, text] = [fields.name.value.trim(), fields.text.value];
  const pending = show(make("li", { className: "pending" }, make("b", {}, name), text));
  fields.text.value = "";
  toldAt = 0; // what is written next is told at once
  try {
    await client.publish(topic, { name, text, at: Date.now() });
  } catch (error) {
    tell(`Not sent: ${error.message}`);
    fields.text.value ||= text;
  }
  pending.remove();
});

fields.text.addEventListener("input", () => {
  if (Date.now() - toldAt < TYPING_MS / 2 || client.state !== "open") return;
  toldAt = Date.now();
  client.publish(`${topic}/typing`, { name: fields.name.value.trim() }, { signal: AbortSignal.timeout(TYPING_MS) }).catch(() => {});
});

go.addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent(go.elements.room.value.trim().replace(/[+#/]/g, "-"));
  go.reset();
});

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  const token = enter.elements.token.value.trim();
  enter.reset();
  connect(token);
});

addEventListener("hashchange", () => client.state === "closed" || visit());
connect(sessionStorage.getItem(TOKEN) ?? undefined);
