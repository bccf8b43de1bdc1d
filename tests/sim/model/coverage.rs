//! What one client is covered by at each point of its incoming stream: surely, maybe, or not at all.
//!
//! A subscribe with an id is sure from its ack on. Without one it is only maybe, and so is everything after an unsubscribe
//! without one. Commands are numbered; a reply to one proves that the shard has seen all before it.

use std::collections::BTreeMap;

use super::meets;

/// One filter of one client. The numbers are those of commands, 0 for none.
#[derive(Clone, Debug, Default)]
struct Filter {
    /// The last subscribe that was acked.
    acked: u64,
    /// The last subscribe without an id.
    silent_subscribe: u64,
    /// The last unsubscribe without an id.
    silent_unsubscribe: u64,
    /// The last unsubscribe that the shard is known to have carried out.
    gone: u64,
    /// The step since which it is sure.
    since: u64,
}

impl Filter {
    fn is_sure(&self) -> bool {
        self.acked > self.gone && self.acked > self.silent_unsubscribe
    }

    fn is_maybe(&self) -> bool {
        self.acked > self.gone || self.silent_subscribe > self.gone
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    filters: BTreeMap<String, Filter>,
}

impl Coverage {
    pub(super) fn subscribe_silently(&mut self, filter: &str, seq: u64) {
        self.filters.entry(filter.to_owned()).or_default().silent_subscribe = seq;
    }

    pub(super) fn unsubscribe_silently(&mut self, filter: &str, seq: u64) {
        self.filters.entry(filter.to_owned()).or_default().silent_unsubscribe = seq;
    }

    pub(super) fn acked(&mut self, filter: &str, seq: u64, step: u64) {
        let filter = self.filters.entry(filter.to_owned()).or_default();
        let before = filter.is_sure();
        filter.acked = filter.acked.max(seq);
        if !before && filter.is_sure() {
            filter.since = step;
        }
    }

    pub(super) fn unsubscribed(&mut self, filter: &str, seq: u64) {
        let filter = self.filters.entry(filter.to_owned()).or_default();
        filter.gone = filter.gone.max(seq);
    }

    /// All commands before `seq` were seen by the shard.
    pub(super) fn seen(&mut self, seq: u64) {
        for filter in self.filters.values_mut().filter(|filter| filter.silent_unsubscribe < seq) {
            filter.gone = filter.gone.max(filter.silent_unsubscribe);
        }
    }

    /// Whether this very filter is sure, and whether it may be there at all.
    pub(super) fn standing(&self, filter: &str) -> (bool, bool) {
        self.filters.get(filter).map_or((false, false), |filter| (filter.is_sure(), filter.is_maybe()))
    }

    /// If this very filter is sure: the step since which it is.
    pub(super) fn since(&self, filter: &str) -> Option<u64> {
        self.filters.get(filter).filter(|filter| filter.is_sure()).map(|filter| filter.since)
    }

    fn of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a Filter> {
        self.filters.iter().filter(move |(filter, _)| meets(filter, topic)).map(|(_, filter)| filter)
    }

    /// Whether a publication of the topic may come.
    pub(super) fn may_come(&self, topic: &str) -> bool {
        self.of(topic).any(Filter::is_maybe)
    }

    /// If every publication of the topic must come: the step since which that is so, at the latest.
    pub(super) fn sure_since(&self, topic: &str) -> Option<u64> {
        self.of(topic).filter(|filter| filter.is_sure()).map(|filter| filter.since).min()
    }
}
