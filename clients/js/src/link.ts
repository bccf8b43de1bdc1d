// What the connection and its links know of each other. A link is one attempt at one door: it opens once, ends once, and
// is never used again. Behind `close()` it calls nobody.

import type { ErrorCode, TransportName, WirefanError, WebSocketConstructor } from "./api.js";
import type { Calls } from "./calls.js";
import type { Sub } from "./subscription.js";
import type { Subscriptions } from "./subscriptions.js";

/** What a link asks of whoever opened it, and tells it. */
export interface Host {
  /** `http://host:port` and what stands before `/v1`. */
  readonly base: string;
  readonly token: string | undefined;
  readonly WebSocket: WebSocketConstructor | undefined;
  readonly fetch: typeof fetch;
  readonly subs: Subscriptions;
  readonly calls: Calls;
  opened(link: Link): void;
  /** `why.code` is that of a close or the status of a refusal; 0: nobody said. */
  ended(link: Link, why: WirefanError): void;
  /** The broker will not have this subscription. */
  refused(sub: Sub, error: WirefanError): void;
  failed(error: WirefanError): void;
}

export interface Link {
  readonly name: TransportName;
  /** The subscriptions have changed: sees to it that the broker knows. */
  sync(): void;
  /** Calls wait to be sent. */
  pump(): void;
  /** Whether the subscription is served by it, or cannot be. */
  serves(sub: Sub): boolean;
  /** Something woke us up: is the other end still there? */
  check(): void;
  /** Ends it. Fulfilled when no call is under way by it any more that can still be answered. */
  close(): Promise<void>;
}

/** What to do behind an end (docs/protocol.md, "The end of a connection"). */
export type Verdict = "final" | "token" | "again" | "door";

/** `final`: do not come back. `token`: with another token. `again`: come back. `door`: perhaps by another door. */
export function judge(named: ErrorCode): Verdict {
  const code = Number(named);
  if ([4001, 4501, 401].includes(code)) return "token";
  if (code === 1002 || code === 1007 || code >= 4500) return "final";
  return [1001, 1012, 1013, 429, 503].includes(code) || code >= 4000 ? "again" : "door";
}

/** What is said of an end where the other side said nothing. */
export const NOT_OURS = "not a wirefan";
export const NO_ANSWER = "no answer";
