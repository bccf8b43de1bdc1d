//! Slabs and columns that grow by chunks: a million records come without one of them being moved.
//!
//! A `Vec` that doubles copies all it holds in the middle of a turn, and keeps the most that it ever held. [`Chunks`] is a
//! list of slabs: it takes the lowest slab with room, and lets the last ones go when they are empty. A [`Column`] has one
//! value for each slot of such a list, apart from the records, so that a walk over it touches nothing else. Invariants: a
//! key stays as long as its record; `first` is not behind any slab with room.

use std::ops::{Index, IndexMut};

use slab::Slab;

/// Bits of a key that say where in its chunk a record is.
const BITS: u32 = 12;
/// Records of one chunk.
const CHUNK: usize = 1 << BITS;

fn split(key: usize) -> (usize, usize) {
    (key >> BITS, key & (CHUNK - 1))
}

/// Records by keys that it gives; see the module's page.
#[derive(Debug)]
pub struct Chunks<T> {
    slabs: Vec<Slab<T>>,
    /// Every slab before this one is full.
    first: usize,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { slabs: Vec::new(), first: 0, len: 0 }
    }
}

impl<T> Chunks<T> {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Every key is below this.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slabs.len() * CHUNK
    }

    /// Takes a record in; its key.
    ///
    /// # Panics
    /// If there are 2^32 of them already.
    pub fn insert(&mut self, value: T) -> u32 {
        while self.slabs.get(self.first).is_some_and(|slab| slab.len() == CHUNK) {
            self.first += 1;
        }
        if self.first == self.slabs.len() {
            // The first one begins small: most lists stay so.
            self.slabs.push(if self.first == 0 { Slab::new() } else { Slab::with_capacity(CHUNK) });
        }
        self.len += 1;
        let at = self.slabs[self.first].insert(value);
        u32::try_from((self.first << BITS) + at).expect("fewer than 2^32 records fit in memory")
    }

    /// The record of that key, if there is one.
    #[must_use]
    pub fn get(&self, key: usize) -> Option<&T> {
        let (slab, at) = split(key);
        self.slabs.get(slab)?.get(at)
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, key: usize) -> Option<&mut T> {
        let (slab, at) = split(key);
        self.slabs.get_mut(slab)?.get_mut(at)
    }

    /// Whether there is a record of that key.
    #[must_use]
    pub fn contains(&self, key: usize) -> bool {
        self.get(key).is_some()
    }

    /// Takes a record out. Slabs at the end go when they are empty; one of them stays, or somebody who comes and goes would
    /// make and drop it each time.
    ///
    /// # Panics
    /// If there is no record of that key.
    pub fn remove(&mut self, key: usize) -> T {
        let (slab, at) = split(key);
        let value = self.slabs[slab].remove(at);
        self.len -= 1;
        self.first = self.first.min(slab);
        while let [.., before, last] = &self.slabs[..]
            && before.is_empty()
            && last.is_empty()
        {
            self.slabs.pop();
        }
        value
    }

    /// All records with their keys, in the order of these.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let slabs = self.slabs.iter().enumerate();
        slabs.flat_map(|(slab, records)| records.iter().map(move |(at, value)| ((slab << BITS) + at, value)))
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, key: usize) -> &T {
        let (slab, at) = split(key);
        &self.slabs[slab][at]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, key: usize) -> &mut T {
        let (slab, at) = split(key);
        &mut self.slabs[slab][at]
    }
}

