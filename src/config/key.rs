//! The table of keys: for each its name, how a written value is taken, how the value in force is shown.
//!
//! Used by the layers of `source` to read and by `Config`'s `Display` to write. The table is the single list of keys:
//! the reader, the nearest-key hint, the example file's test and the documentation's test all walk it.
//! A reader refuses wrong types and values out of range; what keys demand of each other is the matter of `check`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::{AllowAnonymous, Config, auth, log, tls};
use crate::limits;

/// Why a value cannot be taken: the end of a sentence that began with key and value.
pub(super) type Reason = Cow<'static, str>;

/// One key of the configuration.
pub(super) struct Key {
    /// `table.key`, as documented.
    pub(super) name: &'static str,
    /// Takes a value, or says why not.
    pub(super) read: fn(&mut Config, &Value) -> Result<(), Reason>,
    /// The value in force. Its shape is the shape that the key wants.
    pub(super) show: fn(&Config) -> Value,
}

/// A value of TOML's types, as far as keys use them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(u64),
    Boolean(bool),
    Text(String),
    List(Vec<Value>),
    /// A table within a line.
    Table(Vec<(String, Value)>),
    /// What no key takes: negative numbers, fractions, dates.
    Other,
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "server.listen",
        read: |config, value| {
            config.server.listen = addresses(value)?;
            Ok(())
        },
        show: |config| list(&config.server.listen),
    },
    Key {
        name: "server.shards",
        read: |config, value| whole(&mut config.server.shards, value, 0..=SHARDS_MAX, ""),
        show: |config| Value::Integer(config.server.shards as u64),
    },
    Key {
        name: "server.pin",
        read: |config, value| flag(&mut config.server.pin, value),
        show: |config| Value::Boolean(config.server.pin),
    },
    Key {
        name: "server.allow_anonymous",
        read: |config, value| anonymous(&mut config.server.allow_anonymous, value),
        show: |config| shown_anonymous(config.server.allow_anonymous),
    },
    Key {
        name: "server.allowed_origins",
        read: |config, value| {
            config.server.allowed_origins = texts(value, ORIGINS_SHAPE)?.map(str::to_owned).collect();
            Ok(())
        },
        show: |config| list(&config.server.allowed_origins),
    },
    Key {
        name: "server.echo",
        read: |config, value| flag(&mut config.server.echo, value),
        show: |config| Value::Boolean(config.server.echo),
    },
    Key {
        name: "server.deflate",
        read: |config, value| flag(&mut config.server.deflate, value),
        show: |config| Value::Boolean(config.server.deflate),
    },
    Key {
        name: "server.drain_s",
        read: |config, value| whole(&mut config.server.drain_s, value, 0..=DRAIN_S_MAX, " of seconds"),
        show: |config| Value::Integer(config.server.drain_s.into()),
    },
    Key {
        name: "server.silence_ms_max",
        read: |config, value| match value {
            Value::Integer(1..SILENCE_MS_MIN) => Err(SILENCE_SHAPE.into()),
            _ => whole(&mut config.server.silence_ms_max, value, 0..=SILENCE_MS_MAX, " of milliseconds"),
        },
        show: |config| Value::Integer(config.server.silence_ms_max),
    },
    Key {
        name: "server.spin_us",
        read: |config, value| whole(&mut config.server.spin_us, value, 0..=SPIN_US_MAX, " of microseconds"),
        show: |config| Value::Integer(config.server.spin_us.into()),
    },
    Key {
        name: "limits.connections_max",
        read: |config, value| whole(&mut config.limits.connections_max, value, 1..=CONNECTIONS_MAX, ""),
        show: |config| Value::Integer(config.limits.connections_max as u64),
    },
    Key {
        name: "limits.message_bytes_max",
        read: |config, value| whole(&mut config.limits.message_bytes_max, value, 1..=MESSAGE_BYTES_MAX, " of bytes"),
        show: |config| Value::Integer(config.limits.message_bytes_max as u64),
    },
    Key {
        name: "limits.subscriptions_max",
        read: |config, value| whole(&mut config.limits.subscriptions_max, value, 1..=SUBSCRIPTIONS_MAX, ""),
        show: |config| Value::Integer(config.limits.subscriptions_max as u64),
    },
    Key {
        name: "limits.outbound_bytes_max",
        read: |config, value| whole(&mut config.limits.outbound_bytes_max, value, 1..=OUTBOUND_BYTES_MAX, " of bytes"),
        show: |config| Value::Integer(config.limits.outbound_bytes_max as u64),
    },
    Key {
        name: "limits.handshake_ms_max",
        read: |config, value| {
            whole(&mut config.limits.handshake_ms_max, value, 100..=HANDSHAKE_MS_MAX, " of milliseconds")
        },
        show: |config| Value::Integer(config.limits.handshake_ms_max),
    },
    Key {
        name: "limits.history_bytes_max",
        read: |config, value| whole(&mut config.limits.history_bytes_max, value, 1..=HISTORY_BYTES_MAX, " of bytes"),
        show: |config| Value::Integer(config.limits.history_bytes_max as u64),
    },
    Key {
        name: "limits.commands_per_second_max",
        read: |config, value| whole(&mut config.limits.commands_per_second_max, value, 0..=PER_SECOND_MAX, ""),
        show: |config| Value::Integer(config.limits.commands_per_second_max.into()),
    },
    Key {
        name: "limits.accepts_per_second_max",
        read: |config, value| whole(&mut config.limits.accepts_per_second_max, value, 0..=PER_SECOND_MAX, ""),
        show: |config| Value::Integer(config.limits.accepts_per_second_max.into()),
    },
    Key {
        name: "heartbeat.interval_s",
        read: |config, value| whole(&mut config.heartbeat.interval_s, value, 1..=HEARTBEAT_S_MAX, " of seconds"),
        show: |config| Value::Integer(config.heartbeat.interval_s.into()),
    },
    Key {
        name: "heartbeat.timeout_s",
        read: |config, value| whole(&mut config.heartbeat.timeout_s, value, 1..=HEARTBEAT_S_MAX, " of seconds"),
        show: |config| Value::Integer(config.heartbeat.timeout_s.into()),
    },
    Key {
        name: "auth.keys",
        read: |config, value| {
            config.auth.keys = auth::keys(value)?;
            Ok(())
        },
        show: |config| Value::List(config.auth.keys.iter().map(auth::shown).collect()),
    },
    Key {
        name: "auth.api_keys_file",
        read: |config, value| {
            let mut path = String::new();
            text(&mut path, value, 0)?;
            config.auth.api_keys_file = (!path.is_empty()).then(|| path.into());
            Ok(())
        },
        show: |config| {
            let path = config.auth.api_keys_file.as_ref();
            Value::Text(path.map_or(String::new(), |path| path.to_string_lossy().into_owned()))
        },
    },
    Key {
        name: "auth.claims",
        read: |config, value| text(&mut config.auth.claims, value, 1),
        show: |config| Value::Text(config.auth.claims.clone()),
    },
    Key {
        name: "auth.audience",
        read: |config, value| text(&mut config.auth.audience, value, 0),
        show: |config| Value::Text(config.auth.audience.clone()),
    },
    Key {
        name: "auth.issuer",
        read: |config, value| text(&mut config.auth.issuer, value, 0),
        show: |config| Value::Text(config.auth.issuer.clone()),
    },
    Key {
        name: "auth.leeway_s",
        read: |config, value| whole(&mut config.auth.leeway_s, value, 0..=LEEWAY_S_MAX, " of seconds"),
        show: |config| Value::Integer(config.auth.leeway_s.into()),
    },
    Key {
        name: "auth.in_band_ms_max",
        read: |config, value| whole(&mut config.auth.in_band_ms_max, value, 100..=HANDSHAKE_MS_MAX, " of milliseconds"),
        show: |config| Value::Integer(config.auth.in_band_ms_max),
    },
    Key {
        name: "tls.cert",
        read: |config, value| tls::path(&mut config.tls.first.cert, value, 0),
        show: |config| tls::shown_path(&config.tls.first.cert),
    },
    Key {
        name: "tls.key",
        read: |config, value| tls::path(&mut config.tls.first.key, value, 0),
        show: |config| tls::shown_path(&config.tls.first.key),
    },
    Key {
        name: "tls.certificates",
        read: |config, value| {
            config.tls.others = tls::certificates(value)?;
            Ok(())
        },
        show: |config| Value::List(config.tls.others.iter().map(tls::shown).collect()),
    },
    Key {
        name: "tls.listen",
        read: |config, value| {
            config.tls.listen = addresses(value)?;
            Ok(())
        },
        show: |config| list(&config.tls.listen),
    },
    Key {
        name: "log.format",
        read: |config, value| log::format(&mut config.log.format, value),
        show: |config| log::shown_format(config.log.format),
    },
    Key {
        name: "log.level",
        read: |config, value| log::level(&mut config.log.level, value),
        show: |config| log::shown_level(config.log.level),
    },
    Key {
        name: "metrics.allow_anonymous",
        read: |config, value| anonymous(&mut config.metrics.allow_anonymous, value),
        show: |config| shown_anonymous(config.metrics.allow_anonymous),
    },
];

