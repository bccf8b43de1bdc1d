// All subscriptions of a client, by filter, and who gets what comes by a feed. Links call it with what they read.

import type { Gap, Member } from "./api.js";
import { isAfter, matches, messageOf, type Wire } from "./codec.js";
import type { Feed, Sub } from "./subscription.js";

export class Subscriptions {
  readonly #all = new Map<string, Sub>();
  readonly #wild = new Set<Sub>();

  /** `gap` is told what was missed, `begun` that a feed serves one more. */
  constructor(
    readonly gap: (gap: Gap) => void,
    readonly begun: () => void,
  ) {}

  [Symbol.iterator](): IterableIterator<Sub> {
    return this.#all.values();
  }

  get(filter: string): Sub | undefined {
    return this.#all.get(filter);
  }

  add(sub: Sub): void {
    this.#all.set(sub.filter, sub);
    if (sub.wild) this.#wild.add(sub);
  }

  remove(sub: Sub): void {
    if (this.#all.get(sub.filter) === sub) this.#all.delete(sub.filter);
    this.#wild.delete(sub);
  }

  /** An `ack` of a subscribe. */
  acked(feed: Feed, filter: string, position: string | undefined, recovered: boolean | undefined): void {
    feed.live.set(filter, position);
    const sub = this.#all.get(filter);
    if (sub?.begin(feed, position, recovered)) {
      const gap: Gap = { topic: filter, position };
      sub.emit("gap", gap);
      this.gap(gap);
    }
    this.begun();
  }

  /** Anything that a feed brings besides replies. */
  take(feed: Feed, wire: Wire): void {
    const { op, topic, position } = wire;
    const exact = this.#all.get(topic);
    if (op === "message") {
      const message = messageOf(wire);
      // What comes from the past was asked for by the topic's own subscription alone.
      const past = feed.live.has(topic) && !isAfter(position, feed.live.get(topic));
      exact?.take(feed, message);
      if (!past) for (const sub of this.#wild) if (matches(sub.filter, topic)) sub.take(feed, message);
    } else if (op === "gap") {
      const missed = wire["missed"] as number;
      let told = !!exact?.skip(feed, topic, position, missed);
      for (const sub of this.#wild) if (matches(sub.filter, topic)) told = sub.skip(feed, topic, position, missed) || told;
      if (told) this.gap({ topic, missed, position });
    } else if (op === "join" || op === "leave") {
      exact?.tell(feed, op, wire["member"] as Member);
    }
  }
}
