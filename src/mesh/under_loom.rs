//! Every interleaving, and every order of memory that the language allows, of the flags in `flags`.
//!
//! Each test is one shard that decides to sleep and one that gives it a reason not to. The ring between them is a counter
//! read and written without any order of its own, so the flags' fences alone must carry the proof.

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

#[expect(clippy::duplicate_mod, reason = "the very same file, against loom's atomics")]
#[path = "flags.rs"]
mod flags;

use atomic::Ordering::Relaxed;
use flags::{Asleep, Stalled};

#[test]
fn who_lies_down_sees_the_mail_or_is_rung() {
    loom::model(|| {
        let (asleep, mail) = (Arc::new(Asleep::new()), Arc::new(AtomicUsize::new(0)));
        let sender = {
            let (asleep, mail) = (Arc::clone(&asleep), Arc::clone(&mail));
            thread::spawn(move || {
                mail.store(1, Relaxed);
                asleep.ring()
            })
        };
        asleep.lie_down();
        let sleeps = mail.load(Relaxed) == 0;
        let rung = sender.join().expect("the sender does not panic");
        assert!(!sleeps || rung, "it sleeps and nobody rang");
    });
}

#[test]
fn of_two_senders_one_wakes_the_sleeper_and_only_one() {
    loom::model(|| {
        let (asleep, mail) = (Arc::new(Asleep::new()), Arc::new(AtomicUsize::new(0)));
        let send = |_| {
            let (asleep, mail) = (Arc::clone(&asleep), Arc::clone(&mail));
            thread::spawn(move || {
                mail.fetch_add(1, Relaxed);
                asleep.ring()
            })
        };
        let senders = [0, 1].map(send);
        asleep.lie_down();
        let sleeps = mail.load(Relaxed) == 0;
        let rung: usize = senders.into_iter().map(|sender| usize::from(sender.join().expect("no panic"))).sum();
        assert!(rung <= 1, "one system call is enough");
        assert!(!sleeps || rung == 1, "it sleeps and nobody rang");
    });
}

#[test]
fn mail_that_comes_while_it_gets_up_is_seen_before_it_sleeps_again() {
    loom::model(|| {
        let (asleep, mail) = (Arc::new(Asleep::new()), Arc::new(AtomicUsize::new(0)));
        let sender = {
            let (asleep, mail) = (Arc::clone(&asleep), Arc::clone(&mail));
            thread::spawn(move || {
                mail.fetch_add(1, Relaxed);
                let first = asleep.ring();
                mail.fetch_add(1, Relaxed);
                (first, asleep.ring())
            })
        };
        asleep.lie_down();
        let seen_early = mail.load(Relaxed);
        asleep.rise();
        asleep.lie_down();
        let sleeps = mail.load(Relaxed) < 2;
        let (first, second) = sender.join().expect("no panic");
        // A bell stays rung (the waker of `net` is a counter), so one for the earlier mail also ends the later sleep.
        assert!(!sleeps || first || second, "it sleeps with {seen_early} seen, and nobody rang");
    });
}

#[test]
fn a_sender_with_a_full_ring_finds_room_sees_the_flag_fall_or_is_rung() {
    loom::model(|| {
        let (asleep, stalled) = (Arc::new(Asleep::new()), Arc::new(Stalled::new()));
        let ring = Arc::new(AtomicUsize::new(1)); // of capacity 1: full
        let receiver = {
            let (asleep, stalled, ring) = (Arc::clone(&asleep), Arc::clone(&stalled), Arc::clone(&ring));
            thread::spawn(move || {
                assert_eq!(ring.swap(0, Relaxed), 1);
                stalled.taken() && asleep.ring()
            })
        };
        let posted = stalled.post(|| ring.compare_exchange(0, 1, Relaxed, Relaxed).is_ok());
        let mut sleeps = false;
        if !posted {
            asleep.lie_down();
            sleeps = stalled.stands();
        }
        let rung = receiver.join().expect("the receiver does not panic");
        assert!(!sleeps || rung, "it waits for room that is there, and nobody rang");
    });
}
