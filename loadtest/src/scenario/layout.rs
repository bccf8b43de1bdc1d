//! Who sits where: the topics of every connection, and who publishes to which topic.
//! A run makes one and shares it; `publishing` and `listening` take their parts from it, the judgement puts them together.
//!
//! A seat is one subscription of one connection; seats are numbered connection by connection. Publishers of a topic are numbered
//! from 0; their sequences have one index over the whole run.
//! Invariants: nobody sits twice in a topic; each seat's publications can be told from every other's.

use serde::{Deserialize, Serialize};

/// How connections are spread over topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) enum Seating {
    /// Some publish, to all topics; the others sit, each in one topic.
    #[default]
    Apart,
    /// All sit, and publish where they sit.
    Rooms {
        /// Subscriptions in all.
        seats: usize,
        /// Exponent of the sizes: room n is as big as 1 / n to it; 0 makes all alike.
        zipf: f64,
    },
}

/// Everybody's place.
pub(crate) struct Layout {
    /// Their names.
    pub(crate) topics: Vec<String>,
    /// Connections that only publish, the first ones.
    pub(crate) apart: usize,
    /// Seats before those of a connection, and one more at the end.
    first_seat: Vec<u32>,
    /// The topic of each seat.
    seats: Vec<u32>,
    /// Seats in each topic.
    members: Vec<u32>,
    /// In rooms, publishers before those of a topic.
    first_publisher: Vec<u32>,
    /// In rooms, the publisher's number within its topic of each seat.
    numbers: Vec<u32>,
}

impl Layout {
    /// The first `publishers` connections publish to all topics; subscriber n has topic n modulo their number.
    pub(crate) fn apart(topics: Vec<String>, subscribers: usize, publishers: usize) -> Self {
        let mut layout = Self {
            members: vec![0; topics.len()],
            topics,
            apart: publishers,
            first_seat: vec![0; publishers],
            seats: Vec::new(),
            first_publisher: Vec::new(),
            numbers: Vec::new(),
        };
        for subscriber in 0..subscribers {
            let topic = subscriber % layout.topics.len();
            layout.first_seat.push(subscriber as u32);
            layout.seats.push(topic as u32);
            layout.members[topic] += 1;
        }
        layout.first_seat.push(subscribers as u32);
        layout
    }

    /// Rooms of the given sizes, none above the number of connections: seats are taken in turn.
    pub(crate) fn rooms(topics: Vec<String>, sizes: &[u32], connections: usize) -> Self {
        let mut sitting: Vec<Vec<(u32, u32)>> = vec![Vec::new(); connections];
        let (mut next, mut first_publisher, mut all) = (0, Vec::new(), 0);
        for (topic, size) in sizes.iter().enumerate() {
            first_publisher.push(all);
            all += size;
            for number in 0..*size {
                sitting[next].push((topic as u32, number));
                next = (next + 1) % connections;
            }
        }
        let (mut first_seat, mut seats, mut numbers) = (vec![0], Vec::new(), Vec::new());
        for (topic, number) in sitting.into_iter().flat_map(|mut own| {
            own.push((u32::MAX, 0)); // the end of a connection
            own
        }) {
            if topic == u32::MAX {
                first_seat.push(seats.len() as u32);
            } else {
                seats.push(topic);
                numbers.push(number);
            }
        }
        Self { topics, apart: 0, first_seat, seats, members: sizes.to_vec(), first_publisher, numbers }
    }

    /// Connections in all.
    pub(crate) fn connections(&self) -> usize {
        self.first_seat.len() - 1
    }

    /// The seats of a connection.
    pub(crate) fn seats_of(&self, connection: usize) -> std::ops::Range<usize> {
        self.first_seat[connection] as usize..self.first_seat[connection + 1] as usize
    }

    /// How many seats the connections before that one have.
    pub(crate) fn seats_before(&self, connection: usize) -> usize {
        self.first_seat[connection] as usize
    }

    /// The topic of a seat.
    pub(crate) fn topic_of(&self, seat: usize) -> usize {
        self.seats[seat] as usize
    }

    /// The topic's name of a seat.
    pub(crate) fn name_of(&self, seat: usize) -> &str {
        &self.topics[self.topic_of(seat)]
    }

    /// How many have to get each publication of a topic.
    pub(crate) fn members(&self, topic: usize) -> u32 {
        self.members[topic]
    }

