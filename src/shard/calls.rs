//! What a request of the API calls: its path and method, before anything is asked about who sent it.
//!
//! `api` looks here as soon as a head has come.

use crate::http::{Head, Problem};

/// One call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call<'h> {
    /// Which methods there are; these.
    Options(&'static str),
    Publish,
    Batch,
    History,
    Presence,
    Events,
    Poll,
    Topics,
    Connections,
    /// One connection, by its name.
    Connection(&'h str),
    /// Ends the connections of a user.
    EndUser,
    /// Ends one connection, by its name.
    End(&'h str),
    /// The figures of the broker, for Prometheus.
    Metrics,
}

/// The one path outside `/v1/`: where Prometheus looks.
pub(super) const METRICS: &str = "/metrics";

impl<'h> Call<'h> {
    /// The call of a request under `/v1/`.
    ///
    /// # Errors
    /// 404 for a path that is none, 405 for a method that does not work there.
    pub(super) fn of(head: &Head<'h>) -> Result<Self, Problem> {
        let client = head.path.strip_prefix("/v1/connections/").filter(|name| !name.contains('/'));
        let (read, write) = match head.path {
            "/v1/publish" => (None, Some(("POST", Self::Publish))),
            "/v1/batch" => (None, Some(("POST", Self::Batch))),
            "/v1/history" => (Some(Self::History), None),
            "/v1/presence" => (Some(Self::Presence), None),
            "/v1/events" => (Some(Self::Events), None),
            "/v1/poll" => (Some(Self::Poll), None),
            METRICS => (Some(Self::Metrics), None),
            "/v1/topics" => (Some(Self::Topics), None),
            "/v1/connections" => (Some(Self::Connections), Some(("DELETE", Self::EndUser))),
            _ => match client {
                Some(name) => (Some(Self::Connection(name)), Some(("DELETE", Self::End(name)))),
                None => return Err(Problem::new(404, "the API has no such path: see docs/protocol.md")),
            },
        };
        let allow = match (read.is_some(), write) {
            (true, None) => "GET, HEAD, OPTIONS",
            (true, Some(_)) => "GET, HEAD, DELETE, OPTIONS",
            (false, _) => "POST, OPTIONS",
        };
        let called = match head.method {
            "OPTIONS" => Some(Self::Options(allow)),
            "GET" | "HEAD" => read,
            method => write.filter(|(name, _)| *name == method).map(|(_, call)| call),
        };
        called.ok_or_else(|| Problem::method_not_allowed(allow))
    }

    /// Whether it is for operators alone, on any broker.
    pub(super) fn ends_connections(self) -> bool {
        matches!(self, Self::EndUser | Self::End(_))
    }

    /// Whether it lists what there is: for operators, and on some brokers for everybody.
    pub(super) fn lists(self) -> bool {
        matches!(self, Self::Topics | Self::Connections | Self::Connection(_))
    }
}
