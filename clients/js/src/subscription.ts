// One subscription: where it is, and what of the publications that come is new to it. `subscriptions.ts` feeds it, the
// application holds it. Over all links it delivers each publication once, in order; what it cannot know it tells as a gap.

import { type Member, type Message, type Subscription, type SubscribeOptions, type SubscriptionEvents, WirefanError } from "./api.js";
import { isAfter, isWild } from "./codec.js";
import { Emits } from "./emitter.js";
import * as limits from "./limits.js";

/** One way by which publications come: a WebSocket, a stream, a row of polls. */
export interface Feed {
  /** For each filter that was acknowledged, where live began. */
  readonly live: Map<string, string | undefined>;
  /** Whose it is, to tell the feeds of one link from those of another. */
  readonly link: object;
  /** Nothing comes by it any more. */
  ended: boolean;
}

export type OnMessage<T> = ((message: Message<T>, subscription: Subscription<T>) => void) | undefined;

export class Sub<T = unknown> extends Emits<SubscriptionEvents> implements Subscription<T> {
  position: string | undefined;
  recovered: boolean | undefined;
  readonly ready: Promise<void>;
  readonly wild: boolean;
  /** By which it is served. What comes by another is not its own. */
  feed: Feed | undefined;
  /** Where live began, as long as the last ones that were asked for have not come. */
  #began: string | undefined;
  /** Wildcards: the newest of each topic that came while the next feed was under way, which may bring it again. */
  #seen = new Map<string, string>();
  #noting = false;
  #ended = false;
  #queue: Message<T>[] | undefined;
  #error: WirefanError | undefined;
  #wake = () => {};
  #settle!: (error?: WirefanError) => void;

  constructor(
    readonly filter: string,
    readonly handler: OnMessage<T>,
    readonly options: SubscribeOptions,
    readonly leave: (sub: Sub<T>) => void,
  ) {
    super();
    this.wild = isWild(filter);
    this.ready = new Promise((resolve, reject) => (this.#settle = (error) => (error ? reject(error) : resolve())));
    this.ready.catch(() => {}); // who does not wait for it is told by `end`
    if (!handler) this.#queue = [];
  }

  /** Whether a subscribe is to ask for the last ones: nothing came yet. */
  get wantsLast(): number | undefined {
    return this.position || this.wild ? undefined : this.options.last;
  }

  unsubscribe(): void {
    if (this.#ended) return;
    this.leave(this);
    if (this.#queue) this.#queue.length = 0;
    this.end(undefined);
  }

  /** A new feed is asked for it. */
  expect(): void {
    this.#seen.clear();
    this.#noting = this.wild && !!this.feed && !this.feed.ended;
  }

  /** A feed begins to serve it. True if it is not known what was missed. */
  begin(feed: Feed, position: string | undefined, recovered: boolean | undefined): boolean {
    const [known, before] = [this.position ?? this.#began, this.feed];
    this.feed = feed;
    this.#noting = false;
    let missed = false;
    if (this.wild) missed = !!before?.ended;
    else if (known) missed = recovered !== true && isAfter(position, known);
    if (this.wantsLast) this.#began = position;
    else if (missed || !known) this.position = position;
    this.recovered = before && !missed;
    this.#settle();
    this.emit("subscribed", { position, recovered: this.recovered });
    return missed;
  }

  /** A publication that came by `feed`. */
  take(feed: Feed, message: Message): void {
    if (this.feed !== feed || !this.#isNew(message)) return;
    if (this.handler) {
      try {
        this.handler(message as Message<T>, this);
      } catch (error) {
        // As an event listener's: it is the application's, and stops nothing here.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    if (this.#queue?.push(message as Message<T>)! > limits.QUEUE_MAX) {
      this.leave(this);
      this.end(new WirefanError("slow", `too many messages of ${this.filter} wait`));
    }
    this.#wake();
  }

  /** Publications that were withheld. */
  skip(feed: Feed, topic: string, position: string | undefined, missed: number): boolean {
    if (this.feed !== feed) return false;
    if (!this.wild && isAfter(position, this.position)) this.position = position;
    this.emit("gap", { topic, missed, position });
    return true;
  }

  tell(feed: Feed, type: "join" | "leave", member: Member): void {
    if (this.feed === feed) this.emit(type, member);
  }

  end(error: WirefanError | undefined): void {
    this.#ended = true;
    this.#error = error;
    this.feed = undefined;
    this.#settle(error ?? new WirefanError("closed", "unsubscribed"));
    this.#wake();
    this.emit("end", error);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message<T>, void> {
    const queue = (this.#queue ??= []);
    try {
      for (;;) {
        while (queue.length) yield queue.shift()!;
        if (this.#ended) break;
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
      if (this.#error) throw this.#error;
    } finally {
      if (this.handler) this.#queue = undefined;
      else this.unsubscribe();
    }
  }

  #isNew({ topic, position }: Message): boolean {
    if (!this.wild) {
      if (this.position && !isAfter(position, this.position)) return false;
      this.position = position;
      return true;
    }
    const seen = this.#seen.get(topic);
    if (seen && !isAfter(position, seen)) return false;
    if (this.#noting) this.#seen.set(topic, position);
    else if (seen) this.#seen.delete(topic);
    return true;
  }
}
