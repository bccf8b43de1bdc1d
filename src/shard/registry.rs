//! Who subscribes to what on this shard: filters with their subscribers, connections with their subscriptions.
//!
//! Both directions point at each other, so that unsubscribing is O(1) and a disconnect costs its own subscriptions only.
//! A subscription is *pending* from the command until the home's answer stands in the queue, then *live*; what other
//! subscribes to it are under way meanwhile is kept beside it, so that each answer is told apart. Invariant: a filter's slot
//! stays while a subscriber or an answer on its way refers to it, so an answer always finds its slot.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use super::subscriptions::{Subscription, Subscriptions};
use crate::chunks::Chunks;
use crate::ids::ConnId;
use crate::protocol::Id;
use crate::topic::{Filter, MatchCache, Matcher, NameIndex, Text, Topic, subject};
use crate::transport::{Form, Forms};

/// Index of a filter.
pub(super) type Slot = u32;

/// In [`Subscription`]'s `at`: pending; the low bits are the number of the subscribe.
const PENDING: u32 = 1 << 31;

/// In [`Subscriber::at`]: its token grants the filter.
const GRANTED: u32 = 1 << 31;

/// One filter and its live subscribers.
#[derive(Debug)]
struct Entry {
    filter: Text,
    wildcard: bool,
    /// It is a topic whose rule has presence: its home wants to know who leaves.
    members: bool,
    /// Every home was asked for the topics that match.
    watched: bool,
    /// The forms in which they were asked for.
    forms: Forms,
    /// Answers of homes that are on their way.
    awaited: u32,
    /// In the record itself while they are few: many a topic has one subscriber.
    subscribers: SmallVec<[Subscriber; 2]>,
}

const _: () = assert!(size_of::<Entry>() <= 56, "a filter with one subscriber stays small");

/// One live subscriber of a filter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscriber {
    /// The connection.
    pub(super) conn: u32,
    /// Index in its subscriptions, and `GRANTED`.
    at: u32,
}

impl Subscriber {
    /// Whether a token grants the whole filter.
    pub(super) fn is_granted(self) -> bool {
        self.at & GRANTED != 0
    }

    fn at(self) -> usize {
        (self.at & !GRANTED) as usize
    }

    fn move_to(&mut self, at: usize) {
        self.at = index(at) | (self.at & GRANTED);
    }
}

/// A subscribe of which the home's answer is still to come.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    serial: u32,
    /// What it was sent with is not granted any more.
    revoked: bool,
}

/// What an answer of a home has done to a connection's subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is live from here on.
    Live,
    /// It was revoked while the answer was on its way, and is not to be.
    Revoked,
    /// It was live, or taken away, before.
    Before,
}

/// The last subscriber of a filter, which took the place of one that is gone.
#[derive(Debug)]
struct Moved {
    conn: u32,
    /// As in [`Subscriber::at`].
    subscription: u32,
    /// Its index among the subscribers now.
    at: u32,
}

/// A subscriber of a wildcard filter that not all homes have answered yet.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) conn: ConnId,
    pub(super) serial: u32,
    pub(super) id: Id,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Registry {
    entries: Chunks<Entry>,
    index: NameIndex,
    matcher: Matcher,
    cache: MatchCache,
    waiters: HashMap<Slot, Vec<Waiter>, FixedState>,
    subscriptions: Subscriptions,
    /// By connection and slot, the subscribes to a pending subscription in their order, where there are several or they
    /// were revoked. The first one's number is that of the subscription.
    under_way: HashMap<(u32, Slot), SmallVec<[UnderWay; 2]>, FixedState>,
    /// Work space of [`Registry::unsubscribe_all`].
    moved: Vec<Moved>,
    serial: u32,
}

