//! Every queue, loop and buffer has a named limit here, in bytes or items, unless an operator sets it (`[limits]`).

/// Read buffer of one shard, and so the most bytes read from one connection per turn, but for [`PLACED_BYTES_PER_TURN`]. A
/// message of the default limit, 64 KiB, is in it whole with its header.
pub const READ_BYTES_PER_TURN: usize = 68 * 1024;
/// Fewest bytes of a message that still have to come for which they are read into its own memory, not into the shard's buffer.
pub const PLACED_BYTES_MIN: usize = 4 * 1024;
/// Most bytes of one message that are read into its own memory per turn.
pub const PLACED_BYTES_PER_TURN: usize = 256 * 1024;
/// Messages from this size on, in bytes, are large: the next one is expected to be as long, an echo goes back from where it
/// lies and at once, and the buffer is kept for others.
pub const LARGE_MESSAGE_BYTES_MIN: usize = 16 * 1024;
/// Bytes of such buffers that a shard keeps, all together.
pub const LARGE_SPARES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes read from all connections of one shard per turn; what is readable beyond them waits for the next turn.
pub const TURN_READ_BYTES_MAX: usize = 1024 * 1024;

/// Connections accepted by one shard per turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Events taken from the kernel per turn.
pub const EVENTS_PER_TURN: usize = 256;

/// How long accepting pauses when the process or the system is out of descriptors or memory, in milliseconds.
pub const ACCEPT_PAUSE_MS: u64 = 100;

/// A listener's queue of connections not yet accepted.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Unsent bytes that the kernel may hold per connection (`TCP_NOTSENT_LOWAT`).
pub const UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// Subscribers of one publication that are written to before the shard looks at everything else again: about a millisecond.
/// A fan-out to more than this is a bulk one and waits behind small ones.
pub const FANOUT_SLICE: usize = 256;

/// Connections written to in one turn besides a slice of a bulk fan-out.
pub const FLUSHES_PER_TURN: usize = 4096;

/// Connections whose deadline came that one turn looks at, most of them to ping: half a millisecond with their writes. Of a
/// million, 4,000 are pinged in each tick.
pub const DEADLINES_PER_TURN: usize = 512;

/// Pending ranges up to this total, in bytes, are copied side by side for one `send`; beyond it `writev` is cheaper.
pub const GATHER_BYTES_MAX: usize = 16 * 1024;

/// Pending ranges offered to the socket in one `writev`.
pub const PIECES_PER_WRITE: usize = 64;

/// Reading from a connection pauses while this many bytes of answers to its own commands wait for it.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Emptied buffers up to this size, in bytes, are kept for the next reply; also how long one grows before the next begins.
pub const SPARE_BYTES_MAX: usize = 16 * 1024;

/// Emptied buffers kept per shard.
pub const SPARES_MAX: usize = 256;

/// Shards of one broker.
pub const SHARDS_MAX: usize = 128;

/// Parcels that a ring between two shards holds.
pub const RING_PARCELS: usize = 16;

/// Parcels of commands that a home takes per turn, from all shards together.
pub const PARCELS_PER_TURN: usize = 64;

/// A batch is sealed when it reached this many bytes, in the middle of a turn if need be.
pub const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Topics without subscribers whose counter a home remembers.
pub const TOPICS_IDLE_MAX: usize = 65_536;

/// How long the broker waits for the peer's side of a closing handshake, and for the end of a connection that it has
/// shut down, in milliseconds.
pub const CLOSE_MS_MAX: u64 = 5_000;

// A frame of a publication is longer than 48 bytes, so one batch cannot hold all idle topics.
const _: () = assert!(TOPICS_IDLE_MAX > BATCH_BYTES_MAX / 48);

/// Most bytes of a request or response head, up to and with its empty line.
pub const HEAD_BYTES_MAX: usize = 8192;

/// Most header lines of a request or response head.
pub const HEADERS_MAX: usize = 64;

/// Topics whose matching wildcard filters a shard remembers, both halves together.
pub const MATCH_CACHE_ENTRIES: usize = 1024;

/// Bytes of remembered results in a shard's match cache, both halves together and without the topics' names.
pub const MATCH_CACHE_BYTES: usize = 256 * 1024;

/// Objects and arrays inside each other in a command, the command itself and its batch counted.
pub const JSON_DEPTH_MAX: usize = 64;

