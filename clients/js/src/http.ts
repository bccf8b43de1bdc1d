// What the two doors of HTTP share (docs/protocol.md, "HTTP"): requests with the token, and the calls, one request of
// publications after the other, for requests side by side have no order. A link of its own is made of it by `events.ts` and `poll.ts`.

import { WirefanError, type TransportName } from "./api.js";
import type { Call } from "./calls.js";
import { byteLength, fault, type Wire } from "./codec.js";
import * as limits from "./limits.js";
import { NO_ANSWER, NOT_OURS, type Host, type Link } from "./link.js";
import type { Feed, Sub } from "./subscription.js";

/** Whether a refusal is about one of the topics, and not about who asks. */
export const isOfTopic = (error: unknown): error is WirefanError => [400, 403, 404].includes((error as WirefanError).code as number);

export type Query = [name: string, value: string | number | boolean][];

export abstract class HttpLink implements Link {
  abstract readonly name: TransportName;
  /** Aborted with the link. Calls are not: their answer is still good. */
  protected readonly stopped = new AbortController();
  #calling: Promise<void> | undefined;
  #opened = false;

  constructor(readonly host: Host) {
    this.stopped.signal.addEventListener("abort", () => this.release());
    void Promise.resolve().then(() => this.sync());
  }

  abstract sync(): void;
  abstract serves(sub: Sub): boolean;
  /** Nothing is read any more. */
  protected abstract release(): void;

  check(): void {}

