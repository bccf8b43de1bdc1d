//! The signature algorithms of tokens (RFC 7518 3.1, RFC 8037), by the names that headers, keys and the configuration use.
//!
//! There is no `none` here, so that nothing can be talked into it.

use std::fmt;

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 6] = [Self::Hs256, Self::Hs384, Self::Hs512, Self::Rs256, Self::Es256, Self::EdDsa];

    /// The algorithm of this name, which is compared byte for byte (RFC 7515 4.1.1).
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        // RFC 9864 gives EdDSA on this curve a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// As a header has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether the same secret signs and verifies.
    #[must_use]
    pub fn is_symmetric(self) -> bool {
        self.secret_bytes_min().is_some()
    }

    /// The shortest secret, in bytes: as long as the hash (RFC 7518 3.2). None where there is a key pair.
    #[must_use]
    pub fn secret_bytes_min(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            Self::Rs256 | Self::Es256 | Self::EdDsa => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_none_is_none_of_them() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::of_name(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::of_name("Ed25519"), Some(Algorithm::EdDsa));
        for name in ["none", "None", "NONE", "", "hs256", "HS256 ", "HS1", "RS384", "RS512", "PS256", "ES384", "Ed448"]
        {
            assert_eq!(Algorithm::of_name(name), None, "{name:?}");
        }
    }
}
