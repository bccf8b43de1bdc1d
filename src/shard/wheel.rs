//! The timer wheel of one shard: coarse ticks, one place per connection, no node and no allocation per timer.
//!
//! A bucket lists the connections to be looked at when its tick comes; activity never moves anybody (the connection stores
//! the tick it was last seen and is filed anew when it comes up). Deadlines beyond the horizon are filed before it and looked
//! at early. Invariants: `places[c]` says where `c` stands, so taking it out is O(1) and nothing stale is left behind; an empty
//! bucket holds no memory, or each of them would keep the most that it ever held.

use crate::chunks::Column;
use crate::ids::Tick;

const BUCKETS: usize = 1024;
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Place {
    bucket: u32,
    at: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self { bucket: NOWHERE, at: 0 }
    }
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Wheel {
    buckets: Vec<Vec<u32>>,
    places: Column<Place>,
    /// One bit per bucket that may have somebody in it.
    occupied: [u64; BUCKETS / 64],
    /// Every bucket up to this tick was emptied.
    now: Tick,
    len: usize,
    /// How often somebody was handed out.
    #[cfg(test)]
    looks: usize,
}

impl Wheel {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            buckets: vec![Vec::new(); BUCKETS],
            places: Column::default(),
            occupied: [0; BUCKETS / 64],
            now,
            len: 0,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// How many connections are filed.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How often somebody was handed out.
    #[cfg(test)]
    pub(super) fn looks(&self) -> usize {
        self.looks
    }

    /// Nobody from this slot on is filed.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        self.places.shrink_to(slots);
    }

    /// Files `conn` for `due`, wherever it stood before. A tick that is past counts as the next one.
    pub(super) fn file(&mut self, conn: u32, due: Tick) {
        self.remove(conn);
        self.places.reach(conn as usize);
        let horizon = self.now.0 + BUCKETS as u32 - 1;
        // Beyond the horizon they are spread, or all of them would be looked at in one tick.
        let at = if due.0 > horizon { horizon - conn % (BUCKETS as u32 / 2) } else { due.0.max(self.now.0 + 1) };
        let bucket = at % BUCKETS as u32;
        let list = &mut self.buckets[bucket as usize];
        self.places[conn as usize] = Place { bucket, at: list.len() as u32 };
        list.push(conn);
        self.occupied[bucket as usize / 64] |= 1 << (bucket % 64);
        self.len += 1;
    }

    /// Takes `conn` out, if it is in.
    pub(super) fn remove(&mut self, conn: u32) {
        let Some(&place) = self.places.get(conn as usize) else { return };
        if place.bucket == NOWHERE {
            return;
        }
        let list = &mut self.buckets[place.bucket as usize];
        list.swap_remove(place.at as usize);
        if let Some(&moved) = list.get(place.at as usize) {
            self.places[moved as usize].at = place.at;
        } else if list.is_empty() {
            *list = Vec::new();
        }
        self.places[conn as usize].bucket = NOWHERE;
        self.len -= 1;
    }

    /// Moves the time on and hands out, one after the other, who is due. Each must be filed again or is out.
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        loop {
            let bucket = self.now.0 as usize % BUCKETS;
            if let Some(conn) = self.buckets[bucket].pop() {
                self.places[conn as usize].bucket = NOWHERE;
                self.len -= 1;
                #[cfg(test)]
                {
                    self.looks += 1;
                }
                return Some(conn);
            }
            self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            self.buckets[bucket] = Vec::new();
            if self.now >= now {
                return None;
            }
            self.now = if self.len == 0 { now } else { Tick(self.now.0 + 1) };
        }
    }

    /// The next tick at which somebody may be due; at times one at which somebody was, who left since.
    pub(super) fn next(&self) -> Option<Tick> {
        if self.len == 0 {
            return None;
        }
        let first = self.now.0 as usize % BUCKETS;
        let words = self.occupied.len();
        (0..=words).find_map(|step| {
            let at = (first / 64 + step) % words;
            let ahead = match step {
                0 => self.occupied[at] & (u64::MAX << (first % 64)),
                _ => self.occupied[at],
            };
            let bucket = at * 64 + ahead.trailing_zeros() as usize;
            let step = (bucket + BUCKETS - first) % BUCKETS;
            (ahead != 0).then(|| Tick(self.now.0 + step as u32))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u32) -> Vec<u32> {
        let mut all: Vec<u32> = std::iter::from_fn(|| wheel.pop_due(Tick(now))).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn each_comes_up_at_its_tick_and_not_before() {
        let mut wheel = Wheel::new(Tick(0));
        for conn in 0..50 {
            wheel.file(conn, Tick(1 + conn * 3));
        }
        assert_eq!(wheel.next(), Some(Tick(1)));
        for now in 0..200 {
            let expected: Vec<u32> = (0..50).filter(|conn| 1 + conn * 3 == now).collect();
            assert_eq!(due(&mut wheel, now), expected, "tick {now}");
        }
        assert_eq!((wheel.len(), wheel.next()), (0, None));
    }

    #[test]
    fn a_deadline_beyond_the_horizon_comes_up_early_and_one_in_the_past_at_once() {
        let mut wheel = Wheel::new(Tick(7));
        wheel.file(1, Tick(1_000_000));
        wheel.file(2, Tick(3));
        assert_eq!(due(&mut wheel, 8), [2]);
        assert_eq!(due(&mut wheel, 7 + BUCKETS as u32), [1]);
    }

    #[test]
    fn taking_out_and_filing_again_leaves_nothing_stale() {
        let mut wheel = Wheel::new(Tick(0));
        for conn in 0..10 {
            wheel.file(conn, Tick(5));
        }
        wheel.remove(0);
        wheel.remove(0);
        wheel.remove(9);
        wheel.file(3, Tick(6));
        assert_eq!(due(&mut wheel, 5), [1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(due(&mut wheel, 6), [3]);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn no_empty_bucket_holds_memory_however_it_became_empty() {
        let mut wheel = Wheel::new(Tick(0));
        for conn in 0..1000 {
            wheel.file(conn, Tick(1 + conn % 100));
        }
        (0..500).for_each(|conn| wheel.remove(conn));
        assert_eq!(due(&mut wheel, 50).len(), 250);
        (500..1000).for_each(|conn| wheel.remove(conn));
        assert_eq!(due(&mut wheel, 2000), [0; 0]);
        assert_eq!(wheel.buckets.iter().map(Vec::capacity).sum::<usize>(), 0);
    }

    #[test]
    fn a_jump_of_time_over_many_turns_of_the_wheel_finds_everybody_once() {
        let mut wheel = Wheel::new(Tick(0));
        for conn in 0..1000 {
            wheel.file(conn, Tick(conn + 1));
        }
        assert_eq!(due(&mut wheel, 1_000_000).len(), 1000);
        wheel.file(5, Tick(1_000_001));
        assert_eq!(due(&mut wheel, 1_000_001), [5]);
    }

    #[test]
    fn filing_a_million_and_looking_at_one_tick_touches_only_that_tick() {
        let mut wheel = Wheel::new(Tick(0));
        for conn in 0..1_000_000 {
            wheel.file(conn, Tick(1 + conn % 250));
        }
        assert_eq!(due(&mut wheel, 1).len(), 4000);
        assert_eq!(wheel.len(), 996_000);
    }
}