impl Registry {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            entries: Chunks::default(),
            index: NameIndex::new(seed),
            matcher: Matcher::new(seed ^ 1),
            cache: MatchCache::new(seed ^ 2),
            waiters: HashMap::with_hasher(FixedState::with_seed(seed ^ 3)),
            subscriptions: Subscriptions::new(seed ^ 5),
            under_way: HashMap::with_hasher(FixedState::with_seed(seed ^ 4)),
            moved: Vec::new(),
            serial: 0,
        }
    }

    /// The filter's slot, if anybody is concerned with it.
    pub(super) fn find(&self, filter: Filter<'_>) -> Option<Slot> {
        self.find_text(filter.as_str())
    }

    fn find_text(&self, text: &str) -> Option<Slot> {
        self.index.find(text.as_bytes(), |slot| self.entries[slot as usize].filter.name_bytes())
    }

    /// The filter's slot, made if need be. `members` is asked then whether it has members.
    pub(super) fn open(&mut self, filter: Filter<'_>, members: impl FnOnce() -> bool) -> Slot {
        if let Some(slot) = self.find(filter) {
            return slot;
        }
        let wildcard = filter.has_wildcard();
        let (text, members) = (Text::new(filter.as_str()), members());
        let (watched, forms, subscribers) = (false, Forms::default(), SmallVec::new());
        let entry = Entry { filter: text, wildcard, members, watched, forms, awaited: 0, subscribers };
        let slot = self.entries.insert(entry);
        self.index.insert(slot, |slot| self.entries[slot as usize].filter.name_bytes());
        if wildcard {
            self.matcher.insert(filter, slot);
        }
        slot
    }

    /// Notes that the filter is wanted in a form. True if its homes are still to be told.
    pub(super) fn wants_in(&mut self, slot: Slot, form: Form) -> bool {
        let entry = &mut self.entries[slot as usize];
        let known = std::mem::replace(&mut entry.watched, true) && entry.forms.contains(form);
        entry.forms.insert(form);
        !known
    }

    /// Whether it has wildcards.
    pub(super) fn is_wildcard(&self, slot: Slot) -> bool {
        self.entries[slot as usize].wildcard
    }

    /// Whether its home wants to know who leaves.
    pub(super) fn has_members(&self, slot: Slot) -> bool {
        self.entries[slot as usize].members
    }

    /// Its home said whether it wants to know.
    pub(super) fn set_members(&mut self, slot: Slot, members: bool) {
        self.entries[slot as usize].members = members;
    }

    /// The filter's text.
    pub(super) fn filter(&self, slot: Slot) -> &str {
        self.entries[slot as usize].filter.name()
    }

    /// So many more answers are on their way.
    pub(super) fn await_answers(&mut self, slot: Slot, answers: u32) {
        self.entries[slot as usize].awaited += answers;
    }

    /// One answer came. True if it was the last one on its way.
    pub(super) fn answered(&mut self, slot: Slot) -> bool {
        let entry = &mut self.entries[slot as usize];
        entry.awaited -= 1;
        entry.awaited == 0
    }

    /// Whether no answer is on its way.
    pub(super) fn is_settled(&self, slot: Slot) -> bool {
        self.entries[slot as usize].awaited == 0
    }

    /// Keeps a subscriber until all homes answered.
    pub(super) fn wait(&mut self, slot: Slot, waiter: Waiter) {
        self.waiters.entry(slot).or_default().push(waiter);
    }

    /// Those who waited for the homes' answers.
    pub(super) fn take_waiters(&mut self, slot: Slot) -> Vec<Waiter> {
        self.waiters.remove(&slot).unwrap_or_default()
    }

    /// How many subscriptions the connection has, pending ones included.
    pub(super) fn count(&self, conn: u32) -> usize {
        self.subscriptions.of(conn).len()
    }

    /// Whether the connection has this filter, pending or live.
    pub(super) fn has(&self, conn: u32, slot: Slot) -> bool {
        self.subscriptions.find(conn, slot).is_some()
    }

    /// A number for a subscribe.
    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = (self.serial + 1) & !PENDING;
        self.serial
    }

    /// A subscribe of that number is under way: adds a pending subscription, if there is none.
    pub(super) fn pend(&mut self, conn: u32, slot: Slot, serial: u32) {
        if let Some(at) = self.subscriptions.find(conn, slot) {
            let before = self.subscriptions.at(conn, at).at;
            if before & PENDING != 0 {
                self.all_under_way(conn, slot, before & !PENDING).push(UnderWay { serial, revoked: false });
            }
            return;
        }
        self.subscriptions.push(conn, Subscription { slot, at: PENDING | serial });
    }

    fn all_under_way(&mut self, conn: u32, slot: Slot, first: u32) -> &mut SmallVec<[UnderWay; 2]> {
        let all = self.under_way.entry((conn, slot)).or_default();
        if all.is_empty() {
            all.push(UnderWay { serial: first, revoked: false });
        }
        all
    }

    /// The connection's pending subscription is not granted any more: what is under way for it will not make it live.
    /// False if it is live, or there is none.
    pub(super) fn revoke(&mut self, conn: u32, slot: Slot) -> bool {
        let at = self.subscriptions.find(conn, slot).map(|at| self.subscriptions.of(conn)[at].at);
        let Some(at) = at.filter(|at| at & PENDING != 0) else { return false };
        self.all_under_way(conn, slot, at & !PENDING).iter_mut().for_each(|one| one.revoked = true);
        true
    }

    /// The home admits the subscribe of that number.
    pub(super) fn settle(&mut self, conn: u32, slot: Slot, serial: u32) -> Settled {
        let Some(at) = self.pending(conn, slot, serial) else { return Settled::Before };
        let first = self.under_way.get(&(conn, slot)).and_then(|all| all.first());
        if first.is_some_and(|first| first.revoked) {
            self.pass_on(conn, slot, at);
            return Settled::Revoked;
        }
        self.under_way.remove(&(conn, slot));
        let subscribers = &mut self.entries[slot as usize].subscribers;
        self.subscriptions.at(conn, at).at = index(subscribers.len());
        subscribers.push(Subscriber { conn, at: index(at) });
        Settled::Live
    }

    /// The subscribe that the pending subscription at that place waited for came to nothing: it is the next one's, or goes.
    /// True if it went.
    fn pass_on(&mut self, conn: u32, slot: Slot, at: usize) -> bool {
        let all = self.under_way.get_mut(&(conn, slot)).filter(|all| all.len() > 1);
        let Some(all) = all else {
            self.detach(conn, at);
            return true;
        };
        all.remove(0);
        self.subscriptions.at(conn, at).at = PENDING | all[0].serial;
        false
    }

    /// Notes whether the connection's token grants the whole filter; nothing if the subscription is not live.
    pub(super) fn grant(&mut self, conn: u32, slot: Slot, granted: bool) {
        let Some(at) = self.subscriptions.find(conn, slot) else { return };
        let live = self.subscriptions.at(conn, at).at;
        if live & PENDING == 0 {
            let subscriber = &mut self.entries[slot as usize].subscribers[live as usize];
            subscriber.at = (subscriber.at & !GRANTED) | if granted { GRANTED } else { 0 };
        }
    }

    /// The slots of a connection's subscriptions, pending ones included.
    pub(super) fn slots(&self, conn: u32) -> Vec<Slot> {
        self.subscriptions.of(conn).iter().map(|subscription| subscription.slot).collect()
    }

    /// The home refuses the subscribe of that number. True if its pending subscription goes with it: it was there, and no
    /// other subscribe is under way for it.
    pub(super) fn take_back(&mut self, conn: u32, slot: Slot, serial: u32) -> bool {
        self.pending(conn, slot, serial).is_some_and(|at| self.pass_on(conn, slot, at))
    }

    fn pending(&self, conn: u32, slot: Slot, serial: u32) -> Option<usize> {
        let at = self.subscriptions.find(conn, slot)?;
        (self.subscriptions.of(conn)[at].at == PENDING | serial).then_some(at)
    }

    /// Takes a subscription of the connection away. False if there was none.
    pub(super) fn unsubscribe(&mut self, conn: u32, slot: Slot) -> bool {
        let Some(at) = self.subscriptions.find(conn, slot) else { return false };
        self.detach(conn, at);
        true
    }

    /// Takes all subscriptions of the connection away. The slots of those filters where that matters to anybody else: nobody
    /// is left, or their home wants to know who leaves. Each is to be asked [`Registry::close`].
    ///
    /// In two passes, in neither of which one step waits for the memory of the one before it: with many topics each is a
    /// miss of the cache, and the fewer instructions a step has, the more of them are on their way at once.
    pub(super) fn unsubscribe_all(&mut self, conn: u32) -> impl Iterator<Item = Slot> + use<> {
        let mut own = self.subscriptions.take(conn);
        let mut left = 0;
        for n in 0..own.len() {
            let gone @ Subscription { slot, at } = own[n];
            let entry = &mut self.entries[slot as usize];
            if at & PENDING != 0 {
                self.under_way.remove(&(conn, slot));
            } else if let Some(last) = entry.subscribers.pop()
                && let Some(place) = entry.subscribers.get_mut(at as usize)
            {
                *place = last;
                self.moved.push(Moved { conn: last.conn, subscription: last.at, at });
            }
            if entry.members || entry.subscribers.is_empty() {
                own[left] = gone;
                left += 1;
            }
        }
        own.truncate(left);
        for Moved { conn, subscription, at } in self.moved.drain(..) {
            self.subscriptions.at(conn, (subscription & !GRANTED) as usize).at = at;
        }
        own.into_iter().map(|gone| gone.slot)
    }

    /// No connection has a slot from this on.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.subscriptions.shrink_to(slots);
    }

    fn detach(&mut self, conn: u32, at: usize) {
        let gone = self.subscriptions.swap_remove(conn, at);
        if gone.at & PENDING != 0 {
            self.under_way.remove(&(conn, gone.slot));
        }
        if let Some(&moved) = self.subscriptions.of(conn).get(at)
            && moved.at & PENDING == 0
        {
            self.entries[moved.slot as usize].subscribers[moved.at as usize].move_to(at);
        }
        if gone.at & PENDING == 0 {
            let subscribers = &mut self.entries[gone.slot as usize].subscribers;
            subscribers.swap_remove(gone.at as usize);
            if let Some(&moved) = subscribers.get(gone.at as usize) {
                self.subscriptions.at(moved.conn, moved.at()).at = gone.at;
            }
        }
    }

    /// Forgets a filter that nobody is concerned with any more; its text, so that the homes can be told.
    pub(super) fn close(&mut self, slot: Slot) -> Option<Text> {
        let entry = &self.entries[slot as usize];
        if !entry.subscribers.is_empty() || entry.awaited > 0 {
            return None;
        }
        let entry = self.entries.remove(slot as usize);
        self.index.remove(entry.filter.name_bytes(), slot, |slot| self.entries[slot as usize].filter.name_bytes());
        if entry.wildcard {
            self.matcher.remove(Filter::known(entry.filter.name()));
        }
        Some(entry.filter)
    }

    /// The slots whose subscribers get the topic's publications, each once.
    pub(super) fn lookup(&mut self, topic: Topic<'_>) -> SmallVec<[Slot; 8]> {
        let mut slots: SmallVec<[Slot; 8]> = self.find_text(topic.as_str()).into_iter().collect();
        if !self.matcher.is_empty() && subject(topic).is_none() {
            slots.extend_from_slice(self.cache.find(&self.matcher, topic));
        }
        slots
    }

    /// The live subscribers of a filter.
    pub(super) fn subscribers(&self, slot: Slot) -> &[Subscriber] {
        &self.entries[slot as usize].subscribers
    }

    /// How many filters and subscriptions there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.subscriptions.len())
    }

    /// The same by looking at all, for the proof that nothing is left behind.
    pub(super) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.subscriptions.counted() + self.under_way.len())
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).ok().filter(|at| at & PENDING == 0).expect("fewer than 2^31 subscribers fit in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).expect("valid")
    }

    fn subscribe(registry: &mut Registry, conn: u32, text: &str) -> Slot {
        let slot = registry.open(filter(text), || false);
        let serial = registry.next_serial();
        registry.pend(conn, slot, serial);
        registry.settle(conn, slot, serial);
        slot
    }

    fn subscribers(registry: &Registry, slot: Slot) -> Vec<u32> {
        let mut conns: Vec<u32> = registry.subscribers(slot).iter().map(|subscriber| subscriber.conn).collect();
        conns.sort_unstable();
        conns
    }

    #[test]
    fn both_directions_stay_true_under_random_changes() {
        let mut registry = Registry::new(1);
        let mut model = std::collections::BTreeSet::new();
        let mut random = 12345u32;
        for round in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Enough for each that some lists have an index.
            let (conn, name) = ((random >> 8) % 4, format!("t/{}", (random >> 16) % 150));
            match random >> 28 {
                0..9 if !model.contains(&(conn, name.clone())) => {
                    subscribe(&mut registry, conn, &name);
                    model.insert((conn, name));
                }
                9..15 => {
                    let had = registry.find(filter(&name)).is_some_and(|slot| {
                        let had = registry.unsubscribe(conn, slot);
                        registry.close(slot);
                        had
                    });
                    assert_eq!(had, model.remove(&(conn, name)));
                }
                15 if round % 16 == 0 => {
                    for slot in registry.unsubscribe_all(conn) {
                        registry.close(slot);
                    }
                    model.retain(|(other, _)| *other != conn);
                }
                _ => {}
            }
            assert_eq!(registry.held().1, model.len());
            assert_eq!(registry.counts(), registry.held());
        }
        let names: std::collections::BTreeSet<_> = model.iter().map(|(_, name)| name).collect();
        assert_eq!(registry.counts().0, names.len());
        for number in 0..150 {
            let name = format!("t/{number}");
            let expected: Vec<u32> = model.iter().filter(|(_, other)| *other == name).map(|(conn, _)| *conn).collect();
            let found = registry.find(filter(&name)).map_or(Vec::new(), |slot| subscribers(&registry, slot));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_subscription_taken_back_while_pending_is_not_made_live_by_the_late_answer() {
        let mut registry = Registry::new(1);
        let slot = registry.open(filter("a"), || false);
        let first = registry.next_serial();
        registry.pend(0, slot, first);
        registry.await_answers(slot, 1);
        assert!(registry.unsubscribe(0, slot));
        assert!(registry.close(slot).is_none(), "an answer is on its way");
        let second = registry.next_serial();
        registry.pend(0, slot, second);
        registry.settle(0, slot, first);
        assert!(registry.subscribers(slot).is_empty());
        registry.settle(0, slot, second);
        assert_eq!(subscribers(&registry, slot), [0]);
    }

    #[test]
    fn lookup_finds_the_topic_itself_and_each_matching_filter_once() {
        let mut registry = Registry::new(1);
        let exact = subscribe(&mut registry, 0, "chat/1");
        let hash = subscribe(&mut registry, 1, "chat/#");
        let plus = subscribe(&mut registry, 2, "+/1");
        subscribe(&mut registry, 3, "other");
        let mut found = registry.lookup(Topic::parse("chat/1").expect("valid")).to_vec();
        found.sort_unstable();
        assert_eq!(found, [exact, hash, plus]);
    }
}
