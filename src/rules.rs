//! Rules: what an operator decided for the topics of a filter, and which rule a topic gets.
//!
//! `config` reads them, `shard` and `home` ask once per topic and keep the [`RuleId`]. The first rule whose filter
//! matches wins; the last two are implicit, `#` with defaults and `$sys/#`, so that only `$` topics outside can have none.
//! Refuses nothing itself: what an operator wrote was checked by `config`.

use std::num::NonZeroU16;

use crate::limits::RULES_MAX;
use crate::topic::{Filter, Topic, canary_number};

/// Who may do something. From the widest to the narrowest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Access {
    /// Whoever may connect.
    #[default]
    Anyone,
    /// Who has authenticated as a user.
    User,
    /// Whose token has a filter that grants it.
    Granted,
    /// No client at all.
    Nobody,
}

impl Access {
    /// Whether one with that permit may.
    #[must_use]
    pub fn admits(self, permit: Permit) -> bool {
        match self {
            Self::Anyone => true,
            Self::User => permit.user,
            Self::Granted => permit.granted,
            Self::Nobody => false,
        }
    }

    /// Whether it depends on who asks.
    #[must_use]
    pub fn needs_permit(self) -> bool {
        matches!(self, Self::User | Self::Granted)
    }
}

/// What is known of the one who asks for something. The default is a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Permit {
    /// It has authenticated as a user.
    pub user: bool,
    /// Its token has a filter that grants what it asks for.
    pub granted: bool,
}

/// What happens to a subscriber for whom more waits than the outbound limit allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Overflow {
    /// The connection is closed with 4008.
    #[default]
    Disconnect,
    /// The topic's oldest waiting publications are dropped, and a `gap` counts them.
    DropOldest,
    /// Of the topic, or of each `conflate` key, only the newest publication waits; a `gap` counts the others.
    Latest,
}

/// How much of a topic is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct History {
    /// Publications, 1..=1,000,000.
    pub count: u32,
    /// How long each of them, in seconds, at least 1.
    pub age_s: u32,
}

/// What the topics of a filter are like. [`Rule::default`] is the implicit last rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// A valid filter.
    pub filter: String,
    /// Who may subscribe, and read what is kept.
    pub subscribe: Access,
    /// Who may publish.
    pub publish: Access,
    /// What is kept; nothing if absent.
    pub history: Option<History>,
    /// Whether it is known who is there.
    pub presence: bool,
    /// What happens to a slow consumer.
    pub overflow: Overflow,
    /// Whether the publisher's user is stamped on each publication.
    pub from: bool,
    /// How long the `key` of a publication is remembered, in seconds; 0: not at all.
    pub idempotency_s: u32,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            filter: "#".to_owned(),
            subscribe: Access::Anyone,
            publish: Access::Anyone,
            history: None,
            presence: false,
            overflow: Overflow::Disconnect,
            from: false,
            idempotency_s: 300,
        }
    }
}

/// Names one of the [`Rules`] of this process. It is the rule's place plus 1, so that none takes no more room than one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(NonZeroU16);

impl RuleId {
    /// The rule's place among all, from 0.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }

    /// The rule at that place.
    fn at(place: usize) -> Self {
        let number = u16::try_from(place + 1).ok().and_then(NonZeroU16::new);
        Self(number.expect("RULES_MAX fits into 16 bits"))
    }
}

/// How many rules are implicit.
const IMPLICIT: usize = 2;

/// All rules in order, the implicit ones last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// At least one.
    list: Vec<Rule>,
}

impl Rules {
    /// The operator's rules, in their order, and the implicit ones: `#` with the defaults, and `$sys/#` for the broker's own
    /// topics, read by whom it is granted.
    ///
    /// # Panics
    /// If there are more than [`RULES_MAX`] rules or a filter is none, both of which `config` refuses.
    #[must_use]
    pub fn new(mut list: Vec<Rule>) -> Self {
        assert!(list.len() <= RULES_MAX, "the configuration has at most {RULES_MAX} rules");
        for rule in &list {
            assert!(Filter::parse(&rule.filter).is_ok(), "the configuration has valid filters only: {:?}", rule.filter);
        }
        list.push(Rule::default());
        list.push(Rule {
            filter: "$sys/#".to_owned(),
            subscribe: Access::Granted,
            publish: Access::Nobody,
            overflow: Overflow::Latest,
            idempotency_s: 0,
            ..Rule::default()
        });
        Self { list }
    }

    /// The first rule whose filter matches the topic; for canaries the implicit one. None for a topic of the broker that no
    /// rule matches.
    ///
    /// It looks at the rules one by one: ask once per topic and keep the answer.
    #[must_use]
    pub fn of(&self, topic: Topic<'_>) -> Option<RuleId> {
        let place = match canary_number(topic) {
            Some(_) => self.list.len() - 1, // no rule of an operator keeps shards from hearing each other
            None => self.list.iter().position(|rule| Filter::known(&rule.filter).matches(topic))?,
        };
        Some(RuleId::at(place))
    }

