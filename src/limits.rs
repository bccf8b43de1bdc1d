//! Every queue, loop and buffer has a named limit here, in bytes or items, unless an operator sets it (`[limits]`).

/// Read buffer of one shard, and so the most bytes read from one connection per turn.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;

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

/// The longest message whose buffers a shard's parser keeps for the next one, in bytes.
pub const PARSER_KEPT_BYTES: usize = 64 * 1024;
