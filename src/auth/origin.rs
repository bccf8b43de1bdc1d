//! Which web pages may open a connection: the Origin header against `server.allowed_origins` (RFC 6454, RFC 6455 10.2).
//!
//! `config` parses the list once, `net` asks at each handshake. A browser always sends Origin on a WebSocket handshake;
//! a request without it is not a browser's and is not judged here. What cannot be parsed, `null` too, only `*` admits.

use std::fmt;

use super::authority::Authority;

/// The allowed origins, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    any: bool,
    same: bool,
    listed: Vec<Listed>,
}

/// One origin of the list, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    scheme: String,
    host: String,
    port: Option<u16>,
}

/// An entry of the list is none of `same`, `*` and an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnOrigin {
    entry: String,
}

impl Origins {
    /// Parses `["same"]`, `["*"]`, origins such as `https://a.example:8443`, or a mixture. An empty list admits no
    /// browser.
    ///
    /// # Errors
    /// The first entry that is none of these.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, NotAnOrigin> {
        let mut origins = Self { any: false, same: false, listed: Vec::new() };
        for entry in list.iter().map(AsRef::as_ref) {
            match entry {
                "*" => origins.any = true,
                "same" => origins.same = true,
                _ => match Origin::parse(entry) {
                    Some(origin) => origins.listed.push(Listed {
                        scheme: origin.scheme.to_ascii_lowercase(),
                        host: origin.authority.host.to_ascii_lowercase(),
                        port: origin.port(),
                    }),
                    None => {
                        return Err(NotAnOrigin { entry: entry.to_owned() });
                    }
                },
            }
        }
        Ok(origins)
    }

    /// Whether a request with this Origin header, sent to this Host, may go on; `tls`: it came by TLS, to this very process.
    #[must_use]
    pub fn allows(&self, origin: Option<&str>, host: &str, tls: bool) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        if self.any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else {
            return false;
        };
        (self.same && origin.is_of_host(host, tls)) || self.listed.iter().any(|listed| origin.is(listed))
    }
}

impl Default for Origins {
    /// `["same"]`: only pages that came from here.
    fn default() -> Self {
        Self { any: false, same: true, listed: Vec::new() }
    }
}

/// RFC 6454 6.2: `scheme://host[:port]` and nothing more.
#[derive(Clone, Copy)]
struct Origin<'a> {
    scheme: &'a str,
    authority: Authority<'a>,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let mut bytes = scheme.bytes();
        // RFC 3986 3.1.
        let valid = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !valid {
            return None;
        }
        Authority::parse(authority).map(|authority| Self { scheme, authority })
    }

    fn port(&self) -> Option<u16> {
        self.authority.port.or_else(|| self.default_port())
    }

    fn default_port(&self) -> Option<u16> {
        if self.scheme.eq_ignore_ascii_case("https") {
            Some(443)
        } else if self.scheme.eq_ignore_ascii_case("http") {
            Some(80)
        } else {
            None
        }
    }

    /// The page came from the host that the request goes to. Without TLS there may be a proxy that ends it, and the scheme of
    /// the page is not known here: a missing port is then the default of the origin's scheme on both sides.
    fn is_of_host(&self, host: &str, tls: bool) -> bool {
        let Some(default_port) = self.default_port() else {
            return false;
        };
        (!tls || self.scheme.eq_ignore_ascii_case("https"))
            && Authority::parse(host).is_some_and(|host| {
                host.host.eq_ignore_ascii_case(self.authority.host)
                    && Some(host.port.unwrap_or(default_port)) == self.port()
            })
    }

    fn is(&self, listed: &Listed) -> bool {
        self.scheme.eq_ignore_ascii_case(&listed.scheme)
            && self.authority.host.eq_ignore_ascii_case(&listed.host)
            && self.port() == listed.port
    }
}

impl fmt::Display for NotAnOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an origin: write \"same\", \"*\", or scheme://host[:port] without a path", self.entry)
    }
}

