// Who the console is at its broker: the token, the requests with it, and the one connection that lasts.
//
// The token is kept in sessionStorage: a reload does not ask again, no other tab has it, it is gone with this one. It goes out in
// headers and in the WebSocket's subprotocol, never in an address. Only scripts of this origin run here (Content-Security-Policy),
// so who could read the storage could also read the field into which the token is typed.

import { Wirefan } from "../client.js";

const KEY = "wirefan.console.token";

export const broker = {
  token: sessionStorage.getItem(KEY) ?? undefined,
  /** Whether it may end connections. */
  operates: false,
  /** Why it may not list topics and connections, in the broker's words; undefined if it may. */
  unlisted: undefined,

  keep(token) {
    this.token = token;
    if (token === undefined) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  },

  /** `{ status, body, problem }` of a request to the API; rejected, with a sentence, where no broker answers within 20 s. */
  async ask(path, query = {}, method = "GET", payload = undefined) {
    const headers = { ...(this.token !== undefined && { Authorization: `Bearer ${this.token}` }) };
    if (payload !== undefined) headers["Content-Type"] = "application/json";
    const search = new URLSearchParams(query);
    const request = fetch(`v1/${path}${search.size ? `?${search}` : ""}`, {
      method,
      headers,
      body: payload === undefined ? undefined : JSON.stringify(payload),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(20_000),
    });
    const response = await request.catch((cause) => {
      throw new Error("The broker does not answer", { cause });
    });
    const body = response.status === 204 ? undefined : await response.json().catch(() => undefined);
    return { status: response.status, body, problem: body?.detail ?? `the broker answered ${response.status}` };
  },

  /** A connection of its own. */
  connect(options = {}) {
    return new Wirefan(".", { token: this.token, backoffMs: [200, 10_000], ...options });
  },

  /**
   * What the console may: `open`, or `token` where one is asked for, with a `reason` if one was given. Sets what the rest looks at.
   * Rejected where no broker answers.
   */
  async enter() {
    const known = this.token !== undefined;
    // Anything else goes in no header: the request would fail as if no broker were there.
    if (known && !/^[!-~]+$/.test(this.token)) return { verdict: "token", reason: "this is no token, which has only visible characters of ASCII" };
    const { status, problem } = await this.ask("topics", { limit: 1 });
    if (status === 401) return { verdict: "token", reason: known ? problem : undefined };
    // Without a token a 403 says that nobody is known here; with one, that it does not say `operate`.
    if (status === 403 && known && (await this.isGuarded())) return { verdict: "token", reason: problem };
    if (![200, 403].includes(status)) throw new Error(problem);
    this.unlisted = status === 403 ? problem : undefined;
    this.operates = status === 200 && known && (await this.isGuarded());
    return { verdict: "open" };
  },

  /** Whether the broker looks at tokens at all. */
  async isGuarded() {
    const response = await fetch("v1/topics?limit=1", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(20_000) });
    return response.status === 401;
  },
};
