//! The language inside messages: commands in, replies and publications out, positions, faults.
//!
//! `shard` runs one [`Parser`] over its connections' messages and answers through [`reply`]; `home` writes each
//! publication once through [`publication`]. Payloads stay untouched slices. What a stranger sends ends in a
//! [`Fault`], never in a panic, and nothing here recurses over a document.

mod command;
mod fallback;
mod fault;
mod id;
mod json_text;
pub mod listing;
mod parser;
mod position;
pub mod publication;
pub mod reply;
mod spans;

pub use command::{Command, Op, Payload, Secret};
pub use fault::{Excerpt, Fault, Field, Kind, Reason};
pub use id::Id;
pub use parser::Parser;
pub use position::{Position, PositionError};
