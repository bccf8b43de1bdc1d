//! Who may speak to the broker, and what they may do: origins of browsers, tokens, API keys, grants, rates.
//!
//! `net` asks at the handshake, `shard` for each command, `config` holds the parsed values. Sans-IO: files come as
//! bytes, the time as an argument. No token and no secret is ever shown by `Debug` or in an error.

mod algorithm;
pub mod authority;
mod claims;
mod grants;
mod issue;
mod jws;
pub mod jwks;
mod keys;
pub mod origin;
mod token;
mod token_error;

pub use algorithm::Algorithm;
pub use claims::{Expectations, Identity, NEVER, is_user};
pub use grants::{GrantError, Grants};
pub use issue::{IssueError, PrivateKey, Wish};
pub use keys::{Key, KeyError, Keyring};
pub use token::Verifier;
pub use token_error::TokenError;

#[cfg(test)]
mod tests;
