// The client of a wirefan broker: what an application holds. It checks what it is given, and leaves the rest to the
// connection (`connection.ts`), the subscriptions (`subscriptions.ts`) and the calls (`calls.ts`).

import {
  type ClientEvents,
  type History,
  type HistoryOptions,
  type Message,
  type Options,
  type Presence,
  type PresenceOptions,
  type PublishOptions,
  type State,
  type SubscribeOptions,
  type Subscription,
  type TransportName,
  WirefanError,
} from "./api.js";
import { bytesOf } from "./codec.js";
import { Connection } from "./connection.js";
import { Emits } from "./emitter.js";
import { type OnMessage, Sub } from "./subscription.js";

export * from "./api.js";

export class Wirefan extends Emits<ClientEvents> {
  readonly #connection: Connection;
  readonly #name = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
  #published = 0;

  /**
   * Connects to the broker at `url`: `https://broker.example`, or `wss://broker.example/ws`; in a page, `/` is where it came from.
   * @throws TypeError if the URL or an option is none.
   */
  constructor(url: string | URL, options: Options = {}) {
    super();
    const { href, protocol } = new URL(url, globalThis.location?.href);
    if (!/^(http|ws)s?:$/.test(protocol)) throw new TypeError(`${href} is not http(s) or ws(s)`);
    const base = href.replace(/^ws/, "http").replace(/[?#].*/, "").replace(/(\/ws)?\/*$/, "");
    options.signal?.throwIfAborted();
    this.#connection = new Connection(base, options, {
      state: (change) => this.emit("state", change),
      error: (error) => this.emit("error", error),
      gap: (gap) => this.emit("gap", gap),
    });
    options.signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  get state(): State {
    return this.#connection.state;
  }

  /** Through which door it is open. */
  get transport(): TransportName | undefined {
    return this.#connection.transport;
  }

  /**
   * Subscribes, now and on every connection to come. Without a handler the messages wait for a `for await` over the subscription.
   * @throws TypeError if there is a subscription to the filter already, or `last` is asked of wildcards.
   */
  subscribe<T = unknown>(
    filter: string,
    handler?: ((message: Message<T>, subscription: Subscription<T>) => void) | null,
    options: SubscribeOptions = {},
  ): Subscription<T> {
    const { subs } = this.#open();
    if (typeof filter !== "string" || !filter) throw new TypeError("no filter");
    if (subs.get(filter)) throw new TypeError(`${filter} is subscribed`);
    const { signal } = options;
    signal?.throwIfAborted();
    const leave = () => sub.unsubscribe();
    const sub = new Sub<T>(filter, (handler ?? undefined) as OnMessage<T>, options, (sub) => {
      signal?.removeEventListener("abort", leave);
      subs.remove(sub as Sub);
      this.#connection.sync();
    });
    if (sub.wild && options.last) throw new TypeError("last is for topics");
    signal?.addEventListener("abort", leave);
    subs.add(sub as Sub);
    this.#connection.sync();
    return sub;
  }

  /**
   * Publishes a JSON value, or bytes, and answers the position. What is called while there is no connection waits for one.
   * Rejected with a `WirefanError`: 403, 413, 429 as the broker says; `unknown` if the connection was lost and the key may be
   * forgotten by now.
   */
  async publish(topic: string, data: unknown, { key, conflate, signal }: PublishOptions = {}): Promise<string> {
    const { calls } = this.#open();
    const members = { topic, key: key ?? `${this.#name}-${++this.#published}`, conflate };
    const answer = await calls.add("publish", members, { data, bytes: bytesOf(data), signal });
    return (answer as { position: string }).position;
  }

  /** Kept publications of a topic. */
  async history<T = unknown>(topic: string, { signal, ...members }: HistoryOptions = {}): Promise<History<T>> {
    const answer = await this.#open().calls.add("history", { topic, ...members }, { signal });
    const { position, messages } = answer as History<T>;
    return { topic, position, messages };
  }

  /** Who is there: a page of members, and how many there are. */
  async presence(topic: string, { signal, ...members }: PresenceOptions = {}): Promise<Presence> {
    const answer = await this.#open().calls.add("presence", { topic, ...members }, { signal });
    const { members: list, users, connections, next } = answer as Presence;
    return { topic, members: list, users, connections, next };
  }

  /** Ends everything: subscriptions end, calls without an answer are rejected. */
  close(): void {
    this.#connection.close();
  }

  #open(): Connection {
    if (this.state === "closed") throw new WirefanError("closed", "the client is closed");
    return this.#connection;
  }
}
