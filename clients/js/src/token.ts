// Who we are: the token, or whoever makes one. The connection asks before each attempt; the callback is asked only the first
// time and when the broker has said that the last one is good no more.

import { WirefanError, type Options } from "./api.js";
import { fault } from "./codec.js";
import { NO_ANSWER } from "./link.js";
import * as limits from "./limits.js";

export class Tokens {
  #token: string | undefined;
  #refusal: WirefanError | undefined;

  constructor(
    readonly source: Options["token"],
    readonly closed: AbortSignal,
  ) {}

  /** The broker says that the token is good no more. False if there is no other. */
  refuse(why: WirefanError): boolean {
    this.#refusal = why;
    return typeof this.source === "function";
  }

  /** Rejected with code `token` if the callback failed or what was given is no token, with the broker's if it was refused before. */
  async current(): Promise<string | undefined> {
    const { source, closed } = this;
    if (!source || (this.#token !== undefined && !this.#refusal)) return this.#token;
    const late = new AbortController();
    const abort = () => late.abort(fault(0, NO_ANSWER));
    const timer = setTimeout(abort, limits.OPEN_MS);
    closed.addEventListener("abort", abort);
    let token: string;
    try {
      const aborted = new Promise<never>((_, reject) => late.signal.addEventListener("abort", () => reject(late.signal.reason)));
      const asked = async () => (typeof source === "string" ? source : source({ reason: this.#refusal?.message, signal: late.signal }));
      token = await Promise.race([asked(), aborted]);
      // What goes in a header; with anything else the doors would seem to be shut.
      if (typeof token !== "string" || !/^[!-~]+$/.test((token = token.trim()))) throw TypeError("not a token");
    } catch (cause) {
      throw new WirefanError("token", `token: ${(cause as Error)?.message ?? cause}`, undefined, { cause });
    } finally {
      clearTimeout(timer);
      closed.removeEventListener("abort", abort);
    }
    if (this.#refusal && token === this.#token) throw this.#refusal;
    this.#token = token;
    this.#refusal = undefined;
    return token;
  }
}