/// Commands in one message (a batch).
pub const BATCH_COMMANDS_MAX: usize = 1024;

/// Bytes of an `id` that is a string, after its escapes are resolved.
pub const ID_BYTES_MAX: usize = 64;

/// Publications that a subscribe may ask for with `last`.
pub const HISTORY_LAST_MAX: u32 = 1000;

/// Publications that one `history` may ask for with `limit`.
pub const HISTORY_LIMIT_MAX: u32 = 1000;

/// Members that one `presence` may ask for with `limit`.
pub const PRESENCE_LIMIT_MAX: u32 = 1000;

/// Topics or connections on one page of a list for operators.
pub const LIST_LIMIT_MAX: u32 = 1000;

/// Bytes of one shard's part of a page, with which it is full; one item is always given.
pub const LIST_BYTES_MAX: usize = 256 * 1024;

/// Slots of topics and connections that a shard looks at in one turn for operators, all their questions together; what is
/// left goes on in the next turn. A connection that is ended counts its subscriptions, too.
pub const SWEEP_SLOTS_PER_TURN: usize = 4096;

/// Questions of operators that wait for the other shards' answers, of one shard.
pub const SURVEYS_MAX: usize = 16;

/// Milliseconds after which the figures of the shards are told without those of a shard that has not answered: far less
/// than Prometheus waits for a scrape (10 s).
pub const FIGURES_MS_MAX: u64 = 2_000;

/// Milliseconds between two reports on `$sys/stats`.
pub const STATS_MS: u64 = 1_000;

/// Milliseconds between two canaries of a shard, at most.
pub const CANARY_MS: u64 = 1_000;

/// How many times as long it is at most while a shard is silent. It grows fourfold with each canary, so that fewer than
/// [`RING_PARCELS`] are sent to a shard that stands still for a week.
pub const CANARY_TIMES_MAX: u32 = 1 << 20;

/// Queues of connections that one look at a shard's figures adds up: some 0.1 ms.
pub const QUEUES_LOOKED_AT: usize = 32_768;

/// Bytes of a publication's `key`, after its escapes are resolved.
pub const KEY_BYTES_MAX: usize = 128;

/// Bytes of a publication's `conflate`, after its escapes are resolved.
pub const CONFLATE_BYTES_MAX: usize = 128;

/// Bytes of the `after` with which a `presence` goes on, after its escapes are resolved.
pub const AFTER_BYTES_MAX: usize = 128;

/// Rules of a configuration, the implicit one not counted. A topic looks at them one by one, once.
pub const RULES_MAX: usize = 1000;

/// The longest message whose buffers a shard's parser keeps for the next one, in bytes.
pub const PARSER_KEPT_BYTES: usize = 64 * 1024;

/// Connections up to which a broker stops at once, without a drain: as few can come back together.
pub const STOP_AT_ONCE_MAX: usize = 1000;
/// The time over which those are told to come back then, in milliseconds, unless `server.drain_s` is less.
pub const STOP_AT_ONCE_RETRY_MS: u64 = 2000;

/// Connections that one shard tells to go in each tick of a drain, at least.
pub const DRAINS_PER_TICK_MIN: usize = 10;

/// How long a process that leaves its port to a successor still accepts who had begun to connect, in milliseconds.
pub const HANDSHAKES_END_MS: u64 = 500;

/// How long it then goes on as before, so that who came last gets an answer, in milliseconds.
pub const LAST_REQUESTS_MS: u64 = 500;

/// How long a broker that leaves waits for its successor to listen, in milliseconds.
pub const SUCCESSOR_LISTENS_MS: u64 = 2_000;

/// How long each of two brokers that hand over an estate waits for the next word of the other, in milliseconds. Longer than
/// all that the one that leaves does before the first: [`HANDSHAKES_END_MS`] twice and [`LAST_REQUESTS_MS`].
pub const ESTATE_SILENCE_MS: u64 = 4_000;

const _: () = assert!(ESTATE_SILENCE_MS > 2 * HANDSHAKES_END_MS + LAST_REQUESTS_MS);

/// How long a broker that takes over waits for the whole estate, in milliseconds, from the moment in which it listens: so long
/// who connects meanwhile is in its queue.
pub const ESTATE_MS_MAX: u64 = 15_000;

/// How long a broker whose predecessor went without a word looks for another one, in milliseconds.
pub const PREDECESSOR_LOOKS_MS: u64 = 2_000;

