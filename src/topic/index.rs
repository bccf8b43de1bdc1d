//! A record's number by its name, where the records themselves hold the names.
//!
//! `shard` finds filters by it, `home` finds topics. A slot is 4 bytes and one of control, where a map from name to number
//! takes 25 and a second handle on the name: with a topic for each connection that is what a topic costs most. It is many
//! small tables (linear hashing): each [`TABLE`] names more split one of them, so that no name out of a million makes a turn
//! hash all others. Invariant: whoever owns the records takes a number out before the record goes or changes its name.

use std::hash::BuildHasher;

use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use super::hasher;

/// Names of a table on an average; the one that is split next has twice as many.
const TABLE: usize = 1024;

/// See the module's page. `name_of` is the same function at every call: the name of a record that is in the index.
#[derive(Debug)]
pub struct NameIndex {
    tables: Vec<HashTable<u32>>,
    len: usize,
    hasher: SeedableRandomState,
}

impl NameIndex {
    /// An empty index. The seed keeps a stranger from choosing names whose hashes collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { tables: vec![HashTable::new()], len: 0, hasher: hasher(seed) }
    }

    /// The number of the record with this name.
    #[must_use]
    pub fn find<'r>(&self, name: &[u8], name_of: impl Fn(u32) -> &'r [u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.tables[self.table_of(hash)].find(hash, |&number| name_of(number) == name).copied()
    }

    /// Takes in a record whose name is not in the index yet.
    pub fn insert<'r>(&mut self, number: u32, name_of: impl Fn(u32) -> &'r [u8]) {
        let hash = |number: &u32| self.hasher.hash_one(name_of(*number));
        let own = hash(&number);
        let table = self.table_of(own);
        self.tables[table].insert_unique(own, number, hash);
        self.len += 1;
        if self.len > self.tables.len() * TABLE {
            self.split(name_of);
        }
    }

    /// Takes a record out, by its name and its number. Nothing happens if it is not in.
    pub fn remove<'r>(&mut self, name: &[u8], number: u32, name_of: impl Fn(u32) -> &'r [u8]) {
        let hash = self.hasher.hash_one(name);
        let table = self.table_of(hash);
        let Ok(entry) = self.tables[table].find_entry(hash, |&other| other == number) else { return };
        entry.remove();
        self.len -= 1;
        // Half of what splits, so that nobody who comes and goes makes it split and merge.
        if self.tables.len() > 1 && self.len < (self.tables.len() - 1) * TABLE / 2 {
            self.merge(name_of);
        }
    }

    /// By bits of the hash that the tables themselves do not go by.
    fn table_of(&self, hash: u64) -> usize {
        let bits = (hash >> 32) as usize;
        let mask = self.tables.len().next_power_of_two() - 1;
        let at = bits & mask;
        if at < self.tables.len() { at } else { at & (mask >> 1) }
    }

    /// Makes one table more, of part of the one that held its names until now.
    fn split<'r>(&mut self, name_of: impl Fn(u32) -> &'r [u8]) {
        self.tables.push(HashTable::new());
        let (fresh, buddy) = (self.tables.len() - 1, self.buddy_of_last());
        let names = std::mem::take(&mut self.tables[buddy]);
        for table in [fresh, buddy] {
            self.tables[table] = HashTable::with_capacity(names.len() / 2);
        }
        for number in names {
            let hash = |number: &u32| self.hasher.hash_one(name_of(*number));
            let own = hash(&number);
            let table = self.table_of(own);
            debug_assert!(table == buddy || table == fresh, "no other table has its names");
            self.tables[table].insert_unique(own, number, hash);
        }
    }

    /// The inverse of [`NameIndex::split`].
    fn merge<'r>(&mut self, name_of: impl Fn(u32) -> &'r [u8]) {
        let buddy = self.buddy_of_last();
        let hash = |number: &u32| self.hasher.hash_one(name_of(*number));
        for number in self.tables.pop().into_iter().flatten() {
            self.tables[buddy].insert_unique(hash(&number), number, hash);
        }
        let table = &mut self.tables[buddy];
        table.shrink_to(table.len(), hash);
    }

    /// Which table has the names of the last one if that does not exist.
    fn buddy_of_last(&self) -> usize {
        (self.tables.len() - 1) & ((self.tables.len().next_power_of_two() - 1) >> 1)
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
            let found = index.find(name.as_bytes(), |number| records[number as usize].as_bytes());
            assert_eq!(found, model.get(&name).copied());
            if let Some(number) = found {
                index.remove(name.as_bytes(), number, |number| records[number as usize].as_bytes());
                records.remove(number as usize);
                model.remove(&name);
            } else {
                let number = u32::try_from(records.insert(name.as_str().into())).unwrap();
                index.insert(number, |number| records[number as usize].as_bytes());
                model.insert(name, number);
            }
        }
        for (name, &number) in &model {
            assert_eq!(index.find(name.as_bytes(), |number| records[number as usize].as_bytes()), Some(number));
        }
        assert!(model.len() > 100, "the test kept too few names to say anything");
    }

    #[test]
    fn a_number_that_is_not_in_is_not_taken_out_by_another_ones_name() {
        let names = [b"a", b"b"];
        let mut index = NameIndex::new(1);
        index.insert(0, |number| &names[number as usize][..]);
        index.remove(b"b", 1, |number| &names[number as usize][..]);
        index.remove(b"a", 1, |number| &names[number as usize][..]);
        assert_eq!(index.find(b"a", |number| &names[number as usize][..]), Some(0));
        index.remove(b"a", 0, |number| &names[number as usize][..]);
        assert_eq!(index.find(b"a", |number| &names[number as usize][..]), None);
    }

    #[test]
    fn tables_split_and_merge_as_names_come_and_go_and_each_name_is_always_found() {
        let names: Vec<String> = (0..20 * TABLE).map(|number| format!("room/{number}")).collect();
        let name_of = |number: u32| names[number as usize].as_bytes();
        let mut index = NameIndex::new(1);
        for number in 0..names.len() {
            index.insert(u32::try_from(number).unwrap(), name_of);
            // The one that came, and some that came before it.
            for other in [number, number / 2, number / 7] {
                assert_eq!(index.find(name_of(other as u32), name_of), Some(other as u32));
            }
        }
        assert!(index.tables.len() >= 15, "{} tables", index.tables.len());
        assert!(index.tables.iter().all(|table| table.len() < 4 * TABLE), "no table has to hash more than that");
        for number in 0..names.len() {
            index.remove(name_of(number as u32), number as u32, name_of);
            for other in number + 1..(number + 3).min(names.len()) {
                assert_eq!(index.find(name_of(other as u32), name_of), Some(other as u32));
            }
        }
        assert_eq!((index.tables.len(), index.tables[0].len()), (1, 0));
    }
}
