//! RFC 9110 and 9112 without I/O: bytes in, requests out, and the responses that answer them.
//!
//! `shard` reads a connection through a [`Reader`], looks at the path, and writes a [`Response`]; [`respond_to`] answers
//! what is outside the API. Everything a stranger can send is bounded by `limits`.

mod accept;
mod chunked;
mod cors;
mod credential;
mod date;
mod field;
mod framing;
mod head;
mod media;
mod pages;
mod problem;
mod query;
mod reader;
mod repeat;
mod response;
mod routes;

pub use accept::weight;
pub use cors::Cors;
pub use credential::credential;
pub use date::{Date, civil};
pub use field::Field;
pub use framing::Terms;
pub use head::{Head, parse_head, tokens};
pub use media::MediaType;
pub use problem::Problem;
pub use query::{Query, Target, decode_segment};
pub use reader::{Begun, CONTINUE, Event, Input, Reader, Request};
pub use repeat::Repeat;
pub use response::Response;
pub use routes::{Endpoint, endpoint, respond_to};