fn anonymous(place: &mut AllowAnonymous, value: &Value) -> Result<(), Reason> {
    *place = match value {
        Value::Text(word) if word == "loopback" => AllowAnonymous::Loopback,
        Value::Text(word) if word == "always" => AllowAnonymous::Always,
        Value::Text(word) if word == "never" => AllowAnonymous::Never,
        _ => return Err(r#"must be "loopback", "always" or "never""#.into()),
    };
    Ok(())
}

fn shown_anonymous(anonymous: AllowAnonymous) -> Value {
    let word = match anonymous {
        AllowAnonymous::Loopback => "loopback",
        AllowAnonymous::Always => "always",
        AllowAnonymous::Never => "never",
    };
    Value::Text(word.to_owned())
}

impl Key {
    /// The table and the key in it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').expect("every name in the table is `table.key`")
    }

    /// The environment variable that sets this key: `WIREFAN_LIMITS__MESSAGE_BYTES_MAX`.
    pub(super) fn variable(&self) -> String {
        let (table, leaf) = self.parts();
        format!("{VARIABLE_PREFIX}{table}__{leaf}").to_ascii_uppercase()
    }
}

/// As TOML writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(yes) => write!(f, "{yes}"),
            Self::Text(text) => write!(f, "{}", toml::Value::from(text.as_str())),
            Self::List(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    let gap = if index == 0 { "" } else { ", " };
                    write!(f, "{gap}{value}")?;
                }
                f.write_str("]")
            }
            Self::Table(keys) => {
                f.write_str("{ ")?;
                for (index, (key, value)) in keys.iter().enumerate() {
                    let gap = if index == 0 { "" } else { ", " };
                    write!(f, "{gap}{key} = {value}")?;
                }
                f.write_str(" }")
            }
            Self::Other => f.write_str("…"),
        }
    }
}

