//! Members against a map by hand, and what is told of those who come and go within a turn.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ids::{ConnId, ShardId};

fn client(index: u32) -> ClientName {
    ClientName { shard: ShardId(0), conn: ConnId { index, generation: 0 } }
}

/// Members of whom somebody is told.
fn watched() -> Members {
    let mut members = Members::default();
    members.set_watch(Some(1));
    members
}

fn said(members: &mut Members) -> Vec<String> {
    let say = |Event { join, client, user }: Event| {
        let who = user.map_or_else(|| client.to_string(), |user| format!("{user} by {client}"));
        format!("{}{who}", if join { '+' } else { '-' })
    };
    members.take_events().into_iter().map(say).collect()
}

#[test]
fn a_user_joins_with_the_first_connection_and_leaves_with_the_last() {
    let mut members = watched();
    assert!(members.enter(client(1), Some("ann")));
    assert_eq!(said(&mut members), ["+ann by 0-1-0"]);
    assert!(members.enter(client(2), Some("ann")));
    assert!(!members.enter(client(2), Some("ann")), "twice is once");
    assert_eq!((said(&mut members), members.counts()), (vec![], (1, 2)));
    assert!(members.leave(client(1)));
    assert!(!members.leave(client(1)));
    assert_eq!(said(&mut members), [""; 0]);
    assert!(members.leave(client(2)));
    assert_eq!((said(&mut members), members.counts()), (vec!["-ann by 0-2-0".to_owned()], (0, 0)));
}

#[test]
fn a_connection_without_a_user_counts_by_itself() {
    let mut members = watched();
    members.enter(client(1), None);
    members.enter(client(2), None);
    assert_eq!((said(&mut members), members.counts()), (vec!["+0-1-0".into(), "+0-2-0".into()], (0, 2)));
    members.leave(client(1));
    assert_eq!(said(&mut members), ["-0-1-0"]);
}

#[test]
fn who_comes_and_goes_before_anybody_is_told_is_no_event() {
    let mut members = watched();
    members.enter(client(1), Some("ann"));
    members.enter(client(2), None);
    said(&mut members);
    for _ in 0..3 {
        members.leave(client(1));
        members.enter(client(3), Some("bob"));
        members.leave(client(3));
        members.leave(client(2));
        members.enter(client(1), Some("ann"));
        members.enter(client(2), None);
    }
    assert!(members.has_changes());
    assert_eq!(said(&mut members), [""; 0]);
    assert!(!members.has_changes());
}

#[test]
fn a_list_that_shows_what_is_taken_back_later_is_set_right_by_two_events() {
    let mut members = watched();
    members.enter(client(1), None);
    said(&mut members);
    members.leave(client(1));
    members.enter(client(2), None);
    members.note_list(); // it has 2 and lacks 1
    members.enter(client(1), None);
    members.leave(client(2));
    assert_eq!(said(&mut members), ["-0-1-0", "+0-1-0", "+0-2-0", "-0-2-0"]);
    members.note_list();
    members.leave(client(1));
    members.enter(client(1), None);
    assert_eq!(said(&mut members), [""; 0], "the list was given before it went");
}

#[test]
fn nothing_is_collected_while_nobody_is_told() {
    let mut members = Members::default();
    members.enter(client(1), Some("ann"));
    assert!(!members.has_changes());
    members.set_watch(Some(7));
    members.enter(client(2), None);
    assert!(members.has_changes());
    members.set_watch(None);
    assert!(!members.has_changes() && !members.is_idle());
    members.leave(client(1));
    members.leave(client(2));
    assert!(members.is_idle());
}

#[test]
fn pages_show_everybody_who_stays_once_while_others_come_and_go() {
    let mut members = Members::default();
    for index in 0..100 {
        members.enter(client(index * 2), None);
    }
    let (mut after, mut seen, mut more) = (None, Vec::new(), true);
    while more {
        let (page, rest) = members.page(after, 7);
        assert!(page.len() == 7 || !rest);
        seen.extend(page.iter().map(|(client, _)| client.conn.index));
        (after, more) = (page.last().map(|(client, _)| *client), rest);
        let last = *seen.last().expect("some");
        members.leave(client(last)); // the next page begins behind one who is gone
        members.enter(client(last + 1), None);
        members.enter(client(1), None);
    }
    let of_the_first: Vec<u32> = seen.iter().copied().filter(|index| index % 2 == 0).collect();
    assert_eq!(of_the_first, (0..100).map(|index| index * 2).collect::<Vec<_>>());
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "nobody twice");
}

#[test]
fn a_page_that_ends_with_the_last_has_nothing_behind_it() {
    let mut members = Members::default();
    assert_eq!(members.page(None, 5), (vec![], false));
    members.enter(client(1), Some("ann"));
    members.enter(client(2), None);
    assert_eq!(members.page(None, 2), (vec![(client(1), Some("ann")), (client(2), None)], false));
    assert_eq!(members.page(None, 1), (vec![(client(1), Some("ann"))], true));
    assert_eq!(members.page(Some(client(1)), 1), (vec![(client(2), None)], false));
    assert_eq!(members.page(Some(client(2)), 1), (vec![], false));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever takes a list at any time and then every event knows in the end who is there.
    #[test]
    fn a_list_and_the_events_behind_it_are_the_truth(steps in prop::collection::vec((0..8u32, 0..12u32), 0..150)) {
        let names = [None, Some("ann"), Some("bob")];
        let mut members = watched();
        let mut listeners: Vec<BTreeSet<String>> = Vec::new();
        for (kind, number) in steps {
            match kind {
                0..=3 => { members.enter(client(number), names[number as usize % 3]); }
                4..=5 => { members.leave(client(number)); }
                6 => {
                    members.note_list();
                    listeners.push(everybody(&members));
                }
                _ => hear(&mut members, &mut listeners),
            }
        }
        hear(&mut members, &mut listeners);
        let truth = everybody(&members);
        for listener in &listeners {
            prop_assert_eq!(listener, &truth);
        }
        let users = truth.iter().filter(|who| names.contains(&Some(who.as_str()))).count();
        prop_assert_eq!(users, members.counts().0);
    }
}

fn everybody(members: &Members) -> BTreeSet<String> {
    let (page, _) = members.page(None, 1000);
    page.into_iter().map(|(client, user)| user.map_or_else(|| client.to_string(), str::to_owned)).collect()
}

fn hear(members: &mut Members, listeners: &mut [BTreeSet<String>]) {
    for Event { join, client, user } in members.take_events() {
        let who = user.map_or_else(|| client.to_string(), |user| user.as_ref().to_owned());
        for listener in &mut *listeners {
            if join {
                listener.insert(who.clone())
            } else {
                listener.remove(&who)
            };
        }
    }
}
