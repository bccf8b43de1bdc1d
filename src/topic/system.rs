//! The topics under `$sys/`, to which the broker itself publishes: its figures, and the canaries of its shards.
//!
//! Clients can subscribe to [`STATS`], where the topic's rule lets them; the canaries are between shards alone.

use super::{Filter, Topic};

/// The broker's figures, once a second while somebody has subscribed to it.
pub const STATS: &str = "$sys/stats";

const CANARY: &str = "$sys/canary/";

/// The name of a canary's topic.
#[must_use]
pub fn canary(number: u32) -> String {
    format!("{CANARY}{number}")
}

/// The number of the canary that flies by this topic; none if it is another topic.
#[must_use]
pub fn canary_number(topic: Topic<'_>) -> Option<u32> {
    topic.as_str().strip_prefix(CANARY)?.parse().ok()
}

impl Filter<'_> {
    /// Whether no client may name it: it is of the broker's own topics, and not the one that is meant for clients.
    #[must_use]
    pub fn is_inner(self) -> bool {
        self.is_broker() && self.as_str() != STATS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_brokers_topics_clients_may_name_one() {
        for (text, inner) in [("$sys/stats", false), ("$sys/#", true), ("$sys/stats/1", true), ("$sys/+", true)] {
            assert_eq!(Filter::parse(text).unwrap().is_inner(), inner, "{text}");
        }
        assert!(Filter::parse(&canary(3)).unwrap().is_inner() && !Filter::parse("a/$sys").unwrap().is_inner());
        assert!(!Filter::parse("#").unwrap().matches(Topic::parse(STATS).unwrap()));
    }

    #[test]
    fn a_canary_is_known_by_its_number() {
        assert_eq!(canary_number(Topic::parse(&canary(u32::MAX)).unwrap()), Some(u32::MAX));
        for text in [STATS, "$sys/canary/x", "$sys/canary", "a"] {
            assert_eq!(canary_number(Topic::parse(text).unwrap()), None, "{text}");
        }
    }
}