/// Reads an address to listen on, `IP:PORT`.
///
/// # Errors
/// A sentence that says what is missing and what to write, and does not repeat the text.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Err(format!("lacks the port: write {}", SocketAddr::new(ip, 8080)));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    match port.parse::<u16>() {
        Ok(port) if host.is_empty() => Err(format!(
            "lacks the address: write 127.0.0.1:{port} for this machine alone, 0.0.0.0:{port} for every IPv4 network of it"
        )),
        Ok(port) if host == "localhost" => {
            Err(format!("is a name: write the address, 127.0.0.1:{port} or [::1]:{port}"))
        }
        _ => Err("is not an address: write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080".to_owned()),
    }
}

fn addresses(value: &Value) -> Result<Vec<SocketAddr>, Reason> {
    let mut addresses = Vec::new();
    for text in texts(value, LISTEN_SHAPE)? {
        let address = listen_address(text).map_err(|reason| format!("{text:?} {reason}"))?;
        addresses.push(address);
    }
    Ok(addresses)
}

pub(super) fn whole<N: TryFrom<u64>>(
    slot: &mut N,
    value: &Value,
    range: RangeInclusive<u64>,
    unit: &str,
) -> Result<(), Reason> {
    if let Value::Integer(number) = value
        && range.contains(number)
        && let Ok(fitting) = N::try_from(*number)
    {
        *slot = fitting;
        return Ok(());
    }
    Err(format!("must be a whole number{unit} from {} to {}", range.start(), range.end()).into())
}

