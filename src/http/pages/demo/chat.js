// A chat on the client: rooms, history, who is there, who is typing. It goes on by itself when the broker was away or was restarted.
// A room is the topic `demo/chat/ROOM`, and `demo/chat/ROOM/typing` tells, without being kept, who writes. config/chat.toml has the rule.

import { Wirefan } from "../client.js";

const ROOMS = ["lobby", "kitchen", "library"];
const SHOWN_MAX = 500;
const TYPING_MS = 3000;
const TOKEN = "wirefan.chat.token"; // for this tab alone, and never in an address

const $ = (selector) => document.querySelector(selector);
const [log, say, go, enter] = ["#log", "#say", "#go", "#enter"].map($);
const fields = say.elements;
const rooms = new Set(ROOMS);
const typing = new Map(); // name: when it is over
let toldAt = 0; // when we told last that we write
let client, room; // of the room: { name, topic, stop, heard, members, more }

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children); // strings become text, whatever is in them
  return element;
}

function show(entry) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  log.append(entry);
  while (log.children.length > SHOWN_MAX) log.firstChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
  return entry;
}

const tell = (text) => show(make("li", { className: "note" }, text));

function hear({ position, from, data }) {
  const { name, text, at } = data ?? {};
  if (room.heard.has(position)) return; // it came live and is in the history, too
  room.heard.add(position);
  if (room.heard.size > SHOWN_MAX) room.heard.delete(room.heard.values().next().value);
  if (typeof text !== "string") return; // somebody else's
  const who = String(from ?? name ?? "somebody").slice(0, 30);
  if (typing.delete(who)) showTyping();
  const time = Number.isFinite(at) ? new Date(at).toTimeString().slice(0, 5) : "";
  show(make("li", {}, make("b", {}, who), text.slice(0, 2000), make("time", {}, time)));
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
  const names = [...typing.keys()];
  const [first, more] = [names.slice(0, 3).join(", "), names.length > 3 ? " and others" : ""];
  $("#typing").textContent = names.length ? `${first}${more} ${names.length > 1 ? "are" : "is"} typing …` : "";
}

/** A user counts once, a stranger's every connection by itself, as in `join` and `leave`. */
const whoIs = ({ client, user }) => user ?? client;

/** Who is there: asked for once, and then told. */
async function countMembers(of) {
  const { members, connections } = await client.presence(of.topic, { limit: 1000 });
  of.members = new Set(members.map(whoIs));
  of.more = connections - members.length;
  showMembers(of);
}

function showMembers(of) {
  if (of === room) $("#here").textContent = of.members ? `${of.members.size + of.more} here` : "";
}

/** Subscribes to the room; where the rule knows no presence, without it. */
function listen(of, presence) {
  const { signal } = of.stop;
  const subscription = client.subscribe(of.topic, hear, { last: 50, presence, signal });
  subscription.on("subscribed", ({ recovered }) => {
    if (recovered === false) {
      tell("The broker does not know all that was said in between: it was restarted, or it keeps too little. Go on.");
      // What others said to the new broker before we came back.
      client.history(of.topic, { limit: 50, signal }).then(({ messages }) => messages.forEach(hear), () => {});
    }
    if (presence) countMembers(of).catch(() => {});
  });
  for (const [event, change] of [["join", "add"], ["leave", "delete"]])
    subscription.on(event, (member) => {
      of.members?.[change](whoIs(member));
      showMembers(of);
    });
  subscription.on("end", (error) => {
    if (signal.aborted || !error) return;
    if (error.code === 404 && presence) {
      $("#hint").hidden = false;
      return listen(of, false);
    }
    if (error.code !== "closed") tell(`The room is shut: ${error.message}`);
  });
  subscription.ready.catch(() => {}); // `end` tells
}

function visit() {
  let name = "#";
  try {
    name = decodeURIComponent(location.hash.slice(1)) || ROOMS[0];
  } catch {
    // no address of ours
  }
  if (/[+#/\p{Cc}]/u.test(name) || name.length > 40) return void (location.hash = ROOMS[0]);
  room?.stop.abort();
  room = { name, topic: `demo/chat/${name}`, stop: new AbortController(), heard: new Set(), members: undefined, more: 0 };
  rooms.add(name);
  const link = (one) => make("li", {}, make("a", { href: `#${encodeURIComponent(one)}`, ariaCurrent: one === name ? "page" : null }, one));
  $("#rooms").replaceChildren(...[...rooms].map(link));
  $("#room").textContent = name;
  $("#here").textContent = "";
  log.replaceChildren();
  typing.clear();
  showTyping();
  listen(room, true);
  client.subscribe(`${room.topic}/typing`, hearTyping, { signal: room.stop.signal }).ready.catch(() => {});
}

function connect() {
  room?.stop.abort();
  client?.close();
  client = new Wirefan("..", { token: sessionStorage.getItem(TOKEN) ?? undefined, backoffMs: [200, 5000] });
  client.on("state", ({ state, error }) => {
    const words = { open: "connected", connecting: "connecting", waiting: "the broker is away, trying again", closed: "closed" };
    $("#state").textContent = words[state];
    enter.hidden = !(state === "closed" && [401, 4001, 4501].includes(error?.code));
  });
  client.on("error", ({ code }) => code === 401 && (enter.hidden = false));
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
    await client.publish(room.topic, { name, text, at: Date.now() });
  } catch (error) {
    tell(`Not sent: ${error.message}`);
    fields.text.value ||= text;
  }
  pending.remove();
});

fields.text.addEventListener("input", () => {
  if (Date.now() - toldAt < TYPING_MS / 2 || client.state !== "open") return;
  toldAt = Date.now();
  client.publish(`${room.topic}/typing`, { name: fields.name.value.trim() }, { signal: AbortSignal.timeout(TYPING_MS) }).catch(() => {});
});

go.addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = encodeURIComponent(go.elements.room.value.trim().replace(/[+#/]/g, "-"));
  go.reset();
});

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, enter.elements.token.value.trim());
  enter.reset();
  enter.hidden = true;
  connect();
});

addEventListener("hashchange", visit);
connect();
