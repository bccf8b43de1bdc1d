// The second door: streams of server-sent events by `fetch`, in browsers and Node alike (docs/protocol.md, "Events").
// A stream's topics are fixed. New ones get a second stream; further ones are put together with those of the last one, whose
// successor is read before it is let go.

import type { Query } from "./http.js";
import { HttpLink, fit, isOfTopic, placed } from "./http.js";
import { fault, type Wire } from "./codec.js";
import { NO_ANSWER, NOT_OURS } from "./link.js";
import * as limits from "./limits.js";
import type { Feed, Sub } from "./subscription.js";

class Stream implements Feed {
  readonly live = new Map<string, string | undefined>();
  readonly stop = new AbortController();
  ended = false;

  constructor(
    readonly link: object,
    readonly subs: Sub[],
  ) {}
}

export class EventsLink extends HttpLink {
  readonly name = "sse";
  readonly #streams = new Set<Stream>();
  #syncing = false;
  #again = false;

  sync(): void {
    this.#again = true;
    if (this.#syncing) return;
    this.#syncing = true;
    void this.guard(async () => {
      try {
        await null; // a page subscribes to several in one go
        while (this.#again) {
          this.#again = false;
          await this.#fit();
        }
      } finally {
        this.#syncing = false;
      }
    });
  }

  serves(sub: Sub): boolean {
    return sub.feed?.link === this;
  }

  protected release(): void {
    for (const stream of this.#streams) this.#drop(stream);
  }

  /** Lets go of streams that nobody wants any more, and opens those that are missing. */
  async #fit(): Promise<void> {
    const all = [...this.host.subs];
    const has = (sub: Sub) => [...this.#streams].some((stream) => stream.subs.includes(sub));
    for (const stream of this.#streams) if (!stream.subs.some((sub) => all.includes(sub))) this.#drop(stream);
    let missing = all.filter((sub) => !has(sub));
    if (!missing.length) return this.knock();
    for (const sub of missing) if (sub.wantsLast && !(await this.probe(sub, (sub) => this.last(sub)))) return void (this.#again = true);
    const last = [...this.#streams].at(-1);
    const old = this.#streams.size > 1 && last!.subs.length < limits.FEED_TOPICS_MAX / 2 ? last : undefined;
    if (old) missing = [...old.subs.filter((sub) => all.includes(sub)), ...missing];
    for (const presence of [false, true])
      for (const subs of fit(missing.filter((sub) => !!sub.options.presence === presence), this.host.token)) await this.#listen(subs);
    if (old) this.#drop(old);
  }

  /** Opens a stream, and waits until each of its topics was acknowledged. */
  async #listen(subs: Sub[]): Promise<void> {
    if (this.stopped.signal.aborted) return;
    const stream = new Stream(this, subs);
    this.#streams.add(stream);
    subs.forEach((sub) => sub.expect());
    try {
      const response = await this.#get(subs, stream.stop.signal);
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(() => reject(fault(0, NO_ANSWER)), limits.OPEN_MS);
        const begun = () => {
          clearTimeout(timer);
          resolve();
        };
        void this.guard(() => this.#read(stream, response, begun)).then(begun);
      });
      this.open();
    } catch (error) {
      if (!isOfTopic(error)) throw error;
      this.#drop(stream);
      let all = true;
      for (const sub of subs) all = (await this.probe(sub, (sub) => this.#try(sub))) && all;
      if (all) throw error;
      this.#again = true;
    }
  }

  async #try(sub: Sub): Promise<void> {
    const stop = new AbortController();
    await this.#get([sub], stop.signal);
    stop.abort();
  }

  async #get(subs: Sub[], signal: AbortSignal): Promise<Response> {
    const presence: Query = subs[0]!.options.presence ? [["presence", true]] : [];
    const response = await this.request("events", [...placed(subs, "last_event_id"), ...presence], { signal });
    if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw fault(0, NOT_OURS);
    return response;
  }

  async #read(stream: Stream, response: Response, begun: () => void): Promise<void> {
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    let [rest, timer] = ["", undefined as ReturnType<typeof setTimeout> | undefined];
    try {
      for (;;) {
        clearTimeout(timer);
        timer = setTimeout(() => stream.stop.abort(fault(0, NO_ANSWER)), limits.SILENCE_MS);
        const { done, value } = await reader.read();
        if (stream.ended) return;
        if (done) throw fault(0, "the stream ended");
        const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
        rest = events.pop()!;
        for (const event of events) if (!stream.ended) this.#hear(stream, event);
        if (stream.live.size === stream.subs.length) begun();
      }
    } catch (error) {
      if (!stream.ended) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** One event. Its object says what it is, so the names of events and the ids are not needed. */
  #hear(stream: Stream, event: string): void {
    const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
    if (!data.length) return;
    const wire = JSON.parse(data.join("\n")) as Wire;
    const [code, reason] = [wire["code"] as number, wire["reason"] as string];
    if (wire.op === "close") throw fault(code, reason);
    if (wire.op === "ack") this.host.subs.acked(stream, wire.topic, wire.position, wire["recovered"] as boolean | undefined);
    else if (wire.op === "error") this.#failed(wire.topic, code, reason);
    else this.host.subs.take(stream, wire);
  }

  #failed(topic: string, code: number, reason: string): void {
    const sub = this.host.subs.get(topic);
    const error = fault(code, reason);
    if (sub && code !== 404) this.host.refused(sub, error);
    else this.host.failed(error);
  }

  #drop(stream: Stream): void {
    stream.ended = true;
    stream.stop.abort();
    this.#streams.delete(stream);
  }
}
