//! Every queue, loop and buffer has a named limit here, in bytes or items, unless an operator sets it (`[limits]`).

/// Read buffer of one shard, and so the most bytes read from one connection per turn.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;
