//! Who may speak to the broker, and what they may do: origins of browsers, tokens, API keys, grants, rates.
//!
//! `net` asks at the handshake, `shard` for each command, `config` holds the parsed values. Sans-IO: files come as
//! bytes, the time as an argument. No token and no secret is ever shown by `Debug` or in an error.

mod algorithm;
mod api_key;
pub mod authority;
mod claims;
mod credentials;
mod grants;
mod issue;
pub mod jwks;
mod jws;
mod keys;
mod mark;
pub mod origin;
mod rate;
mod token;
mod token_error;

pub use algorithm::Algorithm;
pub use api_key::{ApiKeyError, ApiKeys, NewApiKey, is_api_key};
pub use claims::{Expectations, Identity, NEVER, is_user};
pub use credentials::Credentials;
pub use grants::{GrantError, Grants};
pub use issue::{IssueError, PrivateKey, Wish};
pub use keys::{Key, KeyError, Keyring};
pub use mark::KeyMark;
pub use rate::{Bucket, Pace, Rate};
pub use token::Verifier;
pub use token_error::TokenError;

#[cfg(test)]
mod tests;