/// One value for each slot; see the module's page.
#[derive(Debug)]
pub struct Column<T> {
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Default> Column<T> {
    /// Makes room for that slot and all before it.
    pub fn reach(&mut self, slot: usize) {
        let (chunk, at) = split(slot);
        while self.chunks.len() <= chunk {
            if let Some(last) = self.chunks.last_mut() {
                last.resize_with(CHUNK, T::default);
            }
            // The first one begins small: most columns stay so.
            self.chunks.push(if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let chunk = &mut self.chunks[chunk];
        if chunk.len() <= at {
            chunk.resize_with(at + 1, T::default);
        }
    }
}

impl<T> Column<T> {
    /// Lets go of chunks that have no slot below `slots`.
    pub fn shrink_to(&mut self, slots: usize) {
        self.chunks.truncate(slots.div_ceil(CHUNK));
    }

    /// The value of a slot, if it was reached.
    #[must_use]
    pub fn get(&self, slot: usize) -> Option<&T> {
        let (chunk, at) = split(slot);
        self.chunks.get(chunk)?.get(at)
    }

    /// The same, to be changed.
    pub fn find_mut(&mut self, slot: usize) -> Option<&mut T> {
        let (chunk, at) = split(slot);
        self.chunks.get_mut(chunk)?.get_mut(at)
    }

    /// All values, slot by slot.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<usize> for Column<T> {
    type Output = T;

    #[inline]
    fn index(&self, slot: usize) -> &T {
        let (chunk, at) = split(slot);
        &self.chunks[chunk][at]
    }
}

impl<T> IndexMut<usize> for Column<T> {
    #[inline]
    fn index_mut(&mut self, slot: usize) -> &mut T {
        let (chunk, at) = split(slot);
        &mut self.chunks[chunk][at]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn agrees_with_an_ordered_map_under_random_changes() {
        let (mut chunks, mut model) = (Chunks::default(), BTreeMap::new());
        let mut random = 12345u32;
        for round in 0..60_000u32 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Up to some 15,000 records, and down again: over chunks that are full and that go.
            let grows = if round < 30_000 { 3 } else { 1 };
            if (random >> 8) % 4 < grows {
                let key = chunks.insert(round) as usize;
                assert_eq!(model.insert(key, round), None, "a key is nobody else's");
            } else if let Some(&key) = model.range((random >> 10) as usize % (5 * CHUNK)..).next().map(|(key, _)| key) {
                assert_eq!(Some(chunks.remove(key)), model.remove(&key));
                assert_eq!(chunks.get(key), None);
            }
            assert_eq!(chunks.len(), model.len());
        }
        assert!(chunks.iter().eq(model.iter().map(|(&key, value)| (key, value))));
        for key in model.into_keys() {
            chunks.remove(key);
        }
        assert!(chunks.is_empty() && chunks.slots() == CHUNK, "{} slots are left", chunks.slots());
    }

    #[test]
    fn nothing_moves_while_it_grows() {
        let mut chunks = Chunks::default();
        (0..CHUNK).for_each(|number| {
            chunks.insert(number);
        });
        let place: *const usize = &raw const chunks[CHUNK - 1];
        (0..10 * CHUNK).for_each(|number| {
            chunks.insert(number);
        });
        assert_eq!(place, &raw const chunks[CHUNK - 1]);
    }

    #[test]
    fn the_lowest_slots_are_taken_first() {
        let mut chunks = Chunks::default();
        (0..3 * CHUNK).for_each(|number| {
            chunks.insert(number);
        });
        chunks.remove(2 * CHUNK + 5);
        chunks.remove(7);
        assert_eq!((chunks.insert(0), chunks.insert(0)), (7, 2 * CHUNK as u32 + 5));
        assert_eq!(chunks.insert(0), 3 * CHUNK as u32);
    }

    #[test]
    fn a_column_reaches_a_slot_anywhere_and_lets_go_of_what_is_beyond() {
        let mut column = Column::<u8>::default();
        column.reach(3 * CHUNK + 2);
        column[CHUNK] = 1;
        column[3 * CHUNK + 2] = 2;
        assert_eq!(column.iter().map(|&value| usize::from(value)).sum::<usize>(), 3);
        assert_eq!((column.get(CHUNK), column.get(3 * CHUNK + 3)), (Some(&1), None));
        column.shrink_to(CHUNK + 1);
        assert_eq!((column.get(CHUNK), column.get(2 * CHUNK)), (Some(&1), None));
        column.reach(2 * CHUNK);
        assert_eq!((column[CHUNK], column[2 * CHUNK]), (1, 0));
    }
}