impl std::error::Error for NotAnOrigin {}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &[&str], origin: &str, host: &str) -> bool {
        Origins::parse(list).unwrap().allows(Some(origin), host, false)
    }

    #[test]
    fn without_an_origin_it_is_no_browser_and_may_pass() {
        assert!(Origins::parse::<&str>(&[]).unwrap().allows(None, "a.example", false));
        assert!(Origins::default().allows(None, "a.example", false));
    }

    #[test]
    fn behind_our_own_tls_only_a_page_that_came_by_tls_is_the_same() {
        for (origin, host, allowed) in [
            ("https://a.example", "a.example", true),
            ("https://a.example:8443", "a.example:8443", true),
            ("http://a.example", "a.example", false),
            ("http://a.example:8443", "a.example:8443", false),
            ("http://a.example", "a.example:80", false),
        ] {
            assert_eq!(Origins::default().allows(Some(origin), host, true), allowed, "{origin} at {host}");
        }
        let listed = Origins::parse(&["http://a.example"]).unwrap();
        assert!(listed.allows(Some("http://a.example"), "b.example", true), "who lists it wants it");
    }

    #[test]
    fn same_compares_host_and_port_with_the_schemes_defaults() {
        for (origin, host, allowed) in [
            ("http://a.example", "a.example", true),
            ("http://A.example", "a.EXAMPLE", true),
            ("http://a.example:8080", "a.example:8080", true),
            ("http://a.example", "a.example:80", true),
            ("http://a.example:80", "a.example", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example:443", "a.example", true),
            ("https://a.example", "a.example", true),
            ("HTTPS://a.example", "a.example", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("https://a.example", "a.example:80", false),
            ("http://a.example", "a.example:443", false),
            ("http://a.example:8080", "a.example", false),
            ("http://a.example", "a.example:8080", false),
            ("http://a.example:8081", "a.example:8080", false),
            ("http://b.example", "a.example", false),
            ("http://a.example.evil", "a.example", false),
            ("http://evil-a.example", "a.example", false),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("chrome-extension://a.example", "a.example", false),
            ("null", "null", false),
            ("", "a.example", false),
            ("a.example", "a.example", false),
            ("http://a.example/", "a.example", false),
            ("http://u@a.example", "a.example", false),
            ("http://a.example http://b.example", "a.example", false),
            ("http://a.example", "", false),
        ] {
            assert_eq!(allows(&["same"], origin, host), allowed, "{origin} at {host}");
            assert_eq!(Origins::default().allows(Some(origin), host, false), allowed, "{origin} at {host}");
        }
    }

    #[test]
    fn star_admits_null_and_nonsense_too() {
        for origin in ["null", "", "https://b.example", "\u{fffd}"] {
            assert!(allows(&["*"], origin, "a.example"), "{origin}");
        }
    }

    #[test]
    fn a_listed_origin_matches_by_scheme_host_and_port() {
        let list = ["https://A.example", "http://b.example:8080", "app://local", "same"];
        for (origin, allowed) in [
            ("https://a.example", true),
            ("https://a.EXAMPLE:443", true),
            ("http://b.example:8080", true),
            ("app://local", true),
            ("http://host.example", true),
            ("http://a.example", false),
            ("https://a.example:444", false),
            ("http://b.example", false),
            ("app://local:1", false),
            ("https://c.a.example", false),
            ("null", false),
        ] {
            assert_eq!(allows(&list, origin, "host.example"), allowed, "{origin}");
        }
        assert!(!allows(&list[..3], "http://host.example", "host.example"));
        assert!(!allows(&[], "http://host.example", "host.example"));
    }

    #[test]
    fn what_is_no_origin_is_refused_in_the_list_with_a_sentence() {
        for entry in ["null", "", "a.example", "https://", "https://a/", "https://a:b", "://a", "1x://a", "Same"] {
            let error = Origins::parse(&["same", entry]).unwrap_err();
            assert!(error.to_string().contains(&format!("{entry:?} is not an origin")), "{error}");
        }
    }
}
