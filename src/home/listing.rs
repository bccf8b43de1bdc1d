//! The topics of a home, listed for operators a page at a time.
//!
//! `shard` calls it turn by turn until a page is done. The order is that of the slots, so that a page costs what it looks
//! at and no order is kept for it; a topic keeps its slot as long as it lives. Refuses to list what is not there for
//! anybody: names that were only refused, and the broker's own topics.

use super::topics::TopicState;
use super::{Home, Page};
use crate::protocol::{Position, listing};
use crate::topic::{Filter, Topic, subject};

impl Home {
    /// Goes on with a page of the topics that the filter stands for, looking at `budget` of them at most.
    pub fn list_topics(&self, filter: Filter<'_>, page: &mut Page, budget: &mut usize) {
        if let Some(topic) = filter.as_topic() {
            // It is in one place or nowhere.
            let found = self.topics.find(topic).filter(|&slot| page.next.is_some_and(|next| slot >= next));
            (*budget, page.next) = (budget.saturating_sub(1), None);
            return found.into_iter().for_each(|slot| self.list_topic(filter, page, slot));
        }
        page.walk(self.topics.slots(), budget, |page, slot| self.list_topic(filter, page, slot));
    }

    fn list_topic(&self, filter: Filter<'_>, page: &mut Page, slot: u32) {
        let Some(state) = self.topics.get(slot).filter(|state| state.offset > 0 || state.is_held()) else { return };
        let topic = Topic::known(state.name());
        if subject(topic).is_none() && filter.matches(topic) {
            page.push(slot, state.name(), |out| self.describe(out, state));
        }
    }

    fn describe(&self, out: &mut Vec<u8>, state: &TopicState) {
        let rule = state.rule.map(|rule| self.rules.at(rule));
        let history = rule
            .filter(|rule| rule.history.is_some())
            .map(|_| state.history.as_ref().map_or((0, 0), |history| (history.len(), history.bytes())));
        let members = rule
            .filter(|rule| rule.presence)
            .map(|_| state.members.as_ref().map_or((0, 0), |members| members.counts()));
        let position = Position { epoch: state.epoch, offset: state.offset };
        listing::topic(out, state.name(), position, history, members);
    }
}