  pump(): void {
    if (!this.#opened || this.stopped.signal.aborted) return;
    this.#calling ??= this.guard(() => this.#call()).finally(() => {
      this.#calling = undefined;
      if (this.host.calls.peek()) this.pump(); // it came while the last answer was given
    });
  }

  close(): Promise<void> {
    this.stopped.abort();
    return this.#calling ?? Promise.resolve();
  }

  protected open(): void {
    if (this.#opened || this.stopped.signal.aborted) return;
    this.#opened = true;
    this.host.opened(this);
  }

  /** Runs something whose failure is the end of the link. */
  protected async guard(run: () => Promise<void> | void): Promise<void> {
    if (this.stopped.signal.aborted) return;
    try {
      await run();
    } catch (error) {
      if (this.stopped.signal.aborted) return;
      this.stopped.abort();
      this.host.ended(this, error instanceof WirefanError ? error : fault(0, (error as Error).message));
    }
  }

  /** Fulfilled with an answer of 200. Rejected with a `WirefanError`, or with what `fetch` says where none came in time. */
  protected async request(path: string, query: Query, init: RequestInit = {}, ms = limits.OPEN_MS): Promise<Response> {
    const { base, token, fetch } = this.host;
    const headers = { ...(init.headers as Record<string, string>), ...(token !== undefined && { Authorization: "Bearer " + token }) };
    const search = query.map(([name, value]) => name + "=" + encodeURIComponent(value)).join("&");
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(fault(0, NO_ANSWER)), ms);
    const abort = () => late.abort();
    init.signal?.addEventListener("abort", abort);
    if (init.signal?.aborted) abort();
    try {
      const response = await fetch(`${base}/v1/${path}?${search}`, { ...init, headers, signal: late.signal, cache: "no-store" });
      if (response.status === 200) return response;
      const problem = (await response.json().catch(() => ({}))) as { detail?: string };
      const seconds = Number(response.headers.get("Retry-After"));
      throw fault(response.status, problem.detail ?? `${response.status}: ${NOT_OURS}`, seconds ? seconds * 1000 : undefined);
    } finally {
      // A stream goes on; its end is that of the link.
      clearTimeout(timer);
    }
  }

  /** Whether the broker will have this subscription: one that refuses a feed does not say which of its topics it was. */
  protected async probe(sub: Sub, ask: (sub: Sub) => Promise<void>): Promise<boolean> {
    try {
      await ask(sub);
      return true;
    } catch (error) {
      if (!isOfTopic(error)) throw error;
      this.host.refused(sub, error);
      return false;
    }
  }

  /** Without a subscription: is somebody there who knows the API, and our token? A question without a topic is wrong, and nothing else. */
  protected async knock(): Promise<void> {
    try {
      if (!this.#opened) await this.ask("history", []);
    } catch (error) {
      if (!isOfTopic(error) || !error.message.startsWith("topic")) throw error;
    }
    this.open();
  }

  /** The JSON of an answer, which nobody needs behind the end of the link. */
  protected async ask<T>(path: string, query: Query, ms?: number, signal = this.stopped.signal): Promise<T> {
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener("abort", abort);
    try {
      return await this.json<T>(path, query, { signal: stop.signal }, ms);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  protected async json<T>(path: string, query: Query, init?: RequestInit, ms?: number): Promise<T> {
    return (await (await this.request(path, query, init, ms)).json()) as T;
  }

  /** The last ones that a subscription is to begin with: `last` of a feed would be that of all its topics. */
  protected async last(sub: Sub): Promise<void> {
    const feed: Feed = { live: new Map(), link: this, ended: true };
    const query: Query = [["topic", sub.filter], ["last", sub.wantsLast!], ["wait", 0]];
    const { messages, next } = await this.ask<{ messages: Wire[]; next: string }>("poll", query);
    if (!sub.wantsLast) return; // meanwhile it came by another link
    feed.live.set(sub.filter, next); // all of it is the past
    const served = sub.feed;
    sub.feed = feed;
    for (const wire of messages) this.host.subs.take(feed, wire);
    if (sub.feed === feed) sub.feed = served;
    sub.position ??= next;
  }

  async #call(): Promise<void> {
    const { calls } = this.host;
    for (let call; !this.stopped.signal.aborted && (call = calls.peek()); ) {
      const batch = this.#gather(call);
      try {
        if (call.op !== "publish") calls.answer(call.id, await this.json<object>(call.op, Object.entries(call.members) as Query));
        else if (call.bytes) calls.answer(call.id, await this.json<object>("publish", ...this.#body(call)));
        else await this.#publish(batch);
      } catch (error) {
        // 401, 5xx and no answer are the link's, and the calls are sent again by the next one.
        const code = Number((error as WirefanError).code);
        if (!(code >= 400 && code < 500) || code === 401) throw error;
        for (const one of batch) calls.fail(one.id, error as WirefanError);
      }
    }
  }

  /** As many publications of JSON as go into one request, from this one on; or it alone. */
  #gather(first: Call): Call[] {
    const { calls } = this.host;
    const batch: Call[] = [];
    let length = 0;
    for (let call: Call | undefined = first; call; call = calls.peek()) {
      const alone = call.op !== "publish" || call.bytes;
      length += call.length;
      if (batch.length && (alone || length > limits.BATCH_BYTES || batch.length >= limits.BATCH_MAX)) break;
      calls.sent(call);
      batch.push(call);
      if (alone) break;
    }
    return batch;
  }

  async #publish(batch: Call[]): Promise<void> {
    const body = "[" + batch.map((call) => call.text).join() + "]";
    const init = { method: "POST", body, headers: { "Content-Type": "application/json" } };
    type Result = { position: string; error?: { code: number; reason: string } };
    const results = await this.json<Result[]>("batch", [], init);
    batch.forEach((call, n) => {
      const error = results[n]?.error;
      if (error) this.host.calls.fail(call.id, fault(error.code, error.reason));
      else this.host.calls.answer(call.id, results[n]!);
    });
  }

  #body({ members, bytes }: Call): [Query, RequestInit] {
    const { key, ...query } = members;
    const headers = { "Content-Type": "application/octet-stream", "Idempotency-Key": key as string };
    return [Object.entries(query) as Query, { method: "POST", body: bytes as Uint8Array<ArrayBuffer>, headers }];
  }
}

/** Subscriptions in groups that fit into one request. */
export function fit(subs: Iterable<Sub>, token = ""): Sub[][] {
  const groups: Sub[][] = [];
  let bytes = Infinity;
  for (const sub of subs) {
    const own = 3 * byteLength(sub.filter) + 40;
    bytes += own;
    if (bytes + token.length > limits.FEED_BYTES_MAX || groups.at(-1)!.length >= limits.FEED_TOPICS_MAX) {
      groups.push([]);
      bytes = own;
    }
    groups.at(-1)!.push(sub);
  }
  return groups;
}

/** The topics of a feed, and where the client is in each of them. */
export function placed(subs: Sub[], since: string): Query {
  const topics = subs.map((sub): Query[number] => ["topic", sub.filter]);
  return subs.some((sub) => sub.position) ? [...topics, [since, subs.map((sub) => sub.position ?? "").join()]] : topics;
}
