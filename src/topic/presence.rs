//! The broker's own topics of who comes and goes: `$presence/` and the name of the topic that they are about.
//!
//! A subscriber of such a topic is told the joins and leaves of its subject. `shard` and `home` make these names by
//! themselves, no client can ask for one, and they may be longer than names that come from outside by the prefix.

use super::Topic;

const PREFIX: &str = "$presence/";

/// The name of the topic's own topic of who comes and goes.
#[must_use]
pub fn presence_of(topic: Topic<'_>) -> String {
    [PREFIX, topic.as_str()].concat()
}

/// The topic that such a topic is about; none for any other.
#[must_use]
pub fn subject(topic: Topic<'_>) -> Option<Topic<'_>> {
    topic.as_str().strip_prefix(PREFIX).map(Topic::known)
}

/// What is left of an own name to be checked like any other.
pub(super) fn checked_part(text: &str) -> &str {
    text.strip_prefix(PREFIX).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TOPIC_BYTES_MAX;

    #[test]
    fn the_subject_of_a_topic_s_own_topic_is_that_topic_however_long() {
        for name in ["a".to_owned(), "a/b c".to_owned(), "x".repeat(TOPIC_BYTES_MAX)] {
            let topic = Topic::parse(&name).unwrap();
            let own = presence_of(topic);
            assert_eq!(subject(Topic::known(&own)), Some(topic));
            assert!(Topic::known(&own).is_broker());
            assert_eq!(subject(topic), None);
        }
    }
}
