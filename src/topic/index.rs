//! A record's number by its name, where the records themselves hold the names.
//!
//! `shard` finds filters by it, `home` finds topics. A slot is 4 bytes and one of control, where a map from name to number
//! takes 25 and a second handle on the name: with a topic for each connection that is what a topic costs most. Invariant:
//! whoever owns the records takes a number out before the record goes or changes its name.

use std::hash::BuildHasher;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use super::hasher;

/// See the module's page. `name_of` is the same function at every call: the name of a record that is in the index.
#[derive(Debug)]
pub struct NameIndex {
    numbers: HashTable<u32>,
    hasher: SeedableRandomState,
}

impl NameIndex {
    /// An empty index. The seed keeps a stranger from choosing names whose hashes collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { numbers: HashTable::new(), hasher: hasher(seed) }
    }

    /// The number of the record with this name.
    pub fn find<'r>(&self, name: &str, name_of: impl Fn(u32) -> &'r str) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(name), |&number| name_of(number) == name).copied()
    }

    /// Takes in a record whose name is not in the index yet.
    pub fn insert<'r>(&mut self, number: u32, name_of: impl Fn(u32) -> &'r str) {
        let hash = |number: &u32| self.hasher.hash_one(name_of(*number));
        self.numbers.insert_unique(hash(&number), number, hash);
    }

    /// Takes a record out, by its name and its number. Nothing happens if it is not in.
    pub fn remove(&mut self, name: &str, number: u32) {
        if let Ok(entry) = self.numbers.find_entry(self.hasher.hash_one(name), |&other| other == number) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use slab::Slab;

    use super::*;

    #[test]
    fn agrees_with_an_ordered_map_under_random_changes() {
        let mut records: Slab<Box<str>> = Slab::new();
        let mut index = NameIndex::new(1);
        let mut model = BTreeMap::new();
        let mut random = 12345u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let name = format!("t/{}", (random >> 8) % 500);
            let found = index.find(&name, |number| &records[number as usize]);
            assert_eq!(found, model.get(&name).copied());
            if let Some(number) = found {
                index.remove(&name, number);
                records.remove(number as usize);
                model.remove(&name);
            } else {
                let number = u32::try_from(records.insert(name.as_str().into())).unwrap();
                index.insert(number, |number| &records[number as usize]);
                model.insert(name, number);
            }
        }
        for (name, &number) in &model {
            assert_eq!(index.find(name, |number| &records[number as usize]), Some(number));
        }
        assert!(model.len() > 100, "the test kept too few names to say anything");
    }

    #[test]
    fn a_number_that_is_not_in_is_not_taken_out_by_another_ones_name() {
        let names = ["a", "b"];
        let mut index = NameIndex::new(1);
        index.insert(0, |number| names[number as usize]);
        index.remove("b", 1);
        index.remove("a", 1);
        assert_eq!(index.find("a", |number| names[number as usize]), Some(0));
        index.remove("a", 0);
        assert_eq!(index.find("a", |number| names[number as usize]), None);
    }
}
