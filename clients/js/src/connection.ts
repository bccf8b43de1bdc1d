// The way to the broker: which door is tried, what its end means, how long to wait, and when a better door is looked for.
//
//               +--------------- back-off, `retry_ms`, online, visible ---------------+
//               v                                                                     |
//   new --> connecting --(a door opens)--> open --(its link ends)--> waiting ---------+
//               |  ^ next door                                          ^
//               |  +------ a door is shut                               |
//               +------------------- none opened ----------------------+     closed: from everywhere, for good
//
// While it is open by a lesser door it climbs: a link by a better one takes the subscriptions over before the old is let go.

import { type Gap, type Options, type StateChange, type State, type TransportName, WirefanError } from "./api.js";
import { Backoff } from "./backoff.js";
import { Calls } from "./calls.js";
import { fault } from "./codec.js";
import { EventsLink } from "./events.js";
import * as limits from "./limits.js";
import { judge, NO_ANSWER, type Host, type Link, type Verdict } from "./link.js";
import { PollLink } from "./poll.js";
import type { Sub } from "./subscription.js";
import { Subscriptions } from "./subscriptions.js";
import { Tokens } from "./token.js";
import { SocketLink } from "./websocket.js";

/** What the client tells the application. */
export interface Tell {
  state(change: StateChange): void;
  error(error: WirefanError): void;
  gap(gap: Gap): void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export class Connection implements Host {
  state: State = "connecting";
  token: string | undefined;
  readonly WebSocket;
  readonly fetch;
  readonly subs: Subscriptions;
  readonly calls: Calls;
  readonly #doors: TransportName[];
  readonly #tokens: Tokens;
  readonly #backoff: Backoff;
  readonly #closed = new AbortController();
  /** For each door, whether it ever opened, and how often in a row it has not since. */
  readonly #worked = new Set<number>();
  readonly #failures: number[] = [];
  /** What serves. */
  #link: Link | undefined;
  #door = 0;
  /** What is being opened, and takes over if there is a link. */
  #next: Link | undefined;
  #nextDoor = 0;
  #taking: Timer;
  /** The old link has calls under way; the new one waits for them, for the order. */
  #handing = false;
  #causes: string[] = [];
  #openedAt = 0;
  #triedAt = 0;
  #wait: Timer;
  /** The broker said for how long. */
  #told = false;
  #climb: Timer;
  #climbMs = limits.CLIMB_MS;

  constructor(
    readonly base: string,
    options: Options,
    readonly tell: Tell,
  ) {
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.#doors = (options.transports ?? ["websocket", "sse", "poll"]).filter((name) => name !== "websocket" || this.WebSocket);
    if (!this.#doors.length) throw new TypeError("transports: none works here");
    this.#tokens = new Tokens(options.token, this.#closed.signal);
    this.#backoff = new Backoff(...(options.backoffMs ?? [100, 30_000]));
    this.subs = new Subscriptions(tell.gap, () => this.#settle());
    this.calls = new Calls(options.resendMs ?? 240_000, () => this.#pump());
    const { signal } = this.#closed;
    const wake = () => this.wake();
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.document?.addEventListener("visibilitychange", wake, { signal }); // a page that is hidden may ask, too
    void this.#dial(0);
  }

  get transport(): TransportName | undefined {
    return this.#link?.name;
  }

  /** The subscriptions have changed. */
  sync(): void {
    this.#link?.sync();
    if (this.#taking) this.#next?.sync();
    this.#settle();
  }

  /** The network is back, or the page is looked at: what waits need not, and what is open may be dead. */
  wake(): void {
    if (this.#link) return this.#link.check();
    if (this.state !== "waiting" || this.#told) return;
    clearTimeout(this.#wait);
    this.#wait = setTimeout(() => this.#dial(0), Math.max(0, limits.WAKE_MS - (Date.now() - this.#triedAt)));
  }

  close(error?: WirefanError): void {
    if (this.state === "closed") return;
    const why = error ?? new WirefanError("closed", "the client is closed");
    this.#closed.abort();
    [this.#wait, this.#climb, this.#taking].forEach(clearTimeout);
    for (const link of [this.#link, this.#next]) void link?.close();
    this.#link = this.#next = undefined;
    this.calls.end(why);
    for (const sub of [...this.subs]) {
      this.subs.remove(sub);
      sub.end(error);
    }
    if (error) this.tell.error(error);
    this.#become({ state: "closed", error });
  }

  opened(link: Link): void {
    if (link !== this.#next) return;
    this.#worked.add(this.#nextDoor);
    this.#failures[this.#nextDoor] = 0;
    if (!this.#link) return this.#serve();
    this.#taking = setTimeout(() => this.ended(link, fault(0, NO_ANSWER)), limits.OPEN_MS);
    link.sync();
    this.#settle();
  }

  ended(link: Link, why: WirefanError): void {
    if (link === this.#next) {
      this.#next = undefined;
      if (!this.#link) return this.#failed(why);
      if (!this.#taking) return this.#look(this.#nextDoor + 1);
      // Some subscriptions are here and some there: from the beginning.
      void link.close();
      void this.#link.close();
    } else if (link !== this.#link) return;
    this.#unlink();
    if (Date.now() - this.#openedAt >= limits.STABLE_MS) this.#backoff.reset();
    this.calls.requeue();
    this.#act(judge(why.code), why);
  }

  refused(sub: Sub, error: WirefanError): void {
    this.subs.remove(sub);
    sub.end(error);
    this.failed(error);
    this.#settle();
  }

  failed(error: WirefanError): void {
    this.tell.error(error);
  }

  /** Tries a door. */
  async #dial(door: number): Promise<void> {
    this.#triedAt = Date.now();
    this.#nextDoor = door;
    this.#become({ state: "connecting" });
    try {
      this.token = await this.#tokens.current();
    } catch (error) {
      const failure = error as WirefanError;
      if (this.state === "closed") return;
      // An expired token may be a clock's matter; a refused one stays refused, as does a string that is none.
      if (typeof this.#tokens.source === "string" || (failure.code !== "token" && failure.code !== 4001)) return this.close(failure);
      this.tell.error(failure);
      return this.#pause(failure);
    }
    if (this.state === "connecting" && !this.#next) this.#open(door);
  }

  #open(door: number): void {
    this.#nextDoor = door;
    try {
      const name = this.#doors[door];
      this.#next = new (name === "websocket" ? SocketLink : name === "sse" ? EventsLink : PollLink)(this);
    } catch (error) {
      // A token that is no subprotocol, for example: the other doors take it in a header.
      if (this.#link) this.#look(door + 1);
      else this.#failed(fault(0, String(error)));
    }
  }

  /** A door did not open. */
  #failed(why: WirefanError): void {
    const [door, verdict] = [this.#nextDoor, judge(why.code)];
    if (verdict !== "door") return this.#act(verdict, why);
    this.#causes.push(`${this.#doors[door]}: ${why.message || why.code}`);
    const failures = (this.#failures[door] = (this.#failures[door] ?? 0) + 1);
    const isShut = !this.#worked.has(door) || failures >= limits.FAILURES_MAX;
    if (isShut && door + 1 < this.#doors.length) return void this.#dial(door + 1);
    const error = new WirefanError("unreachable", this.#causes.join("; "));
    this.#causes = [];
    this.tell.error(error);
    this.#pause(error);
  }

  #act(verdict: Verdict, why: WirefanError): void {
    this.#causes = [];
    if (verdict === "final" || (verdict === "token" && !this.#tokens.refuse(why))) return this.close(why);
    this.#pause(why);
  }

  #pause(error: WirefanError): void {
    if (this.state === "closed") return;
    this.calls.expire();
    const told = error.retryMs;
    this.#told = told !== undefined;
    const retryMs = Math.max(this.#backoff.least, Math.min(told ?? this.#backoff.next(), limits.RETRY_MS_MAX));
    this.#wait = setTimeout(() => this.#dial(0), retryMs);
    this.#become({ state: "waiting", retryMs, error });
  }

  /** A link is open, and the only one. */
  #serve(): void {
    const link = (this.#link = this.#next!);
    [this.#next, this.#door, this.#causes, this.#openedAt] = [undefined, this.#nextDoor, [], Date.now()];
    this.#become({ state: "open", transport: link.name });
    if (this.#link !== link) return;
    this.#look(this.#door);
    link.sync();
    this.calls.expire();
    this.#pump();
  }

  #unlink(): void {
    clearTimeout(this.#climb);
    clearTimeout(this.#taking);
    void this.#next?.close();
    this.#link = this.#next = this.#taking = undefined;
    this.#handing = false;
  }

  #pump(): void {
    if (!this.#handing) this.#link?.pump();
  }

  /** Looks through the doors before ours, from this one on: at once, or when all were tried, later. */
  #look(door: number): void {
    if (door < this.#door) return this.#open(door);
    if (!this.#door) return;
    const ms = this.#climbMs * (0.5 + Math.random());
    this.#climbMs = Math.min(2 * this.#climbMs, limits.CLIMB_MS_MAX);
    this.#climb = setTimeout(() => this.#look(0), ms);
  }

  /** If the next link has taken over all subscriptions, the old one is let go. */
  #settle(): void {
    const [old, link] = [this.#link, this.#next];
    if (!this.#taking || !link || !old) return;
    for (const sub of this.subs) if (!link.serves(sub)) return;
    clearTimeout(this.#taking);
    [this.#taking, this.#handing, this.#climbMs] = [undefined, true, limits.CLIMB_MS];
    const done = () => {
      if (this.#link !== link) return;
      this.#handing = false;
      this.calls.requeue();
      this.#pump();
    };
    void old.close().then(done);
    this.#serve();
  }

  #become(change: StateChange): void {
    if (this.state === "closed") return;
    const same = change.state === "connecting" && this.state === "connecting";
    this.state = change.state;
    if (!same) this.tell.state(change);
  }
}