pub(super) fn flag(slot: &mut bool, value: &Value) -> Result<(), Reason> {
    let Value::Boolean(yes) = value else {
        return Err("must be true or false".into());
    };
    *slot = *yes;
    Ok(())
}

/// Text of one line, of `min` to [`TEXT_BYTES_MAX`] bytes.
pub(super) fn text(slot: &mut String, value: &Value, min: usize) -> Result<(), Reason> {
    match value {
        Value::Text(text) if (min..=TEXT_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control) => {
            slot.clone_from(text);
            Ok(())
        }
        _ => Err(format!("must be a text of {min} to {TEXT_BYTES_MAX} bytes on one line").into()),
    }
}

fn texts<'v>(value: &'v Value, shape: &'static str) -> Result<impl Iterator<Item = &'v str>, Reason> {
    let Value::List(values) = value else {
        return Err(shape.into());
    };
    let texts: Option<Vec<&str>> =
        values.iter().map(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None }).collect();
    Ok(texts.ok_or(shape)?.into_iter())
}

fn list(values: &[impl ToString]) -> Value {
    Value::List(values.iter().map(|value| Value::Text(value.to_string())).collect())
}

/// What every variable of the broker begins with.
pub(super) const VARIABLE_PREFIX: &str = "WIREFAN_";

/// The one variable with that beginning that is no key: the token with which `publish` and `subscribe` come.
pub const TOKEN_VARIABLE: &str = "WIREFAN_TOKEN";

const LISTEN_SHAPE: &str = r#"must be a list of addresses, such as ["127.0.0.1:8080"]"#;
const ORIGINS_SHAPE: &str = r#"must be a list: ["same"], ["*"], or origins such as ["https://app.example"]"#;

const SHARDS_MAX: u64 = limits::SHARDS_MAX as u64;
const CONNECTIONS_MAX: u64 = 100_000_000;
const MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const SUBSCRIPTIONS_MAX: u64 = 1_000_000;
const OUTBOUND_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// 1 TiB.
const HISTORY_BYTES_MAX: u64 = 1 << 40;
const HANDSHAKE_MS_MAX: u64 = 600_000;
const DRAIN_S_MAX: u64 = 3600;
/// Several canaries have to fit.
const SILENCE_MS_MIN: u64 = 1000;
const SILENCE_MS_MAX: u64 = 600_000;
const SILENCE_SHAPE: &str = "must be 0, or a whole number of milliseconds from 1000 to 600000";
const SPIN_US_MAX: u64 = 10_000;
const HEARTBEAT_S_MAX: u64 = 86_400;
/// Above it the whole microseconds that a rate is kept in would be too coarse.
const PER_SECOND_MAX: u64 = 100_000;
/// Clocks that are further apart are wrong.
const LEEWAY_S_MAX: u64 = 600;
/// As long as a path may be.
const TEXT_BYTES_MAX: usize = 4096;