/// Bytes with which a record of an estate is full, and with which a home hands over what it has written; one publication
/// is always in.
pub const ESTATE_RECORD_BYTES: usize = 256 * 1024;

/// The longest record of an estate, in bytes: a full one and the longest publication.
pub const ESTATE_RECORD_BYTES_MAX: usize = ESTATE_RECORD_BYTES + CLIENT_MESSAGE_BYTES_MAX + 4096;

/// Pieces of an estate that wait to be sent, of each shard.
pub const ESTATE_PIECES_WAITING: usize = 2;

/// Topics of an estate that wait to be placed, for each shard.
pub const BEQUESTS_WAITING: usize = 16;

/// Topics whose time of waiting for former subscribers is over that a home looks at in one turn; the others in the next.
pub const BEQUESTS_RELEASED_PER_TURN: usize = 4_096;

/// How long a topic that had subscribers is kept for them, behind twice `server.drain_s`, in milliseconds.
pub const BEQUEST_KEPT_MS: u64 = 60_000;

/// Lines of the log that wait for the one thread that writes them; those beyond are left out and counted.
pub const LOG_LINES_MAX: usize = 1024;

/// Lines that one shard writes per second about connections, of each kind; those beyond are counted.
pub const LOG_LINES_PER_SECOND: u32 = 10;

/// Characters of one value in a line of the log.
pub const LOG_VALUE_CHARACTERS_MAX: usize = 200;

/// How long the end of the process waits for the last lines of the log, in milliseconds.
pub const LOG_FLUSH_MS: u64 = 1_000;

/// Things that a shard notes for the log in one turn; those beyond are counted.
pub const NOTES_PER_TURN: usize = 64;

/// How long a stop may take, behind a drain, before connections that are still there are dropped, in milliseconds.
pub const STOP_MS_MAX: u64 = 10_000;

/// Longest message that the command line's client takes, and longest input that it publishes, in bytes: the largest
/// `limits.message_bytes_max` with its envelope.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024 + 1024;

/// Messages, lines and signals that wait for a command of the command line.
pub const CLIENT_INBOX_MAX: usize = 1024;

/// Lines that `wirefan publish` has read and not yet seen acknowledged. Below [`CLIENT_INBOX_MAX`], or the answers to them
/// could be stuck behind further lines.
pub const CLIENT_LINES_MAX: usize = 64;

/// Bytes of one chunk of a topic's history: as much as one eviction forgets, and the unit that a replay shares. Small, because
/// the newest chunk is copied for a replay.
pub const HISTORY_CHUNK_BYTES: usize = 16 * 1024;

/// Chunks of a long history are merged, so that a replay of it is some hundred ranges. One becomes this part of the history …
pub const HISTORY_MERGE_SHARE: usize = 64;

/// … and from this many bytes on no more is added to it: about what is copied at once, in the middle of a turn.
pub const HISTORY_MERGED_BYTES: usize = 256 * 1024;

/// Publications that a home forgets for their age in one turn; the others go in the next.
pub const EXPIRIES_PER_TURN: usize = 16_384;

/// Bytes of the messages in one answer to a `history` command; one message is always given.
pub const HISTORY_REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a turn's answers to one shard beyond which a home answers no further `history`: commands of a few bytes must
/// not become gigabytes.
pub const HISTORY_PARCEL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Idempotency keys that a home remembers.
pub const IDEMPOTENCY_KEYS_MAX: usize = 65_536;

/// Idempotency keys that a home forgets in one turn because their window is over; the others go in the next.
pub const KEY_EXPIRIES_PER_TURN: usize = 4_096;

/// Bytes written to one connection per turn before the others get theirs.
pub const FLUSH_BYTES_PER_TURN: usize = 1024 * 1024;

/// Ranges that a shard owes to connections whose sockets would take them. Beyond it the shard reads nothing and takes no
/// mail until it has caught up: publishers are slowed down rather than memory spent.
pub const RANGES_OWED_MAX: usize = 1024 * 1024;

/// The longest message that the fast reader of commands gets, in bytes; longer ones go to the frugal one at once.
pub const SPANS_BYTES_MAX: usize = 256 * 1024;

/// The longest token, in bytes; one in a header has to fit into a request's head with all else.
pub const TOKEN_BYTES_MAX: usize = 8192;

