//! `ws://` and `wss://` URLs (RFC 6455 3), parsed.
//!
//! The command line turns its `--url` into one; what a [`Url`] gives is fit for the wire by existing: no space, no
//! control character, nothing but ASCII. Refuses fragments and user names.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Where a broker is: `ws://HOST[:PORT][/PATH][?QUERY]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// `wss`.
    secure: bool,
    /// Without the brackets of IPv6.
    name: String,
    port: u16,
    /// `host[:port]` for the Host header.
    host: String,
    target: String,
}

impl Url {
    /// `host[:port]` as the Host header wants it: the port only if it is not the default one, IPv6 in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Path and query, from the first `/`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether its query has a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').any(|parameter| parameter.starts_with("access_token="))
    }

    /// Name or address, and port, to be resolved.
    #[must_use]
    pub fn authority(&self) -> (&str, u16) {
        (&self.name, self.port)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (secure, rest) = after_scheme(text)?;
        let default_port = if secure { 443 } else { 80 }; // RFC 6455 3
        if rest.contains('#') {
            // RFC 6455 3: fragment identifiers must not be used.
            return Err("must not have a fragment (#): write %23 if the path has that character".to_owned());
        }
        if let Some(character) = rest.chars().find(|character| !character.is_ascii_graphic()) {
            return Err(format!("must be printable ASCII without spaces: percent-encode {character:?}"));
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("must not have a user name".to_owned());
        }
        let (name, port) = split_port(authority)?;
        let port = port.unwrap_or(default_port);
        let name = check_name(name)?;
        let bracketed = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
        let host = if port == default_port { bracketed } else { format!("{bracketed}:{port}") };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { text: text.to_owned(), secure, name: name.to_owned(), port, host, target })
    }
}

/// As it was written, but for a token in its query.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((start, query)) = self.text.split_once('?') else {
            return f.write_str(&self.text);
        };
        f.write_str(start)?;
        for (number, parameter) in query.split('&').enumerate() {
            f.write_str(if number == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                Some((name @ "access_token", _)) => write!(f, "{name}=…")?,
                _ => f.write_str(parameter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Whether it is the secure one, and what follows it.
fn after_scheme(text: &str) -> Result<(bool, &str), String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("must begin with ws:// or wss://, such as ws://127.0.0.1:8080/ws".to_owned());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "ws" => Ok((false, rest)),
        "wss" => Ok((true, rest)),
        "http" => Err(format!("is a WebSocket's: write ws://{}", rest.escape_default())),
        "https" => Err(format!("is a WebSocket's: write wss://{}", rest.escape_default())),
        _ => Err("must begin with ws:// or wss://, such as ws://127.0.0.1:8080/ws".to_owned()),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    if authority.starts_with('[') && !authority.contains(']') {
        // No port can be told apart; the name is refused for what it is.
        return Ok((authority, None));
    }
    // The colons of an IPv6 address stand before the bracket.
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end..].find(':') else {
        return Ok((authority, None));
    };
    let (name, port) = authority.split_at(end + colon);
    match &port[1..] {
        "" => Ok((name, None)),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port) if port > 0 => Ok((name, Some(port))),
            _ => Err(format!("has the port {digits}: it must be from 1 to 65535")),
        },
        colons if colons.contains(':') => {
            Err("has an IPv6 address without brackets: write ws://[::1]:8080/ws".to_owned())
        }
        other => Err(format!("has the port {other}: it must be a number")),
    }
}

fn check_name(name: &str) -> Result<&str, String> {
    if let Some(address) = name.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(address),
            Err(_) => Err(format!("has {name} where an IPv6 address should be")),
        };
    }
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    match name {
        "" => Err("names no host".to_owned()),
        _ if name.bytes().all(is_fit) => Ok(name),
        _ => Err(format!("has {name} where a host name should be")),
    }
}
