//! What a token says (RFC 7519 4): who it is, until when, and what they may do.
//!
//! `token` calls it with a payload whose signature is right and with the time. Every member counts once; those that are
//! not known here say nothing. It refuses a token without end, one for another audience or of another issuer, and
//! grants that it cannot keep as they stand: never the rest of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::grants::{Allowance, GrantError, Grants};
use super::mark::KeyMark;
use super::token_error::TokenError;
use crate::limits::USER_BYTES_MAX;

/// Who speaks, and what they may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The name, 1..=[`USER_BYTES_MAX`] bytes without control characters: a token's `sub`, an API key's name.
    pub user: Box<str>,
    /// From this second since 1970 on it is no identity any more, leeway included. [`NEVER`] for API keys.
    pub expires_unix_s: u64,
    /// What may be subscribed to, and read.
    pub subscribe: Grants,
    /// What may be published to.
    pub publish: Grants,
    /// Whether connections may be listed and closed.
    pub operate: bool,
    /// Which key it came by.
    pub mark: KeyMark,
}

/// When an [`Identity`] without an end expires.
pub const NEVER: u64 = u64::MAX;

impl Identity {
    /// Whether it is over.
    #[must_use]
    pub fn is_expired(&self, now_unix_s: u64) -> bool {
        now_unix_s >= self.expires_unix_s
    }
}

/// What the tokens of a broker have to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expectations {
    /// The member that has the grants.
    pub claims: String,
    /// What `aud` has to name. None: a token with `aud` is for others.
    pub audience: Option<String>,
    /// What `iss` has to be. None: it is not looked at.
    pub issuer: Option<String>,
    /// How far the clocks of issuer and broker may be apart, in seconds.
    pub leeway_s: u64,
}

impl Default for Expectations {
    fn default() -> Self {
        Self { claims: "wirefan".to_owned(), audience: None, issuer: None, leeway_s: 30 }
    }
}

/// Reads the claims and checks them; `mark` is that of the key that signed them.
pub(super) fn read(
    payload: &[u8],
    expected: &Expectations,
    now_unix_s: u64,
    mark: KeyMark,
) -> Result<Identity, TokenError> {
    let members: Members<'_> = serde_json::from_slice(payload).map_err(|_| TokenError::Claims)?;
    let expires_unix_s = members.expiry(expected.leeway_s)?;
    if now_unix_s >= expires_unix_s {
        return Err(TokenError::Expired);
    }
    if let Some(begin) = members.value::<f64>("nbf")? {
        let begin = seconds(begin.ceil())?;
        if now_unix_s.saturating_add(expected.leeway_s) < begin {
            return Err(TokenError::NotYet);
        }
    }
    members.check_audience(expected.audience.as_deref())?;
    members.check_issuer(expected.issuer.as_deref())?;
    let user = members.value::<Cow<'_, str>>("sub")?.filter(|user| is_user(user)).ok_or(TokenError::User)?;
    let Granted { subscribe, publish, operate } = members.value(&expected.claims)?.unwrap_or_default();
    let (subscribe, publish) = grant(&subscribe, &publish)?;
    Ok(Identity { user: user.as_ref().into(), expires_unix_s, subscribe, publish, operate, mark })
}

/// Both lists, under the bounds of one identity.
pub(super) fn grant<S: AsRef<str>>(subscribe: &[S], publish: &[S]) -> Result<(Grants, Grants), TokenError> {
    let mut allowance = Allowance::new();
    let mut grant = |filters, error: fn(GrantError) -> TokenError| allowance.grant(filters).map_err(error);
    Ok((grant(subscribe, TokenError::Subscribe)?, grant(publish, TokenError::Publish)?))
}

/// Whether this can be shown to others as the name of someone.
#[must_use]
pub fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The member with the grants. What is absent grants nothing, so that a typing error takes away rather than gives.
#[derive(Deserialize, Default)]
struct Granted<'a> {
    #[serde(borrow, default)]
    subscribe: Vec<Cow<'a, str>>,
    #[serde(borrow, default)]
    publish: Vec<Cow<'a, str>>,
    #[serde(default)]
    operate: bool,
}

/// RFC 7519 4.1.3: one audience, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(#[serde(borrow)] Cow<'a, str>),
    Several(#[serde(borrow)] Vec<Cow<'a, str>>),
}

/// The members of an object, none of them twice.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// A member of this type; none if it is absent.
    fn value<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, TokenError> {
        let raw = self.0.get(name);
        raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| TokenError::Claims)).transpose()
    }

    /// From which second on the token is over, leeway included.
    fn expiry(&self, leeway_s: u64) -> Result<u64, TokenError> {
        let end = self.value::<f64>("exp")?.ok_or(TokenError::NoExpiry)?;
        // RFC 7519 2: a NumericDate may have a fraction; the whole second before it is safe.
        Ok(seconds(end.floor())?.saturating_add(leeway_s))
    }

    fn check_audience(&self, expected: Option<&str>) -> Result<(), TokenError> {
        // RFC 7519 4.1.3: who does not find itself in an `aud` that is there has to refuse the token.
        let named = match (self.value("aud")?, expected) {
            (None, None) => true,
            (Some(Audience::One(audience)), Some(expected)) => audience == expected,
            (Some(Audience::Several(audiences)), Some(expected)) => {
                audiences.iter().any(|audience| audience == expected)
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if named { Ok(()) } else { Err(TokenError::Audience) }
    }

    fn check_issuer(&self, expected: Option<&str>) -> Result<(), TokenError> {
        let Some(expected) = expected else {
            return Ok(());
        };
        match self.value::<Cow<'_, str>>("iss")? {
            Some(issuer) if issuer == expected => Ok(()),
            _ => Err(TokenError::Issuer),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = BTreeMap<String, &'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    // RFC 7519 4: names are unique; which of two counts would be anyone's guess.
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is there twice"));
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Collect).map(Self)
    }
}

/// Whole seconds since 1970. Milliseconds, the usual mistake, would never expire.
fn seconds(number: f64) -> Result<u64, TokenError> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is in range, and whole")]
    if (0.0..=UNIX_S_MAX).contains(&number) { Ok(number as u64) } else { Err(TokenError::NotSeconds) }
}

/// The end of the year 9999. A double holds every second until then.
const UNIX_S_MAX: f64 = 253_402_300_799.0;
