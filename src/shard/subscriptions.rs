//! What each connection subscribes to: by connection a list, each of it with its place among its filter's subscribers.
//!
//! `registry` keeps both directions true by it. A list is short as a rule, and looked through; a long one has an index by
//! filter beside it, so that no command costs more because its connection has many subscriptions. Invariant: a list has
//! an index while it is longer than `INDEXED`, and may keep it while it is longer than `KEPT`; an index has each place of
//! its list once.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::OccupiedEntry;
use smallvec::SmallVec;

use super::registry::Slot;
use crate::chunks::Column;

/// The longest list that has no index: to look through it takes the time of a miss or two of the cache.
const INDEXED: usize = 64;
/// The longest list that has none any more.
const KEPT: usize = INDEXED / 2;

/// One subscription of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscription {
    pub(super) slot: Slot,
    /// Live: index in the filter's subscribers. Pending: `PENDING` and the number of the subscribe.
    pub(super) at: u32,
}

/// All of one connection.
pub(super) type List = SmallVec<[Subscription; 2]>;

/// See the module's page.
#[derive(Debug)]
pub(super) struct Subscriptions {
    lists: Column<List>,
    /// Of the long lists: the places in the list, by slot.
    indices: HashMap<u32, HashTable<u32>, FixedState>,
    hasher: FixedState,
    /// How many all connections have.
    len: usize,
}

impl Subscriptions {
    pub(super) fn new(seed: u64) -> Self {
        let hasher = || FixedState::with_seed(seed);
        Self { lists: Column::default(), indices: HashMap::with_hasher(hasher()), hasher: hasher(), len: 0 }
    }

    /// How many all connections have.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The same by looking at all.
    pub(super) fn counted(&self) -> usize {
        self.lists.iter().map(SmallVec::len).sum()
    }

    /// What the connection has.
    pub(super) fn of(&self, conn: u32) -> &[Subscription] {
        self.lists.get(conn as usize).map_or(&[], |list| list)
    }

    /// The place in the connection's list where this slot is.
    pub(super) fn find(&self, conn: u32, slot: Slot) -> Option<usize> {
        let list = self.of(conn);
        if list.len() > INDEXED {
            let places = self.indices.get(&conn)?;
            let place = places.find(self.hasher.hash_one(slot), |&place| list[place as usize].slot == slot);
            return place.map(|&place| place as usize);
        }
        list.iter().position(|subscription| subscription.slot == slot)
    }

    /// The subscription at a place.
    pub(super) fn at(&mut self, conn: u32, place: usize) -> &mut Subscription {
        &mut self.lists[conn as usize][place]
    }

    /// Adds one to a slot that the connection does not have.
    pub(super) fn push(&mut self, conn: u32, subscription: Subscription) {
        self.lists.reach(conn as usize);
        let list = &mut self.lists[conn as usize];
        list.push(subscription);
        self.len += 1;
        let indexed = list.len() > INDEXED || (list.len() > KEPT && self.indices.contains_key(&conn));
        if !indexed {
            return;
        }
        let places = self.indices.entry(conn).or_default();
        let hash = |place: &u32| self.hasher.hash_one(list[*place as usize].slot);
        for place in places.len()..list.len() {
            let place = u32::try_from(place).expect("SUBSCRIPTIONS_MAX is less");
            places.insert_unique(hash(&place), place, hash);
        }
    }

    /// Takes one out; the last of the list takes its place.
    pub(super) fn swap_remove(&mut self, conn: u32, place: usize) -> Subscription {
        let list = &mut self.lists[conn as usize];
        let last = list.len() - 1;
        if last >= KEPT
            && let Some(places) = self.indices.get_mut(&conn)
        {
            let hash = |at: usize| self.hasher.hash_one(list[at].slot);
            find(places, hash(place), place).remove();
            if place != last {
                *find(places, hash(last), last).get_mut() = place as u32;
            }
            if last == KEPT {
                self.indices.remove(&conn);
            }
        }
        self.len -= 1;
        list.swap_remove(place)
    }

    /// Takes all of a connection out.
    pub(super) fn take(&mut self, conn: u32) -> List {
        let list = self.lists.find_mut(conn as usize).map(std::mem::take).unwrap_or_default();
        if list.len() > KEPT {
            self.indices.remove(&conn);
        }
        self.len -= list.len();
        list
    }

    /// No connection has a slot from this on.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.lists.shrink_to(slots);
    }
}

/// The entry of a place.
fn find(places: &mut HashTable<u32>, hash: u64, place: usize) -> OccupiedEntry<'_, u32> {
    places.find_entry(hash, |&other| other as usize == place).expect("an index has each place of its list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(slot: Slot) -> Subscription {
        Subscription { slot, at: 1000 + slot }
    }

    #[test]
    fn each_slot_is_found_where_it_is_however_long_the_list_grows_and_shrinks() {
        let mut all = Subscriptions::new(1);
        let mut model: Vec<Slot> = Vec::new();
        let mut random = 12345u32;
        let (mut had, mut changes) = (false, 0);
        for round in 0..40_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let slot = (random >> 8) % 100;
            // Up to some 80, and down again to a dozen: over both limits, many times.
            let grows = if round % 2_000 < 1_000 { 3 } else { 1 };
            let known = model.iter().position(|&other| other == slot);
            assert_eq!(all.find(7, slot), known, "round {round}");
            match known {
                None if (random >> 28) % 4 < grows => {
                    all.push(7, subscription(slot));
                    model.push(slot);
                }
                Some(place) if (random >> 28) % 4 >= grows => {
                    assert_eq!(all.swap_remove(7, place).at, 1000 + slot);
                    model.swap_remove(place);
                }
                _ => {}
            }
            assert_eq!((all.of(7).len(), all.len(), all.counted()), (model.len(), model.len(), model.len()));
            let indexed = all.indices.get(&7).map(HashTable::len);
            assert!(indexed.is_none_or(|places| places == model.len()), "an index has each place once");
            assert!(indexed.is_some() || model.len() <= INDEXED);
            assert!(indexed.is_none() || model.len() > KEPT, "a short list keeps no index");
            changes += usize::from(indexed.is_some() != had);
            had = indexed.is_some();
        }
        assert!(changes >= 20, "{changes} times it got an index or lost it");
    }

    #[test]
    fn whoever_goes_takes_its_index_along() {
        let mut all = Subscriptions::new(1);
        for left in [KEPT + 1, INDEXED + 1, 0] {
            (0..200).for_each(|slot| all.push(3, subscription(slot)));
            (left..200).rev().for_each(|place| {
                all.swap_remove(3, place);
            });
            assert_eq!(all.take(3).len(), left);
            assert!(all.indices.is_empty() && all.len() == 0, "{left} were left");
            assert_eq!(all.find(3, 0), None);
        }
    }
}
