// The last door: long polling (docs/protocol.md, "Polling"). Each question says where the client is in each topic, so it
// sees by itself what it missed. Filters with wildcards have no place to go on from; they wait for a better door.

import { fault, isAfter, type Wire } from "./codec.js";
import { HttpLink, fit, isOfTopic, placed } from "./http.js";
import * as limits from "./limits.js";
import type { Feed, Sub } from "./subscription.js";

type Answer = { messages: Wire[]; next: string };

export class PollLink extends HttpLink {
  readonly name = "poll";
  readonly #feed: Feed = { live: new Map(), link: this, ended: false };
  readonly #told = new Set<Sub>();
  #round = new AbortController();

  /** Asks anew, with what there is now. An answer under way is given up: the next one has it again. */
  sync(): void {
    this.#round.abort();
    const { signal } = (this.#round = new AbortController());
    void this.guard(async () => {
      await null; // a page subscribes to several in one go
      if (signal.aborted) return;
      const subs = [...this.host.subs].filter((sub) => !sub.wild || this.#pass(sub));
      if (!subs.length) return this.knock();
      await Promise.all(fit(subs, this.host.token).map((group) => this.#poll(group, signal)));
    });
  }

  serves(sub: Sub): boolean {
    return sub.wild || sub.feed === this.#feed;
  }

  protected release(): void {
    this.#feed.ended = true;
    this.#round.abort();
  }

  /** Tells once that a filter has to wait. */
  #pass(sub: Sub): boolean {
    if (!this.#told.has(sub)) {
      this.#told.add(sub);
      this.host.failed(fault(400, `${sub.filter} has wildcards and waits for a better transport`));
    }
    return false;
  }

  async #poll(subs: Sub[], signal: AbortSignal): Promise<void> {
    for (const sub of subs) if (sub.wantsLast && !(await this.probe(sub, (sub) => this.last(sub)))) return this.sync();
    while (!signal.aborted) {
      const began = Date.now();
      const wait = subs.every((sub) => sub.feed === this.#feed) ? limits.POLL_S : 0;
      let answer: Answer;
      try {
        answer = await this.ask("poll", [...placed(subs, "since"), ["wait", wait]], wait * 1000 + limits.OPEN_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!isOfTopic(error)) throw error;
        let all = true;
        for (const sub of subs) all = (await this.probe(sub, (sub) => this.ask("poll", [["topic", sub.filter], ["wait", 0]]))) && all;
        if (all) throw error;
        return this.sync();
      }
      if (signal.aborted) return;
      this.#take(subs, answer);
      this.open();
      await new Promise((resolve) => setTimeout(resolve, limits.POLL_MS_MIN - (Date.now() - began)));
    }
  }

  #take(subs: Sub[], { messages, next }: Answer): void {
    next.split(",").forEach((position, n) => {
      const sub = subs[n]!;
      const own = messages.filter((wire) => wire.topic === sub.filter);
      const from = own[0] ? before(own[0]) : position;
      const whole = !!sub.position && !isAfter(from, sub.position);
      if (this.host.subs.get(sub.filter) === sub && (sub.feed !== this.#feed || !whole))
        this.host.subs.acked(this.#feed, sub.filter, from, sub.position ? whole : undefined);
      for (const wire of own) this.host.subs.take(this.#feed, wire);
    });
  }
}

/** Where one is who has the next one, or is told by it what was missed. */
function before({ position, missed }: Wire): string {
  const [epoch, offset] = position!.split(":");
  return `${epoch}:${Number(offset) - ((missed as number | undefined) ?? 1)}`;
}
