//! Two or three desks, their mail and their bells: first step by step on one thread, then for real on two.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::*;
use crate::transport::Form;

/// Counts how often its shard was really woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Office {
    desks: Vec<Desk>,
    homes: Vec<Home>,
    wakes: Vec<Arc<Count>>,
}

impl Office {
    fn new(shards: u16, capacity: usize) -> Self {
        let wakes: Vec<Arc<Count>> = (0..shards).map(|_| Arc::default()).collect();
        let desks = join(wakes.iter().map(|wake| Arc::clone(wake) as Arc<dyn Wake>).collect(), capacity);
        Self {
            desks,
            homes: (0..shards).map(|id| Home::new(ShardId(id), shards, Rc::default(), 0, u64::from(id))).collect(),
            wakes,
        }
    }

    /// Adds a numbered command to the turn.
    fn command(&mut self, from: usize, to: u16, number: u32) {
        command(&mut self.desks[from], to, number);
    }

    fn delivery(&mut self, from: usize, to: u16, number: u32) {
        self.homes[from].parcel(ShardId(to)).items.push(Delivery::Watching { slot: number });
    }

    fn post(&mut self, from: usize) {
        self.desks[from].post(&mut self.homes[from]);
    }

    /// The next parcel of commands from the only peer, by number.
    fn commands(&mut self, at: usize) -> Option<Vec<u32>> {
        self.desks[at].take_commands(0).map(|(_, parcel)| command_numbers(&parcel))
    }

    fn deliveries(&mut self, at: usize) -> Option<Vec<u32>> {
        self.desks[at].take_deliveries(0).map(|(_, parcel)| delivery_numbers(&parcel))
    }

    fn woken(&self, shard: usize) -> usize {
        self.wakes[shard].0.load(Ordering::SeqCst)
    }
}

fn command(desk: &mut Desk, to: u16, number: u32) {
    let parcel = desk.commands_to(ShardId(to));
    let filter = parcel.keep(format!("filter/{number}/#").as_bytes());
    parcel.items.push(Command::Watch { filter, slot: number, form: Form::Frames });
}

/// The numbers in a parcel; each must come with its own text.
fn command_numbers(parcel: &Parcel<Command>) -> Vec<u32> {
    let number = |item: &Command| match item {
        Command::Watch { filter, slot, .. } => {
            assert_eq!(filter.text(&parcel.bytes), format!("filter/{slot}/#"));
            *slot
        }
        other => panic!("{other:?}"),
    };
    parcel.items.iter().map(number).collect()
}

fn delivery_numbers(parcel: &Parcel<Delivery>) -> Vec<u32> {
    let number = |item: &Delivery| match item {
        Delivery::Watching { slot } => *slot,
        other => panic!("{other:?}"),
    };
    parcel.items.iter().map(number).collect()
}

#[test]
fn what_a_parcel_kept_is_found_again_by_its_span() {
    let mut parcel: Parcel<()> = Parcel::default();
    let spans = ["a", "", "bc/d", "\u{20ac}"].map(|text| (text, parcel.keep(text.as_bytes())));
    assert!(parcel.is_empty(), "bytes without an item carry nothing");
    for (text, span) in spans {
        assert_eq!((span.text(&parcel.bytes), span.len(), span.is_empty()), (text, text.len(), text.is_empty()));
    }
}

#[test]
fn each_turn_is_one_parcel_and_parcels_keep_their_order() {
    let mut office = Office::new(2, 4);
    office.command(0, 1, 1);
    office.command(0, 1, 2);
    office.delivery(0, 1, 10);
    office.post(0);
    office.post(0); // nothing: no parcel
    office.command(0, 1, 3);
    office.post(0);
    assert_eq!([office.commands(1), office.commands(1), office.commands(1)], [Some(vec![1, 2]), Some(vec![3]), None]);
    assert_eq!([office.deliveries(1), office.deliveries(1)], [Some(vec![10]), None]);
    assert_eq!(office.commands(0), None, "nothing goes back to its sender");
}