    /// How many rules at the front have the filters, in the order, that `other` has: a topic that had one of these there
    /// has it here.
    #[must_use]
    pub fn common_front(&self, other: &Self) -> usize {
        self.list.iter().zip(&other.list).take_while(|(own, other)| own.filter == other.filter).count()
    }

    /// The rule itself.
    ///
    /// # Panics
    /// If the id is of other rules than these.
    #[must_use]
    pub fn at(&self, id: RuleId) -> &Rule {
        &self.list[id.index()]
    }

    /// All rules in order, the implicit ones last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.list.iter()
    }

    /// Whether this is one of the implicit rules.
    #[must_use]
    pub fn is_implicit(&self, id: RuleId) -> bool {
        id.index() + IMPLICIT >= self.list.len()
    }
}

impl Default for Rules {
    /// The implicit rule alone.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

// The implicit rule has an id, too.
const _: () = assert!(RULES_MAX < u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(filters: &[&str]) -> Rules {
        Rules::new(filters.iter().map(|&filter| Rule { filter: filter.to_owned(), ..Rule::default() }).collect())
    }

    fn of(rules: &Rules, topic: &str) -> Option<usize> {
        rules.of(Topic::parse(topic).unwrap()).map(RuleId::index)
    }

    #[test]
    fn each_access_admits_whom_it_says() {
        let permit = |user, granted| Permit { user, granted };
        let all = [permit(false, false), permit(true, false), permit(false, true), permit(true, true)];
        let admitted = |access: Access| all.map(|permit| access.admits(permit));
        assert_eq!(admitted(Access::Anyone), [true; 4]);
        assert_eq!(admitted(Access::User), [false, true, false, true]);
        assert_eq!(admitted(Access::Granted), [false, false, true, true]);
        assert_eq!(admitted(Access::Nobody), [false; 4]);
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let rules = rules(&["chat/1", "chat/#", "+/1", "chat/2"]);
        for (topic, place) in [("chat/1", 0), ("chat/2", 1), ("chat", 1), ("news/1", 2), ("news/2", 4), ("x", 4)] {
            assert_eq!(of(&rules, topic), Some(place), "{topic}");
        }
    }

    #[test]
    fn the_brokers_own_topics_have_a_rule_that_operators_can_replace_but_for_canaries() {
        let of = |rules: &Rules, topic: &str| rules.at(rules.of(Topic::parse(topic).unwrap()).unwrap()).subscribe;
        let none = Rules::default();
        assert_eq!((of(&none, "$sys/stats"), of(&none, "$sys/canary/1")), (Access::Granted, Access::Granted));
        assert!(none.of(Topic::known("$other")).is_none());
        let own = Rule { filter: "$sys/#".to_owned(), subscribe: Access::Nobody, ..Rule::default() };
        let own = Rules::new(vec![own]);
        assert_eq!((of(&own, "$sys/stats"), of(&own, "$sys/canary/1")), (Access::Nobody, Access::Granted));
    }

    #[test]
    fn the_last_rule_is_implicit_and_has_the_defaults() {
        let rules = Rules::default();
        let id = rules.of(Topic::known("a/b")).unwrap();
        assert!(rules.is_implicit(id));
        assert_eq!(rules.at(id), &Rule::default());
        assert_eq!(rules.iter().len(), IMPLICIT);
        let one = super::tests::rules(&["a"]);
        assert!(!one.is_implicit(one.of(Topic::known("a")).unwrap()));
        assert!(one.is_implicit(one.of(Topic::known("b")).unwrap()));
    }

    #[test]
    fn a_rule_for_everything_leaves_the_implicit_one_nothing() {
        let rules = rules(&["#"]);
        assert_eq!(of(&rules, "a"), Some(0));
        assert!(!rules.is_implicit(RuleId::at(0)));
    }

    #[test]
    fn a_topic_of_the_broker_has_only_a_rule_that_names_it() {
        assert_eq!(of(&rules(&["#", "+/x"]), "$own/x"), None);
        assert_eq!(of(&rules(&["#", "$sys/#"]), "$sys/x"), Some(1));
    }

    #[test]
    fn what_two_lists_begin_with_gives_a_topic_the_same_place() {
        let front = |own: &[&str], other: &[&str]| rules(own).common_front(&rules(other));
        assert_eq!(front(&[], &[]), IMPLICIT, "the implicit ones");
        assert_eq!(front(&["a", "b"], &["a", "b"]), 2 + IMPLICIT);
        assert_eq!(front(&["a", "b"], &["a", "c", "b"]), 1);
        assert_eq!(front(&["b", "a"], &["a", "b"]), 0);
        assert_eq!(front(&["a"], &["a", "b"]), 1);
    }

    #[test]
    #[should_panic(expected = "valid filters only")]
    fn a_filter_that_is_none_is_our_own_mistake() {
        let _ = rules(&["a//b"]);
    }

    #[test]
    fn as_many_rules_as_allowed_have_an_id_each() {
        let filters: Vec<_> = (0..RULES_MAX).map(|number| format!("t/{number}")).collect();
        let rules = rules(&filters.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(of(&rules, &format!("t/{}", RULES_MAX - 1)), Some(RULES_MAX - 1));
        assert_eq!(of(&rules, "u"), Some(RULES_MAX));
    }
}
