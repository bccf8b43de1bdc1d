//! RFC 9112 without I/O: a request head in, a response out; as much of it as a handshake and a plain GET need.
//!
//! `net` collects a head in any split of the bytes, [`parse_head`] judges it, `ws::handshake` or [`respond_to`] answers.
//! Every response closes its connection, so no body is ever read. Heads are bounded by `limits`.

mod credential;
mod head;
mod problem;
mod response;
mod routes;

pub use credential::credential;
pub use head::{Head, parse_head, tokens};
pub use problem::Problem;
pub use response::{respond, respond_problem};
pub use routes::{Endpoint, endpoint, respond_to};
