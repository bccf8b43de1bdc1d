//! Who may speak to the broker: today the origins of browsers; tokens and grants come with their capability.
//!
//! `net` asks at the handshake, `config` holds the parsed values. Sans-IO.

pub mod authority;
pub mod origin;
