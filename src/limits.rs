//! Every queue, loop and buffer has a named limit here, in bytes or items, unless an operator sets it (`[limits]`).

/// Read buffer of one shard, and so the most bytes read from one connection per turn.
pub const READ_BYTES_PER_TURN: usize = 64 * 1024;

/// Most bytes of a request or response head, up to and with its empty line.
pub const HEAD_BYTES_MAX: usize = 8192;

/// Most header lines of a request or response head.
pub const HEADERS_MAX: usize = 64;

/// Longest message that the command line's client takes, and longest input that it publishes, in bytes: the largest
/// `limits.message_bytes_max` with its envelope.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024 + 1024;

/// Messages, lines and signals that wait for a command of the command line.
pub const CLIENT_INBOX_MAX: usize = 1024;

/// Lines that `wirefan publish` has read and not yet seen acknowledged. Below [`CLIENT_INBOX_MAX`], or the answers to them
/// could be stuck behind further lines.
pub const CLIENT_LINES_MAX: usize = 64;