// A token of any length that is taken at all can be sent as a header.
const _: () = assert!(TOKEN_BYTES_MAX <= HEAD_BYTES_MAX);

/// Filters that one token or API key may grant, subscribe and publish together. A topic looks at them one by one, once.
pub const GRANT_FILTERS_MAX: usize = 256;

/// Bytes of all filters that one token or API key grants: what a connection keeps of them.
pub const GRANT_BYTES_MAX: usize = 4096;

/// Bytes of a user's name, which every publication may bear.
pub const USER_BYTES_MAX: usize = 255;

/// Keys that tokens may be signed with. One without `kid` tries all of its algorithm.
pub const TOKEN_KEYS_MAX: usize = 32;

/// API keys of one broker. Each that comes is compared with all of them.
pub const API_KEYS_MAX: usize = 1000;

/// The longest file of a key, of a JWKS or of API keys, in bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Plaintext of one TLS record, in bytes (RFC 8446 5.1).
pub const TLS_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;

/// The longest TLS record, in bytes, with its header (RFC 5246 6.2.3): what a connection keeps at most of one that has not
/// come whole, and of one that the kernel did not take.
pub const TLS_RECORD_BYTES_MAX: usize = 5 + TLS_PLAINTEXT_BYTES_MAX + 2048;

// A read makes progress, whatever is kept of the record before it.
const _: () = assert!(TLS_RECORD_BYTES_MAX < READ_BYTES_PER_TURN);

/// Certificates of one broker. A handshake looks at them one by one.
pub const TLS_CERTIFICATES_MAX: usize = 64;

/// Unread bytes of pipelined HTTP requests that one connection may keep while an earlier request is being answered: two
/// reads. Reading from it pauses meanwhile.
pub const PIPELINE_BYTES_MAX: usize = 2 * READ_BYTES_PER_TURN;

/// Bytes of chunk extensions in one HTTP body, all its chunks together.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;

/// Bytes of the trailer section of one HTTP body.
pub const TRAILER_BYTES_MAX: usize = 4096;

/// Topics that one `POST /v1/publish` may name.
pub const PUBLISH_TOPICS_MAX: usize = 100;

/// Requests of one HTTP connection that may wait for their homes at once.
pub const REQUESTS_UNDER_WAY_MAX: usize = 64;

/// How often a shard goes on in one turn with connections whose requests were answered: so many times
/// [`REQUESTS_UNDER_WAY_MAX`] requests, and a turn of everything else.
pub const REQUESTS_PER_TURN: usize = 128;

/// Topics that one event stream or poll may name.
pub const FEED_TOPICS_MAX: usize = 100;

/// How long a poll waits for something to come at most, in seconds.
pub const POLL_WAIT_S_MAX: u64 = 60;

/// How long it waits if it does not say, in seconds: less than proxies have patience for.
pub const POLL_WAIT_S_USUAL: u64 = 25;

/// After how long a client that lost its event stream comes back at least, in milliseconds, and as much again at most: each
/// has its own time, so that they do not come all at once.
pub const EVENTS_RETRY_MS: u64 = 1000;

/// Parameters of one query.
pub const QUERY_PARAMETERS_MAX: usize = 512;

/// What surrounds the data of a publication on its way to a subscriber, in bytes: the frame header, member names, the
/// topic and the user with every character escaped, the position.
pub const ENVELOPE_BYTES_MAX: usize = 1280;

/// Bytes by which the inflater's buffer grows at first; then it doubles, up to the longest message.
pub const INFLATE_STEP_BYTES: usize = 16 * 1024;

/// The longest inflated message whose buffer a shard keeps for the next one, in bytes.
pub const INFLATED_KEPT_BYTES: usize = 64 * 1024;

/// Bytes of compressed messages that a shard inflates per turn before it reads no more; as many again of what it had read
/// and put off for that. A thousandth of it may have come.
pub const INFLATED_BYTES_PER_TURN: usize = 1024 * 1024;

/// Publications with a payload shorter than this, in bytes, are sent as they are: the first size at which JSON loses a
/// fifth of its frame (`cargo bench --bench deflate`).
pub const DEFLATE_BYTES_MIN: usize = 192;

/// Window bits of what is compressed for many: who asks for a smaller window gets publications as they are, and a larger one
/// wins nothing (64 KiB of JSON become 0.1 % shorter in one of 15 bits).
pub const DEFLATE_WINDOW_BITS: u8 = 12;