    /// How many publish to a topic.
    pub(crate) fn publishers(&self, topic: usize) -> usize {
        if self.is_rooms() { self.members[topic] as usize } else { self.apart }
    }

    /// The publisher's number within its topic of whoever sits there.
    pub(crate) fn number_of(&self, seat: usize) -> usize {
        self.numbers[seat] as usize
    }

    /// The index over the whole run of a topic's publisher.
    pub(crate) fn publisher(&self, topic: usize, number: usize) -> usize {
        let first = self.first_publisher.get(topic).map_or(topic * self.apart, |first| *first as usize);
        first + number
    }

    /// Publishers of all topics together.
    pub(crate) fn publishers_of_all(&self) -> usize {
        if self.is_rooms() { self.seats.len() } else { self.topics.len() * self.apart }
    }

    /// Whoever sits also publishes.
    pub(crate) fn is_rooms(&self) -> bool {
        !self.first_publisher.is_empty()
    }
}

/// Sizes of so many rooms with so many seats in all, as even as 1 / n to the power of `zipf` allows: at least one each, and none above
/// `most`. Answers fewer seats only where the rooms cannot hold them.
pub(crate) fn sizes(rooms: usize, seats: usize, most: usize, zipf: f64) -> Vec<u32> {
    let weight = |room: usize| 1.0 / ((room + 1) as f64).powf(zipf);
    let mut sizes = vec![1_usize; rooms];
    let mut left = seats.min(rooms * most).saturating_sub(rooms);
    // What does not fit into a full room goes to the others, in the same proportions.
    while left > 0 {
        let open: f64 = (0..rooms).filter(|room| sizes[*room] < most).map(weight).sum();
        let share = left as f64;
        for (room, size) in sizes.iter_mut().enumerate() {
            let more = (share * weight(room) / open).floor() as usize;
            let more = more.max(1).min(most - *size).min(left);
            *size += more;
            left -= more;
        }
    }
    sizes.into_iter().map(|size| size as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("t/{n}")).collect()
    }

    #[test]
    fn apart_subscribers_have_one_topic_each_and_publishers_all() {
        let layout = Layout::apart(names(3), 7, 2);
        assert_eq!((layout.connections(), layout.apart, layout.publishers_of_all()), (9, 2, 6));
        assert_eq!((layout.seats_of(0), layout.seats_of(2), layout.seats_of(8)), (0..0, 0..1, 6..7));
        assert_eq!((0..3).map(|topic| layout.members(topic)).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!((layout.topic_of(4), layout.publishers(1), layout.publisher(2, 1)), (1, 2, 5));
    }

    #[test]
    fn in_rooms_everybody_sits_as_often_and_never_twice_in_one() {
        let sizes = sizes(30, 300, 100, 0.0);
        assert_eq!(sizes, [10; 30]);
        let layout = Layout::rooms(names(30), &sizes, 100);
        let mut publishers = std::collections::HashSet::new();
        for connection in 0..100 {
            let own = layout.seats_of(connection);
            let mut topics: Vec<usize> = own.clone().map(|seat| layout.topic_of(seat)).collect();
            topics.dedup();
            assert_eq!(topics.len(), 3, "{connection}");
            publishers.extend(own.map(|seat| layout.publisher(layout.topic_of(seat), layout.number_of(seat))));
        }
        assert_eq!((publishers.len(), layout.publishers_of_all()), (300, 300));
        assert!(publishers.iter().all(|publisher| *publisher < 300));
    }

    #[test]
    fn sizes_after_zipf_fall_add_up_and_stay_within_their_bounds() {
        let all = sizes(100, 1_000, 60, 1.0);
        assert_eq!(all.iter().sum::<u32>(), 1_000);
        assert!(all.is_sorted_by(|a, b| a >= b), "{all:?}");
        assert!(all[0] == 60 && all[99] >= 1 && all[99] < 4, "{all:?}");
        assert_eq!(sizes(3, 100, 5, 1.0), [5, 5, 5]);
        assert_eq!(sizes(3, 1, 5, 0.0), [1, 1, 1]);
        let rooms = Layout::rooms(names(100), &all, 60);
        for connection in 0..60 {
            let mut topics: Vec<usize> = rooms.seats_of(connection).map(|seat| rooms.topic_of(seat)).collect();
            let seats = topics.len();
            topics.dedup();
            assert_eq!(topics.len(), seats);
        }
    }
}
