//! Every queue, loop and buffer has a named limit here, in bytes or items, unless an operator sets it (`[limits]`).

/// Read buffer of one shard, and so the most bytes read from one connection per turn.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;

/// Most bytes of a request or response head, up to and with its empty line.
pub const HEAD_BYTES_MAX: usize = 8192;

/// Most header lines of a request or response head.
pub const HEADERS_MAX: usize = 64;
