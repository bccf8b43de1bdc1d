/*! wirefan 0.1.0, MIT OR Apache-2.0 */
/** The doors of a broker, best first. */
export type TransportName = "websocket" | "sse" | "poll";
/** `connecting` tries the doors, `waiting` lets a back-off pass, `closed` is final. */
export type State = "connecting" | "open" | "waiting" | "closed";
/** What a token callback is told. */
export interface TokenRequest {
  /** Why the last token is good no more, in the broker's words; missing at the first time. */
  reason?: string | undefined;
  /** Aborted when nobody waits for the token any more: by `close()`, or after 10 s. */
  signal: AbortSignal;
}
/** Asked before the first connection, and again when the broker says that the token is good no more. */
export type TokenCallback = (request: TokenRequest) => string | Promise<string>;
/** A constructor as the platform's `WebSocket`; the package `ws` has one, for Node before 22. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocket;
export interface Options {
  /** Who you are: a token, or who makes one. */
  token?: string | TokenCallback;
  /** Which doors to try, best first: `["websocket", "sse", "poll"]` if it is not given. */
  transports?: TransportName[];
  /** `globalThis.WebSocket` if it is not given; without either the door is left out. */
  WebSocket?: WebSocketConstructor;
  /** `globalThis.fetch` if it is not given. */
  fetch?: typeof fetch;
  /**
   * For how many milliseconds a publish without an answer may be sent again with its key; 240,000 if it is not given. It has
   * to be less than `idempotency` of the topics' rules, 5 minutes by default; 0 where a rule has none.
   */
  resendMs?: number;
  /** The least and the most of the back-off, in milliseconds: 100 and 30,000 if they are not given. */
  backoffMs?: [least: number, most: number];
  /** `close()` when it is aborted. */
  signal?: AbortSignal;
}
/** A publication. */
export interface Message<T = unknown> {
  topic: string;
  position: string;
  /** Who published it, where the topic's rule tells. */
  from?: string | undefined;
  /** The JSON value, or a `Uint8Array` if bytes were published. */
  data: T;
}
/** Publications that did not come. */
export interface Gap {
  /** The topic, or the filter where it has wildcards and the connection was lost. */
  topic: string;
  /** How many; missing where nobody knows. */
  missed?: number | undefined;
  /** The newest of them, if it is known. */
  position?: string | undefined;
}
export interface Member {
  client: string;
  user: string | null;
}
export interface StateChange {
  state: State;
  /** Through which door it is open. */
  transport?: TransportName;
  /** How long it waits, in milliseconds. */
  retryMs?: number | undefined;
  /** Why it waits or is closed, if that was nobody's wish. */
  error?: WirefanError | undefined;
}
/** What became of a subscribe, the first or that of a new connection. */
export interface Subscribed {
  /** Where live begins; none with wildcards. */
  position?: string | undefined;
  /** Whether nothing was missed since the connection before; missing the first time. */
  recovered?: boolean | undefined;
}
export interface ClientEvents {
  state: StateChange;
  error: WirefanError;
  gap: Gap;
}
export interface SubscriptionEvents {
  subscribed: Subscribed;
  gap: Gap;
  join: Member;
  leave: Member;
  end: WirefanError | undefined;
}
/** An `EventTarget` whose events are `CustomEvent`s, the news in `detail`. */
export interface Emitter<Events> extends EventTarget {
  /** Calls the listener with each `detail`, until the function that it returns is called. */
  on<K extends keyof Events & string>(type: K, listener: (detail: Events[K]) => void): () => void;
}
export interface SubscribeOptions {
  /** Begin with the last so many that are kept, at most 1,000. For a topic, not for a filter with wildcards. */
  last?: number;
  /** Tell who comes and goes, by the events `join` and `leave`. Not by polling. */
  presence?: boolean;
  /** `unsubscribe()` when it is aborted. */
  signal?: AbortSignal;
}
export interface Subscription<T = unknown> extends Emitter<SubscriptionEvents>, AsyncIterable<Message<T>> {
  readonly filter: string;
  /** The last publication that was delivered or told as missed, or where live began. None with wildcards. */
  readonly position: string | undefined;
  /** Whether the newest connection missed nothing; `undefined` before there was a second one. */
  readonly recovered: boolean | undefined;
  /** Fulfilled by the first ack; rejected if the subscription ends before. */
  readonly ready: Promise<void>;
  /** Ends it: from now on nothing is delivered. */
  unsubscribe(): void;
}
export interface PublishOptions {
  /** By which the broker knows a repeat, 1 to 128 bytes; one is made up if it is not given. */
  key?: string;
  /** Under which only the newest waits for a slow consumer, where the rule says `latest`. */
  conflate?: string;
  /** Gives up. What was sent may be published all the same. */
  signal?: AbortSignal;
}
export interface HistoryOptions {
  since?: string;
  limit?: number;
  reverse?: boolean;
  signal?: AbortSignal;
}
export interface History<T = unknown> {
  topic: string;
  position: string;
  messages: Message<T>[];
}
export interface PresenceOptions {
  limit?: number;
  after?: string;
  signal?: AbortSignal;
}
export interface Presence {
  topic: string;
  members: Member[];
  users: number;
  connections: number;
  next?: string | undefined;
}
/**
 * A number is the broker's: of an error, a refusal or a close; 0 if the connection ended and nobody said why. `unknown`: sent, and nobody knows whether it was published.
 * `full`: too much waits to be sent. `slow`: too much waits in a loop over a subscription. `unreachable`: no door leads to a wirefan.
 * `token`: the callback threw, or came too late, or a token is none. `closed`: by `close()`.
 */
