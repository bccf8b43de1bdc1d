// The first door: one WebSocket for everything (docs/protocol.md, "Messages").

import type { WirefanError } from "./api.js";
import { decode, fault, withBytes, type Wire } from "./codec.js";
import * as limits from "./limits.js";
import { NO_ANSWER, NOT_OURS, type Host, type Link } from "./link.js";
import type { Feed, Sub } from "./subscription.js";

export class SocketLink implements Link {
  readonly name = "websocket";
  readonly #socket: WebSocket;
  readonly #feed: Feed = { live: new Map(), link: this, ended: false };
  /** What the broker was told to subscribe to. */
  readonly #told = new Map<string, Sub>();
  /** The subscribes without an answer. */
  readonly #asked = new Map<number, Sub>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #welcomed = false;
  #bytesMax = Infinity;
  #heartbeatMs = 0;
  #heardAt = Date.now();
  #checking = false;
  #pausing = false;

  constructor(readonly host: Host) {
    const protocols = host.token === undefined ? [] : ["bearer." + host.token];
    const socket = new host.WebSocket!(host.base.replace(/^http/, "ws") + "/ws", ["wirefan.v1", ...protocols]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.protocol === "wirefan.v1" || this.#end(fault(0, NOT_OURS));
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onerror = () => {}; // the close behind it tells
    socket.onclose = ({ code, reason }) => this.#end(fault(code, reason));
    this.#after(limits.OPEN_MS, () => this.#welcomed || this.#end(fault(0, NO_ANSWER)));
  }

  sync(): void {
    if (!this.#welcomed) return;
    const { subs, calls } = this.host;
    for (const [topic, sub] of this.#told) {
      if (subs.get(topic) === sub) continue;
      this.#told.delete(topic);
      this.#send({ op: "unsubscribe", topic });
    }
    for (const sub of subs) {
      if (this.#told.has(sub.filter)) continue;
      const { filter: topic, position: since, wantsLast: last, options } = sub;
      const id = calls.nextId();
      this.#told.set(topic, sub);
      this.#asked.set(id, sub);
      sub.expect();
      this.#send({ op: "subscribe", topic, ...(since ? { since } : last && { last }), ...(options.presence && { presence: true }), id });
    }
  }

  pump(): void {
    const { calls } = this.host;
    for (let call; this.#welcomed && !this.#pausing && (call = calls.peek()); ) {
      if (this.#socket.bufferedAmount > limits.BUFFERED_MAX) {
        // No event tells that it has gone.
        this.#pausing = true;
        return this.#after(limits.BUFFERED_LOOK_MS, () => {
          this.#pausing = false;
          this.pump();
        });
      }
      calls.sent(call);
      if (call.length > this.#bytesMax) calls.fail(call.id, fault(413, `a message has at most ${this.#bytesMax} bytes`));
      else this.#socket.send(call.bytes ? withBytes(call.text, call.bytes) : call.text);
    }
  }

  serves(sub: Sub): boolean {
    return sub.feed === this.#feed;
  }

  check(): void {
    if (!this.#welcomed || this.#checking) return;
    this.#checking = true;
    const asked = Date.now();
    this.#send({ op: "ping" });
    this.#after(limits.PONG_MS, () => {
      this.#checking = false;
      if (this.#heardAt < asked) this.#end(fault(4009, NO_ANSWER));
    });
  }

  async close(): Promise<void> {
    this.#stop();
    this.#socket.close(1000);
  }

  #hear(data: string | ArrayBuffer): void {
    this.#heardAt = Date.now();
    let wire: Wire;
    try {
      wire = decode(data);
      if (!this.#welcomed && wire.op !== "welcome") throw wire;
    } catch {
      return this.#end(fault(0, NOT_OURS));
    }
    const { op, id } = wire;
    if (op === "welcome") this.#welcome(wire);
    else if (op === "ack") this.#acked(wire);
    else if (op === "error") this.#failed(id, wire);
    else this.host.subs.take(this.#feed, wire);
  }

  #welcome(wire: Wire): void {
    this.#welcomed = true;
    this.#bytesMax = (wire["limits"] as { message_bytes: number }).message_bytes;
    this.#heartbeatMs = (wire["heartbeat"] as number) * 1000;
    this.#beat();
    this.host.opened(this);
  }

  #acked(wire: Wire): void {
    const { id, topic, position, recovered } = wire;
    const sub = this.#asked.get(id!);
    this.#asked.delete(id!);
    if (!sub) this.host.calls.answer(id, wire);
    // That of one which was left meanwhile is nobody's.
    else if (this.#told.get(topic) === sub) this.host.subs.acked(this.#feed, topic, position, recovered as boolean | undefined);
  }

  #failed(id: number | undefined, wire: Wire): void {
    const [code, reason] = [wire["code"] as number, wire["reason"] as string];
    const error = fault(code, reason, code === 429 ? 1000 : undefined);
    const sub = id === undefined ? this.#told.get(wire.topic) : this.#asked.get(id);
    if (!sub) return id === undefined ? this.host.failed(error) : this.host.calls.fail(id, error);
    this.#asked.delete(id!);
    if (this.#told.get(sub.filter) !== sub) return;
    // A subscription goes on without being told who comes and goes.
    if (id === undefined && code === 404) return this.host.failed(error);
    this.#told.delete(sub.filter);
    if (code === 429) this.#after(error.retryMs!, () => this.sync());
    else this.host.refused(sub, error);
  }

  /** A browser does not show us pings: whether the broker is there, where it was silent for longer than its heartbeat, has to be asked. */
  #beat(): void {
    this.#after(this.#heartbeatMs, () => {
      if (Date.now() - this.#heardAt >= this.#heartbeatMs) this.check();
      this.#beat();
    });
  }

  #send(command: object): void {
    this.#socket.send(JSON.stringify(command));
  }

  #after(ms: number, then: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, ms);
    this.#timers.add(timer);
  }

  #end(why: WirefanError): void {
    this.#stop();
    this.#socket.close();
    this.host.ended(this, why);
  }

  #stop(): void {
    this.#feed.ended = true;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#timers.forEach(clearTimeout);
  }
}
