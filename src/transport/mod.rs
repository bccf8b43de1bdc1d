//! How a subscriber is spoken to: turns replies and publications into the bytes of its transport.
//!
//! WebSocket is the only one so far. `home` calls it once per publication, `shard` once per reply.

pub mod websocket;