export type ErrorCode = number | "unknown" | "full" | "slow" | "unreachable" | "token" | "closed";
export declare class WirefanError extends Error {
  readonly code: ErrorCode;
  /** After how many milliseconds it may go better, if the broker said. */
  readonly retryMs?: number | undefined;
  readonly name = "WirefanError";
  constructor(code: ErrorCode, message: string, 
  /** After how many milliseconds it may go better, if the broker said. */
  retryMs?: number | undefined, options?: ErrorOptions);
}

declare class Emits<Events> extends EventTarget implements Emitter<Events> {
  on<K extends keyof Events & string>(type: K, listener: (detail: Events[K]) => void): () => void;
}

export declare class Wirefan extends Emits<ClientEvents> {
  #private;
  /**
   * Connects to the broker at `url`: `https://broker.example`, or `wss://broker.example/ws`; in a page, `/` is where it came from.
   * @throws TypeError if the URL or an option is none.
   */
  constructor(url: string | URL, options?: Options);
  get state(): State;
  /** Through which door it is open. */
  get transport(): TransportName | undefined;
  /**
   * Subscribes, now and on every connection to come. Without a handler the messages wait for a `for await` over the subscription.
   * @throws TypeError if there is a subscription to the filter already, or `last` is asked of wildcards.
   */
  subscribe<T = unknown>(filter: string, handler?: ((message: Message<T>, subscription: Subscription<T>) => void) | null, options?: SubscribeOptions): Subscription<T>;
  /**
   * Publishes a JSON value, or bytes, and answers the position. What is called while there is no connection waits for one.
   * Rejected with a `WirefanError`: 403, 413, 429 as the broker says; `unknown` if the connection was lost and the key may be
   * forgotten by now.
   */
  publish(topic: string, data: unknown, { key, conflate, signal }?: PublishOptions): Promise<string>;
  /** Kept publications of a topic. */
  history<T = unknown>(topic: string, { signal, ...members }?: HistoryOptions): Promise<History<T>>;
  /** Who is there: a page of members, and how many there are. */
  presence(topic: string, { signal, ...members }?: PresenceOptions): Promise<Presence>;
  /** Ends everything: subscriptions end, calls without an answer are rejected. */
  close(): void;
}
export {};
