//! What a token or an API key grants: filters, in one compact piece.
//!
//! `claims` and `api_key` make them; `shard` asks once per connection and topic. Filters are valid and bounded by
//! existing ([`GRANT_FILTERS_MAX`], [`GRANT_BYTES_MAX`]). A wildcard subscription is granted by one filter that covers
//! it whole, never by several that do so together.

use std::fmt;

use crate::limits::{GRANT_BYTES_MAX, GRANT_FILTERS_MAX};
use crate::topic::{Filter, NameError, Topic};

/// Filters that someone may subscribe or publish to. The default grants nothing.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// The filters, each ended by a line feed, which no filter holds.
    lines: Box<str>,
}

impl Grants {
    /// Whether a filter stands for this topic.
    #[must_use]
    pub fn allows(&self, topic: Topic<'_>) -> bool {
        self.iter().any(|granted| granted.matches(topic))
    }

    /// Whether one filter stands for every topic that this one stands for.
    #[must_use]
    pub fn covers(&self, filter: Filter<'_>) -> bool {
        self.iter().any(|granted| granted.covers(filter))
    }

    /// Whether nothing is granted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The filters, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Filter<'_>> {
        self.lines.split_terminator('\n').map(Filter::known)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Filter::as_str)).finish()
    }
}

/// What is left of the bounds of one token or key, for the filters that it still names.
pub(super) struct Allowance {
    filters: usize,
    bytes: usize,
}

/// Why filters cannot be granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GrantError {
    /// One of them is no filter.
    Filter {
        /// Its place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// More than [`GRANT_FILTERS_MAX`].
    TooMany,
    /// More than [`GRANT_BYTES_MAX`] bytes.
    TooLong,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { filters: GRANT_FILTERS_MAX, bytes: GRANT_BYTES_MAX }
    }

    /// Grants these filters. One that stands there twice is kept once.
    pub(super) fn grant<S: AsRef<str>>(&mut self, filters: &[S]) -> Result<Grants, GrantError> {
        let mut lines = String::new();
        for (index, text) in filters.iter().map(AsRef::as_ref).enumerate() {
            let filter = Filter::parse(text).map_err(|error| GrantError::Filter { number: index + 1, error })?;
            if lines.split_terminator('\n').any(|known| known == text) {
                continue;
            }
            self.filters = self.filters.checked_sub(1).ok_or(GrantError::TooMany)?;
            self.bytes = self.bytes.checked_sub(text.len()).ok_or(GrantError::TooLong)?;
            lines.push_str(filter.as_str());
            lines.push('\n');
        }
        Ok(Grants { lines: lines.into_boxed_str() })
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter { number, error } => write!(f, "filter {number} is none: {error}"),
            Self::TooMany => write!(f, "there are more than {GRANT_FILTERS_MAX} filters"),
            Self::TooLong => write!(f, "the filters have more than {GRANT_BYTES_MAX} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(filters: &[&str]) -> Grants {
        Allowance::new().grant(filters).unwrap()
    }

    #[test]
    fn a_topic_is_allowed_by_any_filter_that_stands_for_it() {
        let grants = grants(&["chat/+", "news/#"]);
        for (topic, allowed) in
            [("chat/1", true), ("news", true), ("news/a/b", true), ("chat", false), ("chat/1/2", false), ("x", false)]
        {
            assert_eq!(grants.allows(Topic::known(topic)), allowed, "{topic}");
        }
    }

    #[test]
    fn a_wildcard_needs_one_grant_that_covers_it_whole() {
        let granted = grants(&["chat/+", "news/#"]);
        for (filter, covered) in [
            ("chat/1", true),
            ("chat/+", true),
            ("news/+", true),
            ("news/#", true),
            ("chat/#", false),
            ("#", false),
            ("+/1", false),
        ] {
            assert_eq!(granted.covers(Filter::known(filter)), covered, "{filter}");
        }
        // Together they stand for all of a/#, but none of them alone.
        assert!(!grants(&["a", "a/+", "a/+/#"]).covers(Filter::known("a/#")));
    }

    #[test]
    fn nothing_is_granted_by_default() {
        for grants in [Grants::default(), grants(&[])] {
            assert!(grants.is_empty());
            assert_eq!(grants.iter().count(), 0);
            assert!(!grants.allows(Topic::known("a")) && !grants.covers(Filter::known("a")));
        }
    }

    #[test]
    fn topics_of_the_broker_are_granted_by_name_only() {
        assert!(!grants(&["#", "+/load"]).allows(Topic::known("$sys/load")));
        assert!(grants(&["$sys/#"]).allows(Topic::known("$sys/load")));
    }

    #[test]
    fn what_is_no_filter_is_named_by_its_place() {
        let error = Allowance::new().grant(&["a", "b//c"]).unwrap_err();
        assert_eq!(error, GrantError::Filter { number: 2, error: NameError::EmptyLevel { at: 2 } });
        assert_eq!(error.to_string(), "filter 2 is none: the level at byte 2 is empty; each needs 1 character");
    }

    #[test]
    fn number_and_bytes_are_bounded_over_both_lists_together() {
        let many: Vec<_> = (0..GRANT_FILTERS_MAX).map(|number| format!("t/{number}")).collect();
        let mut allowance = Allowance::new();
        assert_eq!(allowance.grant(&many).unwrap().iter().count(), GRANT_FILTERS_MAX);
        assert_eq!(allowance.grant(&["one more"]).unwrap_err(), GrantError::TooMany);
        let long: Vec<_> = (0..16).map(|number| format!("{number:0>255}")).collect();
        let mut allowance = Allowance::new();
        allowance.grant(&long).unwrap();
        allowance.grant(&["0123456789012345"]).unwrap();
        assert_eq!(allowance.grant(&["a"]).unwrap_err(), GrantError::TooLong);
    }

    #[test]
    fn a_filter_that_stands_there_twice_counts_once() {
        let twice: Vec<_> = (0..2 * GRANT_FILTERS_MAX).map(|number| format!("t/{}", number / 2)).collect();
        assert_eq!(Allowance::new().grant(&twice).unwrap().iter().count(), GRANT_FILTERS_MAX);
    }
}
