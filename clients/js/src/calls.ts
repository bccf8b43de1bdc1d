// What waits for an answer: publish, history, presence. A call outlives the link that carried it: at a cut it is sent again,
// a publish with its key, and only as long as the broker remembers keys (`resendMs`). The link takes from here and answers.

import { WirefanError } from "./api.js";
import { byteLength, messageOf, type Wire } from "./codec.js";
import * as limits from "./limits.js";

export interface Call {
  id: number;
  op: "publish" | "history" | "presence";
  /** The members of the command, for a query. */
  members: Record<string, unknown>;
  /** The command as JSON, with `id`. */
  text: string;
  bytes: Uint8Array | undefined;
  /** Of the command and its payload. */
  length: number;
  /** When it was sent first, in milliseconds since the epoch; 0 before. */
  sentAt: number;
  resolve(answer: unknown): void;
  reject(error: unknown): void;
}

type Asked = { data?: unknown; bytes?: Uint8Array | undefined; signal?: AbortSignal | undefined };

export class Calls {
  readonly #all = new Map<number, Call>();
  #unsent = new Set<Call>();
  #bytes = 0;
  #id = 0;

  constructor(
    readonly resendMs: number,
    readonly changed: () => void,
  ) {}

  /** A number that no other command has. */
  nextId(): number {
    return ++this.#id;
  }

  add(op: Call["op"], members: Record<string, unknown>, { data, bytes, signal }: Asked): Promise<unknown> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = this.nextId();
      let text = JSON.stringify({ op, ...members, id });
      if (op === "publish" && !bytes) {
        const json = JSON.stringify(data) as string | undefined;
        if (json === undefined) throw new TypeError("data is no JSON value");
        text = `${text.slice(0, -1)},"data":${json}}`;
      }
      const length = byteLength(text) + (bytes ? bytes.length + 1 : 0);
      if (this.#all.size >= limits.CALLS_MAX || this.#bytes + length > limits.CALLS_BYTES_MAX)
        throw new WirefanError("full", "too many calls wait");
      const abort = () => this.#settle(id)?.reject(signal!.reason);
      const settle = <A>(then: (answer: A) => void) => (answer: A) => {
        signal?.removeEventListener("abort", abort);
        then(answer);
      };
      const call: Call = { id, op, members, text, bytes, length, sentAt: 0, resolve: settle(resolve), reject: settle(reject) };
      signal?.addEventListener("abort", abort);
      this.#all.set(id, call);
      this.#unsent.add(call);
      this.#bytes += length;
      this.changed();
    });
  }

  /** The next one to send; whoever takes it with `sent` has it answered. */
  peek(): Call | undefined {
    return this.#unsent.values().next().value;
  }

  sent(call: Call): void {
    call.sentAt ||= Date.now();
    this.#unsent.delete(call);
  }

  /** With what the broker said, be it an `ack` or a document. */
  answer(id: number | undefined, answer: object): void {
    const { messages } = answer as { messages?: Wire[] };
    this.#settle(id)?.resolve({ ...answer, messages: messages?.map(messageOf) });
  }

  fail(id: number, error: WirefanError): void {
    this.#settle(id)?.reject(error);
  }

  /** The link is gone: all that has no answer is to be sent again, in the old order. */
  requeue(): void {
    this.#unsent = new Set(this.#all.values());
    this.expire();
  }

  /** Publications that were sent too long ago for their key to be remembered are given up. */
  expire(): void {
    for (const call of this.#unsent)
      if (call.op === "publish" && call.sentAt && Date.now() - call.sentAt >= this.resendMs)
        this.fail(call.id, new WirefanError("unknown", "it may be published or not: the connection was lost"));
  }

  end(error: WirefanError): void {
    for (const id of [...this.#all.keys()]) this.fail(id, error);
  }

  #settle(id: number | undefined): Call | undefined {
    const call = this.#all.get(id!);
    if (!call) return undefined;
    this.#all.delete(call.id);
    this.#unsent.delete(call);
    this.#bytes -= call.length;
    return call;
  }
}
