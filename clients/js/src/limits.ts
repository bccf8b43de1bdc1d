// Every number that bounds something, with its reason. Times are milliseconds.

/** How long a door may take until it has answered, and a token callback until it has a token. */
export const OPEN_MS = 10_000;
/** A connection that lasted so long was a good one: the back-off begins anew. */
export const STABLE_MS = 10_000;
/** A door that was good before may fail so often in a row before the next one is tried: brokers restart. */
export const FAILURES_MAX = 3;
/** On a lesser door: when to look whether a better one opens, at first and at most. */
export const CLIMB_MS = 5_000;
export const CLIMB_MS_MAX = 600_000;
/** How long a page that wakes up has to have waited since the last attempt. */
export const WAKE_MS = 1_000;
/** How long a pong may take. */
export const PONG_MS = 10_000;
/** A stream of events without a sign for so long is dead; the broker's heartbeat has to be shorter. */
export const SILENCE_MS = 100_000;
/** Seconds that a poll waits, and milliseconds between the beginnings of two. */
export const POLL_S = 25;
export const POLL_MS_MIN = 100;
/** The longest `retry_ms` that is believed. */
export const RETRY_MS_MAX = 600_000;
/** What may wait in the socket before commands wait here, and how often to look. */
export const BUFFERED_MAX = 256 * 1024;
export const BUFFERED_LOOK_MS = 50;
/** Calls without an answer, and the bytes of what they publish. */
export const CALLS_MAX = 10_000;
export const CALLS_BYTES_MAX = 16 * 1024 * 1024;
/** Messages that wait in a loop over a subscription. */
export const QUEUE_MAX = 10_000;
/** What the body of a batch has at most, if it has more than one publication. */
export const BATCH_BYTES = 16 * 1024;
export const BATCH_MAX = 256;
/** Topics of one stream or poll, and the bytes of its address: the broker reads 100, and heads of 8 KiB with the token. */
export const FEED_TOPICS_MAX = 100;
export const FEED_BYTES_MAX = 6_000;