#[test]
fn mail_of_three_shards_goes_where_it_is_addressed() {
    let mut office = Office::new(3, 2);
    for from in 0..3 {
        let desk = &office.desks[usize::from(from)];
        assert_eq!((desk.me(), desk.peers_len()), (ShardId(from), 2));
        for to in desk.peers().collect::<Vec<_>>() {
            office.command(usize::from(from), to.0, u32::from(from * 10 + to.0));
        }
        office.post(usize::from(from));
    }
    for at in 0..3u16 {
        for turn in 0..2 {
            let (from, parcel) = office.desks[usize::from(at)].take_commands(turn).expect("one of each peer");
            assert_eq!(command_numbers(&parcel), [u32::from(from.0 * 10 + at)]);
        }
        assert!(office.desks[usize::from(at)].take_commands(2).is_none(), "there is no third peer");
    }
}

#[test]
fn a_full_ring_leaves_the_parcel_where_it_is_and_says_so() {
    let mut office = Office::new(2, 1);
    office.command(0, 1, 1);
    office.post(0);
    assert!(!office.desks[0].commands_wait());
    office.command(0, 1, 2);
    office.post(0);
    assert!(office.desks[0].commands_wait() && !office.desks[0].deliveries_wait());
    office.command(0, 1, 3); // behind the one that waits
    office.post(0);
    assert_eq!(office.commands(1), Some(vec![1]));
    office.post(0);
    assert!(!office.desks[0].commands_wait());
    assert_eq!([office.commands(1), office.commands(1)], [Some(vec![2, 3]), None]);
}

#[test]
fn one_lane_being_full_does_not_hold_up_the_other() {
    let mut office = Office::new(2, 1);
    for number in 0..2 {
        office.delivery(0, 1, number);
        office.post(0);
    }
    assert!(office.desks[0].deliveries_wait() && !office.desks[0].commands_wait());
    office.command(0, 1, 7);
    office.post(0);
    assert!(office.desks[0].deliveries_wait() && !office.desks[0].commands_wait());
    assert_eq!(office.commands(1), Some(vec![7]));
    assert_eq!(office.deliveries(1), Some(vec![0]));
    office.post(0);
    assert!(!office.desks[0].deliveries_wait());
    assert_eq!(office.deliveries(1), Some(vec![1]));
}

#[test]
fn a_bell_is_rung_for_a_sleeper_only_and_once() {
    let mut office = Office::new(2, 8);
    office.command(0, 1, 1);
    office.post(0);
    assert_eq!(office.woken(1), 0, "it is awake");
    office.commands(1);
    assert!(office.desks[1].lie_down(true));
    for number in 0..3 {
        office.command(0, 1, number);
        office.delivery(0, 1, number);
        office.post(0);
    }
    assert_eq!((office.woken(1), office.desks[0].bells_rung()), (1, 1));
    office.desks[1].rise();
    office.command(0, 1, 9);
    office.post(0);
    assert_eq!(office.woken(1), 1);
}

#[test]
fn nobody_lies_down_on_mail_and_who_does_not_is_not_rung() {
    let mut office = Office::new(2, 8);
    office.command(0, 1, 1);
    office.post(0);
    assert!(!office.desks[1].lie_down(true));
    office.command(0, 1, 2);
    office.post(0);
    assert_eq!(office.woken(1), 0, "lying down was taken back");
    office.delivery(0, 1, 3);
    office.post(0);
    assert!(!office.desks[1].lie_down(false), "deliveries are mail in any case");
    office.deliveries(1);
    assert!(office.desks[1].lie_down(false), "commands cannot be taken: they are no reason to stay up");
}

