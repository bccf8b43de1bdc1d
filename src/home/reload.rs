//! New rules at a home that runs: every topic gets its rule anew, and what the new one says holds at once.
//!
//! The shard calls it between two turns, when SIGHUP brought rules. History beyond the new rule is forgotten, members are
//! where presence ended. Subscribers by name are known to their shards, so those are told ([`Delivery::Ruled`]), in the
//! one order of all deliveries: whoever subscribes later is judged here, by the new rule. Refuses to know what changed in
//! the file; it compares rules.

use std::rc::Rc;

use super::topics::TopicKey;
use super::{Delivery, Home};
use crate::rules::{Access, RuleId, Rules};
use crate::topic::{Topic, canary_number, subject};

/// What subscribers know of a topic's rule.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Terms {
    access: Access,
    presence: bool,
}

impl Terms {
    fn of(rules: &Rules, rule: Option<RuleId>) -> Self {
        let terms = |rule| {
            let rule = rules.at(rule);
            Self { access: rule.subscribe, presence: rule.presence }
        };
        // A topic of the broker that no rule names is nobody's.
        rule.map_or(Self { access: Access::Nobody, presence: false }, terms)
    }
}

impl Home {
    /// From here on these are the rules.
    pub fn handle_reload(&mut self, rules: Rc<Rules>) {
        self.end_turn(); // what was published before goes out by the rules that it came under
        let former = std::mem::replace(&mut self.rules, rules);
        let front = self.rules.common_front(&former);
        for life in self.topics.lives() {
            let Some(topic) = self.topics.in_life(life) else { continue };
            let name = Topic::known(topic.name());
            if subject(name).is_some() {
                continue; // events of members have no rule
            }
            let before = topic.rule;
            // Canaries have the last rule, whichever stands in its place now.
            let moves = before.is_none_or(|rule| rule.index() >= front);
            if moves || name.is_broker() && canary_number(name).is_some() {
                topic.rule = self.rules.of(name);
            }
            let (was, is) = (Terms::of(&former, before), Terms::of(&self.rules, topic.rule));
            if was != is {
                self.change_terms(life.0, is);
            }
        }
        self.archive.reload(&mut self.topics, &self.rules);
    }

    fn change_terms(&mut self, key: TopicKey, Terms { access, presence }: Terms) {
        let topic = self.topics.at(key);
        let (exact, name) = (topic.exact, Box::<str>::from(topic.name()));
        if !presence && let Some(members) = topic.members.take() {
            self.members -= members.counts().1;
            self.topics.touch(key);
        }
        for shard in exact.iter() {
            let parcel = &mut self.out[shard.index()];
            let topic = parcel.keep(name.as_bytes());
            parcel.items.push(Delivery::Ruled { topic, access, presence });
        }
    }
}
