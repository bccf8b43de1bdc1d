//! What the keys of a configuration demand of each other, once each of them is right by itself.
//!
//! Called by `Draft::finish`, last of all. Refuses above all a broker that strangers could use without its operator
//! having said so.

use std::net::SocketAddr;

use crate::auth::origin::Origins;
use crate::limits::ENVELOPE_BYTES_MAX;

use super::error::excerpt;
use super::{AllowAnonymous, Config, Problem, Tls};

/// All problems of `config`; `written` begins a sentence about a key: the place, the key, the value.
pub(super) fn check(config: &Config, written: impl Fn(&'static str) -> String) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |name, reason: String| problems.push(Problem::new(written(name), reason));
    if config.server.listen.is_empty() {
        refuse("server.listen", "must name at least one address to listen on".to_owned());
    }
    for (name, addresses, before) in [
        ("server.listen", &config.server.listen, [].as_slice()),
        ("tls.listen", &config.tls.listen, &config.server.listen),
    ] {
        if let Err(reason) = listen(config, addresses, before) {
            refuse(name, reason);
        }
    }
    if let Some((name, reason)) = tls(&config.tls) {
        refuse(name, reason.to_owned());
    }
    if let Err(error) = Origins::parse(&config.server.allowed_origins) {
        refuse("server.allowed_origins", excerpt(&error.to_string()));
    }
    if config.server.allow_anonymous == AllowAnonymous::Never && !config.auth.is_configured() {
        refuse("server.allow_anonymous", NOBODY_LEFT.to_owned());
    }
    if REGISTERED.contains(&config.auth.claims.as_str()) {
        refuse("auth.claims", "is a claim with a meaning of its own (RFC 7519 4.1)".to_owned());
    }
    let needed = config.limits.message_bytes_max + ENVELOPE_BYTES_MAX;
    if config.limits.outbound_bytes_max < needed {
        let reason = format!(
            "must be at least {needed}, so that one message of limits.message_bytes_max ({}) and the {ENVELOPE_BYTES_MAX} bytes \
             around it can wait",
            config.limits.message_bytes_max
        );
        refuse("limits.outbound_bytes_max", reason);
    }
    problems
}

/// `before`: the other addresses that are listened on.
fn listen(config: &Config, addresses: &[SocketAddr], before: &[SocketAddr]) -> Result<(), String> {
    for (index, address) in addresses.iter().enumerate() {
        // Each port 0 becomes a port of its own.
        if address.port() != 0 && addresses[..index].contains(address) {
            return Err(format!("names {address} twice"));
        }
        if address.port() != 0 && before.contains(address) {
            return Err(format!("names {address}, as server.listen does; without tls.listen TLS is spoken there"));
        }
    }
    let public = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    match (public, config.server.allow_anonymous) {
        (Some(address), AllowAnonymous::Loopback) if !config.auth.is_configured() => Err(format!(
            "{address} can be reached from other machines, and without authentication anyone there could subscribe and publish; \
             listen on 127.0.0.1, configure [auth], or say that this is meant with --allow-anonymous or server.allow_anonymous = \"always\""
        )),
        _ => Ok(()),
    }
}

/// The key at fault, and why.
fn tls(tls: &Tls) -> Option<(&'static str, &'static str)> {
    let (cert, key) = (tls.is_configured(), !tls.first.key.as_os_str().is_empty());
    match (cert, key) {
        (true, false) => Some(("tls.key", "must name the key of tls.cert")),
        (false, true) => Some(("tls.cert", "must name the certificate of tls.key")),
        (false, false) if !tls.others.is_empty() => Some(("tls.certificates", NO_FIRST)),
        (false, false) if !tls.listen.is_empty() => Some(("tls.listen", "needs a certificate, tls.cert and tls.key")),
        _ => None,
    }
}

const NO_FIRST: &str = "are those beside tls.cert and tls.key, which must name the one for all other names";

const NOBODY_LEFT: &str = "would refuse every connection, because without [auth] nobody can say who they are; \
                           choose \"loopback\" or \"always\"";

const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