#[test]
fn room_again_rings_a_sender_that_sleeps_over_a_full_ring() {
    let mut office = Office::new(2, 1);
    for number in 0..2 {
        office.command(0, 1, number);
        office.post(0);
    }
    assert!(office.desks[0].lie_down(true), "nothing to do until there is room");
    office.commands(1);
    assert_eq!(office.woken(0), 1);
    office.desks[0].rise();
    assert!(!office.desks[0].lie_down(true), "there is room, and something to post");
    office.post(0);
    assert_eq!(office.commands(1), Some(vec![1]));
    assert!(office.desks[0].lie_down(true));
    assert_eq!(office.woken(0), 1, "nobody waits for that room");
}

#[test]
fn room_that_came_before_the_sender_lay_down_keeps_it_up() {
    let mut office = Office::new(2, 1);
    for number in 0..2 {
        office.delivery(0, 1, number);
        office.post(0);
    }
    office.deliveries(1);
    assert_eq!(office.woken(0), 0, "it was awake");
    assert!(!office.desks[0].lie_down(true));
}

/// Sleeps for real; a sleep of many seconds is a lost wake-up.
#[derive(Default)]
struct Bed {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bed {
    fn sleep(&self) {
        let rung = self.rung.lock().expect("no panic while it is held");
        let (mut rung, timeout) =
            self.changed.wait_timeout_while(rung, Duration::from_secs(20), |rung| !*rung).expect("likewise");
        assert!(!timeout.timed_out(), "a wake-up was lost");
        *rung = false;
    }
}

impl Wake for Bed {
    fn wake(&self) {
        *self.rung.lock().expect("no panic while it is held") = true;
        self.changed.notify_one();
    }
}

/// One shard's thread: sends numbers on both lanes, echoes each command as a delivery, until it has all of its own back.
fn play(mut desk: Desk, bed: &Bed, numbers: u32) -> u64 {
    let peer = desk.peers().next().expect("two shards");
    let mut home = Home::new(ShardId(0), 2, Rc::default(), 0, 1);
    let (mut sent, mut back, mut taken) = (0, 0, 0);
    let mut answers = VecDeque::new();
    while back < numbers || taken < numbers || !answers.is_empty() || desk.deliveries_wait() {
        if sent < numbers && !desk.commands_wait() {
            command(&mut desk, peer.0, sent);
            sent += 1;
        }
        while let Some((_, parcel)) = desk.take_deliveries(0) {
            for number in delivery_numbers(&parcel) {
                assert_eq!(number, back, "deliveries keep their order");
                back += 1;
            }
        }
        while !desk.deliveries_wait()
            && answers.len() < 4
            && let Some((_, parcel)) = desk.take_commands(0)
        {
            for number in command_numbers(&parcel) {
                assert_eq!(number, taken, "commands keep their order");
                taken += 1;
                answers.push_back(number);
            }
        }
        if !desk.deliveries_wait() {
            let answers = answers.drain(..).map(|slot| Delivery::Watching { slot });
            home.parcel(peer).items.extend(answers);
        }
        desk.post(&mut home);
        let more = sent < numbers && !desk.commands_wait();
        let done = back == numbers && taken == numbers && !desk.deliveries_wait();
        if !more && !done && desk.lie_down(!desk.deliveries_wait()) {
            bed.sleep();
            desk.rise();
        }
    }
    desk.bells_rung()
}

#[test]
fn two_threads_with_tiny_rings_lose_no_mail_and_no_wake_up() {
    for capacity in [1, 2, 16] {
        let beds = [Arc::new(Bed::default()), Arc::new(Bed::default())];
        let desks = join(beds.iter().map(|bed| Arc::clone(bed) as Arc<dyn Wake>).collect(), capacity);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                desks.into_iter().zip(&beds).map(|(desk, bed)| scope.spawn(move || play(desk, bed, 20_000))).collect();
            let bells: u64 = threads.into_iter().map(|thread| thread.join().expect("it ends")).sum();
            assert!(bells <= 2 * 2 * 20_000, "at most one bell per parcel");
        });
    }
}
