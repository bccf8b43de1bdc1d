// Bytes and text of the protocol: messages in and out, positions, filters. Pure functions; links and subscriptions call them.

import { type Message, WirefanError } from "./api.js";

/** An object as the broker sent it. */
export type Wire = { op: string; id?: number; topic: string; position?: string; [member: string]: unknown };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const byteLength = (text: string): number => encoder.encode(text).length;

/** A command with a payload of bytes: its JSON, a line feed, the payload. */
export function withBytes(command: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(command + "\n");
  const all = new Uint8Array(head.length + payload.length);
  all.set(head);
  all.set(payload, head.length);
  return all;
}

/** What a WebSocket brought. Throws if it is no object of the protocol. */
export function decode(data: string | ArrayBuffer): Wire {
  if (typeof data === "string") return JSON.parse(data) as Wire;
  const bytes = new Uint8Array(data);
  const end = bytes.indexOf(10);
  return { ...(JSON.parse(decoder.decode(bytes.subarray(0, end))) as Wire), data: bytes.slice(end + 1) };
}

/** A publication for the application: without `op`, bytes as bytes. */
export function messageOf(wire: Wire): Message {
  const { topic, position, from, data, encoding } = wire as unknown as Message & { encoding?: string };
  const bytes = encoding === "base64" ? Uint8Array.from(atob(data as string), (c) => c.charCodeAt(0)) : data;
  return { topic, position, from, data: bytes };
}

/** The payload to publish: bytes, or undefined if it is a JSON value. */
export function bytesOf(data: unknown): Uint8Array | undefined {
  if (data instanceof ArrayBuffer) return new Uint8Array(data.slice(0));
  if (!ArrayBuffer.isView(data)) return undefined;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
}

/** Whether `position` is behind `other`. In another life of the counter nothing is known, and it is taken for new. */
export function isAfter(position: string | undefined, other: string | undefined): boolean {
  if (!position || !other) return true;
  const [epoch, offset] = position.split(":");
  const [otherEpoch, otherOffset] = other.split(":");
  return epoch !== otherEpoch || Number(offset) > Number(otherOffset);
}

export const isWild = (filter: string): boolean => /(^|\/)[+#](\/|$)/.test(filter);

/** Whether a filter stands for a topic (docs/protocol.md, "Topics and filters"). */
export function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split("/"), topic.split("/")];
  // No wildcard stands for a first level with a `$`.
  if (topic[0] === "$" && wanted[0] !== levels[0]) return false;
  for (let n = 0; n < wanted.length; n++) {
    if (wanted[n] === "#") return true; // the parent too: `chat/#` stands for `chat`
    if (n >= levels.length || (wanted[n] !== "+" && wanted[n] !== levels[n])) return false;
  }
  return wanted.length === levels.length;
}

/** What the broker, or nobody (0), says by a code and a reason, which may say `retry_ms=N`. */
export function fault(code: number, reason: string, retryMs?: number): WirefanError {
  const found = /retry_ms=(\d+)/.exec(reason);
  return new WirefanError(code, reason, found ? Number(found[1]) : retryMs);
}
